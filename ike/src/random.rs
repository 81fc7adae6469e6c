//! Randomness is an argument.

/// A cryptographically secure source of random bytes.
pub trait RandomSource {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}
