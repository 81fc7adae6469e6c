//! Which MAC address a next hop has: ARP and Neighbour Discovery as a state machine without I/O.
//!
//! The control thread feeds frames and time in, and takes frames, packets and the table out. What is learned is
//! what was asked for (RFC 826, RFC 4861 7.2.5) and who asked us; an announcement may change a known entry, which
//! is then probed, but never makes one. Duplicate address detection and MLD reports are not done here.
//!
//! ```text
//!  resolve                solicited answer            30 s, or an announcement
//! ---------> Incomplete ------------------> Reachable ------------------------> Probing
//!             | 3 s                           ^  ^ request to us                 |  | 3 s
//!             v                               |                solicited answer  |  v
//!          dropped                            +----------------------------------+  forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ipnet::IpNet;

use crate::arp::{Arp, BROADCAST, Operation, is_station};
use crate::ip::Address;
use crate::ndp::{self, Body, Message};
use crate::{DropReason, InterfaceId};

/// RFC 4861 10: RETRANS_TIMER and REACHABLE_TIME, in milliseconds.
const RETRANSMIT: u64 = 1_000;
const REACHABLE: u64 = 30_000;
/// RFC 4861 10: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT.
const SOLICITATIONS: u8 = 3;
/// Packets that may wait for one neighbour, and in all.
const WAITING_EACH: usize = 8;
const WAITING_TOTAL: usize = 512;
/// Most entries; those who ask us get no more than half of it.
const MAX_ENTRIES: usize = 8192;

/// One of our interfaces.
#[derive(Clone, Debug)]
pub struct LocalInterface {
    /// Which.
    pub id: InterfaceId,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Our addresses on it, with the on-link prefix.
    pub addresses: Vec<IpNet>,
}

impl LocalInterface {
    /// The link-local address, if there is IPv6 on the interface.
    fn link_local(&self) -> Option<Address> {
        let v6 = self.addresses.iter().any(|a| matches!(a, IpNet::V6(_)));
        v6.then(|| ndp::link_local(self.mac))
    }

    /// All our addresses.
    fn ours(&self) -> impl Iterator<Item = Address> + '_ {
        let configured = self.addresses.iter().map(|a| Address::from(a.addr()));
        configured.chain(self.link_local())
    }

    fn is_ours(&self, address: Address) -> bool {
        self.ours().any(|a| a == address)
    }

    fn on_link(&self, address: Address) -> Option<Address> {
        let ip = address.to_ip();
        let net = self.addresses.iter().find(|net| net.contains(&ip));
        net.map(|net| net.addr().into())
            .or_else(|| self.link_local().filter(|_| address.is_v6_link_local()))
    }

    /// The address to ask `target` from.
    fn source_for(&self, target: Address) -> Option<Address> {
        // Of several the last: for IPv6 that is the link-local one.
        let family = |a: &Address| a.is_v4() == target.is_v4();
        self.on_link(target)
            .or_else(|| self.ours().filter(family).last())
    }
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Configured.
    Permanent,
    /// Confirmed not long ago.
    Reachable,
    /// In use, and asked whether it is still there.
    Probing,
    /// Asked for, not known.
    Incomplete,
}

struct Entry {
    /// Zero while incomplete.
    mac: [u8; 6],
    state: State,
    /// Solicitations without answer.
    sent: u8,
    /// Its timer.
    due: Option<u64>,
}

type Key = (InterfaceId, Address);

/// The neighbour table, and the packets `B` that wait for it.
pub struct Resolver<B> {
    interfaces: Vec<LocalInterface>,
    entries: BTreeMap<Key, Entry>,
    timers: BTreeSet<(u64, Key)>,
    /// Oldest first.
    waiting: VecDeque<(Key, B)>,
    ready: VecDeque<(Key, B)>,
    dropped: VecDeque<(DropReason, B)>,
    transmit: VecDeque<(InterfaceId, Vec<u8>)>,
    changed: bool,
}

impl<B> Resolver<B> {
    /// A table with `fixed` entries. Announces our addresses: gratuitous ARP (RFC 5227 2.3), unsolicited
    /// advertisements (RFC 4861 7.2.6).
    pub fn new(
        interfaces: Vec<LocalInterface>,
        fixed: Vec<(InterfaceId, Address, [u8; 6])>,
    ) -> Self {
        let mut transmit = VecDeque::new();
        for local in &interfaces {
            transmit.extend(local.ours().map(|a| (local.id, announcement(local.mac, a))));
        }
        let entry = |(interface, address, mac)| {
            let entry = Entry {
                mac,
                state: State::Permanent,
                sent: 0,
                due: None,
            };
            ((interface, address), entry)
        };
        Resolver {
            interfaces,
            changed: !fixed.is_empty(),
            entries: fixed.into_iter().map(entry).collect(),
            timers: BTreeSet::new(),
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            dropped: VecDeque::new(),
            transmit,
        }
    }

    /// Replaces our addresses, and announces those that are new.
    pub fn set_addresses(
        &mut self,
        addresses: impl IntoIterator<Item = (InterfaceId, Vec<IpNet>)>,
    ) {
        for (id, addresses) in addresses {
            let local = self.interfaces.iter_mut().find(|local| local.id == id);
            let Some(local) = local.filter(|local| local.addresses != addresses) else {
                continue;
            };
            let before: Vec<_> = local.ours().collect();
            local.addresses = addresses;
            let new = local.ours().filter(|address| !before.contains(address));
            let announcements = new.map(|address| (id, announcement(local.mac, address)));
            self.transmit.extend(announcements);
        }
    }

    /// Replaces the configured entries. Those that are no longer configured are forgotten, and asked for when they
    /// are needed again.
    pub fn set_fixed(&mut self, fixed: Vec<(InterfaceId, Address, [u8; 6])>) {
        let before = self.entries.len();
        let named: BTreeSet<Key> = fixed.iter().map(|(i, address, _)| (*i, *address)).collect();
        let stays =
            |key: &Key, entry: &Entry| entry.state != State::Permanent || named.contains(key);
        self.entries.retain(|key, entry| stays(key, entry));
        self.changed |= self.entries.len() != before;
        for (interface, address, mac) in fixed {
            let key = (interface, address);
            let known = self.entries.get(&key);
            if known.is_some_and(|e| e.state == State::Permanent && e.mac == mac) {
                continue;
            }
            self.forget(key);
            let entry = Entry {
                mac,
                state: State::Permanent,
                sent: 0,
                due: None,
            };
            self.entries.insert(key, entry);
            self.release(key);
            self.changed = true;
        }
    }

    /// Takes an untagged Ethernet frame with ARP or Neighbour Discovery; anything else is ignored.
    pub fn handle_frame(&mut self, now: u64, interface: InterfaceId, frame: &[u8]) {
        let Some(local) = self.interfaces.iter().position(|l| l.id == interface) else {
            return;
        };
        if let Some(arp) = Arp::parse(frame) {
            self.handle_arp(now, local, &arp);
        } else if let Some(message) = Message::parse(frame) {
            let sender = frame.get(6..).and_then(|m| m.first_chunk());
            if let Some(&mac) = sender.filter(|m| is_station(**m)) {
                self.handle_ndp(now, local, &message, mac);
            }
        }
    }

    fn handle_arp(&mut self, now: u64, local: usize, arp: &Arp) {
        let local = &self.interfaces[local];
        // Our own announcement come back, or someone who claims our address.
        if local.is_ours(arp.sender) {
            return;
        }
        let key = (local.id, arp.sender);
        let to_us = local.is_ours(arp.target);
        match arp.operation {
            Operation::Request if to_us => {
                let reply = Arp {
                    operation: Operation::Reply,
                    sender_mac: local.mac,
                    sender: arp.target,
                    target_mac: arp.sender_mac,
                    target: arp.sender,
                };
                self.transmit
                    .push_back((local.id, reply.build(arp.sender_mac)));
                self.learn_requester(now, key, arp.sender_mac);
            }
            Operation::Request => self.update(now, key, arp.sender_mac, false, true),
            Operation::Reply => self.update(now, key, arp.sender_mac, to_us, true),
        }
    }

    fn handle_ndp(&mut self, now: u64, local: usize, message: &Message, sender_mac: [u8; 6]) {
        let local = &self.interfaces[local];
        if local.is_ours(message.source) {
            return;
        }
        match message.body {
            Body::Solicitation { source_mac } => {
                if !local.is_ours(message.target) {
                    return;
                }
                let anonymous = message.source.0 == 0;
                let to = source_mac.unwrap_or(sender_mac);
                let (destination, mac) = if anonymous {
                    (ndp::ALL_NODES, ndp::multicast_mac(ndp::ALL_NODES))
                } else {
                    (message.source, to)
                };
                let answer = advertisement(local.mac, message.target, destination, !anonymous);
                self.transmit
                    .push_back((local.id, answer.build(local.mac, mac)));
                let key = (local.id, message.source);
                if let Some(mac) = source_mac {
                    self.learn_requester(now, key, mac);
                }
            }
            Body::Advertisement {
                solicited,
                overrides,
                target_mac,
                ..
            } => {
                // A unicast answer may leave out the address that was used to reach it (RFC 4861 4.4).
                let key = (local.id, message.target);
                let known = self.entries.get(&key).map(|e| (e.mac, e.state));
                let known = known.filter(|(_, state)| *state != State::Incomplete);
                let Some(mac) = target_mac.or(known.map(|(mac, _)| mac)) else {
                    return;
                };
                if !local.is_ours(message.target) {
                    self.update(now, key, mac, solicited, overrides);
                }
            }
        }
    }

    /// RFC 826: who asks for us will be talked to.
    fn learn_requester(&mut self, now: u64, key: Key, mac: [u8; 6]) {
        let local = self.interfaces.iter().find(|l| l.id == key.0);
        if local.and_then(|l| l.on_link(key.1)).is_none() {
            return;
        }
        match self.entries.get(&key).map(|e| e.state) {
            Some(State::Incomplete) => self.confirm(now, key, mac),
            Some(_) => self.update(now, key, mac, false, true),
            None if self.entries.len() < MAX_ENTRIES / 2 => self.confirm(now, key, mac),
            None => {}
        }
    }

    /// What a neighbour says of itself: RFC 4861 7.2.5, and RFC 826 with `overrides` set.
    fn update(&mut self, now: u64, key: Key, mac: [u8; 6], answer: bool, overrides: bool) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let same = entry.mac == mac;
        match entry.state {
            State::Permanent => {}
            State::Incomplete if answer => self.confirm(now, key, mac),
            State::Incomplete => {}
            State::Probing if answer && (same || overrides) => self.confirm(now, key, mac),
            State::Reachable | State::Probing if same => {}
            State::Reachable | State::Probing if overrides => {
                entry.mac = mac;
                self.changed = true;
                self.probe(now, key);
            }
            State::Reachable => self.probe(now, key),
            State::Probing => {}
        }
    }

    /// The neighbour is there, with `mac`.
    fn confirm(&mut self, now: u64, key: Key, mac: [u8; 6]) {
        let before = self.entries.get(&key);
        self.changed |= before.is_none_or(|e| e.state == State::Incomplete || e.mac != mac);
        self.set(key, mac, State::Reachable, 0, now + REACHABLE);
        self.release(key);
    }

    /// What waits for a neighbour need not wait any more.
    fn release(&mut self, key: Key) {
        for (to, packet) in std::mem::take(&mut self.waiting) {
            if to == key {
                self.ready.push_back((to, packet));
            } else {
                self.waiting.push_back((to, packet));
            }
        }
    }

    /// Asks a known neighbour for the first time.
    fn probe(&mut self, now: u64, key: Key) {
        if let Some(mac) = self.entries.get(&key).map(|e| e.mac) {
            self.solicit(key, Some(mac));
            self.set(key, mac, State::Probing, 1, now + RETRANSMIT);
        }
    }

    fn set(&mut self, key: Key, mac: [u8; 6], state: State, sent: u8, due: u64) {
        let entry = Entry {
            mac,
            state,
            sent,
            due: Some(due),
        };
        let before = self.entries.insert(key, entry);
        if let Some(old) = before.and_then(|e| e.due) {
            self.timers.remove(&(old, key));
        }
        self.timers.insert((due, key));
    }

    fn forget(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.changed |= entry.state != State::Incomplete;
            if let Some(due) = entry.due {
                self.timers.remove(&(due, key));
            }
        }
    }

    /// Sends a solicitation, to `mac` alone if it is known; false if we have no address to ask from.
    fn solicit(&mut self, key: Key, mac: Option<[u8; 6]>) -> bool {
        let (interface, target) = key;
        let local = self.interfaces.iter().find(|l| l.id == interface);
        let Some((local, source)) = local.and_then(|l| Some((l, l.source_for(target)?))) else {
            return false;
        };
        let frame = if target.is_v4() {
            let request = Arp {
                operation: Operation::Request,
                sender_mac: local.mac,
                sender: source,
                target_mac: mac.unwrap_or_default(),
                target,
            };
            request.build(mac.unwrap_or(BROADCAST))
        } else {
            let group = ndp::solicited_node(target);
            let solicitation = Message {
                source,
                destination: if mac.is_some() { target } else { group },
                target,
                body: Body::Solicitation {
                    source_mac: Some(local.mac),
                },
            };
            solicitation.build(local.mac, mac.unwrap_or(ndp::multicast_mac(group)))
        };
        self.transmit.push_back((interface, frame));
        true
    }

    /// Sends `packet` to [`poll_ready`](Self::poll_ready) as soon as `next_hop` is known. Until then it waits,
    /// and the oldest give way.
    pub fn resolve(&mut self, now: u64, interface: InterfaceId, next_hop: Address, packet: B) {
        let key = (interface, next_hop);
        match self.entries.get(&key).map(|e| e.state) {
            Some(State::Incomplete) => {}
            Some(_) => return self.ready.push_back((key, packet)),
            None if self.entries.len() >= MAX_ENTRIES => {
                return self.dropped.push_back((DropReason::NoNeighbor, packet));
            }
            None if self.solicit(key, None) => {
                self.set(key, [0; 6], State::Incomplete, 1, now + RETRANSMIT);
            }
            None => return self.dropped.push_back((DropReason::InterfaceDown, packet)),
        }
        self.waiting.push_back((key, packet));
        let same = self.waiting.iter().filter(|(to, _)| *to == key).count();
        let oldest = if same > WAITING_EACH {
            self.waiting.iter().position(|(to, _)| *to == key)
        } else {
            (self.waiting.len() > WAITING_TOTAL).then_some(0)
        };
        if let Some((to, packet)) = oldest.and_then(|i| self.waiting.remove(i)) {
            self.dropped.push_back((DropReason::NoNeighbor, packet));
            // Nobody waits for it any more: so no scan of a prefix fills the table with questions.
            if self.waiting.iter().all(|(other, _)| *other != to) {
                self.forget(to);
            }
        }
    }

    /// Asks again, or gives up, where the time has come.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some(&(due, key)) = self.timers.first() {
            if due > now {
                return;
            }
            let Some((mac, state, sent)) = self.entries.get(&key).map(|e| (e.mac, e.state, e.sent))
            else {
                self.timers.pop_first();
                continue;
            };
            match state {
                State::Reachable => self.probe(now, key),
                State::Probing | State::Incomplete if sent < SOLICITATIONS => {
                    self.solicit(key, (state == State::Probing).then_some(mac));
                    self.set(key, mac, state, sent + 1, now + RETRANSMIT);
                }
                State::Probing | State::Incomplete => {
                    self.forget(key);
                    self.drop_waiting(key);
                }
                // Has no timer.
                State::Permanent => {
                    self.timers.pop_first();
                }
            }
        }
    }

    fn drop_waiting(&mut self, key: Key) {
        for (to, packet) in std::mem::take(&mut self.waiting) {
            if to == key {
                self.dropped.push_back((DropReason::NoNeighbor, packet));
            } else {
                self.waiting.push_back((to, packet));
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next untagged frame to send, and where.
    pub fn poll_transmit(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        self.transmit.pop_front()
    }

    /// The next packet whose next hop is known.
    pub fn poll_ready(&mut self) -> Option<(InterfaceId, Address, B)> {
        let ((interface, next_hop), packet) = self.ready.pop_front()?;
        Some((interface, next_hop, packet))
    }

    /// The next packet that is given up.
    pub fn poll_dropped(&mut self) -> Option<(DropReason, B)> {
        self.dropped.pop_front()
    }

    /// True while packets wait for an answer.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// True if a MAC address came, went or changed since the last call.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All neighbours whose MAC address is known.
    pub fn entries(&self) -> impl Iterator<Item = (InterfaceId, Address, [u8; 6], State)> + '_ {
        let known = self.entries.iter();
        known
            .filter(|(_, e)| e.state != State::Incomplete)
            .map(|(&(interface, address), e)| (interface, address, e.mac, e.state))
    }
}

/// What tells everyone on the link our `address`.
fn announcement(mac: [u8; 6], address: Address) -> Vec<u8> {
    if address.is_v4() {
        let request = Arp {
            operation: Operation::Request,
            sender_mac: mac,
            sender: address,
            target_mac: [0; 6],
            target: address,
        };
        request.build(BROADCAST)
    } else {
        advertisement(mac, address, ndp::ALL_NODES, false)
            .build(mac, ndp::multicast_mac(ndp::ALL_NODES))
    }
}

/// Our advertisement of `address`: we forward packets, so we are a router.
fn advertisement(mac: [u8; 6], address: Address, destination: Address, solicited: bool) -> Message {
    Message {
        source: address,
        destination,
        target: address,
        body: Body::Advertisement {
            router: true,
            solicited,
            overrides: true,
            target_mac: Some(mac),
        },
    }
}
