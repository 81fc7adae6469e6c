//! What goes into an [`Endpoint`](crate::Endpoint) and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Connection, Direction, Identity, SaConfig, Secret, Selector};

use crate::endpoint::Peer;
use crate::show::Mismatch;

/// Time since an origin of the caller's choice; it never goes back.
pub type Time = Duration;

/// An IKE SA, as long as the endpoint lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IkeId(pub(crate) u64);

impl IkeId {
    /// The IKE SA with this number.
    pub const fn with_number(number: u64) -> Self {
        IkeId(number)
    }

    /// The number, for logs.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A pair of SAs (or of bundles) that one quick mode made, as long as the endpoint lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(pub(crate) u64);

impl ChildId {
    /// The child with this number.
    pub const fn with_number(number: u64) -> Self {
        ChildId(number)
    }

    /// The number, for logs.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A UDP payload that came in on port 500 or 4500, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Our address and port.
    pub local: SocketAddr,
    /// The sender's.
    pub remote: SocketAddr,
    /// The payload.
    pub bytes: &'a [u8],
}

/// A UDP payload to send, as it is (the non-ESP marker is there where it belongs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Our address and port.
    pub local: SocketAddr,
    /// The receiver's.
    pub remote: SocketAddr,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// Where SPIs of inbound SAs come from: the data plane chooses them, so that they lead it to the SA.
/// They must be unpredictable and unique for as long as they are reserved.
pub trait SpiSource: Send {
    /// Reserves an SPI for an SA that will arrive at `destination` under `protocol` (50 or 51).
    fn reserve(&mut self, protocol: u8, destination: IpAddr) -> Option<u32>;
    /// Gives back one for which no [`Event::AddSa`] was made. An installed one is free when its SA is removed.
    fn release(&mut self, spi: u32);
}

/// What the endpoint is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// These are the connections from now on. What is no longer among them, or is changed, is closed; where only
    /// children changed, only they are.
    Configure(Vec<Arc<Connection>>),
    /// All IKE SAs and exchanges are forgotten, and nobody is told; the children go on.
    Restart,
    /// Starts a connection: one of its children, or all.
    Initiate {
        /// Which connection.
        connection: String,
        /// Which of its children; `None`: all.
        child: Option<String>,
    },
    /// A packet needs an SA that is not there.
    Acquire {
        /// Which connection.
        connection: String,
        /// Which of its children.
        child: String,
        /// The packet's address on our side.
        local: IpAddr,
        /// Its address on the peer's side.
        remote: IpAddr,
    },
    /// Closes a connection: deletes its SAs at both ends.
    Terminate {
        /// Which connection.
        connection: String,
    },
    /// Deletes the SAs that one peer has of a connection, at both ends.
    Dismiss {
        /// Which connection.
        connection: String,
        /// Which peer.
        peer: Peer,
    },
    /// An address is no longer ours: what begins or ends there is deleted at both ends.
    LeaveAddress(IpAddr),
    /// Renews the phase 1 of a connection now.
    RekeyIke {
        /// Which connection.
        connection: String,
    },
    /// An SA of this child reached a soft limit: it is replaced.
    SoftExpired(ChildId),
    /// An SA of this child reached a hard limit: it is deleted.
    HardExpired(ChildId),
    /// An authentic packet of this child came from elsewhere: the peer's NAT has given it another address or port.
    Moved {
        /// Which child.
        child: ChildId,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// A packet came in for an SPI that nobody has. If it came from a peer, that one is told that the SA is gone: a
    /// delete is one message, and may have been lost.
    UnknownSpi {
        /// 50 or 51.
        protocol: u8,
        /// The packet's.
        spi: u32,
        /// Where it came from.
        remote: IpAddr,
    },
    /// How many packets this child's SAs have carried so far: for dead peer detection, idle SAs, and to tell that
    /// the peer uses the replacement. To be told every second or so for children whose figures changed.
    Traffic {
        /// Which child.
        child: ChildId,
        /// Packets that came in, authentic ones.
        received: u64,
        /// Packets that went out.
        sent: u64,
    },
}

/// What the endpoint tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Phase 1 stands.
    Established(Established),
    /// A phase 1 is gone. Its children live on (requirement 75) unless they are removed by their own events.
    Closed {
        /// Which IKE SA.
        ike: IkeId,
        /// Its connection.
        connection: String,
        /// Why.
        reason: CloseReason,
    },
    /// A negotiation ended without result; held packets of this child can be dropped.
    Failed(Failure),
    /// Install these. The inbound SAs of a child come before the peer can use them, the outbound ones once the
    /// peer is ready: two events with the same child.
    AddSa(Box<AddSa>),
    /// Remove both directions of a child.
    RemoveSa {
        /// Which child.
        child: ChildId,
        /// Why.
        reason: CloseReason,
    },
    /// The peer's NAT gave it another address or port (authenticated): these children's SAs follow.
    PeerMoved {
        /// Which children.
        children: Vec<ChildId>,
        /// Our address and port.
        local: SocketAddr,
        /// The peer's from now on.
        remote: SocketAddr,
    },
    /// The peer wants SAs to live for less than it gets by asking: it would have us renew without end.
    ShortLife {
        /// Name of the connection.
        connection: String,
        /// Name of the child in it; `None` for phase 1.
        child: Option<String>,
        /// What the peer wants.
        seconds: Option<u64>,
        /// What the peer wants.
        kilobytes: Option<u64>,
    },
    /// The key with which an IKE SA encrypts, in the form that Wireshark wants. Only if the settings ask for it.
    KeyLog {
        /// Names the IKE SA in Wireshark's table.
        initiator_cookie: [u8; 8],
        /// The key of RFC 2409 appendix B.
        encryption_key: Secret,
    },
}

/// An IKE SA that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// Which IKE SA.
    pub ike: IkeId,
    /// Its connection.
    pub connection: String,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// What the peer has proved to be.
    pub remote_id: Identity,
    /// The user behind the peer, who has proved it by XAUTH.
    pub user: Option<String>,
    /// The IKE SA that this one renews.
    pub replaces: Option<IkeId>,
}

/// SAs of one direction of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddSa {
    /// Which child.
    pub child: ChildId,
    /// The IKE SA that negotiated it.
    pub ike: IkeId,
    /// Name of the connection.
    pub connection: String,
    /// Name of the child in it.
    pub name: String,
    /// Direction of all of `sas`.
    pub direction: Direction,
    /// One SA, or ESP before AH: innermost first.
    pub sas: Vec<SaConfig>,
    /// Traffic that was agreed on.
    pub selector: Selector,
    /// The child that this one takes over from. It stays until its own `RemoveSa`.
    pub replaces: Option<ChildId>,
}

/// A negotiation without result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Time,
    /// The connection, as far as it is known.
    pub connection: Option<String>,
    /// The child, if phase 2 failed, or would have been next.
    pub child: Option<String>,
    /// The peer.
    pub remote: SocketAddr,
    /// Why.
    pub reason: CloseReason,
    /// What the proposals differed in, if that was it.
    pub mismatches: Vec<Mismatch>,
}

/// Why something ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// An operator asked for it, or the connection is no longer configured.
    Terminated,
    /// Replaced by a new one.
    Replaced,
    /// The peer deleted it.
    DeletedByPeer,
    /// The peer began anew: it holds none of the SAs from before (INITIAL-CONTACT, RFC 2407 4.6.3.3).
    InitialContact,
    /// Its time or its volume is over.
    Expired,
    /// No traffic for as long as the policy allows.
    Idle,
    /// The peer does not answer, whether in an exchange or to dead peer detection.
    PeerDead,
    /// The peer never said a word: it may not know IKE at all.
    NoAnswer,
    /// Half-open SAs are too many.
    Overloaded,
    /// IKE began anew.
    Restarted,
    /// What went wrong, and whose fault it was.
    Error(crate::Error),
}
