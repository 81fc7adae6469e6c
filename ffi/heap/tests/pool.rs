//! The allocator under a test program of its own: every place is there once, keeps what is written to it, and goes back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashMap;

use heap::Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// splitmix64.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)) as usize
}

#[test]
fn places_are_used_once_and_keep_what_they_hold() {
    let threads = (0..4u64).map(|thread| {
        std::thread::spawn(move || {
            let (mut dice, mut held) = (thread, HashMap::new());
            for round in 0..20_000u64 {
                let size = [64, 100, 448, 640, 1408, 4096, 4097, 100_000][random(&mut dice) % 8];
                let layout = Layout::from_size_align(size, 64).unwrap();
                let key = random(&mut dice) % 500;
                if let Some((place, layout, byte)) = held.remove(&key) {
                    let place: *mut u8 = place;
                    let layout: Layout = layout;
                    // SAFETY: it is from below, with this layout, and held once.
                    unsafe {
                        let bytes = std::slice::from_raw_parts(place, layout.size());
                        assert!(bytes.iter().all(|b| *b == byte));
                        HEAP.dealloc(place, layout);
                    }
                    continue;
                }
                let byte = round as u8;
                // SAFETY: the layout is not empty, and what it gives has room for so much.
                let place = unsafe {
                    let place = HEAP.alloc(layout);
                    assert!(!place.is_null() && place.addr() % 64 == 0);
                    place.write_bytes(byte, layout.size());
                    place
                };
                held.insert(key, (place, layout, byte));
            }
            for (place, layout, _) in held.into_values() {
                // SAFETY: as above.
                unsafe { HEAP.dealloc(place, layout) };
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_place_moves_with_what_it_holds() {
    let layout = |size| Layout::from_size_align(size, 64).unwrap();
    let sizes = [64, 640, 4096, 5000, 3_000_000, 5_000_000, 4096, 1408, 64];
    // SAFETY: each place has the layout of its step, and is given back once.
    unsafe {
        let mut place = HEAP.alloc_zeroed(layout(sizes[0]));
        assert_eq!(place.read(), 0);
        place.write(7);
        for pair in sizes.windows(2) {
            place = HEAP.realloc(place, layout(pair[0]), pair[1]);
            assert_eq!(place.read(), 7, "{pair:?}");
            place.add(pair[1] - 1).write(9);
        }
        HEAP.dealloc(place, layout(sizes[sizes.len() - 1]));
    }
}
