//! Why a negotiation ended without result, in words that tell an operator what to look at.

use portcullis_ike::{CloseReason, Error, InvalidMessage, Local, PeerIncompatible, PeerMisbehaved};

/// An explanation of a few words, and what to do about it.
pub fn explain_reason(reason: &CloseReason) -> String {
    let words = match reason {
        CloseReason::Terminated => "it was ended here",
        CloseReason::Replaced => "a newer one took its place",
        CloseReason::DeletedByPeer => "the peer deleted it",
        CloseReason::InitialContact => "the peer began anew, as after a restart",
        CloseReason::Expired => "its lifetime was over before anything replaced it",
        CloseReason::Idle => "there was no traffic for as long as the policy allows",
        CloseReason::Restarted => "IKE began anew here; SAs that carry packets go on",
        CloseReason::PeerDead => {
            "the peer did not answer: is it reachable, and are UDP 500 and 4500 open on the way?"
        }
        CloseReason::NoAnswer => {
            "the peer never said a word: does it know IKE, and are UDP 500 and 4500 open on the way?"
        }
        CloseReason::Overloaded => "too many negotiations were half-open at once",
        CloseReason::Error(error) => return explain_error(error),
    };
    words.into()
}

fn explain_error(error: &Error) -> String {
    match error {
        Error::PeerIncompatible(what) => incompatible(what),
        Error::PeerMisbehaved(what) => misbehaved(*what).into(),
        Error::PeerRefused(kind) => refused(*kind),
        Error::Local(what) => local(what),
        Error::InvalidMessage(InvalidMessage::Encryption) => {
            "a message was not encrypted where it must be, or the other way".into()
        }
        Error::InvalidMessage(what) => format!("a message could not be read ({what:?})"),
    }
}

fn incompatible(what: &PeerIncompatible) -> String {
    let words = match what {
        PeerIncompatible::NoConnection => {
            "no [[connection]] is meant for this peer: compare its address and identity with `remote` and `remote-id`"
        }
        PeerIncompatible::NoProposal => {
            "no proposal in common: compare the algorithms of both ends (`show ike` names the differences)"
        }
        PeerIncompatible::PreSharedKey => {
            "the pre-shared keys differ, as a rule: the peer's encrypted messages make no sense"
        }
        PeerIncompatible::Identity => {
            "the peer is not who it must be: compare its identity with `remote-id`"
        }
        PeerIncompatible::Certificate(why) => {
            return format!("the peer's certificate is not believed: {why}");
        }
        PeerIncompatible::User(name) => {
            let name = name.escape_debug();
            return format!("user `{name}` is unknown here, or the password is wrong");
        }
        PeerIncompatible::Address => {
            "the peer's traffic is not that of the address which it was given"
        }
        PeerIncompatible::Traffic => {
            "no child has this traffic or this mode: compare the selectors of both ends"
        }
        PeerIncompatible::Exchange => {
            "one end wants aggressive mode and the other main mode: compare `exchange`"
        }
        PeerIncompatible::Version(version) => {
            return format!("the peer speaks IKE version {version}");
        }
    };
    words.into()
}

fn misbehaved(what: PeerMisbehaved) -> &'static str {
    match what {
        PeerMisbehaved::Hash => "the peer's hash does not verify: the pre-shared keys may differ",
        PeerMisbehaved::Signature => "the peer's signature does not verify",
        PeerMisbehaved::KeyExchange => "the peer's Diffie-Hellman value is not of the group",
        PeerMisbehaved::ChangedProposal => "the peer chose what was not offered",
        PeerMisbehaved::ChangedIdentities => "the peer changed the traffic that was asked for",
        PeerMisbehaved::NoAddress => "the peer gave no address, although it was asked for one",
        PeerMisbehaved::NoPhase1 => "the peer began quick mode without a phase 1",
    }
}

/// Notifications of RFC 2408 3.14.1: IKE knows their names, and here is what they mean to an operator.
fn refused(kind: u16) -> String {
    let named = Error::PeerRefused(kind);
    let meaning = match kind {
        14 => "the algorithms of both ends differ",
        18 => "our identity, or our traffic, is not what it expects",
        20 => "it does not believe our certificate",
        22 => "it does not know our certificate's authority",
        23 => "the pre-shared keys may differ",
        24 => "it does not believe who we are",
        25 => "our signature does not verify there",
        _ => return named.to_string(),
    };
    format!("{named}: {meaning}")
}

fn local(what: &Local) -> String {
    let words = match what {
        Local::NoSpi => "no SPI was left here",
        Local::Crypto => "a key could not be made or used here",
        Local::Credentials => {
            "our own certificate or its key cannot be used: `portcullis check` says why"
        }
        Local::OwnCertificate(which) => {
            return format!("our own certificate cannot be used: {which}");
        }
        Local::NoAddress => "there is no route, or no address of ours, to the peer",
        Local::OnlyPeer => "only the peer can begin: its user has to prove who they are",
        Local::PoolExhausted => "all addresses of the pool are in use",
        Local::NotConfigured => "the connection or the child is no longer configured",
        Local::Selector => {
            "the child's traffic cannot be said in quick mode: one range and one port a side"
        }
    };
    words.into()
}
