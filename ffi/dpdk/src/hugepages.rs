//! Is there memory in huge pages?

use std::fs;

/// Bytes in free huge pages of all sizes. If that is less than the pools need, start the EAL with
/// `--no-huge` and `-m MEGABYTES`.
pub fn free_hugepage_bytes() -> u64 {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .flatten();
    sizes
        .filter_map(|size| {
            let name = size.file_name().into_string().ok()?;
            let kilobytes: u64 = name
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            let free: u64 = fs::read_to_string(size.path().join("free_hugepages"))
                .ok()?
                .trim()
                .parse()
                .ok()?;
            Some(free * kilobytes * 1024)
        })
        .sum()
}
