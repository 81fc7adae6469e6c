//! Who a peer is, as far as it is proved: what its SAs and its address are found by.

use portcullis_config::{Authentication, Connection, Identity};

/// A peer that has proved all that its connection asks of it. Under another connection the same name is another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PeerId {
    connection: String,
    /// From phase 1.
    identity: Option<Identity>,
    /// From XAUTH.
    user: Option<String>,
}

impl PeerId {
    /// A peer that phase 1 alone tells.
    pub(crate) fn proven(connection: &str, identity: &Identity) -> Self {
        PeerId {
            connection: connection.to_owned(),
            identity: Some(normal(identity)),
            user: None,
        }
    }

    /// A peer behind which is a user. What the client says of itself in phase 1 tells them further apart only if a
    /// certificate vouches for it: hybrid authentication proves no identity of the client's, and whoever knows the
    /// secret of a group may give any, so that one user would come as many.
    pub(crate) fn of_user(connection: &Connection, identity: &Identity, user: String) -> Self {
        let vouched = matches!(connection.authentication, Authentication::Certificates(_))
            && !connection.remote_access.hybrid;
        // An address says only where the user is at the moment.
        let tells = vouched && !matches!(identity, Identity::Address(_));
        PeerId {
            connection: connection.name.clone(),
            identity: tells.then(|| normal(identity)),
            user: Some(user),
        }
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// One spelling of a name: those of domains are compared without regard to case (RFC 4343).
fn normal(identity: &Identity) -> Identity {
    match identity {
        Identity::Fqdn(name) => Identity::Fqdn(name.to_ascii_lowercase()),
        Identity::UserFqdn(name) => Identity::UserFqdn(match name.rsplit_once('@') {
            Some((user, domain)) => format!("{user}@{}", domain.to_ascii_lowercase()),
            None => name.clone(),
        }),
        other => other.clone(),
    }
}
