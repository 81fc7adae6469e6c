//! Many users: whose address is whose, who waits for whose mistakes, and who stays when the list of users changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{
    Connection, Identity, ModeConfig, Phase1Exchange, RemoteAccess, Users, Xauth,
};
use portcullis_ike::{CloseReason, Command, Event, Peer};

use crate::harness::{Pair, range};
use crate::road_warrior::{HASH, TRANSACTION, address_of, client, connections, pool, stands};

const SECOND: Duration = Duration::from_secs(1);
/// `openssl passwd -6 -salt stuvwxyz wonderland`.
const OTHER_HASH: &str = "$6$stuvwxyz$6MrUk0khgSZDht1tis7pK8wc4AnVztw1kCbgQTWVjJVMu4gDx3X8OA1kN5amg1FRkkb2qMJhCu5jFnrDLusUw1";

/// The client becomes another one, at the same place; the server is told nothing of it.
fn become_another(pair: &mut Pair, connection: &Connection) {
    switch(pair, connection);
    pair.run(2 * SECOND);
}

fn switch(pair: &mut Pair, connection: &Connection) {
    pair.tamper = Some(Box::new(|from, bytes| match (from, bytes[18]) {
        // Informational exchanges (RFC 2408 3.1).
        (0, 5) => Vec::new(),
        _ => vec![bytes.to_vec()],
    }));
    let all = vec![Arc::new(connection.clone())];
    pair.command(0, Command::Configure(Vec::new()));
    pair.command(0, Command::Configure(all));
    pair.initiate(0);
}

/// Addresses in use at the server.
fn leased(pair: &Pair) -> BTreeSet<String> {
    let ikes = pair.ends[1].endpoint.snapshot().ikes;
    let all = ikes.iter().flat_map(|ike| &ike.addresses);
    all.map(ToString::to_string).collect()
}

fn named(connection: &Connection, identity: Identity) -> Connection {
    Connection {
        local_id: identity,
        ..connection.clone()
    }
}

#[test]
fn a_user_of_another_connection_is_another_peer() {
    let [mut warrior, mut gateway] = connections();
    // Nothing but the user tells who the peer is.
    warrior.local_id = Identity::Address("192.0.2.1".parse().unwrap());
    gateway.remote_id = None;
    let other = Connection {
        name: "other".to_owned(),
        exchange: Phase1Exchange::Aggressive,
        ..gateway.clone()
    };
    let mut pair = Pair::new(400, [warrior.clone(), gateway.clone()]);
    let both = vec![Arc::new(gateway), Arc::new(other)];
    pair.command(1, Command::Configure(both));
    pair.initiate(0);
    stands(&mut pair);
    warrior.exchange = Phase1Exchange::Aggressive;
    become_another(&mut pair, &warrior);
    let expected = ["10.1.0.10", "10.1.0.11"].map(str::to_owned);
    assert_eq!(leased(&pair), expected.into());
}

/// Whoever knows a group's secret can call itself anything.
#[test]
fn a_user_of_a_group_has_one_address() {
    let [warrior, gateway] = connections();
    let mut pair = Pair::new(401, [warrior.clone(), gateway]);
    pair.initiate(0);
    stands(&mut pair);
    for name in ["one.test", "two.test"] {
        let other = named(&warrior, Identity::Fqdn(name.to_owned()));
        become_another(&mut pair, &other);
        assert_eq!(leased(&pair), ["10.1.0.10".to_owned()].into());
    }
    assert_eq!(pair.ends[1].endpoint.snapshot().counters.users, 3);
}

#[test]
fn a_name_is_the_same_in_capitals() {
    let [mut warrior, mut gateway] = connections();
    warrior.remote_access = RemoteAccess {
        mode_config: Some(ModeConfig::Ask),
        ..RemoteAccess::default()
    };
    gateway.remote_access.xauth = None;
    let names = [
        [
            Identity::Fqdn("a.test".to_owned()),
            Identity::Fqdn("A.Test".to_owned()),
        ],
        [
            Identity::UserFqdn("u@a.test".to_owned()),
            Identity::UserFqdn("u@A.TEST".to_owned()),
        ],
    ];
    for [one, same] in names {
        let mut pair = Pair::new(402, [named(&warrior, one), gateway.clone()]);
        pair.initiate(0);
        stands(&mut pair);
        become_another(&mut pair, &named(&warrior, same));
        assert_eq!(pair.ends[1].failures(), 0);
        assert_eq!(leased(&pair), ["10.1.0.10".to_owned()].into());
    }
}

#[test]
fn a_server_that_begins_keeps_to_the_lease() {
    let [warrior, gateway] = connections();
    let mut pair = Pair::new(403, [warrior, gateway]);
    pair.initiate(0);
    stands(&mut pair);
    pair.initiate(1);
    pair.run(SECOND);
    assert_eq!(pair.ends[1].failures() + pair.ends[0].failures(), 0);
    assert_eq!(pair.ends[1].installed.inbound.len(), 2);
    for sas in pair.ends[1].installed.inbound.values() {
        let remote = &sas[0].selectors[0].remote;
        assert_eq!(remote, &[range("10.1.0.10", "10.1.0.10")]);
    }
    pair.run(60 * SECOND);
    stands(&mut pair);
}

#[test]
fn users_behind_one_nat_do_not_wait_for_each_other() {
    let [warrior, gateway] = connections();
    let user = |name: &str, password: &str| Connection {
        remote_access: RemoteAccess {
            xauth: Some(client(name, password)),
            ..warrior.remote_access.clone()
        },
        ..warrior.clone()
    };
    let mut pair = Pair::new(405, [user("alice", "looking-glass"), gateway]);
    pair.initiate(0);
    pair.run(SECOND / 2);
    let wrong = |pair: &Pair| pair.ends[1].endpoint.snapshot().counters.wrong_passwords;
    assert_eq!(wrong(&pair), 1);
    let began = pair.now;
    become_another(&mut pair, &user("bob", "wonderland"));
    let established = pair.ends[1].endpoint.snapshot().ikes;
    let bob = established
        .iter()
        .find(|ike| ike.user.as_deref() == Some("bob"));
    let took = bob.unwrap().established.unwrap() - began;
    assert!(took < SECOND / 2, "{took:?}");
    // Alice herself waits, even with the right one.
    switch(&mut pair, &user("alice", "through"));
    pair.run(SECOND / 2);
    assert_eq!(wrong(&pair), 2);
    let began = pair.now;
    switch(&mut pair, &user("alice", "wonderland"));
    pair.run(5 * SECOND);
    let ikes = pair.ends[1].endpoint.snapshot().ikes;
    let alice = ikes.iter().find(|ike| ike.user.as_deref() == Some("alice"));
    let took = alice.unwrap().established.unwrap() - began;
    assert!(took > SECOND && took < 5 * SECOND, "{took:?}");
    assert_eq!(wrong(&pair), 2);
}

#[test]
fn a_changed_list_of_users_leaves_the_others_alone() {
    let [warrior, gateway] = connections();
    let with = |lines: &[(&str, &str)]| {
        let lines = lines.iter().map(|(name, hash)| format!("{name}:{hash}\n"));
        let users = Users::read(&lines.collect::<String>()).unwrap();
        let mut gateway = gateway.clone();
        gateway.remote_access.xauth = Some(Xauth::Server {
            users: Arc::new(users),
            tries: 3,
        });
        vec![Arc::new(gateway)]
    };
    let mut pair = Pair::new(406, [warrior, gateway.clone()]);
    pair.initiate(0);
    stands(&mut pair);
    let child = pair.ends[1].installed.current;
    // One comes, one goes, one gets another password: none of them is alice.
    let lists: [&[(&str, &str)]; 3] = [
        &[("alice", HASH), ("bob", HASH), ("carol", HASH)],
        &[("alice", HASH), ("carol", HASH)],
        &[("alice", HASH), ("carol", OTHER_HASH)],
    ];
    for list in lists {
        pair.command(1, Command::Configure(with(list)));
        pair.run(SECOND);
        stands(&mut pair);
        assert_eq!(pair.ends[1].installed.current, child);
        assert_eq!(address_of(&pair), "[10.1.0.10]");
    }
    // The list that is in force is the new one, for renewals too.
    let connection = "peer".to_owned();
    pair.command(0, Command::RekeyIke { connection });
    pair.run(5 * SECOND);
    assert_eq!(pair.ends[1].endpoint.snapshot().counters.users, 2);
    // Another password, and alice goes, at both ends.
    let other = [("alice", OTHER_HASH), ("carol", OTHER_HASH)];
    pair.command(1, Command::Configure(with(&other)));
    pair.run(SECOND);
    assert!(pair.ends.iter().all(|end| end.installed.inbound.is_empty()));
    assert!(
        pair.ends
            .iter()
            .all(|end| end.endpoint.snapshot().ikes.is_empty())
    );
    let ended = |event: &Event| match event {
        Event::RemoveSa { reason, .. } => *reason == CloseReason::Terminated,
        _ => false,
    };
    assert!(pair.ends[1].events.iter().any(ended));
    pair.no_leak();
}

/// A pool that changes is still a change of the connection.
#[test]
fn a_changed_pool_ends_what_hangs_on_it() {
    let [warrior, mut gateway] = connections();
    let mut pair = Pair::new(407, [warrior, gateway.clone()]);
    pair.initiate(0);
    stands(&mut pair);
    gateway.remote_access.mode_config = Some(ModeConfig::Give {
        pool: pool(("10.1.0.30", "10.1.0.40")),
        push: false,
    });
    pair.command(1, Command::Configure(vec![Arc::new(gateway)]));
    pair.run(SECOND);
    assert!(pair.ends[1].installed.inbound.is_empty());
}

/// One of several goes, at both ends; who is not there is told from who is.
#[test]
fn one_user_is_dismissed() {
    let [warrior, gateway] = connections();
    let mut pair = Pair::new(410, [warrior.clone(), gateway]);
    pair.initiate(0);
    stands(&mut pair);
    let remote = pair.ends[1].endpoint.snapshot().ikes[0].remote;
    let mut elsewhere = remote;
    elsewhere.set_port(remote.port() ^ 1);
    let user = |name: &str| Peer::User(name.to_owned());
    for peer in [
        user("bob"),
        Peer::Place(elsewhere),
        Peer::Address("203.0.113.1".parse().unwrap()),
    ] {
        assert!(!pair.ends[1].endpoint.has_peer("peer", &peer), "{peer:?}");
        let connection = "peer".to_owned();
        pair.command(1, Command::Dismiss { connection, peer });
        pair.run(SECOND);
        stands(&mut pair);
    }
    assert!(!pair.ends[1].endpoint.has_peer("other", &user("alice")));

    for (seed, peer) in [
        (411, user("alice")),
        (412, Peer::Place(remote)),
        (413, Peer::Address(remote.ip())),
    ] {
        let mut pair = Pair::new(seed, connections());
        pair.initiate(0);
        stands(&mut pair);
        assert!(pair.ends[1].endpoint.has_peer("peer", &peer), "{peer:?}");
        let connection = "peer".to_owned();
        pair.command(1, Command::Dismiss { connection, peer });
        pair.run(SECOND);
        for end in &pair.ends {
            assert!(end.installed.inbound.is_empty());
            assert!(end.endpoint.snapshot().ikes.is_empty());
        }
        pair.no_leak();
    }
}

#[test]
fn who_stays_when_another_is_dismissed() {
    let [warrior, gateway] = connections();
    let mut pair = Pair::new(414, [warrior.clone(), gateway]);
    pair.initiate(0);
    stands(&mut pair);
    let bob = Connection {
        remote_access: RemoteAccess {
            xauth: Some(client("bob", "wonderland")),
            ..warrior.remote_access.clone()
        },
        ..named(&warrior, Identity::Fqdn("bob.example".to_owned()))
    };
    become_another(&mut pair, &bob);
    assert_eq!(leased(&pair).len(), 2, "{:?}", leased(&pair));
    let (connection, peer) = ("peer".to_owned(), Peer::User("bob".to_owned()));
    pair.command(1, Command::Dismiss { connection, peer });
    pair.run(SECOND);
    assert_eq!(leased(&pair), ["10.1.0.10".to_owned()].into());
}

/// Who is dismissed while its password is checked does not come in a moment later.
#[test]
fn who_is_in_check_is_dismissed() {
    let mut pair = Pair::new(415, connections());
    // The password comes when there is no time for it.
    pair.tamper = Some(Box::new(|from, bytes| match (from, bytes[18]) {
        (0, TRANSACTION) => Vec::new(),
        _ => vec![bytes.to_vec()],
    }));
    pair.initiate(0);
    pair.run(SECOND);
    pair.tamper = None;
    pair.ends[1].is_busy = true;
    pair.run(20 * SECOND);
    assert_eq!(leased(&pair), BTreeSet::new());
    let user = |name: &str| Peer::User(name.to_owned());
    let has_peer = |pair: &Pair, name| pair.ends[1].endpoint.has_peer("peer", &user(name));
    assert!(has_peer(&pair, "alice") && !has_peer(&pair, "bob"));
    let (connection, peer) = ("peer".to_owned(), user("alice"));
    pair.command(1, Command::Dismiss { connection, peer });
    pair.ends[1].is_busy = false;
    pair.run(SECOND);
    assert!(pair.ends[1].endpoint.snapshot().ikes.is_empty());
    assert_eq!(leased(&pair), BTreeSet::new());
    pair.no_leak();
}
