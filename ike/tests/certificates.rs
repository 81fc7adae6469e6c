//! Which certificates are believed: those of vectors/pki, made for this, and NIST's PKITS.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use portcullis_config::{Credentials, Identity, Revocation, Secret};
use portcullis_ike::crypto::certificate::{Certificate, CertificateError};
use portcullis_ike::crypto::credentials::{
    CredentialsError, CredentialsWarning, LoadedCredentials,
};
use portcullis_ike::crypto::pkcs7;
use portcullis_ike::crypto::signature::Algorithm;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

fn pki(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pki");
    std::fs::read(folder.join(file)).unwrap()
}

fn credentials() -> Credentials {
    Credentials {
        chain: vec![pki("gateway.crt")],
        private_key: Secret::new(pki("p256.pk8")),
        roots: vec![pki("root.crt")],
        crls: Vec::new(),
        revocation: Revocation::Off,
        name_roots: true,
    }
}

fn subject(file: &str) -> Identity {
    let certificate = Certificate::from_der(&pki(file)).unwrap();
    Identity::DistinguishedName(certificate.subject().to_vec())
}

/// Verifies a peer that sends these files, whose first is its own, and presents its subject.
fn verify(credentials: Credentials, files: &[&str]) -> Result<Algorithm, CertificateError> {
    let ders: Vec<_> = files.iter().map(|file| pki(file)).collect();
    let ders: Vec<_> = ders.iter().map(Vec::as_slice).collect();
    LoadedCredentials::new(&credentials)
        .unwrap()
        .verify(&ders, NOW, &subject(files[0]), None)
        .map(|key| key.algorithm())
}

fn believed(files: &[&str]) -> Result<(), CertificateError> {
    verify(credentials(), files).map(|_| ())
}

#[test]
fn good_certificates_are_believed() {
    for files in [
        &["gateway.crt"][..],
        &["rsa.crt"],
        &["p384.crt"],
        &["p521.crt"],
        &["by_middle.crt", "middle.crt"],
        &["by_middle.crt", "other_root.crt", "root.crt", "middle.crt"],
        &["by_leafs_only.crt", "leafs_only.crt"],
        // RFC 4945 5.1.3.2 and 5.1.3.12.
        &["no_usage.crt"],
        &["commitment.crt"],
        &["ike.crt"],
        &["any_purpose.crt"],
        &["ike_intermediate.crt"],
        &["rsa1024.crt"],
    ] {
        assert_eq!(believed(files), Ok(()), "{files:?}");
    }
    let rsa = Credentials {
        roots: vec![pki("root.crt"), pki("rsa_root.crt")],
        ..credentials()
    };
    assert_eq!(
        verify(rsa.clone(), &["rsa_by_rsa.crt"]),
        Ok(Algorithm::Rsa(2048))
    );
    assert_eq!(verify(rsa, &["sha256.crt"]), Ok(Algorithm::Rsa(2048)));
}

#[test]
fn bad_certificates_are_not() {
    for (files, error) in [
        (&["by_middle.crt"][..], CertificateError::UnknownIssuer),
        (&["rsa_by_rsa.crt"], CertificateError::UnknownIssuer),
        (
            &["rsa_by_rsa.crt", "rsa_root.crt"],
            CertificateError::UnknownIssuer,
        ),
        // Its issuer has the root's name, and another key.
        (
            &["by_namesake.crt"],
            CertificateError::Chain(webpki::Error::InvalidSignatureForPublicKey),
        ),
        (
            &["by_silent.crt", "silent.crt"],
            CertificateError::Chain(webpki::Error::EndEntityUsedAsCa),
        ),
        (
            &["by_middle.crt", "gateway.crt"],
            CertificateError::UnknownIssuer,
        ),
        (
            &["by_expired_middle.crt", "expired_middle.crt"],
            CertificateError::Expired,
        ),
        (
            &["by_too_deep.crt", "too_deep.crt", "leafs_only.crt"],
            CertificateError::Chain(webpki::Error::PathLenConstraintViolated),
        ),
        (
            &["by_weak_middle.crt", "weak_middle.crt"],
            CertificateError::Chain(webpki::Error::InvalidSignatureForPublicKey),
        ),
        (&["expired.crt"], CertificateError::Expired),
        (&["early.crt"], CertificateError::NotYetValid),
        (&["encipherment.crt"], CertificateError::KeyUsage),
        (&["server.crt"], CertificateError::ExtendedKeyUsage),
        (&["rsa768.crt"], CertificateError::WeakKey(768)),
        (
            &["critical.crt"],
            CertificateError::Chain(webpki::Error::UnsupportedCriticalExtension),
        ),
    ] {
        assert_eq!(believed(files), Err(error), "{files:?}");
    }
    let old = Credentials {
        roots: vec![pki("expired_root.crt")],
        ..credentials()
    };
    assert_eq!(
        verify(old, &["by_expired_root.crt"]),
        Err(CertificateError::UnknownIssuer)
    );
    let rsa = Credentials {
        roots: vec![pki("rsa_root.crt")],
        ..credentials()
    };
    let sha1 = verify(rsa, &["sha1.crt"]).unwrap_err();
    assert!(
        sha1.to_string().contains("UnsupportedSignatureAlgorithm"),
        "{sha1}"
    );
}

#[test]
fn only_an_end_entity_of_a_known_kind_is_a_peer() {
    let loaded = LoadedCredentials::new(&credentials()).unwrap();
    let name = Identity::Fqdn("gw.example.org".into());
    let verify = |ders: &[&[u8]]| loaded.verify(ders, NOW, &name, None).map(|_| ());
    assert_eq!(verify(&[]), Err(CertificateError::Missing));
    assert_eq!(verify(&[&pki("root.crt")]), Err(CertificateError::Missing));
    assert_eq!(verify(&[b"nonsense"]), Err(CertificateError::Encoding));
    assert_eq!(
        verify(&[&pki("ed25519.crt")]),
        Err(CertificateError::KeyType)
    );
    assert_eq!(verify(&[&pki("p224.crt")]), Err(CertificateError::KeyType));
    assert_eq!(
        verify(&[&pki("rsa1024.crt")]),
        Err(CertificateError::Identity)
    );
    let gateway = pki("gateway.crt");
    assert_eq!(
        verify(&vec![&gateway[..]; 17]),
        Err(CertificateError::TooMany)
    );
    // What cannot be read, and certificates of others, do not hide the right one.
    assert_eq!(
        verify(&[b"x", &pki("rsa1024.crt"), &pki("root.crt"), &gateway]),
        Ok(())
    );
    for length in 0..gateway.len() {
        assert!(verify(&[&gateway[..length]]).is_err(), "{length}");
    }
}

/// Every bit of a certificate is protected, or not looked at because it is behind a signature that fails.
#[test]
fn a_changed_certificate_is_not_believed() {
    let loaded = LoadedCredentials::new(&credentials()).unwrap();
    let name = Identity::Fqdn("gw.example.org".into());
    let mut der = pki("gateway.crt");
    for at in 0..der.len() {
        der[at] ^= 1;
        assert!(
            loaded.verify(&[&der], NOW, &name, None).is_err(),
            "byte {at}"
        );
        der[at] ^= 1;
    }
    assert!(loaded.verify(&[&der], NOW, &name, None).is_ok());
}

#[test]
fn identities_are_those_that_the_certificate_names() {
    let certificate = Certificate::from_der(&pki("gateway.crt")).unwrap();
    let address = |text: &str| Identity::Address(text.parse().unwrap());
    let fqdn = |text: &str| Identity::Fqdn(text.into());
    let user = |text: &str| Identity::UserFqdn(text.into());
    for identity in [
        fqdn("gw.example.org"),
        fqdn("GW.Example.org"),
        user("Gate@example.org"),
        user("Gate@EXAMPLE.ORG"),
        address("192.0.2.1"),
        address("2001:db8::1"),
        subject("gateway.crt"),
    ] {
        assert!(certificate.is_for(&identity), "{identity:?}");
    }
    for identity in [
        fqdn("example.org"),
        fqdn("gw.example.org."),
        fqdn("Gateway"),
        fqdn("Gate@example.org"),
        fqdn(""),
        user("gate@example.org"),
        user("gw.example.org"),
        address("192.0.2.2"),
        // The same address in its IPv6 form is another name.
        address("::ffff:192.0.2.1"),
        subject("rsa.crt"),
        Identity::DistinguishedName(Vec::new()),
        Identity::KeyId(b"gw.example.org".to_vec()),
    ] {
        assert!(!certificate.is_for(&identity), "{identity:?}");
    }
    let wildcard = Certificate::from_der(&pki("wildcard.crt")).unwrap();
    assert!(!wildcard.is_for(&fqdn("gw.example.org")));
}

#[test]
fn the_peer_must_be_whom_the_connection_expects() {
    let loaded = LoadedCredentials::new(&credentials()).unwrap();
    let gateway = pki("gateway.crt");
    let verify = |presented: &Identity, expected: &Identity| {
        loaded
            .verify(&[&gateway], NOW, presented, Some(expected))
            .map(|_| ())
    };
    let (dn, name) = (
        subject("gateway.crt"),
        Identity::Fqdn("gw.example.org".into()),
    );
    let foreign = Identity::Fqdn("other.example.org".into());
    assert_eq!(verify(&name, &name), Ok(()));
    // The certificate is for both.
    assert_eq!(verify(&dn, &name), Ok(()));
    assert_eq!(verify(&name, &foreign), Err(CertificateError::NotExpected));
    assert_eq!(verify(&foreign, &name), Err(CertificateError::Identity));
    assert_eq!(verify(&foreign, &foreign), Err(CertificateError::Identity));
}

#[test]
fn revocation_is_as_strict_as_configured() {
    use CertificateError::{Chain, RevocationUnknown, Revoked};
    use Revocation::{Known, Off, Required};
    let chain: &[&str] = &["by_middle.crt", "middle.crt"];
    let revoked: &[&str] = &["revoked.crt"];
    let gateway: &[&str] = &["gateway.crt"];
    let forged = Chain(webpki::Error::InvalidCrlSignatureForPublicKey);
    for (files, crls, level, expected) in [
        (revoked, &["root.crl"][..], Off, Ok(())),
        (revoked, &["root.crl"], Known, Err(Revoked)),
        (revoked, &["root.crl"], Required, Err(Revoked)),
        (gateway, &["root.crl"], Known, Ok(())),
        (gateway, &["root.crl"], Required, Ok(())),
        // No list, none of this issuer, an old one.
        (revoked, &[], Known, Ok(())),
        (gateway, &[], Required, Err(RevocationUnknown)),
        (gateway, &["other.crl"], Known, Ok(())),
        (gateway, &["other.crl"], Required, Err(RevocationUnknown)),
        (gateway, &["root_expired.crl"], Known, Ok(())),
        (
            gateway,
            &["root_expired.crl"],
            Required,
            Err(RevocationUnknown),
        ),
        // A list that its issuer did not sign is an error of configuration, and not passed over.
        (revoked, &["root_forged.crl"], Known, Err(forged.clone())),
        (revoked, &["root_forged.crl"], Required, Err(forged)),
        // The newest of several counts, in whichever order they come.
        (
            revoked,
            &["root_expired.crl", "root.crl"],
            Known,
            Err(Revoked),
        ),
        (
            revoked,
            &["root.crl", "root_expired.crl"],
            Known,
            Err(Revoked),
        ),
        (gateway, &["root_expired.crl", "root.crl"], Required, Ok(())),
        // Issuers are looked up, too.
        (chain, &["root_middle.crl"], Known, Err(Revoked)),
        (
            chain,
            &["root_middle.crl", "middle.crl"],
            Required,
            Err(Revoked),
        ),
        (chain, &["root.crl"], Required, Err(RevocationUnknown)),
        (chain, &["middle.crl"], Required, Err(RevocationUnknown)),
        (chain, &["root.crl", "middle.crl"], Required, Ok(())),
    ] {
        let credentials = Credentials {
            crls: crls.iter().map(|file| pki(file)).collect(),
            revocation: level,
            ..credentials()
        };
        let result = verify(credentials, files).map(|_| ());
        assert_eq!(result, expected, "{files:?} {crls:?} {level:?}");
    }
}

#[test]
fn credentials_that_do_not_fit_together_are_refused() {
    let load = |change: fn(&mut Credentials)| {
        let mut changed = credentials();
        change(&mut changed);
        LoadedCredentials::new(&changed).map(|_| ())
    };
    let key = |file| Secret::new(pki(file));
    assert_eq!(load(|_| {}), Ok(()));
    // The client of hybrid authentication proves nothing with them.
    let client = load(|c| {
        c.chain.clear();
        c.private_key = Secret::new(Vec::new());
    });
    assert_eq!(client, Ok(()));
    assert_eq!(
        load(|c| c.chain.clear()),
        Err(CredentialsError::NoCertificate)
    );
    assert_eq!(
        load(|c| c.chain[0] = pki("root.crt")),
        Err(CredentialsError::Authority)
    );
    assert_eq!(
        load(|c| c.chain = vec![pki("encipherment.crt")]),
        Err(CredentialsError::Certificate(0, CertificateError::KeyUsage))
    );
    assert_eq!(
        load(|c| c.chain.push(b"x".to_vec())),
        Err(CredentialsError::Certificate(1, CertificateError::Encoding))
    );
    assert_eq!(
        load(|c| c.private_key = Secret::new(vec![])),
        Err(CredentialsError::PrivateKey)
    );
    let mut other = credentials();
    other.private_key = key("rsa2048.pk8");
    assert_eq!(
        LoadedCredentials::new(&other).unwrap_err(),
        CredentialsError::KeyMismatch
    );
    assert_eq!(
        load(|c| c.chain[0] = pki("rsa.crt")),
        Err(CredentialsError::KeyMismatch)
    );
    assert_eq!(
        load(|c| c.chain[0] = pki("p384.crt")),
        Err(CredentialsError::KeyMismatch)
    );
    assert_eq!(
        load(|c| c.roots.push(vec![])),
        Err(CredentialsError::Root(1))
    );
    assert_eq!(load(|c| c.crls.push(vec![])), Err(CredentialsError::Crl(0)));
    // The keys themselves are never shown.
    let shown = format!(
        "{:?} {:?}",
        credentials(),
        LoadedCredentials::new(&credentials()).unwrap()
    );
    assert!(shown.contains("Secret(138 bytes)"), "{shown}");
    assert!(shown.contains("PrivateKey(Ecdsa(P256))"), "{shown}");
}

#[test]
fn operators_are_warned() {
    let loaded = LoadedCredentials::new(&Credentials {
        roots: vec![
            pki("root.crt"),
            pki("expired_root.crt"),
            pki("weak_middle.crt"),
        ],
        ..credentials()
    });
    let loaded = loaded.unwrap();
    assert_eq!(
        loaded.warnings(NOW),
        [
            CredentialsWarning::Root(1, CertificateError::Expired),
            CredentialsWarning::WeakRoot(2, 768)
        ]
    );
    let late = loaded.warnings(3 * NOW);
    assert_eq!(
        late[0],
        CredentialsWarning::OwnCertificate(CertificateError::Expired)
    );
}

#[test]
fn requests_name_roots_and_are_satisfied_by_issuers() {
    let name = |file: &str| match subject(file) {
        Identity::DistinguishedName(name) => name,
        _ => unreachable!(),
    };
    let mut credentials = Credentials {
        chain: vec![pki("by_middle.crt"), pki("middle.crt")],
        roots: vec![pki("root.crt"), pki("other_root.crt")],
        ..credentials()
    };
    let loaded = LoadedCredentials::new(&credentials).unwrap();
    assert_eq!(
        loaded.requests(),
        [name("root.crt"), name("other_root.crt")]
    );
    assert!(loaded.satisfy(&[]) && loaded.satisfy(&[b""]));
    assert!(loaded.satisfy(&[&name("root.crt")]) && loaded.satisfy(&[&name("middle.crt")]));
    assert!(loaded.satisfy(&[&name("rsa_root.crt"), &name("root.crt")]));
    assert!(!loaded.satisfy(&[&name("rsa_root.crt"), b"nonsense"]));
    assert!(loaded.vouch_for(&subject("by_middle.crt")) && !loaded.vouch_for(&subject("root.crt")));
    assert!(!loaded.has_ike_purpose());
    credentials.name_roots = false;
    assert_eq!(
        LoadedCredentials::new(&credentials).unwrap().requests(),
        [b""]
    );
}

#[test]
fn pkcs7_holds_a_chain() {
    let wrapped = pki("chain.p7b");
    let mut inside = pkcs7::certificates(&wrapped).unwrap();
    inside.sort_unstable();
    let mut expected = [pki("by_middle.crt"), pki("middle.crt")];
    expected.sort_unstable();
    assert_eq!(inside, expected);
    for length in 0..wrapped.len() {
        assert!(pkcs7::certificates(&wrapped[..length]).is_err(), "{length}");
    }
    assert!(pkcs7::certificates(&pki("gateway.crt")).is_err());
    assert!(pkcs7::certificates(&[&wrapped[..], &[0]].concat()).is_err());
}
