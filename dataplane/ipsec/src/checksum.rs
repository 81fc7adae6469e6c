//! The Internet checksum (RFC 1071).

use crate::ip::Address;

/// One's complement of the one's complement sum; 0 over data that contains its own correct checksum.
pub fn checksum(data: &[u8]) -> u16 {
    !fold(sum(0, data))
}

/// True if the checksum in an IPv4 header without options is right.
#[inline(always)]
pub fn is_ipv4_header_sound(header: &[u8; 20]) -> bool {
    // The sum is the same in either byte order (RFC 1071 2 B).
    let word = |at: usize| {
        u64::from(u32::from_ne_bytes([
            header[at],
            header[at + 1],
            header[at + 2],
            header[at + 3],
        ]))
    };
    // 65535 divides the sum, which is not zero, exactly if it folds to that.
    (word(0) + word(4) + word(8) + word(12) + word(16)) % 0xffff == 0 && header[0] != 0
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

/// The checksum `field` of an IPv4 header after its TTL, the high byte of a word, became one less: [`update`] with `!old
/// + new` counted out, which leaves one carry at most.
#[inline]
pub fn less_one_hop(field: [u8; 2]) -> [u8; 2] {
    let sum = u32::from(!u16::from_be_bytes(field)) + 0xfeff;
    (!((sum + (sum >> 16)) as u16)).to_be_bytes()
}

/// Running sum of the IPv6 pseudo-header (RFC 8200 8.1) for a payload of `len` bytes.
pub fn pseudo_header(source: Address, destination: Address, len: usize, protocol: u8) -> u64 {
    let addresses = sum(sum(0, &source.v6_bytes()), &destination.v6_bytes());
    addresses + len as u64 + u64::from(protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1071_section_3() {
        // The RFC's own numerical example.
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(0, &data)), 0xddf2);
        assert_eq!(checksum(&data), !0xddf2);
    }

    /// Word by word, as RFC 1071 1 has it.
    fn plain(data: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in data.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        !(total as u16)
    }

    #[test]
    fn every_length_and_split() {
        let data: Vec<u8> = (0..300u32).map(|i| (i * i * 7 + i) as u8).collect();
        for len in 0..data.len() {
            assert_eq!(checksum(&data[..len]), plain(&data[..len]), "{len}");
            for split in (0..len).step_by(2) {
                let parts = sum(sum(0, &data[..split]), &data[split..len]);
                assert_eq!(!fold(parts), plain(&data[..len]));
            }
        }
        assert_eq!(checksum(&[0xff; 65_535]), plain(&[0xff; 65_535]));
    }

    #[test]
    fn rfc_1624_section_4() {
        // The RFC's example, where the older equation gives 0xffff.
        assert_eq!(update([0xdd, 0x2f], 0x5555, 0x3285), [0x00, 0x00]);
    }

    #[test]
    fn one_hop_less_is_what_an_update_says() {
        for field in 0..=0xffffu16 {
            let field = field.to_be_bytes();
            assert_eq!(less_one_hop(field), update(field, 0x4011, 0x3f11));
        }
    }

    #[test]
    fn an_update_is_what_counting_anew_gives() {
        for old in (0..=0xffffu16).step_by(251) {
            for new in (0..=0xffffu16).step_by(257) {
                let mut data = [0x45, 0x00, 0, 0, 0xff, 0xfe];
                data[2..4].copy_from_slice(&old.to_be_bytes());
                let before = plain(&data).to_be_bytes();
                data[2..4].copy_from_slice(&new.to_be_bytes());
                assert_eq!(update(before, old, new), plain(&data).to_be_bytes());
            }
        }
    }
}
