//! The SAs that IKE brings: where each is, and the orders that put it there and take it away, one at a time, beside
//! those of the policy and whatever becomes of it.
//!
//! ```text
//! inbound:   AddInbound (owner), Index (all)     -> the peer may use it
//! outbound:  AddOutbound (owner), Bind (all)     -> packets find it
//!    or, as successor:            Swap (owner)   -> what used the old SA goes on with the new one, no flow is forgotten
//! removed:   Unbind (all), RemoveOutbound, ForgetFlows (all); later, as policy says: Unindex (all), RemoveInbound
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portcullis_config::{Direction, Limits, SaConfig, Selector, UdpEncapsulation};
use portcullis_ike::{AddSa, ChildId, SpiSource};
use portcullis_ipsec::children::{Bound, Children, RemotePrefix};
use portcullis_ipsec::command::{Command, Negotiated as Order};
use portcullis_ipsec::ip::Address;
use portcullis_ipsec::pipeline::SaSide;
use portcullis_ipsec::sa::SaRef;
use portcullis_ipsec::sad::{SpiEntry, SpiIndex};

use crate::Error;
use crate::departing::{Departing, identity};
use crate::engine::Choice;
use crate::engine::cryptodev::CryptoDevices;
use crate::ike_status::Use;
use crate::install::{
    IndexChange, Installed, InstalledSa, Links, add, ah_overhead, entry, index_of,
};
use crate::slots::{LEAST_ROOM, Slots, side_of};
use crate::spi::Spis;
use crate::tally::{Sums, Tally, Volume};
use crate::worker::{GatewayEngine, WorkerCommand};

/// Milliseconds for which an inbound SA still takes what is on its way.
const LINGER: u64 = 1000;
/// Milliseconds between two orders to forget flows.
const FORGET_INTERVAL: u64 = 10;
/// Packets and bytes that an SA's counters may be behind its lifetime.
const BEHIND: (u64, u64) = (64, 1 << 20);

/// Orders with the workers they are for, to be sent in this sequence.
pub type Orders = Vec<(usize, WorkerCommand)>;

/// One SA of IKE.
#[derive(Debug)]
pub struct NegotiatedSa {
    /// What it is.
    pub config: SaConfig,
    /// Where it is.
    pub sa: InstalledSa,
    /// Bytes at the last sample.
    sampled: u64,
    /// Megabits a second over the last second.
    pub mbps: f64,
    /// What of it is in the sums.
    seen: Volume,
}

/// The SAs of one quick mode.
#[derive(Debug)]
pub struct Child {
    /// Number of the policy's child.
    pub number: u32,
    /// Connection and child by name.
    pub name: (String, String),
    /// Traffic that was agreed on.
    selector: Selector,
    prefix: RemotePrefix,
    worker: u16,
    /// Innermost first.
    pub inbound: Vec<NegotiatedSa>,
    /// Innermost first.
    pub outbound: Vec<NegotiatedSa>,
    /// What it takes over from, as IKE said last.
    replaces: Option<ChildId>,
    /// Packets find it.
    bound: bool,
    /// Packets in and out that IKE knows of.
    told: (u64, u64),
}

/// What brings the workers' SPI indexes from one policy to the next, for each worker.
#[derive(Debug)]
pub struct IndexOrders {
    /// Before the new view.
    pub found: Vec<Vec<WorkerCommand>>,
    /// When nothing is on its way any more that needs the old SAs: the end of those whose identity others have.
    pub late: Vec<Vec<WorkerCommand>>,
}

impl Child {
    /// Traffic that was agreed on.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Same traffic, same worker.
    fn is_like(&self, other: &Child) -> bool {
        (self.number, self.worker, &self.selector) == (other.number, other.worker, &other.selector)
    }

    /// Address of the peer, and the ports that tell those behind one NAT.
    fn peer(&self) -> Option<(IpAddr, Option<UdpEncapsulation>)> {
        let sa = &self.outbound.last()?.config;
        Some((sa.destination, sa.udp))
    }
}

/// What becomes of the inbound SAs of a child that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// They go with it: the peer does not use them any more.
    Ends,
    /// They go a second later: what the peer sent before it heard of it is on its way still.
    Lingers,
}

/// What is known of the SA behind an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The soft one.
    Soft,
    /// The hard one, or the last sequence number.
    Hard,
}

/// All SAs of IKE in the workers.
#[derive(Debug)]
pub struct Negotiated {
    /// By worker; inbound and outbound.
    slots: Vec<[Slots; 2]>,
    children: BTreeMap<ChildId, Child>,
    /// Whose SA is in a slot: worker, direction, slot.
    places: HashMap<(u16, usize, u32), ChildId>,
    /// Children with the same traffic, by number and prefix, in the order in which they came.
    alike: HashMap<(u32, RemotePrefix), Vec<ChildId>>,
    /// Inbound SAs that were replaced or removed, by when they go.
    leaving: BTreeMap<u64, Vec<NegotiatedSa>>,
    /// The same of the policy's.
    pub departing: Departing,
    /// When flows are to be forgotten.
    forget: Option<u64>,
    /// Children by worker.
    load: Vec<usize>,
    /// How many are bound, and for how many the workers have room.
    bound: (usize, usize),
    /// Inbound SAs in the workers' SPI indexes: the policy's, and these.
    indexed: (usize, usize),
    /// How many those have room for.
    index_room: usize,
    spis: Spis,
    tally: Tally,
}

impl Negotiated {
    /// None yet, on so many workers.
    pub fn new(workers: usize, spis: Spis) -> Self {
        Negotiated {
            slots: vec![[(); 2].map(|()| Slots::of_ike()); workers],
            children: BTreeMap::new(),
            places: HashMap::new(),
            alike: HashMap::new(),
            leaving: BTreeMap::new(),
            departing: Departing::default(),
            forget: None,
            load: vec![0; workers],
            bound: (0, Children::usual_room()),
            indexed: (0, 0),
            index_room: 0,
            spis,
            tally: Tally::default(),
        }
    }

    /// All children, oldest first.
    pub fn children(&self) -> impl Iterator<Item = (ChildId, &Child)> {
        self.children.iter().map(|(id, child)| (*id, child))
    }

    /// One child.
    pub fn child(&self, id: ChildId) -> Option<&Child> {
        self.children.get(&id)
    }

    /// All SAs with their names, the oldest child's first.
    pub fn sas(&self) -> impl Iterator<Item = &NegotiatedSa> {
        let children = self.children.values();
        children.flat_map(|child| child.inbound.iter().chain(&child.outbound))
    }

    /// What all that there are and were have carried.
    pub fn sums(&self) -> Sums {
        self.tally.sums()
    }

    fn to_all(&self, order: impl Fn() -> WorkerCommand) -> Orders {
        (0..self.slots.len())
            .map(|worker| (worker, order()))
            .collect()
    }

    /// Installs the SAs of one direction; outbound ones are found by no packet before [`Negotiated::serve`].
    pub fn add(
        &mut self,
        new: AddSa,
        number: u32,
        now: u64,
        (engine, devices): (&GatewayEngine, &CryptoDevices),
        policy: &Installed,
    ) -> Result<Orders, Error> {
        let (worker, sas) = (self.owner(&new), self.per_worker());
        let mut orders = Orders::new();
        let mut made = Vec::new();
        // From the outermost inwards, so that each knows the slot of the one around it.
        let mut around: Option<&SaConfig> = None;
        for (depth, config) in new.sas.iter().enumerate().rev() {
            let mut config = config.clone();
            let (choice, key) = engine
                .serve(&config, (worker, sas), devices)
                .map_err(|error| Error::Key {
                    sa: config.name.clone(),
                    error,
                })?;
            config.selectors = match depth {
                0 => [new.selector.clone()].into(),
                _ => Arc::default(),
            };
            let links = Links {
                outer: made.last().map(|sa: &NegotiatedSa| sa.sa.place.slot),
                overhead: around.map_or(0, ah_overhead),
                is_outer: depth > 0,
            };
            around = new.sas.get(depth);
            let mut sa = self.place(&config, worker, choice, links, now, &mut orders);
            sa.standing = key.standing();
            orders.push((worker.into(), add(&config, &sa, key, false)));
            made.push(NegotiatedSa {
                config,
                sa,
                sampled: 0,
                mbps: 0.0,
                seen: Volume::default(),
            });
        }
        made.reverse();
        if new.direction == Direction::Inbound {
            for sa in &made {
                orders.extend(
                    entry((&sa.config, &sa.sa))
                        .map(|e| self.index(e, policy))
                        .into_iter()
                        .flatten(),
                );
            }
        }
        self.record(new, number, worker, made);
        Ok(orders)
    }

    /// What workers know of a child.
    pub fn used(&self, id: ChildId) -> Use {
        let carried = |sas: &[NegotiatedSa]| {
            let counters = sas.first().map(|sa| &sa.sa.counters);
            counters.map_or((0, 0), |c| (c.packets.get(), c.bytes.get()))
        };
        self.children
            .get(&id)
            .map_or_else(Use::default, |child| Use {
                in_use: child.bound,
                received: carried(&child.inbound),
                sent: carried(&child.outbound),
            })
    }

    /// The worker that owns the SAs of a child: that of the child before it, or the one with the fewest.
    fn owner(&self, new: &AddSa) -> u16 {
        let known = self.children.get(&new.child);
        let known = known.or(new.replaces.and_then(|old| self.children.get(&old)));
        if let Some(child) = known {
            return child.worker;
        }
        let least = (0u16..).zip(&self.load).min_by_key(|(_, count)| **count);
        least.map_or(0, |(worker, _)| worker)
    }

    /// How many SAs a worker has in one direction, about.
    fn per_worker(&self) -> usize {
        (self.indexed.0 + self.indexed.1) / self.slots.len().max(1)
    }

    /// Gives an SA its slot.
    fn place(
        &mut self,
        config: &SaConfig,
        worker: u16,
        choice: Choice,
        links: Links,
        now: u64,
        orders: &mut Orders,
    ) -> InstalledSa {
        let side = side_of(config.direction);
        let slots = self.slots.get_mut(usize::from(worker));
        let slot = match slots.and_then(|both| both.get_mut(side)) {
            Some(slots) => {
                let slot = slots.take(now, 0);
                let growth = slots.grow(config.direction);
                orders.extend(growth.map(|order| (usize::from(worker), order)));
                slot
            }
            None => crate::slots::NONE,
        };
        InstalledSa {
            place: SaRef { worker, slot },
            choice,
            standing: None,
            counters: Default::default(),
            born: now,
            links,
        }
    }

    /// Notes SAs whose orders are made.
    fn record(&mut self, new: AddSa, number: u32, worker: u16, made: Vec<NegotiatedSa>) {
        let prefix = RemotePrefix::around(&new.selector);
        for sa in &made {
            let place = sa.sa.place;
            self.places.insert(
                (place.worker, side_of(new.direction), place.slot),
                new.child,
            );
        }
        let child = self.children.entry(new.child).or_insert_with(|| {
            self.alike
                .entry((number, prefix))
                .or_default()
                .push(new.child);
            if let Some(count) = self.load.get_mut(usize::from(worker)) {
                *count += 1;
            }
            Child {
                number,
                name: (new.connection, new.name),
                selector: new.selector,
                prefix,
                worker,
                inbound: Vec::new(),
                outbound: Vec::new(),
                replaces: None,
                bound: false,
                told: (0, 0),
            }
        });
        child.replaces = new.replaces;
        match new.direction {
            Direction::Inbound => child.inbound = made,
            Direction::Outbound => child.outbound = made,
        }
    }

    /// Lets packets find the outbound SAs of a child; what used the child that it replaces goes on with it.
    pub fn serve(&mut self, id: ChildId, replaces: Option<ChildId>) -> Orders {
        let Some(replaced) = replaces else {
            return self.bind(id);
        };
        let (older, newer) = self.in_use_beside(id);
        let used = Some(replaced).filter(|old| self.can_swap(*old, id));
        match (used.or(older.filter(|_| newer.is_none())), newer) {
            // The one between was not served yet: what still uses the one before that goes on with the newest.
            (Some(old), _) => self.swap(old, id),
            // Nobody goes back.
            (None, Some(_)) => Orders::new(),
            (None, None) => self.bind(id),
        }
    }

    /// The child with the same peer that packets find in this one's place: an older one, or a newer one.
    fn in_use_beside(&self, id: ChildId) -> (Option<ChildId>, Option<ChildId>) {
        let (mut older, mut newer) = (None, None);
        let child = self.children.get(&id);
        let Some(child) = child.filter(|child| !child.bound && !child.outbound.is_empty()) else {
            return (older, newer);
        };
        let alike = self.alike.get(&(child.number, child.prefix));
        for other in alike.into_iter().flatten() {
            let used = self.children.get(other);
            let used = used
                .filter(|used| used.bound && used.is_like(child) && used.peer() == child.peer());
            // Of two made at once, the older one may be the one that stays.
            let is_newer = |used: &Child| {
                used.replaces == Some(id) || (child.replaces != Some(*other) && *other > id)
            };
            match used.map(is_newer) {
                Some(true) => newer = Some(*other),
                Some(false) => older = Some(*other),
                None => {}
            }
        }
        (older, newer)
    }

    /// True if every packet of the one may as well go with the other: of two clients behind one NAT, whose traffic is
    /// the same in transport mode, neither has the other's.
    fn can_swap(&self, id: ChildId, successor: ChildId) -> bool {
        let (Some(used), Some(new)) = (self.children.get(&id), self.children.get(&successor))
        else {
            return false;
        };
        // IKE, which knows identities, said so; the peer may have another address since.
        let related = new.replaces == Some(id) || used.replaces == Some(successor);
        used.bound
            && !new.bound
            && !new.outbound.is_empty()
            && used.is_like(new)
            && (related || used.peer() == new.peer())
    }

    /// The successor takes the slot that packets find.
    fn swap(&mut self, used: ChildId, successor: ChildId) -> Orders {
        let slot = |child: &Child| child.outbound.first().map(|sa| sa.sa.place);
        let old = self.children.get(&used).and_then(slot);
        let new = self.children.get(&successor).and_then(slot);
        let (Some(old), Some(new)) = (old, new) else {
            return Orders::new();
        };
        for (id, place, bound) in [(used, new, false), (successor, old, true)] {
            if let Some(child) = self.children.get_mut(&id) {
                child.bound = bound;
                if let Some(sa) = child.outbound.first_mut() {
                    sa.sa.place = place;
                }
            }
            let side = side_of(Direction::Outbound);
            self.places.insert((place.worker, side, place.slot), id);
        }
        let order = Command::Negotiated(Order::Swap(old.slot, new.slot));
        vec![(old.worker.into(), order)]
    }

    /// Lets packets find the outbound SAs of a child, unless they do.
    fn bind(&mut self, id: ChildId) -> Orders {
        let Some(child) = self.children.get_mut(&id) else {
            return Orders::new();
        };
        let Some(innermost) = child.outbound.first().filter(|_| !child.bound) else {
            return Orders::new();
        };
        child.bound = true;
        let bound = Bound::new(child.number, innermost.sa.place, &child.selector);
        self.bound.0 += 1;
        let mut orders = Orders::new();
        if self.bound.0 > self.bound.1 {
            self.bound.1 *= 2;
            let larger = || Order::Grow(Box::new(Children::with_buckets(self.bound.1)));
            orders = self.to_all(|| Command::Negotiated(larger()));
        }
        orders.extend(self.to_all(|| Command::Negotiated(Order::Bind(Box::new(bound.copy())))));
        orders
    }

    /// Removes both directions of a child. Inbound SAs whose traffic another child has linger in any case.
    pub fn remove(&mut self, id: ChildId, now: u64, inbound: Inbound) -> Orders {
        let alike = self
            .children
            .get(&id)
            .map(|child| (child.number, child.prefix));
        let others = alike.and_then(|key| self.alike.get_mut(&key));
        let others: Vec<_> = others.map_or_else(Vec::new, |all| {
            all.retain(|other| *other != id);
            all.clone()
        });
        if let Some(key) = alike.filter(|_| others.is_empty()) {
            self.alike.remove(&key);
        }
        let heir = others.iter().rev().find(|heir| self.can_swap(id, **heir));
        let mut orders = heir.map(|heir| self.swap(id, *heir)).unwrap_or_default();
        let Some(child) = self.children.remove(&id) else {
            return orders;
        };
        if let Some(count) = self.load.get_mut(usize::from(child.worker)) {
            *count -= 1;
        }
        orders.extend(self.remove_outbound(&child, now));
        let sas = child.inbound;
        for sa in &sas {
            let side = side_of(Direction::Inbound);
            self.places
                .remove(&(sa.sa.place.worker, side, sa.sa.place.slot));
        }
        match others.is_empty() && inbound == Inbound::Ends {
            true => orders.extend(self.remove_inbound(sas, now)),
            false => self.leaving.entry(now + LINGER).or_default().extend(sas),
        }
        orders
    }

    fn remove_outbound(&mut self, child: &Child, now: u64) -> Orders {
        let mut orders = Orders::new();
        if let Some(innermost) = child.outbound.first().filter(|_| child.bound) {
            let (number, prefix, sa) = (child.number, child.prefix, innermost.sa.place);
            self.bound.0 -= 1;
            orders = self.to_all(|| {
                Command::Negotiated(Order::Unbind {
                    child: number,
                    prefix,
                    sa: Some(sa),
                })
            });
            // Flows that remember the slot find it empty until then; it rests before another SA has it.
            self.forget.get_or_insert(now + FORGET_INTERVAL);
        }
        for sa in &child.outbound {
            self.tally.depart(&sa.config, &sa.sa.counters, sa.seen);
            let SaRef { worker, slot } = sa.sa.place;
            orders.push((worker.into(), Command::RemoveOutbound(slot)));
            self.free(sa, now);
        }
        orders
    }

    fn remove_inbound(&mut self, sas: Vec<NegotiatedSa>, now: u64) -> Orders {
        let mut orders = Orders::new();
        for sa in &sas {
            if let Some(entry) = entry((&sa.config, &sa.sa)) {
                orders.extend(self.to_all(|| Command::Unindex(entry)));
                self.indexed.1 -= 1;
            }
            self.tally.depart(&sa.config, &sa.sa.counters, sa.seen);
            let SaRef { worker, slot } = sa.sa.place;
            orders.push((worker.into(), Command::RemoveInbound(slot)));
            self.spis.release(sa.config.spi);
            self.free(sa, now);
        }
        orders
    }

    fn free(&mut self, sa: &NegotiatedSa, now: u64) {
        let (SaRef { worker, slot }, side) = (sa.sa.place, side_of(sa.config.direction));
        if side == side_of(Direction::Outbound) {
            self.places.remove(&(worker, side, slot));
        }
        let slots = self.slots.get_mut(usize::from(worker));
        if let Some(slots) = slots.and_then(|both| both.get_mut(side)) {
            slots.release(now, slot);
        }
    }

    /// What is due.
    pub fn tick(&mut self, now: u64) -> Orders {
        let mut orders = self.departing.due(now, self.slots.len());
        while let Some(first) = self.leaving.first_entry().filter(|e| *e.key() <= now) {
            let sas = first.remove();
            orders.extend(self.remove_inbound(sas, now));
        }
        if self.forget.is_some_and(|due| due <= now) {
            self.forget = None;
            orders.extend(self.to_all(|| Command::ForgetFlows));
        }
        orders
    }

    /// The peer's NAT gave it another address or port: what is sent to it follows.
    pub fn moved(
        &mut self,
        id: ChildId,
        (local, remote): (SocketAddr, SocketAddr),
        (engine, devices): (&GatewayEngine, &CryptoDevices),
    ) -> Result<Orders, Error> {
        let (mut orders, sas) = (Orders::new(), self.per_worker());
        let Some(child) = self.children.get_mut(&id) else {
            return Ok(orders);
        };
        for sa in &mut child.inbound {
            (sa.config.source, sa.config.destination) = (remote.ip(), local.ip());
        }
        for NegotiatedSa { config, sa, .. } in &mut child.outbound {
            (config.source, config.destination) = (local.ip(), remote.ip());
            if let Some(udp) = &mut config.udp {
                (udp.source_port, udp.destination_port) = (local.port(), remote.port());
            }
            let worker = sa.place.worker;
            let (_, key) = engine
                .serve(config, (worker, sas), devices)
                .map_err(|error| Error::Key {
                    sa: config.name.clone(),
                    error,
                })?;
            orders.push((worker.into(), add(config, sa, key, true)));
        }
        Ok(orders)
    }

    /// The child whose SA is in a worker's slot, if it has reached the limit: the event may be about the SA that was
    /// there before.
    pub fn reached(&self, worker: usize, side: SaSide, limit: Limit, now: u64) -> Option<ChildId> {
        let (id, sa) = self.find(worker, side)?;
        let limits = match limit {
            Limit::Soft => sa.config.lifetimes.soft(),
            Limit::Hard => sa.config.lifetimes.hard(),
        };
        let last = limit == Limit::Hard
            && !sa.config.esn
            && sa.sa.counters.sequence.get() >= u64::from(u32::MAX);
        (last || is_reached(&limits, &sa.sa, now)).then_some(id)
    }

    /// The child whose SA is in a worker's slot.
    pub fn child_at(&self, worker: usize, side: SaSide) -> Option<ChildId> {
        self.find(worker, side).map(|(id, _)| id)
    }

    /// The SA in a worker's slot.
    pub fn at(&self, worker: usize, side: SaSide) -> Option<&SaConfig> {
        self.find(worker, side).map(|(_, sa)| &sa.config)
    }

    /// The same, and what control knows of it.
    pub fn sa_at(&self, worker: usize, side: SaSide) -> Option<(&SaConfig, &InstalledSa)> {
        self.find(worker, side).map(|(_, sa)| (&sa.config, &sa.sa))
    }

    fn find(&self, worker: usize, side: SaSide) -> Option<(ChildId, &NegotiatedSa)> {
        let (direction, slot) = match side {
            SaSide::Inbound(slot) => (Direction::Inbound, slot),
            SaSide::Outbound(slot) => (Direction::Outbound, slot),
        };
        let place = (u16::try_from(worker).ok()?, side_of(direction), slot);
        let id = *self.places.get(&place)?;
        let child = self.children.get(&id)?;
        let sas = match direction {
            Direction::Inbound => &child.inbound,
            Direction::Outbound => &child.outbound,
        };
        let sa = sas.iter().find(|sa| sa.sa.place.slot == slot)?;
        Some((id, sa))
    }

    /// True if an SA of IKE is, or was, in this slot.
    pub fn is_place(&self, worker: usize, side: SaSide) -> bool {
        let (SaSide::Inbound(slot) | SaSide::Outbound(slot)) = side;
        worker < self.slots.len() && slot % 2 == 1
    }

    /// The outbound SA whose packets look so.
    pub fn outbound(&self, spi: u32, protocol: u8, to: Address) -> Option<(&SaConfig, SaRef)> {
        let all = self.children.values().flat_map(|child| &child.outbound);
        let mut found = all.filter(|sa| {
            let config = &sa.config;
            config.spi == spi
                && config.transform.protocol() == protocol
                && Address::from(config.destination) == to
        });
        found.next().map(|sa| (&sa.config, sa.sa.place))
    }

    /// True if there is an outbound SA in this place.
    pub fn has_outbound(&self, place: SaRef) -> bool {
        let side = side_of(Direction::Outbound);
        self.places.contains_key(&(place.worker, side, place.slot))
    }

    /// Children that carried packets since the last call, `milliseconds` ago: packets in and out.
    pub fn traffic(&mut self, milliseconds: u64) -> Vec<(ChildId, u64, u64)> {
        let mut changed = Vec::new();
        self.tally.settle();
        let leaving = self.leaving.values_mut().flatten();
        for sa in leaving {
            self.tally.look(&sa.config, &sa.sa.counters, &mut sa.seen);
        }
        for (id, child) in &mut self.children {
            for sa in child.inbound.iter_mut().chain(&mut child.outbound) {
                self.tally.look(&sa.config, &sa.sa.counters, &mut sa.seen);
                let bytes = sa.sa.counters.bytes.get();
                sa.mbps = (bytes - sa.sampled.min(bytes)) as f64 * 8.0
                    / 1000.0
                    / milliseconds.max(1) as f64;
                sa.sampled = bytes;
            }
            let packets =
                |sas: &[NegotiatedSa]| sas.first().map_or(0, |sa| sa.sa.counters.packets.get());
            let now = (packets(&child.inbound), packets(&child.outbound));
            if std::mem::replace(&mut child.told, now) != now {
                changed.push((*id, now.0, now.1));
            }
        }
        changed
    }

    /// What finds the inbound SAs, those that leave among them.
    fn entries(&self) -> impl Iterator<Item = SpiEntry> {
        let leaving = self.leaving.values().flatten();
        let inbound = self.children.values().flat_map(|child| &child.inbound);
        inbound
            .chain(leaving)
            .filter_map(|sa| entry((&sa.config, &sa.sa)))
            .chain(self.departing.entries())
    }

    /// Makes one more inbound SA findable.
    fn index(&mut self, new: SpiEntry, policy: &Installed) -> Orders {
        self.indexed.1 += 1;
        let count = self.indexed.0 + self.indexed.1 + self.departing.len();
        if count <= self.index_room {
            return self.to_all(|| Command::Index(new));
        }
        let all = policy.entries().chain(self.entries()).chain([new]);
        let index = index_of(all, count);
        self.index_room = index.room();
        self.to_all(|| Command::SetIndex(index.clone()))
    }

    /// Orders that bring the workers' indexes to a new policy.
    pub fn change_index(&mut self, change: IndexChange, policy: &Installed) -> IndexOrders {
        self.indexed.0 = policy.entries().count();
        let taken: HashSet<_> = change.added.iter().map(identity).collect();
        // One whose place another takes goes now; what is on its way may still need the others.
        self.departing.add(change.removed);
        let displaced = self.departing.displaced(&taken);
        let count = self.indexed.0 + self.departing.len() + self.indexed.1;
        let whole = match change.whole {
            Some(mut index) => {
                let mut more = self.entries();
                let all_fit = more.all(|entry| index.insert(entry));
                drop(more);
                Some(index)
                    .filter(|_| all_fit)
                    .or_else(|| Some(self.whole_index(policy)))
            }
            None if count > self.index_room => Some(self.whole_index(policy)),
            None => None,
        };
        let found = |_| match &whole {
            Some(index) => vec![Command::SetIndex(index.clone())],
            None => change.added.iter().copied().map(Command::Index).collect(),
        };
        let mut orders = IndexOrders {
            found: (0..self.slots.len()).map(found).collect(),
            late: self.slots.iter().map(|_| Vec::new()).collect(),
        };
        for departure in displaced {
            let SaRef { worker, slot } = departure.entry.sa;
            if let Some(late) = orders.late.get_mut(usize::from(worker)) {
                late.push(Command::RemoveInbound(slot));
            }
        }
        if let Some(index) = whole {
            self.index_room = index.room();
        }
        orders
    }

    fn whole_index(&self, policy: &Installed) -> SpiIndex {
        index_of(policy.entries().chain(self.entries()), LEAST_ROOM)
    }
}

fn is_reached(limits: &Limits, sa: &InstalledSa, now: u64) -> bool {
    let beyond = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value >= limit);
    beyond(limits.packets, sa.counters.packets.get() + BEHIND.0)
        || beyond(limits.bytes, sa.counters.bytes.get() + BEHIND.1)
        || beyond(
            limits.seconds.map(|s| s.saturating_mul(1000)),
            now.saturating_sub(sa.born) + 10,
        )
}

#[cfg(test)]
mod tests;
