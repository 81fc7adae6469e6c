//! The library's manager: the functions for this CPU, proven before they are used.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::{fmt, ptr, ptr::NonNull, slice};

use zeroize::{Zeroize, zeroize_flat_type};

use crate::aead::{Aead, AeadJob, AeadKey};
use crate::cipher::{Cipher, CipherJob, CipherKey, Direction};
use crate::gcm::{Functions, GcmJob, GcmKey, KeyLength};
use crate::job::Runner;
use crate::mac::{Mac, MacJob, MacKey};
use crate::{aead, cipher, known_answer, mac, sys};

/// Why there is no manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The library says that it needs an impossible amount of memory.
    Memory,
    /// The library does not run on this CPU; its own error number.
    Unsupported(i32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Memory => write!(f, "ipsec-mb: no memory for a manager"),
            Error::Unsupported(n) => write!(f, "ipsec-mb does not run on this CPU (error {n})"),
        }
    }
}

impl std::error::Error for Error {}

/// What the library computes, and can be right or wrong about by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Algorithm {
    Gcm(KeyLength),
    Gmac(KeyLength),
    Aead(Aead),
    Cipher(Cipher),
    Mac(Mac),
}

/// The library's memory, which holds key schedules and key stream while it works.
struct Memory {
    manager: NonNull<sys::IMB_MGR>,
    layout: Layout,
}

impl Memory {
    fn new() -> Result<Self, Error> {
        // SAFETY: takes no pointer.
        let size = unsafe { sys::imb_get_mb_mgr_size() };
        let layout = Layout::from_size_align(size.max(size_of::<sys::IMB_MGR>()), 64)
            .map_err(|_| Error::Memory)?;
        // SAFETY: the layout is not of size zero.
        let bytes = unsafe { alloc_zeroed(layout) };
        let Some(manager) = NonNull::new(bytes.cast()) else {
            handle_alloc_error(layout);
        };
        // SAFETY: the memory is as large as the library asked for and aligned to a cache line.
        unsafe { sys::imb_set_pointers_mb_mgr(bytes.cast(), 0, 1) };
        // SAFETY: the manager is there; the library allows null for the architecture it would report.
        unsafe { sys::init_mb_mgr_auto(manager.as_ptr(), ptr::null_mut()) };
        let this = Memory { manager, layout };
        // SAFETY: the manager is there; the function only reads it.
        match unsafe { sys::imb_get_errno(manager.as_ptr()) } {
            0 => Ok(this),
            errno => Err(Error::Unsupported(errno)),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let bytes = self.manager.as_ptr().cast::<u8>();
        // SAFETY: these are the bytes of `layout` that `new` got, initialized by it, and nobody refers to them.
        unsafe { slice::from_raw_parts_mut(bytes, self.layout.size()) }.zeroize();
        // SAFETY: allocated with this layout by `new`, freed once.
        unsafe { dealloc(bytes, self.layout) };
    }
}

/// One worker's access to the library.
pub struct Manager {
    // Before the memory that it works in.
    runner: Runner,
    memory: Memory,
    gcm: [Functions; 3],
    /// Scratch of the running operation; holds key stream.
    context: Box<sys::gcm_context_data>,
    refused: Vec<Algorithm>,
}

// SAFETY: the manager is memory of its own that no thread-local or thread-bound state of the library refers
// to; only sharing it between threads at one time would race, and it is not Sync.
unsafe impl Send for Manager {}

impl Manager {
    /// Makes a manager for this CPU and has it compute known answers, distinct ones side by side.
    ///
    /// What it lacks or computes wrongly is [`refused`](Self::refused): there are no keys for it.
    pub fn new() -> Result<Self, Error> {
        let memory = Memory::new()?;
        let mut this = Manager {
            runner: Runner::new(memory.manager),
            memory,
            gcm: [Functions::default(); 3],
            context: Box::default(),
            refused: Vec::new(),
        };
        this.gcm = KeyLength::ALL.map(|length| Functions::of(this.functions(), length));
        this.refused = known_answer::wrong(&mut this);
        Ok(this)
    }

    fn functions(&self) -> &sys::IMB_MGR {
        // SAFETY: the manager lives as long as `self`, and only functions that take `&mut self` write to it.
        unsafe { self.memory.manager.as_ref() }
    }

    /// The algorithms that the library lacks, or computes wrongly here.
    pub fn refused(&self) -> &[Algorithm] {
        &self.refused
    }

    fn takes(&self, algorithm: Algorithm) -> Option<()> {
        (!self.refused.contains(&algorithm)).then_some(())
    }

    /// Expands a key of AES-GCM, of 16, 24 or 32 bytes; `None` for another length or if it is refused.
    pub fn gcm_key(&self, key: &[u8]) -> Option<GcmKey> {
        let length = KeyLength::of(key)?;
        self.takes(Algorithm::Gcm(length))?;
        Some(GcmKey::new(&self.gcm[length as usize], length, key))
    }

    /// Expands a key of AES-GMAC, of 16, 24 or 32 bytes; `None` for another length or if it is refused.
    pub fn gmac_key(&self, key: &[u8]) -> Option<GcmKey> {
        let length = KeyLength::of(key)?;
        self.takes(Algorithm::Gmac(length))?;
        Some(GcmKey::new(&self.gcm[length as usize], length, key))
    }

    /// Expands a key of a combined mode; `None` for a wrong length or if it is refused.
    pub fn aead_key(&self, aead: Aead, key: &[u8]) -> Option<AeadKey> {
        self.takes(Algorithm::Aead(aead))?;
        AeadKey::new(self.functions(), aead, key)
    }

    /// Expands a key of a cipher; `None` for a wrong length or if it is refused.
    pub fn cipher_key(&self, cipher: Cipher, key: &[u8]) -> Option<CipherKey> {
        self.takes(Algorithm::Cipher(cipher))?;
        CipherKey::new(self.functions(), cipher, key)
    }

    /// Expands a key of an integrity algorithm; `None` for a wrong length, which for HMAC is one of more than a
    /// block, or if it is refused.
    pub fn mac_key(&self, mac: Mac, key: &[u8]) -> Option<MacKey> {
        self.takes(Algorithm::Mac(mac))?;
        MacKey::new(self.functions(), mac, key)
    }

    /// Encrypts each job's data in place and writes its tag.
    pub fn seal(&mut self, jobs: &mut [GcmJob<'_>]) {
        for job in jobs {
            *job.ok = self.gcm[job.key.length() as usize].seal(&mut self.context, job);
        }
    }

    /// Decrypts each job's data in place and compares its tag in constant time.
    ///
    /// The data of a job that is not `ok` has been decrypted all the same and means nothing.
    pub fn open(&mut self, jobs: &mut [GcmJob<'_>]) {
        for job in jobs {
            *job.ok = self.gcm[job.key.length() as usize].open(&mut self.context, job);
        }
    }

    /// The GMAC over the concatenated `parts`; `None` if the library has none.
    pub fn gmac(&mut self, key: &GcmKey, nonce: &[u8; 12], parts: &[&[u8]]) -> Option<[u8; 16]> {
        self.gcm[key.length() as usize].gmac(&mut self.context, key, nonce, parts)
    }

    /// Encrypts each job's data in place and writes its tag.
    pub fn seal_aead(&mut self, jobs: &mut [AeadJob<'_>]) {
        aead::run(&mut self.runner, Direction::Encrypt, jobs);
    }

    /// Decrypts each job's data in place and compares its tag in constant time.
    ///
    /// The data of a job that is not `ok` has been decrypted all the same and means nothing.
    pub fn open_aead(&mut self, jobs: &mut [AeadJob<'_>]) {
        aead::run(&mut self.runner, Direction::Decrypt, jobs);
    }

    /// Encrypts each job's data in place, the jobs of one cipher side by side.
    pub fn encrypt(&mut self, jobs: &mut [CipherJob<'_>]) {
        cipher::run(&mut self.runner, Direction::Encrypt, jobs);
    }

    /// Decrypts each job's data in place.
    pub fn decrypt(&mut self, jobs: &mut [CipherJob<'_>]) {
        cipher::run(&mut self.runner, Direction::Decrypt, jobs);
    }

    /// Computes each job's tag, the jobs of one algorithm side by side.
    pub fn mac(&mut self, jobs: &mut [MacJob<'_>]) {
        mac::run(&mut self.runner, jobs);
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manager")
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        wipe(&mut *self.context);
    }
}

/// A struct that is nothing but integers.
pub(crate) trait Plain {}
impl Plain for sys::gcm_context_data {}
impl Plain for sys::gcm_key_data {}

/// Overwrites a struct with zeros.
pub(crate) fn wipe<T: Plain>(value: &mut T) {
    // SAFETY: `Plain` types are integers without references or drop glue, for which zeros are valid.
    unsafe { zeroize_flat_type(value) };
}
