//! Outer headers against scapy, ECN against RFC 6040 figure 4.
#![allow(clippy::unwrap_used, clippy::panic)]

mod wire;

use portcullis_config::{Df, Dscp, UdpEncapsulation};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::ip::{IpHeader, IpVersion};
use portcullis_ipsec::tunnel::{OuterHeader, decapsulate_ecn, fill_udp6_checksum};
use wire::{ipv4, ipv6, parse, plain_checksum, scapy};

const NAT: Option<UdpEncapsulation> = Some(UdpEncapsulation {
    source_port: 4500,
    destination_port: 4501,
});

fn outer(expected: &[u8], protocol: u8, udp: Option<UdpEncapsulation>, df: Df) -> OuterHeader {
    let h = parse(expected);
    OuterHeader::new(h.source, h.destination, protocol, udp, df, Dscp::Copy)
}

/// Writes `header` over a copy of `expected` whose header is garbage.
fn rewrite(header: &OuterHeader, expected: &[u8], class: u8, inner_df: bool) -> Vec<u8> {
    let mut out = expected.to_vec();
    out[..header.len()].fill(0x5a);
    header.write(&mut out, expected.len(), class, inner_df, 0xbeef);
    out
}

#[test]
fn headers_are_as_scapy_writes_them() {
    let v4 = scapy("outer-4");
    let header = outer(&v4, 50, None, Df::Set);
    assert_eq!((header.len(), header.version()), (20, IpVersion::V4));
    assert_eq!(rewrite(&header, &v4, 0xba, false), v4);
    assert_eq!(
        rewrite(&outer(&v4, 50, None, Df::Copy), &v4, 0xba, true),
        v4
    );

    let v4_udp = scapy("outer-4-udp");
    let header = outer(&v4_udp, 50, NAT, Df::Clear);
    assert_eq!(header.len(), 28);
    assert_eq!(rewrite(&header, &v4_udp, 0x02, true), v4_udp);

    let v6 = scapy("outer-6");
    let header = outer(&v6, 51, None, Df::Copy);
    assert_eq!((header.len(), header.version()), (40, IpVersion::V6));
    assert_eq!(rewrite(&header, &v6, 0xba, false), v6);

    let v6_udp = scapy("outer-6-udp");
    let header = outer(&v6_udp, 50, NAT, Df::Copy);
    assert_eq!(header.len(), 48);
    let mut written = rewrite(&header, &v6_udp, 0xba, false);
    assert_ne!(written, v6_udp, "the checksum is still missing");
    fill_udp6_checksum(&mut written);
    assert_eq!(written, v6_udp);
}

#[test]
fn df_dscp_and_checksum_for_every_class() {
    let v4 = scapy("outer-4");
    let h = parse(&v4);
    for (df, inner, expected) in [
        (Df::Copy, false, false),
        (Df::Copy, true, true),
        (Df::Set, false, true),
        (Df::Clear, true, false),
    ] {
        for dscp in [Dscp::Copy, Dscp::Fixed(46)] {
            let header = OuterHeader::new(h.source, h.destination, 50, None, df, dscp);
            assert_eq!(header.dont_fragment(inner), expected);
            for class in 0..=255 {
                let out = rewrite(&header, &v4, class, inner);
                let written = IpHeader::parse(&out).unwrap();
                assert_eq!(plain_checksum(&out[..20]), 0);
                assert_eq!(written.dont_fragment, expected);
                assert_eq!(written.traffic_class & 3, class & 3, "RFC 6040 4.1");
                let dscp = if dscp == Dscp::Copy { class >> 2 } else { 46 };
                assert_eq!(written.traffic_class >> 2, dscp);
            }
        }
    }
}

#[test]
fn ipv4_checksum_holds_for_every_length_and_id() {
    let v4 = scapy("outer-4");
    let header = outer(&v4, 50, None, Df::Copy);
    let mut out = [0; 20];
    for n in 0..=0xffffu16 {
        header.write(
            &mut out,
            usize::from(n),
            n as u8,
            n & 1 == 0,
            n.wrapping_mul(40_503),
        );
        assert_eq!(plain_checksum(&out), 0);
        assert_eq!(out[2..4], n.to_be_bytes());
    }
}

#[test]
fn a_short_buffer_is_left_alone() {
    for name in ["outer-4-udp", "outer-6-udp"] {
        let header = outer(&scapy(name), 50, NAT, Df::Set);
        for len in 0..header.len() {
            header.write(&mut vec![0; len], 100, 0, true, 0);
            fill_udp6_checksum(&mut vec![0x60; len]);
        }
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    // RFC 8200 8.1: over all values of one word, exactly one sums up to zero.
    let mut ones = 0;
    for word in 0..=0xffffu16 {
        let mut packet = scapy("outer-6-udp");
        packet[48..50].copy_from_slice(&word.to_be_bytes());
        fill_udp6_checksum(&mut packet);
        assert_ne!(packet[46..48], [0, 0]);
        ones += u32::from(packet[46..48] == [0xff, 0xff]);
    }
    assert!(ones >= 1);
}

/// RFC 6040 figure 4: rows by inner, columns by outer codepoint, in the order Not-ECT, ECT(0), ECT(1), CE.
const FIGURE_4: [[&str; 4]; 4] = [
    ["Not-ECT", "Not-ECT", "Not-ECT", "drop"],
    ["ECT(0)", "ECT(0)", "ECT(1)", "CE"],
    ["ECT(1)", "ECT(1)", "ECT(1)", "CE"],
    ["CE", "CE", "CE", "CE"],
];
/// RFC 3168 5: the codepoints' bits, in the figure's order.
const CODEPOINTS: [(&str, u8); 4] = [("Not-ECT", 0), ("ECT(0)", 2), ("ECT(1)", 1), ("CE", 3)];

#[test]
fn ecn_is_combined_by_figure_4() {
    for (row, (_, inner)) in FIGURE_4.iter().zip(CODEPOINTS) {
        for (cell, (_, outer)) in row.iter().zip(CODEPOINTS) {
            let expected = CODEPOINTS.iter().find(|(name, _)| name == cell);
            for dscp in 0..64u8 {
                let mut v4 = ipv4(17, u16::from(dscp) * 977, 0, &[], b"12345678");
                v4[1] = dscp << 2 | inner;
                v4[10..12].fill(0);
                let sum = plain_checksum(&v4[..20]);
                v4[10..12].copy_from_slice(&sum.to_be_bytes());
                let mut v6 = ipv6(17, b"12345678");
                v6[0] |= (dscp << 2) >> 4;
                v6[1] = (dscp << 2 | inner) << 4 | 0xf;
                for (mut packet, version) in [(v4, IpVersion::V4), (v6, IpVersion::V6)] {
                    let before = packet.clone();
                    // The outer DSCP must not matter.
                    let result = decapsulate_ecn(!dscp << 2 | outer, &mut packet, version);
                    let Some((_, bits)) = expected else {
                        assert_eq!(result, Err(DropReason::EcnInvalid));
                        continue;
                    };
                    assert_eq!(result, Ok(()));
                    let header = parse(&packet);
                    assert_eq!(header.traffic_class, dscp << 2 | bits);
                    if version == IpVersion::V6 {
                        assert_eq!(packet[1] & 0xf, 0xf, "the flow label stays");
                    }
                    assert_eq!(packet[12..], before[12..]);
                }
            }
        }
    }
}

#[test]
fn ecn_of_a_truncated_packet() {
    for version in [IpVersion::V4, IpVersion::V6] {
        for len in 0..20 {
            let mut packet = vec![
                0x45, 0x22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ];
            packet.truncate(len);
            let _ = decapsulate_ecn(3, &mut packet, version);
        }
    }
}
