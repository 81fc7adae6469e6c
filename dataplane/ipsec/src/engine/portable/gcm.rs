//! AES-GCM and AES-GMAC with a 96 bit nonce (NIST SP 800-38D), ICVs of any length the RFCs name.

use aes::cipher::BlockCipherEncrypt;
use ghash::{GHash, universal_hash::UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::aes::{Aes, AesBlock};
use super::blocks::absorb;
use crate::engine::KeyError;

/// AES-GCM under one key.
pub struct Gcm {
    aes: Aes,
    ghash: GHash,
}

impl Gcm {
    /// Expands a key of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, KeyError> {
        let aes = Aes::new(key)?;
        let mut h = AesBlock::default();
        aes.encrypt_block(&mut h);
        let ghash = GHash::new(&h);
        h.zeroize();
        Ok(Gcm { aes, ghash })
    }

    /// Encrypts `data` in place and writes the tag, cut to the length of `tag`.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &mut [u8]) -> bool {
        let mut counter = self.aes.counter(&first_counter(nonce));
        let mask = counter.block();
        counter.apply(data);
        put(&self.tag(mask, &[aad], data), tag)
    }

    /// Verifies the tag in constant time, then decrypts `data` in place.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        let mut counter = self.aes.counter(&first_counter(nonce));
        let mask = counter.block();
        let authentic = matches(&self.tag(mask, &[aad], data), tag);
        if authentic {
            counter.apply(data);
        }
        authentic
    }

    /// Writes the tag over `parts`, none of them encrypted (GMAC).
    pub fn sign(&self, nonce: &[u8; 12], parts: &[&[u8]], tag: &mut [u8]) -> bool {
        put(&self.gmac(nonce, parts), tag)
    }

    /// Verifies the tag over `parts` in constant time (GMAC).
    pub fn verify(&self, nonce: &[u8; 12], parts: &[&[u8]], tag: &[u8]) -> bool {
        matches(&self.gmac(nonce, parts), tag)
    }

    fn gmac(&self, nonce: &[u8; 12], parts: &[&[u8]]) -> AesBlock {
        let mask = self.aes.counter(&first_counter(nonce)).block();
        self.tag(mask, parts, &[])
    }

    /// SP 800-38D 7.1, steps 5 and 6.
    fn tag(&self, mask: AesBlock, aad: &[&[u8]], ciphertext: &[u8]) -> AesBlock {
        let mut ghash = self.ghash.clone();
        match aad {
            [one] => ghash.update_padded(one),
            parts => {
                let (last, filled) = absorb(parts, |blocks| ghash.update(blocks));
                ghash.update_padded(&last[..filled]);
            }
        }
        ghash.update_padded(ciphertext);
        let aad_length: usize = aad.iter().map(|part| part.len()).sum();
        let mut lengths = AesBlock::default();
        lengths[..8].copy_from_slice(&bits(aad_length));
        lengths[8..].copy_from_slice(&bits(ciphertext.len()));
        ghash.update(&[lengths]);
        let mut tag = ghash.finalize();
        tag.iter_mut().zip(mask).for_each(|(t, m)| *t ^= m);
        tag
    }
}

/// J0 of a 96 bit nonce.
fn first_counter(nonce: &[u8; 12]) -> [u8; 16] {
    let mut block = [0; 16];
    block[..12].copy_from_slice(nonce);
    block[15] = 1;
    block
}

fn bits(bytes: usize) -> [u8; 8] {
    (bytes as u64 * 8).to_be_bytes()
}

/// Copies as much of `full` as `tag` holds; false if `tag` is too long.
pub(super) fn put(full: &[u8], tag: &mut [u8]) -> bool {
    full.get(..tag.len())
        .map(|cut| tag.copy_from_slice(cut))
        .is_some()
}

/// Compares `tag` with as much of `full` in constant time; an empty or too long tag never matches.
pub(super) fn matches(full: &[u8], tag: &[u8]) -> bool {
    !tag.is_empty()
        && full
            .get(..tag.len())
            .is_some_and(|cut| cut.ct_eq(tag).into())
}
