//! The last minute of every rate, and its picture in one line.

use std::collections::{HashMap, VecDeque};

use crate::status::Status;

/// Samples kept of each.
pub(super) const LENGTH: usize = 60;
/// Heights of a bar.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Rates by second, the latest last.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Megabits a second of each tunnel, both directions.
    tunnels: HashMap<String, VecDeque<f64>>,
    /// Load of each worker in percent.
    workers: Vec<VecDeque<f64>>,
    /// Megabits a second of all: received and sent.
    total: [VecDeque<f64>; 2],
    /// Uptime, and bytes received and sent then.
    before: Option<(u64, [u64; 2])>,
}

fn push(samples: &mut VecDeque<f64>, sample: f64) {
    if samples.len() >= LENGTH {
        samples.pop_front();
    }
    samples.push_back(sample);
}

impl History {
    /// Adds a sample of everything.
    pub(super) fn note(&mut self, status: &Status) {
        self.tunnels
            .retain(|name, _| status.tunnels.iter().any(|tunnel| tunnel.name == *name));
        for tunnel in &status.tunnels {
            let samples = self.tunnels.entry(tunnel.name.clone()).or_default();
            push(samples, tunnel.mbps_in + tunnel.mbps_out);
        }
        self.workers.resize(status.workers.len(), VecDeque::new());
        for (samples, worker) in self.workers.iter_mut().zip(&status.workers) {
            push(samples, worker.load_percent);
        }
        let sums = &status.statistics.sums;
        let bytes = [
            sums.esp_received.bytes + sums.ah_received.bytes,
            sums.esp_sent.bytes + sums.ah_sent.bytes,
        ];
        if let Some((then, before)) = self.before {
            let span = status.uptime_ms.saturating_sub(then).max(1);
            for ((samples, now), before) in self.total.iter_mut().zip(bytes).zip(before) {
                let megabits = now.saturating_sub(before) as f64 * 8.0 / 1000.0;
                push(samples, megabits / span as f64);
            }
        }
        self.before = Some((status.uptime_ms, bytes));
    }

    /// Megabits a second received and sent over the last second.
    pub(super) fn total(&self) -> [f64; 2] {
        let last = |samples: &VecDeque<f64>| samples.back().copied().unwrap_or(0.0);
        let [received, sent] = &self.total;
        [last(received), last(sent)]
    }

    /// Pictures of what was received and sent.
    pub(super) fn total_pictures(&self) -> [String; 2] {
        let [received, sent] = &self.total;
        [picture(received, None), picture(sent, None)]
    }

    /// A tunnel's picture.
    pub(super) fn tunnel(&self, name: &str) -> String {
        let samples = self.tunnels.get(name);
        samples.map_or_else(String::new, |samples| picture(samples, None))
    }

    /// A worker's picture.
    pub(super) fn worker(&self, worker: usize) -> String {
        let samples = self.workers.get(worker);
        samples.map_or_else(String::new, |samples| picture(samples, Some(100.0)))
    }
}

/// A bar for each sample, of `full` or of the highest.
fn picture(samples: &VecDeque<f64>, full: Option<f64>) -> String {
    let highest = samples.iter().copied().fold(0.0, f64::max);
    let full = full.unwrap_or(highest).max(f64::MIN_POSITIVE);
    let bar = |sample: &f64| {
        let height = (sample / full * BARS.len() as f64) as usize;
        BARS.get(height.min(BARS.len() - 1)).copied().unwrap_or(' ')
    };
    samples.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_scale_to_their_highest_sample() {
        let samples = VecDeque::from([0.0, 5.0, 10.0]);
        assert_eq!(picture(&samples, None), "▁▅█");
        assert_eq!(picture(&samples, Some(100.0)), "▁▁▁");
        assert_eq!(picture(&VecDeque::from([0.0, 0.0]), None), "▁▁");
    }

    #[test]
    fn a_minute_is_kept() {
        let mut samples = VecDeque::new();
        (0..LENGTH + 3).for_each(|n| push(&mut samples, n as f64));
        assert_eq!((samples.len(), samples.front()), (LENGTH, Some(&3.0)));
    }
}
