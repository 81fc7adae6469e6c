//! Crypto devices: they take packets, work on them beside the CPU or on it, and give them back later.
//!
//! Who owns what:
//! - [`CryptoDevice`] is a device that nobody else has opened. [`CryptoDevice::start`] makes it [`Sessions`] (control)
//!   and [`CryptoQueue`]s (packets), which keep it open.
//! - A [`Session`] belongs to one queue. While packets under it are in the device it stays there, whoever drops it.
//! - A packet in the device belongs to its queue, which gives it back with whatever its owner attached to it.

mod queue;
mod session;
mod transform;

use std::ffi::CStr;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::Runtime;
use crate::error::{Error, c_string};

pub use queue::{CryptoQueue, Done, Job};
pub use session::{Session, Sessions};
pub use transform::{Aead, Algorithm, Auth, Cipher, Layout, Transform};

use session::SessionPool;

/// A crypto device that nobody else has opened.
#[derive(Debug)]
pub struct CryptoDevice {
    open: Opened,
}

/// The device of this number is ours.
#[derive(Debug)]
struct Opened {
    id: u8,
    runtime: Arc<Runtime>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut state = self.runtime.state();
        state.open_crypto.retain(|id| *id != self.id);
    }
}

/// How a device is started.
#[derive(Clone, Copy, Debug)]
pub struct CryptoConfig {
    /// Queues.
    pub queues: u16,
    /// Packets that each queue may hold at once.
    pub depth: u32,
    /// Sessions that there may be at once.
    pub sessions: u32,
}

/// A started device, closed when the last part of it is gone.
#[derive(Debug)]
struct Started {
    ops: Vec<Pool>,
    sessions: SessionPool,
    device: Opened,
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: no queue and no session is left: each holds this. So nothing is in the device.
        unsafe { sys::shim_crypto_close(self.device.id) };
        // Now the pools go, and then the number is free.
    }
}

/// A pool of operations or sessions, all of which have come back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pool(pub(crate) *mut sys::rte_mempool);

// SAFETY: mempools are multi-producer and multi-consumer.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the device is closed, and its queues and sessions are gone: nobody has the pool or parts of it.
        unsafe { sys::rte_mempool_free(self.0) };
    }
}

impl Pool {
    pub(crate) fn new(call: &'static str, raw: *mut sys::rte_mempool) -> Result<Pool, Error> {
        match raw.is_null() {
            true => Err(Error::last(call)),
            false => Ok(Pool(raw)),
        }
    }
}

/// A C string of DPDK's, or nothing.
///
/// # Safety
/// `text` is null or a C string that lives during the call.
unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

impl CryptoDevice {
    /// Names of all crypto devices that the EAL knows.
    pub fn names() -> Result<Vec<String>, Error> {
        let runtime = Runtime::current()?;
        let _state = runtime.state();
        // SAFETY: the EAL runs. A name is a C string in the device's own memory, or null.
        let names = (0..=u8::MAX).map(|id| unsafe { text(sys::shim_crypto_name(id)) });
        Ok(names.filter(|name| !name.is_empty()).collect())
    }

    /// Opens the device of this name.
    pub fn open(name: &str) -> Result<CryptoDevice, Error> {
        let runtime = Runtime::current()?;
        let c_name = c_string(name)?;
        let mut state = runtime.state();
        // SAFETY: the EAL runs, and the name is a C string.
        let id = unsafe { sys::shim_crypto_id(c_name.as_ptr()) };
        let id = u8::try_from(id).map_err(|_| Error::NoSuchDevice(name.to_owned()))?;
        if state.open_crypto.contains(&id) {
            return Err(Error::InUse(name.to_owned()));
        }
        state.open_crypto.push(id);
        drop(state);
        Ok(CryptoDevice {
            open: Opened { id, runtime },
        })
    }

    /// Its driver's name.
    pub fn driver(&self) -> String {
        // SAFETY: the device exists as long as it is ours, and the name is constant.
        unsafe { text(sys::shim_crypto_driver(self.open.id)) }
    }

    /// Queues that it can have.
    pub fn max_queues(&self) -> u16 {
        // SAFETY: the device exists as long as it is ours.
        let queues = unsafe { sys::shim_crypto_max_queues(self.open.id) };
        queues.min(u16::MAX.into()) as u16
    }

    /// True if it says that it can do this, with keys and digest of these lengths.
    pub fn supports(&self, transform: &Transform<'_>) -> bool {
        supports(self.open.id, transform)
    }

    /// Starts it. `T` is what travels with a packet.
    pub fn start<T>(self, config: &CryptoConfig) -> Result<(Sessions, Vec<CryptoQueue<T>>), Error> {
        let max = self.max_queues();
        if config.queues == 0 || config.queues > max {
            return Err(Error::Queues {
                device: self.driver(),
                direction: "crypto",
                asked: config.queues,
                max,
            });
        }
        let id = self.open.id;
        let state = self.open.runtime.state();
        let name = c_string(&format!("crypto-sessions-{id}"))?;
        // SAFETY: the EAL runs, the device is ours, the name is copied.
        let raw = unsafe { sys::shim_crypto_session_pool(name.as_ptr(), id, config.sessions) };
        let sessions = Pool::new("rte_cryptodev_sym_session_pool_create", raw)?;
        let mut ops = Vec::new();
        for queue in 0..config.queues {
            let name = c_string(&format!("crypto-ops-{id}-{queue}"))?;
            // SAFETY: as above.
            let raw = unsafe { sys::shim_crypto_op_pool(name.as_ptr(), config.depth) };
            ops.push(Pool::new("rte_crypto_op_pool_create", raw)?);
        }
        // Software devices have rings, whose sizes are powers of two.
        let descriptors = config.depth.next_power_of_two();
        // SAFETY: the device is ours and not started; it keeps the pool, which lives until it is closed.
        let code = unsafe { sys::shim_crypto_start(id, config.queues, descriptors, sessions.0) };
        drop(state);
        let started = Arc::new(Started {
            ops,
            sessions: SessionPool::new(sessions),
            device: self.open,
        });
        Error::check("rte_cryptodev_start", code)?;
        let queues = (0..config.queues)
            .map(|queue| CryptoQueue::new(started.clone(), queue, config.depth))
            .collect();
        Ok((Sessions::new(started), queues))
    }
}

fn supports(id: u8, transform: &Transform<'_>) -> bool {
    let Some(raw) = transform.raw() else {
        return false;
    };
    // SAFETY: the device exists, and its capabilities are constant.
    unsafe { sys::shim_crypto_supports(id, &raw) == 1 }
}
