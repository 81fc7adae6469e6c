//! A peer that lies, and an attacker on the path: what is not authentic changes nothing, and nothing makes it panic.

use std::time::Duration;

use portcullis_config::{Group, Phase1Exchange};

use crate::harness::{Pair, Seeded, gateways};

const SECOND: Duration = Duration::from_secs(1);

fn pair(seed: u64) -> Pair {
    let mut connections = gateways();
    for connection in &mut connections {
        if seed % 2 == 1 {
            connection.exchange = Phase1Exchange::Aggressive;
        }
        if seed % 3 == 0 {
            connection.children[0].pfs = Some(Group::X25519);
        }
    }
    Pair::new(seed, connections)
}

fn mutate(random: &mut Seeded, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => bytes.extend((0..random.below(40)).map(|n| n as u8)),
        4 => {
            // A length or a count in the payloads, not in the header.
            let at = (28 + random.below(bytes.len().saturating_sub(28).max(1) as u64) as usize)
                .min(bytes.len() - 1);
            bytes[at] = [0, 1, 0x7f, 0xff][random.below(4) as usize];
        }
        _ => {
            let end = bytes.len();
            let part = bytes[at..end].to_vec();
            bytes.extend(part);
        }
    }
    // What the header says of the length is right, or the message is not even looked at.
    if random.percent(80) && bytes.len() >= 28 {
        let length = (bytes.len() as u32).to_be_bytes();
        bytes[24..28].copy_from_slice(&length);
    }
    bytes
}

#[test]
fn changed_messages_do_no_harm() {
    for seed in 0..3000 {
        let mut pair = pair(seed);
        let mut random = Seeded(seed);
        let victim = random.below(9);
        let mut sent = 0;
        let mut tampering = random.clone();
        pair.tamper = Some(Box::new(move |_, bytes| {
            sent += 1;
            match sent == victim + 1 {
                // Before the true one: whoever believes the false one fails.
                true => vec![mutate(&mut tampering, bytes), bytes.to_vec()],
                false => vec![bytes.to_vec()],
            }
        }));
        pair.initiate(0);
        pair.run(200 * SECOND);
        for end in &pair.ends {
            for ike in end.endpoint.snapshot().ikes {
                assert_eq!(ike.state, "established", "seed {seed}");
            }
        }
        pair.no_leak();
    }
}

#[test]
fn forged_messages_leave_an_established_pair_as_it_is() {
    let mut pair = pair(2);
    pair.initiate(0);
    pair.run(SECOND);
    pair.agreed();
    let before = pair.ends.each_ref().map(|end| {
        let snapshot = end.endpoint.snapshot();
        (
            snapshot.ikes,
            snapshot.children,
            end.endpoint.poll_timeout(),
        )
    });
    let log = pair.log.clone();
    let mut random = Seeded(7);
    for round in 0..5000 {
        let (from, bytes) = &log[random.below(log.len() as u64) as usize];
        let mut forged = match round % 2 {
            0 => mutate(&mut random, bytes),
            _ => bytes.clone(),
        };
        // Other exchanges and message ids, so that everything is tried under the same cookies.
        if random.percent(50) && forged.len() >= 28 {
            forged[18] = [2, 4, 5, 6, 32][random.below(5) as usize];
            forged[20 + random.below(4) as usize] = random.next() as u8;
        }
        if forged.get(8..16) == Some(&[0; 8]) {
            continue;
        }
        pair.inject(1 - from, &forged);
    }
    let after = pair.ends.each_ref().map(|end| {
        let snapshot = end.endpoint.snapshot();
        (
            snapshot.ikes,
            snapshot.children,
            end.endpoint.poll_timeout(),
        )
    });
    assert_eq!(before, after);
}

#[test]
fn messages_out_of_order_and_replayed_change_nothing() {
    let mut honest = pair(4);
    honest.initiate(0);
    honest.run(SECOND);
    let log = honest.log.clone();
    // The whole exchange once more to an endpoint that has just had it: nothing new comes of it.
    let count = |pair: &Pair| pair.ends.each_ref().map(|e| e.events.len());
    let before = count(&honest);
    for (from, bytes) in log.iter().chain(log.iter().rev()) {
        if bytes[8..16] == [0; 8] {
            continue;
        }
        honest.inject(1 - from, bytes);
    }
    honest.run(100 * SECOND);
    assert_eq!(count(&honest), before);
    assert_eq!(honest.agreed(), 1);
}
