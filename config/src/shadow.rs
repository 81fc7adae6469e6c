//! Finds SPD entries that can never match, since an earlier one takes all their packets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::iter::once;
use std::net::IpAddr;
use std::ops::Deref;
use std::slice;

use crate::mistake::shown;
use crate::reader::Section;
use crate::spd::Entry as Written;
use crate::{AddressRange, Direction, PortRange, Selector, SpdEntry, UpperLayer};

/// Inclusive ranges, sorted and apart from each other. Most are one, and there may be very many.
enum Ranges {
    One((u128, u128)),
    Several(Vec<(u128, u128)>),
}

impl Deref for Ranges {
    type Target = [(u128, u128)];

    fn deref(&self) -> &Self::Target {
        match self {
            Ranges::One(range) => slice::from_ref(range),
            Ranges::Several(ranges) => ranges,
        }
    }
}

/// What an entry matches, ready for comparison.
pub(crate) struct Extent<'a> {
    /// Local and remote addresses of IPv4 and of IPv6; `None` if no packet of the family matches.
    families: [Option<(Ranges, Ranges)>; 2],
    upper: &'a UpperLayer,
    direction: Option<Direction>,
}

/// Warns of each entry that lies wholly inside one earlier entry.
pub(crate) fn check(entries: &[Written<'_>]) {
    let mut earlier: Vec<&Written<'_>> = Vec::new();
    let mut known = Known::default();
    // The entry before, if the next may come of the same filter: whether all of them so far are dead.
    let mut pending: Option<Dead<'_>> = None;
    for entry in entries {
        let Some(config) = &entry.entry else { continue };
        let extent = Extent::of(&config.selector, config.direction);
        let outlines = extent.outlines();
        let around = known.first_around(&extent, &outlines);
        let around = around.and_then(|n| earlier.get(n));
        let found = Dead {
            entry,
            config,
            around: around.map(|first| first.section),
        };
        match &mut pending {
            Some(before) if before.is_of_filter_of(&found) => {
                before.around = before.around.and(found.around);
            }
            _ => {
                pending.take().iter().for_each(Dead::warn);
                pending = Some(found);
            }
        }
        known.add(extent, outlines);
        earlier.push(entry);
    }
    pending.iter().for_each(Dead::warn);
}

/// An entry, and the section of the one that takes all its packets, if one does.
struct Dead<'e> {
    entry: &'e Written<'e>,
    config: &'e SpdEntry,
    around: Option<Section<'e>>,
}

impl Dead<'_> {
    /// A filter may have made two entries, of which one may well be of no use.
    fn is_of_filter_of(&self, other: &Dead<'_>) -> bool {
        let made = self.config.origin.is_some() && self.config.origin == other.config.origin;
        made && other.config.name.strip_suffix("-back") == Some(&self.config.name)
    }

    fn warn(&self) {
        let Some(around) = self.around else { return };
        let line = around.line();
        let what = match &self.config.origin {
            None => String::new(),
            Some(origin) if origin.order == 0 => return,
            Some(_) => format!("{} ", shown(&self.config.name)),
        };
        let message =
            format!("{what}never matches: the entry in line {line} matches all its packets");
        self.entry.section.warning(self.entry.key, message);
    }
}

/// The entries so far.
#[derive(Default)]
struct Known<'a> {
    extents: Vec<Extent<'a>>,
    /// Of IPv4 and of IPv6.
    outlines: [Outlines; 2],
}

impl<'a> Known<'a> {
    fn add(&mut self, extent: Extent<'a>, outlines: [Option<Outline>; 2]) {
        for (outline, known) in outlines.into_iter().zip(&mut self.outlines) {
            known.add(outline, self.extents.len());
        }
        self.extents.push(extent);
    }

    /// The first entry that matches all that this one matches.
    fn first_around(&self, extent: &Extent<'_>, outlines: &[Option<Outline>; 2]) -> Option<usize> {
        let mut families = outlines.iter().zip(&self.outlines);
        // What lies around it does so in each of its families: one is enough to look in.
        let around = families.find_map(|(outline, known)| Some(known.around(outline.as_ref()?)))?;
        let covers = |n: &usize| self.extents.get(*n).is_some_and(|e| e.covers(extent));
        around.filter(covers).min()
    }
}

/// What an entry matches lies in these prefixes: of local and remote addresses, of the protocol, and of ports or of
/// ICMP types.
type Outline = [Prefix; 5];

/// Entries, of which there is one at least and mostly no other.
type Numbers = (usize, Vec<usize>);

/// Leading bits that are fixed, and how many.
type Prefix = (u128, u32);

/// Entries by their outlines. An outline that lies around another is that one cut short, and there are few ways of
/// cutting: so entries are found without looking at all.
#[derive(Default)]
struct Outlines {
    /// Entries of each outline's hash, by the lengths of its prefixes. There may be very many outlines, and whoever finds
    /// an entry looks at it.
    shapes: HashMap<[u32; 5], HashMap<u64, Numbers>>,
    state: RandomState,
}

impl Outlines {
    fn add(&mut self, outline: Option<Outline>, entry: usize) {
        let Some(outline) = outline else { return };
        let shape = self.shapes.entry(outline.map(|(_, length)| length));
        match shape.or_default().entry(self.state.hash_one(outline)) {
            Entry::Vacant(place) => drop(place.insert((entry, Vec::new()))),
            Entry::Occupied(mut known) => known.get_mut().1.push(entry),
        }
    }

    /// Entries whose outlines lie around this one.
    fn around<'o>(&'o self, outline: &'o Outline) -> impl Iterator<Item = usize> {
        self.shapes.iter().flat_map(move |(lengths, places)| {
            let mut cut = *outline;
            let mut parts = cut.iter_mut().zip(lengths);
            let fits = parts.all(|(part, length)| shorten(part, *length));
            let found = fits.then(|| places.get(&self.state.hash_one(cut)));
            let found = found.flatten();
            let numbers = |(first, others): &'o Numbers| once(first).chain(others);
            found.into_iter().flat_map(numbers).copied()
        })
    }
}

/// Cuts a prefix to a length; false if it is shorter.
fn shorten(prefix: &mut Prefix, length: u32) -> bool {
    let fits = length <= prefix.1;
    *prefix = (prefix.0 & leading(length), length);
    fits
}

/// That many leading ones.
fn leading(length: u32) -> u128 {
    !u128::MAX.checked_shr(length).unwrap_or(0)
}

/// The longest prefix around ranges in order.
fn hull(ranges: &[(u128, u128)]) -> Prefix {
    let (first, last) = match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) => (first.0, last.1),
        _ => (0, u128::MAX),
    };
    let length = (first ^ last).leading_zeros();
    (first & leading(length), length)
}

impl<'a> Extent<'a> {
    pub(crate) fn of(selector: &'a Selector, direction: Option<Direction>) -> Self {
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
            direction,
        }
    }

    /// Outlines in IPv4 and in IPv6.
    fn outlines(&self) -> [Option<Outline>; 2] {
        let any = (0, 0);
        let protocol = match self.upper {
            UpperLayer::Any => any,
            upper => (u128::from(protocol(upper)), 128),
        };
        let [near, far] = match self.upper {
            UpperLayer::Ports { local, remote, .. } => [hull(&ports(local)), hull(&ports(remote))],
            UpperLayer::Icmp { types, .. } => [hull(&[(types.0.into(), types.1.into())]), any],
            UpperLayer::Any | UpperLayer::Protocol(_) => [any, any],
        };
        let outline = |family: &Option<(Ranges, Ranges)>| {
            let (local, remote) = family.as_ref()?;
            Some([hull(local), hull(remote), protocol, near, far])
        };
        [outline(&self.families[0]), outline(&self.families[1])]
    }

    /// True if it matches all that the other matches.
    pub(crate) fn covers(&self, other: &Extent<'_>) -> bool {
        if self.direction.is_some() && self.direction != other.direction {
            return false;
        }
        let mut families = self.families.iter().zip(&other.families);
        families.all(|pair| match pair {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(a), Some(b)) => all_inside(&b.0, &a.0) && all_inside(&b.1, &a.1),
        }) && upper_covers(self.upper, other.upper)
    }

    /// True if a packet may match both. Directions are not looked at.
    pub(crate) fn overlaps(&self, other: &Extent<'_>) -> bool {
        let mut families = self.families.iter().zip(&other.families);
        let meet = |a: &Ranges, b: &Ranges| {
            let mut pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
            pairs.any(|(a, b)| a.0 <= b.1 && b.0 <= a.1)
        };
        families.any(|pair| match pair {
            (Some(a), Some(b)) => meet(&a.0, &b.0) && meet(&a.1, &b.1),
            _ => false,
        }) && upper_overlaps(self.upper, other.upper)
    }
}

fn upper_overlaps(a: &UpperLayer, b: &UpperLayer) -> bool {
    match (a, b) {
        (UpperLayer::Any, _) | (_, UpperLayer::Any) => true,
        _ if protocol(a) != protocol(b) => false,
        (
            UpperLayer::Ports { local, remote, .. },
            UpperLayer::Ports {
                local: other_local,
                remote: other_remote,
                ..
            },
        ) => {
            let meet = |a: &[PortRange], b: &[PortRange]| {
                let any = a.is_empty() || b.is_empty();
                any || a
                    .iter()
                    .any(|a| b.iter().any(|b| a.start <= b.end && b.start <= a.end))
            };
            meet(local, other_local) && meet(remote, other_remote)
        }
        (
            UpperLayer::Icmp { types, codes, .. },
            UpperLayer::Icmp {
                types: other_types,
                codes: other_codes,
                ..
            },
        ) => {
            let meet = |a: &(u8, u8), b: &(u8, u8)| a.0 <= b.1 && b.0 <= a.1;
            meet(types, other_types) && meet(codes, other_codes)
        }
        _ => true,
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
        return Ranges::One((0, if v4 { u32::MAX.into() } else { u128::MAX }));
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
        return Ranges::One((0, u16::MAX.into()));
    }
    merge(ranges.iter().map(|r| (r.start.into(), r.end.into())))
}

/// Sorts ranges and joins those that overlap or touch.
fn merge(mut ranges: impl Iterator<Item = (u128, u128)>) -> Ranges {
    let (first, second) = (ranges.next(), ranges.next());
    let mut sorted = match (first, second) {
        (Some(one), None) => return Ranges::One(one),
        (first, second) => Vec::from_iter(first.into_iter().chain(second).chain(ranges)),
    };
    sorted.sort_unstable();
    sorted.dedup_by(|(start, end), last| {
        let joined = *start <= last.1.saturating_add(1);
        if joined {
            last.1 = last.1.max(*end);
        }
        joined
    });
    sorted.shrink_to_fit();
    Ranges::Several(sorted)
}

fn all_inside(inner: &Ranges, outer: &Ranges) -> bool {
    let inside = |b: &(u128, u128)| outer.iter().any(|a| a.0 <= b.0 && b.1 <= a.1);
    inner.iter().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 33) % end
        }

        fn ranges(&mut self) -> Vec<AddressRange> {
            let count = [0, 1, 1, 2][self.below(4) as usize];
            let range = |dice: &mut Dice| {
                let (low, length) = (dice.below(24) as u8, dice.below(8) as u8);
                let ends = [low, low + length].map(|byte| match dice.0 % 7 {
                    0 => IpAddr::from([byte; 16]),
                    _ => IpAddr::from([10, 0, 0, byte]),
                });
                AddressRange {
                    start: ends[0],
                    end: ends[1],
                }
            };
            (0..count).map(|_| range(self)).collect()
        }

        fn upper(&mut self) -> UpperLayer {
            let ports = |dice: &mut Dice| {
                let start = dice.below(4) as u16;
                let end = start + dice.below(3) as u16;
                vec![PortRange { start, end }]
            };
            match self.below(4) {
                0 => UpperLayer::Any,
                1 => UpperLayer::Protocol(self.below(2) as u8 * 17),
                2 => UpperLayer::Icmp {
                    protocol: 1,
                    types: (self.below(3) as u8, 2 + self.below(3) as u8),
                    codes: (0, 255),
                },
                _ => UpperLayer::Ports {
                    protocol: 17,
                    local: ports(self),
                    remote: ports(self),
                },
            }
        }
    }

    #[test]
    fn no_entry_around_another_is_overlooked() {
        let mut dice = Dice(5);
        for _ in 0..50 {
            let selector = |dice: &mut Dice| Selector {
                local: dice.ranges(),
                remote: dice.ranges(),
                upper: dice.upper(),
            };
            let selectors: Vec<_> = (0..100).map(|_| selector(&mut dice)).collect();
            let mut known = Known::default();
            let mut found = 0;
            for selector in &selectors {
                let extent = Extent::of(selector, None);
                if extent.families.iter().all(Option::is_none) {
                    continue;
                }
                let expected = known.extents.iter().position(|e| e.covers(&extent));
                let outlines = extent.outlines();
                let first = known.first_around(&extent, &outlines);
                assert_eq!(first, expected, "{selector:?}");
                found += usize::from(expected.is_some());
                known.add(extent, outlines);
            }
            assert!(
                found > 5,
                "the selectors have nothing to do with each other"
            );
        }
    }
}
