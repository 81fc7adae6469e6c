//! The negotiated hash, and as HMAC the PRF (RFC 2409 4).

use std::fmt;

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use md5::Md5;
use portcullis_config::{IkeHash, Secret};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of the longest hash.
const LONGEST: usize = 64;

/// Bytes that a hash yields.
pub fn length(hash: IkeHash) -> usize {
    match hash {
        IkeHash::Md5 => 16,
        IkeHash::Sha1 => 20,
        IkeHash::Sha2_256 => 32,
        IkeHash::Sha2_384 => 48,
        IkeHash::Sha2_512 => 64,
    }
}

/// What a hash or a PRF yields; wiped, and compared in constant time.
#[derive(Clone)]
pub struct Digest {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Digest {
    fn new(output: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        for (to, from) in bytes.iter_mut().zip(output) {
            *to = *from;
        }
        Digest {
            bytes,
            length: output.len().min(LONGEST),
        }
    }

    /// Whether these are the bytes, told in constant time.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.as_ref().ct_eq(bytes).into()
    }

    /// As keying material.
    pub fn to_secret(&self) -> Secret {
        Secret::new(self.as_ref().to_vec())
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.as_ref())
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} bytes)", self.length)
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// hash(parts, one after the other).
pub fn hash(hash: IkeHash, parts: &[&[u8]]) -> Digest {
    match hash {
        IkeHash::Md5 => hash_with::<Md5>(parts),
        IkeHash::Sha1 => hash_with::<Sha1>(parts),
        IkeHash::Sha2_256 => hash_with::<Sha256>(parts),
        IkeHash::Sha2_384 => hash_with::<Sha384>(parts),
        IkeHash::Sha2_512 => hash_with::<Sha512>(parts),
    }
}

/// prf(key, parts one after the other): HMAC of the negotiated hash.
pub fn prf(hash: IkeHash, key: &[u8], parts: &[&[u8]]) -> Digest {
    match hash {
        IkeHash::Md5 => hmac_with::<Md5>(key, parts),
        IkeHash::Sha1 => hmac_with::<Sha1>(key, parts),
        IkeHash::Sha2_256 => hmac_with::<Sha256>(key, parts),
        IkeHash::Sha2_384 => hmac_with::<Sha384>(key, parts),
        IkeHash::Sha2_512 => hmac_with::<Sha512>(key, parts),
    }
}

fn hash_with<D: hmac::digest::Digest>(parts: &[&[u8]]) -> Digest {
    let mut state = D::new();
    for part in parts {
        state.update(part);
    }
    Digest::new(&state.finalize())
}

fn hmac_with<D: EagerHash>(key: &[u8], parts: &[&[u8]]) -> Digest
where
    Hmac<D>: Mac + KeyInit,
{
    // A key is one block: a shorter one is padded with zeros, a longer one hashed (RFC 2104 2).
    let mut block = Zeroizing::new(hmac::digest::Key::<Hmac<D>>::default());
    let hashed;
    let key = if key.len() > block.len() {
        hashed = hash_with::<D>(&[key]);
        hashed.as_ref()
    } else {
        key
    };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut state = <Hmac<D> as KeyInit>::new(&block);
    for part in parts {
        state.update(part);
    }
    Digest::new(&state.finalize().into_bytes())
}
