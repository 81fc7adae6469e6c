//! The security policy database (RFC 4301 4.4.1): ordered entries, first match wins, no match is discard.

use portcullis_config::{AddressRange, Direction, PortRange, Selector, UpperLayer};

use crate::ip::{Address, IpHeader, protocol};

mod forest;
mod tree;

pub use tree::Tree;

/// What a selector looks at in one packet, seen from this gateway: local is our side whatever the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectorKey {
    /// Our side's address.
    pub local: Address,
    /// The peer side's address.
    pub remote: Address,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// What the upper layer says.
    pub upper: UpperKey,
}

/// Ports or ICMP type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperKey {
    /// Ports of the two sides.
    Ports {
        /// Port on our side.
        local: u16,
        /// Port on the peer's side.
        remote: u16,
    },
    /// ICMP or ICMPv6 type and code.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// The protocol has none, or the packet is too short for them.
    None,
    /// Part of a fragmented packet: its siblings may not carry them.
    Fragment,
}

/// Direction of a packet across the IPsec boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// From the protected side.
    Outbound,
    /// From the unprotected side.
    Inbound,
}

impl SelectorKey {
    /// The key of a packet crossing the boundary in direction `flow`.
    pub fn of(packet: &[u8], ip: &IpHeader, flow: Flow) -> Self {
        let ports = crate::ip::ports(packet, ip).filter(|_| !ip.is_fragment());
        Self::from_parts(ip, ports, flow)
    }

    /// The same from ports already read.
    pub fn from_parts(ip: &IpHeader, ports: Option<[u8; 4]>, flow: Flow) -> Self {
        let addresses = (ip.source, ip.destination);
        let mut key = Self::of_whole(addresses, ip.protocol, ports, flow);
        if ip.is_fragment() {
            key.upper = UpperKey::Fragment;
        }
        key
    }

    /// Of a packet that is no fragment; `addresses` are source and destination.
    #[inline(always)]
    pub(crate) fn of_whole(
        addresses: (Address, Address),
        protocol: u8,
        ports: Option<[u8; 4]>,
        flow: Flow,
    ) -> Self {
        let upper = match ports {
            Some([kind, code, _, _]) if matches!(protocol, protocol::ICMP | protocol::ICMPV6) => {
                UpperKey::Icmp { kind, code }
            }
            Some([a, b, c, d]) => {
                let (source, destination) =
                    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                let (local, remote) = flow.local_first(source, destination);
                UpperKey::Ports { local, remote }
            }
            None => UpperKey::None,
        };
        let (local, remote) = flow.local_first(addresses.0, addresses.1);
        SelectorKey {
            local,
            remote,
            protocol,
            upper,
        }
    }
}

impl Flow {
    /// What a packet says of source and destination, our side's first.
    #[inline(always)]
    fn local_first<T>(self, source: T, destination: T) -> (T, T) {
        match self {
            Flow::Outbound => (source, destination),
            Flow::Inbound => (destination, source),
        }
    }
}

/// Outcome of holding a packet against a selector or a whole SPD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match<T> {
    /// It matches.
    Yes(T),
    /// It does not.
    No,
    /// A fragment that matches but for ports it may not carry: only the reassembled packet can tell
    /// (RFC 4301 7: never let a later fragment slip past a port selector).
    Reassemble,
}

/// A selector in comparable words.
#[derive(Clone, Debug)]
pub struct CompiledSelector {
    local: Box<[(Address, Address)]>,
    remote: Box<[(Address, Address)]>,
    upper: UpperLayer,
}

fn compile_ranges(ranges: &[AddressRange]) -> Box<[(Address, Address)]> {
    ranges
        .iter()
        .map(|r| (r.start.into(), r.end.into()))
        .collect()
}

fn in_ranges(ranges: &[(Address, Address)], address: Address) -> bool {
    ranges.is_empty()
        || ranges
            .iter()
            .any(|&(start, end)| start <= address && address <= end)
}

fn in_ports(ranges: &[PortRange], port: u16) -> bool {
    ranges.is_empty() || ranges.iter().any(|r| r.start <= port && port <= r.end)
}

impl CompiledSelector {
    /// Prepares a selector of the policy.
    pub fn new(selector: &Selector) -> Self {
        CompiledSelector {
            local: compile_ranges(&selector.local),
            remote: compile_ranges(&selector.remote),
            upper: selector.upper.clone(),
        }
    }

    /// Holds a packet against the selector.
    pub fn matches(&self, key: &SelectorKey) -> Match<()> {
        if !in_ranges(&self.local, key.local) || !in_ranges(&self.remote, key.remote) {
            return Match::No;
        }
        let yes = match (&self.upper, key.upper) {
            (UpperLayer::Any, _) => true,
            (UpperLayer::Protocol(p), _) => *p == key.protocol,
            (
                UpperLayer::Ports { protocol, .. } | UpperLayer::Icmp { protocol, .. },
                UpperKey::Fragment,
            ) => {
                if *protocol == key.protocol {
                    return Match::Reassemble;
                }
                false
            }
            (
                UpperLayer::Ports {
                    protocol,
                    local: l,
                    remote: r,
                },
                UpperKey::Ports { local, remote },
            ) => *protocol == key.protocol && in_ports(l, local) && in_ports(r, remote),
            (
                UpperLayer::Icmp {
                    protocol,
                    types,
                    codes,
                },
                UpperKey::Icmp { kind, code },
            ) => {
                *protocol == key.protocol
                    && (types.0..=types.1).contains(&kind)
                    && (codes.0..=codes.1).contains(&code)
            }
            (UpperLayer::Ports { .. } | UpperLayer::Icmp { .. }, _) => false,
        };
        if yes { Match::Yes(()) } else { Match::No }
    }
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryAction {
    /// Drop.
    Discard,
    /// Cross the boundary in clear.
    Bypass,
    /// Protect; the view's services tell with which SAs.
    Protect,
}

/// Finds the first matching entry. A faster classifier must agree with [`Linear`] on every key.
pub trait Classifier: Send + Sync {
    /// Builds a classifier over selectors in the order of their entries.
    fn build<'s>(selectors: impl IntoIterator<Item = &'s Selector> + Clone) -> Self;
    /// Index of the first entry that matches.
    fn classify(&self, key: &SelectorKey) -> Match<u32>;
}

/// The obviously right classifier: entry by entry.
#[derive(Debug)]
pub struct Linear(Box<[CompiledSelector]>);

impl Classifier for Linear {
    fn build<'s>(selectors: impl IntoIterator<Item = &'s Selector> + Clone) -> Self {
        let compiled = selectors.into_iter().map(CompiledSelector::new);
        Linear(compiled.collect())
    }

    fn classify(&self, key: &SelectorKey) -> Match<u32> {
        for (index, selector) in self.0.iter().enumerate() {
            match selector.matches(key) {
                Match::Yes(()) => return Match::Yes(index as u32),
                Match::Reassemble => return Match::Reassemble,
                Match::No => {}
            }
        }
        Match::No
    }
}

/// The entries for packets of one direction.
#[derive(Debug)]
struct Half<C> {
    classifier: C,
    /// Which ones they are; `None`: all.
    entries: Option<Box<[u32]>>,
}

impl<C: Classifier> Half<C> {
    fn new(entries: &[DirectedEntry<'_>], direction: Direction) -> Self {
        let fits =
            |(_, (_, only, _)): &(u32, &DirectedEntry<'_>)| only.is_none_or(|d| d == direction);
        let numbered = (0u32..).zip(entries).filter(fits);
        let (numbers, selectors): (Vec<u32>, Vec<&Selector>) =
            numbered.map(|(n, (selector, ..))| (n, *selector)).unzip();
        Half {
            classifier: C::build(selectors.iter().copied()),
            entries: (numbers.len() < entries.len()).then(|| numbers.into()),
        }
    }

    fn classify(&self, key: &SelectorKey) -> Match<u32> {
        match (self.classifier.classify(key), &self.entries) {
            (Match::Yes(index), Some(entries)) => match entries.get(index as usize) {
                Some(&entry) => Match::Yes(entry),
                None => Match::No,
            },
            (found, _) => found,
        }
    }
}

/// An entry; `None`: packets of both directions.
pub type DirectedEntry<'a> = (&'a Selector, Option<Direction>, EntryAction);

/// An immutable snapshot of the SPD.
#[derive(Debug)]
pub struct Spd<C> {
    outbound: Half<C>,
    /// `None`: every entry is for both directions, and `outbound` has them all.
    inbound: Option<Half<C>>,
    actions: Box<[EntryAction]>,
}

impl<C: Classifier> Spd<C> {
    /// Builds a snapshot from ordered entries.
    pub fn new(entries: &[DirectedEntry<'_>]) -> Self {
        let directed = entries.iter().any(|(_, direction, _)| direction.is_some());
        Spd {
            outbound: Half::new(entries, Direction::Outbound),
            inbound: directed.then(|| Half::new(entries, Direction::Inbound)),
            actions: entries.iter().map(|(.., action)| *action).collect(),
        }
    }

    /// First entry that matches a packet that crosses the boundary in this direction, and what it does.
    pub fn lookup(&self, key: &SelectorKey, flow: Flow) -> Match<(u32, EntryAction)> {
        let half = match (flow, &self.inbound) {
            (Flow::Inbound, Some(inbound)) => inbound,
            (Flow::Inbound, None) | (Flow::Outbound, _) => &self.outbound,
        };
        match half.classify(key) {
            Match::Yes(index) => match self.actions.get(index as usize) {
                Some(&action) => Match::Yes((index, action)),
                None => Match::No,
            },
            Match::No => Match::No,
            Match::Reassemble => Match::Reassemble,
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// True if there is no entry: everything is discarded.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}
