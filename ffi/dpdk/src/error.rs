//! DPDK's error numbers, translated where they appear.

use std::ffi::{CStr, CString, c_int};
use std::fmt;

use dpdk_sys as sys;

/// An error number of the system or of DPDK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// "Operation not supported": the driver lacks this function.
    const ENOTSUP: Errno = Errno(95);

    /// "Operation already in progress": the EAL was started before.
    pub(crate) const EALREADY: Errno = Errno(114);

    /// What DPDK left behind for this thread.
    pub(crate) fn last() -> Errno {
        // SAFETY: reads a thread-local integer.
        Errno(unsafe { sys::shim_errno() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 {
            // Some drivers return -1 for every failure, and tell the reason only in the log.
            return write!(f, "not permitted, or the driver gave no reason (errno 1)");
        }
        // SAFETY: returns a C string that is constant or belongs to this thread, and we copy it at once.
        let text = unsafe { CStr::from_ptr(sys::rte_strerror(self.0)) };
        write!(f, "{} (errno {})", text.to_string_lossy(), self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why DPDK did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A call into DPDK failed.
    #[error("{call}: {errno}")]
    Call {
        /// The C function.
        call: &'static str,
        /// What it reported.
        errno: Errno,
    },
    /// The EAL starts at most once in a process.
    #[error("the EAL was already started in this process")]
    AlreadyInitialized,
    /// There is no [`Eal`](crate::Eal).
    #[error("the EAL is not started")]
    NotInitialized,
    /// The thread is an lcore: the one that started the EAL, or one that is registered already.
    #[error("this thread is registered already")]
    AlreadyRegistered,
    /// A string for C with a zero byte in it.
    #[error("{0:?} contains a zero byte")]
    ZeroByte(String),
    /// The EAL knows no device of this name.
    #[error("no device is named {0:?}")]
    NoSuchDevice(String),
    /// The device is open already.
    #[error("device {0:?} is already open")]
    InUse(String),
    /// More queues than the device has.
    #[error("device {device:?}: {asked} {direction} queues wanted, but it has 1 to {max}")]
    Queues {
        /// The device.
        device: String,
        /// `RX` or `TX`.
        direction: &'static str,
        /// Wanted.
        asked: u16,
        /// Offered.
        max: u16,
    },
    /// An MTU that the device cannot have.
    #[error("device {device:?}: MTU {asked} wanted, but it takes {min} to {max}")]
    Mtu {
        /// The device.
        device: String,
        /// Wanted.
        asked: u16,
        /// Least.
        min: u16,
        /// Most.
        max: u16,
    },
    /// A buffer pool whose elements would not fit DPDK's 16-bit lengths.
    #[error("buffers of {0} bytes are too long for an mbuf")]
    DataRoom(u16),
}

impl Error {
    /// True if the driver lacks the function, which many virtual devices do.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Error::Call { errno, .. } if *errno == Errno::ENOTSUP)
    }

    /// `code` as ethdev returns it: negative error numbers, all else is good.
    pub(crate) fn check(call: &'static str, code: c_int) -> Result<c_int, Error> {
        if code >= 0 {
            return Ok(code);
        }
        let errno = Errno(-code);
        Err(Error::Call { call, errno })
    }

    /// `call` would not be possible.
    pub(crate) fn unsupported(call: &'static str) -> Error {
        let errno = Errno::ENOTSUP;
        Error::Call { call, errno }
    }

    /// The error that DPDK left behind after `call`.
    pub(crate) fn last(call: &'static str) -> Error {
        Error::Call {
            call,
            errno: Errno::last(),
        }
    }
}

/// `text` for C.
pub(crate) fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::ZeroByte(text.to_owned()))
}
