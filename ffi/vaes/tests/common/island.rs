//! Memory whose end and beginning a test may not pass.

use std::{ptr, slice};

/// Two pages with none on either side.
pub(crate) struct Island {
    start: *mut u8,
    page: usize,
}

impl Island {
    pub(crate) fn new() -> Self {
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let (protection, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping where there is none.
        let map = unsafe { libc::mmap(ptr::null_mut(), 4 * page, protection, flags, -1, 0) };
        assert_ne!(map, libc::MAP_FAILED);
        // SAFETY: the second page of the four that were mapped.
        let start = unsafe { map.cast::<u8>().add(page) };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: two pages of the mapping that nobody refers to yet.
        assert_eq!(unsafe { libc::mprotect(start.cast(), 2 * page, access) }, 0);
        Island { start, page }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: two pages that are mapped and accessible while `self` lives, borrowed as `self` is.
        unsafe { slice::from_raw_parts_mut(self.start, 2 * self.page) }
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, to which there are no more references.
        unsafe { libc::munmap(self.start.sub(self.page).cast(), 4 * self.page) };
    }
}
