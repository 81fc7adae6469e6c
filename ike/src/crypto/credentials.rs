//! What a connection proves itself with, and whom it believes, read once from the configuration.

use std::fmt;
use std::sync::Arc;

use aws_lc::signature::{Algorithm, PrivateKey, PublicKey};
use portcullis_config::{Credentials, Identity};

use super::certificate::{Certificate, CertificateError};
use super::chain::{Chains, Unusable};
use super::distinguished_name;

/// Certificates of one peer that are looked at.
const MOST_CERTIFICATES: usize = 16;
/// RSA keys shorter than this are warned of.
const STRONG_RSA: u32 = 2048;

/// Why configured credentials cannot be used. Numbers count from zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsError {
    /// There is a private key, and no own certificate.
    NoCertificate,
    /// A certificate of the chain cannot be used.
    Certificate(usize, CertificateError),
    /// The own certificate is an issuer's.
    Authority,
    /// The private key cannot be read, or is neither RSA nor ECDSA on a known curve.
    PrivateKey,
    /// The private key is not that of the own certificate.
    KeyMismatch,
    /// A root cannot be read.
    Root(usize),
    /// A revocation list cannot be read.
    Crl(usize),
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialsError::NoCertificate => f.write_str("there is no own certificate"),
            CredentialsError::Certificate(0, error) => write!(f, "the own certificate: {error}"),
            CredentialsError::Certificate(number, error) => {
                write!(f, "certificate {number} of the own chain: {error}")
            }
            CredentialsError::Authority => f.write_str("the own certificate is an issuer's"),
            CredentialsError::PrivateKey => {
                f.write_str("the private key is no RSA or ECDSA key in PKCS#8")
            }
            CredentialsError::KeyMismatch => {
                f.write_str("the private key does not belong to the own certificate")
            }
            CredentialsError::Root(number) => write!(f, "root {number} cannot be read"),
            CredentialsError::Crl(number) => {
                write!(f, "revocation list {number} cannot be read")
            }
        }
    }
}

impl std::error::Error for CredentialsError {}

/// What an operator should know of credentials that work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsWarning {
    /// The own certificate is out of its validity.
    OwnCertificate(CertificateError),
    /// A root is out of its validity, so that nobody's chain may end at it.
    Root(usize, CertificateError),
    /// The own RSA key has so few bits.
    WeakOwnKey(u32),
    /// A root's RSA key has so few bits.
    WeakRoot(usize, u32),
    /// A revocation list of a kind that is not supported is passed over.
    Crl(usize),
}

impl fmt::Display for CredentialsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialsWarning::OwnCertificate(error) => write!(f, "the own certificate: {error}"),
            CredentialsWarning::Root(number, error) => write!(f, "root {number}: {error}"),
            CredentialsWarning::WeakOwnKey(bits) => {
                write!(f, "the own RSA key has {bits} bits only")
            }
            CredentialsWarning::WeakRoot(number, bits) => {
                write!(f, "the RSA key of root {number} has {bits} bits only")
            }
            CredentialsWarning::Crl(number) => {
                write!(
                    f,
                    "revocation list {number} is of a kind that is not supported"
                )
            }
        }
    }
}

/// Credentials of a connection, ready for use on any thread.
#[derive(Debug)]
pub struct LoadedCredentials {
    own: Option<(Certificate, Arc<PrivateKey>)>,
    issuers: Vec<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    chains: Chains,
    name_roots: bool,
}

impl LoadedCredentials {
    /// Reads all of it, and checks that the parts fit together. With neither certificate nor key they prove nothing,
    /// and are for the client of hybrid authentication.
    pub fn new(credentials: &Credentials) -> Result<Self, CredentialsError> {
        let read = |(number, der): (usize, &Vec<u8>)| {
            let certificate = Certificate::from_der(der);
            certificate.map_err(|error| CredentialsError::Certificate(number, error))
        };
        let mut chain = credentials.chain.iter().enumerate().map(read);
        let own = chain.next().transpose()?;
        let mut issuers: Vec<_> = own.iter().map(|own| own.issuer().to_vec()).collect();
        for certificate in chain {
            issuers.push(certificate?.issuer().to_vec());
        }
        let own = match (own, credentials.private_key.expose()) {
            (None, []) => None,
            (None, _) => return Err(CredentialsError::NoCertificate),
            (Some(own), key) => {
                let key = check_own(&own, key)?;
                Some((own, Arc::new(key)))
            }
        };
        let chains = Chains::new(
            &credentials.roots,
            &credentials.crls,
            credentials.revocation,
        );
        Ok(LoadedCredentials {
            own,
            issuers,
            chain: credentials.chain.clone(),
            chains: chains.map_err(|unusable| match unusable {
                Unusable::Root(number) => CredentialsError::Root(number),
                Unusable::Crl(number) => CredentialsError::Crl(number),
            })?,
            name_roots: credentials.name_roots,
        })
    }

    /// What to send in certificate payloads: the own certificate, then its issuers.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The own certificate's subject, in DER: the identity that always fits.
    pub fn subject(&self) -> Option<&[u8]> {
        self.own.as_ref().map(|(own, _)| own.subject())
    }

    /// Whether the own certificate, if there is one, is within its validity at this second since 1970.
    pub fn check_own_validity(&self, now: u64) -> Result<(), CertificateError> {
        let own = self.own.as_ref();
        own.map_or(Ok(()), |(own, _)| own.check_validity(now))
    }

    /// What signs.
    pub fn private_key(&self) -> Option<&Arc<PrivateKey>> {
        self.own.as_ref().map(|(_, key)| key)
    }

    /// Whether the own certificate is for this identity, so that a peer can believe it.
    pub fn vouch_for(&self, identity: &Identity) -> bool {
        self.own
            .as_ref()
            .is_some_and(|(own, _)| own.is_for(identity))
    }

    /// What to ask peers for: the roots' subjects in DER, or one empty name that stands for any (RFC 4945 3.2.7).
    pub fn requests(&self) -> Vec<&[u8]> {
        if self.name_roots {
            self.chains.roots().map(Certificate::subject).collect()
        } else {
            vec![&[]]
        }
    }

    /// Whether the own chain leads to one of the authorities that a peer asks for. No request, or an empty one, is
    /// satisfied by any.
    pub fn satisfy(&self, requested: &[&[u8]]) -> bool {
        let mut requests = requested.iter();
        requested.is_empty()
            || requests.any(|name| {
                let mut issuers = self.issuers.iter();
                name.is_empty() || issuers.any(|issuer| distinguished_name::same(issuer, name))
            })
    }

    /// Whether the own certificate names a purpose of IKE, which some peers demand.
    pub fn has_ike_purpose(&self) -> bool {
        self.own
            .as_ref()
            .is_some_and(|(own, _)| own.has_ike_purpose())
    }

    /// Verifies what a peer sent at this second since 1970: one certificate must be for the identity in its ID
    /// payload, may sign, and leads to a root. If the connection expects an identity, it must be for that, too.
    pub fn verify(
        &self,
        certificates: &[&[u8]],
        now: u64,
        presented: &Identity,
        expected: Option<&Identity>,
    ) -> Result<PublicKey, CertificateError> {
        self.verify_knowing(certificates, &[], now, presented, expected)
    }

    /// The same, if we know these certificates of issuers as well.
    fn verify_knowing(
        &self,
        certificates: &[&[u8]],
        issuers: &[&[u8]],
        now: u64,
        presented: &Identity,
        expected: Option<&Identity>,
    ) -> Result<PublicKey, CertificateError> {
        if certificates.len() > MOST_CERTIFICATES {
            return Err(CertificateError::TooMany);
        }
        let (position, certificate) = end_entity(certificates, presented)?;
        if expected.is_some_and(|expected| !certificate.is_for(expected)) {
            return Err(CertificateError::NotExpected);
        }
        certificate.check_use()?;
        let (before, after) = certificates.split_at(position);
        let (der, after) = after.split_first().ok_or(CertificateError::Missing)?;
        let others = [before, after, issuers].concat();
        self.chains.verify(der, &others, now)?;
        Ok(certificate.into_public_key())
    }

    /// What the operator should be told at this second since 1970.
    pub fn warnings(&self, now: u64) -> Vec<CredentialsWarning> {
        let mut out = Vec::new();
        if let Some((own, _)) = &self.own {
            let validity = own.check_validity(now).err();
            out.extend(validity.map(CredentialsWarning::OwnCertificate));
            out.extend(weak(own).map(CredentialsWarning::WeakOwnKey));
        }
        for (number, root) in self.chains.roots().enumerate() {
            let validity = root.check_validity(now).err();
            out.extend(validity.map(|error| CredentialsWarning::Root(number, error)));
            out.extend(weak(root).map(|bits| CredentialsWarning::WeakRoot(number, bits)));
        }
        let crls = self.chains.unsupported_crls().iter().copied();
        out.extend(crls.map(CredentialsWarning::Crl));
        out
    }
}

/// What several entries of a connection say of the same certificates, in their order: one that believes is enough,
/// unless another, which knows the issuers too, knows of a revocation or must and does not. What the roots of the
/// others are each of them knows, so that it does not hang on whether the peer sends them along.
pub(crate) fn first_believed(
    entries: &[Arc<LoadedCredentials>],
    certificates: &[&[u8]],
    now: u64,
    presented: &Identity,
    expected: Option<&Identity>,
) -> Result<PublicKey, CertificateError> {
    let mut result = Err(CertificateError::UnknownIssuer);
    for entry in entries {
        let others = entries.iter().filter(|other| !Arc::ptr_eq(other, entry));
        let issuers: Vec<_> = others.flat_map(|e| e.chains.encoded_roots()).collect();
        let said = entry.verify_knowing(certificates, &issuers, now, presented, expected);
        match (&result, said) {
            (_, Err(error @ (CertificateError::Revoked | CertificateError::RevocationUnknown))) => {
                return Err(error);
            }
            // Whoever knows the issuers knows best what is wrong.
            (Err(CertificateError::UnknownIssuer), said) | (Err(_), said @ Ok(_)) => result = said,
            _ => {}
        }
    }
    result
}

/// The private key, if it goes with the own certificate, and that is fit for its purpose.
fn check_own(own: &Certificate, key: &[u8]) -> Result<PrivateKey, CredentialsError> {
    if own.is_authority() {
        return Err(CredentialsError::Authority);
    }
    let wrong_use = |error| CredentialsError::Certificate(0, error);
    own.check_use().map_err(wrong_use)?;
    let key = PrivateKey::from_pkcs8(key).map_err(|_| CredentialsError::PrivateKey)?;
    match key.matches(own.public_key()) {
        true => Ok(key),
        false => Err(CredentialsError::KeyMismatch),
    }
}

fn weak(certificate: &Certificate) -> Option<u32> {
    match certificate.public_key().algorithm() {
        Algorithm::Rsa(bits) if bits < STRONG_RSA => Some(bits),
        _ => None,
    }
}

/// The first that is no issuer's and for this identity; others are its chain, in any order (RFC 4945 3.3).
fn end_entity(
    certificates: &[&[u8]],
    identity: &Identity,
) -> Result<(usize, Certificate), CertificateError> {
    let mut error = CertificateError::Missing;
    for (position, der) in certificates.iter().enumerate() {
        match Certificate::from_der(der) {
            Ok(certificate) if certificate.is_authority() => {}
            Ok(certificate) if certificate.is_for(identity) => return Ok((position, certificate)),
            Ok(_) => error = CertificateError::Identity,
            Err(unreadable) if error == CertificateError::Missing => error = unreadable,
            Err(_) => {}
        }
    }
    Err(error)
}
