//! Which outbound SA serves a packet of an SPD entry whose SAs are negotiated, or that none does and it passes in clear.
//!
//! One entry may have very many: each road warrior's address, each part of the traffic that a peer asked for. They
//! are found by the prefix of their remote addresses, the longest first, and only when the flow cache knows nothing.
//! They come and go one at a time; control makes all memory.

use std::sync::Arc;

use arrayvec::ArrayVec;
use portcullis_config::Selector;

use crate::counters::SaCounters;
use crate::ip::Address;
use crate::sa::{SaRef, any_match};
use crate::spd::{CompiledSelector, Match, SelectorKey};

/// Buckets that a worker has from the start.
const LEAST_BUCKETS: usize = 1024;
/// Lengths of a prefix of an [`Address`].
const LENGTHS: usize = 129;

/// A prefix of remote addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemotePrefix {
    bits: u128,
    length: u8,
}

impl RemotePrefix {
    /// The first `length` bits of an address.
    fn new(address: Address, length: u8) -> Self {
        let shift = 128 - u32::from(length.min(128));
        let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
        RemotePrefix {
            bits: address.0 & mask,
            length,
        }
    }

    /// How many bits it has: the more, the earlier packets find it.
    pub fn length(self) -> u8 {
        self.length
    }

    /// The longest prefix around all remote addresses of a selector.
    pub fn around(selector: &Selector) -> Self {
        let ends = |range: &portcullis_config::AddressRange| [range.start, range.end];
        let mut ends = selector.remote.iter().flat_map(ends).map(Address::from);
        let Some(first) = ends.next() else {
            return RemotePrefix::new(Address(0), 0);
        };
        let different = ends.fold(0, |bits, end| bits | end.0 ^ first.0);
        RemotePrefix::new(first, different.leading_zeros() as u8)
    }
}

/// What carries the packets of a child.
#[derive(Clone, Debug)]
pub enum Carrier {
    /// A bundle, by its innermost SA.
    Sa(SaRef),
    /// A soft SA, which has no AH or ESP (requirement 58): they pass in clear, and this worker counts them.
    Clear(Arc<SaCounters>),
}

impl Carrier {
    /// The SA; `None` for a soft one, of which a child has one at most for a prefix.
    pub fn sa(&self) -> Option<SaRef> {
        match self {
            Carrier::Sa(sa) => Some(*sa),
            Carrier::Clear(_) => None,
        }
    }
}

/// An outbound SA that serves a child of a connection, and for which of its packets.
#[derive(Debug)]
pub struct Bound {
    /// Number of the child, from control.
    pub child: u32,
    /// Where it is found.
    pub prefix: RemotePrefix,
    /// What carries them.
    pub carrier: Carrier,
    /// Packets that it is for.
    pub selectors: Arc<[CompiledSelector]>,
    /// Others in the same bucket.
    next: Option<Box<Bound>>,
}

impl Bound {
    /// `sa` serves the packets of `child` that `selector` has.
    pub fn new(child: u32, sa: SaRef, selector: &Selector) -> Self {
        Self::with(child, Carrier::Sa(sa), selector)
    }

    /// A soft SA for them, of one worker.
    pub fn soft(child: u32, counters: Arc<SaCounters>, selector: &Selector) -> Self {
        Self::with(child, Carrier::Clear(counters), selector)
    }

    fn with(child: u32, carrier: Carrier, selector: &Selector) -> Self {
        Bound {
            child,
            prefix: RemotePrefix::around(selector),
            carrier,
            selectors: [CompiledSelector::new(selector)].into(),
            next: None,
        }
    }

    /// The same for another worker; the selectors are shared.
    pub fn copy(&self) -> Self {
        Bound {
            child: self.child,
            prefix: self.prefix,
            carrier: self.carrier.clone(),
            selectors: self.selectors.clone(),
            next: None,
        }
    }
}

/// The negotiated SAs of all entries: a hash table of chains, whose links control makes.
#[derive(Debug)]
pub struct Children {
    buckets: Box<[Option<Box<Bound>>]>,
    /// How many there are of each prefix length.
    counts: [u32; LENGTHS],
    /// Lengths of which there are any, the longest first.
    lengths: ArrayVec<u8, LENGTHS>,
}

impl Default for Children {
    fn default() -> Self {
        Children::with_buckets(LEAST_BUCKETS)
    }
}

impl Children {
    /// Room for about so many.
    pub fn with_buckets(buckets: usize) -> Self {
        let buckets = buckets.max(LEAST_BUCKETS).next_power_of_two();
        Children {
            buckets: (0..buckets).map(|_| None).collect(),
            counts: [0; LENGTHS],
            lengths: ArrayVec::new(),
        }
    }

    /// More than that make lookups slow: control sends more room.
    pub const fn usual_room() -> usize {
        LEAST_BUCKETS
    }

    fn bucket(&self, child: u32, prefix: RemotePrefix) -> usize {
        const K: u64 = 0x9e37_79b9_7f4a_7c15;
        let (high, low) = ((prefix.bits >> 64) as u64, prefix.bits as u64);
        let number = u64::from(child) << 8 | u64::from(prefix.length);
        let mut hash = number.wrapping_mul(K);
        for word in [high, low] {
            hash = (hash ^ word).rotate_left(29).wrapping_mul(K);
        }
        (hash >> 32) as usize & (self.buckets.len() - 1)
    }

    fn chain(&self, child: u32, prefix: RemotePrefix) -> impl Iterator<Item = &Bound> {
        let first = self.buckets.get(self.bucket(child, prefix));
        let first = first.and_then(|bucket| bucket.as_deref());
        std::iter::successors(first, |bound| bound.next.as_deref())
            .filter(move |bound| bound.child == child && bound.prefix == prefix)
    }

    /// What carries a packet: of those with the longest prefix around its remote address, the latest.
    pub fn find(&self, child: u32, key: &SelectorKey) -> Match<&Carrier> {
        for length in &self.lengths {
            for bound in self.chain(child, RemotePrefix::new(key.remote, *length)) {
                match any_match(&bound.selectors, key) {
                    Match::Yes(()) => return Match::Yes(&bound.carrier),
                    Match::Reassemble => return Match::Reassemble,
                    Match::No => {}
                }
            }
        }
        Match::No
    }

    /// Adds one.
    pub(crate) fn bind(&mut self, mut bound: Box<Bound>) {
        let length = bound.prefix.length;
        if let Some(count) = self.counts.get_mut(usize::from(length)) {
            *count += 1;
            if *count == 1 {
                let at = self.lengths.partition_point(|other| *other > length);
                // There is room for all that there can be.
                let _ = self.lengths.try_insert(at, length);
            }
        }
        let at = self.bucket(bound.child, bound.prefix);
        if let Some(bucket) = self.buckets.get_mut(at) {
            bound.next = bucket.take();
            *bucket = Some(bound);
        }
    }

    /// Takes out the one that names this SA, or the soft one.
    pub(crate) fn unbind(
        &mut self,
        child: u32,
        prefix: RemotePrefix,
        sa: Option<SaRef>,
    ) -> Option<Box<Bound>> {
        let at = self.bucket(child, prefix);
        let mut place = self.buckets.get_mut(at)?;
        while place.as_ref().is_some_and(|bound| {
            (bound.child, bound.prefix, bound.carrier.sa()) != (child, prefix, sa)
        }) {
            place = &mut place.as_mut()?.next;
        }
        let mut bound = place.take()?;
        *place = bound.next.take();
        let count = self.counts.get_mut(usize::from(prefix.length))?;
        *count -= 1;
        if *count == 0 {
            self.lengths.retain(|length| *length != prefix.length);
        }
        Some(bound)
    }

    /// Moves all into a larger table and returns the old memory.
    pub(crate) fn grow_into(&mut self, mut larger: Box<Children>) -> Box<Children> {
        if larger.buckets.len() > self.buckets.len() {
            std::mem::swap(self, &mut *larger);
            for bucket in &mut larger.buckets {
                // Latest first in the old chain: turned round twice, it stays so.
                let mut turned: Option<Box<Bound>> = None;
                while let Some(mut bound) = bucket.take() {
                    *bucket = bound.next.take();
                    bound.next = turned.take();
                    turned = Some(bound);
                }
                while let Some(mut bound) = turned.take() {
                    turned = bound.next.take();
                    self.bind(bound);
                }
            }
        }
        larger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spd::UpperKey;
    use portcullis_config::AddressRange;
    use std::net::IpAddr;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn selector(start: &str, end: &str) -> Selector {
        Selector {
            remote: vec![AddressRange {
                start: address(start),
                end: address(end),
            }],
            ..Selector::default()
        }
    }

    fn at(slot: u32) -> SaRef {
        SaRef { worker: 0, slot }
    }

    fn find(children: &Children, child: u32, remote: &str) -> Option<u32> {
        let key = SelectorKey {
            local: Address::v4([10, 0, 0, 1]),
            remote: address(remote).into(),
            protocol: 17,
            upper: UpperKey::None,
        };
        match children.find(child, &key) {
            Match::Yes(carrier) => carrier.sa().map(|sa| sa.slot),
            _ => None,
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let mut children = Children::default();
        let mut bind = |slot, (start, end): (&str, &str)| {
            children.bind(Box::new(Bound::new(1, at(slot), &selector(start, end))));
        };
        bind(1, ("10.2.0.7", "10.2.0.7"));
        bind(2, ("10.2.0.0", "10.2.0.255"));
        bind(3, ("0.0.0.0", "255.255.255.255"));
        bind(4, ("10.2.0.100", "10.2.0.103")); // narrower, although it came later
        bind(5, ("2001:db8::", "2001:db8::ffff"));
        for (remote, slot) in [
            ("10.2.0.7", Some(1)),
            ("10.2.0.8", Some(2)),
            ("10.2.0.101", Some(4)),
            ("10.3.0.7", Some(3)),
            ("2001:db8::7", Some(5)),
            ("2001:db9::7", None),
        ] {
            assert_eq!(find(&children, 1, remote), slot, "{remote}");
            assert_eq!(find(&children, 2, remote), None, "another child's");
        }
    }

    #[test]
    fn a_range_that_is_no_prefix_is_found_and_nothing_beside_it() {
        let mut children = Children::default();
        children.bind(Box::new(Bound::new(
            0,
            at(1),
            &selector("10.0.0.5", "10.0.0.9"),
        )));
        for (last, found) in [
            (4, None),
            (5, Some(1)),
            (7, Some(1)),
            (9, Some(1)),
            (10, None),
        ] {
            assert_eq!(
                find(&children, 0, &format!("10.0.0.{last}")),
                found,
                "{last}"
            );
        }
    }

    #[test]
    fn the_latest_of_two_alike_serves_until_it_goes() {
        let mut children = Children::default();
        let lan = selector("10.2.0.0", "10.2.0.255");
        let prefix = RemotePrefix::around(&lan);
        for slot in [1, 2, 3] {
            children.bind(Box::new(Bound::new(0, at(slot), &lan)));
        }
        for (gone, left) in [(2, Some(3)), (3, Some(1)), (1, None)] {
            let unbound = children.unbind(0, prefix, Some(at(gone)));
            assert_eq!(unbound.and_then(|b| b.carrier.sa()), Some(at(gone)));
            assert_eq!(find(&children, 0, "10.2.0.1"), left);
        }
        assert!(children.unbind(0, prefix, Some(at(1))).is_none());
        assert!(children.lengths.is_empty());
    }

    /// As many road warriors as a table with one look for each would not bear.
    #[test]
    fn many_and_growing() {
        let mut children = Children::default();
        let host = |n: u32| IpAddr::from((0x0a02_0000 | n).to_be_bytes()).to_string();
        for n in 0..20_000 {
            let one = selector(&host(n), &host(n));
            children.bind(Box::new(Bound::new(0, at(n), &one)));
            if n == 5000 {
                let old = children.grow_into(Box::new(Children::with_buckets(20_000)));
                assert!(old.buckets.iter().all(Option::is_none));
                let smaller = children.grow_into(Box::new(Children::with_buckets(1)));
                assert!(smaller.buckets.len() < children.buckets.len());
            }
        }
        for n in (0..20_000).step_by(7) {
            assert_eq!(find(&children, 0, &host(n)), Some(n));
            let prefix = RemotePrefix::around(&selector(&host(n), &host(n)));
            assert!(children.unbind(0, prefix, Some(at(n))).is_some());
            assert_eq!(find(&children, 0, &host(n)), None);
        }
        assert_eq!(children.lengths.as_slice(), [128]);
    }
}
