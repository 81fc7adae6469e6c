//! One peer with thousands of children: what one of them needs does not depend on how many others there are.

use std::time::{Duration, Instant};

use portcullis_config::{AddressRange, Connection};
use portcullis_ike::{ChildId, Command};

use crate::harness::{Pair, gateways, range};

const SECOND: Duration = Duration::from_secs(1);
/// Ranges a side: each pair of them is a child.
const RANGES: u8 = 71;
const CHILDREN: usize = RANGES as usize * RANGES as usize;

fn ranges(network: &str) -> Vec<AddressRange> {
    // With gaps, so that no two make one.
    let one = |n: u8| format!("{network}.{}", n * 2);
    (0..RANGES).map(|n| range(&one(n), &one(n))).collect()
}

fn connections() -> [Connection; 2] {
    let mut all = gateways();
    for (connection, nets) in all
        .iter_mut()
        .zip([["10.1.0", "10.2.0"], ["10.2.0", "10.1.0"]])
    {
        let selector = &mut connection.children[0].selector;
        selector.local = ranges(nets[0]);
        selector.remote = ranges(nets[1]);
    }
    all
}

fn installed(pair: &Pair) -> [usize; 2] {
    pair.ends.each_ref().map(|end| end.installed.outbound.len())
}

#[test]
fn five_thousand_children_of_one_peer_come_and_are_renewed() {
    let began = Instant::now();
    let mut pair = Pair::new(600, connections());
    pair.initiate(0);
    pair.run(10 * SECOND);
    assert_eq!(installed(&pair), [CHILDREN; 2]);
    assert_eq!(pair.ends[0].failures() + pair.ends[1].failures(), 0);
    // All of them at once, as they came.
    let all: Vec<ChildId> = pair.ends[0].installed.outbound.keys().copied().collect();
    for child in all {
        pair.command(0, Command::SoftExpired(child));
    }
    pair.run(10 * SECOND);
    assert_eq!(installed(&pair), [2 * CHILDREN; 2]);
    // Unused, the old ones go after a while; the new ones stay.
    (0..3).for_each(|_| pair.run(20 * SECOND));
    assert_eq!(installed(&pair), [CHILDREN; 2]);
    assert_eq!(pair.ends[0].failures() + pair.ends[1].failures(), 0);
    assert_eq!(pair.ends.each_ref().map(|end| end.established()), [1, 1]);
    pair.no_leak();
    // Thirty thousand messages. Were each to look at all children, it would be an hour.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}
