//! What the service manager that started us is told, if there is one (sd_notify(3)): that we run, that we end, and, as
//! its watchdog, that control and every worker still go round.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager's watchdog.
#[derive(Debug)]
pub struct Watchdog {
    /// Milliseconds between two signs of life; `None`: nobody waits for any.
    interval: Option<u64>,
    last: u64,
    /// Rounds of each worker at the last one.
    rounds: Vec<u64>,
}

impl Watchdog {
    /// As the service manager asks for in the environment.
    pub fn of_environment() -> Self {
        Watchdog::new(sd_notify::watchdog_enabled())
    }

    fn new(timeout: Option<Duration>) -> Self {
        Watchdog {
            // A third, so that one that comes late does no harm.
            interval: timeout.map(|timeout| timeout.as_millis() as u64 / 3),
            last: 0,
            rounds: Vec::new(),
        }
    }

    /// Gives a sign of life when it is time, and all workers went round since the one before.
    pub fn tick(&mut self, now: u64, rounds: impl Iterator<Item = u64>) {
        if self.is_alive(now, rounds) {
            tell(NotifyState::Watchdog);
        }
    }

    fn is_alive(&mut self, now: u64, rounds: impl Iterator<Item = u64>) -> bool {
        let due = |interval| now.saturating_sub(self.last) >= interval;
        if !self.interval.is_some_and(due) {
            return false;
        }
        let rounds: Vec<u64> = rounds.collect();
        let before = self.rounds.iter().copied().chain(std::iter::repeat(0));
        if rounds
            .iter()
            .zip(before)
            .any(|(now, before)| *now == before)
        {
            return false;
        }
        (self.last, self.rounds) = (now, rounds);
        true
    }
}

/// The gateway forwards packets.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The gateway ends because it was asked to.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Without a service manager nothing is said.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_needs_every_worker() {
        let mut watchdog = Watchdog::new(Some(Duration::from_millis(300)));
        assert!(!watchdog.is_alive(99, [5, 5].into_iter()), "too early");
        assert!(watchdog.is_alive(100, [5, 5].into_iter()));
        assert!(!watchdog.is_alive(199, [6, 6].into_iter()), "too early");
        assert!(
            !watchdog.is_alive(200, [6, 5].into_iter()),
            "the second stands still"
        );
        assert!(
            watchdog.is_alive(201, [7, 6].into_iter()),
            "as soon as it goes on"
        );
    }

    #[test]
    fn a_worker_that_never_began_is_not_alive() {
        let mut watchdog = Watchdog::new(Some(Duration::from_millis(300)));
        assert!(!watchdog.is_alive(100, [0].into_iter()));
    }

    #[test]
    fn nobody_waits() {
        assert!(!Watchdog::new(None).is_alive(1_000_000, [1].into_iter()));
    }
}
