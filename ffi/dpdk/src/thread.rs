//! Threads that poll, and the clock they poll by.

use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::Runtime;
use crate::error::Error;

/// This thread is known to DPDK until this is dropped.
#[derive(Debug)]
pub struct Registration {
    _runtime: Arc<Runtime>,
    _not_send: PhantomData<*const ()>,
}

/// Makes this thread known to DPDK, which gives it caches of its own in every pool. Without them each
/// buffer comes from and goes to a ring that all threads share.
///
/// The EAL then refuses secondary processes, which nothing here uses.
pub fn register() -> Result<Registration, Error> {
    let runtime = Runtime::current()?;
    // SAFETY: reads a thread-local integer.
    if unsafe { sys::shim_is_lcore() } != 0 {
        return Err(Error::AlreadyRegistered);
    }
    // SAFETY: the EAL runs, and this thread is not registered: DPDK itself does not check.
    if unsafe { sys::rte_thread_register() } != 0 {
        return Err(Error::last("rte_thread_register"));
    }
    Ok(Registration {
        _runtime: runtime,
        _not_send: PhantomData,
    })
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: this very thread was registered, as a `Registration` cannot leave its thread.
        unsafe { sys::rte_thread_unregister() };
    }
}

/// The time stamp counter.
#[inline]
pub fn cycles() -> u64 {
    // SAFETY: reads a register.
    unsafe { sys::shim_cycles() }
}

/// Nanoseconds that this thread has had a CPU. A system call.
pub fn cpu_time() -> u64 {
    // SAFETY: reads a clock into memory of its own.
    unsafe { sys::shim_thread_cpu_ns() }
}

/// Ticks of [`cycles`] in a second, or 0 before the EAL has started.
pub fn cycles_hz() -> u64 {
    // SAFETY: reads a variable that the EAL sets when it starts.
    unsafe { sys::rte_get_tsc_hz() }
}
