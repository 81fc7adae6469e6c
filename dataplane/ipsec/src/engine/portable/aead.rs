//! The combined modes that encrypt, with the nonce that ESP gives them.

use portcullis_config::Cipher;

use super::{Ccm, ChaCha, Gcm};
use crate::engine::KeyError;

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
            Aead::Ccm { ccm, salt } => ccm.seal(&nonce(salt, iv)?, aad, data, icv),
            Aead::ChaCha { chacha, salt } => chacha.seal(&nonce(salt, iv)?, aad, data, icv),
        })
    }

    /// Verifies the ICV in constant time and decrypts `data` in place.
    pub(super) fn open(&self, iv: &[u8], aad: &[u8], data: &mut [u8], icv: &[u8]) -> Option<bool> {
        Some(match self {
            Aead::Gcm { gcm, salt } => gcm.open(&nonce(salt, iv)?, aad, data, icv),
            Aead::Ccm { ccm, salt } => ccm.open(&nonce(salt, iv)?, aad, data, icv),
            Aead::ChaCha { chacha, salt } => chacha.open(&nonce(salt, iv)?, aad, data, icv),
        })
    }
}

/// The salt is the end of the keying material (RFC 4106 8.1, RFC 4309 7.1, RFC 4543 5.4, RFC 7634 2).
pub(super) fn salted<const N: usize>(keymat: &[u8]) -> Result<(&[u8], [u8; N]), KeyError> {
    let (key, salt) = keymat.split_last_chunk().ok_or(KeyError::Length)?;
    Ok((key, *salt))
}

/// Salt and explicit IV; `None` unless they fill the nonce.
pub(super) fn nonce<const N: usize>(salt: &[u8], iv: &[u8]) -> Option<[u8; N]> {
    let mut nonce = [0; N];
    let (head, tail) = nonce.split_at_mut_checked(salt.len())?;
    head.copy_from_slice(salt);
    (tail.len() == iv.len()).then(|| tail.copy_from_slice(iv))?;
    Some(nonce)
}
