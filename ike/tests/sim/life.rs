//! Death, deletion, limits and refusals.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_config::{Authentication, Start};
use portcullis_config::{Connection, Dpd, DpdAction, Group, IkeProposal, Secret};
use portcullis_ike::{CloseReason, Command, Error, Event, PeerIncompatible, Settings};

use crate::harness::{Pair, Weather, gateways};

const SECOND: Duration = Duration::from_secs(1);

fn with(change: impl Fn(&mut Connection)) -> [Connection; 2] {
    let mut connections = gateways();
    connections.iter_mut().for_each(change);
    connections
}

fn established(connections: [Connection; 2]) -> Pair {
    let mut pair = Pair::new(60, connections);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    pair
}

const DEAF: Weather = Weather {
    loss: 100,
    duplication: 0,
    delay: (1, 1),
};

fn dpd(on_traffic_only: bool) -> [Connection; 2] {
    with(|connection| {
        connection.dpd = Some(Dpd {
            delay: 10,
            on_traffic_only,
            action: DpdAction::Clear,
        });
    })
}

#[test]
fn a_living_peer_answers() {
    let mut pair = established(dpd(false));
    pair.run(120 * SECOND);
    assert_eq!(pair.ends.each_ref().map(|e| e.established()), [1, 1]);
    // Informational exchanges (5), questions and answers.
    let questions = pair.log.iter().filter(|(_, bytes)| bytes[18] == 5);
    assert!(questions.count() >= 20);
}

#[test]
fn a_dead_peer_is_found() {
    let mut pair = established(dpd(false));
    pair.weather = DEAF;
    pair.run(9 * SECOND);
    assert_eq!(pair.ends[0].established(), 1);
    pair.run(60 * SECOND);
    for end in &pair.ends {
        assert!(end.installed.inbound.is_empty());
        let dead = |e: &Event| {
            matches!(
                e,
                Event::RemoveSa {
                    reason: CloseReason::PeerDead,
                    ..
                }
            )
        };
        assert!(end.events.iter().any(dead));
    }
    pair.no_leak();
}

#[test]
fn without_traffic_nobody_is_asked_if_so_configured() {
    let mut pair = established(dpd(true));
    pair.weather = DEAF;
    pair.run(120 * SECOND);
    assert_eq!(pair.ends[0].established(), 1);
    let child = pair.ends[0].installed.current.unwrap();
    let command = Command::Traffic {
        child,
        received: 0,
        sent: 1,
    };
    pair.command(0, command);
    pair.run(60 * SECOND);
    assert_eq!(pair.ends[0].established(), 0);
}

#[test]
fn deletes_reach_the_other_end() {
    for end in 0..2 {
        let mut pair = established(gateways());
        let connection = "peer".to_owned();
        pair.command(end, Command::Terminate { connection });
        pair.run(SECOND);
        for end in &pair.ends {
            assert!(end.endpoint.snapshot().ikes.is_empty());
            assert!(end.installed.inbound.is_empty());
        }
        let removed = Event::Closed {
            ike: pair.ends[1 - end]
                .events
                .iter()
                .find_map(|e| match e {
                    Event::Established(e) => Some(e.ike),
                    _ => None,
                })
                .unwrap(),
            connection: "peer".to_owned(),
            reason: CloseReason::DeletedByPeer,
        };
        assert!(pair.ends[1 - end].events.contains(&removed));
        pair.no_leak();
    }
}

#[test]
fn one_that_begins_anew_takes_the_place_of_what_it_has_lost() {
    let mut pair = established(gateways());
    let fresh = Pair::new(61, gateways());
    let [fresh, _] = fresh.ends;
    pair.ends[0] = fresh;
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1, "INITIAL-CONTACT removes the old ones");
    assert_eq!(pair.ends[1].endpoint.snapshot().ikes.len(), 1);
}

#[test]
fn idle_children_go() {
    let mut pair = established(with(|connection| connection.children[0].idle = Some(300)));
    let child = pair.ends[0].installed.current.unwrap();
    pair.run(200 * SECOND);
    let command = Command::Traffic {
        child,
        received: 1,
        sent: 1,
    };
    pair.command(0, command.clone());
    let command = match command {
        Command::Traffic { received, sent, .. } => Command::Traffic {
            child: pair.ends[1].installed.current.unwrap(),
            received,
            sent,
        },
        other => other,
    };
    pair.command(1, command);
    pair.run(200 * SECOND);
    assert_eq!(pair.agreed(), 1);
    pair.run(200 * SECOND);
    assert_eq!(pair.agreed(), 0);
    assert_eq!(
        pair.ends[0].established(),
        1,
        "phase 1 stays (requirement 120)"
    );
}

#[test]
fn phase_1_ends_with_its_time_and_is_renewed_before() {
    let mut pair = established(with(|connection| connection.ike_lifetime = 600));
    pair.run(3000 * SECOND);
    let established = |e: &&Event| matches!(e, Event::Established(_));
    let times = pair.ends[0].events.iter().filter(established).count();
    assert!((5..=8).contains(&times), "{times}");
    assert_eq!(pair.ends.each_ref().map(|e| e.established()), [1, 1]);
    assert_eq!(pair.agreed(), 1);
}

/// Whatever lets it begin at first: what a dead peer took down comes again, though the peer, back at last, refuses its
/// quick modes for a while.
#[test]
fn a_connection_that_comes_again_does_so_with_all_of_its_children() {
    for start in [Start::Manual, Start::Traffic] {
        let [mut a, b] = with(|connection| {
            connection.start = start;
            let mut second = connection.children[0].clone();
            second.name = "second".to_owned();
            second.selector.upper = portcullis_config::UpperLayer::Protocol(17);
            connection.children.insert(0, second);
        });
        a.dpd = Some(Dpd {
            delay: 10,
            on_traffic_only: false,
            action: DpdAction::Restart,
        });
        let mut pair = Pair::new(67, [a, b]);
        pair.initiate(0);
        pair.run(SECOND);
        assert_eq!(pair.agreed(), 2);
        pair.weather = DEAF;
        pair.run(60 * SECOND);
        assert_eq!(pair.ends[0].installed.outbound.len(), 0);
        let connection = "peer".to_owned();
        pair.command(1, Command::Terminate { connection });
        pair.ends[1].exhausted.store(true, Ordering::Relaxed);
        pair.weather = Weather { loss: 0, ..DEAF };
        pair.run(120 * SECOND);
        assert_eq!(pair.ends[0].established(), 1, "{start:?}");
        pair.ends[1].exhausted.store(false, Ordering::Relaxed);
        pair.run(300 * SECOND);
        assert_eq!(pair.agreed(), 2, "{start:?}");
        // All is as it was: what goes now at an operator's wish does not come again.
        let connection = "peer".to_owned();
        pair.command(0, Command::Terminate { connection });
        pair.run(300 * SECOND);
        assert_eq!(pair.agreed(), 0, "{start:?}");
        pair.no_leak();
    }
}

fn failure(pair: &Pair, end: usize) -> &portcullis_ike::Failure {
    let failures = pair.ends[end].events.iter();
    let mut failures = failures.filter_map(|e| match e {
        Event::Failed(failure) => Some(failure),
        _ => None,
    });
    failures.next().unwrap()
}

#[test]
fn no_common_proposal_is_explained_at_both_ends() {
    let [mut a, b] = gateways();
    a.ike_proposals = vec![IkeProposal {
        group: Group::Modp2048,
        ..a.ike_proposals[0]
    }];
    let mut pair = Pair::new(62, [a, b]);
    pair.initiate(0);
    pair.run(10 * SECOND);
    // NO-PROPOSAL-CHOSEN is 14 (RFC 2408 3.14.1).
    let refused = CloseReason::Error(Error::PeerRefused(14));
    assert_eq!(failure(&pair, 0).reason, refused);
    assert_eq!(failure(&pair, 0).child.as_deref(), Some("lan"));
    let explained = failure(&pair, 1);
    let differences: Vec<_> = explained
        .mismatches
        .iter()
        .flat_map(|m| &m.differences)
        .collect();
    assert_eq!(
        (differences[0].attribute, &differences[0].offered[..]),
        ("group", "14")
    );
    assert_eq!(pair.ends[1].endpoint.snapshot().failures.len(), 1);
}

#[test]
fn no_common_child_proposal_is_explained_too() {
    let [mut a, b] = gateways();
    a.children[0].pfs = Some(Group::X25519);
    let mut pair = Pair::new(63, [a, b]);
    pair.initiate(0);
    pair.run(10 * SECOND);
    let refused = CloseReason::Error(Error::PeerRefused(14));
    assert_eq!(failure(&pair, 0).reason, refused);
    assert_eq!(
        failure(&pair, 1).mismatches[0].differences[0].attribute,
        "group"
    );
    assert_eq!(pair.ends.each_ref().map(|e| e.established()), [1, 1]);
    pair.no_leak();
}

#[test]
fn different_secrets_are_told_as_such() {
    for aggressive in [false, true] {
        let [mut a, mut b] = gateways();
        let other = Authentication::PreSharedKey(Secret::new(b"another secret".to_vec()));
        a.authentication = other;
        if aggressive {
            a.exchange = portcullis_config::Phase1Exchange::Aggressive;
            b.exchange = a.exchange;
        }
        let mut pair = Pair::new(64, [a, b]);
        pair.initiate(0);
        pair.run(80 * SECOND);
        let expected = Error::PeerIncompatible(PeerIncompatible::PreSharedKey);
        // The one that sees it tells the other: AUTHENTICATION-FAILED is 24 (RFC 2408 3.14.1).
        let seen = CloseReason::Error(expected);
        let told = CloseReason::Error(Error::PeerRefused(24));
        let reasons = [0, 1].map(|end| failure(&pair, end).reason.clone());
        match aggressive {
            true => assert_eq!(reasons, [seen, told]),
            false => assert_eq!(reasons, [told, seen]),
        }
        assert_eq!(
            pair.ends
                .each_ref()
                .map(|e| e.endpoint.snapshot().ikes.len()),
            [0, 0]
        );
    }
}

#[test]
fn a_silent_peer_fails_with_a_reason_after_the_cycle() {
    let mut pair = Pair::new(65, gateways());
    pair.weather = DEAF;
    pair.initiate(0);
    pair.run(62 * SECOND);
    assert_eq!(pair.ends[0].failures(), 0);
    pair.run(2 * SECOND);
    assert_eq!(failure(&pair, 0).reason, CloseReason::NoAnswer);
    // Requirement 71: the message and five repetitions.
    assert_eq!(pair.log.len(), 6);
}

#[test]
fn a_flood_of_first_messages_is_bounded() {
    let settings = Settings {
        half_open_per_source: 10,
        half_open_total: 100,
        ..Settings::default()
    };
    let [a, mut b] = gateways();
    b.remote = portcullis_config::RemoteAddress::Any;
    let mut pair = Pair::with(66, [a, b], settings);
    pair.weather = DEAF;
    pair.initiate(0);
    let first = pair.log[0].1.clone();
    for n in 0..1000_u32 {
        let mut message = first.clone();
        message[..4].copy_from_slice(&(n + 0x0100_0000).to_be_bytes());
        let source = format!("198.51.{}.{}:500", n / 20 / 256, n / 20 % 256);
        let local = "192.0.2.2:500".parse().unwrap();
        pair.deliver(1, local, source.parse().unwrap(), &message);
    }
    let snapshot = pair.ends[1].endpoint.snapshot();
    assert_eq!(snapshot.ikes.len(), 100);
    assert_eq!(
        (snapshot.counters.refused, snapshot.counters.evicted),
        (500, 400)
    );
    // An honest peer still comes through.
    pair.weather = Weather::default();
    pair.run(10 * SECOND);
    assert_eq!(pair.agreed(), 1);
    pair.run(100 * SECOND);
    assert_eq!(pair.ends[1].endpoint.snapshot().ikes.len(), 1);
}

#[test]
fn a_connection_that_should_stand_begins_anew() {
    let [mut a, b] = gateways();
    a.start = Start::Load;
    let mut pair = Pair::new(67, [a, b]);
    pair.weather = DEAF;
    pair.run(100 * SECOND);
    assert_eq!(pair.ends[0].failures(), 1);
    pair.weather = Weather::default();
    pair.run(60 * SECOND);
    assert_eq!(pair.agreed(), 1);
}

/// Requirement 57: SAs without traffic for as long as the policy says go, at both ends, and any packet puts that off.
#[test]
fn idle_sas_go_and_used_ones_stay() {
    let mut pair = established(with(|connection| {
        for child in &mut connection.children {
            child.idle = Some(300); // five minutes, as Windows Server 2003 had it
        }
    }));
    let idle = |pair: &Pair| {
        let is_idle = |e: &&Event| {
            matches!(
                e,
                Event::RemoveSa {
                    reason: CloseReason::Idle,
                    ..
                }
            )
        };
        pair.ends
            .each_ref()
            .map(|end| end.events.iter().filter(is_idle).count())
    };
    for _ in 0..3 {
        pair.run(299 * SECOND);
        assert_eq!(pair.traffic(), [true, true]);
        assert_eq!(idle(&pair), [0, 0]);
    }
    pair.run(299 * SECOND);
    assert_eq!((idle(&pair), pair.agreed()), ([0, 0], 1));
    pair.run(2 * SECOND);
    // Whoever notices first deletes them at the other end too.
    assert!(idle(&pair).iter().sum::<usize>() >= 1);
    for end in &pair.ends {
        assert!(end.installed.inbound.is_empty());
    }
    pair.no_leak();
}
