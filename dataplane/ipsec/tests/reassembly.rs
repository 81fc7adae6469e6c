//! Reassembly: scapy's fragments, random ones, and attacks with RFC numbers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod wire;

use portcullis_ipsec::buffer::TestBuf;
use portcullis_ipsec::fragment::fragment;
use portcullis_ipsec::ip::IpHeader;
use portcullis_ipsec::pipeline::Origin;
use portcullis_ipsec::reassembly::{Reassembled, Reassembler};
use portcullis_ipsec::{DropReason, InterfaceId};
use wire::{Generator, TestIo, data, ipv4, ipv6, parse, plain_checksum, scapy};

const INVALID: DropReason = DropReason::FragmentInvalid;

struct Rig {
    io: TestIo,
    reassembler: Reassembler<TestBuf>,
}

impl Rig {
    fn new(packets: usize) -> Self {
        Rig {
            io: TestIo::default(),
            reassembler: Reassembler::new(packets, 30_000),
        }
    }
    fn push_at(&mut self, now: u64, packet: &[u8]) -> Reassembled<TestBuf> {
        let buf = TestBuf::new(packet);
        self.reassembler
            .push(&mut self.io, now, Origin::Local, buf, &parse(packet))
    }
    fn push(&mut self, packet: &[u8]) -> Reassembled<TestBuf> {
        self.push_at(0, packet)
    }
}

fn held() -> Reassembled<TestBuf> {
    Reassembled::Held { evicted: 0 }
}

fn dropped(reason: DropReason, count: u32) -> Reassembled<TestBuf> {
    Reassembled::Dropped { reason, count }
}

fn complete(result: Reassembled<TestBuf>) -> Vec<u8> {
    match result {
        Reassembled::Complete(buf) => data(&buf),
        other => panic!("not complete: {other:?}"),
    }
}

/// An IPv4 fragment of packet `id`: `offset` in bytes.
fn v4(id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let flags = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    ipv4(50, id, flags, &[], payload)
}

/// An IPv6 fragment.
fn v6(id: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![50, 0];
    p.extend((offset as u16 | u16::from(more)).to_be_bytes());
    p.extend(id.to_be_bytes());
    p.extend(payload);
    ipv6(44, &p)
}

#[test]
fn scapys_fragments_in_every_order() {
    for (version, whole) in [(4, "whole-4"), (6, "whole-6")] {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut rig = Rig::new(1);
            for (n, i) in order.into_iter().enumerate() {
                let mut part = scapy(&format!("fragment-{version}-{i}"));
                part.extend([0xee; 4]); // Ethernet padding is no payload
                let result = rig.push(&part);
                if n < 2 {
                    assert_eq!(result, held());
                } else {
                    assert_eq!(complete(result), scapy(whole));
                }
            }
            assert_eq!((rig.reassembler.held(), rig.io.discarded), (0, 3));
        }
    }
}

/// Cuts, perhaps cuts again (IPv4 only), shuffles, duplicates.
fn scatter(random: &mut Generator, packet: &[u8], again: bool) -> Vec<Vec<u8>> {
    let least = packet.len() / 58 + 100;
    let mtu = least + random.below(2000);
    let mut once = Vec::new();
    let mut io = TestIo::default();
    let id = random.next() as u32;
    fragment(&mut io, packet, &parse(packet), mtu, id, &mut |_, b| {
        once.push(data(&b))
    })
    .unwrap();
    if again && once.len() < 20 {
        let mut twice = Vec::new();
        for part in once {
            fragment(
                &mut io,
                &part,
                &parse(&part),
                mtu / 2 + 64,
                0,
                &mut |_, b| {
                    twice.push(data(&b));
                },
            )
            .unwrap();
        }
        once = twice;
    }
    random.shuffle(&mut once);
    once
}

fn random_packet(random: &mut Generator, id: u16) -> Vec<u8> {
    let len = match random.below(3) {
        0 => random.below(300),
        1 => random.below(10_000),
        _ => 65_000 + random.below(400),
    };
    let payload = random.bytes(len.max(24));
    match random.below(4) {
        0 => ipv4(50, id, 0, &[], &payload),
        1 => ipv4(17, id, 0, &[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0], &payload),
        2 => ipv6(50, &payload),
        _ => {
            let mut p = vec![60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
            p.extend(&payload[..payload.len().min(65_000)]);
            ipv6(0, &p)
        }
    }
}

#[test]
fn what_was_cut_comes_together_in_any_order() {
    let mut random = Generator(1);
    for round in 0..300 {
        let mut rig = Rig::new(4);
        let whole = random_packet(&mut random, round);
        let v4 = whole[0] >> 4 == 4;
        let mut parts = scatter(&mut random, &whole, v4);
        if parts.len() == 1 {
            continue;
        }
        assert!(parts.len() <= 64, "{}", parts.len());
        // One comes twice: the second is dropped, unless the first was the last one missing.
        let twice = parts[random.below(parts.len() - 1)].clone();
        parts.insert(random.below(parts.len() - 1), twice);
        let (last, rest) = parts.split_last().unwrap();
        let mut duplicates = 0;
        for part in rest {
            match rig.push(part) {
                Reassembled::Held { evicted: 0 } => {}
                Reassembled::Dropped {
                    reason: INVALID,
                    count: 1,
                } => duplicates += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(duplicates, 1);
        let result = complete(rig.push(last));
        assert_eq!(result.len(), whole.len());
        assert!(result == whole, "round {round}");
        assert_eq!(rig.reassembler.held(), 0);
        assert_eq!(rig.io.discarded, parts.len());
    }
}

#[test]
fn the_longest_packets() {
    let mut random = Generator(9);
    for whole in [
        ipv4(50, 1, 0, &[], &random.bytes(65_515)),
        ipv6(50, &random.bytes(65_535)),
    ] {
        let mut rig = Rig::new(1);
        let parts = scatter(&mut random, &whole, false);
        let (last, rest) = parts.split_last().unwrap();
        rest.iter().for_each(|p| assert_eq!(rig.push(p), held()));
        assert!(complete(rig.push(last)) == whole);
    }
}

#[test]
fn packets_do_not_mix() {
    // Same id: different protocol, destination, version, source.
    let a = [v4(1, 0, true, &[1; 8]), v4(1, 8, false, &[1; 5])];
    let mut b = a.clone();
    let mut c = a.clone();
    let mut d = a.clone();
    for i in 0..2 {
        b[i][9] = 51;
        c[i][19] = 3;
        d[i][15] = 7;
    }
    let e = [v6(1, 0, true, &[2; 8]), v6(1, 8, false, &[2; 5])];
    let f = [
        v6(1 << 16 | 1, 0, true, &[3; 8]),
        v6(1 << 16 | 1, 8, false, &[3; 5]),
    ];
    let mut all = [a, b, c, d, e, f];
    for packet in all.iter_mut().flatten().filter(|p| p[0] == 0x45) {
        packet[10..12].fill(0);
        let sum = plain_checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let mut rig = Rig::new(6);
    for parts in &all {
        assert_eq!(rig.push(&parts[1]), held());
    }
    assert_eq!(rig.reassembler.held(), 6);
    for parts in &all {
        let whole = complete(rig.push(&parts[0]));
        let h = parse(&whole);
        assert_eq!(h.payload_len(), 13);
        assert!(h.fragment().is_none());
    }
}

#[test]
fn clear_fragments_do_not_complete_authentic_ones() {
    let parts = [v4(1, 0, true, &[1; 8]), v4(1, 8, false, &[1; 5])];
    let origins = [
        Origin::Interface(InterfaceId(0)),
        Origin::Interface(InterfaceId(1)),
        Origin::Sa(0),
        Origin::Sa(1),
    ];
    let mut rig = Rig::new(4);
    let mut push = |origin, part: &[u8]| {
        let buf = TestBuf::new(part);
        rig.reassembler
            .push(&mut rig.io, 0, origin, buf, &parse(part))
    };
    for origin in origins {
        assert_eq!(push(origin, &parts[0]), held());
    }
    for origin in origins {
        assert_eq!(complete(push(origin, &parts[1])).len(), 33);
    }
}

#[test]
fn overlaps_condemn_the_packet() {
    for make in [
        |o, m, p: &[u8]| v4(5, o, m, p),
        |o, m, p: &[u8]| v6(5, o, m, p),
    ] {
        let first = make(0, true, &[1; 32]);
        for overlapping in [
            make(0, true, &[1; 16]),  // a part of it
            make(0, true, &[2; 32]),  // the same place, other bytes
            make(16, true, &[1; 8]),  // inside
            make(24, true, &[1; 16]), // over its end
            make(24, false, &[1; 16]),
            make(0, true, &[1; 40]), // around it
        ] {
            let mut rig = Rig::new(2);
            assert_eq!(rig.push(&first), held());
            assert_eq!(rig.push(&overlapping), dropped(INVALID, 2));
            // RFC 5722 4: and those not yet received.
            assert_eq!(rig.push(&first), dropped(INVALID, 1));
            assert_eq!(rig.push(&make(32, false, &[1; 3])), dropped(INVALID, 1));
            assert_eq!((rig.reassembler.held(), rig.io.discarded), (0, 4));
            // Until its time is over.
            assert_eq!(rig.reassembler.expire(&mut rig.io, 30_000), 0);
            assert_eq!(rig.push_at(30_000, &first), held());
        }
    }
}

#[test]
fn two_ends_condemn_the_packet() {
    for second in [
        v4(5, 64, false, &[1; 8]), // behind the last
        v4(5, 48, true, &[1; 8]),  // more behind the last
        v4(5, 16, false, &[1; 8]), // a second last
    ] {
        let mut rig = Rig::new(1);
        assert_eq!(rig.push(&v4(5, 40, false, &[1; 8])), held());
        assert_eq!(rig.push(&second), dropped(INVALID, 2));
    }
    // The same bytes, but now the last.
    let mut rig = Rig::new(1);
    assert_eq!(rig.push(&v4(5, 40, true, &[1; 8])), held());
    assert_eq!(rig.push(&v4(5, 40, false, &[1; 8])), dropped(INVALID, 2));
    let mut rig = Rig::new(1);
    assert_eq!(rig.push(&v4(5, 40, true, &[1; 8])), held());
    assert_eq!(rig.push(&v4(5, 16, false, &[1; 8])), dropped(INVALID, 2));
}

#[test]
fn impossible_sizes_are_dropped_alone() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.push(&v4(5, 0, true, &[1; 32])), held());
    assert_eq!(
        rig.push(&v6(5, 0, true, &[1; 32])),
        dropped(DropReason::FragmentTableFull, 1)
    );
    for bad in [
        v4(5, 32, true, &[1; 12]),     // RFC 791 3.2: not a multiple of 8
        v4(5, 32, true, &[]),          // empty
        v4(5, 32, false, &[]),         // empty
        v4(5, 65_528, false, &[1; 8]), // the ping of death
        v4(5, 65_512, false, &[1; 8]), // fits the payload's 65535, but not with the header
        v6(5, 65_528, false, &[1; 8]), // RFC 8200 4.5
        v6(5, 8, true, &[1; 9]),       // RFC 8200 4.5
    ] {
        assert_eq!(rig.push(&bad), dropped(INVALID, 1));
    }
    assert_eq!(
        complete(rig.push(&v4(5, 32, false, &[1; 12]))).len(),
        20 + 44
    );
}

#[test]
fn tiny_fragments_are_dropped() {
    let tcp = |offset: u16, payload: &[u8]| ipv4(6, 3, 0x2000 | offset / 8, &[], payload);
    let mut rig = Rig::new(2);
    // RFC 1858 3.3.1: TCP's flags are at 13.
    assert_eq!(rig.push(&tcp(0, &[0; 8])), dropped(INVALID, 1));
    assert_eq!(rig.push(&tcp(0, &[0; 16])), held());
    // RFC 3128 2: offset one.
    assert_eq!(rig.push(&tcp(8, &[0; 8])), dropped(INVALID, 1));
    assert_eq!(rig.push(&tcp(16, &[0; 8])), held());
    // RFC 7112 5: an IPv6 first fragment without its upper layer.
    let only_options = ipv6(44, &[60, 0, 0, 1, 0, 0, 0, 9, 17, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(rig.push(&only_options), dropped(INVALID, 1));
    // ESP's SPI is whole in 8 bytes.
    assert_eq!(rig.push(&v4(5, 0, true, &[1; 8])), held());
}

#[test]
fn more_than_64_fragments_are_too_many() {
    let mut rig = Rig::new(1);
    for i in 0..64 {
        assert_eq!(rig.push(&v4(5, 8 * i, true, &[1; 8])), held());
    }
    assert_eq!(
        rig.push(&v4(5, 8 * 64, false, &[1; 8])),
        dropped(INVALID, 65)
    );
    let mut rig = Rig::new(1);
    for i in 0..63 {
        rig.push(&v4(5, 8 * i, true, &[1; 8]));
    }
    assert_eq!(
        complete(rig.push(&v4(5, 8 * 63, false, &[1; 8]))).len(),
        20 + 512
    );
}

#[test]
fn atomic_fragments_stand_alone() {
    let mut rig = Rig::new(1);
    // RFC 6946 4: whatever waits under the same identification.
    let mut same_id = v6(7, 0, true, &[1; 8]);
    same_id[47] = 7;
    assert_eq!(rig.push(&same_id), held());
    assert_eq!(
        complete(rig.push(&scapy("atomic-6"))),
        scapy("not-atomic-6")
    );
    let mut padded = scapy("atomic-6");
    padded.extend([0; 10]);
    assert_eq!(complete(rig.push(&padded)), scapy("not-atomic-6"));
    assert_eq!(rig.reassembler.held(), 1);
    // And what is no fragment comes back as it is.
    assert_eq!(complete(rig.push(&scapy("whole-4"))), scapy("whole-4"));
}

#[test]
fn congestion_marks_survive() {
    // RFC 3168 5.3, by codepoints of the two fragments.
    for (a, b, expected) in [
        (0, 0, Some(0)),
        (1, 1, Some(1)),
        (2, 2, Some(2)),
        (2, 3, Some(3)),
        (3, 1, Some(3)),
        (3, 3, Some(3)),
        (0, 3, None),
        (3, 0, None),
    ] {
        for version in [4, 6] {
            let mut rig = Rig::new(1);
            let mut parts = match version {
                4 => [v4(5, 0, true, &[1; 8]), v4(5, 8, false, &[1; 8])],
                _ => [v6(5, 0, true, &[1; 8]), v6(5, 8, false, &[1; 8])],
            };
            for (part, ecn) in parts.iter_mut().zip([a, b]) {
                if version == 4 {
                    part[1] = ecn;
                    part[10..12].fill(0);
                    let sum = plain_checksum(&part[..20]);
                    part[10..12].copy_from_slice(&sum.to_be_bytes());
                } else {
                    part[1] = ecn << 4;
                }
            }
            assert_eq!(rig.push(&parts[0]), held());
            match expected {
                Some(ecn) => {
                    let whole = complete(rig.push(&parts[1]));
                    assert_eq!(parse(&whole).traffic_class & 3, ecn);
                }
                None => assert_eq!(rig.push(&parts[1]), dropped(DropReason::EcnInvalid, 2)),
            }
        }
    }
}

#[test]
fn time_runs_from_the_first_fragment() {
    let mut rig = Rig::new(4);
    assert_eq!(rig.push_at(1_000, &v4(1, 0, true, &[1; 8])), held());
    assert_eq!(rig.push_at(20_000, &v4(1, 8, true, &[1; 8])), held());
    assert_eq!(rig.push_at(20_000, &v4(2, 8, true, &[1; 8])), held());
    assert_eq!(rig.reassembler.expire(&mut rig.io, 30_999), 0);
    assert_eq!(rig.reassembler.expire(&mut rig.io, 31_000), 2);
    assert_eq!(rig.reassembler.held(), 1);
    assert_eq!(rig.reassembler.clear(&mut rig.io), 1);
    assert_eq!((rig.reassembler.held(), rig.io.discarded), (0, 3));
    // All slots are free again.
    for id in 0..4 {
        assert_eq!(rig.push(&v4(id, 0, true, &[1; 8])), held());
    }
}

#[test]
fn a_source_crowds_out_only_itself() {
    let mut rig = Rig::new(2);
    assert_eq!(rig.push(&v6(1, 0, true, &[1; 8])), held());
    assert_eq!(rig.push(&v4(1, 0, true, &[1; 8])), held());
    assert_eq!(rig.push(&v4(1, 8, true, &[1; 8])), held());
    // Its own oldest packet, of two fragments, goes.
    assert_eq!(
        rig.push(&v4(2, 0, true, &[1; 8])),
        Reassembled::Held { evicted: 2 }
    );
    let mut stranger = v4(1, 0, true, &[1; 8]);
    stranger[15] = 99;
    stranger[10..12].fill(0);
    let sum = plain_checksum(&stranger[..20]);
    stranger[10..12].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(
        rig.push(&stranger),
        dropped(DropReason::FragmentTableFull, 1)
    );
    // The other packets are not hurt.
    complete(rig.push(&v6(1, 8, false, &[1; 8])));
    complete(rig.push(&v4(2, 8, false, &[1; 8])));
    assert_eq!(rig.push(&stranger), held());
}

#[test]
fn without_a_buffer_all_are_dropped() {
    let mut rig = Rig::new(1);
    rig.io.left = Some(0);
    assert_eq!(rig.push(&v4(1, 0, true, &[1; 8])), held());
    assert_eq!(
        rig.push(&v4(1, 8, false, &[1; 8])),
        dropped(DropReason::NoBuffer, 2)
    );
    rig.io.left = None;
    assert_eq!(rig.push(&v4(1, 0, true, &[1; 8])), held());
}

#[test]
fn an_ipv6_packet_too_long_with_its_options() {
    // The first fragment's own headers are counted when all is there.
    let options = [0u8, 0, 1, 4, 0, 0, 0, 0];
    let first = |payload: &[u8]| {
        let mut p = options.to_vec();
        p[0] = 44;
        p.extend([50, 0, 0, 1, 0, 0, 0, 5]);
        p.extend(payload);
        ipv6(0, &p)
    };
    let mut rig = Rig::new(1);
    assert_eq!(rig.push(&first(&[1; 32_768])), held());
    assert_eq!(
        rig.push(&v6(5, 32_768, false, &[1; 32_767])),
        dropped(INVALID, 2)
    );
    assert_eq!(rig.push(&first(&[1; 32_768])), held());
    let whole = complete(rig.push(&v6(5, 32_768, false, &[1; 32_759])));
    assert_eq!(parse(&whole).total_len, 65_575);
}

#[test]
fn chaos_loses_no_buffer() {
    let mut random = Generator(3);
    let mut rig = Rig::new(8);
    let (mut pushed, mut finished, mut counted) = (0, 0, 0);
    for now in 0..100_000u64 {
        let (id, offset) = (random.below(6), 8 * random.below(6));
        let payload = vec![random.below(2) as u8; 8 * (1 + random.below(2)) + random.below(8) / 7];
        let more = random.below(3) > 0;
        let mut packet = if random.below(2) == 0 {
            v4(id as u16, offset, more, &payload)
        } else {
            v6(id as u32, offset, more, &payload)
        };
        if random.below(4) == 0 {
            let at = random.below(packet.len());
            packet[at] = random.next() as u8;
        }
        let Ok(header) = IpHeader::parse(&packet) else {
            continue;
        };
        pushed += 1;
        let buf = TestBuf::new(&packet);
        match rig
            .reassembler
            .push(&mut rig.io, now * 10, Origin::Local, buf, &header)
        {
            Reassembled::Held { evicted } => counted += evicted,
            Reassembled::Dropped { count, .. } => counted += count,
            Reassembled::Complete(buf) => {
                finished += 1;
                // What comes out can be read, and is no fragment.
                assert!(IpHeader::parse(&data(&buf)).map_or(true, |h| !h.is_fragment()));
            }
        }
        counted += rig.reassembler.expire(&mut rig.io, now * 10);
    }
    counted += rig.reassembler.clear(&mut rig.io);
    assert!(finished > 1000, "{finished}");
    assert_eq!(rig.reassembler.held(), 0);
    // Every buffer was either given back in place, or discarded.
    let in_place = finished - rig.io.allocated;
    assert_eq!(rig.io.discarded, pushed - in_place);
    assert!(counted as usize <= rig.io.discarded);
}
