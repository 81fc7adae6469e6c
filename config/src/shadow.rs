//! Finds SPD entries that can never match, since an earlier one takes all their packets.

use std::net::IpAddr;

use crate::spd::Entry;
use crate::{AddressRange, PortRange, Selector, UpperLayer};

/// Inclusive ranges, sorted and apart from each other.
type Ranges = Vec<(u128, u128)>;

/// What an entry matches, ready for comparison.
struct Extent<'a> {
    /// Local and remote addresses of IPv4 and of IPv6; `None` if no packet of the family matches.
    families: [Option<(Ranges, Ranges)>; 2],
    upper: &'a UpperLayer,
}

/// Warns of each entry that lies wholly inside one earlier entry.
pub(crate) fn check(entries: &[Entry<'_>]) {
    let mut earlier: Vec<(&Entry<'_>, Extent<'_>)> = Vec::new();
    for entry in entries {
        let Some(config) = &entry.entry else { continue };
        let extent = Extent::of(&config.selector);
        if let Some((first, _)) = earlier.iter().find(|(_, e)| e.covers(&extent)) {
            let line = first.section.line();
            let message =
                format!("never matches: the entry in line {line} matches all its packets");
            entry.section.warning("name", message);
        }
        earlier.push((entry, extent));
    }
}

impl<'a> Extent<'a> {
    fn of(selector: &'a Selector) -> Self {
        let family = |v4| {
            let (local, remote) = (
                addresses(&selector.local, v4),
                addresses(&selector.remote, v4),
            );
            (!local.is_empty() && !remote.is_empty()).then_some((local, remote))
        };
        Extent {
            families: [family(true), family(false)],
            upper: &selector.upper,
        }
    }

    fn covers(&self, other: &Extent<'_>) -> bool {
        let mut families = self.families.iter().zip(&other.families);
        families.all(|pair| match pair {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(a), Some(b)) => all_inside(&b.0, &a.0) && all_inside(&b.1, &a.1),
        }) && upper_covers(self.upper, other.upper)
    }
}

fn upper_covers(a: &UpperLayer, b: &UpperLayer) -> bool {
    match (a, b) {
        (UpperLayer::Any, _) => true,
        (_, UpperLayer::Any) => false,
        (UpperLayer::Protocol(p), _) => *p == protocol(b),
        (
            UpperLayer::Ports {
                protocol: p,
                local,
                remote,
            },
            UpperLayer::Ports {
                protocol: q,
                local: inner_local,
                remote: inner_remote,
            },
        ) => {
            let inside = |b: &[_], a: &[_]| all_inside(&ports(b), &ports(a));
            p == q && inside(inner_local, local) && inside(inner_remote, remote)
        }
        (
            UpperLayer::Icmp {
                protocol: p,
                types,
                codes,
            },
            UpperLayer::Icmp {
                protocol: q,
                types: inner_types,
                codes: inner_codes,
            },
        ) => {
            let inside = |b: &(u8, u8), a: &(u8, u8)| a.0 <= b.0 && b.1 <= a.1;
            p == q && inside(inner_types, types) && inside(inner_codes, codes)
        }
        _ => false,
    }
}

/// The protocol number of a selector that names one; 0 for any, which is compared before.
fn protocol(upper: &UpperLayer) -> u8 {
    match upper {
        UpperLayer::Any => 0,
        UpperLayer::Protocol(protocol)
        | UpperLayer::Ports { protocol, .. }
        | UpperLayer::Icmp { protocol, .. } => *protocol,
    }
}

fn addresses(ranges: &[AddressRange], v4: bool) -> Ranges {
    if ranges.is_empty() {
        return vec![(0, if v4 { u32::MAX.into() } else { u128::MAX })];
    }
    let number = |address| match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    };
    let family = ranges.iter().filter(|r| r.start.is_ipv4() == v4);
    merge(family.map(|r| (number(r.start), number(r.end))))
}

fn ports(ranges: &[PortRange]) -> Ranges {
    if ranges.is_empty() {
        return vec![(0, u16::MAX.into())];
    }
    merge(ranges.iter().map(|r| (r.start.into(), r.end.into())))
}

/// Sorts ranges and joins those that overlap or touch.
fn merge(ranges: impl Iterator<Item = (u128, u128)>) -> Ranges {
    let mut sorted: Ranges = ranges.collect();
    sorted.sort_unstable();
    let mut merged = Ranges::new();
    for (start, end) in sorted {
        match merged.last_mut() {
            Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn all_inside(inner: &Ranges, outer: &Ranges) -> bool {
    let inside = |b: &(u128, u128)| outer.iter().any(|a| a.0 <= b.0 && b.1 <= a.1);
    inner.iter().all(inside)
}
