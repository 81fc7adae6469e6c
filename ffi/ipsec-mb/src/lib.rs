//! Safe bursts of AES-GCM over Intel's Multi-Buffer Crypto for IPsec Library, 1.3 or newer.
//!
//! A [`Manager`] belongs to one worker and picks the code for its CPU; keys belong to nobody. The direct calls
//! of the library are used rather than its job queue: in 1.3 they are the faster of the two for GCM, and what
//! they return is complete, so no packet ever waits in a lane.
#![cfg(target_arch = "x86_64")]

mod gcm;
mod known_answer;
mod manager;
mod sys;

pub use gcm::{GcmJob, GcmKey, KeyLength};
pub use manager::{Error, Manager};
