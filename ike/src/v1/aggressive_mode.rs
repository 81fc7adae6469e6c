//! Aggressive mode (RFC 2409 5.1 and 5.4): identities in clear, and with a pre-shared key a hash of it to guess at.
//!
//! ```text
//! Initiator                                   Responder
//! HDR, SA, KE, Ni, IDii                  -->
//!                                        <--  HDR, SA, KE, Nr, IDir, HASH_R [, NAT-D, NAT-D]
//! HDR*, HASH_I [, NAT-D, NAT-D]          -->
//! ```
//!
//! With signatures, CERT.. and SIG_R or SIG_I stand for the hashes, and CERTREQ follows the identities. Both repeat
//! what is not answered; message 3 is repeated when message 2 comes again.

use portcullis_config::{Connection, Identity, IkeProposal, Phase1Exchange};

use crate::core::{Core, Request};
use crate::crypto::dh::KeyPair;
use crate::proposal::ike::Policy;
use crate::v1::authentication::{self, Proof};
use crate::v1::exchange::AGGRESSIVE;
use crate::v1::ike_sa::{self, IkeSa, Role};
use crate::v1::message::{Incoming, message};
use crate::v1::notice;
use crate::v1::phase1::{self, Both, Transcript};
use crate::wire::Payloads;
use crate::wire::payload::kind;
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
    /// Initiator: the secret, without which message 2 proves nothing.
    AgreeingInitiator {
        sa: Vec<u8>,
        nonces: Both,
        peer: Vec<u8>,
        /// Type of its first payload, and its payloads.
        answer: (u8, Vec<u8>),
    },
    /// Responder: key pair and secret.
    AgreeingResponder {
        answer: Vec<u8>,
        sa: Vec<u8>,
        nonces: Both,
        peer: Vec<u8>,
        initiator: Initiator,
    },
    /// Both: our signature, for message 2 or 3.
    Signing {
        transcript: Transcript,
        answer: Option<(Vec<u8>, Initiator)>,
    },
    /// Responder: message 3.
    AwaitProof {
        transcript: Transcript,
        initiator: Initiator,
    },
    /// Both: whether the peer's signature is right.
    Verifying {
        transcript: Transcript,
        initial_contact: bool,
    },
}

/// Who the initiator says it is, and the body that said so.
#[derive(Debug)]
pub(crate) struct Initiator {
    identity: Identity,
    identification: Vec<u8>,
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            State::MakingKeyPair => "aggressive mode: makes a key pair",
            State::AwaitAnswer { .. } => "aggressive mode: awaits message 2",
            State::AgreeingInitiator { .. } | State::AgreeingResponder { .. } => {
                "aggressive mode: makes the secret"
            }
            State::Signing { .. } => "aggressive mode: signs",
            State::AwaitProof { .. } => "aggressive mode: awaits message 3",
            State::Verifying { .. } => "aggressive mode: verifies",
        }
    }
}

/// The group cannot be negotiated (RFC 2409 5): the key pair is of the first proposal's.
pub(crate) fn initiate(sa: &mut IkeSa, core: &mut Core) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    // Its first message tells who we are.
    let connection = authentication::first_usable(core, &connection)?;
    sa.connection = Some(connection.clone());
    let first = connection.ike_proposals.first();
    let group = first.ok_or(Local::NotConfigured)?.group;
    enter(sa, State::MakingKeyPair);
    core.work(sa.id, 0, Job::KeyPair(group));
    Ok(())
}

/// Our offer: the proposals of the first one's group.
fn of_one_group(connection: &Connection) -> Vec<IkeProposal> {
    let group = connection.ike_proposals.first().map(|p| p.group);
    let proposals = connection.ike_proposals.iter().copied();
    proposals.filter(|p| Some(p.group) == group).collect()
}

fn policy<'a>(
    core: &Core,
    connection: &'a Connection,
    proposals: &'a [IkeProposal],
) -> Result<Policy<'a>, Error> {
    let policy = phase1::policy(core, connection, Role::Initiator)?;
    Ok(Policy {
        proposals,
        ..policy
    })
}

/// Message 1.
fn send_first(sa: &mut IkeSa, core: &mut Core, now: Time, pair: KeyPair) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let offered = of_one_group(&connection);
    let body = policy(core, &connection, &offered)?.offer().encode();
    let nonce = phase1::nonce(core);
    let mut writer = message(sa.cookies, AGGRESSIVE, 0);
    writer.payload(kind::SA, &body);
    writer.payload(kind::KEY_EXCHANGE, pair.public());
    writer.payload(kind::NONCE, &nonce);
    writer.payload(kind::IDENTIFICATION, &phase1::our_identity(&connection));
    authentication::write_requests(&mut writer, core, &connection)?;
    phase1::write_vendor_ids(&mut writer, &connection);
    let state = State::AwaitAnswer {
        sa: body,
        pair,
        nonce,
    };
    enter(sa, state);
    phase1::ask(sa, core, now, writer.finish());
    Ok(())
}

/// Message 1 comes in.
pub(crate) fn respond(
    sa: &mut IkeSa,
    core: &mut Core,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let payloads = phase1::clear(&incoming)?;
    let (offered, body) = phase1::read_sa(&payloads)?;
    let theirs = phase1::read_nonce(&payloads)?;
    let peer = phase1::not_empty(payloads.one(kind::KEY_EXCHANGE)?)?;
    let identification = payloads.one(kind::IDENTIFICATION)?;
    let identity = phase1::read_identity(sa, identification)?;
    let exchange = Phase1Exchange::Aggressive;
    let chosen = phase1::choose(sa, core, exchange, Some(&identity), &offered)?;
    // Now it is known whether it may be silent.
    let identity = phase1::read_identity(sa, identification)?;
    phase1::read_vendor_ids(sa, &payloads);
    let requested = authentication::requested(&payloads);
    authentication::turn_to_requested(sa, core, &requested, false)?;
    let state = State::AgreeingResponder {
        sa: body.to_vec(),
        answer: chosen.answer.encode(),
        nonces: Both::new(Role::Responder, phase1::nonce(core), theirs),
        peer: peer.clone(),
        initiator: Initiator {
            identity,
            identification: identification.to_vec(),
        },
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

/// Message 2. Nothing in it is authentic yet.
fn receive_answer(sa: &mut IkeSa, core: &mut Core, incoming: Incoming<'_>) -> Result<(), Error> {
    let payloads = phase1::clear(&incoming)?;
    let (selected, _) = phase1::read_sa(&payloads)?;
    let theirs = phase1::read_nonce(&payloads)?;
    let peer = phase1::not_empty(payloads.one(kind::KEY_EXCHANGE)?)?;
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let offered = of_one_group(&connection);
    // Requirement 72: what is not one of our transforms, unchanged, is refused.
    let chosen = policy(core, &connection, &offered)?.chosen(&selected)?;
    let chosen = chosen.ok_or(PeerMisbehaved::ChangedProposal)?;
    let State::AwaitAnswer {
        sa: body,
        pair,
        nonce,
    } = take(sa)?
    else {
        return Ok(());
    };
    sa.cookies.responder = incoming.header.responder_cookie;
    phase1::accept(sa, &chosen);
    phase1::read_vendor_ids(sa, &payloads);
    phase1::read_nat_discovery(sa, &payloads, incoming.path)?;
    sa.phase1.accepted(incoming.bytes);
    let requested = authentication::requested(&payloads);
    authentication::turn_to_requested(sa, core, &requested, true)?;
    let state = State::AgreeingInitiator {
        sa: body,
        nonces: Both::new(Role::Initiator, nonce, theirs),
        peer: peer.clone(),
        answer: (incoming.header.next_payload, incoming.body().to_vec()),
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
        (
            State::AgreeingInitiator {
                sa: body,
                nonces,
                peer,
                answer,
            },
            Outcome::Agreed(agreed),
        ) => {
            let transcript = agree(sa, core, body, (nonces, peer), agreed)?;
            verify_answer(sa, core, now, transcript, answer)
        }
        (
            State::AgreeingResponder {
                sa: body,
                answer,
                nonces,
                peer,
                initiator,
            },
            Outcome::Agreed(agreed),
        ) => {
            let transcript = agree(sa, core, body, (nonces, peer), agreed)?;
            prove(sa, core, now, (transcript, Some((answer, initiator))))
        }
        (State::Signing { transcript, answer }, Outcome::Signed(signature)) => {
            let proof = signature.ok_or(Local::Crypto)?;
            send_proof(sa, core, now, (transcript, answer), &proof)
        }
        (
            State::Verifying {
                transcript,
                initial_contact,
            },
            Outcome::Verified(verified),
        ) => {
            verified.inspect_err(|error| notice::refuse_authentication(sa, core, error))?;
            verified_peer(sa, core, now, (transcript, initial_contact))
        }
        (state, _) => {
            enter(sa, state);
            Ok(())
        }
    }
}

/// The secret is there: the keys.
fn agree(
    sa: &mut IkeSa,
    core: &mut Core,
    body: Vec<u8>,
    (nonces, peer): (Both, Vec<u8>),
    agreed: Option<Agreed>,
) -> Result<Transcript, Error> {
    let Agreed { public, shared } = agreed.ok_or(PeerMisbehaved::KeyExchange)?;
    let transcript = Transcript {
        sa: body,
        public: Both::new(sa.role, public, peer),
        nonces,
    };
    phase1::derive(sa, core, &transcript, &shared)?;
    Ok(transcript)
}

/// Message 2 can be verified now.
fn verify_answer(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    transcript: Transcript,
    (first, body): (u8, Vec<u8>),
) -> Result<(), Error> {
    let payloads = Payloads::parse(first, &body)?;
    let identification = payloads.one(kind::IDENTIFICATION)?;
    let proof = authentication::read_proof(sa, core, &transcript, &payloads, identification)
        .map_err(|error| phase1::unreadable(sa, core, error))?;
    let identity = phase1::read_identity(sa, identification)?;
    phase1::identify(sa, core, identity)?;
    verify(sa, core, now, (transcript, false), proof)
}

/// A hash has been checked; a signature is verified elsewhere.
fn verify(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (transcript, initial_contact): (Transcript, bool),
    proof: Proof,
) -> Result<(), Error> {
    match proof {
        Proof::Hash => verified_peer(sa, core, now, (transcript, initial_contact)),
        Proof::Signature(verification) => {
            authentication::verify(sa, core, verification);
            let state = State::Verifying {
                transcript,
                initial_contact,
            };
            enter(sa, state);
            Ok(())
        }
    }
}

/// The peer is who it says: the initiator proves itself, the responder is done.
fn verified_peer(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (transcript, initial_contact): (Transcript, bool),
) -> Result<(), Error> {
    match sa.role {
        Role::Initiator => {
            sa.float(core);
            prove(sa, core, now, (transcript, None))
        }
        Role::Responder => {
            if initial_contact {
                core.requests.push_back(Request::InitialContact(sa.id));
            }
            sa.establish(core, now);
            Ok(())
        }
    }
}

type Known = (Transcript, Option<(Vec<u8>, Initiator)>);

/// Makes our proof and sends it, once it is made.
fn prove(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (transcript, answer): Known,
) -> Result<(), Error> {
    match authentication::prove(sa, core, &transcript)? {
        Some(hash) => send_proof(sa, core, now, (transcript, answer), hash.as_ref()),
        None => {
            enter(sa, State::Signing { transcript, answer });
            Ok(())
        }
    }
}

/// Sends message 2, or message 3, with which the initiator is done.
fn send_proof(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (transcript, answer): Known,
    proof: &[u8],
) -> Result<(), Error> {
    let (connection, _) = phase1::agreed(sa)?;
    let mut writer = message(sa.cookies, AGGRESSIVE, 0);
    if let Some((chosen, _)) = &answer {
        writer.payload(kind::SA, chosen);
        writer.payload(kind::KEY_EXCHANGE, &transcript.public.responder);
        writer.payload(kind::NONCE, &transcript.nonces.responder);
        writer.payload(kind::IDENTIFICATION, &phase1::our_identity(&connection));
        authentication::write_requests(&mut writer, core, &connection)?;
    }
    authentication::write_certificates(&mut writer, core, &connection)?;
    writer.payload(authentication::proof_kind(&connection), proof);
    phase1::write_nat_discovery(sa, &mut writer)?;
    match answer {
        Some((_, initiator)) => {
            phase1::write_vendor_ids(&mut writer, &connection);
            let state = State::AwaitProof {
                transcript,
                initiator,
            };
            enter(sa, state);
            phase1::ask(sa, core, now, writer.finish());
        }
        None => {
            phase1::write_initial_contact(sa, core, &mut writer);
            let message = sa.seal_phase1(writer)?;
            sa.send(core, &message);
            sa.phase1.answered(message);
            sa.establish(core, now);
        }
    }
    Ok(())
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
        initiator,
    }) = &sa.state
    else {
        return Ok(());
    };
    let keys = sa.keys()?;
    let mut iv = keys.iv.clone();
    let read = |iv| {
        let body = match incoming.is_encrypted() {
            true => incoming.decrypt(keys, iv)?,
            false => incoming.body().to_vec(),
        };
        let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
        let identification = &initiator.identification;
        let proof = authentication::read_proof(sa, core, transcript, &payloads, identification)?;
        Ok((proof, body))
    };
    let (proof, body) = match read(&mut iv) {
        Ok(read) => read,
        // The first message that comes late is no proof that failed.
        Err(error) if !incoming.is_encrypted() => return Err(error),
        Err(error) => return Err(phase1::unreadable(sa, core, error)),
    };
    // From here on the initiator is authentic, or its signature will tell.
    let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
    let State::AwaitProof {
        transcript,
        initiator,
    } = take(sa)?
    else {
        return Ok(());
    };
    if let Some(keys) = &mut sa.keys {
        keys.iv = iv;
    }
    sa.phase1.accepted(incoming.bytes);
    phase1::read_nat_discovery(sa, &payloads, incoming.path)?;
    sa.path = incoming.path;
    phase1::identify(sa, core, initiator.identity)?;
    let initial_contact = phase1::has_initial_contact(&payloads);
    verify(sa, core, now, (transcript, initial_contact), proof)
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
