//! Work that takes milliseconds, to be done elsewhere: Diffie-Hellman, signatures and passwords.

use std::sync::Arc;

use portcullis_config::{Group, Identity, Secret, Users};

use crate::crypto::credentials::{self, LoadedCredentials};
use crate::crypto::dh::{self, KeyPair, SharedSecret};
use crate::crypto::hash::Digest;
use crate::crypto::password;
use crate::crypto::signature::PrivateKey;
use crate::proposal::ike::Method;
use crate::{Error, IkeId, PeerIncompatible, PeerMisbehaved, RandomSource};

/// Something to compute. It can be sent to any thread; its order does not matter.
#[derive(Debug)]
pub struct Work {
    pub(crate) ike: IkeId,
    pub(crate) exchange: u32,
    pub(crate) job: Job,
}

/// What was computed, for [`Endpoint::handle_work_done`](crate::Endpoint::handle_work_done).
#[derive(Debug)]
pub struct WorkDone {
    pub(crate) ike: IkeId,
    pub(crate) exchange: u32,
    pub(crate) outcome: Outcome,
}

/// What is to be computed.
#[derive(Debug)]
pub(crate) enum Job {
    /// A key pair, for an initiator.
    KeyPair(Group),
    /// The secret, for an initiator.
    Agree { pair: KeyPair, peer: Vec<u8> },
    /// Both, for a responder.
    KeyExchange { group: Group, peer: Vec<u8> },
    /// Our signature.
    Sign { key: Arc<PrivateKey>, hash: Digest },
    /// The peer's.
    Verify(Box<Verification>),
    /// Whether a user's password is right.
    CheckPassword {
        users: Arc<Users>,
        name: String,
        password: Secret,
    },
}

/// A peer's proof by signature.
#[derive(Debug)]
pub(crate) struct Verification {
    pub(crate) method: Method,
    /// What the connection believes: a chain to a root of any entry will do.
    pub(crate) believed: Vec<Arc<LoadedCredentials>>,
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Who the peer says it is, and who it must be.
    pub(crate) presented: Identity,
    pub(crate) expected: Option<Identity>,
    pub(crate) hash: Digest,
    pub(crate) signature: Vec<u8>,
}

/// What was computed; errors are the peer's fault where its value was used.
#[derive(Debug)]
pub(crate) enum Outcome {
    KeyPair(Option<KeyPair>),
    Agreed(Option<Agreed>),
    Signed(Option<Vec<u8>>),
    Verified(Result<(), Error>),
    Checked(bool),
}

/// Our public value, and the secret.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) public: Vec<u8>,
    pub(crate) shared: SharedSecret,
}

impl Work {
    /// Computes it. `unix_time` in seconds is for the validity of certificates.
    pub fn run(self, random: &mut dyn RandomSource, unix_time: u64) -> WorkDone {
        let outcome = match self.job {
            Job::KeyPair(group) => Outcome::KeyPair(KeyPair::new(group, random).ok()),
            Job::Agree { pair, peer } => Outcome::Agreed(agree(&pair, &peer)),
            Job::KeyExchange { group, peer } => {
                let agreed = dh::respond(group, random, &peer).ok();
                Outcome::Agreed(agreed.map(|(public, shared)| Agreed { public, shared }))
            }
            Job::Sign { key, hash } => Outcome::Signed(key.sign(hash.as_ref()).ok()),
            Job::Verify(verification) => Outcome::Verified(verification.run(unix_time)),
            Job::CheckPassword {
                users,
                name,
                password,
            } => Outcome::Checked(password::is_right(&users, &name, password.expose())),
        };
        WorkDone {
            ike: self.ike,
            exchange: self.exchange,
            outcome,
        }
    }
}

impl Work {
    /// Takes a key pair that was drawn before, if one of its group is what is wanted; gives itself back otherwise.
    pub fn supply(self, pair: KeyPair) -> Result<WorkDone, Self> {
        match self.job {
            Job::KeyPair(group) if group == pair.group() => Ok(WorkDone {
                ike: self.ike,
                exchange: self.exchange,
                outcome: Outcome::KeyPair(Some(pair)),
            }),
            job => Err(Work { job, ..self }),
        }
    }
}

impl Verification {
    /// The certificate first: it says with which key the signature is verified.
    fn run(&self, unix_time: u64) -> Result<(), Error> {
        let certificates: Vec<_> = self.certificates.iter().map(Vec::as_slice).collect();
        let verified = credentials::first_believed(
            &self.believed,
            &certificates,
            unix_time,
            &self.presented,
            self.expected.as_ref(),
        );
        let key = verified.map_err(|e| PeerIncompatible::Certificate(e.to_string()))?;
        // RFC 4754 4: the method names the curve.
        if Method::of(key.algorithm()) != self.method {
            return Err(PeerMisbehaved::Signature.into());
        }
        let verified = key.verify(self.hash.as_ref(), &self.signature);
        verified.map_err(|_| PeerMisbehaved::Signature.into())
    }
}

fn agree(pair: &KeyPair, peer: &[u8]) -> Option<Agreed> {
    Some(Agreed {
        public: pair.public().to_vec(),
        shared: pair.agree(peer).ok()?,
    })
}
