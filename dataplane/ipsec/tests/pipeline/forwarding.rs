//! Frames, VLANs, neighbours and the ways between the interfaces.

use portcullis_config::{Action, Bundle, Mode};
use portcullis_ipsec::pipeline::{Inject, Punt};
use portcullis_ipsec::{DropReason, InterfaceId, PacketBuf};

use crate::rig::packets::{Ip, after, echo, icmp, udp};
use crate::rig::policy::{GCM, Sites, V4_ENDS, between, lans, tunnel};
use crate::rig::{Gateway, LAN, TAG, VLAN, WIRE, exchange, framed};

#[test]
fn lan_to_lan_needs_no_policy() {
    let (mut a, _) = tunnel(GCM);
    let there = echo("10.1.0.10", "172.16.1.10", b"x").write();
    let back = echo("172.16.1.10", "10.1.0.10", b"x").write();
    for _ in 0..2 {
        a.on_lan(&there);
        let frame = a.io.frames[0].1.clone();
        // 802.1Q: the tag of the interface, in front of the type.
        assert_eq!(frame[12..18], [0x81, 0, 0, TAG as u8, 8, 0]);
        assert_eq!(a.sent(VLAN), [after(&there, 1)]);
        a.frames(LAN, &[framed(a.site.mac(VLAN), Some(TAG), &back)]);
        assert_eq!(a.sent(LAN), [after(&back, 1)]);
    }
    // Hop limit, from the interface's own address.
    a.frames(
        LAN,
        &[framed(
            a.site.mac(VLAN),
            Some(TAG),
            &echo("172.16.1.10", "10.1.0.10", b"x").ttl(1).write(),
        )],
    );
    assert_eq!(
        crate::rig::packets::source(&a.sent(VLAN)[0]),
        [172, 16, 1, 1]
    );
}

#[test]
fn vlan_traffic_uses_tunnels_too() {
    let mut sites = Sites::default();
    sites.protect(
        between(&["172.16.1.0/24"], &["172.16.2.0/24"]),
        &[(GCM, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    let (mut a, mut b) = sites.build();
    let sent = echo("172.16.1.10", "172.16.2.20", b"x").write();
    let mac = a.site.mac(VLAN);
    a.frames(LAN, &[framed(mac, Some(TAG), &sent)]);
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(VLAN), [after(&sent, 2)]);
    // A priority tag counts as none (802.1Q 9.3), with its priority bits.
    a.frames(
        LAN,
        &[framed(
            a.site.mac(LAN),
            Some(0xe000),
            &echo("10.1.0.10", "172.16.1.10", b"x").write(),
        )],
    );
    assert_eq!(a.sent(VLAN).len(), 1);
}

#[test]
fn frames_that_are_not_for_us() {
    use DropReason::*;
    let (mut a, _) = tunnel(GCM);
    let packet = echo("10.1.0.10", "10.2.0.20", b"x").write();
    let mac = a.site.mac(LAN);
    let frame = framed(mac, None, &packet);
    let mut odd_type = frame.clone();
    odd_type[12..14].copy_from_slice(&[0x88, 0xcc]);
    let mut wrong_family = frame.clone();
    wrong_family[12..14].copy_from_slice(&[0x86, 0xdd]);
    let mut double = framed(
        a.site.mac(VLAN),
        Some(TAG),
        &[&[0, 1, 8, 0], &packet[..]].concat(),
    );
    double[16..18].copy_from_slice(&[0x81, 0]);
    for (frame, reason) in [
        (framed([2, 1, 1, 1, 1, 1], None, &packet), NotForUs),
        // RFC 1812 5.3.4: no forwarding of what came by link layer broadcast.
        (framed([0xff; 6], None, &packet), Multicast),
        (framed([1, 0, 0x5e, 0, 0, 1], None, &packet), Multicast),
        (framed(mac, Some(8), &packet), UnknownVlan),
        (odd_type, UnknownEthertype),
        (wrong_family, IpMalformed),
        (frame[..13].to_vec(), EthernetTruncated),
        (
            framed(mac, Some(TAG), &[])[..17].to_vec(),
            EthernetTruncated,
        ),
        (vec![], EthernetTruncated),
        (double, UnknownEthertype),
    ] {
        let before = a.drops(reason);
        a.frames(LAN, &[frame]);
        a.assert_dropped(reason, before);
    }
    a.frames(9, &[frame]);
    a.assert_dropped(InterfaceDown, 0);
}

#[test]
fn arp_and_neighbour_discovery_go_to_the_slow_path_untagged() {
    let (mut a, _) = tunnel(GCM);
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1], &[0; 20][..]].concat();
    let mut solicitation = icmp("fd01::10", "ff02::1:ff00:1", 135, 0, &[0; 20]).ttl(255);
    solicitation.payload.extend([1, 1, 2, 9, 9, 9, 9, 9]);
    let solicitation = solicitation.write();
    for (kind, body) in [([8, 6], arp), ([0x86, 0xdd], solicitation)] {
        for (mac, tag, interface) in [
            (a.site.mac(LAN), None, LAN),
            ([0xff; 6], None, LAN),
            ([0x33, 0x33, 0xff, 0, 0, 1], Some(TAG), VLAN),
            ([0xff; 6], Some(TAG), VLAN),
        ] {
            let mut plain = framed(mac, None, &body);
            plain[12..14].copy_from_slice(&kind);
            let mut frame = framed(mac, tag, &body);
            let at = frame.len() - body.len();
            frame[at - 2..at].copy_from_slice(&kind);
            a.frames(LAN, &[frame]);
            let Some(Punt::Neighbor {
                interface: from,
                frame,
            }) = a.io.punts.pop()
            else {
                panic!("{:?}", a.reasons())
            };
            assert_eq!((from, frame.data()), (InterfaceId(interface), &plain[..]));
        }
    }
}

#[test]
fn unknown_neighbours_are_resolved_by_the_slow_path() {
    let (mut a, mut b) = tunnel(GCM);
    let sent = echo("10.1.0.10", "10.2.0.99", b"x").write();
    a.on_lan(&sent);
    exchange(&mut a, &mut b);
    let Some(Punt::Unresolved {
        interface,
        next_hop,
        packet,
    }) = b.io.punts.pop()
    else {
        panic!("{:?}", b.reasons())
    };
    assert_eq!(interface, InterfaceId(LAN));
    assert_eq!(next_hop.to_ip().to_string(), "10.2.0.99");
    assert_eq!(packet.data(), after(&sent, 2));
    // The frame comes back with its header and leaves.
    let frame = framed([2, 1, 1, 1, 1, 1], None, packet.data());
    b.inject(Inject::Frame(
        InterfaceId(LAN),
        portcullis_ipsec::buffer::TestBuf::new(&frame),
    ));
    assert_eq!(b.io.frames.pop().unwrap().1, frame);
    // When the neighbour is known, what the flow cache remembers is not in the way.
    let mut known = portcullis_ipsec::fib::Neighbors::default();
    known
        .0
        .insert((InterfaceId(LAN), next_hop), [2, 1, 1, 1, 1, 1]);
    b.apply(portcullis_ipsec::command::Command::SetNeighbors(
        known.into(),
    ));
    a.on_lan(&sent);
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN).len(), 1);
}

/// From one tunnel into another, through a gateway in the middle: one hop.
#[test]
fn hairpin_from_tunnel_to_tunnel() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    // A third site, 198.51.100.0/24, is reached by B through a tunnel to 192.0.2.99; A sends it through B.
    let third = between(&["10.1.0.0/16"], &["198.51.100.0/24"]);
    sites.protect(third, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let out = crate::rig::policy::sa(
        portcullis_config::Direction::Outbound,
        0x7777,
        GCM,
        Mode::Tunnel,
        "192.0.2.2",
        "192.0.2.99",
    );
    sites.b.sas.push(out);
    let slot = sites.b.sas.len() - 1;
    let action = Action::Protect {
        outbound: Bundle::from_iter([slot]),
        inbound: Bundle::new(),
    };
    sites.b.spd.push(crate::rig::policy::entry(
        between(&["10.1.0.0/16"], &["198.51.100.0/24"]),
        action,
    ));
    let (mut a, mut b) = sites.build();
    for _ in 0..2 {
        a.on_lan(&udp("10.1.0.10", "198.51.100.7", (1, 2), b"x").write());
        b.receive(WIRE, &a.sent(WIRE));
        let wire = b.sent(WIRE);
        assert_eq!(wire.len(), 1, "{:?}", b.reasons());
        assert_eq!(wire[0][20..24], [0, 0, 0x77, 0x77]);
        assert!(b.sent(LAN).is_empty());
    }
    // What no entry lets out again is dropped.
    let mut closed = sites.b.clone();
    closed.spd.pop();
    let mut b = closed.build();
    a.on_lan(&udp("10.1.0.10", "198.51.100.7", (1, 2), b"x").write());
    b.receive(WIRE, &a.sent(WIRE));
    b.assert_dropped(DropReason::PolicyNoMatch, 0);
}

fn open() -> Gateway {
    let mut sites = Sites::default();
    sites.both(between(&[], &[]), Action::Bypass);
    sites.a.build()
}

#[test]
fn addresses_that_no_gateway_forwards() {
    use DropReason::*;
    for (from, to, reason) in [
        ("127.0.0.1", "198.51.100.7", IpMartian),
        ("10.1.0.10", "127.0.0.1", IpMartian),
        ("0.0.0.0", "198.51.100.7", IpMartian),
        ("224.0.0.1", "198.51.100.7", IpMartian),
        ("10.1.0.10", "224.0.0.1", Multicast),
        ("10.1.0.10", "255.255.255.255", Multicast),
        ("10.1.0.10", "192.0.2.255", Multicast),
        ("fd01::10", "ff0e::1", Multicast),
        ("::1", "fd02::1", IpMartian),
        ("fd01::10", "::1", IpMartian),
        ("::ffff:10.1.0.10", "fd02::1", IpMartian),
        ("fd01::10", "::ffff:10.2.0.20", IpMartian),
        ("fe80::1234", "fd02::1", IpMartian),
        ("fd01::10", "fe80::99", IpMartian),
        ("10.1.0.10", "203.0.113.1", NoRoute),
    ] {
        for port in [LAN, WIRE] {
            let mut a = open();
            let raw = Ip::new(from, to, 253, b"x".to_vec());
            let packet = match (from.contains("ffff:"), to.contains("ffff:")) {
                (false, false) => raw.write(),
                _ => Ip {
                    source: v6(from),
                    destination: v6(to),
                    ..raw
                }
                .write(),
            };
            a.receive(port, &[packet]);
            a.assert_dropped(reason, 0);
        }
    }
}

fn v6(address: &str) -> Vec<u8> {
    address
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets()
        .to_vec()
}

/// Packets of the slow path: under the SPD, or exempt from it for IKE.
#[test]
fn the_gateway_speaks_itself() {
    let buf = |p: &Ip| portcullis_ipsec::buffer::TestBuf::new(&p.write());
    let (mut a, _) = tunnel(GCM);
    let ike = udp("192.0.2.1", "192.0.2.2", (500, 500), b"IKE");
    a.inject(Inject::Packet(buf(&ike)));
    a.assert_dropped(DropReason::PolicyNoMatch, 0);
    a.inject(Inject::Exempt(buf(&ike)));
    assert_eq!(a.sent(WIRE), [ike.write()], "its own TTL is not lowered");
    // Larger than the link: cut, since IKE may be.
    let mut sites = Sites::default();
    sites.mtu(1500, 1500);
    let mut a = sites.a.build();
    a.inject(Inject::Exempt(buf(&udp(
        "192.0.2.1",
        "192.0.2.2",
        (500, 500),
        &[0; 4000],
    ))));
    assert_eq!(a.sent(WIRE).len(), 3);
    a.inject(Inject::Exempt(buf(&udp(
        "2001:db8::1",
        "2001:db8::2",
        (500, 500),
        &[0; 4000],
    ))));
    assert_eq!(a.sent(WIRE).len(), 3);
}
