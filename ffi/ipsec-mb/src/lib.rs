//! Safe bursts over Intel's Multi-Buffer Crypto for IPsec Library, 1.3 or newer.
//!
//! A [`Manager`] belongs to one worker and picks the code for its CPU; keys belong to nobody. Every call is
//! complete when it returns, so that no packet ever waits in a lane. Of the library's interfaces each algorithm
//! uses the fastest: GCM and GMAC its direct calls, AES-CBC, AES-CTR and the HMACs with SHA its synchronous bursts,
//! the others its job queue.
#![cfg(target_arch = "x86_64")]

mod aead;
mod cipher;
mod gcm;
mod job;
mod known_answer;
mod mac;
mod manager;
mod sys;

pub use aead::{Aead, AeadJob, AeadKey};
pub use cipher::{Cipher, CipherJob, CipherKey};
pub use gcm::{GcmJob, GcmKey, KeyLength, equal};
pub use mac::{Mac, MacJob, MacKey, Tag};
pub use manager::{Algorithm, Error, Manager};
