//! Memory as a large policy wants it: places for what each SA has, close together; an allocator that takes a policy as fast
//! as the one before left; and what is free goes back to the system once it is read.

#[cfg(target_os = "linux")]
mod pages;
#[cfg(target_os = "linux")]
mod pool;

#[cfg(target_os = "linux")]
pub use pool::Heap;

/// Bytes of what lies in pages of its own.
const LARGE: usize = 4 << 20;

/// Has small pieces that are freed joined at once with those beside them. Else the allocator saves them up and joins
/// all, which may be a million, again and again whenever something larger is asked for. And what is larger than a few
/// pages, but not so large that `pool` sees to it, stays beside the small pieces. Call it before other threads begin.
pub fn join_at_once() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;
        /// The largest piece that is saved up (mallopt(3)).
        const M_MXFAST: c_int = 1;
        /// What is as large comes from the system and goes back to it.
        const M_MMAP_THRESHOLD: c_int = -3;
        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        // SAFETY: the C library's function takes any values, and refuses those that it does not know.
        unsafe {
            mallopt(M_MXFAST, 0);
            mallopt(M_MMAP_THRESHOLD, LARGE as c_int);
        }
    }
}

/// Gives back whole pages that nothing uses. Takes milliseconds for a large heap.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> c_int;
        }
        // SAFETY: the C library's function may be called at any time from any thread; it touches free memory only.
        unsafe { malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    /// Resident bytes of this process.
    #[cfg(target_env = "gnu")]
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn freed_memory_leaves_the_process() {
        // One in a hundred stays, so that no end of the heap is free.
        let mut boxes: Vec<Option<Box<[u8; 1024]>>> =
            (0..50_000).map(|_| Some(Box::new([1; 1024]))).collect();
        let stays = |n: &usize| n % 100 == 0;
        boxes.iter_mut().enumerate().for_each(|(n, b)| {
            if !stays(&n) {
                *b = None;
            }
        });
        let before = resident();
        super::trim();
        let after = resident();
        assert!(after + (20 << 20) < before, "{before} bytes, then {after}");
        assert_eq!(boxes.iter().flatten().count(), 500);
    }
}
