//! The transaction exchange (draft-dukes-ike-mode-cfg-02 3.1), under the protection of phase 1.
//!
//! ```text
//! Either end                                   The other
//! HDR*, HASH, ATTR(REQUEST or SET)        -->
//!                                         <--  HDR*, HASH, ATTR(REPLY or ACKNOWLEDGE)
//! ```
//!
//! HASH = prf(SKEYID_a, M-ID | ATTR), as HASH(1) of quick mode. Who begins repeats what is not answered. Exchanges in
//! clear (3.1.2) are not for us: they prove nothing.

use zeroize::Zeroizing;

use crate::core::Core;
use crate::crypto::cipher::Iv;
use crate::header::LENGTH;
use crate::retransmit::{Due, Retransmission};
use crate::v1::exchange::TRANSACTION;
use crate::v1::ike_sa::IkeSa;
use crate::v1::message::{Incoming, encrypt, message};
use crate::v1::{mode_config, xauth};
use crate::wire::Payloads;
use crate::wire::attribute::Attribute;
use crate::wire::configuration::{Configuration, Type};
use crate::wire::payload::kind;
use crate::{Error, InvalidMessage, PeerMisbehaved, Time};

/// Exchanges that one peer may have open at once.
const OPEN: usize = 16;

/// An exchange.
#[derive(Debug)]
pub(crate) struct Transaction {
    iv: Iv,
    /// What the peer's message must be; `None`: there is none to come.
    awaits: Option<Type>,
    retransmission: Retransmission,
    /// When a finished one is forgotten.
    until: Option<Time>,
}

impl Transaction {
    pub(crate) fn deadline(&self) -> Option<Time> {
        let deadlines = [self.retransmission.deadline(), self.until];
        deadlines.into_iter().flatten().min()
    }
}

/// Sends a REQUEST or a SET.
pub(super) fn begin(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    configuration: &Configuration,
) -> Result<(), Error> {
    let message_id = core.message_id();
    let mut transaction = Transaction {
        iv: sa.keys()?.exchange_iv(message_id),
        awaits: Some(match configuration.kind {
            Type::Request => Type::Reply,
            _ => Type::Acknowledge,
        }),
        retransmission: Retransmission::default(),
        until: None,
    };
    let message = seal(sa, (message_id, &mut transaction.iv), configuration)?;
    sa.take_message_id(message_id);
    sa.send(core, &message);
    let first = core.settings.retransmit;
    transaction.retransmission.sent(message, now, first);
    sa.transactions.insert(message_id, transaction);
    Ok(())
}

/// Takes a message.
pub(super) fn receive(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    if !sa.is_protected() {
        return Err(PeerMisbehaved::NoPhase1.into());
    }
    let id = incoming.header.message_id;
    let Some(transaction) = sa.transactions.get_mut(&id) else {
        return asked(sa, core, now, incoming);
    };
    if transaction.retransmission.is_repeated(incoming.bytes) {
        core.counters.retransmissions_received += 1;
        if let Some(answer) = transaction.retransmission.answer().map(<[u8]>::to_vec) {
            core.counters.retransmissions_sent += 1;
            sa.send(core, &answer);
        }
        return Ok(());
    }
    let Some(awaits) = transaction.awaits else {
        return Ok(());
    };
    let mut iv = transaction.iv.clone();
    let answer = open(sa, &mut iv, incoming)?;
    // The message id tells what is answered; as identifier strongSwan says zero.
    if answer.kind != awaits {
        return Err(InvalidMessage::Header.into());
    }
    // From here on the message is authentic.
    sa.authentic(core, now, incoming);
    let until = now + core.settings.exchange_memory();
    if let Some(transaction) = sa.transactions.get_mut(&id) {
        transaction.retransmission.accepted(incoming.bytes);
        transaction.awaits = None;
        transaction.until = Some(until);
    }
    match xauth::is_due(sa) {
        true => xauth::answered(sa, core, now, &answer),
        false => mode_config::answered(sa, core, now, &answer),
    }
}

/// The peer begins.
fn asked(sa: &mut IkeSa, core: &mut Core, now: Time, incoming: Incoming<'_>) -> Result<(), Error> {
    let id = incoming.header.message_id;
    if id == 0 || sa.seen.contains(&id) || sa.transactions.len() >= OPEN {
        return Ok(());
    }
    let mut iv = sa.keys()?.exchange_iv(id);
    let question = open(sa, &mut iv, incoming)?;
    let kind = match question.kind {
        Type::Request => Type::Reply,
        Type::Set => Type::Acknowledge,
        Type::Reply | Type::Acknowledge => return Err(InvalidMessage::Header.into()),
    };
    // From here on the message is authentic.
    sa.authentic(core, now, incoming);
    let attributes = match question.is_xauth() {
        true => xauth::asked(sa, &question),
        false => mode_config::asked(sa, core, now, &question),
    };
    // What has no place yet is taken when it comes again.
    let Some(attributes) = attributes else {
        return Ok(());
    };
    sa.take_message_id(id);
    let answer = Configuration {
        kind,
        identifier: question.identifier,
        attributes,
    };
    let mut transaction = Transaction {
        iv,
        awaits: None,
        retransmission: Retransmission::default(),
        until: Some(now + core.settings.exchange_memory()),
    };
    let message = seal(sa, (id, &mut transaction.iv), &answer)?;
    sa.send(core, &message);
    transaction.retransmission.accepted(incoming.bytes);
    transaction.retransmission.answered(message);
    sa.transactions.insert(id, transaction);
    xauth::proceed(sa, core, now)
}

/// Decrypts a message and checks its hash.
fn open(sa: &IkeSa, iv: &mut Iv, incoming: Incoming<'_>) -> Result<Configuration, Error> {
    let keys = sa.keys()?;
    let body = Zeroizing::new(incoming.decrypt(keys, iv)?);
    let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
    let (hash, rest) = payloads.first(kind::HASH)?;
    let expected = keys.skeyid.hash_1(incoming.header.message_id, rest);
    if !expected.matches(hash) {
        return Err(PeerMisbehaved::Hash.into());
    }
    Ok(Configuration::parse(payloads.one(kind::CONFIGURATION)?)?)
}

/// Builds a message: the hash and what it covers.
fn seal(
    sa: &IkeSa,
    (id, iv): (u32, &mut Iv),
    configuration: &Configuration,
) -> Result<Vec<u8>, Error> {
    let body = Zeroizing::new(configuration.encode());
    let mut covered = message(sa.cookies, TRANSACTION, id);
    covered.payload(kind::CONFIGURATION, &body);
    let covered = Zeroizing::new(covered.finish());
    let keys = sa.keys()?;
    let payloads = covered.get(LENGTH..).unwrap_or_default();
    let hash = keys.skeyid.hash_1(id, payloads);
    let mut writer = message(sa.cookies, TRANSACTION, id);
    writer.payload(kind::HASH, hash.as_ref());
    writer.payload(kind::CONFIGURATION, &body);
    encrypt(writer, 0, keys, iv)
}

/// Does what is due.
pub(super) fn timeout(sa: &mut IkeSa, core: &mut Core, now: Time) {
    let due = |t: &Transaction| t.deadline().is_some_and(|at| at <= now);
    let transactions = sa.transactions.iter().filter(|(_, t)| due(t));
    let due: Vec<u32> = transactions.map(|(id, _)| *id).collect();
    for id in due {
        let Some(transaction) = sa.transactions.get_mut(&id) else {
            continue;
        };
        if transaction.until.is_some_and(|at| at <= now) {
            sa.transactions.remove(&id);
            continue;
        }
        let (first, retries) = (core.settings.retransmit, core.settings.retries);
        match transaction.retransmission.due(now, first, retries) {
            Due::Nothing => {}
            Due::Again(message) => {
                let message = message.to_vec();
                core.counters.retransmissions_sent += 1;
                sa.send(core, &message);
            }
            Due::GiveUp => {
                sa.transactions.remove(&id);
                xauth::unanswered(sa, core, now);
            }
        }
    }
}

/// An attribute whose value is a string of bytes.
pub(super) fn bytes(kind: u16, value: &[u8]) -> Attribute {
    Attribute {
        kind,
        value: crate::wire::attribute::Value::Variable(value.to_vec()),
    }
}
