//! Keys: AES round keys for both directions, and the states of HMAC behind its two key blocks (RFC 2104 2).

use core::arch::x86_64::*;
use std::fmt;

use zeroize::Zeroize;

use super::hash::{self, State};
use crate::Hash;
use crate::avx512::aes;
use crate::avx512::vector::{self, Block};

/// The keys of an SA, expanded. Wiped when dropped.
pub struct Key {
    schedule: Box<Schedule>,
    pub(super) hash: Hash,
    /// Of AES: 10, 12 or 14.
    pub(super) rounds: u8,
}

/// What is expanded.
#[repr(C, align(64))]
pub(super) struct Schedule {
    /// Behind the inner and behind the outer key block.
    pub(super) states: [State; 2],
    pub(super) encryption: [Block; 15],
    pub(super) decryption: [Block; 15],
}

impl Schedule {
    /// In lieu of a key.
    pub(super) const ZERO: Self = Schedule {
        states: [[0; 8]; 2],
        encryption: [[0; 16]; 15],
        decryption: [[0; 16]; 15],
    };

    /// Makes the round keys of the equivalent inverse cipher (FIPS 197 5.3.5).
    #[target_feature(enable = "avx512f,aes")]
    fn invert(&mut self, rounds: usize) {
        let inverse = self.decryption.iter_mut().take(rounds + 1);
        let forward = self.encryption[..=rounds].iter().rev();
        for (r, (inverse, forward)) in inverse.zip(forward).enumerate() {
            let key = vector::load_block(forward);
            let is_end = r == 0 || r == rounds;
            vector::store_block(inverse, if is_end { key } else { _mm_aesimc_si128(key) });
        }
    }
}

impl Key {
    /// `None` for keys of the wrong length: AES has 16, 24 or 32 bytes, HMAC as many as its hash (RFC 2404 3,
    /// RFC 4868 2.1.1).
    #[target_feature(enable = "avx512f,avx512bw,aes")]
    pub(super) fn expand(hash: Hash, cipher_key: &[u8], integrity_key: &[u8]) -> Option<Self> {
        if !matches!(cipher_key.len(), 16 | 24 | 32) || integrity_key.len() != hash.bytes() {
            return None;
        }
        let rounds = cipher_key.len() / 4 + 6;
        let mut schedule = Box::new(Schedule::ZERO);
        for (state, pad) in schedule.states.iter_mut().zip([0x36, 0x5c]) {
            let mut block = [pad; 64];
            let pairs = block.iter_mut().zip(integrity_key);
            pairs.for_each(|(b, k)| *b ^= k);
            *state = hash::start(hash);
            hash::compress_one(hash, state, std::slice::from_ref(&block));
            block.zeroize();
        }
        let mut encryption = aes::expand(cipher_key);
        schedule.encryption = encryption;
        encryption.zeroize();
        schedule.invert(rounds);
        Some(Key {
            schedule,
            hash,
            rounds: rounds as u8,
        })
    }

    /// Asks for the memory that a packet needs.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::front(&*self.schedule, size_of::<Schedule>() / 64);
    }

    #[inline]
    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let Schedule {
            states,
            encryption,
            decryption,
        } = &mut *self.schedule;
        states.zeroize();
        encryption.zeroize();
        decryption.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {} rounds)", self.hash, self.rounds)
    }
}
