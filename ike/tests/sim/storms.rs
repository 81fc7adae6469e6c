//! SAs that are renewed, started and ended by both ends while the network loses, doubles and delays, by seed.

use std::time::Duration;

use portcullis_config::{Connection, Group, NatTraversal, Phase1Exchange};
use portcullis_ike::Command;

use crate::harness::{Pair, Seeded, Weather, gateways};

/// Seeds in each of the parts that run beside each other.
const SEEDS: u64 = 2500;
/// Longer than all retransmissions, and than a half-open IKE SA may live.
const CALM: Duration = Duration::from_secs(150);

const FAIR: Weather = Weather {
    loss: 0,
    duplication: 0,
    delay: (5, 5),
};

fn connections(dice: &mut Seeded) -> [Connection; 2] {
    let mut connections = gateways();
    let aggressive = dice.percent(30);
    let pfs = dice.percent(30);
    let force = dice.percent(20);
    let quick_modes = dice.percent(10).then_some(1);
    for connection in &mut connections {
        if aggressive {
            connection.exchange = Phase1Exchange::Aggressive;
        }
        if pfs {
            connection.children[0].pfs = Some(Group::X25519);
        }
        if force {
            connection.nat_traversal = NatTraversal::Force;
        }
        connection.quick_modes = quick_modes;
    }
    connections
}

/// What operators and workers do meanwhile.
fn disturb(pair: &mut Pair, dice: &mut Seeded) {
    let end = dice.below(2) as usize;
    let connection = || "peer".to_owned();
    let child = pair.ends[end].installed.current;
    let command = match dice.below(8) {
        0..4 => None,
        4 => Some(Command::RekeyIke {
            connection: connection(),
        }),
        5 => child.map(Command::SoftExpired),
        6 => Some(Command::Initiate {
            connection: connection(),
            child: None,
        }),
        _ => dice.percent(20).then(|| Command::Terminate {
            connection: connection(),
        }),
    };
    if let Some(command) = command {
        pair.command(end, command);
    }
}

fn stormy(dice: &mut Seeded) -> Weather {
    Weather {
        loss: dice.below(45),
        duplication: dice.below(30),
        delay: (1, 1 + dice.below(3000)),
    }
}

/// Both begin at the same time, and nothing arrives in the order in which it was sent. Both have SAs in the end, and
/// none sends with SAs that the other has given up.
fn begins_at_both_ends(seed: u64) {
    let mut dice = Seeded(seed ^ 0xface_feed);
    let mut connections = connections(&mut dice);
    for connection in &mut connections {
        // Else phase 1 ends beside its child, and the message of that may overtake the other.
        connection.quick_modes = None;
    }
    let mut pair = Pair::new(seed, connections);
    pair.weather = Weather {
        loss: 0,
        ..stormy(&mut dice)
    };
    pair.initiate(0);
    pair.run(Duration::from_millis(dice.below(2000)));
    pair.initiate(1);
    pair.run(CALM);
    settled(&pair);
    works(&pair);
    recovers(&mut pair);
}

/// SAs are renewed, started and ended by both.
fn lives(seed: u64) {
    let mut dice = Seeded(seed ^ 0xdead_beef);
    let mut pair = Pair::new(seed, connections(&mut dice));
    pair.initiate(0);
    pair.run(Duration::from_secs(1));
    pair.weather = stormy(&mut dice);
    for _ in 0..dice.below(8) {
        disturb(&mut pair, &mut dice);
        pair.run(Duration::from_millis(dice.below(8000)));
    }
    pair.run(CALM);
    // Renewals that came to nothing are tried again, now with success.
    pair.weather = FAIR;
    pair.run(CALM);
    settled(&pair);
    recovers(&mut pair);
}

/// Nothing is half done, and no SPI is lost.
fn settled(pair: &Pair) {
    for end in &pair.ends {
        for ike in end.endpoint.snapshot().ikes {
            let rests = ["established", "retired"].contains(&ike.state);
            assert!(rests, "something is stuck: {}", ike.state);
        }
    }
    pair.no_leak();
}

/// What each end sends with now, the other receives with.
fn works(pair: &Pair) {
    for (from, to) in [(0, 1), (1, 0)] {
        let sender = &pair.ends[from].installed;
        let current = sender.current.expect("one end sends in clear");
        for sa in &sender.outbound[&current] {
            let mut peers = pair.ends[to].installed.inbound.values().flatten();
            let peer = peers.find(|peer| peer.spi == sa.spi);
            let peer = peer.unwrap_or_else(|| panic!("nobody receives {:#x}", sa.spi));
            assert_eq!(
                (&peer.cipher_key, &peer.integrity_key),
                (&sa.cipher_key, &sa.integrity_key)
            );
        }
    }
}

/// Whatever was before, a new start in calm weather stands, if only the second one, after a phase 1 that the peer has
/// lost is given up (requirement 74).
fn recovers(pair: &mut Pair) {
    pair.weather = FAIR;
    for _ in 0..2 {
        pair.initiate(0);
        pair.run(CALM);
    }
    settled(pair);
    works(pair);
}

fn part(number: u64, run: fn(u64)) {
    let mut failed = Vec::new();
    for seed in number * SEEDS..(number + 1) * SEEDS {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            failed.push(seed);
        }
    }
    assert_eq!(failed, [], "seeds");
}

#[test]
fn sas_live_through_storms() {
    part(0, lives);
}

#[test]
fn sas_live_through_storms_continued() {
    part(1, lives);
}

#[test]
fn both_may_begin_at_once() {
    part(2, begins_at_both_ends);
}
