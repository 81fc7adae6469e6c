//! What goes in at one gateway comes out of the other.

use portcullis_config::{Df, Dscp, Mode, Transform, UdpEncapsulation};

use portcullis_ipsec::pipeline::Event;

use crate::rig::packets::{self, Dice, after, bytes, echo, protocol, reassemble, udp};
use crate::rig::policy::{AH_SHA2, Sites, V4_ENDS, V6_ENDS, between, is_esp, lans, transforms};
use crate::rig::{Gateway, LAN, WIRE, exchange};

const NAT: UdpEncapsulation = UdpEncapsulation {
    source_port: 4500,
    destination_port: 4500,
};

/// A random packet from A's LAN to B's whose payload is `size` bytes.
fn packet(dice: &mut Dice, v4: bool, size: usize) -> packets::Ip {
    let (from, to) = match v4 {
        true => ("10.1.0.10", "10.2.0.20"),
        false => ("fd01::10", "fd02::20"),
    };
    let mut packet =
        packets::Ip::new(from, to, 253, dice.bytes(size)).class(dice.next() as u8 & !3);
    packet.ttl = 3 + dice.below(250) as u8;
    packet.id = dice.next() as u16;
    packet
}

fn outer_protocol(bundle: &[(Transform, Mode)], udp: bool) -> u8 {
    let outermost = bundle.last().unwrap().0;
    match (is_esp(outermost), udp) {
        (true, true) => packets::UDP,
        (true, false) => packets::ESP,
        (false, _) => packets::AH,
    }
}

/// Sends packets of all sizes from A to B and expects them there, alone on the wire under the outer protocol.
fn through(
    a: &mut Gateway,
    b: &mut Gateway,
    dice: &mut Dice,
    inner_v4: bool,
    outer: u8,
    sizes: &[usize],
) {
    for &size in sizes {
        let sent = packet(dice, inner_v4, size).write();
        a.on_lan(&sent);
        let wire = exchange(a, b);
        let out = b.sent(LAN);
        assert!(
            !out.is_empty(),
            "{size} bytes: {:?} {:?}",
            a.reasons(),
            b.reasons()
        );
        let out = if out.len() == 1 {
            out[0].clone()
        } else {
            reassemble(&out)
        };
        assert!(out == after(&sent, 2), "{size} bytes changed on their way");
        for seen in wire {
            let fragment = !packets::is_v4(&seen) && protocol(&seen) == 44;
            assert!(
                fragment || protocol(&seen) == outer,
                "clear text on the wire"
            );
        }
    }
}

#[test]
fn every_transform_carries_every_version_in_every_version() {
    let mut dice = Dice(1);
    for (n, transform) in transforms().into_iter().enumerate() {
        for (ends, udp) in [
            (V4_ENDS, false),
            (V4_ENDS, true),
            (V6_ENDS, false),
            (V6_ENDS, true),
        ] {
            if udp && !is_esp(transform) {
                continue;
            }
            let mut sites = Sites::default();
            let esn = n % 2 == 0;
            sites.protect(lans(), &[(transform, Mode::Tunnel)], ends, |sa| {
                sa.udp = udp.then_some(NAT);
                sa.esn = esn;
            });
            let (mut a, mut b) = sites.build();
            let outer = outer_protocol(&[(transform, Mode::Tunnel)], udp);
            for inner_v4 in [true, false] {
                let sizes = [0, 1, 7, 16, 100, 1400, dice.below(9000), 9000];
                through(&mut a, &mut b, &mut dice, inner_v4, outer, &sizes);
            }
            let (sent, got) = (&a.sas[0], &b.sas[0]);
            assert_eq!((sent.packets.get(), got.packets.get()), (16, 16));
            assert_eq!(sent.sequence.get(), 16);
            assert_eq!(got.sequence.get(), 16);
        }
    }
}

#[test]
fn every_size_up_to_300_bytes_survives() {
    let mut dice = Dice(2);
    for (transform, ends) in [
        (crate::rig::policy::GCM, V4_ENDS),
        (crate::rig::policy::CBC, V6_ENDS),
        (crate::rig::policy::NULL, V4_ENDS),
        (AH_SHA2, V6_ENDS),
    ] {
        let mut sites = Sites::default();
        sites.protect(lans(), &[(transform, Mode::Tunnel)], ends, |_| {});
        let (mut a, mut b) = sites.build();
        let outer = transform.protocol();
        let sizes: Vec<_> = (0..300).collect();
        through(&mut a, &mut b, &mut dice, true, outer, &sizes);
        through(&mut a, &mut b, &mut dice, false, outer, &sizes);
    }
}

#[test]
fn ah_goes_around_esp() {
    let mut dice = Dice(3);
    let esp = transforms().into_iter().filter(|t| is_esp(*t));
    let ah: Vec<_> = transforms().into_iter().filter(|t| !is_esp(*t)).collect();
    for (n, esp) in esp.enumerate() {
        for ends in [V4_ENDS, V6_ENDS] {
            let mut sites = Sites::default();
            let bundle = [(esp, Mode::Tunnel), (ah[n % ah.len()], Mode::Transport)];
            sites.protect(lans(), &bundle, ends, |sa| sa.esn = n % 3 == 0);
            let (mut a, mut b) = sites.build();
            let sizes = [0, 64, 1400, 8000];
            through(&mut a, &mut b, &mut dice, true, packets::AH, &sizes);
            through(&mut a, &mut b, &mut dice, false, packets::AH, &sizes);
        }
    }
}

#[test]
fn with_small_mtus_packets_are_cut_before_or_after_encryption() {
    let mut dice = Dice(4);
    for (n, transform) in transforms().into_iter().enumerate() {
        let ends = if n % 2 == 0 { V4_ENDS } else { V6_ENDS };
        for df in [Df::Copy, Df::Clear] {
            let mut sites = Sites::default();
            sites.mtu(1500, 9600);
            sites.protect(lans(), &[(transform, Mode::Tunnel)], ends, |sa| sa.df = df);
            let (mut a, mut b) = sites.build();
            let outer = transform.protocol();
            let sizes = [1300, 1400, 1480, 2000, 4000, dice.below(9000), 9000];
            // IPv4 without DF is cut before; a DF bit that the policy clears, and IPv6, after.
            through(&mut a, &mut b, &mut dice, true, outer, &sizes);
            assert!(
                a.sas[0].packets.get() > sizes.len() as u64,
                "cut before encryption"
            );
            if df == Df::Clear {
                through(&mut a, &mut b, &mut dice, false, outer, &sizes);
            }
        }
    }
}

/// Transport mode: the gateways' own traffic.
#[test]
fn transport_mode_protects_what_the_gateways_say() {
    for transform in transforms() {
        for (ends, udp) in [
            (V4_ENDS, false),
            (V6_ENDS, false),
            (V4_ENDS, true),
            (V6_ENDS, true),
        ] {
            if udp && !is_esp(transform) {
                continue;
            }
            let bundles = [
                vec![(transform, Mode::Transport)],
                vec![(transform, Mode::Transport), (AH_SHA2, Mode::Transport)],
            ];
            let count = if is_esp(transform) && !udp { 2 } else { 1 };
            for bundle in &bundles[..count] {
                let (near, far) = match ends == V4_ENDS {
                    true => ("192.0.2.1/32", "192.0.2.2/32"),
                    false => ("2001:db8::1/128", "2001:db8::2/128"),
                };
                let mut sites = Sites::default();
                sites.protect(between(&[near], &[far]), bundle, ends, |sa| {
                    sa.udp = (udp && is_esp(sa.transform)).then_some(NAT);
                });
                let (mut a, mut b) = sites.build();
                for size in [0, 1, 55, 1000, 4000] {
                    let ping = echo(ends.0, ends.1, &vec![0xaa; size]).write();
                    let buf = portcullis_ipsec::buffer::TestBuf::new(&ping);
                    a.inject(portcullis_ipsec::pipeline::Inject::Packet(buf));
                    let wire = a.sent(WIRE);
                    assert_eq!(wire.len(), 1, "{:?}", a.reasons());
                    assert_eq!(protocol(&wire[0]), outer_protocol(bundle, udp));
                    b.receive(WIRE, &wire);
                    let [portcullis_ipsec::pipeline::Punt::Local { packet }] = &b.io.punts[..]
                    else {
                        panic!("{transform:?}: {:?}", b.reasons());
                    };
                    assert_eq!(portcullis_ipsec::PacketBuf::data(packet), ping);
                    b.io.punts.clear();
                }
            }
        }
    }
}

#[test]
fn what_the_outer_header_shows_of_the_inner_follows_policy() {
    for (df, inner, expected) in [
        (Df::Copy, false, false),
        (Df::Copy, true, true),
        (Df::Set, false, true),
        (Df::Clear, true, false),
    ] {
        for dscp in [Dscp::Copy, Dscp::Fixed(46)] {
            let (mut a, _) = crate::rig::policy::tunnel_with(crate::rig::policy::GCM, |sa| {
                (sa.df, sa.dscp) = (df, dscp);
            });
            for class in [0, 0xb8, 0xb9, 0x22, 0xff] {
                let mut packet = echo("10.1.0.10", "10.2.0.20", b"x").class(class);
                packet.dont_fragment = inner;
                a.on_lan(&packet.write());
                let outer = a.sent(WIRE).remove(0);
                assert_eq!(outer[6] & 0x40 != 0, expected);
                // RFC 6040 4.1: ECN is copied whatever DSCP is.
                let shown = if dscp == Dscp::Copy { class >> 2 } else { 46 };
                assert_eq!(packets::class(&outer), shown << 2 | class & 3);
            }
        }
    }
}

/// RFC 6040 figure 4, by inner codepoint and outer codepoint: what comes out, `None` for drop.
#[test]
fn congestion_marks_of_the_outer_header_are_carried_over() {
    const FIGURE_4: [[Option<u8>; 4]; 4] = [
        // Outer: Not-ECT, ECT(1), ECT(0), CE.
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ];
    for (from, to) in [("10.1.0.10", "10.2.0.20"), ("fd01::10", "fd02::20")] {
        let (mut a, mut b) = crate::rig::policy::tunnel(crate::rig::policy::GCM);
        for (inner, row) in FIGURE_4.iter().enumerate() {
            for (outer, expected) in row.iter().enumerate() {
                let sent = echo(from, to, b"ecn").class(0x88 | inner as u8).write();
                a.on_lan(&sent);
                let mut wire = a.sent(WIRE).remove(0);
                wire[1] = wire[1] & !3 | outer as u8;
                packets::fix_checksum(&mut wire);
                let before = b.drops(portcullis_ipsec::DropReason::EcnInvalid);
                b.on_wire(&wire);
                match expected {
                    Some(ecn) => {
                        let mut want = after(&sent, 2);
                        if packets::is_v4(&want) {
                            want[1] = 0x88 | ecn;
                            packets::fix_checksum(&mut want);
                        } else {
                            want[1] = 0x80 | ecn << 4;
                        }
                        assert_eq!(b.sent(LAN), [want]);
                    }
                    None => b.assert_dropped(portcullis_ipsec::DropReason::EcnInvalid, before),
                }
            }
        }
    }
}

#[test]
fn udp_encapsulated_ipv6_has_a_right_checksum() {
    let mut sites = Sites::default();
    sites.protect(
        lans(),
        &[(crate::rig::policy::CBC, Mode::Tunnel)],
        V6_ENDS,
        |sa| {
            sa.udp = Some(NAT);
        },
    );
    let (mut a, _) = sites.build();
    for size in 0..64 {
        let data = vec![size as u8; size];
        a.on_lan(&udp("fd01::10", "fd02::20", (1, 2), &data).write());
        let wire = a.sent(WIRE).remove(0);
        let (from, to) = (bytes(V6_ENDS.0), bytes(V6_ENDS.1));
        // RFC 8200 8.1: the sum over pseudo-header and datagram comes out right, and is not absent.
        assert_eq!(
            packets::upper_checksum(&from, &to, packets::UDP, &wire[40..]),
            0
        );
        assert_ne!(wire[46..48], [0, 0]);
    }
}

/// The peer's NAT gives it another port, then another address: the first authentic packet from there tells, once; what was
/// overtaken, repeated or forged tells nothing.
#[test]
fn authentic_packets_tell_where_the_peer_is() {
    let mut sites = Sites::default();
    let gcm = [(crate::rig::policy::GCM, Mode::Tunnel)];
    sites.protect(lans(), &gcm, V4_ENDS, |sa| sa.udp = Some(NAT));
    let (mut a, mut b) = sites.build();
    let wire: Vec<_> = (0..6)
        .map(|n| {
            a.on_lan(&echo("10.1.0.10", "10.2.0.20", &[n]).write());
            a.sent(WIRE).remove(0)
        })
        .collect();
    // Source address and port where RFC 791 and RFC 768 have them; the UDP checksum is 0 (RFC 3948 2.1).
    let from = |packet: &[u8], last: u8, port: u16| {
        let mut packet = packet.to_vec();
        packet[15] = last;
        packet[10..12].fill(0);
        let sum = packets::checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        packet
    };
    let own = wire[0][15];
    b.on_wire(&wire[0]);
    assert_eq!(b.io.events, [], "it is where it was");
    let mut forged = from(&wire[2], own, 7777);
    *forged.last_mut().unwrap() ^= 1;
    b.on_wire(&forged);
    b.io.events.clear();
    b.on_wire(&from(&wire[2], own, 1234));
    let port = |events: &[Event]| match events {
        [Event::PeerMoved { address, port, .. }] => Some((address.to_ip().to_string(), *port)),
        _ => None,
    };
    let (address, found) = port(&b.io.events).expect("one event");
    assert_eq!(found, 1234);
    assert_eq!(address, V4_ENDS.0);
    b.io.events.clear();
    b.on_wire(&from(&wire[1], own, 4321));
    b.on_wire(&from(&wire[2], own, 4321));
    b.on_wire(&from(&wire[3], own, 1234));
    assert_eq!(b.io.events, [], "overtaken, repeated, known");
    b.io.deaf = true;
    b.on_wire(&from(&wire[4], own ^ 0x40, 1234));
    b.io.deaf = false;
    assert_eq!(b.io.events, []);
    b.on_wire(&from(&wire[5], own ^ 0x40, 1234));
    assert!(port(&b.io.events).is_some(), "control had not heard of it");
    assert_eq!(b.sent(LAN).len(), 6);
}

/// A full burst of both directions at once, and of two SAs in turn: order within a flow is kept.
#[test]
fn bursts_keep_their_order() {
    let mut sites = Sites::default();
    let gcm = crate::rig::policy::GCM;
    let udp_only = portcullis_config::Selector {
        upper: portcullis_config::UpperLayer::Protocol(packets::UDP),
        ..lans()
    };
    sites.protect(
        udp_only,
        &[(crate::rig::policy::CBC, Mode::Tunnel)],
        V4_ENDS,
        |_| {},
    );
    sites.protect(lans(), &[(gcm, Mode::Tunnel)], V4_ENDS, |_| {});
    let (mut a, mut b) = sites.build();
    let packet = |i: u16| match i % 2 {
        0 => udp("10.1.0.10", "10.2.0.20", (1, i), &[]).write(),
        _ => echo("10.1.0.10", "10.2.0.20", &i.to_be_bytes()).write(),
    };
    let all: Vec<_> = (0..96).map(packet).collect();
    a.receive(LAN, &all);
    exchange(&mut a, &mut b);
    let out = b.sent(LAN);
    let of = |protocol| all.iter().filter(move |p| packets::protocol(p) == protocol);
    for kind in [packets::UDP, packets::ICMP] {
        let got: Vec<_> = out
            .iter()
            .filter(|p| protocol(p) == kind)
            .cloned()
            .collect();
        let want: Vec<_> = of(kind).map(|p| after(p, 2)).collect();
        assert_eq!(got, want);
    }
}

/// ESP in UDP stands right behind the IPv6 header, or not at all: the checksum could not be written.
#[test]
fn transport_mode_in_udp_takes_no_extension_headers() {
    let mut sites = Sites::default();
    let ends = between(&["2001:db8::1/128"], &["2001:db8::2/128"]);
    sites.protect(
        ends,
        &[(crate::rig::policy::GCM, Mode::Transport)],
        V6_ENDS,
        |sa| {
            sa.udp = Some(NAT);
        },
    );
    let (mut a, _) = sites.build();
    let options = [60, packets::ICMPV6, 0, 1, 4, 0, 0, 0, 0];
    let ping = echo(V6_ENDS.0, V6_ENDS.1, b"x").options(&options).write();
    let buf = portcullis_ipsec::buffer::TestBuf::new(&ping);
    a.inject(portcullis_ipsec::pipeline::Inject::Packet(buf));
    a.assert_dropped(portcullis_ipsec::DropReason::Ipv6Extension, 0);
}

/// RFC 3948 3.1.2: behind a NAT the sender's checksum covers an address that is no longer in the header.
#[test]
fn transport_mode_behind_a_nat_has_right_checksums() {
    let inside = "192.168.1.5";
    for told in [false, true] {
        let mut sites = Sites::default();
        let ends = between(&["192.0.2.1/32"], &["192.0.2.2/32"]);
        let bundle = [(crate::rig::policy::GCM, Mode::Transport)];
        sites.protect(ends, &bundle, V4_ENDS, |sa| {
            sa.udp = Some(NAT);
            let original = (inside.parse().unwrap(), V4_ENDS.1.parse().unwrap());
            sa.original = told.then(|| Box::new(original));
        });
        let (mut a, mut b) = sites.build();
        let mut segment =
            udp(inside, V4_ENDS.1, (1701, 1701), b"portcullis").write()[20..].to_vec();
        segment[6..8].fill(0);
        let sum =
            packets::upper_checksum(&bytes(inside), &bytes(V4_ENDS.1), packets::UDP, &segment);
        segment[6..8].copy_from_slice(&sum.to_be_bytes());
        let sent = packets::Ip::new(V4_ENDS.0, V4_ENDS.1, packets::UDP, segment).write();
        let buf = portcullis_ipsec::buffer::TestBuf::new(&sent);
        a.inject(portcullis_ipsec::pipeline::Inject::Packet(buf));
        b.receive(WIRE, &a.sent(WIRE));
        let [portcullis_ipsec::pipeline::Punt::Local { packet }] = &b.io.punts[..] else {
            panic!("{:?}", b.reasons());
        };
        let got = &portcullis_ipsec::PacketBuf::data(packet)[20..];
        let (from, to) = (bytes(V4_ENDS.0), bytes(V4_ENDS.1));
        let left = packets::upper_checksum(&from, &to, packets::UDP, got);
        assert_eq!(left, 0, "told: {told}");
    }
}
