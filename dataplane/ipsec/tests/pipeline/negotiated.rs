//! SAs that are negotiated while packets flow: packets wait for them, and none is lost when they are replaced.

use std::sync::Arc;

use portcullis_config::{Action, ClearText, Direction, Mode, SaConfig, Selector};
use portcullis_ipsec::children::{Bound, RemotePrefix};
use portcullis_ipsec::command::{Command, Negotiated, Retired};
use portcullis_ipsec::engine::Engine;
use portcullis_ipsec::engine::portable::Portable;
use portcullis_ipsec::hold::{HOLD_TIME, MOST_HELD};
use portcullis_ipsec::pipeline::{Event, Punt};
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef};
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};
use portcullis_ipsec::spd::CompiledSelector;

use portcullis_ipsec::{DropReason, PacketBuf};

use crate::rig::packets::{after, udp};
use crate::rig::policy::{GCM, Sites, V4_ENDS, between, lans, mirrored, sa};
use crate::rig::{Gateway, LAN, WIRE, exchange};

/// Number of the child on both sides.
const CHILD: u32 = 5;

/// Two gateways that protect what the selector says with SAs that do not exist yet.
fn gateways(selector: &Selector, device: usize) -> (Gateway, Gateway) {
    let mut sites = Sites::default();
    let child = CHILD as usize;
    let action = Action::Negotiate {
        connection: 0,
        child,
        clear: ClearText::Never,
    };
    sites.both(selector.clone(), action);
    (sites.a.device, sites.b.device) = (device, device);
    let (mut a, mut b) = sites.build();
    for gateway in [&mut a, &mut b] {
        gateway.apply(Command::GrowInbound(Slab::with_slots(16)));
        gateway.apply(Command::GrowOutbound(Slab::with_slots(16)));
        gateway.apply(Command::SetIndex(SpiIndex::with_capacity(16)));
    }
    (a, b)
}

fn place(slot: u32) -> SaRef {
    SaRef { worker: 0, slot }
}

fn key(config: &SaConfig) -> <Portable as Engine>::Key {
    Portable
        .key(config.transform, &config.cipher_key, &config.integrity_key)
        .unwrap()
}

/// An inbound SA for what comes from `from`, in `slot` of `at`.
fn add_inbound(at: &mut Gateway, slot: u32, spi: u32, (from, to): (&str, &str), seen: &Selector) {
    let config = sa(Direction::Inbound, spi, GCM, Mode::Tunnel, from, to);
    let mut new = InboundSa::new(&config, key(&config), at.now, Arc::default());
    new.selectors = [CompiledSelector::new(seen)].into();
    at.apply(Command::AddInbound(slot, Box::new(new)));
    at.apply(Command::Index(SpiEntry {
        spi,
        protocol: 50,
        destination: config.destination.into(),
        sa: place(slot),
    }));
}

fn add_outbound(at: &mut Gateway, slot: u32, spi: u32, (from, to): (&str, &str)) {
    let mut config = sa(Direction::Outbound, spi, GCM, Mode::Tunnel, from, to);
    config.replay_window = None;
    let new = OutboundSa::new(&config, key(&config), at.now, Arc::default());
    at.apply(Command::AddOutbound(slot, Box::new(new)));
}

fn bind(at: &mut Gateway, slot: u32, selector: &Selector) {
    let bound = Bound::new(CHILD, place(slot), selector);
    at.apply(Command::Negotiated(Negotiated::Bind(Box::new(bound))));
}

/// An SA from A to B, complete.
fn establish(a: &mut Gateway, b: &mut Gateway, slot: u32, spi: u32, selector: &Selector) {
    add_inbound(b, slot, spi, V4_ENDS, &mirrored(selector));
    add_outbound(a, slot, spi, V4_ENDS);
    bind(a, slot, selector);
}

fn to(host: u8, n: u16) -> Vec<u8> {
    let destination = format!("10.2.0.{host}");
    udp("10.1.0.10", &destination, (7, 7), &n.to_be_bytes()).write()
}

/// What came out at B, also for hosts whose MAC address it does not know.
fn arrived(b: &mut Gateway) -> Vec<Vec<u8>> {
    let punted = b.io.punts.drain(..).map(|punt| match punt {
        Punt::Unresolved { packet, .. } => packet.data().to_vec(),
        other => panic!("{other:?}"),
    });
    let punted: Vec<_> = punted.collect();
    [punted, b.sent(LAN)].concat()
}

/// Destinations of the events that ask for an SA.
fn asked(gateway: &mut Gateway) -> Vec<String> {
    let events = gateway.io.events.drain(..);
    let asked = events.map(|event| match event {
        Event::Negotiate {
            child: CHILD,
            destination,
            ..
        } => destination.to_ip().to_string(),
        other => panic!("{other:?}"),
    });
    asked.collect()
}

#[test]
fn the_last_packet_to_each_destination_waits_for_the_sa() {
    let (mut a, mut b) = gateways(&lans(), 0);
    for n in 0..3 {
        a.on_lan(&to(20, n));
        a.on_lan(&to(21, n));
    }
    a.assert_silent();
    assert_eq!(a.drops(DropReason::HeldReplaced), 4);
    assert_eq!(a.counters.held.get(), 2);
    // Asked once for each, and again when a second has passed.
    assert_eq!(asked(&mut a), ["10.2.0.20", "10.2.0.21"]);
    a.now += 1000;
    a.on_lan(&to(20, 3));
    assert_eq!(asked(&mut a), ["10.2.0.20"]);
    establish(&mut a, &mut b, 1, 0x2001, &lans());
    a.finish();
    assert_eq!(a.counters.held.get(), 0);
    exchange(&mut a, &mut b);
    assert_eq!(
        arrived(&mut b),
        [after(&to(21, 2), 2), after(&to(20, 3), 2)]
    );
    // From now on the flow is known.
    a.on_lan(&to(20, 4));
    let misses = a.counters.flow_misses.get();
    a.on_lan(&to(20, 5));
    assert_eq!(a.counters.flow_misses.get(), misses);
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN), [after(&to(20, 4), 2), after(&to(20, 5), 2)]);
    assert_eq!(asked(&mut a), Vec::<String>::new());
}

#[test]
fn what_gets_no_sa_is_dropped_for_its_own_reason() {
    let (mut a, _) = gateways(&lans(), 0);
    a.on_lan(&to(20, 0));
    a.apply(Command::Negotiated(Negotiated::Refuse(CHILD + 1)));
    a.finish();
    assert_eq!(a.drops(DropReason::NotNegotiated), 0, "another child's");
    a.apply(Command::Negotiated(Negotiated::Refuse(CHILD)));
    a.finish();
    a.assert_dropped(DropReason::NotNegotiated, 0);
    // Nobody says anything: it waits for a while.
    a.on_lan(&to(20, 1));
    a.now += HOLD_TIME - 1;
    a.finish();
    assert_eq!(a.drops(DropReason::NotNegotiated), 1);
    a.now += 1;
    a.finish();
    a.assert_dropped(DropReason::NotNegotiated, 1);
    assert_eq!(a.counters.held.get(), 0);
}

#[test]
fn no_more_are_held_than_there_is_room_for() {
    let (mut a, _) = gateways(&lans(), 0);
    for n in 0..MOST_HELD as u16 + 10 {
        let destination = format!("10.2.{}.{}", n >> 8, n & 0xff);
        a.on_lan(&udp("10.1.0.10", &destination, (7, 7), b"x").write());
    }
    assert_eq!(a.drops(DropReason::HoldFull), 10);
    assert_eq!(a.counters.held.get(), MOST_HELD as u64);
    // A flood does not keep control busy.
    assert!(asked(&mut a).len() <= 20);
    a.pipeline.release(&mut a.io);
    assert_eq!(a.drops(DropReason::NotNegotiated), MOST_HELD as u64);
    a.balance();
}

/// What an SA does not have in its selectors waits on.
#[test]
fn narrowed_selectors_serve_their_own() {
    let (mut a, mut b) = gateways(&lans(), 0);
    for host in [20, 21, 22] {
        a.on_lan(&to(host, 0));
    }
    asked(&mut a);
    let host = |n| between(&["10.1.0.0/16"], &[&format!("10.2.0.{n}/32")]);
    establish(&mut a, &mut b, 1, 0x2001, &host(20));
    a.finish();
    establish(&mut a, &mut b, 2, 0x2002, &host(21));
    a.finish();
    assert_eq!(a.counters.held.get(), 1);
    let wire = exchange(&mut a, &mut b);
    let spis: Vec<_> = wire.iter().map(|p| p[20..24].to_vec()).collect();
    assert_eq!(spis, [0x2001_u32.to_be_bytes(), 0x2002_u32.to_be_bytes()]);
    assert_eq!(
        arrived(&mut b),
        [after(&to(21, 0), 2), after(&to(20, 0), 2)]
    );
}

/// RFC 4301 4.4.2: no packet is lost when SAs are replaced, whatever is on its way, and no flow is decided anew.
#[test]
fn rekeys_under_traffic_lose_nothing() {
    let (mut a, mut b) = gateways(&lans(), 0);
    establish(&mut a, &mut b, 0, 0x2000, &lans());
    let mut arrived = Vec::new();
    let mut n = 0u16;
    let mut send = |a: &mut Gateway| {
        a.on_lan(&to(20, n));
        n += 1;
    };
    send(&mut a);
    send(&mut a);
    let misses = a.counters.flow_misses.get();
    for rekey in 1..=100u32 {
        // The SA in use is always in slot 0 of A; at B each has a slot of its own.
        let (spi, slot) = (0x2000 + rekey, rekey % 2);
        send(&mut a);
        add_inbound(&mut b, slot, spi, V4_ENDS, &mirrored(&lans()));
        send(&mut a);
        add_outbound(&mut a, 1, spi, V4_ENDS);
        send(&mut a);
        let on_the_way = a.sent(WIRE);
        a.apply(Command::Negotiated(Negotiated::Swap(0, 1)));
        send(&mut a);
        let new = a.sent(WIRE);
        assert_eq!(new[0][20..24], spi.to_be_bytes());
        b.receive(WIRE, &new);
        // Late ones of the old SA still open.
        b.receive(WIRE, &on_the_way);
        arrived.extend(b.sent(LAN));
        assert!(matches!(
            a.pipeline.apply(Command::RemoveOutbound(1)),
            Some(Retired::Outbound(old)) if old.spi == spi - 1
        ));
        assert!(b.pipeline.apply(Command::RemoveInbound(1 - slot)).is_some());
        b.apply(Command::Unindex(SpiEntry {
            spi: spi - 1,
            protocol: 50,
            destination: "192.0.2.2".parse::<std::net::IpAddr>().unwrap().into(),
            sa: place(1 - slot),
        }));
    }
    assert_eq!(a.counters.flow_misses.get(), misses);
    assert_eq!(arrived.len(), usize::from(n));
    assert_eq!((a.reasons(), b.reasons()), (vec![], vec![]));
    arrived.sort();
    arrived.dedup();
    assert_eq!(arrived.len(), usize::from(n), "each once");
}

/// What the old SA has sealed in a device goes out although another one has its place.
#[test]
fn packets_in_a_device_survive_a_rekey() {
    let (mut a, mut b) = gateways(&lans(), 8);
    establish(&mut a, &mut b, 0, 0x2000, &lans());
    a.on_lan(&to(20, 0));
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN).len(), 1);
    a.device.borrow_mut().holds = true;
    a.on_lan(&to(20, 1));
    add_inbound(&mut b, 1, 0x2001, V4_ENDS, &mirrored(&lans()));
    add_outbound(&mut a, 1, 0x2001, V4_ENDS);
    a.apply(Command::Negotiated(Negotiated::Swap(0, 1)));
    a.on_lan(&to(20, 2));
    a.device.borrow_mut().holds = false;
    a.finish();
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN), [after(&to(20, 1), 2), after(&to(20, 2), 2)]);
    assert_eq!(a.reasons(), []);
}

/// A path MTU belongs to the way, not to the key.
#[test]
fn a_learnt_path_mtu_outlives_a_rekey() {
    let (mut a, mut b) = gateways(&lans(), 0);
    establish(&mut a, &mut b, 0, 0x2000, &lans());
    a.apply(Command::SetPathMtu(0, 600));
    add_outbound(&mut a, 1, 0x2001, V4_ENDS);
    a.apply(Command::Negotiated(Negotiated::Swap(0, 1)));
    let big = udp("10.1.0.10", "10.2.0.20", (7, 7), &[0; 1000]);
    a.on_lan(&big.write());
    let wire = a.sent(WIRE);
    assert_eq!(wire.len(), 2);
    assert!(wire.iter().all(|packet| packet.len() <= 600));
}

/// A flow that remembers an SA which is gone never goes out with another one that has its slot.
#[test]
fn a_removed_sa_leaves_nothing_behind() {
    let (mut a, mut b) = gateways(&lans(), 0);
    establish(&mut a, &mut b, 0, 0x2000, &lans());
    a.on_lan(&to(20, 0));
    exchange(&mut a, &mut b);
    let prefix = RemotePrefix::around(&lans());
    let unbind = Negotiated::Unbind {
        child: CHILD,
        prefix,
        sa: Some(place(0)),
    };
    assert!(matches!(
        a.pipeline.apply(Command::Negotiated(unbind)),
        Some(Retired::Bound(_))
    ));
    assert!(a.pipeline.apply(Command::RemoveOutbound(0)).is_some());
    a.apply(Command::ForgetFlows);
    add_outbound(&mut a, 0, 0x3000, V4_ENDS);
    a.on_lan(&to(20, 1));
    a.assert_silent();
    assert_eq!(asked(&mut a), ["10.2.0.20"]);
    assert_eq!(a.counters.held.get(), 1);
}
