//! Diffie-Hellman on Curve25519 (RFC 7748).

use aws_lc_sys as sys;
use zeroize::Zeroizing;

use crate::handle::check;
use crate::{Error, SharedSecret};

/// Bytes of a private key, of a public value and of a secret.
pub const LENGTH: usize = 32;

/// The public value of a private key, which may be any bytes.
pub fn public_value(private: &[u8]) -> Result<Vec<u8>, Error> {
    let private: &[u8; LENGTH] = private.try_into().map_err(|_| Error::PrivateKey)?;
    let mut out = vec![0; LENGTH];
    // SAFETY: both are 32 bytes long.
    unsafe { sys::X25519_public_from_private(out.as_mut_ptr(), private.as_ptr()) };
    Ok(out)
}

/// The shared secret; fails if it is zero (RFC 8031 5 with RFC 7748 6.1).
pub fn agree(private: &[u8], peer: &[u8]) -> Result<SharedSecret, Error> {
    let private: &[u8; LENGTH] = private.try_into().map_err(|_| Error::PrivateKey)?;
    let peer: &[u8; LENGTH] = peer.try_into().map_err(|_| Error::PublicValue)?;
    let mut out = Zeroizing::new(vec![0; LENGTH]);
    // SAFETY: all three are 32 bytes long.
    let done = unsafe { sys::X25519(out.as_mut_ptr(), private.as_ptr(), peer.as_ptr()) };
    check(done, Error::PublicValue)?;
    Ok(out)
}
