//! Engines with a device beside the CPU: packets go there, and come back in a later round.

use arrayvec::ArrayVec;

use super::Engine;
use crate::aside::Ticket;
use crate::offload::Session;
use crate::pipeline::BURST;
use crate::{DropReason, InterfaceId, PacketBuf};

/// A packet, and what the pipeline knows of it: they travel together.
#[derive(Debug)]
pub struct Parcel<B> {
    /// The packet.
    pub buf: B,
    /// The pipeline's own notes.
    pub ticket: Ticket,
}

/// One ESP packet for the device, as an [`EspJob`](super::EspJob) describes it; its key says whether it is sealed or
/// opened.
#[derive(Debug)]
pub struct AsideJob<'a, K, B> {
    /// Key that the device serves.
    pub key: &'a K,
    /// Packet and notes.
    pub parcel: Parcel<B>,
    /// Where ESP begins in the packet; it ends where the packet ends.
    pub at: u32,
    /// High 32 bits of the sequence number if the SA uses ESN.
    pub sequence_high: Option<u32>,
}

/// A packet that is back.
#[derive(Debug)]
pub struct AsideDone<B> {
    /// Packet and notes.
    pub parcel: Parcel<B>,
    /// Sealed, or opened and authentic.
    pub ok: bool,
}

/// What an engine does asynchronously. One without a device has nothing to say here, and costs nothing.
///
/// Packets under one key come back in the order in which they went.
pub trait Lookaside<B>: Engine {
    /// True if there may be keys that a device serves. Asked once for each burst.
    #[inline(always)]
    fn has_device(&self) -> bool {
        false
    }

    /// True if packets under this key are the device's.
    #[inline(always)]
    fn serves(&self, _key: &Self::Key) -> bool {
        false
    }

    /// Gives jobs to the device. What it does not take goes to `refused`, with the reason.
    #[inline(always)]
    fn enqueue(
        &mut self,
        jobs: ArrayVec<AsideJob<'_, Self::Key, B>, BURST>,
        refused: &mut ArrayVec<(Parcel<B>, DropReason), BURST>,
    ) {
        let failed = |job: AsideJob<'_, Self::Key, B>| (job.parcel, DropReason::EngineFailure);
        refused.extend(jobs.into_iter().map(failed));
    }

    /// Puts what the device is done with into the empty list `done`, as much as fits.
    #[inline(always)]
    fn dequeue(&mut self, _done: &mut ArrayVec<AsideDone<B>, BURST>) {}

    /// Has the NIC of an interface cipher a packet as it sends it there, with an SA that it calls `session`. False if
    /// that cannot be, and then it must not go out so.
    #[inline(always)]
    fn mark(&self, _key: &Self::Key, packet: &mut B, session: Session, _out: InterfaceId) -> bool
    where
        B: PacketBuf,
    {
        packet.mark(session)
    }

    /// Packets that are there.
    #[inline(always)]
    fn in_flight(&self) -> usize {
        0
    }
}
