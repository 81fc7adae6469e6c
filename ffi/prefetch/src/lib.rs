//! Tells the CPU what will be read soon, so that a burst's cache misses overlap.

/// Asks for the cache line in which `place` begins. A hint: it reads nothing and changes nothing.
#[inline(always)]
pub fn soon<T: ?Sized>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 CPU has the instruction, and it never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
