//! Numbers in digits of 52 bits, lowest first, as the multiplier has them: eight to a vector.
#![cfg_attr(not(all(target_arch = "x86_64", avx512_intrinsics)), allow(dead_code))]

use zeroize::{Zeroize, Zeroizing};

/// Bits of a digit.
pub(crate) const BITS: u32 = 52;
/// Its largest value.
pub(crate) const MASK: u64 = (1 << BITS) - 1;

/// `N` vectors of digits.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Number<const N: usize>(pub(crate) [[u64; 8]; N]);

impl<const N: usize> Zeroize for Number<N> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Number<N> {
    pub(crate) const ZERO: Self = Number([[0; 8]; N]);

    pub(crate) fn one() -> Self {
        let mut one = Self::ZERO;
        one.digits_mut().take(1).for_each(|digit| *digit = 1);
        one
    }

    pub(crate) fn digits(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flatten().copied()
    }

    pub(crate) fn digits_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.0.iter_mut().flatten()
    }

    /// Of bytes, highest first; those that find no room are not looked at.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut number = Self::ZERO;
        let mut rest = bytes.iter().rev();
        let (mut held, mut bits) = (Zeroizing::new(0u128), 0);
        for digit in number.digits_mut() {
            while bits < BITS {
                *held |= u128::from(rest.next().copied().unwrap_or(0)) << bits;
                bits += 8;
            }
            *digit = *held as u64 & MASK;
            *held >>= BITS;
            bits -= BITS;
        }
        number
    }

    /// As so many bytes, highest first.
    pub(crate) fn bytes(&self, length: usize) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![0; length]);
        let mut digits = self.digits();
        let (mut held, mut bits) = (Zeroizing::new(0u128), 0);
        for byte in bytes.iter_mut().rev() {
            if bits < 8 {
                *held |= u128::from(digits.next().unwrap_or(0)) << bits;
                bits += BITS;
            }
            *byte = *held as u8;
            *held >>= 8;
            bits -= 8;
        }
        bytes
    }

    /// Brings each digit below 2^52 again, and what is more of it to the next.
    pub(crate) fn carry(&mut self) {
        let mut carry = 0;
        for digit in self.digits_mut() {
            let sum = *digit + carry;
            *digit = sum & MASK;
            carry = sum >> BITS;
        }
    }

    /// Twice this, below `modulus` if this is.
    pub(crate) fn doubled(&self, modulus: &Self) -> Self {
        let mut double = *self;
        double.digits_mut().for_each(|digit| *digit *= 2);
        double.carry();
        double.reduced(modulus)
    }

    /// Less `modulus` if it is not below that, in a time that does not tell.
    pub(crate) fn reduced(&self, modulus: &Self) -> Self {
        let mut less = *self;
        let mut borrow = 0;
        for (digit, other) in less.digits_mut().zip(modulus.digits()) {
            let difference = digit.wrapping_sub(other).wrapping_sub(borrow);
            *digit = difference & MASK;
            borrow = difference >> 63;
        }
        // All ones where this is below the modulus.
        let keep = std::hint::black_box(borrow.wrapping_neg());
        for (digit, own) in less.digits_mut().zip(self.digits()) {
            *digit = (*digit & !keep) | (own & keep);
        }
        less
    }
}
