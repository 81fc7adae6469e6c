//! ChaCha20-Poly1305 (RFC 8439) with the interface of the other AEADs.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

use crate::engine::KeyError;

/// ChaCha20-Poly1305 under one key.
pub struct ChaCha(ChaCha20Poly1305);

impl ChaCha {
    /// Takes a key of 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, KeyError> {
        ChaCha20Poly1305::new_from_slice(key)
            .map(ChaCha)
            .map_err(|_| KeyError::Length)
    }

    /// Encrypts `data` in place and writes the tag of 16 bytes.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &mut [u8]) -> bool {
        let Ok(tag) = <&mut [u8; 16]>::try_from(tag) else {
            return false;
        };
        self.0
            .encrypt_inout_detached(nonce.into(), aad, data.into())
            .map(|full| *tag = full.into())
            .is_ok()
    }

    /// Verifies the tag of 16 bytes in constant time, then decrypts `data` in place.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        let Ok(tag) = <&[u8; 16]>::try_from(tag) else {
            return false;
        };
        self.0
            .decrypt_inout_detached(nonce.into(), aad, data.into(), tag.into())
            .is_ok()
    }
}
