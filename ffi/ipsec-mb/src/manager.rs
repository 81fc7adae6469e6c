//! The library's manager: the functions for this CPU, proven before they are used.

use std::{fmt, ptr, ptr::NonNull};

use zeroize::zeroize_flat_type;

use crate::gcm::{Functions, GcmJob, GcmKey, KeyLength};
use crate::{known_answer, sys};

/// Why there is no manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No memory.
    Memory,
    /// The library does not run on this CPU; its own error number.
    Unsupported(i32),
    /// The library lacks AES-GCM for this key length.
    Missing(KeyLength),
    /// AES-GCM of this key length gives wrong results here.
    KnownAnswer(KeyLength),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Memory => write!(f, "ipsec-mb: no memory for a manager"),
            Error::Unsupported(n) => write!(f, "ipsec-mb does not run on this CPU (error {n})"),
            Error::Missing(length) => write!(f, "ipsec-mb has no AES-GCM with {length:?} keys"),
            Error::KnownAnswer(length) => {
                write!(f, "ipsec-mb computes AES-GCM with {length:?} keys wrongly")
            }
        }
    }
}

impl std::error::Error for Error {}

/// One worker's access to the library.
pub struct Manager {
    manager: NonNull<sys::IMB_MGR>,
    functions: [Functions; 3],
    /// Scratch of the running operation; holds key stream.
    context: Box<sys::gcm_context_data>,
}

// SAFETY: the manager is memory of its own that no thread-local or thread-bound state of the library refers
// to; only sharing it between threads at one time would race, and it is not Sync.
unsafe impl Send for Manager {}

impl Manager {
    /// Makes a manager for this CPU and has it compute known answers, distinct ones side by side.
    pub fn new() -> Result<Self, Error> {
        // SAFETY: takes no pointer; the result is checked for null.
        let manager = NonNull::new(unsafe { sys::alloc_mb_mgr(0) }).ok_or(Error::Memory)?;
        // SAFETY: `manager` was just allocated; the library allows null for the architecture it would report.
        unsafe { sys::init_mb_mgr_auto(manager.as_ptr(), ptr::null_mut()) };
        let mut this = Manager {
            manager,
            functions: [Functions::default(); 3],
            context: Box::default(),
        };
        // SAFETY: `manager` is allocated; the function only reads it.
        match unsafe { sys::imb_get_errno(manager.as_ptr()) } {
            0 => {}
            errno => return Err(Error::Unsupported(errno)),
        }
        for length in KeyLength::ALL {
            // SAFETY: `manager` is initialized, and nobody else has a reference to it.
            let functions = Functions::of(unsafe { manager.as_ref() }, length);
            this.functions[length as usize] = functions.ok_or(Error::Missing(length))?;
        }
        known_answer::check(&mut this)?;
        Ok(this)
    }

    /// Expands a key of 16, 24 or 32 bytes; `None` for another length.
    pub fn gcm_key(&self, key: &[u8]) -> Option<GcmKey> {
        let length = KeyLength::of(key)?;
        Some(GcmKey::new(&self.functions[length as usize], length, key))
    }

    /// Encrypts each job's data in place and writes its tag.
    pub fn seal(&mut self, jobs: &mut [GcmJob<'_>]) {
        for job in jobs {
            *job.ok = self.functions[job.key.length() as usize].seal(&mut self.context, job);
        }
    }

    /// Decrypts each job's data in place and compares its tag in constant time.
    ///
    /// The data of a job that is not `ok` has been decrypted all the same and means nothing.
    pub fn open(&mut self, jobs: &mut [GcmJob<'_>]) {
        for job in jobs {
            *job.ok = self.functions[job.key.length() as usize].open(&mut self.context, job);
        }
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
        // SAFETY: allocated by `alloc_mb_mgr` in `new`, freed once.
        unsafe { sys::free_mb_mgr(self.manager.as_ptr()) };
    }
}

/// A struct of the library that is nothing but integers.
pub(crate) trait Plain {}
impl Plain for sys::gcm_context_data {}
impl Plain for sys::gcm_key_data {}

/// Overwrites a struct with zeros.
pub(crate) fn wipe<T: Plain>(value: &mut T) {
    // SAFETY: `Plain` types are integers without references or drop glue, for which zeros are valid.
    unsafe { zeroize_flat_type(value) };
}
