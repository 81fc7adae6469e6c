//! Dead peer detection (RFC 3706).
//!
//! ```text
//! Either end                                            The other
//! HDR*, HASH, N(R-U-THERE, sequence number)        -->
//!                                                  <--  HDR*, HASH, N(R-U-THERE-ACK, the same number)
//! ```

use std::time::Duration;

use portcullis_config::Connection;

use crate::core::{Core, Request};
use crate::v1::ike_sa::IkeSa;
use crate::v1::informational;
use crate::wire::notification::{Notification, notify};
use crate::wire::vendor_id::Capabilities;
use crate::{CloseReason, Time};

/// Seconds between questions that are not answered.
const AGAIN: u64 = 2;

/// What is known of the peer's life.
#[derive(Debug, Default)]
pub(crate) struct DeadPeer {
    /// Time without a sign of life after which the peer is asked; `None`: it is not asked.
    delay: Option<Duration>,
    on_traffic_only: bool,
    last_sign: Time,
    /// We sent since the last sign of life.
    sent: bool,
    /// Questions without answer, and the number in them.
    asked: u32,
    sequence: u32,
    deadline: Option<Time>,
}

impl DeadPeer {
    /// Phase 1 stands: from now on the peer must live.
    pub(crate) fn start(&mut self, now: Time, connection: &Connection, peer: Capabilities) {
        self.last_sign = now;
        if let Some(dpd) = connection.dpd.filter(|_| peer.dpd) {
            self.delay = Some(Duration::from_secs(dpd.delay));
            self.on_traffic_only = dpd.on_traffic_only;
            self.deadline = Some(now + Duration::from_secs(dpd.delay));
        }
    }

    /// Something authentic came from the peer.
    pub(crate) fn sign_of_life(&mut self, now: Time) {
        self.last_sign = now;
        self.sent = false;
        self.asked = 0;
        self.deadline = self.delay.map(|delay| now + delay);
    }

    /// Packets went to the peer.
    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Asks, or gives up.
    pub(crate) fn timeout(sa: &mut IkeSa, core: &mut Core, now: Time) {
        let dead_peer = &mut sa.dead_peer;
        let Some(delay) = dead_peer.delay else {
            return;
        };
        if dead_peer.deadline.is_none_or(|at| at > now) {
            return;
        }
        if dead_peer.on_traffic_only && !dead_peer.sent && dead_peer.asked == 0 {
            dead_peer.deadline = Some(now + delay);
            return;
        }
        if dead_peer.asked > core.settings.retries {
            let (id, connection, peer) = (sa.id, sa.connection.clone(), sa.peer_id.clone());
            sa.close(core, now, CloseReason::PeerDead);
            let dead = peer.map(|peer| Request::PeerDead(id, peer));
            core.requests.extend(dead);
            core.requests.extend(connection.map(Request::Restart));
            return;
        }
        if dead_peer.asked == 0 {
            let first: [u8; 4] = core.random();
            // RFC 3706 5.4: the first number is random, its top bit zero, and it rises.
            dead_peer.sequence = match dead_peer.sequence {
                0 => u32::from_be_bytes(first) >> 1,
                last => last.wrapping_add(1),
            };
        }
        dead_peer.asked += 1;
        dead_peer.deadline = Some(now + Duration::from_secs(AGAIN));
        let number = dead_peer.sequence.to_be_bytes().to_vec();
        informational::notify_own(sa, core, notify::R_U_THERE, number);
    }

    /// The peer asks.
    pub(crate) fn asked(sa: &mut IkeSa, core: &mut Core, question: &Notification) {
        // RFC 3706 5.3: the number is four bytes.
        if question.data.len() == 4 {
            let number = question.data.clone();
            informational::notify_own(sa, core, notify::R_U_THERE_ACK, number);
        }
    }

    /// The peer answers. Any authentic message is a sign of life; an answer to another question is none.
    pub(crate) fn answered(&mut self, now: Time, answer: &Notification) {
        if answer.data == self.sequence.to_be_bytes() {
            self.sign_of_life(now);
        }
    }
}
