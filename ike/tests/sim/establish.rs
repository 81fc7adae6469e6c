//! Main mode, aggressive mode and quick mode without disturbance.

use std::time::Duration;

use portcullis_config::{Group, Mode, Phase1Exchange};
use portcullis_ike::Settings;

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

#[test]
fn commit_bit_and_connected() {
    let settings = Settings {
        commit: true,
        ..Settings::default()
    };
    let mut pair = Pair::with(4, gateways(), settings.clone());
    pair.initiate(0);
    stands(&mut pair);
    // Four messages of quick mode; the second has the commit bit (2) beside the encryption bit (1).
    let quick: Vec<_> = pair.log.iter().filter(|(_, b)| b[18] == 32).collect();
    let flags: Vec<(usize, u8)> = quick.iter().map(|(from, b)| (*from, b[19])).collect();
    assert_eq!(flags, [(0, 1), (1, 3), (0, 1), (1, 1)]);
    // The third message is lost, or CONNECTED is: the initiator waits, and repeats.
    for lost in [3, 4] {
        let mut pair = Pair::with(5, gateways(), settings.clone());
        let mut count = 0;
        pair.tamper = Some(Box::new(move |_, bytes| {
            count += usize::from(bytes[18] == 32);
            match count == lost && bytes[18] == 32 {
                true => Vec::new(),
                false => vec![bytes.to_vec()],
            }
        }));
        pair.initiate(0);
        pair.run(SECOND / 2);
        assert_eq!(pair.ends[0].installed.outbound.len(), 0);
        assert_eq!(pair.ends[0].installed.inbound.len(), 1);
        pair.run(10 * SECOND);
        stands(&mut pair);
    }
}

#[test]
fn messages_of_phase_1_are_split_where_they_are_long() {
    let mut connections = gateways();
    for connection in &mut connections {
        connection.fragment_size = Some(150);
    }
    let mut pair = Pair::new(6, connections);
    pair.initiate(0);
    stands(&mut pair);
    // The first two messages tell that both can join fragments; those that follow are split (payload 132).
    let fragments = pair.log.iter().filter(|(_, bytes)| bytes[16] == 132);
    assert!(fragments.count() >= 4);
    let longest = pair.log.iter().skip(2).map(|(_, bytes)| bytes.len()).max();
    assert!(longest <= Some(150 - 28), "{longest:?}");
}

#[test]
fn bundles_and_extended_sequence_numbers() {
    let mut connections = gateways();
    for connection in &mut connections {
        let proposal = &mut connection.children[0].proposals[0];
        proposal.ah = Some(portcullis_config::Integrity::HmacSha2_256_128);
        proposal.esn = true;
    }
    let mut pair = Pair::new(7, connections);
    pair.initiate(0);
    stands(&mut pair);
    let sas = pair.ends[0].installed.outbound.values().next().unwrap();
    // ESP in a tunnel, AH around it; both with their own SPIs and keys.
    let modes: Vec<_> = sas
        .iter()
        .map(|sa| (sa.transform.protocol(), sa.mode))
        .collect();
    assert_eq!(modes, [(50, Mode::Tunnel), (51, Mode::Transport)]);
    assert!(sas.iter().all(|sa| sa.esn));
    assert_eq!(sas[1].integrity_key.expose().len(), 32);
}
