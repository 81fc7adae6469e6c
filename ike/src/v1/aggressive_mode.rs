//! Aggressive mode (RFC 2409 5.1 and 5.4): identities in clear, and with a pre-shared key a hash of it to guess at.
//!
//! ```text
//! Initiator                                   Responder
//! HDR, SA, KE, Ni, IDii                  -->
//!                                        <--  HDR, SA, KE, Nr, IDir [, NAT-D, NAT-D], HASH_R
//! HDR*, HASH_I [, NAT-D, NAT-D]          -->
//! ```
//!
//! Both repeat what is not answered; message 3 is repeated when message 2 comes again.

use portcullis_config::{Identity, Phase1Exchange};

use crate::core::{Core, Request};
use crate::crypto::dh::KeyPair;
use crate::v1::exchange::AGGRESSIVE;
use crate::v1::ike_sa::{self, IkeSa, Role};
use crate::v1::message::{Incoming, encrypt, message};
use crate::v1::nat_traversal;
use crate::v1::phase1::{self, Both, Transcript};
use crate::wire::payload::kind;
use crate::wire::{Payloads, Writer};
use crate::work::{Agreed, Job, Outcome};
use crate::{Error, InvalidMessage, Local, PeerMisbehaved, Time};

/// What aggressive mode waits for.
#[derive(Debug)]
pub(crate) enum State {
    /// Initiator: our key pair, whose group the one offer fixes.
    MakingKeyPair,
    /// Initiator: message 2.
    AwaitAnswer {
        sa: Vec<u8>,
        pair: KeyPair,
        nonce: Vec<u8>,
    },
    /// Initiator: the secret, which tells whether message 2 is authentic.
    Verifying {
        sa: Vec<u8>,
        nonces: Both,
        peer: Vec<u8>,
        identification: Vec<u8>,
        hash: Vec<u8>,
    },
    /// Responder: key pair and secret.
    Agreeing {
        sa: Vec<u8>,
        answer: Vec<u8>,
        nonces: Both,
        peer: Vec<u8>,
        identity: Identity,
        identification: Vec<u8>,
    },
    /// Responder: message 3.
    AwaitProof {
        transcript: Transcript,
        identity: Identity,
        identification: Vec<u8>,
    },
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            State::MakingKeyPair => "aggressive mode: makes a key pair",
            State::AwaitAnswer { .. } => "aggressive mode: awaits message 2",
            State::Verifying { .. } | State::Agreeing { .. } => "aggressive mode: makes the secret",
            State::AwaitProof { .. } => "aggressive mode: awaits message 3",
        }
    }
}

/// The group cannot be negotiated (RFC 2409 5): the key pair is of the first proposal's.
pub(crate) fn initiate(sa: &mut IkeSa, core: &mut Core) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let first = connection.ike_proposals.first();
    let group = first.ok_or(Local::NotConfigured)?.group;
    enter(sa, State::MakingKeyPair);
    core.work(sa.id, 0, Job::KeyPair(group));
    Ok(())
}

/// Our offer: the proposals of the first one's group.
fn offer(connection: &portcullis_config::Connection) -> Vec<portcullis_config::IkeProposal> {
    let group = connection.ike_proposals.first().map(|p| p.group);
    let proposals = connection.ike_proposals.iter().copied();
    proposals.filter(|p| Some(p.group) == group).collect()
}

/// Message 1 comes in.
pub(crate) fn respond(
    sa: &mut IkeSa,
    core: &mut Core,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let payloads = clear(&incoming)?;
    let (offered, body) = phase1::read_sa(&payloads)?;
    let theirs = phase1::read_nonce(&payloads)?;
    let peer = phase1::not_empty(payloads.one(kind::KEY_EXCHANGE)?)?;
    let identification = payloads.one(kind::IDENTIFICATION)?;
    let identity = phase1::read_identity(identification)?;
    let exchange = Phase1Exchange::Aggressive;
    let chosen = phase1::choose(sa, core, exchange, Some(&identity), &offered)?;
    phase1::read_vendor_ids(sa, &payloads);
    let state = State::Agreeing {
        sa: body.to_vec(),
        answer: chosen.answer.encode(),
        nonces: Both::new(Role::Responder, phase1::nonce(core), theirs),
        peer: peer.clone(),
        identity,
        identification: identification.to_vec(),
    };
    enter(sa, state);
    sa.phase1.accepted(incoming.bytes);
    let group = chosen.proposal.group;
    core.work(sa.id, 0, Job::KeyExchange { group, peer });
    Ok(())
}

/// Message 2 or 3.
pub(crate) fn receive(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    match &sa.state {
        ike_sa::State::AggressiveMode(State::AwaitAnswer { .. }) => {
            receive_answer(sa, core, incoming)
        }
        ike_sa::State::AggressiveMode(State::AwaitProof { .. }) => {
            receive_proof(sa, core, now, incoming)
        }
        _ => Ok(()),
    }
}

fn receive_answer(sa: &mut IkeSa, core: &mut Core, incoming: Incoming<'_>) -> Result<(), Error> {
    let payloads = clear(&incoming)?;
    let (selected, _) = phase1::read_sa(&payloads)?;
    let theirs = phase1::read_nonce(&payloads)?;
    let peer = phase1::not_empty(payloads.one(kind::KEY_EXCHANGE)?)?;
    let identification = payloads.one(kind::IDENTIFICATION)?.to_vec();
    let hash = payloads.one(kind::HASH)?.to_vec();
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let offered = offer(&connection);
    let mut policy = phase1::policy(&connection);
    policy.proposals = &offered;
    let chosen = policy.chosen(&selected)?;
    let chosen = chosen.ok_or(PeerMisbehaved::ChangedProposal)?;
    sa.cookies.responder = incoming.header.responder_cookie;
    phase1::accept(sa, &chosen);
    phase1::read_vendor_ids(sa, &payloads);
    if let Some(version) = sa.peer.nat_traversal {
        let ends = (chosen.proposal.hash, sa.cookies, incoming.path);
        sa.nat = nat_traversal::read(&payloads, version, connection.nat_traversal, ends)?;
    }
    let State::AwaitAnswer {
        sa: body,
        pair,
        nonce,
    } = take(sa)?
    else {
        return Ok(());
    };
    sa.phase1.accepted(incoming.bytes);
    let state = State::Verifying {
        sa: body,
        nonces: Both::new(Role::Initiator, nonce, theirs),
        peer: peer.clone(),
        identification,
        hash,
    };
    enter(sa, state);
    core.work(sa.id, 0, Job::Agree { pair, peer });
    Ok(())
}

/// A computation is done.
pub(crate) fn computed(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    outcome: Outcome,
) -> Result<(), Error> {
    match (take(sa)?, outcome) {
        (State::MakingKeyPair, Outcome::KeyPair(pair)) => {
            send_first(sa, core, now, pair.ok_or(Local::Crypto)?)
        }
        (state @ State::Verifying { .. }, Outcome::Agreed(agreed)) => verify(
            sa,
            core,
            now,
            state,
            agreed.ok_or(PeerMisbehaved::KeyExchange)?,
        ),
        (state @ State::Agreeing { .. }, Outcome::Agreed(agreed)) => send_answer(
            sa,
            core,
            now,
            state,
            agreed.ok_or(PeerMisbehaved::KeyExchange)?,
        ),
        (state, _) => {
            enter(sa, state);
            Ok(())
        }
    }
}

/// Message 1.
fn send_first(sa: &mut IkeSa, core: &mut Core, now: Time, pair: KeyPair) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let offered = offer(&connection);
    let mut policy = phase1::policy(&connection);
    policy.proposals = &offered;
    let body = policy.offer().encode();
    let nonce = phase1::nonce(core);
    let mut writer = message(sa.cookies, AGGRESSIVE, 0);
    writer.payload(kind::SA, &body);
    writer.payload(kind::KEY_EXCHANGE, pair.public());
    writer.payload(kind::NONCE, &nonce);
    writer.payload(kind::IDENTIFICATION, &phase1::our_identity(&connection));
    phase1::write_vendor_ids(&mut writer, &connection);
    let state = State::AwaitAnswer {
        sa: body,
        pair,
        nonce,
    };
    enter(sa, state);
    ask(sa, core, now, writer.finish());
    Ok(())
}

/// Message 2, once the responder has the secret.
fn send_answer(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    state: State,
    agreed: Agreed,
) -> Result<(), Error> {
    let State::Agreeing {
        sa: body,
        answer,
        nonces,
        peer,
        identity,
        identification,
    } = state
    else {
        return Ok(());
    };
    let Agreed { public, shared } = agreed;
    let transcript = Transcript {
        sa: body,
        public: Both::new(Role::Responder, public.clone(), peer),
        nonces,
    };
    phase1::derive(sa, core, &transcript, &shared)?;
    let (connection, proposal) = phase1::agreed(sa)?;
    let ours = phase1::our_identity(&connection);
    let hash = phase1::hash_of(sa, &transcript, Role::Responder, &ours)?;
    let mut writer = message(sa.cookies, AGGRESSIVE, 0);
    writer.payload(kind::SA, &answer);
    writer.payload(kind::KEY_EXCHANGE, &public);
    writer.payload(kind::NONCE, &transcript.nonces.responder);
    writer.payload(kind::IDENTIFICATION, &ours);
    writer.payload(kind::HASH, hash.as_ref());
    phase1::write_vendor_ids(&mut writer, &connection);
    if let Some(version) = sa.peer.nat_traversal {
        let ends = (proposal.hash, sa.cookies, sa.path);
        nat_traversal::write(&mut writer, version, connection.nat_traversal, ends);
    }
    let state = State::AwaitProof {
        transcript,
        identity,
        identification,
    };
    enter(sa, state);
    ask(sa, core, now, writer.finish());
    Ok(())
}

/// The initiator has the secret: the proof in message 2 is checked, and message 3 goes out.
fn verify(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    state: State,
    agreed: Agreed,
) -> Result<(), Error> {
    let State::Verifying {
        sa: body,
        nonces,
        peer,
        identification,
        hash,
    } = state
    else {
        return Ok(());
    };
    let Agreed { public, shared } = agreed;
    let transcript = Transcript {
        sa: body,
        public: Both::new(Role::Initiator, public, peer),
        nonces,
    };
    phase1::derive(sa, core, &transcript, &shared)?;
    phase1::check_hash(sa, &transcript, &identification, &hash)?;
    phase1::identify(sa, core, phase1::read_identity(&identification)?)?;
    sa.float(core);
    let message = proof(sa, core, &transcript)?;
    sa.send(core, &message);
    sa.phase1.answered(message);
    sa.establish(core, now);
    Ok(())
}

/// HDR*, HASH_I, and NAT-D of the path that the message takes.
fn proof(sa: &mut IkeSa, core: &Core, transcript: &Transcript) -> Result<Vec<u8>, Error> {
    let (connection, proposal) = phase1::agreed(sa)?;
    let ours = phase1::our_identity(&connection);
    let hash = phase1::hash_of(sa, transcript, Role::Initiator, &ours)?;
    let mut writer: Writer = message(sa.cookies, AGGRESSIVE, 0);
    writer.payload(kind::HASH, hash.as_ref());
    if let Some(version) = sa.peer.nat_traversal {
        let ends = (proposal.hash, sa.cookies, sa.path);
        nat_traversal::write(&mut writer, version, connection.nat_traversal, ends);
    }
    phase1::write_initial_contact(sa, core, &mut writer);
    let keys = sa.keys()?;
    let mut iv = keys.iv.clone();
    let message = encrypt(writer, 0, keys, &mut iv)?;
    if let Some(keys) = &mut sa.keys {
        keys.iv = iv;
    }
    Ok(message)
}

/// Message 3; RFC 2409 5 leaves it open whether it is encrypted.
fn receive_proof(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let ike_sa::State::AggressiveMode(State::AwaitProof {
        transcript,
        identification,
        ..
    }) = &sa.state
    else {
        return Ok(());
    };
    let keys = sa.keys()?;
    let mut iv = keys.iv.clone();
    let body = match incoming.is_encrypted() {
        true => incoming.decrypt(keys, &mut iv)?,
        false => incoming.body().to_vec(),
    };
    let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
    let hash = payloads.one(kind::HASH)?;
    phase1::check_hash(sa, transcript, identification, hash)?;
    // From here on the initiator is authentic.
    let State::AwaitProof { identity, .. } = take(sa)? else {
        return Ok(());
    };
    if let Some(keys) = &mut sa.keys {
        keys.iv = iv;
    }
    sa.phase1.accepted(incoming.bytes);
    let (connection, proposal) = phase1::agreed(sa)?;
    if let Some(version) = sa.peer.nat_traversal {
        let ends = (proposal.hash, sa.cookies, incoming.path);
        sa.nat = nat_traversal::read(&payloads, version, connection.nat_traversal, ends)?;
    }
    sa.path = incoming.path;
    phase1::identify(sa, core, identity)?;
    if phase1::has_initial_contact(&payloads) {
        core.requests.push_back(Request::InitialContact(sa.id));
    }
    sa.establish(core, now);
    Ok(())
}

fn clear<'a>(incoming: &Incoming<'a>) -> Result<Payloads<'a>, InvalidMessage> {
    match incoming.is_encrypted() {
        true => Err(InvalidMessage::Encryption),
        false => Payloads::parse(incoming.header.next_payload, incoming.body()),
    }
}

/// Takes the state, to put another one in its place.
fn take(sa: &mut IkeSa) -> Result<State, Error> {
    match std::mem::replace(&mut sa.state, ike_sa::State::Changing) {
        ike_sa::State::AggressiveMode(state) => Ok(state),
        other => {
            sa.state = other;
            Err(InvalidMessage::Header.into())
        }
    }
}

fn enter(sa: &mut IkeSa, state: State) {
    sa.state = ike_sa::State::AggressiveMode(state);
}

/// Sends a message that is repeated until the answer comes.
fn ask(sa: &mut IkeSa, core: &mut Core, now: Time, message: Vec<u8>) {
    sa.send(core, &message);
    sa.phase1.sent(message, now, core.settings.retransmit);
}
