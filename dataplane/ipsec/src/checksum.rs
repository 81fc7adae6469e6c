//! The Internet checksum (RFC 1071).

use crate::ip::Address;

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

/// The checksum `field` after one of the 16 bit words it covers changed from `old` to `new` (RFC 1624 eqn. 3).
#[inline]
pub fn update(field: [u8; 2], old: u16, new: u16) -> [u8; 2] {
    let sum = u32::from(!u16::from_be_bytes(field)) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}

/// Running sum of the IPv6 pseudo-header (RFC 8200 8.1) for a payload of `len` bytes.
pub fn pseudo_header(source: Address, destination: Address, len: usize, protocol: u8) -> u64 {
    let addresses = sum(sum(0, &source.v6_bytes()), &destination.v6_bytes());
    addresses + len as u64 + u64::from(protocol)
}
