//! The SPD at work: order, default, bypass, and what must not come in clear.

use portcullis_config::{Action, ClearText, Direction, Mode, Selector, SpdEntry, UpperLayer};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::pipeline::Event;

use crate::rig::packets::{self, Ip, TCP, UDP, after, echo, udp};
use crate::rig::policy::{CBC, GCM, Sites, V4_ENDS, between, entry, lans, port};
use crate::rig::{LAN, WIRE, exchange};

#[test]
fn the_first_match_wins_and_no_match_is_discard() {
    let mut sites = Sites::default();
    let with = |upper| Selector { upper, ..lans() };
    sites.both(with(port(UDP, &[], &[666])), Action::Discard);
    sites.protect(
        with(UpperLayer::Protocol(UDP)),
        &[(GCM, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    sites.both(with(port(UDP, &[], &[667])), Action::Discard); // never reached
    sites.protect(
        with(port(TCP, &[], &[80])),
        &[(CBC, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    let (mut a, mut b) = sites.build();
    let to = |port| udp("10.1.0.10", "10.2.0.20", (9, port), b"x").write();
    // Twice: by the SPD, and by the flow cache.
    for round in 1..=2 {
        a.on_lan(&to(666));
        a.assert_dropped(DropReason::PolicyDiscard, round - 1);
        a.on_lan(&to(667));
        exchange(&mut a, &mut b);
        assert_eq!(b.sent(LAN).len(), 1);
        a.on_lan(&Ip::new("10.1.0.10", "10.2.0.20", TCP, vec![0; 20]).write());
        a.assert_dropped(DropReason::PolicyNoMatch, round - 1);
        let hits: Vec<_> = a.hits.iter().map(|h| h.packets.get()).collect();
        assert_eq!(hits, [round, round, 0, 0]);
    }
    assert_eq!(a.hits[1].bytes.get(), 2 * to(667).len() as u64);
}

/// A truncated transport header has no ports; what is decided about it says nothing about port 0.
#[test]
fn a_packet_without_ports_is_not_one_of_port_zero() {
    let mut sites = Sites::default();
    let any_port = Selector {
        upper: port(UDP, &[0], &[0]),
        ..lans()
    };
    sites.protect(any_port, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    sites.both(lans(), Action::Bypass);
    for truncated_first in [true, false] {
        let (mut a, _) = sites.build();
        let truncated = Ip::new("10.1.0.10", "10.2.0.20", UDP, vec![0; 3]).write();
        let zero = udp("10.1.0.10", "10.2.0.20", (0, 0), b"secret").write();
        let mut order = vec![(truncated, UDP), (zero, packets::ESP)];
        if !truncated_first {
            order.reverse();
        }
        for (packet, protocol) in order {
            a.on_lan(&packet);
            let wire = a.sent(WIRE);
            assert_eq!(packets::protocol(&wire[0]), protocol);
        }
    }
}

#[test]
fn clear_packets_that_must_be_protected_are_dropped() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    sites.both(
        between(&["10.1.0.0/16"], &["198.51.100.0/24"]),
        Action::Bypass,
    );
    let (mut a, _) = sites.build();
    for round in 0..2 {
        a.on_wire(&echo("10.2.0.20", "10.1.0.10", b"spoofed").write());
        a.assert_dropped(DropReason::ProtectedExpected, round);
    }
    // IPv6 too, and to the gateway itself.
    a.on_wire(&echo("fd02::20", "fd01::10", b"spoofed").write());
    a.assert_dropped(DropReason::ProtectedExpected, 2);
    a.on_wire(&echo("10.2.0.20", "10.1.0.1", b"spoofed").write());
    a.assert_dropped(DropReason::ProtectedExpected, 3);
    // Bypass goes both ways, with a hop less.
    let (out, back) = (
        echo("10.1.0.10", "198.51.100.7", b"out").write(),
        echo("198.51.100.7", "10.1.0.10", b"back").write(),
    );
    for _ in 0..2 {
        a.on_lan(&out);
        assert_eq!(a.sent(WIRE), [after(&out, 1)]);
        a.on_wire(&back);
        assert_eq!(a.sent(LAN), [after(&back, 1)]);
    }
}

#[test]
fn protected_traffic_without_an_sa_waits_for_nobody() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[], V4_ENDS, |_| {});
    let (mut a, _) = sites.build();
    let packet = echo("10.1.0.10", "10.2.0.20", b"x").write();
    for n in 0..3 {
        a.on_lan(&packet);
        a.assert_dropped(DropReason::NoSa, n);
    }
    assert_eq!(a.io.events.len(), 3, "not remembered: each asks for an SA");
    let Event::Acquire {
        entry: 0,
        protocol: packets::ICMP,
        ..
    } = a.io.events[0]
    else {
        panic!("{:?}", a.io.events)
    };
}

#[test]
fn discard_stands_in_both_directions() {
    let mut sites = Sites::default();
    sites.both(between(&[], &[]), Action::Discard);
    let (mut a, _) = sites.build();
    a.on_lan(&echo("10.1.0.10", "10.2.0.20", b"x").write());
    a.assert_dropped(DropReason::PolicyDiscard, 0);
    a.on_wire(&echo("10.2.0.20", "10.1.0.10", b"x").write());
    a.assert_dropped(DropReason::PolicyDiscard, 1);
    a.on_wire(&echo("203.0.113.5", "203.0.113.6", b"x").write());
    a.assert_dropped(DropReason::PolicyDiscard, 2);
}

/// What came out of an SA is held against the selectors of that SA, not of another.
#[test]
fn each_sa_has_its_own_selectors() {
    let mut sites = Sites::default();
    let with = |upper| Selector { upper, ..lans() };
    sites.protect(
        with(UpperLayer::Protocol(UDP)),
        &[(GCM, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    sites.protect(
        with(UpperLayer::Protocol(TCP)),
        &[(CBC, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    let (_, mut b) = sites.build();
    // This A has it the other way round.
    let mut wrong = sites.a.clone();
    let (one, two) = (wrong.spd[0].selector.clone(), wrong.spd[1].selector.clone());
    wrong.spd = vec![
        entry(two, wrong.spd[0].action.clone()),
        entry(one, wrong.spd[1].action.clone()),
    ];
    let mut a = wrong.build();
    a.on_lan(&udp("10.1.0.10", "10.2.0.20", (1, 2), b"x").write());
    b.receive(WIRE, &a.sent(WIRE));
    b.assert_dropped(DropReason::SelectorMismatch, 0);
    a.on_lan(&Ip::new("10.1.0.10", "10.2.0.20", TCP, vec![0; 20]).write());
    b.receive(WIRE, &a.sent(WIRE));
    b.assert_dropped(DropReason::SelectorMismatch, 1);
}

/// RFC 1812 5.3.8: from neither side comes a packet that speaks for the gateway.
#[test]
fn nobody_else_speaks_from_our_addresses() {
    let mut sites = Sites::default();
    sites.both(Selector::default(), Action::Bypass);
    let (mut a, _) = sites.build();
    let forged = |from, to| udp(from, to, (1, 2), b"x").write();
    a.on_lan(&forged("192.0.2.1", "10.2.0.20"));
    a.assert_dropped(DropReason::IpMartian, 0);
    a.on_wire(&forged("192.0.2.1", "10.1.0.10"));
    a.assert_dropped(DropReason::IpMartian, 1);
}

/// An entry for one direction is not there for the other.
#[test]
fn entry_for_one_direction_is_for_that_only() {
    let inbound = Some(Direction::Inbound);
    let mut sites = Sites::default();
    sites.a.spd.push(SpdEntry {
        direction: inbound,
        ..entry(lans(), Action::Discard)
    });
    sites.a.spd.push(entry(lans(), Action::Bypass));
    let (mut a, _) = sites.build();
    let out = udp("10.1.0.10", "10.2.0.20", (9, 53), b"x").write();
    let back = udp("10.2.0.20", "10.1.0.10", (53, 9), b"x").write();
    // Twice: by the SPD, and by the flow cache.
    for round in 1..=2 {
        a.on_lan(&out);
        assert_eq!(a.sent(WIRE).len(), 1);
        a.on_wire(&back);
        a.assert_dropped(DropReason::PolicyDiscard, round - 1);
        let hits: Vec<_> = a.hits.iter().map(|h| h.packets.get()).collect();
        assert_eq!(hits, [round, round]);
    }
}

/// The default response rule of old: nothing is asked for, and what no SA protects passes both ways.
#[test]
fn entry_that_only_answers_lets_pass_what_nobody_asked_to_protect() {
    let clear = ClearText::Unasked;
    let (connection, child) = (0, 0);
    let mut sites = Sites::default();
    let action = Action::Negotiate {
        connection,
        child,
        clear,
    };
    sites.a.spd.push(entry(lans(), action));
    let (mut a, _) = sites.build();
    a.on_lan(&udp("10.1.0.10", "10.2.0.20", (9, 53), b"x").write());
    assert_eq!(a.sent(WIRE).len(), 1);
    a.on_wire(&udp("10.2.0.20", "10.1.0.10", (53, 9), b"x").write());
    assert_eq!(a.sent(LAN).len(), 1);
}
