//! The engine for any CPU: every algorithm, one packet at a time, on RustCrypto's primitives.
//!
//! A packet goes through [`Gcm`], [`Ccm`], [`ChaCha`], [`Mac`] or a plain cipher with a [`Mac`]; what is here
//! finds header, IV, payload and ICV in it and builds nonce and associated data.

mod aead;
mod aes;
mod blocks;
mod cbc_mac;
mod ccm;
mod chacha;
mod cipher;
mod gcm;
mod mac;

use std::fmt;

use portcullis_config::{Cipher, Integrity, Secret, Transform};

use super::lookaside::Lookaside;
use super::parts::{Aad, EspParts, check_key_lengths, nonce, salted, split_icv};
use super::{AhJob, Engine, EspJob, KeyError};
use aead::Aead;
use cipher::PlainCipher;

pub use ccm::Ccm;
pub use chacha::ChaCha;
pub use gcm::Gcm;
pub use mac::Mac;

/// The portable engine. It has no state: keys hold everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Portable {
    /// An engine.
    pub const fn new() -> Self {
        Portable
    }
}

/// Precomputed key schedule of one SA.
pub struct Key(Algorithm);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

// A key is made once and read for each packet: no box between them.
#[allow(clippy::large_enum_variant)]
enum Algorithm {
    Aead {
        aead: Aead,
        icv: usize,
    },
    EspGmac {
        gcm: Gcm,
        salt: [u8; 4],
    },
    EncryptThenMac {
        cipher: PlainCipher,
        iv: usize,
        mac: Mac,
    },
    AhMac(Mac),
    AhGmac {
        gcm: Gcm,
        salt: [u8; 4],
    },
}

/// Length of the explicit IV of every combined mode.
const AEAD_IV: usize = 8;
/// Length of an untruncated ICV of GMAC and ChaCha20-Poly1305.
const FULL_ICV: usize = 16;

impl<B> Lookaside<B> for Portable {}

impl Engine for Portable {
    type Key = Key;

    fn key(
        &self,
        transform: Transform,
        cipher_key: &Secret,
        integrity_key: &Secret,
    ) -> Result<Key, KeyError> {
        let (cipher_key, integrity_key) = (cipher_key.expose(), integrity_key.expose());
        check_key_lengths(transform, cipher_key, integrity_key)?;
        match transform {
            Transform::Esp(cipher, None) => combined_mode(cipher, cipher_key),
            Transform::Esp(cipher, Some(integrity)) => Ok(Algorithm::EncryptThenMac {
                cipher: PlainCipher::new(cipher, cipher_key)?,
                iv: cipher.iv_length(),
                mac: Mac::new(integrity, integrity_key)?,
            }),
            Transform::Ah(Integrity::AesGmac(_)) => {
                let (key, salt) = salted(integrity_key)?;
                Gcm::new(key).map(|gcm| Algorithm::AhGmac { gcm, salt })
            }
            Transform::Ah(integrity) => Mac::new(integrity, integrity_key).map(Algorithm::AhMac),
        }
        .map(Key)
    }

    fn seal(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        for job in jobs {
            job.ok = seal(&job.key.0, job.packet, job.sequence_high).unwrap_or(false);
        }
    }

    fn open(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        for job in jobs {
            job.ok = open(&job.key.0, job.packet, job.sequence_high).unwrap_or(false);
        }
    }

    fn sign(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        for job in jobs {
            job.ok = sign(job).unwrap_or(false);
        }
    }

    fn verify(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        for job in jobs {
            job.ok = verify(job).unwrap_or(false);
        }
    }
}

/// Encryption without integrity is not offered (RFC 8221 4).
fn combined_mode(cipher: Cipher, key: &[u8]) -> Result<Algorithm, KeyError> {
    if let Cipher::AesGmac(_) = cipher {
        let (key, salt) = salted(key)?;
        return Gcm::new(key).map(|gcm| Algorithm::EspGmac { gcm, salt });
    }
    let aead = Aead::new(cipher, key)?;
    let icv = cipher.aead_icv_length().ok_or(KeyError::Unsupported)?;
    Ok(Algorithm::Aead { aead, icv })
}

/// The part of the ESN that is covered and not sent stands behind everything (RFC 4303 2.2.1, RFC 4302 2.5.1).
fn implicit(sequence_high: &Option<[u8; 4]>) -> &[u8] {
    sequence_high.as_ref().map_or(&[], |high| high)
}

fn seal(algorithm: &Algorithm, packet: &mut [u8], sequence_high: Option<u32>) -> Option<bool> {
    match algorithm {
        Algorithm::Aead { aead, icv } => {
            let esp = EspParts::split(packet, AEAD_IV, *icv)?;
            let aad = Aad::new(esp.header, sequence_high);
            aead.seal(esp.iv, aad.as_slice(), esp.payload, esp.icv)
        }
        Algorithm::EspGmac { gcm, salt } => {
            let esp = EspParts::split(packet, AEAD_IV, FULL_ICV)?;
            let aad = Aad::new(esp.header, sequence_high);
            let parts = [aad.as_slice(), esp.iv, esp.payload];
            Some(gcm.sign(&nonce(salt, esp.iv)?, &parts, esp.icv))
        }
        Algorithm::EncryptThenMac { cipher, iv, mac } => {
            let esp = EspParts::split(packet, *iv, mac.icv_length())?;
            cipher.encrypt(esp.iv, esp.payload)?;
            let (covered, icv) = split_icv(packet, mac.icv_length())?;
            let high = sequence_high.map(u32::to_be_bytes);
            Some(mac.sign(&[covered, implicit(&high)], icv))
        }
        Algorithm::AhMac(_) | Algorithm::AhGmac { .. } => None,
    }
}

fn open(algorithm: &Algorithm, packet: &mut [u8], sequence_high: Option<u32>) -> Option<bool> {
    match algorithm {
        Algorithm::Aead { aead, icv } => {
            let esp = EspParts::split(packet, AEAD_IV, *icv)?;
            let aad = Aad::new(esp.header, sequence_high);
            aead.open(esp.iv, aad.as_slice(), esp.payload, esp.icv)
        }
        Algorithm::EspGmac { gcm, salt } => {
            let esp = EspParts::split(packet, AEAD_IV, FULL_ICV)?;
            let aad = Aad::new(esp.header, sequence_high);
            let parts = [aad.as_slice(), esp.iv, esp.payload];
            Some(gcm.verify(&nonce(salt, esp.iv)?, &parts, esp.icv))
        }
        Algorithm::EncryptThenMac { cipher, iv, mac } => {
            // Verified before it is decrypted (RFC 4303 3.4.4.1).
            let (covered, icv) = split_icv(packet, mac.icv_length())?;
            let high = sequence_high.map(u32::to_be_bytes);
            if !mac.verify(&[covered, implicit(&high)], icv) {
                return Some(false);
            }
            let esp = EspParts::split(packet, *iv, mac.icv_length())?;
            cipher.decrypt(esp.iv, esp.payload).map(|()| true)
        }
        Algorithm::AhMac(_) | Algorithm::AhGmac { .. } => None,
    }
}

/// The parts of an AH packet: the fixed header, the ICV field, and what stands behind it.
type Ah<'a> = (&'a [u8; 12], &'a mut [u8], &'a [u8]);

/// `None` if the packet is too short.
fn split_ah(packet: &mut [u8], icv: usize) -> Option<Ah<'_>> {
    let (fixed, rest) = packet.split_first_chunk_mut()?;
    let (icv, rest) = rest.split_at_mut_checked(icv)?;
    Some((fixed, icv, rest))
}

/// Stands for the ICV field, which counts as zero (RFC 4302 3.3.3).
const ZEROS: [u8; 32] = [0; 32];

fn sign(job: &mut AhJob<'_, Key>) -> Option<bool> {
    let high = job.sequence_high.map(u32::to_be_bytes);
    match &job.key.0 {
        Algorithm::AhMac(mac) => {
            let (fixed, icv, rest) = split_ah(job.packet, mac.icv_length())?;
            let zeros = ZEROS.get(..icv.len())?;
            let parts = [job.header, fixed, zeros, rest, implicit(&high)];
            Some(mac.sign(&parts, icv))
        }
        Algorithm::AhGmac { gcm, salt } => {
            let (fixed, field, rest) = split_ah(job.packet, AEAD_IV + FULL_ICV)?;
            let (iv, icv) = field.split_at_mut_checked(AEAD_IV)?;
            let zeros = ZEROS.get(..icv.len())?;
            let parts = [job.header, fixed, iv, zeros, rest, implicit(&high)];
            Some(gcm.sign(&nonce(salt, iv)?, &parts, icv))
        }
        _ => None,
    }
}

fn verify(job: &mut AhJob<'_, Key>) -> Option<bool> {
    let high = job.sequence_high.map(u32::to_be_bytes);
    match &job.key.0 {
        Algorithm::AhMac(mac) => {
            let (fixed, icv, rest) = split_ah(job.packet, mac.icv_length())?;
            let zeros = ZEROS.get(..icv.len())?;
            let parts = [job.header, fixed, zeros, rest, implicit(&high)];
            Some(mac.verify(&parts, icv))
        }
        Algorithm::AhGmac { gcm, salt } => {
            let (fixed, field, rest) = split_ah(job.packet, AEAD_IV + FULL_ICV)?;
            let (iv, icv) = field.split_at_mut_checked(AEAD_IV)?;
            let zeros = ZEROS.get(..icv.len())?;
            let parts = [job.header, fixed, iv, zeros, rest, implicit(&high)];
            Some(gcm.verify(&nonce(salt, iv)?, &parts, icv))
        }
        _ => None,
    }
}
