//! Work that takes milliseconds, to be done elsewhere: Diffie-Hellman and signatures.

use portcullis_config::Group;

use crate::crypto::dh::{KeyPair, SharedSecret};
use crate::{IkeId, RandomSource};

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
}

/// What was computed; errors are the peer's fault where its value was used.
#[derive(Debug)]
pub(crate) enum Outcome {
    KeyPair(Option<KeyPair>),
    Agreed(Option<Agreed>),
}

/// Our public value, and the secret.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) public: Vec<u8>,
    pub(crate) shared: SharedSecret,
}

impl Work {
    /// Computes it. `unix_time` in seconds is for the validity of certificates.
    pub fn run(self, random: &mut dyn RandomSource, _unix_time: u64) -> WorkDone {
        let outcome = match self.job {
            Job::KeyPair(group) => Outcome::KeyPair(KeyPair::new(group, random).ok()),
            Job::Agree { pair, peer } => Outcome::Agreed(agree(&pair, &peer)),
            Job::KeyExchange { group, peer } => {
                let pair = KeyPair::new(group, random).ok();
                Outcome::Agreed(pair.and_then(|pair| agree(&pair, &peer)))
            }
        };
        WorkDone {
            ike: self.ike,
            exchange: self.exchange,
            outcome,
        }
    }
}

fn agree(pair: &KeyPair, peer: &[u8]) -> Option<Agreed> {
    Some(Agreed {
        public: pair.public().to_vec(),
        shared: pair.agree(peer).ok()?,
    })
}
