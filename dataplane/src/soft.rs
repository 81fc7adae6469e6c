//! Soft SAs (requirement 58): where an entry may fall back and its peer does not answer IKE at all, its traffic passes
//! in clear for a while, as an SA that has neither AH nor ESP.
//!
//! ```text
//! no answer, entry falls back  -> soft SA on all workers; packets held for it go in clear
//! no traffic for five minutes, lifetime over, policy changed, or a true SA serves the child -> gone
//! ```
//! A peer that has ever stood behind an IKE SA can do better: for it there is never one. An answer of any kind, be it
//! a refusal, is an answer. In transport mode a soft SA is for the one host that did not answer.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portcullis_config::{
    Action, AddressRange, ChildPolicy, ClearText, Mode, Policy, Profile, Selector, SpdEntry,
};
use portcullis_ike::{CloseReason, Failure};
use portcullis_ipsec::children::{Bound, RemotePrefix};
use portcullis_ipsec::command::{Command, Negotiated as Order};
use portcullis_ipsec::counters::SaCounters;

use crate::control::Control;
use crate::events::Event;
use crate::negotiated::Orders;
use crate::status::SaStatus;

/// Milliseconds without traffic after which one goes.
const IDLE: u64 = 300_000;

/// Soft SAs at once: who wakes up many silent hosts shall not fill the workers' tables.
const MOST: usize = 10_000;

/// Number of a child; and in transport mode, which host it is about.
type Key = (u32, Option<IpAddr>);

/// One soft SA.
#[derive(Debug)]
pub struct SoftSa {
    /// Connection and child by name.
    pub name: (String, String),
    /// The peer that did not answer.
    pub remote: SocketAddr,
    /// Milliseconds at its beginning.
    pub born: u64,
    /// Milliseconds at its end, at the latest.
    until: u64,
    /// Its traffic.
    selector: Selector,
    /// Of each worker.
    counters: Vec<Arc<SaCounters>>,
}

impl SoftSa {
    /// Its traffic.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Packets and bytes of both directions.
    pub fn carried(&self) -> (u64, u64) {
        let sum = |of: fn(&SaCounters) -> u64| self.counters.iter().map(|c| of(c)).sum();
        (sum(|c| c.packets.get()), sum(|c| c.bytes.get()))
    }

    /// A row of `show sa`: it serves both directions, on all workers.
    pub fn status(&self, now: u64) -> SaStatus {
        let ((packets, bytes), none) = (self.carried(), || "none".to_owned());
        SaStatus {
            name: format!("{}/{}", self.name.0, self.name.1),
            direction: "both".into(),
            spi: "-".into(),
            protocol: none(),
            mode: "soft".into(),
            transform: none(),
            engine: none(),
            fallback: None,
            offload: None,
            offloaded: 0,
            source: "-".into(),
            destination: self.remote.ip().to_string(),
            worker: 0,
            packets,
            bytes,
            mbps: 0.0,
            mbps_average: 0.0,
            sequence: 0,
            idle_ms: (packets != 0).then(|| now.saturating_sub(self.last_used())),
            drops: Vec::new(),
            leaves_ms: None,
        }
    }

    /// Milliseconds at its last use, or its beginning.
    pub fn last_used(&self) -> u64 {
        let last = self.counters.iter().map(|c| c.last_used.get()).max();
        last.unwrap_or(0).max(self.born)
    }
}

/// All soft SAs.
#[derive(Debug, Default)]
pub struct SoftSas {
    list: BTreeMap<Key, SoftSa>,
    /// Peers that have proved that they can do better.
    capable: HashSet<IpAddr>,
}

impl SoftSas {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &SoftSa> {
        self.list.values()
    }

    /// This peer knows IKE.
    pub fn note_capable(&mut self, peer: IpAddr) {
        self.capable.insert(peer);
    }

    /// Makes one for a child, unless there is no need or no right to.
    pub fn begin(
        &mut self,
        number: u32,
        failure: &Failure,
        (policy, workers): (&Policy, usize),
        now: u64,
    ) -> Orders {
        let connection = failure.connection.as_deref().unwrap_or_default();
        let silent = failure.remote.ip();
        let allowed = failure.reason == CloseReason::NoAnswer
            && !self.capable.contains(&silent)
            && self.list.len() < MOST;
        let Some((entry, child)) = fallible(policy, connection, failure.child.as_deref()) else {
            return Orders::new();
        };
        let host = (child.mode == Mode::Transport).then_some(silent);
        let Some(selector) = narrowed(&entry.selector, host).filter(|_| allowed) else {
            return Orders::new();
        };
        if self.list.contains_key(&(number, host)) {
            return Orders::new();
        }
        let life = child.hard.seconds.unwrap_or(u64::MAX);
        let soft = SoftSa {
            name: (connection.to_owned(), child.name.clone()),
            remote: failure.remote,
            born: now,
            until: now.saturating_add(life.saturating_mul(1000)),
            selector,
            counters: (0..workers).map(|_| Arc::default()).collect(),
        };
        let bind = |counters: &Arc<SaCounters>| {
            let bound = Bound::soft(number, counters.clone(), &soft.selector);
            Command::Negotiated(Order::Bind(Box::new(bound)))
        };
        let orders = soft.counters.iter().map(bind).enumerate().collect();
        self.list.insert((number, host), soft);
        orders
    }

    /// Ends one.
    pub fn end(&mut self, key: Key) -> Option<(SoftSa, Orders)> {
        let soft = self.list.remove(&key)?;
        let unbind = |worker| {
            let order = Order::Unbind {
                child: key.0,
                prefix: RemotePrefix::around(&soft.selector),
                sa: None,
            };
            (worker, Command::Negotiated(order))
        };
        let orders = (0..soft.counters.len()).map(unbind).collect();
        Some((soft, orders))
    }

    /// The next that is to end, and why.
    fn due(&self, policy: &Policy, now: u64) -> Option<(Key, &'static str)> {
        let holds = |host: Option<IpAddr>, soft: &SoftSa| {
            let found = fallible(policy, &soft.name.0, Some(&soft.name.1));
            let selector = found.and_then(|(entry, _)| narrowed(&entry.selector, host));
            selector.as_ref() == Some(&soft.selector)
        };
        self.list.iter().find_map(|(key, soft)| {
            let reason = if now >= soft.last_used().saturating_add(IDLE) {
                "no traffic"
            } else if now >= soft.until {
                "its lifetime is over"
            } else if !holds(key.1, soft) {
                "the policy has changed"
            } else {
                return None;
            };
            Some((*key, reason))
        })
    }
}

/// The entry of a child that may fall back to clear, which it may in the old profile only.
fn fallible<'a>(
    policy: &'a Policy,
    connection: &str,
    child: Option<&str>,
) -> Option<(&'a SpdEntry, &'a ChildPolicy)> {
    if policy.profile != Profile::Ws2003 {
        return None;
    }
    policy.spd.iter().find_map(|entry| {
        let Action::Negotiate {
            connection: peer,
            child: number,
            clear: ClearText::FallBack,
        } = entry.action
        else {
            return None;
        };
        let peer = policy
            .connections
            .get(peer)
            .filter(|c| c.name == connection)?;
        let own = peer.children.get(number)?;
        (Some(own.name.as_str()) == child).then_some((entry, own))
    })
}

/// What of a selector concerns one host; `None` if nothing does.
fn narrowed(selector: &Selector, host: Option<IpAddr>) -> Option<Selector> {
    let Some(host) = host else {
        return Some(selector.clone());
    };
    let remote = &selector.remote;
    let concerned = remote.is_empty() || remote.iter().any(|range| range.contains(host));
    let (start, end) = (host, host);
    concerned.then(|| Selector {
        remote: vec![AddressRange { start, end }],
        ..selector.clone()
    })
}

impl Control {
    /// Falls back to clear for a child whose negotiation failed; false if it may not.
    pub(crate) fn fall_back(&mut self, now: u64, number: u32, failure: &Failure) -> bool {
        let policy = self.installed.policy.clone();
        let orders = self
            .soft
            .begin(number, failure, (&policy, self.workers.len()), now);
        if orders.is_empty() {
            return false;
        }
        let event = Event::SoftSaUp {
            connection: failure.connection.clone().unwrap_or_default(),
            name: failure.child.clone().unwrap_or_default(),
            remote: failure.remote.to_string(),
        };
        self.raise(now, event);
        self.send_orders(orders);
        true
    }

    /// There is a true SA of a child, with this peer.
    pub(crate) fn end_soft_sas(&mut self, now: u64, number: u32, peer: IpAddr) {
        for host in [None, Some(peer)] {
            self.end_soft_sa(now, (number, host), "protected from now on");
        }
    }

    /// The peer has proved that it can do better.
    pub(crate) fn end_soft_sas_of(&mut self, now: u64, peer: IpAddr) {
        let of_peer = |(key, soft): (&Key, &SoftSa)| (soft.remote.ip() == peer).then_some(*key);
        let keys: Vec<_> = self.soft.list.iter().filter_map(of_peer).collect();
        for key in keys {
            self.end_soft_sa(now, key, "the peer knows IKE");
        }
    }

    fn end_soft_sa(&mut self, now: u64, key: Key, reason: &str) {
        let Some((soft, orders)) = self.soft.end(key) else {
            return;
        };
        let ((connection, name), reason) = (soft.name, reason.to_owned());
        let event = Event::SoftSaDown {
            connection,
            name,
            reason,
        };
        self.raise(now, event);
        self.send_orders(orders);
    }

    /// Ends soft SAs whose time has come.
    pub(crate) fn age_soft_sas(&mut self, now: u64) {
        let policy = self.installed.policy.clone();
        while let Some((key, reason)) = self.soft.due(&policy, now) {
            self.end_soft_sa(now, key, reason);
        }
    }
}

#[cfg(test)]
mod tests;
