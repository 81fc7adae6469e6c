//! How fast each SA is, in samples of a second, taken a few SAs at a time: there may be very many.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::install::Installed;
use crate::reclaim::Garbage;
use crate::tally::{Sums, Tally, Volume};

/// How often a sample is taken, in milliseconds.
const SAMPLE: u64 = 1000;
/// SAs looked at in one round of control.
const AT_ONCE: usize = 512;

/// One SA's last sample.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// What the SA had carried, and what of it is in the sums.
    seen: Volume,
    /// When, in milliseconds of a clock that begins anew after 49 days; `None`: never.
    taken: Option<NonZeroU32>,
    mbps: f32,
}

/// Samples of all SAs.
#[derive(Debug, Default)]
pub struct Rates {
    samples: Vec<Sample>,
    /// The SAs they are of.
    of: Option<Arc<Installed>>,
    /// The next to be looked at.
    next: usize,
    /// When the first was.
    begun: u64,
    tally: Tally,
}

impl Rates {
    /// Megabits a second of an SA over the last second.
    pub fn of(&self, sa: usize) -> f64 {
        self.samples
            .get(sa)
            .map_or(0.0, |sample| sample.mbps.into())
    }

    /// What all SAs that there are and were have carried.
    pub fn sums(&self) -> Sums {
        self.tally.sums()
    }

    /// Those that are not in the policy any more go.
    fn depart(&mut self, installed: &Installed) {
        let Some(old) = &self.of else { return };
        let mut stays = vec![false; old.sas.len()];
        for number in installed.numbers_before().flatten() {
            if let Some(stays) = stays.get_mut(number) {
                *stays = true;
            }
        }
        for ((stays, (config, sa)), sample) in stays.iter().zip(old.iter()).zip(&self.samples) {
            if !stays {
                self.tally.depart(config, &sa.counters, sample.seen);
            }
        }
    }

    /// Goes on with the samples. What `free` gets may be large.
    pub fn tick(&mut self, installed: &Arc<Installed>, now: u64, free: impl Fn(Garbage)) {
        if !self
            .of
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, installed))
        {
            self.depart(installed);
            let before = |n: Option<usize>| n.and_then(|n| self.samples.get(n)).copied();
            let samples = installed
                .numbers_before()
                .map(|n| before(n).unwrap_or_default());
            self.samples = samples.collect();
            let old = self.of.replace(installed.clone());
            if let Some(old) = old {
                // Nobody else may have it any more.
                free(Garbage::Installed(old, 1));
            }
            self.next = 0;
        }
        if self.next >= self.samples.len() {
            if now < self.begun + SAMPLE {
                return;
            }
            (self.next, self.begun) = (0, now);
            let settled = self.tally.settle();
            if !settled.is_empty() {
                free(Garbage::Counters(settled));
            }
        }
        let sas = installed.iter().zip(&mut self.samples);
        for ((config, sa), sample) in sas.skip(self.next).take(AT_ONCE) {
            let (before, now) = (sample.seen.bytes, now as u32);
            self.tally.look(config, &sa.counters, &mut sample.seen);
            if let Some(taken) = sample.taken {
                let span = now.wrapping_sub(taken.get()).max(1);
                let bytes = sample.seen.bytes.saturating_sub(before);
                sample.mbps = bytes as f32 * 8.0 / 1000.0 / span as f32;
            }
            sample.taken = NonZeroU32::new(now);
        }
        self.next += AT_ONCE;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Ticks, and what came of it to free.
    fn tick(rates: &mut Rates, installed: &Arc<Installed>, now: u64) -> Vec<Garbage> {
        let freed = RefCell::new(Vec::new());
        rates.tick(installed, now, |garbage| freed.borrow_mut().push(garbage));
        freed.into_inner()
    }

    #[test]
    fn the_last_of_an_old_policy_is_not_dropped_here() {
        let [first, second] = [(); 2].map(|()| Arc::new(Installed::nothing(1)));
        let mut rates = Rates::default();
        assert!(tick(&mut rates, &first, 0).is_empty());
        let old = Arc::downgrade(&first);
        drop(first);
        let freed = tick(&mut rates, &second, 1);
        assert!(matches!(freed.as_slice(), [Garbage::Installed(..)]));
        assert!(old.upgrade().is_some());
        drop(freed);
        assert!(old.upgrade().is_none());
        assert!(tick(&mut rates, &second, SAMPLE).is_empty());
    }
}
