//! AES with the key length chosen at run time, so that every mode above it is written once.

use aes::cipher::{
    Block, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncClosure, BlockCipherEncrypt,
    BlockSizeUser, InnerIvInit, KeyInit, StreamCipherCore, consts::U16,
};
use aes::{Aes128, Aes192, Aes256};
use ctr::{CtrCore, flavors::Ctr32BE};

use crate::engine::KeyError;

/// The AES block.
pub(super) type AesBlock = Block<Aes>;

/// Key schedule of any of the three key lengths; wiped when dropped.
#[derive(Debug)]
pub(super) enum Aes {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl Aes {
    /// Expands a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Result<Self, KeyError> {
        match key.len() {
            16 => Aes128::new_from_slice(key).map(Aes::Aes128),
            24 => Aes192::new_from_slice(key).map(Aes::Aes192),
            _ => Aes256::new_from_slice(key).map(Aes::Aes256),
        }
        .map_err(|_| KeyError::Length)
    }

    /// Counter mode from `first` on; the last 32 bits count, big endian (RFC 3686 4, RFC 4106 3).
    pub(super) fn counter(&self, first: &[u8; 16]) -> Counter<'_> {
        Counter(CtrCore::inner_iv_init(self, first.into()))
    }
}

/// A key stream.
pub(super) struct Counter<'a>(CtrCore<&'a Aes, Ctr32BE>);

impl Counter<'_> {
    /// The next block of the key stream.
    pub(super) fn block(&mut self) -> AesBlock {
        let mut block = AesBlock::default();
        self.0.write_keystream_block(&mut block);
        block
    }

    /// Encrypts or decrypts all of `data` with what follows.
    pub(super) fn apply(self, data: &mut [u8]) {
        self.0.apply_keystream_partial(data.into());
    }
}

impl BlockSizeUser for Aes {
    type BlockSize = U16;
}

impl BlockCipherEncrypt for Aes {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        match self {
            Aes::Aes128(aes) => aes.encrypt_with_backend(f),
            Aes::Aes192(aes) => aes.encrypt_with_backend(f),
            Aes::Aes256(aes) => aes.encrypt_with_backend(f),
        }
    }
}

impl BlockCipherDecrypt for Aes {
    fn decrypt_with_backend(&self, f: impl BlockCipherDecClosure<BlockSize = U16>) {
        match self {
            Aes::Aes128(aes) => aes.decrypt_with_backend(f),
            Aes::Aes192(aes) => aes.decrypt_with_backend(f),
            Aes::Aes256(aes) => aes.decrypt_with_backend(f),
        }
    }
}
