//! The CBC-MACs over AES-128 that mask the last block: XCBC (RFC 3566) and CMAC (RFC 4493).

use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, consts::U16,
};
use zeroize::Zeroize;

use super::aes::{Aes, AesBlock};
use super::blocks::absorb;
use crate::engine::KeyError;

/// XCBC and CMAC differ only in how they derive the key of the chain and the two masks.
pub(super) struct CbcMac {
    aes: Aes,
    /// Mask of a last block that is whole: K2 of XCBC, K1 of CMAC.
    whole: AesBlock,
    /// Mask of a last block that had to be padded: K3 of XCBC, K2 of CMAC.
    padded: AesBlock,
}

impl CbcMac {
    /// AES-XCBC-MAC (RFC 3566 4, step 1).
    pub(super) fn xcbc(key: &[u8; 16]) -> Result<Self, KeyError> {
        let aes = Aes::new(key)?;
        let [mut k1, whole, padded] = [1, 2, 3].map(|byte| {
            let mut block = AesBlock::from([byte; 16]);
            aes.encrypt_block(&mut block);
            block
        });
        let aes = Aes::new(&k1);
        k1.zeroize();
        Ok(CbcMac {
            aes: aes?,
            whole,
            padded,
        })
    }

    /// AES-CMAC (RFC 4493 2.3).
    pub(super) fn cmac(key: &[u8; 16]) -> Result<Self, KeyError> {
        let aes = Aes::new(key)?;
        let mut l = AesBlock::default();
        aes.encrypt_block(&mut l);
        let whole = double(&l);
        let padded = double(&whole);
        l.zeroize();
        Ok(CbcMac { aes, whole, padded })
    }

    /// The MAC over the concatenated `parts`, all 16 bytes of it (RFC 3566 4, RFC 4493 2.4).
    pub(super) fn compute(&self, parts: &[&[u8]]) -> AesBlock {
        let mut state = AesBlock::default();
        let (mut last, filled) = absorb(parts, |blocks| chain(&self.aes, &mut state, blocks));
        let mask = match last.get_mut(filled) {
            Some(end) => {
                *end = 0x80;
                &self.padded
            }
            None => &self.whole,
        };
        xor(&mut last, mask);
        chain(&self.aes, &mut state, &[last]);
        state
    }
}

impl Drop for CbcMac {
    fn drop(&mut self) {
        self.whole.zeroize();
        self.padded.zeroize();
    }
}

/// CBC-MAC: adds `blocks` to the chain that `state` is the end of.
pub(super) fn chain(aes: &Aes, state: &mut AesBlock, blocks: &[AesBlock]) {
    aes.encrypt_with_backend(Chain { state, blocks });
}

/// One call of the cipher's backend for many blocks.
struct Chain<'a> {
    state: &'a mut AesBlock,
    blocks: &'a [AesBlock],
}

impl BlockSizeUser for Chain<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Chain<'_> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        for block in self.blocks {
            xor(self.state, block);
            backend.encrypt_block_inplace(self.state);
        }
    }
}

pub(super) fn xor(a: &mut AesBlock, b: &AesBlock) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
}

/// Multiplication by x in GF(2^128) without a branch on the secret (RFC 4493 2.3).
fn double(block: &AesBlock) -> AesBlock {
    let value = u128::from_be_bytes((*block).into());
    let carry = value >> 127;
    AesBlock::from(((value << 1) ^ (carry * 0x87)).to_be_bytes())
}
