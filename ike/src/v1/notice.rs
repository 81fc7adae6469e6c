//! Messages that say why phase 1 leads to nothing.

use crate::core::Core;
use crate::v1::exchange::INFORMATIONAL;
use crate::v1::ike_sa::IkeSa;
use crate::v1::message::message;
use crate::v1::{informational, phase1};
use crate::wire::notification::Notification;
use crate::wire::payload::kind;
use crate::wire::protocol;
use crate::{Error, InvalidMessage, PeerIncompatible};

/// Answers a first message with a notification (RFC 2408 5.4). One that nobody here could have meant gets none, nor
/// does a peer that is unknown: scanners learn nothing.
pub(crate) fn refuse(sa: &IkeSa, core: &mut Core, error: &Error) {
    let told = matches!(
        error,
        Error::PeerIncompatible(PeerIncompatible::NoProposal | PeerIncompatible::NoConnection)
            | Error::InvalidMessage(InvalidMessage::Doi | InvalidMessage::Situation)
    );
    if !told {
        return;
    }
    send(sa, core, error);
}

/// Says that the peer's proof is none: protected where both have the same keys. With another pre-shared key the peer
/// cannot read that.
pub(crate) fn refuse_authentication(sa: &IkeSa, core: &mut Core, error: &Error) {
    let unreadable = Error::PeerIncompatible(PeerIncompatible::PreSharedKey);
    if sa.keys.is_none() || *error == unreadable {
        return send(sa, core, error);
    }
    let id = core.message_id();
    let body = phase1::own_notification(sa, error.notification(), Vec::new());
    informational::send_protected(sa, core, id, (kind::NOTIFICATION, &body));
}

fn send(sa: &IkeSa, core: &mut Core, error: &Error) {
    let notification = Notification {
        protocol: protocol::ISAKMP,
        spi: Vec::new(),
        kind: error.notification(),
        data: Vec::new(),
    };
    let id = core.message_id();
    let mut writer = message(sa.cookies, INFORMATIONAL, id);
    writer.payload(kind::NOTIFICATION, &notification.encode());
    sa.send(core, &writer.finish());
}
