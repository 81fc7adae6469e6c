//! IKE for Portcullis, without I/O: bytes, time and randomness are arguments.
//!
//! So far this crate reads the one header that IKEv1 and IKEv2 share, by which the slow path tells whether what
//! comes on UDP 500 and 4500 is IKE at all. The exchanges are not here yet.
#![forbid(unsafe_code)]

pub mod crypto;
pub mod header;
