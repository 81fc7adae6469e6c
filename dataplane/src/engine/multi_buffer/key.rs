//! Keys, and which algorithms of the library a transform is made of.

use arrayvec::ArrayVec;
use ipsec_mb::{Aead, AeadKey, Algorithm, CipherKey, GcmKey, KeyLength, Mac, MacKey};
use portcullis_config::{AesKey, Cipher, Integrity, Transform};
use portcullis_ipsec::engine::KeyError;
use portcullis_ipsec::engine::parts::salted;
use portcullis_ipsec::engine::portable;

use super::MultiBuffer;

/// Key schedules of one SA.
pub(in crate::engine) enum Key {
    Gcm {
        key: GcmKey,
        salt: [u8; 4],
        icv: usize,
    },
    EspGmac {
        key: GcmKey,
        salt: [u8; 4],
    },
    Aead {
        key: AeadKey,
        salt: ArrayVec<u8, 4>,
        icv: usize,
    },
    EncryptThenMac {
        cipher: PlainCipher,
        auth: Auth,
    },
    AhMac(Auth),
    AhGmac {
        key: GcmKey,
        salt: [u8; 4],
    },
}

/// A cipher without integrity.
pub(in crate::engine) enum PlainCipher {
    Null,
    /// IV of so many bytes in the packet.
    Cbc(CipherKey, usize),
    /// RFC 3686 4: the counter block is this nonce, the IV, and a count from 1.
    Ctr(CipherKey, [u8; 4]),
}

/// An integrity algorithm: for many packets side by side, and for one.
pub(in crate::engine) struct Auth {
    pub(super) many: MacKey,
    pub(super) one: portable::Mac,
}

impl Auth {
    pub(super) fn icv_length(&self) -> usize {
        self.many.mac().tag_length()
    }
}

fn aes(key: AesKey) -> KeyLength {
    match key {
        AesKey::Aes128 => KeyLength::Aes128,
        AesKey::Aes192 => KeyLength::Aes192,
        AesKey::Aes256 => KeyLength::Aes256,
    }
}

fn mac(integrity: Integrity) -> Option<Mac> {
    Some(match integrity {
        Integrity::HmacMd5_96 => Mac::HmacMd5,
        Integrity::HmacSha1_96 => Mac::HmacSha1,
        Integrity::HmacSha2_256_128 => Mac::HmacSha256,
        Integrity::HmacSha2_384_192 => Mac::HmacSha384,
        Integrity::HmacSha2_512_256 => Mac::HmacSha512,
        Integrity::AesXcbc96 => Mac::AesXcbc,
        Integrity::AesCmac96 => Mac::AesCmac,
        Integrity::AesGmac(_) => return None,
    })
}

fn cipher(cipher: Cipher) -> Option<ipsec_mb::Cipher> {
    Some(match cipher {
        Cipher::AesCbc(key) => ipsec_mb::Cipher::AesCbc(aes(key)),
        Cipher::AesCtr(key) => ipsec_mb::Cipher::AesCtr(aes(key)),
        Cipher::DesCbc => ipsec_mb::Cipher::DesCbc,
        Cipher::TripleDesCbc => ipsec_mb::Cipher::TripleDesCbc,
        _ => return None,
    })
}

fn aead(cipher: Cipher) -> Option<Aead> {
    match cipher {
        // The library has no AES-192-CCM.
        Cipher::AesCcm(AesKey::Aes192, _) => None,
        Cipher::AesCcm(key, _) => Some(Aead::AesCcm(aes(key))),
        Cipher::ChaCha20Poly1305 => Some(Aead::ChaCha20Poly1305),
        _ => None,
    }
}

/// What of the library a transform needs; nothing if the library does not have it all.
pub(super) fn algorithms(transform: Transform) -> ArrayVec<Algorithm, 2> {
    let mut needed = ArrayVec::new();
    match transform {
        Transform::Esp(Cipher::AesGcm(key, _), None) => needed.push(Algorithm::Gcm(aes(key))),
        Transform::Esp(Cipher::AesGmac(key), None) | Transform::Ah(Integrity::AesGmac(key)) => {
            needed.push(Algorithm::Gmac(aes(key)));
        }
        Transform::Esp(combined, None) => needed.extend(aead(combined).map(Algorithm::Aead)),
        Transform::Esp(plain, Some(integrity)) => {
            if let (Some(mac), true) = (
                mac(integrity),
                cipher(plain).is_some() || plain == Cipher::Null,
            ) {
                needed.extend(cipher(plain).map(Algorithm::Cipher));
                needed.push(Algorithm::Mac(mac));
            }
        }
        Transform::Ah(integrity) => needed.extend(mac(integrity).map(Algorithm::Mac)),
    }
    needed
}

impl MultiBuffer {
    /// The caller has checked the lengths of the keys.
    pub(in crate::engine) fn key(
        &self,
        transform: Transform,
        cipher_key: &[u8],
        integrity_key: &[u8],
    ) -> Result<Key, KeyError> {
        Ok(match transform {
            Transform::Esp(Cipher::AesGcm(_, icv), None) => {
                let (key, salt) = salted(cipher_key)?;
                let key = self.manager.gcm_key(key).ok_or(KeyError::Unsupported)?;
                let icv = icv.bytes();
                Key::Gcm { key, salt, icv }
            }
            Transform::Esp(Cipher::AesGmac(_), None) => {
                let (key, salt) = self.gmac(cipher_key)?;
                Key::EspGmac { key, salt }
            }
            Transform::Esp(cipher, None) => self.aead(cipher, cipher_key)?,
            Transform::Esp(cipher, Some(integrity)) => Key::EncryptThenMac {
                cipher: self.plain(cipher, cipher_key)?,
                auth: self.auth(integrity, integrity_key)?,
            },
            Transform::Ah(Integrity::AesGmac(_)) => {
                let (key, salt) = self.gmac(integrity_key)?;
                Key::AhGmac { key, salt }
            }
            Transform::Ah(integrity) => Key::AhMac(self.auth(integrity, integrity_key)?),
        })
    }

    fn gmac(&self, keymat: &[u8]) -> Result<(GcmKey, [u8; 4]), KeyError> {
        let (key, salt) = salted(keymat)?;
        let key = self.manager.gmac_key(key).ok_or(KeyError::Unsupported)?;
        Ok((key, salt))
    }

    fn aead(&self, cipher: Cipher, keymat: &[u8]) -> Result<Key, KeyError> {
        let kind = aead(cipher).ok_or(KeyError::Unsupported)?;
        let split = keymat.split_at_checked(kind.key_length());
        let (key, salt) = split.ok_or(KeyError::Length)?;
        Ok(Key::Aead {
            key: self
                .manager
                .aead_key(kind, key)
                .ok_or(KeyError::Unsupported)?,
            salt: ArrayVec::try_from(salt).map_err(|_| KeyError::Length)?,
            icv: cipher.aead_icv_length().ok_or(KeyError::Unsupported)?,
        })
    }

    fn plain(&self, plain: Cipher, keymat: &[u8]) -> Result<PlainCipher, KeyError> {
        let expand = |key| {
            let kind = cipher(plain)?;
            self.manager.cipher_key(kind, key)
        };
        match plain {
            Cipher::Null => Ok(PlainCipher::Null),
            Cipher::AesCtr(_) => {
                let (key, nonce) = salted(keymat)?;
                expand(key).map(|key| PlainCipher::Ctr(key, nonce))
            }
            .ok_or(KeyError::Unsupported),
            _ => expand(keymat)
                .map(|key| PlainCipher::Cbc(key, plain.iv_length()))
                .ok_or(KeyError::Unsupported),
        }
    }

    fn auth(&self, integrity: Integrity, key: &[u8]) -> Result<Auth, KeyError> {
        let kind = mac(integrity).ok_or(KeyError::Unsupported)?;
        Ok(Auth {
            many: self
                .manager
                .mac_key(kind, key)
                .ok_or(KeyError::Unsupported)?,
            one: portable::Mac::new(integrity, key)?,
        })
    }
}
