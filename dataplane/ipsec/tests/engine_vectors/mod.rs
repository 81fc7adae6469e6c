//! What every engine has to get right, run through the interface that packets use.
//!
//! Included by the tests of each engine; the vectors and where they come from are in `vectors/README.md`.
// Each test binary uses its own part, and may panic.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod agreement;
pub mod bursts;
pub mod openssl;
pub mod packets;
pub mod primitives;
pub mod wycheproof_cases;

use portcullis_config::{AeadIcv, AesKey, Secret, Transform};
use portcullis_ipsec::engine::{AhJob, Engine, EspJob, KeyError};
use serde_json::Value;

/// The test cases of a vector file.
pub fn cases(json: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(json).unwrap();
    file["tests"].as_array().unwrap().clone()
}

/// A field of a case that holds hex.
pub fn bytes(case: &Value, field: &str) -> Vec<u8> {
    unhex(text(case, field))
}

/// A field of a case that holds text.
pub fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field]
        .as_str()
        .unwrap_or_else(|| panic!("no text {field} in {case}"))
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

pub fn aes(key_bytes: usize) -> AesKey {
    match key_bytes {
        16 => AesKey::Aes128,
        24 => AesKey::Aes192,
        32 => AesKey::Aes256,
        n => panic!("no AES has a key of {n} bytes"),
    }
}

pub fn icv(bytes: usize) -> AeadIcv {
    match bytes {
        8 => AeadIcv::Icv8,
        12 => AeadIcv::Icv12,
        16 => AeadIcv::Icv16,
        n => panic!("no ICV has {n} bytes"),
    }
}

/// An engine's key; fails the test if the engine does not take it.
pub fn key<E: Engine>(engine: &E, transform: Transform, cipher: &[u8], integrity: &[u8]) -> E::Key {
    let [cipher, integrity] = [cipher, integrity].map(|k| Secret::new(k.to_vec()));
    engine
        .key(transform, &cipher, &integrity)
        .unwrap_or_else(|e| panic!("{transform:?}: {e:?}"))
}

/// Seals one packet.
pub fn seal<E: Engine>(e: &mut E, key: &E::Key, packet: &mut [u8], high: Option<u32>) -> bool {
    let mut job = [EspJob {
        key,
        packet,
        sequence_high: high,
        ok: false,
    }];
    e.seal(&mut job);
    job[0].ok
}

/// Opens one packet.
pub fn open<E: Engine>(e: &mut E, key: &E::Key, packet: &mut [u8], high: Option<u32>) -> bool {
    let mut job = [EspJob {
        key,
        packet,
        sequence_high: high,
        ok: false,
    }];
    e.open(&mut job);
    job[0].ok
}

/// Signs one packet.
pub fn sign<E: Engine>(
    e: &mut E,
    key: &E::Key,
    header: &[u8],
    packet: &mut [u8],
    high: Option<u32>,
) -> bool {
    let mut job = [AhJob {
        key,
        header,
        packet,
        sequence_high: high,
        ok: false,
    }];
    e.sign(&mut job);
    job[0].ok
}

/// Verifies one packet.
pub fn verify<E: Engine>(
    e: &mut E,
    key: &E::Key,
    header: &[u8],
    packet: &mut [u8],
    high: Option<u32>,
) -> bool {
    let mut job = [AhJob {
        key,
        header,
        packet,
        sequence_high: high,
        ok: false,
    }];
    e.verify(&mut job);
    job[0].ok
}

/// Seals `clear` and expects `sealed`; opens `sealed` and expects `clear`; refuses it with a bit changed.
pub fn both_ways<E: Engine>(
    e: &mut E,
    key: &E::Key,
    clear: &[u8],
    sealed: &[u8],
    icv: usize,
    high: Option<u32>,
) {
    let mut packet = clear.to_vec();
    packet.resize(clear.len() + icv, 0xa5);
    assert!(seal(e, key, &mut packet, high));
    assert_eq!(packet, sealed);
    assert!(open(e, key, &mut packet, high));
    assert_eq!(&packet[..clear.len()], clear);
    for byte in [0, 4, 8, sealed.len() - icv, sealed.len() - 1] {
        let mut packet = sealed.to_vec();
        packet[byte] ^= 1;
        assert!(!open(e, key, &mut packet, high), "byte {byte} changed");
    }
    let other_high = high.map_or(Some(0), |h| Some(h ^ 1));
    assert!(!open(e, key, &mut sealed.to_vec(), other_high));
}
