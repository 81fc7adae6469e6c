//! A message in several pieces as a run of 16 byte blocks.

use aes::cipher::Array;

use super::aes::AesBlock;

/// Hands the blocks of the concatenated `parts` to `each`, all but the last, which may be partial, and
/// returns that one, filled up with zeros, and how many of its bytes are message: none only if there are none.
pub(super) fn absorb(parts: &[&[u8]], mut each: impl FnMut(&[AesBlock])) -> (AesBlock, usize) {
    let mut last = AesBlock::default();
    let mut filled = 0;
    for part in parts {
        let (head, rest) = part.split_at(part.len().min(last.len() - filled));
        last[filled..filled + head.len()].copy_from_slice(head);
        filled += head.len();
        if rest.is_empty() {
            continue;
        }
        // More follows, so `last` is full and is not the last.
        each(std::slice::from_ref(&last));
        let (blocks, tail) = rest.split_at((rest.len() - 1) / last.len() * last.len());
        each(Array::slice_as_chunks(blocks).0);
        last = AesBlock::default();
        last[..tail.len()].copy_from_slice(tail);
        filled = tail.len();
    }
    (last, filled)
}
