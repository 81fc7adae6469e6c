//! The program's allocator: the system's, but for what each SA has on cache lines of its own (the SA, its key
//! schedule). There may be a million of them, and the system's allocator loses time and memory with each: it looks for
//! room, and cuts off what is before and behind a line. Here they lie close together in chunks. All but the first chunk
//! for places of a size are one huge page each, if the system has them: packets for many SAs at random need as many
//! translations of addresses as lines, and a table of huge pages is short enough to stay in the CPU's caches. The same
//! is asked for what is large, such as tables of flows.
//!
//! A chunk has places of one size and goes back to the system with its last one, unless no other has room: an SA that
//! comes and goes by itself costs no mapping each time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::LARGE;
use super::pages;

/// Bytes of a chunk, and its alignment.
const CHUNK: usize = pages::HUGE;
/// A cache line: what asks for this alignment gets its place in a chunk.
const LINE: usize = 64;
/// The largest place.
const LARGEST: usize = 4096;

/// A place that was given back.
struct Free(*mut Free);

/// What is at the beginning of each chunk.
#[repr(C, align(64))]
struct Chunk {
    /// Its neighbours in the list of chunks with room.
    next: *mut Chunk,
    previous: *mut Chunk,
    /// Places that were given back.
    free: *mut Free,
    /// Bytes up to the places that have never been used.
    fresh: usize,
    /// Places in use.
    used: usize,
}

const _: () = assert!(size_of::<Chunk>() == LINE);

/// Chunks with places of one size.
struct Class {
    /// The first one with room.
    first: *mut Chunk,
    /// Chunks with and without room.
    chunks: usize,
}

// SAFETY: what it points to belongs to it alone, whichever thread looks.
unsafe impl Send for Class {}

impl Class {
    const EMPTY: Class = Class {
        first: ptr::null_mut(),
        chunks: 0,
    };

    /// A place of `size` bytes; null if the system has none.
    ///
    /// # Safety
    /// `size` is this class's.
    unsafe fn take(&mut self, size: usize) -> *mut u8 {
        if self.first.is_null() {
            let chunk = map(self.chunks > 0);
            if chunk.is_null() {
                return ptr::null_mut();
            }
            self.chunks += 1;
            // SAFETY: the chunk is new, and large and aligned enough for what begins it.
            unsafe { self.link(chunk) };
        }
        let chunk = self.first;
        // SAFETY: chunks of the list are mapped and begin with what `map` and `link` wrote; only who holds the class's
        // lock looks at it. Free places lie in the chunk and hold a `Free`; what is fresh ends within it.
        unsafe {
            let free = (*chunk).free;
            let place = if free.is_null() {
                let place = chunk.cast::<u8>().add((*chunk).fresh);
                (*chunk).fresh += size;
                place
            } else {
                (*chunk).free = (*free).0;
                free.cast()
            };
            (*chunk).used += 1;
            if !has_room(chunk, size) {
                self.unlink(chunk);
            }
            place
        }
    }

    /// Takes a place back.
    ///
    /// # Safety
    /// `size` is this class's, and the place is from `take` and not in use any more.
    unsafe fn give_back(&mut self, place: *mut u8, size: usize) {
        let chunk = place.wrapping_sub(place.addr() % CHUNK).cast::<Chunk>();
        // SAFETY: chunks are aligned to their size, so this is the place's one, mapped as long as it has a place in use;
        // the place has room for a `Free`, and nobody else has it.
        unsafe {
            let was_full = !has_room(chunk, size);
            let free = place.cast::<Free>();
            free.write(Free((*chunk).free));
            (*chunk).free = free;
            (*chunk).used -= 1;
            if was_full {
                self.link(chunk);
            }
            // The only one with room stays for what comes next.
            let only = self.first == chunk && (*chunk).next.is_null();
            if (*chunk).used == 0 && !only {
                self.unlink(chunk);
                self.chunks -= 1;
                pages::unmap(chunk.cast(), CHUNK);
            }
        }
    }

    /// # Safety
    /// The chunk is mapped and in no list.
    unsafe fn link(&mut self, chunk: *mut Chunk) {
        // SAFETY: as the caller says; those of the list are mapped.
        unsafe {
            (*chunk).next = self.first;
            (*chunk).previous = ptr::null_mut();
            if let Some(first) = self.first.as_mut() {
                first.previous = chunk;
            }
        }
        self.first = chunk;
    }

    /// # Safety
    /// The chunk is in this list.
    unsafe fn unlink(&mut self, chunk: *mut Chunk) {
        // SAFETY: as the caller says: it and its neighbours are mapped.
        unsafe {
            let (next, previous) = ((*chunk).next, (*chunk).previous);
            match previous.as_mut() {
                Some(previous) => previous.next = next,
                None => self.first = next,
            }
            if let Some(next) = next.as_mut() {
                next.previous = previous;
            }
        }
    }
}

/// # Safety
/// The chunk is mapped, and has places of `size` bytes.
unsafe fn has_room(chunk: *const Chunk, size: usize) -> bool {
    // SAFETY: as the caller says.
    unsafe { !(*chunk).free.is_null() || (*chunk).fresh + size <= CHUNK }
}

/// A new chunk, with all its pages if `whole` says that it will be filled; or null.
fn map(whole: bool) -> *mut Chunk {
    let place = pages::map(CHUNK);
    if place.is_null() {
        return ptr::null_mut();
    }
    if whole {
        // SAFETY: it has just been mapped.
        unsafe {
            pages::ask_for_huge(place, CHUNK);
            pages::populate(place, CHUNK);
        }
    }
    let chunk = place.cast::<Chunk>();
    // SAFETY: new memory is all zeros, which is a chunk but for `fresh`.
    unsafe { (*chunk).fresh = LINE };
    chunk
}

/// What is large has pages of its own, and these are huge where the system has such.
fn is_large(layout: Layout) -> bool {
    // No page is smaller.
    layout.size() >= LARGE && layout.align() <= 4096
}

/// Zeros for a large layout, or null.
fn map_large(size: usize) -> *mut u8 {
    let place = pages::map(size);
    if !place.is_null() {
        // SAFETY: it has just been mapped.
        unsafe { pages::ask_for_huge(place, size) };
    }
    place
}

static CLASSES: [Mutex<Class>; LARGEST / LINE] =
    [const { Mutex::new(Class::EMPTY) }; LARGEST / LINE];

/// The class of what asks for a place in a chunk, and its size.
fn class(layout: Layout) -> Option<(&'static Mutex<Class>, usize)> {
    if layout.align() != LINE || layout.size() == 0 {
        return None;
    }
    let class = CLASSES.get((layout.size() - 1) / LINE)?;
    Some((class, layout.size().next_multiple_of(LINE)))
}

/// The allocator.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

// SAFETY: a place of a chunk is as large and aligned as its class, and in use once until it is given back, which the same
// layout leads to the same class; so it does what is large to its pages; everything else is the system's allocator's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some((class, size)) => {
                let mut class = class.lock().unwrap_or_else(PoisonError::into_inner);
                // SAFETY: it is the class of this size.
                unsafe { class.take(size) }
            }
            None if is_large(layout) => map_large(layout.size()),
            // SAFETY: the caller's promise.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if class(layout).is_none() && !is_large(layout) {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promise; the place is as large as its layout says. New pages are zeros.
        unsafe {
            let place = self.alloc(layout);
            if !place.is_null() && !is_large(layout) {
                place.write_bytes(0, layout.size());
            }
            place
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        match class(layout) {
            Some((class, size)) => {
                let mut class = class.lock().unwrap_or_else(PoisonError::into_inner);
                // SAFETY: the caller got it for the same layout, so from this class.
                unsafe { class.give_back(place, size) }
            }
            // SAFETY: the caller got it for the same layout, so in pages of its own.
            None if is_large(layout) => unsafe { pages::unmap(place, layout.size()) },
            // SAFETY: the caller's promise, and the system's allocator gave it.
            None => unsafe { System.dealloc(place, layout) },
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size makes a layout.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let is_small = |layout| class(layout).is_none() && !is_large(layout);
        // SAFETY: the caller's promise, and who gave it is told by the layout. In the last case both have room for what
        // is moved, and do not overlap.
        unsafe {
            if is_small(layout) && is_small(new) {
                return System.realloc(place, layout, new_size);
            }
            if is_large(layout) && is_large(new) {
                let moved = pages::resize(place, layout.size(), new_size);
                if !moved.is_null() {
                    return moved;
                }
            }
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(place, moved, layout.size().min(new_size));
                self.dealloc(place, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_keeps_its_bytes_when_it_grows_and_shrinks() {
        let sizes = [
            100,
            LARGE - 1,
            LARGE,
            LARGE + 1,
            3 * LARGE + 12_345,
            30 * LARGE,
            5 * LARGE + 1,
            LARGE,
            LARGE - 1,
            4096,
        ];
        for (first, align) in sizes
            .into_iter()
            .zip([1, 8, 16, 32, 4096, 8192].into_iter().cycle())
        {
            let mut layout = Layout::from_size_align(first, align).unwrap();
            // SAFETY: each layout is that of what is there, and nothing beyond its size is touched.
            unsafe {
                let mut place = Heap.alloc_zeroed(layout);
                assert!((0..first).step_by(997).all(|n| place.add(n).read() == 0));
                place.write(17);
                for size in sizes {
                    place = Heap.realloc(place, layout, size);
                    assert!(!place.is_null());
                    assert_eq!(place.addr() % align, 0);
                    assert_eq!(place.read(), 17);
                    place.add(size - 1).write(18);
                    layout = Layout::from_size_align(size, align).unwrap();
                }
                Heap.dealloc(place, layout);
                let place = Heap.alloc(layout);
                place.write_bytes(1, layout.size());
                Heap.dealloc(place, layout);
            }
        }
    }
}
