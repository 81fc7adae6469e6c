//! AES-CCM with the 11 byte nonce of RFC 4309 (RFC 3610 with L = 4).

use super::aes::{Aes, AesBlock};
use super::blocks::absorb;
use super::cbc_mac::{chain, xor};
use super::gcm::{matches, put};
use crate::engine::KeyError;

/// L - 1 in the flags of B0 and A_i: four bytes of length and counter (RFC 4309 4).
const FLAGS_L: u8 = 3;
/// Flag of B0: there is associated data.
const FLAG_ADATA: u8 = 0x40;

/// AES-CCM under one key.
pub struct Ccm {
    aes: Aes,
}

impl Ccm {
    /// Expands a key of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, KeyError> {
        Aes::new(key).map(|aes| Ccm { aes })
    }

    /// Encrypts `data` in place and writes the tag: CCM computes another tag for each length.
    pub fn seal(&self, nonce: &[u8; 11], aad: &[u8], data: &mut [u8], tag: &mut [u8]) -> bool {
        let Some(mut full) = self.mac(nonce, aad, data, tag.len()) else {
            return false;
        };
        let mut counter = self.aes.counter(&block(FLAGS_L, nonce, 0));
        xor(&mut full, &counter.block());
        counter.apply(data);
        put(&full, tag)
    }

    /// Decrypts `data` in place, because the tag covers the plaintext, and verifies it in constant time.
    pub fn open(&self, nonce: &[u8; 11], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        let mut counter = self.aes.counter(&block(FLAGS_L, nonce, 0));
        let mask = counter.block();
        counter.apply(data);
        self.mac(nonce, aad, data, tag.len())
            .is_some_and(|mut full| {
                xor(&mut full, &mask);
                matches(&full, tag)
            })
    }

    /// T of RFC 3610 2.2; `None` for a tag that is not 4, 6, ... 16 bytes long, or data beyond the format.
    fn mac(&self, nonce: &[u8; 11], aad: &[u8], data: &[u8], tag: usize) -> Option<AesBlock> {
        if !matches!(tag, 4 | 6 | 8 | 10 | 12 | 14 | 16) || aad.len() >= 0xff00 {
            return None;
        }
        let length = u32::try_from(data.len()).ok()?;
        let adata = if aad.is_empty() { 0 } else { FLAG_ADATA };
        let flags = adata | ((tag as u8 - 2) / 2) << 3 | FLAGS_L;

        let mut state = AesBlock::default();
        chain(&self.aes, &mut state, &[block(flags, nonce, length).into()]);
        let aad_length = (aad.len() as u16).to_be_bytes();
        let header: &[&[u8]] = if aad.is_empty() {
            &[]
        } else {
            &[&aad_length, aad]
        };
        for parts in [header, &[data]] {
            let (last, filled) = absorb(parts, |blocks| chain(&self.aes, &mut state, blocks));
            if filled > 0 {
                chain(&self.aes, &mut state, &[last]);
            }
        }
        Some(state)
    }
}

/// B0 and A_i are built alike: flags, nonce, length or counter.
fn block(flags: u8, nonce: &[u8; 11], last: u32) -> [u8; 16] {
    let mut block = [0; 16];
    block[0] = flags;
    block[1..12].copy_from_slice(nonce);
    block[12..].copy_from_slice(&last.to_be_bytes());
    block
}
