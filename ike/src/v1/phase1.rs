//! What main mode and aggressive mode have in common (RFC 2409 5).

use std::sync::Arc;

use portcullis_config::{Authentication, Connection, Identity, IkeProposal};

use crate::connections::{candidates, expects, ways};
use crate::core::{Core, Path};
use crate::crypto::dh::SharedSecret;
use crate::crypto::keymat::{Nonces, PublicValues, Skeyid};
use crate::proposal::ike::{Chosen, Policy};
use crate::v1::ike_sa::{IkeSa, Role};
use crate::v1::keys::Keys;
use crate::v1::message::Incoming;
use crate::v1::{authentication, life, nat_traversal, notice};
use crate::wire::identification::Identification;
use crate::wire::notification::{Notification, notify};
use crate::wire::payload::kind;
use crate::wire::security_association::SecurityAssociation;
use crate::wire::{Payloads, Reader, Writer, protocol, vendor_id};
use crate::{Error, Event, InvalidMessage, PeerIncompatible, PeerMisbehaved, Time};

/// Bytes of our nonces: the length of the longest hash's half, and then some (RFC 2409 5 asks for 8 to 256).
const NONCE: usize = 32;

/// Two values, the initiator's and the responder's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Both {
    pub(crate) initiator: Vec<u8>,
    pub(crate) responder: Vec<u8>,
}

impl Both {
    pub(crate) fn nonces(&self) -> Nonces<'_> {
        Nonces {
            initiator: &self.initiator,
            responder: &self.responder,
        }
    }

    pub(crate) fn public(&self) -> PublicValues<'_> {
        PublicValues {
            initiator: &self.initiator,
            responder: &self.responder,
        }
    }

    /// From ours and the peer's.
    pub(crate) fn new(role: Role, ours: Vec<u8>, theirs: Vec<u8>) -> Self {
        match role {
            Role::Initiator => Both {
                initiator: ours,
                responder: theirs,
            },
            Role::Responder => Both {
                initiator: theirs,
                responder: ours,
            },
        }
    }
}

/// What HASH_I and HASH_R cover besides identities.
#[derive(Debug)]
pub(crate) struct Transcript {
    /// SAi_b.
    pub(crate) sa: Vec<u8>,
    pub(crate) public: Both,
    pub(crate) nonces: Both,
}

/// What a connection allows in phase 1, to us in this role.
pub(crate) fn policy<'a>(
    core: &Core,
    connection: &'a Connection,
    role: Role,
) -> Result<Policy<'a>, Error> {
    Ok(Policy {
        proposals: &connection.ike_proposals,
        method: authentication::number(core, connection, role)?,
        lifetime: life::ours(connection),
    })
}

/// What an initiator offers: with each method to prove who both are, every proposal.
pub(crate) fn offer(
    core: &Core,
    connection: &Arc<Connection>,
) -> Result<SecurityAssociation, Error> {
    let mut offer = SecurityAssociation::default();
    let mut methods = Vec::new();
    let mut unusable = None;
    for way in ways(connection) {
        let policy = match policy(core, &way, Role::Initiator) {
            Ok(policy) => policy,
            // One whose certificate cannot be used is not in the way of the others.
            Err(error) => {
                unusable.get_or_insert(error);
                continue;
            }
        };
        // Which of several certificates it is, the peer's requests tell.
        if methods.contains(&policy.method) {
            continue;
        }
        methods.push(policy.method);
        let mut more = policy.offer();
        match (offer.proposals.first_mut(), more.proposals.first_mut()) {
            (Some(all), Some(more)) => all.transforms.append(&mut more.transforms),
            _ => offer = more,
        }
    }
    if let (true, Some(error)) = (offer.proposals.is_empty(), unusable) {
        return Err(error);
    }
    for proposal in &mut offer.proposals {
        for (transform, number) in proposal.transforms.iter_mut().zip(1..=u8::MAX) {
            transform.number = number;
        }
    }
    Ok(offer)
}

/// What the responder chose of it, and with which way; what is not one of our transforms, unchanged, is refused
/// (requirement 72).
pub(crate) fn chosen(
    core: &Core,
    connection: &Arc<Connection>,
    answer: &SecurityAssociation,
) -> Result<(Arc<Connection>, Chosen), Error> {
    for way in ways(connection) {
        let Ok(policy) = policy(core, &way, Role::Initiator) else {
            continue;
        };
        if let Some(chosen) = policy.chosen(answer)? {
            return Ok((way, chosen));
        }
    }
    Err(PeerMisbehaved::ChangedProposal.into())
}

/// Our vendor ids.
pub(crate) fn write_vendor_ids(writer: &mut Writer, connection: &Connection) {
    let nat_traversal = connection.nat_traversal != portcullis_config::NatTraversal::Off;
    for id in vendor_id::ours(nat_traversal) {
        writer.payload(kind::VENDOR_ID, &id);
    }
    let access = &connection.remote_access;
    if access.xauth.is_some() {
        writer.payload(kind::VENDOR_ID, &vendor_id::XAUTH);
    }
    if access.mode_config.is_some() {
        writer.payload(kind::VENDOR_ID, &vendor_id::UNITY);
    }
}

/// Takes note of the peer's.
pub(crate) fn read_vendor_ids(sa: &mut IkeSa, payloads: &Payloads<'_>) {
    let mut peer = sa.peer;
    payloads.all(kind::VENDOR_ID).for_each(|id| peer.note(id));
    let off = |c: &Arc<Connection>| c.nat_traversal == portcullis_config::NatTraversal::Off;
    if sa.connection.as_ref().is_some_and(off) {
        peer.nat_traversal = None;
    }
    sa.peer = peer;
}

pub(crate) fn nonce(core: &mut Core) -> Vec<u8> {
    core.random::<NONCE>().to_vec()
}

/// The peer's nonce: 8 to 256 bytes (RFC 2409 5).
pub(crate) fn read_nonce(payloads: &Payloads<'_>) -> Result<Vec<u8>, InvalidMessage> {
    let nonce = payloads.one(kind::NONCE)?;
    match (8..=256).contains(&nonce.len()) {
        true => Ok(nonce.to_vec()),
        false => Err(InvalidMessage::Nonce),
    }
}

/// The SA payload of a message and its bytes, which the hashes cover.
pub(crate) fn read_sa<'a>(
    payloads: &Payloads<'a>,
) -> Result<(SecurityAssociation, &'a [u8]), InvalidMessage> {
    let body = payloads.one(kind::SA)?;
    Ok((SecurityAssociation::parse(body)?, body))
}

/// The responder's choice among the connections for this address: the first one with a proposal in common. If there
/// is none, what differed is remembered.
pub(crate) fn choose(
    sa: &mut IkeSa,
    core: &Core,
    exchange: portcullis_config::Phase1Exchange,
    identity: Option<&Identity>,
    offered: &SecurityAssociation,
) -> Result<Chosen, Error> {
    let mut mismatches = Vec::new();
    let (mut found, mut unusable) = (false, None);
    for connection in candidates(&core.connections, sa.path, exchange) {
        if identity.is_some_and(|identity| !expects(connection, identity)) {
            continue;
        }
        found = true;
        for way in ways(connection) {
            let policy = match policy(core, &way, Role::Responder) {
                Ok(policy) => policy,
                // One without usable credentials is not in the way of the others.
                Err(error) => {
                    unusable.get_or_insert(error);
                    continue;
                }
            };
            match policy.choose(offered)? {
                Ok(chosen) => {
                    sa.connection = Some(way);
                    accept(sa, &chosen);
                    return Ok(chosen);
                }
                Err(differences) => {
                    sa.connection.get_or_insert(way);
                    mismatches.extend(differences);
                }
            }
        }
    }
    let error = match (found, unusable) {
        (true, Some(unusable)) if mismatches.is_empty() => unusable,
        (true, _) => Error::from(PeerIncompatible::NoProposal),
        (false, _) => Error::from(PeerIncompatible::NoConnection),
    };
    sa.hint = Some((error.clone(), mismatches));
    Err(error)
}

/// Notes what was agreed on.
pub(crate) fn accept(sa: &mut IkeSa, chosen: &Chosen) {
    sa.proposal = Some(chosen.proposal);
    sa.peer_lifetime = chosen.lifetime;
}

/// Makes the keys, and says them to a key log.
pub(crate) fn derive(
    sa: &mut IkeSa,
    core: &mut Core,
    transcript: &Transcript,
    shared: &SharedSecret,
) -> Result<(), Error> {
    let (connection, proposal) = agreed(sa)?;
    let (hash, nonces) = (proposal.hash, transcript.nonces.nonces());
    let skeyid = match &connection.authentication {
        Authentication::PreSharedKey(psk) => {
            Skeyid::from_psk(hash, psk.expose(), nonces, shared, sa.cookies)
        }
        Authentication::Certificates(_) => {
            Skeyid::from_signatures(hash, nonces, shared, sa.cookies)
        }
    };
    let keys = Keys::new(skeyid, proposal, transcript.public.public());
    if core.settings.key_log {
        core.events.push_back(Event::KeyLog {
            initiator_cookie: sa.cookies.initiator,
            encryption_key: keys.encryption_key(),
        });
    }
    sa.keys = Some(keys);
    Ok(())
}

/// Connection and proposal, which every state behind the choice has.
pub(crate) fn agreed(sa: &IkeSa) -> Result<(Arc<Connection>, IkeProposal), Error> {
    match (&sa.connection, sa.proposal) {
        (Some(connection), Some(proposal)) => Ok((connection.clone(), proposal)),
        _ => Err(crate::Local::NotConfigured.into()),
    }
}

/// The body of our identification payload.
pub(crate) fn our_identity(connection: &Connection) -> Vec<u8> {
    Identification::of_identity(&connection.local_id).encode()
}

/// Reads the peer's identification: protocol and port are not said, or are IKE's (RFC 2407 4.6.2, RFC 3947 4).
pub(crate) fn read_identity(sa: &IkeSa, body: &[u8]) -> Result<Identity, InvalidMessage> {
    let identification = Identification::parse(body)?;
    // The client of hybrid authentication need not say who it is (draft-ietf-ipsec-isakmp-hybrid-auth-05 4.2). Whether
    // it is one, aggressive mode tells only when the connection is found.
    let connection = sa.connection.as_ref().map(|c| &c.remote_access);
    let may_be_silent = connection.is_none_or(|access| access.hybrid && access.asks());
    if may_be_silent && identification.kind == 0 && identification.data.is_empty() {
        return Ok(Identity::KeyId(Vec::new()));
    }
    match (identification.protocol, identification.port) {
        (0 | 17, 0 | 500 | 4500) => identification.identity(),
        _ => Err(InvalidMessage::Identification),
    }
}

/// The connection for a peer that has proved to be `identity`: the one so far, or another that would have come to the
/// same keys.
pub(crate) fn identify(sa: &mut IkeSa, core: &Core, identity: Identity) -> Result<(), Error> {
    let (current, proposal) = agreed(sa)?;
    // A certificate may vouch for more than the name that the peer has chosen: that is for `verify` to tell.
    let by_certificate = authentication::signs(&current, false);
    let fits = |connection: &Arc<Connection>| {
        expects(connection, &identity)
            && connection.authentication == current.authentication
            && connection.remote_access.is_like(&current.remote_access)
            && connection.ike_proposals.contains(&proposal)
    };
    let found = match (sa.role, fits(&current)) {
        (_, true) => Some(current.clone()),
        (Role::Initiator, false) => None,
        (Role::Responder, false) => {
            let others = candidates(&core.connections, sa.path, current.exchange);
            others.flat_map(ways).find(fits)
        }
    };
    let found = found.or(Some(current.clone()).filter(|_| by_certificate));
    sa.remote_id = Some(identity);
    sa.connection = Some(found.ok_or(PeerIncompatible::Identity)?);
    Ok(())
}

/// What it means that the last messages of phase 1 cannot be read, or prove nothing: with a pre-shared key, as a
/// rule, that the keys differ. The peer is told, for it cannot see it either.
pub(crate) fn unreadable(sa: &IkeSa, core: &mut Core, error: Error) -> Error {
    let by_secret = sa
        .connection
        .as_ref()
        .is_some_and(|c| matches!(c.authentication, Authentication::PreSharedKey(_)));
    if !by_secret {
        return error;
    }
    let error = Error::from(PeerIncompatible::PreSharedKey);
    if sa.hint.is_none() {
        notice::refuse_authentication(sa, core, &error);
    }
    error
}

/// An encrypted notification before phase 1 stands cannot be read: as a rule, it refuses our proof.
pub(crate) fn refused_unreadably(sa: &mut IkeSa, now: Time) -> Result<(), Error> {
    match (&sa.connection, &sa.keys, &sa.hint) {
        // It is known already.
        (Some(_), Some(_), Some(_)) => Ok(()),
        (Some(connection), Some(_), None) => {
            let error = match connection.authentication {
                Authentication::PreSharedKey(_) => Error::from(PeerIncompatible::PreSharedKey),
                Authentication::Certificates(_) => {
                    Error::PeerRefused(notify::AUTHENTICATION_FAILED)
                }
            };
            sa.suspect(now, error);
            Ok(())
        }
        _ => Err(PeerMisbehaved::NoPhase1.into()),
    }
}

/// INITIAL-CONTACT, if we have nothing else with this peer (RFC 2407 4.6.3.3): should both begin at once, neither may
/// end what the other has begun.
pub(crate) fn write_initial_contact(sa: &IkeSa, core: &Core, writer: &mut Writer) {
    let name = sa.connection_name().unwrap_or_default();
    let known = core.children.of_connection(name).next().is_some();
    let alone = core.peers.get(&sa.home) == Some(&1);
    if alone && sa.replaces.is_none() && !known {
        writer.payload(
            kind::NOTIFICATION,
            &own_notification(sa, notify::INITIAL_CONTACT, Vec::new()),
        );
    }
}

/// A notification about the IKE SA itself: its SPI is both cookies (RFC 2407 4.6.3).
pub(crate) fn own_notification(sa: &IkeSa, kind: u16, data: Vec<u8>) -> Vec<u8> {
    Notification {
        protocol: protocol::ISAKMP,
        spi: [sa.cookies.initiator, sa.cookies.responder].concat(),
        kind,
        data,
    }
    .encode()
}

/// True if a peer begins anew.
pub(crate) fn has_initial_contact(payloads: &Payloads<'_>) -> bool {
    let mut notifications = payloads.all(kind::NOTIFICATION);
    notifications
        .any(|body| Notification::parse(body).is_ok_and(|n| n.kind == notify::INITIAL_CONTACT))
}

/// A body that must not be empty.
pub(crate) fn not_empty(body: &[u8]) -> Result<Vec<u8>, InvalidMessage> {
    match Reader::new(body).is_empty() {
        true => Err(InvalidMessage::Length),
        false => Ok(body.to_vec()),
    }
}

/// The payloads of a message that must be in clear.
pub(super) fn clear<'a>(incoming: &Incoming<'a>) -> Result<Payloads<'a>, InvalidMessage> {
    match incoming.is_encrypted() {
        true => Err(InvalidMessage::Encryption),
        false => Payloads::parse(incoming.header.next_payload, incoming.body()),
    }
}

/// NAT-D, if the peer knows it (RFC 3947 3.2).
pub(super) fn write_nat_discovery(sa: &IkeSa, writer: &mut Writer) -> Result<(), Error> {
    let (connection, proposal) = agreed(sa)?;
    if let Some(version) = sa.peer.nat_traversal {
        let ends = (proposal.hash, sa.cookies, sa.path);
        nat_traversal::write(writer, version, connection.nat_traversal, ends);
    }
    Ok(())
}

/// What the peer's NAT-D say of a message that came over `path`.
pub(super) fn read_nat_discovery(
    sa: &mut IkeSa,
    payloads: &Payloads<'_>,
    path: Path,
) -> Result<(), Error> {
    let (connection, proposal) = agreed(sa)?;
    if let Some(version) = sa.peer.nat_traversal {
        let ends = (proposal.hash, sa.cookies, path);
        sa.nat = nat_traversal::read(payloads, version, connection.nat_traversal, ends)?;
    }
    Ok(())
}

/// Sends a message that is repeated until the answer comes.
pub(super) fn ask(sa: &mut IkeSa, core: &mut Core, now: Time, message: Vec<u8>) {
    sa.send(core, &message);
    sa.phase1.sent(message, now, core.settings.retransmit);
}
