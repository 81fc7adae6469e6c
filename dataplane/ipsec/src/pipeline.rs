//! The way of a packet through one worker.
//!
//! ```text
//! receive -> Ethernet -> IP -+- unprotected: inbound  -> ESP | AH | ESP in UDP -> open/verify lane -> opened
//!                            |               (clear)  -> SPD -> bypass | discard            |
//!                            |                                   SA selectors, decapsulated +-> forward
//!                            +- protected:   outbound -> flow cache, else SPD -> protect -> seal/sign lane
//!                                                     -> bypass | discard | local           |
//!                                                                              sealed ------+-> transmit
//! ```
//! Plain packets of flows already decided take the short way of [`crate::express`]; ciphers run over lanes, which
//! are emptied when a burst ends or a lane is full; what a device ciphers leaves its lane and comes back in a later
//! round ([`crate::aside`]). Whatever is not forwarded is dropped for one [`DropReason`] and counted. For all of a worker's life
//! `received + created + injected + taken_over = transmitted + drops + punted + handed_off + consumed + held`.

use std::sync::Arc;

use arrayvec::ArrayVec;
use portcullis_config::Side;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::account::Account;
use crate::ah::MaskedHeader;
use crate::children::Children;
use crate::counters::{Counter, WorkerCounters};
use crate::engine::lookaside::Lookaside;
use crate::engine::{AhJob, Engine, EspJob};
use crate::ethernet::{self, Frame, ethertype};
use crate::express::Arrival;
use crate::fib::{Fib, Interface, Neighbors};
use crate::flow::{Adjacencies, Decision, FlowCache};
use crate::hold::Hold;
use crate::icmp::RateLimit;
use crate::ip::{Address, IpHeader};
use crate::reassembly::{Reassembled, Reassembler};
use crate::sa::SaRef;
use crate::sad::Sad;
use crate::spd::Spd;
use crate::{DropReason, InterfaceId, Io, PacketBuf};

pub use crate::event::{Event, SaSide};

/// Packets per burst and per lane.
pub const BURST: usize = 32;
/// IPsec headers that one received packet may have opened, bundles and nested tunnels together.
pub(crate) const MAX_DEPTH: u8 = 4;
/// Fragments that one packet may be cut into.
pub(crate) const MAX_FRAGMENTS: usize = 1024;
/// Packets being reassembled at once, per worker: that many from the unprotected side, and that many others.
const REASSEMBLIES: usize = 256;
/// RFC 791 3.2, RFC 8200 4.5: how long fragments wait, in milliseconds.
pub const REASSEMBLY_TIMEOUT: u64 = 30_000;
/// ICMP errors per second, and in a burst (RFC 1812 4.3.2.8, RFC 4443 2.4 f).
const ICMP_ERRORS: (u32, u32) = (1000, 100);
/// Events told to control, per second and in a burst; those that anybody outside can cause have a limit of their
/// own, so that they do not keep acquires from control.
const NOTICES: (u32, u32) = (100, 20);

/// Where packets go that this worker does not send itself. The implementation counts what it passes on in
/// [`WorkerCounters`], and what a full ring or device refuses under its [`DropReason`].
pub trait Outlet: Io {
    /// To the slow path.
    fn punt(&mut self, punt: Punt<Self::Buf>);
    /// To the worker that owns the SA.
    fn hand_off(&mut self, worker: u16, handoff: Handoff<Self::Buf>);
    /// Tells control; false if the ring is full, and the event must be told again.
    fn notify(&mut self, event: Event) -> bool;
    /// What has been done since the last call was this stage's work, for a burst. Counts cycles, if asked to.
    #[inline(always)]
    fn lap(&mut self, _stage: Stage) {}
}

/// The parts of a worker's round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Devices give packets.
    Receive,
    /// Ethernet and IP are read, and the flow's or SPI's place is computed.
    Arrive,
    /// Flows and SPIs are looked up.
    LookUp,
    /// Headers and trailers are written, or sizes and replay window checked; all packets that go the whole way.
    Decide,
    /// The engine has the lane.
    Cipher,
    /// Replay window, trailer, selectors, link header; on to the devices.
    Finish,
    /// Devices take packets.
    Transmit,
}

impl Stage {
    /// All stages, with their names, in order.
    pub const ALL: [(Stage, &'static str); 7] = [
        (Stage::Receive, "receive"),
        (Stage::Arrive, "arrive"),
        (Stage::LookUp, "look up"),
        (Stage::Decide, "decide"),
        (Stage::Cipher, "cipher"),
        (Stage::Finish, "finish"),
        (Stage::Transmit, "transmit"),
    ];
}

/// A packet for the slow path.
#[derive(Debug)]
pub enum Punt<B> {
    /// An untagged Ethernet frame with ARP or neighbour discovery.
    Neighbor {
        /// Where it came in.
        interface: InterfaceId,
        /// The frame.
        frame: B,
    },
    /// A finished IP packet whose next hop's MAC address is unknown.
    Unresolved {
        /// Interface and next hop.
        interface: InterfaceId,
        /// Neighbour to resolve.
        next_hop: Address,
        /// The packet.
        packet: B,
    },
    /// An IP packet to one of our own addresses that the SPD lets pass.
    Local {
        /// The packet.
        packet: B,
    },
}

/// A packet for another worker.
#[derive(Debug)]
pub enum Handoff<B> {
    /// An IP packet whose outermost ESP or AH belongs to an SA of that worker.
    Open(B),
    /// An IP packet to protect with the outbound SA in this slot.
    Seal(u32, B),
}

/// A packet from the slow path.
#[derive(Debug)]
pub enum Inject<B> {
    /// A complete frame.
    Frame(InterfaceId, B),
    /// An IP packet from this gateway, subject to the SPD.
    Packet(B),
    /// An IP packet that is exempt from the SPD: IKE.
    Exempt(B),
}

/// What serves an SPD entry.
#[derive(Clone, Debug, Default)]
pub enum Service {
    /// Nothing: it does not protect, or has no SA.
    #[default]
    Nothing,
    /// An SA of the policy, the innermost of its bundle.
    Sa(SaRef),
    /// SAs that IKE negotiates for a child: [`Children`] knows them.
    Child {
        /// Number of the child, from control.
        number: u32,
        /// Clear packets may come in as long as there is no SA for them (requirement 132).
        accepts_clear: bool,
        /// What goes out and finds no SA passes in clear: nothing is asked for.
        only_answers: bool,
    },
}

/// What matched an SPD entry.
#[derive(Debug, Default)]
#[repr(align(16))]
pub struct EntryCounters {
    /// Packets.
    pub packets: Counter,
    /// Bytes, from the IP header on.
    pub bytes: Counter,
}

/// The interfaces behind one device port.
#[derive(Clone, Debug, Default)]
pub struct PortInterfaces {
    /// Interface of untagged frames.
    pub untagged: Option<InterfaceId>,
    /// Interfaces by VLAN id.
    pub vlans: Vec<(u16, InterfaceId)>,
}

/// Policy and topology as one worker sees them; replaced as a whole.
#[derive(Debug)]
pub struct View<C> {
    /// The SPD.
    pub spd: Arc<Spd<C>>,
    /// For each SPD entry, what serves it.
    pub services: Box<[Service]>,
    /// This worker's counters of the SPD entries.
    pub hits: Arc<[EntryCounters]>,
    /// Interfaces and routes.
    pub fib: Arc<Fib>,
    /// Interfaces by port.
    pub ports: Arc<[PortInterfaces]>,
    /// UDP ports on which ESP may come (RFC 3948), 4500 among them.
    pub esp_udp_ports: Arc<[u16]>,
    /// Known neighbours.
    pub neighbors: Arc<Neighbors>,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// From this interface.
    Interface(InterfaceId),
    /// Out of the inbound SA in this slot.
    Sa(u32),
    /// From another worker, which has looked at it.
    Worker,
    /// Made by this gateway.
    Local,
}

/// A packet in the seal or sign lane.
#[derive(Debug)]
pub(crate) struct Sealing<B> {
    pub(crate) buf: B,
    pub(crate) sequence: u64,
    pub(crate) slot: u32,
    /// Offset of ESP or AH.
    pub(crate) at: u32,
    /// Bytes of the packet inside, for the counters.
    pub(crate) payload: u32,
    /// It has its link header, and leaves by this interface as it comes out of the engine.
    pub(crate) addressed: Option<InterfaceId>,
}

/// A packet in the open or verify lane.
#[derive(Debug)]
pub(crate) struct Opening<B> {
    pub(crate) buf: B,
    pub(crate) sequence: u64,
    pub(crate) slot: u32,
    /// Offset of ESP or AH.
    pub(crate) at: u32,
    /// The outer header's class.
    pub(crate) class: u8,
    /// How many IPsec headers came off before.
    pub(crate) depth: u8,
    /// Length of the link header that the packet still has.
    pub(crate) link: u8,
}

impl<B> Sealing<B> {
    pub(crate) fn split(self) -> (B, Sealing<()>) {
        let rest = Sealing {
            buf: (),
            sequence: self.sequence,
            slot: self.slot,
            at: self.at,
            payload: self.payload,
            addressed: self.addressed,
        };
        (self.buf, rest)
    }
}

impl Sealing<()> {
    pub(crate) fn with<B>(self, buf: B) -> Sealing<B> {
        Sealing {
            buf,
            sequence: self.sequence,
            slot: self.slot,
            at: self.at,
            payload: self.payload,
            addressed: self.addressed,
        }
    }
}

impl Opening<()> {
    pub(crate) fn with<B>(self, buf: B) -> Opening<B> {
        Opening {
            buf,
            sequence: self.sequence,
            slot: self.slot,
            at: self.at,
            class: self.class,
            depth: self.depth,
            link: self.link,
        }
    }
}

impl<B> Opening<B> {
    #[inline(always)]
    pub(crate) fn split(self) -> (B, Opening<()>) {
        let rest = Opening {
            buf: (),
            sequence: self.sequence,
            slot: self.slot,
            at: self.at,
            class: self.class,
            depth: self.depth,
            link: self.link,
        };
        (self.buf, rest)
    }
}

pub(crate) type Lane<T> = ArrayVec<T, BURST>;

/// Packets that wait until there are enough for the next stage. What comes out of a stage may go into the same one
/// again, so there is more than one list; all memory is made at the start.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    list: Vec<T>,
    spare: Vec<Vec<T>>,
}

impl<T> Waiting<T> {
    fn new() -> Self {
        let list = || Vec::with_capacity(BURST);
        Waiting {
            list: list(),
            spare: (0..MAX_DEPTH).map(|_| list()).collect(),
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, item: T) {
        self.list.push(item);
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= BURST
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All that wait.
    #[inline]
    pub(crate) fn begin(&mut self) -> Vec<T> {
        std::mem::replace(&mut self.list, self.spare.pop().unwrap_or_default())
    }

    /// Gives the emptied list back.
    #[inline]
    pub(crate) fn end(&mut self, list: Vec<T>) {
        self.spare.push(list);
    }
}

/// The engine's job for an ESP packet at offset `at` of `buf`; `None` if the SA is gone.
pub(crate) fn esp_job<'a, K, B: PacketBuf>(
    sa: Option<(&'a K, bool)>,
    buf: &'a mut B,
    at: u32,
    sequence: u64,
) -> Option<EspJob<'a, K>> {
    let (key, esn) = sa?;
    let sequence_high = esn.then_some((sequence >> 32) as u32);
    Some(EspJob {
        key,
        packet: buf.data_mut().get_mut(at as usize..)?,
        sequence_high,
        ok: false,
    })
}

/// The same for an AH packet under its masked header.
pub(crate) fn ah_job<'a, K, B: PacketBuf>(
    sa: Option<(&'a K, bool)>,
    buf: &'a mut B,
    header: &'a [u8],
    at: u32,
    sequence: u64,
) -> Option<AhJob<'a, K>> {
    let (key, esn) = sa?;
    let sequence_high = esn.then_some((sequence >> 32) as u32);
    Some(AhJob {
        key,
        header,
        packet: buf.data_mut().get_mut(at as usize..)?,
        sequence_high,
        ok: false,
    })
}

/// The engine's answers for a lane of `items`. SAs come and go only between bursts, so there is a job for each
/// item; were there not, no answer would be believed.
pub(crate) fn verdicts<J>(items: usize, jobs: &[J], ok: impl Fn(&J) -> bool) -> [bool; BURST] {
    let mut answers = [false; BURST];
    if jobs.len() == items {
        answers
            .iter_mut()
            .zip(jobs)
            .for_each(|(answer, job)| *answer = ok(job));
    }
    answers
}

/// One worker's packet processing.
pub struct Pipeline<E: Engine, C, B> {
    pub(crate) worker: u16,
    pub(crate) engine: E,
    pub(crate) sad: Sad<E::Key>,
    pub(crate) children: Children,
    pub(crate) hold: Hold<B>,
    pub(crate) view: View<C>,
    pub(crate) flows: FlowCache,
    /// What clear packets from the unprotected side meet: apart, so that a flood of them evicts no one else.
    pub(crate) clear_flows: FlowCache,
    /// The ways out that remembered flows name.
    pub(crate) adjacencies: Adjacencies,
    /// SAs so far.
    pub(crate) serial: u32,
    pub(crate) counters: Arc<WorkerCounters>,
    /// Of clear fragments from the unprotected side, and of all others: who fills the first one does no harm to
    /// the protected side.
    pub(crate) reassemblers: [Reassembler<B>; 2],
    /// Places for a burst.
    arrivals: Vec<Arrival>,
    /// Of the packets in the sealing lane, and of those that come out of the opening lane.
    pub(crate) sealing_account: Account,
    pub(crate) opening_account: Account,
    pub(crate) sealing: Waiting<Sealing<B>>,
    pub(crate) signing: Waiting<(Sealing<B>, MaskedHeader)>,
    pub(crate) opening: Waiting<Opening<B>>,
    pub(crate) verifying: Waiting<(Opening<B>, MaskedHeader)>,
    /// Places for what comes out of opening lanes, for as many as are emptied one inside the other.
    #[expect(clippy::vec_box, reason = "they are taken out and put back")]
    pub(crate) emerging: Vec<Box<[Arrival; BURST]>>,
    pub(crate) fragments: Vec<B>,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) icmp_limit: RateLimit,
    pub(crate) notice_limit: RateLimit,
    pub(crate) acquire_limit: RateLimit,
    pub(crate) failure_limit: RateLimit,
    /// There is a NIC that may take SAs.
    pub(crate) offloads: bool,
    pub(crate) now: u64,
}

impl<E: Lookaside<B>, C: crate::spd::Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// A worker's pipeline; `seed` must come from the system's random source, `flows` is the size of the flow
    /// cache. All memory is made here.
    pub fn new(
        worker: u16,
        engine: E,
        view: View<C>,
        counters: Arc<WorkerCounters>,
        flows: usize,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        Pipeline {
            worker,
            engine,
            sad: Sad::default(),
            children: Children::default(),
            hold: Hold::new(),
            view,
            flows: FlowCache::new(flows, rng.next_u64()),
            clear_flows: FlowCache::new(flows / 8, rng.next_u64()),
            counters,
            reassemblers: [(); 2].map(|()| Reassembler::new(REASSEMBLIES, REASSEMBLY_TIMEOUT)),
            adjacencies: Adjacencies::new(),
            serial: 0,
            arrivals: vec![Arrival::default(); BURST],
            sealing_account: Account::default(),
            opening_account: Account::default(),
            sealing: Waiting::new(),
            signing: Waiting::new(),
            opening: Waiting::new(),
            verifying: Waiting::new(),
            emerging: (0..=MAX_DEPTH).map(|_| Box::default()).collect(),
            fragments: Vec::with_capacity(MAX_FRAGMENTS),
            rng,
            icmp_limit: RateLimit::new(ICMP_ERRORS.0, ICMP_ERRORS.1),
            notice_limit: RateLimit::new(NOTICES.0, NOTICES.1),
            acquire_limit: RateLimit::new(NOTICES.0, NOTICES.1),
            failure_limit: RateLimit::new(NOTICES.0, NOTICES.1),
            offloads: false,
            now: 0,
        }
    }

    /// Takes in a burst of frames from a port at `now` milliseconds and sends all that comes of it on its way.
    pub fn receive<I, const N: usize>(
        &mut self,
        io: &mut I,
        now: u64,
        port: usize,
        frames: &mut ArrayVec<B, N>,
    ) where
        I: Outlet<Buf = B>,
    {
        self.now = now;
        if self.adjacencies.is_full() {
            self.flush(io);
            self.forget_flows();
        }
        self.counters.received.add(frames.len() as u64);
        let untagged = self.untagged(port);
        let mut arrivals = std::mem::take(&mut self.arrivals);
        while !frames.is_empty() {
            let count = frames.len().min(BURST);
            self.arrive_all(untagged, &mut arrivals, frames);
            io.lap(Stage::Arrive);
            self.look_up_all(arrivals.get_mut(..count).unwrap_or_default());
            if self.sad.is_large() {
                self.approach(&arrivals, count);
            }
            io.lap(Stage::LookUp);
            self.decide_all(io, port, &arrivals, frames.drain(..count));
            io.lap(Stage::Decide);
        }
        self.arrivals = arrivals;
        self.flush(io);
    }

    /// Takes over a packet from another worker.
    pub fn take_over<I: Outlet<Buf = B>>(&mut self, io: &mut I, now: u64, handoff: Handoff<B>) {
        self.now = now;
        self.counters.taken_over.add(1);
        match handoff {
            Handoff::Open(buf) => self.reenter(io, buf, |p, io, buf, ip| p.open(io, buf, &ip, 0)),
            Handoff::Seal(slot, buf) => {
                self.reenter(io, buf, |p, io, buf, ip| {
                    p.protect(io, buf, &ip, Origin::Worker, slot)
                });
            }
        }
    }

    /// Sends a packet that the slow path made.
    pub fn inject<I: Outlet<Buf = B>>(&mut self, io: &mut I, now: u64, inject: Inject<B>) {
        self.now = now;
        self.counters.injected.add(1);
        match inject {
            Inject::Frame(interface, frame) => io.transmit(interface, frame),
            Inject::Packet(buf) => {
                self.reenter(io, buf, |p, io, buf, ip| {
                    p.outbound(io, buf, &ip, Origin::Local)
                });
            }
            Inject::Exempt(buf) => {
                self.reenter(io, buf, |p, io, buf, ip| p.send_exempt(io, buf, ip))
            }
        }
    }

    /// Ends a round: takes back what a device is done with, runs what is in the lanes, drops fragments that waited too long. Cheap when there is nothing.
    pub fn finish<I: Outlet<Buf = B>>(&mut self, io: &mut I, now: u64) {
        self.now = now;
        self.collect(io);
        self.release_held(io);
        self.flush(io);
        let mut held = (self.engine.in_flight() + self.hold.len()) as u64;
        for reassembler in &mut self.reassemblers {
            let late = reassembler.expire(io, now);
            self.counters
                .drops
                .add(DropReason::FragmentTimeout, late.into());
            held += reassembler.held() as u64;
        }
        self.counters.held.set(held);
    }

    /// Gives back all packets held, before the worker ends. What is in a device by now goes down with the engine.
    pub fn release<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        self.flush(io);
        self.clear_held(io);
        for reassembler in &mut self.reassemblers {
            let held = reassembler.clear(io);
            self.counters
                .drops
                .add(DropReason::FragmentTimeout, held.into());
        }
        let lost = self.engine.in_flight() as u64;
        self.counters.drops.add(DropReason::EngineFailure, lost);
        self.counters.held.set(0);
    }

    /// Ethernet: which interface, which protocol.
    pub(crate) fn admit<I: Outlet<Buf = B>>(&mut self, io: &mut I, port: usize, buf: B) {
        let (frame, id, side) = match self.classify(port, buf.data()) {
            Ok(found) => found,
            Err(reason) => return self.drop(io, buf, reason),
        };
        let mut buf = buf;
        match frame.ethertype {
            ethertype::ARP => self.punt_neighbor(io, buf, &frame, id),
            ethertype::IPV4 | ethertype::IPV6 => {
                if crate::local::is_neighbor_discovery(buf.data(), &frame) {
                    return self.punt_neighbor(io, buf, &frame, id);
                }
                if frame.is_group() {
                    // RFC 1812 5.3.4: what came by link layer broadcast is not forwarded, nor answered.
                    return self.drop(io, buf, DropReason::Multicast);
                }
                buf.trim_front(frame.len);
                self.reenter(io, buf, |p, io, buf, ip| {
                    if ip.version.ethertype() != frame.ethertype {
                        return p.drop(io, buf, DropReason::IpMalformed);
                    }
                    match side {
                        Side::Protected => p.outbound(io, buf, &ip, Origin::Interface(id)),
                        Side::Unprotected => p.inbound(io, buf, &ip, id),
                    }
                });
            }
            _ => self.drop(io, buf, DropReason::UnknownEthertype),
        }
    }

    #[inline]
    fn classify(
        &self,
        port: usize,
        frame: &[u8],
    ) -> Result<(Frame, InterfaceId, Side), DropReason> {
        let frame = Frame::parse(frame)?;
        let interfaces = self.view.ports.get(port).ok_or(DropReason::InterfaceDown)?;
        let id = match frame.vlan {
            None => interfaces.untagged,
            Some(vlan) => interfaces.vlans.iter().find(|v| v.0 == vlan).map(|v| v.1),
        };
        let id = id.ok_or(DropReason::UnknownVlan)?;
        let interface = self.view.fib.interface(id).ok_or(DropReason::UnknownVlan)?;
        if !frame.is_for(interface.mac) {
            return Err(DropReason::NotForUs);
        }
        Ok((frame, id, interface.side))
    }

    /// Reads the IP header at the front of a packet, cuts what is behind its end, and goes on with it.
    pub(crate) fn reenter<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        next: impl FnOnce(&mut Self, &mut I, B, IpHeader),
    ) {
        match IpHeader::parse(buf.data()) {
            Ok(ip) => {
                buf.truncate(ip.total_len as usize);
                next(self, io, buf, ip);
            }
            Err(reason) => self.drop(io, buf, reason),
        }
    }

    /// Adds a fragment; goes on with the whole packet when it is complete. Whoever sent fragments has to bear
    /// fragments: the whole packet may be cut again, whatever its DF bit says.
    pub(crate) fn reassemble<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        next: impl FnOnce(&mut Self, &mut I, B, IpHeader),
    ) {
        let side = match origin {
            Origin::Interface(id) => self.view.fib.interface(id).map(|i| i.side),
            Origin::Sa(_) | Origin::Worker | Origin::Local => None,
        };
        let [outside, inside] = &mut self.reassemblers;
        let reassembler = match side {
            Some(Side::Unprotected) => outside,
            _ => inside,
        };
        let before = reassembler.held();
        match reassembler.push(io, self.now, origin, buf, ip) {
            Reassembled::Held { evicted } => {
                self.counters
                    .drops
                    .add(DropReason::FragmentTableFull, evicted.into());
            }
            Reassembled::Complete(whole) => {
                let used = before + 1 - reassembler.held().min(before + 1);
                self.counters.consumed.add(used as u64);
                self.counters.created.add(1);
                self.reenter(io, whole, |p, io, buf, mut ip| {
                    ip.dont_fragment = false;
                    next(p, io, buf, ip);
                });
            }
            Reassembled::Dropped { reason, count } => self.counters.drops.add(reason, count.into()),
        }
    }

    /// Runs the lanes until all are empty: what comes out of one may go into another. To be done before an order is applied:
    /// a packet in a lane has its headers and IV for the SA that is in its slot now, and its way out for this generation.
    pub fn flush<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        loop {
            if !self.opening.is_empty() {
                self.run_opening(io);
            } else if !self.verifying.is_empty() {
                self.run_verifying(io);
            } else if !self.sealing.is_empty() {
                self.run_sealing(io);
            } else if !self.signing.is_empty() {
                self.run_signing(io);
            } else {
                return;
            }
        }
    }

    /// Drops a packet for a reason.
    pub(crate) fn drop<I: Outlet<Buf = B>>(&mut self, io: &mut I, buf: B, reason: DropReason) {
        self.counters.drops.add(reason, 1);
        io.discard(buf);
    }

    /// Counts a packet for an SPD entry.
    #[inline]
    pub(crate) fn count_entry(&self, decision: &Decision, bytes: u32) {
        if let Some(hits) = self.view.hits.get(decision.entry as usize) {
            hits.packets.add(1);
            hits.bytes.add(bytes.into());
        }
    }

    /// The first protected interface: its address speaks for the gateway inside tunnels.
    pub(crate) fn protected_interface(&self, v4: bool) -> Option<InterfaceId> {
        let has = |i: &Interface| {
            i.side == Side::Protected && i.addresses.iter().any(|n| n.addr().is_ipv4() == v4)
        };
        self.view
            .fib
            .interfaces()
            .iter()
            .position(has)
            .map(|i| InterfaceId(i as u16))
    }
}

/// Bytes by which a frame can be longer than its IP packet.
pub const LINK_OVERHEAD: usize = ethernet::HEADER + ethernet::TAG;
