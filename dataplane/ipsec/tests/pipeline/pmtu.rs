//! Path MTU (RFC 4301 8): who is told which size, and what then fits.

use portcullis_config::{Action, Df, Mode, Transform, UdpEncapsulation};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::command::Command;
use portcullis_ipsec::pipeline::Event;

use crate::rig::packets::{
    self, Ip, after, bytes, destination, echo, icmp, payload, reassemble, source, udp,
};
use crate::rig::policy::{
    AH_SHA2, GCM, Sites, V4_ENDS, V6_ENDS, between, is_esp, lans, transforms, tunnel,
};
use crate::rig::{Gateway, LAN, WIRE, exchange};

fn sized(v4: bool, total: usize) -> Vec<u8> {
    let (from, to, header) = match v4 {
        true => ("10.1.0.10", "10.2.0.20", 20),
        false => ("fd01::10", "fd02::20", 40),
    };
    let packet = Ip::new(from, to, 253, vec![0x33; total - header])
        .df()
        .write();
    assert_eq!(packet.len(), total);
    packet
}

/// The MTU in the only answer, which goes back to the sender from A's protected address.
fn told(a: &mut Gateway, v4: bool) -> usize {
    let answer = a.sent(LAN).remove(0);
    let (gateway, host) = if v4 {
        ("10.1.0.1", "10.1.0.10")
    } else {
        ("fd01::1", "fd01::10")
    };
    assert_eq!(
        (source(&answer), destination(&answer)),
        (bytes(gateway), bytes(host))
    );
    let message = payload(&answer);
    if v4 {
        // RFC 1191 4.
        assert_eq!(message[..2], [3, 4]);
        assert_eq!(packets::checksum(message), 0);
        usize::from(u16::from_be_bytes([message[6], message[7]]))
    } else {
        // RFC 4443 3.2.
        assert_eq!(message[..2], [2, 0]);
        let sum = packets::upper_checksum(&bytes(gateway), &bytes(host), packets::ICMPV6, message);
        assert_eq!(sum, 0);
        u32::from_be_bytes([message[4], message[5], message[6], message[7]]) as usize
    }
}

/// The size that A names passes in one piece, and one byte more would not: no smaller size would do.
#[test]
fn the_size_told_is_the_largest_that_passes() {
    let nat = Some(UdpEncapsulation {
        source_port: 4500,
        destination_port: 4500,
    });
    for (n, transform) in transforms().into_iter().enumerate() {
        let mut bundles = vec![(vec![(transform, Mode::Tunnel)], None)];
        if is_esp(transform) {
            bundles.push((
                vec![(transform, Mode::Tunnel), (AH_SHA2, Mode::Transport)],
                None,
            ));
            bundles.push((vec![(transform, Mode::Tunnel)], nat));
        }
        for (bundle, udp) in bundles {
            let ends = if n % 2 == 0 { V4_ENDS } else { V6_ENDS };
            let mtu = 1480 + (n % 23) as u16;
            let mut sites = Sites::default();
            sites.mtu(mtu, 9600);
            sites.protect(lans(), &bundle, ends, |sa| sa.udp = udp);
            let (mut a, mut b) = sites.build();
            for v4 in [true, false] {
                a.on_lan(&sized(v4, 2000));
                assert!(a.sent(WIRE).is_empty());
                let size = told(&mut a, v4);
                a.on_lan(&sized(v4, size + 1));
                assert_eq!(told(&mut a, v4), size);
                a.on_lan(&sized(v4, size));
                let wire = exchange(&mut a, &mut b);
                assert_eq!(wire.len(), 1, "{transform:?}: {:?}", a.reasons());
                assert!(wire[0].len() <= usize::from(mtu));
                assert_eq!(b.sent(LAN), [after(&sized(v4, size), 2)]);
                // One byte more really is too much: ask a gateway with room for it.
                let mut wide = sites.clone();
                wide.mtu(9600, 9600);
                let (mut wide, _) = wide.build();
                wide.on_lan(&sized(v4, size + 1));
                assert!(
                    wide.sent(WIRE)[0].len() > usize::from(mtu),
                    "{transform:?}: {size} is too small"
                );
            }
        }
    }
}

#[test]
fn df_clear_cuts_the_outer_packet_instead() {
    let mut sites = Sites::default();
    sites.mtu(1500, 9600);
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |sa| {
        sa.df = Df::Clear
    });
    let (mut a, mut b) = sites.build();
    let sent = sized(true, 4000);
    a.on_lan(&sent);
    let wire = a.sent(WIRE);
    assert_eq!((wire.len(), a.sas[0].packets.get()), (3, 1));
    assert_eq!(packets::protocol(&reassemble(&wire)), packets::ESP);
    b.receive(WIRE, &wire);
    assert_eq!(b.sent(LAN), [after(&sent, 2)]);
}

/// RFC 8200 5: no IPv6 sender need go below 1280, so a tunnel that cannot take that must fragment.
#[test]
fn ipv6_is_never_told_less_than_1280() {
    let mut sites = Sites::default();
    sites.mtu(1300, 9600);
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let (mut a, mut b) = sites.build();
    a.on_lan(&sized(false, 1281));
    // The error fits whole into 1280 bytes.
    assert_eq!(told(&mut a, false), 1280);
    let sent = sized(false, 1280);
    a.on_lan(&sent);
    let wire = a.sent(WIRE);
    assert_eq!(wire.len(), 2, "{:?}", a.reasons());
    b.receive(WIRE, &wire);
    assert_eq!(b.sent(LAN), [after(&sent, 2)]);
}

/// Fragments of two SAs to one peer must not be taken for one another (RFC 6864 4.2).
#[test]
fn identifications_of_two_sas_differ() {
    let mut sites = Sites::default();
    sites.mtu(1500, 9600);
    let tcp = portcullis_config::Selector {
        upper: portcullis_config::UpperLayer::Protocol(packets::TCP),
        ..lans()
    };
    for selector in [tcp, lans()] {
        sites.protect(selector, &[(GCM, Mode::Tunnel)], V4_ENDS, |sa| {
            sa.df = Df::Clear
        });
    }
    let (mut a, mut b) = sites.build();
    let one = Ip {
        protocol: packets::TCP,
        ..Ip::new("10.1.0.10", "10.2.0.20", 0, vec![1; 3000])
    };
    let other = Ip {
        protocol: packets::UDP,
        ..one.clone()
    };
    for _ in 0..50 {
        a.receive(LAN, &[one.clone().df().write(), other.clone().df().write()]);
        let wire = a.sent(WIRE);
        let (first, second) = wire.split_at(wire.len() / 2);
        let mixed: Vec<_> = first
            .iter()
            .zip(second)
            .flat_map(|(x, y)| [x.clone(), y.clone()])
            .collect();
        b.receive(WIRE, &mixed);
        assert_eq!(b.sent(LAN).len(), 2, "{:?}", b.reasons());
    }
}

#[test]
fn a_learnt_path_mtu_is_heeded() {
    let mut sites = Sites::default();
    sites.mtu(1500, 9600);
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let (mut a, mut b) = sites.build();
    a.on_lan(&sized(true, 1400));
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN).len(), 1);
    a.apply(Command::SetPathMtu(0, 1000));
    a.on_lan(&sized(true, 1400));
    let size = told(&mut a, true);
    a.on_lan(&sized(true, size));
    let wire = exchange(&mut a, &mut b);
    assert!(wire[0].len() <= 1000 && wire[0].len() > 1000 - 4 && wire.len() == 1);
    // Without DF, what is larger is cut before encryption.
    let mut large = sized(true, 1400);
    large[6] = 0;
    packets::fix_checksum(&mut large);
    a.on_lan(&large);
    let wire = exchange(&mut a, &mut b);
    assert!(wire.len() == 2 && wire.iter().all(|p| p.len() <= 1000));
}

/// Routers quote the AH of a bundle; the ESP inside must heed it.
#[test]
fn a_path_mtu_learnt_for_ah_holds_for_the_esp_inside() {
    let mut sites = Sites::default();
    let bundle = [(GCM, Mode::Tunnel), (AH_SHA2, Mode::Transport)];
    sites.protect(lans(), &bundle, V4_ENDS, |_| {});
    let (mut a, mut b) = sites.build();
    let ah = a.site.spd[0].action.clone();
    let Action::Protect { outbound, .. } = ah else {
        panic!("{ah:?}")
    };
    a.apply(Command::SetPathMtu(outbound[1] as u32, 1000));
    a.on_lan(&sized(true, 1400));
    let size = told(&mut a, true);
    a.on_lan(&sized(true, size));
    let wire = exchange(&mut a, &mut b);
    assert!(wire.len() == 1 && wire[0].len() <= 1000);
    assert_eq!(b.sent(LAN), [after(&sized(true, size), 2)]);
}

/// A router's word that our packet was too big.
fn too_big(from: &str, to: &str, mtu: u32, quoted: &[u8]) -> Vec<u8> {
    let (kind, code) = if from.contains(':') { (2, 0) } else { (3, 4) };
    icmp(from, to, kind, code, &[&mtu.to_be_bytes(), quoted].concat()).write()
}

#[test]
fn a_genuine_quote_is_told_to_control_and_nothing_else() {
    let nat = |esp: Transform| {
        is_esp(esp).then_some(UdpEncapsulation {
            source_port: 4500,
            destination_port: 4500,
        })
    };
    for (ends, router, transform, udp) in [
        (V4_ENDS, "203.0.113.1", GCM, false),
        (V4_ENDS, "203.0.113.1", GCM, true),
        (V4_ENDS, "203.0.113.1", AH_SHA2, false),
        (V6_ENDS, "2001:db8:5::1", GCM, false),
        (V6_ENDS, "2001:db8:5::1", GCM, true),
        (V6_ENDS, "2001:db8:5::1", AH_SHA2, false),
    ] {
        let mut sites = Sites::default();
        sites.protect(lans(), &[(transform, Mode::Tunnel)], ends, |sa| {
            sa.udp = nat(sa.transform).filter(|_| udp);
        });
        let (mut a, _) = sites.build();
        a.on_lan(&sized(true, 1400));
        let wire = a.sent(WIRE).remove(0);
        // RFC 792 obliges routers to no more than eight bytes behind the header; ESP in UDP needs four more.
        let header = if packets::is_v4(&wire) { 20 } else { 40 };
        for quote in [&wire[..], &wire[..header + 16]] {
            a.on_wire(&too_big(router, ends.0, 1300, quote));
            a.assert_dropped(
                DropReason::PathMtuLearnt,
                a.drops(DropReason::PathMtuLearnt) - 1,
            );
            let event = a.io.events.pop().unwrap();
            let expected = Event::PathMtu {
                spi: a.site.sas[0].spi,
                protocol: transform.protocol(),
                destination: ends.1.parse::<std::net::IpAddr>().unwrap().into(),
                mtu: 1300,
            };
            assert_eq!(event, expected);
        }
    }
}

#[test]
fn quotes_of_other_packets_are_for_the_spd() {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let (mut a, _) = sites.build();
    a.on_lan(&sized(true, 1400));
    let wire = a.sent(WIRE).remove(0);
    let near = V4_ENDS.0;
    let mut foreign = wire.clone();
    foreign[12..16].copy_from_slice(&[9, 9, 9, 9]);
    let mut reserved = wire.clone();
    reserved[20..24].copy_from_slice(&[0, 0, 0, 255]);
    let ike = udp(near, V4_ENDS.1, (4500, 4500), &[0; 40]).write();
    let ike500 = udp(near, V4_ENDS.1, (500, 500), &[1; 40]).write();
    let dns = udp(near, V4_ENDS.1, (5000, 53), &[1; 40]).write();
    let tcp = Ip::new(near, V4_ENDS.1, packets::TCP, vec![1; 40]).write();
    for quoted in [
        foreign,
        reserved,
        ike,
        ike500,
        dns,
        tcp,
        wire[..22].to_vec(),
        vec![],
        vec![0x45; 19],
    ] {
        let before = a.drops(DropReason::PolicyNoMatch);
        a.on_wire(&too_big("203.0.113.1", near, 600, &quoted));
        a.assert_dropped(DropReason::PolicyNoMatch, before);
    }
    // A wrong checksum, and an error that is not about size.
    let mut broken = too_big("203.0.113.1", near, 600, &wire);
    broken[40] ^= 1;
    let unreachable = icmp("203.0.113.1", near, 3, 1, &[&[0; 4], &wire[..]].concat()).write();
    for packet in [broken, unreachable] {
        let before = a.drops(DropReason::PolicyNoMatch);
        a.on_wire(&packet);
        a.assert_dropped(DropReason::PolicyNoMatch, before);
    }
    assert!(a.io.events.is_empty());
}

/// What comes out of the tunnel and does not fit the LAN: the far sender is told, through the tunnel.
#[test]
fn too_big_for_the_far_lan() {
    let (mut a, _) = tunnel(GCM);
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    sites.b.lan_mtu = 1400;
    let (_, mut b) = sites.build();
    for (v4, gateway) in [(true, "10.2.0.1"), (false, "fd02::1")] {
        a.on_lan(&sized(v4, 2000));
        exchange(&mut a, &mut b);
        let answer = a.sent(LAN).remove(0);
        assert_eq!(source(&answer), bytes(gateway));
        assert_eq!(payload(&answer)[..2], if v4 { [3, 4] } else { [2, 0] });
        assert_eq!(payload(&answer)[6..8], 1400u16.to_be_bytes());
        assert!(b.sent(LAN).is_empty());
    }
    // Without DF it is cut.
    let whole = echo("10.1.0.10", "10.2.0.20", &[1; 3000]);
    a.on_lan(&whole.write());
    exchange(&mut a, &mut b);
    assert_eq!(reassemble(&b.sent(LAN)), after(&whole.write(), 2));
}

/// An error that must itself be protected has room for the longest headers: IPv6, UDP or AH, ESP.
#[test]
fn an_error_goes_into_every_tunnel() {
    let nat = Some(UdpEncapsulation {
        source_port: 4500,
        destination_port: 4500,
    });
    for transform in transforms().into_iter().filter(|t| is_esp(*t)) {
        let esp = (transform, Mode::Tunnel);
        for (bundle, udp) in [
            (vec![esp], None),
            (vec![esp], nat),
            (vec![esp, (AH_SHA2, Mode::Transport)], None),
        ] {
            let mut sites = Sites::default();
            sites.mtu(9600, 1400);
            // What comes in clear is told of in a tunnel.
            let clear = between(&["fd01::/64"], &["fd02::/64"]);
            sites.both(clear, Action::Bypass);
            let errors = between(&["2001:db8::1/128"], &["fd02::/64"]);
            sites.protect(errors, &bundle, V6_ENDS, |sa| sa.udp = udp);
            let (mut a, _) = sites.build();
            let large = Ip::new("fd02::20", "fd01::10", 253, vec![0; 2000]).write();
            // The second one finds the SA's way known.
            for _ in 0..2 {
                a.on_wire(&large);
                let wire = a.sent(WIRE);
                assert_eq!(wire.len(), 1, "{transform:?} {udp:?}: {:?}", a.reasons());
                assert_eq!(source(&wire[0]), bytes(V6_ENDS.0));
            }
            assert_eq!(a.drops(DropReason::NoRoomInBuffer), 0);
        }
    }
}

/// Clear traffic that a bypass entry lets through.
#[test]
fn bypassed_traffic_has_the_mtu_of_its_link() {
    let mut sites = Sites::default();
    sites.mtu(1500, 9600);
    sites.both(
        between(&["10.1.0.0/16"], &["198.51.100.0/24"]),
        Action::Bypass,
    );
    let (mut a, _) = sites.build();
    let large = Ip::new("10.1.0.10", "198.51.100.7", 253, vec![0; 2000]);
    a.on_lan(&large.clone().df().write());
    assert_eq!(told(&mut a, true), 1500);
    a.on_lan(&large.write());
    let wire = a.sent(WIRE);
    assert_eq!(wire.len(), 2);
    assert_eq!(reassemble(&wire), after(&large.write(), 1));
}
