//! Ends what one peer has, of a connection that others have SAs of, too.

use std::net::{IpAddr, SocketAddr};

use crate::api::{CloseReason, Time};
use crate::core::Path;
use crate::endpoint::Endpoint;
use crate::peer_id::PeerId;

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
}

impl Endpoint {
    /// True if a peer has anything of a connection.
    pub fn has_peer(&self, connection: &str, peer: &Peer) -> bool {
        let mut children = self.core.children.of_connection(connection);
        let mut ikes = self.ikes_of(connection);
        children.any(|child| peer.is(child.path, Some(&child.peer)))
            || ikes.any(|sa| peer.is(sa.path, sa.peer_id.as_ref()))
    }

    /// Deletes at both ends what a peer has of a connection. Children go first: an IKE SA tells of them.
    pub(super) fn dismiss(&mut self, now: Time, connection: &str, peer: &Peer) {
        let children = self.core.children.of_connection(connection);
        let children = children.filter(|child| peer.is(child.path, Some(&child.peer)));
        let children: Vec<_> = children.map(|child| child.id).collect();
        for id in children {
            self.drop_child(now, id, CloseReason::Terminated);
        }
        let ikes = self.ikes_of(connection);
        let ikes = ikes.filter(|sa| peer.is(sa.path, sa.peer_id.as_ref()));
        let ikes: Vec<_> = ikes.map(|sa| sa.id).collect();
        for id in ikes {
            self.delete_ike(now, id);
        }
    }
}
