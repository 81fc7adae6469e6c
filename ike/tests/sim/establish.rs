//! Main mode, aggressive mode and quick mode without disturbance.

use std::time::Duration;

use portcullis_config::{Group, Phase1Exchange};

use crate::harness::{Pair, gateways};

const SECOND: Duration = Duration::from_secs(1);

fn stands(pair: &mut Pair) {
    pair.run(SECOND);
    for end in &pair.ends {
        assert_eq!(end.failures(), 0, "{:#?}", end.events);
        assert_eq!(end.established(), 1);
        assert_eq!(end.installed.outbound.len(), 1);
    }
    assert_eq!(pair.agreed(), 1);
    pair.no_leak();
}

#[test]
fn main_mode_and_quick_mode() {
    for initiator in 0..2 {
        let mut pair = Pair::new(1, gateways());
        pair.initiate(initiator);
        stands(&mut pair);
        // RFC 2409: six messages of main mode (2), three of quick mode (32).
        let exchanges: Vec<u8> = pair.log.iter().map(|(_, bytes)| bytes[18]).collect();
        assert_eq!(exchanges, [2, 2, 2, 2, 2, 2, 32, 32, 32]);
    }
}

#[test]
fn perfect_forward_secrecy() {
    let mut connections = gateways();
    for connection in &mut connections {
        connection.children[0].pfs = Some(Group::Ecp256);
    }
    let mut pair = Pair::new(2, connections);
    pair.initiate(0);
    stands(&mut pair);
}

#[test]
fn aggressive_mode() {
    let mut connections = gateways();
    for connection in &mut connections {
        connection.exchange = Phase1Exchange::Aggressive;
    }
    let mut pair = Pair::new(3, connections);
    pair.initiate(0);
    stands(&mut pair);
    let exchanges: Vec<u8> = pair.log.iter().map(|(_, bytes)| bytes[18]).collect();
    assert_eq!(exchanges, [4, 4, 4, 32, 32, 32]);
}
