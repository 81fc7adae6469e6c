//! NIST's and NSS's answers. What the messages' hashes are made of is proven by peers.

use portcullis_config::AesKey;
use serde_json::Value;

use super::*;

fn vectors(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["tests"].as_array().unwrap().clone()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn hash_named(name: &str) -> IkeHash {
    match name {
        "SHA-1" | "sha1" => IkeHash::Sha1,
        "SHA-256" | "sha256" => IkeHash::Sha2_256,
        "SHA-384" | "sha384" => IkeHash::Sha2_384,
        "SHA-512" | "sha512" => IkeHash::Sha2_512,
        _ => panic!("{name}"),
    }
}

/// NIST CAVP SP 800-135, both authentications.
fn cavp(
    text: &str,
    skeyid: impl Fn(&Value, Nonces<'_>, &SharedSecret, Cookies) -> Skeyid,
) -> usize {
    let tests = vectors(text);
    for test in &tests {
        let (ni, nr) = (hex(&test["Ni"]), hex(&test["Nr"]));
        let nonces = Nonces {
            initiator: &ni,
            responder: &nr,
        };
        let cookies = Cookies {
            initiator: hex(&test["CKY_I"]).try_into().unwrap(),
            responder: hex(&test["CKY_R"]).try_into().unwrap(),
        };
        let keys = skeyid(test, nonces, &hex(&test["g^xy"]).into(), cookies);
        for (name, ours) in [
            ("SKEYID", &keys.skeyid),
            ("SKEYID_d", &keys.d),
            ("SKEYID_a", &keys.a),
            ("SKEYID_e", &keys.e),
        ] {
            assert_eq!(
                ours.as_ref(),
                hex(&test[name]),
                "{name} of {}",
                test["count"]
            );
        }
    }
    tests.len()
}

#[test]
fn pre_shared_keys_as_nist_has_them() {
    let text = include_str!("../../../tests/vectors/ikev1_psk.json");
    let count = cavp(text, |test, nonces, shared, cookies| {
        let hash = hash_named(test["p_hash"].as_str().unwrap());
        Skeyid::from_psk(hash, &hex(&test["pre-shared-key"]), nonces, shared, cookies)
    });
    assert_eq!(count, 68);
}

#[test]
fn signatures_as_nist_has_them() {
    let text = include_str!("../../../tests/vectors/ikev1_dsa.json");
    let count = cavp(text, |test, nonces, shared, cookies| {
        let hash = hash_named(test["p_hash"].as_str().unwrap());
        Skeyid::from_signatures(hash, nonces, shared, cookies)
    });
    assert_eq!(count, 68);
}

#[test]
fn expansion_as_nss_has_it() {
    let mut seen = 0;
    for test in vectors(include_str!("../../../tests/vectors/nss_ike_kdf.json")) {
        // AES-XCBC as the PRF is not ours (RFC 4109 does not ask for it).
        let prf = test["prf"].as_str().unwrap();
        if prf == "aesxcbc" {
            continue;
        }
        let (hash, key) = (hash_named(prf), hex(&test["ikm"]));
        let length = usize::try_from(test["size"].as_u64().unwrap()).unwrap();
        let seed = hex(&test["seed_data"]);
        let ours = match test["type"].as_str().unwrap() {
            "ikeV1AppB" => appendix_b(hash, &key, length),
            "ikeV1AppBQuick" => quick_mode_keymat(hash, &key, &[&seed], length),
            _ => continue,
        };
        assert_eq!(ours.expose(), hex(&test["okm"]), "{test}");
        seen += 1;
    }
    assert_eq!(seen, 4 * 6);
}

fn example() -> Skeyid {
    let nonces = Nonces {
        initiator: b"ni",
        responder: b"nr",
    };
    let cookies = Cookies {
        initiator: *b"CKY-I...",
        responder: *b"CKY-R...",
    };
    Skeyid::from_psk(
        IkeHash::Sha1,
        b"secret",
        nonces,
        &vec![7; 32].into(),
        cookies,
    )
}

/// Each formula of RFC 2409 5 written out as one concatenation.
#[test]
fn messages_are_hashed_in_the_rfcs_order() {
    let keys = example();
    let public = PublicValues {
        initiator: b"g^xi",
        responder: b"g^xr",
    };
    let nonces = Nonces {
        initiator: b"ni",
        responder: b"nr",
    };
    let spell = |key: &Digest, text: &[u8]| prf(IkeHash::Sha1, key.as_ref(), &[text]);
    let sha1 = IkeHash::Sha1;
    assert_eq!(
        keys.hash_i(sha1, public, b"SAi", b"IDi"),
        spell(&keys.skeyid, b"g^xig^xrCKY-I...CKY-R...SAiIDi")
    );
    assert_eq!(
        keys.hash_r(sha1, public, b"SAi", b"IDr"),
        spell(&keys.skeyid, b"g^xrg^xiCKY-R...CKY-I...SAiIDr")
    );
    let id = 0x4142_4344;
    assert_eq!(keys.hash_1(id, b"rest"), spell(&keys.a, b"ABCDrest"));
    assert_eq!(
        keys.hash_2(id, b"ni", b"rest"),
        spell(&keys.a, b"ABCDnirest")
    );
    assert_eq!(keys.hash_3(id, nonces), spell(&keys.a, b"\0ABCDninr"));
    let pfs = SharedSecret::from(b"g(qm)^xy".to_vec());
    assert_eq!(
        keys.keymat(3, 0x5350_4931, nonces, Some(&pfs), 20).expose(),
        spell(&keys.d, b"g(qm)^xy\x03SPI1ninr").as_ref()
    );
    assert_eq!(
        keys.keymat(3, 0x5350_4931, nonces, None, 20).expose(),
        spell(&keys.d, b"\x03SPI1ninr").as_ref()
    );
}

#[test]
fn ivs_are_hashes_cut_to_a_block() {
    let keys = example();
    let public = PublicValues {
        initiator: b"g^xi",
        responder: b"g^xr",
    };
    for (cipher, block) in [
        (IkeCipher::AesCbc(AesKey::Aes256), 16),
        (IkeCipher::TripleDesCbc, 8),
    ] {
        let phase1 = keys.phase1_iv(cipher, public);
        let spelt = hash(IkeHash::Sha1, &[b"g^xig^xr"]);
        assert_eq!(phase1.as_ref(), &spelt.as_ref()[..block]);
        let text = [phase1.as_ref(), b"ABCD"].concat();
        assert_eq!(
            keys.exchange_iv(cipher, &phase1, 0x4142_4344).as_ref(),
            &hash(IkeHash::Sha1, &[&text]).as_ref()[..block]
        );
    }
}

#[test]
fn nothing_is_shown() {
    let keys = example();
    let shown = format!("{keys:?} {:?}", keys.cipher_key(IkeCipher::TripleDesCbc));
    assert!(!shown.contains("[1") && !shown.contains(", 2"), "{shown}");
    assert!(shown.contains("Digest(20 bytes)"), "{shown}");
}
