//! Road warriors: XAUTH (draft-beaulieu-ike-xauth-02), hybrid authentication and mode config
//! (draft-dukes-ike-mode-cfg-02), the first end as the client of the second.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{
    AddressPool, Authentication, Connection, Credentials, Identity, ModeConfig, Phase1Exchange,
    RemoteAccess, RemoteAddress, Revocation, Secret, Users, Xauth,
};
use portcullis_ike::{Command, Event};

use crate::harness::{Pair, gateways, range};

const SECOND: Duration = Duration::from_secs(1);
/// The exchange type of draft-dukes-ike-mode-cfg-02 3.1.
pub(crate) const TRANSACTION: u8 = 6;
/// `openssl passwd -6 -salt abcdefgh wonderland`.
pub(crate) const HASH: &str = "$6$abcdefgh$e1o..VsKRS0O4M9J1Qb9u.strxNEAfDkCXcaYc5TsDrJFctQCTMkPeis45vy3ZQtqt4dqG4vXTonFJKbQgR2Q1";

pub(crate) fn pool(addresses: (&str, &str)) -> Arc<AddressPool> {
    Arc::new(AddressPool {
        name: "warriors".to_owned(),
        ranges: vec![range(addresses.0, addresses.1)],
        netmask: Ipv4Addr::BROADCAST,
        dns: vec!["10.2.0.53".parse().unwrap()],
        nbns: Vec::new(),
        split_include: vec!["10.2.0.0/24".parse().unwrap()],
        domain: Some("example.com".to_owned()),
        banner: None,
    })
}

pub(crate) fn server(tries: u32) -> Xauth {
    let text = ["alice", "bob"]
        .map(|name| format!("{name}:{HASH}\n"))
        .concat();
    Xauth::Server {
        users: Arc::new(Users::read(&text).unwrap()),
        tries,
    }
}

pub(crate) fn client(user: &str, password: &str) -> Xauth {
    Xauth::Client {
        user: user.to_owned(),
        password: Secret::new(password.as_bytes().to_vec()),
    }
}

/// A client and its server: alice asks for an address of 10.1.0.0/24.
pub(crate) fn connections() -> [Connection; 2] {
    let [mut warrior, mut gateway] = gateways();
    warrior.remote_access = RemoteAccess {
        xauth: Some(client("alice", "wonderland")),
        hybrid: false,
        mode_config: Some(ModeConfig::Ask),
    };
    gateway.remote = RemoteAddress::Any;
    gateway.remote_id = None;
    gateway.remote_access = RemoteAccess {
        xauth: Some(server(3)),
        hybrid: false,
        mode_config: Some(ModeConfig::Give {
            pool: pool(("10.1.0.10", "10.1.0.20")),
            push: false,
        }),
    };
    [warrior, gateway]
}

pub(crate) fn stands(pair: &mut Pair) {
    pair.run(2 * SECOND);
    for end in &pair.ends {
        assert_eq!(end.failures(), 0, "{:#?}", end.events);
        assert_eq!(end.established(), 1);
        assert_eq!(end.installed.outbound.len(), 1);
    }
    assert_eq!(pair.agreed(), 1);
    pair.no_leak();
}

fn exchanges(pair: &Pair) -> Vec<(usize, u8)> {
    pair.log
        .iter()
        .map(|(from, bytes)| (*from, bytes[18]))
        .collect()
}

pub(crate) fn address_of(pair: &Pair) -> String {
    let snapshot = pair.ends[1].endpoint.snapshot();
    let ike = snapshot.ikes.iter().find(|ike| ike.state == "established");
    format!("{:?}", ike.unwrap().addresses)
}

#[test]
fn main_mode_xauth_mode_config_and_quick_mode() {
    let mut pair = Pair::new(1, connections());
    pair.initiate(0);
    stands(&mut pair);
    // Main mode; then REQUEST and REPLY, SET and ACKNOWLEDGE; REQUEST and REPLY of mode config; quick mode.
    let transactions = [(1, 6), (0, 6), (1, 6), (0, 6), (0, 6), (1, 6)];
    assert_eq!(exchanges(&pair)[6..12], transactions);
    let quick = [(0, 32), (1, 32), (0, 32)];
    assert_eq!(exchanges(&pair)[12..], quick);
    let ikes = pair.ends[1].endpoint.snapshot().ikes;
    assert_eq!(ikes[0].user.as_deref(), Some("alice"));
    assert_eq!(address_of(&pair), "[10.1.0.10]");
    // SAs are for the leased address only.
    let sas = pair.ends[1].installed.inbound.values().next().unwrap();
    assert_eq!(
        sas[0].selectors[0].remote,
        [range("10.1.0.10", "10.1.0.10")]
    );
    assert!(pair.traffic() == [true, true]);
}

#[test]
fn aggressive_mode_and_push() {
    let mut all = connections();
    for connection in &mut all {
        connection.exchange = Phase1Exchange::Aggressive;
    }
    all[1].remote_access.mode_config = Some(ModeConfig::Give {
        pool: pool(("10.1.0.10", "10.1.0.20")),
        push: true,
    });
    let mut pair = Pair::new(2, all);
    pair.initiate(0);
    stands(&mut pair);
    assert_eq!(address_of(&pair), "[10.1.0.10]");
}

#[test]
fn wrong_passwords_are_refused_and_wait() {
    for (user, password) in [
        ("alice", "looking-glass"),
        ("carol", "wonderland"),
        ("", ""),
    ] {
        let mut all = connections();
        all[0].remote_access.xauth = Some(client(user, password));
        let mut pair = Pair::new(3, all);
        pair.initiate(0);
        // Three tries: answered after one second, two and four.
        pair.run(6 * SECOND);
        assert_eq!(pair.ends[0].failures(), 0);
        pair.run(5 * SECOND);
        for end in &pair.ends {
            assert_eq!((end.established(), end.installed.inbound.len()), (0, 0));
            let reason = end.events.iter().find_map(|event| match event {
                Event::Failed(failure) => Some(format!("{:?}", failure.reason)),
                _ => None,
            });
            assert_eq!(
                reason,
                Some(format!("Error(PeerIncompatible(User({user:?})))"))
            );
        }
        let counters = pair.ends[1].endpoint.snapshot().counters;
        assert_eq!((counters.users, counters.wrong_passwords), (0, 3));
        // No quick mode was begun, and phase 1 is gone.
        assert!(exchanges(&pair).iter().all(|(_, kind)| *kind != 32));
        assert!(
            pair.ends
                .iter()
                .all(|end| end.endpoint.snapshot().ikes.is_empty())
        );
        pair.no_leak();
    }
}

#[test]
fn quick_mode_waits_for_the_user() {
    // The client thinks that no XAUTH follows; the server has taken it for one that does. Only an offer of the method
    // with XAUTH is agreed on, so the client's vendor ids and methods are left alone, and its answers are dropped.
    let mut pair = Pair::new(4, connections());
    pair.tamper = Some(Box::new(|from, bytes| match (from, bytes[18]) {
        (0, TRANSACTION) => Vec::new(),
        _ => vec![bytes.to_vec()],
    }));
    pair.initiate(0);
    pair.run(30 * SECOND);
    let ikes = pair.ends[1].endpoint.snapshot().ikes;
    assert_eq!(ikes[0].state, "xauth: awaits name and password");
    assert_eq!(pair.ends[1].established(), 0);
    // Its quick modes, its deletes of others' SAs and its INITIAL-CONTACT mean nothing yet. The question is repeated,
    // and given up.
    pair.run(60 * SECOND);
    assert!(pair.ends[1].endpoint.snapshot().ikes.is_empty());
    assert_eq!(pair.ends[1].failures(), 1);
}

#[test]
fn a_plain_client_is_refused() {
    let mut all = connections();
    all[0].remote_access = RemoteAccess::default();
    let mut pair = Pair::new(5, all);
    pair.initiate(0);
    pair.run(5 * SECOND);
    assert_eq!(
        (pair.ends[0].established(), pair.ends[1].established()),
        (0, 0)
    );
    let told = pair.ends[1].events.iter().any(|event| match event {
        Event::Failed(failure) => {
            let text: Vec<_> = failure.mismatches.iter().map(ToString::to_string).collect();
            text.concat()
                .contains("not XAUTH with pre-shared key, initiator")
        }
        _ => false,
    });
    assert!(told, "{:#?}", pair.ends[1].events);
}

#[test]
fn an_address_comes_again_and_goes_to_others_when_it_is_free() {
    let mut all = connections();
    all[1].remote_access.mode_config = Some(ModeConfig::Give {
        pool: pool(("10.1.0.10", "10.1.0.10")),
        push: false,
    });
    let bob = Connection {
        remote_access: RemoteAccess {
            xauth: Some(client("bob", "wonderland")),
            ..all[0].remote_access.clone()
        },
        ..all[0].clone()
    };
    let mut pair = Pair::new(6, all.clone());
    pair.initiate(0);
    stands(&mut pair);
    // Phase 1 ends, the child lives on: so does the lease. Bob, whose identity in phase 1 is alice's, gets none.
    pair.tamper = Some(Box::new(|_, bytes| match bytes[18] {
        5 => Vec::new(),
        _ => vec![bytes.to_vec()],
    }));
    pair.command(0, Command::Configure(vec![Arc::new(bob.clone())]));
    pair.initiate(0);
    pair.run(10 * SECOND);
    assert_eq!(pair.ends[1].installed.inbound.len(), 1, "alice's");
    assert_eq!(pair.ends[1].endpoint.snapshot().counters.pool_exhausted, 1);
    assert!(pair.ends[1].failures() >= 1 && pair.ends[0].installed.inbound.is_empty());
    // When all of alice's is gone, bob gets it.
    pair.command(
        1,
        Command::Terminate {
            connection: "peer".to_owned(),
        },
    );
    pair.tamper = None;
    pair.command(
        0,
        Command::Terminate {
            connection: "peer".to_owned(),
        },
    );
    pair.run(SECOND);
    pair.initiate(0);
    pair.run(5 * SECOND);
    assert_eq!(address_of(&pair), "[10.1.0.10]");
    let ikes = pair.ends[1].endpoint.snapshot().ikes;
    assert_eq!(ikes.last().unwrap().user.as_deref(), Some("bob"));
}

#[test]
fn traffic_of_another_address_is_refused() {
    let mut all = connections();
    // It asks for no address, and uses one of its own choice.
    all[0].remote_access.mode_config = None;
    let mut pair = Pair::new(7, all);
    pair.initiate(0);
    pair.run(5 * SECOND);
    assert_eq!(
        (pair.ends[0].established(), pair.ends[1].established()),
        (1, 1)
    );
    assert!(pair.ends[1].installed.inbound.is_empty());
    let refused = |event: &Event| match event {
        Event::Failed(failure) => format!("{:?}", failure.reason).contains("Address"),
        _ => false,
    };
    assert!(pair.ends[1].events.iter().any(refused));
    pair.no_leak();
}

#[test]
fn hybrid_authentication() {
    let pki = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pki");
    let read = |name: &str| std::fs::read(format!("{pki}/{name}")).unwrap();
    for (exchange, seed) in [(Phase1Exchange::Main, 8), (Phase1Exchange::Aggressive, 9)] {
        let mut all = connections();
        let credentials = |chain: Vec<Vec<u8>>, key: Vec<u8>, roots: Vec<Vec<u8>>| {
            Authentication::Certificates(Credentials {
                chain,
                private_key: Secret::new(key),
                roots,
                crls: Vec::new(),
                revocation: Revocation::Off,
                name_roots: true,
            })
        };
        let (own, key) = (read("rsa.crt"), read("rsa2048.pk8"));
        all[0].authentication = credentials(Vec::new(), Vec::new(), vec![read("root.crt")]);
        all[1].authentication = credentials(vec![own], key, Vec::new());
        all[0].remote_id = None;
        all[1].local_id = Identity::Fqdn("gw.example.org".to_owned());
        for connection in &mut all {
            connection.exchange = exchange;
            connection.remote_access.hybrid = true;
        }
        let mut pair = Pair::new(seed, all.clone());
        pair.initiate(0);
        stands(&mut pair);
        let ikes = pair.ends[1].endpoint.snapshot().ikes;
        assert_eq!(ikes[0].user.as_deref(), Some("alice"));
        // A server with another root's certificate learns no password.
        let Authentication::Certificates(credentials) = &mut all[0].authentication else {
            panic!("no certificates");
        };
        credentials.roots = vec![read("rsa_root.crt")];
        let mut pair = Pair::new(seed, all);
        pair.initiate(0);
        pair.run(5 * SECOND);
        assert!(pair.ends.iter().all(|end| end.established() == 0));
        let answered = |(from, bytes): &(usize, Vec<u8>)| *from == 0 && bytes[18] == TRANSACTION;
        assert!(!pair.log.iter().any(answered));
    }
}

#[test]
fn bad_weather() {
    for seed in 20..40 {
        let mut pair = Pair::new(seed, connections());
        pair.weather.loss = 20;
        pair.weather.duplication = 20;
        pair.weather.delay = (1, 300);
        pair.initiate(0);
        pair.run(40 * SECOND);
        assert_eq!(pair.agreed(), 1, "seed {seed}: {:#?}", pair.ends[0].events);
        assert_eq!(address_of(&pair), "[10.1.0.10]");
        pair.no_leak();
    }
}

#[test]
fn phase_1_is_renewed_by_the_client_and_keeps_its_address() {
    let mut all = connections();
    all[0].ike_lifetime = 600;
    all[1].ike_lifetime = 600;
    let mut pair = Pair::new(10, all);
    pair.initiate(0);
    stands(&mut pair);
    pair.run(3000 * SECOND);
    assert_eq!(pair.agreed(), 1);
    assert_eq!(address_of(&pair), "[10.1.0.10]");
    let counters = pair.ends[1].endpoint.snapshot().counters;
    assert!(counters.users >= 4, "{counters:?}");
    assert_eq!(pair.ends[1].failures() + pair.ends[0].failures(), 0);
}

#[test]
fn a_client_that_asks_for_everything_gets_what_there_is() {
    let mut all = connections();
    all[0].children[0].selector.remote = vec![range("0.0.0.0", "255.255.255.255")];
    let mut pair = Pair::new(11, all);
    pair.initiate(0);
    stands(&mut pair);
    let selectors = |pair: &Pair| {
        let sas = pair.ends[1].installed.inbound.values().next_back();
        sas.unwrap()[0].selectors[0].local.clone()
    };
    assert_eq!(selectors(&pair), [range("10.2.0.0", "10.2.0.255")]);
    // Whoever renews it says what the client has said.
    for end in [1, 0] {
        let child = pair.ends[end].installed.current.unwrap();
        pair.command(end, Command::SoftExpired(child));
        pair.run(60 * SECOND);
        stands(&mut pair);
        assert_ne!(pair.ends[end].installed.current, Some(child));
        assert_eq!(selectors(&pair), [range("10.2.0.0", "10.2.0.255")]);
    }
}

#[test]
fn a_client_that_gives_up_after_a_wrong_password_is_told_of() {
    let mut all = connections();
    all[0].remote_access.xauth = Some(client("alice", "looking-glass"));
    let mut pair = Pair::new(12, all);
    pair.initiate(0);
    pair.run(SECOND / 2);
    assert_eq!(pair.ends[1].endpoint.snapshot().counters.wrong_passwords, 1);
    let terminate = Command::Terminate {
        connection: "peer".to_owned(),
    };
    pair.command(0, terminate);
    pair.run(SECOND);
    let told = |event: &Event| match event {
        Event::Failed(failure) => format!("{:?}", failure.reason).contains("User(\"alice\")"),
        _ => false,
    };
    assert!(pair.ends[1].events.iter().any(told));
    assert!(pair.ends[1].endpoint.snapshot().ikes.is_empty());
}
