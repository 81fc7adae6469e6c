//! Where addresses are, seen from this gateway: what filters, which name no side, need to become selectors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rules::{FilterAddress, InterfaceClass};
use crate::{AddressRange, Interface, Route, Side};

/// Addresses that go one way, inclusive.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u128,
    end: u128,
    /// `None`: no route.
    interface: Option<usize>,
}

/// Own addresses, and which interface leads to the others.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// With the number of their interface.
    own: Vec<(IpAddr, usize)>,
    /// Of connected prefixes.
    broadcasts: Vec<IpAddr>,
    interfaces: Vec<(Side, InterfaceClass)>,
    /// Of IPv4 and of IPv6: in order, without a gap.
    spans: [Vec<Span>; 2],
}

impl Topology {
    /// Of interfaces and routes.
    pub fn new(interfaces: &[Interface], routes: &[Route]) -> Self {
        let connected = interfaces.iter().enumerate();
        let connected = connected.flat_map(|(n, i)| i.addresses.iter().map(move |net| (*net, n)));
        let routed = routes.iter().map(|r| (r.destination, r.interface));
        let prefixes: Vec<_> = routed.chain(connected.clone()).collect();
        let spans = [true, false].map(|v4| {
            let family = prefixes
                .iter()
                .filter(|(net, _)| net.addr().is_ipv4() == v4);
            let family = family.map(|(net, interface)| Span {
                start: bits(net.network()),
                end: bits(net.broadcast()),
                interface: Some(*interface),
            });
            flatten(family.collect(), last(v4))
        });
        // RFC 3021: with 31 bits there is no broadcast address.
        let broadcasts = connected.clone().map(|(net, _)| net);
        let broadcasts = broadcasts.filter(|net| net.addr().is_ipv4() && net.prefix_len() < 31);
        Topology {
            broadcasts: broadcasts.map(|net| net.broadcast()).collect(),
            own: connected.map(|(net, n)| (net.addr(), n)).collect(),
            interfaces: interfaces.iter().map(|i| (i.side, i.class)).collect(),
            spans,
        }
    }

    /// Own addresses.
    pub fn own(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().map(|(address, _)| *address)
    }

    /// 255.255.255.255, and the addresses whose host part is all ones.
    pub(crate) fn broadcasts(&self) -> Vec<AddressRange> {
        let limited = single(Ipv4Addr::BROADCAST.into());
        let connected = self.broadcasts.iter().copied().map(single);
        [limited].into_iter().chain(connected).collect()
    }

    /// What of an end may be on our side; `None`: nothing. Empty is any address.
    pub(crate) fn local(
        &self,
        end: &FilterAddress,
        class: Option<InterfaceClass>,
    ) -> Option<Vec<AddressRange>> {
        match end {
            FilterAddress::Any => Some(Vec::new()),
            FilterAddress::MyAddress => {
                let own = self.own.iter().filter(|(_, n)| self.is_of(*n, class));
                let own: Vec<_> = own.map(|(address, _)| single(*address)).collect();
                (!own.is_empty()).then_some(own)
            }
            FilterAddress::Ranges(ranges) => {
                let own = self.own().any(|own| ranges.iter().any(|r| r.contains(own)));
                let inside = own
                    || !self
                        .through(ranges, |n| self.is_on(n, Side::Protected))
                        .is_empty();
                inside.then(|| ranges.clone())
            }
        }
    }

    /// What of an end may be on the peer's side; `None`: nothing. Empty is any address.
    pub(crate) fn remote(
        &self,
        end: &FilterAddress,
        class: Option<InterfaceClass>,
    ) -> Option<Vec<AddressRange>> {
        let everything = [whole(true), whole(false)];
        let ranges = match (end, class) {
            (FilterAddress::MyAddress, _) => return None,
            (FilterAddress::Any, None) => return Some(Vec::new()),
            (FilterAddress::Any, Some(_)) => &everything[..],
            (FilterAddress::Ranges(ranges), _) => ranges,
        };
        let outside = |n: Option<usize>| match n {
            None => class.is_none(),
            Some(n) => self.is_on(Some(n), Side::Unprotected) && self.is_of(n, class),
        };
        let through = self.through(ranges, outside);
        match (through.is_empty(), class) {
            (true, _) => None,
            (false, None) => Some(ranges.to_vec()),
            (false, Some(_)) => Some(through),
        }
    }

    /// True if a port or a route leads there.
    pub(crate) fn reaches(&self, address: IpAddr) -> bool {
        let range = [single(address)];
        !self
            .through(&range, |interface| interface.is_some())
            .is_empty()
    }

    fn is_of(&self, interface: usize, class: Option<InterfaceClass>) -> bool {
        let own = self.interfaces.get(interface);
        class.is_none_or(|class| own.is_some_and(|(_, own)| *own == class))
    }

    /// Where no route leads may be either side.
    fn is_on(&self, interface: Option<usize>, side: Side) -> bool {
        let own = interface.and_then(|n| self.interfaces.get(n));
        own.is_none_or(|(own, _)| *own == side)
    }

    /// The part of some addresses to which such interfaces lead.
    fn through(
        &self,
        ranges: &[AddressRange],
        leads: impl Fn(Option<usize>) -> bool,
    ) -> Vec<AddressRange> {
        let mut found: Vec<AddressRange> = Vec::new();
        for range in ranges {
            let v4 = range.start.is_ipv4();
            let spans = &self.spans[usize::from(!v4)];
            let (start, end) = (bits(range.start), bits(range.end));
            let first = spans.partition_point(|span| span.end < start);
            let overlapping = spans
                .iter()
                .skip(first)
                .take_while(|span| span.start <= end);
            for span in overlapping.filter(|span| leads(span.interface)) {
                let (start, end) = (span.start.max(start), span.end.min(end));
                match found.last_mut() {
                    Some(last) if touches(last, start, v4) => last.end = address(end, v4),
                    _ => found.push(AddressRange {
                        start: address(start, v4),
                        end: address(end, v4),
                    }),
                }
            }
        }
        found
    }
}

/// Prefixes to spans: the longest one has an address.
fn flatten(mut prefixes: Vec<Span>, last: u128) -> Vec<Span> {
    prefixes.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut spans: Vec<Span> = Vec::new();
    // Prefixes around the place that is reached, and that place; `None` behind the last address.
    let mut around = vec![Span {
        start: 0,
        end: last,
        interface: None,
    }];
    let mut reached = Some(0);
    let mut go = |reached: &mut Option<u128>, end: Option<u128>, interface| {
        if let (Some(start), Some(end)) = (*reached, end) {
            if start <= end {
                spans.push(Span {
                    start,
                    end,
                    interface,
                });
                *reached = end.checked_add(1);
            }
        }
    };
    for prefix in prefixes {
        while let Some(ended) = around
            .last()
            .copied()
            .filter(|span| span.end < prefix.start)
        {
            go(&mut reached, Some(ended.end), ended.interface);
            around.pop();
        }
        let outer = around.last().and_then(|span| span.interface);
        go(&mut reached, prefix.start.checked_sub(1), outer);
        around.push(prefix);
    }
    while let Some(ended) = around.pop() {
        go(&mut reached, Some(ended.end), ended.interface);
    }
    spans
}

fn touches(range: &AddressRange, next: u128, v4: bool) -> bool {
    range.end.is_ipv4() == v4 && bits(range.end).checked_add(1) == Some(next)
}

/// All addresses of a family.
pub(crate) fn whole(v4: bool) -> AddressRange {
    AddressRange {
        start: address(0, v4),
        end: address(last(v4), v4),
    }
}

/// One address.
pub(crate) fn single(address: IpAddr) -> AddressRange {
    AddressRange {
        start: address,
        end: address,
    }
}

fn last(v4: bool) -> u128 {
    if v4 { u32::MAX.into() } else { u128::MAX }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(bits: u128, v4: bool) -> IpAddr {
    match v4 {
        true => Ipv4Addr::from_bits(bits as u32).into(),
        false => Ipv6Addr::from_bits(bits).into(),
    }
}
