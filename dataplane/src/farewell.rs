//! A gateway's last words: before it ends, its peers are told that the IKE SAs and SAs with it are gone (RFC 2408 3.15),
//! so that they do not send to SPIs that nobody has any more until they notice by themselves.
//!
//! Workers forward until it is said. A delete is one message without an answer (RFC 2408 5.15): what a peer does not
//! hear it finds out as it would without.

use std::time::{Duration, Instant};

use portcullis_ike::Command;

use crate::control::Control;
use crate::worker::GRACE_ROUNDS;

/// How long the datagrams of a farewell may take to leave, whether peers can be reached or not. It takes longer by what
/// the endpoint needs to write them, which grows with the number of peers.
const LONGEST: Duration = Duration::from_secs(1);
/// Between two looks at the workers.
const NAP: Duration = Duration::from_micros(200);

impl Control {
    /// Deletes all that IKE has negotiated, at both ends. `now` tells the time.
    pub fn take_leave(&mut self, now: impl Fn() -> u64) {
        self.ike.leaving = true;
        self.command_ike(now(), Command::Configure(Vec::new()));
        let begun = Instant::now();
        while begun.elapsed() < LONGEST {
            let busy = self.round(now());
            if self.ike.has_sent() && !self.resolver.is_waiting() && self.orders_taken() {
                break;
            }
            if !busy {
                std::thread::sleep(NAP);
            }
        }
        // What a worker has taken leaves its ports in its next rounds.
        let rounds = self.workers.iter().map(|link| link.status.rounds.get());
        let marks: Vec<_> = rounds.map(|rounds| rounds + GRACE_ROUNDS).collect();
        let sent = |control: &Control| {
            let mut links = control.workers.iter().zip(&marks);
            links.all(|(link, mark)| link.status.rounds.get() >= *mark)
        };
        while begun.elapsed() < LONGEST && !sent(self) {
            std::thread::sleep(NAP);
        }
        if !self.ike.has_sent() {
            tracing::warn!("there was no time to tell all peers that the SAs are gone");
            self.ike.forget_unsent();
        }
    }

    fn orders_taken(&self) -> bool {
        let mut links = self.workers.iter();
        links.all(|link| link.waiting.is_empty() && link.status.taken.get() >= link.sent)
    }
}
