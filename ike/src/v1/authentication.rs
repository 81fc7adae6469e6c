//! How peers prove who they are: a hash with a pre-shared key, or a signature with certificates (RFC 2409 5.1, 5.4,
//! RFC 4754); with hybrid authentication one signs, and the other's hash proves nothing but the key exchange
//! (draft-ietf-ipsec-isakmp-hybrid-auth-05).

use std::sync::Arc;

use portcullis_config::{Authentication, Connection, IkeHash, Xauth};

use crate::connections::ways;
use crate::core::Core;
use crate::crypto::credentials::LoadedCredentials;
use crate::crypto::hash::Digest;
use crate::crypto::pkcs7;
use crate::proposal::ike::{Method, User};
use crate::v1::ike_sa::{IkeSa, Role};
use crate::v1::phase1::{self, Transcript};
use crate::wire::certificate::{self, PKCS7, X509_SIGNATURE};
use crate::wire::payload::kind;
use crate::wire::{Payloads, Writer};
use crate::work::{Job, Verification};
use crate::{Error, InvalidMessage, Local, PeerMisbehaved};

/// What a peer sent as its proof.
pub(crate) enum Proof {
    /// HASH_I or HASH_R, as it must be.
    Hash,
    /// To be verified elsewhere.
    Signature(Box<Verification>),
}

/// The credentials of a connection that has certificates.
pub(crate) fn credentials(
    core: &Core,
    connection: &Connection,
) -> Result<Option<Arc<LoadedCredentials>>, Error> {
    match &connection.authentication {
        Authentication::PreSharedKey(_) => Ok(None),
        Authentication::Certificates(credentials) => {
            let mut loaded = core.credentials.get(&connection.name).into_iter().flatten();
            let found = loaded.find(|known| known.are_of(credentials));
            let found = found.map(|known| Some(known.loaded.clone()));
            found.ok_or(Local::Credentials.into())
        }
    }
}

/// The method that a connection's credentials allow: both ends use the same.
pub(crate) fn method(core: &Core, connection: &Connection) -> Result<Method, Error> {
    let own = credentials(core, connection)?;
    Ok(match own.as_ref().map(|own| own.private_key()) {
        None => Method::PreSharedKey,
        Some(Some(key)) => Method::of(key.algorithm()),
        // The client of hybrid authentication has no key; of its methods only RSA's is in use.
        Some(None) => Method::RsaSignatures,
    })
}

/// Whether the connection's own certificate, if it has one, is within its validity: peers would not believe another.
fn check_validity(core: &Core, connection: &Connection) -> Result<(), Error> {
    let (Some(now), Some(own)) = (core.calendar, credentials(core, connection)?) else {
        return Ok(());
    };
    own.check_own_validity(now).map_err(|error| {
        let subject = own
            .subject()
            .map(portcullis_config::distinguished_name_text);
        let subject = subject.unwrap_or_default();
        Local::OwnCertificate(format!("{subject}: {error}")).into()
    })
}

/// The first way to prove ourselves that can be gone now; if there is none, what is wrong with the first of all.
pub(crate) fn first_usable(
    core: &Core,
    connection: &Arc<Connection>,
) -> Result<Arc<Connection>, Error> {
    let usable = ways(connection).find(|way| check_validity(core, way).is_ok());
    match usable {
        Some(way) => Ok(way),
        None => check_validity(core, connection).map(|()| connection.clone()),
    }
}

/// The number of that method where we have this role: it tells also which user has to prove themselves after phase 1.
pub(crate) fn number(core: &Core, connection: &Connection, role: Role) -> Result<u16, Error> {
    check_validity(core, connection)?;
    let access = &connection.remote_access;
    let user = access.xauth.as_ref().map(|xauth| User {
        initiates: (role == Role::Initiator) != matches!(xauth, Xauth::Server { .. }),
        hybrid: access.hybrid,
    });
    let number = method(core, connection)?.number(user);
    number.ok_or(Local::Credentials.into())
}

/// Whether one end proves itself with a signature: we, or else the peer. In hybrid authentication the user's does not.
pub(crate) fn signs(connection: &Connection, ours: bool) -> bool {
    match connection.authentication {
        Authentication::PreSharedKey(_) => false,
        Authentication::Certificates(_) => {
            let access = &connection.remote_access;
            !access.hybrid || access.asks() == ours
        }
    }
}

/// The hash of HASH_I and HASH_R: ECDSA is tied to one (RFC 4754 4).
fn hash_kind(method: Method, negotiated: IkeHash) -> IkeHash {
    match method {
        Method::PreSharedKey | Method::RsaSignatures => negotiated,
        Method::Ecdsa256 => IkeHash::Sha2_256,
        Method::Ecdsa384 => IkeHash::Sha2_384,
        Method::Ecdsa521 => IkeHash::Sha2_512,
    }
}

/// HASH_I or HASH_R over an identification's body.
pub(crate) fn hash(
    sa: &IkeSa,
    core: &Core,
    transcript: &Transcript,
    of: Role,
    identification: &[u8],
) -> Result<Digest, Error> {
    let (connection, proposal) = phase1::agreed(sa)?;
    let with = hash_kind(method(core, &connection)?, proposal.hash);
    let (public, body) = (transcript.public.public(), &transcript.sa[..]);
    let skeyid = &sa.keys()?.skeyid;
    Ok(match of {
        Role::Initiator => skeyid.hash_i(with, public, body, identification),
        Role::Responder => skeyid.hash_r(with, public, body, identification),
    })
}

/// A connection with one of its own certificates.
type WithCertificate = (Arc<Connection>, Arc<LoadedCredentials>);

/// The connection with each of its own certificates that suits the method agreed on, and is valid now, the one in use
/// first.
fn with_certificates(
    core: &Core,
    connection: &Arc<Connection>,
) -> Result<Vec<WithCertificate>, Error> {
    let agreed = method(core, connection)?;
    let suits = |way: Arc<Connection>| match (method(core, &way), credentials(core, &way)) {
        (Ok(method), Ok(Some(own))) if method == agreed => {
            check_validity(core, &way).is_ok().then_some((way, own))
        }
        _ => None,
    };
    Ok(ways(connection).filter_map(suits).collect())
}

/// All that the policy believes for this connection, whichever own certificate is in use: each entry has roots, and
/// revocation lists of its own. One without usable credentials is not in the way of the others.
fn believed(core: &Core, connection: &Arc<Connection>) -> Vec<Arc<LoadedCredentials>> {
    let all = ways(connection).filter_map(|way| credentials(core, &way).ok().flatten());
    all.collect()
}

/// Asks for certificates, if the connection is authenticated by them: of all authorities that it believes.
pub(crate) fn write_requests(
    writer: &mut Writer,
    core: &Core,
    connection: &Arc<Connection>,
) -> Result<(), Error> {
    if !signs(connection, false) {
        return Ok(());
    }
    let mut asked: Vec<Vec<u8>> = Vec::new();
    for entry in believed(core, connection) {
        for name in entry.requests() {
            if !asked.iter().any(|asked| asked == name) {
                asked.push(name.to_vec());
                let body = certificate::encode(X509_SIGNATURE, name);
                writer.payload(kind::CERTIFICATE_REQUEST, &body);
            }
        }
    }
    Ok(())
}

/// The authorities whose certificates a peer asks for. What cannot be read asks for nothing.
pub(crate) fn requested(payloads: &Payloads<'_>) -> Vec<Vec<u8>> {
    let requests = payloads.all(kind::CERTIFICATE_REQUEST);
    let names = requests.filter_map(|body| match certificate::parse(body) {
        Ok((X509_SIGNATURE | PKCS7, name)) => Some(name.to_vec()),
        _ => None,
    });
    names.collect()
}

/// Turns to the own certificate that suits what a peer asks for (requirement 99): that leads to an authority that it
/// named, and is made for IKE; else that leads there. If none does, the one in use stays, which may be
/// cross-certified. `identified`: our identity is said already, and another certificate may not be for it.
pub(crate) fn turn_to_requested(
    sa: &mut IkeSa,
    core: &Core,
    requested: &[Vec<u8>],
    identified: bool,
) -> Result<(), Error> {
    let Some(connection) = sa.connection.clone().filter(|c| signs(c, true)) else {
        return Ok(());
    };
    let requested: Vec<&[u8]> = requested.iter().map(Vec::as_slice).collect();
    let mut all = with_certificates(core, &connection)?;
    all.retain(|(way, own)| {
        own.satisfy(&requested) && (!identified || way.local_id == connection.local_id)
    });
    let for_ike = all.iter().find(|(_, own)| own.has_ike_purpose());
    if let Some((way, _)) = for_ike.or(all.first()) {
        sa.connection = Some(way.clone());
    }
    Ok(())
}

/// Our certificate and its issuers, whether the peer asked or not: one that does not want them passes over them.
pub(crate) fn write_certificates(
    writer: &mut Writer,
    core: &Core,
    connection: &Connection,
) -> Result<(), Error> {
    if let Some(own) = credentials(core, connection)?.filter(|_| signs(connection, true)) {
        for der in own.chain() {
            writer.payload(kind::CERTIFICATE, &certificate::encode(X509_SIGNATURE, der));
        }
    }
    Ok(())
}

/// Our proof: at once for a pre-shared key; a signature is left to be made, and `None` comes back.
pub(crate) fn prove(
    sa: &IkeSa,
    core: &mut Core,
    transcript: &Transcript,
) -> Result<Option<Digest>, Error> {
    let (connection, _) = phase1::agreed(sa)?;
    let identification = phase1::our_identity(&connection);
    let hash = hash(sa, core, transcript, sa.role, &identification)?;
    let own = credentials(core, &connection)?;
    let Some(own) = own.filter(|_| signs(&connection, true)) else {
        return Ok(Some(hash));
    };
    let key = own.private_key().cloned().ok_or(Local::Credentials)?;
    core.work(sa.id, 0, Job::Sign { key, hash });
    Ok(None)
}

/// Checks a peer's hash, or prepares the verification of its signature.
pub(crate) fn read_proof(
    sa: &IkeSa,
    core: &Core,
    transcript: &Transcript,
    payloads: &Payloads<'_>,
    identification: &[u8],
) -> Result<Proof, Error> {
    let (connection, _) = phase1::agreed(sa)?;
    let theirs = match sa.role {
        Role::Initiator => Role::Responder,
        Role::Responder => Role::Initiator,
    };
    let expected = hash(sa, core, transcript, theirs, identification)?;
    if !signs(&connection, false) {
        let matches = expected.matches(payloads.one(kind::HASH)?);
        return match matches {
            true => Ok(Proof::Hash),
            false => Err(PeerMisbehaved::Hash.into()),
        };
    }
    Ok(Proof::Signature(Box::new(Verification {
        method: method(core, &connection)?,
        believed: Vec::new(),
        certificates: read_certificates(payloads)?,
        presented: phase1::read_identity(sa, identification)?,
        expected: None,
        hash: expected,
        signature: phase1::not_empty(payloads.one(kind::SIGNATURE)?)?,
    })))
}

/// Has a signature verified: by what the connection believes that the peer's identity has led to, and no other.
pub(crate) fn verify(sa: &IkeSa, core: &mut Core, mut verification: Box<Verification>) {
    if let Some(connection) = &sa.connection {
        verification.believed = believed(core, connection);
        verification.expected = connection.remote_id.clone();
    }
    core.work(sa.id, 0, Job::Verify(verification));
}

fn read_certificates(payloads: &Payloads<'_>) -> Result<Vec<Vec<u8>>, InvalidMessage> {
    let mut all = Vec::new();
    for body in payloads.all(kind::CERTIFICATE) {
        match certificate::parse(body)? {
            (X509_SIGNATURE, der) => all.push(der.to_vec()),
            (PKCS7, wrapped) => {
                let inside = pkcs7::certificates(wrapped);
                let inside = inside.map_err(|_| InvalidMessage::Certificate)?;
                all.extend(inside.into_iter().map(<[u8]>::to_vec));
            }
            // Other kinds are of no use here; what is missing then is missed.
            _ => {}
        }
    }
    Ok(all)
}

/// The kind of the payload that carries our proof.
pub(crate) fn proof_kind(connection: &Connection) -> u8 {
    match signs(connection, true) {
        false => kind::HASH,
        true => kind::SIGNATURE,
    }
}
