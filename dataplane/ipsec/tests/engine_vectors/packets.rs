//! Whole ESP packets that others have published.

use portcullis_config::{AeadIcv, AesKey, Cipher, Integrity, Transform};
use portcullis_ipsec::engine::Engine;

use super::*;

const HMAC_KEY: [u8; 32] = [0x42; 32];

/// draft-mcgrew-gcm-test-01: GCM and GMAC, 128 to 256 bits, with and without ESN.
pub fn draft_mcgrew_gcm<E: Engine>(e: &mut E) {
    let cases = cases(include_str!(
        "../vectors/draft_mcgrew_gcm_test_01_esp_gcm.json"
    ));
    assert_eq!(cases.len(), 17);
    for case in cases {
        let [raw_key, salt, iv, aad] = ["key", "salt", "iv", "aad"].map(|f| bytes(&case, f));
        let tag = bytes(&case, "tag");
        let aes = aes(raw_key.len());
        let keymat = [raw_key, salt].concat();
        if text(&case, "mode").starts_with("GMAC") {
            // All of the packet is associated data: SPI, sequence number, IV, payload (RFC 4543 3.3).
            let key = key(e, Transform::Esp(Cipher::AesGmac(aes), None), &keymat, &[]);
            both_ways(e, &key, &aad, &[&aad[..], &tag].concat(), 16, None);
            continue;
        }
        // The AAD is SPI, high and low half of the sequence number (RFC 4106 5).
        let (high, low) = match aad.len() {
            12 => (
                Some(u32::from_be_bytes(aad[4..8].try_into().unwrap())),
                &aad[8..],
            ),
            _ => (None, &aad[4..]),
        };
        assert_eq!(high.is_some(), case["esn"].as_bool().unwrap());
        let header = [&aad[..4], low, &iv].concat();
        let clear = [&header[..], &bytes(&case, "plaintext")].concat();
        let ciphertext = bytes(&case, "ciphertext");
        for (icv, length) in [
            (AeadIcv::Icv16, 16),
            (AeadIcv::Icv12, 12),
            (AeadIcv::Icv8, 8),
        ] {
            let key = key(
                e,
                Transform::Esp(Cipher::AesGcm(aes, icv), None),
                &keymat,
                &[],
            );
            let sealed = [&header[..], &ciphertext, &tag[..length]].concat();
            both_ways(e, &key, &clear, &sealed, length, high);
        }
    }
}

/// RFC 7634 appendix A.
pub fn rfc7634_packet<E: Engine>(e: &mut E) {
    let cases = cases(include_str!("../vectors/rfc7634_chacha20poly1305.json"));
    let case = cases.iter().find(|c| c["name"] == "A-esp").unwrap();
    let keymat = [bytes(case, "key"), bytes(case, "salt")].concat();
    let clear = [
        bytes(case, "aad"),
        bytes(case, "iv"),
        bytes(case, "plaintext"),
    ]
    .concat();
    let ip_packet = bytes(case, "output_packet");
    let key = key(
        e,
        Transform::Esp(Cipher::ChaCha20Poly1305, None),
        &keymat,
        &[],
    );
    both_ways(e, &key, &clear, &ip_packet[20..], 16, None);
}

/// RFC 3602 4: four CBC vectors and four ESP packets. They carry no ICV, so only the ciphertext is compared.
pub fn rfc3602_cbc<E: Engine>(e: &mut E) {
    let cases = cases(include_str!("../vectors/rfc3602_aes_cbc_esp.json"));
    assert_eq!(cases.len(), 8);
    let transform = Transform::Esp(
        Cipher::AesCbc(AesKey::Aes128),
        Some(Integrity::HmacSha2_256_128),
    );
    for case in cases {
        let [raw_key, iv] = ["key", "iv"].map(|f| bytes(&case, f));
        let key = key(e, transform, &raw_key, &HMAC_KEY);
        let (clear, sealed) = if text(&case, "kind") == "esp-packet" {
            let sealed = bytes(&case, "output_packet")[20..].to_vec();
            // In transport mode the inner packet's IP header is not encrypted.
            let skip = if text(&case, "mode") == "transport" {
                20
            } else {
                0
            };
            let mut clear = sealed[..24].to_vec();
            clear.extend(&bytes(&case, "input_packet")[skip..]);
            // Padding 1, 2, 3, ... to the block, pad length, next header (RFC 4303 2.4).
            let pad = (sealed.len() - clear.len() - 2) as u8;
            clear.extend(1..=pad);
            clear.extend([pad, case["next_header"].as_u64().unwrap() as u8]);
            (clear, sealed)
        } else {
            let header = [&[0, 0, 1, 0, 0, 0, 0, 1], &iv[..]].concat();
            (
                [&header[..], &bytes(&case, "plaintext")].concat(),
                [&header[..], &bytes(&case, "ciphertext")].concat(),
            )
        };
        let mut packet = [&clear[..], &[0; 16]].concat();
        assert!(seal(e, &key, &mut packet, None));
        assert_eq!(&packet[..sealed.len()], sealed, "case {}", case["case"]);
        assert!(open(e, &key, &mut packet, None));
        assert_eq!(&packet[..clear.len()], clear);
    }
}
