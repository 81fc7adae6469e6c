//! The loop of a worker: one core, its own queue of every port, its own SAs, no locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use dpdk::{Mbuf, Mempool, RxQueue, TxQueue, thread};
use portcullis_ike::CookieKey;
use portcullis_ipsec::command::{Command, Retired};
use portcullis_ipsec::counters::{Counter, WorkerCounters};
use portcullis_ipsec::engine::Engine;
use portcullis_ipsec::pipeline::{Event, Handoff, Inject, Outlet, Pipeline, Punt, Stage};
use portcullis_ipsec::spd::Tree;
use portcullis_ipsec::{DropReason, InterfaceId, Io};

use crate::cycles::{StageCycles, StopWatch};
use crate::engine::FastEngine;
use crate::packet::Packet;
use crate::punt::{Queue, queue};
use crate::ring::{Receiver, Sender};

/// Packets per burst from and to a device.
const BURST: usize = portcullis_ipsec::pipeline::BURST;
/// Messages taken from one ring in one round.
const MESSAGES: usize = 32;
/// Packets that one worker may be behind another.
pub const PEER_RING: usize = 1024;
/// Rounds after which a worker has taken all that was in its peers' rings.
pub const GRACE_ROUNDS: u64 = (PEER_RING / MESSAGES) as u64 + 2;
/// Attempts to give a burst to a device before what is left is dropped.
const TRANSMIT_ATTEMPTS: usize = 8;
/// Rounds without work before a worker that shares its core begins to sleep: what it waits for most likely waits for the
/// core.
const IDLE_ROUNDS: u32 = 2;
/// How long it then sleeps at first, and at the longest when nothing comes; orders wake it. Each time costs a switch of
/// the core's thread.
const NAP: [Duration; 2] = [Duration::from_micros(60), Duration::from_micros(500)];
/// How long a worker that ends waits for what is in a crypto device.
const FAREWELL: Duration = Duration::from_millis(500);

/// The crypto engine of the gateway.
pub type GatewayEngine = FastEngine;
/// Its keys.
pub type Key = <FastEngine as Engine>::Key;
/// Orders from control.
pub type WorkerCommand = Command<Key, Tree>;
/// What control frees.
pub type WorkerRetired = Retired<Key, Tree>;

/// From control to a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// Change SAs or policy.
    Command(WorkerCommand),
    /// Send a packet.
    Inject(Inject<Packet>),
    /// Policy and SAs are complete: begin to receive.
    Start,
}

/// From a worker to control, where loss is counted and survivable.
#[derive(Debug)]
pub enum FromWorker {
    /// A packet for the slow path.
    Punt(Punt<Packet>),
    /// News.
    Event(Event),
}

/// From a worker to a worker.
#[derive(Debug)]
pub enum ToPeer {
    /// A packet for an SA of the other.
    Handoff(Handoff<Packet>),
    /// A frame for a port of which the other has a transmit queue.
    Frame(InterfaceId, Packet),
}

/// A copy of a frame for a capture file.
#[derive(Debug)]
pub struct Captured {
    /// Port.
    pub port: u16,
    /// It came in.
    pub inbound: bool,
    /// The copy.
    pub frame: Packet,
}

/// Rings of one worker.
#[derive(Debug)]
pub struct WorkerRings {
    /// Orders and packets from control.
    pub from_control: Receiver<ToWorker>,
    /// Punts and news to control.
    pub to_control: Sender<FromWorker>,
    /// Punts that go before those.
    pub urgent: Sender<Punt<Packet>>,
    /// ARP and neighbour discovery.
    pub neighbors: Sender<Punt<Packet>>,
    /// IKE without a cookie of ours, from whomever.
    pub first: Sender<Punt<Packet>>,
    /// What orders replaced. As large as the ring of orders, so that it is never full for long.
    pub retired: Sender<WorkerRetired>,
    /// Copies of frames.
    pub captured: Sender<Captured>,
    /// To each worker; the own place is empty.
    pub to_peers: Vec<Option<Sender<ToPeer>>>,
    /// From each worker.
    pub from_peers: Vec<Option<Receiver<ToPeer>>>,
}

/// A worker's end of one port.
#[derive(Debug)]
pub struct WorkerPort {
    /// Its receive queue, if it has one.
    pub rx: Option<RxQueue>,
    /// Its transmit queue, if it has one.
    pub tx: Option<TxQueue>,
    /// The worker that transmits for it if it has none.
    pub tx_worker: u16,
    /// Frames are copied to the capture ring; control says when.
    pub capture: Arc<AtomicBool>,
    /// Reads a file that ends: an empty poll means that it is read.
    pub finite: bool,
    /// Frames that wait for the end of the burst.
    pub pending: ArrayVec<Mbuf, BURST>,
    /// Counters.
    pub counters: Arc<PortCounters>,
}

/// What one worker counts for one port.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: Counter,
    /// Bytes received.
    pub rx_bytes: Counter,
    /// Frames sent.
    pub tx_packets: Counter,
    /// Bytes sent.
    pub tx_bytes: Counter,
    /// Copies that the capture ring had no room for.
    pub capture_lost: Counter,
}

/// Everything that control and a worker share beside rings.
#[derive(Debug, Default)]
pub struct WorkerStatus {
    /// Packet counters.
    pub counters: Arc<WorkerCounters>,
    /// Rounds in which there was work, and all rounds: the load.
    pub busy_rounds: Counter,
    /// All rounds.
    pub rounds: Counter,
    /// Cycles by stage, if the policy asks for them.
    pub cycles: Arc<StageCycles>,
    /// Messages of control that it has done with.
    pub taken: Counter,
    /// Ticks of its longest round since control last took it.
    pub longest_round: AtomicU64,
    /// The longest time for the orders of one round, in nanoseconds of its own time: whoever else has its core meanwhile
    /// does not count.
    pub longest_orders: AtomicU64,
    /// It has all its SAs and receives.
    pub receives: AtomicBool,
    /// All finite inputs are read and nothing is in hand.
    pub drained: AtomicBool,
}

/// A worker's devices, pools and rings: where its pipeline's packets go.
pub struct WorkerIo {
    /// Buffers of the usual size.
    pub pool: Mempool,
    /// Buffers for what is longer.
    pub jumbo: Mempool,
    /// Ports in the order of the policy.
    pub ports: Vec<WorkerPort>,
    /// Port of each interface.
    pub interface_port: Vec<u16>,
    /// Rings.
    pub rings: WorkerRings,
    /// Tells IKE of those whom we have sent a cookie from all other.
    pub cookies: CookieKey,
    /// Packet counters.
    pub counters: Arc<WorkerCounters>,
    /// Devices cipher some frames: only theirs may.
    pub offloads: bool,
    /// Buffers to give back in bulk.
    pub discarded: ArrayVec<Mbuf, BURST>,
    /// Counts cycles, if the policy asks for it.
    pub stop_watch: Option<StopWatch>,
}

impl Io for WorkerIo {
    type Buf = Packet;

    fn allocate(&mut self, len: usize) -> Option<Packet> {
        let pool = if len <= usize::from(self.pool.data_room()) {
            &self.pool
        } else {
            &self.jumbo
        };
        pool.alloc().map(Packet)
    }

    #[inline(always)]
    fn transmit(&mut self, interface: InterfaceId, frame: Packet) {
        let index = self.interface_port.get(usize::from(interface.0));
        let index = usize::from(index.copied().unwrap_or(u16::MAX));
        match self.ports.get_mut(index) {
            Some(port) if port.tx.is_some() => {
                port.pending.push(frame.0);
                if port.pending.is_full() {
                    self.flush_port(index);
                }
            }
            _ => self.transmit_elsewhere(interface, index, frame),
        }
    }

    #[inline]
    fn discard(&mut self, buf: Packet) {
        self.discarded.push(buf.0);
        if self.discarded.is_full() {
            Mbuf::free_bulk(&mut self.discarded);
        }
    }
}

impl Outlet for WorkerIo {
    fn punt(&mut self, punt: Punt<Packet>) {
        let (pushed, full) = match queue(&punt, &self.cookies) {
            Queue::Neighbors => (
                self.rings.neighbors.push(punt).is_ok(),
                DropReason::UrgentFull,
            ),
            Queue::Urgent => (self.rings.urgent.push(punt).is_ok(), DropReason::UrgentFull),
            Queue::First => (self.rings.first.push(punt).is_ok(), DropReason::FirstFull),
            Queue::Usual => {
                let message = FromWorker::Punt(punt);
                let pushed = self.rings.to_control.push(message).is_ok();
                (pushed, DropReason::PuntFull)
            }
        };
        match pushed {
            true => self.counters.punted.add(1),
            false => self.counters.drops.add(full, 1),
        }
    }

    fn hand_off(&mut self, worker: u16, handoff: Handoff<Packet>) {
        self.send_to_peer(worker, ToPeer::Handoff(handoff));
    }

    fn notify(&mut self, event: Event) -> bool {
        self.rings.to_control.push(FromWorker::Event(event)).is_ok()
    }

    #[inline(always)]
    fn lap(&mut self, stage: Stage) {
        if let Some(stop_watch) = &mut self.stop_watch {
            stop_watch.lap(stage);
        }
    }
}

impl WorkerIo {
    /// A frame for a port to which another worker writes, or that is not there.
    #[inline(never)]
    fn transmit_elsewhere(&mut self, interface: InterfaceId, index: usize, frame: Packet) {
        match self.ports.get(index).map(|port| port.tx_worker) {
            Some(_) if frame.0.is_marked() => self.refuse(frame, DropReason::OffloadFailure),
            Some(worker) => self.send_to_peer(worker, ToPeer::Frame(interface, frame)),
            None => self.refuse(frame, DropReason::InterfaceDown),
        }
    }

    fn refuse(&mut self, buf: Packet, reason: DropReason) {
        self.counters.drops.add(reason, 1);
        self.discard(buf);
    }

    fn send_to_peer(&mut self, worker: u16, message: ToPeer) {
        let ring = self
            .rings
            .to_peers
            .get_mut(usize::from(worker))
            .and_then(Option::as_mut);
        match ring.map(|ring| ring.push(message)) {
            Some(Ok(())) => self.counters.handed_off.add(1),
            _ => self.counters.drops.add(DropReason::HandoffFull, 1),
        }
    }

    /// Gives a port what waits for it.
    fn flush_port(&mut self, index: usize) {
        let Some(port) = self.ports.get_mut(index) else {
            return;
        };
        if port.pending.is_empty() {
            return;
        }
        let Some(tx) = &mut port.tx else { return };
        if self.offloads {
            let foreign = keep_own(tx, &mut port.pending);
            self.counters.drops.add(DropReason::OffloadFailure, foreign);
        }
        if port.capture.load(Ordering::Relaxed) {
            copy_frames(
                &port.pending,
                [&self.pool, &self.jumbo],
                (index, false),
                &mut self.rings.captured,
                &port.counters,
            );
        }
        let bytes = |frames: &[Mbuf]| frames.iter().map(Mbuf::len).sum::<usize>();
        let (offered, offered_bytes) = (port.pending.len(), bytes(&port.pending));
        for _ in 0..TRANSMIT_ATTEMPTS {
            tx.burst(&mut port.pending);
            if port.pending.is_empty() {
                break;
            }
        }
        let left = port.pending.len();
        let sent = (offered - left) as u64;
        port.counters.tx_packets.add(sent);
        let sent_bytes = match left {
            0 => offered_bytes,
            _ => offered_bytes - bytes(&port.pending),
        };
        port.counters.tx_bytes.add(sent_bytes as u64);
        self.counters.transmitted.add(sent);
        if left != 0 {
            self.counters
                .drops
                .add(DropReason::TransmitFull, left as u64);
            Mbuf::free_bulk(&mut port.pending);
        }
    }

    /// Ends a round: everything that waits goes to its device or its pool.
    fn flush(&mut self) {
        for index in 0..self.ports.len() {
            self.flush_port(index);
        }
        if !self.discarded.is_empty() {
            Mbuf::free_bulk(&mut self.discarded);
        }
    }
}

/// Drops the frames that another port's device was to cipher: here they would go out in clear. Gives their number.
#[cold]
fn keep_own(tx: &TxQueue, frames: &mut ArrayVec<Mbuf, BURST>) -> u64 {
    let before = frames.len();
    frames.retain(|frame| tx.admits(frame));
    (before - frames.len()) as u64
}

/// Control takes the longest away while this goes on: one that is lost to that comes again if it matters.
#[inline]
fn note(longest: &AtomicU64, time: u64) {
    if time > longest.load(Ordering::Relaxed) {
        longest.store(time, Ordering::Relaxed);
    }
}

/// Copies frames for a capture; what finds no buffer or no room in the ring is counted and not captured.
fn copy_frames(
    frames: &[Mbuf],
    pools: [&Mempool; 2],
    (port, inbound): (usize, bool),
    ring: &mut Sender<Captured>,
    counters: &PortCounters,
) {
    for frame in frames {
        let fits = |pool: &&&Mempool| frame.len() <= usize::from(pool.data_room());
        let copy = pools.iter().find(fits).and_then(|pool| pool.alloc());
        let copy = copy.and_then(|mut copy| {
            copy.append(frame.len()).ok()?;
            copy.data_mut().copy_from_slice(frame.data());
            Some(Captured {
                port: port as u16,
                inbound,
                frame: Packet(copy),
            })
        });
        if copy.is_none_or(|copy| ring.push(copy).is_err()) {
            counters.capture_lost.add(1);
        }
    }
}

/// One worker.
pub struct Worker {
    /// Packet processing.
    pub pipeline: Pipeline<GatewayEngine, Tree, Packet>,
    /// Devices and rings.
    pub io: WorkerIo,
    /// Shared with control.
    pub status: Arc<WorkerStatus>,
    /// Shares its core with others: sleeps when idle.
    pub shares_core: bool,
    /// Set when the process ends.
    pub stop: Arc<AtomicBool>,
    /// The clock's zero, in TSC ticks.
    pub epoch: u64,
}

impl Worker {
    /// Polls until told to stop, then gives everything back.
    pub fn run(mut self) {
        let ticks_per_ms = (thread::cycles_hz() / 1000).max(1);
        let (mut idle, mut nap) = (0u32, NAP[0]);
        let mut begun = thread::cycles();
        let (mut now, mut looked) = (self.clock(begun, ticks_per_ms), begun);
        while !self.stop.load(Ordering::Relaxed) {
            let busy = self.round(now);
            let ended = thread::cycles();
            note(&self.status.longest_round, ended.wrapping_sub(begun));
            // A division less: the time of day is only looked at when it may have changed.
            if ended.wrapping_sub(looked) > ticks_per_ms / 8 {
                (now, looked) = (self.clock(ended, ticks_per_ms), ended);
            }
            begun = ended;
            self.status.rounds.add(1);
            if busy {
                (idle, nap) = (0, NAP[0]);
                self.status.busy_rounds.add(1);
                continue;
            }
            idle = idle.saturating_add(1);
            match self.shares_core && idle > IDLE_ROUNDS {
                true => {
                    std::thread::park_timeout(nap);
                    nap = (2 * nap).min(NAP[1]);
                    begun = thread::cycles();
                }
                false => std::hint::spin_loop(),
            }
        }
        self.await_device(now);
        self.pipeline.release(&mut self.io);
        self.io.flush();
    }

    /// What is in a crypto device goes out before the worker ends, if it comes back soon.
    fn await_device(&mut self, now: u64) {
        let start = Instant::now();
        while self.pipeline.in_flight() != 0 && start.elapsed() < FAREWELL {
            self.pipeline.finish(&mut self.io, now);
            self.io.flush();
        }
    }

    fn clock(&self, ticks: u64, ticks_per_ms: u64) -> u64 {
        ticks.wrapping_sub(self.epoch) / ticks_per_ms
    }

    /// One look at every queue and ring. True if there was anything to do.
    fn round(&mut self, now: u64) -> bool {
        let mut busy = self.take_orders(now);
        busy |= self.take_from_peers(now);
        // Until the last SA is in its place, packets wait in their devices.
        let (received, inputs_read) = match self.status.receives.load(Ordering::Relaxed) {
            true => self.receive(now),
            false => (false, false),
        };
        busy |= received;
        self.pipeline.finish(&mut self.io, now);
        if received {
            self.io.lap(Stage::Finish);
        }
        self.io.flush();
        if received {
            self.io.lap(Stage::Transmit);
        }
        busy |= self.pipeline.in_flight() != 0;
        self.status
            .drained
            .store(inputs_read && !busy, Ordering::Relaxed);
        busy
    }

    fn take_orders(&mut self, now: u64) -> bool {
        let mut busy = false;
        let mut begun = None;
        for _ in 0..MESSAGES {
            // An order is taken only while what it replaces can be given back.
            if !self.io.rings.retired.has_room() {
                break;
            }
            let Some(message) = self.io.rings.from_control.pop() else {
                break;
            };
            busy = true;
            match message {
                ToWorker::Inject(inject) => self.pipeline.inject(&mut self.io, now, inject),
                ToWorker::Start => self.status.receives.store(true, Ordering::Relaxed),
                ToWorker::Command(command) => {
                    // Packets do not ask the system for the time; orders are few.
                    begun.get_or_insert_with(thread::cpu_time);
                    self.pipeline.flush(&mut self.io);
                    if let Some(retired) = self.pipeline.apply(command) {
                        // There is room: this worker is the only producer and has looked.
                        drop(self.io.rings.retired.push(retired));
                    }
                }
            }
            self.status.taken.add(1);
        }
        if let Some(begun) = begun {
            let spent = thread::cpu_time().wrapping_sub(begun);
            note(&self.status.longest_orders, spent);
        }
        busy
    }

    fn take_from_peers(&mut self, now: u64) -> bool {
        let mut busy = false;
        for peer in 0..self.io.rings.from_peers.len() {
            for _ in 0..MESSAGES {
                let ring = self
                    .io
                    .rings
                    .from_peers
                    .get_mut(peer)
                    .and_then(Option::as_mut);
                let Some(message) = ring.and_then(Receiver::pop) else {
                    break;
                };
                busy = true;
                match message {
                    ToPeer::Handoff(handoff) => self.pipeline.take_over(&mut self.io, now, handoff),
                    ToPeer::Frame(interface, frame) => {
                        self.io.counters.taken_over.add(1);
                        self.io.transmit(interface, frame);
                    }
                }
            }
        }
        busy
    }

    /// Says whether anything came, and whether all finite inputs are read.
    fn receive(&mut self, now: u64) -> (bool, bool) {
        let (mut busy, mut inputs_read) = (false, true);
        for index in 0..self.io.ports.len() {
            let mut mbufs = ArrayVec::<Mbuf, BURST>::new();
            let Some(port) = self.io.ports.get_mut(index) else {
                break;
            };
            let Some(rx) = &mut port.rx else { continue };
            if let Some(stop_watch) = &mut self.io.stop_watch {
                stop_watch.start();
            }
            if rx.burst(&mut mbufs) == 0 {
                continue;
            }
            (busy, inputs_read) = (true, inputs_read && !port.finite);
            port.counters.rx_packets.add(mbufs.len() as u64);
            port.counters
                .rx_bytes
                .add(mbufs.iter().map(|m| m.len() as u64).sum());
            if port.capture.load(Ordering::Relaxed) {
                copy_frames(
                    &mbufs,
                    [&self.io.pool, &self.io.jumbo],
                    (index, true),
                    &mut self.io.rings.captured,
                    &port.counters,
                );
            }
            let mut frames: ArrayVec<Packet, BURST> = mbufs.into_iter().map(Packet).collect();
            self.io.lap(Stage::Receive);
            self.pipeline.receive(&mut self.io, now, index, &mut frames);
        }
        (busy, inputs_read)
    }
}

#[cfg(test)]
mod tests;
