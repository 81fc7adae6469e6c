//! IKE for Portcullis, without I/O: bytes, time and randomness are arguments.
//!
//! An [`Endpoint`] holds all IKE SAs of a gateway. It takes datagrams, commands and the passing of time, and gives
//! datagrams, events (SAs to install above all) and work for other threads.
#![forbid(unsafe_code)]

mod api;
mod backoff;
mod child;
mod connections;
mod cookie;
mod core;
pub mod crypto;
mod endpoint;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod header;
mod leases;
mod peer_id;
mod proposal;
mod retransmit;
pub mod show;
mod source;
mod traffic;
mod v1;
mod wire;
mod work;

pub use api::{
    AddSa, ChildId, CloseReason, Command, Datagram, Established, Event, Failure, IkeId, SpiSource,
    Time, Transmit,
};
pub use cookie::CookieKey;
pub use crypto::RandomSource;
pub use endpoint::{Endpoint, Peer, Settings};
pub use error::{Error, InvalidMessage, Local, PeerIncompatible, PeerMisbehaved};
pub use proposal::ipsec::has_names as ikev1_has_names;
pub use work::{Work, WorkDone};
