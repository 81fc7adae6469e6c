//! AES-CBC (RFC 3602): thirty-two chains encrypted side by side, since each block waits for the one before; decrypted, the
//! blocks of one packet side by side.

use core::arch::x86_64::*;

use super::key::Schedule;
use super::lane::{LANES, Lanes};
use super::words::{transpose_blocks, transpose_words};
use crate::avx512::vector::{self, Block, V};

/// Chains in a vector. Of sixteen, the first has every fourth, so that words of four vectors are in order when they are
/// brought together.
const CHAINS: usize = 4;
/// Vectors of chains.
const VECTORS: usize = LANES / CHAINS;
/// Blocks of a chain that are encrypted in one go: as much as a block of a hash function.
const BLOCKS: usize = 4;

/// Thirty-two packets that are encrypted, 64 bytes of each in one go, whose keys have `R` rounds.
pub(super) struct Chains<const R: usize> {
    /// Of each round, the key of each chain.
    keys: [[V; VECTORS]; 15],
    /// The last blocks that were encrypted, or the IVs; and between, what becomes of the next.
    last: [V; VECTORS],
    /// The blocks in hand: of each vector's chains, the n-th.
    blocks: [[V; BLOCKS]; VECTORS],
}

impl<const R: usize> Chains<R> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn none() -> Self {
        Chains {
            keys: [[vector::zero(); VECTORS]; 15],
            last: [vector::zero(); VECTORS],
            blocks: [[vector::zero(); BLOCKS]; VECTORS],
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn begin(&mut self, lanes: &Lanes<'_>) {
        for g in 0..VECTORS {
            let lanes_of = [0, 1, 2, 3].map(|i| lane(g, i));
            let schedules = lanes_of.map(|lane| lanes.schedules[lane]);
            for (r, keys) in self.keys.iter_mut().enumerate().take(R + 1) {
                keys[g] = gather(schedules.map(|s| &s.encryption[r]));
            }
            self.last[g] = gather(lanes_of.map(|lane| lanes.iv(lane)));
        }
    }

    /// Encrypts the `step`th 64 bytes of each payload.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,bmi2")]
    pub(super) fn encrypt(&mut self, lanes: &mut Lanes<'_>, step: usize) {
        self.take(lanes, step);
        self.encrypt_taken();
        self.put(lanes, step);
    }

    /// The words of what was encrypted last, of sixteen chains.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn words(&self, half: usize) -> [V; 16] {
        let mut words = [vector::zero(); 16];
        for (block, words) in words.as_chunks_mut().0.iter_mut().enumerate() {
            *words =
                transpose_words([0, 1, 2, 3].map(|g| self.blocks[VECTORS / 2 * half + g][block]));
        }
        words
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    fn take(&mut self, lanes: &Lanes<'_>, step: usize) {
        let whole = lanes.payloads_are_whole(step);
        for (g, blocks) in self.blocks.iter_mut().enumerate() {
            let mut rows = [vector::zero(); CHAINS];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = if whole {
                    lanes.payload(lane(g, i), step)
                } else {
                    lanes.payload_part(lane(g, i), step)
                };
            }
            *blocks = transpose_blocks(rows);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    fn put(&mut self, lanes: &mut Lanes<'_>, step: usize) {
        let whole = lanes.payloads_are_whole(step);
        for (g, blocks) in self.blocks.iter().enumerate() {
            for (i, row) in transpose_blocks(*blocks).into_iter().enumerate() {
                if whole {
                    lanes.set_payload(lane(g, i), step, row);
                } else {
                    lanes.set_payload_part(lane(g, i), step, row);
                }
            }
        }
    }

    /// Encrypts what was taken.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    fn encrypt_taken(&mut self) {
        let mut last = self.last;
        for block in 0..BLOCKS {
            for g in 0..VECTORS {
                let clear = self.blocks[g][block];
                last[g] = _mm512_ternarylogic_epi32::<0x96>(last[g], clear, self.keys[0][g]);
            }
            for keys in &self.keys[1..R] {
                for (last, key) in last.iter_mut().zip(keys) {
                    *last = _mm512_aesenc_epi128(*last, *key);
                }
            }
            for g in 0..VECTORS {
                last[g] = _mm512_aesenclast_epi128(last[g], self.keys[R][g]);
                self.blocks[g][block] = last[g];
            }
        }
        self.last = last;
    }
}

/// The packet of a vector's `i`th chain.
#[inline]
const fn lane(vector: usize, i: usize) -> usize {
    vector / 4 * 16 + vector % 4 + 4 * i
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
