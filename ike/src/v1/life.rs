//! How long an IKE SA lives: as both ends agreed on (RFC 2409 appendix A), or as the responder said afterwards
//! (RFC 2407 4.6.3.1).

use std::cell::Cell;
use std::time::Duration;

use crate::core::{Core, Request};
use crate::proposal::lifetime::{self, LEAST_OF_PHASE_1, Lifetime, PHASE_1};
use crate::v1::ike_sa::{IkeSa, Role};
use crate::v1::informational;
use crate::wire::notification::notify;
use crate::wire::{Payloads, protocol};
use crate::{CloseReason, Time};

/// What its keys have protected, and may. A message that goes out changes nothing else.
#[derive(Debug, Default)]
pub(crate) struct Volume {
    used: Cell<u64>,
    /// The ends of the latest messages: one that comes or goes again is the same ciphertext, and uses nothing up.
    latest: Cell<[u64; Volume::LATEST]>,
    next: Cell<usize>,
    renewal: Option<u64>,
    end: Option<u64>,
}

impl Volume {
    /// How many messages are told from new ones.
    const LATEST: usize = 32;

    /// A protected message went out, or an authentic one came.
    pub(crate) fn note(&self, message: &[u8]) {
        let end = message
            .last_chunk()
            .map_or(0, |end| u64::from_ne_bytes(*end));
        let mut latest = self.latest.get();
        if latest.contains(&end) {
            return;
        }
        let next = self.next.get() % Self::LATEST;
        if let Some(place) = latest.get_mut(next) {
            *place = end;
        }
        self.latest.set(latest);
        self.next.set(next + 1);
        let bytes = u64::try_from(message.len()).unwrap_or(u64::MAX);
        self.used.set(self.used.get().saturating_add(bytes));
    }
}

impl IkeSa {
    /// Renews it, or ends it, if its kilobytes are used up (RFC 2409 appendix A, life type 2).
    pub(crate) fn check_volume(&mut self, core: &mut Core, now: Time) {
        if !self.is_established() {
            return;
        }
        let used = self.volume.used.get();
        if self.volume.end.is_some_and(|end| used >= end) {
            informational::delete_ike(self, core);
            self.close(core, now, CloseReason::Expired);
        } else if !self.retired && self.volume.renewal.is_some_and(|at| used >= at) {
            self.volume.renewal = None;
            self.renewal = None;
            core.requests.push_back(Request::Renew(self.id, None));
        }
    }

    /// Phase 1 stands, or its life is another: notes when it is renewed, and when it ends.
    pub(crate) fn plan_life(&mut self, core: &mut Core) {
        let (Some(connection), Some(began)) = (&self.connection, self.established) else {
            return;
        };
        let life = ours(connection).shorter(self.peer_lifetime.at_least(LEAST_OF_PHASE_1));
        core.note_short_life(&connection.name, None, self.peer_lifetime.below(life));
        self.volume.end = life.kilobytes.map(|k| k.saturating_mul(1024));
        let early = self.volume.end.map(|end| core.jittered(self.early(end)));
        self.volume.renewal = early.filter(|_| self.may_renew());
        let Some(seconds) = life.seconds else {
            return;
        };
        let renewal = Some(core.jittered(self.early(seconds))).filter(|_| self.may_renew());
        self.renewal = renewal.and_then(|s| began.checked_add(Duration::from_secs(s)));
        self.end = began.checked_add(Duration::from_secs(seconds));
        self.expiry = self.end;
    }

    /// What is left of a life when it is time to renew: the initiator renews first; the responder, should it not.
    fn early(&self, life: u64) -> u64 {
        match self.role {
            Role::Initiator => life - life / 10,
            Role::Responder => life - life / 20,
        }
    }

    /// The responder of phase 1 says how long it lives with it, in a message that is authentic.
    pub(crate) fn hear_lifetime(&mut self, core: &mut Core, payloads: &Payloads<'_>) {
        let own = [self.cookies.initiator, self.cookies.responder].concat();
        let said = lifetime::of_responder(payloads, |about, spi| {
            about == protocol::ISAKMP && spi == own
        });
        let shorter = self.peer_lifetime.shorter(said);
        if self.role == Role::Initiator && shorter != self.peer_lifetime {
            self.peer_lifetime = shorter;
            if self.is_established() && !self.retired {
                self.plan_life(core);
            }
        }
    }

    /// Says how long we live with a phase 1 that the peer has begun, where it offered more, or less than it gets. In an
    /// exchange of its own: what main mode's last message says beside the proof, its hash does not cover.
    pub(crate) fn say_lifetime(&mut self, core: &mut Core) {
        let ours = self.connection.as_deref().map(ours).unwrap_or_default();
        let offered = self.peer_lifetime;
        let life = ours.shorter(offered.at_least(LEAST_OF_PHASE_1));
        let news = life.beside(offered);
        if let Some(news) = news.filter(|_| self.role == Role::Responder) {
            let data = news.encode(PHASE_1);
            informational::notify_own(self, core, notify::RESPONDER_LIFETIME, data);
        }
    }
}

/// How long the policy lets phase 1 live.
pub(crate) fn ours(connection: &portcullis_config::Connection) -> Lifetime {
    Lifetime {
        seconds: Some(connection.ike_lifetime),
        kilobytes: connection.ike_kilobytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has no keys can send what was sent again, and have it answered again.
    #[test]
    fn messages_that_come_again_use_nothing_up() {
        let volume = Volume::default();
        let message = |n: u8| [n; 100];
        for n in 1..=3 {
            for _ in 0..20 {
                volume.note(&message(n));
                volume.note(&message(1));
            }
        }
        assert_eq!(volume.used.get(), 300);
    }
}
