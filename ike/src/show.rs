//! What `show` prints: the state at a moment, as plain values.

use std::net::{IpAddr, SocketAddr};

use portcullis_config::{Identity, IkeProposal, Mode, Selector, Transform};

use crate::{ChildId, Failure, IkeId, Time};

/// Everything at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// IKE SAs, oldest first.
    pub ikes: Vec<IkeSnapshot>,
    /// Children, oldest first.
    pub children: Vec<ChildSnapshot>,
    /// The latest negotiations that failed, oldest first.
    pub failures: Vec<Failure>,
    /// What was counted.
    pub counters: Counters,
}

/// An IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeSnapshot {
    /// Which.
    pub id: IkeId,
    /// Its connection, once it is known.
    pub connection: Option<String>,
    /// What it waits for, in a few words.
    pub state: &'static str,
    /// We sent the first message.
    pub initiator: bool,
    /// Initiator's and responder's cookies.
    pub cookies: [[u8; 8]; 2],
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// What the peer has proved to be.
    pub remote_id: Option<Identity>,
    /// The user behind the peer, who has proved it by XAUTH.
    pub user: Option<String>,
    /// Addresses that mode config has given: the peer's, or ours.
    pub addresses: Vec<IpAddr>,
    /// What protects it.
    pub proposal: Option<IkeProposal>,
    /// A NAT is between us (or we act as if): in front of us, in front of the peer.
    pub nat: [bool; 2],
    /// When it was established.
    pub established: Option<Time>,
    /// When it will be renewed.
    pub renewal: Option<Time>,
    /// Quick modes that it has served.
    pub quick_modes: u32,
}

/// A child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSnapshot {
    /// Which.
    pub id: ChildId,
    /// Its connection.
    pub connection: String,
    /// Its name in the connection.
    pub name: String,
    /// What it waits for, in a few words.
    pub state: &'static str,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Traffic that was agreed on.
    pub selector: Selector,
    /// Algorithms with inbound and outbound SPI, innermost first.
    pub sas: Vec<(Transform, [u32; 2])>,
    /// ESP in UDP.
    pub udp: bool,
    /// Extended sequence numbers.
    pub esn: bool,
    /// When it was installed.
    pub installed: Time,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that came in.
    pub datagrams: u64,
    /// Datagrams that were no IKE message.
    pub invalid: u64,
    /// Messages of no IKE SA.
    pub unknown_sa: u64,
    /// Messages that were not authentic.
    pub unauthentic: u64,
    /// Messages that came again.
    pub retransmissions_received: u64,
    /// Messages sent again.
    pub retransmissions_sent: u64,
    /// First messages refused for one source's sake or for the total's.
    pub refused: u64,
    /// Half-open IKE SAs given up for newer ones.
    pub evicted: u64,
    /// Phase 1 negotiations that succeeded.
    pub established: u64,
    /// Negotiations that failed.
    pub failed: u64,
    /// Users who proved themselves by XAUTH.
    pub users: u64,
    /// Passwords that were not right.
    pub wrong_passwords: u64,
    /// Addresses that a pool had not.
    pub pool_exhausted: u64,
    /// Children made.
    pub children: u64,
    /// Children that replaced others.
    pub rekeys: u64,
}

/// Why one proposal of the peer was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The peer's proposal.
    pub offered: String,
    /// For each of ours, what differed.
    pub differences: Vec<Difference>,
}

/// How a proposal differs from one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Our proposal.
    pub ours: String,
    /// Name of the attribute.
    pub attribute: &'static str,
    /// The peer's value.
    pub offered: String,
    /// Ours.
    pub expected: String,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.offered)?;
        for (index, difference) in self.differences.iter().enumerate() {
            let sign = if index == 0 { ": " } else { "; " };
            write!(f, "{sign}{difference}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference {
            ours,
            attribute,
            offered,
            expected,
        } = self;
        write!(f, "{attribute} {offered}, not {expected} of {ours}")
    }
}
