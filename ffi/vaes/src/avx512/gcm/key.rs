//! Keys: AES round keys (FIPS 197 5.2), powers of H, and the first AES round of each counter.

use core::arch::x86_64::*;
use std::fmt;

use zeroize::Zeroize;

use super::ghash::{self, Sums};
use crate::avx512::aes;
use crate::avx512::vector::{self, Block, V};

/// At most so many blocks, that of lengths among them, are hashed with one reduction. More would save few reductions
/// and cost cache with many keys.
pub(crate) const POWERS: usize = 48;
/// So many blocks begin with round 2: the header, and a payload of 1 520 bytes.
pub(crate) const COUNTERS: usize = 96;
/// What the loads of two vectors may take behind the last power they need.
const PADDING: usize = 8;
/// The last vector's words begin three behind those of the first of its group.
const WORDS: usize = COUNTERS + 3;

/// The key of an SA, expanded: round keys, salt, and powers of the hash key. Wiped when dropped.
pub struct Key {
    schedule: Box<Schedule>,
    pub(crate) size: KeySize,
    icv_len: u8,
}

/// How long the AES key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySize {
    Aes128,
    Aes192,
    Aes256,
}

impl KeySize {
    pub(crate) const ALL: [KeySize; 3] = [KeySize::Aes128, KeySize::Aes192, KeySize::Aes256];

    fn of(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(KeySize::Aes128),
            24 => Some(KeySize::Aes192),
            32 => Some(KeySize::Aes256),
            _ => None,
        }
    }

    /// FIPS 197 figure 4.
    const fn rounds(self) -> usize {
        10 + 2 * self as usize
    }
}

/// What is expanded. A short packet touches the end of `powers`, `start`, `rounds` and the beginning of `counters`:
/// they are neighbours.
#[repr(C, align(64))]
pub(crate) struct Schedule {
    /// H^n times x at POWERS - n, zeros behind H.
    powers: [Block; POWERS + PADDING],
    /// Round key 0, with the salt added that begins each counter block.
    start: Block,
    /// Round keys from 1 on.
    rounds: [Block; 14],
    /// What a counter changes in the first column of the state by the end of round 1; where, says [`counter_place`].
    counters: [u32; WORDS],
}

const _: () = assert!(size_of::<Schedule>() == 24 * 64);

/// Where the word of a block's counter is, in a table read by vectors: vector 4g + j at word 16g + j, block i of it
/// four words further each. So the first columns of a vector's blocks are where they are needed.
const fn counter_place(block: usize) -> usize {
    let (vector, i) = (block / 4, block % 4);
    16 * (vector / 4) + vector % 4 + 4 * i
}

impl Key {
    #[target_feature(enable = "avx512f,avx512bw,aes,vaes,vpclmulqdq")]
    pub(crate) fn expand(key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<Self> {
        let size = KeySize::of(key)?;
        if !matches!(icv_len, 8 | 12 | 16) {
            return None;
        }
        let mut schedule = Box::new(Schedule::ZERO);
        schedule.expand_rounds(key);
        schedule.expand_powers(size);
        schedule.expand_counters();
        for (byte, salt) in schedule.start.iter_mut().zip(salt) {
            *byte ^= salt;
        }
        Some(Key {
            schedule,
            size,
            icv_len: icv_len as u8,
        })
    }

    /// Asks for the memory that a packet with a payload of so many bytes needs: powers, round keys, counters.
    #[inline]
    pub fn prefetch(&self, payload: usize) {
        /// Blocks, and counters' words, of a cache line.
        const BLOCKS: usize = 4;
        const LINE_WORDS: usize = 16;
        let Schedule {
            powers,
            rounds,
            counters,
            ..
        } = &*self.schedule;
        // The header, the trailer that may begin a block, the lengths, and what is left of a block.
        let blocks = payload / size_of::<Block>() + 4;
        let first = POWERS.saturating_sub(blocks) / BLOCKS * BLOCKS;
        // Of what lies behind the last power, that which a short packet's vectors take.
        for line in powers[first..POWERS + BLOCKS].chunks(BLOCKS) {
            prefetch::soon(line);
        }
        // What follows of longer keys shares a line with the first counters.
        for line in rounds.chunks(BLOCKS).take(3) {
            prefetch::soon(line);
        }
        for line in counters.chunks(LINE_WORDS).take(blocks / LINE_WORDS + 2) {
            prefetch::soon(line);
        }
    }

    /// Bytes of an ICV.
    #[inline]
    pub(crate) fn icv_len(&self) -> usize {
        self.icv_len.into()
    }

    #[inline]
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

impl Schedule {
    /// In lieu of a key.
    pub(crate) const ZERO: Self = Schedule {
        powers: [[0; 16]; POWERS + PADDING],
        start: [0; 16],
        rounds: [[0; 16]; 14],
        counters: [0; WORDS],
    };

    #[target_feature(enable = "aes")]
    fn expand_rounds(&mut self, key: &[u8]) {
        let mut blocks = aes::expand(key);
        let [start, rounds @ ..] = &blocks;
        (self.start, self.rounds) = (*start, *rounds);
        blocks.zeroize();
    }

    /// H is the zero block, enciphered (SP 800-38D 7.1 step 1).
    #[target_feature(enable = "avx512f,aes,vaes,vpclmulqdq")]
    fn expand_powers(&mut self, size: KeySize) {
        let mut state = vector::broadcast(&self.start);
        for r in 1..size.rounds() {
            state = _mm512_aesenc_epi128(state, self.round(r));
        }
        state = _mm512_aesenclast_epi128(state, self.round(size.rounds()));
        let mut block = first_block(state);
        let mut h = ghash::double(u128::from_be_bytes(block)).to_le_bytes();
        let multiplier = vector::broadcast(&h);
        let mut power = multiplier;
        for place in self.powers[..POWERS].iter_mut().rev() {
            *place = first_block(power);
            power = Sums::product(power, multiplier).reduce();
        }
        block.zeroize();
        h.zeroize();
    }

    /// Of a counter below 256 only the last byte of the counter block depends. ShiftRows moves it into the first
    /// column, where MixColumns adds multiples of what SubBytes made of it, whatever the other bytes are. So the end
    /// of round 1 is that of counter 0, plus a word that depends on key and counter only.
    #[target_feature(enable = "avx512f,vaes")]
    fn expand_counters(&mut self) {
        let start = self.start();
        let zero = _mm512_aesenc_epi128(start, self.round(1));
        let mut changes = [0; 64];
        for vector in 0..COUNTERS / 4 {
            // Block 0 has counter 1: it enciphers the tag (SP 800-38D 7.1 step 2).
            let first = 4 * vector as i32 + 1;
            let counters = _mm512_maskz_add_epi32(
                0x8888,
                _mm512_set1_epi32(first),
                _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3),
            );
            let last_bytes = _mm512_slli_epi32::<24>(counters);
            let state = _mm512_xor_si512(start, last_bytes);
            let state = _mm512_aesenc_epi128(state, self.round(1));
            vector::store(&mut changes, _mm512_xor_si512(state, zero));
            for (i, block) in changes.chunks_exact(16).enumerate() {
                let column = block.first_chunk().map_or(0, |c| u32::from_ne_bytes(*c));
                self.counters[counter_place(4 * vector + i)] = column;
            }
        }
        changes.zeroize();
    }

    /// Round key `r`, from 1 on.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn round(&self, r: usize) -> V {
        vector::broadcast(&self.rounds[r - 1])
    }

    /// Round key 0 and the salt.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn start(&self) -> V {
        vector::broadcast(&self.start)
    }

    /// What is to be added to the state of counter 0 after round 1 for the counters of a packet's `vector`th vector.
    /// Only the first column of each block counts.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn counters(&self, vector: usize) -> V {
        vector::load_words(&self.counters, 16 * (vector / 4) + vector % 4)
    }

    /// The same for the eight vectors of a packet's `group`th group: for vector j from word 16 (j / 4) + j % 4
    /// on. `None` for later ones, whose counters are not known.
    #[inline]
    pub(crate) fn group_counters(&self, group: usize) -> Option<&[u32; 35]> {
        self.counters.get(32 * group..)?.first_chunk()
    }

    /// H^`exponent`, which is at least 32, and the 31 powers below it.
    #[inline]
    pub(crate) fn group_powers(&self, exponent: usize) -> &[Block; 32] {
        let first = POWERS.wrapping_sub(exponent).min(POWERS + PADDING - 32);
        self.powers[first..].first_chunk().unwrap_or(&[[0; 16]; 32])
    }

    /// H^`exponent` and the three powers below it; zeros below H^1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn powers(&self, exponent: usize) -> V {
        vector::load_blocks(&self.powers, POWERS.wrapping_sub(exponent))
    }

    /// H^`exponent` and the seven powers below it; zeros below H^1.
    #[inline]
    pub(crate) fn powers_from(&self, exponent: usize) -> &[Block; 8] {
        let first = POWERS.wrapping_sub(exponent).min(POWERS);
        self.powers[first..].first_chunk().unwrap_or(&[[0; 16]; 8])
    }

    /// H.
    #[inline]
    pub(crate) fn h(&self) -> &Block {
        &self.powers[POWERS - 1]
    }
}

#[target_feature(enable = "avx512f")]
fn first_block(v: V) -> Block {
    let mut bytes = [0; 64];
    vector::store(&mut bytes, v);
    let mut block = [0; 16];
    block.copy_from_slice(&bytes[..16]);
    bytes.zeroize();
    block
}

impl Drop for Key {
    fn drop(&mut self) {
        let Schedule {
            powers,
            start,
            rounds,
            counters,
        } = &mut *self.schedule;
        powers.zeroize();
        start.zeroize();
        rounds.zeroize();
        counters.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.size)
    }
}
