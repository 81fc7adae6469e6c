//! The process's one DPDK.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpdk_sys as sys;

use crate::error::{Errno, Error, c_string};

/// The environment abstraction layer: DPDK itself, for as long as this lives.
///
/// Stays on the thread that started it (see `Drop`). That thread becomes the main lcore and is pinned to
/// its core; threads it creates afterwards inherit the pinning until they choose a core themselves.
#[derive(Debug)]
pub struct Eal {
    _not_send: PhantomData<*const ()>,
}

/// What must be gone before the EAL may be cleaned up: everything that reaches DPDK holds one of these.
#[derive(Debug, Default)]
pub(crate) struct Runtime {
    state: Mutex<State>,
}

/// DPDK's own lists of devices and pools are not for concurrent changes, so the lock is also held over those.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) pools: Vec<Pool>,
    pub(crate) open_ports: Vec<u16>,
    pub(crate) open_crypto: Vec<u8>,
}

/// A pool that exists, and how many buffers it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) raw: NonNull<sys::rte_mempool>,
    pub(crate) count: u32,
}

// SAFETY: a mempool may be used from any thread; DPDK's mempools are multi-producer and multi-consumer.
unsafe impl Send for Pool {}
// SAFETY: as above, every function that takes the pool is safe to call concurrently.
unsafe impl Sync for Pool {}

impl Pool {
    /// Buffers that lie in the pool or in its per-thread caches.
    pub(crate) fn available(self) -> u32 {
        // SAFETY: pools live until the EAL is cleaned up, which needs all handles to be gone.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }
}

static RUNTIME: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds these locks; and their data would still be right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runtime {
    pub(crate) fn current() -> Result<Arc<Runtime>, Error> {
        lock(&RUNTIME).clone().ok_or(Error::NotInitialized)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Eal {
    /// Starts DPDK. `args` are the EAL's, without the program's name.
    pub fn init<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Result<Eal, Error> {
        let mut argv = vec![c_string("portcullis")?.into_raw()];
        for arg in args {
            argv.push(c_string(arg.as_ref())?.into_raw());
        }
        let argc = argv.len() as c_int;
        let mut runtime = lock(&RUNTIME);
        // SAFETY: argv holds argc writable C strings. The EAL may permute them, and getopt's globals go on
        // pointing into them: neither they nor the vector are ever freed.
        let code = unsafe { sys::rte_eal_init(argc, argv.leak().as_mut_ptr()) };
        if code < 0 {
            return Err(match Errno::last() {
                Errno::EALREADY => Error::AlreadyInitialized,
                errno => Error::Call {
                    call: "rte_eal_init",
                    errno,
                },
            });
        }
        *runtime = Some(Arc::default());
        Ok(Eal {
            _not_send: PhantomData,
        })
    }
}

impl Drop for Eal {
    /// Gives everything back, if nothing is in use any more.
    ///
    /// A buffer that another thread is just giving back might be counted before that thread lets go of the
    /// pool. That cannot be: a thread with a pool cache holds a `Runtime` (`thread::Registration`), except
    /// for the main lcore, which is the thread that is here now (`Eal` is not `Send`); and all others give
    /// back to the pool's ring, where a buffer counts only after the last access.
    fn drop(&mut self) {
        let Some(runtime) = lock(&RUNTIME).take().and_then(Arc::into_inner) else {
            return;
        };
        if runtime
            .state()
            .pools
            .iter()
            .all(|pool| pool.available() == pool.count)
        {
            // SAFETY: no port, pool handle, registered thread or mbuf is left, and `RUNTIME` is empty, so
            // nothing calls into DPDK after this. It runs once: only a successful `init` makes an `Eal`.
            unsafe { sys::rte_eal_cleanup() };
        }
    }
}
