//! Addresses of road warriors. A peer that comes again gets the address that it had, as long as no other needs it.
//! Each step takes time in the logarithm of the pool's size, or less.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use portcullis_config::{AddressPool, AddressRange};

use crate::peer_id::PeerId;

/// Leases of all pools.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    pools: HashMap<String, Pool>,
}

#[derive(Debug)]
struct Pool {
    config: Arc<AddressPool>,
    v4: Family,
    v6: Family,
}

/// The addresses of one family, numbered from zero.
#[derive(Debug, Default)]
struct Family {
    /// First address and how many, in order.
    ranges: Vec<(u128, u128)>,
    /// No number from here on was given in turn.
    fresh: u128,
    /// What a peer has, or had last.
    known: HashMap<PeerId, u128>,
    /// Who has a number, or had it last.
    owners: HashMap<u128, PeerId>,
    /// Numbers that nobody has at the moment, the longest free first; and where each stands there.
    idle: BTreeMap<u64, u128>,
    turns: HashMap<u128, u64>,
    turn: u64,
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Family {
    fn new(ranges: &[AddressRange], v4: bool) -> Self {
        let ours = ranges.iter().filter(|range| range.start.is_ipv4() == v4);
        Family {
            ranges: ours
                .map(|r| (bits(r.start), bits(r.end) - bits(r.start) + 1))
                .collect(),
            ..Family::default()
        }
    }

    /// The address with this number.
    fn address(&self, mut number: u128) -> Option<u128> {
        for (first, count) in &self.ranges {
            if number < *count {
                return Some(first + number);
            }
            number -= count;
        }
        None
    }

    /// The number of this address.
    fn number(&self, address: u128) -> Option<u128> {
        let mut before = 0;
        for (first, count) in &self.ranges {
            if (*first..first + count).contains(&address) {
                return Some(before + address - first);
            }
            before += count;
        }
        None
    }

    fn take(&mut self, peer: &PeerId, wanted: Option<u128>) -> Option<u128> {
        if let Some(number) = self.known.get(peer).copied() {
            self.wake(number);
            return self.address(number);
        }
        let wanted = wanted.and_then(|address| self.number(address));
        let number = wanted
            .filter(|number| !self.owners.contains_key(number))
            .or_else(|| self.next_fresh())
            .or_else(|| self.longest_idle())?;
        self.known.insert(peer.clone(), number);
        self.owners.insert(number, peer.clone());
        self.address(number)
    }

    /// The next number that nobody ever had.
    fn next_fresh(&mut self) -> Option<u128> {
        while self.owners.contains_key(&self.fresh) {
            self.fresh += 1;
        }
        self.address(self.fresh)?;
        Some(self.fresh)
    }

    /// The number that has been free for the longest time; who had it is forgotten.
    fn longest_idle(&mut self) -> Option<u128> {
        let (_, number) = self.idle.pop_first()?;
        self.turns.remove(&number);
        if let Some(before) = self.owners.remove(&number) {
            self.known.remove(&before);
        }
        Some(number)
    }

    fn wake(&mut self, number: u128) {
        if let Some(turn) = self.turns.remove(&number) {
            self.idle.remove(&turn);
        }
    }

    fn release(&mut self, peer: &PeerId) {
        let Some(number) = self.known.get(peer).copied() else {
            return;
        };
        if let Entry::Vacant(turn) = self.turns.entry(number) {
            self.turn += 1;
            self.idle.insert(self.turn, number);
            turn.insert(self.turn);
        }
    }

    fn of(&self, peer: &PeerId) -> Option<u128> {
        let number = self.known.get(peer)?;
        match self.turns.contains_key(number) {
            true => None,
            false => self.address(*number),
        }
    }
}

impl Leases {
    /// Only these pools are there from now on. What is changed begins anew.
    pub(crate) fn retain(&mut self, pools: &[&Arc<AddressPool>]) {
        let names: HashSet<_> = pools.iter().map(|pool| &pool.name).collect();
        self.pools.retain(|name, _| names.contains(name));
        for config in pools {
            let same = self.pools.get(&config.name);
            if same.is_none_or(|pool| pool.config != **config) {
                let pool = Pool {
                    config: (*config).clone(),
                    v4: Family::new(&config.ranges, true),
                    v6: Family::new(&config.ranges, false),
                };
                self.pools.insert(config.name.clone(), pool);
            }
        }
    }

    /// Gives a peer an IPv4 address of a pool: what it has or had, what it wants if nobody ever had that, or another.
    /// `None`: all are in use.
    pub(crate) fn take_v4(
        &mut self,
        pool: &AddressPool,
        peer: &PeerId,
        wanted: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let family = &mut self.pools.get_mut(&pool.name)?.v4;
        let taken = family.take(peer, wanted.map(|address| address.to_bits().into()))?;
        u32::try_from(taken).ok().map(Ipv4Addr::from_bits)
    }

    /// The same for IPv6.
    pub(crate) fn take_v6(
        &mut self,
        pool: &AddressPool,
        peer: &PeerId,
        wanted: Option<Ipv6Addr>,
    ) -> Option<Ipv6Addr> {
        let family = &mut self.pools.get_mut(&pool.name)?.v6;
        let taken = family.take(peer, wanted.map(Ipv6Addr::to_bits))?;
        Some(Ipv6Addr::from_bits(taken))
    }

    /// The peer is gone: its addresses are free, and remembered.
    pub(crate) fn release(&mut self, peer: &PeerId) {
        for pool in self.pools.values_mut() {
            pool.v4.release(peer);
            pool.v6.release(peer);
        }
    }

    /// What a peer has of a pool.
    pub(crate) fn of(&self, pool: &AddressPool, peer: &PeerId) -> Vec<IpAddr> {
        let Some(pool) = self.pools.get(&pool.name) else {
            return Vec::new();
        };
        let v4 = pool.v4.of(peer).and_then(|bits| u32::try_from(bits).ok());
        let v4 = v4.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        let v6 = pool.v6.of(peer);
        let v6 = v6.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
        v4.into_iter().chain(v6).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_config::Identity;

    fn pool(name: &str, ranges: &[(&str, &str)]) -> Arc<AddressPool> {
        let range = |(start, end): &(&str, &str)| AddressRange {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
        };
        Arc::new(AddressPool {
            name: name.to_owned(),
            ranges: ranges.iter().map(range).collect(),
            netmask: Ipv4Addr::BROADCAST,
            dns: Vec::new(),
            nbns: Vec::new(),
            split_include: Vec::new(),
            domain: None,
            banner: None,
        })
    }

    fn peer(number: u32) -> PeerId {
        PeerId::proven("warriors", &Identity::Fqdn(number.to_string()))
    }

    fn v4(text: &str) -> Option<Ipv4Addr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_peer_gets_its_address_again() {
        let pool = pool(
            "p",
            &[
                ("10.0.0.1", "10.0.0.2"),
                ("10.0.1.9", "10.0.1.9"),
                ("fd00::1", "fd00::1"),
            ],
        );
        let mut leases = Leases::default();
        leases.retain(&[&pool]);
        let mut take = |n| leases.take_v4(&pool, &peer(n), None);
        assert_eq!(take(1), v4("10.0.0.1"));
        assert_eq!(take(2), v4("10.0.0.2"));
        assert_eq!(take(1), v4("10.0.0.1"));
        assert_eq!(take(3), v4("10.0.1.9"));
        assert_eq!(take(4), None);
        leases.release(&peer(2));
        leases.release(&peer(2));
        assert_eq!(leases.of(&pool, &peer(2)), [] as [IpAddr; 0]);
        assert_eq!(leases.take_v4(&pool, &peer(2), None), v4("10.0.0.2"));
        // The one that has been free for the longest time goes to another, and is forgotten.
        leases.release(&peer(3));
        leases.release(&peer(1));
        assert_eq!(leases.take_v4(&pool, &peer(4), None), v4("10.0.1.9"));
        assert_eq!(leases.take_v4(&pool, &peer(3), None), v4("10.0.0.1"));
        assert_eq!(leases.take_v4(&pool, &peer(1), None), None);
        let v6 = leases.take_v6(&pool, &peer(4), None);
        assert_eq!(v6, Some("fd00::1".parse().unwrap()));
        assert_eq!(leases.take_v6(&pool, &peer(5), None), None);
        assert_eq!(leases.of(&pool, &peer(4)).len(), 2);
    }

    #[test]
    fn what_a_peer_wants_it_gets_if_nobody_had_it() {
        let pool = pool("p", &[("10.0.0.0", "10.0.0.3")]);
        let mut leases = Leases::default();
        leases.retain(&[&pool]);
        let mut take = |n, wanted| leases.take_v4(&pool, &peer(n), v4(wanted));
        assert_eq!(take(1, "10.0.0.0"), v4("10.0.0.0"));
        assert_eq!(take(2, "10.0.0.0"), v4("10.0.0.1"));
        assert_eq!(take(3, "10.0.0.3"), v4("10.0.0.3"));
        assert_eq!(take(4, "192.0.2.1"), v4("10.0.0.2"));
        // A changed pool begins anew; another one goes.
        leases.retain(&[&pool]);
        assert_eq!(leases.of(&pool, &peer(4)).len(), 1);
        let other = self::pool("p", &[("10.0.0.0", "10.0.0.4")]);
        leases.retain(&[&other]);
        assert_eq!(leases.of(&pool, &peer(4)).len(), 0);
    }

    #[test]
    fn a_hundred_thousand_peers_come_and_go() {
        let pool = pool("p", &[("10.0.0.0", "10.1.255.255")]);
        let mut leases = Leases::default();
        leases.retain(&[&pool]);
        let began = std::time::Instant::now();
        for round in 0..3 {
            for n in 0..100_000 {
                let address = leases.take_v4(&pool, &peer(n), None).unwrap();
                assert_eq!(address.to_bits(), 0x0a00_0000 + n, "{round}");
            }
            (0..100_000).for_each(|n| leases.release(&peer(n)));
        }
        // Half a million steps: were one of them to look at all leases, it would be hours.
        assert!(began.elapsed().as_secs() < 60);
    }
}
