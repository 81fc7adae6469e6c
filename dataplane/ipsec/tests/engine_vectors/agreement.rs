//! Two engines, or one and itself: what one seals the other opens, and nobody opens what was changed.

use portcullis_config::{AesKey, Cipher, Integrity, Transform};
use portcullis_ipsec::engine::Engine;

use super::*;

/// Numbers that look random, the same in each run.
pub struct Numbers(u64);

impl Numbers {
    pub fn seeded(seed: u64) -> Self {
        Numbers(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Every AES-GCM, then the others.
pub fn gcm_transforms() -> Vec<Transform> {
    let mut all = Vec::new();
    for aes in [AesKey::Aes128, AesKey::Aes192, AesKey::Aes256] {
        for length in [8, 12, 16] {
            all.push(Transform::Esp(Cipher::AesGcm(aes, icv(length)), None));
        }
    }
    all
}

/// One of each kind that is not AES-GCM.
pub fn other_transforms() -> Vec<Transform> {
    let aes = AesKey::Aes256;
    vec![
        Transform::Esp(Cipher::AesGmac(aes), None),
        Transform::Esp(Cipher::AesCcm(aes, icv(16)), None),
        Transform::Esp(Cipher::ChaCha20Poly1305, None),
        Transform::Esp(Cipher::AesCbc(aes), Some(Integrity::HmacSha2_256_128)),
        Transform::Esp(Cipher::AesCtr(aes), Some(Integrity::AesXcbc96)),
        Transform::Esp(Cipher::TripleDesCbc, Some(Integrity::HmacSha1_96)),
        Transform::Esp(Cipher::DesCbc, Some(Integrity::HmacMd5_96)),
        Transform::Esp(Cipher::Null, Some(Integrity::AesCmac96)),
    ]
}

/// IV and payload lengths of a transform: IV, alignment, ICV.
pub fn shape(transform: Transform) -> (usize, usize, usize) {
    let Transform::Esp(cipher, _) = transform else {
        panic!("not ESP");
    };
    (
        cipher.iv_length(),
        cipher.alignment(),
        transform.icv_length(),
    )
}

pub fn keymat(transform: Transform, numbers: &mut Numbers) -> (Vec<u8>, Vec<u8>) {
    let (cipher, integrity) = match transform {
        Transform::Esp(cipher, integrity) => (cipher.key_length(), integrity),
        Transform::Ah(integrity) => (0, Some(integrity)),
    };
    let integrity = integrity.map_or(0, Integrity::key_length);
    (numbers.bytes(cipher), numbers.bytes(integrity))
}

/// Packets of all payload lengths up to `longest`, ten transforms and ESN or not side by side in each burst.
pub fn opens_what_the_other_sealed<A: Engine, B: Engine>(
    sealer: &mut A,
    opener: &mut B,
    transforms: &[Transform],
    longest: usize,
) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let keys: Vec<_> = transforms
        .iter()
        .map(|&t| {
            let (cipher, integrity) = keymat(t, &mut numbers);
            (
                key(sealer, t, &cipher, &integrity),
                key(opener, t, &cipher, &integrity),
            )
        })
        .collect();
    for length in 0..=longest {
        let clear: Vec<_> = transforms
            .iter()
            .map(|&t| {
                let (iv, alignment, icv) = shape(t);
                // GCM takes any length, the others multiples of their block.
                let alignment = if alignment == 4 { 1 } else { alignment };
                numbers.bytes(8 + iv + length / alignment * alignment + icv)
            })
            .collect();
        let highs: Vec<_> = clear
            .iter()
            .map(|_| (numbers.next() & 1 == 0).then(|| numbers.next() as u32))
            .collect();
        let mut packets = clear.clone();
        let mut jobs: Vec<_> = packets
            .iter_mut()
            .zip(keys.iter().zip(&highs))
            .map(|(packet, ((key, _), high))| EspJob {
                key,
                packet,
                sequence_high: *high,
                ok: false,
            })
            .collect();
        sealer.seal(&mut jobs);
        assert!(jobs.iter().all(|job| job.ok));

        let mut jobs: Vec<_> = packets
            .iter_mut()
            .zip(keys.iter().zip(&highs))
            .map(|(packet, ((_, key), high))| EspJob {
                key,
                packet,
                sequence_high: *high,
                ok: false,
            })
            .collect();
        opener.open(&mut jobs);
        for ((job, clear), &transform) in jobs.iter().zip(&clear).zip(transforms) {
            assert!(job.ok, "{transform:?}, {length} bytes");
            let end = clear.len() - transform.icv_length();
            assert_eq!(
                job.packet[..end],
                clear[..end],
                "{transform:?}, {length} bytes"
            );
        }
    }
}

/// Each byte of a packet in turn is changed in one of its bits.
pub fn refuses_every_flipped_byte<E: Engine>(e: &mut E) {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for transform in [gcm_transforms(), other_transforms()].concat() {
        let (cipher, integrity) = keymat(transform, &mut numbers);
        let key = key(e, transform, &cipher, &integrity);
        let (iv, _, icv) = shape(transform);
        for payload in [16, 48, 256] {
            for high in [None, Some(5)] {
                let mut sealed = numbers.bytes(8 + iv + payload + icv);
                assert!(seal(e, &key, &mut sealed, high));
                for byte in 0..sealed.len() {
                    let mut packet = sealed.clone();
                    packet[byte] ^= 1 << (numbers.next() % 8);
                    assert!(
                        !open(e, &key, &mut packet, high),
                        "{transform:?}, byte {byte}"
                    );
                }
                assert!(open(e, &key, &mut sealed, high));
            }
        }
    }
}

/// A packet too short for its parts, or not a multiple of its block, is not ok and nothing panics.
pub fn refuses_impossible_lengths<E: Engine>(e: &mut E) {
    let mut numbers = Numbers(88_172_645_463_325_252);
    for transform in [gcm_transforms(), other_transforms()].concat() {
        let (cipher, integrity) = keymat(transform, &mut numbers);
        let key = key(e, transform, &cipher, &integrity);
        let (iv, alignment, icv) = shape(transform);
        for length in 0..8 + iv + icv {
            let mut packet = numbers.bytes(length);
            assert!(
                !seal(e, &key, &mut packet, None),
                "{transform:?}, {length} bytes"
            );
            assert!(
                !open(e, &key, &mut packet, None),
                "{transform:?}, {length} bytes"
            );
            assert!(!verify(e, &key, &[], &mut packet, None), "an ESP key in AH");
        }
        if alignment > 4 {
            let mut packet = numbers.bytes(8 + iv + alignment + 1 + icv);
            assert!(!seal(e, &key, &mut packet, None), "{transform:?}");
        }
    }
    for integrity in [
        Integrity::HmacMd5_96,
        Integrity::HmacSha2_512_256,
        Integrity::AesXcbc96,
        Integrity::AesGmac(AesKey::Aes128),
    ] {
        let keymat = numbers.bytes(integrity.key_length());
        let key = key(e, Transform::Ah(integrity), &[], &keymat);
        for length in 0..12 + integrity.icv_length() {
            let mut packet = numbers.bytes(length);
            assert!(
                !sign(e, &key, &[0; 20], &mut packet, None),
                "{length} bytes"
            );
            assert!(
                !verify(e, &key, &[0; 20], &mut packet, None),
                "{length} bytes"
            );
        }
        let mut packet = numbers.bytes(100);
        assert!(!seal(e, &key, &mut packet, None), "an AH key in ESP");
        assert!(!open(e, &key, &mut packet, None), "an AH key in ESP");
    }
}
