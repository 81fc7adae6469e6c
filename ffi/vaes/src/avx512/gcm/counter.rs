//! The counter blocks (RFC 4106 4): salt, IV, and a counter that is 1 for the block that masks the tag.
//!
//! The AAD shares a vector with that block: before the payload of an ESP packet lie the 16 bytes SPI, sequence number
//! and IV. So block i of a packet has counter i + 1 all through, and all but block 0 is enciphered.

use core::arch::x86_64::*;

use super::key::Schedule;
use crate::avx512::vector::{self, Block, V};

/// Counter 0 with round key 0 added. The IV is from byte 8 of the packet on, and from byte 4 of the counter block.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn block_0(schedule: &Schedule, body: &[u8]) -> V {
    const IV_TO_NONCE: i32 = 0b00_11_10_00;
    let header = body.first_chunk().unwrap_or(&[0; 16]);
    let nonce = _mm512_maskz_shuffle_epi32::<IV_TO_NONCE>(0x6666, vector::broadcast(header));
    _mm512_xor_si512(nonce, schedule.start())
}

/// The state of counter 0 after round 1.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(crate) fn state_0(schedule: &Schedule, body: &[u8]) -> V {
    _mm512_aesenc_epi128(block_0(schedule, body), schedule.round(1))
}

/// The states of a packet's `vector`th vector after round 1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn states(schedule: &Schedule, state_0: V, vector: usize) -> V {
    _mm512_mask_xor_epi32(state_0, 0x1111, state_0, schedule.counters(vector))
}

/// The same of the first `N` vectors of a packet's `group`th group of four.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn group_states<const N: usize>(
    schedule: &Schedule,
    state_0: V,
    group: usize,
) -> [V; N] {
    let words = schedule.group_counters(group);
    let mut states = [state_0; N];
    for (j, state) in states.iter_mut().enumerate() {
        *state = _mm512_mask_xor_epi32(state_0, 0x1111, state_0, vector::load_words(words, j));
    }
    states
}

/// The key stream of the first vector without that of the header.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn behind_header(stream: V) -> V {
    _mm512_maskz_mov_epi64(0xfc, stream)
}

/// The first vector as it is hashed: the AAD in lieu of the header, bytes reversed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn hashed_first(vector: V, aad: &Block) -> V {
    vector::insert(vector::reverse_bytes(vector), 0x000f, aad)
}
