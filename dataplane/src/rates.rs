//! How fast each SA is, in samples of a second, taken a few SAs at a time: there may be very many.

use std::sync::Arc;

use crate::install::Installed;

/// How often a sample is taken, in milliseconds.
const SAMPLE: u64 = 1000;
/// SAs looked at in one round of control.
const AT_ONCE: usize = 512;

/// One SA's last sample.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    bytes: u64,
    /// When, in milliseconds; zero for never.
    taken: u64,
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
}

impl Rates {
    /// Megabits a second of an SA over the last second.
    pub fn of(&self, sa: usize) -> f64 {
        self.samples
            .get(sa)
            .map_or(0.0, |sample| sample.mbps.into())
    }

    /// Goes on with the samples.
    pub fn tick(&mut self, installed: &Arc<Installed>, now: u64) {
        if !self
            .of
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, installed))
        {
            let before = |n: Option<usize>| n.and_then(|n| self.samples.get(n)).copied();
            let samples = installed
                .numbers_before()
                .map(|n| before(n).unwrap_or_default());
            self.samples = samples.collect();
            self.of = Some(installed.clone());
            self.next = 0;
        }
        if self.next >= self.samples.len() {
            if now < self.begun + SAMPLE {
                return;
            }
            (self.next, self.begun) = (0, now);
        }
        let sas = installed.sas.iter().zip(&mut self.samples);
        for (sa, sample) in sas.skip(self.next).take(AT_ONCE) {
            let bytes = sa.counters.bytes.get();
            if sample.taken != 0 {
                let span = now.saturating_sub(sample.taken).max(1);
                sample.mbps = (bytes - sample.bytes) as f32 * 8.0 / 1000.0 / span as f32;
            }
            (sample.bytes, sample.taken) = (bytes, now);
        }
        self.next += AT_ONCE;
    }
}
