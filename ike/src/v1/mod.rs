//! IKEv1 (RFC 2409), one file for each exchange.

pub(crate) mod aggressive_mode;
mod authentication;
mod dead_peer;
mod fragmentation;
pub(crate) mod ike_sa;
pub(crate) mod informational;
mod keys;
pub(crate) mod life;
pub(crate) mod main_mode;
pub(crate) mod message;
mod mode_config;
mod nat_traversal;
pub(crate) mod notice;
mod phase1;
pub(crate) mod quick_mode;
mod transaction;
pub(crate) mod wrong_passwords;
pub(crate) mod xauth;

/// Exchange types (RFC 2408 3.1, RFC 2409 appendix A).
pub(crate) mod exchange {
    pub(crate) const IDENTITY_PROTECTION: u8 = 2;
    pub(crate) const AGGRESSIVE: u8 = 4;
    pub(crate) const INFORMATIONAL: u8 = 5;
    /// draft-dukes-ike-mode-cfg-02 3.1.
    pub(crate) const TRANSACTION: u8 = 6;
    pub(crate) const QUICK_MODE: u8 = 32;
}
