//! What the allocator takes of the system, in a program of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use heap::Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// Like an SA: on cache lines of its own.
#[repr(align(64))]
struct Line<const N: usize>([u64; N]);

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn places_lie_close_and_go_back() {
    const COUNT: usize = 50_000;
    let before = resident();
    let mut lines: Vec<_> = (0..COUNT)
        .map(|n| Box::new(Line::<176>([n as u64; 176])))
        .collect();
    let with = resident() - before;
    assert!(with < COUNT * 1408 * 21 / 20, "{with} bytes");
    assert!((0u64..).zip(&lines).all(|(n, line)| line.0 == [n; 176]));
    // What is free in between is taken first.
    for n in (0..COUNT).step_by(2) {
        // The old one goes after the new one has come.
        drop(std::mem::replace(&mut lines[n], Box::new(Line([1; 176]))));
    }
    assert!(resident() - before < COUNT * 1408 * 21 / 20 + (2 << 20));
    drop(lines);
    let left = resident().saturating_sub(before);
    assert!(left < 8 << 20, "{left} bytes");
}
