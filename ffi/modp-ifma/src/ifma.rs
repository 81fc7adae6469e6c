//! Montgomery multiplication with digits of 52 bits, two at once.
// What needs a compiler newer than the oldest that is supported is here, and build.rs sees to it that it gets one.
#![allow(clippy::incompatible_msrv)]

use core::arch::x86_64::*;

use zeroize::{Zeroize, Zeroizing};

use crate::number::{BITS, MASK, Number};

/// Bits of the exponent that are looked at together.
const WINDOW: usize = 4;
/// Words of the stack that the powers may take: the largest table is a third of them.
const STACK: usize = 8 << 10;

/// What computing modulo a prime takes. `R` is 2 to the bits of all digits, at least four times the prime: then products
/// of numbers below twice the prime are below twice the prime again, without a comparison.
#[derive(Debug)]
pub(crate) struct Field<const N: usize> {
    prime: Number<N>,
    /// -1/prime modulo 2^52.
    inverse: u64,
    /// R and R^2 modulo the prime.
    one: Number<N>,
    square: Number<N>,
}

impl<const N: usize> Field<N> {
    pub(crate) fn new(prime: &[u8]) -> Option<Self> {
        let can = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        if !can {
            return None;
        }
        let prime = Number::<N>::from_bytes(prime);
        let lowest = prime.digits().next()?;
        // Newton's iteration doubles the bits that are right: 3, 6, 12, 24, 48, 96.
        let inverse = (0..5).fold(lowest, |x: u64, _| {
            x.wrapping_mul(2u64.wrapping_sub(lowest.wrapping_mul(x)))
        });
        let bits = 8 * N * BITS as usize;
        let shifted = |from: Number<N>| (0..bits).fold(from, |x, _| x.doubled(&prime));
        let one = shifted(Number::one());
        Some(Field {
            square: shifted(one),
            one,
            inverse: inverse.wrapping_neg() & MASK,
            prime,
        })
    }

    /// Bases are at most as long as the prime.
    pub(crate) fn powers(
        &self,
        bases: [&[u8]; 2],
        exponent: &[u8],
        length: usize,
    ) -> [Zeroizing<Vec<u8>>; 2] {
        let powers = self.compute(bases, exponent, length);
        wipe_stack();
        powers
    }

    /// What it leaves on the stack is left to the caller to wipe.
    #[inline(never)]
    fn compute(
        &self,
        bases: [&[u8]; 2],
        exponent: &[u8],
        length: usize,
    ) -> [Zeroizing<Vec<u8>>; 2] {
        // SAFETY: there is a field only where `new` found all of the CPU's features that it takes.
        let mut powers = unsafe { self.power(bases.map(Number::from_bytes), exponent) };
        let bytes = powers.each_ref().map(|power| power.bytes(length));
        powers.zeroize();
        bytes
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn power(&self, bases: [Number<N>; 2], exponent: &[u8]) -> [Number<N>; 2] {
        // Bases to the power of 0 to 15, times R. They are public.
        let mut table = [[self.one; 2]; 1 << WINDOW];
        let first = self.multiply(&bases, &[self.square; 2]);
        let mut last = [self.one; 2];
        for entry in table.iter_mut().skip(1) {
            last = self.multiply(&last, &first);
            *entry = last;
        }
        let mut power = Zeroizing::new([self.one; 2]);
        let mut factor = Zeroizing::new([Number::ZERO; 2]);
        for byte in exponent {
            for window in [byte >> WINDOW, byte & 0xf] {
                for _ in 0..WINDOW {
                    *power = self.multiply(&power, &power);
                }
                select(&mut factor, &table, window);
                *power = self.multiply(&power, &factor);
            }
        }
        // Out of Montgomery's form; at most the prime, so that one comparison brings it below.
        *power = self.multiply(&power, &[Number::one(); 2]);
        power.each_ref().map(|power| power.reduced(&self.prime))
    }

    /// `a * b / R` modulo the prime, for two pairs below twice the prime.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply(&self, a: &[Number<N>; 2], b: &[Number<N>; 2]) -> [Number<N>; 2] {
        let prime = load(&self.prime);
        let [a, other_a] = a.each_ref().map(|a| load(a));
        let (mut sum, mut other_sum) = ([_mm512_setzero_si512(); N], [_mm512_setzero_si512(); N]);
        let [b, other_b] = b;
        for (b, other_b) in b.digits().zip(other_b.digits()) {
            step(&mut sum, &a, b, &prime, self.inverse);
            step(&mut other_sum, &other_a, other_b, &prime, self.inverse);
        }
        [sum, other_sum].map(|sum| {
            let mut product = store(&sum);
            product.carry();
            product
        })
    }
}

/// Wipes what functions that have returned left on the stack: products that passed from one to the other, and vectors that
/// found no register.
#[inline(never)]
fn wipe_stack() {
    let mut left = [0u64; STACK];
    left.zeroize();
}

/// Adds `a * b` and as often the prime as makes the lowest digit zero; drops that digit. A digit of the sum grows by four
/// numbers of 52 bits in each of at most 80 steps before it is dropped, which 64 bits hold.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn step<const N: usize>(
    sum: &mut [__m512i; N],
    a: &[__m512i; N],
    b: u64,
    prime: &[__m512i; N],
    inverse: u64,
) {
    let b = _mm512_set1_epi64(b as i64);
    for (sum, a) in sum.iter_mut().zip(a) {
        *sum = _mm512_madd52lo_epu64(*sum, *a, b);
    }
    let Some(lowest) = sum.first() else { return };
    let lowest = _mm_cvtsi128_si64(_mm512_castsi512_si128(*lowest)) as u64;
    // The multiplier looks at 52 bits of it only.
    let times = _mm512_set1_epi64((lowest.wrapping_mul(inverse) & MASK) as i64);
    for (sum, prime) in sum.iter_mut().zip(prime) {
        *sum = _mm512_madd52lo_epu64(*sum, *prime, times);
    }
    let carry = sum
        .first()
        .map(|low| _mm512_maskz_srli_epi64::<BITS>(1, *low));
    let carry = carry.unwrap_or(_mm512_setzero_si512());
    let mut above = _mm512_setzero_si512();
    for sum in sum.iter_mut().rev() {
        (above, *sum) = (*sum, _mm512_alignr_epi64::<1>(above, *sum));
    }
    if let Some(low) = sum.first_mut() {
        *low = _mm512_add_epi64(*low, carry);
    }
    for ((sum, a), prime) in sum.iter_mut().zip(a).zip(prime) {
        *sum = _mm512_madd52hi_epu64(*sum, *a, b);
        *sum = _mm512_madd52hi_epu64(*sum, *prime, times);
    }
}

/// The entry of this number, without a memory access that tells which.
#[target_feature(enable = "avx512f")]
fn select<const N: usize>(
    to: &mut [Number<N>; 2],
    table: &[[Number<N>; 2]; 1 << WINDOW],
    number: u8,
) {
    let mut found = [[_mm512_setzero_si512(); N]; 2];
    for (entry, index) in table.iter().zip(0u8..) {
        // All ones where they are equal.
        let equal = _mm512_cmpeq_epi64_mask(
            _mm512_set1_epi64(index.into()),
            _mm512_set1_epi64(number.into()),
        );
        for (found, entry) in found.iter_mut().zip(entry) {
            for (found, entry) in found.iter_mut().zip(load(entry)) {
                *found = _mm512_mask_mov_epi64(*found, equal, entry);
            }
        }
    }
    for (to, found) in to.iter_mut().zip(&found) {
        *to = store(found);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<const N: usize>(number: &Number<N>) -> [__m512i; N] {
    // SAFETY: reads the 64 bytes of each vector, at any alignment.
    number
        .0
        .each_ref()
        .map(|vector| unsafe { _mm512_loadu_si512(vector.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const N: usize>(vectors: &[__m512i; N]) -> Number<N> {
    let mut number = Number::ZERO;
    for (to, vector) in number.0.iter_mut().zip(vectors) {
        // SAFETY: writes the 64 bytes of the vector, at any alignment.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *vector) }
    }
    number
}
