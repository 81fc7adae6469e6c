//! What all exchanges share: settings, randomness, connections, children, and the queues of what goes out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Connection, Credentials, Revocation};

use crate::backoff;
use crate::child::Children;
use crate::crypto::credentials::LoadedCredentials;
use crate::leases::Leases;
use crate::peer_id::PeerId;
use crate::proposal::lifetime::Lifetime;
use crate::show::{Counters, Mismatch};
use crate::traffic::Wanted;
use crate::v1::wrong_passwords::WrongPasswords;
use crate::work::{Job, Work};
use crate::{
    ChildId, CloseReason, Event, Failure, IkeId, RandomSource, Settings, SpiSource, Time, Transmit,
};

/// Failures that `show` remembers.
const FAILURES: usize = 64;

/// Two ends of a UDP flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// What an IKE SA asks of the endpoint, because it concerns other IKE SAs.
#[derive(Debug)]
pub(crate) enum Request {
    /// Renew this phase 1; `Wanted` is negotiated with the new one.
    Renew(IkeId, Option<Box<Wanted>>),
    /// This phase 1 stands: others with the same peer step back.
    Established(IkeId),
    /// The peer has none of our SAs from before.
    InitialContact(IkeId),
    /// Note when this child is due.
    Plan(ChildId),
    /// This child stands.
    Installed(ChildId),
    /// The new phase 1 that was to take this one's place came to nothing.
    NotRenewed(IkeId),
    /// The peer of this phase 1 is dead, and its children with it.
    PeerDead(IkeId, PeerId),
    /// The peer of this connection is lost, or was not reached: begin anew, later.
    Restart(Arc<Connection>),
    /// A child of this connection did not come to be, and there is none in its place.
    ChildLost(Arc<Connection>),
    /// This phase 1 is used up: negotiate with another one.
    Negotiate(Arc<Connection>, Box<Wanted>),
}

/// Credentials of a connection, as they are configured and as they are used.
pub(crate) struct KnownCredentials {
    /// All that they are made of but the key, which the own certificate stands for.
    chain: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
    crls: Vec<Vec<u8>>,
    revocation: Revocation,
    name_roots: bool,
    pub(crate) loaded: Arc<LoadedCredentials>,
}

impl KnownCredentials {
    pub(crate) fn new(configured: &Credentials, loaded: LoadedCredentials) -> Self {
        KnownCredentials {
            chain: configured.chain.clone(),
            roots: configured.roots.clone(),
            crls: configured.crls.clone(),
            revocation: configured.revocation,
            name_roots: configured.name_roots,
            loaded: Arc::new(loaded),
        }
    }

    /// True if they were made of these.
    pub(crate) fn are_of(&self, configured: &Credentials) -> bool {
        self.chain == configured.chain
            && self.roots == configured.roots
            && self.crls == configured.crls
            && self.revocation == configured.revocation
            && self.name_roots == configured.name_roots
    }
}

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) random: Box<dyn RandomSource + Send>,
    pub(crate) spis: Box<dyn SpiSource>,
    pub(crate) connections: Vec<Arc<Connection>>,
    /// Seconds since 1970, if they are known.
    pub(crate) calendar: Option<u64>,
    /// Certificates of the connections that have some, by name.
    pub(crate) credentials: HashMap<String, Vec<KnownCredentials>>,
    /// Lives that peers wanted and did not get, as told last: by connection, and by child but for phase 1.
    pub(crate) short_lives: HashMap<(String, Option<String>), Lifetime>,
    /// IKE SAs by the peer's address, half-open ones too.
    pub(crate) peers: HashMap<IpAddr, usize>,
    pub(crate) children: Children,
    pub(crate) leases: Leases,
    pub(crate) wrong_passwords: WrongPasswords,
    pub(crate) failures: VecDeque<Failure>,
    pub(crate) counters: Counters,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    /// Events that wait until all datagrams are sent.
    pub(crate) deferred: VecDeque<Event>,
    pub(crate) works: VecDeque<Work>,
    pub(crate) requests: VecDeque<Request>,
}

impl Core {
    pub(crate) fn new(
        settings: Settings,
        random: Box<dyn RandomSource + Send>,
        spis: Box<dyn SpiSource>,
    ) -> Self {
        Core {
            settings,
            random,
            spis,
            connections: Vec::new(),
            calendar: None,
            credentials: HashMap::new(),
            short_lives: HashMap::new(),
            peers: HashMap::new(),
            children: Children::default(),
            leases: Leases::default(),
            wrong_passwords: WrongPasswords::default(),
            failures: VecDeque::new(),
            counters: Counters::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            deferred: VecDeque::new(),
            works: VecDeque::new(),
            requests: VecDeque::new(),
        }
    }

    /// Random bytes.
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// A message id, never zero: that is phase 1's (RFC 2408 3.1).
    pub(crate) fn message_id(&mut self) -> u32 {
        u32::from_be_bytes(self.random()).max(1)
    }

    /// A time by up to a tenth shorter, so that peers and SAs made at once are not renewed at once.
    pub(crate) fn jittered(&mut self, value: u64) -> u64 {
        let part = u64::from(u16::from_be_bytes(self.random()));
        value - (u128::from(value) * u128::from(part) / 655_360) as u64
    }

    /// When what has failed so often is tried again.
    pub(crate) fn again(&mut self, now: Time, failures: u32) -> Time {
        let wait = backoff::wait(failures).as_millis();
        let wait = self.jittered(u64::try_from(wait).unwrap_or(u64::MAX));
        now + Duration::from_millis(wait)
    }

    pub(crate) fn work(&mut self, ike: IkeId, exchange: u32, job: Job) {
        self.works.push_back(Work { ike, exchange, job });
    }

    /// The peer wants so short a life, and does not get it: told once, not at each renewal.
    pub(crate) fn note_short_life(
        &mut self,
        connection: &str,
        child: Option<&str>,
        wanted: Option<Lifetime>,
    ) {
        let Some(wanted) = wanted else {
            return;
        };
        let of = (connection.to_owned(), child.map(str::to_owned));
        if self.short_lives.insert(of, wanted) != Some(wanted) {
            let Lifetime { seconds, kilobytes } = wanted;
            self.events.push_back(Event::ShortLife {
                connection: connection.to_owned(),
                child: child.map(str::to_owned),
                seconds,
                kilobytes,
            });
        }
    }

    /// A negotiation ended without result.
    pub(crate) fn fail(
        &mut self,
        at: Time,
        remote: SocketAddr,
        names: (Option<&str>, Option<&str>),
        reason: CloseReason,
        mismatches: Vec<Mismatch>,
    ) {
        let failure = Failure {
            at,
            connection: names.0.map(str::to_owned),
            child: names.1.map(str::to_owned),
            remote,
            reason,
            mismatches,
        };
        self.counters.failed += 1;
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(failure.clone());
        self.events.push_back(Event::Failed(failure));
    }
}
