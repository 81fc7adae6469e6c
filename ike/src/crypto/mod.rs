//! The cryptography of IKE. Randomness is an argument; keys are wiped, hidden in debug output, and compared in
//! constant time.
//!
//! Diffie-Hellman and signatures take a millisecond or more: their types are `Send`, for a pool outside.

pub mod cipher;
pub mod dh;
pub mod hash;
pub mod keymat;
mod modp_primes;

/// Source of random bytes, fit for keys.
pub trait RandomSource {
    /// Fills all of it.
    fn fill(&mut self, bytes: &mut [u8]);
}
