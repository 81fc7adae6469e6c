//! Every length, in bursts of everything mixed and of one kind, against other implementations.

use vaes::cbc_hmac::Kernel;

use super::common::Random;
use super::message::{Kind, Message, run};
use super::{kernel, oracle};

/// Seals and opens a burst, and opens it when some of its packets are not authentic.
fn check(kernel: Kernel, random: &mut Random, messages: &mut [Message]) {
    let clear: Vec<_> = messages.iter().map(|m| m.packet.clone()).collect();
    let sealed: Vec<_> = messages.iter().map(oracle::seal).collect();
    run(messages, |packets| kernel.seal(packets));
    for (message, sealed) in messages.iter().zip(&sealed) {
        assert!(message.ok);
        assert!(message.packet == *sealed, "{}", message.describe());
    }
    run(messages, |packets| kernel.open(packets));
    for ((message, clear), sealed) in messages.iter().zip(&clear).zip(&sealed) {
        assert_opened(message, clear, sealed);
    }
    let spoiled: Vec<_> = sealed
        .iter()
        .map(|sealed| {
            let mut packet = sealed.clone();
            if random.below(2) == 0 {
                random.spoil(&mut packet);
            }
            packet
        })
        .collect();
    for (message, packet) in messages.iter_mut().zip(&spoiled) {
        message.packet.clone_from(packet);
    }
    run(messages, |packets| kernel.open(packets));
    for (((message, clear), sealed), spoiled) in
        messages.iter().zip(&clear).zip(&sealed).zip(&spoiled)
    {
        if sealed == spoiled {
            assert_opened(message, clear, sealed);
        } else {
            assert_left_alone(message, spoiled);
        }
    }
    wrong_sequence_high(kernel, random, messages, &sealed);
}

fn assert_opened(message: &Message, clear: &[u8], sealed: &[u8]) {
    let end = message.end();
    assert!(message.ok, "{}", message.describe());
    assert!(*message.body() == clear[..end], "{}", message.describe());
    assert_eq!(message.packet[end..], sealed[end..]);
}

fn assert_left_alone(message: &Message, before: &[u8]) {
    assert!(!message.ok, "{}", message.describe());
    assert!(message.packet == before, "{}", message.describe());
}

/// The high half of the sequence number is not in the packet, but its ICV covers it.
fn wrong_sequence_high(
    kernel: Kernel,
    random: &mut Random,
    messages: &mut [Message],
    sealed: &[Vec<u8>],
) {
    for (message, sealed) in messages.iter_mut().zip(sealed) {
        message.packet.clone_from(sealed);
        message.sequence_high = match message.sequence_high {
            Some(_) if random.below(4) == 0 => None,
            Some(high) => Some(high ^ 1 << random.below(32)),
            None => Some([0, 1, 1 << 31][random.below(3)]),
        };
    }
    run(messages, |packets| kernel.open(packets));
    for (message, sealed) in messages.iter().zip(sealed) {
        assert_left_alone(message, sealed);
    }
}

fn check_lengths(seed: u64, mut lengths: Vec<usize>) {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(seed);
    while !lengths.is_empty() {
        let (burst, kinds) = (1 + random.below(70), random.kinds());
        let mut messages: Vec<_> = (0..burst.min(lengths.len()))
            .map(|_| {
                let length = lengths.swap_remove(random.below(lengths.len()));
                random.message(kernel, &kinds, length)
            })
            .collect();
        check(kernel, &mut random, &mut messages);
    }
}

/// Each length a few times, so that short packets stand beside long ones of the same kind.
#[test]
fn every_length_up_to_2048() {
    for seed in 0..64 {
        let each = (0..=2048).step_by(16);
        check_lengths(seed, each.clone().chain(each.clone()).chain(each).collect());
    }
}

#[test]
fn lengths_of_jumbo_frames() {
    check_lengths(64, (2064..16_000).step_by(112).collect());
    check_lengths(65, (8880..9040).step_by(16).collect());
    // The last but two of a packet that IPv4 can carry, beside short ones.
    check_lengths(66, vec![32_768, 65_456, 65_472, 65_504, 65_520, 65_536]);
    check_lengths(67, vec![65_520, 0, 16, 48, 65_488, 1440, 32, 80]);
}

/// All sizes of bursts of packets of one kind and length: as few as go one after the other, as many as go side by side,
/// and one more than go at once. The lengths leave each number of blocks behind the last whole one of 64 bytes.
#[test]
fn bursts_of_one_kind() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(68);
    for length in [0, 16, 32, 48, 64, 80, 96, 112, 1424, 1440] {
        for kind in Kind::all() {
            for count in 1..=33 {
                let mut messages: Vec<_> = (0..count)
                    .map(|_| random.message(kernel, &[kind], length))
                    .collect();
                check(kernel, &mut random, &mut messages);
            }
        }
    }
}

/// One packet of a burst is longer or shorter than all others, in each place.
#[test]
fn one_of_another_length() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(69);
    for (length, other) in [(64, 1024), (1024, 64), (0, 256), (256, 0), (48, 32)] {
        for place in 0..33 {
            let kind = Kind::all()[place % 6];
            let mut messages: Vec<_> = (0..33)
                .map(|i| random.message(kernel, &[kind], if i == place { other } else { length }))
                .collect();
            check(kernel, &mut random, &mut messages);
        }
    }
}

/// A packet is sealed the same in any company.
#[test]
fn packets_of_one_key() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(70);
    for kind in Kind::all() {
        let message = random.message(kernel, &[kind], 208);
        let sealed = oracle::seal(&message);
        for burst in 1..=70 {
            let mut packets = vec![message.packet.clone(); burst];
            let mut burst: Vec<_> = packets
                .iter_mut()
                .map(|packet| vaes::EspPacket {
                    key: &message.key,
                    packet,
                    sequence_high: message.sequence_high,
                    ok: false,
                })
                .collect();
            kernel.seal(&mut burst);
            assert!(burst.iter().all(|p| p.ok && *p.packet == sealed[..]));
            kernel.open(&mut burst);
            let end = message.end();
            assert!(
                burst
                    .iter()
                    .all(|p| p.ok && p.packet[..end] == *message.body())
            );
        }
    }
}
