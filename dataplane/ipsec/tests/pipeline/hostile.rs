//! Truncation at every length, lengths that lie, extension header chains: nothing panics, nothing passes.

use portcullis_config::{Action, Mode, UdpEncapsulation};
use portcullis_ipsec::DropReason;

use crate::rig::packets::{self, Dice, Ip, after, echo, fix_checksum, fragments, udp};
use crate::rig::policy::{AH_SHA2, CBC, GCM, NULL, Sites, V4_ENDS, V6_ENDS, between, lans};
use crate::rig::{Gateway, LAN, WIRE, framed};

/// Both ends of every kind of outer packet.
fn all_kinds() -> Vec<(Gateway, Gateway)> {
    let nat = UdpEncapsulation {
        source_port: 4500,
        destination_port: 4500,
    };
    let mut all = Vec::new();
    for ends in [V4_ENDS, V6_ENDS] {
        for (bundle, udp) in [
            (vec![(GCM, Mode::Tunnel)], None),
            (vec![(CBC, Mode::Tunnel)], Some(nat)),
            (vec![(AH_SHA2, Mode::Tunnel)], None),
            (vec![(NULL, Mode::Tunnel), (AH_SHA2, Mode::Transport)], None),
        ] {
            let mut sites = Sites::default();
            sites.protect(lans(), &bundle, ends, |sa| sa.udp = udp);
            all.push(sites.build());
        }
    }
    all
}

/// Says that the IP packet is as long as it is.
fn fix_length(packet: &mut [u8]) {
    let total = packet.len();
    if packets::is_v4(packet) {
        if total >= 20 {
            packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            fix_checksum(packet);
        }
    } else if total >= 40 {
        packet[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
    }
}

#[test]
fn truncated_at_every_length() {
    for (mut a, mut b) in all_kinds() {
        let sent = echo("10.1.0.10", "10.2.0.20", b"truncate me").write();
        a.on_lan(&sent);
        let wire = a.sent(WIRE).remove(0);
        for len in 0..wire.len() {
            // The device cuts, and the header still says the old length; or the header agrees.
            let cut = wire[..len].to_vec();
            let mut agreed = cut.clone();
            if len > 0 {
                fix_length(&mut agreed);
            }
            for packet in [cut, agreed] {
                let drops = b.counters.drops.total();
                let mac = b.site.mac(WIRE);
                let mut frame = framed(mac, None, &packet);
                frame[12..14].copy_from_slice(if packets::is_v4(&wire) {
                    &[8, 0]
                } else {
                    &[0x86, 0xdd]
                });
                b.frames(WIRE, &[frame.clone()]);
                b.assert_silent();
                assert_eq!(b.counters.drops.total(), drops + 1);
                b.frames(WIRE, &[frame[..len.min(frame.len())].to_vec()]);
                b.assert_silent();
            }
        }
        // Longer than it says: Ethernet padding.
        let mut padded = wire.clone();
        padded.extend([0xee; 40]);
        b.on_wire(&padded);
        assert_eq!(b.sent(LAN), [after(&sent, 2)]);
    }
}

#[test]
fn clear_packets_truncated_at_every_length() {
    let mut sites = Sites::default();
    sites.both(
        between(&["10.1.0.0/16", "fd01::/64"], &["10.2.0.0/16", "fd02::/64"]),
        Action::Bypass,
    );
    for packet in [
        udp("10.1.0.10", "10.2.0.20", (1, 2), b"payload")
            .options(&[148, 4, 0, 0])
            .write(),
        udp("fd01::10", "fd02::20", (1, 2), b"payload")
            .options(&[0, 17, 0, 5, 2, 0, 0, 1, 0])
            .write(),
    ] {
        let (mut a, _) = sites.build();
        for len in 0..packet.len() {
            let mut frame = framed(a.site.mac(LAN), None, &packet[..len]);
            frame[12..14].copy_from_slice(if packets::is_v4(&packet) {
                &[8, 0]
            } else {
                &[0x86, 0xdd]
            });
            a.frames(LAN, &[frame]);
            a.assert_silent();
        }
        a.on_lan(&packet);
        assert_eq!(a.sent(WIRE), [after(&packet, 1)]);
    }
}

/// Each length field of the outer headers with every value.
#[test]
fn lengths_that_lie() {
    for (mut a, mut b) in all_kinds() {
        let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
        a.on_lan(&sent);
        let wire = a.sent(WIRE).remove(0);
        let v4 = packets::is_v4(&wire);
        let (len_at, behind) = if v4 { (2, 20) } else { (4, 40) };
        let honest = u16::from_be_bytes([wire[len_at], wire[len_at + 1]]);
        for len in (0..=600)
            .chain([0x7fff, 0xfff0, 0xffff])
            .filter(|l| *l != honest)
        {
            let mut lie = wire.clone();
            lie[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
            if v4 {
                fix_checksum(&mut lie);
            }
            b.on_wire(&lie);
            b.assert_silent();
        }
        // Version and header length; AH's length or UDP's.
        let inside = match packets::protocol(&wire) {
            packets::AH => vec![behind + 1],
            packets::UDP => vec![behind + 4, behind + 5],
            _ => vec![],
        };
        for at in inside.into_iter().chain([0]) {
            for value in 0..=255u8 {
                let mut lie = wire.clone();
                lie[at] = value;
                if v4 && at == 0 && usize::from(value & 15) * 4 <= lie.len() {
                    fix_checksum(&mut lie);
                }
                if lie != wire && !(at == 0 && !v4 && value >> 4 == 6) {
                    b.on_wire(&lie);
                    b.assert_silent();
                }
            }
        }
        b.on_wire(&wire);
        assert_eq!(b.sent(LAN), [after(&sent, 2)], "{:?}", b.reasons());
    }
}

#[test]
fn ipv4_options() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let (mut a, _) = sites.build();
    let with = |options: &[u8]| {
        udp("10.1.0.10", "10.2.0.20", (1, 2), b"x")
            .options(options)
            .write()
    };
    for bad in [
        &[131, 7, 4, 1, 2, 3, 4, 0][..], // loose source route
        &[137, 7, 4, 1, 2, 3, 4, 0],     // strict source route
        &[7, 0, 0, 0],                   // a length of 0
        &[7, 1, 0, 0],                   // and of 1
        &[7, 5, 0, 0],                   // beyond the header
        &[1, 1, 1, 7],                   // no length at all
    ] {
        let before = a.drops(DropReason::IpOption);
        a.on_lan(&with(bad));
        a.assert_dropped(DropReason::IpOption, before);
    }
    for good in [
        &[1, 1, 1, 0][..],
        &[148, 4, 0, 0],
        &[0, 0xff, 0xff, 0xff],
        &[1; 40],
    ] {
        a.on_lan(&with(good));
        assert_eq!(a.sent(WIRE).len(), 1, "{:?}", a.reasons());
    }
}

/// Chains in the outer packet: in front of ESP they are allowed, whatever is malformed is not.
#[test]
fn ipv6_extension_headers_in_front_of_esp() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V6_ENDS, |_| {});
    sites.protect(lans(), &[(AH_SHA2, Mode::Tunnel)], V6_ENDS, |_| {});
    let (mut a, mut b) = sites.build();
    let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
    let hop = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let mut esp = || {
        a.on_lan(&sent);
        packets::payload(&a.sent(WIRE)[0]).to_vec()
    };
    // Each option list begins with the kind of its first header and ends with the one that names ESP.
    for chain in [
        [&[0][..], &hop(50)].concat(),
        [&[60][..], &hop(50)].concat(),
        [&[0][..], &hop(60), &hop(50)].concat(),
        [&[60][..], &hop(43), &[60, 0, 0, 0, 0, 0, 0, 0], &hop(50)].concat(),
        [&[44][..], &[50, 0, 0, 0, 0, 0, 0, 9]].concat(), // RFC 6946: an atomic fragment
    ] {
        b.on_wire(
            &Ip::new(V6_ENDS.0, V6_ENDS.1, 50, esp())
                .options(&chain)
                .write(),
        );
        assert_eq!(
            b.sent(LAN),
            [after(&sent, 2)],
            "{chain:?} {:?}",
            b.reasons()
        );
    }
    let endless: Vec<u8> = std::iter::once(60)
        .chain((0..40).flat_map(|_| hop(60)))
        .collect();
    for chain in [
        [&[60][..], &hop(0), &hop(50)].concat(), // hop-by-hop only comes first
        [&[60][..], &[50, 200, 1, 4, 0, 0, 0, 0]].concat(), // longer than the packet
        [&[43][..], &[50, 0, 0, 1, 0, 0, 0, 0]].concat(), // RFC 5095: routing type 0
        [
            &[44][..],
            &[44, 0, 0, 0, 0, 0, 0, 9],
            &[50, 0, 0, 0, 0, 0, 0, 8],
        ]
        .concat(),
        endless,
    ] {
        let before = b.drops(DropReason::Ipv6Extension);
        b.on_wire(
            &Ip::new(V6_ENDS.0, V6_ENDS.1, 50, esp())
                .options(&chain)
                .write(),
        );
        b.assert_dropped(DropReason::Ipv6Extension, before);
    }
}

/// A random mix of everything, changed at random: nothing but what was sent comes out.
#[test]
fn random_changes_let_nothing_new_in() {
    let mut dice = Dice(99);
    for (mut a, mut b) in all_kinds() {
        let sent = echo("10.1.0.10", "10.2.0.20", &dice.bytes(300)).write();
        for _ in 0..400 {
            a.on_lan(&sent);
            let wire = a.sent(WIRE).remove(0);
            let mut pieces = match (dice.below(4), packets::is_v4(&wire)) {
                (0, v4) => {
                    let ends = if v4 { V4_ENDS } else { V6_ENDS };
                    let behind = packets::payload(&wire).to_vec();
                    fragments(
                        &Ip::new(ends.0, ends.1, packets::protocol(&wire), behind),
                        128,
                    )
                }
                _ => vec![wire],
            };
            for _ in 0..dice.below(4) {
                let piece = dice.below(pieces.len());
                let at = dice.below(pieces[piece].len());
                pieces[piece][at] = dice.next() as u8;
                if dice.below(2) == 0 && packets::is_v4(&pieces[piece]) {
                    fix_checksum(&mut pieces[piece]);
                }
            }
            b.receive(WIRE, &pieces);
            for mut out in b.sent(LAN) {
                // ECN may have come over from the outer header.
                out[1] = sent[1];
                fix_checksum(&mut out);
                assert_eq!(out, after(&sent, 2));
            }
            b.assert_silent();
        }
        b.now += 30_000;
        b.finish();
        assert_eq!(b.counters.held.get(), 0);
    }
}
