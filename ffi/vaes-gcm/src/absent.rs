//! What there is where the kernel cannot be built: nothing.

use std::convert::Infallible;

use crate::{EspPacket, Unsupported};

/// Proof that this CPU has what is needed. There is none in this build.
#[derive(Clone, Copy, Debug)]
pub struct Kernel(Infallible);

/// The key of an SA. There is none in this build.
#[derive(Debug)]
pub struct Key(Infallible);

impl Key {
    /// Cannot be called.
    pub fn prefetch(&self, _payload: usize) {
        match self.0 {}
    }
}

impl Kernel {
    /// Always the error: use another engine.
    pub fn new() -> Result<Self, Unsupported> {
        Err(Unsupported::Build)
    }

    /// Cannot be called.
    pub fn key(&self, _key: &[u8], _salt: [u8; 4], _icv_len: usize) -> Option<Key> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn seal(&self, _packets: &mut [EspPacket<'_>]) {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn open(&self, _packets: &mut [EspPacket<'_>]) {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn seal_burst<'p>(&self, _packets: impl Iterator<Item = Option<EspPacket<'p>>>) -> u64 {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn open_burst<'p>(&self, _packets: impl Iterator<Item = Option<EspPacket<'p>>>) -> u64 {
        match self.0 {}
    }
}
