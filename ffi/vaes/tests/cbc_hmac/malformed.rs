//! A packet that cannot be is left alone, and does not disturb its neighbours.

use vaes::Hash;
use vaes::cbc_hmac::Kernel;

use super::common::Random;
use super::message::{HEADER, Kind, Message, run};
use super::{kernel, oracle};

/// Lengths of packets that have no room for IV and ICV, or whose payload is not of whole blocks (RFC 3602 2.4).
fn malformed(hash: Hash) -> Vec<usize> {
    let least = HEADER + hash.icv_bytes();
    (0..least + 80)
        .filter(|&len| len < least || (len - least) % 16 != 0)
        .collect()
}

/// Seals or opens packets of which those in such places are malformed.
fn check(kernel: Kernel, messages: &mut [Message], seal: bool, bad: impl Fn(usize) -> bool) {
    let expected: Vec<_> = messages
        .iter_mut()
        .enumerate()
        .map(|(i, message)| {
            if bad(i) {
                return message.packet.clone();
            }
            let sealed = oracle::seal(message);
            if seal {
                return sealed;
            }
            let clear = [message.body(), &sealed[message.end()..]].concat();
            message.packet = sealed;
            clear
        })
        .collect();
    run(messages, |packets| match seal {
        true => kernel.seal(packets),
        false => kernel.open(packets),
    });
    for (i, (message, expected)) in messages.iter().zip(&expected).enumerate() {
        assert_eq!(message.ok, !bad(i), "{}", message.describe());
        assert!(message.packet == *expected, "{}", message.describe());
    }
}

#[test]
fn among_others() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(1);
    for seal in [true, false] {
        for kind in Kind::all() {
            for len in malformed(kind.hash) {
                let (burst, place) = (2 + random.below(40), random.below(3));
                let bad = |i| i % 3 == place;
                let kinds = random.kinds();
                let mut messages: Vec<_> = (0..burst)
                    .map(|i| {
                        let kinds = if bad(i) { &[kind][..] } else { &kinds };
                        let length = 16 * random.below(20);
                        let mut message = random.message(kernel, kinds, length);
                        if bad(i) {
                            message.packet = random.bytes(len);
                        }
                        message
                    })
                    .collect();
                check(kernel, &mut messages, seal, bad);
            }
        }
    }
}

#[test]
fn all_of_a_burst() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(2);
    for seal in [true, false] {
        check(kernel, &mut [], seal, |_| true);
        for count in [1, 5, 31, 32, 33, 64, 65] {
            let mut messages: Vec<_> = (0..count)
                .map(|_| {
                    let mut message = random.message(kernel, &Kind::all(), 0);
                    let lengths = malformed(message.hash);
                    let len = lengths[random.below(lengths.len())];
                    message.packet = random.bytes(len);
                    message
                })
                .collect();
            check(kernel, &mut messages, seal, |_| true);
        }
    }
}

/// An authentic packet that lost its last bytes, or got more: also where that leaves whole blocks.
#[test]
fn cut_or_longer() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(3);
    for kind in Kind::all() {
        for (count, length) in [(1, 64), (4, 0), (4, 64), (32, 0), (32, 64), (32, 160)] {
            for change in -40..=40_isize {
                let mut messages: Vec<_> = (0..count)
                    .map(|_| random.message(kernel, &[kind], length))
                    .collect();
                for message in &mut messages {
                    message.packet = oracle::seal(message);
                }
                let wrong = &mut messages[count / 2].packet;
                let len = wrong.len().saturating_add_signed(change);
                wrong.resize(len, 0);
                let before = wrong.clone();
                run(&mut messages, |packets| kernel.open(packets));
                for (i, message) in messages.iter().enumerate() {
                    assert_eq!(message.ok, change == 0 || i != count / 2);
                }
                assert!(change == 0 || messages[count / 2].packet == before);
            }
        }
    }
}
