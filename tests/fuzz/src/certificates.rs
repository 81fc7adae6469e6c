//! Bytes to certificates, as a peer sends them.

use portcullis_config::{Credentials, Identity, Revocation, Secret};
use portcullis_ike::crypto::certificate::{Certificate, CertificateError};
use portcullis_ike::crypto::credentials::LoadedCredentials;
use portcullis_ike::crypto::pkcs7;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

thread_local! {
    static OURS: LoadedCredentials = LoadedCredentials::new(&Credentials {
        chain: vec![include_bytes!("../../../ike/tests/vectors/pki/gateway.crt").to_vec()],
        private_key: Secret::new(include_bytes!("../../../ike/tests/vectors/pki/p256.pk8").to_vec()),
        roots: vec![include_bytes!("../../../ike/tests/vectors/pki/root.crt").to_vec()],
        crls: vec![include_bytes!("../../../ike/tests/vectors/pki/root.crl").to_vec()],
        revocation: Revocation::Known,
        name_roots: true,
    })
    .unwrap();
}

/// One certificate, or several in PKCS#7. Nothing that is made up is believed: the root's key is not to be had.
pub fn certificates(data: &[u8]) {
    let several = pkcs7::certificates(data).unwrap_or_else(|_| vec![data]);
    let own = several
        .iter()
        .find_map(|der| Certificate::from_der(der).ok());
    let identity = match &own {
        Some(certificate) => Identity::DistinguishedName(certificate.subject().to_vec()),
        None => Identity::Fqdn("gw.example.org".into()),
    };
    OURS.with(|ours| match ours.verify(&several, NOW, &identity, None) {
        Ok(_) => assert!(several.iter().any(|der| GOOD.contains(der)), "forged"),
        Err(CertificateError::Identity) if own.is_some_and(|own| !own.is_authority()) => {
            panic!("a certificate is not for its own subject")
        }
        Err(_) => {}
    });
}

/// What the root has signed, and the corpus holds.
const GOOD: [&[u8]; 4] = [
    include_bytes!("../../../ike/tests/vectors/pki/gateway.crt"),
    include_bytes!("../../../ike/tests/vectors/pki/rsa.crt"),
    include_bytes!("../../../ike/tests/vectors/pki/by_middle.crt"),
    include_bytes!("../../../ike/tests/vectors/pki/ike.crt"),
];
