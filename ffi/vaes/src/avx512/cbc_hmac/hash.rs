//! The hash functions of HMAC.

use super::beside::Beside;
use super::words::{Word, Words};
use super::{sha1, sha256};
use crate::Hash;

/// A state of a hash function; of SHA-1 the first five words.
pub(super) type State = [u32; 8];

/// The hash function of what is compiled for each.
pub(super) const fn name<const SHA256: bool>() -> Hash {
    if SHA256 { Hash::Sha256 } else { Hash::Sha1 }
}

/// What it starts from.
pub(super) const fn start(hash: Hash) -> State {
    match hash {
        Hash::Sha1 => sha1::START,
        Hash::Sha256 => sha256::START,
    }
}

/// Hashes a block of each message whose bit is set in `taken`; `words` may be overwritten. Meanwhile does what is to be
/// done `beside`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
pub(super) fn compress<const SHA256: bool, const R: usize, const N: usize>(
    state: &mut [Word<N>; 8],
    words: &mut Words<N>,
    taken: u32,
    beside: Option<Beside<'_, R, N>>,
) {
    if SHA256 {
        sha256::compress(state, words, taken, beside);
    } else {
        sha1::compress(state, words, taken, beside);
    }
}

/// Hashes blocks of one message.
pub(super) fn compress_one(hash: Hash, state: &mut State, blocks: &[[u8; 64]]) {
    match hash {
        Hash::Sha256 => sha2::block_api::compress256(state, blocks),
        Hash::Sha1 => {
            if let Some(state) = state.first_chunk_mut() {
                ::sha1::block_api::compress(state, blocks);
            }
        }
    }
}

/// The block of HMAC's outer hash that has the inner one.
pub(super) fn last_block(hash: Hash, inner: &State) -> [u8; 64] {
    let mut block = [0; 64];
    let words = inner.iter().flat_map(|word| word.to_be_bytes());
    let (digest, padding) = block.split_at_mut(hash.bytes());
    digest.iter_mut().zip(words).for_each(|(b, w)| *b = w);
    // FIPS 180-4 5.1.1: a bit, and the length in bits, that of the key block included.
    if let [bit, .., high, low] = padding {
        *bit = 0x80;
        [*high, *low] = (8 * (64 + hash.bytes()) as u16).to_be_bytes();
    }
    block
}
