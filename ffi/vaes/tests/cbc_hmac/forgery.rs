//! Every flipped bit is found, wherever in a burst its packet stands.

use vaes::EspPacket;
use vaes::cbc_hmac::Kernel;

use super::common::Random;
use super::message::{Kind, Message};
use super::{kernel, oracle};

/// Opens copies of a sealed packet, each with one of these bits flipped, and one as it is, which stands among them.
fn open_flipped(kernel: Kernel, message: &Message, sealed: &[u8], bits: &[usize], right: usize) {
    let mut copies: Vec<_> = bits
        .iter()
        .map(|bit| {
            let mut packet = sealed.to_vec();
            packet[bit / 8] ^= 1 << (bit % 8);
            packet
        })
        .collect();
    copies.insert(right, sealed.to_vec());
    let before = copies.clone();
    let mut packets: Vec<_> = copies
        .iter_mut()
        .enumerate()
        .map(|(i, packet)| EspPacket {
            key: &message.key,
            packet,
            sequence_high: message.sequence_high,
            ok: i != right,
        })
        .collect();
    kernel.open(&mut packets);
    for (i, (packet, before)) in packets.iter().zip(&before).enumerate() {
        if i == right {
            assert!(packet.ok && packet.packet[..message.end()] == *message.body());
        } else {
            let bit = bits[i - usize::from(i > right)];
            assert!(!packet.ok, "bit {bit}, {}", message.describe());
            assert!(*packet.packet == before[..], "{}", message.describe());
        }
    }
}

/// In bursts of one more than these.
fn every_bit(burst: usize) {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(burst as u64);
    for (n, length) in [0, 16, 48, 64, 208, 1424].into_iter().enumerate() {
        for (i, kind) in Kind::all().into_iter().enumerate() {
            let mut message = random.message(kernel, &[kind], length);
            message.sequence_high = ((n + i) % 2 == 0).then(|| random.next() as u32);
            let sealed = oracle::seal(&message);
            let step = if length > 300 { 13 } else { 1 };
            let all = (0..8 * sealed.len()).step_by(step);
            let bits: Vec<_> = all.chain(8 * message.end()..8 * sealed.len()).collect();
            for bits in bits.chunks(burst) {
                let right = random.below(bits.len() + 1);
                open_flipped(kernel, &message, &sealed, bits, right);
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_found_side_by_side() {
    every_bit(31);
}

#[test]
fn every_flipped_bit_is_found_one_by_one() {
    every_bit(1);
}

/// The high half of the sequence number, which is not in the packet.
#[test]
fn every_flipped_bit_of_the_sequence_number_is_found() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(1);
    for kind in Kind::all() {
        // Where it is in the last block that is hashed, and where padding needs one more.
        for length in [0, 16, 32, 48, 1440] {
            let mut message = random.message(kernel, &[kind], length);
            let high = random.next() as u32;
            message.sequence_high = Some(high);
            let sealed = oracle::seal(&message);
            for burst in [1, 35] {
                let mut copies = vec![sealed.clone(); 35];
                for (n, copies) in copies.chunks_mut(burst).enumerate() {
                    let wrong = (0..32).map(|bit| Some(high ^ 1 << bit)).chain([
                        None,
                        Some(0),
                        Some(high.swap_bytes()),
                    ]);
                    let mut packets: Vec<_> = copies
                        .iter_mut()
                        .zip(wrong.skip(n * burst))
                        .map(|(packet, sequence_high)| EspPacket {
                            key: &message.key,
                            packet,
                            sequence_high,
                            ok: true,
                        })
                        .collect();
                    kernel.open(&mut packets);
                    assert!(packets.iter().all(|p| !p.ok && *p.packet == sealed[..]));
                }
            }
        }
    }
}

/// A packet of another SA: each key is part of the answer.
#[test]
fn other_keys() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(2);
    for kind in Kind::all() {
        let message = random.message(kernel, &[kind], 96);
        let sealed = oracle::seal(&message);
        for count in [1, 32] {
            let others: Vec<_> = (0..count)
                .map(|bit| {
                    let mut integrity_key = message.integrity_key.clone();
                    integrity_key[bit % kind.hash.bytes()] ^= 1 << (bit % 8);
                    kernel.key(kind.hash, &message.cipher_key, &integrity_key)
                })
                .collect();
            let mut copies = vec![sealed.clone(); count];
            let mut packets: Vec<_> = others
                .iter()
                .zip(&mut copies)
                .map(|(key, packet)| EspPacket {
                    key: key.as_ref().unwrap(),
                    packet,
                    sequence_high: message.sequence_high,
                    ok: true,
                })
                .collect();
            kernel.open(&mut packets);
            assert!(packets.iter().all(|p| !p.ok && *p.packet == sealed[..]));
        }
    }
}
