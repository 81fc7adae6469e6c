//! Proposals: ours as they are offered, the peer's as they are understood, and the choice between them.

mod describe;
pub(crate) mod ike;
pub(crate) mod ipsec;
pub(crate) mod lifetime;

pub(crate) use describe::{compare, named};
