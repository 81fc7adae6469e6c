//! Frees what the workers are done with, beside control's loop: a whole policy may go at once, and keys are wiped.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::Error;
use crate::install::Installed;
use crate::worker::WorkerRetired;

/// What is to be freed.
#[derive(Debug)]
pub enum Garbage {
    /// What a worker's order replaced.
    Retired(WorkerRetired),
    /// A policy that is no longer in force.
    Installed(Arc<Installed>),
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
            .spawn(move || receiver.into_iter().for_each(drop))
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
