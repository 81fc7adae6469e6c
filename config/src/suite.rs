//! Algorithms of ESP and AH: names, key sizes, IV, block and ICV lengths, each from its RFC.

/// AES key length in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AesKey {
    /// AES-128.
    Aes128,
    /// AES-192.
    Aes192,
    /// AES-256.
    Aes256,
}

impl AesKey {
    /// Key length in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            AesKey::Aes128 => 16,
            AesKey::Aes192 => 24,
            AesKey::Aes256 => 32,
        }
    }
}

/// ICV length of a combined-mode cipher (RFC 4106 6, RFC 4309 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AeadIcv {
    /// 8 bytes.
    Icv8,
    /// 12 bytes.
    Icv12,
    /// 16 bytes.
    Icv16,
}

impl AeadIcv {
    /// ICV length in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            AeadIcv::Icv8 => 8,
            AeadIcv::Icv12 => 12,
            AeadIcv::Icv16 => 16,
        }
    }
}

/// What ESP encrypts with; the combined-mode ones also authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES-GCM (RFC 4106): keying material is key and 4 bytes of salt.
    AesGcm(AesKey, AeadIcv),
    /// ENCR_NULL_AUTH_AES_GMAC (RFC 4543): clear payload, GMAC over it; 4 bytes of salt.
    AesGmac(AesKey),
    /// AES-CCM (RFC 4309): keying material is key and 3 bytes of salt.
    AesCcm(AesKey, AeadIcv),
    /// ChaCha20-Poly1305 (RFC 7634): 32 byte key and 4 bytes of salt.
    ChaCha20Poly1305,
    /// AES-CBC (RFC 3602).
    AesCbc(AesKey),
    /// AES-CTR (RFC 3686): keying material is key and 4 bytes of nonce.
    AesCtr(AesKey),
    /// 3DES-CBC (RFC 2451). Legacy.
    TripleDesCbc,
    /// DES-CBC (RFC 2405). Legacy, broken.
    DesCbc,
    /// NULL (RFC 2410).
    Null,
}

impl Cipher {
    /// Length of the keying material in bytes, salt or nonce included.
    pub const fn key_length(self) -> usize {
        match self {
            Cipher::AesGcm(k, _) | Cipher::AesGmac(k) | Cipher::AesCtr(k) => k.bytes() + 4,
            Cipher::AesCcm(k, _) => k.bytes() + 3,
            Cipher::ChaCha20Poly1305 => 36,
            Cipher::AesCbc(k) => k.bytes(),
            Cipher::TripleDesCbc => 24,
            Cipher::DesCbc => 8,
            Cipher::Null => 0,
        }
    }

    /// Length in bytes of the explicit IV that each packet carries.
    pub const fn iv_length(self) -> usize {
        match self {
            Cipher::AesCbc(_) => 16,
            Cipher::Null => 0,
            _ => 8,
        }
    }

    /// Cipher block in bytes to which payload, padding and the two trailer bytes are aligned;
    /// ESP itself demands 4 (RFC 4303 2.4).
    pub const fn alignment(self) -> usize {
        match self {
            Cipher::AesCbc(_) => 16,
            Cipher::TripleDesCbc | Cipher::DesCbc => 8,
            _ => 4,
        }
    }

    /// ICV length of a combined-mode cipher, `None` for one that needs a separate [`Integrity`].
    pub const fn aead_icv_length(self) -> Option<usize> {
        match self {
            Cipher::AesGcm(_, icv) | Cipher::AesCcm(_, icv) => Some(icv.bytes()),
            Cipher::AesGmac(_) | Cipher::ChaCha20Poly1305 => Some(16),
            _ => None,
        }
    }

    /// True where the IV must be unpredictable (CBC, RFC 3602 3); the counter modes need only a unique one.
    pub const fn needs_unpredictable_iv(self) -> bool {
        matches!(
            self,
            Cipher::AesCbc(_) | Cipher::TripleDesCbc | Cipher::DesCbc
        )
    }
}

/// What AH, and ESP with a plain cipher, authenticate with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// HMAC-MD5-96 (RFC 2403). Legacy.
    HmacMd5_96,
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1_96,
    /// HMAC-SHA2-256-128 (RFC 4868).
    HmacSha2_256_128,
    /// HMAC-SHA2-384-192 (RFC 4868).
    HmacSha2_384_192,
    /// HMAC-SHA2-512-256 (RFC 4868).
    HmacSha2_512_256,
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbc96,
    /// AES-CMAC-96 (RFC 4494).
    AesCmac96,
    /// AES-GMAC (RFC 4543), AH only: key and 4 bytes of salt; the ICV field holds an 8 byte IV before 16 bytes.
    AesGmac(AesKey),
}

impl Integrity {
    /// Length of the keying material in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Integrity::HmacMd5_96 | Integrity::AesXcbc96 | Integrity::AesCmac96 => 16,
            Integrity::HmacSha1_96 => 20,
            Integrity::HmacSha2_256_128 => 32,
            Integrity::HmacSha2_384_192 => 48,
            Integrity::HmacSha2_512_256 => 64,
            Integrity::AesGmac(k) => k.bytes() + 4,
        }
    }

    /// Length in bytes of the ICV field on the wire (for GMAC in AH the IV is inside it, RFC 4543 4).
    pub const fn icv_length(self) -> usize {
        match self {
            Integrity::HmacMd5_96
            | Integrity::HmacSha1_96
            | Integrity::AesXcbc96
            | Integrity::AesCmac96 => 12,
            Integrity::HmacSha2_256_128 => 16,
            Integrity::HmacSha2_384_192 => 24,
            Integrity::HmacSha2_512_256 => 32,
            Integrity::AesGmac(_) => 24,
        }
    }
}

/// The algorithms of one SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// ESP: a cipher, and an integrity algorithm unless the cipher is combined-mode. NULL with none is refused.
    Esp(Cipher, Option<Integrity>),
    /// AH.
    Ah(Integrity),
}

impl Transform {
    /// IP protocol number: 50 ESP (RFC 4303 2), 51 AH (RFC 4302 2).
    pub const fn protocol(self) -> u8 {
        match self {
            Transform::Esp(..) => 50,
            Transform::Ah(_) => 51,
        }
    }

    /// ICV length on the wire in bytes.
    pub const fn icv_length(self) -> usize {
        match self {
            Transform::Esp(cipher, integrity) => match (cipher.aead_icv_length(), integrity) {
                (Some(n), _) => n,
                (None, Some(i)) => i.icv_length(),
                (None, None) => 0,
            },
            Transform::Ah(i) => i.icv_length(),
        }
    }
}
