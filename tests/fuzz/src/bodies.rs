//! Bytes to packets and policies.
//!
//! `inbound` and `outbound` read a program: an operation, its argument, a length, that many bytes, and so on to the
//! end. Whatever the program, packets are neither lost nor made, and nothing crosses the boundary that should not.

use std::cell::RefCell;
use std::path::Path;

use portcullis_config::{Action, Mode, Selector, Transform, UdpEncapsulation, UpperLayer};
use portcullis_ipsec::engine::portable::Portable;
use portcullis_ipsec::engine::{AhJob, Engine, EspJob};

use crate::rig::packets::{self, Ip, checksum};
use crate::rig::policy::{AH_SHA2, CBC, GCM, NULL, Sites, V4_ENDS, V6_ENDS, between, lans, port};
use crate::rig::{Gateway, LAN, TAG, WIRE, framed};

/// IPv6's fragment header.
const FRAGMENT: u8 = 44;

/// One step of a program.
struct Step<'a> {
    operation: u8,
    argument: u8,
    bytes: &'a [u8],
}

fn steps(mut data: &[u8]) -> impl Iterator<Item = Step<'_>> {
    std::iter::from_fn(move || {
        let &[operation, argument, length, ref rest @ ..] = data else {
            return None;
        };
        // Small packets byte by byte, larger ones in steps.
        let length = match usize::from(length) {
            n @ 0..200 => n,
            n => 200 + (n - 200) * 50,
        };
        let (bytes, rest) = rest.split_at(length.min(rest.len()));
        data = rest;
        Some(Step {
            operation,
            argument,
            bytes,
        })
    })
}

/// Gateways with SAs of every shape.
fn sites() -> Sites {
    let mut sites = Sites::default();
    sites.mtu(1500, 1500);
    let nat = UdpEncapsulation {
        source_port: 4500,
        destination_port: 4500,
    };
    let upper = |upper| Selector { upper, ..lans() };
    let dns = upper(port(packets::UDP, &[], &[53]));
    sites.protect(dns, &[(NULL, Mode::Tunnel)], V4_ENDS, |_| {});
    let tcp = upper(UpperLayer::Protocol(packets::TCP));
    let bundle = [(NULL, Mode::Tunnel), (AH_SHA2, Mode::Transport)];
    sites.protect(tcp, &bundle, V6_ENDS, |_| {});
    let udp = upper(UpperLayer::Protocol(packets::UDP));
    sites.protect(udp, &[(CBC, Mode::Tunnel)], V6_ENDS, |sa| {
        sa.udp = Some(nat)
    });
    let own = between(&["192.0.2.1/32"], &["192.0.2.2/32"]);
    sites.protect(own, &[(NULL, Mode::Transport)], V4_ENDS, |sa| sa.esn = true);
    let own = between(&["2001:db8::1/128"], &["2001:db8::2/128"]);
    sites.protect(own, &[(AH_SHA2, Mode::Transport)], V6_ENDS, |_| {});
    let echo = upper(UpperLayer::Icmp {
        protocol: packets::ICMP,
        types: (0, 8),
        codes: (0, 255),
    });
    sites.protect(echo, &[(AH_SHA2, Mode::Tunnel)], V4_ENDS, |_| {});
    sites.protect(lans(), &[(GCM, Mode::Tunnel)], V4_ENDS, |sa| {
        sa.udp = Some(nat)
    });
    sites.both(
        between(&["172.16.1.0/24"], &["172.16.2.0/24"]),
        Action::Discard,
    );
    sites
}

thread_local! {
    static SITES: RefCell<Option<Sites>> = const { RefCell::new(None) };
}

fn gateways() -> (Gateway, Gateway) {
    SITES.with_borrow_mut(|known| known.get_or_insert_with(sites).build())
}

/// An ESP packet whose clear body, trailer included, is `body`, sealed with the key of A's SA.
fn sealed(a: &Gateway, slot: usize, sequence: u32, body: &[u8]) -> Vec<u8> {
    let config = &a.site.sas[slot];
    let key = Portable
        .key(config.transform, &config.cipher_key, &config.integrity_key)
        .unwrap();
    let (Transform::Esp(cipher, _), icv) = (config.transform, config.transform.icv_length()) else {
        return signed(a, slot, sequence, body);
    };
    let whole = body.len() - body.len() % cipher.alignment();
    let mut packet = [config.spi.to_be_bytes(), sequence.to_be_bytes()].concat();
    packet.resize(8 + cipher.iv_length(), sequence as u8);
    packet.extend(&body[..whole]);
    packet.resize(packet.len() + icv, 0);
    Portable.seal(&mut [EspJob {
        key: &key,
        packet: &mut packet,
        sequence_high: config.esn.then_some(0),
        ok: false,
    }]);
    packet
}

/// An AH packet: the first byte of `body` is the next header.
fn signed(a: &Gateway, slot: usize, sequence: u32, body: &[u8]) -> Vec<u8> {
    let config = &a.site.sas[slot];
    let key = Portable
        .key(config.transform, &config.cipher_key, &config.integrity_key)
        .unwrap();
    let (next, behind) = body.split_first().unwrap_or((&59, &[]));
    let v4 = config.source.is_ipv4();
    let icv = config.transform.icv_length();
    let len = (12 + icv).next_multiple_of(if v4 { 4 } else { 8 });
    let mut ah = vec![*next, (len / 4 - 2) as u8, 0, 0];
    ah.extend(config.spi.to_be_bytes());
    ah.extend(sequence.to_be_bytes());
    ah.resize(len, 0);
    ah.extend(behind);
    let mut header = outer(a, slot, ah.clone()).ttl(0).write();
    header.truncate(if v4 { 20 } else { 40 });
    if v4 {
        header[10..12].fill(0);
    }
    Portable.sign(&mut [AhJob {
        key: &key,
        header: &header,
        packet: &mut ah,
        sequence_high: None,
        ok: false,
    }]);
    ah
}

/// The outer packet of A's SA around ESP or AH.
fn outer(a: &Gateway, slot: usize, payload: Vec<u8>) -> Ip {
    let config = &a.site.sas[slot];
    let (from, to) = (config.source.to_string(), config.destination.to_string());
    match config.udp {
        Some(_) => {
            let mut udp = vec![0x11, 0x94, 0x11, 0x94];
            udp.extend((payload.len() as u16 + 8).to_be_bytes());
            udp.extend([0, 0]);
            udp.extend(payload);
            Ip::new(&from, &to, packets::UDP, udp)
        }
        None => Ip::new(&from, &to, config.transform.protocol(), payload),
    }
}

/// Makes checksums of IPv4, ICMP and ICMPv6 right, so that a change reaches what is behind them.
fn mend(packet: &mut [u8]) {
    let (header, kind) = match packet.first().map(|b| b >> 4) {
        Some(4) if packet.len() >= 20 => (usize::from(packet[0] & 15).max(5) * 4, packet[9]),
        Some(6) if packet.len() >= 40 => (40, packet[6]),
        _ => return,
    };
    let Some((head, message)) = packet.split_at_mut_checked(header) else {
        return;
    };
    let v4 = head[0] >> 4 == 4;
    if v4 {
        head[10..12].fill(0);
        let sum = checksum(head).to_be_bytes();
        head[10..12].copy_from_slice(&sum);
    }
    if message.len() >= 4 && kind == if v4 { packets::ICMP } else { packets::ICMPV6 } {
        message[2..4].fill(0);
        let sum = match v4 {
            true => checksum(message),
            false => packets::upper_checksum(&head[8..24], &head[24..40], kind, message),
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Frames on the unprotected side of B: raw ones, ones sealed with A's keys, ones changed after that.
pub fn inbound(data: &[u8]) {
    let (a, mut b) = gateways();
    let outbound: Vec<usize> = (0..a.site.sas.len())
        .filter(|i| a.site.sas[*i].direction == portcullis_config::Direction::Outbound)
        .collect();
    let mut sequence = 0;
    for step in steps(data).take(64) {
        let slot = outbound[usize::from(step.argument) % outbound.len()];
        let mut bytes = step.bytes.to_vec();
        sequence += 1;
        match step.operation % 6 {
            0 => b.frames(WIRE, &[bytes]),
            operation @ (1 | 2) => {
                if operation == 2 {
                    mend(&mut bytes);
                }
                b.on_wire(&bytes);
            }
            operation @ (3 | 4) => {
                if operation == 4 {
                    mend(&mut bytes);
                    let next = if bytes.first().is_some_and(|b| b >> 4 == 6) {
                        41
                    } else {
                        4
                    };
                    if let Transform::Esp(cipher, _) = a.site.sas[slot].transform {
                        let pad = (bytes.len() + 2).wrapping_neg() & (cipher.alignment() - 1);
                        bytes.extend((1..=pad as u8).chain([pad as u8, next]));
                    } else {
                        bytes.insert(0, next);
                    }
                }
                let sealed = sealed(&a, slot, sequence, &bytes);
                b.on_wire(&outer(&a, slot, sealed).write());
                b.io.frames.clear();
                b.io.punts.clear();
            }
            _ => {
                let mut wire = outer(&a, slot, sealed(&a, slot, sequence, &bytes)).write();
                for change in bytes.chunks_exact(2).take(4) {
                    let at = usize::from(change[0]) % wire.len();
                    wire[at] ^= change[1];
                }
                mend(&mut wire);
                b.on_wire(&wire);
                b.io.frames.clear();
                b.now += u64::from(step.argument) << 7;
            }
        }
        assert!(
            b.io.frames.is_empty(),
            "what no SA authenticated was forwarded"
        );
        assert!(b.io.handoffs.is_empty());
        b.io.punts.clear();
        b.io.events.clear();
    }
    b.pipeline.release(&mut b.io);
    b.balance();
}

/// Frames on the protected side of A: nothing clear may leave on the other.
pub fn outbound(data: &[u8]) {
    let (mut a, mut b) = gateways();
    for step in steps(data).take(64) {
        let mut bytes = step.bytes.to_vec();
        match step.operation % 5 {
            0 => a.frames(LAN, &[bytes]),
            operation @ (1 | 2) => {
                if operation == 2 {
                    mend(&mut bytes);
                }
                a.on_lan(&bytes);
            }
            3 => {
                mend(&mut bytes);
                let tag = if step.argument & 1 == 0 {
                    TAG
                } else {
                    step.argument.into()
                };
                a.frames(LAN, &[framed(a.site.mac(2), Some(tag), &bytes)]);
            }
            _ => {
                a.now += u64::from(step.argument) << 7;
                let mtu = u32::from(step.argument) * 7;
                let slot = u32::from(step.argument) % a.site.sas.len() as u32;
                a.apply(portcullis_ipsec::command::Command::SetPathMtu(slot, mtu));
                a.finish();
            }
        }
        let wire = a.sent(WIRE);
        for packet in &wire {
            let own = [packets::bytes(V4_ENDS.0), packets::bytes(V6_ENDS.0)];
            let protected = match packets::protocol(packet) {
                packets::ESP | packets::AH | packets::UDP => true,
                kind => kind == FRAGMENT && !packets::is_v4(packet),
            };
            let sealed = protected && own.contains(&packets::source(packet));
            assert!(sealed, "clear text on the wire: {packet:02x?}");
        }
        b.receive(WIRE, &wire);
        let refused = b.drops(portcullis_ipsec::DropReason::IcvMismatch)
            + b.drops(portcullis_ipsec::DropReason::SelectorMismatch);
        assert_eq!(refused, 0, "B takes what A sends");
        for gateway in [&mut a, &mut b] {
            gateway.io.frames.clear();
            gateway.io.punts.clear();
            gateway.io.events.clear();
        }
    }
    a.pipeline.release(&mut a.io);
    a.balance();
}

/// A policy file.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Files with keys are another matter: nothing here reads files that the input names.
    if text.contains("key-file") {
        return;
    }
    let _ = portcullis_config::parse(text, Path::new("fuzz.toml"), Path::new("/nonexistent"));
}
