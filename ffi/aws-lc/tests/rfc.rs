//! The RFCs' examples, what OpenSSL signs, and what must be refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use aws_lc::elliptic::Curve;
use aws_lc::signature::{Algorithm, PrivateKey, PublicKey};
use aws_lc::{Error, modp, x25519};
use serde_json::Value;

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn modp_examples() -> Vec<(Value, Value)> {
    let file: Value = serde_json::from_str(include_str!("vectors/rfc5114_groups.json")).unwrap();
    let groups = file["params"].as_array().unwrap();
    let of_group = |test: &Value| groups.iter().find(|group| group["group"] == test["group"]);
    file["tests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|test| Some((of_group(test)?.clone(), test.clone())))
        .collect()
}

#[test]
fn modp_of_rfc_5114() {
    let examples = modp_examples();
    assert_eq!(examples.len(), 3);
    for (group, test) in examples {
        let (p, g) = (hex(&group["p"]), hex(&group["g"]));
        let (xa, ya) = (hex(&test["xA"]), hex(&test["yA"]));
        let (xb, yb) = (hex(&test["xB"]), hex(&test["yB"]));
        // Their generators are as long as peers' values, and powers of them computed alike.
        assert_eq!(modp::agree(&p, &xa, &g).unwrap()[..], ya);
        assert_eq!(modp::agree(&p, &xb, &g).unwrap()[..], yb);
        let secret = hex(&test["Z"]);
        assert_eq!(modp::agree(&p, &xa, &yb).unwrap()[..], secret);
        assert_eq!(modp::agree(&p, &xb, &ya).unwrap()[..], secret);
    }
}

#[test]
fn modp_values_out_of_range_are_refused() {
    let (group, test) = modp_examples().remove(0);
    let (p, x) = (hex(&group["p"]), hex(&test["xA"]));
    let plus = |number: i16| {
        let mut out = p.clone();
        let last = out.last_mut().unwrap();
        *last = u8::try_from(i16::from(*last) + number).unwrap();
        out
    };
    let small = |number: u8| {
        let mut out = vec![0; p.len()];
        *out.last_mut().unwrap() = number;
        out
    };
    for bad in [
        small(0),
        small(1),
        plus(-1),
        p.clone(),
        plus(1),
        vec![255; p.len()],
    ] {
        assert_eq!(modp::agree(&p, &x, &bad), Err(Error::PublicValue));
    }
    for good in [small(2), plus(-2)] {
        assert!(modp::agree(&p, &x, &good).is_ok());
    }
    let short = &small(2)[1..];
    assert_eq!(modp::agree(&p, &x, short), Err(Error::PublicValue));
    let long = [&[0], &small(2)[..]].concat();
    assert_eq!(modp::agree(&p, &x, &long), Err(Error::PublicValue));
    assert_eq!(modp::public_value(&p, 2, &[0; 20]), Err(Error::PrivateKey));
}

#[test]
fn private_keys_out_of_range_are_refused() {
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let length = curve.length();
        for bad in [
            vec![0; length],
            vec![255; length],
            vec![1; length - 1],
            vec![1; length + 1],
        ] {
            assert_eq!(
                curve.public_value(&bad),
                Err(Error::PrivateKey),
                "{curve:?}"
            );
        }
        let mut one = vec![0; length];
        one[length - 1] = 1;
        let generator = curve.public_value(&one).unwrap();
        assert_eq!(
            curve.agree(&one, &generator).unwrap()[..],
            generator[..length]
        );
        let mut off = generator.clone();
        off[2 * length - 1] ^= 1;
        assert_eq!(curve.agree(&one, &off), Err(Error::PublicValue));
        assert_eq!(
            curve.agree(&one, &vec![0; 2 * length]),
            Err(Error::PublicValue)
        );
        assert_eq!(curve.agree(&one, &generator[1..]), Err(Error::PublicValue));
        assert_eq!(curve.agree(&one, &[]), Err(Error::PublicValue));
    }
    assert_eq!(x25519::public_value(&[1; 31]), Err(Error::PrivateKey));
    assert_eq!(x25519::agree(&[1; 32], &[9; 33]), Err(Error::PublicValue));
    assert_eq!(x25519::agree(&[1; 32], &[0; 32]), Err(Error::PublicValue));
}

#[test]
fn ecdsa_of_rfc_4754() {
    let file: Value = serde_json::from_str(include_str!("vectors/rfc4754_ecdsa.json")).unwrap();
    let tests = file["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 3);
    for test in tests {
        let curve = match test["curve"].as_str().unwrap() {
            "256" => Curve::P256,
            "384" => Curve::P384,
            _ => Curve::P521,
        };
        let public = [hex(&test["gwx"]), hex(&test["gwy"])].concat();
        assert_eq!(curve.public_value(&hex(&test["w"])).unwrap(), public);
        let key = PublicKey::ecdsa(curve, &[&[4], &public[..]].concat()).unwrap();
        // Printed as a number, which for SHA-512 has two zeros before it.
        let hash = hex(&test["h"]);
        let hash = &hash[hash.len() - hash.len().min(64)..];
        let mut signature = [hex(&test["r"]), hex(&test["s"])].concat();
        assert_eq!(key.verify(hash, &signature), Ok(()));
        assert_eq!(key.verify(&hash[1..], &signature), Err(Error::Signature));
        let short = &signature[..signature.len() - 1];
        assert_eq!(key.verify(hash, short), Err(Error::Signature));
        for at in 0..signature.len() {
            signature[at] ^= 0x10;
            assert_eq!(
                key.verify(hash, &signature),
                Err(Error::Signature),
                "byte {at}"
            );
            signature[at] ^= 0x10;
        }
    }
}

#[test]
fn rsa_signs_bare_hashes_as_openssl_does() {
    let private = PrivateKey::from_pkcs8(include_bytes!("vectors/rsa2048.pk8")).unwrap();
    let public = PublicKey::rsa(include_bytes!("vectors/rsa2048.pub")).unwrap();
    assert_eq!(private.algorithm(), Algorithm::Rsa(2048));
    assert_eq!(public.algorithm(), Algorithm::Rsa(2048));
    assert!(private.matches(&public));
    for (length, theirs) in [
        (20, include_bytes!("vectors/rsa2048.20.sig")),
        (32, include_bytes!("vectors/rsa2048.32.sig")),
        (64, include_bytes!("vectors/rsa2048.64.sig")),
    ] {
        let hash = vec![b'h'; length];
        assert_eq!(private.sign(&hash).unwrap(), theirs);
        assert_eq!(public.verify(&hash, theirs), Ok(()));
        let mut other = hash.clone();
        other[length - 1] ^= 1;
        assert_eq!(public.verify(&other, theirs), Err(Error::Signature));
        assert_eq!(public.verify(&hash[1..], theirs), Err(Error::Signature));
        assert_eq!(public.verify(&hash, &theirs[1..]), Err(Error::Signature));
        assert_eq!(public.verify(&hash, &[0; 256]), Err(Error::Signature));
        assert_eq!(public.verify(&hash, &[255; 256]), Err(Error::Signature));
    }
    assert_eq!(private.sign(&[0; 246]), Err(Error::HashLength));
    assert!(!format!("{private:?} {public:?}").contains('['));
}

#[test]
fn ecdsa_signatures_verify_under_their_key_alone() {
    let rsa = PublicKey::rsa(include_bytes!("vectors/rsa2048.pub")).unwrap();
    let mut publics = Vec::new();
    for (curve, private, public) in [
        (
            Curve::P256,
            &include_bytes!("vectors/p256.pk8")[..],
            &include_bytes!("vectors/p256.pub")[..],
        ),
        (
            Curve::P384,
            include_bytes!("vectors/p384.pk8"),
            include_bytes!("vectors/p384.pub"),
        ),
        (
            Curve::P521,
            include_bytes!("vectors/p521.pk8"),
            include_bytes!("vectors/p521.pub"),
        ),
    ] {
        let private = PrivateKey::from_pkcs8(private).unwrap();
        let public = PublicKey::ecdsa(curve, public).unwrap();
        assert_eq!(private.algorithm(), Algorithm::Ecdsa(curve));
        assert!(private.matches(&public) && !private.matches(&rsa));
        assert!(publics.iter().all(|other| !private.matches(other)));
        let signature = private.sign(&[5; 32]).unwrap();
        assert_eq!(signature.len(), 2 * curve.length());
        assert_eq!(public.verify(&[5; 32], &signature), Ok(()));
        assert_eq!(public.verify(&[6; 32], &signature), Err(Error::Signature));
        for other in &publics {
            assert_eq!(other.verify(&[5; 32], &signature), Err(Error::Signature));
        }
        publics.push(public);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for der in [
        &include_bytes!("vectors/rsa2048.pk8")[..],
        include_bytes!("vectors/p256.pk8"),
        include_bytes!("vectors/p521.pk8"),
    ] {
        for length in 0..der.len() {
            assert!(PrivateKey::from_pkcs8(&der[..length]).is_err(), "{length}");
        }
        let longer = [der, &[0]].concat();
        assert!(PrivateKey::from_pkcs8(&longer).is_err());
    }
    let ed25519 = include_bytes!("vectors/ed25519.pk8");
    assert_eq!(
        PrivateKey::from_pkcs8(ed25519).unwrap_err(),
        Error::KeyEncoding
    );
    let rsa = include_bytes!("vectors/rsa2048.pub");
    for length in 0..rsa.len() {
        assert!(PublicKey::rsa(&rsa[..length]).is_err(), "{length}");
    }
    let point = include_bytes!("vectors/p256.pub");
    assert!(PublicKey::ecdsa(Curve::P384, point).is_err());
    assert!(PublicKey::ecdsa(Curve::P256, &point[1..]).is_err());
    assert!(PublicKey::ecdsa(Curve::P256, &[4; 65]).is_err());
}
