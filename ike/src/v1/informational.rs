//! Informational exchanges (RFC 2409 5.7): notifications and deletes, one message each.
//!
//! ```text
//! Either end                     The other
//! HDR*, HASH(1), N/D        -->
//! ```

use crate::core::{Core, Request};
use crate::v1::dead_peer::DeadPeer;
use crate::v1::exchange::INFORMATIONAL;
use crate::v1::ike_sa::IkeSa;
use crate::v1::message::{Incoming, encrypt, message};
use crate::v1::{phase1, quick_mode};
use crate::wire::delete::Delete;
use crate::wire::notification::{Notification, notify};
use crate::wire::payload::{Payload, kind};
use crate::wire::{Payloads, protocol};
use crate::{CloseReason, Error, InvalidMessage, PeerMisbehaved, Time};

/// Takes an informational message.
pub(crate) fn receive(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    if !incoming.is_encrypted() {
        return hint(sa, incoming);
    }
    if !sa.is_protected() {
        return early(sa, now, incoming);
    }
    let id = incoming.header.message_id;
    let of_quick_mode = sa.exchanges.contains(id);
    if id == 0 || (sa.seen.contains(&id) && !of_quick_mode) {
        core.counters.retransmissions_received += 1;
        return Ok(());
    }
    let keys = sa.keys()?;
    let mut iv = keys.exchange_iv(id);
    let body = incoming.decrypt(keys, &mut iv)?;
    let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
    let (hash, rest) = payloads.first(kind::HASH)?;
    if !keys.skeyid.hash_1(id, rest).matches(hash) {
        return Err(PeerMisbehaved::Hash.into());
    }
    // HASH(1) of quick mode is made in the same way: its message 1 is none of ours, and keeps its message id.
    let ours = |payload: &Payload<'_>| [kind::NOTIFICATION, kind::DELETE].contains(&payload.kind);
    if let Some(other) = payloads.iter().skip(1).find(|payload| !ours(payload)) {
        return Err(InvalidMessage::UnexpectedPayload(other.kind).into());
    }
    // From here on the message is authentic.
    sa.authentic(core, now, incoming);
    if !of_quick_mode {
        sa.take_message_id(id);
    }
    sa.hear_lifetime(core, &payloads);
    for payload in payloads.iter() {
        match payload.kind {
            kind::NOTIFICATION => {
                let notification = Notification::parse(payload.body)?;
                notified(sa, core, now, id, &notification);
            }
            kind::DELETE => deleted(sa, core, now, &Delete::parse(payload.body)?),
            _ => {}
        }
    }
    Ok(())
}

/// A notification in clear while phase 1 is under way proves nothing, but says why no answer may come.
fn hint(sa: &mut IkeSa, incoming: Incoming<'_>) -> Result<(), Error> {
    if sa.is_protected() {
        return Ok(());
    }
    let payloads = Payloads::parse(incoming.header.next_payload, incoming.body())?;
    for body in payloads.all(kind::NOTIFICATION) {
        let notification = Notification::parse(body)?;
        if notification.is_error() {
            sa.hint = Some((Error::PeerRefused(notification.kind), Vec::new()));
        }
    }
    Ok(())
}

/// A protected notification while phase 1 is under way: the peer refuses our proof, and we wait no longer than until
/// the next repetition is due. Under other keys it cannot be read, and says so by that.
fn early(sa: &mut IkeSa, now: Time, incoming: Incoming<'_>) -> Result<(), Error> {
    let id = incoming.header.message_id;
    let kind = sa.keys().and_then(|keys| {
        let body = incoming.decrypt(keys, &mut keys.exchange_iv(id))?;
        let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
        let (hash, rest) = payloads.first(kind::HASH)?;
        if !keys.skeyid.hash_1(id, rest).matches(hash) {
            return Err(PeerMisbehaved::Hash.into());
        }
        Ok(Notification::parse(payloads.one(kind::NOTIFICATION)?)?)
    });
    match kind {
        Ok(notification) if notification.is_error() => {
            sa.suspect(now, Error::PeerRefused(notification.kind));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(_) => phase1::refused_unreadably(sa, now),
    }
}

fn notified(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    message_id: u32,
    notification: &Notification,
) {
    match notification.kind {
        notify::R_U_THERE => DeadPeer::asked(sa, core, notification),
        notify::R_U_THERE_ACK => sa.dead_peer.answered(now, notification),
        notify::CONNECTED => quick_mode::connected(sa, core, now, message_id),
        // One that is replayed, or comes late, would end what was made since.
        notify::INITIAL_CONTACT if sa.quick_modes == 0 => {
            core.requests.push_back(Request::InitialContact(sa.id));
        }
        _ if notification.is_error() => quick_mode::refused(sa, core, now, notification),
        _ => {}
    }
}

fn deleted(sa: &mut IkeSa, core: &mut Core, now: Time, delete: &Delete) {
    let protocol = match delete.protocol {
        protocol::ESP => 50,
        protocol::AH => 51,
        protocol::ISAKMP => {
            let own = [sa.cookies.initiator, sa.cookies.responder].concat();
            if delete.spis.contains(&own) {
                sa.close(core, now, CloseReason::DeletedByPeer);
            }
            return;
        }
        _ => return,
    };
    for spi in &delete.spis {
        let Ok(spi) = <[u8; 4]>::try_from(&spi[..]) else {
            continue;
        };
        let spi = u32::from_be_bytes(spi);
        let found = core
            .children
            .by_outbound(protocol, sa.path.remote.ip(), spi);
        let child = found.and_then(|id| core.children.get(id));
        // A peer deletes its own SAs, nobody else's.
        let Some(child) = child.filter(|child| Some(&child.peer) == sa.peer_id.as_ref()) else {
            continue;
        };
        let id = child.id;
        let reason = match child.is_replaced() {
            true => CloseReason::Replaced,
            false => CloseReason::DeletedByPeer,
        };
        core.children.remove(id);
        let event = crate::Event::RemoveSa { child: id, reason };
        core.events.push_back(event);
    }
}

/// Sends a notification under the IKE SA's protection.
pub(crate) fn notify(sa: &mut IkeSa, core: &mut Core, notification: &Notification) {
    send(sa, core, kind::NOTIFICATION, &notification.encode());
}

/// Sends a notification about the IKE SA itself.
pub(crate) fn notify_own(sa: &mut IkeSa, core: &mut Core, kind: u16, data: Vec<u8>) {
    let body = phase1::own_notification(sa, kind, data);
    send(sa, core, kind::NOTIFICATION, &body);
}

/// Tells the peer that these inbound SAs of ours are gone (RFC 2408 3.15).
pub(crate) fn delete_spis(sa: &mut IkeSa, core: &mut Core, spis: &[(u8, u32)]) {
    for (number, protocol) in [(50, protocol::ESP), (51, protocol::AH)] {
        let own = spis.iter().filter(|(p, _)| *p == number);
        let spis: Vec<_> = own.map(|(_, spi)| spi.to_be_bytes().to_vec()).collect();
        if !spis.is_empty() {
            let delete = Delete { protocol, spis };
            send(sa, core, kind::DELETE, &delete.encode());
        }
    }
}

/// Tells the peer that the IKE SA is gone (requirement 75).
pub(crate) fn delete_ike(sa: &mut IkeSa, core: &mut Core) {
    let delete = Delete {
        protocol: protocol::ISAKMP,
        spis: vec![[sa.cookies.initiator, sa.cookies.responder].concat()],
    };
    send(sa, core, kind::DELETE, &delete.encode());
}

/// One message of an established IKE SA.
fn send(sa: &mut IkeSa, core: &mut Core, kind: u8, body: &[u8]) {
    if sa.is_protected() {
        let id = core.message_id();
        sa.take_message_id(id);
        send_protected(sa, core, id, (kind, body));
    }
}

/// One message, as soon as there are keys: what is not protected would not be believed.
pub(super) fn send_protected(sa: &IkeSa, core: &mut Core, id: u32, (kind, body): (u8, &[u8])) {
    let Ok(keys) = sa.keys() else {
        return;
    };
    let mut covered = message(sa.cookies, INFORMATIONAL, id);
    covered.payload(kind, body);
    let hash = keys.skeyid.hash_1(id, covered.body());
    let mut writer = message(sa.cookies, INFORMATIONAL, id);
    writer.payload(kind::HASH, hash.as_ref());
    writer.payload(kind, body);
    let mut iv = keys.exchange_iv(id);
    if let Ok(message) = encrypt(writer, 0, keys, &mut iv) {
        sa.send(core, &message);
    }
}
