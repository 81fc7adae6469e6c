//! Arithmetic of the hash functions, for thirty-two messages at once, and the way of their words into vectors.

use core::arch::x86_64::*;

use crate::avx512::vector::{self, V};

/// A word of each of thirty-two messages: of the first sixteen, and of the others. Each round of a hash function waits for
/// the one before; the CPU has time for a second one meanwhile.
pub(super) type Word = [V; 2];

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn all(value: u32) -> Word {
    [_mm512_set1_epi32(value as i32); 2]
}

/// Keeps the compiler from computing it later than here, or all the words of a message before the rounds.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn hold(x: &mut Word) {
    vector::hold(&mut x[0]);
    vector::hold(&mut x[1]);
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add(x: Word, y: Word) -> Word {
    [_mm512_add_epi32(x[0], y[0]), _mm512_add_epi32(x[1], y[1])]
}

/// Adds words of those messages whose bits are set.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add_taken(x: Word, y: Word, taken: u32) -> Word {
    let (first, second) = (taken as __mmask16, (taken >> 16) as __mmask16);
    [
        _mm512_mask_add_epi32(x[0], first, x[0], y[0]),
        _mm512_mask_add_epi32(x[1], second, x[1], y[1]),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor(x: Word, y: Word) -> Word {
    [_mm512_xor_si512(x[0], y[0]), _mm512_xor_si512(x[1], y[1])]
}

/// To the left.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn rotate<const BITS: i32>(x: Word) -> Word {
    [
        _mm512_rol_epi32::<BITS>(x[0]),
        _mm512_rol_epi32::<BITS>(x[1]),
    ]
}

/// To the right, zeros behind.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn shift<const BITS: u32>(x: Word) -> Word {
    [
        _mm512_srli_epi32::<BITS>(x[0]),
        _mm512_srli_epi32::<BITS>(x[1]),
    ]
}

/// Any function of three bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn logic<const TABLE: i32>(x: Word, y: Word, z: Word) -> Word {
    [
        _mm512_ternarylogic_epi32::<TABLE>(x[0], y[0], z[0]),
        _mm512_ternarylogic_epi32::<TABLE>(x[1], y[1], z[1]),
    ]
}

/// Ch of FIPS 180-4 4.1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn choose(x: Word, y: Word, z: Word) -> Word {
    logic::<0xca>(x, y, z)
}

/// Maj of FIPS 180-4 4.1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn majority(x: Word, y: Word, z: Word) -> Word {
    logic::<0xe8>(x, y, z)
}

/// Parity of FIPS 180-4 4.1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn parity(x: Word, y: Word, z: Word) -> Word {
    logic::<0x96>(x, y, z)
}

/// Vector n of the answer has word n of each of the rows, and the other way round.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(rows: [V; 16]) -> [V; 16] {
    let mut blocks = rows;
    // Four by four words within each four rows,
    for four in blocks.as_chunks_mut().0 {
        *four = transpose_words(*four);
    }
    // then four by four of those.
    let mut words = blocks;
    for n in 0..4 {
        let four = transpose_blocks([blocks[n], blocks[n + 4], blocks[n + 8], blocks[n + 12]]);
        for (i, v) in four.into_iter().enumerate() {
            words[4 * i + n] = v;
        }
    }
    words
}

/// In each block's place, vector n of the answer has word n of each of the rows, and the other way round.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_words([a, b, c, d]: [V; 4]) -> [V; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Vector n of the answer has block n of each of the rows, and the other way round.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_blocks([a, b, c, d]: [V; 4]) -> [V; 4] {
    let (ab, cd) = (
        _mm512_shuffle_i32x4::<0x44>(a, b),
        _mm512_shuffle_i32x4::<0x44>(c, d),
    );
    let (ab_high, cd_high) = (
        _mm512_shuffle_i32x4::<0xee>(a, b),
        _mm512_shuffle_i32x4::<0xee>(c, d),
    );
    [
        _mm512_shuffle_i32x4::<0x88>(ab, cd),
        _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
    ]
}

/// Words as FIPS 180-4 3.1 reads them, from the order of this CPU, and back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn big_endian(v: V) -> V {
    let order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order))
}
