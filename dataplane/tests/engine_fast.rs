//! The engine of the workers against what others have published, and against the portable one.

#[path = "../ipsec/tests/engine_vectors/mod.rs"]
mod engine_vectors;

use engine_vectors::*;
use portcullis::engine::FastEngine;
use portcullis_ipsec::engine::portable::Portable;

#[test]
fn agrees_with_the_packets_of_rfcs() {
    let e = &mut FastEngine::new();
    packets::draft_mcgrew_gcm(e);
    packets::rfc7634_packet(e);
    packets::rfc3602_cbc(e);
}

#[test]
fn agrees_with_the_packets_of_openssl() {
    openssl::one_by_one(&mut FastEngine::new());
    openssl::in_one_burst(&mut FastEngine::new());
}

#[test]
fn agrees_with_the_algorithms_of_rfcs_and_nist() {
    let e = &mut FastEngine::new();
    primitives::rfc3686_ctr(e);
    primitives::nist_cbc(e);
    primitives::rfc3566_xcbc(e);
    primitives::nist_cmac(e);
    primitives::rfc4868_hmac_sha2(e);
    primitives::rfc2202_hmac(e);
}

#[test]
fn agrees_with_the_packets_of_wycheproof() {
    let e = &mut FastEngine::new();
    wycheproof_cases::gcm(e);
    wycheproof_cases::ccm(e);
    wycheproof_cases::chacha20_poly1305(e);
    wycheproof_cases::macs(e);
}

#[test]
fn takes_the_keys_of_ipsec_only() {
    primitives::key_lengths(&FastEngine::new());
    primitives::impossible_transforms(&FastEngine::new());
}

#[test]
fn opens_what_the_portable_engine_sealed_and_the_other_way_round() {
    let (fast, portable) = (&mut FastEngine::new(), &mut Portable::new());
    let gcm = agreement::gcm_transforms();
    agreement::opens_what_the_other_sealed(fast, portable, &gcm, 2048);
    agreement::opens_what_the_other_sealed(portable, fast, &gcm, 2048);
    let mixed = [gcm, agreement::other_transforms()].concat();
    agreement::opens_what_the_other_sealed(fast, portable, &mixed, 200);
    agreement::opens_what_the_other_sealed(portable, fast, &mixed, 200);
}

#[test]
fn refuses_changed_packets() {
    agreement::refuses_every_flipped_byte(&mut FastEngine::new());
    agreement::refuses_impossible_lengths(&mut FastEngine::new());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn works_without_the_library() {
    let e = &mut FastEngine::portable();
    packets::draft_mcgrew_gcm(e);
    openssl::in_one_burst(e);
}

/// Keys cross from control to workers and from worker to worker.
#[test]
fn workers_share_keys() {
    let gcm = agreement::gcm_transforms()[0];
    let portcullis_config::Transform::Esp(cipher, _) = gcm else {
        panic!("not ESP");
    };
    let key = key(&FastEngine::new(), gcm, &vec![9; cipher.key_length()], &[]);
    let mut packet = [[1; 16], [2; 16], [3; 16]].concat();
    assert!(seal(&mut FastEngine::new(), &key, &mut packet, None));
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(open(&mut FastEngine::new(), &key, &mut packet, None)));
    });
}
