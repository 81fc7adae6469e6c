//! What control changes while packets flow.

use portcullis_config::{Dscp, SaConfig, Secret};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::command::{Command, Retired};
use portcullis_ipsec::engine::Engine;
use portcullis_ipsec::engine::portable::Portable;
use portcullis_ipsec::pipeline::Service;
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef};
use portcullis_ipsec::sad::{Slab, SpiEntry};

use crate::rig::packets::{after, echo};
use crate::rig::policy::{GCM, tunnel};
use crate::rig::{LAN, WIRE, exchange};

#[test]
fn a_removed_sa_is_gone_at_once() {
    let (mut a, mut b) = tunnel(GCM);
    let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
    a.on_lan(&sent);
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN).len(), 1);
    a.on_lan(&sent);
    let late = a.sent(WIRE);
    let entry = SpiEntry {
        spi: b.site.sas[0].spi,
        protocol: 50,
        destination: b.site.sas[0].destination.into(),
        sa: SaRef { worker: 0, slot: 0 },
    };
    // Another SA's entry is not removed by mistake.
    b.apply(Command::Unindex(SpiEntry {
        sa: SaRef { worker: 0, slot: 1 },
        ..entry
    }));
    assert!(matches!(
        b.pipeline.apply(Command::RemoveInbound(0)),
        Some(Retired::Inbound(_))
    ));
    b.receive(WIRE, &late);
    b.assert_dropped(DropReason::BadSpi, 0);
    b.apply(Command::Unindex(entry));
    b.receive(WIRE, &late);
    b.assert_dropped(DropReason::BadSpi, 1);
    assert_eq!(b.io.events.len(), 1);
    // The sender's, though its flow is in the cache.
    assert!(matches!(
        a.pipeline.apply(Command::RemoveOutbound(0)),
        Some(Retired::Outbound(_))
    ));
    a.on_lan(&sent);
    a.assert_dropped(DropReason::NoSa, 0);
    // Unbound, each packet asks for a new one.
    let mut view = a.site.view();
    view.services = Box::new([Service::Nothing]);
    a.apply(Command::SetView(Box::new(view)));
    a.on_lan(&sent);
    a.assert_dropped(DropReason::NoSa, 1);
    assert_eq!(a.io.events.len(), 1);
}

#[test]
fn a_new_view_forgets_all_decisions() {
    let (mut a, mut b) = tunnel(GCM);
    let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
    a.on_lan(&sent);
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN), [after(&sent, 2)]);
    let mut closed = a.site.clone();
    closed.spd.clear();
    // A gateway without policy lends its view.
    let misses = a.counters.flow_misses.get();
    let view = closed.view();
    assert!(matches!(
        a.pipeline.apply(Command::SetView(Box::new(view))),
        Some(Retired::View(_))
    ));
    a.on_lan(&sent);
    a.assert_dropped(DropReason::PolicyNoMatch, 0);
    assert_eq!(a.counters.flow_misses.get(), misses + 1);
}

/// Growing moves what is there; memory goes back to control, never to the worker's allocator.
#[test]
fn memory_grows_under_way() {
    let (mut a, mut b) = tunnel(GCM);
    let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
    for gateway in [&mut a, &mut b] {
        let grow = [
            Command::GrowInbound(Slab::with_slots(100)),
            Command::GrowOutbound(Slab::with_slots(100)),
            Command::SetIndex(gateway.index(100)),
        ];
        for command in grow {
            assert!(gateway.pipeline.apply(command).is_some());
        }
    }
    a.on_lan(&sent);
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN), [after(&sent, 2)]);
    assert!(a.pipeline.apply(Command::RemoveInbound(99)).is_none());
    a.apply(Command::SetPathMtu(99, 5));
}

/// RFC 4303 3.3.3, 3.4.3: other terms are no reason to count anew, nor to take a packet twice.
#[test]
fn an_sa_under_other_terms_goes_on() {
    let (mut a, mut b) = tunnel(GCM);
    let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
    a.on_lan(&sent);
    let first = exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN).len(), 1);
    // The key that comes with the new terms is not used: the schedule in place stays.
    let none = |config: &SaConfig| {
        let zeros = Secret::new(vec![0; config.cipher_key.expose().len()]);
        Portable
            .key(config.transform, &zeros, &config.integrity_key)
            .unwrap()
    };
    let (mut terms, counters) = (a.site.sas[0].clone(), a.sas[0].clone());
    terms.dscp = Dscp::Fixed(46);
    let sa = OutboundSa::new(&terms, none(&terms), 0, counters);
    assert!(matches!(
        a.pipeline.apply(Command::AlterOutbound(0, Box::new(sa))),
        Some(Retired::Outbound(_))
    ));
    let (mut terms, counters) = (b.site.sas[0].clone(), b.sas[0].clone());
    terms.replay_window = Some(64);
    let sa = InboundSa::new(&terms, none(&terms), 0, counters);
    assert!(matches!(
        b.pipeline.apply(Command::AlterInbound(0, Box::new(sa))),
        Some(Retired::Inbound(_))
    ));
    b.receive(WIRE, &first);
    b.assert_dropped(DropReason::Replay, 0);
    a.on_lan(&sent);
    let second = exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN), [after(&sent, 2)]);
    assert_eq!(second[0][1] >> 2, 46, "the new terms hold");
    assert_eq!(a.sas[0].sequence.get(), 2);
    assert_eq!(b.sas[0].packets.get(), 2);
    // There is nothing to alter in an empty slot.
    let sa = OutboundSa::new(&terms, none(&terms), 0, Default::default());
    assert!(
        a.pipeline
            .apply(Command::AlterOutbound(99, Box::new(sa)))
            .is_some()
    );
}
