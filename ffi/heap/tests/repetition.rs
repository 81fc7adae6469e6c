//! One place that comes and goes, in a program of its own: the system is not asked each time.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use heap::Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// Like an SA: on cache lines of its own.
#[repr(align(64))]
struct Line([u64; 80]);

/// Pages that have come to this process so far (proc_pid_stat(5), `minflt`, the eighth behind the name).
fn faults() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = text.rsplit(") ").next().unwrap();
    behind_name.split(' ').nth(7).unwrap().parse().unwrap()
}

#[test]
fn one_that_comes_and_goes_costs_no_pages() {
    let before = faults();
    for n in 0..1000 {
        assert_eq!(std::hint::black_box(Box::new(Line([n; 80]))).0[79], n);
    }
    let more = faults() - before;
    assert!(more < 100, "{more} pages");
    // The same at the end of a chunk that is full: there are 2 MiB, and a line of the chunk's own.
    let full = ((2 << 20) - 64) / 640;
    let held: Vec<_> = (0..full).map(|n| Box::new(Line([n; 80]))).collect();
    let before = faults();
    for n in 0..1000 {
        assert_eq!(std::hint::black_box(Box::new(Line([n; 80]))).0[79], n);
    }
    let more = faults() - before;
    // The pages of a whole chunk come at once, and only once.
    assert!(more < 600, "{more} pages");
    assert_eq!(held.len() as u64, full);
}
