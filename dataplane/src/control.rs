//! The slow path: one thread that answers neighbours and pings, feeds the workers, frees what they retire, and
//! tells operators what goes on. Workers go on forwarding while it is slow.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::SystemTime;

use portcullis_config::Policy;
use portcullis_ipsec::counters::DropCounters;
use portcullis_ipsec::fib::{Fib, Neighbors};
use portcullis_ipsec::flow::LinkHeader;
use portcullis_ipsec::icmp::{self, IcmpError, RateLimit};
use portcullis_ipsec::ip::{Address, IpHeader, protocol};
use portcullis_ipsec::neighbor::{Resolver, State};
use portcullis_ipsec::pipeline::{Event as News, Inject, Punt, SaSide};
use portcullis_ipsec::sa::SaRef;
use portcullis_ipsec::spd::{Spd, Tree};
use portcullis_ipsec::{DropReason, InterfaceId, PacketBuf};

use crate::agent::health::Health;
use crate::capture::Capture;
use crate::eal::Pools;
use crate::engine::cryptodev::CryptoDevices;
use crate::events::{Event, Events};
use crate::ike::Ike;
use crate::install::Installed;
use crate::live_capture::LiveCapture;
use crate::metrics::Metrics;
use crate::negotiated::{Limit, Negotiated};
use crate::offload::Offloads;
use crate::packet::Packet;
use crate::port::Ports;
use crate::prepare::Basis;
use crate::punt::is_ike;
use crate::reclaim::{Garbage, Reclaimer};
use crate::ring::{Receiver, Sender};
use crate::soft::SoftSas;
use crate::spi::Spis;
use crate::totals::EntryTotals;
use crate::worker::{Captured, FromWorker, ToWorker, WorkerCommand, WorkerRetired, WorkerStatus};

/// Messages taken from one ring in one round.
const MESSAGES: usize = 256;
/// Retired memory passed on in one round.
const RETIRED: usize = 4096;
/// Orders that a worker may be behind.
pub const COMMAND_RING: usize = 4096;
/// How many of them may be in the ring: packets need room, too.
const ORDERS_IN_RING: usize = COMMAND_RING - 1024;
/// Least MTU that an unauthenticated ICMP error can bring an SA down to (RFC 1191 3, RFC 8200 5).
const LEAST_PATH_MTU: [u32; 2] = [576, 1280];
/// RFC 1191 6.3: a learnt path MTU is tried again after ten minutes.
const PATH_MTU_AGE: u64 = 600_000;
/// Milliseconds between two lists of neighbours for the workers, which forget their flows at each: whoever floods
/// us with new neighbours must not cost them more than that.
const NEIGHBOR_INTERVAL: u64 = 10;

/// Control's end of a worker.
#[derive(Debug)]
pub struct WorkerLink {
    /// Orders and packets to it.
    pub to_worker: Sender<ToWorker>,
    /// What found no room in the ring yet, in order.
    pub waiting: VecDeque<ToWorker>,
    /// Punts and news from it.
    pub from_worker: Receiver<FromWorker>,
    /// Punts that go before those.
    pub urgent: Receiver<Punt<Packet>>,
    /// ARP and neighbour discovery.
    pub neighbors: Receiver<Punt<Packet>>,
    /// IKE without a cookie of ours, from whomever.
    pub first: Receiver<Punt<Packet>>,
    /// What its orders replaced.
    pub retired: Receiver<WorkerRetired>,
    /// Copies of frames.
    pub captured: Receiver<Captured>,
    /// Its counters.
    pub status: Arc<WorkerStatus>,
    /// Messages so far, those that wait among them.
    pub sent: u64,
    /// The worker, if it sleeps when it has nothing to do.
    pub sleeper: Option<Thread>,
    /// There is something in its ring that it may not know of.
    pub has_more: bool,
}

impl WorkerLink {
    /// Sends a message, now or as soon as there is room: an order is never lost.
    pub fn send(&mut self, message: ToWorker) {
        self.sent += 1;
        self.waiting.push_back(message);
        self.push_waiting();
    }

    /// Sends orders, now or as soon as there is room.
    pub fn send_all(&mut self, orders: impl IntoIterator<Item = WorkerCommand>) {
        let before = self.waiting.len();
        self.waiting
            .extend(orders.into_iter().map(ToWorker::Command));
        self.sent += (self.waiting.len() - before) as u64;
        self.push_waiting();
    }

    /// Sends a packet if there is room: packets are not worth memory without end. It does not wait for orders.
    fn inject(&mut self, packet: Inject<Packet>) -> Result<(), DropReason> {
        match self.to_worker.push(ToWorker::Inject(packet)) {
            Ok(()) => {
                self.sent += 1;
                self.has_more = true;
                Ok(())
            }
            Err(_) => Err(DropReason::InjectFull),
        }
    }

    /// What was sent need not wait for the end of its nap. Once for all of it: each time may switch the core's thread.
    fn wake(&mut self) {
        let has_more = std::mem::take(&mut self.has_more);
        if let Some(worker) = self.sleeper.as_ref().filter(|_| has_more) {
            worker.unpark();
        }
    }

    /// True if a packet would find room.
    pub(crate) fn has_room(&self) -> bool {
        self.to_worker.has_room()
    }

    /// Orders leave room for packets.
    fn push_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.has_more = true;
        let room = ORDERS_IN_RING.saturating_sub(self.to_worker.depth());
        for _ in 0..room {
            let Some(message) = self.waiting.pop_front() else {
                // A change of many SAs has room for all its orders, which the next one may never need.
                self.waiting.shrink_to(COMMAND_RING);
                return;
            };
            if let Err(message) = self.to_worker.push(message) {
                self.waiting.push_front(message);
                return;
            }
        }
    }
}

/// The slow path's state.
pub struct Control {
    /// The policy in force, and its SAs.
    pub installed: Arc<Installed>,
    /// What its SPD entries count.
    pub entries: EntryTotals,
    /// Workers.
    pub workers: Vec<WorkerLink>,
    /// Ports.
    pub ports: Ports,
    /// Of ICMP errors about packets for nobody here.
    pub icmp_limit: RateLimit,
    /// Crypto devices.
    pub devices: Arc<CryptoDevices>,
    /// Ports whose devices cipher.
    pub offloads: Offloads,
    /// Interfaces and routes.
    pub fib: Arc<Fib>,
    /// The SPD as workers have it.
    pub spd: Arc<Spd<Tree>>,
    /// ARP and neighbour discovery.
    pub resolver: Resolver<Packet>,
    /// Open capture files, by port.
    pub captures: Vec<Option<Capture>>,
    /// What an operator sees of all ports, now.
    pub live_capture: Option<LiveCapture>,
    /// Figures for Prometheus.
    pub metrics: Option<Metrics>,
    /// Buffer pools.
    pub pools: Pools,
    /// What control itself dropped.
    pub drops: DropCounters,
    /// When the workers were last told the neighbours.
    pub neighbors_sent: u64,
    /// Learnt path MTUs of outbound SAs, and when they will be forgotten.
    pub path_mtus: HashMap<SaRef, (u32, u64)>,
    /// Frees what workers retire.
    pub reclaimer: Reclaimer,
    /// IKE.
    pub ike: Ike,
    /// Its SAs.
    pub negotiated: Negotiated,
    /// What passes in clear since its peer knows no IKE.
    pub soft: SoftSas,
    /// SPIs in use.
    pub spis: Spis,
    /// What operators are told of.
    pub events: Events,
    /// Where policies come from, if not from the machine's own file.
    pub store: Option<Health>,
}

impl Control {
    /// One look at everything. True if there was anything to do.
    pub fn round(&mut self, now: u64) -> bool {
        let mut busy = false;
        for index in 0..self.workers.len() {
            busy |= self.hear_worker(index, now);
        }
        self.devices.sweep();
        self.advance_offloads(now);
        self.resolver.handle_timeout(now);
        self.send_neighbors(now);
        self.forget_path_mtus(now);
        self.advance_capture(now);
        busy |= self.drive_ike(now);
        self.workers.iter_mut().for_each(WorkerLink::wake);
        busy
    }

    fn hear_worker(&mut self, index: usize, now: u64) -> bool {
        let mut busy = self.take_retired(index);
        for _ in 0..MESSAGES {
            let Some(worker) = self.workers.get_mut(index) else {
                return busy;
            };
            worker.push_waiting();
            // A punt of any ring waits for one message of each other ring at the most, and none is starved.
            let neighbor = worker.neighbors.pop();
            let urgent = worker.urgent.pop();
            let first = worker.first.pop();
            let captured = worker.captured.pop();
            let message = worker.from_worker.pop();
            let none = neighbor.is_none() && urgent.is_none() && first.is_none();
            if none && captured.is_none() && message.is_none() {
                break;
            }
            busy = true;
            for punt in neighbor.into_iter().chain(urgent).chain(first) {
                self.handle_punt(index, now, punt);
            }
            if let Some(captured) = captured {
                self.write_capture(&captured);
                self.show_capture(&captured);
            }
            match message {
                Some(FromWorker::Punt(punt)) => self.handle_punt(index, now, punt),
                Some(FromWorker::Event(news)) => self.handle_news(index, now, news),
                None => {}
            }
        }
        busy
    }

    /// Passes on what a worker has retired.
    fn take_retired(&mut self, index: usize) -> bool {
        let Some(worker) = self.workers.get_mut(index) else {
            return false;
        };
        let mut busy = false;
        for _ in 0..RETIRED {
            let Some(retired) = worker.retired.pop() else {
                break;
            };
            busy = true;
            self.offloads.retire(&retired);
            self.reclaimer.free(Garbage::Retired(retired));
        }
        busy
    }

    /// What a new policy would meet.
    pub fn basis(&self) -> Basis {
        Basis {
            installed: self.installed.clone(),
            fib: self.fib.clone(),
            ports: self.ports.interfaces.clone().into(),
            devices: self.devices.clone(),
            numbers: self.ike.numbers.clone(),
        }
    }

    /// A new policy is in force; the workers are told by the caller.
    pub fn adopt(&mut self, installed: Installed, fib: Arc<Fib>, spd: Arc<Spd<Tree>>) {
        self.resolver.set_fixed(fixed_neighbors(&installed.policy));
        let interfaces = (0..).map(InterfaceId).zip(&installed.policy.interfaces);
        let addresses = interfaces.map(|(id, interface)| (id, interface.addresses.clone()));
        self.resolver.set_addresses(addresses);
        let is_there = |place: &SaRef| {
            let side = SaSide::Outbound(place.slot);
            let there = installed.at(usize::from(place.worker), side).is_some();
            there || self.negotiated.has_outbound(*place)
        };
        self.path_mtus.retain(|place, _| is_there(place));
        (self.fib, self.spd) = (fib, spd);
        let old = std::mem::replace(&mut self.installed, Arc::new(installed));
        let both = [&old, &self.installed].map(|each| {
            let policy = &each.policy;
            each.sas.len() + policy.spd.len() + policy.routes.len() + policy.neighbors.len()
        });
        self.reclaimer
            .free(Garbage::Installed(old, both.iter().sum()));
        self.refresh_capture();
    }

    fn handle_punt(&mut self, worker: usize, now: u64, punt: Punt<Packet>) {
        match punt {
            Punt::Neighbor { interface, frame } => {
                self.resolver.handle_frame(now, interface, frame.data());
            }
            Punt::Unresolved {
                interface,
                next_hop,
                packet,
            } => {
                self.resolver.resolve(now, interface, next_hop, packet);
            }
            Punt::Local { packet } => match self.answer(now, packet) {
                Ok(Some(answer)) => self.inject(worker, Inject::Packet(answer)),
                Ok(None) => {}
                Err(reason) => self.drops.add(reason, 1),
            },
        }
    }

    /// The answer to a packet for this gateway, if there is one at once: an echo reply, or that nobody listens.
    fn answer(&mut self, now: u64, mut packet: Packet) -> Result<Option<Packet>, DropReason> {
        let ip = IpHeader::parse(packet.data())?;
        match ip.protocol {
            protocol::ICMP | protocol::ICMPV6 => {
                icmp::echo_reply(packet.data_mut(), &ip)?;
                Ok(Some(packet))
            }
            protocol::UDP => {
                if is_ike(packet.data(), &ip) {
                    return self.receive_ike(now, &packet, &ip).map(|()| None);
                }
                // RFC 1812 4.3.2.8: a flood is not answered by another one.
                if !self.icmp_limit.allow(now) {
                    return Err(DropReason::NoListener);
                }
                let source = ip.destination;
                icmp::make_error(&mut packet, &ip, IcmpError::PortUnreachable, source)
                    .map_err(|_| DropReason::NoListener)?;
                self.drops.add(DropReason::NoListener, 1);
                Ok(Some(packet))
            }
            _ => Err(DropReason::NoListener),
        }
    }

    fn handle_news(&mut self, worker: usize, now: u64, news: News) {
        match news {
            News::SoftExpire(side) if self.limit_reached(now, worker, side, Limit::Soft) => {}
            News::HardExpire(side) if self.limit_reached(now, worker, side, Limit::Hard) => {}
            News::SoftExpire(side) => {
                let sa = self.sa_name(worker, side);
                self.raise(now, Event::SaAging { sa });
            }
            News::HardExpire(side) => {
                let sa = self.sa_name(worker, side);
                self.raise(now, Event::SaExpired { sa });
            }
            News::BadSpi {
                spi,
                protocol,
                source,
                destination,
            } => {
                let event = Event::BadSpi {
                    spi: format!("{spi:#010x}"),
                    protocol,
                    source: source.to_ip().to_string(),
                    destination: destination.to_ip().to_string(),
                };
                self.raise(now, event);
            }
            News::Acquire {
                entry,
                source,
                destination,
                protocol,
            } => {
                let entry = self.installed.policy.spd.get(entry as usize);
                let event = Event::NoSa {
                    entry: entry.map_or_else(|| "?".into(), |entry| entry.name.clone()),
                    source: source.to_ip().to_string(),
                    destination: destination.to_ip().to_string(),
                    protocol,
                };
                self.raise(now, event);
            }
            News::Negotiate {
                child,
                source,
                destination,
                ..
            } => self.acquire(now, child, source, destination),
            News::PeerMoved { sa, address, port } => {
                self.peer_moved(now, (worker, sa), SocketAddr::new(address.to_ip(), port));
            }
            News::CryptoFailure {
                sa,
                spi,
                source,
                reason,
            } => {
                let event = Event::CryptoFailure {
                    sa: self.sa_name(worker, sa),
                    spi: format!("{spi:#010x}"),
                    source: Some(source.to_ip().to_string()),
                    reason: reason.text().to_owned(),
                };
                self.raise(now, event);
            }
            News::OffloadWanted { sa, session } => {
                self.offload_wanted(now, (worker, sa), session);
            }
            News::PathMtu {
                spi,
                protocol,
                destination,
                mtu,
            } => {
                self.learn_path_mtu(now, spi, protocol, destination, mtu);
            }
        }
    }

    fn sa_name(&self, worker: usize, side: SaSide) -> String {
        let sa = self.installed.at(worker, side);
        let sa = sa.or_else(|| self.negotiated.at(worker, side));
        let name = sa.map(|sa| sa.name.as_str());
        let name = name.or_else(|| self.negotiated.departing.name(worker, side));
        name.unwrap_or("?").to_owned()
    }

    /// RFC 4301 8.2.1: an MTU named by an unauthenticated router is believed for a packet that we may have
    /// sent, only downwards, not below the least, and for ten minutes.
    fn learn_path_mtu(&mut self, now: u64, spi: u32, protocol: u8, destination: Address, mtu: u32) {
        let known = self.installed.outbound(spi, protocol, destination);
        let known = known.or_else(|| self.negotiated.outbound(spi, protocol, destination));
        let Some((sa, place)) = known else {
            return;
        };
        let [least_v4, least_v6] = LEAST_PATH_MTU;
        let mtu = mtu.max(if destination.is_v4() {
            least_v4
        } else {
            least_v6
        });
        if self
            .path_mtus
            .get(&place)
            .is_some_and(|(known, _)| *known <= mtu)
        {
            return;
        }
        let sa = sa.name.clone();
        self.raise(now, Event::PathMtu { sa, mtu });
        self.path_mtus.insert(place, (mtu, now + PATH_MTU_AGE));
        self.command(place, WorkerCommand::SetPathMtu(place.slot, mtu));
    }

    fn forget_path_mtus(&mut self, now: u64) {
        let due = |(place, (_, until)): (&SaRef, &(u32, u64))| (*until <= now).then_some(*place);
        while let Some(place) = self.path_mtus.iter().find_map(due) {
            self.path_mtus.remove(&place);
            self.command(place, WorkerCommand::SetPathMtu(place.slot, u32::MAX));
        }
    }

    fn command(&mut self, place: SaRef, command: WorkerCommand) {
        if let Some(worker) = self.workers.get_mut(usize::from(place.worker)) {
            worker.send(ToWorker::Command(command));
        }
    }

    pub(crate) fn inject(&mut self, worker: usize, inject: Inject<Packet>) {
        let sent = self
            .workers
            .get_mut(worker)
            .map(|worker| worker.inject(inject));
        if let Some(Err(reason)) = sent {
            self.drops.add(reason, 1);
        }
    }

    /// Sends what the resolver has to say and tells the workers what it has learnt.
    fn send_neighbors(&mut self, now: u64) {
        if now >= self.neighbors_sent + NEIGHBOR_INTERVAL && self.resolver.take_change() {
            self.neighbors_sent = now;
            let known = Arc::new(self.neighbors());
            for worker in &mut self.workers {
                worker.send(ToWorker::Command(WorkerCommand::SetNeighbors(
                    known.clone(),
                )));
            }
        }
        while let Some((interface, frame)) = self.resolver.poll_transmit() {
            match self.frame(interface, &frame) {
                Some(packet) => self.inject(0, Inject::Frame(interface, packet)),
                None => self.drops.add(DropReason::NoBuffer, 1),
            }
        }
        while let Some((interface, next_hop, packet)) = self.resolver.poll_ready() {
            match self.address(interface, next_hop, packet) {
                Some(packet) => self.inject(0, Inject::Frame(interface, packet)),
                None => self.drops.add(DropReason::NoNeighbor, 1),
            }
        }
        while let Some((reason, _)) = self.resolver.poll_dropped() {
            self.drops.add(reason, 1);
        }
    }

    /// The neighbours that packets can be sent to.
    pub fn neighbors(&self) -> Neighbors {
        let known = self
            .resolver
            .entries()
            .filter(|(.., state)| *state != State::Incomplete);
        Neighbors(
            known
                .map(|(interface, address, mac, _)| ((interface, address), mac))
                .collect(),
        )
    }

    /// A packet with an untagged frame's content, tagged for its interface.
    fn frame(&self, id: InterfaceId, frame: &[u8]) -> Option<Packet> {
        let (header, payload) = frame.split_first_chunk::<14>()?;
        let [destination @ .., _, _, _, _, _, _, _, _] = header;
        let ethertype = u16::from_be_bytes([header[12], header[13]]);
        let mut packet = Packet(self.pools.packets.alloc()?);
        packet.append(payload.len()).ok()?;
        packet.data_mut().copy_from_slice(payload);
        let link = LinkHeader::new(id, self.fib.interface(id)?, *destination, ethertype);
        link.prepend_to(&mut packet).ok()?;
        Some(packet)
    }

    /// An IP packet with the link header to a neighbour that is now known.
    fn address(&self, id: InterfaceId, next_hop: Address, mut packet: Packet) -> Option<Packet> {
        let mut entries = self.resolver.entries();
        let (_, _, mac, _) = entries.find(|(i, address, ..)| *i == id && *address == next_hop)?;
        let ethertype = if packet.data().first()? >> 4 == 4 {
            0x0800
        } else {
            0x86dd
        };
        let link = LinkHeader::new(id, self.fib.interface(id)?, mac, ethertype);
        link.prepend_to(&mut packet).ok()?;
        Some(packet)
    }

    fn write_capture(&mut self, captured: &Captured) {
        let place = self.captures.get_mut(usize::from(captured.port));
        let Some(Some(file)) = place else { return };
        if let Err(error) = file.write(SystemTime::now(), captured.frame.data()) {
            tracing::error!(%error, "capture file cannot be written; capture ends");
            if let Some(place) = self.captures.get_mut(usize::from(captured.port)) {
                *place = None;
            }
        }
    }

    /// After the workers have ended: takes what is left in the rings. Nobody takes anything from IKE any more, so that
    /// it is not waited for.
    pub fn finish(&mut self, now: u64) {
        for index in 0..self.workers.len() {
            while self.hear_worker(index, now) {}
        }
        self.round(now);
        for capture in self.captures.iter_mut().flatten() {
            if let Err(error) = capture.flush() {
                tracing::error!(%error, "capture file cannot be written");
            }
        }
    }

    /// True if orders wait for room in a ring.
    pub fn is_behind(&self) -> bool {
        self.workers.iter().any(|link| !link.waiting.is_empty())
    }

    /// True when all workers have their SAs and receive.
    pub fn is_running(&self) -> bool {
        let receives = |worker: &WorkerLink| worker.status.receives.load(Ordering::Relaxed);
        self.workers.iter().all(receives)
    }

    /// True if all finite inputs are read and no packet is in a worker's hand.
    pub fn is_drained(&self) -> bool {
        self.workers.iter().all(|worker| {
            worker.status.drained.load(Ordering::Relaxed)
                && worker.from_worker.is_empty()
                && worker.urgent.is_empty()
                && worker.neighbors.is_empty()
                && worker.first.is_empty()
                && worker.captured.is_empty()
                && worker.waiting.is_empty()
                && worker.to_worker.depth() == 0
        })
    }
}

/// The static neighbours of a policy.
pub fn fixed_neighbors(policy: &Policy) -> Vec<(InterfaceId, Address, [u8; 6])> {
    let fixed = policy.neighbors.iter().map(|neighbor| {
        let interface = InterfaceId(neighbor.interface as u16);
        (interface, Address::from(neighbor.address), neighbor.mac)
    });
    fixed.collect()
}
