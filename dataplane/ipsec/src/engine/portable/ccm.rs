//! AES-CCM (RFC 3610). RFC 4309 gives it nonces of 11 bytes and so L = 4, the bytes of length and counter; 12
//! and 13 work as well, because it is those that others have published test cases for.

use super::aes::{Aes, AesBlock};
use super::blocks::absorb;
use super::cbc_mac::{chain, xor};
use super::gcm::{matches, put};
use crate::engine::KeyError;

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
    pub fn seal<const N: usize>(
        &self,
        nonce: &[u8; N],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8],
    ) -> bool {
        let Some(mut full) = self.mac(nonce, aad, data, tag.len()) else {
            return false;
        };
        let mut counter = self.aes.counter(&block(0, nonce, 0));
        xor(&mut full, &counter.block());
        counter.apply(data);
        put(&full, tag)
    }

    /// Decrypts `data` in place, because the tag covers the plaintext, and verifies it in constant time.
    pub fn open<const N: usize>(
        &self,
        nonce: &[u8; N],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8],
    ) -> bool {
        let mut counter = self.aes.counter(&block(0, nonce, 0));
        let mask = counter.block();
        counter.apply(data);
        self.mac(nonce, aad, data, tag.len())
            .is_some_and(|mut full| {
                xor(&mut full, &mask);
                matches(&full, tag)
            })
    }

    /// T of RFC 3610 2.2; `None` for a tag that is not 4, 6, ... 16 bytes long, or data beyond the format.
    fn mac<const N: usize>(
        &self,
        nonce: &[u8; N],
        aad: &[u8],
        data: &[u8],
        tag: usize,
    ) -> Option<AesBlock> {
        if !matches!(tag, 4 | 6 | 8 | 10 | 12 | 14 | 16) || aad.len() >= 0xff00 {
            return None;
        }
        let length = u32::try_from(data.len()).ok()?;
        if u64::from(length) >> (8 * (15 - N)) != 0 {
            return None;
        }
        let adata = if aad.is_empty() { 0 } else { FLAG_ADATA };
        let flags = adata | ((tag as u8 - 2) / 2) << 3;

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

/// B0 and A_i are built alike: flags with L - 1 among them, nonce, and L bytes of length or counter.
fn block<const N: usize>(flags: u8, nonce: &[u8; N], last: u32) -> [u8; 16] {
    const { assert!(11 <= N && N <= 13) };
    let mut block = [0; 16];
    block[12..].copy_from_slice(&last.to_be_bytes());
    block[1..=N].copy_from_slice(nonce);
    block[0] = flags | (14 - N) as u8;
    block
}
