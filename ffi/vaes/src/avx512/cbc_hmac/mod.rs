//! AES-CBC (RFC 3602) with HMAC (RFC 2104), thirty-two packets side by side: each block of a packet waits for the one
//! before, in encryption and in hashing.
//!
//! * [`words`] has the arithmetic and [`rounds`] the order of [`sha1`] and [`sha256`], which [`hash`] chooses from,
//! * [`chain`] encrypts and decrypts, [`hmac`] makes tags, [`few`] those of packets that are too few to go side by side,
//! * [`beside`] encrypts between the rounds of a hash function,
//! * [`key`] expands keys, [`lane`] finds the parts of each packet, [`kernel`] seals and opens them.

mod beside;
mod chain;
mod few;
mod hash;
mod hmac;
mod kernel;
mod key;
mod known_answer;
mod lane;
mod rounds;
mod sha1;
mod sha256;
mod words;

pub use kernel::Kernel;
pub use key::Key;
