//! What a changed, forged or malformed protected packet comes to.

use portcullis_config::{Bundle, Mode, Transform, UdpEncapsulation};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::engine::portable::{Key, Portable};
use portcullis_ipsec::engine::{AhJob, Engine, EspJob};
use portcullis_ipsec::pipeline::{Event, Punt};

use crate::rig::packets::{self, ESP, Ip, after, echo, fix_checksum, payload, udp};
use crate::rig::policy::{
    AH_SHA2, CBC, GCM, NULL, Sites, V4_ENDS, V6_ENDS, between, is_esp, lans, transforms, tunnel,
};
use crate::rig::{Gateway, LAN, WIRE};

const NAT: UdpEncapsulation = UdpEncapsulation {
    source_port: 4500,
    destination_port: 4500,
};

/// Flips each bit in `mask` of every byte; nothing may come out but the packet itself, from fields that no ICV
/// covers.
fn flip_every_byte(b: &mut Gateway, wire: &[u8], sent: &[u8], mask: u8, ah: bool) {
    for at in 0..wire.len() {
        let mut forged = wire.to_vec();
        forged[at] ^= mask;
        if packets::is_v4(&forged) && at != 10 && at != 11 && at < 20 {
            // An attacker mends the checksum.
            fix_checksum(&mut forged);
        }
        let drops = b.counters.drops.total();
        b.on_wire(&forged);
        // A fragment of nothing waits in vain.
        b.now += 30_000;
        b.finish();
        // TOS or class, flow label, identification, DF, TTL, the checksum of UDP: ESP does not cover them, and
        // AH not all of them (RFC 4302 3.3.3.1).
        if b.counters.drops.total() == drops {
            let out = b.sent(LAN);
            assert!(at < 20 || at < 28 && !ah, "byte {at} may change");
            let mut got = out[0].clone();
            got[1] = sent[1];
            fix_checksum(&mut got);
            assert_eq!(got, after(sent, 2), "byte {at} changed the inner packet");
            // A fresh window: below, the genuine packet is no replay.
            *b = b.site.build();
        }
        b.assert_silent();
    }
    b.on_wire(wire);
    assert_eq!(
        b.sent(LAN),
        [after(sent, 2)],
        "forgeries changed no state: {:?}",
        b.reasons()
    );
}

#[test]
fn any_changed_byte_is_refused() {
    let sent = echo("10.1.0.10", "10.2.0.20", b"do not touch me").write();
    for (n, transform) in transforms().into_iter().enumerate() {
        let udp = is_esp(transform) && n % 3 == 0;
        let ends = if n % 2 == 0 { V4_ENDS } else { V6_ENDS };
        let mut sites = Sites::default();
        sites.protect(lans(), &[(transform, Mode::Tunnel)], ends, |sa| {
            sa.udp = udp.then_some(NAT);
            sa.esn = n % 4 == 0;
        });
        let (mut a, mut b) = sites.build();
        a.on_lan(&sent);
        let wire = a.sent(WIRE).remove(0);
        let mask = [1, 0x80, 0x10, 0xff][n % 4];
        let header = if ends == V4_ENDS { 20 } else { 40 };
        if header == 20 {
            flip_every_byte(&mut b, &wire, &sent, mask, !is_esp(transform));
        } else {
            // Behind the IP and UDP headers every byte is covered.
            let from = header + if udp { 8 } else { 0 };
            for at in from..wire.len() {
                let mut forged = wire.clone();
                forged[at] ^= mask;
                b.on_wire(&forged);
                b.assert_silent();
            }
            b.on_wire(&wire);
            assert_eq!(b.sent(LAN), [after(&sent, 2)]);
        }
    }
}

#[test]
fn each_forgery_has_its_reason() {
    use DropReason::*;
    let (mut a, mut b) = tunnel(GCM);
    a.on_lan(&echo("10.1.0.10", "10.2.0.20", b"x").write());
    let wire = a.sent(WIRE).remove(0);
    let last = wire.len() - 1;
    for (at, reason) in [
        (2, IpMalformed),    // total length beyond the frame
        (10, IpChecksum),    // checksum
        (20, BadSpi),        // SPI
        (24, IcvMismatch),   // sequence number, far above the window
        (28, IcvMismatch),   // IV
        (40, IcvMismatch),   // ciphertext
        (last, IcvMismatch), // ICV
    ] {
        let mut forged = wire.clone();
        forged[at] ^= 0x10;
        if at == 2 {
            fix_checksum(&mut forged);
        }
        let before = b.drops(reason);
        b.on_wire(&forged);
        b.assert_dropped(reason, before);
    }
    assert_eq!(b.sas[0].drops.get(IcvMismatch), 4);
    let told = |of: fn(&Event) -> bool| b.io.events.iter().filter(|e| of(e)).count();
    let bad = told(|e| matches!(e, Event::BadSpi { .. }));
    let forged = told(|e| {
        matches!(
            e,
            Event::CryptoFailure {
                reason: IcvMismatch,
                ..
            }
        )
    });
    assert_eq!((bad, forged, b.io.events.len()), (1, 4, 5));
}

#[test]
fn a_flood_of_bad_spis_is_told_at_a_bounded_rate() {
    let (mut a, mut b) = tunnel(GCM);
    let esp = |spi: u32| {
        Ip::new(
            "192.0.2.1",
            "192.0.2.2",
            ESP,
            [&spi.to_be_bytes()[..], &[0; 60]].concat(),
        )
        .write()
    };
    let flood: Vec<_> = (0..1000).map(|i| esp(0x9000 + i)).collect();
    b.receive(WIRE, &flood);
    assert_eq!(b.drops(DropReason::BadSpi), 1000);
    assert!(b.io.events.len() <= 30, "{}", b.io.events.len());
    // The flood does not keep other news from control.
    let mut alone = Sites::default();
    alone.protect(lans(), &[], V4_ENDS, |_| {});
    let mut c = alone.a.build();
    c.receive(
        WIRE,
        &flood
            .iter()
            .map(|p| {
                let mut p = p.clone();
                p[19] = 1;
                fix_checksum(&mut p);
                p
            })
            .collect::<Vec<_>>(),
    );
    c.io.events.clear();
    c.on_lan(&echo("10.1.0.10", "10.2.0.20", b"x").write());
    assert!(matches!(c.io.events[..], [Event::Acquire { entry: 0, .. }]));
    c.assert_dropped(DropReason::NoSa, 0);
    a.assert_silent();
}

/// A key of the SA between A and B, to forge with.
fn key(a: &Gateway, slot: usize) -> (Key, u32, Transform) {
    let config = &a.site.sas[slot];
    let key = Portable
        .key(config.transform, &config.cipher_key, &config.integrity_key)
        .unwrap();
    (key, config.spi, config.transform)
}

/// An authentic ESP packet with NULL encryption whose body, trailer included, is `body`.
fn sealed(a: &Gateway, slot: usize, sequence: u32, body: &[u8]) -> Vec<u8> {
    let (key, spi, transform) = key(a, slot);
    let mut packet = [spi.to_be_bytes(), sequence.to_be_bytes()].concat();
    packet.extend(body);
    packet.extend(vec![0; transform.icv_length()]);
    let mut jobs = [EspJob {
        key: &key,
        packet: &mut packet,
        sequence_high: None,
        ok: false,
    }];
    Portable.seal(&mut jobs);
    assert!(jobs[0].ok);
    packet
}

/// Payload, padding bytes, pad length and next header.
fn body(payload: &[u8], padding: &[u8], next: u8) -> Vec<u8> {
    [payload, padding, &[padding.len() as u8, next]].concat()
}

fn padding(payload: usize) -> Vec<u8> {
    (1..=((payload + 2).wrapping_neg() & 3) as u8).collect()
}

/// B receives the body from the owner of the key.
fn deliver(a: &Gateway, b: &mut Gateway, sequence: u32, body: &[u8]) {
    let esp = sealed(a, 0, sequence, body);
    b.on_wire(&Ip::new(V4_ENDS.0, V4_ENDS.1, ESP, esp).write());
}

/// What holds the right key may still lie.
#[test]
fn authentic_lies_are_refused() {
    use DropReason::*;
    let (a, mut b) = tunnel(NULL);
    let inner = echo("10.1.0.10", "10.2.0.20", b"1234567").write();
    let v6 = echo("fd01::10", "fd02::20", b"1234567").write();
    let pad = padding(inner.len());
    let mut sequence = 0;
    let mut refused = |b: &mut Gateway, body: Vec<u8>, reason| {
        sequence += 1;
        let before = b.drops(reason);
        deliver(&a, b, sequence, &body);
        b.assert_dropped(reason, before);
        assert_eq!(b.sas[0].drops.get(reason), before + 1);
    };
    let changed = |at: usize, value: u8| {
        let mut packet = inner.clone();
        packet[at] = value;
        fix_checksum(&mut packet);
        body(&packet, &pad, 4)
    };
    // RFC 4303 2.4: padding is 1, 2, 3, ...
    refused(&mut b, body(&inner, &vec![0; pad.len()], 4), PaddingInvalid);
    let mut lie = body(&inner, &pad, 4);
    let at = lie.len() - 2;
    lie[at] = 255;
    refused(&mut b, lie, PaddingInvalid);
    // RFC 4303 2.6: a dummy packet, whatever it holds.
    refused(&mut b, body(&inner, &pad, 59), DummyPacket);
    refused(&mut b, body(&[], &[1, 2], 59), DummyPacket);
    // Tunnel mode carries IP.
    for next in [0, 1, 6, 17, 43, 44, 50, 51, 60, 255] {
        refused(&mut b, body(&inner, &pad, next), NextHeaderInvalid);
    }
    refused(&mut b, body(&inner, &pad, 41), InnerMalformed);
    refused(&mut b, body(&v6, &padding(v6.len()), 4), InnerMalformed);
    refused(&mut b, body(&[], &[1, 2], 4), InnerMalformed);
    // Lengths, version, checksum.
    refused(&mut b, changed(3, 200), InnerMalformed);
    refused(&mut b, changed(3, 19), InnerMalformed);
    refused(&mut b, changed(0, 0x44), InnerMalformed);
    refused(&mut b, changed(0, 0x4f), InnerMalformed);
    refused(&mut b, changed(0, 0x55), InnerMalformed);
    let mut wrong = inner.clone();
    wrong[10] ^= 1;
    refused(&mut b, body(&wrong, &pad, 4), InnerMalformed);
    // Source route.
    let routed = echo("10.1.0.10", "10.2.0.20", b"12345678")
        .options(&[131, 3, 4, 0])
        .write();
    refused(
        &mut b,
        body(&routed, &padding(routed.len()), 4),
        InnerMalformed,
    );
    // Addresses the SA is not for, in either place.
    for (from, to) in [
        ("10.3.0.10", "10.2.0.20"),
        ("10.1.0.10", "10.3.0.20"),
        ("10.2.0.20", "10.1.0.10"),
    ] {
        let other = echo(from, to, b"12").write();
        refused(
            &mut b,
            body(&other, &padding(other.len()), 4),
            SelectorMismatch,
        );
    }
    // The SA still works.
    deliver(&a, &mut b, 1000, &body(&inner, &pad, 4));
    assert_eq!(b.sent(LAN), [after(&inner, 1)]);
}

/// RFC 4303 2.7: what follows the inner packet hides its size, and does not reach the host.
#[test]
fn traffic_flow_padding_is_cut_off() {
    let (a, mut b) = tunnel(NULL);
    let mut sequence = 0;
    for inner in [
        echo("10.1.0.10", "10.2.0.20", b"x").write(),
        echo("fd01::10", "fd02::20", b"x").write(),
    ] {
        let next = if packets::is_v4(&inner) { 4 } else { 41 };
        for extra in [1, 2, 3, 4, 100, 1000] {
            let padded = [&inner[..], &vec![0xee; extra]].concat();
            sequence += 1;
            deliver(
                &a,
                &mut b,
                sequence,
                &body(&padded, &padding(padded.len()), next),
            );
            assert_eq!(b.sent(LAN), [after(&inner, 1)]);
        }
        // Up to 255 bytes of ordinary padding.
        let long: Vec<u8> = (1..=255)
            .take(251 + ((inner.len() + 253).wrapping_neg() & 3))
            .collect();
        sequence += 1;
        deliver(&a, &mut b, sequence, &body(&inner, &long, next));
        assert_eq!(b.sent(LAN), [after(&inner, 1)], "{:?}", b.reasons());
    }
}

/// Transport mode may not carry a tunnel, nor tunnel mode anything else, for ESP and AH.
#[test]
fn transport_mode_carries_no_tunnel() {
    let mut sites = Sites::default();
    let ends = between(&["192.0.2.1/32"], &["192.0.2.2/32"]);
    sites.protect(ends.clone(), &[(NULL, Mode::Transport)], V4_ENDS, |_| {});
    sites.protect(ends, &[(AH_SHA2, Mode::Transport)], V4_ENDS, |_| {});
    let (a, mut b) = sites.build();
    let inner = echo("10.1.0.10", "10.2.0.20", b"x").write();
    for next in [4, 41] {
        deliver(
            &a,
            &mut b,
            next.into(),
            &body(&inner, &padding(inner.len()), next),
        );
        b.assert_dropped(DropReason::NextHeaderInvalid, u64::from(next / 41));
    }
    let slot = a
        .site
        .sas
        .iter()
        .position(|s| s.transform == AH_SHA2)
        .unwrap();
    let (key, spi, _) = key(&a, slot);
    let mut ah = vec![4, 5, 0, 0];
    ah.extend(spi.to_be_bytes());
    ah.extend(1u32.to_be_bytes());
    ah.extend([0; 16]);
    ah.extend(&inner);
    // RFC 4302 3.3.3.1.1.1: TOS, flags, TTL and checksum count as zero.
    let mut header = Ip::new(V4_ENDS.0, V4_ENDS.1, packets::AH, ah.clone())
        .ttl(0)
        .write();
    header.truncate(20);
    header[10..12].fill(0);
    let mut jobs = [AhJob {
        key: &key,
        header: &header,
        packet: &mut ah,
        sequence_high: None,
        ok: false,
    }];
    Portable.sign(&mut jobs);
    assert!(jobs[0].ok);
    b.on_wire(&Ip::new(V4_ENDS.0, V4_ENDS.1, packets::AH, ah).write());
    b.assert_dropped(DropReason::NextHeaderInvalid, 2);
}

/// A bundle demands all its SAs in their order.
#[test]
fn bundles_are_opened_whole_or_not_at_all() {
    let mut sites = Sites::default();
    let bundle = [(NULL, Mode::Tunnel), (AH_SHA2, Mode::Transport)];
    sites.protect(lans(), &bundle, V4_ENDS, |_| {});
    let (mut a, mut b) = sites.build();
    let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
    a.on_lan(&sent);
    let wire = a.sent(WIRE).remove(0);
    assert_eq!(packets::protocol(&wire), packets::AH);
    // AH of 12 + 16 bytes around ESP: without it, ESP alone.
    let bare = Ip::new(V4_ENDS.0, V4_ENDS.1, ESP, wire[48..].to_vec()).write();
    b.on_wire(&bare);
    b.assert_dropped(DropReason::BundleMismatch, 0);
    b.on_wire(&wire);
    assert_eq!(b.sent(LAN), [after(&sent, 2)]);

    // AH alone, from an A that knows no ESP.
    let mut only_ah = sites.a.clone();
    let ah = only_ah
        .sas
        .iter()
        .position(|s| s.transform == AH_SHA2)
        .unwrap();
    only_ah.spd[0].action = portcullis_config::Action::Protect {
        outbound: Bundle::from_iter([ah]),
        inbound: Bundle::new(),
    };
    only_ah.spd[0].selector = between(&[], &[]).into();
    let mut forger = only_ah.build();
    forger.with_outbound(ah, |sa| sa.sequence = 100);
    let own = udp("192.0.2.1", "192.0.2.2", (1, 2), b"clear").write();
    forger.inject(portcullis_ipsec::pipeline::Inject::Packet(
        portcullis_ipsec::buffer::TestBuf::new(&own),
    ));
    let wire = forger.sent(WIRE);
    assert_eq!(wire.len(), 1, "{:?}", forger.reasons());
    b.receive(WIRE, &wire);
    b.assert_dropped(DropReason::BundleMismatch, 1);

    // The other order: ESP in transport mode around AH is no way in either.
    let mut other = Sites::default();
    other.protect(between(&[], &[]), &bundle, V4_ENDS, |_| {});
    let esp = other
        .a
        .sas
        .iter()
        .position(|s| s.transform == NULL)
        .unwrap();
    let payload_of = payload(&wire[0]).to_vec();
    let esp_around = sealed(
        &a,
        esp,
        500,
        &body(&payload_of, &padding(payload_of.len()), packets::AH),
    );
    b.on_wire(&Ip::new(V4_ENDS.0, V4_ENDS.1, ESP, esp_around).write());
    b.assert_dropped(DropReason::BundleMismatch, 2);
}

#[test]
fn esp_in_udp_and_what_else_comes_on_its_port() {
    use DropReason::*;
    let mut sites = Sites::default();
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |sa| {
        sa.udp = Some(NAT)
    });
    let (mut a, mut b) = sites.build();
    let sent = echo("10.1.0.10", "10.2.0.20", b"x").write();
    a.on_lan(&sent);
    let wire = a.sent(WIRE).remove(0);
    // RFC 3948 2.1: over IPv4 the checksum is zero.
    assert_eq!(
        wire[20..28],
        [0x11, 0x94, 0x11, 0x94, 0, (wire.len() - 20) as u8, 0, 0]
    );
    let datagram = |ports, data: &[u8]| udp(V4_ENDS.0, V4_ENDS.1, ports, data).write();
    // RFC 3948 2.3: swallowed. From any port, since a NAT may have changed it.
    b.on_wire(&datagram((1024, 4500), &[0xff]));
    b.assert_dropped(NatKeepalive, 0);
    // RFC 3948 2.2: four zero bytes, and port 500, mean IKE.
    for ike in [
        datagram((4500, 4500), &[0, 0, 0, 0, 1, 2, 3]),
        datagram((500, 500), b"IKE"),
    ] {
        b.on_wire(&ike);
        let Some(Punt::Local { packet }) = b.io.punts.pop() else {
            panic!("{:?}", b.reasons())
        };
        assert_eq!(portcullis_ipsec::PacketBuf::data(&packet), ike);
    }
    for short in [&[][..], &[1], &[0xff, 0xff], &[1, 2, 3]] {
        let before = b.drops(EspAhMalformed);
        b.on_wire(&datagram((4500, 4500), short));
        b.assert_dropped(EspAhMalformed, before);
    }
    // The UDP length lies.
    let mut liar = wire.clone();
    liar[25] -= 1;
    let before = b.drops(EspAhMalformed);
    b.on_wire(&liar);
    b.assert_dropped(EspAhMalformed, before);
    // Without UDP what needs it, with UDP what has none.
    b.on_wire(&Ip::new(V4_ENDS.0, V4_ENDS.1, ESP, wire[28..].to_vec()).write());
    b.assert_dropped(EncapsulationMismatch, 0);
    b.on_wire(&wire);
    assert_eq!(b.sent(LAN), [after(&sent, 2)]);
    let (mut a, mut b) = tunnel(GCM);
    a.on_lan(&sent);
    let wire = a.sent(WIRE).remove(0);
    b.on_wire(&datagram((4500, 4500), payload(&wire)));
    b.assert_dropped(EncapsulationMismatch, 0);
    // ESP to another port is ordinary UDP, for the SPD.
    b.on_wire(&datagram((4500, 4501), payload(&wire)));
    b.assert_dropped(PolicyNoMatch, 0);
}

/// Tunnels in tunnels, all ending at B: four headers come off, not more.
#[test]
fn nested_tunnels_are_opened_to_a_limit() {
    for depth in 1..=6u32 {
        let mut sites = Sites::default();
        let all = between(&[], &[]);
        sites.protect(all, &[(NULL, Mode::Tunnel)], V4_ENDS, |_| {});
        let (a, mut b) = sites.build();
        let inner = echo("10.1.0.10", "10.2.0.20", b"x").write();
        let mut packet = inner.clone();
        for level in 1..=depth {
            let esp = sealed(&a, 0, level, &body(&packet, &padding(packet.len()), 4));
            packet = Ip::new(V4_ENDS.0, V4_ENDS.1, ESP, esp).write();
        }
        b.on_wire(&packet);
        if depth <= 4 {
            assert_eq!(b.sent(LAN), [after(&inner, 1)], "{:?}", b.reasons());
        } else {
            b.assert_dropped(DropReason::NestingTooDeep, 0);
        }
    }
}

#[test]
fn cbc_ivs_are_never_the_same_and_never_a_count() {
    let (mut a, mut b) = tunnel(CBC);
    let packets: Vec<_> = (0..200)
        .map(|_| echo("10.1.0.10", "10.2.0.20", b"same").write())
        .collect();
    a.receive(LAN, &packets);
    let wire = a.sent(WIRE);
    let mut ivs: Vec<_> = wire.iter().map(|p| p[28..44].to_vec()).collect();
    assert!(ivs.iter().all(|iv| iv[..8] != [0; 8] && iv[8..] != [0; 8]));
    ivs.sort();
    ivs.dedup();
    assert_eq!(ivs.len(), 200);
    b.receive(WIRE, &wire);
    assert_eq!(b.sent(LAN).len(), 200);
}
