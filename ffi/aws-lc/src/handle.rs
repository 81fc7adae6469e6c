//! Objects of AWS-LC that free themselves. What the library frees, it wipes.

use std::ptr::NonNull;

use aws_lc_sys as sys;

use crate::Error;

/// Defines an owner of a C object.
macro_rules! handle {
    ($name:ident, $object:ty, $free:path) => {
        pub(crate) struct $name(NonNull<$object>);

        impl $name {
            /// Takes ownership of what the library allocated; null is its word for "out of memory" or "invalid".
            pub(crate) fn own(object: *mut $object, error: Error) -> Result<Self, Error> {
                NonNull::new(object).map($name).ok_or_else(|| failed(error))
            }

            pub(crate) fn as_ptr(&self) -> *mut $object {
                self.0.as_ptr()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the object is owned by this handle, and freed once.
                unsafe { $free(self.0.as_ptr()) }
            }
        }
    };
}

handle!(Bignum, sys::BIGNUM, sys::BN_clear_free);
handle!(Context, sys::BN_CTX, sys::BN_CTX_free);
handle!(Montgomery, sys::BN_MONT_CTX, sys::BN_MONT_CTX_free);
handle!(Point, sys::EC_POINT, sys::EC_POINT_free);
handle!(EcKey, sys::EC_KEY, sys::EC_KEY_free);
handle!(Rsa, sys::RSA, sys::RSA_free);
handle!(EcdsaSignature, sys::ECDSA_SIG, sys::ECDSA_SIG_free);
handle!(Pkey, sys::EVP_PKEY, sys::EVP_PKEY_free);

impl Bignum {
    pub(crate) fn zero() -> Result<Self, Error> {
        // SAFETY: no arguments.
        Bignum::own(unsafe { sys::BN_new() }, Error::Internal)
    }

    /// From big-endian bytes; the width, and with it the time of an exponentiation, follows from their number.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        // SAFETY: pointer and length are of one slice; null asks for a new number.
        let number = unsafe { sys::BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) };
        Bignum::own(number, Error::Internal)
    }

    /// To as many big-endian bytes; fails if they are too few.
    pub(crate) fn write(&self, out: &mut [u8]) -> Result<(), Error> {
        // SAFETY: the number is alive; pointer and length are of one slice.
        let done = unsafe { sys::BN_bn2bin_padded(out.as_mut_ptr(), out.len(), self.as_ptr()) };
        check(done, Error::Internal)
    }

    pub(crate) fn less_than(&self, other: *const sys::BIGNUM) -> bool {
        // SAFETY: both numbers are alive.
        unsafe { sys::BN_cmp(self.as_ptr(), other) < 0 }
    }

    pub(crate) fn is_zero(&self) -> bool {
        // SAFETY: the number is alive.
        unsafe { sys::BN_is_zero(self.as_ptr()) == 1 }
    }
}

impl Context {
    pub(crate) fn new() -> Result<Self, Error> {
        // SAFETY: no arguments.
        Context::own(unsafe { sys::BN_CTX_new() }, Error::Internal)
    }
}

/// The library's 1 is success.
pub(crate) fn check(result: std::ffi::c_int, error: Error) -> Result<(), Error> {
    if result == 1 {
        Ok(())
    } else {
        Err(failed(error))
    }
}

/// Empties the thread's queue of errors, which nobody reads.
fn failed(error: Error) -> Error {
    // SAFETY: no arguments; the queue belongs to the thread.
    unsafe { sys::ERR_clear_error() };
    error
}
