//! HMAC (RFC 2104) of up to thirty-two packets side by side.

use super::beside::Beside;
use super::chain::{Chains, NO_ROUNDS};
use super::hash::compress;
use super::lane::{LANES, Lanes};
use super::words::{BLOCK_WORDS, FIRST, WORDS, Word, Words, all, big_endian, transpose};
use crate::avx512::vector::{self, V};

/// The states of sixteen packets, or twice as many (`N`).
pub(super) struct Hmac<const SHA256: bool, const N: usize> {
    inner: [Word<N>; 8],
    outer: [Word<N>; 8],
    /// Of the blocks in hand, and of those behind them, by turns.
    words: [Words<N>; 2],
}

impl<const SHA256: bool, const N: usize> Hmac<SHA256, N> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn none() -> Self {
        Hmac {
            inner: [all(0); 8],
            outer: [all(0); 8],
            words: [[all(0); WORDS]; 2],
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn begin(&mut self, lanes: &Lanes<'_>) {
        for half in 0..N {
            let mut rows = [vector::zero(); 16];
            for (row, schedule) in rows.iter_mut().zip(&lanes.schedules[16 * half..]) {
                *row = vector::load_state(&schedule.states);
            }
            let words = transpose(rows);
            for n in 0..8 {
                self.inner[n][half] = words[n];
                self.outer[n][half] = words[n + 8];
            }
        }
    }

    /// Takes the `step`th block of each packet.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn take(&mut self, lanes: &Lanes<'_>, step: usize) {
        let whole = lanes.blocks_are_whole(step);
        for half in 0..N {
            let mut rows = [vector::zero(); 16];
            if whole {
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = big_endian(lanes.block(16 * half + i, step));
                }
            } else {
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = big_endian(lanes.block_part(16 * half + i, step));
                }
            }
            let words = self.words[step % 2].iter_mut().skip(FIRST);
            for (word, row) in words.zip(transpose(rows)) {
                word[half] = row;
            }
        }
    }

    /// Hashes them, of each packet that has so many blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
    pub(super) fn step(&mut self, lanes: &Lanes<'_>, step: usize) {
        let (taken, beside) = (lanes.with_block(step), None::<Beside<'_, NO_ROUNDS, N>>);
        compress::<SHA256, _, N>(&mut self.inner, &mut self.words[step % 2], taken, beside);
    }

    /// The same; meanwhile the next part of each payload is encrypted, which `chains` have taken, and if that and the
    /// one before are whole, the words of the next block are made: sooner than by reading what has just been written.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
    pub(super) fn step_beside<const R: usize>(
        &mut self,
        lanes: &Lanes<'_>,
        step: usize,
        chains: &mut Chains<R, N>,
    ) {
        let [even, odd] = &mut self.words;
        let (now, words) = match step % 2 {
            0 => (even, odd),
            _ => (odd, even),
        };
        let (taken, step) = (lanes.with_block(step), step + 1);
        let beside = Beside {
            chains,
            step,
            words,
        };
        compress::<SHA256, R, N>(&mut self.inner, now, taken, Some(beside));
    }

    /// Hashes the inner hashes behind the outer key block: the outputs for all packets. The states are overwritten.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    pub(super) fn finish(&mut self, tags: &mut [V; LANES]) {
        let length = if SHA256 { 8 } else { 5 };
        let (_, words) = self.words[0].split_at_mut(FIRST);
        words[..BLOCK_WORDS].fill(all(0));
        words[..length].copy_from_slice(&self.inner[..length]);
        // FIPS 180-4 5.1.1: a bit, and the length in bits.
        words[length] = all(1 << 31);
        words[15] = all(8 * (64 + 4 * length as u32));
        let beside = None::<Beside<'_, NO_ROUNDS, N>>;
        compress::<SHA256, _, N>(&mut self.outer, &mut self.words[0], !0, beside);
        for (half, tags) in tags.chunks_exact_mut(16).take(N).enumerate() {
            let mut rows = [vector::zero(); 16];
            for (row, word) in rows.iter_mut().zip(&self.outer) {
                *row = word[half];
            }
            for (tag, row) in tags.iter_mut().zip(&transpose(rows)) {
                *tag = big_endian(*row);
            }
        }
        for states in [&mut self.inner, &mut self.outer] {
            vector::wipe(states.as_flattened_mut());
        }
    }
}
