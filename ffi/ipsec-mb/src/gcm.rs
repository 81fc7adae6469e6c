//! AES-GCM and GMAC: keys, jobs, and the direct calls into the library.

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

    /// In bytes.
    pub const fn bytes(self) -> usize {
        match self {
            KeyLength::Aes128 => 16,
            KeyLength::Aes192 => 24,
            KeyLength::Aes256 => 32,
        }
    }

    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|length| length.bytes() == key.len())
    }
}

/// An expanded AES-GCM or GMAC key, wiped when dropped.
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
    gmac_begin: sys::aes_gmac_init_t,
    gmac_update: sys::aes_gmac_update_t,
    gmac_finish: sys::aes_gmac_finalize_t,
}

const FULL_TAG: usize = 16;

impl Functions {
    pub(crate) fn of(m: &sys::IMB_MGR, length: KeyLength) -> Self {
        let (expand, encrypt, decrypt) = match length {
            KeyLength::Aes128 => (m.gcm128_pre, m.gcm128_enc, m.gcm128_dec),
            KeyLength::Aes192 => (m.gcm192_pre, m.gcm192_enc, m.gcm192_dec),
            KeyLength::Aes256 => (m.gcm256_pre, m.gcm256_enc, m.gcm256_dec),
        };
        let (gmac_begin, gmac_update, gmac_finish) = match length {
            KeyLength::Aes128 => (m.gmac128_init, m.gmac128_update, m.gmac128_finalize),
            KeyLength::Aes192 => (m.gmac192_init, m.gmac192_update, m.gmac192_finalize),
            KeyLength::Aes256 => (m.gmac256_init, m.gmac256_update, m.gmac256_finalize),
        };
        Functions {
            expand,
            encrypt,
            decrypt,
            gmac_begin,
            gmac_update,
            gmac_finish,
        }
    }

    /// The tag over the concatenated `parts`; `None` if the library lacks GMAC.
    pub(crate) fn gmac(
        &self,
        context: &mut sys::gcm_context_data,
        key: &GcmKey,
        nonce: &[u8; 12],
        parts: &[&[u8]],
    ) -> Option<[u8; FULL_TAG]> {
        let (begin, update, finish) = (self.gmac_begin?, self.gmac_update?, self.gmac_finish?);
        let (key, mut tag) = (key.as_ptr(), [0; FULL_TAG]);
        // SAFETY: key and context are structs of the library, the key expanded for this length (`Manager` indexes
        // the functions by it); nonce, parts and tag have as many bytes as are named.
        unsafe {
            begin(key, context, nonce.as_ptr(), nonce.len() as u64);
            for part in parts.iter().filter(|part| !part.is_empty()) {
                update(key, context, part.as_ptr(), part.len() as u64);
            }
            finish(key, context, tag.as_mut_ptr(), FULL_TAG as u64);
        }
        Some(tag)
    }

    pub(crate) fn seal(&self, context: &mut sys::gcm_context_data, job: &mut GcmJob<'_>) -> bool {
        run(self.encrypt, context, job).is_some_and(|full| {
            full.get(..job.tag.len())
                .map(|tag| job.tag.copy_from_slice(tag))
                .is_some()
        })
    }

    pub(crate) fn open(&self, context: &mut sys::gcm_context_data, job: &mut GcmJob<'_>) -> bool {
        run(self.decrypt, context, job).is_some_and(|full| {
            full.get(..job.tag.len())
                .is_some_and(|tag| equal(tag, job.tag))
        })
    }
}

/// Whether two tags, of whole words, are equal; in constant time and by words: this runs for each packet.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
    let words = a.chunks_exact(4).zip(b.chunks_exact(4));
    let difference = words.fold(0, |difference, (a, b)| difference | (word(a) ^ word(b)));
    a.len() == b.len() && a.len() % 4 == 0 && bool::from(difference.ct_eq(&0))
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
