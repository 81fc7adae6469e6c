//! The names of algorithms in a policy file, the parts of their keys, and what RFC 8221 says of them.

use std::fmt;

use crate::AeadIcv::{Icv8, Icv12, Icv16};
use crate::AesKey::{Aes128, Aes192, Aes256};
use crate::{Cipher, Integrity};

impl Cipher {
    /// Every cipher with its name in a policy file.
    pub const NAMES: &'static [(&'static str, Cipher)] = &[
        ("aes128-gcm16", Cipher::AesGcm(Aes128, Icv16)),
        ("aes192-gcm16", Cipher::AesGcm(Aes192, Icv16)),
        ("aes256-gcm16", Cipher::AesGcm(Aes256, Icv16)),
        ("aes128-gcm12", Cipher::AesGcm(Aes128, Icv12)),
        ("aes192-gcm12", Cipher::AesGcm(Aes192, Icv12)),
        ("aes256-gcm12", Cipher::AesGcm(Aes256, Icv12)),
        ("aes128-gcm8", Cipher::AesGcm(Aes128, Icv8)),
        ("aes192-gcm8", Cipher::AesGcm(Aes192, Icv8)),
        ("aes256-gcm8", Cipher::AesGcm(Aes256, Icv8)),
        ("chacha20-poly1305", Cipher::ChaCha20Poly1305),
        ("aes128-ccm16", Cipher::AesCcm(Aes128, Icv16)),
        ("aes192-ccm16", Cipher::AesCcm(Aes192, Icv16)),
        ("aes256-ccm16", Cipher::AesCcm(Aes256, Icv16)),
        ("aes128-ccm12", Cipher::AesCcm(Aes128, Icv12)),
        ("aes192-ccm12", Cipher::AesCcm(Aes192, Icv12)),
        ("aes256-ccm12", Cipher::AesCcm(Aes256, Icv12)),
        ("aes128-ccm8", Cipher::AesCcm(Aes128, Icv8)),
        ("aes192-ccm8", Cipher::AesCcm(Aes192, Icv8)),
        ("aes256-ccm8", Cipher::AesCcm(Aes256, Icv8)),
        ("aes128-gmac", Cipher::AesGmac(Aes128)),
        ("aes192-gmac", Cipher::AesGmac(Aes192)),
        ("aes256-gmac", Cipher::AesGmac(Aes256)),
        ("aes128-cbc", Cipher::AesCbc(Aes128)),
        ("aes192-cbc", Cipher::AesCbc(Aes192)),
        ("aes256-cbc", Cipher::AesCbc(Aes256)),
        ("aes128-ctr", Cipher::AesCtr(Aes128)),
        ("aes192-ctr", Cipher::AesCtr(Aes192)),
        ("aes256-ctr", Cipher::AesCtr(Aes256)),
        ("3des-cbc", Cipher::TripleDesCbc),
        ("des-cbc", Cipher::DesCbc),
        ("null", Cipher::Null),
    ];

    /// The name in a policy file.
    pub fn name(self) -> &'static str {
        name_of(Self::NAMES, self)
    }

    /// Length in bytes of the salt or nonce behind the key, inside [`Cipher::key_length`].
    pub const fn salt_length(self) -> usize {
        match self {
            Cipher::AesGcm(..)
            | Cipher::AesGmac(_)
            | Cipher::AesCtr(_)
            | Cipher::ChaCha20Poly1305 => 4,
            Cipher::AesCcm(..) => 3,
            Cipher::AesCbc(_) | Cipher::TripleDesCbc | Cipher::DesCbc | Cipher::Null => 0,
        }
    }

    /// True where a nonce used twice under one key breaks the cipher (RFC 4106 2, RFC 3686 2.1).
    pub const fn is_counter_mode(self) -> bool {
        self.salt_length() != 0
    }

    /// Why it should not be used, in the words of RFC 8221 and RFC 2410.
    pub const fn objection(self) -> Option<&'static str> {
        match self {
            Cipher::DesCbc => Some("RFC 8221 5 says MUST NOT: its 56 bit key is searched in hours"),
            Cipher::TripleDesCbc => {
                Some("RFC 8221 5 says SHOULD NOT: slow, and its 8 byte block leaks")
            }
            Cipher::Null | Cipher::AesGmac(_) => {
                Some("nothing is encrypted: packets travel in clear")
            }
            _ => None,
        }
    }
}

impl Integrity {
    /// Every integrity algorithm with its name in a policy file.
    pub const NAMES: &'static [(&'static str, Integrity)] = &[
        ("hmac-sha2-256-128", Integrity::HmacSha2_256_128),
        ("hmac-sha2-384-192", Integrity::HmacSha2_384_192),
        ("hmac-sha2-512-256", Integrity::HmacSha2_512_256),
        ("hmac-sha1-96", Integrity::HmacSha1_96),
        ("hmac-md5-96", Integrity::HmacMd5_96),
        ("aes-xcbc-96", Integrity::AesXcbc96),
        ("aes-cmac-96", Integrity::AesCmac96),
        ("aes128-gmac", Integrity::AesGmac(Aes128)),
        ("aes192-gmac", Integrity::AesGmac(Aes192)),
        ("aes256-gmac", Integrity::AesGmac(Aes256)),
    ];

    /// The name in a policy file.
    pub fn name(self) -> &'static str {
        name_of(Self::NAMES, self)
    }

    /// Length in bytes of the salt behind the key, inside [`Integrity::key_length`].
    pub const fn salt_length(self) -> usize {
        match self {
            Integrity::AesGmac(_) => 4,
            _ => 0,
        }
    }

    /// Why it should not be used, in the words of RFC 8221.
    pub const fn objection(self) -> Option<&'static str> {
        match self {
            Integrity::HmacMd5_96 => Some("RFC 8221 6 says MUST NOT: MD5 is broken"),
            _ => None,
        }
    }
}

fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], algorithm: T) -> &'static str {
    let found = names.iter().find(|(_, a)| *a == algorithm);
    found.map_or("unnamed", |(name, _)| name)
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
