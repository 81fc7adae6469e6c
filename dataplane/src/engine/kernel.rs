//! AES-GCM by our own kernel, many packets at a time.

use portcullis_config::{Cipher, Transform};
use portcullis_ipsec::engine::KeyError;
use portcullis_ipsec::engine::parts::salted;
use vaes_gcm::Kernel;

pub(super) use vaes_gcm::{EspPacket as Packet, Key};

/// The kernel has an algorithm for it.
pub(super) fn has(transform: Transform) -> bool {
    matches!(transform, Transform::Esp(Cipher::AesGcm(..), None))
}

/// The kernel on a CPU that has its instructions.
#[derive(Debug)]
pub(super) struct KernelEngine(Kernel);

impl KernelEngine {
    pub(super) fn new() -> Result<Self, String> {
        let kernel = Kernel::new().map_err(|error| error.to_string())?;
        Ok(KernelEngine(kernel))
    }

    /// The caller has checked the length of the keying material; there is no separate integrity key.
    pub(super) fn key(
        &self,
        transform: Transform,
        keymat: &[u8],
        _integrity_key: &[u8],
    ) -> Result<Key, KeyError> {
        let Transform::Esp(Cipher::AesGcm(_, icv), None) = transform else {
            return Err(KeyError::Unsupported);
        };
        let (key, salt) = salted(keymat)?;
        let key = self.0.key(key, salt, icv.bytes());
        key.ok_or(KeyError::Length)
    }

    /// Seals those of up to [`BURST`](super::BURST) packets that are there; bit i of the answer is set if the i-th is done.
    #[inline(always)]
    pub(super) fn seal<'p>(&self, packets: impl Iterator<Item = Option<Packet<'p>>>) -> u64 {
        self.0.seal_burst(packets)
    }

    /// Opens them; bit i of the answer is set if the i-th is authentic.
    #[inline(always)]
    pub(super) fn open<'p>(&self, packets: impl Iterator<Item = Option<Packet<'p>>>) -> u64 {
        self.0.open_burst(packets)
    }
}
