//! GHASH (NIST SP 800-38D 6.4): arithmetic of GF(2^128) on four pairs of blocks at a time.
//!
//! GCM numbers the bits of a block from the left: the leftmost is the coefficient of x^0. With its bytes reversed, a
//! block is a 128 bit number whose bit 127 - i is the coefficient of x^i, and the carry-less product of two such
//! numbers is their product in the same order but one bit too low. One factor is always a power of H, so the powers
//! are stored times x ([`double`]) and no product needs shifting.
//!
//! A hash of n blocks is the sum of X_i * H^(n-i+1). All products are added up unreduced, each 256 bits in three parts
//! (see [`Sums`]), and only the sum is reduced by x^128 + x^7 + x^2 + x + 1.

use core::arch::x86_64::*;

use crate::avx512::vector::{self, V};

/// The polynomial in reversed order, without its x^128, times x: 1 + x^121 + x^126 + x^127 in the order of integers.
const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;

/// Four sums of products, not yet reduced: `low` + (`low` + `both` + `high`) * 2^64 + `high` * 2^128. By Karatsuba's
/// method a product takes three multiplications: of the low halves, the high halves, and the sums of both.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    low: V,
    both: V,
    high: V,
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn zero() -> Self {
        let zero = _mm512_setzero_si512();
        Sums {
            low: zero,
            both: zero,
            high: zero,
        }
    }

    /// Four products.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn product(x: V, h: V) -> Self {
        Sums {
            low: _mm512_clmulepi64_epi128::<0x00>(x, h),
            both: _mm512_clmulepi64_epi128::<0x00>(fold(x), fold(h)),
            high: _mm512_clmulepi64_epi128::<0x11>(x, h),
        }
    }

    /// Adds four products.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn add_product(&mut self, x: V, h: V) {
        let Sums { low, both, high } = Sums::product(x, h);
        self.low = _mm512_xor_si512(self.low, low);
        self.both = _mm512_xor_si512(self.both, both);
        self.high = _mm512_xor_si512(self.high, high);
    }

    /// Adds four products, and four others: less work than one after the other.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn add_products(&mut self, [x, y]: [V; 2], [g, h]: [V; 2]) {
        let (xy, gh) = (fold_both(x, y), fold_both(g, h));
        self.low = xor3(
            self.low,
            _mm512_clmulepi64_epi128::<0x00>(x, g),
            _mm512_clmulepi64_epi128::<0x00>(y, h),
        );
        self.both = xor3(
            self.both,
            _mm512_clmulepi64_epi128::<0x00>(xy, gh),
            _mm512_clmulepi64_epi128::<0x11>(xy, gh),
        );
        self.high = xor3(
            self.high,
            _mm512_clmulepi64_epi128::<0x11>(x, g),
            _mm512_clmulepi64_epi128::<0x11>(y, h),
        );
    }

    /// See [`vector::hold`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn hold(&mut self) {
        vector::hold(&mut self.low);
        vector::hold(&mut self.both);
        vector::hold(&mut self.high);
    }

    /// Adds up the four sums of each of four packets; one sum a packet is left.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn total(packets: &[Sums; 4]) -> Self {
        let [a, b, c, d] = packets;
        Sums {
            low: total([a.low, b.low, c.low, d.low]),
            both: total([a.both, b.both, c.both, d.both]),
            high: total([a.high, b.high, c.high, d.high]),
        }
    }

    /// The remainders by the polynomial. In this order of bits, what is to be removed is the low half: 64 bits twice,
    /// each added where x^128 + ... has its other coefficients.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn reduce(self) -> V {
        let polynomial = _mm512_set1_epi64((POLYNOMIAL >> 64) as i64);
        let middle = xor3(self.low, self.both, self.high);
        let middle = xor3(
            middle,
            _mm512_shuffle_epi32::<SWAP_HALVES>(self.low),
            _mm512_clmulepi64_epi128::<0x00>(self.low, polynomial),
        );
        xor3(
            self.high,
            _mm512_shuffle_epi32::<SWAP_HALVES>(middle),
            _mm512_clmulepi64_epi128::<0x00>(middle, polynomial),
        )
    }
}

/// Exchanges the halves of each block.
const SWAP_HALVES: i32 = 0b01_00_11_10;

/// The sum of both halves of each block, in either half.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(v: V) -> V {
    _mm512_xor_si512(v, _mm512_shuffle_epi32::<SWAP_HALVES>(v))
}

/// The sum of both halves of each block of `a` in the low half, and of `b` in the high half.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_both(a: V, b: V) -> V {
    _mm512_xor_si512(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
}

/// a + b + c.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// Transposes four vectors of four blocks and adds them up: block i of the result is the sum of the blocks of vector i.
#[inline]
#[target_feature(enable = "avx512f")]
fn total([a, b, c, d]: [V; 4]) -> V {
    let (ab, cd) = (halve(a, b), halve(c, d));
    // ab = a02 a13 b02 b13: blocks 0 and 2 of both, and 1 and 3.
    _mm512_xor_si512(
        _mm512_shuffle_i64x2::<0b10_00_10_00>(ab, cd),
        _mm512_shuffle_i64x2::<0b11_01_11_01>(ab, cd),
    )
}

/// a0+a2, a1+a3, b0+b2, b1+b3.
#[inline]
#[target_feature(enable = "avx512f")]
fn halve(a: V, b: V) -> V {
    _mm512_xor_si512(
        _mm512_mask_mov_epi64(a, 0xf0, b),
        _mm512_shuffle_i64x2::<0b01_00_11_10>(a, b),
    )
}

/// H times x, in constant time.
pub(crate) fn double(h: u128) -> u128 {
    (h << 1) ^ (POLYNOMIAL & 0u128.wrapping_sub(h >> 127))
}
