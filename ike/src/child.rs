//! Children: the pairs of SAs (or of bundles) that quick mode makes. They do not depend on the IKE SA that made them
//! (requirement 75).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{
    ChildPolicy, ChildProposal, Connection, Df, Direction, Dscp, Lifetimes, Limits, Mode, SaConfig,
    Secret, Selector, Transform, UdpEncapsulation,
};

use crate::core::Path;
use crate::peer_id::PeerId;
use crate::proposal::ipsec::Spis;
use crate::proposal::lifetime::{LEAST_OF_PHASE_2, Lifetime};
use crate::show::ChildSnapshot;
use crate::{AddSa, ChildId, IkeId, Time};

/// Where a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildState {
    /// The inbound SAs are installed: the peer may use them, we wait to use ours.
    Inbound,
    /// Both directions are installed.
    Installed,
    /// A replacement is under negotiation.
    Rekeying,
    /// Replaced; it goes when the replacement carries traffic, or at this time.
    Replaced { until: Time },
}

/// A child.
#[derive(Debug)]
pub(crate) struct ChildSa {
    pub(crate) id: ChildId,
    pub(crate) ike: IkeId,
    pub(crate) connection: Arc<Connection>,
    pub(crate) policy: ChildPolicy,
    pub(crate) peer: PeerId,
    pub(crate) path: Path,
    pub(crate) state: ChildState,
    pub(crate) selector: Selector,
    /// What quick mode said, if that was more.
    pub(crate) said: Option<Selector>,
    pub(crate) proposal: ChildProposal,
    pub(crate) udp: bool,
    /// The addresses that the peer sees as its own and as ours (RFC 3947 5.2).
    pub(crate) original: Option<(IpAddr, IpAddr)>,
    /// SPIs of our inbound SAs, and of our outbound ones.
    pub(crate) inbound: Spis,
    pub(crate) outbound: Spis,
    /// We began the quick mode that made it.
    pub(crate) initiator: bool,
    /// The lower one of its nonces: decides between two that replace the same child.
    pub(crate) nonce: Vec<u8>,
    pub(crate) limits: (Limits, Limits),
    pub(crate) replaces: Option<ChildId>,
    pub(crate) replaced_by: Option<ChildId>,
    pub(crate) installed: Time,
    /// Packets received and sent so far.
    pub(crate) traffic: (u64, u64),
    /// When it last carried a packet.
    pub(crate) last_traffic: Time,
    /// Replacements that came to nothing, and when the next one is tried.
    pub(crate) failed: u32,
    pub(crate) again: Option<Time>,
}

/// Keys of one direction: for ESP (cipher, integrity) and for AH.
#[derive(Debug)]
pub(crate) struct DirectionKeys {
    pub(crate) esp: Option<(Secret, Secret)>,
    pub(crate) ah: Option<Secret>,
}

impl ChildSa {
    /// The event that installs one direction.
    pub(crate) fn add(&self, direction: Direction, keys: DirectionKeys) -> AddSa {
        let mut sas = Vec::new();
        if let (Some(transform), Some((cipher, integrity))) = (self.proposal.esp, keys.esp) {
            sas.push(self.sa(direction, transform, (cipher, integrity), self.policy.mode));
        }
        if let (Some(integrity), Some(key)) = (self.proposal.ah, keys.ah) {
            // Around ESP, AH covers the outer header: one tunnel, not two (RFC 2401 4.3).
            let mode = if sas.is_empty() {
                self.policy.mode
            } else {
                Mode::Transport
            };
            let keys = (Secret::new(Vec::new()), key);
            sas.push(self.sa(direction, Transform::Ah(integrity), keys, mode));
        }
        AddSa {
            child: self.id,
            ike: self.ike,
            connection: self.connection.name.clone(),
            name: self.policy.name.clone(),
            direction,
            sas,
            selector: self.selector.clone(),
            replaces: self.replaces,
        }
    }

    fn sa(
        &self,
        direction: Direction,
        transform: Transform,
        (cipher_key, integrity_key): (Secret, Secret),
        mode: Mode,
    ) -> SaConfig {
        let (spis, from, to) = match direction {
            Direction::Inbound => (self.inbound, self.path.remote, self.path.local),
            Direction::Outbound => (self.outbound, self.path.local, self.path.remote),
        };
        let spi = match transform {
            Transform::Esp(..) => spis.esp,
            Transform::Ah(_) => spis.ah,
        };
        SaConfig {
            name: format!("{}/{}", self.connection.name, self.policy.name),
            direction,
            spi: spi.unwrap_or_default(),
            transform,
            cipher_key,
            integrity_key,
            mode,
            source: from.ip(),
            destination: to.ip(),
            udp: self.udp.then_some(UdpEncapsulation {
                source_port: from.port(),
                destination_port: to.port(),
            }),
            original: match (direction, mode) {
                (Direction::Inbound, Mode::Transport) => {
                    self.original.filter(|_| self.udp).map(Box::new)
                }
                _ => None,
            },
            esn: self.proposal.esn,
            replay_window: match direction {
                Direction::Inbound => self.policy.replay_window,
                Direction::Outbound => None,
            },
            df: Df::default(),
            dscp: Dscp::default(),
            lifetimes: Lifetimes::new(self.limits.0, self.limits.1),
            selectors: [self.selector.clone()].into(),
        }
    }

    /// Our inbound SPIs with their protocols (50, 51).
    pub(crate) fn inbound_spis(&self) -> impl Iterator<Item = (u8, u32)> {
        let Spis { esp, ah } = self.inbound;
        let esp = esp.map(|spi| (50, spi));
        esp.into_iter().chain(ah.map(|spi| (51, spi)))
    }

    /// When something is due: replaced ones go, idle ones too, and a replacement is tried again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let idle = self.policy.idle.map(Duration::from_secs);
        let idle = idle.and_then(|idle| self.last_traffic.checked_add(idle));
        match self.state {
            ChildState::Replaced { until } => Some(until),
            ChildState::Installed => [idle, self.again].into_iter().flatten().min(),
            ChildState::Inbound | ChildState::Rekeying => idle,
        }
    }

    /// True if it is time to try a replacement again.
    pub(crate) fn is_to_be_replaced(&self, now: Time) -> bool {
        self.state == ChildState::Installed && self.again.is_some_and(|at| at <= now)
    }

    pub(crate) fn is_replaced(&self) -> bool {
        matches!(self.state, ChildState::Replaced { .. })
    }

    pub(crate) fn snapshot(&self) -> ChildSnapshot {
        let pair = |spi: fn(&Spis) -> Option<u32>| {
            [&self.inbound, &self.outbound].map(|spis| spi(spis).unwrap_or_default())
        };
        let esp = self.proposal.esp.map(|t| (t, pair(|s| s.esp)));
        let ah = self.proposal.ah.map(|i| (Transform::Ah(i), pair(|s| s.ah)));
        ChildSnapshot {
            id: self.id,
            connection: self.connection.name.clone(),
            name: self.policy.name.clone(),
            state: match self.state {
                ChildState::Inbound => "half installed",
                ChildState::Installed => "installed",
                ChildState::Rekeying => "rekeying",
                ChildState::Replaced { .. } => "replaced",
            },
            mode: self.policy.mode,
            selector: self.selector.clone(),
            sas: esp.into_iter().chain(ah).collect(),
            udp: self.udp,
            esn: self.proposal.esn,
            installed: self.installed,
        }
    }
}

/// All children.
#[derive(Debug, Default)]
pub(crate) struct Children {
    table: BTreeMap<ChildId, ChildSa>,
    /// By protocol (50, 51), peer's address and outbound SPI: as the peer names them in a delete.
    by_outbound: HashMap<(u8, IpAddr, u32), ChildId>,
    by_peer: HashMap<PeerId, BTreeSet<ChildId>>,
    by_connection: HashMap<String, BTreeSet<ChildId>>,
    by_traffic: HashMap<(PeerId, String, Selector), BTreeSet<ChildId>>,
    /// By the child that they are to replace.
    by_replaced: HashMap<ChildId, BTreeSet<ChildId>>,
    /// Peers whose last child went.
    left: Vec<PeerId>,
    last: u64,
}

impl Children {
    pub(crate) fn next_id(&mut self) -> ChildId {
        self.last += 1;
        ChildId(self.last)
    }

    pub(crate) fn insert(&mut self, child: ChildSa) {
        let id = child.id;
        for key in outbound_keys(&child) {
            self.by_outbound.insert(key, id);
        }
        note(&mut self.by_peer, child.peer.clone(), id);
        note(&mut self.by_connection, child.connection.name.clone(), id);
        note(&mut self.by_traffic, traffic_key(&child), id);
        if let Some(old) = child.replaces {
            note(&mut self.by_replaced, old, id);
        }
        self.table.insert(id, child);
    }

    pub(crate) fn remove(&mut self, id: ChildId) -> Option<ChildSa> {
        let child = self.table.remove(&id)?;
        for key in outbound_keys(&child) {
            if self.by_outbound.get(&key) == Some(&id) {
                self.by_outbound.remove(&key);
            }
        }
        if strike(&mut self.by_peer, &child.peer, id) {
            self.left.push(child.peer.clone());
        }
        strike(&mut self.by_connection, &child.connection.name, id);
        strike(&mut self.by_traffic, &traffic_key(&child), id);
        if let Some(old) = &child.replaces {
            strike(&mut self.by_replaced, old, id);
        }
        Some(child)
    }

    /// Peers that may have no child any more, since the last time.
    pub(crate) fn take_left(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.left)
    }

    /// The children that a peer has.
    pub(crate) fn of_peer(&self, peer: &PeerId) -> impl Iterator<Item = &ChildSa> {
        let ids = self.by_peer.get(peer).into_iter().flatten();
        ids.filter_map(|id| self.table.get(id))
    }

    /// The children of a connection.
    pub(crate) fn of_connection(&self, name: &str) -> impl Iterator<Item = &ChildSa> {
        let ids = self.by_connection.get(name).into_iter().flatten();
        ids.filter_map(|id| self.table.get(id))
    }

    /// Children of a peer that go by this name and have this traffic.
    pub(crate) fn alike(
        &self,
        peer: &PeerId,
        name: &str,
        selector: &Selector,
    ) -> impl Iterator<Item = &ChildSa> {
        let key = (peer.clone(), name.to_owned(), selector.clone());
        let ids = self.by_traffic.get(&key).into_iter().flatten();
        ids.filter_map(|id| self.table.get(id))
    }

    /// True if there is one, whole or not, that is to replace this one.
    pub(crate) fn has_successor(&self, id: ChildId) -> bool {
        self.by_replaced.contains_key(&id)
    }

    /// This child replaces another one than it was made for.
    pub(crate) fn set_replaces(&mut self, id: ChildId, old: ChildId) {
        if let Some(mut child) = self.remove(id) {
            child.replaces = Some(old);
            self.insert(child);
        }
    }

    pub(crate) fn get(&self, id: ChildId) -> Option<&ChildSa> {
        self.table.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ChildId) -> Option<&mut ChildSa> {
        self.table.get_mut(&id)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ChildSa> {
        self.table.values_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ChildSa> {
        self.table.values()
    }

    /// The child that sends with this SPI.
    pub(crate) fn by_outbound(&self, protocol: u8, remote: IpAddr, spi: u32) -> Option<ChildId> {
        self.by_outbound.get(&(protocol, remote, spi)).copied()
    }

    /// The peer moved: children that went to `from` go to `to`.
    pub(crate) fn move_path(&mut self, id: ChildId, to: Path) {
        if let Some(mut child) = self.remove(id) {
            child.path = to;
            self.insert(child);
        }
    }
}

fn note<K: Eq + Hash>(map: &mut HashMap<K, BTreeSet<ChildId>>, key: K, id: ChildId) {
    map.entry(key).or_default().insert(id);
}

/// Tells whether that was the last one.
fn strike<K: Eq + Hash>(map: &mut HashMap<K, BTreeSet<ChildId>>, key: &K, id: ChildId) -> bool {
    let Some(ids) = map.get_mut(key) else {
        return false;
    };
    ids.remove(&id);
    let is_last = ids.is_empty();
    if is_last {
        map.remove(key);
    }
    is_last
}

fn traffic_key(child: &ChildSa) -> (PeerId, String, Selector) {
    let name = child.policy.name.clone();
    (child.peer.clone(), name, child.selector.clone())
}

fn outbound_keys(child: &ChildSa) -> Vec<(u8, IpAddr, u32)> {
    let Spis { esp, ah } = child.outbound;
    let remote = child.path.remote.ip();
    let esp = esp.map(|spi| (50, remote, spi));
    let ah = ah.map(|spi| (51, remote, spi));
    esp.into_iter().chain(ah).collect()
}

/// Soft and hard limits of an SA: the policy's, and no longer than the peer lives with it, if that is not next to
/// nothing. `jitter` shortens the soft ones.
pub(crate) fn limits(
    policy: &ChildPolicy,
    lifetime: Lifetime,
    mut jitter: impl FnMut(u64) -> u64,
) -> (Limits, Limits) {
    let shorter = |ours: Option<u64>, theirs: Option<u64>| ours.into_iter().chain(theirs).min();
    let lifetime = lifetime.at_least(LEAST_OF_PHASE_2);
    let hard = Limits {
        seconds: shorter(policy.hard.seconds, lifetime.seconds),
        bytes: shorter(
            policy.hard.bytes,
            lifetime.kilobytes.map(|k| k.saturating_mul(1024)),
        ),
        packets: policy.hard.packets,
    };
    // A soft limit leaves a tenth of the life for the replacement.
    let mut before = |soft: Option<u64>, hard: Option<u64>| {
        shorter(soft, hard.map(|hard| hard - hard / 10)).map(&mut jitter)
    };
    let soft = Limits {
        seconds: before(policy.soft.seconds, hard.seconds),
        bytes: before(policy.soft.bytes, hard.bytes),
        packets: before(policy.soft.packets, hard.packets),
    };
    (soft, hard)
}
