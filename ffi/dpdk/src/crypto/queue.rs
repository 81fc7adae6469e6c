//! A device's queue pair: packets go in, and come back in the order in which they went in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use super::Started;
use super::session::{Inner, Session};
use super::transform::Layout;
use crate::mbuf::Mbuf;

/// Packets per call into the driver.
const BURST: usize = sys::SHIM_CRYPTO_BURST as usize;
/// How long a queue that is dropped waits for its packets.
const PATIENCE: Duration = Duration::from_secs(1);

/// A packet on its way to the device. Nobody can change it there: its layout was checked against its length.
#[derive(Debug)]
pub struct Job<'a, T> {
    session: &'a Arc<Inner>,
    raw: sys::shim_crypto_job,
    buf: Mbuf,
    context: T,
}

/// A packet that is back.
#[derive(Debug)]
pub struct Done<T> {
    /// The packet.
    pub buf: Mbuf,
    /// What travelled with it.
    pub context: T,
    /// Encrypted, or authentic and decrypted. If not, the packet's content is undefined.
    pub ok: bool,
}

impl<'a, T> Job<'a, T> {
    /// A job under `session`; gives the packet back if it is not as long as the layout says.
    pub fn new(
        session: &'a Session,
        buf: Mbuf,
        layout: &Layout,
        context: T,
    ) -> Result<Self, (Mbuf, T)> {
        let Some(inner) = session.inner() else {
            return Err((buf, context));
        };
        match inner.form.job(layout, buf.len()) {
            Some(raw) => Ok(Job {
                session: inner,
                raw,
                buf,
                context,
            }),
            None => Err((buf, context)),
        }
    }

    /// The packet, and what travels with it.
    pub fn into_parts(self) -> (Mbuf, T) {
        (self.buf, self.context)
    }
}

/// A packet in the device, which reads and writes it: nobody here does meanwhile.
#[derive(Debug)]
struct Flight<T> {
    buf: Mbuf,
    context: T,
    _session: Arc<Inner>,
}

/// One queue pair. It keeps the device open.
#[derive(Debug)]
pub struct CryptoQueue<T> {
    started: Arc<Started>,
    queue: u16,
    /// By the number that the device carries for us.
    flights: Vec<Option<Flight<T>>>,
    /// Free numbers.
    free: Vec<u32>,
}

impl<T> CryptoQueue<T> {
    pub(super) fn new(started: Arc<Started>, queue: u16, depth: u32) -> Self {
        CryptoQueue {
            started,
            queue,
            flights: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
        }
    }

    /// Its number, for which sessions are made.
    pub fn number(&self) -> u16 {
        self.queue
    }

    /// Packets in the device.
    pub fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// Gives the device the first of `jobs`, and returns how many it took. What it has no room for stays in `jobs`,
    /// in order, and so does what is behind a job whose session is another queue's.
    pub fn enqueue<const N: usize>(&mut self, jobs: &mut ArrayVec<Job<'_, T>, N>) -> usize {
        let mut total = 0;
        while !jobs.is_empty() {
            let taken = self.enqueue_burst(jobs);
            total += taken;
            if taken < BURST {
                break;
            }
        }
        total
    }

    fn enqueue_burst<const N: usize>(&mut self, jobs: &mut ArrayVec<Job<'_, T>, N>) -> usize {
        let is_ours = |job: &&mut Job<'_, T>| {
            job.session.queue == self.queue && Arc::ptr_eq(&job.session.started, &self.started)
        };
        let mut raws = ArrayVec::<sys::shim_crypto_job, BURST>::new();
        let numbers = self.free.iter().rev();
        for (job, number) in jobs.iter_mut().take_while(is_ours).take(BURST).zip(numbers) {
            job.raw.cookie = *number;
            job.raw.session = job.session.raw.as_ptr();
            job.raw.buf = job.buf.raw();
            raws.push(job.raw);
        }
        let Some(pool) = self.started.ops.get(usize::from(self.queue)) else {
            return 0;
        };
        // SAFETY: each job's offsets lie in its packet (`Form::job`), which is ours, and each session is of this
        // device and queue. Until its packet is back, a flight keeps packet and session alive and untouched, and the
        // queue, alive, keeps the device. `&mut self` is the only user of this queue pair.
        let taken = unsafe {
            sys::shim_crypto_enqueue(
                self.started.device.id,
                self.queue,
                pool.0,
                raws.as_ptr(),
                raws.len() as u16,
            )
        };
        for job in jobs.drain(..usize::from(taken)) {
            self.free.pop();
            if let Some(place) = self.flights.get_mut(job.raw.cookie as usize) {
                *place = Some(Flight {
                    buf: job.buf,
                    context: job.context,
                    _session: job.session.clone(),
                });
            }
        }
        taken.into()
    }

    /// Appends packets that the device is done with, as many as fit, and returns how many that were.
    pub fn dequeue<const N: usize>(&mut self, done: &mut ArrayVec<Done<T>, N>) -> usize {
        let room = done.remaining_capacity().min(BURST);
        if room == 0 || self.in_flight() == 0 {
            return 0;
        }
        let mut raws = [sys::shim_crypto_done::default(); BURST];
        // SAFETY: there is room for that many. The device runs as long as `self.started` lives, and `&mut self` is
        // the only user of this queue pair.
        let count = unsafe {
            sys::shim_crypto_dequeue(
                self.started.device.id,
                self.queue,
                raws.as_mut_ptr(),
                room as u16,
            )
        };
        for raw in raws.iter().take(count.into()) {
            let flight = self
                .flights
                .get_mut(raw.cookie as usize)
                .and_then(Option::take);
            let Some(Flight { buf, context, .. }) = flight else {
                continue;
            };
            self.free.push(raw.cookie);
            done.push(Done {
                buf,
                context,
                ok: raw.ok != 0,
            });
        }
        count.into()
    }
}

impl<T> Drop for CryptoQueue<T> {
    /// Waits for what is in the device. What does not come back stays there for ever, and the device with it.
    fn drop(&mut self) {
        let start = Instant::now();
        while self.in_flight() != 0 && start.elapsed() < PATIENCE {
            self.dequeue(&mut ArrayVec::<_, BURST>::new());
        }
        for flight in self.flights.drain(..).flatten() {
            std::mem::forget(flight);
        }
    }
}
