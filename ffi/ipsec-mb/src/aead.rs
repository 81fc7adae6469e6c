//! The combined modes that the library has in its queue: AES-CCM and ChaCha20-Poly1305.

use std::fmt;

use crate::cipher::{Direction, expand_aes};
use crate::gcm::{KeyLength, equal};
use crate::job::{BURST, LONGEST, Runner, members};
use crate::manager::{Plain, wipe};
use crate::sys;

/// A combined mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Aead {
    AesCcm(KeyLength),
    ChaCha20Poly1305,
}

impl Aead {
    /// All that the library has: no AES-192-CCM.
    pub(crate) const ALL: [Aead; 3] = [
        Aead::AesCcm(KeyLength::Aes128),
        Aead::AesCcm(KeyLength::Aes256),
        Aead::ChaCha20Poly1305,
    ];

    /// Length of the key in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Aead::AesCcm(length) => length.bytes(),
            Aead::ChaCha20Poly1305 => 32,
        }
    }

    /// Length of the nonce (RFC 4309 4, RFC 7634 2).
    pub const fn nonce_length(self) -> usize {
        match self {
            Aead::AesCcm(_) => 11,
            Aead::ChaCha20Poly1305 => 12,
        }
    }

    /// RFC 4309 6, RFC 7634 2.
    fn has_tag_length(self, length: usize) -> bool {
        match self {
            Aead::AesCcm(_) => matches!(length, 8 | 12 | 16),
            Aead::ChaCha20Poly1305 => length == 16,
        }
    }
}

/// A key schedule, or the key of ChaCha20; and room for the schedule that CCM has no use for.
#[repr(C, align(64))]
struct Expanded {
    key: [u8; 240],
    unused: [u8; 240],
}

impl Plain for Expanded {}

/// An expanded key, wiped when dropped.
pub struct AeadKey {
    aead: Aead,
    expanded: Box<Expanded>,
}

impl AeadKey {
    /// `None` for a key of the wrong length, or if the library lacks the mode.
    pub(crate) fn new(manager: &sys::IMB_MGR, aead: Aead, key: &[u8]) -> Option<Self> {
        if key.len() != aead.key_length() || !Aead::ALL.contains(&aead) {
            return None;
        }
        let expanded = Box::new(Expanded {
            key: [0; 240],
            unused: [0; 240],
        });
        let mut this = AeadKey { aead, expanded };
        let Expanded { key: own, unused } = &mut *this.expanded;
        match aead {
            Aead::AesCcm(length) => expand_aes(manager, length, key, own, unused)?,
            Aead::ChaCha20Poly1305 => own.get_mut(..key.len())?.copy_from_slice(key),
        }
        Some(this)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeadKey({:?})", self.aead)
    }
}

impl Drop for AeadKey {
    fn drop(&mut self) {
        wipe(&mut *self.expanded);
    }
}

/// One message to seal or open in place.
#[derive(Debug)]
pub struct AeadJob<'a> {
    /// The key.
    pub key: &'a AeadKey,
    /// The nonce, never used twice with one key; CCM takes the first 11 bytes.
    pub nonce: [u8; 12],
    /// What is authenticated and not encrypted.
    pub aad: &'a [u8],
    /// What is encrypted or decrypted.
    pub data: &'a mut [u8],
    /// The tag, to write or to compare with: 16 bytes, of CCM also 8 or 12.
    pub tag: &'a mut [u8],
    /// Where the result goes: sealed, or opened and authentic.
    pub ok: &'a mut bool,
}

/// Seals or opens the jobs.
pub(crate) fn run(runner: &mut Runner, direction: Direction, jobs: &mut [AeadJob<'_>]) {
    for jobs in jobs.chunks_mut(BURST) {
        let mut tags = [[0; 16]; BURST];
        let set = members(jobs, |job| {
            // Of CCM the library takes AAD up to 46 bytes, which ESP's is far below.
            job.key.aead.has_tag_length(job.tag.len())
                && job.data.len() <= LONGEST
                && job.aad.len() <= 46
        });
        let (targets, outputs) = (jobs.as_mut_ptr(), tags.as_mut_ptr());
        let fill = |index: usize, job: &mut sys::IMB_JOB| {
            // SAFETY: `index` is a member's, which is below the length of both, and nobody else uses them now.
            let (from, tag) = unsafe { (&mut *targets.add(index), &mut *outputs.add(index)) };
            fill(from, tag, direction, job);
        };
        // SAFETY: `fill` names the bytes of a slice to work on in place, a nonce, AAD, room for a full tag, and a
        // key of the job's mode, all of which the jobs or this function hold for longer than this call.
        let done = unsafe { runner.queue(set, fill) };
        for (index, (job, tag)) in jobs.iter_mut().zip(&tags).enumerate() {
            let tag = tag.get(..job.tag.len()).filter(|_| done & 1 << index != 0);
            *job.ok = match (direction, tag) {
                (_, None) => false,
                (Direction::Encrypt, Some(tag)) => {
                    job.tag.copy_from_slice(tag);
                    true
                }
                (Direction::Decrypt, Some(tag)) => equal(job.tag, tag),
            };
        }
    }
}

fn fill(from: &mut AeadJob<'_>, tag: &mut [u8; 16], direction: Direction, job: &mut sys::IMB_JOB) {
    let aead = from.key.aead;
    job.enc_keys = from.key.expanded.key.as_ptr().cast();
    job.dec_keys = job.enc_keys;
    job.key_len_in_bytes = aead.key_length() as u64;
    let (data, length) = (from.data.as_mut_ptr(), from.data.len() as u64);
    job.__bindgen_anon_1.src = data;
    job.__bindgen_anon_2.dst = data;
    job.__bindgen_anon_4.msg_len_to_cipher_in_bytes = length;
    job.__bindgen_anon_5.msg_len_to_hash_in_bytes = length;
    job.iv = from.nonce.as_ptr();
    job.iv_len_in_bytes = aead.nonce_length() as u64;
    job.auth_tag_output = tag.as_mut_ptr();
    job.auth_tag_output_len_in_bytes = from.tag.len() as u64;
    job.u.CCM = sys::IMB_JOB__bindgen_ty_6__AES_CCM_specific_fields {
        aad: from.aad.as_ptr().cast(),
        aad_len_in_bytes: from.aad.len() as u64,
    };
    let seals = direction == Direction::Encrypt;
    job.cipher_direction = match seals {
        true => sys::IMB_CIPHER_DIRECTION_IMB_DIR_ENCRYPT,
        false => sys::IMB_CIPHER_DIRECTION_IMB_DIR_DECRYPT,
    };
    // CCM authenticates the clear message, ChaCha20-Poly1305 the encrypted one.
    let hash_first = match aead {
        Aead::AesCcm(_) => {
            job.cipher_mode = sys::IMB_CIPHER_MODE_IMB_CIPHER_CCM;
            job.hash_alg = sys::IMB_HASH_ALG_IMB_AUTH_AES_CCM;
            seals
        }
        Aead::ChaCha20Poly1305 => {
            job.cipher_mode = sys::IMB_CIPHER_MODE_IMB_CIPHER_CHACHA20_POLY1305;
            job.hash_alg = sys::IMB_HASH_ALG_IMB_AUTH_CHACHA20_POLY1305;
            !seals
        }
    };
    job.chain_order = match hash_first {
        true => sys::IMB_CHAIN_ORDER_IMB_ORDER_HASH_CIPHER,
        false => sys::IMB_CHAIN_ORDER_IMB_ORDER_CIPHER_HASH,
    };
}
