//! Sessions: keys in the device's form.

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpdk_sys as sys;

use super::transform::{Form, Transform};
use super::{Pool, Started, supports};
use crate::error::Error;

/// The memory of a device's sessions.
#[derive(Debug)]
pub(super) struct SessionPool {
    pool: Pool,
    /// Held while a session is made or unmade: what is given back is wiped before anybody else takes it.
    lock: Mutex<()>,
}

impl SessionPool {
    pub(super) fn new(pool: Pool) -> Self {
        SessionPool {
            pool,
            lock: Mutex::new(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds these locks; and their data would still be right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the sessions of a started device.
#[derive(Debug)]
pub struct Sessions {
    started: Arc<Started>,
    abandoned: Arc<Mutex<Vec<Arc<Inner>>>>,
}

/// Keys and algorithms that the device knows. Whoever drops it waits for nothing: it leaves the device, and its keys
/// are wiped, when its last packet is back and [`Sessions::sweep`] or another session's creation comes by.
pub struct Session {
    inner: Option<Arc<Inner>>,
    abandoned: Arc<Mutex<Vec<Arc<Inner>>>>,
}

/// What packets in the device hold on to.
pub(super) struct Inner {
    pub(super) raw: NonNull<std::ffi::c_void>,
    pub(super) form: Form,
    /// The only queue that may use it: drivers may keep state in it that is not for two threads.
    pub(super) queue: u16,
    pub(super) started: Arc<Started>,
}

// SAFETY: the pointer is used in calls of the one queue it belongs to, and in one call that frees it when all others
// are over.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let sessions = &self.started.sessions;
        let _nobody_else = lock(&sessions.lock);
        // SAFETY: the session is one of this device and pool, and no packet holds it. Nobody takes from the pool
        // while the lock is held.
        unsafe {
            sys::shim_crypto_session_free(
                self.started.device.id,
                self.raw.as_ptr(),
                sessions.pool.0,
            )
        };
    }
}

impl Session {
    /// Only an owner that is being dropped has none.
    pub(super) fn inner(&self) -> Option<&Arc<Inner>> {
        self.inner.as_ref()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        // Nobody but packets can hold it, and there will be no more of those: the last one to go must not be one.
        if Arc::strong_count(&inner) > 1 {
            lock(&self.abandoned).push(inner);
        }
    }
}

impl Sessions {
    pub(super) fn new(started: Arc<Started>) -> Self {
        Sessions {
            started,
            abandoned: Arc::default(),
        }
    }

    /// True if the device says that it can do this, with keys and digest of these lengths.
    pub fn supports(&self, transform: &Transform<'_>) -> bool {
        supports(self.started.device.id, transform)
    }

    /// Queues of the device.
    pub fn queues(&self) -> u16 {
        self.started.ops.len() as u16
    }

    /// Makes a session for packets of one queue. The keys are copied into the device's memory.
    pub fn create(&self, queue: u16, transform: &Transform<'_>) -> Result<Session, Error> {
        self.sweep();
        let call = "rte_cryptodev_sym_session_create";
        if queue >= self.queues() || !self.supports(transform) {
            return Err(Error::unsupported(call));
        }
        let raw = transform.raw().ok_or(Error::unsupported(call))?;
        let sessions = &self.started.sessions;
        let nobody_else = lock(&sessions.lock);
        // SAFETY: the device is started, the description and its keys live during the call.
        let session = unsafe {
            sys::shim_crypto_session_create(self.started.device.id, &raw, sessions.pool.0)
        };
        drop(nobody_else);
        let inner = Inner {
            raw: NonNull::new(session).ok_or_else(|| Error::last(call))?,
            form: transform.form(),
            queue,
            started: self.started.clone(),
        };
        Ok(Session {
            inner: Some(Arc::new(inner)),
            abandoned: self.abandoned.clone(),
        })
    }

    /// Ends the dropped sessions whose last packets are back, and says how many still wait.
    pub fn sweep(&self) -> usize {
        let mut abandoned = lock(&self.abandoned);
        abandoned.retain(|inner| Arc::strong_count(inner) > 1);
        abandoned.len()
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.sweep();
    }
}
