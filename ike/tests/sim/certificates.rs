//! A gateway with more than one certificate shows the one that its peer asks for (requirement 99).

use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{
    Authentication, Connection, Credentials, Identity, Method, Phase1Exchange, Revocation, Secret,
};
use portcullis_ike::Command;
use portcullis_ike::crypto::certificate::Certificate;

use crate::harness::{Pair, gateways};

fn read(name: &str) -> Vec<u8> {
    let pki = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pki");
    std::fs::read(format!("{pki}/{name}")).unwrap()
}

fn method(own: &str, roots: &[&str]) -> Method {
    let subject = Certificate::from_der(&read(own)).unwrap();
    Method {
        authentication: Authentication::Certificates(Credentials {
            chain: vec![read(own)],
            private_key: Secret::new(read("rsa2048.pk8")),
            roots: roots.iter().map(|root| read(root)).collect(),
            crls: Vec::new(),
            revocation: Revocation::Off,
            name_roots: true,
        }),
        local_id: Identity::DistinguishedName(subject.subject().to_vec()),
    }
}

fn with(connection: Connection, exchange: Phase1Exchange, methods: Vec<Method>) -> Connection {
    let mut methods = methods.into_iter();
    let first = methods.next().unwrap();
    Connection {
        exchange,
        authentication: first.authentication,
        local_id: first.local_id,
        remote_id: None,
        further: methods.collect(),
        ..connection
    }
}

/// The end with two certificates of the same kind, from two authorities, and one that believes only `believed`.
fn connections(exchange: Phase1Exchange, believed: &str) -> [Connection; 2] {
    let [a, b] = gateways();
    let two = vec![
        method("rsa.crt", &["root.crt", "rsa_root.crt"]),
        method("rsa_by_rsa.crt", &["rsa_root.crt"]),
    ];
    let one = vec![method("sha256.crt", &[believed])];
    [with(a, exchange, two), with(b, exchange, one)]
}

#[test]
fn the_peer_gets_the_certificate_that_it_asks_for() {
    let exchanges = [Phase1Exchange::Main, Phase1Exchange::Aggressive];
    for (exchange, seed) in exchanges.into_iter().zip(500..) {
        for believed in ["root.crt", "rsa_root.crt"] {
            for initiator in 0..2 {
                let mut pair = Pair::new(seed, connections(exchange, believed));
                pair.initiate(initiator);
                pair.run(Duration::from_secs(2));
                assert_eq!(
                    pair.agreed(),
                    1,
                    "{exchange:?}, {initiator} begins, {believed}"
                );
            }
        }
    }
}

#[test]
fn one_that_does_not_suit_is_not_believed() {
    let all = connections(Phase1Exchange::Main, "other_root.crt");
    let mut pair = Pair::new(510, all);
    pair.initiate(0);
    pair.run(Duration::from_secs(70));
    assert_eq!(pair.ends.each_ref().map(|end| end.established()), [0, 0]);
    assert!(pair.ends[1].failures() > 0);
}

/// `a` has two certificates of the same kind, and each entry names another root; the peer asks for the first, and
/// leads to `theirs` itself.
fn two_roots(exchange: Phase1Exchange, theirs: &str) -> [Connection; 2] {
    let [a, b] = gateways();
    let two = vec![
        method("rsa.crt", &["root.crt"]),
        method("rsa_by_rsa.crt", &[theirs]),
    ];
    let one = vec![method("sha256.crt", &["root.crt"])];
    [with(a, exchange, two), with(b, exchange, one)]
}

#[test]
fn a_root_of_any_entry_is_believed_whichever_certificate_is_in_use() {
    let exchanges = [Phase1Exchange::Main, Phase1Exchange::Aggressive];
    for (exchange, seed) in exchanges.into_iter().zip(520..) {
        for initiator in 0..2 {
            let mut pair = Pair::new(seed, two_roots(exchange, "rsa_root.crt"));
            pair.initiate(initiator);
            pair.run(Duration::from_secs(2));
            assert_eq!(pair.agreed(), 1, "{exchange:?}, {initiator} begins");
        }
    }
}

#[test]
fn a_root_of_another_connection_is_not() {
    let [a, b] = two_roots(Phase1Exchange::Main, "other_root.crt");
    let mut elsewhere = a.clone();
    elsewhere.name = "elsewhere".to_owned();
    elsewhere.further = vec![method("rsa_by_rsa.crt", &["rsa_root.crt"])];
    elsewhere.remote_id = Some(Identity::Fqdn("elsewhere.test".to_owned()));
    for initiator in 0..2 {
        let mut pair = Pair::new(530, [a.clone(), b.clone()]);
        let both = vec![Arc::new(a.clone()), Arc::new(elsewhere.clone())];
        pair.command(0, Command::Configure(both));
        pair.initiate(initiator);
        pair.run(Duration::from_secs(70));
        assert_eq!(pair.ends[0].established(), 0);
        assert!(pair.ends[0].failures() > 0);
    }
}
