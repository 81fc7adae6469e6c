//! When there is a soft SA, and when there must be none.

use std::path::Path;
use std::time::Duration;

use portcullis_ike::{Error, PeerIncompatible};
use portcullis_ipsec::children::Carrier;

use super::*;

const WORKERS: usize = 2;
const NUMBER: u32 = 3;

fn policy(profile: &str, clear: &str) -> Policy {
    let text = format!(
        r#"
        [policy]
        profile = "{profile}"
        [[port]]
        name = "lan"
        device = "net_null0"
        side = "protected"
        addresses = ["10.1.0.1/24"]
        [[port]]
        name = "wan"
        device = "net_null1"
        side = "unprotected"
        addresses = ["192.0.2.1/24"]
        [[connection]]
        name = "peer"
        remote = "192.0.2.9"
        psk = "correct horse battery staple"
        [[connection.child]]
        name = "lans"
        hard-lifetime = {{ seconds = 1000 }}
        [[spd]]
        name = "a-to-c"
        local = "10.1.0.0/24"
        remote = "10.3.0.0/24"
        action = "protect"
        connection = "peer"
        {clear}
        "#
    );
    let loaded = portcullis_config::parse(&text, Path::new("p.toml"), Path::new("/nonexistent"));
    loaded.map_err(|m| m[0].to_string()).unwrap().policy
}

fn old(clear: &str) -> Policy {
    policy("ws2003", &format!("clear-text = \"{clear}\""))
}

fn failure(reason: CloseReason) -> Failure {
    Failure {
        at: Duration::ZERO,
        connection: Some("peer".into()),
        child: Some("lans".into()),
        remote: "192.0.2.9:500".parse().unwrap(),
        reason,
        mismatches: Vec::new(),
    }
}

fn begin(soft: &mut SoftSas, policy: &Policy, reason: CloseReason) -> Orders {
    soft.begin(NUMBER, &failure(reason), (policy, WORKERS), 1000)
}

#[test]
fn silence_alone_makes_one_and_only_where_the_policy_falls_back() {
    let refused = [
        CloseReason::PeerDead,
        CloseReason::Overloaded,
        CloseReason::DeletedByPeer,
        CloseReason::Expired,
        CloseReason::Error(Error::PeerIncompatible(PeerIncompatible::PreSharedKey)),
        CloseReason::Error(Error::PeerIncompatible(PeerIncompatible::Identity)),
        CloseReason::Error(Error::PeerRefused(14)), // NO-PROPOSAL-CHOSEN
        CloseReason::Error(Error::PeerRefused(24)), // AUTHENTICATION-FAILED
    ];
    for reason in refused {
        let mut soft = SoftSas::default();
        assert!(
            begin(&mut soft, &old("fall-back"), reason.clone()).is_empty(),
            "{reason:?}"
        );
    }
    let modern = policy("modern", "");
    let mut forced = modern.clone();
    for entry in &mut forced.spd {
        if let Action::Negotiate { clear, .. } = &mut entry.action {
            *clear = ClearText::FallBack;
        }
    }
    for policy in [old("never"), old("accept"), modern, forced] {
        let mut soft = SoftSas::default();
        assert!(begin(&mut soft, &policy, CloseReason::NoAnswer).is_empty());
        assert_eq!(soft.iter().count(), 0);
    }
    let mut soft = SoftSas::default();
    let orders = begin(&mut soft, &old("fall-back"), CloseReason::NoAnswer);
    assert_eq!(
        orders.iter().map(|(worker, _)| *worker).collect::<Vec<_>>(),
        [0, 1]
    );
    assert!(
        begin(&mut soft, &old("fall-back"), CloseReason::NoAnswer).is_empty(),
        "once"
    );
}

#[test]
fn a_peer_that_knows_ike_is_never_fallen_back_on() {
    let mut soft = SoftSas::default();
    soft.note_capable("192.0.2.9".parse().unwrap());
    assert!(begin(&mut soft, &old("fall-back"), CloseReason::NoAnswer).is_empty());
}

#[test]
fn it_ages_by_the_traffic_of_all_workers_and_dies_of_old_age() {
    let policy = old("fall-back");
    let mut soft = SoftSas::default();
    let orders = begin(&mut soft, &policy, CloseReason::NoAnswer);
    let Some((1, Command::Negotiated(Order::Bind(bound)))) = orders.into_iter().nth(1) else {
        panic!("no order for the second worker");
    };
    assert_eq!(bound.child, NUMBER);
    let Carrier::Clear(counters) = &bound.carrier else {
        panic!("{:?}", bound.carrier);
    };
    // Idle from its beginning.
    assert_eq!(soft.due(&policy, 1000 + IDLE - 1), None);
    assert_eq!(
        soft.due(&policy, 1000 + IDLE),
        Some(((NUMBER, None), "no traffic"))
    );
    for use_at in [200_000, 500_000, 800_000] {
        counters.used(100, use_at);
    }
    assert_eq!(soft.due(&policy, 1_000_999), None);
    assert_eq!(
        soft.due(&policy, 1_001_000),
        Some(((NUMBER, None), "its lifetime is over"))
    );
    assert_eq!(
        soft.due(&old("accept"), 800_000),
        Some(((NUMBER, None), "the policy has changed"))
    );
    let row = soft.iter().next().unwrap().status(801_000);
    assert_eq!((row.packets, row.bytes, row.idle_ms), (3, 300, Some(1000)));
    assert_eq!(
        (row.name.as_str(), row.mode.as_str()),
        ("peer/lans", "soft")
    );
    let (_, orders) = soft.end((NUMBER, None)).unwrap();
    assert_eq!(orders.len(), WORKERS);
    assert_eq!(soft.due(&policy, u64::MAX), None);
}

/// In transport mode one silent host says nothing about the others.
#[test]
fn in_transport_mode_it_is_for_one_host() {
    let mut policy = old("fall-back");
    policy.connections[0].children[0].mode = Mode::Transport;
    let mut soft = SoftSas::default();
    soft.note_capable("10.3.0.8".parse().unwrap());
    let mut silent = failure(CloseReason::NoAnswer);
    for (host, allowed) in [
        ("10.3.0.7", true),
        ("10.3.0.7", false), // has one
        ("10.3.0.8", false), // knows IKE
        ("10.3.0.9", true),
        ("10.9.0.9", false), // not the entry's
    ] {
        silent.remote = format!("{host}:500").parse().unwrap();
        let orders = soft.begin(NUMBER, &silent, (&policy, WORKERS), 1000);
        assert_eq!(!orders.is_empty(), allowed, "{host}");
        if let Some((_, Command::Negotiated(Order::Bind(bound)))) = orders.into_iter().next() {
            let host: IpAddr = host.parse().unwrap();
            let (start, end) = (host, host);
            let one = Selector {
                remote: vec![AddressRange { start, end }],
                ..Selector::default()
            };
            assert_eq!(bound.prefix, RemotePrefix::around(&one));
        }
    }
    assert_eq!(soft.iter().count(), 2);
    assert_eq!(soft.due(&policy, 2000), None);
}
