//! Errors by blame, and the one mapping to notifications.

use std::fmt;

use crate::wire::notification::{self, notify};

/// What went wrong, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes are no IKE message.
    InvalidMessage(InvalidMessage),
    /// The peer did what the protocol forbids.
    PeerMisbehaved(PeerMisbehaved),
    /// Both keep to the protocol, and have nothing in common.
    PeerIncompatible(PeerIncompatible),
    /// The peer refused, with this notification (RFC 2408 3.14.1).
    PeerRefused(u16),
    /// Our own fault, or that of our policy.
    Local(Local),
}

/// What is wrong with the bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidMessage {
    /// Ends early.
    Truncated,
    /// A length field that cannot be.
    Length,
    /// The initiator's cookie is zero.
    NoCookie,
    /// RESERVED is not zero.
    Reserved,
    /// More payloads than anyone needs.
    TooMany,
    /// A payload that this exchange has not, or not here.
    UnexpectedPayload(u8),
    /// A payload that must be there.
    MissingPayload(u8),
    /// A payload that is there twice.
    RepeatedPayload(u8),
    /// A domain of interpretation that is not IPsec's.
    Doi,
    /// A situation other than SIT_IDENTITY_ONLY.
    Situation,
    /// An attribute's value that cannot be.
    Attribute(u16),
    /// An identity of unknown type or wrong length.
    Identification,
    /// Not encrypted where it must be, or the other way.
    Encryption,
    /// A flag, version or exchange type that is unknown.
    Header,
    /// A nonce shorter than 8 or longer than 256 bytes (RFC 2409 5).
    Nonce,
    /// Fragments that do not fit together.
    Fragment,
    /// Certificates in a wrapping that cannot be read.
    Certificate,
}

/// What a peer may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMisbehaved {
    /// A hash that does not verify.
    Hash,
    /// A signature that does not verify.
    Signature,
    /// A Diffie-Hellman value that is no element of the group.
    KeyExchange,
    /// The responder chose what was not offered (requirement 72).
    ChangedProposal,
    /// Quick mode's identities came back changed.
    ChangedIdentities,
    /// An exchange for which there is no phase 1 (requirement 73).
    NoPhase1,
    /// Mode config without the address that was asked for.
    NoAddress,
}

/// Why peers do not come together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerIncompatible {
    /// No connection is meant for this peer.
    NoConnection,
    /// No proposal in common.
    NoProposal,
    /// The peer's last messages make no sense: as a rule, it has another pre-shared key.
    PreSharedKey,
    /// The peer is not who it must be.
    Identity,
    /// The peer's certificate is not believed; why.
    Certificate(String),
    /// No child of the connection has this traffic, or this mode.
    Traffic,
    /// The user whose name or password is not right (XAUTH).
    User(String),
    /// The peer's traffic is not that of the address which it was given.
    Address,
    /// Aggressive mode, which the connection does not allow, or the other way.
    Exchange,
    /// IKE of another version.
    Version(u8),
}

/// What is wrong on this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// The data plane has no SPI left.
    NoSpi,
    /// A key could not be made or used.
    Crypto,
    /// The connection's certificates or their key cannot be used.
    Credentials,
    /// No own certificate of the connection is within its validity: which, and what is wrong with the first.
    OwnCertificate(String),
    /// The connection has no address to start at.
    NoAddress,
    /// Only the peer can begin: its user has to prove who they are.
    OnlyPeer,
    /// All addresses of the pool are in use.
    PoolExhausted,
    /// The connection, or the child, is not configured.
    NotConfigured,
    /// The child's selector cannot be said in quick mode, which knows one range and one port a side.
    Selector,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidMessage(what) => write!(f, "invalid message: {what:?}"),
            Error::PeerMisbehaved(what) => write!(f, "the peer broke the protocol: {what:?}"),
            Error::PeerIncompatible(what) => write!(f, "nothing in common: {what:?}"),
            Error::PeerRefused(kind) => match notification::name(*kind) {
                Some(name) => write!(f, "the peer refused: {name}"),
                None => write!(f, "the peer refused: notification {kind}"),
            },
            Error::Local(what) => write!(f, "here: {what:?}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<InvalidMessage> for Error {
    fn from(reason: InvalidMessage) -> Self {
        Error::InvalidMessage(reason)
    }
}

impl From<PeerMisbehaved> for Error {
    fn from(reason: PeerMisbehaved) -> Self {
        Error::PeerMisbehaved(reason)
    }
}

impl From<PeerIncompatible> for Error {
    fn from(reason: PeerIncompatible) -> Self {
        Error::PeerIncompatible(reason)
    }
}

impl From<Local> for Error {
    fn from(reason: Local) -> Self {
        Error::Local(reason)
    }
}

impl Error {
    /// The notification that tells a peer (RFC 2408 3.14.1).
    pub(crate) fn notification(&self) -> u16 {
        match self {
            Error::InvalidMessage(what) => match what {
                InvalidMessage::Doi => notify::DOI_NOT_SUPPORTED,
                InvalidMessage::Situation => notify::SITUATION_NOT_SUPPORTED,
                InvalidMessage::Identification => notify::INVALID_ID_INFORMATION,
                InvalidMessage::Certificate => notify::INVALID_CERTIFICATE,
                _ => notify::PAYLOAD_MALFORMED,
            },
            Error::PeerMisbehaved(what) => match what {
                PeerMisbehaved::Hash => notify::INVALID_HASH_INFORMATION,
                PeerMisbehaved::Signature => notify::INVALID_SIGNATURE,
                PeerMisbehaved::KeyExchange => notify::INVALID_KEY_INFORMATION,
                PeerMisbehaved::ChangedProposal => notify::NO_PROPOSAL_CHOSEN,
                PeerMisbehaved::ChangedIdentities => notify::INVALID_ID_INFORMATION,
                PeerMisbehaved::NoPhase1 | PeerMisbehaved::NoAddress => notify::PAYLOAD_MALFORMED,
            },
            Error::PeerIncompatible(what) => match what {
                PeerIncompatible::Identity
                | PeerIncompatible::PreSharedKey
                | PeerIncompatible::User(_) => notify::AUTHENTICATION_FAILED,
                PeerIncompatible::Certificate(_) => notify::INVALID_CERTIFICATE,
                PeerIncompatible::Traffic | PeerIncompatible::Address => {
                    notify::INVALID_ID_INFORMATION
                }
                PeerIncompatible::Version(_) => notify::INVALID_MAJOR_VERSION,
                PeerIncompatible::NoConnection
                | PeerIncompatible::NoProposal
                | PeerIncompatible::Exchange => notify::NO_PROPOSAL_CHOSEN,
            },
            Error::PeerRefused(kind) => *kind,
            Error::Local(_) => notify::NO_PROPOSAL_CHOSEN,
        }
    }
}
