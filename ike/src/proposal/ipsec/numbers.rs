//! Numbers of the IPsec DOI (RFC 2407 4.4.3, 4.4.4 and 4.5, and IANA's registry).

use portcullis_config::{AeadIcv, AesKey, ChildProposal, Cipher, Integrity, Transform};

/// AH transforms.
pub(super) const AH_NAMES: &[(u8, &str)] = &[
    (2, "AH with MD5"),
    (3, "AH with SHA1"),
    (4, "AH with DES"),
    (5, "AH with SHA2-256"),
    (6, "AH with SHA2-384"),
    (7, "AH with SHA2-512"),
    (8, "AH with RIPEMD"),
    (9, "AH with AES-XCBC"),
    (11, "AH with AES-128-GMAC"),
    (12, "AH with AES-192-GMAC"),
    (13, "AH with AES-256-GMAC"),
];

/// ESP transforms.
pub(super) const ESP_NAMES: &[(u8, &str)] = &[
    (2, "DES"),
    (3, "3DES"),
    (6, "CAST"),
    (7, "Blowfish"),
    (11, "NULL"),
    (12, "AES-CBC"),
    (13, "AES-CTR"),
    (14, "AES-CCM-8"),
    (15, "AES-CCM-12"),
    (16, "AES-CCM-16"),
    (18, "AES-GCM-8"),
    (19, "AES-GCM-12"),
    (20, "AES-GCM-16"),
    (22, "Camellia"),
    (23, "AES-GMAC"),
];

/// Authentication algorithms, an attribute of both.
pub(super) const AUTHENTICATIONS: &[(u64, &str)] = &[
    (1, "HMAC-MD5"),
    (2, "HMAC-SHA1"),
    (5, "HMAC-SHA2-256"),
    (6, "HMAC-SHA2-384"),
    (7, "HMAC-SHA2-512"),
    (8, "HMAC-RIPEMD"),
    (9, "AES-XCBC"),
    (11, "AES-128-GMAC"),
    (12, "AES-192-GMAC"),
    (13, "AES-256-GMAC"),
];

/// Encapsulation modes (RFC 2407 4.5, RFC 3947 5.1, draft-ietf-ipsec-nat-t-ike-03 5.1).
pub(super) const MODES: &[(u64, &str)] = &[
    (1, "tunnel"),
    (2, "transport"),
    (3, "tunnel in UDP"),
    (4, "transport in UDP"),
    (61443, "tunnel in UDP (draft)"),
    (61444, "transport in UDP (draft)"),
];

/// Transform id and the attributes that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) id: u8,
    pub(super) key_length: Option<u16>,
    pub(super) authentication: Option<u16>,
}

/// True if quick mode has numbers for all algorithms of a proposal.
pub fn has_names(proposal: &ChildProposal) -> bool {
    proposal.esp.is_none_or(|esp| esp_transform(esp).is_some())
        && proposal.ah.is_none_or(|ah| ah_transform(ah).is_some())
}

/// ChaCha20-Poly1305 has no number in the DOI, AES-CMAC neither.
pub(super) fn esp_transform(transform: Transform) -> Option<Numbers> {
    let Transform::Esp(cipher, integrity) = transform else {
        return None;
    };
    let bits = |key: AesKey| Some(key.bytes() as u16 * 8);
    let by_icv = |icv: AeadIcv, first: u8| match icv {
        AeadIcv::Icv8 => first,
        AeadIcv::Icv12 => first + 1,
        AeadIcv::Icv16 => first + 2,
    };
    let (id, key_length) = match cipher {
        Cipher::DesCbc => (2, None),
        Cipher::TripleDesCbc => (3, None),
        Cipher::Null => (11, None),
        Cipher::AesCbc(key) => (12, bits(key)),
        Cipher::AesCtr(key) => (13, bits(key)),
        Cipher::AesCcm(key, icv) => (by_icv(icv, 14), bits(key)),
        Cipher::AesGcm(key, icv) => (by_icv(icv, 18), bits(key)),
        Cipher::AesGmac(key) => (23, bits(key)),
        Cipher::ChaCha20Poly1305 => return None,
    };
    let authentication = match integrity {
        Some(integrity) => Some(authentication(integrity)?),
        None => None,
    };
    Some(Numbers {
        id,
        key_length,
        authentication,
    })
}

pub(super) fn ah_transform(integrity: Integrity) -> Option<Numbers> {
    let id = match integrity {
        Integrity::HmacMd5_96 => 2,
        Integrity::HmacSha1_96 => 3,
        Integrity::HmacSha2_256_128 => 5,
        Integrity::HmacSha2_384_192 => 6,
        Integrity::HmacSha2_512_256 => 7,
        Integrity::AesXcbc96 => 9,
        Integrity::AesGmac(AesKey::Aes128) => 11,
        Integrity::AesGmac(AesKey::Aes192) => 12,
        Integrity::AesGmac(AesKey::Aes256) => 13,
        Integrity::AesCmac96 => return None,
    };
    Some(Numbers {
        id,
        key_length: None,
        authentication: Some(authentication(integrity)?),
    })
}

fn authentication(integrity: Integrity) -> Option<u16> {
    Some(match integrity {
        Integrity::HmacMd5_96 => 1,
        Integrity::HmacSha1_96 => 2,
        Integrity::HmacSha2_256_128 => 5,
        Integrity::HmacSha2_384_192 => 6,
        Integrity::HmacSha2_512_256 => 7,
        Integrity::AesXcbc96 => 9,
        Integrity::AesGmac(AesKey::Aes128) => 11,
        Integrity::AesGmac(AesKey::Aes192) => 12,
        Integrity::AesGmac(AesKey::Aes256) => 13,
        Integrity::AesCmac96 => return None,
    })
}
