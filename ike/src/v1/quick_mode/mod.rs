//! Quick mode (RFC 2409 5.5).
//!
//! ```text
//! Initiator                                          Responder
//! HDR*, HASH(1), SA, Ni [, KE] [, IDci, IDcr]   -->
//!                                               <--  HDR*, HASH(2), SA, Nr [, KE] [, IDci, IDcr]
//! HDR*, HASH(3)                                 -->
//!                                               <--  HDR*, HASH, N(CONNECTED)    # if the commit bit was set
//! ```
//!
//! Both repeat what is not answered: the initiator message 1, the responder message 2. Message 3 is repeated when
//! message 2 comes again.

mod initiator;
mod install;
mod responder;
mod table;

use std::net::IpAddr;

use portcullis_config::ChildPolicy;

use crate::child::{ChildState, DirectionKeys};
use crate::core::{Core, Request};
use crate::crypto::cipher::Iv;
use crate::crypto::dh::KeyPair;
use crate::crypto::hash::Digest;
use crate::proposal::ipsec::{Chosen, Spis};
use crate::retransmit::{Due, Retransmission};
use crate::traffic::Wanted;
use crate::v1::exchange;
use crate::v1::ike_sa::{IkeSa, State as IkeState};
use crate::v1::message::{Incoming, encrypt, message};
use crate::v1::phase1::Both;
use crate::wire::payload::kind;
use crate::wire::{Payloads, Writer};
use crate::work::Outcome;
use crate::{ChildId, CloseReason, Error, PeerMisbehaved, Time};

pub(crate) use initiator::{initiate, initiate_queued, refused};
pub(crate) use responder::connected;
pub(crate) use table::QuickModes;

/// Payloads of a message under construction.
type Bodies = Vec<(u8, Vec<u8>)>;

/// A quick mode.
#[derive(Debug)]
pub(crate) struct QuickMode {
    message_id: u32,
    iv: Iv,
    state: State,
    retransmission: Retransmission,
    /// When a finished one is forgotten.
    until: Option<Time>,
}

/// What it waits for.
#[derive(Debug)]
enum State {
    /// Initiator: our key pair.
    MakingKeyPair(Offer),
    /// Initiator: message 2.
    AwaitAnswer { offer: Offer, pair: Option<KeyPair> },
    /// Both: the secret.
    Agreeing(Agreement),
    /// Initiator: CONNECTED.
    AwaitConnected { child: ChildId, keys: DirectionKeys },
    /// Responder: message 3.
    AwaitProof {
        child: ChildId,
        keys: DirectionKeys,
        nonces: Both,
        commit: bool,
    },
    /// Nothing more; it answers repetitions.
    Done,
    /// It has failed; it is only remembered.
    Failed,
}

/// What the initiator offers.
#[derive(Debug)]
struct Offer {
    wanted: Wanted,
    policy: ChildPolicy,
    spis: Spis,
    nonce: Vec<u8>,
    /// Bodies of IDci and IDcr.
    identities: (Vec<u8>, Vec<u8>),
}

/// What both agreed on, before the keys.
#[derive(Debug)]
struct Agreement {
    wanted: Wanted,
    policy: ChildPolicy,
    chosen: Chosen,
    /// SPIs of our inbound SAs.
    spis: Spis,
    nonces: Both,
    /// The addresses that the peer sees as its own and as ours.
    original: Option<(IpAddr, IpAddr)>,
    /// The responder's: bodies of identities to repeat.
    identities: Option<(Vec<u8>, Vec<u8>)>,
    commit: bool,
}

impl QuickMode {
    fn new(message_id: u32, iv: Iv, state: State) -> Self {
        QuickMode {
            message_id,
            iv,
            state,
            retransmission: Retransmission::default(),
            until: None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let deadlines = [self.retransmission.deadline(), self.until];
        deadlines.into_iter().flatten().min()
    }

    /// True if we negotiate such a thing.
    pub(crate) fn wants(&self, same: impl Fn(&Wanted) -> bool) -> bool {
        match &self.state {
            State::Agreeing(agreement) => same(&agreement.wanted),
            _ => self.offer().is_some_and(|offer| same(&offer.wanted)),
        }
    }

    /// What it negotiates, if we began it and the answer is not there.
    fn offer(&self) -> Option<&Offer> {
        match &self.state {
            State::MakingKeyPair(offer) | State::AwaitAnswer { offer, .. } => Some(offer),
            _ => None,
        }
    }

    /// It ends without result: nothing of it is left.
    pub(crate) fn abandon(self, sa: &IkeSa, core: &mut Core, now: Time, reason: CloseReason) {
        let name = sa.connection_name().map(str::to_owned);
        let report = |core: &mut Core, child: &str| {
            let names = (name.as_deref(), Some(child));
            core.fail(now, sa.path.remote, names, reason.clone(), Vec::new());
        };
        match self.state {
            State::MakingKeyPair(Offer { wanted, spis, .. })
            | State::AwaitAnswer {
                offer: Offer { wanted, spis, .. },
                ..
            }
            | State::Agreeing(Agreement { wanted, spis, .. }) => {
                release(core, spis);
                not_to_be(sa, core, now, wanted.replaces, &reason);
                report(core, &wanted.child);
            }
            State::AwaitConnected { child, .. } | State::AwaitProof { child, .. } => {
                let replaced = core.children.get(child).and_then(|child| child.replaces);
                not_to_be(sa, core, now, replaced, &reason);
                let removed = install::remove(core, child, reason.clone());
                report(core, &removed.unwrap_or_default());
            }
            State::Done | State::Failed => {}
        }
    }
}

fn release(core: &mut Core, spis: Spis) {
    for spi in spis.esp.into_iter().chain(spis.ah) {
        core.spis.release(spi);
    }
}

/// A child is not to be. Where it was to be the first, its connection does not stand as it should.
pub(crate) fn not_to_be(
    sa: &IkeSa,
    core: &mut Core,
    now: Time,
    replaced: Option<ChildId>,
    reason: &CloseReason,
) {
    stay(core, now, replaced);
    let ended = matches!(reason, CloseReason::Terminated | CloseReason::Replaced);
    if replaced.is_none() && !ended {
        let lost = sa.connection.clone().map(Request::ChildLost);
        core.requests.extend(lost);
    }
}

/// A replacement is not to be: the child that it was for stays as it is, and the next one is tried later.
pub(crate) fn give_up(core: &mut Core, now: Time, wanted: &Wanted) {
    stay(core, now, wanted.replaces);
}

fn stay(core: &mut Core, now: Time, replaced: Option<ChildId>) {
    let child = replaced.and_then(|id| core.children.get_mut(id));
    let Some(child) = child.filter(|child| child.state == ChildState::Rekeying) else {
        return;
    };
    child.state = ChildState::Installed;
    child.failed += 1;
    let (id, failed) = (child.id, child.failed);
    let again = core.again(now, failed);
    if let Some(child) = core.children.get_mut(id) {
        child.again = Some(again);
    }
    core.requests.push_back(Request::Plan(id));
}

/// Takes a message of quick mode.
pub(crate) fn receive(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let result = accept(sa, core, now, incoming);
    initiate_queued(sa, core, now);
    result
}

fn accept(sa: &mut IkeSa, core: &mut Core, now: Time, incoming: Incoming<'_>) -> Result<(), Error> {
    // Requirement 73: without a phase 1 there is no phase 2.
    if !matches!(sa.state, IkeState::Established) {
        return Err(PeerMisbehaved::NoPhase1.into());
    }
    let id = incoming.header.message_id;
    let Some(mut quick_mode) = sa.exchanges.remove(id) else {
        return responder::begin(sa, core, now, incoming);
    };
    if quick_mode.retransmission.is_repeated(incoming.bytes) {
        core.counters.retransmissions_received += 1;
        if let Some(answer) = quick_mode.retransmission.answer().map(<[u8]>::to_vec) {
            core.counters.retransmissions_sent += 1;
            sa.send(core, &answer);
        }
        sa.exchanges.insert(id, quick_mode);
        return Ok(());
    }
    let result = match &quick_mode.state {
        State::AwaitAnswer { .. } => {
            initiator::receive_answer(&mut quick_mode, sa, core, now, incoming)
        }
        State::AwaitProof { .. } => {
            responder::receive_proof(&mut quick_mode, sa, core, now, incoming)
        }
        State::AwaitConnected { .. } => {
            initiator::receive_connected(&mut quick_mode, sa, core, now, incoming)
        }
        _ => Ok(()),
    };
    sa.exchanges.insert(id, quick_mode);
    result
}

/// Takes the result of a computation.
pub(crate) fn computed(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    message_id: u32,
    outcome: Outcome,
) {
    let Some(mut quick_mode) = sa.exchanges.remove(message_id) else {
        return;
    };
    let result = match (quick_mode.take(), outcome) {
        (State::MakingKeyPair(offer), Outcome::KeyPair(pair)) => match pair {
            Some(pair) => initiator::offer(&mut quick_mode, sa, core, now, (offer, Some(pair))),
            None => {
                quick_mode.state = State::MakingKeyPair(offer);
                Err(crate::Local::Crypto.into())
            }
        },
        (State::Agreeing(agreement), Outcome::Agreed(agreed)) => match agreed {
            Some(agreed) => match agreement.identities {
                None => {
                    initiator::install(&mut quick_mode, sa, core, now, (agreement, Some(agreed)))
                }
                Some(_) => {
                    responder::answer(&mut quick_mode, sa, core, now, (agreement, Some(agreed)))
                }
            },
            None => {
                quick_mode.state = State::Agreeing(agreement);
                Err(PeerMisbehaved::KeyExchange.into())
            }
        },
        (state, _) => {
            quick_mode.state = state;
            Ok(())
        }
    };
    match result {
        Ok(()) => {
            sa.exchanges.insert(message_id, quick_mode);
        }
        Err(error) => quick_mode.abandon(sa, core, now, CloseReason::Error(error)),
    }
    initiate_queued(sa, core, now);
}

/// Does what is due.
pub(crate) fn timeout(sa: &mut IkeSa, core: &mut Core, now: Time) {
    for id in sa.exchanges.due(now) {
        let Some(mut quick_mode) = sa.exchanges.remove(id) else {
            continue;
        };
        if quick_mode.until.is_some_and(|at| at <= now) {
            continue;
        }
        let (first, retries) = (core.settings.retransmit, core.settings.retries);
        match quick_mode.retransmission.due(now, first, retries) {
            Due::Nothing => {
                sa.exchanges.insert(id, quick_mode);
            }
            Due::Again(message) => {
                let message = message.to_vec();
                core.counters.retransmissions_sent += 1;
                sa.send(core, &message);
                sa.exchanges.insert(id, quick_mode);
            }
            Due::GiveUp => unanswered(quick_mode, sa, core, now),
        }
    }
    initiate_queued(sa, core, now);
}

/// The peer does not answer.
fn unanswered(mut quick_mode: QuickMode, sa: &mut IkeSa, core: &mut Core, now: Time) {
    match quick_mode.take() {
        // RFC 2408 3.1 has us wait for CONNECTED, but not for ever: the SAs stand at both ends.
        State::AwaitConnected { child, keys } => install::complete(core, now, child, keys, true),
        // Requirement 74: from the second negotiation on, phase 1 may be what the peer has lost.
        State::AwaitAnswer { offer, .. } if sa.quick_modes > 1 => {
            release(core, offer.spis);
            core.requests
                .push_back(Request::Renew(sa.id, Some(Box::new(offer.wanted))));
        }
        state => {
            quick_mode.state = state;
            quick_mode.abandon(sa, core, now, CloseReason::PeerDead);
        }
    }
}

impl QuickMode {
    /// Our offer gives way to the peer's: nothing is left of it but its message id. Gives what it was for.
    fn give_way(&mut self, core: &mut Core, now: Time) -> Option<Wanted> {
        self.retransmission.stop();
        self.until = Some(now + core.settings.exchange_memory());
        match self.take() {
            State::MakingKeyPair(offer) | State::AwaitAnswer { offer, .. } => {
                release(core, offer.spis);
                Some(offer.wanted)
            }
            _ => None,
        }
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Failed)
    }

    /// It is over, and stays for a while to answer repetitions.
    fn finish(&mut self, now: Time, core: &Core) {
        self.state = State::Done;
        self.until = Some(now + core.settings.exchange_memory());
    }

    /// Decrypts a message of this exchange and checks its hash; only then does the IV move on.
    fn open(
        &mut self,
        sa: &mut IkeSa,
        core: &mut Core,
        now: Time,
        incoming: Incoming<'_>,
        expected: impl FnOnce(&IkeSa, &[u8]) -> Result<Digest, Error>,
    ) -> Result<Vec<u8>, Error> {
        let mut iv = self.iv.clone();
        let body = incoming.decrypt(sa.keys()?, &mut iv)?;
        let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
        let (hash, rest) = payloads.first(kind::HASH)?;
        if !expected(sa, rest)?.matches(hash) {
            return Err(PeerMisbehaved::Hash.into());
        }
        self.iv = iv;
        self.retransmission.accepted(incoming.bytes);
        sa.authentic(core, now, incoming);
        Ok(body)
    }

    /// Builds a message of this exchange: its hash, which covers what follows it, then the rest.
    fn seal(
        &mut self,
        sa: &IkeSa,
        flags: u8,
        bodies: &Bodies,
        hash: impl FnOnce(&IkeSa, &[u8]) -> Result<Digest, Error>,
    ) -> Result<Vec<u8>, Error> {
        let mut covered = begin(sa, self.message_id);
        append(&mut covered, bodies);
        let hash = hash(sa, covered.body())?;
        let mut writer = begin(sa, self.message_id);
        writer.payload(kind::HASH, hash.as_ref());
        append(&mut writer, bodies);
        encrypt(writer, flags, sa.keys()?, &mut self.iv)
    }
}

fn begin(sa: &IkeSa, message_id: u32) -> Writer {
    message(sa.cookies, exchange::QUICK_MODE, message_id)
}

fn append(writer: &mut Writer, bodies: &Bodies) {
    for (kind, body) in bodies {
        writer.payload(*kind, body);
    }
}
