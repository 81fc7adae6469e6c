//! Published vectors of single algorithms, through the jobs that packets use.
//!
//! A cipher is seen behind an ESP header that its vector does not have, with an ICV that is not compared. An
//! integrity algorithm is seen under the NULL cipher, where it covers all before the ICV: any message that is as
//! long as an ESP header.

use portcullis_config::{AesKey, Cipher, Integrity, Transform};
use portcullis_ipsec::engine::Engine;

use super::*;

/// Encrypts and decrypts behind a header, under any integrity algorithm.
fn cipher_both_ways<E: Engine>(
    e: &mut E,
    cipher: Cipher,
    keymat: &[u8],
    iv: &[u8],
    clear: &[u8],
    encrypted: &[u8],
) {
    let transform = Transform::Esp(cipher, Some(Integrity::HmacSha2_256_128));
    let key = key(e, transform, keymat, &[7; 32]);
    let header = [&[1, 2, 3, 4, 0, 0, 0, 1], iv].concat();
    let mut packet = [&header[..], clear, &[0; 16]].concat();
    assert!(seal(e, &key, &mut packet, None));
    let end = header.len() + clear.len();
    assert_eq!(packet[..header.len()], header);
    assert_eq!(&packet[header.len()..end], encrypted);
    assert!(open(e, &key, &mut packet, None));
    assert_eq!(&packet[header.len()..end], clear);
}

/// RFC 3686 6.
pub fn rfc3686_ctr<E: Engine>(e: &mut E) {
    let cases = cases(include_str!("../vectors/rfc3686_aes_ctr.json"));
    assert_eq!(cases.len(), 9);
    for case in cases {
        let [raw_key, nonce, iv] = ["key", "nonce", "iv"].map(|f| bytes(&case, f));
        let [clear, encrypted] = ["plaintext", "ciphertext"].map(|f| bytes(&case, f));
        let cipher = Cipher::AesCtr(aes(raw_key.len()));
        let keymat = [raw_key, nonce].concat();
        cipher_both_ways(e, cipher, &keymat, &iv, &clear, &encrypted);
    }
}

/// NIST CAVP: multi-block messages of AES-CBC and 3DES-CBC.
pub fn nist_cbc<E: Engine>(e: &mut E) {
    let mut count = 0;
    for file in [
        include_str!("../vectors/CBCMMT128.rsp"),
        include_str!("../vectors/CBCMMT192.rsp"),
        include_str!("../vectors/CBCMMT256.rsp"),
        include_str!("../vectors/TCBCMMT3.rsp"),
    ] {
        for block in file.split("\r\n\r\n").flat_map(|b| b.split("\n\n")) {
            let field = |name: &str| {
                let find = |line: &str| Some(unhex(line.strip_prefix(name)?.strip_prefix(" = ")?));
                block.lines().map(str::trim).find_map(find)
            };
            let Some(iv) = field("IV") else { continue };
            let (cipher, keymat) = match field("KEY") {
                Some(key) => (Cipher::AesCbc(aes(key.len())), key),
                None => (
                    Cipher::TripleDesCbc,
                    ["KEY1", "KEY2", "KEY3"].map(|k| field(k).unwrap()).concat(),
                ),
            };
            let [clear, encrypted] = ["PLAINTEXT", "CIPHERTEXT"].map(|f| field(f).unwrap());
            cipher_both_ways(e, cipher, &keymat, &iv, &clear, &encrypted);
            count += 1;
        }
    }
    assert_eq!(count, 4 * 20);
}

/// Checks the ICV over `message`, if packets can show it: `None` if message or key are too short or too long.
pub fn mac_both_ways<E: Engine>(
    e: &mut E,
    integrity: Integrity,
    mac_key: &[u8],
    message: &[u8],
    mac: &[u8],
) -> Option<()> {
    if mac_key.len() != integrity.key_length() || message.len() < 8 {
        return None;
    }
    let icv = integrity.icv_length();
    let key = key(
        e,
        Transform::Esp(Cipher::Null, Some(integrity)),
        &[],
        mac_key,
    );
    let sealed = [message, mac.get(..icv)?].concat();
    let mut packet = [message, &vec![0xff; icv]].concat();
    assert!(seal(e, &key, &mut packet, None));
    assert_eq!(packet, sealed);
    assert!(open(e, &key, &mut packet, None));
    for byte in 0..packet.len() {
        packet[byte] ^= 1;
        assert!(!open(e, &key, &mut packet, None));
        packet[byte] ^= 1;
    }
    // The end of the message as the high half of the sequence number (RFC 4303 2.2.1).
    if let Some((start, high)) = message
        .split_last_chunk()
        .filter(|(start, _)| start.len() >= 8)
    {
        let mut packet = [start, &sealed[message.len()..]].concat();
        assert!(open(e, &key, &mut packet, Some(u32::from_be_bytes(*high))));
    }
    Some(())
}

/// RFC 3566 4.
pub fn rfc3566_xcbc<E: Engine>(e: &mut E) {
    let cases = cases(include_str!("../vectors/rfc3566_aes_xcbc.json"));
    assert_eq!(cases.len(), 7);
    let shown = cases.iter().filter_map(|case| {
        let [key, message, mac] = ["key", "message", "mac"].map(|f| bytes(case, f));
        mac_both_ways(e, Integrity::AesXcbc96, &key, &message, &mac)
    });
    assert_eq!(shown.count(), 5);
}

/// NIST SP 800-38B, cut to 96 bits as RFC 4494 does.
pub fn nist_cmac<E: Engine>(e: &mut E) {
    let file = include_str!("../vectors/nist-800-38b-aes128.txt");
    let mut shown = 0;
    for block in file.split("\n\n") {
        let field = |name: &str| {
            let find = |line: &str| Some(unhex(line.strip_prefix(name)?.strip_prefix(" = ")?));
            block.lines().find_map(find)
        };
        let (Some(key), Some(message)) = (field("KEY"), field("MESSAGE")) else {
            continue;
        };
        let mac = field("OUTPUT").unwrap();
        mac_both_ways(e, Integrity::AesCmac96, &key, &message, &mac).unwrap();
        shown += 1;
    }
    assert_eq!(shown, 3);
}

/// RFC 4868 2.7.2: keys and ICVs as IPsec has them.
pub fn rfc4868_hmac_sha2<E: Engine>(e: &mut E) {
    let cases = cases(include_str!("../vectors/rfc4868_hmac_sha2_ipsec.json"));
    let mut shown = 0;
    for case in cases {
        for (integrity, prefix, field) in [
            (Integrity::HmacSha2_256_128, "AUTH256", "PRF-HMAC-SHA-256"),
            (Integrity::HmacSha2_384_192, "AUTH384", "PRF-HMAC-SHA-384"),
            (Integrity::HmacSha2_512_256, "AUTH512", "PRF-HMAC-SHA-512"),
        ] {
            if text(&case, "case").starts_with(prefix) {
                let [key, message, mac] = ["Key", "Data", field].map(|f| bytes(&case, f));
                mac_both_ways(e, integrity, &key, &message, &mac).unwrap();
                shown += 1;
            }
        }
    }
    assert_eq!(shown, 12);
}

/// RFC 2202: those with a key of the length that IPsec fixes.
pub fn rfc2202_hmac<E: Engine>(e: &mut E) {
    let cases = cases(include_str!("../vectors/rfc2202_hmac_md5_sha1.json"));
    let shown = cases.iter().filter_map(|case| {
        let integrity = match text(case, "alg") {
            "HMAC-MD5" => Integrity::HmacMd5_96,
            _ => Integrity::HmacSha1_96,
        };
        let [key, message, mac] = ["key", "data", "digest"].map(|f| bytes(case, f));
        mac_both_ways(e, integrity, &key, &message, &mac)
    });
    assert_eq!(shown.count(), 6);
}

/// The key lengths that IPsec fixes (RFC 2403 to RFC 7634), and only they, are taken.
pub fn key_lengths<E: Engine>(e: &E) {
    use AesKey::{Aes128, Aes192, Aes256};
    let aead = |cipher, length| (Transform::Esp(cipher, None), length, 0);
    let plain = |cipher, length| {
        (
            Transform::Esp(cipher, Some(Integrity::HmacSha1_96)),
            length,
            20,
        )
    };
    let ah = |integrity, length| (Transform::Ah(integrity), 0, length);
    for (transform, cipher, integrity) in [
        aead(Cipher::AesGcm(Aes128, icv(16)), 20),
        aead(Cipher::AesGcm(Aes192, icv(12)), 28),
        aead(Cipher::AesGcm(Aes256, icv(8)), 36),
        aead(Cipher::AesGmac(Aes128), 20),
        aead(Cipher::AesCcm(Aes128, icv(16)), 19),
        aead(Cipher::AesCcm(Aes192, icv(12)), 27),
        aead(Cipher::AesCcm(Aes256, icv(8)), 35),
        aead(Cipher::ChaCha20Poly1305, 36),
        plain(Cipher::AesCbc(Aes256), 32),
        plain(Cipher::AesCtr(Aes192), 28),
        plain(Cipher::TripleDesCbc, 24),
        plain(Cipher::DesCbc, 8),
        plain(Cipher::Null, 0),
        ah(Integrity::HmacMd5_96, 16),
        ah(Integrity::HmacSha1_96, 20),
        ah(Integrity::HmacSha2_256_128, 32),
        ah(Integrity::HmacSha2_384_192, 48),
        ah(Integrity::HmacSha2_512_256, 64),
        ah(Integrity::AesXcbc96, 16),
        ah(Integrity::AesCmac96, 16),
        ah(Integrity::AesGmac(Aes256), 36),
    ] {
        for (c, i) in (0..=72).flat_map(|n| [(n, integrity), (cipher, n)]) {
            let [cipher_key, integrity_key] = [c, i].map(|n| Secret::new(vec![0x5a; n]));
            let result = e.key(transform, &cipher_key, &integrity_key).map(|_| ());
            let expected = match (c, i) == (cipher, integrity) {
                true => Ok(()),
                false => Err(KeyError::Length),
            };
            assert_eq!(result, expected, "{transform:?} with {c} and {i} bytes");
        }
    }
}

/// ESP does not encrypt without authentication (RFC 8221 4), GMAC of AH does not serve ESP (RFC 4543 5.3), and
/// a combined mode takes no second algorithm.
pub fn impossible_transforms<E: Engine>(e: &E) {
    let aes = AesKey::Aes128;
    for (transform, cipher, integrity) in [
        (Transform::Esp(Cipher::AesCbc(aes), None), 16, 0),
        (Transform::Esp(Cipher::Null, None), 0, 0),
        (
            Transform::Esp(Cipher::AesCbc(aes), Some(Integrity::AesGmac(aes))),
            16,
            20,
        ),
        (
            Transform::Esp(Cipher::AesGcm(aes, icv(16)), Some(Integrity::HmacSha1_96)),
            20,
            20,
        ),
    ] {
        let [cipher, integrity] = [cipher, integrity].map(|n| Secret::new(vec![1; n]));
        assert_eq!(
            e.key(transform, &cipher, &integrity).map(|_| ()),
            Err(KeyError::Unsupported),
            "{transform:?}"
        );
    }
}
