//! The counter blocks (RFC 4106 4): salt, IV, and a counter that is 1 for the block that masks the tag.
//!
//! The AAD shares a vector with that block: before the payload of an ESP packet lie the 16 bytes SPI, sequence number
//! and IV. So block i of a packet has counter i + 1 all through, and all but block 0 is enciphered.

use core::arch::x86_64::*;

use super::key::Schedule;
use crate::avx512::vector::{self, Block, V};

/// What the counter blocks of a packet have in common.
pub(crate) struct Header<'a, S> {
    schedule: &'a S,
    /// Counter 0 with round key 0 added.
    block_0: V,
    /// That after round 1.
    state_0: V,
}

impl<'a, S: Schedule> Header<'a, S> {
    /// The IV is from byte 8 of the packet on, and from byte 4 of the counter block.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(crate) fn new(schedule: &'a S, body: &[u8]) -> Self {
        const IV_TO_NONCE: i32 = 0b00_11_10_00;
        let header = body.first_chunk().unwrap_or(&[0; 16]);
        let nonce = _mm512_maskz_shuffle_epi32::<IV_TO_NONCE>(0x6666, vector::broadcast(header));
        let block_0 = _mm512_xor_si512(nonce, schedule.core().start());
        Header {
            schedule,
            block_0,
            state_0: _mm512_aesenc_epi128(block_0, schedule.core().round(1)),
        }
    }

    /// The states after round 1 of the first `N` vectors of the packet's `group`th group of eight.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    pub(crate) fn states<const N: usize>(&self, group: usize) -> [V; N] {
        let mut states = [self.state_0; N];
        let known = self.schedule.wide().and_then(|w| w.group_counters(group));
        for (j, state) in states.iter_mut().enumerate() {
            *state = match known {
                Some(words) => {
                    let words = vector::load_words(words, 16 * (j / 4) + j % 4);
                    _mm512_mask_xor_epi32(*state, 0x1111, *state, words)
                }
                None => self.state(32 * group + 4 * j),
            };
        }
        states
    }

    /// The same for the vector whose first block has this number. Computed: for short packets that is no slower.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    pub(crate) fn state(&self, block: usize) -> V {
        // The last word of a block, its bytes reversed; the others are zero anyway.
        let big_endian = _mm512_broadcast_i32x4(_mm_setr_epi8(
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 14, 13, 12,
        ));
        let first = _mm512_maskz_set1_epi32(0x8888, block as i32);
        let counters = _mm512_add_epi32(
            first,
            _mm512_setr_epi32(0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4),
        );
        let counters = _mm512_shuffle_epi8(counters, big_endian);
        let start = _mm512_xor_si512(self.block_0, counters);
        _mm512_aesenc_epi128(start, self.schedule.core().round(1))
    }
}

/// The key stream of the first vector without that of the header.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn behind_header(stream: V) -> V {
    _mm512_maskz_mov_epi64(0xfc, stream)
}

/// The first vector, its bytes reversed, with the AAD in lieu of the header.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn with_aad(vector: V, aad: &Block) -> V {
    vector::insert(vector, 0x000f, aad)
}
