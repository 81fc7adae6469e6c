//! SPI index, slab, flow cache and routes against plain models.

use std::collections::HashMap;

use portcullis_config::Side;
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::fib::{Fib, Hop, Interface};
use portcullis_ipsec::flow::{Decision, FlowCache, FlowKey, Path, Verdict};
use portcullis_ipsec::ip::{Address, IpHeader};
use portcullis_ipsec::sa::SaRef;
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};

use crate::rig::packets::{Dice, udp};

#[test]
fn the_spi_index_is_a_map() {
    let mut dice = Dice(21);
    for round in 0..40 {
        let capacity = 1 + dice.below(200);
        let mut index = SpiIndex::with_capacity(capacity);
        let mut model: HashMap<(u32, u8, Address), SaRef> = HashMap::new();
        // Few SPIs, so that chains form, wrap around, and lose their middle.
        let spis = 1 + dice.below(if round % 2 == 0 { 40 } else { 4000 }) as u32;
        for _ in 0..3000 {
            let entry = SpiEntry {
                spi: 256 + dice.next() as u32 % spis * if round % 3 == 0 { 0x1_0001 } else { 1 },
                protocol: dice.pick(&[50, 51]),
                destination: Address::v4([192, 0, 2, dice.below(3) as u8]),
                sa: SaRef {
                    worker: dice.below(2) as u16,
                    slot: dice.below(4) as u32,
                },
            };
            let key = (entry.spi, entry.protocol, entry.destination);
            match dice.below(5) {
                0..=2 => {
                    let fits = model.contains_key(&key) || !index.is_full();
                    assert_eq!(index.insert(entry), fits);
                    if fits {
                        model.insert(key, entry.sa);
                    }
                }
                3 => {
                    index.remove(&entry);
                    if model.get(&key) == Some(&entry.sa) {
                        model.remove(&key);
                    }
                }
                _ if dice.below(100) == 0 => {
                    // A larger one, filled as control fills it.
                    index = SpiIndex::with_capacity(model.len() * 2 + 8);
                    for ((spi, protocol, destination), sa) in &model {
                        assert!(index.insert(SpiEntry {
                            spi: *spi,
                            protocol: *protocol,
                            destination: *destination,
                            sa: *sa,
                        }));
                    }
                }
                _ => {}
            }
            assert_eq!(index.lookup(key.0, key.1, key.2), model.get(&key).copied());
        }
        for (key, sa) in &model {
            assert_eq!(index.lookup(key.0, key.1, key.2), Some(*sa));
        }
    }
    assert_eq!(SpiIndex::default().lookup(1, 50, Address::v4([1; 4])), None);
    let entry = SpiEntry {
        spi: 300,
        protocol: 50,
        destination: Address::v4([1; 4]),
        sa: SaRef { worker: 0, slot: 0 },
    };
    assert!(
        !SpiIndex::default().insert(entry),
        "no memory, no entry, no panic"
    );
    SpiIndex::default().remove(&entry);
}

#[test]
fn slabs_keep_what_they_have_a_place_for() {
    let mut slab = Slab::with_slots(2);
    assert_eq!(slab.put(0, Box::new('a')), None);
    assert_eq!(slab.put(0, Box::new('b')), Some(Box::new('a')));
    assert_eq!(
        slab.put(2, Box::new('c')),
        Some(Box::new('c')),
        "no such slot: given back"
    );
    assert_eq!(slab.get(2), None);
    slab.grow_into(Slab::with_slots(3));
    assert_eq!(slab.put(2, Box::new('c')), None);
    assert_eq!(
        (slab.get(0), slab.get(1), slab.get(2)),
        (Some(&'b'), None, Some(&'c'))
    );
    *slab.get_mut(2).unwrap() = 'd';
    assert_eq!(slab.take(2), Some(Box::new('d')));
    assert_eq!(slab.take(2), None);
    assert_eq!(slab.take(u32::MAX), None);
}

fn key(n: usize, path: Path) -> FlowKey {
    let packet = udp("10.1.0.10", "10.2.0.20", (n as u16, (n >> 16) as u16), b"").write();
    let ip = IpHeader::parse(&packet).unwrap();
    FlowKey::new(&ip, portcullis_ipsec::ip::ports(&packet, &ip), path)
}

fn get(cache: &FlowCache, key: FlowKey) -> Option<Decision> {
    cache.get(cache.place(&key), &key).copied()
}

fn insert(cache: &mut FlowCache, key: FlowKey, decision: Decision) {
    cache.insert(cache.place(&key), key, decision);
}

fn path_number(path: Path) -> u32 {
    match path {
        Path::Decapsulated(serial) => serial,
        path => [Path::Outbound, Path::InboundClear]
            .iter()
            .position(|p| *p == path)
            .unwrap() as u32,
    }
}

fn decision(entry: u32) -> Decision {
    Decision {
        verdict: Verdict::Local,
        entry,
    }
}

/// A cache may forget, but never says what was not said.
#[test]
fn the_flow_cache_never_lies() {
    let mut dice = Dice(22);
    for size in [1, 4, 16, 1024] {
        let mut cache = FlowCache::new(size, dice.next());
        let mut said = HashMap::new();
        let (mut hits, mut asked) = (0, 0);
        for round in 0..20_000u32 {
            let path = dice.pick(&[Path::Outbound, Path::InboundClear, Path::Decapsulated(7)]);
            let n = dice.below(3 * size);
            if round % 997 == 0 {
                cache.invalidate();
                said.clear();
            }
            let known = get(&cache, key(n, path));
            asked += usize::from(said.contains_key(&(n, path_number(path))));
            if let Some(found) = known {
                assert_eq!(Some(&found), said.get(&(n, path_number(path))));
                hits += 1;
            } else {
                insert(&mut cache, key(n, path), decision(round));
                said.insert((n, path_number(path)), decision(round));
                assert_eq!(get(&cache, key(n, path)), Some(decision(round)), "just now");
            }
        }
        assert!(
            asked == 0 || hits * 20 > asked,
            "it remembers something: {hits} of {asked}"
        );
    }
}

#[test]
fn as_many_flows_as_ways_share_a_set() {
    let mut cache = FlowCache::new(4, 1);
    for n in 0..4 {
        insert(&mut cache, key(n, Path::Outbound), decision(n as u32));
    }
    for n in 0..4 {
        assert_eq!(
            get(&cache, key(n, Path::Outbound)),
            Some(decision(n as u32))
        );
    }
    insert(&mut cache, key(9, Path::Outbound), decision(9));
    let left = (0..4)
        .filter(|n| get(&cache, key(*n, Path::Outbound)).is_some())
        .count();
    assert_eq!(left, 3, "one had to go, and only one");
}

fn random_address(dice: &mut Dice, v4: bool) -> Address {
    // Few bits differ, so that prefixes nest.
    if v4 {
        Address::v4([
            10,
            dice.pick(&[0, 128, 255]),
            dice.pick(&[0, 1]),
            dice.next() as u8,
        ])
    } else {
        let mut a = [0; 16];
        (a[0], a[1], a[7], a[15]) = (
            0xfd,
            dice.pick(&[0, 0x80]),
            dice.pick(&[0, 1]),
            dice.next() as u8,
        );
        Address::v6(a)
    }
}

#[test]
fn routes_go_by_the_longest_prefix() {
    let mut dice = Dice(23);
    for _ in 0..200 {
        let mut routes: Vec<(ipnet::IpNet, Hop)> = Vec::new();
        for n in 0..dice.below(30) {
            let v4 = dice.below(2) == 0;
            let len = dice.below(if v4 { 33 } else { 129 }) as u8;
            let net = ipnet::IpNet::new(random_address(&mut dice, v4).to_ip(), len)
                .unwrap()
                .trunc();
            if routes.iter().all(|(other, _)| *other != net) {
                routes.push((
                    net,
                    Hop {
                        interface: InterfaceId(n as u16),
                        via: None,
                    },
                ));
            }
        }
        let fib = Fib::new(Vec::new(), &routes);
        for _ in 0..200 {
            let v4 = dice.below(2) == 0;
            let address = random_address(&mut dice, v4);
            let best = routes
                .iter()
                .filter(|(net, _)| net.contains(&address.to_ip()))
                .max_by_key(|(net, _)| net.prefix_len());
            assert_eq!(
                fib.route(address),
                best.map(|(_, hop)| *hop),
                "{}",
                address.to_ip()
            );
        }
    }
}

#[test]
fn connected_networks_are_routes_and_own_addresses_are_local() {
    let interface = Interface {
        side: Side::Protected,
        mac: [2, 0, 0, 0, 0, 1],
        vlan: None,
        mtu: 1500,
        addresses: vec![
            "10.1.0.1/30".parse().unwrap(),
            "fd01::1/64".parse().unwrap(),
            "10.9.0.0/31".parse().unwrap(),
        ],
    };
    let fib = Fib::new(vec![interface], &[]);
    let is = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    for local in ["10.1.0.1", "fd01::1", "10.9.0.0", "fe80::ff:fe00:1"] {
        assert!(fib.is_local(is(local)), "{local}");
    }
    assert!(!fib.is_local(is("10.1.0.2")));
    assert!(fib.is_broadcast(is("10.1.0.3")) && fib.is_broadcast(is("255.255.255.255")));
    assert!(
        !fib.is_broadcast(is("10.9.0.1")),
        "RFC 3021: a /31 has none"
    );
    assert!(fib.route(is("10.1.0.2")).is_some() && fib.route(is("10.1.0.4")).is_none());
    assert_eq!(
        fib.source_address(InterfaceId(0), true),
        Some(is("10.1.0.1"))
    );
    assert_eq!(
        fib.source_address(InterfaceId(5), false),
        Some(is("fd01::1"))
    );
}
