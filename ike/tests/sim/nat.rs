//! A NAT in front of the first end.

use std::time::Duration;

use portcullis_config::{Mode, NatTraversal, RemoteAddress, Selector};
use portcullis_ike::{Command, Event};

use crate::harness::{Pair, gateways};

const SECOND: Duration = Duration::from_secs(1);

fn behind_nat() -> Pair {
    let [a, mut b] = gateways();
    b.remote = RemoteAddress::Any;
    let mut pair = Pair::new(50, [a, b]);
    pair.nat = Some("198.51.100.1:20000".parse().unwrap());
    pair.initiate(0);
    pair.run(SECOND);
    pair
}

#[test]
fn goes_over_to_4500_and_encapsulates() {
    let pair = behind_nat();
    assert_eq!(pair.agreed(), 1);
    let [a, b] = pair.ends.each_ref().map(|end| end.endpoint.snapshot());
    assert_eq!(
        (a.ikes[0].nat, b.ikes[0].nat),
        ([true, false], [false, true])
    );
    assert_eq!(a.ikes[0].remote.port(), 4500);
    let sas = pair.ends[1].installed.outbound.values().flatten();
    for sa in sas {
        let udp = sa.udp.unwrap();
        assert_eq!(udp.source_port, 4500);
        assert_eq!(sa.destination.to_string(), "198.51.100.1");
        assert_eq!(udp.destination_port, 20000 + 4500 % 1000);
    }
    // From the fifth message on there is a marker (RFC 3948 2.2).
    let marked = |(_, bytes): &(usize, Vec<u8>)| bytes.starts_with(&[0; 4]);
    let marks: Vec<bool> = pair.log.iter().map(marked).collect();
    assert_eq!(
        marks,
        [false, false, false, false, true, true, true, true, true]
    );
}

#[test]
fn keepalives_come_from_behind_the_nat_only() {
    let mut pair = behind_nat();
    pair.log.clear();
    pair.run(61 * SECOND);
    // RFC 3948 2.3 and 4: one byte 0xff, every 20 seconds.
    assert_eq!(pair.log, vec![(0, vec![0xff]); 3]);
}

#[test]
fn the_peer_is_followed_when_its_nat_rebinds() {
    let mut pair = behind_nat();
    let moved: std::net::SocketAddr = "198.51.100.7:30000".parse().unwrap();
    pair.nat = Some(moved);
    // What is not authentic moves nobody.
    let last = pair
        .log
        .iter()
        .rev()
        .find(|(from, _)| *from == 0)
        .unwrap()
        .1
        .clone();
    let local = "192.0.2.2:4500".parse().unwrap();
    pair.deliver(1, local, "203.0.113.9:1".parse().unwrap(), &last);
    let told = |e: &Event| matches!(e, Event::PeerMoved { .. });
    assert!(!pair.ends[1].events.iter().any(told));
    let child = pair.ends[0].installed.current.unwrap();
    pair.command(0, Command::SoftExpired(child));
    pair.run(SECOND);
    let expected = "198.51.100.7:30500".parse().unwrap();
    let followed = |e: &Event| matches!(e, Event::PeerMoved { remote, .. } if *remote == expected);
    assert!(
        pair.ends[1].events.iter().any(followed),
        "{:?}",
        pair.ends[1].events
    );
    assert_eq!(pair.agreed(), 2);
}

#[test]
fn the_peer_is_followed_when_its_packets_come_from_elsewhere() {
    let mut pair = behind_nat();
    let child = pair.ends[1].installed.current.unwrap();
    let remote = "198.51.100.7:30500".parse().unwrap();
    pair.command(1, Command::Moved { child, remote });
    let moved = |e: &&Event| matches!(e, Event::PeerMoved { .. });
    let events = &pair.ends[1].events;
    let Some(Event::PeerMoved {
        children,
        remote: to,
        ..
    }) = events.iter().find(moved)
    else {
        panic!("{events:?}");
    };
    assert_eq!((children.as_slice(), *to), (&[child][..], remote));
    // Again, or for a child that is not there: nothing new.
    pair.command(1, Command::Moved { child, remote });
    let at = pair.ends[1].events.iter().filter(moved).count();
    assert_eq!(at, 1);
    // IKE goes there, too.
    assert_eq!(pair.ends[1].endpoint.snapshot().ikes[0].remote, remote);
    // The end that has no NAT before its peer does not follow anybody.
    let child = pair.ends[0].installed.current.unwrap();
    pair.command(0, Command::Moved { child, remote });
    assert_eq!(pair.ends[0].events.iter().filter(moved).count(), 0);
}

#[test]
fn force_and_off() {
    for (policy, udp) in [(NatTraversal::Force, true), (NatTraversal::Off, false)] {
        let [mut a, b] = gateways();
        a.nat_traversal = policy;
        let mut pair = Pair::new(51, [a, b]);
        pair.initiate(0);
        pair.run(SECOND);
        assert_eq!(pair.agreed(), 1);
        let children = pair
            .ends
            .each_ref()
            .map(|end| end.endpoint.snapshot().children);
        assert!(children.iter().flatten().all(|child| child.udp == udp));
    }
}

/// By the drafts each end says its own address alone, in a payload 131 (draft-ietf-ipsec-nat-t-ike-03 5.2): how the
/// server sees it, a client behind a NAT does not learn.
#[test]
fn drafts_tell_each_end_the_address_of_the_other_only() {
    let mut pair = transport_through_nat(53, true);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    assert_eq!(
        originals(&pair),
        [None, Some((ip("192.0.2.1"), ip("192.0.2.2")))]
    );
    // The other way round, the client answers.
    let mut pair = transport_through_nat(54, true);
    pair.initiate(0);
    pair.run(SECOND);
    let old = pair.ends[1].installed.current.unwrap();
    pair.command(1, Command::SoftExpired(old));
    pair.run(SECOND);
    assert_ne!(pair.ends[1].installed.current, Some(old));
    assert_eq!(
        originals(&pair),
        [None, Some((ip("192.0.2.1"), ip("192.0.2.2")))]
    );
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

/// What each end's newest inbound SA knows of the addresses that checksums cover.
fn originals(pair: &Pair) -> [Option<(std::net::IpAddr, std::net::IpAddr)>; 2] {
    [0, 1].map(|end| {
        let sas = pair.ends[end].installed.inbound.values().next_back();
        sas.unwrap()[0].original.as_deref().copied()
    })
}

/// Hosts that know only the drafts, if `old`: MD5 of "RFC 3947" is no vendor id of theirs.
fn transport_through_nat(seed: u64, old: bool) -> Pair {
    const RFC_3947: [u8; 16] = [
        0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45,
        0x2f,
    ];
    let mut pair = Pair::new(seed, transport());
    pair.nat = Some("198.51.100.1:20000".parse().unwrap());
    pair.tamper = Some(Box::new(move |_, bytes| {
        let mut bytes = bytes.to_vec();
        let found = bytes.windows(16).position(|part| part == RFC_3947);
        if let Some(at) = found.filter(|_| old) {
            bytes[at] ^= 0xff;
        }
        vec![bytes]
    }));
    pair
}

fn transport() -> [portcullis_config::Connection; 2] {
    let [mut a, mut b] = gateways();
    b.remote = RemoteAddress::Any;
    a.children[0].selector = Selector {
        local: vec![crate::harness::range("192.0.2.1", "192.0.2.1")],
        remote: vec![crate::harness::range("192.0.2.2", "192.0.2.2")],
        ..Selector::default()
    };
    b.children[0].selector = Selector {
        local: vec![crate::harness::range("192.0.2.2", "192.0.2.2")],
        ..Selector::default()
    };
    a.children[0].mode = Mode::Transport;
    b.children[0].mode = Mode::Transport;
    [a, b]
}

#[test]
fn transport_mode_through_a_nat_is_between_the_addresses_each_end_sees() {
    let mut pair = transport_through_nat(52, false);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    let seen = &pair.ends[1].endpoint.snapshot().children[0];
    assert_eq!(seen.selector.remote[0].start.to_string(), "198.51.100.1");
    assert!(seen.udp);
    // RFC 3947 5.2: each end knows by NAT-OA what the other's checksums cover.
    let from_server = Some((ip("192.0.2.2"), ip("198.51.100.1")));
    let from_client = Some((ip("192.0.2.1"), ip("192.0.2.2")));
    assert_eq!(originals(&pair), [from_server, from_client]);
    let outbound = pair.ends[1].installed.outbound.values().next();
    assert_eq!(outbound.unwrap()[0].original, None);
}
