//! The Internet checksum (RFC 1071).

/// One's complement of the one's complement sum; 0 over data that contains its own correct checksum.
pub fn checksum(data: &[u8]) -> u16 {
    !fold(sum(0, data))
}

/// Adds `data` (padded to even length with zero) to a running sum.
pub fn sum(initial: u64, data: &[u8]) -> u64 {
    let mut chunks = data.chunks_exact(4);
    let mut total = initial;
    for c in &mut chunks {
        total += u64::from(u32::from_be_bytes([c[0], c[1], c[2], c[3]]));
    }
    match *chunks.remainder() {
        [a] => total += u64::from(a) << 24,
        [a, b] => total += u64::from(u16::from_be_bytes([a, b])) << 16,
        [a, b, c] => total += u64::from(u32::from_be_bytes([a, b, c, 0])),
        _ => {}
    }
    total
}

/// Folds a running sum of [`sum`] to 16 bits.
pub fn fold(mut total: u64) -> u16 {
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}
