//! The cryptography of IKE. Randomness and time are arguments; keys are wiped, hidden in debug output, and compared in
//! constant time.
//!
//! Diffie-Hellman and signatures take a millisecond or more: their types are `Send`, for a pool outside.

pub mod certificate;
mod chain;
pub mod cipher;
pub mod credentials;
pub mod dh;
mod distinguished_name;
pub mod hash;
pub mod keymat;
mod modp_primes;
pub mod password;
pub mod pkcs7;
pub mod signature;

/// Source of random bytes, fit for keys.
pub trait RandomSource {
    /// Fills all of it.
    fn fill(&mut self, bytes: &mut [u8]);
}
