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
/// Powers of H that every key has.
pub(crate) const NEAR_POWERS: usize = 16;
/// So many blocks begin with round 2: the header, and a payload of 1 520 bytes.
pub(crate) const COUNTERS: usize = 96;
/// The last vector's words begin three behind those of the first of its group.
const WORDS: usize = COUNTERS + 3;
/// Round keys of the longest key.
const ROUND_KEYS: usize = 15;
/// Blocks that every key has.
pub(super) const CORE: usize = NEAR_POWERS + ROUND_KEYS;

/// Where round key 0 is among them; powers of H are before it.
pub(super) const START: usize = NEAR_POWERS;

/// The key of an SA, expanded: round keys, salt, and powers of the hash key. Wiped when dropped.
pub struct Key<S: Schedule = Wide> {
    schedule: Box<S>,
    pub(crate) size: KeySize,
    pub(super) icv_len: u8,
}

/// What is expanded of a key: [`Wide`] or [`Compact`].
pub trait Schedule: Sized + 'static {
    /// In lieu of a key.
    const NONE: &'static Self;

    /// All zero.
    fn zero() -> Self;

    /// What every key has.
    fn core(&self) -> Core<'_>;

    /// The whole table of powers, as far as there is one, round keys behind it; and the counters.
    fn parts(&mut self) -> (&mut [Block], &mut [u32]);

    /// All of it, if that is expanded.
    fn wide(&self) -> Option<&Wide>;
}

/// All that spares work with each packet, in 22 cache lines: for SAs whose keys stay in the CPU's caches. A packet
/// touches the end of the powers, the round keys and the beginning of the counters: they are neighbours.
#[repr(C, align(64))]
pub struct Wide {
    /// H^n times x at POWERS - n; then the round keys. Those are also what a vector of powers has behind H, where the
    /// packet's vector has zeros.
    blocks: [Block; POWERS + ROUND_KEYS],
    /// What a counter changes in the first column of the state by the end of round 1; where, says [`counter_place`].
    counters: [u32; WORDS],
}

/// What a packet cannot do without, in 8 cache lines: what is expanded of a [`Seed`](super::seed::Seed), for a burst.
#[repr(C, align(64))]
pub struct Compact {
    /// H^n times x at NEAR_POWERS - n; then the round keys, as in [`Wide`].
    blocks: [Block; CORE],
}

const _: () = assert!(size_of::<Wide>() == 22 * 64 && size_of::<Compact>() == 8 * 64);

/// What every key has: powers of H from H^[`NEAR_POWERS`] down, each times x; then round keys, the first one with the
/// salt added that begins each counter block.
#[derive(Clone, Copy)]
pub struct Core<'a>(&'a [Block; CORE]);

/// How long the AES key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySize {
    Aes128,
    Aes192,
    Aes256,
}

impl KeySize {
    pub(crate) const ALL: [KeySize; 3] = [KeySize::Aes128, KeySize::Aes192, KeySize::Aes256];

    pub(super) fn of(key: &[u8]) -> Option<Self> {
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

/// Where the word of a block's counter is, in a table read by vectors: vector 4g + j at word 16g + j, block i of it
/// four words further each. So the first columns of a vector's blocks are where they are needed.
const fn counter_place(block: usize) -> usize {
    let (vector, i) = (block / 4, block % 4);
    16 * (vector / 4) + vector % 4 + 4 * i
}

impl<S: Schedule> Key<S> {
    #[target_feature(enable = "avx512f,avx512bw,aes,vaes,vpclmulqdq")]
    pub(crate) fn expand(key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<Self> {
        let size = KeySize::of(key)?;
        if !matches!(icv_len, 8 | 12 | 16) {
            return None;
        }
        let mut schedule = Box::new(S::zero());
        let mut round_keys = aes::expand(key);
        let (blocks, counters) = schedule.parts();
        let (powers, rounds) = blocks.split_at_mut(blocks.len() - ROUND_KEYS);
        rounds.copy_from_slice(&round_keys);
        expand_powers(powers, &round_keys, size);
        expand_counters(counters, &round_keys);
        for (byte, salt) in rounds.as_flattened_mut().iter_mut().zip(salt) {
            *byte ^= salt;
        }
        round_keys.zeroize();
        Some(Key {
            schedule,
            size,
            icv_len: icv_len as u8,
        })
    }

    /// Bytes of an ICV.
    #[inline]
    pub(crate) fn icv_len(&self) -> usize {
        self.icv_len.into()
    }

    #[inline]
    pub(crate) fn schedule(&self) -> &S {
        &self.schedule
    }
}

/// H times x. H is the zero block, enciphered (SP 800-38D 7.1 step 1).
#[target_feature(enable = "avx512f,aes,vaes")]
pub(super) fn hash_key(h: &mut Block, round_keys: &[Block; ROUND_KEYS], size: KeySize) {
    let mut state = vector::broadcast(&round_keys[0]);
    for key in &round_keys[1..size.rounds()] {
        state = _mm512_aesenc_epi128(state, vector::broadcast(key));
    }
    state = _mm512_aesenclast_epi128(state, vector::broadcast(&round_keys[size.rounds()]));
    let mut block = first_block(state);
    *h = ghash::double(u128::from_be_bytes(block)).to_le_bytes();
    block.zeroize();
}

/// `powers` ends with H.
#[target_feature(enable = "avx512f,aes,vaes,vpclmulqdq")]
fn expand_powers(powers: &mut [Block], round_keys: &[Block; ROUND_KEYS], size: KeySize) {
    let mut h = [0; 16];
    hash_key(&mut h, round_keys, size);
    let multiplier = vector::broadcast(&h);
    let mut power = multiplier;
    for place in powers.iter_mut().rev() {
        *place = first_block(power);
        power = Sums::product(power, multiplier).reduce();
    }
    h.zeroize();
}

/// Of a counter below 256 only the last byte of the counter block depends. ShiftRows moves it into the first column,
/// where MixColumns adds multiples of what SubBytes made of it, whatever the other bytes are. So the end of round 1 is
/// that of counter 0, plus a word that depends on key and counter only.
#[target_feature(enable = "avx512f,vaes")]
fn expand_counters(words: &mut [u32], round_keys: &[Block; ROUND_KEYS]) {
    let [start, first_round, ..] = round_keys.each_ref().map(|key| vector::broadcast(key));
    let zero = _mm512_aesenc_epi128(start, first_round);
    let mut changes = [0; 64];
    for vector in 0..words.len() / 4 {
        // Block 0 has counter 1: it enciphers the tag (SP 800-38D 7.1 step 2).
        let first = 4 * vector as i32 + 1;
        let counters = _mm512_maskz_add_epi32(
            0x8888,
            _mm512_set1_epi32(first),
            _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3),
        );
        let last_bytes = _mm512_slli_epi32::<24>(counters);
        let state = _mm512_xor_si512(start, last_bytes);
        let state = _mm512_aesenc_epi128(state, first_round);
        vector::store(&mut changes, _mm512_xor_si512(state, zero));
        for (i, block) in changes.chunks_exact(16).enumerate() {
            let column = block.first_chunk().map_or(0, |c| u32::from_ne_bytes(*c));
            if let Some(word) = words.get_mut(counter_place(4 * vector + i)) {
                *word = column;
            }
        }
    }
    changes.zeroize();
}

impl Key {
    /// Asks for the memory that a packet with a payload of so many bytes needs: powers, round keys, counters.
    #[inline]
    pub fn prefetch(&self, payload: usize) {
        // The header, the trailer that may begin a block, the lengths, and what is left of a block.
        self.schedule.prefetch(payload / size_of::<Block>() + 4);
    }
}

impl Key<Compact> {
    /// Room for a key.
    pub(super) fn none() -> Self {
        Key {
            schedule: Box::new(Compact::zero()),
            size: KeySize::Aes128,
            icv_len: 16,
        }
    }

    /// What is expanded.
    #[inline]
    pub(super) fn blocks(&mut self) -> &mut [Block; CORE] {
        &mut self.schedule.blocks
    }
}

impl<'a> Core<'a> {
    /// Round key `r`, from 1 on.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn round(self, r: usize) -> V {
        vector::broadcast(&self.0[NEAR_POWERS + r])
    }

    /// Round key 0 and the salt.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn start(self) -> V {
        vector::broadcast(&self.0[NEAR_POWERS])
    }

    /// H^`exponent` and the seven powers below it; anything behind H^1.
    #[inline]
    pub(crate) fn powers_from(self, exponent: usize) -> &'a [Block; 8] {
        let first = NEAR_POWERS.wrapping_sub(exponent).min(NEAR_POWERS);
        self.0[first..].first_chunk().unwrap_or(&[[0; 16]; 8])
    }

    /// The `vector`th of those with the powers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn powers(self, vector: usize) -> V {
        vector::load_blocks(self.0, 4 * vector)
    }

    /// H^[`NEAR_POWERS`] in all four places.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn highest(self) -> V {
        vector::broadcast(&self.0[0])
    }

    /// H.
    #[inline]
    pub(crate) fn h(self) -> &'a Block {
        &self.0[NEAR_POWERS - 1]
    }
}

/// Blocks of a cache line.
const LINE_BLOCKS: usize = 4;
/// Counters' words of a cache line.
const LINE_WORDS: usize = 16;
/// Round keys that the first three cache lines have: those of short keys.
const SHORT_ROUND_KEYS: usize = 3 * LINE_BLOCKS;

impl Schedule for Wide {
    const NONE: &'static Self = &Wide {
        blocks: [[0; 16]; POWERS + ROUND_KEYS],
        counters: [0; WORDS],
    };

    fn zero() -> Self {
        Wide {
            blocks: [[0; 16]; POWERS + ROUND_KEYS],
            counters: [0; WORDS],
        }
    }

    #[inline(always)]
    fn core(&self) -> Core<'_> {
        Core(self.blocks.last_chunk().unwrap_or(&[[0; 16]; CORE]))
    }

    fn parts(&mut self) -> (&mut [Block], &mut [u32]) {
        (&mut self.blocks, &mut self.counters)
    }

    #[inline(always)]
    fn wide(&self) -> Option<&Wide> {
        Some(self)
    }
}

impl Schedule for Compact {
    const NONE: &'static Self = &Compact {
        blocks: [[0; 16]; CORE],
    };

    fn zero() -> Self {
        Compact {
            blocks: [[0; 16]; CORE],
        }
    }

    #[inline(always)]
    fn core(&self) -> Core<'_> {
        Core(&self.blocks)
    }

    fn parts(&mut self) -> (&mut [Block], &mut [u32]) {
        (&mut self.blocks, &mut [])
    }

    #[inline(always)]
    fn wide(&self) -> Option<&Wide> {
        None
    }
}

impl Wide {
    /// Asks for the memory that a packet of so many blocks needs.
    #[inline]
    fn prefetch(&self, blocks: usize) {
        let first = POWERS.saturating_sub(blocks) / LINE_BLOCKS * LINE_BLOCKS;
        for line in self.blocks[first..POWERS + SHORT_ROUND_KEYS].chunks(LINE_BLOCKS) {
            prefetch::soon(line);
        }
        // What follows of longer keys shares a line with the first counters.
        for line in self
            .counters
            .chunks(LINE_WORDS)
            .take(blocks / LINE_WORDS + 2)
        {
            prefetch::soon(line);
        }
    }

    /// What is to be added to the state of counter 0 after round 1 for the counters of the eight vectors of a packet's
    /// `group`th group, only the first column of each block: for vector j from word 16 (j / 4) + j % 4 on. `None`
    /// for later ones, whose counters are not known.
    #[inline]
    pub(crate) fn group_counters(&self, group: usize) -> Option<&[u32; 35]> {
        self.counters.get(32 * group..)?.first_chunk()
    }

    /// H^`exponent`, which is at least 32, and the 31 powers below it.
    #[inline]
    pub(crate) fn group_powers(&self, exponent: usize) -> &[Block; 32] {
        let first = POWERS.wrapping_sub(exponent).min(POWERS + ROUND_KEYS - 32);
        self.blocks[first..].first_chunk().unwrap_or(&[[0; 16]; 32])
    }

    /// H^`exponent` and the three powers below it; anything behind H^1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn powers(&self, exponent: usize) -> V {
        vector::load_blocks(&self.blocks, POWERS.wrapping_sub(exponent))
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

impl<S: Schedule> Drop for Key<S> {
    fn drop(&mut self) {
        let (blocks, counters) = self.schedule.parts();
        blocks.as_flattened_mut().zeroize();
        counters.zeroize();
    }
}

impl<S: Schedule> fmt::Debug for Key<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.size)
    }
}

impl fmt::Debug for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wide")
    }
}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compact")
    }
}
