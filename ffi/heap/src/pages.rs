//! Memory from the system, in whole pages that begin where a huge page may.

use std::ffi::{c_int, c_void};
use std::ptr;

/// Bytes of a huge page of x86-64, and of AArch64 with small pages of 4 KB.
pub(crate) const HUGE: usize = 2 << 20;
/// The largest small page of either.
const SMALL: usize = 64 << 10;

/// Linux's values for x86-64 and AArch64 (mmap(2), mremap(2), madvise(2)).
const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;
const MREMAP_MAYMOVE: c_int = 1;
const MADV_HUGEPAGE: c_int = 14;
const MADV_POPULATE_WRITE: c_int = 23;

unsafe extern "C" {
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn mremap(place: *mut c_void, length: usize, new: usize, flags: c_int, ...) -> *mut c_void;
    fn munmap(address: *mut c_void, length: usize) -> c_int;
    fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
}

/// What the system is asked for, for so many bytes. It has never as many as are not in a layout.
fn whole(size: usize) -> usize {
    size.min(isize::MAX as usize).next_multiple_of(SMALL)
}

/// Zeros of at least `size` bytes, from a multiple of [`HUGE`] on; null if the system has no more.
pub(crate) fn map(size: usize) -> *mut u8 {
    let length = whole(size);
    // SAFETY: maps new memory somewhere; of what is more than was asked for, what is before and behind goes back.
    unsafe {
        let flags = MAP_PRIVATE_ANONYMOUS;
        let all = mmap(
            ptr::null_mut(),
            length + HUGE,
            PROT_READ_WRITE,
            flags,
            -1,
            0,
        );
        if all.addr() == usize::MAX {
            return ptr::null_mut();
        }
        let before = all.addr().next_multiple_of(HUGE) - all.addr();
        let place = all.byte_add(before);
        if before > 0 {
            munmap(all, before);
        }
        if before < HUGE {
            munmap(place.byte_add(length), HUGE - before);
        }
        place.cast()
    }
}

/// Gives back what [`map`] or [`resize`] gave for `size` bytes.
///
/// # Safety
/// It is so, and nobody uses it any more.
pub(crate) unsafe fn unmap(place: *mut u8, size: usize) {
    // SAFETY: as the caller says.
    unsafe { munmap(place.cast(), whole(size)) };
}

/// The same memory for `new` bytes, perhaps elsewhere, where no huge page need begin; null if the system has no more, and
/// then it is as it was.
///
/// # Safety
/// As [`unmap`]'s, if it is not null.
pub(crate) unsafe fn resize(place: *mut u8, size: usize, new: usize) -> *mut u8 {
    // SAFETY: as the caller says.
    let moved = unsafe { mremap(place.cast(), whole(size), whole(new), MREMAP_MAYMOVE) };
    match moved.addr() {
        usize::MAX => ptr::null_mut(),
        _ => moved.cast(),
    }
}

/// Asks for huge pages in so many bytes of memory, as many as have room. All of it, else what was one mapping would be
/// two, which [`resize`] could not move.
///
/// # Safety
/// The memory is the caller's, from [`map`].
pub(crate) unsafe fn ask_for_huge(place: *mut u8, size: usize) {
    // SAFETY: the advice changes nothing but how the caller's memory is mapped.
    unsafe { madvise(place.cast(), whole(size), MADV_HUGEPAGE) };
}

/// Has all pages of so many bytes come now.
///
/// # Safety
/// The memory is the caller's, from [`map`].
pub(crate) unsafe fn populate(place: *mut u8, size: usize) {
    // SAFETY: the advice changes nothing but when pages come; a kernel without it brings them later.
    unsafe { madvise(place.cast(), whole(size), MADV_POPULATE_WRITE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_where_a_huge_page_may() {
        for size in [1, SMALL, HUGE, 5 * HUGE + 1] {
            let place = map(size);
            assert!(!place.is_null());
            assert_eq!(place.addr() % HUGE, 0);
            // SAFETY: from `map`, for so many bytes; the tests write and read within.
            unsafe {
                ask_for_huge(place, size);
                place.write(7);
                place.add(size - 1).write(9);
                let moved = resize(place, size, 3 * size);
                assert!(!moved.is_null());
                moved.add(3 * size - 1).write(11);
                let moved = resize(moved, 3 * size, size);
                assert_eq!(moved.add(size - 1).read(), 9);
                unmap(moved, size);
            }
        }
        assert!(map(!0).is_null());
        assert!(map(isize::MAX as usize).is_null());
    }
}
