//! ICMP and ICMPv6 against scapy, and about what RFC 1122, 1812 and 4443 forbid to answer.
#![allow(clippy::unwrap_used, clippy::panic)]

mod wire;

use portcullis_ipsec::DropReason;
use portcullis_ipsec::PacketBuf;
use portcullis_ipsec::buffer::TestBuf;
use portcullis_ipsec::icmp::{
    IcmpError, NoError, QuotedKind, RateLimit, echo_reply, make_error, parse_error,
};
use portcullis_ipsec::ip::{Address, IpHeader};
use wire::{Generator, data, ipv4, ipv6, parse, plain_checksum, scapy};

const ERRORS: [(&str, IcmpError, QuotedKind); 7] = [
    ("time", IcmpError::TimeExceeded, QuotedKind::TimeExceeded),
    (
        "reassembly-time",
        IcmpError::ReassemblyTimeExceeded,
        QuotedKind::TimeExceeded,
    ),
    (
        "too-big",
        IcmpError::TooBig { mtu: 1400 },
        QuotedKind::TooBig { mtu: 1400 },
    ),
    ("prohibited", IcmpError::Prohibited, QuotedKind::Unreachable),
    ("no-route", IcmpError::NoRoute, QuotedKind::Unreachable),
    ("host", IcmpError::HostUnreachable, QuotedKind::Unreachable),
    ("port", IcmpError::PortUnreachable, QuotedKind::Unreachable),
];

fn gateway(version: u8) -> Address {
    let text = if version == 4 {
        "192.0.2.254"
    } else {
        "2001:db8::fe"
    };
    Address::from(text.parse::<std::net::IpAddr>().unwrap())
}

fn answer(packet: &[u8], error: IcmpError) -> Result<Vec<u8>, NoError> {
    let mut buf = TestBuf::new(packet);
    make_error(&mut buf, &parse(packet), error, gateway(packet[0] >> 4))?;
    Ok(data(&buf))
}

#[test]
fn errors_are_as_scapy_writes_them() {
    for version in [4, 6] {
        let offending = scapy(&format!("offending-{version}"));
        for (name, error, kind) in ERRORS {
            let expected = scapy(&format!("error-{version}-{name}"));
            assert_eq!(
                answer(&offending, error),
                Ok(expected.clone()),
                "{version} {name}"
            );
            // Ethernet padding is not quoted.
            let mut padded = offending.clone();
            padded.extend([0; 9]);
            assert_eq!(answer(&padded, error), Ok(expected.clone()));
            // And read back.
            let read = parse_error(&expected, &parse(&expected)).unwrap();
            assert_eq!((read.kind, read.quoted), (kind, &offending[..]));
        }
    }
}

#[test]
fn an_error_quotes_as_much_as_may_be() {
    // RFC 1812 4.3.2.3: 576 bytes; RFC 4443 2.4 (c): 1280.
    for (packet, longest, header) in [
        (ipv4(17, 1, 0, &[], &[7; 2000]), 576, 28),
        (ipv6(17, &[7; 2000]), 1280, 48),
    ] {
        let error = answer(&packet, IcmpError::TimeExceeded).unwrap();
        assert_eq!(error.len(), longest);
        assert_eq!(error[header..], packet[..longest - header]);
        let quoted = parse_error(&error, &parse(&error)).unwrap().quoted;
        let h = IpHeader::parse_quoted(quoted).unwrap();
        assert_eq!(h.total_len as usize, longest - header);
        assert_eq!((h.protocol, h.source), (17, parse(&packet).source));
    }
}

#[test]
fn what_is_never_answered() {
    let mut silent = Vec::new();
    // About errors, but not about queries.
    for kind in 0..=255 {
        let v4 = ipv4(1, 1, 0, &[], &[kind, 0, 0, 0, 0, 0, 0, 0]);
        let v6 = ipv6(58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        // RFC 1122 3.2.2: 3, 4, 5, 11, 12 are errors; RFC 4443 2.1: below 128, and redirects (e.2).
        let v4_error = [3, 4, 5, 11, 12].contains(&kind);
        let v6_error = kind < 128 || kind == 137;
        assert_eq!(
            answer(&v4, IcmpError::TimeExceeded).is_err(),
            v4_error,
            "{kind}"
        );
        assert_eq!(
            answer(&v6, IcmpError::TimeExceeded).is_err(),
            v6_error,
            "{kind}"
        );
    }
    silent.push(ipv4(1, 1, 0, &[], &[]));
    silent.push(ipv6(58, &[]));
    // Later fragments.
    silent.push(ipv4(17, 1, 3, &[], &[0; 32]));
    let later = [17, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    silent.push(ipv6(44, &later));
    // Multicast and broadcast destinations, and those who are no single host.
    for (at, address) in [(16, [224, 0, 0, 9]), (16, [255, 255, 255, 255])] {
        let mut p = ipv4(17, 1, 0, &[], &[0; 32]);
        p[at..at + 4].copy_from_slice(&address);
        p[10..12].fill(0);
        let sum = plain_checksum(&p[..20]);
        p[10..12].copy_from_slice(&sum.to_be_bytes());
        silent.push(p);
    }
    let mut group = ipv6(17, &[0; 32]);
    group[24] = 0xff;
    silent.push(group.clone());
    let mut duplicate_check = ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 0]);
    duplicate_check[8..24].fill(0);
    duplicate_check[24] = 0xff;
    silent.push(duplicate_check);
    for packet in &silent {
        let mut buf = TestBuf::new(packet);
        let header = parse(packet);
        let result = make_error(
            &mut buf,
            &header,
            IcmpError::NoRoute,
            gateway(packet[0] >> 4),
        );
        assert_eq!(result, Err(NoError), "{packet:02x?}");
        assert_eq!(data(&buf), *packet);
    }
    // RFC 4443 2.4 (e.3): packet too big is told to the senders of multicast too.
    assert!(answer(&group, IcmpError::TooBig { mtu: 1280 }).is_ok());
    // The first fragment is answered.
    assert!(answer(&ipv4(17, 1, 0x2000, &[], &[0; 32]), IcmpError::TimeExceeded).is_ok());
}

#[test]
fn an_error_needs_a_source_of_the_right_family_and_room() {
    let packet = scapy("offending-4");
    let header = parse(&packet);
    let mut buf = TestBuf::new(&packet);
    let wrong = make_error(&mut buf, &header, IcmpError::NoRoute, gateway(6));
    assert_eq!(wrong, Err(NoError));
    let mut buf = TestBuf::with_capacity(packet.len());
    buf.append(packet.len()).unwrap();
    buf.data_mut().copy_from_slice(&packet);
    let full = make_error(&mut buf, &header, IcmpError::NoRoute, gateway(4));
    assert_eq!(full, Err(NoError));
    assert_eq!(data(&buf), packet);
}

/// The headers that may have to go in front of it find the room that they find with every other packet.
#[test]
fn an_error_takes_no_room_in_front() {
    for version in [4, 6] {
        let packet = scapy(&format!("offending-{version}"));
        let mut buf = TestBuf::new(&packet);
        let (before, header) = (buf.headroom(), parse(&packet));
        make_error(&mut buf, &header, IcmpError::NoRoute, gateway(version)).unwrap();
        assert_eq!(buf.headroom(), before);
    }
}

#[test]
fn echo_is_as_scapy_writes_it() {
    for version in [4, 6] {
        let mut packet = scapy(&format!("echo-request-{version}"));
        let header = parse(&packet);
        assert_eq!(echo_reply(&mut packet, &header), Ok(()));
        assert_eq!(packet, scapy(&format!("echo-reply-{version}")));
        // A reply is no request.
        let header = parse(&packet);
        assert_eq!(
            echo_reply(&mut packet, &header),
            Err(DropReason::NoListener)
        );
    }
}

#[test]
fn echo_with_any_byte_flipped_is_refused() {
    for (name, ip) in [("echo-request-4", 20), ("echo-request-6", 40)] {
        let packet = scapy(name);
        let header = parse(&packet);
        for at in ip..packet.len() {
            let mut bad = packet.clone();
            bad[at] ^= 0x10;
            let before = bad.clone();
            assert_eq!(
                echo_reply(&mut bad, &header),
                Err(DropReason::IcmpMalformed)
            );
            assert_eq!(bad, before);
        }
        for len in 0..packet.len() {
            assert!(echo_reply(&mut packet[..len].to_vec(), &header).is_err());
        }
    }
}

#[test]
fn echo_to_a_group_or_in_fragments_is_refused() {
    let mut ping = ipv4(1, 1, 0, &[], &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    ping[16] = 224;
    ping[10..12].fill(0);
    let sum = plain_checksum(&ping[..20]);
    ping[10..12].copy_from_slice(&sum.to_be_bytes());
    let header = parse(&ping);
    assert_eq!(echo_reply(&mut ping, &header), Err(DropReason::Multicast));
    let mut part = ipv4(1, 1, 0x2000, &[], &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    let header = parse(&part);
    assert_eq!(
        echo_reply(&mut part, &header),
        Err(DropReason::IcmpMalformed)
    );
}

#[test]
fn errors_that_are_none() {
    for version in [4, 6] {
        for name in ["echo-request", "echo-reply"] {
            let packet = scapy(&format!("{name}-{version}"));
            assert_eq!(parse_error(&packet, &parse(&packet)), None);
        }
        let packet = scapy(&format!("error-{version}-too-big"));
        let header = parse(&packet);
        let ip = if version == 4 { 20 } else { 40 };
        for at in ip..packet.len() {
            let mut bad = packet.clone();
            bad[at] ^= 1;
            assert_eq!(parse_error(&bad, &header), None, "checksum");
        }
        for len in 0..packet.len() {
            assert_eq!(parse_error(&packet[..len], &header), None);
        }
    }
    let udp = scapy("offending-4");
    assert_eq!(parse_error(&udp, &parse(&udp)), None);
}

#[test]
fn quoted_headers_never_panic() {
    let mut random = Generator(8);
    for _ in 0..50_000 {
        let name = ["whole-4", "whole-6", "atomic-6", "outer-6-udp"][random.below(4)];
        let mut packet = scapy(name);
        packet.truncate(random.below(120));
        if !packet.is_empty() && random.below(2) == 0 {
            let at = random.below(packet.len());
            packet[at] = random.next() as u8;
        }
        if let Some(h) = IpHeader::parse_quoted(&packet) {
            assert!(h.total_len as usize <= packet.len());
            assert!(u32::from(h.header_len) <= h.total_len);
        }
    }
}

#[test]
fn a_token_bucket() {
    let mut limit = RateLimit::new(10, 3);
    let allowed = |limit: &mut RateLimit, now| (0..9).filter(|_| limit.allow(now)).count();
    assert_eq!(allowed(&mut limit, 0), 3);
    assert_eq!(allowed(&mut limit, 99), 0);
    assert_eq!(allowed(&mut limit, 100), 1);
    assert_eq!(allowed(&mut limit, 350), 2);
    assert_eq!(allowed(&mut limit, 400), 1);
    assert_eq!(
        allowed(&mut limit, 300),
        0,
        "time that runs back brings nothing"
    );
    assert_eq!(allowed(&mut limit, u64::MAX), 3);
    assert_eq!(allowed(&mut RateLimit::new(0, 0), 1 << 40), 0);
}
