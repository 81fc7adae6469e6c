//! RFC 4301, 4302 and 4303 over byte buffers.
//!
//! Nothing here knows DPDK, a socket or a clock: packets are [`PacketBuf`]s, what leaves goes through
//! [`Io`], time is an argument, ciphers stand behind [`engine::Engine`].
#![forbid(unsafe_code)]

pub mod arp;
pub mod buffer;
pub mod checksum;
pub mod drop_reason;
pub mod engine;
pub mod fragment;
pub mod icmp;
pub mod ip;
pub mod ndp;
pub mod neighbor;
pub mod reassembly;
pub mod tunnel;

pub use buffer::{InterfaceId, Io, NoRoom, PacketBuf};
pub use drop_reason::DropReason;
