//! The ciphers that need a separate integrity algorithm.

use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    KeyInit,
};
use cbc::{Decryptor, Encryptor};
use des::{Des, TdesEde3};
use portcullis_config::Cipher;

use super::aes::Aes;
use crate::engine::KeyError;

/// Key of a cipher that only encrypts.
pub(super) enum PlainCipher {
    AesCbc(Aes),
    AesCtr(Aes, [u8; 4]),
    TripleDesCbc(TdesEde3),
    DesCbc(Des),
    Null,
}

impl PlainCipher {
    /// Expands a key whose length is already checked; fails for a combined-mode cipher.
    pub(super) fn new(cipher: Cipher, key: &[u8]) -> Result<Self, KeyError> {
        Ok(match cipher {
            Cipher::AesCbc(_) => PlainCipher::AesCbc(Aes::new(key)?),
            Cipher::AesCtr(_) => {
                let (key, nonce) = key.split_last_chunk().ok_or(KeyError::Length)?;
                PlainCipher::AesCtr(Aes::new(key)?, *nonce)
            }
            Cipher::TripleDesCbc => PlainCipher::TripleDesCbc(
                TdesEde3::new_from_slice(key).map_err(|_| KeyError::Length)?,
            ),
            Cipher::DesCbc => {
                PlainCipher::DesCbc(Des::new_from_slice(key).map_err(|_| KeyError::Length)?)
            }
            Cipher::Null => PlainCipher::Null,
            _ => return Err(KeyError::Unsupported),
        })
    }

    /// Encrypts in place; `None` if IV or data do not have the cipher's lengths.
    pub(super) fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Option<()> {
        match self {
            PlainCipher::AesCbc(aes) => cbc_encrypt(aes, iv, data),
            PlainCipher::AesCtr(aes, nonce) => ctr(aes, nonce, iv, data),
            PlainCipher::TripleDesCbc(des) => cbc_encrypt(des, iv, data),
            PlainCipher::DesCbc(des) => cbc_encrypt(des, iv, data),
            PlainCipher::Null => Some(()),
        }
    }

    /// Decrypts in place; `None` if IV or data do not have the cipher's lengths.
    pub(super) fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Option<()> {
        match self {
            PlainCipher::AesCbc(aes) => cbc_decrypt(aes, iv, data),
            PlainCipher::AesCtr(aes, nonce) => ctr(aes, nonce, iv, data),
            PlainCipher::TripleDesCbc(des) => cbc_decrypt(des, iv, data),
            PlainCipher::DesCbc(des) => cbc_decrypt(des, iv, data),
            PlainCipher::Null => Some(()),
        }
    }
}

/// The counter block is nonce, IV and a 32 bit counter that starts at one (RFC 3686 4).
fn ctr(aes: &Aes, nonce: &[u8; 4], iv: &[u8], data: &mut [u8]) -> Option<()> {
    let iv: &[u8; 8] = iv.try_into().ok()?;
    let mut block = [0; 16];
    block[..4].copy_from_slice(nonce);
    block[4..12].copy_from_slice(iv);
    block[15] = 1;
    aes.counter(&block).apply(data);
    Some(())
}

fn cbc_encrypt<C: BlockCipherEncrypt>(cipher: &C, iv: &[u8], data: &mut [u8]) -> Option<()> {
    let iv = iv.try_into().ok()?;
    let (blocks, []) = Array::slice_as_chunks_mut(data) else {
        return None;
    };
    Encryptor::inner_iv_init(cipher, iv).encrypt_blocks(blocks);
    Some(())
}

fn cbc_decrypt<C: BlockCipherDecrypt>(cipher: &C, iv: &[u8], data: &mut [u8]) -> Option<()> {
    let iv = iv.try_into().ok()?;
    let (blocks, []) = Array::slice_as_chunks_mut(data) else {
        return None;
    };
    Decryptor::inner_iv_init(cipher, iv).decrypt_blocks(blocks);
    Some(())
}
