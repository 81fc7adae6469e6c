//! Frees what the workers are done with, beside control's loop: a whole policy may go at once, and keys are wiped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis_ipsec::counters::SaCounters;

use crate::Error;
use crate::install::Installed;
use crate::worker::WorkerRetired;

/// Nothing to free for so long is a pause.
const PAUSE: Duration = Duration::from_millis(500);
/// As many things as are worth a look at the whole heap.
const MUCH: usize = 1000;

/// What is to be freed.
#[derive(Debug)]
pub enum Garbage {
    /// What a worker's order replaced.
    Retired(WorkerRetired),
    /// A policy that is no longer in force, and about how many things go with it: what the change to the next one took.
    Installed(Arc<Installed>, usize),
    /// What SAs counted that have gone.
    Counters(Vec<Arc<SaCounters>>),
}

impl Garbage {
    /// About how many things it is.
    fn count(&self) -> usize {
        match self {
            Garbage::Retired(_) => 1,
            Garbage::Installed(_, count) => *count,
            Garbage::Counters(counters) => counters.len(),
        }
    }
}

/// Frees until nobody sends any more. When there has been much of it since the last time, and a pause comes, it leaves
/// the process.
fn free(receiver: &Receiver<Garbage>) {
    let mut much = 0;
    loop {
        match receiver.recv_timeout(PAUSE) {
            Ok(garbage) => {
                much += garbage.count();
                drop(garbage);
            }
            Err(RecvTimeoutError::Timeout) if much >= MUCH => {
                heap::trim();
                much = 0;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A thread that frees; ended when dropped.
#[derive(Debug)]
pub struct Reclaimer {
    sender: Option<Sender<Garbage>>,
    thread: Option<JoinHandle<()>>,
}

impl Reclaimer {
    /// Starts the thread.
    pub fn start() -> Result<Self, Error> {
        let (sender, receiver) = channel::<Garbage>();
        let thread = std::thread::Builder::new()
            .name("reclaim".into())
            .spawn(move || free(&receiver))
            .map_err(|error| Error::Io {
                what: "thread that frees memory".into(),
                error,
            })?;
        Ok(Reclaimer {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Frees it soon.
    pub fn free(&self, garbage: Garbage) {
        if let Some(sender) = &self.sender {
            // Were the thread gone, it would be freed here.
            drop(sender.send(garbage));
        }
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        self.sender = None;
        // It can only end.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
