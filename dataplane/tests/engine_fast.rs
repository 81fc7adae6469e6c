//! The engine of the workers against what others have published, and against the portable one: in the order that
//! is the default, and with Intel's library before our kernel.

#[path = "../ipsec/tests/engine_vectors/mod.rs"]
mod engine_vectors;

use std::cell::Cell;

use engine_vectors::*;
use portcullis::engine::{Choice, FastEngine};
use portcullis_config::{Cipher, EngineKind, Integrity, Secret, Transform};
use portcullis_ipsec::engine::portable::Portable;
use portcullis_ipsec::engine::{AhJob, Engine, EspJob, KeyError};

/// An engine whose keys are made, in turn, as if there were so many SAs.
struct Among {
    engine: FastEngine,
    sas: [usize; 2],
    made: Cell<usize>,
}

impl Among {
    fn new(engine: FastEngine, sas: [usize; 2]) -> Self {
        let made = Cell::new(0);
        Among { engine, sas, made }
    }
}

impl Engine for Among {
    type Key = <FastEngine as Engine>::Key;

    fn key(
        &self,
        transform: Transform,
        cipher_key: &Secret,
        integrity_key: &Secret,
    ) -> Result<Self::Key, KeyError> {
        self.made.set(self.made.get() + 1);
        let sas = self.sas[self.made.get() % 2];
        self.engine
            .key_among(sas, transform, (cipher_key, integrity_key))
    }

    fn seal(&mut self, jobs: &mut [EspJob<'_, Self::Key>]) {
        self.engine.seal(jobs);
    }

    fn open(&mut self, jobs: &mut [EspJob<'_, Self::Key>]) {
        self.engine.open(jobs);
    }

    fn sign(&mut self, jobs: &mut [AhJob<'_, Self::Key>]) {
        self.engine.sign(jobs);
    }

    fn verify(&mut self, jobs: &mut [AhJob<'_, Self::Key>]) {
        self.engine.verify(jobs);
    }
}

/// The default order, for few SAs, many, and both mixed, and that in which the library has all it can.
fn engines() -> [Among; 4] {
    const MANY: usize = 100_000;
    [
        Among::new(FastEngine::new(), [1, 1]),
        Among::new(FastEngine::new(), [MANY, MANY]),
        Among::new(FastEngine::new(), [1, MANY]),
        Among::new(library(), [1, 1]),
    ]
}

fn library() -> FastEngine {
    FastEngine::with_order(&[EngineKind::IpsecMb, EngineKind::Portable])
}

#[test]
fn agrees_with_the_packets_of_rfcs() {
    for e in &mut engines() {
        packets::draft_mcgrew_gcm(e);
        packets::rfc7634_packet(e);
        packets::rfc3602_cbc(e);
    }
}

#[test]
fn agrees_with_the_packets_of_openssl() {
    for e in &mut engines() {
        openssl::one_by_one(e);
        openssl::in_one_burst(e);
    }
}

#[test]
fn agrees_with_the_algorithms_of_rfcs_and_nist() {
    for e in &mut engines() {
        primitives::rfc3686_ctr(e);
        primitives::nist_cbc(e);
        primitives::rfc3566_xcbc(e);
        primitives::nist_cmac(e);
        primitives::rfc4868_hmac_sha2(e);
        primitives::rfc2202_hmac(e);
    }
}

#[test]
fn agrees_with_the_packets_of_wycheproof() {
    for e in &mut engines() {
        wycheproof_cases::gcm(e);
        wycheproof_cases::ccm(e);
        wycheproof_cases::chacha20_poly1305(e);
        wycheproof_cases::macs(e);
    }
}

#[test]
fn takes_the_keys_of_ipsec_only() {
    for e in &engines() {
        primitives::key_lengths(e);
        primitives::impossible_transforms(e);
    }
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
fn agrees_with_the_portable_engine_at_every_length() {
    bursts::agree_at_every_length(&mut library(), &mut Portable::new(), 1600);
}

#[test]
fn agrees_with_the_portable_engine_on_any_mix() {
    for e in &mut engines() {
        bursts::agree_on_any_mix(e, &mut Portable::new(), 1000);
    }
}

#[test]
fn refuses_changed_packets() {
    for e in &mut engines() {
        agreement::refuses_every_flipped_byte(e);
        agreement::refuses_impossible_lengths(e);
    }
}

#[test]
fn works_without_kernel_and_library() {
    let e = &mut FastEngine::with_order(&[EngineKind::Portable]);
    assert_eq!(e.refusals(), Vec::<String>::new());
    packets::draft_mcgrew_gcm(e);
    openssl::in_one_burst(e);
}

/// On a CPU that has every engine.
#[cfg(target_arch = "x86_64")]
#[test]
fn each_transform_has_the_first_engine_that_knows_it() {
    use EngineKind::{IpsecMb, Portable, Vaes};
    let chosen = |order: &[EngineKind], transform| {
        let choice = FastEngine::with_order(order).choose(transform)?;
        assert_eq!(choice.fallback, None);
        Some(choice.engine)
    };
    let all = [IpsecMb, Portable];
    let gcm = agreement::gcm_transforms()[0];
    let cbc = Transform::Esp(Cipher::AesCbc(aes(16)), Some(Integrity::HmacSha1_96));
    let cbc_xcbc = Transform::Esp(Cipher::AesCbc(aes(16)), Some(Integrity::AesXcbc96));
    let ccm192 = Transform::Esp(Cipher::AesCcm(aes(24), icv(16)), None);
    let ah = Transform::Ah(Integrity::HmacSha2_512_256);
    for transform in [gcm, cbc, ah] {
        assert_eq!(chosen(&all, transform), Some(IpsecMb));
        assert_eq!(chosen(&[Portable, IpsecMb], transform), Some(Portable));
    }
    // Intel's library has no AES-192-CCM: nothing falls back.
    assert_eq!(chosen(&all, ccm192), Some(Portable));
    assert_eq!(chosen(&[IpsecMb], ccm192), None);
    if FastEngine::with_order(&[Vaes]).refusals().is_empty() {
        assert_eq!(chosen(&[Vaes, IpsecMb], gcm), Some(Vaes));
        assert_eq!(chosen(&[Vaes, IpsecMb], cbc), Some(Vaes));
        assert_eq!(chosen(&[Vaes, IpsecMb], cbc_xcbc), Some(IpsecMb));
    } else {
        for transform in [gcm, cbc] {
            let choice = FastEngine::new().choose(transform);
            assert!(matches!(
                choice,
                Some(Choice {
                    engine: IpsecMb,
                    fallback: Some(_),
                    ..
                })
            ));
        }
    }
}

/// Keys cross from control to workers and from worker to worker.
#[test]
fn workers_share_keys() {
    for transform in bursts::every_transform() {
        let Transform::Esp(cipher, integrity) = transform else {
            continue;
        };
        let (cipher_key, integrity_key) = (
            vec![9; cipher.key_length()],
            vec![8; integrity.map_or(0, Integrity::key_length)],
        );
        let key = key(&library(), transform, &cipher_key, &integrity_key);
        let mut packet = [7; 24 + 48 + 32].to_vec();
        packet.truncate(8 + cipher.iv_length() + 48 + transform.icv_length());
        assert!(seal(&mut library(), &key, &mut packet, None));
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(open(&mut library(), &key, &mut packet, None)));
        });
    }
}
