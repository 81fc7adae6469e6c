//! The worker's side: its queue of each device.

use arrayvec::ArrayVec;
use dpdk::crypto::{self, CryptoQueue, Session};
use portcullis_ipsec::aside::Ticket;
use portcullis_ipsec::engine::lookaside::{AsideDone, AsideJob, Parcel};
use portcullis_ipsec::pipeline::BURST;
use portcullis_ipsec::{DropReason, PacketBuf};

use super::suite::Suite;
use crate::packet::Packet;

/// An SA in a device.
#[derive(Debug)]
pub struct DeviceKey {
    pub(super) session: Session,
    pub(super) suite: Suite,
    /// Position of the device in the policy.
    pub(super) device: usize,
}

/// One worker's queues, in the order of the policy's devices.
#[derive(Debug, Default)]
pub struct DeviceQueues(pub(super) Vec<CryptoQueue<Ticket>>);

/// What a device refuses.
type Refused = ArrayVec<(Parcel<Packet>, DropReason), BURST>;

impl DeviceQueues {
    /// True if there is no device.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Packets in all devices.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.0.iter().map(CryptoQueue::in_flight).sum()
    }

    /// Gives jobs to their devices. `key` finds a device's key in an engine's.
    pub fn enqueue<'a, K>(
        &mut self,
        jobs: ArrayVec<AsideJob<'a, K, Packet>, BURST>,
        key: impl Fn(&'a K) -> Option<&'a DeviceKey>,
        refused: &mut Refused,
    ) {
        let mut batch = ArrayVec::<crypto::Job<'a, Ticket>, BURST>::new();
        let mut device = usize::MAX;
        for job in jobs {
            let Some(key) = key(job.key) else {
                refused.push((job.parcel, DropReason::EngineFailure));
                continue;
            };
            if key.device != device {
                self.submit(device, &mut batch, refused);
                device = key.device;
            }
            let Parcel { buf, ticket } = job.parcel;
            let layout = key
                .suite
                .layout(buf.data(), job.at as usize, job.sequence_high);
            let made = match layout {
                Some(layout) => crypto::Job::new(&key.session, buf.0, &layout, ticket),
                None => Err((buf.0, ticket)),
            };
            match made {
                Ok(made) => batch.push(made),
                Err((buf, ticket)) => {
                    refused.push((parcel(buf, ticket), DropReason::EngineFailure));
                }
            }
        }
        self.submit(device, &mut batch, refused);
    }

    fn submit(
        &mut self,
        device: usize,
        batch: &mut ArrayVec<crypto::Job<'_, Ticket>, BURST>,
        refused: &mut Refused,
    ) {
        if let Some(queue) = self.0.get_mut(device) {
            queue.enqueue(batch);
        }
        for job in batch.drain(..) {
            let (buf, ticket) = job.into_parts();
            refused.push((parcel(buf, ticket), DropReason::EngineBusy));
        }
    }

    /// Takes back what is done.
    pub fn dequeue(&mut self, done: &mut ArrayVec<AsideDone<Packet>, BURST>) {
        let mut back = ArrayVec::<crypto::Done<Ticket>, BURST>::new();
        for queue in &mut self.0 {
            if back.is_full() {
                break;
            }
            queue.dequeue(&mut back);
        }

        done.extend(back.into_iter().map(|d| AsideDone {
            parcel: parcel(d.buf, d.context),
            ok: d.ok,
        }));
    }
}

fn parcel(buf: dpdk::Mbuf, ticket: Ticket) -> Parcel<Packet> {
    let buf = Packet(buf);
    Parcel { buf, ticket }
}
