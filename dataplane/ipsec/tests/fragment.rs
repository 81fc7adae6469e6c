//! Fragments against scapy's, and the rules of RFC 791 and RFC 8200 4.5.
#![allow(clippy::unwrap_used, clippy::panic)]

mod wire;

use portcullis_ipsec::DropReason;
use portcullis_ipsec::fragment::fragment;
use wire::{Generator, TestIo, data, hex, ipv4, ipv6, parse, plain_checksum, scapy};

fn cut(packet: &[u8], mtu: usize, id: u32) -> Result<Vec<Vec<u8>>, DropReason> {
    let mut parts = Vec::new();
    let header = parse(packet);
    fragment(
        &mut TestIo::default(),
        packet,
        &header,
        mtu,
        id,
        &mut |_, b| {
            parts.push(data(&b));
        },
    )?;
    Ok(parts)
}

#[test]
fn ipv4_as_scapy_does() {
    let parts = cut(&scapy("whole-4"), 60, 0).unwrap();
    let expected: Vec<_> = (0..3).map(|i| scapy(&format!("fragment-4-{i}"))).collect();
    assert_eq!(parts, expected);
}

#[test]
fn ipv6_as_scapy_does() {
    // Hop-by-hop options are repeated, destination options are fragmented (RFC 8200 4.5).
    let parts = cut(&scapy("whole-6"), 1280, 0xdead_beef).unwrap();
    let expected: Vec<_> = (0..3).map(|i| scapy(&format!("fragment-6-{i}"))).collect();
    assert_eq!(parts, expected);
}

#[test]
fn what_fits_is_copied_whole() {
    for (name, len) in [("whole-4", 120), ("whole-6", 3064)] {
        let packet = scapy(name);
        assert_eq!(packet.len(), len);
        assert_eq!(cut(&packet, len, 1).unwrap(), std::slice::from_ref(&packet));
        // Ethernet padding is no payload.
        let mut padded = packet.clone();
        padded.extend([0; 6]);
        assert_eq!(cut(&padded, len, 1).unwrap(), [packet]);
    }
}

#[test]
fn only_options_with_the_copied_flag_are_repeated() {
    // RFC 791 3.1: record route (7) is in the first fragment only; RFC 2113: router alert (148) is in all.
    let record_route = [7, 7, 4, 0, 0, 0, 0];
    let mut options = record_route.to_vec();
    options.extend([1, 148, 4, 0, 0]);
    options.extend([0, 0, 0, 0]);
    let packet = ipv4(17, 9, 0, &options, &[0xab; 100]);
    let parts = cut(&packet, 68, 0).unwrap();
    assert_eq!(parts[0][20..36], options[..]);
    assert_eq!(parts[0][0], 0x49);
    let mut offset = 0;
    for (i, part) in parts.iter().enumerate() {
        assert!(part.len() <= 68);
        assert_eq!(plain_checksum(&part[..usize::from(part[0] & 15) * 4]), 0);
        if i > 0 {
            assert_eq!(part[0], 0x46);
            assert_eq!(part[20..24], [148, 4, 0, 0]);
        }
        let h = parse(part);
        let place = h.fragment().unwrap();
        assert_eq!(usize::from(place.offset), offset);
        assert_eq!(place.more, i + 1 < parts.len());
        assert_eq!(place.id, 9);
        offset += h.payload_len();
    }
    assert_eq!(offset, 100);
}

#[test]
fn a_fragment_of_a_fragment_keeps_its_place() {
    let middle = ipv4(17, 77, 0x2000 | 5, &[], &[1; 64]);
    let places: Vec<_> = cut(&middle, 52, 0)
        .unwrap()
        .iter()
        .map(|p| {
            parse(p)
                .fragment()
                .map(|f| (f.offset, f.more, f.id))
                .unwrap()
        })
        .collect();
    assert_eq!(places, [(40, true, 77), (72, true, 77)]);
    let last = ipv4(17, 77, 5, &[], &[1; 33]);
    let more: Vec<_> = cut(&last, 52, 0)
        .unwrap()
        .iter()
        .map(|p| parse(p).fragment().unwrap().more)
        .collect();
    assert_eq!(more, [true, false]);
}

#[test]
fn what_may_not_be_cut() {
    let too_big = Err(DropReason::TooBig);
    // DF.
    assert_eq!(cut(&ipv4(17, 1, 0x4000, &[], &[0; 100]), 68, 0), too_big);
    // No room for 8 bytes (RFC 791 3.2).
    assert_eq!(cut(&ipv4(17, 1, 0, &[], &[0; 100]), 27, 0), too_big);
    assert!(cut(&ipv4(17, 1, 0, &[], &[0; 100]), 28, 0).is_ok());
    assert_eq!(cut(&ipv6(17, &[0; 100]), 55, 0), too_big);
    // Another node's IPv6 fragment.
    assert_eq!(cut(&scapy("fragment-6-0"), 1000, 0), too_big);
    // A header chain that does not fit the first fragment (RFC 7112 5).
    let mut chain = vec![17, 30];
    chain.resize(248, 0);
    chain.extend([0; 100]);
    assert_eq!(cut(&ipv6(60, &chain), 200, 0), too_big);
    // An end beyond 65535.
    let far = ipv4(17, 1, 0x1fff, &[], &[0; 100]);
    assert_eq!(cut(&far, 68, 0), Err(DropReason::FragmentInvalid));
}

#[test]
fn the_routing_header_is_repeated() {
    // Destination options, routing header (type 4, no segments left), destination options, UDP.
    let mut payload = hex("2b00010400000000 3c00040000000000 1100010400000000");
    payload.extend([0x55; 400]);
    let parts = cut(&ipv6(60, &payload), 200, 3).unwrap();
    assert!(parts.len() > 2);
    for part in &parts {
        assert_eq!(part[6], 60);
        assert_eq!(part[40], 43);
        assert_eq!(
            part[48], 44,
            "the fragment header follows the routing header"
        );
        assert_eq!(part[56], 60);
    }
}

#[test]
fn without_buffers_it_stops() {
    let packet = ipv4(17, 1, 0, &[], &[0; 100]);
    let mut io = TestIo {
        left: Some(2),
        ..TestIo::default()
    };
    let mut count = 0;
    let result = fragment(&mut io, &packet, &parse(&packet), 44, 0, &mut |_, _| {
        count += 1;
    });
    assert_eq!((result, count), (Err(DropReason::NoBuffer), 2));
}

#[test]
fn headers_that_lie_never_panic() {
    let mut random = Generator(2);
    for _ in 0..20_000 {
        let name = ["whole-4", "whole-6", "fragment-4-1"][random.below(3)];
        let mut packet = scapy(name);
        let header = parse(&packet);
        // The bytes change behind the parsed header's back.
        for _ in 0..random.below(6) {
            let at = random.below(packet.len().min(100));
            packet[at] = random.next() as u8;
        }
        packet.truncate(random.below(packet.len() + 1));
        let mtu = random.below(1500);
        let _ = fragment(
            &mut TestIo::default(),
            &packet,
            &header,
            mtu,
            0,
            &mut |_, _| {},
        );
    }
}
