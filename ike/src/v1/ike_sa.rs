//! An IKE SA: phase 1, and the exchanges that it protects.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Connection, Identity, IkeProposal};

use crate::core::{Core, Path, Request};
use crate::crypto::keymat::Cookies;
use crate::peer_id::PeerId;
use crate::proposal::lifetime::Lifetime;
use crate::retransmit::{Due, Retransmission};
use crate::show::{IkeSnapshot, Mismatch};
use crate::traffic::Wanted;
use crate::v1::dead_peer::DeadPeer;
use crate::v1::fragmentation::{self, Reassembly};
use crate::v1::keys::Keys;
use crate::v1::life::Volume;
use crate::v1::message::{self, Incoming, VERSION, encrypt};
use crate::v1::nat_traversal::Nat;
use crate::v1::quick_mode::{self, QuickModes};
use crate::v1::transaction::{self, Transaction};
use crate::v1::xauth::{self, Admission};
use crate::v1::{aggressive_mode, exchange, informational, main_mode};
use crate::wire::Writer;
use crate::wire::payload::kind;
use crate::wire::vendor_id::Capabilities;
use crate::work::Outcome;
use crate::{
    CloseReason, Error, Established, Event, IkeId, PeerIncompatible, PeerMisbehaved, Time, Transmit,
};

/// Message ids of finished exchanges that are remembered, so that none is replayed.
const SEEN: usize = 1024;
/// Time for the true message after one that shows another secret.
const SECOND_CHANCE: Duration = Duration::from_secs(5);
/// The non-ESP marker (RFC 3948 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// A NAT keepalive (RFC 3948 2.3).
const KEEPALIVE: [u8; 1] = [0xff];

/// Who sent the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// Where phase 1 stands.
#[derive(Debug)]
pub(crate) enum State {
    MainMode(main_mode::State),
    AggressiveMode(aggressive_mode::State),
    /// Phase 1 stands, and phase 2 may not begin yet.
    Admission(Admission),
    Established,
    /// Between two states. It stays only if the step fails, and then the negotiation does.
    Changing,
    Closed,
}

impl State {
    /// True as long as the peer has not proved all that is asked of it.
    pub(crate) fn is_half_open(&self) -> bool {
        matches!(
            self,
            State::MainMode(_) | State::AggressiveMode(_) | State::Admission(_)
        )
    }
}

/// An IKE SA.
#[derive(Debug)]
pub(crate) struct IkeSa {
    pub(crate) id: IkeId,
    pub(crate) role: Role,
    pub(crate) cookies: Cookies,
    pub(crate) path: Path,
    /// The one we initiate, or the one the peer seems to belong to until its identity tells.
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) state: State,
    pub(crate) phase1: Retransmission,
    pub(crate) peer: Capabilities,
    pub(crate) nat: Nat,
    pub(crate) keys: Option<Keys>,
    pub(crate) remote_id: Option<Identity>,
    /// Who it is, once all is proved.
    pub(crate) peer_id: Option<PeerId>,
    /// Addresses of mode config: the peer's, or ours.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) proposal: Option<IkeProposal>,
    /// The life that the peer gives phase 1.
    pub(crate) peer_lifetime: Lifetime,
    pub(crate) volume: Volume,
    pub(crate) exchanges: QuickModes,
    pub(crate) transactions: BTreeMap<u32, Transaction>,
    pub(crate) seen: VecDeque<u32>,
    /// What is to be negotiated when phase 1 stands, and has room for it.
    pub(crate) queue: VecDeque<Wanted>,
    /// What went wrong lately; the reason, should the negotiation fail.
    pub(crate) hint: Option<(Error, Vec<Mismatch>)>,
    pub(crate) established: Option<Time>,
    /// When a half-open one is given up.
    pub(crate) half_open_until: Option<Time>,
    pub(crate) renewal: Option<Time>,
    pub(crate) expiry: Option<Time>,
    pub(crate) keepalive: Option<Time>,
    pub(crate) dead_peer: DeadPeer,
    pub(crate) reassembly: Reassembly,
    /// Quick modes that it has begun to serve.
    pub(crate) quick_modes: u32,
    pub(crate) replaces: Option<IkeId>,
    pub(crate) began: Time,
    /// Where the peer was when it began, under which it is counted.
    pub(crate) home: IpAddr,
    /// It serves no new quick modes: another one has taken over, or its limit is reached.
    pub(crate) retired: bool,
    /// It is another one that has taken over.
    pub(crate) superseded: bool,
    /// When its life is over, if it is not retired before.
    pub(crate) end: Option<Time>,
    /// Renewals that came to nothing.
    failed: u32,
    /// The peer began anew, and has yet to prove who it is.
    pub(crate) initial_contact: bool,
    /// When the peer was last reminded that an SA is gone.
    pub(crate) reminder: Option<Time>,
}

impl IkeSa {
    pub(crate) fn new(
        core: &Core,
        now: Time,
        id: IkeId,
        (role, cookies): (Role, Cookies),
        path: Path,
        state: State,
    ) -> Self {
        IkeSa {
            id,
            role,
            cookies,
            path,
            connection: None,
            state,
            phase1: Retransmission::default(),
            peer: Capabilities::default(),
            nat: Nat::default(),
            keys: None,
            remote_id: None,
            peer_id: None,
            addresses: Vec::new(),
            proposal: None,
            peer_lifetime: Lifetime::default(),
            volume: Volume::default(),
            exchanges: QuickModes::default(),
            transactions: BTreeMap::new(),
            seen: VecDeque::new(),
            queue: VecDeque::new(),
            hint: None,
            established: None,
            half_open_until: match role {
                Role::Responder => Some(now + core.settings.half_open_time),
                Role::Initiator => None,
            },
            renewal: None,
            expiry: None,
            keepalive: None,
            dead_peer: DeadPeer::default(),
            reassembly: Reassembly::default(),
            quick_modes: 0,
            replaces: None,
            began: now,
            home: path.remote.ip(),
            retired: false,
            superseded: false,
            end: None,
            failed: 0,
            initial_contact: false,
            reminder: None,
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.state, State::Established)
    }

    /// True as soon as phase 1 protects messages.
    pub(crate) fn is_protected(&self) -> bool {
        matches!(self.state, State::Established | State::Admission(_))
    }

    pub(crate) fn connection_name(&self) -> Option<&str> {
        self.connection.as_ref().map(|c| c.name.as_str())
    }

    /// Takes a message. What is wrong with it is remembered as a reason, should the negotiation fail; unless it was
    /// authentic, it changes nothing else.
    pub(crate) fn receive(&mut self, core: &mut Core, now: Time, incoming: Incoming<'_>) {
        if incoming.header.next_payload == kind::FRAGMENT {
            let Some(whole) = self.reassembly.add(&incoming) else {
                return;
            };
            let header = crate::header::Header::parse(&whole);
            // A fragmented message has the cookies of its fragments, and is not fragmented once more.
            let fits = |h: &crate::header::Header| {
                h.initiator_cookie == incoming.header.initiator_cookie
                    && h.responder_cookie == incoming.header.responder_cookie
                    && h.next_payload != kind::FRAGMENT
                    && h.version == VERSION
            };
            match header {
                Ok(header) if fits(&header) => {
                    let path = incoming.path;
                    let bytes = &whole[..];
                    self.receive(
                        core,
                        now,
                        Incoming {
                            header,
                            bytes,
                            path,
                        },
                    );
                }
                _ => core.counters.invalid += 1,
            }
            return;
        }
        let result = match incoming.header.exchange_type {
            exchange::INFORMATIONAL => informational::receive(self, core, now, incoming),
            exchange::QUICK_MODE => quick_mode::receive(self, core, now, incoming),
            exchange::TRANSACTION => transaction::receive(self, core, now, incoming),
            exchange::IDENTITY_PROTECTION | exchange::AGGRESSIVE => {
                self.receive_phase1(core, now, incoming)
            }
            _ => Err(crate::InvalidMessage::Header.into()),
        };
        if let Err(error) = result {
            core.counters.unauthentic += 1;
            if matches!(self.state, State::Changing) {
                self.fail(core, now, error);
            } else if !self.is_protected() {
                self.suspect(now, error);
            }
        }
    }

    /// Remembers what went wrong. If it is the secret, a true answer that may still come has a little time.
    pub(crate) fn suspect(&mut self, now: Time, error: Error) {
        if matches!(
            error,
            Error::PeerIncompatible(PeerIncompatible::PreSharedKey)
        ) {
            let soon = now + SECOND_CHANCE;
            self.half_open_until = Some(self.half_open_until.map_or(soon, |at| at.min(soon)));
        }
        self.hint = Some((error, Vec::new()));
    }

    fn receive_phase1(
        &mut self,
        core: &mut Core,
        now: Time,
        incoming: Incoming<'_>,
    ) -> Result<(), Error> {
        if self.phase1.is_repeated(incoming.bytes) {
            core.counters.retransmissions_received += 1;
            if let Some(answer) = self.phase1.answer().map(<[u8]>::to_vec) {
                core.counters.retransmissions_sent += 1;
                self.send(core, &answer);
            }
            return Ok(());
        }
        match (&self.state, incoming.header.exchange_type) {
            (State::MainMode(_), exchange::IDENTITY_PROTECTION) => {
                main_mode::receive(self, core, now, incoming)
            }
            (State::AggressiveMode(_), exchange::AGGRESSIVE) => {
                aggressive_mode::receive(self, core, now, incoming)
            }
            _ => Err(crate::InvalidMessage::Header.into()),
        }
    }

    /// Takes the result of a computation.
    pub(crate) fn computed(&mut self, core: &mut Core, now: Time, exchange: u32, outcome: Outcome) {
        if exchange != 0 {
            quick_mode::computed(self, core, now, exchange, outcome);
            return;
        }
        let result = match &self.state {
            State::MainMode(_) => main_mode::computed(self, core, now, outcome),
            State::AggressiveMode(_) => aggressive_mode::computed(self, core, now, outcome),
            State::Admission(_) => xauth::computed(self, core, now, &outcome),
            State::Established | State::Changing | State::Closed => Ok(()),
        };
        if let Err(error) = result {
            self.fail(core, now, error);
        }
    }

    /// Phase 1 stands.
    pub(crate) fn establish(&mut self, core: &mut Core, now: Time) {
        self.hint = None;
        if let Err(error) = xauth::begin(self, core, now) {
            self.fail(core, now, error);
        }
    }

    /// All is proved that has to be: phase 2 may begin, and does.
    pub(crate) fn ready(&mut self, core: &mut Core, now: Time) {
        self.stand(core, now);
        quick_mode::initiate_queued(self, core, now);
    }

    /// All is proved that has to be: phase 2 may begin.
    pub(crate) fn stand(&mut self, core: &mut Core, now: Time) {
        let (Some(connection), Some(remote_id)) = (self.connection.clone(), self.remote_id.clone())
        else {
            return;
        };
        if std::mem::take(&mut self.initial_contact) {
            core.requests.push_back(Request::InitialContact(self.id));
        }
        self.state = State::Established;
        self.established = Some(now);
        self.half_open_until = None;
        self.plan_life(core);
        if self.nat.ours {
            self.keepalive = Some(now + core.settings.keepalive);
        }
        self.dead_peer.start(now, &connection, self.peer);
        core.counters.established += 1;
        core.events.push_back(Event::Established(Established {
            ike: self.id,
            connection: connection.name.clone(),
            local: self.path.local,
            remote: self.path.remote,
            remote_id,
            user: self.user().map(str::to_owned),
            replaces: self.replaces,
        }));
        core.requests.push_back(Request::Established(self.id));
        self.say_lifetime(core);
    }

    /// Users can prove themselves only to a phase 1 that they begin.
    pub(crate) fn may_renew(&self) -> bool {
        let connection = self.connection.as_ref();
        !connection.is_some_and(|connection| connection.remote_access.asks())
    }

    /// The user behind the peer, who has proved it.
    fn user(&self) -> Option<&str> {
        self.peer_id.as_ref().and_then(PeerId::user)
    }

    /// The user whose password is being checked.
    pub(crate) fn user_in_check(&self) -> Option<&str> {
        match &self.state {
            State::Admission(Admission::Checking { guess, .. }) => Some(&guess.user),
            _ => None,
        }
    }

    /// True if it may serve one more quick mode.
    pub(crate) fn has_quick_mode_left(&self) -> bool {
        let limit = self.connection.as_ref().and_then(|c| c.quick_modes);
        !self.retired && limit.is_none_or(|limit| self.quick_modes < limit)
    }

    /// True if it negotiates this, or will.
    pub(crate) fn wants(&self, wanted: &Wanted) -> bool {
        let other_peer = |other: &Wanted| match (&other.peer, &wanted.peer) {
            (Some((one, _)), Some((other, _))) => one != other,
            _ => false,
        };
        let same = |other: &Wanted| {
            other.child == wanted.child && other.selector == wanted.selector && !other_peer(other)
        };
        self.queue.iter().any(same) || self.exchanges.open().any(|(_, q)| q.wants(same))
    }

    /// The negotiation fails: what waits for it fails, too.
    pub(crate) fn fail(&mut self, core: &mut Core, now: Time, error: Error) {
        self.hint.get_or_insert((error.clone(), Vec::new()));
        self.close(core, now, CloseReason::Error(error));
    }

    /// Ends it, with whatever is under way. The peer is not told.
    pub(crate) fn close(&mut self, core: &mut Core, now: Time, reason: CloseReason) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if let State::Admission(admission) = &self.state {
            xauth::closed(admission, core, now);
        }
        if self.is_established() {
            for quick_mode in std::mem::take(&mut self.exchanges).into_all() {
                quick_mode.abandon(self, core, now, reason.clone());
            }
            self.abandon_queue(core, now, (&reason, &[]));
            core.events.push_back(Event::Closed {
                ike: self.id,
                connection: self.connection_name().unwrap_or_default().to_owned(),
                reason: reason.clone(),
            });
        } else {
            self.report(core, now, &reason);
        }
        self.state = State::Closed;
    }

    /// Says why phase 1 failed, once for each child that waited for it.
    fn report(&mut self, core: &mut Core, now: Time, reason: &CloseReason) {
        let (reason, mismatches) = match (reason, self.hint.take()) {
            (
                CloseReason::PeerDead | CloseReason::DeletedByPeer | CloseReason::Error(_),
                Some((error, mismatches)),
            ) => (CloseReason::Error(error), mismatches),
            // Its cookie comes with its first message (RFC 2408 2.5.3).
            (CloseReason::PeerDead, None)
                if self.role == Role::Initiator && self.cookies.responder == [0; 8] =>
            {
                (CloseReason::NoAnswer, Vec::new())
            }
            (reason, _) => (reason.clone(), Vec::new()),
        };
        let connection = self.connection_name().map(str::to_owned);
        let connection = connection.as_deref();
        let remote = self.path.remote;
        if self.queue.is_empty() {
            let names = (connection, None);
            core.fail(now, remote, names, reason.clone(), mismatches.clone());
        }
        self.abandon_queue(core, now, (&reason, &mismatches));
        let renewed = self.replaces.map(Request::NotRenewed);
        core.requests.extend(renewed);
        if let (Role::Initiator, Some(connection), false) = (
            self.role,
            &self.connection,
            matches!(reason, CloseReason::Terminated | CloseReason::Replaced),
        ) {
            core.requests
                .push_back(Request::Restart(connection.clone()));
        }
    }

    /// What waits for it comes to nothing.
    fn abandon_queue(
        &mut self,
        core: &mut Core,
        now: Time,
        (reason, mismatches): (&CloseReason, &[Mismatch]),
    ) {
        while let Some(wanted) = self.queue.pop_front() {
            quick_mode::not_to_be(self, core, now, wanted.replaces, reason);
            let names = (self.connection_name(), Some(wanted.child.as_str()));
            let remote = self.path.remote;
            core.fail(now, remote, names, reason.clone(), mismatches.to_vec());
        }
    }

    /// Sends a message to where the peer is now, in fragments if it is too long and the peer can join them.
    pub(crate) fn send(&self, core: &mut Core, message: &[u8]) {
        if message::is_encrypted(message) {
            self.volume.note(message);
        }
        let limit = self.connection.as_ref().and_then(|c| c.fragment_size);
        let limit = limit.filter(|_| self.peer.fragmentation);
        for part in fragmentation::split(message, self.path, limit) {
            let marker = self.path.local.port() != core.settings.port;
            let bytes = match marker {
                true => [&NON_ESP_MARKER[..], &part].concat(),
                false => part,
            };
            core.transmits.push_back(Transmit {
                local: self.path.local,
                remote: self.path.remote,
                bytes,
            });
        }
    }

    /// Encrypts a message of phase 1, and moves the running IV on.
    pub(crate) fn seal_phase1(&mut self, writer: Writer) -> Result<Vec<u8>, Error> {
        let keys = self.keys()?;
        let mut iv = keys.iv.clone();
        let message = encrypt(writer, 0, keys, &mut iv)?;
        if let Some(keys) = &mut self.keys {
            keys.iv = iv;
        }
        Ok(message)
    }

    /// The initiator goes over to the port that NATs need (RFC 3947 4).
    pub(crate) fn float(&mut self, core: &Core) {
        if self.nat.udp.is_some() && self.path.local.port() == core.settings.port {
            self.path.local.set_port(core.settings.nat_port);
            self.path.remote.set_port(core.settings.nat_port);
        }
    }

    /// A protected message came that is authentic.
    pub(crate) fn authentic(&mut self, core: &mut Core, now: Time, incoming: Incoming<'_>) {
        self.volume.note(incoming.bytes);
        self.follow(core, now, incoming.path);
    }

    /// An authentic message came over this path: behind a NAT the peer follows it (RFC 3947 4, RFC 3948 A).
    pub(crate) fn follow(&mut self, core: &mut Core, now: Time, path: Path) {
        self.dead_peer.sign_of_life(now);
        if path == self.path || !self.nat.theirs {
            return;
        }
        let old = std::mem::replace(&mut self.path, path);
        let peer = self.peer_id.iter();
        let children = peer.flat_map(|peer| core.children.of_peer(peer));
        let moved: Vec<_> = children
            .filter(|child| child.path == old)
            .map(|child| child.id)
            .collect();
        for child in &moved {
            core.children.move_path(*child, path);
        }
        if !moved.is_empty() {
            core.events.push_back(Event::PeerMoved {
                children: moved,
                local: path.local,
                remote: path.remote,
            });
        }
    }

    /// True for a message id that no exchange has had; it is taken.
    pub(crate) fn take_message_id(&mut self, message_id: u32) -> bool {
        if message_id == 0 || self.seen.contains(&message_id) {
            return false;
        }
        if self.seen.len() == SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(message_id);
        true
    }

    /// The message with this id is to be taken when it comes again.
    pub(crate) fn forget_message_id(&mut self, message_id: u32) {
        self.seen.retain(|seen| *seen != message_id);
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let own = [
            self.phase1.deadline(),
            self.half_open_until,
            self.renewal,
            self.expiry,
            self.keepalive,
            self.dead_peer.deadline(),
        ];
        let transactions = self.transactions.values().filter_map(Transaction::deadline);
        let admission = match &self.state {
            State::Admission(admission) => admission.deadline(),
            _ => None,
        };
        let own = own.into_iter().flatten().chain(admission);
        let exchanges = self.exchanges.deadline();
        own.chain(exchanges).chain(transactions).min()
    }

    /// Does what is due.
    pub(crate) fn timeout(&mut self, core: &mut Core, now: Time) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.half_open_until) {
            self.close(core, now, CloseReason::PeerDead);
            return;
        }
        self.repeat_phase1(core, now);
        transaction::timeout(self, core, now);
        if let Err(error) = xauth::timeout(self, core, now) {
            self.fail(core, now, error);
        }
        if due(self.expiry) {
            informational::delete_ike(self, core);
            self.close(core, now, CloseReason::Expired);
        }
        if !self.is_established() {
            return;
        }
        if due(self.renewal) {
            self.renewal = None;
            core.requests.push_back(Request::Renew(self.id, None));
        }
        if due(self.keepalive) {
            self.keepalive = Some(now + core.settings.keepalive);
            core.transmits.push_back(Transmit {
                local: self.path.local,
                remote: self.path.remote,
                bytes: KEEPALIVE.to_vec(),
            });
        }
        quick_mode::timeout(self, core, now);
        DeadPeer::timeout(self, core, now);
    }

    fn repeat_phase1(&mut self, core: &mut Core, now: Time) {
        let (first, retries) = (core.settings.retransmit, core.settings.retries);
        let refused = self.has_refusal();
        match self.phase1.due(now, first, retries) {
            Due::Nothing => {}
            // A refusal came, if an unauthentic one: the true answer had its time.
            _ if refused => self.close(core, now, CloseReason::PeerDead),
            Due::Again(message) => {
                let message = message.to_vec();
                core.counters.retransmissions_sent += 1;
                self.send(core, &message);
            }
            Due::GiveUp => self.close(core, now, CloseReason::PeerDead),
        }
    }

    fn has_refusal(&self) -> bool {
        let error = self.hint.as_ref().map(|(error, _)| error);
        let secret = Error::PeerIncompatible(PeerIncompatible::PreSharedKey);
        matches!(error, Some(Error::PeerRefused(_))) || error == Some(&secret)
    }

    /// Another one with the peer takes its place.
    pub(crate) fn supersede(&mut self, core: &Core, now: Time) {
        if !self.superseded {
            self.superseded = true;
            self.retire(core, now);
        }
    }

    /// It is the one with the peer that stays, after all. Should its renewal have come to nothing, there is to be
    /// another before it ends.
    pub(crate) fn reinstate(&mut self, now: Time) {
        if self.superseded {
            self.superseded = false;
            self.retired = false;
            self.expiry = self.end;
        }
        if !self.retired && self.may_renew() {
            let left = self.end.map(|end| end.saturating_sub(now));
            let planned = left.and_then(|left| now.checked_add(left - left / 10));
            self.renewal = self.renewal.or(planned);
        }
    }

    /// Its renewal came to nothing: there is another one to come.
    pub(crate) fn not_renewed(&mut self, core: &mut Core, now: Time) {
        if self.is_established() && !self.retired && self.may_renew() {
            self.failed += 1;
            let again = core.again(now, self.failed);
            self.renewal = Some(self.renewal.map_or(again, |planned| planned.min(again)));
        }
    }

    /// Serves no more quick modes, and goes when those under way are over, repetitions and all.
    pub(crate) fn retire(&mut self, core: &Core, now: Time) {
        self.retired = true;
        self.renewal = None;
        let end = now + core.settings.exchange_memory();
        self.expiry = Some(self.expiry.map_or(end, |expiry| expiry.min(end)));
    }

    /// The keys, which every exchange under phase 1 needs.
    pub(crate) fn keys(&self) -> Result<&Keys, Error> {
        self.keys.as_ref().ok_or(PeerMisbehaved::NoPhase1.into())
    }

    pub(crate) fn snapshot(&self) -> IkeSnapshot {
        IkeSnapshot {
            id: self.id,
            connection: self.connection_name().map(str::to_owned),
            state: match &self.state {
                State::MainMode(state) => state.name(),
                State::AggressiveMode(state) => state.name(),
                State::Admission(state) => state.name(),
                State::Established if self.retired => "retired",
                State::Established => "established",
                State::Changing | State::Closed => "closed",
            },
            initiator: self.role == Role::Initiator,
            cookies: [self.cookies.initiator, self.cookies.responder],
            local: self.path.local,
            remote: self.path.remote,
            remote_id: self.remote_id.clone(),
            user: self.user().map(str::to_owned),
            addresses: self.addresses.clone(),
            proposal: self.proposal,
            nat: [self.nat.ours, self.nat.theirs],
            established: self.established,
            renewal: self.renewal,
            quick_modes: self.quick_modes,
        }
    }
}
