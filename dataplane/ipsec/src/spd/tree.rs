//! The fast classifier: addresses, protocol and ports are turned into ranks, the ranks are looked up in a
//! [`Forest`].
//!
//! Ranks make the space small and even: between two neighbouring ranks some selector begins or ends. They also
//! make one space of both address families.

use std::collections::BTreeMap;

use portcullis_config::{AddressRange, PortRange, Selector, UpperLayer};

use super::forest::{Area, DIMENSIONS, Forest, NOWHERE, Point, Ranges};
use super::{Classifier, CompiledSelector, Match, SelectorKey, UpperKey};
use crate::intervals::{AddressIntervals, Intervals};
use crate::ip::Address;

/// A selector that falls into more boxes than this is entered as one around them all and looked at in full.
const MOST_BOXES: usize = 64;

type Range<T> = (T, T);

/// What stands in the protocol dimension: the protocol, and what the packet shows of the upper layer.
#[derive(Clone, Copy)]
enum Kind {
    Ports,
    Icmp,
    None,
    Fragment,
}

/// Number of such classes.
const CLASSES: usize = 256 * 4;

const fn class(protocol: u8, kind: Kind) -> u16 {
    (protocol as u16) << 2 | kind as u16
}

/// What a box leads to: the entry's index, and whether the packet must be reassembled first.
fn code(index: u32, reassemble: bool) -> u32 {
    index << 1 | u32::from(reassemble)
}

/// A selector's upper layer as ranges of the class and of the two words beside it: ports, or type and code.
type Upper = (Range<u16>, Range<u16>, Range<u16>);

const ALL: Range<u16> = (0, u16::MAX);

fn of_protocol(protocol: u8) -> Range<u16> {
    (
        class(protocol, Kind::Ports),
        class(protocol, Kind::Fragment),
    )
}

fn port_ranges(ranges: &[PortRange]) -> Vec<Range<u16>> {
    match ranges {
        [] => vec![ALL],
        _ => ranges
            .iter()
            .map(|r| (r.start, r.end))
            .filter(|r| r.0 <= r.1)
            .collect(),
    }
}

/// Upper layers of whole packets that match.
fn whole_packets(upper: &UpperLayer) -> Vec<Upper> {
    match upper {
        UpperLayer::Any => vec![(ALL, ALL, ALL)],
        UpperLayer::Protocol(protocol) => vec![(of_protocol(*protocol), ALL, ALL)],
        UpperLayer::Ports {
            protocol,
            local,
            remote,
        } => {
            let class = class(*protocol, Kind::Ports);
            let remote = port_ranges(remote);
            let beside = |l: Range<u16>| remote.iter().map(move |&r| ((class, class), l, r));
            port_ranges(local).into_iter().flat_map(beside).collect()
        }
        UpperLayer::Icmp {
            protocol,
            types,
            codes,
        } => {
            if types.0 > types.1 || codes.0 > codes.1 {
                return Vec::new();
            }
            let class = class(*protocol, Kind::Icmp);
            let words = |range: &(u8, u8)| (u16::from(range.0), u16::from(range.1));
            vec![((class, class), words(types), words(codes))]
        }
    }
}

/// Upper layers of fragments that match or may match, and whether they must be reassembled to tell.
fn fragments(upper: &UpperLayer) -> (Upper, bool) {
    match upper {
        UpperLayer::Any => ((ALL, ALL, ALL), false),
        UpperLayer::Protocol(protocol) => ((of_protocol(*protocol), ALL, ALL), false),
        UpperLayer::Ports { protocol, .. } | UpperLayer::Icmp { protocol, .. } => {
            let class = class(*protocol, Kind::Fragment);
            (((class, class), ALL, ALL), true)
        }
    }
}

fn address_ranges(ranges: &[AddressRange]) -> Vec<Range<Address>> {
    let ranges: Vec<_> = match ranges {
        [] => vec![(Address(0), Address(u128::MAX))],
        _ => ranges
            .iter()
            .map(|r| (r.start.into(), r.end.into()))
            .collect(),
    };
    ranges
        .into_iter()
        .filter(|(start, end)| start <= end)
        .collect()
}

/// The smallest range around all of them.
fn hull<T: Copy + Ord>(ranges: impl Iterator<Item = Range<T>>) -> Option<Range<T>> {
    ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// A selector as boxes: every combination of its ranges.
struct Parts {
    local: Vec<Range<Address>>,
    remote: Vec<Range<Address>>,
    upper: Vec<Upper>,
    fragment: (Upper, bool),
    /// The boxes are the selector, not only around it.
    exact: bool,
}

impl Parts {
    fn new(selector: &Selector) -> Self {
        let mut parts = Parts {
            local: address_ranges(&selector.local),
            remote: address_ranges(&selector.remote),
            upper: whole_packets(&selector.upper),
            fragment: fragments(&selector.upper),
            exact: true,
        };
        if parts.local.len() * parts.remote.len() * parts.upper.len().max(1) > MOST_BOXES {
            parts.exact = false;
            parts.local = hull(parts.local.into_iter()).into_iter().collect();
            parts.remote = hull(parts.remote.into_iter()).into_iter().collect();
            let (a, b) = (
                parts.upper.iter().map(|u| u.1),
                parts.upper.iter().map(|u| u.2),
            );
            parts.upper = match (parts.upper.first(), hull(a), hull(b)) {
                (Some(first), Some(a), Some(b)) => vec![(first.0, a, b)],
                _ => Vec::new(),
            };
        }
        parts
    }
}

fn word_intervals(ranges: impl Iterator<Item = Range<u16>>) -> Intervals<u16> {
    let mut ends: Vec<u16> = ranges
        .flat_map(|(first, last)| [first.checked_sub(1), Some(last)])
        .flatten()
        .filter(|&end| end != u16::MAX)
        .collect();
    ends.sort_unstable();
    ends.dedup();
    Intervals::new(ends)
}

/// A classifier that takes about as long for ten thousand entries as for ten.
#[derive(Debug)]
pub struct Tree {
    ranks: Ranks,
    whole: Forest,
    /// For fragments, of which no ports are compared; `None`: no entry looks at ports.
    fragments: Option<Forest>,
    /// Selectors whose box is larger than they are, by index.
    inexact: BTreeMap<u32, CompiledSelector>,
}

/// Ranks in every dimension.
#[derive(Debug)]
struct Ranks {
    local: AddressIntervals,
    remote: AddressIntervals,
    class: Box<[u16]>,
    a: Intervals<u16>,
    b: Intervals<u16>,
}

impl Ranks {
    fn new(parts: &[Parts]) -> Self {
        let uppers = || {
            parts
                .iter()
                .flat_map(|p| p.upper.iter().chain([&p.fragment.0]))
        };
        let classes = word_intervals(uppers().map(|u| u.0));
        Ranks {
            local: AddressIntervals::new(parts.iter().flat_map(|p| p.local.iter().copied())),
            remote: AddressIntervals::new(parts.iter().flat_map(|p| p.remote.iter().copied())),
            class: (0..CLASSES)
                .map(|class| classes.rank(class as u16) as u16)
                .collect(),
            a: word_intervals(uppers().map(|u| u.1)),
            b: word_intervals(uppers().map(|u| u.2)),
        }
    }

    fn counts(&self) -> [u32; DIMENSIONS] {
        let classes = self.class.last().map_or(1, |&last| u32::from(last) + 1);
        [
            self.local.count(),
            self.remote.count(),
            classes,
            self.a.count(),
            self.b.count(),
        ]
    }

    #[inline]
    fn class(&self, class: u16) -> u32 {
        self.class
            .get(usize::from(class))
            .map_or(0, |&rank| rank.into())
    }

    fn area(&self, local: Range<Address>, remote: Range<Address>, upper: &Upper) -> Ranges {
        let last_class = upper.0.1.min(CLASSES as u16 - 1);
        [
            (self.local.rank(local.0), self.local.rank(local.1)),
            (self.remote.rank(remote.0), self.remote.rank(remote.1)),
            (self.class(upper.0.0), self.class(last_class)),
            (self.a.rank(upper.1.0), self.a.rank(upper.1.1)),
            (self.b.rank(upper.2.0), self.b.rank(upper.2.1)),
        ]
    }

    #[inline]
    fn point(&self, key: &SelectorKey) -> Point {
        let (kind, a, b) = match key.upper {
            UpperKey::Ports { local, remote } => (Kind::Ports, local, remote),
            UpperKey::Icmp { kind, code } => (Kind::Icmp, kind.into(), code.into()),
            UpperKey::None => (Kind::None, 0, 0),
            UpperKey::Fragment => (Kind::Fragment, 0, 0),
        };
        [
            self.local.rank(key.local),
            self.remote.rank(key.remote),
            self.class(class(key.protocol, kind)),
            self.a.rank(a),
            self.b.rank(b),
            0,
            0,
            0,
        ]
    }
}

impl Classifier for Tree {
    fn build<'s>(selectors: impl IntoIterator<Item = &'s Selector> + Clone) -> Self {
        let parts: Vec<Parts> = selectors.clone().into_iter().map(Parts::new).collect();
        let ranks = Ranks::new(&parts);
        let (mut whole, mut fragments, mut inexact) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut looks_at_ports = false;
        for ((parts, selector), index) in parts.iter().zip(selectors).zip(0..) {
            let (fragment, reassemble) = &parts.fragment;
            looks_at_ports |= reassemble;
            let add = |areas: &mut Vec<Area>, upper: &Upper, reassemble: bool| {
                for &local in &parts.local {
                    areas.extend(parts.remote.iter().map(|&remote| Area {
                        ranges: ranks.area(local, remote, upper),
                        code: code(index, reassemble),
                        exact: parts.exact,
                    }));
                }
            };
            parts
                .upper
                .iter()
                .for_each(|upper| add(&mut whole, upper, false));
            add(&mut fragments, fragment, *reassemble);
            if !parts.exact {
                inexact.insert(index, CompiledSelector::new(selector));
            }
        }
        let counts = ranks.counts();
        Tree {
            whole: Forest::new(&whole, counts),
            fragments: looks_at_ports.then(|| Forest::new(&fragments, counts)),
            ranks,
            inexact,
        }
    }

    #[inline]
    fn classify(&self, key: &SelectorKey) -> Match<u32> {
        let forest = match (&self.fragments, key.upper) {
            (Some(fragments), UpperKey::Fragment) => fragments,
            _ => &self.whole,
        };
        let found = forest.first(&self.ranks.point(key), |code| {
            let inexact = self.inexact.get(&(code >> 1));
            inexact.is_none_or(|selector| selector.matches(key) != Match::No)
        });
        match found {
            NOWHERE => Match::No,
            code if code & 1 == 1 => Match::Reassemble,
            code => Match::Yes(code >> 1),
        }
    }
}

impl Tree {
    /// Bytes in use.
    pub fn memory(&self) -> usize {
        let ranks = &self.ranks;
        let words = ranks.a.memory() + ranks.b.memory() + size_of_val(&*ranks.class);
        let forests = self.whole.memory() + self.fragments.as_ref().map_or(0, Forest::memory);
        ranks.local.memory() + ranks.remote.memory() + words + forests
    }
}
