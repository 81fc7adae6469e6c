//! Packets of every algorithm, with and without ESN, that OpenSSL made.

use portcullis_config::{AesKey, Cipher, Integrity, Transform};
use portcullis_ipsec::engine::Engine;
use serde_json::Value;

use super::*;

fn aes_of(name: &str) -> AesKey {
    let bits: usize = name.rsplit('-').next().unwrap().parse().unwrap();
    aes(bits / 8)
}

fn cipher(name: &str) -> Cipher {
    let parts: Vec<_> = name.split('-').collect();
    match parts[..] {
        ["aes", "gcm", length, _] => Cipher::AesGcm(aes_of(name), icv(length.parse().unwrap())),
        ["aes", "ccm", length, _] => Cipher::AesCcm(aes_of(name), icv(length.parse().unwrap())),
        ["aes", "gmac", _] => Cipher::AesGmac(aes_of(name)),
        ["aes", "cbc", _] => Cipher::AesCbc(aes_of(name)),
        ["aes", "ctr", _] => Cipher::AesCtr(aes_of(name)),
        ["chacha20", "poly1305"] => Cipher::ChaCha20Poly1305,
        ["3des", "cbc"] => Cipher::TripleDesCbc,
        ["des", "cbc"] => Cipher::DesCbc,
        ["null"] => Cipher::Null,
        _ => panic!("unknown cipher {name}"),
    }
}

fn integrity(name: &str) -> Integrity {
    match name {
        "hmac-md5-96" => Integrity::HmacMd5_96,
        "hmac-sha1-96" => Integrity::HmacSha1_96,
        "hmac-sha2-256-128" => Integrity::HmacSha2_256_128,
        "hmac-sha2-384-192" => Integrity::HmacSha2_384_192,
        "hmac-sha2-512-256" => Integrity::HmacSha2_512_256,
        "aes-cmac-96" => Integrity::AesCmac96,
        _ if name.starts_with("aes-gmac-") => Integrity::AesGmac(aes_of(name)),
        _ => panic!("unknown integrity algorithm {name}"),
    }
}

fn transform(case: &Value) -> Transform {
    match text(case, "protocol") {
        "ah" => Transform::Ah(integrity(text(case, "integrity"))),
        _ => Transform::Esp(
            cipher(text(case, "cipher")),
            case["integrity"].as_str().map(integrity),
        ),
    }
}

fn all() -> Vec<Value> {
    let cases = cases(include_str!("../vectors/packets.json"));
    assert!(cases.len() > 300);
    cases
}

fn high(case: &Value) -> Option<u32> {
    case["esn"].as_u64().map(|high| high as u32)
}

/// One packet at a time, both ways, and with bits changed.
pub fn one_by_one<E: Engine>(e: &mut E) {
    for case in all() {
        let [cipher_key, integrity_key] = ["cipher_key", "integrity_key"].map(|f| bytes(&case, f));
        let [clear, sealed] = ["clear", "sealed"].map(|f| bytes(&case, f));
        let key = key(e, transform(&case), &cipher_key, &integrity_key);
        if text(&case, "protocol") == "esp" {
            let icv = sealed.len() - clear.len();
            both_ways(e, &key, &clear, &sealed, icv, high(&case));
            continue;
        }
        let header = bytes(&case, "header");
        let mut packet = clear.clone();
        assert!(sign(e, &key, &header, &mut packet, high(&case)));
        assert_eq!(packet, sealed);
        assert!(verify(e, &key, &header, &mut packet, high(&case)));
        assert_eq!(packet, sealed, "verifying leaves the packet as it is");
        for byte in 0..sealed.len() {
            let mut packet = sealed.clone();
            packet[byte] ^= 0x80;
            assert!(
                !verify(e, &key, &header, &mut packet, high(&case)),
                "byte {byte}"
            );
        }
        let mut other = header.clone();
        other[7] ^= 1;
        assert!(!verify(e, &key, &other, &mut packet, high(&case)));
    }
}

/// All packets in one burst, of all algorithms side by side; every third one is damaged.
pub fn in_one_burst<E: Engine>(e: &mut E) {
    let cases = all();
    let esp: Vec<_> = cases
        .iter()
        .filter(|c| text(c, "protocol") == "esp")
        .collect();
    let keys: Vec<_> = esp
        .iter()
        .map(|c| {
            key(
                e,
                transform(c),
                &bytes(c, "cipher_key"),
                &bytes(c, "integrity_key"),
            )
        })
        .collect();
    let sealed: Vec<_> = esp.iter().map(|c| bytes(c, "sealed")).collect();
    let mut packets: Vec<_> = esp
        .iter()
        .zip(&sealed)
        .map(|(c, sealed)| {
            let mut packet = bytes(c, "clear");
            packet.resize(sealed.len(), 0);
            packet
        })
        .collect();

    let mut jobs: Vec<_> = packets
        .iter_mut()
        .zip(keys.iter().zip(&esp))
        .map(|(packet, (key, c))| EspJob {
            key,
            packet,
            sequence_high: high(c),
            ok: false,
        })
        .collect();
    e.seal(&mut jobs);
    assert!(jobs.iter().all(|job| job.ok));
    for (job, sealed) in jobs.iter_mut().zip(&sealed) {
        assert_eq!(job.packet, sealed);
    }
    for job in jobs.iter_mut().step_by(3) {
        job.packet[4] ^= 1;
    }
    e.open(&mut jobs);
    for (i, (job, c)) in jobs.iter().zip(&esp).enumerate() {
        assert_eq!(job.ok, i % 3 != 0, "job {i}: {:?}", transform(c));
        if job.ok {
            let clear = bytes(c, "clear");
            assert_eq!(job.packet[..clear.len()], clear);
        }
    }
}
