//! Two gateways on plain buffers: A and B, joined by a wire, a LAN behind each.
//!
//! ```text
//! host 10.1.0.10, fd01::10 -- A 192.0.2.1, 2001:db8::1 ==== B 192.0.2.2, 2001:db8::2 -- host 10.2.0.20, fd02::20
//!      172.16.1.10 (VLAN 7) -+                                              +- 172.16.2.20 (VLAN 7)
//! ```
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)] // each user takes a part

pub mod device;
pub mod packets;
pub mod policy;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrayvec::ArrayVec;
use portcullis_config::{Action, ClearText, Direction, SaConfig, Side, SpdEntry};
use portcullis_ipsec::buffer::TestBuf;
use portcullis_ipsec::command::Command;
use portcullis_ipsec::counters::{SaCounters, WorkerCounters};
use portcullis_ipsec::engine::Engine;
use portcullis_ipsec::engine::portable::{Key, Portable};
use portcullis_ipsec::fib::{Fib, Hop, Interface, Neighbors};
use portcullis_ipsec::ip::{Address, IpVersion};
use portcullis_ipsec::offload::{HardwareStatus, Session};
use portcullis_ipsec::pipeline::{
    BURST, EntryCounters, Event, Handoff, Inject, Outlet, Pipeline, PortInterfaces, Punt, Service,
    View,
};
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef, Shape};
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};
use portcullis_ipsec::spd::{DirectedEntry, EntryAction, Spd, Tree};
use portcullis_ipsec::{DropReason, InterfaceId, Io, PacketBuf};

use device::{Device, TestEngine};

/// The SPD's classifier.
pub type Classifier = Tree;

/// Port and interface of the unprotected side.
pub const WIRE: u16 = 0;
/// Port and interface of the protected side.
pub const LAN: u16 = 1;
/// Interface of VLAN 7 on the LAN port.
pub const VLAN: u16 = 2;
/// Its 802.1Q tag.
pub const TAG: u16 = 7;

/// Collects what leaves a pipeline, and counts as [`Outlet`] demands.
pub struct TestIo {
    counters: Arc<WorkerCounters>,
    pub frames: Vec<(u16, Vec<u8>)>,
    /// What the NIC that sends them is to cipher, of the frames that it is.
    pub marked: Vec<Session>,
    pub punts: Vec<Punt<TestBuf>>,
    pub handoffs: Vec<(u16, Handoff<TestBuf>)>,
    pub events: Vec<Event>,
    /// Control's ring is full.
    pub deaf: bool,
    /// Buffers inside the pipeline.
    pub inside: usize,
}

impl Io for TestIo {
    type Buf = TestBuf;
    fn allocate(&mut self, len: usize) -> Option<TestBuf> {
        self.inside += 1;
        Some(TestBuf::with_capacity(len))
    }
    fn transmit(&mut self, interface: InterfaceId, frame: TestBuf) {
        self.inside -= 1;
        self.counters.transmitted.add(1);
        self.marked.extend(frame.marked);
        self.frames.push((interface.0, frame.data().to_vec()));
    }
    fn discard(&mut self, _: TestBuf) {
        self.inside -= 1;
    }
}

impl Outlet for TestIo {
    fn punt(&mut self, punt: Punt<TestBuf>) {
        self.inside -= 1;
        self.counters.punted.add(1);
        self.punts.push(punt);
    }
    fn hand_off(&mut self, worker: u16, handoff: Handoff<TestBuf>) {
        self.inside -= 1;
        self.counters.handed_off.add(1);
        self.handoffs.push((worker, handoff));
    }
    fn notify(&mut self, event: Event) -> bool {
        if !self.deaf {
            self.events.push(event);
        }
        !self.deaf
    }
}

/// What a gateway is made from.
#[derive(Clone)]
pub struct Site {
    /// 1 for A, 2 for B.
    pub number: u8,
    pub wire_mtu: u16,
    pub lan_mtu: u16,
    pub spd: Vec<SpdEntry>,
    pub sas: Vec<SaConfig>,
    /// The worker that is built, and the one that owns all SAs.
    pub worker: u16,
    pub owner: u16,
    /// Packets that its crypto device holds; 0: it has none.
    pub device: usize,
}

impl Site {
    pub fn new(number: u8) -> Self {
        Site {
            number,
            wire_mtu: 9600,
            lan_mtu: 9600,
            spd: Vec::new(),
            sas: Vec::new(),
            worker: 0,
            owner: 0,
            device: 0,
        }
    }

    pub fn mac(&self, interface: u16) -> [u8; 6] {
        [2, 0, 0, 0, self.number, interface as u8]
    }

    fn interface(&self, id: u16) -> Interface {
        let n = self.number;
        let (side, addresses, mtu) = match id {
            WIRE => (
                Side::Unprotected,
                vec![format!("192.0.2.{n}/24"), format!("2001:db8::{n}/64")],
                self.wire_mtu,
            ),
            LAN => (
                Side::Protected,
                vec![format!("10.{n}.0.1/16"), format!("fd0{n}::1/64")],
                self.lan_mtu,
            ),
            _ => (
                Side::Protected,
                vec![format!("172.16.{n}.1/24")],
                self.lan_mtu,
            ),
        };
        Interface {
            side,
            mac: self.mac(id),
            vlan: (id == VLAN).then_some(TAG),
            mtu,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        }
    }

    fn routes(&self) -> Fib {
        let peer = 3 - self.number;
        let via = |address: String| Hop {
            interface: InterfaceId(WIRE),
            via: Some(Address::from(address.parse::<std::net::IpAddr>().unwrap())),
        };
        let routes = [
            (format!("10.{peer}.0.0/16"), via(format!("192.0.2.{peer}"))),
            (
                format!("172.16.{peer}.0/24"),
                via(format!("192.0.2.{peer}")),
            ),
            (format!("fd0{peer}::/64"), via(format!("2001:db8::{peer}"))),
            ("198.51.100.0/24".into(), via("192.0.2.99".into())),
        ];
        let routes: Vec<_> = routes
            .iter()
            .map(|(net, hop)| (net.parse().unwrap(), *hop))
            .collect();
        Fib::new((0..3).map(|id| self.interface(id)).collect(), &routes)
    }

    fn neighbors(&self) -> Neighbors {
        let (n, peer) = (self.number, 3 - self.number);
        let at = |interface, address: String, last| {
            let address = Address::from(address.parse::<std::net::IpAddr>().unwrap());
            ((InterfaceId(interface), address), [2, 9, 9, 9, 9, last])
        };
        Neighbors(
            [
                at(WIRE, format!("192.0.2.{peer}"), peer),
                at(WIRE, format!("2001:db8::{peer}"), peer),
                at(WIRE, "192.0.2.99".into(), 99),
                at(LAN, format!("10.{n}.0.{n}0"), 10),
                at(LAN, format!("fd0{n}::{n}0"), 10),
                at(VLAN, format!("172.16.{n}.{n}0"), 10),
            ]
            .into_iter()
            .collect(),
        )
    }

    /// Policy and topology.
    pub fn view(&self) -> View<Tree> {
        let port = |untagged, vlans| PortInterfaces {
            untagged: Some(InterfaceId(untagged)),
            vlans,
        };
        View {
            spd: Arc::new(Spd::<Tree>::new(&self.entries())),
            services: self.spd.iter().map(|e| self.service(e)).collect(),
            hits: self.spd.iter().map(|_| EntryCounters::default()).collect(),
            fib: Arc::new(self.routes()),
            ports: [
                port(WIRE, vec![]),
                port(LAN, vec![(TAG, InterfaceId(VLAN))]),
            ]
            .into(),
            esp_udp_ports: [4500].into(),
            neighbors: Arc::new(self.neighbors()),
        }
    }

    /// A gateway with this policy, all SAs installed.
    pub fn build(&self) -> Gateway {
        let counters = Arc::<WorkerCounters>::default();
        let view = self.view();
        let hits = view.hits.clone();
        let io = TestIo {
            counters: counters.clone(),
            frames: Vec::new(),
            marked: Vec::new(),
            punts: Vec::new(),
            handoffs: Vec::new(),
            events: Vec::new(),
            deaf: false,
            inside: 0,
        };
        let engine = TestEngine::default();
        let device = engine.device.clone();
        device.borrow_mut().capacity = self.device;
        let mut gateway = Gateway {
            pipeline: Pipeline::new(self.worker, engine, view, counters.clone(), 256, [7; 32]),
            device,
            io,
            counters,
            sas: self.sas.iter().map(|_| Arc::default()).collect(),
            hits,
            now: 1000,
            site: self.clone(),
        };
        gateway.install();
        gateway
    }

    fn entries(&self) -> Vec<DirectedEntry<'_>> {
        let action = |e: &SpdEntry| match e.action {
            Action::Discard => EntryAction::Discard,
            Action::Bypass => EntryAction::Bypass,
            Action::Protect { .. } | Action::Negotiate { .. } => EntryAction::Protect,
        };
        self.spd
            .iter()
            .map(|e| (&*e.selector, e.direction, action(e)))
            .collect()
    }

    fn service(&self, entry: &SpdEntry) -> Service {
        match &entry.action {
            Action::Protect { outbound, .. } if !outbound.is_empty() => Service::Sa(SaRef {
                worker: self.owner,
                slot: outbound[0] as u32,
            }),
            Action::Negotiate { child, clear, .. } => Service::Child {
                number: *child as u32,
                accepts_clear: *clear != ClearText::Never,
                only_answers: *clear == ClearText::Unasked,
            },
            _ => Service::Nothing,
        }
    }

    /// The SA around this one in a bundle of the SPD, and whether it is around another.
    fn links(&self, sa: usize) -> (Option<usize>, bool) {
        let bundles = self.spd.iter().flat_map(|e| match &e.action {
            Action::Protect { outbound, inbound } => vec![outbound, inbound],
            _ => vec![],
        });
        for bundle in bundles {
            if let Some(at) = bundle.iter().position(|i| *i == sa) {
                return (bundle.get(at + 1).copied(), at > 0);
            }
        }
        (None, false)
    }
}

/// A gateway and what it gave out.
pub struct Gateway {
    pub pipeline: Pipeline<TestEngine, Tree, TestBuf>,
    pub device: Rc<RefCell<Device>>,
    pub io: TestIo,
    pub counters: Arc<WorkerCounters>,
    pub sas: Vec<Arc<SaCounters>>,
    pub hits: Arc<[EntryCounters]>,
    pub now: u64,
    pub site: Site,
}

impl Gateway {
    pub fn apply(&mut self, command: Command<Key, Tree>) {
        self.pipeline.apply(command);
    }

    /// All inbound SAs, with room for `capacity`.
    pub fn index(&self, capacity: usize) -> SpiIndex {
        let mut index = SpiIndex::with_capacity(capacity);
        let sas = self.site.sas.iter().enumerate();
        for (slot, config) in sas.filter(|(_, sa)| sa.direction == Direction::Inbound) {
            index.insert(SpiEntry {
                spi: config.spi,
                protocol: config.transform.protocol(),
                destination: config.destination.into(),
                sa: SaRef {
                    worker: self.site.owner,
                    slot: slot as u32,
                },
            });
        }
        index
    }

    /// Does what control does: slots are the SAs' numbers.
    fn install(&mut self) {
        let site = self.site.clone();
        let count = site.sas.len();
        self.apply(Command::GrowInbound(Slab::with_slots(count)));
        self.apply(Command::GrowOutbound(Slab::with_slots(count)));
        self.apply(Command::SetIndex(self.index(count)));
        for (slot, config) in site.sas.iter().enumerate() {
            if site.owner == site.worker {
                self.add(slot, config);
            }
        }
    }

    fn add(&mut self, slot: usize, config: &SaConfig) {
        let key = Portable
            .key(config.transform, &config.cipher_key, &config.integrity_key)
            .unwrap();
        let (around, is_outer) = self.site.links(slot);
        let counters = self.sas[slot].clone();
        let command = match config.direction {
            Direction::Inbound => {
                let mut sa = InboundSa::new(config, key, self.now, counters);
                sa.came_in = around.map(|i| i as u32);
                sa.carries_bundle = is_outer;
                Command::AddInbound(slot as u32, Box::new(sa))
            }
            Direction::Outbound => {
                let mut sa = OutboundSa::new(config, key, self.now, counters);
                sa.next = around.map(|i| i as u32);
                sa.bundle_overhead = around.map_or(0, |i| {
                    let version = match config.destination {
                        std::net::IpAddr::V4(_) => IpVersion::V4,
                        std::net::IpAddr::V6(_) => IpVersion::V6,
                    };
                    Shape::new(self.site.sas[i].transform).ah_len(version)
                });
                Command::AddOutbound(slot as u32, Box::new(sa))
            }
        };
        self.apply(command);
    }

    /// Changes an inbound SA before its use.
    pub fn with_inbound(&mut self, slot: usize, change: impl FnOnce(&mut InboundSa<Key>)) {
        let config = self.site.sas[slot].clone();
        let key = Portable
            .key(config.transform, &config.cipher_key, &config.integrity_key)
            .unwrap();
        let mut sa = InboundSa::new(&config, key, self.now, self.sas[slot].clone());
        change(&mut sa);
        self.apply(Command::AddInbound(slot as u32, Box::new(sa)));
    }

    /// Changes an outbound SA before its use.
    pub fn with_outbound(&mut self, slot: usize, change: impl FnOnce(&mut OutboundSa<Key>)) {
        let config = self.site.sas[slot].clone();
        let key = Portable
            .key(config.transform, &config.cipher_key, &config.integrity_key)
            .unwrap();
        let mut sa = OutboundSa::new(&config, key, self.now, self.sas[slot].clone());
        change(&mut sa);
        self.apply(Command::AddOutbound(slot as u32, Box::new(sa)));
    }

    /// Takes in frames as one burst or more, and ends the round.
    pub fn frames(&mut self, port: u16, frames: &[Vec<u8>]) {
        for burst in frames.chunks(BURST) {
            let mut bufs: ArrayVec<TestBuf, BURST> =
                burst.iter().map(|f| TestBuf::new(f)).collect();
            self.io.inside += bufs.len();
            self.pipeline
                .receive(&mut self.io, self.now, usize::from(port), &mut bufs);
        }
        self.finish();
    }

    pub fn finish(&mut self) {
        self.pipeline.finish(&mut self.io, self.now);
        while self.pipeline.in_flight() != 0 && !self.device.borrow().holds {
            self.balance();
            self.pipeline.finish(&mut self.io, self.now);
        }
        self.balance();
    }

    /// IP packets to this gateway's MAC address, untagged, as one burst.
    pub fn receive(&mut self, port: u16, packets: &[Vec<u8>]) {
        let mac = self.site.mac(port);
        let frames: Vec<_> = packets.iter().map(|p| framed(mac, None, p)).collect();
        self.frames(port, &frames);
    }

    /// A packet on the wire of which the NIC says something.
    pub fn by_nic(&mut self, packet: &[u8], status: HardwareStatus) {
        let mut buf = TestBuf::new(&framed(self.site.mac(WIRE), None, packet));
        buf.status = status;
        let mut burst = ArrayVec::<TestBuf, BURST>::new();
        burst.push(buf);
        self.io.inside += 1;
        let port = usize::from(WIRE);
        self.pipeline
            .receive(&mut self.io, self.now, port, &mut burst);
        self.finish();
    }

    pub fn on_lan(&mut self, packet: &[u8]) {
        self.receive(LAN, &[packet.to_vec()]);
    }

    pub fn on_wire(&mut self, packet: &[u8]) {
        self.receive(WIRE, &[packet.to_vec()]);
    }

    pub fn inject(&mut self, inject: Inject<TestBuf>) {
        self.io.inside += 1;
        self.pipeline.inject(&mut self.io, self.now, inject);
        self.finish();
    }

    pub fn take_over(&mut self, handoff: Handoff<TestBuf>) {
        self.io.inside += 1;
        self.pipeline.take_over(&mut self.io, self.now, handoff);
        self.finish();
    }

    /// IP packets that left by an interface since the last call.
    pub fn sent(&mut self, interface: u16) -> Vec<Vec<u8>> {
        let all = std::mem::take(&mut self.io.frames);
        let (mine, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(i, _)| *i == interface);
        self.io.frames = rest;
        let skip = if interface == VLAN { 18 } else { 14 };
        let mac = self.site.mac(interface);
        mine.into_iter()
            .map(|(_, frame)| {
                assert_eq!(frame[6..12], mac, "sent from the interface's own address");
                frame[skip..].to_vec()
            })
            .collect()
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.counters.drops.get(reason)
    }

    /// Every reason that was counted.
    pub fn reasons(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter().map(|r| (*r, self.drops(*r)));
        all.filter(|(_, n)| *n > 0).collect()
    }

    /// Exactly one more drop than `before`, for `reason`, and nothing left the gateway.
    #[track_caller]
    pub fn assert_dropped(&mut self, reason: DropReason, before: u64) {
        let reasons = self.reasons();
        assert_eq!(
            self.drops(reason),
            before + 1,
            "expected {reason:?}, counted {reasons:?}"
        );
        self.assert_silent();
    }

    /// Nothing was forwarded, punted or handed off.
    #[track_caller]
    pub fn assert_silent(&mut self) {
        assert!(
            self.io.frames.is_empty(),
            "sent {:02x?}; {:?}",
            self.io.frames,
            self.reasons()
        );
        assert!(self.io.punts.is_empty(), "punted {:?}", self.io.punts);
        assert!(
            self.io.handoffs.is_empty(),
            "handed off {:?}",
            self.io.handoffs
        );
    }

    /// The identity of `pipeline`'s header, and no buffer lost.
    #[track_caller]
    pub fn balance(&self) {
        let c = &self.counters;
        let came = c.received.get() + c.created.get() + c.injected.get() + c.taken_over.get();
        let went = c.transmitted.get()
            + c.drops.total()
            + c.punted.get()
            + c.handed_off.get()
            + c.consumed.get()
            + c.held.get();
        assert_eq!(came, went, "{c:?}");
        assert_eq!(self.io.inside as u64, c.held.get(), "buffers inside");
    }
}

/// A frame to `mac`.
pub fn framed(mac: [u8; 6], tag: Option<u16>, packet: &[u8]) -> Vec<u8> {
    let mut frame = [&mac[..], &[2, 9, 9, 9, 9, 9]].concat();
    if let Some(tag) = tag {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    let v6 = packet.first().is_some_and(|b| b >> 4 == 6);
    frame.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    frame.extend(packet);
    frame
}

/// Carries what lies on the wire from one gateway to the other until nothing more comes; gives all of it.
pub fn exchange(a: &mut Gateway, b: &mut Gateway) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    loop {
        let (from_a, from_b) = (a.sent(WIRE), b.sent(WIRE));
        if from_a.is_empty() && from_b.is_empty() {
            return seen;
        }
        b.receive(WIRE, &from_a);
        a.receive(WIRE, &from_b);
        seen.extend(from_a);
        seen.extend(from_b);
    }
}
