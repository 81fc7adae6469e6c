//! Chains of certificates to configured roots (RFC 5280 6), with revocation.

use std::fmt;

use aws_lc::elliptic::Curve;
use aws_lc::signature::{Algorithm, CertificateHash, PublicKey};
use portcullis_config::{IkeHash, Revocation};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    TrustAnchor, UnixTime, alg_id,
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator,
    KeyPurposeIdIter, KeyUsage, OwnedCertRevocationList, RequiredEkuNotFoundContext,
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
    VerifiedPath,
};
use x509_cert::certificate::Raw;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::certificate::{self, Certificate, CertificateError, SHORTEST_RSA};
use super::hash::hash;

/// id-kp-ipsecIKE (RFC 4945 5.1.3.12), the content of its DER.
const IPSEC_IKE: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 17];

/// A root that peers' chains may end at.
struct Root {
    der: Vec<u8>,
    certificate: Certificate,
    anchor: TrustAnchor<'static>,
}

/// Roots and revocation lists.
pub(super) struct Chains {
    roots: Vec<Root>,
    crls: Vec<CertRevocationList<'static>>,
    /// Numbers of the lists that are passed over (RFC 4945 5.2.2.4.1).
    unsupported: Vec<usize>,
    revocation: Revocation,
}

/// What is wrong with a root or a list; the number counts from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    Root(usize),
    Crl(usize),
}

impl Chains {
    /// Reads roots and lists, all in DER.
    pub(super) fn new(
        roots: &[Vec<u8>],
        crls: &[Vec<u8>],
        revocation: Revocation,
    ) -> Result<Self, Unusable> {
        let read = |(number, der): (usize, &Vec<u8>)| read_root(der).ok_or(Unusable::Root(number));
        let roots = roots.iter().enumerate().map(read);
        let roots = roots.collect::<Result<_, _>>()?;
        let (mut known, mut unsupported) = (Vec::new(), Vec::new());
        for (number, der) in crls.iter().enumerate() {
            match read_crl(der).map_err(|_| Unusable::Crl(number))? {
                Some(crl) => known.push(crl),
                None => unsupported.push(number),
            }
        }
        // The first that tells of a certificate counts: let it be the newest.
        known.sort_by_key(|(updated, _)| std::cmp::Reverse(*updated));
        Ok(Chains {
            roots,
            crls: known.into_iter().map(|(_, crl)| crl).collect(),
            unsupported,
            revocation,
        })
    }

    /// The roots.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Certificate> {
        self.roots.iter().map(|root| &root.certificate)
    }

    /// The roots, in DER.
    pub(super) fn encoded_roots(&self) -> impl Iterator<Item = &[u8]> {
        self.roots.iter().map(|root| root.der.as_slice())
    }

    /// Numbers of the lists that are passed over.
    pub(super) fn unsupported_crls(&self) -> &[usize] {
        &self.unsupported
    }

    /// Verifies that an end entity's certificate leads to a root that is valid itself, at this second since 1970.
    pub(super) fn verify(
        &self,
        end_entity: &[u8],
        others: &[&[u8]],
        now: u64,
    ) -> Result<(), CertificateError> {
        let end_entity = CertificateDer::from(end_entity);
        let end_entity = EndEntityCert::try_from(&end_entity).map_err(blame)?;
        let others: Vec<_> = others
            .iter()
            .map(|der| CertificateDer::from(*der))
            .collect();
        let anchors: Vec<_> = self
            .roots
            .iter()
            .filter(|root| root.certificate.check_validity(now).is_ok())
            .map(|root| root.anchor.clone())
            .collect();
        let crls: Vec<_> = self.crls.iter().collect();
        let path = end_entity.verify_for_usage(
            &ALGORITHMS,
            &anchors,
            &others,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(now)),
            IkePurpose,
            self.revocation(&crls)?,
            Some(&issuers_may_issue),
        );
        path.map(|_| ()).map_err(blame)
    }

    fn revocation<'a>(
        &self,
        crls: &'a [&'a CertRevocationList<'a>],
    ) -> Result<Option<RevocationOptions<'a>>, CertificateError> {
        if self.revocation == Revocation::Off {
            return Ok(None);
        }
        let required = self.revocation == Revocation::Required;
        let Ok(options) = RevocationOptionsBuilder::new(crls) else {
            // Without any list nothing is known of anybody.
            return if required {
                Err(CertificateError::RevocationUnknown)
            } else {
                Ok(None)
            };
        };
        let options = options.with_depth(RevocationCheckDepth::Chain);
        Ok(Some(if required {
            options
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        } else {
            options
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Ignore)
                .build()
        }))
    }
}

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Chains({} roots, {} lists)",
            self.roots.len(),
            self.crls.len()
        )
    }
}

fn read_root(der: &[u8]) -> Option<Root> {
    let anchor = CertificateDer::from(der);
    let anchor = webpki::anchor_from_trusted_cert(&anchor).ok()?.to_owned();
    let certificate = Certificate::from_der(der).ok()?;
    Some(Root {
        der: der.to_vec(),
        certificate,
        anchor,
    })
}

/// A list, and the second since 1970 when it was made; `None` if it is for certain reasons only, for certificates of
/// other issuers, a mere difference to another list, or has critical extensions that nobody here knows.
fn read_crl(der: &[u8]) -> Result<Option<(u64, CertRevocationList<'static>)>, Malformed> {
    use webpki::Error;
    let list = CertificateList::<Raw>::from_der(der).map_err(|_| Malformed)?;
    let updated = list.tbs_cert_list.this_update.to_unix_duration().as_secs();
    match OwnedCertRevocationList::from_der(der) {
        Ok(list) => Ok(Some((updated, list.into()))),
        Err(
            Error::UnsupportedCriticalExtension
            | Error::UnsupportedCrlIssuingDistributionPoint
            | Error::UnsupportedCrlVersion
            | Error::UnsupportedDeltaCrl
            | Error::UnsupportedIndirectCrl
            | Error::UnsupportedRevocationReason
            | Error::UnsupportedRevocationReasonsPartitioning,
        ) => Ok(None),
        Err(_) => Err(Malformed),
    }
}

/// No revocation list at all.
struct Malformed;

/// The library ignores key usage of issuers.
fn issuers_may_issue(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for issuer in path.intermediate_certificates() {
        match Certificate::from_der(&issuer.der()) {
            Ok(issuer) if issuer.may_issue() => {}
            Ok(_) => return Err(webpki::Error::EndEntityUsedAsCa),
            Err(_) => return Err(webpki::Error::BadDer),
        }
    }
    Ok(())
}

/// [`Certificate::check_use`] checks the end entity's purposes; an issuer that has any must have one of IKE's too.
struct IkePurpose;

impl ExtendedKeyUsageValidator for IkePurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            present.push(purpose?.to_decoded_oid());
        }
        let has_ike = present.iter().any(|arcs| certificate::is_ike_purpose(arcs));
        if present.is_empty() || has_ike {
            return Ok(());
        }
        let required = KeyUsage::required_if_present(&IPSEC_IKE);
        Err(webpki::Error::RequiredEkuNotFoundContext(
            RequiredEkuNotFoundContext { required, present },
        ))
    }
}

/// The library's words in ours.
fn blame(error: webpki::Error) -> CertificateError {
    use webpki::Error;
    match error {
        Error::UnknownIssuer => CertificateError::UnknownIssuer,
        Error::CertExpired { .. } => CertificateError::Expired,
        Error::CertNotValidYet { .. } => CertificateError::NotYetValid,
        Error::CertRevoked => CertificateError::Revoked,
        Error::UnknownRevocationStatus | Error::CrlExpired { .. } => {
            CertificateError::RevocationUnknown
        }
        Error::RequiredEkuNotFoundContext(_) => CertificateError::ExtendedKeyUsage,
        Error::BadDer => CertificateError::Encoding,
        other => CertificateError::Chain(other),
    }
}

/// How issuers may sign: SHA-1 and MD5 are not among it, since signatures over them can be forged.
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 12] = {
    const fn rsa(hash: CertificateHash, signature: AlgorithmIdentifier) -> Verifier {
        Verifier {
            curve: None,
            hash,
            key: alg_id::RSA_ENCRYPTION,
            signature,
        }
    }
    const fn ecdsa(
        curve: Curve,
        key: AlgorithmIdentifier,
        hash: CertificateHash,
        signature: AlgorithmIdentifier,
    ) -> Verifier {
        Verifier {
            curve: Some(curve),
            hash,
            key,
            signature,
        }
    }
    use CertificateHash::{Sha256, Sha384, Sha512};
    use alg_id::{
        ECDSA_P256, ECDSA_P384, ECDSA_P521, ECDSA_SHA256, ECDSA_SHA384, ECDSA_SHA512,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    };
    [
        &rsa(Sha256, RSA_PKCS1_SHA256),
        &rsa(Sha384, RSA_PKCS1_SHA384),
        &rsa(Sha512, RSA_PKCS1_SHA512),
        &ecdsa(Curve::P256, ECDSA_P256, Sha256, ECDSA_SHA256),
        &ecdsa(Curve::P256, ECDSA_P256, Sha384, ECDSA_SHA384),
        &ecdsa(Curve::P256, ECDSA_P256, Sha512, ECDSA_SHA512),
        &ecdsa(Curve::P384, ECDSA_P384, Sha256, ECDSA_SHA256),
        &ecdsa(Curve::P384, ECDSA_P384, Sha384, ECDSA_SHA384),
        &ecdsa(Curve::P384, ECDSA_P384, Sha512, ECDSA_SHA512),
        &ecdsa(Curve::P521, ECDSA_P521, Sha256, ECDSA_SHA256),
        &ecdsa(Curve::P521, ECDSA_P521, Sha384, ECDSA_SHA384),
        &ecdsa(Curve::P521, ECDSA_P521, Sha512, ECDSA_SHA512),
    ]
};

/// One way to sign a certificate.
#[derive(Debug)]
struct Verifier {
    /// `None`: RSA, PKCS#1 v1.5.
    curve: Option<Curve>,
    hash: CertificateHash,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
}

impl SignatureVerificationAlgorithm for Verifier {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = match self.curve {
            Some(curve) => PublicKey::ecdsa(curve, public_key),
            None => PublicKey::rsa(public_key),
        };
        let key = key.map_err(|_| InvalidSignature)?;
        if matches!(key.algorithm(), Algorithm::Rsa(bits) if bits < SHORTEST_RSA) {
            return Err(InvalidSignature);
        }
        let digest = match self.hash {
            CertificateHash::Sha256 => hash(IkeHash::Sha2_256, &[message]),
            CertificateHash::Sha384 => hash(IkeHash::Sha2_384, &[message]),
            CertificateHash::Sha512 => hash(IkeHash::Sha2_512, &[message]),
        };
        key.verify_certificate(self.hash, digest.as_ref(), signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}
