//! What is done between the rounds of a hash function, since they leave the CPU time: each waits for the one before.

use super::chain::{BLOCKS, Chains, Sixteen};
use super::words::{FIRST, Words};

/// Pieces of the rounds of a hash function: four for each block of the chains, in two of which that of sixteen chains is
/// encrypted, and in the other two that of the other sixteen.
pub(super) const PIECES: usize = 4 * BLOCKS;
/// Rounds of AES within a piece; what is more follows behind it.
pub(super) const WITHIN: usize = 4;

/// The part of each payload behind those that are in the block that is hashed: it is encrypted meanwhile, and the words
/// of the next block are made.
pub(super) struct Beside<'a, const R: usize, const N: usize> {
    pub(super) chains: &'a mut Chains<R, N>,
    /// Which part.
    pub(super) step: usize,
    /// Of the next block.
    pub(super) words: &'a mut Words<N>,
}

impl<const R: usize, const N: usize> Beside<'_, R, N> {
    /// To be called before the `piece`th piece. What is in hand is in `chains`, for it to stay in registers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn before(&self, piece: usize, chains: &mut Sixteen) {
        let (block, group) = (piece / 4, piece / 2 % 2);
        if group < N && piece % 2 == 0 {
            *chains = self.chains.start(self.step, block, group);
        }
    }

    /// To be called before the `piece`th piece, too. SPI, sequence number and IV being six words, the next block begins
    /// with six of the part before: half of its third block, and its fourth. Behind them are those of this part, each
    /// block when it is encrypted; so fours of words begin two before the block.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn make_words(&mut self, piece: usize) {
        let (n, half, group) = (piece / 4, piece / 2 % 2, piece % 2);
        if group >= N || n != 0 && half != 0 {
            return;
        }
        let (step, n) = match n {
            0 => (self.step + 1, half),
            _ => (self.step, n + 1),
        };
        const { assert!(FIRST == 2) };
        let words = self.chains.words(step, n + 2, group);
        for (to, word) in self.words.iter_mut().skip(4 * n).zip(words) {
            to[group] = word;
        }
    }

    /// To be called in the `piece`th piece [`WITHIN`] times, with the numbers from 0 on, at even distances: a round of
    /// AES waits for the one before, so that several in a row would be in the way of others.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn within(&self, piece: usize, nth: usize, chains: &mut Sixteen) {
        let group = piece / 2 % 2;
        if group < N {
            self.chains
                .round(R / 2 * (piece % 2) + 1 + nth, group, chains);
        }
    }

    /// To be called behind the `piece`th piece.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn after(&mut self, piece: usize, chains: &mut Sixteen) {
        let (block, group, half) = (piece / 4, piece / 2 % 2, piece % 2);
        if group >= N {
            return;
        }
        for r in R / 2 * half + 1 + WITHIN..(R / 2 * (half + 1) + 1).min(R) {
            self.chains.round(r, group, chains);
        }
        if half == 1 {
            self.chains.finish(self.step, block, group, *chains);
        }
    }
}
