//! The combined modes that encrypt, with the nonce that ESP gives them.

use portcullis_config::Cipher;

use super::{Ccm, ChaCha, Gcm};
use crate::engine::KeyError;
use crate::engine::parts::{nonce, salted};

/// Key and salt of a combined mode.
pub(super) enum Aead {
    Gcm { gcm: Gcm, salt: [u8; 4] },
    Ccm { ccm: Ccm, salt: [u8; 3] },
    ChaCha { chacha: ChaCha, salt: [u8; 4] },
}

impl Aead {
    /// Splits the keying material and expands the key; fails for a cipher that is not a combined mode.
    pub(super) fn new(cipher: Cipher, keymat: &[u8]) -> Result<Self, KeyError> {
        match cipher {
            Cipher::AesGcm(..) => {
                let (key, salt) = salted(keymat)?;
                Gcm::new(key).map(|gcm| Aead::Gcm { gcm, salt })
            }
            Cipher::AesCcm(..) => {
                let (key, salt) = salted(keymat)?;
                Ccm::new(key).map(|ccm| Aead::Ccm { ccm, salt })
            }
            Cipher::ChaCha20Poly1305 => {
                let (key, salt) = salted(keymat)?;
                ChaCha::new(key).map(|chacha| Aead::ChaCha { chacha, salt })
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// Encrypts `data` in place and writes the ICV.
    pub(super) fn seal(
        &self,
        iv: &[u8],
        aad: &[u8],
        data: &mut [u8],
        icv: &mut [u8],
    ) -> Option<bool> {
        Some(match self {
            Aead::Gcm { gcm, salt } => gcm.seal(&nonce(salt, iv)?, aad, data, icv),
            Aead::Ccm { ccm, salt } => ccm.seal::<11>(&nonce(salt, iv)?, aad, data, icv),
            Aead::ChaCha { chacha, salt } => chacha.seal(&nonce(salt, iv)?, aad, data, icv),
        })
    }

    /// Verifies the ICV in constant time and decrypts `data` in place.
    pub(super) fn open(&self, iv: &[u8], aad: &[u8], data: &mut [u8], icv: &[u8]) -> Option<bool> {
        Some(match self {
            Aead::Gcm { gcm, salt } => gcm.open(&nonce(salt, iv)?, aad, data, icv),
            Aead::Ccm { ccm, salt } => ccm.open::<11>(&nonce(salt, iv)?, aad, data, icv),
            Aead::ChaCha { chacha, salt } => chacha.open(&nonce(salt, iv)?, aad, data, icv),
        })
    }
}
