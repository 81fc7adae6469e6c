//! A network that loses, doubles, delays and reorders: every seed ends established on both ends, or failed with a
//! reason, and nothing is left over.

use std::time::Duration;

use portcullis_config::{Connection, Group, Phase1Exchange};
use portcullis_ike::{Command, Event};

use crate::harness::{Pair, Seeded, Weather, gateways};

const SECOND: Duration = Duration::from_secs(1);

fn connections(kind: u64) -> [Connection; 2] {
    let mut connections = gateways();
    for connection in &mut connections {
        if kind & 1 != 0 {
            connection.exchange = Phase1Exchange::Aggressive;
        }
        if kind & 2 != 0 {
            connection.children[0].pfs = Some(Group::X25519);
        }
        if kind & 4 != 0 {
            connection.fragment_size = Some(200);
        }
    }
    connections
}

/// One seed: whether it came to stand.
fn run(seed: u64) -> bool {
    let mut random = Seeded(seed.wrapping_mul(77));
    let mut pair = Pair::new(seed, connections(random.below(8)));
    pair.weather = Weather {
        loss: random.below(40),
        duplication: random.below(40),
        delay: (1, 1 + random.below(3000)),
    };
    pair.initiate(0);
    if random.percent(20) {
        pair.initiate(1);
    }
    pair.run(200 * SECOND);
    // Fair weather, so that what is under way comes to its end.
    pair.weather = Weather {
        delay: (1, 1),
        ..Weather::default()
    };
    for _ in 0..400 {
        pair.run(SECOND);
        pair.traffic();
    }
    let [a, b] = pair.ends.each_ref();
    let stands = |end: &crate::harness::End| end.installed.current.is_some();
    for end in [a, b] {
        for ike in end.endpoint.snapshot().ikes {
            assert_eq!(ike.state, "established", "seed {seed}: stuck");
        }
        for child in end.endpoint.snapshot().children {
            assert_eq!(child.state, "installed", "seed {seed}: stuck");
        }
    }
    let stood = stands(a) && stands(b);
    if !stood {
        // Who began it was told why. A responder whose peer fell silent has nothing to tell.
        let told = |e: &Event| matches!(e, Event::Failed(_) | Event::RemoveSa { .. });
        assert!(
            a.events.iter().any(told),
            "seed {seed}: no reason: {:#?} {:#?}",
            a.events,
            b.events
        );
    }
    pair.no_leak();
    if stood {
        assert_eq!(pair.traffic(), [true; 2], "seed {seed}");
    }
    // All goes when it is told to go, whatever happened before.
    for end in 0..2 {
        let connection = "peer".to_owned();
        pair.command(end, Command::Terminate { connection });
    }
    pair.run(SECOND);
    for end in &pair.ends {
        let left = end.endpoint.snapshot();
        assert!(
            left.ikes.is_empty() && left.children.is_empty(),
            "seed {seed}"
        );
    }
    pair.no_leak();
    stood
}

#[test]
fn every_seed_comes_to_an_end() {
    let seeds = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok());
    let seeds = seeds.unwrap_or(10_000);
    let stood = (0..seeds).filter(|seed| run(*seed)).count() as u64;
    // Even through such weather most negotiations succeed.
    assert!(stood * 10 > seeds * 6, "only {stood} of {seeds}");
}
