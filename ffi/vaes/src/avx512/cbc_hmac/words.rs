//! Arithmetic of the hash functions, for many messages at once, and the way of their words into vectors.

use core::arch::x86_64::*;

use crate::avx512::vector::{self, V};

/// A word of each of the messages, sixteen in a vector, of which there are one or two (`N`): each round of a hash
/// function waits for the one before, and the CPU has time for a second one meanwhile.
pub(super) type Word<const N: usize> = [V; N];
/// Those of a block, and room for what SHA-1 makes of them.
pub(super) type Words<const N: usize> = [Word<N>; WORDS];
/// As many as SHA-1 looks back on and makes meanwhile, and in front of them room for two: words are made by fours, and
/// those of a payload begin at the seventh.
pub(super) const WORDS: usize = FIRST + 20;
/// The first of a block.
pub(super) const FIRST: usize = 2;
/// Words of a block.
pub(super) const BLOCK_WORDS: usize = 16;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn all<const N: usize>(value: u32) -> Word<N> {
    [_mm512_set1_epi32(value as i32); N]
}

/// Keeps the compiler from computing it later than here, or in another order.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn hold<const N: usize>(x: &mut Word<N>) {
    for x in x {
        vector::hold(x);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add<const N: usize>(mut x: Word<N>, y: Word<N>) -> Word<N> {
    for (x, y) in x.iter_mut().zip(y) {
        *x = _mm512_add_epi32(*x, y);
    }
    x
}

/// Adds words of those messages whose bits are set.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add_taken<const N: usize>(mut x: Word<N>, y: Word<N>, taken: u32) -> Word<N> {
    for (g, (x, y)) in x.iter_mut().zip(y).enumerate() {
        *x = _mm512_mask_add_epi32(*x, (taken >> (16 * g)) as __mmask16, *x, y);
    }
    x
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor<const N: usize>(mut x: Word<N>, y: Word<N>) -> Word<N> {
    for (x, y) in x.iter_mut().zip(y) {
        *x = _mm512_xor_si512(*x, y);
    }
    x
}

/// To the left.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn rotate<const BITS: i32, const N: usize>(mut x: Word<N>) -> Word<N> {
    for x in &mut x {
        *x = _mm512_rol_epi32::<BITS>(*x);
    }
    x
}

/// To the right, zeros behind.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn shift<const BITS: u32, const N: usize>(mut x: Word<N>) -> Word<N> {
    for x in &mut x {
        *x = _mm512_srli_epi32::<BITS>(*x);
    }
    x
}

/// Any function of three bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn logic<const TABLE: i32, const N: usize>(mut x: Word<N>, y: Word<N>, z: Word<N>) -> Word<N> {
    for (x, (y, z)) in x.iter_mut().zip(y.into_iter().zip(z)) {
        *x = _mm512_ternarylogic_epi32::<TABLE>(*x, y, z);
    }
    x
}

/// Ch of FIPS 180-4 4.1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn choose<const N: usize>(x: Word<N>, y: Word<N>, z: Word<N>) -> Word<N> {
    logic::<0xca, N>(x, y, z)
}

/// Maj of FIPS 180-4 4.1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn majority<const N: usize>(x: Word<N>, y: Word<N>, z: Word<N>) -> Word<N> {
    logic::<0xe8, N>(x, y, z)
}

/// Parity of FIPS 180-4 4.1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn parity<const N: usize>(x: Word<N>, y: Word<N>, z: Word<N>) -> Word<N> {
    logic::<0x96, N>(x, y, z)
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
