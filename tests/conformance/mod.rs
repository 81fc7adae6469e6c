//! Two gateways for the steps of the driver, and a NIC that is not there.
#![allow(dead_code)] // each user takes a part

pub mod nic;

use portcullis_config::{Action, ClearText, Direction, Mode, SaConfig, Selector};
use portcullis_ipsec::buffer::TestBuf;
use portcullis_ipsec::children::Bound;
use portcullis_ipsec::command::{Command, Negotiated};
use portcullis_ipsec::counters::SaCounters;
use portcullis_ipsec::engine::Engine;
use portcullis_ipsec::engine::portable::{Key, Portable};
use portcullis_ipsec::pipeline::{Event, Inject, Punt};
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef};
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};
use portcullis_ipsec::spd::CompiledSelector;
use portcullis_ipsec::{DropReason, PacketBuf};
use std::sync::Arc;

use crate::rig::packets::{Ip, after, udp};
use crate::rig::policy::{GCM, Sites, V4_ENDS, between, entry, lans, mirrored, sa};
use crate::rig::{Gateway, LAN, WIRE};

/// Number of the negotiated child.
pub const CHILD: u32 = 0;
/// Slots of A's outbound and B's inbound SA.
pub const OUT: usize = 0;
pub const IN: usize = 0;

/// Whose packets: the document's, or those of its transit twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Of the gateways themselves, in transport mode.
    Host,
    /// Forwarded through tunnel SAs.
    Transit,
}

pub const BOTH: [Traffic; 2] = [Traffic::Host, Traffic::Transit];

/// What happens to packets that match no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Discarded (RFC 4301 4.4.1).
    Modern,
    /// They pass (requirement 134): the profile's last entry.
    Ws2003,
}

impl Traffic {
    /// A packet from A's side to B's.
    pub fn packet(self, data: &[u8]) -> Ip {
        self.to_port(7, data)
    }

    pub fn to_port(self, port: u16, data: &[u8]) -> Ip {
        let (source, destination) = self.hosts();
        udp(source, destination, (port, port), data)
    }

    pub fn hosts(self) -> (&'static str, &'static str) {
        match self {
            Traffic::Host => V4_ENDS,
            Traffic::Transit => ("10.1.0.10", "10.2.0.20"),
        }
    }

    pub fn mode(self) -> Mode {
        match self {
            Traffic::Host => Mode::Transport,
            Traffic::Transit => Mode::Tunnel,
        }
    }

    /// The traffic as A sees it.
    pub fn selector(self) -> Selector {
        match self {
            Traffic::Host => between(&["192.0.2.1/32"], &["192.0.2.2/32"]),
            Traffic::Transit => lans(),
        }
    }

    /// A packet as it arrives when so many gateways have forwarded it.
    pub fn arrived(self, packet: &[u8], gateways: u8) -> Vec<u8> {
        match self {
            Traffic::Host => packet.to_vec(),
            Traffic::Transit => after(packet, gateways),
        }
    }
}

/// A and B, and the packets between them.
pub struct Pair {
    pub traffic: Traffic,
    pub a: Gateway,
    pub b: Gateway,
}

impl Pair {
    /// With these entries about the traffic, mirrored at B.
    pub fn new(traffic: Traffic, profile: Profile, actions: &[Action]) -> Self {
        let mut sites = Sites::default();
        for action in actions {
            sites.both(traffic.selector(), action.clone());
        }
        Self::build(traffic, profile, sites)
    }

    /// With SAs in both directions.
    pub fn protected(traffic: Traffic) -> Self {
        Self::protected_with(traffic, |_| {})
    }

    pub fn protected_with(traffic: Traffic, change: impl Fn(&mut SaConfig)) -> Self {
        let mut sites = Sites::default();
        sites.protect(
            traffic.selector(),
            &[(GCM, traffic.mode())],
            V4_ENDS,
            change,
        );
        Self::build(traffic, Profile::Modern, sites)
    }

    /// With an entry for which IKE has not negotiated yet.
    pub fn negotiating(traffic: Traffic, clear: ClearText) -> Self {
        let mut pair = Self::new(traffic, Profile::Modern, &[negotiate(clear)]);
        for gateway in [&mut pair.a, &mut pair.b] {
            gateway.apply(Command::GrowInbound(Slab::with_slots(16)));
            gateway.apply(Command::GrowOutbound(Slab::with_slots(16)));
            gateway.apply(Command::SetIndex(SpiIndex::with_capacity(16)));
        }
        pair
    }

    pub fn build(traffic: Traffic, profile: Profile, mut sites: Sites) -> Self {
        if profile == Profile::Ws2003 {
            for site in [&mut sites.a, &mut sites.b] {
                site.spd.push(entry(Selector::default(), Action::Bypass));
            }
        }
        let (a, b) = sites.build();
        Pair { traffic, a, b }
    }

    /// The packet comes to A's driver on its way out.
    pub fn send(&mut self, packet: &[u8]) {
        match self.traffic {
            Traffic::Host => self.a.inject(Inject::Packet(TestBuf::new(packet))),
            Traffic::Transit => self.a.on_lan(packet),
        }
    }

    /// What A makes of a packet.
    #[track_caller]
    pub fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        self.send(packet);
        let mut sent = self.a.sent(WIRE);
        assert_eq!(sent.len(), 1, "{:?}", self.a.reasons());
        sent.remove(0)
    }

    /// What B let through.
    pub fn arrived(&mut self) -> Vec<Vec<u8>> {
        arrived(self.traffic, &mut self.b)
    }

    /// Protects the child's traffic from A to B with SAs in this slot.
    pub fn establish(&mut self, slot: u32, spi: u32) {
        let (traffic, (from, to)) = (self.traffic, V4_ENDS);
        let mirror = mirrored(&traffic.selector());
        let config = sa(Direction::Inbound, spi, GCM, traffic.mode(), from, to);
        let mut inbound = InboundSa::new(&config, key(&config), self.b.now, Arc::default());
        inbound.selectors = [CompiledSelector::new(&mirror)].into();
        let place = SaRef { worker: 0, slot };
        self.b.apply(Command::AddInbound(slot, Box::new(inbound)));
        self.b.apply(Command::Index(SpiEntry {
            spi,
            protocol: 50,
            destination: config.destination.into(),
            sa: place,
        }));
        let mut config = sa(Direction::Outbound, spi, GCM, traffic.mode(), from, to);
        config.replay_window = None;
        let outbound = OutboundSa::new(&config, key(&config), self.a.now, Arc::default());
        self.a.apply(Command::AddOutbound(slot, Box::new(outbound)));
        bind(&mut self.a, Bound::new(CHILD, place, &traffic.selector()));
    }

    /// B has an SA of its own for its packets to A.
    pub fn establish_back(&mut self, slot: u32, spi: u32) {
        let (to, from) = V4_ENDS;
        let config = sa(Direction::Outbound, spi, GCM, self.traffic.mode(), from, to);
        let outbound = OutboundSa::new(&config, key(&config), self.b.now, Arc::default());
        self.b.apply(Command::AddOutbound(slot, Box::new(outbound)));
        let place = SaRef { worker: 0, slot };
        let mirror = mirrored(&self.traffic.selector());
        bind(&mut self.b, Bound::new(CHILD, place, &mirror));
    }

    /// A soft SA at both.
    pub fn soft(&mut self) -> [Arc<SaCounters>; 2] {
        let counters = [(); 2].map(|()| Arc::<SaCounters>::default());
        let selector = self.traffic.selector();
        let bound = Bound::soft(CHILD, counters[0].clone(), &selector);
        bind(&mut self.a, bound);
        let bound = Bound::soft(CHILD, counters[1].clone(), &mirrored(&selector));
        bind(&mut self.b, bound);
        counters
    }
}

fn bind(gateway: &mut Gateway, bound: Bound) {
    let order = Negotiated::Bind(Box::new(bound));
    gateway.apply(Command::Negotiated(order));
}

/// What a gateway let through: to itself, or out of the LAN.
pub fn arrived(traffic: Traffic, gateway: &mut Gateway) -> Vec<Vec<u8>> {
    let local = gateway.io.punts.drain(..).map(|punt| match punt {
        Punt::Local { packet } => packet.data().to_vec(),
        other => panic!("{other:?}"),
    });
    let local: Vec<_> = local.collect();
    match traffic {
        Traffic::Host => local,
        Traffic::Transit => {
            assert_eq!(local, Vec::<Vec<u8>>::new());
            gateway.sent(LAN)
        }
    }
}

pub fn negotiate(clear: ClearText) -> Action {
    Action::Negotiate {
        connection: 0,
        child: CHILD as usize,
        clear,
    }
}

fn key(config: &SaConfig) -> Key {
    let key = Portable.key(config.transform, &config.cipher_key, &config.integrity_key);
    key.unwrap()
}

/// The packet is gone, for this reason alone, and this is all that control hears.
#[track_caller]
pub fn assert_discarded(gateway: &mut Gateway, reason: DropReason, events: &[Event]) {
    gateway.assert_silent();
    assert_eq!(gateway.reasons(), [(reason, 1)]);
    assert_eq!(gateway.io.events, events);
}

/// Nothing is gone, and control hears nothing.
#[track_caller]
pub fn assert_quiet(gateway: &Gateway) {
    assert_eq!(gateway.reasons(), []);
    assert_eq!(gateway.io.events, []);
}
