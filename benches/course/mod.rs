//! Two gateways whose cipher does nothing, and buffers for their packets: what a packet costs beside device and cipher.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use portcullis_config::{Direction, Lifetimes, Limits, Mode, Secret, Transform};
use portcullis_ipsec::command::Command;
use portcullis_ipsec::counters::WorkerCounters;
use portcullis_ipsec::engine::lookaside::Lookaside;
use portcullis_ipsec::engine::{AhJob, Engine, EspJob, KeyError};
use portcullis_ipsec::pipeline::{BURST, Event, Handoff, Outlet, Pipeline, Punt, Stage};
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef};
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};
use portcullis_ipsec::{InterfaceId, Io, NoRoom, PacketBuf};

use crate::rig;
use crate::rig::Site;
use crate::rig::policy::{GCM, Sites, V4_ENDS, V6_ENDS, lans};

/// As in an mbuf of DPDK: room in front, room behind.
const HEADROOM: usize = 128;
const ROOM: usize = 2176;
/// A buffer: a pointer, as an mbuf is.
pub struct Frame(Box<Buffer>);

/// What it points to.
pub struct Buffer {
    /// Where its packet begins.
    pub start: usize,
    /// How long it is.
    pub len: usize,
    bytes: [u8; ROOM],
}

impl Deref for Frame {
    type Target = Buffer;
    #[inline(always)]
    fn deref(&self) -> &Buffer {
        &self.0
    }
}

impl DerefMut for Frame {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Buffer {
        &mut self.0
    }
}

impl PacketBuf for Frame {
    #[inline(always)]
    fn data(&self) -> &[u8] {
        let Buffer { start, len, bytes } = &*self.0;
        &bytes[*start..*start + *len]
    }
    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        let Buffer { start, len, bytes } = &mut *self.0;
        &mut bytes[*start..*start + *len]
    }
    #[inline(always)]
    fn headroom(&self) -> usize {
        self.start
    }
    #[inline(always)]
    fn tailroom(&self) -> usize {
        ROOM - self.start - self.len
    }
    #[inline(always)]
    fn prepend(&mut self, n: usize) -> Result<(), NoRoom> {
        self.start = self.start.checked_sub(n).ok_or(NoRoom)?;
        self.len += n;
        Ok(())
    }
    #[inline(always)]
    fn append(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.tailroom() {
            return Err(NoRoom);
        }
        self.len += n;
        Ok(())
    }
    #[inline(always)]
    fn trim_front(&mut self, n: usize) {
        let n = n.min(self.len);
        self.start += n;
        self.len -= n;
    }
    #[inline(always)]
    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
    #[inline(always)]
    fn reshape(&mut self, front: isize, len: usize) -> Result<&mut [u8], NoRoom> {
        let start = self.start.checked_add_signed(front).ok_or(NoRoom)?;
        if start > ROOM || len > ROOM - start {
            return Err(NoRoom);
        }
        (self.start, self.len) = (start, len);
        Ok(self.data_mut())
    }
    #[inline(always)]
    fn wrap<const FRONT: usize>(
        &mut self,
        skip: usize,
        front: usize,
        len: usize,
    ) -> Result<(&mut [u8; FRONT], &mut [u8]), NoRoom> {
        let at = self.start + skip;
        if at < FRONT || at > ROOM || len > ROOM - at || front > FRONT {
            return Err(NoRoom);
        }
        (self.start, self.len) = (at - front, front + len);
        let (before, rest) = self.bytes.split_at_mut(at);
        let before = before.last_chunk_mut().ok_or(NoRoom)?;
        Ok((before, rest.get_mut(..len).ok_or(NoRoom)?))
    }
    #[inline(always)]
    fn len(&self) -> usize {
        self.len
    }
}

/// An engine that leaves packets as they are and says that all is well.
pub struct Blind;

impl<B> Lookaside<B> for Blind {}

impl Engine for Blind {
    type Key = ();
    fn key(&self, _: Transform, _: &Secret, _: &Secret) -> Result<(), KeyError> {
        Ok(())
    }
    fn seal(&mut self, jobs: &mut [EspJob<'_, ()>]) {
        jobs.iter_mut().for_each(|job| job.ok = true);
    }
    fn open(&mut self, jobs: &mut [EspJob<'_, ()>]) {
        jobs.iter_mut().for_each(|job| job.ok = true);
    }
    fn sign(&mut self, _: &mut [AhJob<'_, ()>]) {}
    fn verify(&mut self, _: &mut [AhJob<'_, ()>]) {}
}

/// Is told where one stage ends and the next one begins.
pub trait Laps {
    /// This one has ended.
    fn lap(&mut self, stage: Stage);
}

/// Nobody wants to know.
impl Laps for () {
    #[inline(always)]
    fn lap(&mut self, _: Stage) {}
}

/// Keeps what leaves, for the next burst.
pub struct Pool<L> {
    /// What has left.
    pub sent: Vec<Frame>,
    /// Who measures stages.
    pub laps: L,
}

impl<L> Io for Pool<L> {
    type Buf = Frame;
    fn allocate(&mut self, _: usize) -> Option<Frame> {
        None
    }
    #[inline]
    fn transmit(&mut self, _: InterfaceId, frame: Frame) {
        self.sent.push(frame);
    }
    fn discard(&mut self, _: Frame) {
        panic!("a packet was dropped");
    }
}

impl<L: Laps> Outlet for Pool<L> {
    fn punt(&mut self, punt: Punt<Frame>) {
        panic!(
            "a packet went to the slow path: {}",
            matches!(punt, Punt::Local { .. })
        );
    }
    fn hand_off(&mut self, _: u16, _: Handoff<Frame>) {
        panic!("a packet went to another worker");
    }
    fn notify(&mut self, _: Event) -> bool {
        true
    }
    #[inline(always)]
    fn lap(&mut self, stage: Stage) {
        self.laps.lap(stage);
    }
}

/// A worker.
pub type Bench = Pipeline<Blind, rig::Classifier, Frame>;

/// Gateway A or B with a tunnel to the other, replay window and lifetimes on.
pub fn gateway(site: &Site) -> Bench {
    let counters = Arc::<WorkerCounters>::default();
    let mut pipeline = Pipeline::new(0, Blind, site.view(), counters, 1 << 16, [7; 32]);
    let count = site.sas.len();
    pipeline.apply(Command::GrowInbound(Slab::with_slots(count)));
    pipeline.apply(Command::GrowOutbound(Slab::with_slots(count)));
    pipeline.apply(Command::SetIndex(SpiIndex::with_capacity(count)));
    for (slot, config) in site.sas.iter().enumerate() {
        let place = slot as u32;
        match config.direction {
            Direction::Outbound => {
                let sa = OutboundSa::new(config, (), 0, Arc::default());
                pipeline.apply(Command::AddOutbound(place, Box::new(sa)));
            }
            Direction::Inbound => {
                let sa = InboundSa::new(config, (), 0, Arc::default());
                pipeline.apply(Command::AddInbound(place, Box::new(sa)));
                pipeline.apply(Command::Index(SpiEntry {
                    spi: config.spi,
                    protocol: 50,
                    destination: config.destination.into(),
                    sa: SaRef {
                        worker: 0,
                        slot: place,
                    },
                }));
            }
        }
    }
    pipeline
}

/// The two gateways, with lifetimes that are far off.
pub fn sites(v6: bool) -> Sites {
    let mut sites = Sites::default();
    let ends = if v6 { V6_ENDS } else { V4_ENDS };
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], ends, |sa| {
        let soft = Limits {
            bytes: Some(1 << 50),
            ..Limits::default()
        };
        let hard = Limits {
            seconds: Some(1 << 30),
            ..Limits::default()
        };
        sa.lifetimes = Lifetimes::new(soft, hard);
    });
    sites
}

/// Puts a packet into a buffer.
pub fn put(frame: &mut Frame, bytes: &[u8]) {
    frame.start = HEADROOM;
    frame.len = bytes.len();
    frame.data_mut().copy_from_slice(bytes);
}

/// A burst of buffers.
pub fn pool<L>(laps: L) -> Pool<L> {
    let frame = |_| {
        Frame(Box::new(Buffer {
            start: HEADROOM,
            len: 0,
            bytes: [0; ROOM],
        }))
    };
    Pool {
        sent: (0..BURST).map(frame).collect(),
        laps,
    }
}
