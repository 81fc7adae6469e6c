//! What the policy says of connections, and what becomes of those that change: of one whose children alone change, or
//! its users, the IKE SAs stay, and the other children, and what other users have.
//!
//! And a new start: IKE forgets all exchanges and IKE SAs, and knows of the children only what does not depend on them
//! (requirement 75), so that their SAs go on carrying packets and are renewed in time.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_config::{Authentication, Connection, RemoteAddress, Start, Users, Xauth};

use super::Endpoint;
use crate::child::ChildState;
use crate::connections::ways;
use crate::core::{KnownCredentials, Request};
use crate::crypto::credentials::LoadedCredentials;
use crate::peer_id::PeerId;
use crate::v1::informational;
use crate::{CloseReason, IkeId, Local, Time};

impl Endpoint {
    pub(super) fn configure(&mut self, now: Time, connections: Vec<Arc<Connection>>) {
        let old = std::mem::replace(&mut self.core.connections, connections);
        let mut changed = Vec::new();
        for old in old {
            match self.connection(&old.name) {
                Some(same) if same == old => {}
                Some(new) if is_same_otherwise(&old, &new) => {
                    self.end_users(now, &old, &new);
                    self.change_children(now, &new);
                    changed.push((old, new));
                }
                _ => self.terminate(now, &old.name, CloseReason::Terminated),
            }
        }
        let connections = self.core.connections.clone();
        let pools = connections.iter().filter_map(|c| c.remote_access.pool());
        self.core.leases.retain(&pools.collect::<Vec<_>>());
        self.core.credentials.clear();
        self.core.short_lives.clear();
        for connection in &connections {
            self.load_credentials(now, connection);
        }
        for connection in connections.iter().filter(|c| c.start == Start::Load) {
            if self.ikes_of(&connection.name).next().is_none() {
                self.start_named(now, &connection.name, None);
            }
        }
        for (old, new) in changed.iter().filter(|(_, new)| new.start == Start::Load) {
            let added = new
                .children
                .iter()
                .filter(|child| !old.children.contains(child));
            for child in added {
                self.start_named(now, &new.name, Some(&child.name));
            }
        }
    }

    /// Our addresses that there are IKE SAs or children at.
    pub fn local_addresses(&self) -> BTreeSet<IpAddr> {
        let ikes = self.ikes.values().map(|sa| sa.path.local.ip());
        let children = self.core.children.iter();
        ikes.chain(children.map(|child| child.path.local.ip()))
            .collect()
    }

    /// Children go first: an IKE SA tells of them.
    pub(super) fn leave_address(&mut self, now: Time, address: IpAddr) {
        let children = self.core.children.iter();
        let children = children.filter(|child| child.path.local.ip() == address);
        let children: Vec<_> = children.map(|child| child.id).collect();
        for id in children {
            self.hard_expired(now, id);
        }
        let ikes = self.ikes.values();
        let ikes = ikes.filter(|sa| sa.path.local.ip() == address);
        let ikes: Vec<_> = ikes.map(|sa| sa.id).collect();
        for id in ikes {
            self.delete_ike(now, id);
        }
    }

    pub(super) fn delete_ike(&mut self, now: Time, id: IkeId) {
        self.with(now, id, |sa, core| {
            informational::delete_ike(sa, core);
            sa.close(core, now, CloseReason::Terminated);
        });
    }

    /// Users who are no longer there, or have another password, have nothing any more; all others keep what they have.
    fn end_users(&mut self, now: Time, old: &Connection, new: &Connection) {
        let (Some(before), Some(after)) = (users(old), users(new)) else {
            return;
        };
        if before == after {
            return;
        }
        let is_changed = |user: &str| before.hash(user) != after.hash(user);
        let is_gone = |peer: &PeerId| peer.user().is_some_and(is_changed);
        let children = self.core.children.of_connection(&new.name);
        let children = children.filter(|child| is_gone(&child.peer));
        let children: Vec<_> = children.map(|child| child.id).collect();
        for id in children {
            self.drop_child(now, id, CloseReason::Terminated);
        }
        let ikes = self.ikes_of(&new.name);
        // A password that is being checked is checked as it was before.
        let ikes = ikes.filter(|sa| {
            sa.peer_id.as_ref().is_some_and(is_gone) || sa.user_in_check().is_some_and(is_changed)
        });
        let ikes: Vec<_> = ikes.map(|sa| sa.id).collect();
        for id in ikes {
            self.delete_ike(now, id);
        }
    }

    /// Children that are no longer as they were go; nothing else does.
    fn change_children(&mut self, now: Time, new: &Arc<Connection>) {
        let children = self.core.children.of_connection(&new.name);
        let children: Vec<_> = children.map(|child| child.id).collect();
        for id in children {
            match self.core.children.get_mut(id) {
                Some(child) if new.children.contains(&child.policy) => {
                    child.connection = new.clone();
                }
                _ => self.drop_child(now, id, CloseReason::Terminated),
            }
        }
        let ids: Vec<_> = self.directory.of_connection(&new.name).collect();
        for id in ids {
            self.with(now, id, |sa, _| {
                // The way to prove who both are was agreed on.
                let agreed = sa
                    .connection
                    .as_ref()
                    .and_then(|old| ways(new).find(|way| way.authentication == old.authentication));
                sa.connection = Some(agreed.unwrap_or_else(|| new.clone()));
                let is_there = |name: &str| new.children.iter().any(|child| child.name == name);
                sa.queue.retain(|wanted| is_there(&wanted.child));
            });
        }
    }

    fn load_credentials(&mut self, now: Time, connection: &Connection) {
        let further = connection.further.iter().map(|way| &way.authentication);
        for authentication in std::iter::once(&connection.authentication).chain(further) {
            let Authentication::Certificates(credentials) = authentication else {
                continue;
            };
            match LoadedCredentials::new(credentials) {
                Ok(loaded) => {
                    let name = connection.name.clone();
                    let of_name = self.core.credentials.entry(name).or_default();
                    of_name.push(KnownCredentials::new(credentials, loaded));
                }
                Err(_) => self.fail(now, &connection.name, None, Local::Credentials),
            }
        }
    }

    /// Begins anew, and keeps the children that are whole. Peers are not told: they would delete the children, too.
    /// Where a peer is known beforehand, phase 1 is negotiated at once.
    pub(super) fn start_anew(&mut self, now: Time) {
        let mut again = HashMap::new();
        let ids: Vec<_> = self.ikes.keys().copied().collect();
        for id in ids {
            if let Some(sa) = self.ikes.get(&id).filter(|sa| sa.is_established()) {
                if let Some(connection) = &sa.connection {
                    again.insert(connection.name.clone(), (connection.clone(), sa.path));
                }
            }
            self.with(now, id, |sa, core| {
                sa.close(core, now, CloseReason::Restarted)
            });
        }
        // Nothing is left of what they ask for, but what did not come to be is still to stand.
        let lost = |r: &Request| matches!(r, Request::Restart(_) | Request::ChildLost(_));
        self.core.requests.retain(lost);
        self.core.works.clear();
        self.core.transmits.clear();
        self.keep_whole_children();
        for (connection, path) in again.into_values() {
            if !matches!(connection.remote, RemoteAddress::Host(_)) {
                continue;
            }
            if let Err(error) = self.initiate(now, &connection, path) {
                let names = (Some(connection.name.as_str()), None);
                let reason = CloseReason::Error(error);
                self.core.fail(now, path.remote, names, reason, Vec::new());
            }
        }
    }

    fn keep_whole_children(&mut self) {
        let (mut half, mut whole) = (Vec::new(), Vec::new());
        for child in self.core.children.iter_mut() {
            match child.state {
                ChildState::Inbound => half.push(child.id),
                ChildState::Rekeying => child.state = ChildState::Installed,
                ChildState::Installed | ChildState::Replaced { .. } => {}
            }
            whole.push(child.id);
        }
        for id in half {
            self.remove_child(id, CloseReason::Restarted);
        }
        for id in whole {
            self.plan(id);
        }
    }
}

/// The users that a server knows.
fn users(connection: &Connection) -> Option<&Arc<Users>> {
    match &connection.remote_access.xauth {
        Some(Xauth::Server { users, .. }) => Some(users),
        _ => None,
    }
}

/// True if all is as before that the IKE SAs of all users depend on.
fn is_same_otherwise(old: &Connection, new: &Connection) -> bool {
    let mut same = Connection {
        children: new.children.clone(),
        ..old.clone()
    };
    if let (Some(Xauth::Server { users: known, .. }), Some(users)) =
        (&mut same.remote_access.xauth, users(new))
    {
        *known = users.clone();
    }
    same == *new
}
