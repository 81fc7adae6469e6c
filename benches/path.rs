//! A packet's way through one worker without device and without cipher: what is left is ours.
//!
//! `cargo bench -p portcullis-proofs --bench path` prints nanoseconds a packet. Under callgrind the same program
//! counts instructions, which no other load on the machine changes: see `scripts/instructions`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use portcullis_config::{Direction, Mode, Secret, Transform};
use portcullis_ipsec::command::Command;
use portcullis_ipsec::counters::WorkerCounters;
use portcullis_ipsec::engine::lookaside::Lookaside;
use portcullis_ipsec::engine::{AhJob, Engine, EspJob, KeyError};
use portcullis_ipsec::pipeline::{BURST, Event, Handoff, Outlet, Pipeline, Punt};
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef};
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};
use portcullis_ipsec::{InterfaceId, Io, NoRoom, PacketBuf};

#[path = "../dataplane/ipsec/tests/rig/mod.rs"]
mod rig;

use rig::packets::udp;
use rig::policy::{GCM, Sites, V4_ENDS, V6_ENDS, lans};
use rig::{LAN, Site, WIRE, framed};

/// As in an mbuf of DPDK: room in front, room behind.
const HEADROOM: usize = 128;
const ROOM: usize = 2176;
/// Flows in the traffic.
const FLOWS: u16 = 64;
/// Bursts for each figure.
const BURSTS: usize = 4000;

struct Frame {
    bytes: Box<[u8; ROOM]>,
    start: usize,
    len: usize,
}

impl PacketBuf for Frame {
    #[inline(always)]
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
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
        Ok(&mut self.bytes[start..start + len])
    }
    #[inline(always)]
    fn len(&self) -> usize {
        self.len
    }
}

/// An engine that leaves packets as they are and says that all is well.
struct Blind;

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

/// Keeps what leaves, for the next burst.
struct Pool {
    sent: Vec<Frame>,
}

impl Io for Pool {
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

impl Outlet for Pool {
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
}

type Bench = Pipeline<Blind, rig::Classifier, Frame>;

/// Gateway A or B with a tunnel to the other, replay window and lifetimes on.
fn gateway(site: &Site) -> Bench {
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
fn sites(v6: bool) -> Sites {
    let mut sites = Sites::default();
    let ends = if v6 { V6_ENDS } else { V4_ENDS };
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], ends, |sa| {
        sa.soft.bytes = Some(1 << 50);
        sa.hard.seconds = Some(1 << 30);
    });
    sites
}

/// Runs bursts through a port; `fill` makes each frame.
#[inline(always)]
fn pass(
    pipeline: &mut Bench,
    io: &mut Pool,
    port: u16,
    bursts: usize,
    fill: &mut impl FnMut(&mut Frame),
) {
    for _ in 0..bursts {
        let mut burst = ArrayVec::<Frame, BURST>::new();
        for mut frame in io.sent.drain(..) {
            fill(&mut frame);
            burst.push(frame);
        }
        pipeline.receive(io, 1000, usize::from(port), &mut burst);
        assert_eq!(io.sent.len(), BURST);
    }
}

/// What `scripts/instructions` counts: a function for each direction.
#[inline(never)]
fn outbound_path(
    pipeline: &mut Bench,
    io: &mut Pool,
    bursts: usize,
    fill: &mut impl FnMut(&mut Frame),
) {
    pass(pipeline, io, LAN, bursts, fill);
}

#[inline(never)]
fn inbound_path(
    pipeline: &mut Bench,
    io: &mut Pool,
    bursts: usize,
    fill: &mut impl FnMut(&mut Frame),
) {
    pass(pipeline, io, WIRE, bursts, fill);
}

fn put(frame: &mut Frame, bytes: &[u8]) {
    frame.start = HEADROOM;
    frame.len = bytes.len();
    frame.data_mut().copy_from_slice(bytes);
}

fn pool() -> Pool {
    let frame = |_| Frame {
        bytes: Box::new([0; ROOM]),
        start: HEADROOM,
        len: 0,
    };
    Pool {
        sent: (0..BURST).map(frame).collect(),
    }
}

fn bench(v6: bool, size: usize) {
    let Sites { a, b, .. } = sites(v6);
    let hosts = match v6 {
        false => ("10.1.0.10", "10.2.0.20"),
        true => ("fd01::10", "fd02::20"),
    };
    let header = if v6 { 48 } else { 28 };
    let clear: Vec<Vec<u8>> = (0..FLOWS)
        .map(|flow| {
            let payload = vec![5; size - header];
            framed(
                a.mac(LAN),
                None,
                &udp(hosts.0, hosts.1, (flow, 9), &payload).write(),
            )
        })
        .collect();
    let mut io = pool();
    let mut sender = gateway(&a);
    let mut next = 0usize;
    let mut outbound = |io: &mut Pool, bursts| {
        outbound_path(&mut sender, io, bursts, &mut |frame: &mut Frame| {
            put(frame, &clear[next % clear.len()]);
            next += 1;
        });
    };
    outbound(&mut io, 100);
    let started = Instant::now();
    outbound(&mut io, BURSTS);
    report("outbound", v6, size, started);
    let sealed: Vec<Vec<u8>> = io
        .sent
        .iter()
        .map(|frame| {
            let mut bytes = frame.data().to_vec();
            bytes[..6].copy_from_slice(&b.mac(WIRE));
            bytes
        })
        .collect();
    let mut receiver = gateway(&b);
    let at = if v6 { 14 + 40 } else { 14 + 20 };
    let mut sequence = 1u32;
    let mut inbound = |io: &mut Pool, bursts| {
        inbound_path(&mut receiver, io, bursts, &mut |frame: &mut Frame| {
            put(frame, &sealed[sequence as usize % sealed.len()]);
            frame.data_mut()[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
            sequence += 1;
        });
    };
    inbound(&mut io, 100);
    let started = Instant::now();
    inbound(&mut io, BURSTS);
    report("inbound", v6, size, started);
    black_box(&io.sent);
}

fn report(direction: &str, v6: bool, size: usize, started: Instant) {
    let family = if v6 { "IPv6" } else { "IPv4" };
    let each = started.elapsed().as_nanos() as f64 / (BURSTS * BURST) as f64;
    println!("{direction:8} {family} {size:5} bytes {each:7.1} ns");
}

fn main() {
    let only = std::env::var("PATH_BENCH").unwrap_or_default();
    for (name, v6, size) in [("v4", false, 64), ("v6", true, 84)] {
        if name.contains(&only) {
            bench(v6, size);
        }
    }
}
