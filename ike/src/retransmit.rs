//! Retransmission: a cycle with back-off (requirement 71), and the last answer kept for a peer that asks again.

use std::time::Duration;

use crate::Time;
use crate::crypto::hash::{Digest, hash};
use portcullis_config::IkeHash;

/// Times that the same answer is given to the same message: a peer's cycle and room for duplicates.
const ANSWERS: u32 = 20;

/// The last message sent in an exchange, and the last one received.
#[derive(Debug, Default)]
pub(crate) struct Retransmission {
    sent: Option<Vec<u8>>,
    /// When it is sent again, and how often it has been; `None`: only when the peer asks again.
    timer: Option<(Time, u32)>,
    answers: u32,
    received: Option<Digest>,
}

/// What to do when the time has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<'a> {
    /// Nothing yet.
    Nothing,
    /// Send this once more.
    Again(&'a [u8]),
    /// The cycle is over.
    GiveUp,
}

impl Retransmission {
    /// A message went out, and is repeated until the peer's next one is accepted.
    pub(crate) fn sent(&mut self, message: Vec<u8>, now: Time, first: Duration) {
        self.sent = Some(message);
        self.timer = Some((now + first, 0));
    }

    /// A message went out, and is repeated when the peer repeats its own.
    pub(crate) fn answered(&mut self, message: Vec<u8>) {
        self.sent = Some(message);
        self.timer = None;
        self.answers = 0;
    }

    /// A message was accepted: what was sent has arrived.
    pub(crate) fn accepted(&mut self, message: &[u8]) {
        self.sent = None;
        self.timer = None;
        self.received = Some(fingerprint(message));
    }

    /// True for the message that was accepted last.
    pub(crate) fn is_repeated(&self, message: &[u8]) -> bool {
        self.received.as_ref() == Some(&fingerprint(message))
    }

    /// The answer to a repeated message. None while a timer runs: two ends that both answer repetitions and repeat
    /// by themselves would double every message that follows.
    pub(crate) fn answer(&mut self) -> Option<&[u8]> {
        if self.timer.is_some() || self.answers == ANSWERS {
            return None;
        }
        self.answers += 1;
        self.sent.as_deref()
    }

    /// Nothing is to be repeated any more.
    pub(crate) fn stop(&mut self) {
        self.sent = None;
        self.timer = None;
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timer.map(|(at, _)| at)
    }

    pub(crate) fn due(&mut self, now: Time, first: Duration, retries: u32) -> Due<'_> {
        match (self.timer, self.sent.as_deref()) {
            (Some((at, count)), Some(_)) if at <= now && count >= retries => Due::GiveUp,
            (Some((at, count)), Some(message)) if at <= now => {
                let wait = first.saturating_mul(2_u32.saturating_pow(count + 1));
                self.timer = Some((now + wait, count + 1));
                Due::Again(message)
            }
            _ => Due::Nothing,
        }
    }
}

fn fingerprint(message: &[u8]) -> Digest {
    hash(IkeHash::Sha2_256, &[message])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_cycle_of_five_with_back_off() {
        let mut retransmission = Retransmission::default();
        retransmission.sent(vec![1], Duration::ZERO, SECOND);
        // Requirement 71: 5 repetitions, each after twice the time of the one before.
        for at in [1, 3, 7, 15, 31] {
            assert_eq!(retransmission.deadline(), Some(at * SECOND));
            let early = retransmission.due(at * SECOND - SECOND / 2, SECOND, 5);
            assert_eq!(early, Due::Nothing);
            let due = retransmission.due(at * SECOND, SECOND, 5);
            assert_eq!(due, Due::Again(&[1]));
        }
        let end = retransmission.due(63 * SECOND, SECOND, 5);
        assert_eq!(end, Due::GiveUp);
    }

    #[test]
    fn repetitions_are_answered_but_not_for_ever() {
        let mut retransmission = Retransmission::default();
        retransmission.accepted(&[1]);
        assert!(retransmission.is_repeated(&[1]) && !retransmission.is_repeated(&[2]));
        assert_eq!(retransmission.answer(), None);
        retransmission.answered(vec![9]);
        let answers = (0..100).filter(|_| retransmission.answer().is_some());
        assert_eq!(answers.count(), 20);
        retransmission.sent(vec![9], Duration::ZERO, SECOND);
        assert_eq!(retransmission.answer(), None);
    }
}
