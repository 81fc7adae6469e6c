//! RFC 4301, 4302 and 4303 over byte buffers.
//!
//! Nothing here knows DPDK, a socket or a clock: packets are [`PacketBuf`]s, what leaves goes through
//! [`Io`], time is an argument, ciphers stand behind [`engine::Engine`].
#![forbid(unsafe_code)]

mod account;
pub mod ah;
pub mod arp;
pub mod aside;
pub mod buffer;
pub mod checksum;
pub mod children;
pub mod command;
pub mod counters;
mod crypto_failure;
pub mod drop_reason;
mod emerge;
pub mod engine;
pub mod envelope;
pub mod esp;
pub mod ethernet;
mod event;
mod express;
pub mod fib;
mod first;
pub mod flow;
mod forward;
pub mod fragment;
pub mod hold;
pub mod icmp;
mod inbound;
mod intervals;
pub mod ip;
mod local;
pub mod nat_checksum;
pub mod ndp;
pub mod neighbor;
pub mod offload;
mod outbound;
mod peer_address;
pub mod pipeline;
mod plain;
mod protect;
pub mod reassembly;
pub mod replay;
pub mod sa;
pub mod sad;
pub mod spd;
pub mod tunnel;
mod unsecured;

pub use buffer::{InterfaceId, Io, NoRoom, PacketBuf};
pub use drop_reason::DropReason;
