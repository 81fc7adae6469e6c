//! What IKE needs of AWS-LC and no safe crate gives: Diffie-Hellman whose private keys the caller supplies, so that
//! randomness is an argument, and signatures over bare hashes, as IKEv1 makes them (RFC 2409 5.1).
//!
//! Everything that touches a private key takes a time that does not depend on it. Keys are [`Send`]: the operations
//! may run on any thread.

pub mod elliptic;
mod handle;
pub mod modp;
pub mod signature;
pub mod x25519;

use std::fmt;

use zeroize::Zeroizing;

/// What a key agreement yields.
pub type SharedSecret = Zeroizing<Vec<u8>>;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The private key is not in its range.
    PrivateKey,
    /// The peer's public value is out of range, not on the curve, or yields a secret that anybody knows.
    PublicValue,
    /// The encoding is none of a key, or of a kind that is not supported.
    KeyEncoding,
    /// The signature is not by this key over this hash.
    Signature,
    /// The hash does not fit the key.
    HashLength,
    /// Out of memory, or a fault in the library.
    Internal,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::PrivateKey => "the private key is out of range",
            Error::PublicValue => "the peer's public value is not valid",
            Error::KeyEncoding => "no RSA or ECDSA key in a supported encoding",
            Error::Signature => "the signature is wrong",
            Error::HashLength => "the hash does not fit the key",
            Error::Internal => "the cryptographic library failed",
        })
    }
}

impl std::error::Error for Error {}
