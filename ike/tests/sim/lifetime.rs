//! How long SAs live where the ends want different things: the shorter life counts, at both ends.

use std::time::Duration;

use portcullis_config::{Limits, Phase1Exchange, SaConfig};
use portcullis_ike::{Command, Event};

use crate::harness::{Pair, gateways};

const SECOND: Duration = Duration::from_secs(1);

/// RESPONDER-LIFETIME (RFC 2407 4.6.3.1) tells the initiator of quick mode.
#[test]
fn the_responder_of_quick_mode_says_that_its_life_is_shorter() {
    let [a, mut b] = gateways();
    b.children[0].hard = Limits {
        seconds: Some(600),
        bytes: Some(10 * 1024),
        ..Limits::default()
    };
    let mut pair = Pair::new(700, [a, b]);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    let hard = |sa: &SaConfig| (sa.hard.seconds, sa.hard.bytes);
    for end in &pair.ends {
        let sas = end.installed.inbound.values().flatten();
        let sas = sas.chain(end.installed.outbound.values().flatten());
        for sa in sas {
            assert_eq!(hard(sa), (Some(600), Some(10 * 1024)));
            // Each renews before that.
            assert!(sa.soft.seconds <= Some(540) && sa.soft.bytes <= Some(9 * 1024));
        }
    }
}

/// What the responder has is no reason to live longer.
#[test]
fn a_longer_life_is_not_said() {
    let [mut a, b] = gateways();
    a.ike_lifetime = 600;
    a.children[0].hard.seconds = Some(600);
    let mut pair = Pair::new(701, [a, b]);
    pair.initiate(0);
    pair.run(SECOND);
    let lives = |pair: &Pair, end: usize| {
        let sas = pair.ends[end].installed.inbound.values().flatten();
        sas.map(|sa| sa.hard.seconds).collect::<Vec<_>>()
    };
    assert_eq!(
        [0, 1].map(|end| lives(&pair, end)),
        [[Some(600)], [Some(600)]]
    );
    // Six messages and three: nothing was said beyond them.
    assert_eq!(pair.log.len(), 9);
}

/// Phase 1 is told in an exchange of its own: neither mode's hash covers a notification.
#[test]
fn the_responder_of_phase_1_says_that_its_life_is_shorter() {
    let exchanges = [Phase1Exchange::Main, Phase1Exchange::Aggressive];
    for (exchange, seed) in exchanges.into_iter().zip(710..) {
        let [mut a, mut b] = gateways();
        (a.exchange, b.exchange) = (exchange, exchange);
        b.ike_lifetime = 600;
        let mut pair = Pair::new(seed, [a, b]);
        pair.initiate(0);
        pair.run(SECOND);
        let renewal = pair.ends[0].endpoint.snapshot().ikes[0].renewal;
        let renewal = renewal.unwrap().as_secs();
        assert!((485..=542).contains(&renewal), "{exchange:?}: {renewal}");
        // The initiator renews it, before the responder would.
        pair.run(545 * SECOND);
        let renewed = |e: &Event| matches!(e, Event::Established(e) if e.replaces.is_some());
        assert!(pair.ends[0].events.iter().any(renewed));
        assert!(!pair.ends[1].events.iter().any(renewed));
    }
}

/// Kilobytes of phase 1 (RFC 2409 appendix A, life type 2), whichever end counts them: used up, it is renewed before.
#[test]
fn a_phase_1_that_has_protected_enough_is_renewed() {
    for (limited, seed) in [0, 1].into_iter().zip(730..) {
        let mut connections = gateways();
        connections[limited].ike_kilobytes = Some(64);
        let mut pair = Pair::new(seed, connections);
        pair.initiate(0);
        pair.run(SECOND);
        let mut used = std::collections::HashMap::<Vec<u8>, usize>::new();
        for round in 0..400 {
            let end = round % 2;
            let old = pair.ends[end].installed.current.unwrap();
            pair.log.clear();
            pair.command(end, Command::SoftExpired(old));
            pair.run(SECOND);
            assert_eq!(pair.traffic(), [true; 2]);
            pair.run(4 * SECOND);
            // Bit 0 of the flags: encrypted (RFC 2408 3.1).
            let messages = pair.log.iter().map(|(_, bytes)| bytes);
            for message in messages.filter(|bytes| bytes[19] & 1 != 0) {
                *used.entry(message[..8].to_vec()).or_default() += message.len();
            }
        }
        let established = |e: &&Event| matches!(e, Event::Established(_));
        let times = pair.ends[0].events.iter().filter(established).count();
        assert!((3..=8).contains(&times), "{limited}: {times}");
        assert!(used.values().all(|used| *used <= 64 * 1024), "{used:?}");
        pair.run(120 * SECOND);
        assert_eq!(pair.agreed(), 1);
        pair.no_leak();
    }
}

/// A peer that lengthens what it said, and one that began, are not heard.
#[test]
fn only_the_responder_is_heard_and_only_for_less() {
    let [mut a, mut b] = gateways();
    a.ike_lifetime = 600;
    b.ike_lifetime = 1200;
    let mut pair = Pair::new(720, [a, b]);
    // The one whose life is shorter begins, and the other is content with that.
    pair.initiate(0);
    pair.run(SECOND);
    let renewals = pair.ends.each_ref().map(|end| {
        let ikes = end.endpoint.snapshot().ikes;
        ikes[0].renewal.unwrap().as_secs()
    });
    assert!(
        renewals.iter().all(|renewal| *renewal <= 571),
        "{renewals:?}"
    );
    pair.command(
        0,
        Command::RekeyIke {
            connection: "peer".to_owned(),
        },
    );
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
}
