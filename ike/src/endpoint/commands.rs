//! Commands from outside, and requests of IKE SAs that concern others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Connection, Mode, RemoteAddress, Selector};

use super::{Endpoint, Item};
use crate::child::{ChildSa, ChildState};
use crate::core::{Path, Request};
use crate::peer_id::PeerId;
use crate::traffic::{self, Wanted};
use crate::v1::ike_sa::{IkeSa, Role, State};
use crate::v1::{informational, quick_mode};
use crate::{ChildId, CloseReason, Command, Event, IkeId, Local, Time};

/// A replaced child goes this long after its replacement carried a packet: others may be under way.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// A replaced child of which the peer cannot be told is looked at again after this time.
const UNTOLD: Duration = Duration::from_secs(60);
/// Time between two reminders that SAs are gone: packets of an unknown SPI may be forged.
const REMINDER: Duration = Duration::from_secs(1);

impl Endpoint {
    pub(super) fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::Configure(connections) => self.configure(now, connections),
            Command::Restart => self.start_anew(now),
            Command::Initiate { connection, child } => {
                self.start_named(now, &connection, child.as_deref());
            }
            Command::Acquire {
                connection,
                child,
                local,
                remote,
            } => self.acquire(now, (&connection, &child), (local, remote)),
            Command::Terminate { connection } => {
                self.terminate(now, &connection, CloseReason::Terminated);
            }
            Command::Dismiss { connection, peer } => self.dismiss(now, &connection, &peer),
            Command::LeaveAddress(address) => self.leave_address(now, address),
            Command::RekeyIke { connection } => {
                let ids = self.directory.of_connection(&connection);
                let ids: Vec<_> = ids.filter(|id| self.is_usable(*id)).collect();
                let renewals = ids.into_iter().map(|id| Request::Renew(id, None));
                self.core.requests.extend(renewals);
            }
            Command::SoftExpired(id) => self.soft_expired(now, id),
            Command::HardExpired(id) => self.hard_expired(now, id),
            Command::Moved { child, remote } => self.moved(now, child, remote),
            Command::UnknownSpi {
                protocol,
                spi,
                remote,
            } => self.unknown_spi(now, (protocol, spi), remote),
            Command::Traffic {
                child,
                received,
                sent,
            } => self.traffic(now, child, received, sent),
        }
    }

    pub(super) fn request(&mut self, now: Time, request: Request) {
        match request {
            Request::Renew(id, wanted) => self.renew(now, id, wanted.map(|wanted| *wanted)),
            Request::Established(id) => self.step_back(now, id),
            Request::InitialContact(id) => self.initial_contact(now, id),
            Request::Plan(id) => self.plan(id),
            Request::Installed(id) => self.installed(id),
            Request::NotRenewed(id) => self.not_renewed(now, id),
            Request::PeerDead(id, peer) => self.peer_dead(id, &peer),
            Request::Restart(connection) => self.peer_lost(now, &connection.name),
            Request::ChildLost(connection) => self.child_lost(now, &connection.name),
            Request::Negotiate(connection, wanted) => self.negotiate(now, &connection, *wanted),
        }
    }

    pub(super) fn connection(&self, name: &str) -> Option<Arc<Connection>> {
        let mut all = self.core.connections.iter();
        all.find(|connection| connection.name == name).cloned()
    }

    /// Starts one child, or all.
    pub(super) fn start_named(&mut self, now: Time, name: &str, child: Option<&str>) {
        let known = self.connection(name).is_some_and(|connection| {
            let mut children = connection.children.iter();
            children.any(|policy| child.is_none_or(|name| name == policy.name))
        });
        if !known {
            self.fail(now, name, child, Local::NotConfigured);
        }
        let chosen = |_: &Self, policy: &str, _: &Selector| child.is_none_or(|name| name == policy);
        self.start_those(now, name, chosen);
    }

    /// Starts those of a connection's children, and pieces of their traffic, that are chosen.
    pub(super) fn start_those(
        &mut self,
        now: Time,
        name: &str,
        chosen: impl Fn(&Self, &str, &Selector) -> bool,
    ) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        for policy in &connection.children {
            for selector in traffic::pieces(&policy.selector) {
                if !chosen(self, &policy.name, &selector) {
                    continue;
                }
                // What quick mode cannot say is negotiated when a packet comes, and refused then.
                let wanted = Wanted {
                    child: policy.name.clone(),
                    selector,
                    replaces: None,
                    peer: None,
                    at: None,
                    said: None,
                };
                self.negotiate(now, &connection, wanted);
            }
        }
    }

    fn acquire(
        &mut self,
        now: Time,
        (name, child): (&str, &str),
        (local, remote): (IpAddr, IpAddr),
    ) {
        let connection = self.connection(name);
        let policy = connection.as_ref().and_then(|connection| {
            let mut children = connection.children.iter();
            children.find(|policy| policy.name == child)
        });
        let piece = policy.and_then(|p| traffic::piece_for(&p.selector, local, remote));
        let (Some(connection), Some(selector)) = (&connection, piece) else {
            self.fail(now, name, Some(child), Local::NotConfigured);
            return;
        };
        // In transport mode the peer is whom the packet is for, where there may be many.
        let many = !matches!(connection.remote, RemoteAddress::Host(_));
        let at = policy.filter(|policy| many && policy.mode == Mode::Transport);
        let at = at.map(|_| self.path_between(local, remote));
        let selector = match at {
            Some(_) => Selector {
                upper: selector.upper,
                ..traffic::between(local, remote)
            },
            None => selector,
        };
        let wanted = Wanted {
            child: child.to_owned(),
            selector,
            replaces: None,
            peer: None,
            at,
            said: None,
        };
        self.negotiate(now, connection, wanted);
    }

    pub(super) fn fail(&mut self, now: Time, name: &str, child: Option<&str>, error: Local) {
        let remote = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
        let reason = CloseReason::Error(error.into());
        let names = (Some(name), child);
        self.core.fail(now, remote, names, reason, Vec::new());
    }

    /// Negotiates a child with the phase 1 there is, or with a new one.
    fn negotiate(&mut self, now: Time, connection: &Arc<Connection>, wanted: Wanted) {
        let name = &connection.name;
        if self.ikes_of(name).any(|sa| sa.wants(&wanted)) {
            quick_mode::give_up(&mut self.core, now, &wanted);
            return;
        }
        let peer = wanted.peer.as_ref().map(|(peer, _)| peer);
        if let Some(id) = self.usable(name, peer, wanted.at) {
            self.with(now, id, |sa, core| {
                quick_mode::initiate(sa, core, now, wanted);
            });
            return;
        }
        let known = wanted.peer.as_ref().map(|(_, path)| *path).or(wanted.at);
        let path = known.map_or_else(|| self.path_of(connection), Ok);
        let id = path.and_then(|path| {
            // Who begins with us may be somebody else at the same address.
            let half_open = self.ikes_of(name).find(|sa| {
                sa.path.remote.ip() == path.remote.ip()
                    && sa.state.is_half_open()
                    && (sa.role == Role::Initiator || wanted.peer.is_none())
            });
            match half_open.map(|sa| sa.id) {
                Some(id) => Ok(id),
                None => self.initiate(now, connection, path),
            }
        });
        match id {
            Ok(id) => self.with(now, id, |sa, _| sa.queue.push_back(wanted)),
            Err(error) => {
                quick_mode::give_up(&mut self.core, now, &wanted);
                let names = (Some(connection.name.as_str()), Some(wanted.child.as_str()));
                let remote = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
                let reason = CloseReason::Error(error);
                self.core.fail(now, remote, names, reason, Vec::new());
            }
        }
    }

    /// IKE SAs of a connection, the newest first.
    pub(super) fn ikes_of(&self, name: &str) -> impl Iterator<Item = &IkeSa> {
        let ids = self.directory.of_connection(name);
        ids.filter_map(|id| self.ikes.get(&id))
    }

    fn is_usable(&self, id: IkeId) -> bool {
        let sa = self.ikes.get(&id);
        sa.is_some_and(|sa| sa.is_established() && sa.has_quick_mode_left())
    }

    /// The newest phase 1 of a connection, with this peer if one is named, or at this place, that can serve one more
    /// quick mode.
    fn usable(&self, name: &str, peer: Option<&PeerId>, at: Option<Path>) -> Option<IkeId> {
        let fits = |id: &IkeId| {
            let sa = self.ikes.get(id);
            self.is_usable(*id)
                && sa.is_some_and(|sa| {
                    sa.connection_name() == Some(name)
                        && at.is_none_or(|at| at.remote.ip() == sa.path.remote.ip())
                })
        };
        match peer {
            None => self.directory.of_connection(name).find(fits),
            Some(peer) => self.directory.of_peer(peer).find(fits),
        }
    }

    /// A phase 1 that can tell the peer of this child something: the newest, and none that may end before the message
    /// arrives if there is another.
    fn messenger(&self, child: &ChildSa) -> Option<IkeId> {
        let ikes = self.directory.of_peer(&child.peer);
        let ikes = ikes.filter_map(|id| self.ikes.get(&id)).filter(|sa| {
            sa.is_established() && sa.connection_name() == Some(&child.connection.name)
        });
        ikes.max_by_key(|sa| (!sa.retired, sa.id)).map(|sa| sa.id)
    }

    /// Renews a phase 1 before it ends (make before break).
    fn renew(&mut self, now: Time, id: IkeId, wanted: Option<Wanted>) {
        let old = self.ikes.get(&id);
        let Some((connection, path)) = old.and_then(|sa| Some((sa.connection.clone()?, sa.path)))
        else {
            if let Some(wanted) = wanted {
                quick_mode::give_up(&mut self.core, now, &wanted);
            }
            return;
        };
        let renewing = self.ikes_of(&connection.name);
        let renewing = renewing
            .filter(|sa| sa.replaces == Some(id))
            .map(|sa| sa.id);
        let result = match renewing.max() {
            Some(new) => Ok(new),
            None => self.initiate(now, &connection, path),
        };
        match result {
            Ok(new) => {
                self.with(now, new, |sa, core| {
                    sa.replaces = Some(id);
                    match wanted {
                        Some(wanted) if sa.is_established() => {
                            quick_mode::initiate(sa, core, now, wanted);
                        }
                        wanted => sa.queue.extend(wanted),
                    }
                });
            }
            Err(error) => {
                let child = wanted.as_ref().map(|wanted| wanted.child.as_str());
                let names = (Some(connection.name.as_str()), child);
                let reason = CloseReason::Error(error);
                self.core.fail(now, path.remote, names, reason, Vec::new());
                if let Some(wanted) = wanted {
                    quick_mode::give_up(&mut self.core, now, &wanted);
                    self.peer_lost(now, &connection.name);
                }
            }
        }
    }

    /// A phase 1 stands: one with this peer stays. Of those that one end began it is the newest. Of two that both ends
    /// began at once it is the one with the lower initiator's cookie, so that both keep the same; at once is as long as
    /// messages may be repeated, for they may stand in another order at the other end.
    fn step_back(&mut self, now: Time, id: IkeId) {
        let Some(new) = self.ikes.get(&id) else {
            return;
        };
        let peer = new.peer_id.iter();
        let all = peer.flat_map(|peer| self.directory.of_peer(peer));
        let all = all.filter_map(|id| self.ikes.get(&id)).filter(|sa| {
            sa.is_established()
                && sa.connection_name() == new.connection_name()
                && (!sa.retired || sa.superseded)
        });
        let all: Vec<&IkeSa> = all.collect();
        let newest = |role| all.iter().find(|sa| sa.role == role);
        let at_once = self.core.settings.exchange_memory();
        let stays = match (newest(Role::Initiator), newest(Role::Responder)) {
            (Some(one), Some(other)) => {
                let [a, b] = [one, other].map(|sa| sa.established.unwrap_or(now));
                let first = match a.abs_diff(b) < at_once {
                    true => one.cookies.initiator < other.cookies.initiator,
                    false => a > b,
                };
                if first { one.id } else { other.id }
            }
            (Some(only), None) | (None, Some(only)) => only.id,
            (None, None) => return,
        };
        let ids: Vec<_> = all.iter().map(|sa| sa.id).collect();
        for id in ids {
            self.with(now, id, |sa, core| match id == stays {
                true => sa.reinstate(now),
                false => sa.supersede(core, now),
            });
        }
    }

    /// The peer has lost everything from before: so do we (RFC 2407 4.6.3.3). What was made since this phase 1 began
    /// is not from before.
    fn initial_contact(&mut self, now: Time, id: IkeId) {
        let Some(sa) = self.ikes.get_mut(&id) else {
            return;
        };
        // Only a peer that has proved itself may end what is there.
        if matches!(sa.state, State::Admission(_)) {
            sa.initial_contact = true;
            return;
        }
        let (name, peer) = (sa.connection_name().map(str::to_owned), sa.peer_id.clone());
        let began = sa.began;
        let Some(peer) = peer else {
            return;
        };
        let children = self.core.children.of_peer(&peer).filter(|child| {
            Some(&child.connection.name) == name.as_ref()
                && child.ike != id
                && child.installed < began
        });
        let children: Vec<_> = children.map(|child| child.id).collect();
        for child in children {
            self.remove_child(child, CloseReason::InitialContact);
        }
        let others = self.directory.of_peer(&peer);
        let others = others.filter_map(|id| self.ikes.get(&id)).filter(|sa| {
            sa.id != id
                && sa
                    .established
                    .is_some_and(|established| established < began)
                && sa.connection_name() == name.as_deref()
        });
        let others: Vec<_> = others.map(|sa| sa.id).collect();
        for other in others {
            self.with(now, other, |sa, core| {
                sa.close(core, now, CloseReason::InitialContact);
            });
        }
    }

    /// The children of a dead peer go, unless another phase 1 says that it lives.
    fn peer_dead(&mut self, id: IkeId, peer: &PeerId) {
        let children = self.core.children.of_peer(peer);
        let children: Vec<_> = children
            .filter(|child| child.ike == id && self.messenger(child).is_none())
            .map(|child| child.id)
            .collect();
        for child in children {
            self.remove_child(child, CloseReason::PeerDead);
        }
    }

    pub(super) fn terminate(&mut self, now: Time, name: &str, reason: CloseReason) {
        let children = self.core.children.of_connection(name);
        let children: Vec<_> = children.map(|child| child.id).collect();
        for child in children {
            self.drop_child(now, child, reason.clone());
        }
        let ikes: Vec<_> = self.directory.of_connection(name).collect();
        for id in ikes {
            self.with(now, id, |sa, core| {
                informational::delete_ike(sa, core);
                sa.close(core, now, reason.clone());
            });
        }
        self.give_up(name);
    }

    fn soft_expired(&mut self, now: Time, id: ChildId) {
        let Some(child) = self.core.children.get(id) else {
            return;
        };
        // The peer's replacement may be on its way.
        let replaced = self.core.children.has_successor(id);
        if child.state != ChildState::Installed {
            return;
        }
        if replaced {
            // It may come to nothing.
            let again = self.core.again(now, 1);
            if let Some(child) = self.core.children.get_mut(id) {
                child.again = Some(again);
            }
            self.plan(id);
            return;
        }
        let connection = child.connection.clone();
        let wanted = Wanted {
            child: child.policy.name.clone(),
            selector: child.selector.clone(),
            replaces: Some(id),
            peer: Some((child.peer.clone(), child.path)),
            at: None,
            said: child.said.clone(),
        };
        if let Some(child) = self.core.children.get_mut(id) {
            child.state = ChildState::Rekeying;
            child.again = None;
        }
        self.plan(id);
        self.negotiate(now, &connection, wanted);
    }

    /// An authentic packet of a child came from another address: as if a message of its IKE SA had.
    fn moved(&mut self, now: Time, id: ChildId, remote: SocketAddr) {
        let Some(child) = self.core.children.get(id).filter(|child| child.udp) else {
            return;
        };
        let path = Path {
            remote,
            ..child.path
        };
        let messenger = self.messenger(child);
        if let Some(messenger) = messenger {
            self.with(now, messenger, |sa, core| sa.follow(core, now, path));
        }
    }

    /// Says once more that an SA is gone, to whoever still sends with it.
    fn unknown_spi(&mut self, now: Time, spi: (u8, u32), remote: IpAddr) {
        let mut ikes = self.ikes.values().rev();
        let found = ikes.find(|sa| sa.is_established() && sa.path.remote.ip() == remote);
        let found = found.map(|sa| sa.id);
        if let Some(id) = found {
            self.with(now, id, |sa, core| {
                if sa.reminder.is_none_or(|last| now >= last + REMINDER) {
                    sa.reminder = Some(now);
                    informational::delete_spis(sa, core, &[spi]);
                }
            });
        }
    }

    fn traffic(&mut self, now: Time, id: ChildId, received: u64, sent: u64) {
        let Some(child) = self.core.children.get_mut(id) else {
            return;
        };
        let (more_received, more_sent) = (received > child.traffic.0, sent > child.traffic.1);
        child.traffic = (received, sent);
        if more_received || more_sent {
            child.last_traffic = now;
        }
        let (replaces, messenger) = (child.replaces.filter(|_| more_received), child.ike);
        let messenger = match self.ikes.get(&messenger) {
            Some(sa) if sa.is_established() => Some(messenger),
            _ => {
                let child = self.core.children.get(id);
                child.and_then(|child| self.messenger(child))
            }
        };
        if let Some(ike) = messenger {
            self.with(now, ike, |sa, _| {
                if more_received {
                    sa.dead_peer.sign_of_life(now);
                } else if more_sent {
                    sa.dead_peer.sent();
                }
            });
        }
        if let Some(old) = replaces.and_then(|old| self.core.children.get_mut(old)) {
            if let ChildState::Replaced { until } = &mut old.state {
                *until = (*until).min(now + UNDER_WAY);
            }
        }
        for id in replaces.into_iter().chain([id]) {
            self.plan(id);
        }
    }

    /// Notes when a child is due.
    pub(super) fn plan(&mut self, id: ChildId) {
        let child = self.core.children.get(id);
        let at = child.and_then(ChildSa::deadline);
        self.agenda.set(Item::Child(id), at);
    }

    pub(super) fn child_timeout(&mut self, now: Time, id: ChildId) {
        let Some(child) = self.core.children.get(id) else {
            return;
        };
        if child.is_to_be_replaced(now) {
            self.soft_expired(now, id);
            return;
        }
        let replaced = child.is_replaced();
        // A peer that cannot be told may still send with it: it stays until it can, or its hard limit ends it.
        if replaced && self.messenger(child).is_none() {
            self.agenda.set(Item::Child(id), Some(now + UNTOLD));
            return;
        }
        let reason = match replaced {
            true => CloseReason::Replaced,
            false => CloseReason::Idle,
        };
        self.drop_child(now, id, reason);
    }

    /// Removes a child at both ends.
    pub(super) fn drop_child(&mut self, now: Time, id: ChildId, reason: CloseReason) {
        let Some(child) = self.core.children.get(id) else {
            return;
        };
        let spis: Vec<_> = child.inbound_spis().collect();
        if let Some(ike) = self.messenger(child) {
            self.with(now, ike, |sa, core| {
                informational::delete_spis(sa, core, &spis)
            });
        }
        self.remove_child(id, reason);
    }

    pub(super) fn remove_child(&mut self, id: ChildId, reason: CloseReason) {
        if self.core.children.remove(id).is_some() {
            let event = Event::RemoveSa { child: id, reason };
            self.core.events.push_back(event);
        }
        self.agenda.set(Item::Child(id), None);
    }
}
