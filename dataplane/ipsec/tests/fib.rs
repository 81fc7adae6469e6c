//! Routes and stations against tables that are searched from end to end.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use portcullis_config::Side;
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::fib::{Fib, Hop, Interface, Neighbors, link_local};
use portcullis_ipsec::ip::Address;

#[path = "spd_shapes/random.rs"]
#[allow(unreachable_pub)] // other tests hand it on
mod random;

use random::Random;

fn interface(addresses: &[&str]) -> Interface {
    Interface {
        side: Side::Protected,
        mac: [2, 0, 0, 0, 0, addresses.len() as u8],
        vlan: None,
        mtu: 1500,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
    }
}

fn on_link(interface: u16) -> Hop {
    Hop {
        interface: InterfaceId(interface),
        via: None,
    }
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

/// Longest prefix of the destination's family; of equal ones the last.
fn oracle(routes: &[(IpNet, Hop)], destination: Address) -> Option<Hop> {
    let matching = routes
        .iter()
        .filter(|(net, _)| net.contains(&destination.to_ip()));
    matching
        .max_by_key(|(net, _)| net.prefix_len())
        .map(|(_, hop)| *hop)
}

fn random_v4(random: &mut Random) -> u32 {
    let nets = [0x0a00_0000, 0x0a0a_0a00, 0xc0a8_0000, 0xffff_ff00, 0];
    let mask = random.pick(&[0xff, 0xffff, 0xff_ffff]);
    random.pick(&nets) ^ (random.word() & mask)
}

fn random_v6(random: &mut Random) -> u128 {
    let nets = [0x2001_0db8 << 96, 0xfe80 << 112, 0, u128::MAX];
    let wide = u128::from(random.word()) << 64 | u128::from(random.word());
    random.pick(&nets) ^ (wide >> random.below(70))
}

#[test]
fn the_longest_prefix_wins() {
    let random = &mut Random::new(1);
    for count in [0, 1, 10, 300, 5000] {
        let routes: Vec<(IpNet, Hop)> = (0..count)
            .map(|_| {
                let net: IpNet = match random.below(3) {
                    0 => {
                        let length = random.below(129) as u8;
                        let address = Ipv6Addr::from_bits(random_v6(random));
                        Ipv6Net::new(address, length).unwrap().into()
                    }
                    _ => {
                        let length = random.below(33) as u8;
                        let address = Ipv4Addr::from_bits(random_v4(random));
                        Ipv4Net::new(address, length).unwrap().into()
                    }
                };
                let via = address(&format!("192.0.2.{}", random.below(200)));
                let hop = Hop {
                    interface: InterfaceId(random.below(3) as u16),
                    via: Some(via),
                };
                (net, hop)
            })
            .collect();
        let fib = Fib::new(Vec::new(), &routes);
        for _ in 0..3000 {
            let destination = match (random.below(3), routes.is_empty()) {
                (0, _) | (_, true) => Address::v4(random_v4(random).to_be_bytes()),
                (1, _) => Address(random_v6(random)),
                _ => {
                    let (net, _) = random.pick(&routes);
                    let edges = [net.network(), net.broadcast()];
                    let edge = Address::from(random.pick(&edges)).0;
                    Address(
                        edge.wrapping_add(u128::from(random.below(3)))
                            .wrapping_sub(1),
                    )
                }
            };
            let expected = oracle(&routes, destination);
            assert_eq!(
                fib.route(destination),
                expected,
                "{:?}",
                destination.to_ip()
            );
        }
    }
}

#[test]
fn families_do_not_mix() {
    let route = |net: &str, interface| (net.parse().unwrap(), on_link(interface));
    let fib = Fib::new(Vec::new(), &[route("::/0", 1)]);
    assert_eq!(fib.route(address("10.0.0.1")), None);
    assert_eq!(fib.route(address("2001:db8::1")), Some(on_link(1)));
    let fib = Fib::new(Vec::new(), &[route("0.0.0.0/0", 2)]);
    assert_eq!(fib.route(address("10.0.0.1")), Some(on_link(2)));
    assert_eq!(fib.route(address("2001:db8::1")), None);
}

#[test]
fn stations_of_the_interfaces() {
    let inside = ["10.1.0.1/16", "10.9.0.1/31", "fd00::1/64"];
    let interfaces = vec![interface(&inside), interface(&["192.0.2.1/24"])];
    let fib = Fib::new(
        interfaces,
        &[("10.1.128.0/17".parse().unwrap(), on_link(1))],
    );
    for (destination, local, broadcast, hop) in [
        ("10.1.0.1", true, false, Some(0)),
        ("10.1.0.2", false, false, Some(0)),
        ("10.1.127.255", false, false, Some(0)),
        ("10.1.128.0", false, false, Some(1)),
        // Broadcast on one link, though routed to another.
        ("10.1.255.255", false, true, Some(1)),
        // RFC 3021: a /31 has no broadcast address.
        ("10.9.0.0", false, false, Some(0)),
        ("10.9.0.1", true, false, Some(0)),
        ("10.9.0.2", false, false, None),
        ("192.0.2.1", true, false, Some(1)),
        ("192.0.2.255", false, true, Some(1)),
        ("255.255.255.255", false, true, None),
        ("fd00::1", true, false, Some(0)),
        ("fd00::2", false, false, Some(0)),
        ("fd00:0:0:1::", false, false, None),
    ] {
        let address = address(destination);
        let found = fib.destination(address);
        assert_eq!(found.hop, hop.map(on_link).as_ref(), "{destination}");
        assert_eq!(fib.route(address), found.hop.copied(), "{destination}");
        assert_eq!(found.local, local, "{destination}");
        assert_eq!(fib.is_local(address), local, "{destination}");
        assert_eq!(found.broadcast, broadcast, "{destination}");
        assert_eq!(fib.is_broadcast(address), broadcast, "{destination}");
    }
    // RFC 4291 2.8: an IPv6 interface has its link-local address; another has none.
    assert!(fib.is_local(link_local([2, 0, 0, 0, 0, 3])));
    assert!(!fib.is_local(link_local([2, 0, 0, 0, 0, 1])));
}

#[test]
fn many_neighbours_are_told_apart() {
    let mut neighbors = Neighbors::default();
    let mut oracle = HashMap::new();
    let random = &mut Random::new(2);
    let key = |random: &mut Random| {
        let host = 0x0a00_0000 | random.below(1 << 14);
        (
            InterfaceId(random.below(4) as u16),
            Address::v4(host.to_be_bytes()),
        )
    };
    for turn in 0..20_000u32 {
        let [a, b, c, d] = turn.to_be_bytes();
        let key = key(random);
        neighbors.0.insert(key, [2, 0, a, b, c, d]);
        oracle.insert(key, [2, 0, a, b, c, d]);
    }
    for _ in 0..50_000 {
        let key = key(random);
        assert_eq!(neighbors.0.get(&key), oracle.get(&key));
    }
}
