//! The orders that IKE's SAs bring: which, to whom, in which sequence.

use std::sync::Arc;

use portcullis_config::{
    AddressRange, AesKey, Cipher, Df, Dscp, EngineKind, Integrity, Lifetimes, Mode, Secret,
    Transform,
};
use portcullis_ike::IkeId;

use super::*;
use crate::departing::{Departure, Departures};
use crate::install::Links;

const WORKERS: usize = 2;
const ESP: Transform = Transform::Esp(
    Cipher::AesCbc(AesKey::Aes128),
    Some(Integrity::HmacSha2_256_128),
);
const AH: Transform = Transform::Ah(Integrity::HmacSha2_256_128);

struct Rig {
    negotiated: Negotiated,
    engine: GatewayEngine,
    devices: CryptoDevices,
    policy: Installed,
    spis: Spis,
}

impl Rig {
    fn new() -> Self {
        let spis = Spis::default();
        Rig {
            negotiated: Negotiated::new(WORKERS, spis.clone()),
            engine: GatewayEngine::with_order(&[EngineKind::Portable]),
            devices: CryptoDevices::default(),
            policy: Installed::nothing(WORKERS),
            spis,
        }
    }

    fn add(&mut self, new: AddSa, now: u64) -> Orders {
        let engine = (&self.engine, &self.devices);
        let added = self.negotiated.add(new, 0, now, engine, &self.policy);
        added.expect("an engine takes the key")
    }

    /// Both directions of a child, found by packets.
    fn establish(&mut self, child: u64, replaces: Option<u64>) -> Orders {
        let mut orders = Orders::new();
        for direction in [Direction::Inbound, Direction::Outbound] {
            orders.extend(self.add(event(child, replaces, direction, &[ESP]), 0));
        }
        let replaces = replaces.map(ChildId::with_number);
        orders.extend(self.negotiated.serve(ChildId::with_number(child), replaces));
        orders
    }
}

fn config(direction: Direction, spi: u32, transform: Transform) -> SaConfig {
    let (here, there) = ("192.0.2.1", "192.0.2.2");
    let (source, destination) = match direction {
        Direction::Inbound => (there, here),
        Direction::Outbound => (here, there),
    };
    let (cipher, integrity) = match transform {
        Transform::Esp(cipher, integrity) => (
            cipher.key_length(),
            integrity.map_or(0, Integrity::key_length),
        ),
        Transform::Ah(integrity) => (0, integrity.key_length()),
    };
    SaConfig {
        name: "peer/lans".into(),
        direction,
        spi,
        transform,
        cipher_key: Secret::new(vec![1; cipher]),
        integrity_key: Secret::new(vec![2; integrity]),
        mode: Mode::Tunnel,
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        udp: None,
        original: None,
        esn: false,
        replay_window: Some(64),
        df: Df::Copy,
        dscp: Dscp::Copy,
        lifetimes: Lifetimes::new(
            Limits {
                packets: Some(1000),
                ..Limits::default()
            },
            Limits::default(),
        ),
        selectors: Arc::default(),
    }
}

fn event(child: u64, replaces: Option<u64>, direction: Direction, bundle: &[Transform]) -> AddSa {
    let spi = 0x1000 + child as u32;
    let range = |start: &str, end: &str| AddressRange {
        start: start.parse().expect("an address"),
        end: end.parse().expect("an address"),
    };
    AddSa {
        child: ChildId::with_number(child),
        ike: IkeId::with_number(1),
        connection: "peer".into(),
        name: "lans".into(),
        direction,
        sas: bundle.iter().map(|t| config(direction, spi, *t)).collect(),
        selector: Selector {
            local: vec![range("10.1.0.0", "10.1.0.255")],
            remote: vec![range("10.2.0.0", "10.2.0.255")],
            ..Selector::default()
        },
        replaces: replaces.map(ChildId::with_number),
    }
}

/// Orders in a few words, with the worker.
fn words(orders: &Orders) -> Vec<String> {
    let word = |order: &WorkerCommand| match order {
        Command::AddInbound(slot, _) => format!("+in {slot}"),
        Command::AddOutbound(slot, _) => format!("+out {slot}"),
        Command::RemoveInbound(slot) => format!("-in {slot}"),
        Command::RemoveOutbound(slot) => format!("-out {slot}"),
        Command::AlterOutbound(slot, _) => format!("alter out {slot}"),
        Command::Index(entry) => format!("index {:x}", entry.spi),
        Command::Unindex(entry) => format!("unindex {:x}", entry.spi),
        Command::GrowInbound(_) | Command::GrowOutbound(_) => "grow".into(),
        Command::SetIndex(_) => "set index".into(),
        Command::ForgetFlows => "forget".into(),
        Command::Negotiated(Order::Bind(bound)) => {
            format!("bind {}", bound.carrier.sa().expect("no soft SA").slot)
        }
        Command::Negotiated(Order::Unbind { sa: Some(sa), .. }) => format!("unbind {}", sa.slot),
        Command::Negotiated(Order::Swap(used, new)) => format!("swap {used} {new}"),
        other => format!("{other:?}"),
    };
    let orders = orders
        .iter()
        .map(|(worker, order)| format!("{worker}: {}", word(order)));
    orders.collect()
}

#[test]
fn inbound_comes_before_outbound_and_everybody_hears_of_it() {
    let mut rig = Rig::new();
    let orders = rig.establish(1, None);
    // The first SA brings memory and an index; slots of IKE are odd.
    assert_eq!(
        words(&orders),
        [
            "0: grow",
            "0: +in 1",
            "0: set index",
            "1: set index",
            "0: grow",
            "0: +out 1",
            "0: bind 1",
            "1: bind 1"
        ]
    );
    // The next goes to the worker that has less to do.
    let orders = rig.establish(2, None);
    assert_eq!(
        words(&orders),
        [
            "1: grow",
            "1: +in 1",
            "0: index 1002",
            "1: index 1002",
            "1: grow",
            "1: +out 1",
            "0: bind 1",
            "1: bind 1"
        ]
    );
}

#[test]
fn a_successor_takes_the_slot_and_no_flow_is_forgotten() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    let orders = rig.establish(2, Some(1));
    assert_eq!(
        words(&orders),
        [
            "0: +in 3",
            "0: index 1002",
            "1: index 1002",
            "0: +out 3",
            "0: swap 1 3"
        ]
    );
    let orders = rig
        .negotiated
        .remove(ChildId::with_number(1), 100, Inbound::Ends);
    assert_eq!(words(&orders), ["0: -out 3"]);
    // What is on its way is still taken for a while.
    assert_eq!(words(&rig.negotiated.tick(100 + LINGER - 1)), [""; 0]);
    let orders = rig.negotiated.tick(100 + LINGER);
    assert_eq!(
        words(&orders),
        ["0: unindex 1001", "1: unindex 1001", "0: -in 1"]
    );
    assert!(rig.negotiated.has_outbound(SaRef { worker: 0, slot: 1 }));
    assert!(!rig.negotiated.has_outbound(SaRef { worker: 0, slot: 3 }));
}

#[test]
fn the_last_one_leaves_nothing() {
    let mut rig = Rig::new();
    let destination = "192.0.2.1".parse().expect("an address");
    let spi = rig.spis.reserve(50, destination).expect("there is one");
    let mut inbound = event(1, None, Direction::Inbound, &[ESP]);
    inbound.sas[0].spi = spi;
    rig.add(inbound, 0);
    rig.add(event(1, None, Direction::Outbound, &[ESP]), 0);
    rig.negotiated.serve(ChildId::with_number(1), None);
    let orders = rig
        .negotiated
        .remove(ChildId::with_number(1), 100, Inbound::Ends);
    let gone = format!("unindex {spi:x}");
    assert_eq!(
        words(&orders),
        [
            "0: unbind 1",
            "1: unbind 1",
            "0: -out 1",
            &format!("0: {gone}"),
            &format!("1: {gone}"),
            "0: -in 1"
        ]
    );
    assert_eq!(
        words(&rig.negotiated.tick(100 + FORGET_INTERVAL)),
        ["0: forget", "1: forget"]
    );
    assert_eq!(words(&rig.negotiated.tick(100_000)), [""; 0]);
    assert_eq!(rig.negotiated.sas().count(), 0);
    assert_eq!(rig.negotiated.indexed, (0, 0));
    assert!(rig.negotiated.places.is_empty() && rig.negotiated.alike.is_empty());
    // Nothing comes of it twice.
    assert!(
        rig.negotiated
            .remove(ChildId::with_number(1), 200, Inbound::Ends)
            .is_empty()
    );
}

#[test]
fn each_of_the_removed_goes_when_its_own_time_is_over() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    rig.establish(2, None);
    rig.negotiated
        .remove(ChildId::with_number(1), 100, Inbound::Lingers);
    rig.negotiated
        .remove(ChildId::with_number(2), 200, Inbound::Lingers);
    rig.negotiated.tick(200 + FORGET_INTERVAL);
    assert_eq!(words(&rig.negotiated.tick(99 + LINGER)), [""; 0]);
    assert_eq!(
        words(&rig.negotiated.tick(100 + LINGER)),
        ["0: unindex 1001", "1: unindex 1001", "0: -in 1"]
    );
    // The second is the other worker's.
    assert_eq!(
        words(&rig.negotiated.tick(200 + LINGER)),
        ["0: unindex 1002", "1: unindex 1002", "1: -in 1"]
    );
}

/// Both sides began a rekey, and the peer deletes the one that is in use.
#[test]
fn another_child_of_the_same_traffic_inherits() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    rig.establish(2, Some(1)); // slot 1 is its, 3 that of the first
    rig.establish(3, Some(1)); // and now the third's, 5 that of the second
    assert!(
        rig.negotiated
            .child(ChildId::with_number(3))
            .is_some_and(|child| child.bound)
    );
    let orders = rig
        .negotiated
        .remove(ChildId::with_number(3), 0, Inbound::Ends);
    assert_eq!(words(&orders), ["0: swap 1 5", "0: -out 5"]);
    let orders = rig
        .negotiated
        .remove(ChildId::with_number(2), 0, Inbound::Ends);
    // The first, which is still there, has slot 1 since.
    assert_eq!(words(&orders)[..2], ["0: swap 1 3", "0: -out 3"]);
    assert!(
        rig.negotiated
            .child(ChildId::with_number(1))
            .is_some_and(|child| child.bound)
    );
}

/// Two clients behind one NAT, whose traffic is the same in transport mode. One goes while the other's successor is
/// not served yet: what flowed to the one does not go on to the other.
#[test]
fn a_client_behind_the_same_nat_inherits_nothing() {
    let mut rig = Rig::new();
    let behind = |port: u16, child, replaces, direction| {
        let mut new = event(child, replaces, direction, &[ESP]);
        new.sas[0].udp = Some(UdpEncapsulation {
            source_port: 4500,
            destination_port: port,
        });
        new
    };
    for (child, port) in [(1, 1024), (2, 1025), (3, 1025)] {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let replaces = (child == 3).then_some(2);
            // One worker has them all.
            rig.negotiated.load[1] = 10;
            rig.add(behind(port, child, replaces, direction), 0);
        }
        if child < 3 {
            rig.negotiated.serve(ChildId::with_number(child), None);
        }
    }
    let [one, two, three] = [1, 2, 3].map(ChildId::with_number);
    let orders = rig.negotiated.remove(one, 0, Inbound::Ends);
    assert_eq!(words(&orders), ["0: unbind 1", "1: unbind 1", "0: -out 1"]);
    let in_use = |rig: &Rig, id| rig.negotiated.used(id).in_use;
    assert!(in_use(&rig, two) && !in_use(&rig, three));
    // Its own predecessor's slot is another matter.
    assert_eq!(
        words(&rig.negotiated.serve(three, Some(two))),
        ["0: swap 3 5"]
    );
    assert!(!in_use(&rig, two) && in_use(&rig, three));
}

#[test]
fn a_bundle_is_linked_from_the_inside() {
    let mut rig = Rig::new();
    let orders = rig.add(event(1, None, Direction::Outbound, &[ESP, AH]), 0);
    let made = orders.iter().filter_map(|(_, order)| match order {
        Command::AddOutbound(slot, sa) => {
            Some((*slot, sa.shape.is_esp(), sa.next, sa.bundle_overhead))
        }
        _ => None,
    });
    // RFC 4302 2.2, RFC 4868 2.3: 12 bytes of header and 16 of ICV.
    assert_eq!(
        made.collect::<Vec<_>>(),
        [(1, false, None, 0), (3, true, Some(1), 28)]
    );
    let orders = rig.add(event(1, None, Direction::Inbound, &[ESP, AH]), 0);
    let made = orders.iter().filter_map(|(_, order)| match order {
        Command::AddInbound(slot, sa) => {
            Some((*slot, sa.came_in, sa.carries_bundle, sa.selectors.len()))
        }
        _ => None,
    });
    assert_eq!(
        made.collect::<Vec<_>>(),
        [(1, None, true, 0), (3, Some(1), false, 1)]
    );
}

/// Two rekeys in quick succession, the second one's SAs used first: flows go on with those, and stay there.
#[test]
fn a_successor_of_one_that_was_not_served_yet_takes_the_slot_that_flows_use() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    for (child, replaces) in [(2, 1), (3, 2)] {
        for direction in [Direction::Inbound, Direction::Outbound] {
            rig.add(event(child, Some(replaces), direction, &[ESP]), 0);
        }
    }
    let [one, two, three] = [1, 2, 3].map(ChildId::with_number);
    let orders = rig.negotiated.serve(three, Some(two));
    assert_eq!(words(&orders), ["0: swap 1 5"]);
    assert!(rig.negotiated.used(three).in_use && !rig.negotiated.used(one).in_use);
    // The time of the one between comes too late.
    assert_eq!(words(&rig.negotiated.serve(two, Some(one))), [""; 0]);
    assert!(rig.negotiated.used(three).in_use);
    // Neither has to be found by packets to go.
    let removed = [one, two].map(|old| words(&rig.negotiated.remove(old, 100, Inbound::Ends)));
    assert_eq!(removed, [["0: -out 5"], ["0: -out 3"]]);
}

/// An event about the SA that had the slot before is not taken for one about its successor.
#[test]
fn limits_are_believed_when_they_are_reached() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    let side = SaSide::Outbound(1);
    let reached = |rig: &Rig, limit| rig.negotiated.reached(0, side, limit, 0);
    assert_eq!(reached(&rig, Limit::Soft), None);
    let child = rig
        .negotiated
        .child(ChildId::with_number(1))
        .expect("it is there");
    child.outbound[0].sa.counters.packets.add(1000);
    assert_eq!(reached(&rig, Limit::Soft), Some(ChildId::with_number(1)));
    assert_eq!(reached(&rig, Limit::Hard), None);
    rig.establish(2, Some(1));
    assert_eq!(reached(&rig, Limit::Soft), None);
    assert!(rig.negotiated.is_place(0, side) && !rig.negotiated.is_place(0, SaSide::Inbound(2)));
}

#[test]
fn a_moved_peer_is_followed() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    let ends = ("192.0.2.1:4500", "203.0.113.5:40001");
    let ends = (
        ends.0.parse().expect("an address"),
        ends.1.parse().expect("an address"),
    );
    let engine = (&rig.engine, &rig.devices);
    let orders = rig.negotiated.moved(ChildId::with_number(1), ends, engine);
    let orders = orders.expect("an engine takes the key");
    assert_eq!(words(&orders), ["0: alter out 1"]);
    let to = Address::from(ends.1.ip());
    assert!(rig.negotiated.outbound(0x1001, 50, to).is_some());
}

/// Another policy has an index of its own: IKE's SAs are in it too.
#[test]
fn a_change_of_policy_keeps_them_findable() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    let change = IndexChange {
        whole: Some(index_of(std::iter::empty(), 0)),
        ..IndexChange::default()
    };
    let orders = rig.negotiated.change_index(change, &rig.policy);
    assert!(orders.late.iter().all(Vec::is_empty) && orders.found.len() == WORKERS);
    for orders in orders.found {
        let [Command::SetIndex(index)] = orders.as_slice() else {
            panic!("{orders:?}");
        };
        let to = Address::v4([192, 0, 2, 1]);
        assert_eq!(
            index.lookup(0x1001, 50, to),
            Some(SaRef { worker: 0, slot: 1 })
        );
    }
    // There is room for many more, one at a time.
    let orders = rig.establish(2, None);
    assert!(words(&orders).contains(&"1: index 1002".into()));
}

#[test]
fn traffic_is_told_when_it_changes() {
    let mut rig = Rig::new();
    rig.establish(1, None);
    assert_eq!(rig.negotiated.traffic(1000), []);
    let child = rig
        .negotiated
        .child(ChildId::with_number(1))
        .expect("it is there");
    child.inbound[0].sa.counters.used(125_000, 0);
    assert_eq!(
        rig.negotiated.traffic(1000),
        [(ChildId::with_number(1), 1, 0)]
    );
    assert_eq!(rig.negotiated.sas().next().map(|sa| sa.mbps), Some(1.0));
    assert_eq!(rig.negotiated.traffic(1000), []);
}

/// Those that one reload has removed.
fn departures(each: impl IntoIterator<Item = Departure>) -> Departures {
    let mut departures = Departures::default();
    each.into_iter().for_each(|one| departures.add(one));
    departures
}

/// An inbound SA of the policy that a reload has removed.
fn departure(spi: u32, slot: u32, due: u64) -> Departure {
    let place = SaRef { worker: 0, slot };
    let config = SaConfig {
        name: format!("{spi:x}"),
        ..config(Direction::Inbound, spi, ESP)
    };
    let sa = InstalledSa {
        place,
        choice: Choice::default(),
        counters: Arc::default(),
        standing: None,
        born: 0,
        links: Links::default(),
    };
    let entry = entry((&config, &sa)).expect("an inbound one");
    Departure {
        config,
        sa,
        entry,
        due,
    }
}

/// Inbound SAs that go stay findable for what is on its way; one with another's identity goes at once.
#[test]
fn what_a_change_removes_is_found_for_a_while() {
    let rig = Rig::new();
    let place = |slot| SaRef { worker: 0, slot };
    let entry = |spi, slot| SpiEntry {
        spi,
        protocol: 50,
        destination: Address::v4([192, 0, 2, 1]),
        sa: place(slot),
    };
    let departure = |spi, slot| departure(spi, slot, 5000);
    for whole in [None, Some(index_of(std::iter::once(entry(0x2000, 4)), 0))] {
        let mut negotiated = Negotiated::new(WORKERS, Spis::default());
        negotiated.index_room = 1000;
        let change = IndexChange {
            whole,
            added: vec![entry(0x2000, 4)],
            removed: departures([departure(0x2000, 0), departure(0x2001, 2)]),
        };
        let orders = negotiated.change_index(change, &rig.policy);
        let words_of = |orders: Vec<Vec<WorkerCommand>>| {
            words(
                &(0..)
                    .zip(orders)
                    .flat_map(|(w, o)| o.into_iter().map(move |o| (w, o)))
                    .collect::<Orders>(),
            )
        };
        if let [Command::SetIndex(index)] = orders.found[1].as_slice() {
            let to = Address::v4([192, 0, 2, 1]);
            assert_eq!(index.lookup(0x2000, 50, to), Some(place(4)));
            assert_eq!(index.lookup(0x2001, 50, to), Some(place(2)));
        }
        assert_eq!(words_of(orders.late), ["0: -in 0"]);
        let name = |slot| negotiated.departing.name(0, SaSide::Inbound(slot));
        assert_eq!([name(0), name(2)], [None, Some("2001")]);
        assert_eq!(words(&negotiated.tick(4999)), [""; 0]);
        let gone = words(&negotiated.tick(5000));
        assert_eq!(gone, ["0: unindex 2001", "1: unindex 2001", "0: -in 2"]);
        assert_eq!(negotiated.departing.len(), 0);
    }
}

#[test]
fn removed_sas_leave_in_the_order_of_their_times() {
    let mut departing = Departing::default();
    let three = [(0x2000, 0, 9000), (0x2001, 2, 5000), (0x2002, 4, 7000)];
    departing.add(departures(
        three.map(|(spi, slot, due)| departure(spi, slot, due)),
    ));
    let left = |departing: &Departing| -> Vec<_> {
        let each = departing.iter();
        each.map(|(d, due)| (d.config.name.clone(), due)).collect()
    };
    let of = |name: &str, due| (name.to_owned(), due);
    assert_eq!(
        left(&departing),
        [of("2001", 5000), of("2002", 7000), of("2000", 9000)]
    );
    assert_eq!(
        words(&departing.due(5000, 1)),
        ["0: unindex 2001", "0: -in 2"]
    );
    // A later reload ends what its discard entries, or no overlap at all, do not go with.
    departing.hasten(6000);
    // What it removes itself has its own time.
    departing.add(departures([departure(0x2003, 6, 8000)]));
    assert_eq!(
        left(&departing),
        [of("2002", 6000), of("2000", 6000), of("2003", 8000)]
    );
    assert_eq!(departing.name(0, SaSide::Inbound(4)), Some("2002"));
    assert_eq!(words(&departing.due(5999, 1)), [""; 0]);
    let gone = words(&departing.due(6000, 1));
    assert_eq!(
        gone,
        ["0: unindex 2002", "0: -in 4", "0: unindex 2000", "0: -in 0"]
    );
    assert_eq!(left(&departing), [of("2003", 8000)]);
    assert_eq!(words(&departing.due(7999, 1)), [""; 0]);
    assert_eq!(departing.due(8000, 1).len(), 2);
    assert_eq!(departing.len(), 0);
    assert_eq!(departing.name(0, SaSide::Inbound(4)), None);
}

/// However many a reload has removed, control hears its workers between them.
#[test]
fn many_removed_sas_leave_in_portions() {
    let mut departing = Departing::default();
    departing.add(departures(
        (0..1500).map(|n| departure(0x2000 + n, n, 5000)),
    ));
    assert_eq!(departing.due(5000, 1).len(), 2 * 1024);
    assert_eq!(departing.due(5000, 1).len(), 2 * 476);
    assert_eq!(departing.due(5000, 1).len(), 0);
}
