//! Diffie-Hellman over the integers modulo a prime.

use aws_lc_sys as sys;
use zeroize::Zeroizing;

use crate::handle::{Bignum, Context, Montgomery, check};
use crate::{Error, SharedSecret};

/// The public value of a private key: as many bytes as the prime (RFC 2409 5).
pub fn public_value(prime: &[u8], generator: u8, private: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; prime.len()];
    power(prime, &[generator], private, &mut out, Error::PrivateKey)?;
    Ok(out)
}

/// What both ends know: as many bytes as the prime.
///
/// The peer's value must lie between 1 and p-1, both excluded. In the groups of RFC 2409 and RFC 3526 p is a safe
/// prime, so that these two are all there is in small subgroups.
pub fn agree(prime: &[u8], private: &[u8], peer: &[u8]) -> Result<SharedSecret, Error> {
    if !is_public_value(prime, peer) {
        return Err(Error::PublicValue);
    }
    let mut out = Zeroizing::new(vec![0; prime.len()]);
    power(prime, peer, private, &mut out, Error::PublicValue)?;
    Ok(out)
}

/// True if a peer's value is as long as the prime, and between 1 and p-1, both excluded.
pub fn is_public_value(prime: &[u8], peer: &[u8]) -> bool {
    let in_range = || {
        let (prime, peer) = (Bignum::from_bytes(prime)?, Bignum::from_bytes(peer)?);
        in_range(&peer, &prime)
    };
    peer.len() == prime.len() && in_range().unwrap_or(false)
}

/// `base` to the power of `exponent` modulo `prime`, if base and result are neither 0, 1 nor p-1.
fn power(
    prime: &[u8],
    base: &[u8],
    exponent: &[u8],
    out: &mut [u8],
    error: Error,
) -> Result<(), Error> {
    let prime = Bignum::from_bytes(prime)?;
    let base = Bignum::from_bytes(base)?;
    let exponent = Bignum::from_bytes(exponent)?;
    let result = Bignum::zero()?;
    let context = Context::new()?;
    if !in_range(&base, &prime)? {
        return Err(error);
    }
    // SAFETY: number and context are alive; the prime is public.
    let montgomery = unsafe { sys::BN_MONT_CTX_new_for_modulus(prime.as_ptr(), context.as_ptr()) };
    let montgomery = Montgomery::own(montgomery, Error::Internal)?;
    // SAFETY: all are alive, and only the result is written to.
    let done = unsafe {
        sys::BN_mod_exp_mont_consttime(
            result.as_ptr(),
            base.as_ptr(),
            exponent.as_ptr(),
            prime.as_ptr(),
            context.as_ptr(),
            montgomery.as_ptr(),
        )
    };
    check(done, Error::Internal)?;
    if !in_range(&result, &prime)? {
        return Err(error);
    }
    result.write(out)
}

/// 1 < value < p-1.
fn in_range(value: &Bignum, prime: &Bignum) -> Result<bool, Error> {
    let one = Bignum::from_bytes(&[1])?;
    let last = Bignum::zero()?;
    // SAFETY: all three are alive, and only the first is written to.
    let done = unsafe { sys::BN_sub(last.as_ptr(), prime.as_ptr(), one.as_ptr()) };
    check(done, Error::Internal)?;
    Ok(one.less_than(value.as_ptr()) && value.less_than(last.as_ptr()))
}
