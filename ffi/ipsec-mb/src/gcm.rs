//! AES-GCM: keys, jobs, and the three calls into the library.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::manager::wipe;
use crate::sys;

/// AES key length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KeyLength {
    Aes128,
    Aes192,
    Aes256,
}

impl KeyLength {
    pub(crate) const ALL: [KeyLength; 3] =
        [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256];

    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(KeyLength::Aes128),
            24 => Some(KeyLength::Aes192),
            32 => Some(KeyLength::Aes256),
            _ => None,
        }
    }
}

/// An expanded AES-GCM key, wiped when dropped.
///
/// How it is laid out depends on the CPU, so managers of one process share keys.
pub struct GcmKey {
    data: Box<sys::gcm_key_data>,
    length: KeyLength,
}

impl GcmKey {
    /// `key` has the length that `length` says: [`KeyLength::of`] it.
    pub(crate) fn new(functions: &Functions, length: KeyLength, key: &[u8]) -> Self {
        let mut data = Box::<sys::gcm_key_data>::default();
        if let Some(expand) = functions.expand {
            // SAFETY: `expand` reads as many bytes as the key length it is for, which `key` has, and fills
            // `data`, which bindgen gave the size and alignment of the C struct.
            unsafe { expand(key.as_ptr().cast(), &mut *data) };
        }
        GcmKey { data, length }
    }

    pub(crate) fn length(&self) -> KeyLength {
        self.length
    }

    fn as_ptr(&self) -> *const sys::gcm_key_data {
        &*self.data
    }
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcmKey({:?})", self.length)
    }
}

impl Drop for GcmKey {
    fn drop(&mut self) {
        wipe(&mut *self.data);
    }
}

/// One message to seal or open in place.
#[derive(Debug)]
pub struct GcmJob<'a> {
    /// The key.
    pub key: &'a GcmKey,
    /// The nonce, never used twice with one key.
    pub nonce: [u8; 12],
    /// What is authenticated and not encrypted.
    pub aad: &'a [u8],
    /// What is encrypted or decrypted.
    pub data: &'a mut [u8],
    /// The tag, to write or to compare with: 8, 12 or 16 bytes.
    pub tag: &'a mut [u8],
    /// Where the result goes: sealed, or opened and authentic.
    pub ok: &'a mut bool,
}

/// The calls for one key length.
#[derive(Clone, Copy, Default)]
pub(crate) struct Functions {
    expand: sys::aes_gcm_pre_t,
    encrypt: sys::aes_gcm_enc_dec_t,
    decrypt: sys::aes_gcm_enc_dec_t,
}

const FULL_TAG: usize = 16;

impl Functions {
    /// `None` if the library lacks one.
    pub(crate) fn of(manager: &sys::IMB_MGR, length: KeyLength) -> Option<Self> {
        let (expand, encrypt, decrypt) = match length {
            KeyLength::Aes128 => (manager.gcm128_pre, manager.gcm128_enc, manager.gcm128_dec),
            KeyLength::Aes192 => (manager.gcm192_pre, manager.gcm192_enc, manager.gcm192_dec),
            KeyLength::Aes256 => (manager.gcm256_pre, manager.gcm256_enc, manager.gcm256_dec),
        };
        (expand.is_some() && encrypt.is_some() && decrypt.is_some()).then_some(Functions {
            expand,
            encrypt,
            decrypt,
        })
    }

    pub(crate) fn seal(&self, context: &mut sys::gcm_context_data, job: &mut GcmJob<'_>) -> bool {
        run(self.encrypt, context, job).is_some_and(|full| {
            full.get(..job.tag.len())
                .map(|tag| job.tag.copy_from_slice(tag))
                .is_some()
        })
    }

    pub(crate) fn open(&self, context: &mut sys::gcm_context_data, job: &mut GcmJob<'_>) -> bool {
        run(self.decrypt, context, job).is_some_and(|full| equal(&full, job.tag))
    }
}

/// Compares a tag of 8, 12 or 16 bytes with as much of `full`, in constant time and by words: this runs for
/// each packet.
fn equal(full: &[u8; FULL_TAG], tag: &[u8]) -> bool {
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
    full.chunks_exact(4)
        .zip(tag.chunks_exact(4))
        .fold(0, |difference, (a, b)| difference | (word(a) ^ word(b)))
        .ct_eq(&0)
        .into()
}

/// Runs the cipher over `job.data` and returns the whole tag; `None` for a tag length that GCM here does not have.
fn run(
    function: sys::aes_gcm_enc_dec_t,
    context: &mut sys::gcm_context_data,
    job: &mut GcmJob<'_>,
) -> Option<[u8; FULL_TAG]> {
    let function = function?;
    if !matches!(job.tag.len(), 8 | 12 | 16) {
        return None;
    }
    let mut tag = [0; FULL_TAG];
    let data = job.data.as_mut_ptr();
    // SAFETY: key and context are structs of the library, the key expanded for this length (`Manager` indexes
    // the functions by it); source and destination are the same `data.len()` writable bytes, which the library
    // allows; the nonce has the 12 bytes it reads, the AAD and the tag as many as are named.
    unsafe {
        function(
            job.key.as_ptr(),
            context,
            data,
            data,
            job.data.len() as u64,
            job.nonce.as_ptr(),
            job.aad.as_ptr(),
            job.aad.len() as u64,
            tag.as_mut_ptr(),
            FULL_TAG as u64,
        );
    }
    Some(tag)
}
