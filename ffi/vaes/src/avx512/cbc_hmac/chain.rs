//! AES-CBC (RFC 3602): many chains encrypted side by side, since each block waits for the one before; decrypted, the
//! blocks of one packet side by side.

use core::arch::x86_64::*;

use super::key::Schedule;
use super::lane::Lanes;
use super::words::{big_endian, transpose_blocks, transpose_words};
use crate::avx512::vector::{self, Block, V};

/// Chains in a vector. Of sixteen, the first has every fourth, so that words of four vectors are in order when they are
/// brought together.
const CHAINS: usize = 4;
/// A vector for each four of sixteen chains.
pub(super) type Sixteen = [V; 16 / CHAINS];
/// Blocks of a chain that are encrypted in one go: as much as a block of a hash function.
pub(super) const BLOCKS: usize = 4;
/// A part of each payload.
type Blocks<const N: usize> = [[Sixteen; N]; BLOCKS];

/// Where there are no chains.
pub(super) const NO_ROUNDS: usize = 0;
/// Rounds of AES-256, and one: the first key; and another, for a number of four bits never to be out of bounds.
const KEYS: usize = 16;

/// Sixteen packets, or twice as many (`N`), that are encrypted, 64 bytes of each in one go; their keys have `R` rounds.
pub(super) struct Chains<const R: usize, const N: usize> {
    /// Of each round, the key of each chain.
    keys: [[Sixteen; N]; KEYS],
    /// The last blocks that were encrypted, or the IVs.
    last: [Sixteen; N],
    /// Those of the part in hand and of the one before or behind it: of even and of odd parts.
    parts: [Blocks<N>; 2],
}

impl<const R: usize, const N: usize> Chains<R, N> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn none() -> Self {
        let none = [[vector::zero(); 16 / CHAINS]; N];
        Chains {
            keys: [none; KEYS],
            last: none,
            parts: [[none; BLOCKS]; 2],
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

    /// The words of the `n`th block of the `step`th part, encrypted, of sixteen chains.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn words(&self, step: usize, n: usize, group: usize) -> [V; 4] {
        let mut words = transpose_words(self.parts[step % 2][n % BLOCKS][group]);
        for word in &mut words {
            *word = big_endian(*word);
        }
        words
    }

    /// Takes the `step`th part of each payload, 64 bytes.
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
            let blocks = self.parts[step % 2].iter_mut();
            for (blocks, row) in blocks.zip(transpose_blocks(rows)) {
                blocks[group][n] = row;
            }
        }
    }

    /// Writes what was encrypted in its place.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn put(&mut self, lanes: &mut Lanes<'_>, step: usize) {
        let whole = lanes.payloads_are_whole(step);
        let [a, b, c, d] = &self.parts[step % 2];
        for (group, n) in each::<N>() {
            let blocks = [a, b, c, d].map(|blocks| blocks[group][n]);
            for (i, row) in transpose_blocks(blocks).into_iter().enumerate() {
                if whole {
                    lanes.set_payload(lane(group, n, i), step, row);
                } else {
                    lanes.set_payload_part(lane(group, n, i), step, row);
                }
            }
        }
    }

    /// Encrypts the `step`th part.
    // Apart, else the compiler unrolls it and moves keys about.
    #[inline(never)]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn encrypt(&mut self, step: usize) {
        for n in 0..BLOCKS {
            let mut chains = self.last;
            for (group, chains) in chains.iter_mut().enumerate() {
                *chains = self.start(step, n, group);
            }
            for r in 1..R {
                for (group, chains) in chains.iter_mut().enumerate() {
                    self.round(r, group, chains);
                }
            }
            for (group, chains) in chains.into_iter().enumerate() {
                self.finish(step, n, group, chains);
            }
        }
    }

    /// Begins to encrypt the `n`th block of the `step`th part, of sixteen chains. What is in hand is returned, for it
    /// to stay in registers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn start(&self, step: usize, n: usize, group: usize) -> Sixteen {
        let mut chains = self.last[group];
        let (blocks, keys) = (
            &self.parts[step % 2][n % BLOCKS][group],
            &self.keys[0][group],
        );
        for ((chain, block), key) in chains.iter_mut().zip(blocks).zip(keys) {
            *chain = _mm512_ternarylogic_epi32::<0x96>(*chain, *block, *key);
        }
        chains
    }

    /// The `r`th round, one of those between the first key and the last round.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn round(&self, r: usize, group: usize, chains: &mut Sixteen) {
        for (chain, key) in chains.iter_mut().zip(&self.keys[r % KEYS][group]) {
            *chain = _mm512_aesenc_epi128(*chain, *key);
        }
    }

    /// The last round.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn finish(&mut self, step: usize, n: usize, group: usize, mut chains: Sixteen) {
        for (chain, key) in chains.iter_mut().zip(&self.keys[R % KEYS][group]) {
            *chain = _mm512_aesenclast_epi128(*chain, *key);
        }
        self.parts[step % 2][n % BLOCKS][group] = chains;
        self.last[group] = chains;
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
