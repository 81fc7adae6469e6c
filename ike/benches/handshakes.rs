//! IKE handshakes (main mode and quick mode) per second of one responder, and where its time goes.
//!
//! `cargo bench -p portcullis-ike --bench handshakes [-- PEERS]` prints for each group and authentication: handshakes per second
//! of one core that does it all; the microseconds of each that Diffie-Hellman, signing and verifying take, which a pool
//! may take over; those of the endpoint itself, at the beginning and with all peers connected.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::type_complexity,
    missing_docs
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_config::{
    Authentication, Connection, Credentials, Group, Identity, IkeProposal, RemoteAddress,
    Revocation, Secret,
};
use portcullis_ike::{Command, Datagram, Endpoint, Event, Settings, SpiSource, Transmit};

#[allow(dead_code, unreachable_pub)] // the tests use more of it
#[path = "../tests/sim/harness.rs"]
mod harness;

use harness::{Seeded, gateways};

/// Peers that connect, one after the other, and stay, unless another number is said.
const PEERS: usize = 500;
/// Peers at the beginning and at the end whose part of the endpoint's time is shown.
const SOME: usize = 50;
/// 2027.
const UNIX_TIME: u64 = 1_800_000_000;
const PKI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pki");

struct Spis(u32);

impl SpiSource for Spis {
    fn reserve(&mut self, _protocol: u8, _destination: std::net::IpAddr) -> Option<u32> {
        self.0 += 1;
        Some(self.0)
    }

    fn release(&mut self, _spi: u32) {}
}

fn endpoint(seed: u64, connection: Connection) -> Endpoint {
    let settings = Settings {
        half_open_per_source: usize::MAX,
        ..Settings::default()
    };
    let mut endpoint = Endpoint::new(settings, Box::new(Seeded(seed)), Box::new(Spis(0x1000)));
    endpoint.handle_command(
        Duration::ZERO,
        Command::Configure(vec![Arc::new(connection)]),
    );
    endpoint
}

fn credentials(certificate: &str, key: &str) -> Authentication {
    let read = |file: &str| std::fs::read(format!("{PKI}/{file}")).unwrap();
    Authentication::Certificates(Credentials {
        chain: vec![read(certificate)],
        private_key: Secret::new(read(key)),
        roots: vec![read("root.crt")],
        crls: Vec::new(),
        revocation: Revocation::Off,
        name_roots: true,
    })
}

/// Time that the responder spends, by what it does.
#[derive(Default)]
struct Spent {
    work: BTreeMap<String, Duration>,
    endpoint: Vec<Duration>,
}

/// Takes what an endpoint has to say; adds up the time of its work.
fn drain(
    endpoint: &mut Endpoint,
    random: &mut Seeded,
    now: Duration,
    spent: &mut Spent,
) -> Vec<Transmit> {
    let mut out = Vec::new();
    loop {
        let mut more = false;
        while let Some(event) = endpoint.poll_event() {
            assert!(!matches!(event, Event::Failed(_)), "{event:?}");
            more = true;
        }
        while let Some(work) = endpoint.poll_work() {
            let name = format!("{work:?}");
            let name = name.split("job: ").nth(1).unwrap_or("?");
            let name = name.split([' ', '(', '{']).next().unwrap_or("?").to_owned();
            let began = Instant::now();
            let done = work.run(random, UNIX_TIME);
            *spent.work.entry(name).or_default() += began.elapsed();
            endpoint.handle_work_done(now, done);
            more = true;
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            out.push(transmit);
            more = true;
        }
        if !more {
            return out;
        }
    }
}

fn deliver(to: &mut Endpoint, now: Duration, transmits: Vec<Transmit>) {
    for transmit in transmits {
        to.handle_datagram(
            now,
            Datagram {
                local: transmit.remote,
                remote: transmit.local,
                bytes: &transmit.bytes,
            },
        );
    }
}

fn run(group: Group, authentication: &Authentication, peers: usize) -> Spent {
    let [mut initiator, mut responder] = gateways();
    let identity = Identity::Fqdn("gw.example.org".to_owned());
    for connection in [&mut initiator, &mut responder] {
        connection.authentication = authentication.clone();
        connection.ike_proposals = vec![IkeProposal {
            group,
            ..connection.ike_proposals[0]
        }];
        if matches!(authentication, Authentication::Certificates(_)) {
            connection.local_id = identity.clone();
        }
        connection.remote_id = None;
    }
    responder.remote = RemoteAddress::Any;
    let gateway: SocketAddr = "192.0.2.2:500".parse().unwrap();
    let mut server = endpoint(1, responder);
    let (mut random, mut spent, mut theirs) = (Seeded(2), Spent::default(), Spent::default());
    for peer in 0..peers {
        let now = Duration::from_millis(peer as u64);
        let address: SocketAddr = format!("198.18.{}.{}:500", peer / 250, 1 + peer % 250)
            .parse()
            .unwrap();
        let mut connection = initiator.clone();
        connection.local = Some(address.ip());
        connection.remote = RemoteAddress::Host(gateway.ip());
        if matches!(authentication, Authentication::PreSharedKey(_)) {
            connection.local_id = Identity::Fqdn(format!("peer{peer}.test"));
        }
        let mut client = endpoint(peer as u64 + 1000, connection);
        let command = Command::Initiate {
            connection: "peer".to_owned(),
            child: None,
        };
        client.handle_command(now, command);
        let mut own = Duration::ZERO;
        for _ in 0..6 {
            let messages = drain(&mut client, &mut random, now, &mut theirs);
            let before: Duration = spent.work.values().sum();
            let began = Instant::now();
            deliver(&mut server, now, messages);
            let answers = drain(&mut server, &mut random, now, &mut spent);
            let work: Duration = spent.work.values().sum::<Duration>() - before;
            own += began.elapsed() - work;
            deliver(&mut client, now, answers);
        }
        spent.endpoint.push(own);
    }
    // Those who prove to be the same take over from each other.
    let stand = match authentication {
        Authentication::PreSharedKey(_) => peers,
        Authentication::Certificates(_) => 1,
    };
    let snapshot = server.snapshot();
    assert_eq!(snapshot.children.len(), stand, "{:?}", snapshot.failures);
    assert_eq!(snapshot.counters.children, peers as u64);
    spent
}

fn microseconds(time: Duration, number: usize) -> f64 {
    time.as_secs_f64() * 1e6 / number as f64
}

fn main() {
    // cargo adds an argument of its own.
    let said = std::env::args().find_map(|argument| argument.parse().ok());
    let peers: usize = said.unwrap_or(PEERS).max(SOME);
    let psk = Authentication::PreSharedKey(Secret::new(b"secret of both".to_vec()));
    let methods = [
        ("PSK", psk),
        ("RSA-2048", credentials("rsa.crt", "rsa2048.pk8")),
        ("ECDSA-256", credentials("gateway.crt", "p256.pk8")),
    ];
    for group in [
        Group::Modp2048,
        Group::Modp3072,
        Group::Ecp256,
        Group::X25519,
    ] {
        for (name, authentication) in &methods {
            // The best of three: the machine may be shared.
            let best = (0..3)
                .map(|_| run(group, authentication, peers))
                .min_by_key(total)
                .unwrap();
            let work = best
                .work
                .iter()
                .map(|(name, time)| format!("{name} {:.0}", microseconds(*time, peers)));
            let some = |part: &[Duration]| microseconds(part.iter().sum(), part.len());
            println!(
                "{:9} {name:9} {:6.0}/s; us: {}, endpoint {:.0} (first {:.0}, last {:.0})",
                format!("{group:?}"),
                peers as f64 / total(&best).as_secs_f64(),
                work.collect::<Vec<_>>().join(", "),
                some(&best.endpoint),
                some(&best.endpoint[..SOME]),
                some(&best.endpoint[peers - SOME..]),
            );
        }
    }
}

fn total(spent: &Spent) -> Duration {
    spent.work.values().sum::<Duration>() + spent.endpoint.iter().sum()
}
