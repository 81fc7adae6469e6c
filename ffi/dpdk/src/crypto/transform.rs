//! What a session does, and what a job says about its packet.

use std::ops::Range;

use dpdk_sys as sys;

/// Combined modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// AES-GCM with a nonce of 12 bytes.
    AesGcm,
    /// AES-CCM with a nonce of 11 bytes (RFC 4309 4).
    AesCcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// Ciphers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// None at all.
    Null,
    /// AES-CBC.
    AesCbc,
    /// AES-CTR with a counter block of 16 bytes.
    AesCtr,
    /// 3DES-CBC.
    TripleDesCbc,
}

/// Message authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// HMAC-SHA-1.
    HmacSha1,
    /// HMAC-SHA-256.
    HmacSha256,
    /// HMAC-SHA-384.
    HmacSha384,
    /// HMAC-SHA-512.
    HmacSha512,
    /// AES-XCBC-MAC.
    AesXcbc,
    /// AES-CMAC.
    AesCmac,
}

/// A session's algorithms and their keys.
#[derive(Clone, Copy)]
pub enum Algorithm<'a> {
    /// A combined mode.
    Aead {
        /// Which.
        aead: Aead,
        /// Key, without salt.
        key: &'a [u8],
        /// Bytes of associated data.
        aad: u8,
    },
    /// A cipher alone.
    Cipher(Cipher, &'a [u8]),
    /// Message authentication alone.
    Auth(Auth, &'a [u8]),
    /// A cipher, and authentication of what it makes.
    Chain {
        /// Cipher and key.
        cipher: (Cipher, &'a [u8]),
        /// Authentication and key.
        auth: (Auth, &'a [u8]),
    },
}

/// What a session is asked to do.
#[derive(Clone, Copy)]
pub struct Transform<'a> {
    /// Algorithms and keys.
    pub algorithm: Algorithm<'a>,
    /// True to encrypt and write the digest, false to verify it and decrypt.
    pub encrypt: bool,
    /// Bytes of the digest.
    pub digest: u8,
}

/// Where in a packet a job works, and with what. Offsets count from the packet's first byte.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// What is encrypted or decrypted in place.
    pub cipher: Range<usize>,
    /// What is authenticated, in sessions with [`Auth`].
    pub auth: Range<usize>,
    /// Where the digest is, or will be.
    pub digest: usize,
    /// Four bytes that are not in the packet and are authenticated behind it, in sessions with [`Auth`].
    pub tail: Option<[u8; 4]>,
    /// IV, nonce or counter block, at the front.
    pub iv: [u8; sys::SHIM_CRYPTO_IV_MAX as usize],
    /// Associated data, at the front.
    pub aad: [u8; 12],
}

/// What a session tells the jobs: sizes and kind, without keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) kind: u8,
    pub(crate) encrypt: bool,
    pub(crate) digest: u8,
    pub(crate) aad: u8,
    pub(crate) is_ccm: bool,
}

/// CCM's place for the nonce and for the associated data: DPDK keeps what is in front for the driver.
const CCM_NONCE_AT: usize = 1;
const CCM_AAD_AT: usize = 18;

impl Transform<'_> {
    pub(crate) fn form(&self) -> Form {
        let (kind, aad, is_ccm) = match self.algorithm {
            Algorithm::Aead { aead, aad, .. } => {
                (sys::SHIM_CRYPTO_DO_AEAD, aad, aead == Aead::AesCcm)
            }
            Algorithm::Cipher(..) => (sys::SHIM_CRYPTO_DO_CIPHER, 0, false),
            Algorithm::Auth(..) => (sys::SHIM_CRYPTO_DO_AUTH, 0, false),
            Algorithm::Chain { .. } => (sys::SHIM_CRYPTO_DO_BOTH, 0, false),
        };
        let digest = match self.algorithm {
            Algorithm::Cipher(..) => 0,
            _ => self.digest,
        };
        Form {
            // Four small constants.
            kind: kind as u8,
            encrypt: self.encrypt,
            digest,
            aad,
            is_ccm,
        }
    }

    /// The same for C, which reads the keys as long as `self` lives; `None` if a size cannot be.
    pub(crate) fn raw(&self) -> Option<sys::shim_crypto_transform> {
        let form = self.form();
        let mut raw = sys::shim_crypto_transform {
            kind: form.kind,
            encrypt: form.encrypt.into(),
            aad_len: form.aad.into(),
            digest_len: form.digest.into(),
            ..Default::default()
        };
        let too_long = u32::from(form.digest) > sys::SHIM_CRYPTO_DIGEST_MAX;
        if too_long || usize::from(form.aad) > Layout::default().aad.len() {
            return None;
        }
        match self.algorithm {
            Algorithm::Aead { aead, key, .. } => {
                (raw.cipher, raw.iv_len) = aead.raw();
                (raw.cipher_key, raw.cipher_key_len) = key_parts(key)?;
            }
            Algorithm::Cipher(cipher, key) => {
                (raw.cipher, raw.iv_len) = cipher.raw();
                (raw.cipher_key, raw.cipher_key_len) = key_parts(key)?;
            }
            Algorithm::Auth(auth, key) => {
                raw.auth = auth.raw();
                (raw.auth_key, raw.auth_key_len) = key_parts(key)?;
            }
            Algorithm::Chain { cipher, auth } => {
                (raw.cipher, raw.iv_len) = cipher.0.raw();
                (raw.cipher_key, raw.cipher_key_len) = key_parts(cipher.1)?;
                raw.auth = auth.0.raw();
                (raw.auth_key, raw.auth_key_len) = key_parts(auth.1)?;
            }
        }
        Some(raw)
    }
}

fn key_parts(key: &[u8]) -> Option<(*const u8, u16)> {
    Some((key.as_ptr(), u16::try_from(key.len()).ok()?))
}

impl Aead {
    /// DPDK's number, and the nonce's length.
    fn raw(self) -> (u32, u16) {
        match self {
            Aead::AesGcm => (sys::SHIM_CRYPTO_AEAD_GCM, 12),
            Aead::AesCcm => (sys::SHIM_CRYPTO_AEAD_CCM, 11),
            Aead::ChaCha20Poly1305 => (sys::SHIM_CRYPTO_AEAD_CHACHA, 12),
        }
    }
}

impl Cipher {
    /// DPDK's number, and the IV's length.
    fn raw(self) -> (u32, u16) {
        match self {
            Cipher::Null => (sys::SHIM_CRYPTO_CIPHER_NULL, 0),
            Cipher::AesCbc => (sys::SHIM_CRYPTO_CIPHER_CBC, 16),
            Cipher::AesCtr => (sys::SHIM_CRYPTO_CIPHER_CTR, 16),
            Cipher::TripleDesCbc => (sys::SHIM_CRYPTO_CIPHER_3DES, 8),
        }
    }
}

impl Auth {
    fn raw(self) -> u32 {
        match self {
            Auth::HmacSha1 => sys::SHIM_CRYPTO_AUTH_SHA1,
            Auth::HmacSha256 => sys::SHIM_CRYPTO_AUTH_SHA256,
            Auth::HmacSha384 => sys::SHIM_CRYPTO_AUTH_SHA384,
            Auth::HmacSha512 => sys::SHIM_CRYPTO_AUTH_SHA512,
            Auth::AesXcbc => sys::SHIM_CRYPTO_AUTH_XCBC,
            Auth::AesCmac => sys::SHIM_CRYPTO_AUTH_CMAC,
        }
    }
}

impl Form {
    /// The job for C, without buffer, session and cookie; `None` unless all of it lies in the first `len` bytes.
    pub(crate) fn job(&self, layout: &Layout, len: usize) -> Option<sys::shim_crypto_job> {
        let within = |range: &Range<usize>| range.start <= range.end && range.end <= len;
        let digest = usize::from(self.digest);
        // The tail lies where the digest lies, right behind what is authenticated.
        let tail_fits = layout.tail.is_none()
            || (u32::from(self.kind) != sys::SHIM_CRYPTO_DO_AEAD
                && digest >= 4
                && layout.auth.end == layout.digest);
        let digest_fits = layout.digest.checked_add(digest)? <= len;
        if !(within(&layout.cipher) && within(&layout.auth) && digest_fits && tail_fits) {
            return None;
        }
        // A packet's length has 16 bits.
        let mut job = sys::shim_crypto_job {
            cipher_at: layout.cipher.start as u32,
            cipher_len: layout.cipher.len() as u32,
            auth_at: layout.auth.start as u32,
            auth_len: layout.auth.len() as u32,
            digest_at: layout.digest as u32,
            kind: self.kind,
            encrypt: self.encrypt.into(),
            digest_len: self.digest,
            has_tail: layout.tail.is_some().into(),
            tail: layout.tail.unwrap_or_default(),
            iv: layout.iv,
            ..Default::default()
        };
        let mut aad_at = 0;
        if self.is_ccm {
            job.iv.rotate_right(CCM_NONCE_AT);
            aad_at = CCM_AAD_AT;
        }
        let aad = layout.aad.get(..usize::from(self.aad))?;
        job.aad
            .get_mut(aad_at..aad_at + aad.len())?
            .copy_from_slice(aad);
        Some(job)
    }
}
