//! AES-CBC (RFC 3602): many chains encrypted side by side, since each block waits for the one before; decrypted, the
//! blocks of one packet side by side.

use core::arch::x86_64::*;

use super::key::Schedule;
use super::lane::Lanes;
use super::words::{transpose_blocks, transpose_words};
use crate::avx512::vector::{self, Block, V};

/// Chains in a vector. Of sixteen, the first has every fourth, so that words of four vectors are in order when they are
/// brought together.
const CHAINS: usize = 4;
/// A vector for each four of sixteen chains.
type Sixteen = [V; 16 / CHAINS];
/// Blocks of a chain that are encrypted in one go: as much as a block of a hash function.
pub(super) const BLOCKS: usize = 4;

/// Where there are no chains: any number that is compiled anyway.
pub(super) const NO_ROUNDS: usize = 10;

/// Sixteen packets, or twice as many (`N`), that are encrypted, 64 bytes of each in one go; their keys have `R` rounds.
pub(super) struct Chains<const R: usize, const N: usize> {
    /// Of each round, the key of each chain.
    keys: [[Sixteen; N]; 15],
    /// The last blocks that were encrypted, or the IVs.
    last: [Sixteen; N],
    /// The blocks in hand.
    blocks: [[Sixteen; N]; BLOCKS],
}

impl<const R: usize, const N: usize> Chains<R, N> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn none() -> Self {
        let none = [[vector::zero(); 16 / CHAINS]; N];
        Chains {
            keys: [none; 15],
            last: none,
            blocks: [none; BLOCKS],
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn begin(&mut self, lanes: &Lanes<'_>) {
        for (group, n) in each::<N>() {
            let lanes_of = [0, 1, 2, 3].map(|i| lane(group, n, i));
            let schedules = lanes_of.map(|lane| lanes.schedules[lane]);
            for (r, keys) in self.keys.iter_mut().enumerate().take(R + 1) {
                keys[group][n] = gather(schedules.map(|s| &s.encryption[r]));
            }
            self.last[group][n] = gather(lanes_of.map(|lane| lanes.iv(lane)));
        }
    }

    /// Overwrites the keys.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn wipe(&mut self) {
        vector::wipe(self.keys.as_flattened_mut().as_flattened_mut());
    }

    /// The words of what was encrypted last, of sixteen chains.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn words(&self, group: usize) -> [V; 16] {
        let mut words = [vector::zero(); 16];
        for (blocks, words) in self.blocks.iter().zip(words.as_chunks_mut().0) {
            *words = transpose_words(blocks[group]);
        }
        words
    }

    /// Takes the `step`th 64 bytes of each payload.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn take(&mut self, lanes: &Lanes<'_>, step: usize) {
        let whole = lanes.payloads_are_whole(step);
        for (group, n) in each::<N>() {
            let mut rows = [vector::zero(); CHAINS];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = if whole {
                    lanes.payload(lane(group, n, i), step)
                } else {
                    lanes.payload_part(lane(group, n, i), step)
                };
            }
            for (blocks, row) in self.blocks.iter_mut().zip(transpose_blocks(rows)) {
                blocks[group][n] = row;
            }
        }
    }

    /// Writes what was encrypted in their place.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn put(&mut self, lanes: &mut Lanes<'_>, step: usize) {
        let whole = lanes.payloads_are_whole(step);
        for (group, n) in each::<N>() {
            let rows = transpose_blocks(self.blocks.map(|blocks| blocks[group][n]));
            for (i, row) in rows.into_iter().enumerate() {
                if whole {
                    lanes.set_payload(lane(group, n, i), step, row);
                } else {
                    lanes.set_payload_part(lane(group, n, i), step, row);
                }
            }
        }
    }

    /// Encrypts what was taken.
    // Apart, else the compiler unrolls it and moves keys about.
    #[inline(never)]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn encrypt(&mut self) {
        for n in 0..BLOCKS {
            self.encrypt_blocks(n);
        }
    }

    /// Encrypts the `n`th block of each chain of what was taken; to be called in order.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn encrypt_blocks(&mut self, n: usize) {
        let [first, keys @ ..] = &self.keys;
        let (mut last, blocks) = (self.last, &mut self.blocks[n]);
        for (group, n) in each::<N>() {
            let (block, key) = (blocks[group][n], first[group][n]);
            last[group][n] = _mm512_ternarylogic_epi32::<0x96>(last[group][n], block, key);
        }
        for keys in &keys[..R - 1] {
            for (group, n) in each::<N>() {
                last[group][n] = _mm512_aesenc_epi128(last[group][n], keys[group][n]);
            }
        }
        for (group, n) in each::<N>() {
            last[group][n] = _mm512_aesenclast_epi128(last[group][n], keys[R - 1][group][n]);
        }
        *blocks = last;
        self.last = last;
    }
}

/// Each vector of chains.
#[inline(always)]
fn each<const N: usize>() -> impl Iterator<Item = (usize, usize)> {
    (0..N * 16 / CHAINS).map(|vector| (vector / 4, vector % 4))
}

/// The packet of the `i`th chain of a vector.
#[inline]
const fn lane(group: usize, vector: usize, i: usize) -> usize {
    16 * group + vector + 4 * i
}

/// Four blocks in a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn gather([a, b, c, d]: [&Block; 4]) -> V {
    let v = vector::broadcast(a);
    let v = vector::insert(v, 0x00f0, b);
    let v = vector::insert(v, 0x0f00, c);
    vector::insert(v, 0xf000, d)
}

/// Decrypts a payload of whole blocks in place with a key of `R` rounds.
#[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
pub(super) fn decrypt<const R: usize>(schedule: &Schedule, iv: &Block, payload: &mut [u8]) {
    let mut keys = [vector::zero(); 15];
    for (key, block) in keys.iter_mut().zip(&schedule.decryption) {
        *key = vector::broadcast(block);
    }
    let mut before = vector::broadcast(iv);
    let mut parts = payload.chunks_exact_mut(64 * AT_ONCE);
    for part in &mut parts {
        let mut rows = [before; AT_ONCE];
        for (row, bytes) in rows.iter_mut().zip(part.as_chunks().0) {
            *row = vector::load(bytes);
        }
        let clear = decrypt_rows::<R>(&keys, &mut before, rows);
        for (bytes, row) in part.as_chunks_mut().0.iter_mut().zip(clear) {
            vector::store(bytes, row);
        }
    }
    let part = parts.into_remainder();
    if part.is_empty() {
        return;
    }
    let mut rows = [before; AT_ONCE];
    for (row, bytes) in rows.iter_mut().zip(part.chunks(64)) {
        *row = vector::load_part(bytes);
    }
    let clear = decrypt_rows::<R>(&keys, &mut before, rows);
    for (bytes, row) in part.chunks_mut(64).zip(clear) {
        vector::store_part(bytes, row);
    }
}

/// Vectors that are decrypted side by side.
const AT_ONCE: usize = 4;

/// Decrypts vectors in a row, which follow what is in `before`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
fn decrypt_rows<const R: usize>(
    keys: &[V; 15],
    before: &mut V,
    rows: [V; AT_ONCE],
) -> [V; AT_ONCE] {
    let mut clear = rows;
    for clear in &mut clear {
        *clear = _mm512_xor_si512(*clear, keys[0]);
    }
    for key in &keys[1..R] {
        for clear in &mut clear {
            *clear = _mm512_aesdec_epi128(*clear, *key);
        }
    }
    for (clear, row) in clear.iter_mut().zip(rows) {
        // Each block is added the one before it.
        let added = _mm512_alignr_epi64::<6>(row, *before);
        *clear = _mm512_xor_si512(_mm512_aesdeclast_epi128(*clear, keys[R]), added);
        *before = row;
    }
    clear
}
