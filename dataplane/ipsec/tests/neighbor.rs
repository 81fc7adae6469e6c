//! ARP and Neighbour Discovery frames against scapy, and the resolver on a clock of its own.
#![allow(clippy::unwrap_used, clippy::panic)]

mod wire;

use std::net::IpAddr;

use portcullis_ipsec::arp::Arp;
use portcullis_ipsec::ip::Address;
use portcullis_ipsec::ndp::{self, Message};
use portcullis_ipsec::neighbor::{LocalInterface, Resolver, State};
use portcullis_ipsec::{DropReason, InterfaceId};
use wire::{Generator, hex, plain_checksum, scapy};

const LAN: InterfaceId = InterfaceId(3);
const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEM: [u8; 6] = [2, 0, 0x5e, 0x10, 0x20, 0x30];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn ip(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn empty(fixed: Vec<(InterfaceId, Address, [u8; 6])>) -> Resolver<u32> {
    let interface = LocalInterface {
        id: LAN,
        mac: US,
        addresses: vec![
            "192.0.2.1/24".parse().unwrap(),
            "2001:db8::1/64".parse().unwrap(),
        ],
    };
    Resolver::new(vec![interface], fixed)
}

/// A resolver whose announcements are gone.
fn quiet() -> Resolver<u32> {
    let mut resolver = empty(Vec::new());
    sent(&mut resolver);
    resolver
}

fn sent(resolver: &mut Resolver<u32>) -> Vec<Vec<u8>> {
    let frames = std::iter::from_fn(|| resolver.poll_transmit());
    frames
        .map(|(interface, frame)| {
            assert_eq!(interface, LAN);
            frame
        })
        .collect()
}

fn ready(resolver: &mut Resolver<u32>) -> Vec<u32> {
    std::iter::from_fn(|| resolver.poll_ready())
        .map(|(_, _, p)| p)
        .collect()
}

fn dropped(resolver: &mut Resolver<u32>) -> Vec<(DropReason, u32)> {
    std::iter::from_fn(|| resolver.poll_dropped()).collect()
}

fn table(resolver: &Resolver<u32>) -> Vec<(Address, [u8; 6], State)> {
    resolver
        .entries()
        .map(|(_, a, mac, state)| (a, mac, state))
        .collect()
}

/// Them under one address family, and what is said.
struct Family {
    them: Address,
    our_question: Vec<u8>,
    answer: Vec<u8>,
    probe: Vec<u8>,
    question: Vec<u8>,
    our_answer: Vec<u8>,
}

fn families() -> [Family; 2] {
    let mut arp_probe = scapy("arp-request-from-us");
    arp_probe[..6].copy_from_slice(&THEM);
    arp_probe[32..38].copy_from_slice(&THEM);
    [
        Family {
            them: ip("192.0.2.9"),
            our_question: scapy("arp-request-from-us"),
            answer: scapy("arp-reply-from-them"),
            probe: arp_probe,
            question: scapy("arp-request-from-them"),
            our_answer: scapy("arp-reply-from-us"),
        },
        Family {
            them: ip("2001:db8::9"),
            our_question: scapy("ns-from-us"),
            answer: scapy("na-from-them"),
            probe: scapy("ns-probe-from-us"),
            question: scapy("ns-from-them"),
            our_answer: scapy("na-from-us"),
        },
    ]
}

/// The same frame from a station with another MAC address.
fn from_other(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for at in (0..=frame.len() - 6).filter(|&at| at != 0) {
        if frame[at..at + 6] == THEM {
            frame[at..at + 6].copy_from_slice(&OTHER);
        }
    }
    if frame[12..14] == [0x86, 0xdd] {
        fix_icmpv6(&mut frame);
    }
    frame
}

/// RFC 8200 8.1, by the book.
fn fix_icmpv6(frame: &mut [u8]) {
    frame[56..58].fill(0);
    let mut covered = frame[22..54].to_vec();
    covered.extend(((frame.len() - 54) as u32).to_be_bytes());
    covered.extend([0, 0, 0, 58]);
    covered.extend(&frame[54..]);
    frame[56..58].copy_from_slice(&plain_checksum(&covered).to_be_bytes());
}

#[test]
fn addresses_of_the_rfcs() {
    // RFC 4291 2.7.1's own example.
    let example = ip("4037::01:800:200e:8c6c");
    assert_eq!(ndp::solicited_node(example), ip("ff02::1:ff0e:8c6c"));
    // RFC 2464 7: the last four bytes behind 33-33; RFC 2464 4: its own example of EUI-64.
    assert_eq!(
        ndp::multicast_mac(ip("ff02::1:ff0e:8c6c")),
        [0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]
    );
    let mac = [0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde];
    assert_eq!(ndp::link_local(mac), ip("fe80::3656:78ff:fe9a:bcde"));
    assert_eq!(ndp::ALL_NODES, ip("ff02::1"));
}

#[test]
fn our_addresses_are_announced() {
    let frames = sent(&mut empty(Vec::new()));
    let expected = [
        "arp-announcement-from-us",
        "na-to-all-from-us",
        "na-to-all-link-local",
    ];
    assert_eq!(frames, expected.map(scapy));
    assert_eq!(
        Resolver::<u32>::new(Vec::new(), Vec::new()).poll_transmit(),
        None
    );
}

#[test]
fn who_asks_is_answered_and_learned() {
    for f in families() {
        let (them, question, answer) = (f.them, f.question, f.our_answer);
        let mut resolver = quiet();
        assert!(!resolver.take_change());
        resolver.handle_frame(5, LAN, &question);
        assert_eq!(sent(&mut resolver), [answer]);
        assert_eq!(table(&resolver), [(them, THEM, State::Reachable)]);
        assert!(resolver.take_change());
        assert!(!resolver.take_change());
        // On another interface those are not our addresses.
        let mut resolver = quiet();
        resolver.handle_frame(5, InterfaceId(4), &question);
        assert_eq!((sent(&mut resolver), table(&resolver)), (vec![], vec![]));
    }
}

#[test]
fn the_link_local_address_is_answered_for() {
    let mut resolver = quiet();
    let mut question = scapy("ns-from-them");
    question[38..54].copy_from_slice(&ip("ff02::1:ff00:1").v6_bytes());
    question[62..78].copy_from_slice(&ip("fe80::ff:fe00:1").v6_bytes());
    fix_icmpv6(&mut question);
    resolver.handle_frame(0, LAN, &question);
    let answer = Message::parse(&sent(&mut resolver)[0]).unwrap();
    assert_eq!(answer.target, ip("fe80::ff:fe00:1"));
}

#[test]
fn duplicate_detection_is_answered_and_teaches_nothing() {
    let mut resolver = quiet();
    resolver.handle_frame(0, LAN, &scapy("dad-from-them"));
    assert_eq!(sent(&mut resolver), [scapy("na-to-all-from-us")]);
    // RFC 5227 2.1.1: an ARP probe's sender address is zero.
    let mut probe = scapy("arp-request-from-them");
    probe[28..32].fill(0);
    resolver.handle_frame(0, LAN, &probe);
    assert_eq!(sent(&mut resolver).len(), 1);
    assert_eq!(table(&resolver), []);
}

#[test]
fn packets_wait_until_the_answer() {
    for f in families() {
        let (them, question, answer) = (f.them, f.our_question, f.answer);
        let mut resolver = quiet();
        resolver.resolve(100, LAN, them, 1);
        resolver.resolve(150, LAN, them, 2);
        assert_eq!(sent(&mut resolver), [question], "one question for both");
        assert_eq!((ready(&mut resolver), table(&resolver)), (vec![], vec![]));
        assert!(!resolver.take_change());
        resolver.handle_frame(200, LAN, &answer);
        assert_eq!(ready(&mut resolver), [1, 2]);
        assert_eq!(table(&resolver), [(them, THEM, State::Reachable)]);
        assert!(resolver.take_change());
        resolver.resolve(300, LAN, them, 3);
        assert_eq!(resolver.poll_ready(), Some((LAN, them, 3)));
        assert_eq!(resolver.poll_timeout(), Some(30_200));
        assert!(sent(&mut resolver).is_empty());
    }
}

#[test]
fn no_answer_drops_after_three_questions() {
    for f in families() {
        let (them, question, answer) = (f.them, f.our_question, f.answer);
        let mut resolver = quiet();
        resolver.resolve(0, LAN, them, 1);
        for at in [1_000, 2_000] {
            assert_eq!(sent(&mut resolver), std::slice::from_ref(&question));
            assert_eq!(resolver.poll_timeout(), Some(at));
            resolver.handle_timeout(at - 1);
            assert!(sent(&mut resolver).is_empty(), "nothing before its time");
            resolver.handle_timeout(at);
        }
        assert_eq!(sent(&mut resolver), [question]);
        assert_eq!(dropped(&mut resolver), []);
        resolver.handle_timeout(3_000);
        assert_eq!(dropped(&mut resolver), [(DropReason::NoNeighbor, 1)]);
        assert_eq!(
            (sent(&mut resolver), resolver.poll_timeout()),
            (vec![], None)
        );
        assert!(!resolver.take_change());
        // Too late.
        resolver.handle_frame(3_001, LAN, &answer);
        assert_eq!(table(&resolver), []);
    }
}

#[test]
fn a_known_neighbour_is_probed_alone_and_forgotten() {
    for f in families() {
        let (them, answer, probe) = (f.them, f.answer, f.probe);
        let mut resolver = quiet();
        resolver.resolve(0, LAN, them, 1);
        resolver.handle_frame(0, LAN, &answer);
        sent(&mut resolver);
        resolver.handle_timeout(30_000);
        assert_eq!(sent(&mut resolver), std::slice::from_ref(&probe));
        assert_eq!(table(&resolver), [(them, THEM, State::Probing)]);
        resolver.handle_frame(30_500, LAN, &answer);
        assert_eq!(table(&resolver), [(them, THEM, State::Reachable)]);
        assert_eq!(resolver.poll_timeout(), Some(60_500));
        resolver.take_change();
        for at in [60_500, 61_500, 62_500] {
            resolver.handle_timeout(at);
            assert_eq!(sent(&mut resolver), std::slice::from_ref(&probe));
        }
        assert!(!resolver.take_change());
        resolver.handle_timeout(63_500);
        assert_eq!((table(&resolver), resolver.poll_timeout()), (vec![], None));
        assert!(resolver.take_change());
    }
}

#[test]
fn what_nobody_asked_for_teaches_nothing() {
    for f in families() {
        let (them, answer, question) = (f.them, f.answer, f.question);
        let mut resolver = quiet();
        resolver.handle_frame(0, LAN, &answer);
        assert_eq!(table(&resolver), []);
        // A gratuitous ARP request, and a question for somebody else.
        let mut gratuitous = question.clone();
        let last = gratuitous.len() - if them.is_v4() { 1 } else { 9 };
        gratuitous[last] = 77;
        if !them.is_v4() {
            fix_icmpv6(&mut gratuitous);
        }
        resolver.handle_frame(0, LAN, &gratuitous);
        assert_eq!((table(&resolver), sent(&mut resolver)), (vec![], vec![]));
        // Who is not on the link is answered, not learned.
        let mut stranger = question;
        let at = if them.is_v4() { 28 } else { 24 };
        stranger[at] ^= 0x40;
        if !them.is_v4() {
            fix_icmpv6(&mut stranger);
        }
        resolver.handle_frame(0, LAN, &stranger);
        assert_eq!((table(&resolver).len(), sent(&mut resolver).len()), (0, 1));
    }
}

#[test]
fn a_new_mac_address_is_taken_and_probed() {
    for f in families() {
        let (them, answer) = (f.them, f.answer);
        let mut resolver = quiet();
        resolver.resolve(0, LAN, them, 1);
        resolver.handle_frame(0, LAN, &answer);
        resolver.take_change();
        sent(&mut resolver);
        resolver.handle_frame(10, LAN, &from_other(&answer));
        assert_eq!(table(&resolver), [(them, OTHER, State::Probing)]);
        assert!(resolver.take_change());
        let probe = sent(&mut resolver);
        assert_eq!((probe.len(), &probe[0][..6]), (1, &OTHER[..]));
    }
    // RFC 4861 7.2.5: without the override flag it stays, and is probed.
    let [_, f] = families();
    let (them, answer) = (f.them, f.answer);
    let mut resolver = quiet();
    resolver.resolve(0, LAN, them, 1);
    resolver.handle_frame(0, LAN, &answer);
    let mut no_override = from_other(&answer);
    no_override[58] = 0x40;
    fix_icmpv6(&mut no_override);
    resolver.handle_frame(10, LAN, &no_override);
    assert_eq!(table(&resolver), [(them, THEM, State::Probing)]);
}

#[test]
fn a_configured_neighbour_never_changes() {
    for f in families() {
        let (them, answer, question) = (f.them, f.answer, f.question);
        let mut resolver = empty(vec![(LAN, them, OTHER)]);
        assert!(resolver.take_change());
        sent(&mut resolver);
        resolver.resolve(0, LAN, them, 1);
        assert_eq!(ready(&mut resolver), [1]);
        resolver.handle_frame(0, LAN, &answer);
        resolver.handle_frame(0, LAN, &question);
        resolver.handle_timeout(u64::MAX / 2);
        assert_eq!(table(&resolver), [(them, OTHER, State::Permanent)]);
        assert_eq!(resolver.poll_timeout(), None);
        assert!(!resolver.take_change());
    }
}

#[test]
fn nobody_takes_our_address() {
    let mut resolver = quiet();
    let mut thief = scapy("arp-request-from-them");
    thief[28..32].copy_from_slice(&[192, 0, 2, 1]);
    resolver.handle_frame(0, LAN, &thief);
    let mut thief = scapy("na-from-them");
    thief[22..38].copy_from_slice(&ip("2001:db8::66").v6_bytes());
    thief[62..78].copy_from_slice(&ip("2001:db8::1").v6_bytes());
    fix_icmpv6(&mut thief);
    resolver.handle_frame(0, LAN, &thief);
    assert_eq!((table(&resolver), sent(&mut resolver)), (vec![], vec![]));
}

#[test]
fn eight_packets_wait_for_one() {
    let them = ip("192.0.2.9");
    let mut resolver = quiet();
    (0..10).for_each(|packet| resolver.resolve(0, LAN, them, packet));
    let reason = DropReason::NoNeighbor;
    assert_eq!(dropped(&mut resolver), [(reason, 0), (reason, 1)]);
    resolver.handle_frame(1, LAN, &scapy("arp-reply-from-them"));
    assert_eq!(ready(&mut resolver), [2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_scan_of_the_prefix_is_bounded() {
    let mut resolver = quiet();
    for n in 0..5_000u32 {
        let target = Address(ip("2001:db8::1:0").0 + u128::from(n));
        resolver.resolve(0, LAN, target, n);
    }
    // 512 wait; the oldest gave way, and their questions with them.
    let gone = dropped(&mut resolver);
    assert_eq!(gone.len(), 5_000 - 512);
    assert_eq!(gone.last(), Some(&(DropReason::NoNeighbor, 4_487)));
    sent(&mut resolver);
    resolver.handle_timeout(1_000);
    assert_eq!(sent(&mut resolver).len(), 512);
    resolver.handle_timeout(2_000);
    resolver.handle_timeout(3_000);
    assert_eq!(dropped(&mut resolver).len(), 512);
    assert_eq!(resolver.poll_timeout(), None);
}

#[test]
fn askers_fill_no_more_than_half_the_table() {
    let mut resolver = quiet();
    for n in 0..10_000u32 {
        let mut question = scapy("ns-from-them");
        question[34..38].copy_from_slice(&(n + 1_000).to_be_bytes());
        fix_icmpv6(&mut question);
        resolver.handle_frame(0, LAN, &question);
    }
    assert_eq!(table(&resolver).len(), 4096);
    assert_eq!(sent(&mut resolver).len(), 10_000);
}

#[test]
fn without_an_address_nobody_can_be_asked() {
    let v4_only = LocalInterface {
        id: LAN,
        mac: US,
        addresses: vec!["192.0.2.1/24".parse().unwrap()],
    };
    let mut resolver = Resolver::new(vec![v4_only], Vec::new());
    assert_eq!(sent(&mut resolver).len(), 1);
    resolver.resolve(0, LAN, ip("2001:db8::9"), 1);
    resolver.resolve(0, InterfaceId(9), ip("192.0.2.9"), 2);
    let reason = DropReason::InterfaceDown;
    assert_eq!(dropped(&mut resolver), [(reason, 1), (reason, 2)]);
    // Nor is it answered.
    resolver.handle_frame(0, LAN, &scapy("ns-from-them"));
    assert!(sent(&mut resolver).is_empty());
}

#[test]
fn rfc_4861_7_1_says_what_to_discard() {
    let good = scapy("ns-from-them");
    assert!(Message::parse(&good).is_some());
    let broken = |change: &dyn Fn(&mut Vec<u8>), fix: bool| {
        let mut frame = good.clone();
        change(&mut frame);
        if fix {
            fix_icmpv6(&mut frame);
        }
        Message::parse(&frame)
    };
    assert_eq!(broken(&|f| f[21] = 254, true), None, "hop limit");
    assert_eq!(broken(&|f| f[57] ^= 1, false), None, "checksum");
    assert_eq!(broken(&|f| f[55] = 1, true), None, "code");
    assert_eq!(broken(&|f| f[62] = 0xff, true), None, "multicast target");
    assert_eq!(broken(&|f| f[79] = 0, true), None, "option of length zero");
    assert_eq!(broken(&|f| f[79] = 2, true), None, "option beyond the end");
    assert_eq!(broken(&|f| f[80] = 1, true), None, "a group's MAC address");
    assert_eq!(
        broken(&|f| f[22..38].fill(0), true),
        None,
        "unspecified source with an option"
    );
    let mut advertisement = scapy("na-to-all-from-us");
    advertisement[58] |= 0x40;
    fix_icmpv6(&mut advertisement);
    assert_eq!(Message::parse(&advertisement), None, "solicited to a group");
    // An unknown option is skipped.
    let mut nonce = good.clone();
    nonce.splice(78..78, hex("0e01aabbccddeeff"));
    nonce[19] += 8;
    fix_icmpv6(&mut nonce);
    assert_eq!(Message::parse(&nonce), Message::parse(&good));
}

#[test]
fn hostile_frames_never_panic() {
    let mut random = Generator(5);
    let names = [
        "arp-request-from-them",
        "arp-reply-from-them",
        "ns-from-them",
        "na-from-them",
    ];
    let mut resolver = quiet();
    for now in 0..50_000 {
        let mut frame = scapy(names[random.below(4)]);
        for _ in 0..random.below(4) {
            let at = random.below(frame.len());
            frame[at] = random.next() as u8;
        }
        if frame.len() > 58 && random.below(2) == 0 {
            fix_icmpv6(&mut frame);
        }
        frame.truncate(if random.below(3) == 0 {
            random.below(90)
        } else {
            90
        });
        resolver.handle_frame(now, LAN, &frame);
        resolver.handle_timeout(now);
        sent(&mut resolver);
    }
    for name in names {
        let frame = scapy(name);
        let least = if name.starts_with("arp") {
            42
        } else {
            frame.len()
        };
        for len in 0..least {
            assert_eq!(Arp::parse(&frame[..len]), None);
            assert_eq!(Message::parse(&frame[..len]), None);
        }
    }
}

#[test]
fn configured_entries_change() {
    let [a, b, c] = ["192.0.2.5", "192.0.2.6", "192.0.2.7"].map(ip);
    let mut resolver = empty(vec![(LAN, a, THEM), (LAN, b, THEM)]);
    sent(&mut resolver);
    assert!(resolver.take_change());
    // One is asked for when it becomes configured.
    resolver.resolve(0, LAN, c, 7);
    assert_eq!(sent(&mut resolver).len(), 1);
    resolver.set_fixed(vec![(LAN, b, THEM), (LAN, c, OTHER)]);
    let expected = [(b, THEM, State::Permanent), (c, OTHER, State::Permanent)];
    assert_eq!(table(&resolver), expected);
    assert_eq!(ready(&mut resolver), [7]);
    assert!(resolver.take_change());
    resolver.handle_timeout(1_000_000);
    assert_eq!(table(&resolver), expected, "no timer is left");
    resolver.set_fixed(vec![(LAN, b, THEM), (LAN, c, OTHER)]);
    assert!(!resolver.take_change(), "nothing has changed");
    resolver.set_fixed(Vec::new());
    assert!(table(&resolver).is_empty() && resolver.take_change());
}

/// Addresses that come are announced and answered for, those that go are not any more.
#[test]
fn our_addresses_change() {
    let mut resolver = empty(Vec::new());
    let announced = sent(&mut resolver);
    let question = scapy("arp-request-from-them");
    let nets = |text: &str| {
        vec![(
            LAN,
            vec![text.parse().unwrap(), "2001:db8::1/64".parse().unwrap()],
        )]
    };
    resolver.set_addresses(nets("192.0.2.7/24"));
    let [new] = &sent(&mut resolver)[..] else {
        panic!("one announcement, of what is new")
    };
    // A gratuitous request for it: sender's and target's protocol address (RFC 826).
    assert_eq!(
        (&new[28..32], &new[38..42]),
        (&[192, 0, 2, 7][..], &[192, 0, 2, 7][..])
    );
    resolver.handle_frame(0, LAN, &question);
    assert!(sent(&mut resolver).is_empty(), "it is no longer ours");
    resolver.set_addresses(nets("192.0.2.1/24"));
    assert_eq!(sent(&mut resolver), announced[..1]);
    resolver.handle_frame(0, LAN, &question);
    assert_eq!(sent(&mut resolver), [scapy("arp-reply-from-us")]);
    resolver.set_addresses(nets("192.0.2.1/24"));
    assert!(sent(&mut resolver).is_empty(), "nothing has changed");
}
