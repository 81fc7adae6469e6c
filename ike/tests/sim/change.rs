//! A policy that changes under a connection, and IKE that begins anew: what is not touched stays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_config::{Connection, Dpd, DpdAction, Start};
use portcullis_ike::{ChildId, Command, Event, Peer};

use crate::harness::{Pair, gateways, range};

const SECOND: Duration = Duration::from_secs(1);

/// Gateways with a second child, for other networks.
fn two_children() -> [Connection; 2] {
    let mut connections = gateways();
    let lans = [["10.3.0", "10.4.0"], ["10.4.0", "10.3.0"]];
    for (connection, lans) in connections.iter_mut().zip(lans) {
        let mut other = connection.children[0].clone();
        let lan = |lan: &str| vec![range(&format!("{lan}.0"), &format!("{lan}.255"))];
        other.name = "other".to_owned();
        (other.selector.local, other.selector.remote) = (lan(lans[0]), lan(lans[1]));
        connection.children.push(other);
    }
    connections
}

fn established() -> Pair {
    let mut pair = Pair::new(70, two_children());
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 2);
    pair
}

/// Children with this name at an end.
fn children(pair: &Pair, end: usize, name: &str) -> Vec<ChildId> {
    let snapshot = pair.ends[end].endpoint.snapshot();
    let named = snapshot.children.iter().filter(|child| child.name == name);
    named.map(|child| child.id).collect()
}

fn ikes(pair: &Pair) -> Vec<u64> {
    let snapshot = pair.ends[0].endpoint.snapshot();
    snapshot.ikes.iter().map(|ike| ike.id.number()).collect()
}

#[test]
fn one_child_changes_and_the_other_stays() {
    let mut pair = established();
    let (before, kept) = (ikes(&pair), children(&pair, 0, "lan"));
    let mut changed = two_children();
    for (end, connection) in changed.iter_mut().enumerate() {
        connection.children[1].hard.seconds = Some(1800);
        pair.command(end, Command::Configure(vec![Arc::new(connection.clone())]));
    }
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    assert_eq!(ikes(&pair), before, "phase 1 stays");
    assert_eq!(children(&pair, 0, "lan"), kept);
    assert!(children(&pair, 0, "other").is_empty());
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(children(&pair, 0, "other").len(), 1, "on new terms");
    assert_eq!(ikes(&pair), before);
}

#[test]
fn a_child_that_comes_is_started_and_one_that_goes_is_deleted() {
    let [mut a, b] = two_children();
    a.start = Start::Load;
    let mut one = a.clone();
    one.children.truncate(1);
    let mut pair = Pair::new(71, [one.clone(), b]);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    let before = ikes(&pair);
    pair.command(0, Command::Configure(vec![Arc::new(a)]));
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 2);
    pair.command(0, Command::Configure(vec![Arc::new(one)]));
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1, "at both ends");
    assert_eq!(ikes(&pair), before);
    pair.no_leak();
}

#[test]
fn a_child_that_goes_while_it_is_negotiated_does_not_come() {
    let [a, b] = two_children();
    let mut one = a.clone();
    one.children.truncate(1);
    // At every moment of the exchange.
    for delay in 0..40 {
        let mut pair = Pair::new(72 + delay, [a.clone(), b.clone()]);
        pair.initiate(0);
        pair.run(Duration::from_millis(delay));
        pair.command(0, Command::Configure(vec![Arc::new(one.clone())]));
        pair.run(120 * SECOND);
        assert!(children(&pair, 0, "other").is_empty(), "after {delay} ms");
        pair.no_leak();
    }
}

#[test]
fn another_peer_key_closes_the_connection() {
    let mut pair = established();
    let [mut a, _] = two_children();
    a.ike_lifetime = 1000;
    pair.command(0, Command::Configure(vec![Arc::new(a)]));
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 0);
}

#[test]
fn children_go_on_when_ike_begins_anew() {
    for end in 0..2 {
        let mut pair = established();
        let old = ikes(&pair);
        let kept = [0, 1].map(|end| (children(&pair, end, "lan"), children(&pair, end, "other")));
        pair.command(end, Command::Restart);
        pair.run(5 * SECOND);
        let now = [0, 1].map(|end| (children(&pair, end, "lan"), children(&pair, end, "other")));
        assert_eq!(now, kept, "neither end has removed any");
        assert_eq!(pair.traffic(), [true; 2]);
        assert_eq!(pair.ends[end].established(), 1, "phase 1 is there again");
        assert_ne!(ikes(&pair), old);
        // Renewed like any other, from either end.
        for side in 0..2 {
            let child = children(&pair, side, "lan")[0];
            pair.command(side, Command::SoftExpired(child));
            pair.run(3 * SECOND);
            pair.traffic();
            pair.run(60 * SECOND);
            assert!(!children(&pair, side, "lan").contains(&child));
            assert_eq!(pair.agreed(), 2);
        }
        pair.no_leak();
    }
}

#[test]
fn nothing_is_lost_when_ike_begins_anew_in_the_middle() {
    for delay in 0..60 {
        let mut pair = Pair::new(200 + delay, two_children());
        pair.initiate(0);
        pair.run(Duration::from_millis(delay));
        pair.command(0, Command::Restart);
        pair.run(200 * SECOND);
        pair.initiate(0);
        pair.run(10 * SECOND);
        pair.traffic();
        pair.run(60 * SECOND);
        let removed = |event: &&Event| matches!(event, Event::RemoveSa { .. });
        let ends = pair
            .ends
            .each_ref()
            .map(|end| end.events.iter().filter(removed).count());
        assert!(
            !children(&pair, 0, "lan").is_empty(),
            "after {delay} ms: {ends:?}"
        );
        pair.no_leak();
    }
}

/// Nothing is sent from an address that is not ours any more, and the peer is told.
#[test]
fn an_address_that_goes_takes_its_sas_along() {
    let mut pair = established();
    let addresses = pair.ends[0].endpoint.local_addresses();
    assert_eq!(addresses.len(), 1);
    // That of somebody else takes nothing along.
    let other = "203.0.113.77".parse().unwrap();
    pair.command(0, Command::LeaveAddress(other));
    pair.run(SECOND);
    assert_eq!((pair.agreed(), ikes(&pair).len()), (2, 1));
    for address in addresses {
        pair.command(0, Command::LeaveAddress(address));
    }
    pair.run(SECOND);
    for end in &pair.ends {
        assert!(end.installed.inbound.is_empty());
        assert!(end.endpoint.snapshot().ikes.is_empty());
        assert!(end.endpoint.local_addresses().is_empty());
    }
}

#[test]
fn what_should_stand_does_when_ike_begins_anew_in_the_middle() {
    for delay in 0..60 {
        let [mut a, b] = two_children();
        a.start = Start::Load;
        let mut pair = Pair::new(300 + delay, [a, b]);
        pair.run(Duration::from_millis(delay));
        pair.command(0, Command::Restart);
        pair.run(200 * SECOND);
        for name in ["lan", "other"] {
            assert!(!children(&pair, 0, name).is_empty(), "{name}, {delay} ms");
        }
    }
}

#[test]
fn what_should_stand_is_tried_again_when_there_is_no_spi() {
    let [mut a, b] = two_children();
    a.start = Start::Load;
    let mut pair = Pair::new(370, [a, b]);
    pair.ends[0].exhausted.store(true, Ordering::Relaxed);
    pair.run(SECOND);
    assert_eq!((pair.ends[0].established(), pair.agreed()), (1, 0));
    pair.ends[0].exhausted.store(false, Ordering::Relaxed);
    pair.run(300 * SECOND);
    assert_eq!(pair.agreed(), 2);
    pair.no_leak();
}

#[test]
fn nobody_starts_what_only_a_dead_peer_restarts() {
    let [a, mut b] = two_children();
    b.dpd = Some(Dpd {
        delay: 30,
        on_traffic_only: true,
        action: DpdAction::Restart,
    });
    let mut pair = Pair::new(371, [a, b]);
    let lan = Command::Initiate {
        connection: "peer".to_owned(),
        child: Some("lan".to_owned()),
    };
    // Refused once.
    pair.ends[0].exhausted.store(true, Ordering::Relaxed);
    pair.command(1, lan);
    pair.run(SECOND);
    assert!(pair.ends[1].failures() > 0);
    pair.ends[0].exhausted.store(false, Ordering::Relaxed);
    pair.run(300 * SECOND);
    assert!(
        children(&pair, 1, "other").is_empty(),
        "nobody asked for it"
    );
}

/// The second end has gone away for a minute, and what stood at the first, which begins again by itself, went with it.
fn lost(seed: u64, [mut a, b]: [Connection; 2]) -> Pair {
    let children = a.children.len();
    a.dpd = Some(Dpd {
        delay: 10,
        on_traffic_only: false,
        action: DpdAction::Restart,
    });
    let mut pair = Pair::new(seed, [a, b]);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), children);
    let fair = pair.weather;
    pair.weather.loss = 100;
    pair.run(60 * SECOND);
    assert_eq!(pair.ends[0].installed.outbound.len(), 0);
    pair.weather = fair;
    pair
}

/// What a dead peer took down comes again with each of its children: two of one, which the peer has split, are not one
/// of each.
#[test]
fn a_child_that_stands_twice_is_not_another_that_does_not() {
    let [a, b] = two_children();
    let mut pair = lost(372, [a, b.clone()]);
    // The peer comes back with a part of the first child beside it, and without the other.
    let mut split = b.clone();
    split.children[1] = split.children[0].clone();
    split.children[1].name = "part".to_owned();
    split.children[1].selector.local = vec![range("10.2.0.7", "10.2.0.7")];
    let (connection, child) = ("peer".to_owned(), Some("part".to_owned()));
    let part = Command::Initiate { connection, child };
    pair.command(1, Command::Configure(vec![Arc::new(split)]));
    pair.run(100 * SECOND);
    pair.command(1, part);
    pair.run(300 * SECOND);
    assert_eq!(children(&pair, 0, "lan").len(), 2);
    assert!(children(&pair, 0, "other").is_empty());
    pair.command(1, Command::Configure(vec![Arc::new(b)]));
    pair.run(600 * SECOND);
    assert_eq!(children(&pair, 0, "other").len(), 1);
}

/// RFC 2409 5.5: a peer asks for what it likes of the traffic. That is what comes again, and nobody goes on to ask for
/// the rest, which it refuses.
#[test]
fn what_comes_again_narrower_has_come() {
    let [a, b] = gateways();
    let mut pair = lost(373, [a, b.clone()]);
    let mut narrow = b;
    narrow.children[0].selector.local = vec![range("10.2.0.7", "10.2.0.7")];
    pair.command(1, Command::Configure(vec![Arc::new(narrow)]));
    pair.run(100 * SECOND);
    assert!(children(&pair, 0, "lan").is_empty());
    let failures = pair.ends[0].failures();
    pair.run(100 * SECOND);
    assert!(pair.ends[0].failures() > failures, "it is tried again");
    pair.initiate(1);
    pair.run(300 * SECOND);
    assert_eq!(children(&pair, 0, "lan").len(), 1);
    let failures = pair.ends[0].failures();
    pair.run(1000 * SECOND);
    assert_eq!(pair.ends[0].failures(), failures);
    assert_eq!(children(&pair, 0, "lan").len(), 1);
}

/// A restart that is still to come, for a child that was refused, does not bring back who was dismissed.
#[test]
fn a_restart_does_not_bring_back_who_is_dismissed() {
    let [mut a, b] = two_children();
    a.start = Start::Load;
    let mut narrow = b;
    narrow.children.pop();
    let mut pair = Pair::new(374, [a, narrow]);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!((pair.agreed(), children(&pair, 0, "lan").len()), (1, 1));
    let dismiss = |address: &str| Command::Dismiss {
        connection: "peer".to_owned(),
        peer: Peer::Address(address.parse().unwrap()),
    };
    // Somebody else is not there, and nothing changes.
    let failures = pair.ends[0].failures();
    pair.command(0, dismiss("192.0.2.3"));
    pair.run(300 * SECOND);
    assert!(pair.ends[0].failures() > failures, "it is tried again");
    pair.command(0, dismiss("192.0.2.2"));
    let sent = pair.log.len();
    pair.run(1000 * SECOND);
    assert!(ikes(&pair).is_empty() && children(&pair, 0, "lan").is_empty());
    assert_eq!(pair.log.len(), sent, "nobody begins anew");
}
