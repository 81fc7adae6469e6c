//! The pipeline of two gateways on plain buffers: what RFC 4301, 4302 and 4303 demand of it, and what an attacker
//! on either side can try.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../rig/mod.rs"]
mod rig;

mod control;
mod forwarding;
mod fragments;
mod handoff;
mod hostile;
mod icmp;
mod journey;
mod lifetime;
mod lookaside;
mod negotiated;
mod pmtu;
mod policy;
mod refusal;
mod replay;
mod tables;
