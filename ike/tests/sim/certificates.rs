//! A gateway with more than one certificate shows the one that its peer asks for (requirement 99).

use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{
    Authentication, Connection, Credentials, Identity, Method, Phase1Exchange, Revocation, Secret,
};
use portcullis_ike::crypto::certificate::Certificate;
use portcullis_ike::{CloseReason, Command, Error, Event, Local};

use crate::harness::{Pair, gateways};

fn read(name: &str) -> Vec<u8> {
    let pki = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pki");
    std::fs::read(format!("{pki}/{name}")).unwrap()
}

fn method(own: &str, roots: &[&str]) -> Method {
    with_key(own, "rsa2048.pk8", roots)
}

fn with_key(own: &str, key: &str, roots: &[&str]) -> Method {
    let subject = Certificate::from_der(&read(own)).unwrap();
    Method {
        authentication: Authentication::Certificates(Credentials {
            chain: vec![read(own)],
            private_key: Secret::new(read(key)),
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

const EXCHANGES: [Phase1Exchange; 2] = [Phase1Exchange::Main, Phase1Exchange::Aggressive];

/// Ends that prove themselves by ECDSA; the first one by any of `own`.
fn by_ecdsa(exchange: Phase1Exchange, own: &[&str]) -> [Connection; 2] {
    let [a, b] = gateways();
    let method = |own: &&str| with_key(own, "p256.pk8", &["root.crt"]);
    let theirs = vec![method(&"any_purpose.crt")];
    let own = own.iter().map(method).collect();
    [with(a, exchange, own), with(b, exchange, theirs)]
}

/// Who the first end has proved to be.
fn shown(pair: &Pair) -> Option<Identity> {
    let ikes = pair.ends[1].endpoint.snapshot().ikes;
    ikes.first().and_then(|ike| ike.remote_id.clone())
}

fn subject(own: &str) -> Option<Identity> {
    let own = Certificate::from_der(&read(own)).unwrap();
    Some(Identity::DistinguishedName(own.subject().to_vec()))
}

/// Requirement 99: of those that suit, first the one that is made for IKE (RFC 4945 5.1.3.12), wherever it stands.
#[test]
fn a_certificate_with_the_purpose_of_ike_goes_first() {
    for own in [["gateway.crt", "ike.crt"], ["ike.crt", "gateway.crt"]] {
        for initiator in 0..2 {
            let mut pair = Pair::new(540, by_ecdsa(Phase1Exchange::Main, &own));
            pair.initiate(initiator);
            pair.run(Duration::from_secs(2));
            assert_eq!(pair.agreed(), 1);
            assert_eq!(
                shown(&pair),
                subject("ike.crt"),
                "{own:?}, {initiator} begins"
            );
        }
    }
}

/// One that has expired, or is not valid yet, is passed over where there is another, wherever it stands.
#[test]
fn a_certificate_out_of_its_time_is_passed_over() {
    for (exchange, out) in EXCHANGES.into_iter().zip(["expired.crt", "early.crt"]) {
        for own in [[out, "gateway.crt"], ["gateway.crt", out]] {
            for initiator in 0..2 {
                let mut pair = Pair::new(550, by_ecdsa(exchange, &own));
                pair.initiate(initiator);
                pair.run(Duration::from_secs(2));
                assert_eq!(
                    pair.agreed(),
                    1,
                    "{exchange:?}, {own:?}, {initiator} begins"
                );
                assert_eq!(shown(&pair), subject("gateway.crt"));
            }
        }
    }
}

#[test]
fn no_certificate_in_its_time_is_an_error_that_names_it() {
    for (exchange, initiator) in EXCHANGES.into_iter().zip([0, 1]).chain([(EXCHANGES[1], 0)]) {
        let mut pair = Pair::new(560, by_ecdsa(exchange, &["expired.crt", "early.crt"]));
        pair.initiate(initiator);
        pair.run(Duration::from_secs(2));
        let failed = pair.ends[0].events.iter().find_map(|event| match event {
            Event::Failed(failure) => Some(failure.reason.clone()),
            _ => None,
        });
        let Some(CloseReason::Error(Error::Local(Local::OwnCertificate(which)))) = failed else {
            panic!("{exchange:?}, {initiator} begins: {failed:?}");
        };
        assert!(
            which.contains("CN=Expired") && which.contains("has expired"),
            "{which}"
        );
    }
}

/// What one entry knows to be revoked, no other one is believed about: not even if the peer leaves out the issuers that
/// would lead to the first one's root.
#[test]
fn revocation_is_not_evaded_by_leaving_an_issuer_out() {
    let entry = |own, roots: &[&str], crls: &[&str], revocation| {
        let mut method = with_key(own, "p256.pk8", roots);
        if let Authentication::Certificates(credentials) = &mut method.authentication {
            credentials.crls = crls.iter().map(|crl| read(crl)).collect();
            credentials.revocation = revocation;
        }
        method
    };
    let stands = |sent: &[&str], crls: &[&str], revocation| {
        let [a, b] = gateways();
        let both = vec![
            entry("gateway.crt", &["root.crt"], crls, revocation),
            entry("ike.crt", &["middle.crt"], &[], Revocation::Off),
        ];
        let mut theirs = entry("by_middle.crt", &["root.crt"], &[], Revocation::Off);
        if let Authentication::Certificates(credentials) = &mut theirs.authentication {
            credentials.chain = sent.iter().map(|file| read(file)).collect();
        }
        let a = with(a, Phase1Exchange::Main, both);
        let mut pair = Pair::new(570, [a, with(b, Phase1Exchange::Main, vec![theirs])]);
        pair.initiate(1);
        pair.run(Duration::from_secs(2));
        pair.ends[0].established() == 1
    };
    for sent in [&["by_middle.crt", "middle.crt"][..], &["by_middle.crt"]] {
        let known = |crls| stands(sent, crls, Revocation::Known);
        assert!(!known(&["root_middle.crl"]), "{sent:?}");
        assert!(known(&["root.crl"]), "{sent:?}");
        assert!(known(&[]), "{sent:?}");
        // A list of somebody who only has the same name says nothing.
        assert!(known(&["root_forged.crl"]), "{sent:?}");
        // Lists must be there for all on the way, and are not.
        assert!(
            !stands(sent, &["root_expired.crl"], Revocation::Required),
            "{sent:?}"
        );
        assert!(!stands(sent, &[], Revocation::Required), "{sent:?}");
    }
}
