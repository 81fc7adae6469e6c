//! HMAC (RFC 2104) of packets that are too few to go side by side: one after the other, by the CPU's instructions for
//! the hash functions where it has them.

use super::hash;
use super::lane::Lanes;
use crate::Hash;
use crate::avx512::vector::{self, V};

/// So many packets of one hash function are done sooner side by side. Measured on an AMD EPYC of the Zen 5 kind, at 80,
/// 528 and 1440 bytes.
pub(super) const fn many(hash: Hash) -> usize {
    match hash {
        Hash::Sha1 => 4,
        Hash::Sha256 => 6,
    }
}

/// The output for each packet.
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn tags<const SHA256: bool>(lanes: &Lanes<'_>, tags: &mut [V]) {
    let hash = hash::name::<SHA256>();
    let mut block = [0; 64];
    for (lane, tag) in tags.iter_mut().enumerate().take(lanes.count()) {
        let [mut inner, mut outer] = lanes.schedules[lane].states;
        let whole = lanes.whole_blocks(lane);
        hash::compress_one(hash, &mut inner, whole);
        for step in whole.len()..lanes.blocks(lane) {
            vector::store(&mut block, lanes.block_part(lane, step));
            hash::compress_one(hash, &mut inner, &[block]);
        }
        block = hash::last_block(hash, &inner);
        hash::compress_one(hash, &mut outer, &[block]);
        let words = outer.iter().flat_map(|word| word.to_be_bytes());
        block.iter_mut().zip(words).for_each(|(b, w)| *b = w);
        *tag = vector::load(&block);
    }
}
