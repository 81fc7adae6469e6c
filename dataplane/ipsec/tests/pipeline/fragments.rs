//! Fragments: of the packets that the tunnel carries, and of the tunnel's own.

use portcullis_config::{Action, Mode, Selector, UpperLayer};
use portcullis_ipsec::DropReason;

use crate::rig::packets::{self, Ip, UDP, after, fix_checksum, fragments, reassemble, udp};
use crate::rig::policy::{GCM, Sites, V4_ENDS, V6_ENDS, between, lans, port, tunnel};
use crate::rig::{Gateway, LAN, WIRE, exchange};

const PAIRS: [(&str, &str); 2] = [("10.1.0.10", "10.2.0.20"), ("fd01::10", "fd02::20")];

/// A tunnel for UDP to port 53 only.
fn dns(mtu: u16) -> (Gateway, Gateway) {
    let mut sites = Sites::default();
    sites.mtu(mtu, mtu);
    let selector = Selector {
        upper: port(UDP, &[], &[53]),
        ..lans()
    };
    sites.protect(selector, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    sites.build()
}

#[test]
fn fragments_pass_one_by_one_where_ports_do_not_matter() {
    for (from, to) in PAIRS {
        let (mut a, mut b) = tunnel(GCM);
        let parts = fragments(&udp(from, to, (1, 53), &[9; 3000]), 1400);
        a.receive(LAN, &parts);
        exchange(&mut a, &mut b);
        let want: Vec<_> = parts.iter().map(|p| after(p, 2)).collect();
        assert_eq!(b.sent(LAN), want);
        assert_eq!(a.sas[0].packets.get(), 3);
    }
}

/// RFC 4301 7: a later fragment shows no port, so the whole packet is looked at, in both directions.
#[test]
fn port_selectors_see_whole_packets() {
    for (from, to) in PAIRS {
        let (mut a, mut b) = dns(9600);
        let whole = udp(from, to, (1, 53), &[9; 3000]);
        let mut parts = fragments(&whole, 1400);
        parts.reverse();
        a.receive(LAN, &parts);
        exchange(&mut a, &mut b);
        assert_eq!(reassemble(&b.sent(LAN)), after(&whole.write(), 2));
        a.receive(LAN, &fragments(&udp(from, to, (1, 54), &[9; 3000]), 1400));
        a.assert_dropped(DropReason::PolicyNoMatch, 0);
    }
}

/// What a host had to fragment, the gateways may: neither DF nor IPv6 makes a black hole of port selectors.
#[test]
fn what_came_in_fragments_may_be_cut_again() {
    for (from, to) in PAIRS {
        let (mut a, mut b) = dns(1500);
        let whole = udp(from, to, (1, 53), &[9; 5000]).df();
        a.receive(LAN, &fragments(&whole, 1400));
        exchange(&mut a, &mut b);
        let out = b.sent(LAN);
        assert!(out.len() > 1, "{:?} {:?}", a.reasons(), b.reasons());
        let mut got = reassemble(&out);
        let mut want = after(&whole.write(), 2);
        for packet in [&mut got, &mut want] {
            if packets::is_v4(packet) {
                packet[6] &= !0x40;
                fix_checksum(packet);
            }
        }
        assert!(got == want);
        assert_eq!(a.drops(DropReason::TooBig), 0);
    }
}

/// A clear fragment must not become part of what an SA authenticates, nor one SA's part of another's.
#[test]
fn fragments_of_different_origin_do_not_mix() {
    for (from, to) in PAIRS {
        let mut sites = Sites::default();
        let secret = Selector {
            upper: port(UDP, &[], &[53]),
            ..lans()
        };
        sites.protect(secret, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
        let public = Selector {
            upper: port(UDP, &[], &[54]),
            ..lans()
        };
        sites.protect(public, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
        let mut b = sites.b.build();
        // This A lets everything into the first tunnel, fragment by fragment.
        let mut open = sites.a.clone();
        open.spd[0].selector = lans().into();
        let mut wide = open.build();
        let whole = udp(from, to, (1, 53), &[9; 3000]);
        let parts = fragments(&whole, 1400);
        wide.receive(LAN, &parts[..2]);
        b.receive(WIRE, &wide.sent(WIRE));
        // The last one comes in clear.
        b.on_wire(&parts[2]);
        b.assert_silent();
        // Then out of the other SA.
        open.spd.swap(0, 1);
        open.spd[0].selector = lans().into();
        let mut other = open.build();
        other.on_lan(&parts[2]);
        b.receive(WIRE, &other.sent(WIRE));
        b.assert_silent();
        assert_eq!(b.counters.held.get(), 4);
        // Out of the right one it completes the packet.
        wide.on_lan(&parts[2]);
        b.receive(WIRE, &wide.sent(WIRE));
        assert_eq!(reassemble(&b.sent(LAN)), after(&whole.write(), 2));
        // In time they are dropped.
        b.now += 30_000;
        b.finish();
        assert_eq!(b.counters.held.get(), 0);
    }
}

#[test]
fn esp_in_fragments_is_reassembled_first() {
    for ends in [V4_ENDS, V6_ENDS] {
        let mut sites = Sites::default();
        sites.protect(lans(), &[(GCM, Mode::Tunnel)], ends, |_| {});
        let (mut a, mut b) = sites.build();
        let sent = udp("10.1.0.10", "10.2.0.20", (1, 2), &[7; 2000]).write();
        a.on_lan(&sent);
        let wire = a.sent(WIRE).remove(0);
        let mut outer = Ip::new(
            ends.0,
            ends.1,
            packets::ESP,
            packets::payload(&wire).to_vec(),
        );
        for order in 0..6 {
            outer.id = order;
            let mut parts = fragments(&outer, 800);
            assert_eq!(parts.len(), 3);
            // Each time with a fresh sequence number: only the first may come through.
            parts.rotate_left(usize::from(order) % 3);
            if order >= 3 {
                parts.swap(0, 1);
            }
            b.receive(WIRE, &parts);
        }
        assert_eq!(b.sent(LAN), [after(&sent, 2)]);
        assert_eq!(b.drops(DropReason::Replay), 5);
    }
}

#[test]
fn overlapping_and_tiny_fragments_are_refused() {
    for ends in [V4_ENDS, V6_ENDS] {
        let mut sites = Sites::default();
        sites.protect(lans(), &[(GCM, Mode::Tunnel)], ends, |_| {});
        let (mut a, mut b) = sites.build();
        a.on_lan(&udp("10.1.0.10", "10.2.0.20", (1, 2), &[7; 2000]).write());
        let wire = a.sent(WIRE).remove(0);
        let outer = Ip::new(
            ends.0,
            ends.1,
            packets::ESP,
            packets::payload(&wire).to_vec(),
        );
        let (coarse, fine) = (fragments(&outer, 800), fragments(&outer, 400));
        b.receive(
            WIRE,
            &[
                coarse[0].clone(),
                fine[1].clone(),
                coarse[1].clone(),
                coarse[2].clone(),
            ],
        );
        assert_eq!(b.drops(DropReason::FragmentInvalid), 4);
        b.assert_silent();
        // So small that its ports would be in the next one.
        let mut tiny = outer.clone();
        (tiny.id, tiny.protocol) = (77, packets::TCP);
        tiny.payload.truncate(24);
        let parts = fragments(&tiny, 8);
        b.receive(WIRE, &parts);
        b.assert_silent();
        b.now += 30_000;
        b.finish();
        assert_eq!(b.counters.held.get(), 0);
    }
}

/// IPv6 extension headers behind the fragment header: only the first fragment knows the upper layer.
#[test]
fn hidden_upper_layers_do_not_slip_past_protocol_selectors() {
    let mut sites = Sites::default();
    let udp_only = Selector {
        upper: UpperLayer::Protocol(UDP),
        ..lans()
    };
    sites.protect(udp_only, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    sites.both(between(&[], &[]), Action::Bypass);
    let (mut a, mut b) = sites.build();
    // Destination options (60) of 8 bytes, PadN, in front of UDP.
    let inner = udp("fd01::10", "fd02::20", (1, 2), &[5; 2000]);
    let mut hidden = inner.clone();
    hidden.payload = [&[UDP, 0, 1, 4, 0, 0, 0, 0], &inner.payload[..]].concat();
    hidden.protocol = 60;
    for rotate in 0..2 {
        hidden.id += 1;
        let mut parts = fragments(&hidden, 1400);
        parts.rotate_left(rotate);
        for part in &parts {
            a.on_lan(part);
        }
        let wire = a.sent(WIRE);
        assert!(
            wire.iter().all(|p| packets::is_v4(p)),
            "clear text on the wire"
        );
        b.receive(WIRE, &wire);
        assert_eq!(reassemble(&b.sent(LAN)), after(&hidden.write(), 2));
    }
}

#[test]
fn fragments_wait_no_longer_than_their_time() {
    let (mut a, _) = dns(9600);
    let parts = fragments(&udp("10.1.0.10", "10.2.0.20", (1, 53), &[9; 3000]), 1400);
    a.receive(LAN, &parts[..2]);
    assert_eq!(a.counters.held.get(), 2);
    a.now += 29_999;
    a.finish();
    assert_eq!(a.counters.held.get(), 2);
    a.now += 1;
    a.finish();
    assert_eq!(
        (a.counters.held.get(), a.drops(DropReason::FragmentTimeout)),
        (0, 2)
    );
    a.receive(LAN, &parts[..2]);
    a.pipeline.release(&mut a.io);
    a.balance();
    assert_eq!(a.drops(DropReason::FragmentTimeout), 4);
}

/// Whoever fills the table from outside does not keep the protected side from reassembly.
#[test]
fn a_flood_of_fragments_outside_does_no_harm_inside() {
    for (from, to) in PAIRS {
        let (mut a, mut b) = dns(9600);
        let flood = |n: u32| {
            let source = std::net::Ipv4Addr::from_bits(0xcb00_7100 + n).to_string();
            fragments(&udp(&source, "192.0.2.1", (1, 2), &[0; 2000]), 1400).remove(0)
        };
        let flood: Vec<_> = (0..400).map(flood).collect();
        a.receive(WIRE, &flood);
        assert!(a.drops(DropReason::FragmentTableFull) > 0);
        let whole = udp(from, to, (1, 53), &[9; 3000]);
        a.receive(LAN, &fragments(&whole, 1400));
        exchange(&mut a, &mut b);
        assert_eq!(reassemble(&b.sent(LAN)), after(&whole.write(), 2));
    }
}
