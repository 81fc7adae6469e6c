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

    /// What is at place 0, and behind it what `write` makes of `items`, as many as there is room for. Made where it
    /// stays: it is too large to be handed around.
    #[inline(always)]
    pub(crate) fn fill<I>(
        &mut self,
        items: impl Iterator<Item = I>,
        mut write: impl for<'p> FnMut(&'p mut MaybeUninit<T>, I) -> &'p mut T,
    ) {
        let mut len = 1;
        for (place, item) in self.items[1..].iter_mut().zip(items) {
            write(place, item);
            len += 1;
        }
        self.len = len;
    }

    /// The one at this place, or the last one if there are not so many.
    #[inline]
    pub(crate) fn at(&self, place: usize) -> &T {
        // SAFETY: `in_row` returns one of the first `len`, which are written.
        unsafe { self.items[self.in_row(place)].assume_init_ref() }
    }

    /// Without a branch, which would part what is to be computed together.
    #[inline]
    fn in_row(&self, place: usize) -> usize {
        place.min(self.len - 1) % CAPACITY
    }
}
