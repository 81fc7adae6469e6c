//! What there is where the powers cannot be built: nothing.

use std::convert::Infallible;

use zeroize::Zeroizing;

/// There is none in this build.
#[derive(Debug)]
pub(crate) struct Field<const N: usize>(Infallible);

impl<const N: usize> Field<N> {
    pub(crate) fn new(_prime: &[u8]) -> Option<Self> {
        None
    }

    pub(crate) fn powers(
        &self,
        _bases: [&[u8]; 2],
        _exponent: &[u8],
        _length: usize,
    ) -> [Zeroizing<Vec<u8>>; 2] {
        match self.0 {}
    }
}
