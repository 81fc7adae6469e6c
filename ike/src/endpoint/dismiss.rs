//! Ends what one peer has, of a connection that others have SAs of, too.

use std::net::{IpAddr, SocketAddr};

use crate::api::{CloseReason, Time};
use crate::core::Path;
use crate::endpoint::Endpoint;
use crate::peer_id::PeerId;
use crate::v1::ike_sa::IkeSa;

/// One peer of a connection, or those that cannot be told from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever is at this address.
    Address(IpAddr),
    /// At this address and port, which tells peers behind one NAT apart.
    Place(SocketAddr),
    /// Who has proved to be this user (XAUTH).
    User(String),
}

impl Peer {
    fn is(&self, path: Path, id: Option<&PeerId>) -> bool {
        match self {
            Peer::Address(address) => path.remote.ip() == *address,
            Peer::Place(place) => path.remote == *place,
            Peer::User(user) => id.and_then(PeerId::user) == Some(user.as_str()),
        }
    }

    /// Whose password is still being checked counts as well: its user is not proven, and would be a moment later.
    fn has(&self, sa: &IkeSa) -> bool {
        let in_check =
            matches!(self, Peer::User(user) if sa.user_in_check() == Some(user.as_str()));
        in_check || self.is(sa.path, sa.peer_id.as_ref())
    }
}

impl Endpoint {
    /// True if a peer has anything of a connection.
    pub fn has_peer(&self, connection: &str, peer: &Peer) -> bool {
        let mut children = self.core.children.of_connection(connection);
        let mut ikes = self.ikes_of(connection);
        children.any(|child| peer.is(child.path, Some(&child.peer))) || ikes.any(|sa| peer.has(sa))
    }

    /// Deletes at both ends what a peer has of a connection. Children go first: an IKE SA tells of them. Where that was
    /// all, nobody begins the connection anew.
    pub(super) fn dismiss(&mut self, now: Time, connection: &str, peer: &Peer) {
        if !self.has_peer(connection, peer) {
            return;
        }
        let children = self.core.children.of_connection(connection);
        let children = children.filter(|child| peer.is(child.path, Some(&child.peer)));
        let children: Vec<_> = children.map(|child| child.id).collect();
        for id in children {
            self.drop_child(now, id, CloseReason::Terminated);
        }
        let ikes = self.ikes_of(connection);
        let ikes: Vec<_> = ikes.filter(|sa| peer.has(sa)).map(|sa| sa.id).collect();
        for id in ikes {
            self.delete_ike(now, id);
        }
        let has_children = self
            .core
            .children
            .of_connection(connection)
            .next()
            .is_some();
        if !has_children && self.ikes_of(connection).next().is_none() {
            self.give_up(connection);
        }
    }
}
