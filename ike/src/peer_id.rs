//! Who a peer is, as far as it is proved: what its SAs and its address are found by.

use portcullis_config::{Connection, Identity};

/// A peer that has proved all that its connection asks of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PeerId {
    /// From phase 1.
    identity: Option<Identity>,
    /// From XAUTH.
    user: Option<String>,
}

impl PeerId {
    /// A peer that phase 1 alone tells.
    pub(crate) fn proven(identity: Identity) -> Self {
        PeerId {
            identity: Some(identity),
            user: None,
        }
    }

    /// A peer behind which is a user. Hybrid authentication proves no identity of the client's, and an address says
    /// only where the user is at the moment.
    pub(crate) fn of_user(connection: &Connection, identity: Identity, user: String) -> Self {
        let tells = !connection.remote_access.hybrid && !matches!(identity, Identity::Address(_));
        PeerId {
            identity: Some(identity).filter(|_| tells),
            user: Some(user),
        }
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}
