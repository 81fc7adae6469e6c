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

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the first `lines` cache lines of `place`, or as many as it has.
#[inline(always)]
pub fn front<T>(place: &T, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(place).cast::<i8>();
        for line in 0..(size_of::<T>() / LINE).clamp(1, lines.max(1)) {
            // SAFETY: as in `soon`; the address is only computed.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line * LINE)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (place, lines);
}
