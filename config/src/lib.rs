//! The policy model of Portcullis and its text form.
//!
//! A [`Policy`] is what an operator writes and what IKE adds to: ports, addresses, routes, the ordered
//! security policy database (RFC 4301 4.4.1) and security associations. This crate reads its own text and
//! nothing else: no sockets, no devices, no clock.
#![forbid(unsafe_code)]

mod model;
mod selector;
mod suite;

pub use model::*;
pub use selector::*;
pub use suite::*;
