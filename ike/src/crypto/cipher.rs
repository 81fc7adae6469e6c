//! The phase 1 ciphers in CBC, whose IV runs on from message to message (RFC 2409 appendix B).

use std::fmt;

use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use cbc::{Decryptor, Encryptor};
use des::TdesEde3;
use portcullis_config::{AesKey, IkeCipher, Secret};
use zeroize::Zeroizing;

/// Bytes of the longest block.
const LONGEST_BLOCK: usize = 16;

/// Bytes of a cipher's key.
pub fn key_length(cipher: IkeCipher) -> usize {
    match cipher {
        IkeCipher::AesCbc(AesKey::Aes128) => 16,
        IkeCipher::AesCbc(AesKey::Aes192) => 24,
        IkeCipher::AesCbc(AesKey::Aes256) => 32,
        IkeCipher::TripleDesCbc => 24,
    }
}

/// Bytes of a cipher's block.
pub fn block_length(cipher: IkeCipher) -> usize {
    match cipher {
        IkeCipher::AesCbc(_) => 16,
        IkeCipher::TripleDesCbc => 8,
    }
}

/// The running IV: the last block of ciphertext that was sent or received in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iv {
    bytes: [u8; LONGEST_BLOCK],
    length: usize,
}

impl Iv {
    /// The first bytes of a hash, as many as the cipher's block has.
    pub(super) fn new(cipher: IkeCipher, hash: &[u8]) -> Self {
        let mut iv = Iv {
            bytes: [0; LONGEST_BLOCK],
            length: block_length(cipher),
        };
        iv.bytes
            .iter_mut()
            .zip(hash)
            .for_each(|(to, from)| *to = *from);
        iv
    }
}

impl AsRef<[u8]> for Iv {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The length is no multiple of the cipher's block, or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWholeBlocks;

impl fmt::Display for NotWholeBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("encrypted data are not whole blocks")
    }
}

impl std::error::Error for NotWholeBlocks {}

/// A phase 1 cipher with its key.
pub struct PhaseCipher {
    kind: IkeCipher,
    key: Key,
}

enum Key {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
    TripleDes(TdesEde3),
}

impl PhaseCipher {
    /// With a key of [`key_length`] bytes.
    pub(super) fn new(kind: IkeCipher, key: &Secret) -> Self {
        let key = key.expose();
        debug_assert_eq!(key.len(), key_length(kind));
        PhaseCipher {
            kind,
            key: match kind {
                IkeCipher::AesCbc(AesKey::Aes128) => Key::Aes128(expand(key)),
                IkeCipher::AesCbc(AesKey::Aes192) => Key::Aes192(expand(key)),
                IkeCipher::AesCbc(AesKey::Aes256) => Key::Aes256(expand(key)),
                IkeCipher::TripleDesCbc => Key::TripleDes(expand(key)),
            },
        }
    }

    /// Bytes of a block: what is encrypted must be padded to a multiple of it.
    pub fn block_length(&self) -> usize {
        block_length(self.kind)
    }

    /// Encrypts in place, and moves the IV on.
    pub fn encrypt(&self, iv: &mut Iv, data: &mut [u8]) -> Result<(), NotWholeBlocks> {
        match &self.key {
            Key::Aes128(key) => encrypt(key, iv, data)?,
            Key::Aes192(key) => encrypt(key, iv, data)?,
            Key::Aes256(key) => encrypt(key, iv, data)?,
            Key::TripleDes(key) => encrypt(key, iv, data)?,
        }
        *iv = self.last_block(data)?;
        Ok(())
    }

    /// Decrypts in place, and moves the IV on: let a copy do so until the message is authenticated.
    pub fn decrypt(&self, iv: &mut Iv, data: &mut [u8]) -> Result<(), NotWholeBlocks> {
        let next = self.last_block(data)?;
        match &self.key {
            Key::Aes128(key) => decrypt(key, iv, data)?,
            Key::Aes192(key) => decrypt(key, iv, data)?,
            Key::Aes256(key) => decrypt(key, iv, data)?,
            Key::TripleDes(key) => decrypt(key, iv, data)?,
        }
        *iv = next;
        Ok(())
    }

    fn last_block(&self, ciphertext: &[u8]) -> Result<Iv, NotWholeBlocks> {
        let at = ciphertext.len().checked_sub(self.block_length());
        let block = at.and_then(|at| ciphertext.get(at..));
        Ok(Iv::new(self.kind, block.ok_or(NotWholeBlocks)?))
    }
}

impl fmt::Debug for PhaseCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhaseCipher({:?})", self.kind)
    }
}

/// Expands a key of the right length.
fn expand<C: KeyInit>(bytes: &[u8]) -> C {
    let mut key = Zeroizing::new(Array::<u8, C::KeySize>::default());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    C::new(&key)
}

fn encrypt<C: BlockCipherEncrypt>(key: &C, iv: &Iv, data: &mut [u8]) -> Result<(), NotWholeBlocks> {
    let iv = iv.as_ref().try_into().map_err(|_| NotWholeBlocks)?;
    let (blocks, []) = Array::slice_as_chunks_mut(data) else {
        return Err(NotWholeBlocks);
    };
    Encryptor::inner_iv_init(key, iv).encrypt_blocks(blocks);
    Ok(())
}

fn decrypt<C: BlockCipherDecrypt>(key: &C, iv: &Iv, data: &mut [u8]) -> Result<(), NotWholeBlocks> {
    let iv = iv.as_ref().try_into().map_err(|_| NotWholeBlocks)?;
    let (blocks, []) = Array::slice_as_chunks_mut(data) else {
        return Err(NotWholeBlocks);
    };
    Decryptor::inner_iv_init(key, iv).decrypt_blocks(blocks);
    Ok(())
}

#[cfg(test)]
mod tests;
