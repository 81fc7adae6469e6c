//! A row of what belongs to the packets of a burst. An array of nothing in lieu of the packets that are not there
//! would cost more than a small burst.

use std::mem::MaybeUninit;

/// A power of two.
const CAPACITY: usize = 64;

/// At least one and at most [`CAPACITY`] things. Their destructors do not run.
pub(crate) struct Row<T> {
    /// The first `len` are there.
    items: [MaybeUninit<T>; CAPACITY],
    /// From 1 to `CAPACITY`.
    len: usize,
}

impl<T> Row<T> {
    #[inline]
    pub(crate) fn new(first: T) -> Self {
        let mut items = [const { MaybeUninit::uninit() }; CAPACITY];
        items[0].write(first);
        Row { items, len: 1 }
    }

    /// Adds one behind the others; returns whether there was room.
    #[inline]
    pub(crate) fn push(&mut self, item: T) -> bool {
        let Some(place) = self.items.get_mut(self.len) else {
            return false;
        };
        place.write(item);
        self.len += 1;
        true
    }

    /// The one at this place, or the last one if there are not so many.
    #[inline]
    pub(crate) fn at(&self, place: usize) -> &T {
        // SAFETY: `in_row` returns one of the first `len`, which are written.
        unsafe { self.items[self.in_row(place)].assume_init_ref() }
    }

    /// The one at this place, or the last one if there are not so many.
    #[inline]
    pub(crate) fn at_mut(&mut self, place: usize) -> &mut T {
        let place = self.in_row(place);
        // SAFETY: `in_row` returns one of the first `len`, which are written.
        unsafe { self.items[place].assume_init_mut() }
    }

    /// Without a branch, which would part what is to be computed together.
    #[inline]
    fn in_row(&self, place: usize) -> usize {
        place.min(self.len - 1) % CAPACITY
    }
}
