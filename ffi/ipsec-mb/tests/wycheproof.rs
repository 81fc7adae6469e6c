//! What the library's lanes compute, against Wycheproof: all cases of an algorithm in one burst.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used)]

use ipsec_mb::{Aead, AeadJob, AeadKey, KeyLength, Mac, MacJob, MacKey, Manager, equal};
use wycheproof::{TestResult, aead, mac};

struct Message {
    key: AeadKey,
    nonce: [u8; 12],
    aad: Vec<u8>,
    data: Vec<u8>,
    tag: Vec<u8>,
    ok: bool,
}

fn jobs<'a>(messages: &'a mut [Message]) -> Vec<AeadJob<'a>> {
    let job = |message: &'a mut Message| AeadJob {
        key: &message.key,
        nonce: message.nonce,
        aad: &message.aad,
        data: &mut message.data,
        tag: &mut message.tag,
        ok: &mut message.ok,
    };
    messages.iter_mut().map(job).collect()
}

fn agrees(name: aead::TestName, kind: impl Fn(usize) -> Option<Aead>, least: usize) {
    let mut manager = Manager::new().unwrap();
    let (mut messages, mut expected) = (Vec::new(), Vec::new());
    for group in aead::TestSet::load(name).unwrap().test_groups {
        for case in group.tests {
            let Some(kind) = kind(case.key.len()) else {
                continue;
            };
            let fits = case.nonce.len() == kind.nonce_length()
                && matches!((kind, case.tag.len()), (_, 16) | (Aead::AesCcm(_), 8 | 12))
                && case.aad.len() <= 46;
            if !fits {
                continue;
            }
            let mut nonce = [0; 12];
            nonce[..case.nonce.len()].copy_from_slice(&case.nonce);
            messages.push(Message {
                key: manager.aead_key(kind, &case.key).unwrap(),
                nonce,
                aad: case.aad.to_vec(),
                data: case.ct.to_vec(),
                tag: case.tag.to_vec(),
                ok: false,
            });
            expected.push(case);
        }
    }
    assert!(expected.len() >= least, "only {} cases", expected.len());

    manager.open_aead(&mut jobs(&mut messages));
    for (message, case) in messages.iter_mut().zip(&expected) {
        assert_eq!(message.ok, case.result == TestResult::Valid, "{case:?}");
        if message.ok {
            assert_eq!(message.data, case.pt[..], "{case:?}");
        }
        message.data = case.pt.to_vec();
        message.tag.fill(0);
    }
    manager.seal_aead(&mut jobs(&mut messages));
    for (message, case) in messages.iter().zip(&expected) {
        assert!(message.ok);
        if case.result == TestResult::Valid {
            assert_eq!(message.data, case.ct[..], "{case:?}");
            assert_eq!(message.tag, case.tag[..], "{case:?}");
        }
    }
}

#[test]
fn chacha20_poly1305() {
    let kind = |key| (key == 32).then_some(Aead::ChaCha20Poly1305);
    agrees(aead::TestName::ChaCha20Poly1305, kind, 250);
}

#[test]
fn aes_ccm() {
    let kind = |key| match key {
        16 => Some(Aead::AesCcm(KeyLength::Aes128)),
        32 => Some(Aead::AesCcm(KeyLength::Aes256)),
        _ => None,
    };
    agrees(aead::TestName::AesCcm, kind, 2);
}

/// Tags of any length are compared as far as ours go.
#[test]
fn macs() {
    let mut manager = Manager::new().unwrap();
    for (name, kind, key) in [
        (mac::TestName::HmacSha1, Mac::HmacSha1, 64),
        (mac::TestName::HmacSha256, Mac::HmacSha256, 64),
        (mac::TestName::HmacSha384, Mac::HmacSha384, 128),
        (mac::TestName::HmacSha512, Mac::HmacSha512, 128),
        (mac::TestName::AesCmac, Mac::AesCmac, 16),
    ] {
        let cases: Vec<_> = mac::TestSet::load(name)
            .unwrap()
            .test_groups
            .into_iter()
            .flat_map(|group| group.tests)
            .filter(|case| case.key.len() <= key && (kind != Mac::AesCmac || case.key.len() == key))
            .filter(|case| case.tag.len() >= kind.tag_length() && !case.msg.is_empty())
            .collect();
        assert!(cases.len() > 30, "{name:?}: only {} cases", cases.len());
        let keys: Vec<MacKey> = cases
            .iter()
            .map(|case| manager.mac_key(kind, &case.key).unwrap())
            .collect();
        let mut tags = vec![([0; 32], false); cases.len()];
        let jobs = cases.iter().zip(&keys).zip(&mut tags);
        let mut jobs: Vec<_> = jobs
            .map(|((case, key), (tag, ok))| MacJob {
                key,
                data: &case.msg,
                tag,
                ok,
            })
            .collect();
        manager.mac(&mut jobs);
        for ((case, key), (tag, ok)) in cases.iter().zip(&keys).zip(&tags) {
            let length = kind.tag_length();
            assert!(*ok);
            let cut = &case.tag[..length];
            if case.result == TestResult::Valid {
                assert!(key.is_tag(tag, cut), "{case:?}");
            }
            assert_eq!(
                tag[length..],
                [0; 32][length..],
                "more than the tag is written"
            );
        }
    }
}

#[test]
fn tags_are_compared_whole() {
    let tag: Vec<u8> = (0..16).collect();
    assert!(equal(&tag, &tag.clone()));
    for byte in 0..16 {
        let mut other = tag.clone();
        other[byte] ^= 0x80;
        assert!(!equal(&tag, &other));
    }
    assert!(!equal(&tag, &tag[..12]));
    assert!(!equal(&tag[..13], &tag[..13]), "no tag here is of 13 bytes");
}
