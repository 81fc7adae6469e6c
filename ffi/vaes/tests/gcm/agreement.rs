//! Every length, in bursts of everything mixed, against the `aes-gcm` crate.

use aes_gcm::AesGcm;
use aes_gcm::aead::{Aead, KeyInit, Payload, consts::U12};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use vaes::gcm::Form;

use super::common::Random;
use super::kernel;
use super::message::{HEADER, Message, run};

super::with_both_forms! {
    every_length_up_to_2048 lengths_of_jumbo_frames small_bursts every_flipped_bit_is_found short_packets
}

/// Ciphertext and whole tag.
fn reference<F: Form>(message: &Message<F>) -> Vec<u8> {
    fn seal<C>(key: &[u8], nonce: [u8; 12], payload: Payload<'_, '_>) -> Vec<u8>
    where
        AesGcm<C, U12>: KeyInit + Aead,
    {
        let cipher = AesGcm::<C, U12>::new_from_slice(key).unwrap();
        cipher.encrypt(nonce[..].into(), payload).unwrap()
    }
    let payload = Payload {
        msg: message.payload(),
        aad: &message.aad(),
    };
    let (key, nonce) = (&message.key_bytes[..], message.nonce());
    match key.len() {
        16 => seal::<Aes128>(key, nonce, payload),
        24 => seal::<Aes192>(key, nonce, payload),
        _ => seal::<Aes256>(key, nonce, payload),
    }
}

/// Seals and opens a burst, and opens it with a bit of the ICV flipped in some of its packets, and in all.
fn check<F: Form>(kernel: vaes::gcm::Kernel, random: &mut Random, messages: &mut [Message<F>]) {
    let clear: Vec<_> = messages.iter().map(|m| m.packet.clone()).collect();
    let expected: Vec<_> = messages.iter().map(reference).collect();
    run(messages, |packets| kernel.seal(packets));
    for ((message, clear), expected) in messages.iter().zip(&clear).zip(&expected) {
        let len = message.payload().len();
        assert!(message.ok);
        assert_eq!(message.packet[..HEADER], clear[..HEADER]);
        assert!(
            message.packet[HEADER..] == expected[..len + message.icv],
            "{len} bytes, {:?}, ICV {}, high {:?}",
            message.key,
            message.icv,
            message.sequence_high
        );
    }
    let sealed: Vec<_> = messages.iter().map(|m| m.packet.clone()).collect();
    run(messages, |packets| kernel.open(packets));
    for ((message, clear), sealed) in messages.iter().zip(&clear).zip(&sealed) {
        let end = clear.len() - message.icv;
        assert!(message.ok);
        assert!(message.packet[..end] == clear[..end]);
        assert_eq!(message.packet[end..], sealed[end..]);
    }
    for one_in in [2, 1] {
        let mut flipped = Vec::new();
        for (message, sealed) in messages.iter_mut().zip(&sealed) {
            message.packet.clone_from(sealed);
            flipped.push(random.below(one_in) == 0);
            if flipped.last() == Some(&true) {
                let bit = random.below(8 * message.icv);
                let start = sealed.len() - message.icv;
                message.packet[start + bit / 8] ^= 1 << (bit % 8);
            }
        }
        run(messages, |packets| kernel.open(packets));
        for ((message, clear), flipped) in messages.iter().zip(&clear).zip(flipped) {
            assert_eq!(message.ok, !flipped);
            let end = clear.len() - message.icv;
            assert!(flipped || message.packet[..end] == clear[..end]);
        }
    }
}

fn check_lengths<F: Form>(seed: u64, mut lengths: Vec<usize>) {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(seed);
    while !lengths.is_empty() {
        let burst = 1 + random.below(64);
        let mut messages: Vec<_> = (0..burst.min(lengths.len()))
            .map(|_| {
                let length = lengths.swap_remove(random.below(lengths.len()));
                random.message::<F>(kernel, length)
            })
            .collect();
        check(kernel, &mut random, &mut messages);
    }
}

fn every_length_up_to_2048<F: Form>() {
    for seed in 0..4 {
        check_lengths::<F>(seed, (0..=2048).collect());
    }
}

fn lengths_of_jumbo_frames<F: Form>() {
    let edges = (4..9).flat_map(|n| (n * 512 - 34)..(n * 512 + 34));
    check_lengths::<F>(5, edges.chain((2049..16_000).step_by(37)).collect());
    check_lengths::<F>(
        6,
        vec![32_768, 65_000, 65_535 - 32, 4096 - 16, 4080, 4081, 8192],
    );
}

/// The sizes that fill or just do not fill blocks and vectors, alone in a burst and in pairs.
fn small_bursts<F: Form>() {
    for length in [
        0, 1, 47, 48, 49, 111, 112, 113, 239, 240, 241, 495, 496, 497, 751, 752, 753, 1007, 1008,
        1009, 1519, 1520, 1521,
    ] {
        let Some(kernel) = kernel() else {
            return;
        };
        let mut random = Random(length as u64);
        for count in 1..=9 {
            let mut messages: Vec<_> = (0..count)
                .map(|_| random.message::<F>(kernel, length))
                .collect();
            check(kernel, &mut random, &mut messages);
        }
    }
}

fn every_flipped_bit_is_found<F: Form>() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(7);
    for length in [0, 68, 300, 1424, 2000] {
        let mut message = random.message::<F>(kernel, length);
        run(std::slice::from_mut(&mut message), |packets| {
            kernel.seal(packets)
        });
        let sealed = message.packet.clone();
        let step = if length > 300 { 13 } else { 1 };
        let icv = 8 * (sealed.len() - message.icv)..8 * sealed.len();
        for bit in (0..8 * sealed.len()).step_by(step).chain(icv) {
            message.packet.clone_from(&sealed);
            message.packet[bit / 8] ^= 1 << (bit % 8);
            run(std::slice::from_mut(&mut message), |packets| {
                kernel.open(packets)
            });
            assert!(!message.ok, "bit {bit} of {length} bytes");
        }
        // And the high half of the sequence number, which is not in the packet.
        message.packet.clone_from(&sealed);
        message.sequence_high = Some(message.sequence_high.map_or(0, |high| high ^ 1));
        run(std::slice::from_mut(&mut message), |packets| {
            kernel.open(packets)
        });
        assert!(!message.ok);
    }
}

/// A packet that is too short is left alone, and does not disturb its neighbours.
fn short_packets<F: Form>() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(8);
    for seal in [true, false] {
        let mut messages: Vec<_> = (0..60)
            .map(|i| {
                let mut message = random.message::<F>(kernel, 68);
                if i % 3 == 0 {
                    message.packet.truncate(random.below(HEADER + message.icv));
                }
                message
            })
            .collect();
        let before: Vec<_> = messages.iter().map(|m| m.packet.clone()).collect();
        run(&mut messages, |packets| {
            if seal {
                kernel.seal(packets);
            } else {
                kernel.open(packets);
            }
        });
        for (i, (message, before)) in messages.iter().zip(&before).enumerate() {
            assert_eq!(message.ok, seal && i % 3 != 0);
            assert_eq!(message.packet == *before, i % 3 == 0);
        }
    }
}
