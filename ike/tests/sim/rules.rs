//! What rules ask of IKE: several ways of authentication, and peers that are whom packets are for.

use std::path::Path;
use std::time::Duration;

use portcullis_config::{
    Authentication, Credentials, Identity, Method, Mode, RemoteAddress, Revocation, Secret,
    Selector,
};
use portcullis_ike::Command;

use crate::harness::{Pair, gateways, range};

const SECOND: Duration = Duration::from_secs(1);
/// IKE attribute 3, authentication method, in the short form (RFC 2409 appendix A).
const METHOD: [u8; 2] = [0x80, 3];

fn pki(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pki");
    std::fs::read(folder.join(file)).unwrap()
}

/// The methods that a message offers, in order.
fn offered(message: &[u8]) -> Vec<u8> {
    let found = message.windows(4).filter(|w| w[..2] == METHOD);
    found.map(|w| w[3]).collect()
}

#[test]
fn every_way_is_offered_and_the_peer_takes_the_one_it_has() {
    for initiator in 0..2 {
        let mut connections = gateways();
        // The first end would rather prove itself with its certificate.
        let [a, _] = &mut connections;
        let credentials = Credentials {
            chain: vec![pki("gateway.crt")],
            private_key: Secret::new(pki("p256.pk8")),
            roots: vec![pki("root.crt")],
            crls: Vec::new(),
            revocation: Revocation::Off,
            name_roots: true,
        };
        let preferred = Authentication::Certificates(credentials);
        a.further = vec![Method {
            authentication: std::mem::replace(&mut a.authentication, preferred),
            local_id: std::mem::replace(&mut a.local_id, Identity::Fqdn("other.test".to_owned())),
        }];
        let mut pair = Pair::new(60, connections);
        pair.initiate(initiator);
        pair.run(SECOND);
        assert_eq!(pair.agreed(), 1);
        pair.no_leak();
        // 9 is ECDSA with SHA-256 on P-256 (RFC 4754 3), 1 a pre-shared key.
        let expected: &[u8] = if initiator == 0 { &[9, 1] } else { &[1] };
        assert_eq!(offered(&pair.log[0].1), expected);
        assert_eq!(offered(&pair.log[1].1), [1]);
    }
}

#[test]
fn peer_is_whom_the_packet_is_for() {
    let mut connections = gateways();
    let [a, b] = &mut connections;
    a.remote = RemoteAddress::Ranges(vec![range("192.0.2.0", "192.0.2.255")]);
    a.remote_id = None;
    let host = |address: &str| vec![range(address, address)];
    let net = vec![range("192.0.2.0", "192.0.2.255")];
    a.children[0].selector = Selector {
        local: host("192.0.2.1"),
        remote: net.clone(),
        ..Selector::default()
    };
    b.children[0].selector = Selector {
        local: host("192.0.2.2"),
        remote: net,
        ..Selector::default()
    };
    for connection in &mut connections {
        connection.children[0].mode = Mode::Transport;
    }
    let mut pair = Pair::new(61, connections);
    let packet = Command::Acquire {
        connection: "peer".to_owned(),
        child: "lan".to_owned(),
        local: "192.0.2.1".parse().unwrap(),
        remote: "192.0.2.2".parse().unwrap(),
    };
    pair.command(0, packet.clone());
    // A second packet while the first is under way asks for nothing more.
    pair.command(0, packet);
    pair.run(SECOND);
    assert_eq!(pair.agreed(), 1);
    assert_eq!(pair.ends[0].established(), 1);
    let child = &pair.ends[0].endpoint.snapshot().children[0];
    assert_eq!(child.selector.remote, host("192.0.2.2"));
}
