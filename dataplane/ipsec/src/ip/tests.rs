//! Hostile headers: what must be read, what refused, and why.

use super::*;
use crate::checksum::checksum;

fn v4(flags: u16, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let head = 20 + options.len();
    let mut p = vec![0x40 | (head / 4) as u8, 0xb9];
    p.extend(((head + payload.len()) as u16).to_be_bytes());
    p.extend([0x12, 0x34]);
    p.extend(flags.to_be_bytes());
    p.extend([7, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    p.extend(options);
    fix(&mut p);
    p.extend(payload);
    p
}

/// Makes the IPv4 header checksum right.
fn fix(p: &mut [u8]) {
    let head = usize::from(p[0] & 15) * 4;
    p[10..12].fill(0);
    let sum = checksum(&p[..head.min(p.len())]);
    p[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x6b, 0x91, 0x23, 0x45];
    p.extend((payload.len() as u16).to_be_bytes());
    p.extend([next, 7]);
    for last in [1, 2] {
        p.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    p.extend(payload);
    p
}

/// An IPv6 packet with a chain of extension headers, then UDP with ports 1 and 2.
fn chain(headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (i, (_, body)) in headers.iter().enumerate() {
        payload.push(headers.get(i + 1).map_or(17, |(kind, _)| *kind));
        payload.extend(*body);
    }
    payload.extend([0, 1, 0, 2, 0, 8, 0, 0]);
    v6(headers.first().map_or(17, |(kind, _)| *kind), &payload)
}

const OPTIONS: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
const LONG_OPTIONS: &[u8] = &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ROUTING_4: &[u8] = &[0, 4, 0, 0, 0, 0, 0];

fn fragment_header(offset: u16, more: bool) -> [u8; 7] {
    let [a, b] = (offset | u16::from(more)).to_be_bytes();
    [0, a, b, 0xde, 0xad, 0xbe, 0xef]
}

fn refused(packet: &[u8]) -> DropReason {
    IpHeader::parse(packet).unwrap_err()
}

#[test]
fn every_field_of_an_ipv4_header() {
    let mut packet = v4(0x4000, 50, &[], &[9; 30]);
    packet.extend([0; 10]);
    let h = IpHeader::parse(&packet).unwrap();
    let expected = IpHeader {
        version: IpVersion::V4,
        traffic_class: 0xb9,
        hop_limit: 7,
        dont_fragment: true,
        header_len: 20,
        total_len: 50,
        protocol: 50,
        protocol_at: 9,
        fragment: FragmentField::default(),
        source: Address::v4([192, 0, 2, 1]),
        destination: Address::v4([198, 51, 100, 2]),
    };
    assert_eq!(h, expected);
    assert_eq!((h.payload_len(), h.is_fragment()), (30, false));
    let h = IpHeader::parse(&v4(0x2000 | 0x1fff, 50, &[], &[])).unwrap();
    let place = Fragment {
        offset: 65_528,
        more: true,
        id: 0x1234,
        header_at: 0,
    };
    assert_eq!((h.fragment(), h.dont_fragment), (Some(place), false));
}

#[test]
fn every_field_of_an_ipv6_header() {
    let h = IpHeader::parse(&v6(50, &[9; 30])).unwrap();
    assert_eq!(
        (h.version, h.traffic_class, h.hop_limit),
        (IpVersion::V6, 0xb9, 7)
    );
    assert_eq!(
        (h.header_len, h.total_len, h.protocol, h.protocol_at),
        (40, 70, 50, 6)
    );
    assert_eq!(h.source.to_ip().to_string(), "2001:db8::1");
    assert_eq!(h.destination.to_ip().to_string(), "2001:db8::2");
    assert!(h.dont_fragment && h.fragment().is_none());
}

#[test]
fn truncated_at_every_length() {
    for packet in [
        v4(0, 17, &[148, 4, 0, 0, 1, 1, 1, 0], &[9; 30]),
        v6(17, &[9; 30]),
        chain(&[
            (0, OPTIONS),
            (43, ROUTING_4),
            (44, &fragment_header(0, true)),
            (60, OPTIONS),
        ]),
    ] {
        assert!(IpHeader::parse(&packet).is_ok());
        for len in 0..packet.len() {
            assert_eq!(refused(&packet[..len]), DropReason::IpMalformed);
        }
        // The length field agrees with what is there, but the headers do not fit it.
        for len in 40..packet.len() {
            let mut short = packet[..len].to_vec();
            if short[0] >> 4 == 4 {
                short[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                fix(&mut short);
            } else {
                short[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            }
            match IpHeader::parse(&short) {
                Ok(h) => assert!(usize::from(h.header_len) <= len && h.total_len as usize == len),
                Err(reason) => assert_eq!(reason, DropReason::Ipv6Extension),
            }
        }
    }
}

#[test]
fn ipv4_headers_that_lie() {
    let good = v4(0, 17, &[], &[0; 8]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut p = good.clone();
        change(&mut p);
        fix(&mut p);
        IpHeader::parse(&p).map(|h| h.header_len)
    };
    assert_eq!(with(&|_| {}), Ok(20));
    assert_eq!(
        with(&|p| p[0] = 0x44),
        Err(DropReason::IpMalformed),
        "header of 16 bytes"
    );
    assert_eq!(
        with(&|p| p[0] = 0x48),
        Err(DropReason::IpMalformed),
        "longer than the packet"
    );
    assert_eq!(
        with(&|p| p[3] = 19),
        Err(DropReason::IpMalformed),
        "total shorter than header"
    );
    assert_eq!(
        with(&|p| p[3] = 29),
        Err(DropReason::IpMalformed),
        "total longer than packet"
    );
    for version in (0..16).filter(|v| *v != 4) {
        assert!(
            with(&|p| p[0] = version << 4 | 5).is_err(),
            "version {version}"
        );
    }
    for bit in 0..160 {
        let mut p = good.clone();
        p[bit / 8] ^= 1 << (bit % 8);
        assert!(IpHeader::parse(&p).is_err(), "bit {bit}");
    }
}

#[test]
fn option_lists() {
    let parsed =
        |options: &[u8]| IpHeader::parse(&v4(0, 17, options, &[0; 8])).map(|h| h.header_len);
    let bad = Err(DropReason::IpOption);
    assert_eq!(parsed(&[1, 1, 1, 1]), Ok(24));
    // Nothing behind the end of the list is read.
    assert_eq!(parsed(&[0, 131, 3, 4]), Ok(24));
    assert_eq!(
        parsed(
            &[7, 39, 4]
                .iter()
                .chain(&[0; 37])
                .copied()
                .collect::<Vec<_>>()
        ),
        Ok(60)
    );
    for options in [
        [7, 1, 0, 0],   // shorter than its own two bytes
        [7, 0, 0, 0],   // an endless loop
        [7, 5, 4, 0],   // beyond the header
        [1, 1, 1, 7],   // no length
        [131, 3, 4, 0], // loose source route
        [1, 137, 3, 4], // strict source route
        [148, 255, 0, 0],
    ] {
        assert_eq!(parsed(&options), bad, "{options:?}");
    }
}

#[test]
fn addresses_that_may_not_be_on_the_wire() {
    let v4_with = |at: usize, address: [u8; 4]| {
        let mut p = v4(0, 17, &[], &[0; 8]);
        p[at..at + 4].copy_from_slice(&address);
        fix(&mut p);
        IpHeader::parse(&p).is_ok()
    };
    for (address, source, destination) in [
        ([0, 0, 0, 0], false, false),
        ([0, 1, 2, 3], false, false),
        ([127, 0, 0, 1], false, false),
        ([126, 0, 0, 1], true, true),
        ([223, 255, 255, 255], true, true),
        ([224, 0, 0, 1], false, true),
        ([255, 255, 255, 255], false, true),
    ] {
        assert_eq!(v4_with(12, address), source, "{address:?}");
        assert_eq!(v4_with(16, address), destination, "{address:?}");
    }
    let v6_with = |at: usize, address: &str| {
        let mut p = v6(17, &[0; 8]);
        let address: Ipv6Addr = address.parse().unwrap();
        p[at..at + 16].copy_from_slice(&address.octets());
        IpHeader::parse(&p).is_ok()
    };
    for (address, source, destination) in [
        ("::", false, false),
        ("::1", false, false),
        ("::ffff:192.0.2.1", false, false),
        ("ff02::1", false, true),
        ("fe80::1", true, true),
    ] {
        assert_eq!(v6_with(8, address), source, "{address}");
        assert_eq!(v6_with(24, address), destination, "{address}");
    }
}

#[test]
fn duplicate_address_detection_passes() {
    // RFC 4862 5.4.2: from the unspecified address, ICMPv6, to a group.
    let mut p = v6(58, &[135, 0, 0, 0, 0, 0, 0, 0]);
    p[8..24].fill(0);
    assert_eq!(refused(&p), DropReason::IpMartian);
    p[24] = 0xff;
    assert!(IpHeader::parse(&p).is_ok());
    p[6] = 17;
    assert_eq!(refused(&p), DropReason::IpMartian);
}

#[test]
fn extension_header_chains() {
    let read = |headers: &[(u8, &[u8])]| {
        let packet = chain(headers);
        let h = IpHeader::parse(&packet)?;
        Ok((h.header_len, h.protocol, h.protocol_at, ports(&packet, &h)))
    };
    let udp = Some([0, 1, 0, 2]);
    let bad = Err(DropReason::Ipv6Extension);
    assert_eq!(read(&[]), Ok((40, 17, 6, udp)));
    assert_eq!(read(&[(0, OPTIONS)]), Ok((48, 17, 40, udp)));
    let all: [(u8, &[u8]); 4] = [
        (0, OPTIONS),
        (60, LONG_OPTIONS),
        (43, ROUTING_4),
        (60, OPTIONS),
    ];
    assert_eq!(read(&all), Ok((80, 17, 72, udp)));
    assert_eq!(read(&[(60, OPTIONS); 8]), Ok((104, 17, 96, udp)));
    assert_eq!(read(&[(60, OPTIONS); 9]), bad, "too many");
    // RFC 8200 4.1: hop-by-hop options only first.
    assert_eq!(read(&[(60, OPTIONS), (0, OPTIONS)]), bad);
    // RFC 5095: routing header type 0, unless it is used up.
    assert_eq!(read(&[(43, &[0, 0, 1, 0, 0, 0, 0])]), bad);
    assert_eq!(read(&[(43, &[0, 0, 0, 0, 0, 0, 0])]), Ok((48, 17, 40, udp)));
    // A length that leads out of the packet.
    assert_eq!(read(&[(60, &[255, 1, 4, 0, 0, 0, 0])]), bad);
    // Two fragment headers: the second must not hide the first.
    let fragments = [fragment_header(0, false), fragment_header(8, true)];
    assert_eq!(read(&[(44, &fragments[0]), (44, &fragments[1])]), bad);
}

#[test]
fn ipv6_fragments() {
    let packet = chain(&[(0, OPTIONS), (44, &fragment_header(0, true)), (60, OPTIONS)]);
    let h = IpHeader::parse(&packet).unwrap();
    let first = Fragment {
        offset: 0,
        more: true,
        id: 0xdead_beef,
        header_at: 48,
    };
    assert_eq!(
        (h.fragment(), h.header_len, h.protocol),
        (Some(first), 64, 17)
    );
    assert_eq!(ports(&packet, &h), Some([0, 1, 0, 2]));
    // Behind a later fragment's header is payload, whatever it looks like.
    let packet = chain(&[
        (0, OPTIONS),
        (44, &fragment_header(8, false)),
        (60, OPTIONS),
    ]);
    let h = IpHeader::parse(&packet).unwrap();
    assert_eq!((h.header_len, h.protocol, h.protocol_at), (56, 60, 48));
    assert_eq!(ports(&packet, &h), None);
    // RFC 6946: an atomic fragment is there, and is no part of anything.
    let h = IpHeader::parse(&chain(&[(44, &fragment_header(0, false))])).unwrap();
    assert!(h.fragment().is_some() && !h.is_fragment());
}

#[test]
fn ports_and_types() {
    let read = |packet: &[u8]| ports(packet, &IpHeader::parse(packet).unwrap());
    for protocol in [6, 17, 33, 132] {
        assert_eq!(
            read(&v4(0, protocol, &[1; 4], &[1, 2, 3, 4, 5])),
            Some([1, 2, 3, 4])
        );
        assert_eq!(read(&v4(0, protocol, &[], &[1, 2, 3])), None);
        assert_eq!(
            read(&v4(0x2000, protocol, &[], &[1, 2, 3, 4])),
            Some([1, 2, 3, 4])
        );
        assert_eq!(read(&v4(1, protocol, &[], &[1, 2, 3, 4])), None);
    }
    assert_eq!(read(&v4(0, 1, &[], &[8, 9, 3, 4])), Some([8, 9, 0, 0]));
    assert_eq!(read(&v6(58, &[128, 1, 7, 7])), Some([128, 1, 0, 0]));
    assert_eq!(read(&v6(58, &[128])), None);
    assert_eq!(read(&v6(50, &[1, 2, 3, 4])), None);
    // Ethernet padding is no payload.
    let mut padded = v4(0, 17, &[], &[]);
    padded.extend([0; 26]);
    assert_eq!(read(&padded), None);
}

#[test]
fn a_hop_less_for_every_checksum() {
    for id in 0..=0xffffu16 {
        let mut p = v4(0, 17, &[], &[]);
        p[4..6].copy_from_slice(&id.to_be_bytes());
        fix(&mut p);
        decrement_hop_limit(&mut p, IpVersion::V4);
        let mut anew = p.clone();
        fix(&mut anew);
        assert_eq!((p[8], &p), (6, &anew));
    }
    let mut p = v6(17, &[]);
    decrement_hop_limit(&mut p, IpVersion::V6);
    assert_eq!(p[7], 6);
    for len in 0..8 {
        decrement_hop_limit(&mut p[..len].to_vec(), IpVersion::V4);
        decrement_hop_limit(&mut p[..len].to_vec(), IpVersion::V6);
    }
}

#[test]
fn random_headers_stay_inside_the_packet() {
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as u8
    };
    let mut read = 0;
    for _ in 0..200_000 {
        let kinds = [0, 43, 44, 60, 17, 50];
        let len = usize::from(random()) / 2;
        let mut packet = v6(kinds[usize::from(random()) % 6], &vec![0; len]);
        for byte in &mut packet[40..] {
            *byte = match random() % 4 {
                0 => kinds[usize::from(random()) % 6],
                1 => random() % 3,
                _ => random(),
            };
        }
        if random() % 4 == 0 {
            let at = usize::from(random()) % packet.len();
            packet[at] = random();
        }
        if let Ok(h) = IpHeader::parse(&packet) {
            read += 1;
            assert!(h.total_len as usize <= packet.len());
            assert!(u32::from(h.header_len) <= h.total_len);
            assert_eq!(packet[usize::from(h.protocol_at)], h.protocol);
            let _ = (h.payload_len(), ports(&packet, &h));
        }
    }
    assert!(read > 10_000, "{read}");
}
