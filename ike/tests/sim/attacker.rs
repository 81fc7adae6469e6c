//! An attacker on the path who knows no key: before each message of each exchange comes the same with something changed.
//!
//! What is under a hash must be as if the change had never come. What is not (messages 1 to 4 of main mode, 1 and 2 of
//! aggressive mode, the end of those that follow) can be spoilt, but leaves nothing behind.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_config::{Connection, Group, Phase1Exchange};
use portcullis_ike::Command;

use crate::harness::{Pair, gateways};

/// Offsets and values of the header (RFC 2408 3.1).
const EXCHANGE_TYPE: usize = 18;
const FLAGS: usize = 19;
const MESSAGE_ID: usize = 20;
const LENGTH: usize = 24;
const BODY: usize = 28;
const ENCRYPTED: u8 = 1;

/// Negotiates, renews the child and ends it: every exchange that there is.
fn live(pair: &mut Pair) {
    pair.initiate(0);
    pair.run(Duration::from_millis(500));
    if let Some(child) = pair.ends[0].installed.current {
        pair.command(0, Command::SoftExpired(child));
    }
    pair.run(Duration::from_millis(500));
}

/// The message with something changed, in many ways.
fn changes(message: &[u8], earlier: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for at in 0..message.len() {
        let mut changed = message.to_vec();
        changed[at] ^= 1 << (at % 8);
        out.push(changed);
    }
    for length in [
        0,
        1,
        BODY - 1,
        BODY,
        BODY + 1,
        BODY + 4,
        message.len() - 16,
        message.len() - 1,
    ] {
        let mut shorter = message[..length.min(message.len())].to_vec();
        out.push(shorter.clone());
        fit(&mut shorter);
        out.push(shorter);
    }
    for more in [1, 8, 16, 1000] {
        let mut longer = message.to_vec();
        longer.extend(vec![0; more]);
        out.push(longer.clone());
        fit(&mut longer);
        out.push(longer);
    }
    for (at, value) in [
        (EXCHANGE_TYPE, 0),
        (EXCHANGE_TYPE, 5),
        (EXCHANGE_TYPE, 32),
        (EXCHANGE_TYPE, 255),
        (FLAGS, 0),
        (FLAGS, 255),
        (MESSAGE_ID, 0),
        (LENGTH, 255),
    ] {
        let mut changed = message.to_vec();
        changed[at] = value;
        out.push(changed);
    }
    // What both have said before, and the same once more.
    out.extend(earlier.iter().cloned());
    out.push(message.to_vec());
    out
}

/// Makes the length field true.
fn fit(message: &mut [u8]) {
    let length = u32::try_from(message.len()).unwrap();
    if let Some(field) = message.get_mut(LENGTH..BODY) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// How much of a message is under a hash. In phase 1 the hash covers the identity and itself, with the rest of the block
/// that it ends in; not what follows: notifications, NAT-D (RFC 2409 5.1, RFC 3947 3.2).
fn covered(message: &[u8]) -> usize {
    const BLOCK: usize = 16;
    // Identity "a.test" and HMAC-SHA2-256, each with four bytes of generic header.
    const IDENTITY: usize = 4 + 4 + 6;
    const HASH: usize = 4 + 32;
    if message[FLAGS] & ENCRYPTED == 0 {
        return 0;
    }
    match message[EXCHANGE_TYPE] {
        2 => BODY + (IDENTITY + HASH).next_multiple_of(BLOCK),
        4 => BODY + HASH.next_multiple_of(BLOCK),
        _ => message.len(),
    }
}

/// Runs it all with one message preceded by something else.
fn with(connections: [Connection; 2], number: usize, change: &[u8]) -> Pair {
    let mut pair = Pair::new(7, connections);
    let (mut count, change) = (0, change.to_vec());
    pair.tamper = Some(Box::new(move |_, message| {
        count += 1;
        match count == number + 1 {
            true => vec![change.clone(), message.to_vec()],
            false => vec![message.to_vec()],
        }
    }));
    live(&mut pair);
    pair
}

fn attack(connections: &[Connection; 2]) {
    let mut honest = Pair::new(7, connections.clone());
    live(&mut honest);
    let children = honest.agreed();
    let log: Vec<_> = honest
        .log
        .iter()
        .map(|(_, message)| message.clone())
        .collect();
    let exchanges: BTreeSet<u8> = log.iter().map(|message| message[EXCHANGE_TYPE]).collect();
    assert!(exchanges.contains(&32), "{exchanges:?}");
    for (number, message) in log.iter().enumerate() {
        for (variant, change) in changes(message, &log[..number]).iter().enumerate() {
            let what = format!("message {number}, change {variant}");
            let mut pair = with(connections.clone(), number, change);
            let covered = covered(message);
            // The flags and the length are not authenticated anywhere in phase 1.
            let part = |message: &[u8]| {
                let header = message
                    .get(..LENGTH)
                    .map(|header| [&header[..FLAGS], &header[MESSAGE_ID..]].concat());
                (header, message.get(BODY..covered).map(<[u8]>::to_vec))
            };
            if covered > 0 && part(change) != part(message) {
                for end in &pair.ends {
                    assert_eq!(end.established(), 1, "{what}");
                }
                assert_eq!(pair.agreed(), children, "{what}");
                pair.no_leak();
                continue;
            }
            // Nothing of it is left after a while, and a new start stands. It needs a new phase 1: whether there is a
            // NAT, for one, is told in clear (RFC 3947 3.2).
            pair.run(Duration::from_secs(150));
            if pair.ends.iter().any(|end| end.installed.current.is_none()) {
                for end in 0..2 {
                    let connection = "peer".to_owned();
                    pair.command(end, Command::Terminate { connection });
                }
                pair.run(Duration::from_secs(1));
                pair.initiate(0);
                pair.run(Duration::from_secs(1));
            }
            assert!(pair.agreed() >= 1, "{what}");
            pair.no_leak();
        }
    }
}

#[test]
fn of_main_mode() {
    attack(&gateways());
}

#[test]
fn of_aggressive_mode() {
    let connections = gateways().map(|connection| Connection {
        exchange: Phase1Exchange::Aggressive,
        ..connection
    });
    attack(&connections);
}

#[test]
fn of_quick_mode_with_perfect_forward_secrecy() {
    let mut connections = gateways();
    for connection in &mut connections {
        connection.children[0].pfs = Some(Group::X25519);
    }
    attack(&connections);
}

/// Whoever has the key tells by the header alone which messages are for an IKE SA: all but the first one of each, in both
/// directions, and none at another gateway.
#[test]
fn each_end_knows_what_is_for_it_by_the_cookies() {
    for exchange in [Phase1Exchange::Main, Phase1Exchange::Aggressive] {
        let connections = gateways().map(|connection| Connection {
            exchange,
            ..connection
        });
        let mut pair = Pair::new(21, connections);
        live(&mut pair);
        pair.initiate(1);
        pair.run(Duration::from_millis(500));
        assert!(pair.ends[0].established() > 0);
        let keys = [0, 1].map(|end: usize| pair.ends[end].endpoint.cookie_key());
        let firsts = pair.log.iter().filter(|(from, message)| {
            // RFC 2408 3.1: the initiator's first message has no responder's cookie.
            let is_first = message[8..16] == [0; 8];
            let address = |end: usize| pair.ends[end].address.ip();
            assert_eq!(keys[1 - from].is_for_us(message, address(*from)), !is_first);
            // Its own cookie, for the other end, is in each.
            assert!(keys[*from].is_for_us(message, address(1 - from)));
            is_first
        });
        assert!(firsts.count() > 0 && pair.log.len() > 6);
    }
}
