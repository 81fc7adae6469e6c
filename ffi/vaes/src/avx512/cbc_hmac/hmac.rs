//! HMAC (RFC 2104) of up to thirty-two packets side by side.

use super::chain::{Chains, NO_ROUNDS};
use super::hash::compress;
use super::lane::{LANES, Lanes};
use super::words::{BLOCK_WORDS, WORDS, Word, Words, all, big_endian, transpose};
use crate::avx512::vector::{self, V};

/// Words of SPI, sequence number and IV; so many are the rest of each 64 bytes of payload.
const CARRIED: usize = 6;

/// The states of sixteen packets, or twice as many (`N`).
pub(super) struct Hmac<const SHA256: bool, const N: usize> {
    inner: [Word<N>; 8],
    outer: [Word<N>; 8],
    /// Of the blocks in hand.
    words: Words<N>,
    /// Of the next block, what is known before.
    carried: [Word<N>; CARRIED],
}

impl<const SHA256: bool, const N: usize> Hmac<SHA256, N> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn none() -> Self {
        Hmac {
            inner: [all(0); 8],
            outer: [all(0); 8],
            words: [all(0); WORDS],
            carried: [all(0); CARRIED],
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

    /// Takes what stands before the payloads.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
    pub(super) fn begin_chains(&mut self, lanes: &Lanes<'_>) {
        self.take(lanes, 0);
        self.carried.copy_from_slice(&self.words[..CARRIED]);
    }

    /// Takes the next block of each packet as it has just been encrypted, which is sooner than reading what has just
    /// been written.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
    pub(super) fn take_chains<const R: usize>(&mut self, chains: &Chains<R, N>) {
        self.words[..CARRIED].copy_from_slice(&self.carried);
        for half in 0..N {
            let words = chains.words(half);
            for (n, word) in words.into_iter().enumerate() {
                let word = big_endian(word);
                match (CARRIED + n).checked_sub(BLOCK_WORDS) {
                    None => self.words[CARRIED + n][half] = word,
                    Some(n) => self.carried[n][half] = word,
                }
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
            for (word, row) in self.words.iter_mut().zip(transpose(rows)) {
                word[half] = row;
            }
        }
    }

    /// Hashes them, of each packet that has so many blocks, and encrypts what `chains` have taken.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
    pub(super) fn step<const R: usize>(
        &mut self,
        lanes: &Lanes<'_>,
        step: usize,
        chains: Option<&mut Chains<R, N>>,
    ) {
        let taken = lanes.with_block(step);
        compress::<SHA256, R, N>(&mut self.inner, &mut self.words, taken, chains);
    }

    /// Hashes the inner hashes behind the outer key block: the outputs for all packets. The states are overwritten.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    pub(super) fn finish(&mut self, tags: &mut [V; LANES]) {
        let length = if SHA256 { 8 } else { 5 };
        self.words[..BLOCK_WORDS].fill(all(0));
        self.words[..length].copy_from_slice(&self.inner[..length]);
        // FIPS 180-4 5.1.1: a bit, and the length in bits.
        self.words[length] = all(1 << 31);
        self.words[15] = all(8 * (64 + 4 * length as u32));
        let chains = None::<&mut Chains<NO_ROUNDS, N>>;
        compress::<SHA256, _, N>(&mut self.outer, &mut self.words, !0, chains);
        for (half, tags) in tags.chunks_exact_mut(16).take(N).enumerate() {
            let mut rows = [vector::zero(); 16];
            for (row, word) in rows.iter_mut().zip(self.outer) {
                *row = word[half];
            }
            for (tag, row) in tags.iter_mut().zip(transpose(rows)) {
                *tag = big_endian(row);
            }
        }
        for states in [&mut self.inner, &mut self.outer] {
            vector::wipe(states.as_flattened_mut());
        }
    }
}
