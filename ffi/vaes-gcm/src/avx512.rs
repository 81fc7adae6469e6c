//! The kernel. It works on vectors of four blocks, several vectors side by side, and hashes one group of vectors while
//! it enciphers the next:
//!
//! * [`vector`] is the only place that reads and writes memory by vectors, and never outside a slice,
//! * [`ghash`] has the arithmetic of GF(2^128), [`aes`] the rounds, [`counter`] the counter blocks, [`tag`] the tags,
//! * [`key`] expands keys: round keys, powers of H, and what the first AES round makes of each counter,
//! * [`lane`] tells the packets of a burst apart by size, [`short`], [`long`] and [`jumbo`] seal and open them.
// What needs a compiler newer than the oldest that is supported is here, and build.rs sees to it that it gets one.
#![allow(clippy::incompatible_msrv)]

mod aes;
mod counter;
mod ghash;
mod jumbo;
mod kernel;
mod key;
mod known_answer;
mod lane;
mod long;
mod row;
mod short;
mod tag;
mod vector;

pub use kernel::Kernel;
pub use key::Key;
