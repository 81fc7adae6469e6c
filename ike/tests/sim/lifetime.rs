//! How long SAs live where the ends want different things: the shorter life counts, at both ends.

use std::time::Duration;

use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use portcullis_config::{Limits, Phase1Exchange, SaConfig};
use portcullis_ike::{Command, Event, Settings};

use crate::harness::{Pair, gateways};

const SECOND: Duration = Duration::from_secs(1);

/// RESPONDER-LIFETIME (RFC 2407 4.6.3.1) tells the initiator of quick mode.
#[test]
fn the_responder_of_quick_mode_says_that_its_life_is_shorter() {
    let [a, mut b] = gateways();
    b.children[0].hard = Limits {
        seconds: Some(600),
        bytes: Some(10 << 20),
        ..Limits::default()
    };
    let mut pair = Pair::new(700, [a, b]);
    pair.initiate(0);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    let hard = |sa: &SaConfig| (sa.lifetimes.hard().seconds, sa.lifetimes.hard().bytes);
    for end in &pair.ends {
        let sas = end.installed.inbound.values().flatten();
        let sas = sas.chain(end.installed.outbound.values().flatten());
        for sa in sas {
            assert_eq!(hard(sa), (Some(600), Some(10 << 20)));
            // Each renews before that.
            let soft = sa.lifetimes.soft();
            assert!(soft.seconds <= Some(540) && soft.bytes <= Some(9 << 20));
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
        sas.map(|sa| sa.lifetimes.hard().seconds)
            .collect::<Vec<_>>()
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

/// A peer that wants next to nothing gets a minute and some kilobytes, in either role, and is told of it if it began:
/// it must not make us renew without end.
#[test]
fn a_second_is_no_life() {
    for (greedy, seed) in [0, 1].into_iter().zip(740..) {
        let mut connections = gateways();
        let peer = &mut connections[greedy];
        (peer.ike_lifetime, peer.ike_kilobytes) = (1, Some(1));
        peer.children[0].hard = Limits {
            seconds: Some(1),
            bytes: Some(1024),
            ..Limits::default()
        };
        let mut pair = Pair::new(seed, connections);
        pair.initiate(0);
        pair.run(SECOND / 2);
        let us = &pair.ends[1 - greedy];
        let renewal = us.endpoint.snapshot().ikes[0].renewal.unwrap();
        assert!(renewal >= 48 * SECOND, "{greedy}: {renewal:?}");
        let sas = us.installed.inbound.values().flatten();
        for sa in sas.chain(us.installed.outbound.values().flatten()) {
            let (soft, hard) = (sa.lifetimes.soft(), sa.lifetimes.hard());
            assert_eq!((hard.seconds, hard.bytes), (Some(60), Some(1 << 20)));
            assert!(soft.seconds >= Some(48), "{soft:?}");
        }
        // Once, however often there are new ones.
        for _ in 0..3 {
            pair.initiate(0);
            pair.run(SECOND / 2);
        }
        let us = &pair.ends[1 - greedy];
        let installed = us.events.iter();
        let installed = installed.filter(|event| matches!(event, Event::AddSa(_)));
        assert!(installed.count() > 6);
        let told = us.events.iter().filter_map(|event| match event {
            Event::ShortLife {
                child,
                seconds: Some(1),
                kilobytes: Some(1),
                ..
            } => Some(child.as_deref()),
            _ => None,
        });
        let children = pair.ends[0].endpoint.snapshot().children;
        assert_eq!(
            told.collect::<Vec<_>>(),
            [None, Some(&children[0].name[..])]
        );
    }
}

/// RFC 2407 4.6.3 lets the last message of main mode say it, but no hash covers it there (RFC 2409 5): it is not heard.
#[test]
fn what_no_hash_covers_is_no_lifetime() {
    let settings = Settings {
        key_log: true,
        ..Settings::default()
    };
    let mut honest = Pair::with(750, gateways(), settings.clone());
    honest.initiate(0);
    honest.run(SECOND);
    let key = honest.ends[0].events.iter().find_map(|event| match event {
        Event::KeyLog { encryption_key, .. } => Some(encryption_key.expose().to_vec()),
        _ => None,
    });
    let (key, before) = (key.unwrap(), honest.log[4].1.clone());
    let mut pair = Pair::with(750, gateways(), settings);
    let mut count = 0;
    pair.tamper = Some(Box::new(move |_, message| {
        count += 1;
        match count {
            6 => vec![with_lifetime(message, &key, &before)],
            _ => vec![message.to_vec()],
        }
    }));
    pair.initiate(0);
    pair.run(SECOND);
    let ikes = pair.ends[0].endpoint.snapshot().ikes;
    let renewal = ikes[0].renewal.expect("it stands");
    assert!(renewal > 20_000 * SECOND, "{renewal:?}");
}

/// Message 6 with RESPONDER-LIFETIME of 600 seconds behind its hash, encrypted as the responder would have done it.
fn with_lifetime(message: &[u8], key: &[u8], before: &[u8]) -> Vec<u8> {
    const HEADER: usize = 28;
    let (header, body) = message.split_at(HEADER);
    let cipher = (key, before.last_chunk::<16>().unwrap());
    let mut body = body.to_vec();
    crypt(cipher, &mut body, false);
    // The generic header (RFC 2408 3.2) of the identity, and after that of the hash, which is to be followed by 11.
    let length = |at: usize| usize::from(u16::from_be_bytes([body[at + 2], body[at + 3]]));
    let hash = length(0);
    body.truncate(hash + length(hash));
    body[hash] = 11;
    body.extend([0, 0, 0, 36, 0, 0, 0, 1, 1, 16, 0x60, 0]);
    body.extend(&header[..16]);
    body.extend([0x80, 11, 0, 1, 0x80, 12, 0x02, 0x58]);
    body.resize(body.len().next_multiple_of(16), 0);
    crypt(cipher, &mut body, true);
    let length = u32::try_from(HEADER + body.len()).unwrap();
    [&header[..24], &length.to_be_bytes(), &body].concat()
}

/// AES-256 in CBC.
fn crypt((key, iv): (&[u8], &[u8; 16]), body: &mut [u8], encrypt: bool) {
    let key = aes::Aes256::new_from_slice(key).unwrap();
    let (blocks, []) = Array::slice_as_chunks_mut(body) else {
        panic!("whole blocks");
    };
    match encrypt {
        true => cbc::Encryptor::inner_iv_init(key, iv.into()).encrypt_blocks(blocks),
        false => cbc::Decryptor::inner_iv_init(key, iv.into()).decrypt_blocks(blocks),
    }
}
