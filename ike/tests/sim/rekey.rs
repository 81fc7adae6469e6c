//! Renewal of both phases, from either end and from both at once.

use std::time::Duration;

use portcullis_config::{Group, PortRange, RemoteAddress, UpperLayer};
use portcullis_ike::{ChildId, Command, Event};

use crate::harness::{Pair, Weather, gateways};

const SECOND: Duration = Duration::from_secs(1);

fn established(seed: u64) -> Pair {
    let mut connections = gateways();
    for connection in &mut connections {
        connection.children[0].pfs = Some(Group::X25519);
    }
    let mut pair = Pair::new(seed, connections);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    pair
}

fn current(pair: &Pair, end: usize) -> ChildId {
    pair.ends[end].installed.current.unwrap()
}

#[test]
fn phase_2_is_replaced_before_it_goes() {
    for end in 0..2 {
        let mut pair = established(10 + end as u64);
        for _ in 0..5 {
            let old = current(&pair, end);
            pair.command(end, Command::SoftExpired(old));
            pair.run(SECOND);
            assert_ne!(current(&pair, end), old);
            assert_eq!(pair.agreed(), 2, "both stand, so that no packet is lost");
            assert_eq!(pair.traffic(), [true; 2]);
            pair.run(4 * SECOND);
            assert_eq!(
                pair.agreed(),
                1,
                "the old one goes once the new one carries"
            );
        }
        pair.run(60 * SECOND);
        assert_eq!(pair.agreed(), 1);
        assert_eq!(pair.ends.each_ref().map(|e| e.established()), [1, 1]);
        pair.no_leak();
    }
}

#[test]
fn phase_2_replaced_from_both_ends_at_once_ends_with_one() {
    for seed in 0..200 {
        let mut pair = established(seed);
        pair.weather = Weather {
            delay: (1, 1 + seed % 50),
            loss: seed % 10,
            ..Weather::default()
        };
        for end in 0..2 {
            let old = current(&pair, end);
            pair.command(end, Command::SoftExpired(old));
            pair.run(Duration::from_millis(seed % 20));
        }
        for _ in 0..100 {
            // There is always one to send with, and the other end receives with it.
            assert_eq!(pair.traffic(), [true; 2], "seed {seed}");
            pair.run(SECOND);
        }
        let left = pair.ends.each_ref().map(|end| end.installed.outbound.len());
        // Deletes may be lost, in such weather.
        assert!(seed % 10 != 0 || left == [1, 1], "seed {seed}: {left:?}");
        pair.no_leak();
    }
}

#[test]
fn phase_1_is_replaced_before_it_goes() {
    for end in 0..2 {
        let mut pair = established(20 + end as u64);
        let connection = "peer".to_owned();
        pair.command(end, Command::RekeyIke { connection });
        pair.run(SECOND);
        let renewed = |e: &Event| matches!(e, Event::Established(e) if e.replaces.is_some());
        assert!(pair.ends[end].events.iter().any(renewed));
        pair.run(70 * SECOND);
        assert_eq!(
            pair.ends
                .each_ref()
                .map(|e| e.endpoint.snapshot().ikes.len()),
            [1, 1]
        );
        assert_eq!(pair.agreed(), 1, "children live on");
        let old = current(&pair, end);
        pair.command(end, Command::SoftExpired(old));
        pair.run(SECOND);
        assert_eq!(pair.agreed(), 2);
    }
}

#[test]
fn phase_1_replaced_from_both_ends_at_once_ends_with_one() {
    for seed in 0..50 {
        let mut pair = established(seed);
        pair.run(20 * SECOND);
        for end in 0..2 {
            let connection = "peer".to_owned();
            pair.command(end, Command::RekeyIke { connection });
            pair.run(Duration::from_millis(seed % 25));
        }
        pair.run(70 * SECOND);
        let cookies = pair.ends.each_ref().map(|e| {
            let ikes = e.endpoint.snapshot().ikes;
            ikes.iter().map(|ike| ike.cookies).collect::<Vec<_>>()
        });
        assert_eq!(cookies[0], cookies[1], "seed {seed}");
        assert_eq!(cookies[0].len(), 1, "seed {seed}");
        assert_eq!(pair.agreed(), 1);
    }
}

#[test]
fn a_limit_of_quick_modes_makes_a_new_phase_1() {
    let mut connections = gateways();
    for connection in &mut connections {
        connection.quick_modes = Some(1);
    }
    let mut pair = Pair::new(30, connections);
    pair.initiate(0);
    pair.run(70 * SECOND);
    // Requirement 123: one quick mode per main mode; children live on.
    assert_eq!(
        pair.ends
            .each_ref()
            .map(|e| e.endpoint.snapshot().ikes.len()),
        [0, 0]
    );
    assert_eq!(pair.agreed(), 1);
    let old = current(&pair, 1);
    pair.command(1, Command::SoftExpired(old));
    pair.run(SECOND);
    assert_ne!(current(&pair, 1), old);
    pair.run(60 * SECOND);
    assert_eq!(pair.agreed(), 1);
    let established = |e: &&Event| matches!(e, Event::Established(_));
    assert_eq!(pair.ends[0].events.iter().filter(established).count(), 2);
    pair.no_leak();
}

/// Requirement 122: however many children wait, a phase 1 serves no more quick modes than it may.
#[test]
fn what_waits_beyond_the_limit_goes_to_another_phase_1() {
    let mut connections = gateways();
    for connection in &mut connections {
        connection.quick_modes = Some(1);
        for name in ["second", "third"] {
            let mut child = connection.children[0].clone();
            child.name = name.to_owned();
            let number = connection.children.len() as u16 + 1000;
            let port = || {
                vec![PortRange {
                    start: number,
                    end: number,
                }]
            };
            child.selector.upper = UpperLayer::Ports {
                protocol: 17,
                local: port(),
                remote: port(),
            };
            connection.children.insert(0, child);
        }
    }
    let mut pair = Pair::new(31, connections);
    pair.initiate(0);
    pair.run(5 * SECOND);
    assert_eq!(pair.agreed(), 3);
    let established = |e: &&Event| matches!(e, Event::Established(_));
    assert_eq!(pair.ends[0].events.iter().filter(established).count(), 3);
    pair.no_leak();
}

#[test]
fn a_phase_1_that_the_peer_has_lost_is_renewed() {
    let mut pair = established(40);
    let mut other = established(41);
    // The peer loses its memory.
    std::mem::swap(&mut pair.ends[1], &mut other.ends[1]);
    pair.run(SECOND);
    let old = current(&pair, 0);
    pair.command(0, Command::SoftExpired(old));
    pair.run(120 * SECOND);
    // Requirement 74: the second negotiation timed out, so phase 1 is made anew, and the child with it.
    let established = |e: &&Event| matches!(e, Event::Established(_));
    assert_eq!(pair.ends[0].events.iter().filter(established).count(), 2);
    assert_ne!(current(&pair, 0), old);
}

#[test]
fn a_peer_that_may_be_anywhere_is_found_where_it_was() {
    let [a, mut b] = gateways();
    b.remote = RemoteAddress::Any;
    b.quick_modes = Some(1);
    let mut pair = Pair::new(42, [a, b]);
    pair.initiate(0);
    pair.run(70 * SECOND);
    assert_eq!(pair.ends[1].established(), 0);
    let old = current(&pair, 1);
    pair.command(1, Command::SoftExpired(old));
    pair.run(SECOND);
    assert_ne!(current(&pair, 1), old);
    assert_eq!(pair.traffic(), [true; 2]);
}
