//! Threads for what takes milliseconds: Diffie-Hellman and signatures of IKE. The endpoint goes on meanwhile.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis_ike::{RandomSource, Work, WorkDone};

use crate::Error;

/// The slowest computation takes tens of milliseconds.
const STUCK: Duration = Duration::from_secs(30);

/// Randomness of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // Keys that somebody could guess are worse than no gateway.
            tracing::error!("the system gives no random numbers");
            std::process::abort();
        }
    }
}

/// Threads that work; ended when dropped.
pub struct Pool {
    work: Option<Sender<Work>>,
    done: Receiver<WorkDone>,
    /// What somebody has waited for.
    next: Option<WorkDone>,
    threads: Vec<JoinHandle<()>>,
    outstanding: usize,
    /// When work last began or ended.
    moved: Instant,
}

/// Seconds since 1970: certificates are valid from then and until then.
pub(crate) fn calendar() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |time| time.as_secs())
}

fn run(work: &Mutex<Receiver<Work>>, done: &Sender<WorkDone>) {
    loop {
        // Whoever waits has the lock: the others wait for it.
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(next) = next else { return };
        if done.send(next.run(&mut SystemRandom, calendar())).is_err() {
            return;
        }
    }
}

impl Pool {
    /// Starts the threads.
    pub fn start(threads: usize) -> Result<Self, Error> {
        let (work, receiver) = channel();
        let (sender, done) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let start = |number| {
            let (work, done) = (receiver.clone(), sender.clone());
            let builder = std::thread::Builder::new().name(format!("ike-{number}"));
            builder
                .spawn(move || run(&work, &done))
                .map_err(|error| Error::Io {
                    what: "thread for key exchanges".into(),
                    error,
                })
        };
        let threads = (0..threads.max(1)).map(start).collect::<Result<_, _>>()?;
        Ok(Pool {
            work: Some(work),
            done,
            next: None,
            threads,
            outstanding: 0,
            moved: Instant::now(),
        })
    }

    /// Has something computed.
    pub fn submit(&mut self, work: Work) {
        if let Some(sender) = &self.work {
            // The threads end only with this end of the channel.
            if sender.send(work).is_ok() {
                if self.outstanding == 0 {
                    self.moved = Instant::now();
                }
                self.outstanding += 1;
            }
        }
    }

    /// What is computed.
    pub fn poll(&mut self) -> Option<WorkDone> {
        let done = self.next.take().or_else(|| self.done.try_recv().ok())?;
        self.outstanding -= 1;
        self.moved = Instant::now();
        Some(done)
    }

    /// Waits until something is computed, so long at the most; not at all if nothing is under way.
    pub fn wait(&mut self, longest: Duration) {
        if self.is_busy() && self.next.is_none() {
            self.next = self.done.recv_timeout(longest).ok();
        }
    }

    /// True if nothing has been computed for much longer than anything takes.
    pub fn is_stuck(&self) -> bool {
        self.is_busy() && self.moved.elapsed() > STUCK
    }

    /// Number of threads.
    pub fn size(&self) -> usize {
        self.threads.len()
    }

    /// Leaves the threads to themselves.
    pub fn abandon(mut self) {
        self.threads.clear();
    }

    /// True while something is being computed.
    pub fn is_busy(&self) -> bool {
        self.outstanding != 0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            // It can only end.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_does_not_end_is_stuck() {
        let mut pool = Pool::start(2).unwrap();
        let long_ago = Instant::now().checked_sub(2 * STUCK).unwrap();
        pool.moved = long_ago;
        assert!(!pool.is_stuck(), "there is nothing to do");
        pool.outstanding = 1;
        assert!(pool.is_stuck());
        pool.moved = Instant::now();
        assert!(!pool.is_stuck());
        // Threads that never end do not hold up whoever leaves them.
        pool.threads.push(std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(3600))
        }));
        assert_eq!(pool.size(), 3);
        pool.abandon();
    }
}
