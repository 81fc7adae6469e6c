//! One certificate: what its subject is called, and what its key may do (RFC 4945).

use std::fmt;
use std::net::IpAddr;

use aws_lc::elliptic::Curve;
use aws_lc::signature::{Algorithm, PublicKey};
use portcullis_config::Identity;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};

use super::distinguished_name;

/// A certificate whose serial number may be any.
type X509 = CertificateInner<Raw>;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const CURVES: [(ObjectIdentifier, Curve); 3] = [
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
        Curve::P256,
    ),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), Curve::P384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), Curve::P521),
];
/// Key purposes of IKE: id-kp-ipsecIKE (RFC 4945 5.1.3.12), any, and the one that Windows and Apple ask for.
const IKE_PURPOSES: [&[usize]; 3] = [
    &[1, 3, 6, 1, 5, 5, 7, 3, 17],
    &[2, 5, 29, 37, 0],
    &[1, 3, 6, 1, 5, 5, 8, 2, 2],
];
/// Shorter RSA keys are refused, of issuers too.
pub(super) const SHORTEST_RSA: u32 = 1024;

/// Why a peer's certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The peer sent none that is an end entity's.
    Missing,
    /// It sent more than anybody needs.
    TooMany,
    /// One cannot be read.
    Encoding,
    /// None is for the identity in the ID payload.
    Identity,
    /// It proves another identity than this connection asks for.
    NotExpected,
    /// The key is neither RSA nor ECDSA on P-256, P-384 or P-521.
    KeyType,
    /// The RSA key has so few bits.
    WeakKey(u32),
    /// The key must not sign (RFC 4945 5.1.3.2).
    KeyUsage,
    /// The key is for something else than IKE (RFC 4945 5.1.3.12).
    ExtendedKeyUsage,
    /// No chain leads to a configured root.
    UnknownIssuer,
    /// It, or an issuer, is not valid yet.
    NotYetValid,
    /// It, or an issuer, has expired.
    Expired,
    /// It, or an issuer, is revoked.
    Revoked,
    /// Revocation must be checked, and no current list tells.
    RevocationUnknown,
    /// The chain breaks another rule of RFC 5280.
    Chain(webpki::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateError::Missing => "the peer sent no certificate of its own",
            CertificateError::TooMany => "the peer sent too many certificates",
            CertificateError::Encoding => "a certificate cannot be read",
            CertificateError::Identity => "no certificate is for the identity that the peer claims",
            CertificateError::NotExpected => {
                "the certificate is for another identity than this connection asks for"
            }
            CertificateError::KeyType => {
                "the certificate's key is neither RSA nor ECDSA on a known curve"
            }
            CertificateError::WeakKey(bits) => {
                return write!(f, "the certificate's RSA key has {bits} bits only");
            }
            CertificateError::KeyUsage => "the certificate's key usage does not allow to sign",
            CertificateError::ExtendedKeyUsage => {
                "the certificate's extended key usage does not allow IKE"
            }
            CertificateError::UnknownIssuer => "the certificate does not lead to a configured root",
            CertificateError::NotYetValid => {
                "the certificate, or one of its issuers, is not valid yet"
            }
            CertificateError::Expired => "the certificate, or one of its issuers, has expired",
            CertificateError::Revoked => "the certificate, or one of its issuers, is revoked",
            CertificateError::RevocationUnknown => {
                "no current revocation list tells of the certificate"
            }
            CertificateError::Chain(error) => {
                return write!(f, "the certificate's chain is not valid: {error}");
            }
        })
    }
}

impl std::error::Error for CertificateError {}

/// A certificate that was read, and not verified.
pub struct Certificate {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    validity: (u64, u64),
    names: Vec<GeneralName>,
    key_usage: Option<KeyUsage>,
    purposes: Option<Vec<ObjectIdentifier>>,
    is_authority: bool,
    public_key: PublicKey,
}

impl Certificate {
    /// Reads DER.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let read = X509::from_der(der).map_err(|_| CertificateError::Encoding)?;
        Certificate::read(&read)
    }

    fn read(certificate: &X509) -> Result<Self, CertificateError> {
        let fault = |_| CertificateError::Encoding;
        let tbs = certificate.tbs_certificate();
        let names = tbs.get_extension::<SubjectAltName>();
        let key_usage = tbs.get_extension::<KeyUsage>();
        let purposes = tbs.get_extension::<ExtendedKeyUsage>();
        let constraints = tbs.get_extension::<BasicConstraints>();
        Ok(Certificate {
            subject: tbs.subject().to_der().map_err(fault)?,
            issuer: tbs.issuer().to_der().map_err(fault)?,
            validity: (
                tbs.validity().not_before.to_unix_duration().as_secs(),
                tbs.validity().not_after.to_unix_duration().as_secs(),
            ),
            names: names
                .map_err(fault)?
                .map_or(Vec::new(), |(_, names)| names.0),
            key_usage: key_usage.map_err(fault)?.map(|(_, usage)| usage),
            purposes: purposes.map_err(fault)?.map(|(_, purposes)| purposes.0),
            is_authority: constraints
                .map_err(fault)?
                .is_some_and(|(_, constraints)| constraints.ca),
            public_key: public_key(certificate)?,
        })
    }

    /// The subject, in DER.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The issuer, in DER.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Whether it issues certificates.
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// The key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The key alone.
    pub fn into_public_key(self) -> PublicKey {
        self.public_key
    }

    /// Fails outside of its validity, in seconds since 1970.
    pub fn check_validity(&self, now: u64) -> Result<(), CertificateError> {
        match self.validity {
            (from, _) if now < from => Err(CertificateError::NotYetValid),
            (_, until) if now > until => Err(CertificateError::Expired),
            _ => Ok(()),
        }
    }

    /// Fails unless the key may sign IKE's messages: digitalSignature or nonRepudiation if there is a key usage
    /// (RFC 4945 5.1.3.2), a purpose of IKE if there are purposes (5.1.3.12), and no key that is easily broken.
    pub fn check_use(&self) -> Result<(), CertificateError> {
        if let Some(usage) = &self.key_usage {
            if !usage.digital_signature() && !usage.non_repudiation() {
                return Err(CertificateError::KeyUsage);
            }
        }
        if self.purposes.is_some() && !self.has_ike_purpose() {
            return Err(CertificateError::ExtendedKeyUsage);
        }
        match self.public_key.algorithm() {
            Algorithm::Rsa(bits) if bits < SHORTEST_RSA => Err(CertificateError::WeakKey(bits)),
            _ => Ok(()),
        }
    }

    /// Whether it names a purpose of IKE.
    pub fn has_ike_purpose(&self) -> bool {
        self.purposes.iter().flatten().any(|purpose| {
            let arcs: Vec<_> = purpose.arcs().map(|arc| arc as usize).collect();
            is_ike_purpose(&arcs)
        })
    }

    /// Whether an issuer may sign certificates (RFC 5280 4.2.1.3).
    pub(super) fn may_issue(&self) -> bool {
        self.key_usage.as_ref().is_none_or(KeyUsage::key_cert_sign)
    }

    /// Whether it is for this identity (RFC 4945 3.1, 5.1.3.6): a DN is the subject, everything else a
    /// subjectAltName of its kind. Wildcards are names like any other.
    pub fn is_for(&self, identity: &Identity) -> bool {
        match identity {
            Identity::DistinguishedName(name) => distinguished_name::same(name, &self.subject),
            Identity::Address(address) => self.names.iter().any(|name| match name {
                GeneralName::IpAddress(bytes) => is_address(bytes.as_bytes(), *address),
                _ => false,
            }),
            Identity::Fqdn(fqdn) => self.names.iter().any(|name| match name {
                GeneralName::DnsName(name) => name.as_str().eq_ignore_ascii_case(fqdn),
                _ => false,
            }),
            Identity::UserFqdn(user) => self.names.iter().any(|name| match name {
                GeneralName::Rfc822Name(name) => same_mailbox(name.as_str(), user),
                _ => false,
            }),
            // No field of a certificate corresponds to it (RFC 4945 3.1.7).
            Identity::KeyId(_) => false,
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?})", self.public_key)
    }
}

/// Whether the arcs of an object identifier are those of a purpose of IKE.
pub(super) fn is_ike_purpose(arcs: &[usize]) -> bool {
    IKE_PURPOSES.contains(&arcs)
}

fn is_address(bytes: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => bytes == address.octets(),
        IpAddr::V6(address) => bytes == address.octets(),
    }
}

/// The part before the @ is the host's to interpret, the part behind it a domain (RFC 5280 7.5).
fn same_mailbox(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((user, domain)), Some((other_user, other_domain))) => {
            user == other_user && domain.eq_ignore_ascii_case(other_domain)
        }
        _ => one == other,
    }
}

fn public_key(certificate: &X509) -> Result<PublicKey, CertificateError> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    let bits = info.subject_public_key.as_bytes();
    let key = bits.ok_or(CertificateError::Encoding)?;
    if info.algorithm.oid == RSA_ENCRYPTION {
        return PublicKey::rsa(key).map_err(|_| CertificateError::KeyType);
    }
    if info.algorithm.oid != EC_PUBLIC_KEY {
        return Err(CertificateError::KeyType);
    }
    let parameters = info.algorithm.parameters.as_ref();
    let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let known = CURVES.iter().find(|(oid, _)| Some(*oid) == curve);
    let (_, curve) = known.ok_or(CertificateError::KeyType)?;
    PublicKey::ecdsa(*curve, key).map_err(|_| CertificateError::KeyType)
}
