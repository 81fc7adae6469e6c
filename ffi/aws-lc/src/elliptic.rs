//! Diffie-Hellman on the NIST curves, encoded as in RFC 5903.

use aws_lc_sys as sys;
use zeroize::Zeroizing;

use crate::handle::{Bignum, Context, Point, check};
use crate::{Error, SharedSecret};

/// Before the two coordinates of a point that is not compressed (SEC 1 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

impl Curve {
    /// Bytes of a coordinate, and of a private key.
    pub fn length(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    pub(crate) fn group(self) -> *const sys::EC_GROUP {
        // SAFETY: no arguments; the groups are static.
        unsafe {
            match self {
                Curve::P256 => sys::EC_group_p256(),
                Curve::P384 => sys::EC_group_p384(),
                Curve::P521 => sys::EC_group_p521(),
            }
        }
    }

    /// The public value, x and y (RFC 5903 7), of a private key between 0 and the group's order.
    pub fn public_value(self, private: &[u8]) -> Result<Vec<u8>, Error> {
        let scalar = self.scalar(private)?;
        let result = self.point()?;
        let context = Context::new()?;
        // SAFETY: all are alive and of one group; without a second point only the generator is multiplied.
        let done = unsafe {
            sys::EC_POINT_mul(
                self.group(),
                result.as_ptr(),
                scalar.as_ptr(),
                std::ptr::null(),
                std::ptr::null(),
                context.as_ptr(),
            )
        };
        check(done, Error::Internal)?;
        Ok(self.coordinates(&result, &context)?.split_off(1))
    }

    /// The shared secret: x alone (RFC 5903 7). The peer's value must be a point on the curve.
    pub fn agree(self, private: &[u8], peer: &[u8]) -> Result<SharedSecret, Error> {
        let scalar = self.scalar(private)?;
        let context = Context::new()?;
        let peer = self.read_point(peer, &context)?;
        let result = self.point()?;
        // SAFETY: all are alive and of one group.
        let done = unsafe {
            sys::EC_POINT_mul(
                self.group(),
                result.as_ptr(),
                std::ptr::null(),
                peer.as_ptr(),
                scalar.as_ptr(),
                context.as_ptr(),
            )
        };
        check(done, Error::Internal)?;
        let coordinates = self.coordinates(&result, &context)?;
        let x = coordinates.get(1..1 + self.length());
        Ok(Zeroizing::new(x.ok_or(Error::Internal)?.to_vec()))
    }

    fn scalar(self, private: &[u8]) -> Result<Bignum, Error> {
        let scalar = Bignum::from_bytes(private)?;
        // SAFETY: the group is static, and so is its order.
        let order = unsafe { sys::EC_GROUP_get0_order(self.group()) };
        if private.len() == self.length() && !scalar.is_zero() && scalar.less_than(order) {
            Ok(scalar)
        } else {
            Err(Error::PrivateKey)
        }
    }

    fn point(self) -> Result<Point, Error> {
        // SAFETY: the group is static.
        Point::own(unsafe { sys::EC_POINT_new(self.group()) }, Error::Internal)
    }

    /// Reads x and y; fails unless they are a point on the curve.
    pub(crate) fn read_point(self, value: &[u8], context: &Context) -> Result<Point, Error> {
        if value.len() != 2 * self.length() {
            return Err(Error::PublicValue);
        }
        let bytes = [&[UNCOMPRESSED], value].concat();
        let point = self.point()?;
        // SAFETY: all are alive; pointer and length are of one vector.
        let done = unsafe {
            sys::EC_POINT_oct2point(
                self.group(),
                point.as_ptr(),
                bytes.as_ptr(),
                bytes.len(),
                context.as_ptr(),
            )
        };
        check(done, Error::PublicValue)?;
        Ok(point)
    }

    /// [`UNCOMPRESSED`], x and y; fails for the point at infinity.
    fn coordinates(self, point: &Point, context: &Context) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut out = Zeroizing::new(vec![0; 1 + 2 * self.length()]);
        // SAFETY: all are alive; pointer and length are of one vector.
        let written = unsafe {
            sys::EC_POINT_point2oct(
                self.group(),
                point.as_ptr(),
                sys::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                out.as_mut_ptr(),
                out.len(),
                context.as_ptr(),
            )
        };
        if written == out.len() {
            Ok(out)
        } else {
            Err(Error::PublicValue)
        }
    }
}
