//! The integrity algorithms that need no nonce: HMAC, XCBC and CMAC, cut to the length of their RFC.

use hmac::{EagerHash, Hmac, KeyInit};
use md5::Md5;
use portcullis_config::Integrity;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::cbc_mac::CbcMac;
use super::gcm::{matches, put};
use crate::engine::KeyError;

/// Key of an integrity algorithm; of HMAC, the states behind the two key blocks.
pub struct Mac {
    icv_length: usize,
    function: Function,
}

// A key is made once and read for each packet: no box between them.
#[allow(clippy::large_enum_variant)]
enum Function {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
    CbcMac(CbcMac),
}

impl Mac {
    /// Expands a key: HMAC takes any length, although IPsec fixes it, the others 16 bytes.
    pub fn new(integrity: Integrity, key: &[u8]) -> Result<Self, KeyError> {
        let function = match integrity {
            Integrity::HmacMd5_96 => Function::Md5(hmac(key)?),
            Integrity::HmacSha1_96 => Function::Sha1(hmac(key)?),
            Integrity::HmacSha2_256_128 => Function::Sha256(hmac(key)?),
            Integrity::HmacSha2_384_192 => Function::Sha384(hmac(key)?),
            Integrity::HmacSha2_512_256 => Function::Sha512(hmac(key)?),
            Integrity::AesXcbc96 => Function::CbcMac(CbcMac::xcbc(cbc_mac_key(key)?)?),
            Integrity::AesCmac96 => Function::CbcMac(CbcMac::cmac(cbc_mac_key(key)?)?),
            Integrity::AesGmac(_) => return Err(KeyError::Unsupported),
        };
        Ok(Mac {
            icv_length: integrity.icv_length(),
            function,
        })
    }

    /// Length of the ICV.
    pub fn icv_length(&self) -> usize {
        self.icv_length
    }

    /// Writes the ICV over the concatenated `parts`; false if `icv` has the wrong length.
    pub fn sign(&self, parts: &[&[u8]], icv: &mut [u8]) -> bool {
        icv.len() == self.icv_length && put(&self.compute(parts), icv)
    }

    /// Verifies the ICV over the concatenated `parts` in constant time.
    pub fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> bool {
        icv.len() == self.icv_length && matches(&self.compute(parts), icv)
    }

    /// The MAC, or as much of it as the longest ICV takes.
    fn compute(&self, parts: &[&[u8]]) -> [u8; 32] {
        match &self.function {
            Function::Md5(hmac) => hmac_over(hmac, parts),
            Function::Sha1(hmac) => hmac_over(hmac, parts),
            Function::Sha256(hmac) => hmac_over(hmac, parts),
            Function::Sha384(hmac) => hmac_over(hmac, parts),
            Function::Sha512(hmac) => hmac_over(hmac, parts),
            Function::CbcMac(mac) => cut(&mac.compute(parts)),
        }
    }
}

fn hmac<D: EagerHash>(key: &[u8]) -> Result<Hmac<D>, KeyError>
where
    Hmac<D>: KeyInit,
{
    KeyInit::new_from_slice(key).map_err(|_| KeyError::Length)
}

fn hmac_over<M: hmac::Mac + Clone>(keyed: &M, parts: &[&[u8]]) -> [u8; 32] {
    let mut hmac = keyed.clone();
    parts.iter().for_each(|part| hmac.update(part));
    cut(&hmac.finalize().into_bytes())
}

fn cbc_mac_key(key: &[u8]) -> Result<&[u8; 16], KeyError> {
    key.try_into().map_err(|_| KeyError::Length)
}

fn cut(mac: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(mac).for_each(|(o, m)| *o = *m);
    out
}
