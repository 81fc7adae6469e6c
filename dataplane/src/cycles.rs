//! Where a worker's cycles go, stage by stage.

use std::sync::Arc;

use dpdk::thread;
use portcullis_ipsec::counters::Counter;
use portcullis_ipsec::pipeline::Stage;

/// Cycles of the time stamp counter that a worker spent in each stage, of rounds in which a device gave packets.
#[derive(Debug, Default)]
pub struct StageCycles([Counter; Stage::ALL.len()]);

impl StageCycles {
    /// Of one stage.
    pub fn get(&self, stage: Stage) -> u64 {
        self.0.get(stage as usize).map_or(0, Counter::get)
    }
}

/// A worker's stop watch.
#[derive(Debug)]
pub struct StopWatch {
    cycles: Arc<StageCycles>,
    last: u64,
}

impl StopWatch {
    /// One that adds to `cycles`.
    pub fn new(cycles: Arc<StageCycles>) -> Self {
        StopWatch { cycles, last: 0 }
    }

    /// A round begins.
    pub fn start(&mut self) {
        self.last = thread::cycles();
    }

    /// What was done since the last call was this stage's work.
    pub fn lap(&mut self, stage: Stage) {
        let now = thread::cycles();
        if let Some(counter) = self.cycles.0.get(stage as usize) {
            counter.add(now.saturating_sub(self.last));
        }
        self.last = now;
    }
}
