//! AES-GCM (NIST SP 800-38D) as ESP uses it (RFC 4106). It works on vectors of four blocks, several vectors side by
//! side, and hashes one group of vectors while it enciphers the next:
//!
//! * [`ghash`] has the arithmetic of GF(2^128), [`counter`] the counter blocks, [`tag`] the tags,
//! * [`key`] expands keys: round keys and powers of H; of a wide key more powers, and what the first AES round makes of
//!   each counter; [`seed`] expands them for a burst,
//! * [`lane`] tells the packets of a burst apart by size, [`short`] and [`long`] seal and open them.

mod counter;
mod ghash;
mod kernel;
mod key;
mod known_answer;
mod lane;
mod long;
mod row;
mod seed;
mod short;
mod tag;

pub use kernel::{Form, Kernel};
pub use key::{Key, Schedule, Wide};
pub use seed::{Room, Seed};
