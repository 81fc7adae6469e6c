//! The library's jobs, many at a time: its synchronous bursts of one algorithm, and its queue for all others.
//!
//! Whatever way is taken, no job is left in the library when a call returns. Jobs are named by a set of indices
//! below [`BURST`], as bits of a word.

use std::ptr::{self, NonNull};

use crate::sys;

/// How many jobs the library gets at once at most.
pub(crate) const BURST: usize = 64;
/// The longest message that every algorithm of the library takes: its lanes count bytes in 16 bits.
pub(crate) const LONGEST: usize = (1 << 16) - 2;

/// Makes the set of the members of `jobs` for which `is_member` holds.
pub(crate) fn members<J>(jobs: &[J], is_member: impl Fn(&J) -> bool) -> u64 {
    let bit = |(index, job): (usize, &J)| u64::from(is_member(job)) << index;
    jobs.iter().take(BURST).enumerate().map(bit).sum()
}

fn indices(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (index < BURST).then_some(index)
    })
}

/// Runs jobs in one manager.
pub(crate) struct Runner {
    manager: NonNull<sys::IMB_MGR>,
    /// Jobs of the running burst. Between calls their pointers mean nothing.
    jobs: Box<[sys::IMB_JOB]>,
}

impl Runner {
    /// For a manager that outlives the runner.
    pub(crate) fn new(manager: NonNull<sys::IMB_MGR>) -> Self {
        let jobs = (0..BURST).map(|_| sys::IMB_JOB::default()).collect();
        Runner { manager, jobs }
    }

    fn functions(&self) -> &sys::IMB_MGR {
        // SAFETY: the manager lives, and nobody writes to it while this reference is used: every function that
        // does is called by `&mut self`.
        unsafe { self.manager.as_ref() }
    }

    /// Fills the jobs of a set one behind the other and says how many there are.
    fn fill(&mut self, set: u64, fill: impl Fn(usize, &mut sys::IMB_JOB)) -> u32 {
        let places = indices(set).zip(self.jobs.iter_mut());
        places.for_each(|(index, job)| fill(index, job));
        set.count_ones()
    }

    /// Ciphers each job of `set` and returns those that are done.
    ///
    /// # Safety
    ///
    /// `fill` makes each job one of this cipher, direction and key size, whose pointers are valid until this
    /// returns for what the library reads and writes there.
    pub(crate) unsafe fn cipher_burst(
        &mut self,
        (cipher, direction, key_size): (sys::IMB_CIPHER_MODE, sys::IMB_CIPHER_DIRECTION, u32),
        set: u64,
        fill: impl Fn(usize, &mut sys::IMB_JOB),
    ) -> u64 {
        let Some(burst) = self.functions().submit_cipher_burst_nocheck else {
            return 0;
        };
        let count = self.fill(set, fill);
        let (manager, jobs) = (self.manager.as_ptr(), self.jobs.as_mut_ptr());
        // SAFETY: there are `count` jobs, which the caller vouches for; the call works them off before it returns.
        let done = unsafe { burst(manager, jobs, count, cipher, direction, key_size) };
        if done == count { set } else { 0 }
    }

    /// Hashes each job of `set` and returns those that are done.
    ///
    /// # Safety
    ///
    /// `fill` makes each job one of this algorithm, whose pointers are valid until this returns for what the
    /// library reads and writes there.
    pub(crate) unsafe fn hash_burst(
        &mut self,
        hash: sys::IMB_HASH_ALG,
        set: u64,
        fill: impl Fn(usize, &mut sys::IMB_JOB),
    ) -> u64 {
        let Some(burst) = self.functions().submit_hash_burst_nocheck else {
            return 0;
        };
        let count = self.fill(set, fill);
        let (manager, jobs) = (self.manager.as_ptr(), self.jobs.as_mut_ptr());
        // SAFETY: there are `count` jobs, which the caller vouches for; the call works them off before it returns.
        let done = unsafe { burst(manager, jobs, count, hash) };
        if done == count { set } else { 0 }
    }

    /// Runs each job of `set` through the queue, flushes it, and returns those that are done.
    ///
    /// # Safety
    ///
    /// `fill` completes a job that is all zeros, so that its pointers are valid until this returns for what the
    /// library reads and writes there.
    pub(crate) unsafe fn queue(
        &mut self,
        set: u64,
        fill: impl Fn(usize, &mut sys::IMB_JOB),
    ) -> u64 {
        let functions = self.functions();
        let (Some(next), Some(submit), Some(completed), Some(flush)) = (
            functions.get_next_job,
            functions.submit_job_nocheck,
            functions.get_completed_job,
            functions.flush_job,
        ) else {
            return 0;
        };
        let manager = self.manager.as_ptr();
        let mut done = 0;
        for index in indices(set) {
            // SAFETY: the manager is initialized. The job is a place in its own ring that is the caller's until
            // it is submitted; the ring has room, since no more than `BURST` jobs are in it.
            let job = unsafe { &mut *next(manager) };
            *job = sys::IMB_JOB::default();
            fill(index, job);
            job.user_data = ptr::without_provenance_mut(index);
            // SAFETY: the job is the one that the manager gave out last, and the caller vouches for it.
            let mut finished = unsafe { submit(manager) };
            while let Some(job) = NonNull::new(finished) {
                done |= outcome(job);
                // SAFETY: the manager is initialized.
                finished = unsafe { completed(manager) };
            }
        }
        // SAFETY: the manager is initialized. Null says that no job is left in it.
        while let Some(job) = NonNull::new(unsafe { flush(manager) }) {
            done |= outcome(job);
        }
        done
    }
}

/// The index of a job that the library gave back, as a set, if it did what was asked.
fn outcome(job: NonNull<sys::IMB_JOB>) -> u64 {
    // SAFETY: a job that the library gave back stays valid until the next one is taken from its ring.
    let job = unsafe { job.as_ref() };
    match job.status == sys::IMB_STATUS_IMB_STATUS_COMPLETED {
        true => 1 << job.user_data.addr(),
        false => 0,
    }
}
