//! Policies of many entries, and keys that meet them; for tests and benches.
#![allow(unreachable_pub)] // the benches are another crate

use std::net::Ipv4Addr;

use portcullis_config::{AddressRange, PortRange, Selector, UpperLayer};
use portcullis_ipsec::ip::Address;
use portcullis_ipsec::spd::{SelectorKey, UpperKey};

mod random;

pub use random::Random;

fn range(start: u32, end: u32) -> Vec<AddressRange> {
    vec![AddressRange {
        start: Ipv4Addr::from(start).into(),
        end: Ipv4Addr::from(end).into(),
    }]
}

/// The prefix of that length around an address; none if the length is 0: any address.
fn prefix(address: u32, length: u32) -> Vec<AddressRange> {
    match u32::MAX.checked_shl(32 - length) {
        Some(mask) => range(address & mask, address | !mask),
        None => Vec::new(),
    }
}

fn any(local: Vec<AddressRange>, remote: Vec<AddressRange>) -> Selector {
    Selector {
        local,
        remote,
        upper: UpperLayer::Any,
    }
}

fn ports(protocol: u8, local: &[(u16, u16)], remote: &[(u16, u16)]) -> UpperLayer {
    let ranges = |ranges: &[(u16, u16)]| {
        let range = |&(start, end): &(u16, u16)| PortRange { start, end };
        ranges.iter().map(range).collect()
    };
    UpperLayer::Ports {
        protocol,
        local: ranges(local),
        remote: ranges(remote),
    }
}

const SERVICES: [u16; 12] = [80, 443, 53, 22, 25, 123, 161, 500, 4500, 3306, 5432, 8080];

/// A shape of policy: its name and how its entries are made.
pub type Shape = (&'static str, fn(u32, &mut Random) -> Vec<Selector>);

/// All of them.
pub const SHAPES: [Shape; 9] = [
    ("pairs of /24", pairs),
    ("one remote host each", hosts),
    ("scattered remote hosts", scattered),
    ("mixed prefixes, wildcards between", mixed),
    ("port ranges", port_ranges),
    ("access list", access_list),
    ("random overlaps", overlaps),
    ("stripes across each other", stripes),
    ("one around the other", nested),
];

/// Site to site: each entry has its own subnet on each side.
fn pairs(count: u32, _: &mut Random) -> Vec<Selector> {
    let entry = |i: u32| {
        any(
            prefix(0x0a00_0000 + (i << 8), 24),
            prefix(0x6440_0000 + (i << 8), 24),
        )
    };
    (0..count).map(entry).collect()
}

/// Remote access: each entry is one client.
fn hosts(count: u32, _: &mut Random) -> Vec<Selector> {
    let entry = |i: u32| any(Vec::new(), prefix(0x0a00_0000 + i, 32));
    (0..count).map(entry).collect()
}

/// The same with clients' addresses all over the Internet.
fn scattered(count: u32, random: &mut Random) -> Vec<Selector> {
    let entry = |_| any(prefix(0x0a00_0000, 8), prefix(random.word(), 32));
    (0..count).map(entry).collect()
}

/// Prefixes of all lengths, and every hundredth entry a service between any two hosts.
fn mixed(count: u32, random: &mut Random) -> Vec<Selector> {
    let entry = |i: u32| {
        if i % 100 == 99 {
            let port = random.below(1 << 16) as u16;
            return Selector {
                upper: ports(random.pick(&[6, 17]), &[], &[(port, port)]),
                ..Selector::default()
            };
        }
        let lengths = [20, 22, 24, 24, 26, 28, 30, 32];
        any(
            prefix(0x0a00_0000 | random.below(1 << 24), random.pick(&lengths)),
            prefix(0xac10_0000 | random.below(1 << 20), random.pick(&lengths)),
        )
    };
    (0..count).map(entry).collect()
}

/// A hundred pairs of subnets with many port ranges each.
fn port_ranges(count: u32, random: &mut Random) -> Vec<Selector> {
    let entry = |i: u32| {
        let mut range = || {
            let start = random.below(1 << 16);
            (start as u16, (start + random.below(200)).min(0xffff) as u16)
        };
        let upper = ports(6, &[range()], &[range()]);
        Selector {
            upper,
            ..any(
                prefix(0x0a00_0000 + ((i % 100) << 16), 16),
                prefix(0xac10_0000 + ((i % 10) << 16), 16),
            )
        }
    };
    (0..count).map(entry).collect()
}

/// Like a firewall's list: longest prefixes first, well-known services, some wildcards.
fn access_list(count: u32, random: &mut Random) -> Vec<Selector> {
    let lengths = [16, 20, 24, 24, 24, 26, 28, 32];
    let mut entries: Vec<(u32, Selector)> = (0..count)
        .map(|_| {
            let local = if random.below(100) == 0 {
                0
            } else {
                random.pick(&lengths)
            };
            let remote = random.pick(&lengths);
            let service = random.pick(&SERVICES);
            let upper = match random.below(10) {
                0..5 => UpperLayer::Any,
                5 => UpperLayer::Protocol(6),
                6 => ports(6, &[], &[(1024, u16::MAX)]),
                7 | 8 => ports(6, &[], &[(service, service)]),
                _ => ports(17, &[], &[(service, service)]),
            };
            let network = random.pick(&[0x0a00_0000, 0xac10_0000]);
            let selector = Selector {
                local: prefix(0x0a00_0000 | random.below(1 << 24), local),
                remote: prefix(network | random.below(1 << 20), remote),
                upper,
            };
            (local + remote, selector)
        })
        .collect();
    entries.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    entries.into_iter().map(|(_, selector)| selector).collect()
}

/// Ranges that begin and end anywhere: each overlaps a ninth of the others.
fn overlaps(count: u32, random: &mut Random) -> Vec<Selector> {
    let mut anywhere = || {
        let (a, b) = (random.word(), random.word());
        range(a.min(b), a.max(b))
    };
    (0..count).map(|_| any(anywhere(), anywhere())).collect()
}

/// Each narrow in one dimension and without limits in the others, so that all pairs cross.
fn stripes(count: u32, random: &mut Random) -> Vec<Selector> {
    let entry = |i| {
        let port = random.below(1 << 16) as u16;
        let network = prefix(0x0a00_0000 | random.below(1 << 24), 28);
        match i % 4 {
            0 => any(network, Vec::new()),
            1 => any(Vec::new(), network),
            2 => Selector {
                upper: ports(6, &[(port, port)], &[]),
                ..Selector::default()
            },
            _ => Selector {
                upper: ports(6, &[], &[(port, port)]),
                ..Selector::default()
            },
        }
    };
    (0..count).map(entry).collect()
}

/// Each entry surrounds the one before it on both sides.
fn nested(count: u32, _: &mut Random) -> Vec<Selector> {
    let around = |middle: u32, i: u32| range(middle - 7 * i, middle + 5 * i);
    let entry = |i| any(around(0x0a80_0000, i), around(0xac18_0000, i));
    (0..count).map(entry).collect()
}

fn address(ranges: &[AddressRange], random: &mut Random) -> Address {
    let Some(range) = ranges.first() else {
        return Address::v4((0x0a00_0000 | random.below(1 << 24)).to_be_bytes());
    };
    let (start, end) = (Address::from(range.start), Address::from(range.end));
    let hosts = (end.0 - start.0).saturating_add(1);
    Address(start.0 + u128::from(random.word()) % hosts)
}

fn port(ranges: &[PortRange], random: &mut Random) -> u16 {
    let (start, end) = ranges.first().map_or((0, u16::MAX), |r| (r.start, r.end));
    start + random.below(u32::from(end - start) + 1) as u16
}

/// The key of a packet that a random one of `entries` matches.
pub fn matching(entries: &[Selector], random: &mut Random) -> SelectorKey {
    let entry = &entries[random.below(entries.len() as u32) as usize];
    let any = Vec::new();
    let (protocol, l, r) = match &entry.upper {
        UpperLayer::Ports {
            protocol,
            local,
            remote,
        } => (*protocol, local, remote),
        _ => (6, &any, &any),
    };
    SelectorKey {
        local: address(&entry.local, random),
        remote: address(&entry.remote, random),
        protocol,
        upper: UpperKey::Ports {
            local: port(l, random),
            remote: port(r, random),
        },
    }
}
