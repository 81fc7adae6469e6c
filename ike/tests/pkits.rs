//! NIST's PKITS: each end entity's certificate is Valid or Invalid, as its file says.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_config::{Credentials, Identity, Revocation, Secret};
use portcullis_ike::crypto::certificate::CertificateError;
use portcullis_ike::crypto::credentials::LoadedCredentials;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode, Encode};

/// 2026-01-01: all that is not meant to be expired is valid.
const NOW: u64 = 1_767_225_600;

/// Valid, and not believed.
const NOT_SUPPORTED: [(&str, &[&str]); 9] = [
    (
        "names must be the same byte for byte",
        &[
            "NameChainingCapitalizationTest5",
            "NameChainingWhitespaceTest3",
            "NameChainingWhitespaceTest4",
            "RolloverfromPrintableStringtoUTF8StringTest10",
            "UTF8StringCaseInsensitiveMatchTest11",
        ],
    ),
    (
        "issuers that changed their key and signed the new one",
        &["BasicSelfIssued", "SelfIssuedpathLen"],
    ),
    (
        "lists that another key of the issuer signed",
        &["SeparateCertificateandCRLKeysTest19"],
    ),
    (
        "lists of other issuers, for some reasons, differences, distribution points that are no URI",
        &[
            "IDPwithindirectCRL",
            "cRLIssuer",
            "onlySomeReasons",
            "deltaCRL",
            "distributionPoint",
        ],
    ),
    (
        "constraints on other names than DNS names and addresses",
        &["DNnameConstraints", "DNandRFC822", "RFC822name", "URIname"],
    ),
    (
        "critical policy extensions",
        &[
            "Policy",
            "inhibit",
            "SelfIssuedinhibit",
            "SelfIssuedrequireExplicit",
            "requireExplicit",
        ],
    ),
    ("DSA", &["DSA"]),
    (
        "unique identifiers, and dates before 1970",
        &["NameUIDsTest6", "pre2000UTCnotBefore"],
    ),
    // Requirement, not a gap: a peer's own certificate is none of an issuer.
    (
        "issuers as peers",
        &[
            "pathLenConstraintTest8",
            "pathLenConstraintTest14",
            "onlyContainsCACertsTest13",
        ],
    ),
];

/// Unpacks NIST's archive.
fn unpack() -> PathBuf {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pkits");
    std::fs::create_dir_all(&folder).unwrap();
    let done = Command::new("tar")
        .arg("xzf")
        .arg(vectors.join("pkits/pkits-certs-crls.tar.gz"))
        .arg("-C")
        .arg(&folder)
        .status();
    assert!(done.unwrap().success());
    folder
}

/// The files of a folder, by name without suffix.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

struct Suite {
    certificates: BTreeMap<String, Vec<u8>>,
    /// Issuers' certificates: subject, issuer, DER.
    issuers: Vec<(String, String, Vec<u8>)>,
    /// Issuer, DER.
    crls: Vec<(String, Vec<u8>)>,
}

/// A name without regard to case and spaces, to find what belongs together.
fn plain(name: &x509_cert::name::Name) -> String {
    name.to_string().to_lowercase().replace(' ', "")
}

/// Subject in DER, subject and issuer as they are compared.
fn names(der: &[u8]) -> Option<(Vec<u8>, String, String)> {
    let certificate = CertificateInner::<Raw>::from_der(der).ok()?;
    let tbs = certificate.tbs_certificate();
    let subject = tbs.subject().to_der().unwrap();
    Some((subject, plain(tbs.subject()), plain(tbs.issuer())))
}

impl Suite {
    fn load() -> Self {
        let folder = unpack();
        let certificates = files(&folder.join("certs"));
        let issuers = certificates
            .iter()
            .filter(|(name, _)| !name.ends_with("EE"));
        let issuers = issuers.filter_map(|(_, der)| {
            let (_, subject, issuer) = names(der)?;
            Some((subject, issuer, der.clone()))
        });
        let crls = files(&folder.join("crls")).into_values().filter_map(|der| {
            let list = CertificateList::<Raw>::from_der(&der).ok()?;
            Some((plain(&list.tbs_cert_list.issuer), der))
        });
        Suite {
            issuers: issuers.collect(),
            crls: crls.collect(),
            certificates,
        }
    }

    /// Verifies one end entity with all issuers above it, and their lists.
    fn verify(&self, name: &str) -> Result<(), CertificateError> {
        let der = &self.certificates[name];
        let (subject, _, issuer) = names(der).ok_or(CertificateError::Encoding)?;
        let (mut sent, mut reached) = (vec![der.as_slice()], vec![issuer]);
        let mut at = 0;
        while let Some(wanted) = reached.get(at).cloned() {
            at += 1;
            for (_, issuer, der) in self.issuers.iter().filter(|(name, ..)| *name == wanted) {
                sent.push(der.as_slice());
                if !reached.contains(issuer) {
                    reached.push(issuer.clone());
                }
            }
        }
        let crls = self
            .crls
            .iter()
            .filter(|(issuer, _)| reached.contains(issuer));
        let pki = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pki");
        let credentials = Credentials {
            chain: vec![std::fs::read(pki.join("gateway.crt")).unwrap()],
            private_key: Secret::new(std::fs::read(pki.join("p256.pk8")).unwrap()),
            roots: vec![self.certificates["TrustAnchorRootCertificate"].clone()],
            crls: crls.map(|(_, der)| der.clone()).collect(),
            revocation: Revocation::Required,
            name_roots: false,
        };
        let identity = Identity::DistinguishedName(subject);
        // Some of the lists are damaged.
        let loaded = LoadedCredentials::new(&credentials)
            .map_err(|_| CertificateError::RevocationUnknown)?;
        loaded.verify(&sent, NOW, &identity, None).map(|_| ())
    }
}

#[test]
fn pkits() {
    let suite = Suite::load();
    let (mut believed, mut refused, mut gaps) = (0, 0, 0);
    for name in suite.certificates.keys() {
        let (Some(test), result) = (name.strip_suffix("EE"), || suite.verify(name)) else {
            continue;
        };
        if let Some(test) = test.strip_prefix("Valid") {
            let gap = NOT_SUPPORTED
                .iter()
                .find(|(_, tests)| tests.iter().any(|name| test.starts_with(name)));
            match (result(), gap) {
                (Ok(()), _) => believed += 1,
                (Err(error), Some((reason, _))) => {
                    println!("{name}: {error} ({reason})");
                    gaps += 1;
                }
                (Err(error), None) => panic!("{name}: {error}"),
            }
        } else if test.starts_with("InvaliddeltaCRLTest") {
            // Who does not know differences takes the list before them (RFC 4945 5.2.2.4.1): not wrong, but late.
        } else if test.starts_with("Invalid") {
            assert!(result().is_err(), "{name}");
            refused += 1;
        }
        // The others are about policies, of which IKE has none.
    }
    assert_eq!((believed, gaps, refused), (22, 66, 110));
}
