//! Main mode (RFC 2409 5.1 and 5.4).
//!
//! ```text
//! Initiator                                             Responder
//! HDR, SA                                          -->
//!                                                  <--  HDR, SA
//! HDR, KE, Ni [, CERTREQ] [, NAT-D, NAT-D]         -->
//!                                                  <--  HDR, KE, Nr [, CERTREQ] [, NAT-D, NAT-D]
//! with a pre-shared key:
//! HDR*, IDii, HASH_I [, INITIAL-CONTACT]           -->
//!                                                  <--  HDR*, IDir, HASH_R
//! with signatures:
//! HDR*, IDii, CERT.., SIG_I [, INITIAL-CONTACT]    -->
//!                                                  <--  HDR*, IDir, CERT.., SIG_R
//! ```
//!
//! The initiator repeats what is not answered. The responder repeats its answer when the initiator repeats: were it
//! to repeat by itself, spoofed first messages would make it send more than they cost.

use portcullis_config::Phase1Exchange;

use crate::core::{Core, Request};
use crate::crypto::dh::KeyPair;
use crate::v1::authentication::{self, Proof};
use crate::v1::exchange::IDENTITY_PROTECTION;
use crate::v1::ike_sa::{self, IkeSa, Role};
use crate::v1::message::{Incoming, message};
use crate::v1::notice;
use crate::v1::phase1::{self, Both, Transcript};
use crate::wire::payload::kind;
use crate::wire::{Payloads, Writer};
use crate::work::{Agreed, Job, Outcome};
use crate::{Error, InvalidMessage, Local, PeerMisbehaved, Time};

/// What main mode waits for.
#[derive(Debug)]
pub(crate) enum State {
    /// Initiator: message 2.
    AwaitSelection { sa: Vec<u8> },
    /// Initiator: our key pair.
    MakingKeyPair { sa: Vec<u8> },
    /// Initiator: message 4.
    AwaitAnswer {
        sa: Vec<u8>,
        pair: KeyPair,
        nonce: Vec<u8>,
    },
    /// Responder: message 3.
    AwaitKeyExchange { sa: Vec<u8> },
    /// Both: the secret.
    Agreeing {
        sa: Vec<u8>,
        nonces: Both,
        /// The peer's public value.
        peer: Vec<u8>,
    },
    /// Both: our signature. The responder has verified the initiator's before.
    Signing {
        transcript: Transcript,
        initial_contact: bool,
    },
    /// Both: message 5 or 6.
    AwaitAuthentication { transcript: Transcript },
    /// Both: whether the peer's signature is right.
    Verifying {
        transcript: Transcript,
        initial_contact: bool,
    },
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            State::AwaitSelection { .. } => "main mode: awaits message 2",
            State::MakingKeyPair { .. } => "main mode: makes a key pair",
            State::AwaitAnswer { .. } => "main mode: awaits message 4",
            State::AwaitKeyExchange { .. } => "main mode: awaits message 3",
            State::Agreeing { .. } => "main mode: makes the secret",
            State::Signing { .. } => "main mode: signs",
            State::AwaitAuthentication { .. } => "main mode: awaits authentication",
            State::Verifying { .. } => "main mode: verifies",
        }
    }
}

/// Message 1.
pub(crate) fn initiate(sa: &mut IkeSa, core: &mut Core, now: Time) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let body = phase1::offer(core, &connection)?.encode();
    let mut writer = message(sa.cookies, IDENTITY_PROTECTION, 0);
    writer.payload(kind::SA, &body);
    phase1::write_vendor_ids(&mut writer, &connection);
    enter(sa, State::AwaitSelection { sa: body });
    phase1::ask(sa, core, now, writer.finish());
    Ok(())
}

/// Message 1 comes in, message 2 goes out.
pub(crate) fn respond(
    sa: &mut IkeSa,
    core: &mut Core,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let payloads = phase1::clear(&incoming)?;
    let (offered, body) = phase1::read_sa(&payloads)?;
    let chosen = phase1::choose(sa, core, Phase1Exchange::Main, None, &offered)?;
    phase1::read_vendor_ids(sa, &payloads);
    let (connection, _) = phase1::agreed(sa)?;
    let mut writer = message(sa.cookies, IDENTITY_PROTECTION, 0);
    writer.payload(kind::SA, &chosen.answer.encode());
    phase1::write_vendor_ids(&mut writer, &connection);
    let sa_body = body.to_vec();
    enter(sa, State::AwaitKeyExchange { sa: sa_body });
    sa.phase1.accepted(incoming.bytes);
    answer(sa, core, writer.finish());
    Ok(())
}

/// Any later message.
pub(crate) fn receive(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let ike_sa::State::MainMode(state) = &sa.state else {
        return Ok(());
    };
    match state {
        State::AwaitSelection { .. } => receive_selection(sa, core, incoming),
        State::AwaitAnswer { .. } => receive_answer(sa, core, incoming),
        State::AwaitKeyExchange { .. } => receive_key_exchange(sa, core, incoming),
        State::AwaitAuthentication { .. } => receive_authentication(sa, core, now, incoming),
        // What comes while we compute comes again.
        State::MakingKeyPair { .. }
        | State::Agreeing { .. }
        | State::Signing { .. }
        | State::Verifying { .. } => Ok(()),
    }
}

/// Message 2: what the responder chose.
fn receive_selection(sa: &mut IkeSa, core: &mut Core, incoming: Incoming<'_>) -> Result<(), Error> {
    let payloads = phase1::clear(&incoming)?;
    let (selected, _) = phase1::read_sa(&payloads)?;
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let (way, chosen) = phase1::chosen(core, &connection, &selected)?;
    let State::AwaitSelection { sa: body } = take(sa)? else {
        return Ok(());
    };
    sa.connection = Some(way);
    phase1::accept(sa, &chosen);
    phase1::read_vendor_ids(sa, &payloads);
    sa.phase1.accepted(incoming.bytes);
    sa.cookies.responder = incoming.header.responder_cookie;
    enter(sa, State::MakingKeyPair { sa: body });
    core.work(sa.id, 0, Job::KeyPair(chosen.proposal.group));
    Ok(())
}

/// Message 3: the initiator's public value and nonce.
fn receive_key_exchange(
    sa: &mut IkeSa,
    core: &mut Core,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let payloads = phase1::clear(&incoming)?;
    let theirs = phase1::read_nonce(&payloads)?;
    let peer = phase1::not_empty(payloads.one(kind::KEY_EXCHANGE)?)?;
    phase1::read_nat_discovery(sa, &payloads, incoming.path)?;
    let (_, proposal) = phase1::agreed(sa)?;
    let State::AwaitKeyExchange { sa: body } = take(sa)? else {
        return Ok(());
    };
    sa.phase1.accepted(incoming.bytes);
    let requested = authentication::requested(&payloads);
    authentication::turn_to_requested(sa, core, &requested, false)?;
    let nonces = Both::new(Role::Responder, phase1::nonce(core), theirs);
    let state = State::Agreeing {
        sa: body,
        nonces,
        peer: peer.clone(),
    };
    enter(sa, state);
    let group = proposal.group;
    core.work(sa.id, 0, Job::KeyExchange { group, peer });
    Ok(())
}

/// Message 4: the responder's.
fn receive_answer(sa: &mut IkeSa, core: &mut Core, incoming: Incoming<'_>) -> Result<(), Error> {
    let payloads = phase1::clear(&incoming)?;
    let theirs = phase1::read_nonce(&payloads)?;
    let peer = phase1::not_empty(payloads.one(kind::KEY_EXCHANGE)?)?;
    phase1::read_nat_discovery(sa, &payloads, incoming.path)?;
    let State::AwaitAnswer {
        sa: body,
        pair,
        nonce,
    } = take(sa)?
    else {
        return Ok(());
    };
    sa.phase1.accepted(incoming.bytes);
    let requested = authentication::requested(&payloads);
    authentication::turn_to_requested(sa, core, &requested, false)?;
    let state = State::Agreeing {
        sa: body,
        nonces: Both::new(Role::Initiator, nonce, theirs),
        peer: peer.clone(),
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
        (State::MakingKeyPair { sa: body }, Outcome::KeyPair(pair)) => {
            let pair = pair.ok_or(Local::Crypto)?;
            let nonce = phase1::nonce(core);
            let message = key_exchange(sa, core, pair.public(), &nonce)?;
            let state = State::AwaitAnswer {
                sa: body,
                pair,
                nonce,
            };
            enter(sa, state);
            phase1::ask(sa, core, now, message);
            Ok(())
        }
        (
            State::Agreeing {
                sa: body,
                nonces,
                peer,
            },
            Outcome::Agreed(agreed),
        ) => {
            let Agreed { public, shared } = agreed.ok_or(PeerMisbehaved::KeyExchange)?;
            let transcript = Transcript {
                sa: body,
                public: Both::new(sa.role, public, peer),
                nonces,
            };
            phase1::derive(sa, core, &transcript, &shared)?;
            secret_made(sa, core, now, transcript)
        }
        (
            State::Signing {
                transcript,
                initial_contact,
            },
            Outcome::Signed(signature),
        ) => {
            let proof = signature.ok_or(Local::Crypto)?;
            authenticate(sa, core, now, (transcript, initial_contact), &proof)
        }
        (
            State::Verifying {
                transcript,
                initial_contact,
            },
            Outcome::Verified(verified),
        ) => {
            verified.inspect_err(|error| notice::refuse_authentication(sa, core, error))?;
            authenticated(sa, core, now, (transcript, initial_contact))
        }
        (state, _) => {
            enter(sa, state);
            Ok(())
        }
    }
}

/// The secret is there: message 4 goes out, or our proof.
fn secret_made(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    transcript: Transcript,
) -> Result<(), Error> {
    match sa.role {
        Role::Responder => {
            let (public, nonces) = (&transcript.public, &transcript.nonces);
            let message = key_exchange(sa, core, &public.responder, &nonces.responder)?;
            enter(sa, State::AwaitAuthentication { transcript });
            answer(sa, core, message);
            Ok(())
        }
        Role::Initiator => {
            sa.float(core);
            prove(sa, core, now, (transcript, false))
        }
    }
}

/// Makes our proof and sends it, once it is made.
fn prove(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (transcript, initial_contact): (Transcript, bool),
) -> Result<(), Error> {
    match authentication::prove(sa, core, &transcript)? {
        Some(hash) => authenticate(sa, core, now, (transcript, initial_contact), hash.as_ref()),
        None => {
            let state = State::Signing {
                transcript,
                initial_contact,
            };
            enter(sa, state);
            Ok(())
        }
    }
}

/// Sends message 5 or 6. With the latter the responder is done.
fn authenticate(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (transcript, initial_contact): (Transcript, bool),
    proof: &[u8],
) -> Result<(), Error> {
    let message = authentication_message(sa, core, proof)?;
    match sa.role {
        Role::Initiator => {
            enter(sa, State::AwaitAuthentication { transcript });
            phase1::ask(sa, core, now, message);
        }
        Role::Responder => {
            answer(sa, core, message);
            if initial_contact {
                core.requests.push_back(Request::InitialContact(sa.id));
            }
            sa.establish(core, now);
        }
    }
    Ok(())
}

/// Messages 5 and 6: who the peer is, and the proof.
fn receive_authentication(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let ike_sa::State::MainMode(State::AwaitAuthentication { transcript }) = &sa.state else {
        return Ok(());
    };
    // One of the first messages that comes late is no proof that failed.
    if !incoming.is_encrypted() {
        return Err(InvalidMessage::Encryption.into());
    }
    let keys = sa.keys()?;
    let mut iv = keys.iv.clone();
    let read = |iv| {
        let body = incoming.decrypt(keys, iv)?;
        let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
        let identification = payloads.one(kind::IDENTIFICATION)?;
        let proof = authentication::read_proof(sa, core, transcript, &payloads, identification)?;
        let identity = phase1::read_identity(sa, identification)?;
        let requested = authentication::requested(&payloads);
        let initial_contact = phase1::has_initial_contact(&payloads);
        Ok((proof, identity, initial_contact, requested))
    };
    let (proof, identity, initial_contact, requested) = match read(&mut iv) {
        Ok(read) => read,
        Err(error) => return Err(phase1::unreadable(sa, core, error)),
    };
    // From here on the message is authentic, or its signature will tell.
    let State::AwaitAuthentication { transcript } = take(sa)? else {
        return Ok(());
    };
    if let Some(keys) = &mut sa.keys {
        keys.iv = iv;
    }
    sa.phase1.accepted(incoming.bytes);
    // RFC 2407 4.6.3 lets a responder say its lifetime here as well. The hash covers nothing beside the identity
    // (RFC 2409 5), so that anybody on the path may have changed it: it is heard only in exchanges that are authentic to
    // their end. No hash covers INITIAL-CONTACT here either. It is taken nevertheless, once the peer has proved who it
    // is: it is encrypted, and peers say it nowhere else in main mode.
    // RFC 3947 4: the initiator goes over to the other port with this message.
    sa.path = incoming.path;
    let identified = phase1::identify(sa, core, identity);
    identified.inspect_err(|error| notice::refuse_authentication(sa, core, error))?;
    // Windows asks for certificates only here.
    if sa.role == Role::Responder && !requested.is_empty() {
        authentication::turn_to_requested(sa, core, &requested, false)?;
    }
    let known = (transcript, initial_contact);
    match proof {
        Proof::Hash => authenticated(sa, core, now, known),
        Proof::Signature(verification) => {
            authentication::verify(sa, core, verification);
            let (transcript, initial_contact) = known;
            let state = State::Verifying {
                transcript,
                initial_contact,
            };
            enter(sa, state);
            Ok(())
        }
    }
}

/// The peer is who it says: the initiator is done, the responder proves itself.
fn authenticated(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    known: (Transcript, bool),
) -> Result<(), Error> {
    match sa.role {
        Role::Initiator => {
            sa.establish(core, now);
            Ok(())
        }
        Role::Responder => prove(sa, core, now, known),
    }
}

/// HDR, KE, Nonce, requests for certificates, and NAT-D if the peer knows it.
fn key_exchange(sa: &IkeSa, core: &Core, public: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Error> {
    let (connection, _proposal) = phase1::agreed(sa)?;
    let mut writer = message(sa.cookies, IDENTITY_PROTECTION, 0);
    writer.payload(kind::KEY_EXCHANGE, public);
    writer.payload(kind::NONCE, nonce);
    authentication::write_requests(&mut writer, core, &connection)?;
    phase1::write_nat_discovery(sa, &mut writer)?;
    Ok(writer.finish())
}

/// HDR*, ID, certificates if there are, and the proof.
fn authentication_message(sa: &mut IkeSa, core: &Core, proof: &[u8]) -> Result<Vec<u8>, Error> {
    let (connection, _) = phase1::agreed(sa)?;
    let mut writer: Writer = message(sa.cookies, IDENTITY_PROTECTION, 0);
    let identification = phase1::our_identity(&connection);
    writer.payload(kind::IDENTIFICATION, &identification);
    authentication::write_certificates(&mut writer, core, &connection)?;
    writer.payload(authentication::proof_kind(&connection), proof);
    if sa.role == Role::Initiator {
        phase1::write_initial_contact(sa, core, &mut writer);
    }
    sa.seal_phase1(writer)
}

/// Takes the state, to put another one in its place.
fn take(sa: &mut IkeSa) -> Result<State, Error> {
    match std::mem::replace(&mut sa.state, ike_sa::State::Changing) {
        ike_sa::State::MainMode(state) => Ok(state),
        other => {
            sa.state = other;
            Err(InvalidMessage::Header.into())
        }
    }
}

fn enter(sa: &mut IkeSa, state: State) {
    sa.state = ike_sa::State::MainMode(state);
}

/// Sends an answer that is repeated when the peer repeats.
fn answer(sa: &mut IkeSa, core: &mut Core, message: Vec<u8>) {
    sa.send(core, &message);
    sa.phase1.answered(message);
}
