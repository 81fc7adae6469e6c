//! TTL and ICMP errors: from the gateways, and through their tunnels (RFC 4301 6).

use portcullis_config::{Action, Mode, Selector, UpperLayer};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::pipeline::Punt;

use crate::rig::packets::{
    self, Ip, TCP, after, bytes, destination, echo, fragments, icmp, payload, source, udp,
};
use crate::rig::policy::{GCM, Sites, V4_ENDS, lans, mirrored, port, tunnel};
use crate::rig::{Gateway, LAN, VLAN, WIRE, exchange};

/// RFC 792: time exceeded in transit; RFC 4443 3.3.
fn time_exceeded(v4: bool) -> u8 {
    if v4 { 11 } else { 3 }
}

#[test]
fn traceroute_sees_both_gateways_and_the_host() {
    for (host, far, hops) in [
        ("10.1.0.10", "10.2.0.20", ["10.1.0.1", "10.2.0.1"]),
        ("fd01::10", "fd02::20", ["fd01::1", "fd02::1"]),
    ] {
        let (mut a, mut b) = tunnel(GCM);
        for (ttl, hop) in (1..).zip(hops) {
            let probe = udp(host, far, (33434, 33434), b"probe").ttl(ttl).write();
            a.on_lan(&probe);
            let wire = exchange(&mut a, &mut b);
            assert_eq!(wire.len(), if ttl == 1 { 0 } else { 2 });
            let answer = a.sent(LAN).remove(0);
            assert_eq!(
                (source(&answer), destination(&answer)),
                (bytes(hop), bytes(host))
            );
            assert_eq!(payload(&answer)[0], time_exceeded(packets::is_v4(&answer)));
            let quoted = &payload(&answer)[8..];
            assert_eq!(destination(quoted), bytes(far));
            assert_eq!(payload(quoted), payload(&probe));
            assert!(b.sent(LAN).is_empty());
        }
        assert_eq!(a.drops(DropReason::TtlExpired), 1);
        assert_eq!(b.drops(DropReason::TtlExpired), 1);
        let probe = udp(host, far, (33434, 33434), b"probe").ttl(3).write();
        a.on_lan(&probe);
        exchange(&mut a, &mut b);
        assert_eq!(b.sent(LAN), [after(&probe, 2)], "once per gateway");
    }
}

#[test]
fn no_error_is_sent_about_errors_and_later_fragments() {
    let (mut a, mut b) = tunnel(GCM);
    let quoted = udp("10.2.0.20", "10.1.0.10", (1, 2), b"what").write();
    let error = icmp(
        "10.1.0.10",
        "10.2.0.20",
        3,
        1,
        &[&[0; 4], &quoted[..]].concat(),
    );
    a.on_lan(&error.ttl(1).write());
    a.assert_dropped(DropReason::TtlExpired, 0);
    let long = udp("10.1.0.10", "10.2.0.20", (1, 2), &[1; 100]).ttl(1);
    a.on_lan(&fragments(&long, 64)[1]);
    a.assert_dropped(DropReason::TtlExpired, 1);
    b.assert_silent();
}

/// Only TCP to port 80 may use the tunnel.
fn web() -> (Gateway, Gateway) {
    let mut sites = Sites::default();
    let selector = Selector {
        upper: port(TCP, &[], &[80]),
        ..lans()
    };
    sites.protect(selector, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    sites.build()
}

fn tcp(from: &str, to: &str, ports: (u16, u16)) -> Ip {
    let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    segment.extend([0; 8]);
    segment.extend([0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    Ip::new(from, to, TCP, segment)
}

/// An ICMP error, from `from` to `to`, about a packet.
fn about(from: &str, to: &str, packet: &[u8]) -> Ip {
    let kind = if from.contains(':') { 1 } else { 3 };
    icmp(from, to, kind, 1, &[&[0; 4], packet].concat())
}

/// RFC 4301 6.2: an ICMP error goes in the SA of the packet that it is about, and comes so.
#[test]
fn errors_travel_with_the_traffic_they_are_about() {
    for (near, far, router) in [
        ("10.1.0.10", "10.2.0.20", "10.2.0.77"),
        ("fd01::10", "fd02::20", "fd02::77"),
    ] {
        let (mut a, mut b) = web();
        let syn = tcp(near, far, (4000, 80)).write();
        let error = about(router, near, &syn).write();
        b.on_lan(&error);
        exchange(&mut a, &mut b);
        assert_eq!(a.sent(LAN), [after(&error, 2)]);
        // A quote cut behind the ports, as RFC 792 demands no more.
        let cut = if packets::is_v4(&syn) { 28 } else { 48 };
        let short = about(router, near, &syn[..cut]).write();
        b.on_lan(&short);
        exchange(&mut a, &mut b);
        assert_eq!(a.sent(LAN), [after(&short, 2)]);
    }
}

#[test]
fn errors_about_other_traffic_are_refused_on_both_sides() {
    let (mut a, mut b) = web();
    let (near, far, router) = ("10.1.0.10", "10.2.0.20", "10.2.0.77");
    let other = tcp(near, far, (4000, 22)).write();
    b.on_lan(&about(router, near, &other).write());
    b.assert_dropped(DropReason::PolicyNoMatch, 0);
    // That verdict is about one error, not about the flow of errors.
    let syn = tcp(near, far, (4000, 80)).write();
    b.on_lan(&about(router, near, &syn).write());
    exchange(&mut a, &mut b);
    assert_eq!(a.sent(LAN).len(), 1);
    b.on_lan(&about(router, near, &other).write());
    b.assert_dropped(DropReason::PolicyNoMatch, 1);
    // To another host than the one that sent what is quoted: an injection, not an error.
    b.on_lan(&about(router, "10.1.0.66", &syn).write());
    b.assert_dropped(DropReason::PolicyNoMatch, 2);
    // A broken checksum.
    let mut broken = about(router, near, &syn).write();
    broken[30] ^= 1;
    b.on_lan(&broken);
    b.assert_dropped(DropReason::PolicyNoMatch, 3);
}

/// What a peer with less scruples puts into its SA.
#[test]
fn a_peer_cannot_smuggle_with_quotes() {
    let mut sites = Sites::default();
    let selector = Selector {
        upper: port(TCP, &[], &[80]),
        ..lans()
    };
    sites.protect(selector, &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    // B's own SPD is wide open.
    for entry in &mut sites.b.spd {
        entry.selector = mirrored(&lans()).into();
    }
    let (mut a, mut b) = sites.build();
    let (near, far, router) = ("10.1.0.10", "10.2.0.20", "10.2.0.77");
    let mut refused = 0;
    let mut refuse = |a: &mut Gateway, b: &mut Gateway, packet: Vec<u8>| {
        b.on_lan(&packet);
        let wire = b.sent(WIRE);
        assert_eq!(wire.len(), 1, "{:?}", b.reasons());
        a.receive(WIRE, &wire);
        a.assert_dropped(DropReason::SelectorMismatch, refused);
        refused += 1;
    };
    refuse(
        &mut a,
        &mut b,
        about(router, near, &tcp(near, far, (4000, 22)).write()).write(),
    );
    refuse(
        &mut a,
        &mut b,
        about(router, "10.1.0.66", &tcp(near, far, (4000, 80)).write()).write(),
    );
    // A quoted later fragment shows no ports: once this recursed for ever.
    let long = Ip {
        payload: [tcp(near, far, (4000, 80)).payload, vec![0; 100]].concat(),
        ..tcp(near, far, (1, 1))
    };
    let parts = fragments(&long, 64);
    refuse(&mut a, &mut b, about(router, near, &parts[1]).write());
    // The first fragment shows them, and is enough.
    b.on_lan(&about(router, near, &parts[0]).write());
    exchange(&mut a, &mut b);
    assert_eq!(a.sent(LAN).len(), 1);
    // The same for IPv6.
    let long = Ip {
        payload: [
            tcp("fd01::10", "fd02::20", (4000, 80)).payload,
            vec![0; 100],
        ]
        .concat(),
        ..tcp("fd01::10", "fd02::20", (1, 1))
    };
    let parts = fragments(&long, 64);
    refuse(
        &mut a,
        &mut b,
        about("fd02::77", "fd01::10", &parts[1]).write(),
    );
    b.on_lan(&about("fd02::77", "fd01::10", &parts[0]).write());
    exchange(&mut a, &mut b);
    assert_eq!(a.sent(LAN).len(), 1);
}

#[test]
fn echo_to_the_gateway_itself() {
    let mut sites = Sites::default();
    let selector = Selector {
        upper: UpperLayer::Icmp {
            protocol: packets::ICMP,
            types: (8, 8),
            codes: (0, 255),
        },
        ..crate::rig::policy::between(&["192.0.2.0/24"], &["198.51.100.7/32"])
    };
    sites
        .a
        .spd
        .push(crate::rig::policy::entry(selector, Action::Bypass));
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |_| {});
    let (mut a, mut b) = sites.build();
    // Unprotected side: as the SPD says.
    a.on_wire(&echo("198.51.100.8", "192.0.2.1", b"no").write());
    a.assert_dropped(DropReason::PolicyNoMatch, 0);
    a.on_wire(&udp("198.51.100.7", "192.0.2.1", (5, 5), b"no").write());
    a.assert_dropped(DropReason::PolicyNoMatch, 1);
    let expect = |a: &mut Gateway, packet: Vec<u8>, act: &dyn Fn(&mut Gateway, &[u8])| {
        act(a, &packet);
        match a.io.punts.pop() {
            Some(Punt::Local { packet: got }) => {
                assert_eq!(portcullis_ipsec::PacketBuf::data(&got), packet)
            }
            other => panic!("{other:?} {:?}", a.reasons()),
        }
        a.assert_silent();
    };
    expect(
        &mut a,
        echo("198.51.100.7", "192.0.2.1", b"yes").write(),
        &|a, p| a.on_wire(p),
    );
    // Protected side: always.
    expect(
        &mut a,
        echo("10.1.0.10", "10.1.0.1", b"lan").write(),
        &|a, p| a.on_lan(p),
    );
    expect(
        &mut a,
        echo("fd01::10", "fd01::1", b"lan").write(),
        &|a, p| a.on_lan(p),
    );
    // Through the tunnel.
    b.on_lan(&echo("10.2.0.20", "10.1.0.1", b"far").write());
    exchange(&mut a, &mut b);
    let Some(Punt::Local { packet }) = a.io.punts.pop() else {
        panic!("{:?}", a.reasons())
    };
    let answer = echo("10.1.0.1", "10.2.0.20", b"far").write();
    assert_eq!(
        payload(portcullis_ipsec::PacketBuf::data(&packet)),
        payload(&answer)
    );
    a.inject(portcullis_ipsec::pipeline::Inject::Packet(
        portcullis_ipsec::buffer::TestBuf::new(&answer),
    ));
    exchange(&mut a, &mut b);
    assert_eq!(b.sent(LAN), [after(&answer, 1)]);
    assert!(b.sent(VLAN).is_empty());
}
