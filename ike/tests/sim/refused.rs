//! Renewals that are refused or not answered: what there is goes on, and they are tried again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_config::{ModeConfig, RemoteAccess, RemoteAddress, Start};
use portcullis_ike::{ChildId, CloseReason, Command, Error, Event};

use crate::harness::{Pair, Weather, gateways};
use crate::road_warrior;

const SECOND: Duration = Duration::from_secs(1);
const DEAF: Weather = Weather {
    loss: 100,
    duplication: 0,
    delay: (1, 1),
};

fn established(seed: u64) -> Pair {
    let mut pair = Pair::new(seed, gateways());
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    pair
}

fn current(pair: &Pair, end: usize) -> ChildId {
    pair.ends[end].installed.current.unwrap()
}

fn refuse(pair: &Pair, end: usize, refuses: bool) {
    pair.ends[end].exhausted.store(refuses, Ordering::Relaxed);
}

fn state(pair: &Pair, end: usize) -> &'static str {
    pair.ends[end].endpoint.snapshot().children[0].state
}

/// How many negotiations the peer has refused, in so many words.
fn refusals(pair: &Pair, end: usize) -> usize {
    let refused = |event: &&Event| match event {
        Event::Failed(failure) => {
            matches!(failure.reason, CloseReason::Error(Error::PeerRefused(_)))
        }
        _ => false,
    };
    pair.ends[end].events.iter().filter(refused).count()
}

#[test]
fn a_refused_rekey_is_tried_again_less_and_less_often() {
    for end in 0..2 {
        let mut pair = established(100 + end as u64);
        refuse(&pair, 1 - end, true);
        let old = current(&pair, end);
        pair.command(end, Command::SoftExpired(old));
        // After 5 seconds, 10, 20, 40, 80: a tenth earlier, if chance will have it.
        for (until, tries) in [(4, 1), (6, 2), (16, 3), (36, 4), (76, 5), (156, 6)] {
            let now = pair.now;
            let until = Duration::from_secs(until) + 2 * SECOND;
            pair.run(until.saturating_sub(now));
            assert_eq!(refusals(&pair, end), tries, "after {until:?}");
            assert_eq!((current(&pair, end), state(&pair, end)), (old, "installed"));
            assert_eq!(pair.traffic(), [true; 2]);
        }
        refuse(&pair, 1 - end, false);
        pair.run(85 * SECOND);
        assert_ne!(current(&pair, end), old);
        assert_eq!(pair.traffic(), [true; 2]);
        pair.run(60 * SECOND);
        assert_eq!(pair.agreed(), 1);
        pair.no_leak();
    }
}

#[test]
fn two_that_refuse_each_other_at_once_try_again() {
    for seed in 0..20 {
        let mut pair = established(200 + seed);
        pair.weather.delay = (1, 1 + seed);
        let old = current(&pair, 0);
        for end in 0..2 {
            let child = current(&pair, end);
            pair.command(end, Command::SoftExpired(child));
            refuse(&pair, end, true);
        }
        pair.run(3 * SECOND);
        let states = [0, 1].map(|end| state(&pair, end));
        assert_eq!(states, ["installed"; 2], "seed {seed}");
        (0..2).for_each(|end| refuse(&pair, end, false));
        pair.run(30 * SECOND);
        assert_ne!(current(&pair, 0), old, "seed {seed}");
        assert_eq!(pair.traffic(), [true; 2]);
        pair.run(60 * SECOND);
        assert_eq!(pair.agreed(), 1, "seed {seed}");
        pair.no_leak();
    }
}

#[test]
fn what_should_stand_comes_again_when_its_sa_is_at_its_end() {
    let [mut a, b] = gateways();
    a.start = Start::Load;
    let mut pair = Pair::new(300, [a, b]);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    let old = current(&pair, 0);
    refuse(&pair, 1, true);
    pair.command(0, Command::SoftExpired(old));
    pair.run(2 * SECOND);
    pair.command(0, Command::HardExpired(old));
    pair.run(60 * SECOND);
    assert_eq!(pair.agreed(), 0);
    refuse(&pair, 1, false);
    pair.run(85 * SECOND);
    assert_eq!(pair.agreed(), 1);
    assert_eq!(pair.ends[0].established(), 1, "phase 1 stood all the time");
    pair.no_leak();
}

/// An SA that ends, and whose connection waits for traffic, is left to the next packet.
#[test]
fn what_waits_for_traffic_does_not_come_by_itself() {
    let mut pair = established(301);
    let old = current(&pair, 0);
    pair.command(0, Command::HardExpired(old));
    pair.run(200 * SECOND);
    assert_eq!(pair.agreed(), 0);
    let [local, remote] = ["10.1.0.7", "10.2.0.7"].map(|ip| ip.parse().unwrap());
    let packet = Command::Acquire {
        connection: "peer".to_owned(),
        child: "lan".to_owned(),
        local,
        remote,
    };
    pair.command(0, packet);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
}

/// Only the client can begin a phase 1: a server that gets no answer keeps to the one there is.
#[test]
fn a_client_that_does_not_answer_is_asked_again() {
    let mut pair = Pair::new(302, road_warrior::connections());
    pair.initiate(0);
    pair.run(2 * SECOND);
    assert_eq!(pair.agreed(), 1);
    let old = current(&pair, 1);
    pair.weather = DEAF;
    pair.command(1, Command::SoftExpired(old));
    // The message and five repetitions are waited for 63 seconds.
    pair.run(66 * SECOND);
    assert_eq!((current(&pair, 1), state(&pair, 1)), (old, "installed"));
    pair.weather = Weather {
        delay: (5, 5),
        ..Weather::default()
    };
    pair.run(20 * SECOND);
    assert_ne!(current(&pair, 1), old);
    assert_eq!(pair.traffic(), [true; 2]);
}

#[test]
fn a_phase_1_whose_renewal_is_refused_is_renewed_later() {
    let [mut a, mut b] = gateways();
    a.ike_lifetime = 3600;
    b.ike_lifetime = 3600;
    let mut pair = Pair::new(303, [a, b]);
    pair.initiate(0);
    pair.run(SECOND);
    let main_mode = |bytes: &[u8]| bytes[18] == 2;
    pair.tamper = Some(Box::new(move |_, bytes| match main_mode(bytes) {
        true => Vec::new(),
        false => vec![bytes.to_vec()],
    }));
    let connection = "peer".to_owned();
    pair.command(0, Command::RekeyIke { connection });
    pair.run(64 * SECOND);
    pair.tamper = None;
    pair.run(10 * SECOND);
    let renewed = |e: &&Event| matches!(e, Event::Established(e) if e.replaces.is_some());
    assert_eq!(pair.ends[0].events.iter().filter(renewed).count(), 1);
    assert_eq!(pair.agreed(), 1);
}

/// Where the peer gives addresses, a refused rekey is tried again just so.
#[test]
fn a_client_whose_rekey_is_refused_keeps_its_address() {
    let [mut a, mut b] = road_warrior::connections();
    a.remote_access = RemoteAccess {
        mode_config: Some(ModeConfig::Ask),
        ..RemoteAccess::default()
    };
    b.remote_access.xauth = None;
    b.remote = RemoteAddress::Any;
    let mut pair = Pair::new(304, [a, b]);
    pair.initiate(0);
    pair.run(2 * SECOND);
    let (old, before) = (current(&pair, 0), pair.ends[0].endpoint.snapshot().ikes);
    refuse(&pair, 1, true);
    pair.command(0, Command::SoftExpired(old));
    pair.run(3 * SECOND);
    refuse(&pair, 1, false);
    pair.run(20 * SECOND);
    assert_ne!(current(&pair, 0), old);
    assert_eq!(pair.traffic(), [true; 2]);
    let after = pair.ends[0].endpoint.snapshot().ikes;
    assert_eq!(before[0].addresses, after[0].addresses);
}
