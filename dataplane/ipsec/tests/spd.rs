//! The fast classifier against the obviously right one, on every kind of selector and key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use portcullis_config::{AddressRange, PortRange, Selector, UpperLayer};
use portcullis_ipsec::ip::Address;
use portcullis_ipsec::spd::{Classifier, Linear, Match, SelectorKey, Tree, UpperKey};

mod spd_shapes;

use spd_shapes::{Random, SHAPES, matching};

/// Addresses at which something changes: ends of both families and of the mapped range inside of IPv6.
fn corner(random: &mut Random) -> Address {
    let corners = [
        0,
        1,
        0xfffe_ffff_ffff,
        0xffff_0000_0000,
        0xffff_ffff_ffff,
        0x1_0000_0000_0000,
        0x2001_0db8_u128 << 96,
        u128::MAX,
    ];
    let near = |base: u128, random: &mut Random| {
        let offset = u128::from(random.below(12));
        Address(match random.below(2) {
            0 => base.saturating_add(offset),
            _ => base.saturating_sub(offset),
        })
    };
    match random.below(8) {
        0 => near(random.pick(&corners), random),
        1..5 => near(0xffff_0a00_0000 + 4 * u128::from(random.below(12)), random),
        5 => near(
            (0x2001_0db8 << 96) + (u128::from(random.below(12)) << 64),
            random,
        ),
        _ => near(
            0xffff_0a00_0000 + (u128::from(random.below(12)) << 8),
            random,
        ),
    }
}

/// Both of one family, as the policy demands; now and then the wrong way round.
fn address_range(random: &mut Random) -> AddressRange {
    let (a, b) = loop {
        let (a, b) = (corner(random), corner(random));
        if a.is_v4() == b.is_v4() {
            break (a, b);
        }
    };
    let (start, end) = match random.below(50) {
        0 => (a, b),
        _ => (a.min(b), a.max(b)),
    };
    AddressRange {
        start: start.to_ip(),
        end: end.to_ip(),
    }
}

fn count(random: &mut Random) -> u32 {
    random.pick(&[0, 0, 1, 1, 1, 1, 2, 3, 9])
}

fn port(random: &mut Random) -> u16 {
    match random.below(4) {
        0 => random.pick(&[0, 1, 2, 254, 255, 256, 65533, 65534, 65535]),
        _ => 1000 + random.below(40) as u16,
    }
}

fn port_ranges(random: &mut Random) -> Vec<PortRange> {
    let range = |random: &mut Random| {
        let (a, b) = (port(random), port(random));
        PortRange {
            start: a.min(b),
            end: if random.below(50) == 0 { a } else { a.max(b) },
        }
    };
    (0..count(random)).map(|_| range(random)).collect()
}

fn byte(random: &mut Random) -> u8 {
    random.pick(&[0, 1, 2, 3, 8, 100, 254, 255])
}

fn protocol(random: &mut Random) -> u8 {
    random.pick(&[0, 1, 6, 6, 6, 17, 17, 58, 255])
}

fn selector(random: &mut Random) -> Selector {
    let addresses =
        |random: &mut Random| (0..count(random)).map(|_| address_range(random)).collect();
    let upper = match random.below(6) {
        0 => UpperLayer::Any,
        1 => UpperLayer::Protocol(protocol(random)),
        2 => UpperLayer::Icmp {
            protocol: random.pick(&[1, 58]),
            types: (byte(random), byte(random)),
            codes: (byte(random), byte(random)),
        },
        _ => UpperLayer::Ports {
            protocol: protocol(random),
            local: port_ranges(random),
            remote: port_ranges(random),
        },
    };
    Selector {
        local: addresses(random),
        remote: addresses(random),
        upper,
    }
}

fn upper_key(random: &mut Random) -> UpperKey {
    match random.below(6) {
        0 => UpperKey::None,
        1 => UpperKey::Fragment,
        2 => UpperKey::Icmp {
            kind: byte(random),
            code: byte(random),
        },
        _ => UpperKey::Ports {
            local: port(random),
            remote: port(random),
        },
    }
}

/// An address at the edge of a selector's range, or anywhere.
fn address_key(ranges: &[AddressRange], random: &mut Random) -> Address {
    if ranges.is_empty() || random.below(4) == 0 {
        return corner(random);
    }
    let range = ranges[random.below(ranges.len() as u32) as usize];
    let edge = Address::from(random.pick(&[range.start, range.end]));
    Address(
        edge.0
            .wrapping_add(u128::from(random.below(3)))
            .wrapping_sub(1),
    )
}

fn key(selectors: &[Selector], random: &mut Random) -> SelectorKey {
    let near = &selectors[random.below(selectors.len() as u32) as usize];
    SelectorKey {
        local: address_key(&near.local, random),
        remote: address_key(&near.remote, random),
        protocol: match near.upper {
            UpperLayer::Protocol(p)
            | UpperLayer::Ports { protocol: p, .. }
            | UpperLayer::Icmp { protocol: p, .. }
                if random.below(4) > 0 =>
            {
                p
            }
            _ => protocol(random),
        },
        upper: upper_key(random),
    }
}

#[test]
fn agrees_on_selectors_of_all_kinds() {
    let random = &mut Random::new(1);
    let mut seen = [0; 3];
    for round in 0..1500 {
        let size = 1 + random.below([3, 12, 60, 250][round % 4]);
        let selectors: Vec<_> = (0..size).map(|_| selector(random)).collect();
        let (tree, linear) = (Tree::build(&selectors), Linear::build(&selectors));
        for _ in 0..300 {
            let key = key(&selectors, random);
            let expected = linear.classify(&key);
            assert_eq!(tree.classify(&key), expected, "{key:?} in {selectors:#?}");
            seen[match expected {
                Match::Yes(_) => 0,
                Match::No => 1,
                Match::Reassemble => 2,
            }] += 1;
        }
    }
    assert!(seen.iter().all(|&times| times > 10_000), "{seen:?}");
}

#[test]
fn agrees_on_large_policies() {
    for (name, entries) in SHAPES {
        let random = &mut Random::new(2);
        let mut selectors = entries(3000, random);
        // Nothing but IPv6 around the mapped addresses: it must not be taken for any.
        let around = AddressRange {
            start: Ipv6Addr::UNSPECIFIED.into(),
            end: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        };
        selectors.insert(
            1500,
            Selector {
                local: vec![around],
                ..selectors[0].clone()
            },
        );
        let (tree, linear) = (Tree::build(&selectors), Linear::build(&selectors));
        for _ in 0..3000 {
            let mut key = matching(&selectors, random);
            match random.below(4) {
                0 => key.upper = UpperKey::Fragment,
                1 => key.local.0 ^= 1 << random.below(30),
                2 => key.remote.0 ^= 1 << random.below(30),
                _ => {}
            }
            assert_eq!(
                tree.classify(&key),
                linear.classify(&key),
                "{name}: {key:?}"
            );
        }
    }
}

#[test]
fn no_entries_match_nothing() {
    let tree = Tree::build(&[]);
    for upper in [UpperKey::None, UpperKey::Fragment] {
        let key = SelectorKey {
            local: Address::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
            remote: Address(u128::MAX),
            protocol: 6,
            upper,
        };
        assert_eq!(tree.classify(&key), Match::No);
    }
}

/// A selector with very many combinations of ranges costs no more than its text.
#[test]
fn many_ranges_do_not_multiply() {
    let addresses = |base: u32| {
        let at = |i: u32| IpAddr::from(Ipv4Addr::from(base + 2 * i));
        (0..100)
            .map(|i| AddressRange {
                start: at(i),
                end: at(i),
            })
            .collect()
    };
    let ports = || {
        (0..100)
            .map(|i| PortRange {
                start: 3 * i,
                end: 3 * i,
            })
            .collect()
    };
    let selector = |base: u32| Selector {
        local: addresses(base),
        remote: addresses(base),
        upper: UpperLayer::Ports {
            protocol: 17,
            local: ports(),
            remote: ports(),
        },
    };
    let selectors: Vec<_> = (0..50).map(|i| selector(0x0a00_0000 + 50 * i)).collect();
    let (tree, linear) = (Tree::build(&selectors), Linear::build(&selectors));
    assert!(tree.memory() < 1 << 20, "{}", tree.memory());
    let random = &mut Random::new(3);
    for _ in 0..5000 {
        let address =
            |random: &mut Random| Address::v4((0x0a00_0000 + random.below(3000)).to_be_bytes());
        let key = SelectorKey {
            local: address(random),
            remote: address(random),
            protocol: 17,
            upper: match random.below(8) {
                0 => UpperKey::Fragment,
                _ => UpperKey::Ports {
                    local: 3 * random.below(110) as u16,
                    remote: 3 * random.below(110) as u16,
                },
            },
        };
        assert_eq!(tree.classify(&key), linear.classify(&key), "{key:?}");
    }
}

/// One entry more is a new tree: it must be ready in no time, and small.
#[test]
fn ten_thousand_entries_are_built_quickly() {
    for (name, entries) in SHAPES {
        let selectors = entries(10_000, &mut Random::new(4));
        let (mut best, mut memory) = (Duration::MAX, 0);
        for _ in 0..3 {
            let begin = Instant::now();
            memory = Tree::build(&selectors).memory();
            best = best.min(begin.elapsed());
        }
        assert!(best < Duration::from_millis(500), "{name}: {best:?}");
        assert!(memory < 16 << 20, "{name}: {memory} bytes");
    }
}
