//! Which connection a peer belongs to (RFC 4301 4.4.3: the peer authorization database).

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_config::{Connection, Identity, Method, Phase1Exchange, RemoteAddress};

use crate::core::Path;

/// Connections for an address and an exchange, in order.
pub(crate) fn candidates(
    connections: &[Arc<Connection>],
    path: Path,
    exchange: Phase1Exchange,
) -> impl Iterator<Item = &Arc<Connection>> {
    connections.iter().filter(move |connection| {
        connection.exchange == exchange
            && connection.local.is_none_or(|ip| ip == path.local.ip())
            && admits(&connection.remote, path.remote.ip())
    })
}

/// The connection with each of its ways to prove who both are, the preferred one first. Whichever is agreed on, the
/// others are there for the next time.
pub(crate) fn ways(connection: &Arc<Connection>) -> impl Iterator<Item = Arc<Connection>> {
    let further = connection.further.iter().enumerate();
    let other = |(place, method): (usize, &Method)| {
        let mut other = Connection::clone(connection);
        let usual = Method {
            authentication: std::mem::replace(
                &mut other.authentication,
                method.authentication.clone(),
            ),
            local_id: std::mem::replace(&mut other.local_id, method.local_id.clone()),
        };
        other.further.remove(place);
        other.further.insert(0, usual);
        Arc::new(other)
    };
    std::iter::once(connection.clone()).chain(further.map(other))
}

fn admits(remote: &RemoteAddress, address: IpAddr) -> bool {
    match remote {
        RemoteAddress::Host(host) => *host == address,
        RemoteAddress::Ranges(ranges) => ranges.iter().any(|range| range.contains(address)),
        RemoteAddress::Any => true,
    }
}

/// True if a peer that proved to be `identity` is who the connection is meant for.
pub(crate) fn expects(connection: &Connection, identity: &Identity) -> bool {
    match (&connection.remote_id, identity) {
        (None, _) => true,
        // Names are compared without regard to case (RFC 4343).
        (Some(Identity::Fqdn(expected)), Identity::Fqdn(name)) => {
            expected.eq_ignore_ascii_case(name)
        }
        (Some(expected), identity) => expected == identity,
    }
}
