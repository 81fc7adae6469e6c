//! RSA and ECDSA over hashes: bare ones as IKEv1 signs them (RFC 2409 5.1, RFC 4754), and as certificates are signed.

use std::fmt;

use aws_lc_sys as sys;

use crate::Error;
use crate::elliptic::Curve;
use crate::handle::{Bignum, Context, EcKey, EcdsaSignature, Pkey, Rsa, check};

/// Longer RSA keys are refused: a peer could keep us busy with them.
const LONGEST_RSA: u32 = 8192;

/// What a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSA with a modulus of so many bits, PKCS#1 v1.5.
    Rsa(u32),
    /// ECDSA.
    Ecdsa(Curve),
}

/// The hash that a certificate's signature names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateHash {
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
}

impl CertificateHash {
    fn nid(self) -> i32 {
        match self {
            CertificateHash::Sha256 => sys::NID_sha256,
            CertificateHash::Sha384 => sys::NID_sha384,
            CertificateHash::Sha512 => sys::NID_sha512,
        }
    }
}

/// A key that signs; wiped when it goes.
pub struct PrivateKey {
    key: Pkey,
    algorithm: Algorithm,
}

// SAFETY: the key is not changed after it was made, and the library locks what it caches in it.
unsafe impl Send for PrivateKey {}
// SAFETY: as above.
unsafe impl Sync for PrivateKey {}

impl PrivateKey {
    /// Reads PKCS#8 (RFC 5208) in DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let mut input = sys::CBS {
            data: der.as_ptr(),
            len: der.len(),
        };
        // SAFETY: the input describes one slice, which outlives the call.
        let key = unsafe { sys::EVP_parse_private_key(&raw mut input) };
        let key = Pkey::own(key, Error::KeyEncoding)?;
        if input.len != 0 {
            return Err(Error::KeyEncoding);
        }
        let algorithm = algorithm_of(&key)?;
        Ok(PrivateKey { key, algorithm })
    }

    /// What the key can do.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it belongs to a public key.
    pub fn matches(&self, public: &PublicKey) -> bool {
        match (self.rsa(), self.ec(), public) {
            (Some(ours), _, PublicKey::Rsa(theirs)) => {
                // SAFETY: both keys are alive, and their numbers belong to them.
                unsafe {
                    sys::BN_cmp(sys::RSA_get0_n(ours), sys::RSA_get0_n(theirs.as_ptr())) == 0
                        && sys::BN_cmp(sys::RSA_get0_e(ours), sys::RSA_get0_e(theirs.as_ptr())) == 0
                }
            }
            (_, Some(ours), PublicKey::Ecdsa(curve, theirs)) => {
                self.algorithm == Algorithm::Ecdsa(*curve)
                    // SAFETY: both keys are alive and of the same group; no context is asked for.
                    && unsafe {
                        sys::EC_POINT_cmp(
                            curve.group(),
                            sys::EC_KEY_get0_public_key(ours),
                            sys::EC_KEY_get0_public_key(theirs.as_ptr()),
                            std::ptr::null_mut(),
                        ) == 0
                    }
            }
            _ => false,
        }
    }

    /// Signs a hash as it is: RSA as PKCS#1 block type 1 without naming the hash (RFC 2409 5.1), ECDSA as r and s
    /// (RFC 4754 7).
    pub fn sign(&self, hash: &[u8]) -> Result<Vec<u8>, Error> {
        match (self.algorithm, self.rsa(), self.ec()) {
            (Algorithm::Rsa(_), Some(key), _) => sign_rsa(key, hash),
            (Algorithm::Ecdsa(curve), _, Some(key)) => sign_ecdsa(curve, key, hash),
            _ => Err(Error::Internal),
        }
    }

    fn rsa(&self) -> Option<*mut sys::RSA> {
        // SAFETY: the key is alive; null is the answer if it is none of RSA.
        let key = unsafe { sys::EVP_PKEY_get0_RSA(self.key.as_ptr()) };
        (!key.is_null()).then_some(key)
    }

    fn ec(&self) -> Option<*mut sys::EC_KEY> {
        // SAFETY: the key is alive; null is the answer if it is none of an elliptic curve.
        let key = unsafe { sys::EVP_PKEY_get0_EC_KEY(self.key.as_ptr()) };
        (!key.is_null()).then_some(key)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?})", self.algorithm)
    }
}

fn algorithm_of(key: &Pkey) -> Result<Algorithm, Error> {
    // SAFETY: the key is alive.
    match unsafe { sys::EVP_PKEY_id(key.as_ptr()) } {
        sys::EVP_PKEY_RSA => {
            // SAFETY: the key is alive, and is RSA.
            let bits = unsafe { sys::RSA_bits(sys::EVP_PKEY_get0_RSA(key.as_ptr())) };
            if bits > LONGEST_RSA {
                return Err(Error::KeyEncoding);
            }
            Ok(Algorithm::Rsa(bits))
        }
        sys::EVP_PKEY_EC => {
            // SAFETY: the key is alive, is of an elliptic curve, and has a group.
            let name = unsafe {
                let key = sys::EVP_PKEY_get0_EC_KEY(key.as_ptr());
                sys::EC_GROUP_get_curve_name(sys::EC_KEY_get0_group(key))
            };
            match name {
                sys::NID_X9_62_prime256v1 => Ok(Algorithm::Ecdsa(Curve::P256)),
                sys::NID_secp384r1 => Ok(Algorithm::Ecdsa(Curve::P384)),
                sys::NID_secp521r1 => Ok(Algorithm::Ecdsa(Curve::P521)),
                _ => Err(Error::KeyEncoding),
            }
        }
        _ => Err(Error::KeyEncoding),
    }
}

fn sign_rsa(key: *mut sys::RSA, hash: &[u8]) -> Result<Vec<u8>, Error> {
    // SAFETY: the caller's key is alive.
    let mut out = vec![0; unsafe { sys::RSA_size(key) } as usize];
    let mut length = 0;
    // SAFETY: the key is alive; pointers and lengths are of one vector and of one slice.
    let done = unsafe {
        sys::RSA_sign_raw(
            key,
            &raw mut length,
            out.as_mut_ptr(),
            out.len(),
            hash.as_ptr(),
            hash.len(),
            sys::RSA_PKCS1_PADDING,
        )
    };
    check(done, Error::HashLength)?;
    out.truncate(length);
    Ok(out)
}

fn sign_ecdsa(curve: Curve, key: *mut sys::EC_KEY, hash: &[u8]) -> Result<Vec<u8>, Error> {
    // SAFETY: the caller's key is alive; pointer and length are of one slice.
    let signature = unsafe { sys::ECDSA_do_sign(hash.as_ptr(), hash.len(), key) };
    let signature = EcdsaSignature::own(signature, Error::Internal)?;
    let mut out = vec![0; 2 * curve.length()];
    let (r, s) = out.split_at_mut(curve.length());
    signature.write(r, s)?;
    Ok(out)
}

/// A peer's or an issuer's key.
pub enum PublicKey {
    /// RSA.
    Rsa(RsaPublic),
    /// ECDSA.
    Ecdsa(Curve, EcPublic),
}

/// A public RSA key.
pub struct RsaPublic(Rsa);

/// A point on a curve.
pub struct EcPublic(EcKey);

impl RsaPublic {
    fn as_ptr(&self) -> *mut sys::RSA {
        self.0.as_ptr()
    }
}

impl EcPublic {
    fn as_ptr(&self) -> *mut sys::EC_KEY {
        self.0.as_ptr()
    }
}

// SAFETY: the key is not changed after it was made, and the library locks what it caches in it.
unsafe impl Send for PublicKey {}
// SAFETY: as above.
unsafe impl Sync for PublicKey {}

impl PublicKey {
    /// Reads an RSAPublicKey (RFC 8017 A.1.1) in DER.
    pub fn rsa(der: &[u8]) -> Result<Self, Error> {
        // SAFETY: pointer and length are of one slice.
        let key = unsafe { sys::RSA_public_key_from_bytes(der.as_ptr(), der.len()) };
        let key = Rsa::own(key, Error::KeyEncoding)?;
        // SAFETY: the key is alive.
        if unsafe { sys::RSA_bits(key.as_ptr()) } > LONGEST_RSA {
            return Err(Error::KeyEncoding);
        }
        Ok(PublicKey::Rsa(RsaPublic(key)))
    }

    /// Reads an uncompressed point (RFC 5480 2.2).
    pub fn ecdsa(curve: Curve, point: &[u8]) -> Result<Self, Error> {
        let coordinates = point.strip_prefix(&[4]).ok_or(Error::KeyEncoding)?;
        let context = Context::new()?;
        let point = curve
            .read_point(coordinates, &context)
            .map_err(|_| Error::KeyEncoding)?;
        // SAFETY: no arguments.
        let key = EcKey::own(unsafe { sys::EC_KEY_new() }, Error::Internal)?;
        // SAFETY: the key and the group are alive.
        let done = unsafe { sys::EC_KEY_set_group(key.as_ptr(), curve.group()) };
        check(done, Error::Internal)?;
        // SAFETY: the key and the point are alive, and the point is copied.
        let done = unsafe { sys::EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()) };
        check(done, Error::KeyEncoding)?;
        Ok(PublicKey::Ecdsa(curve, EcPublic(key)))
    }

    /// What the key can do.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            // SAFETY: the key is alive.
            PublicKey::Rsa(key) => Algorithm::Rsa(unsafe { sys::RSA_bits(key.as_ptr()) }),
            PublicKey::Ecdsa(curve, _) => Algorithm::Ecdsa(*curve),
        }
    }

    /// Verifies what [`PrivateKey::sign`] makes.
    pub fn verify(&self, hash: &[u8], signature: &[u8]) -> Result<(), Error> {
        match self {
            PublicKey::Rsa(key) => verify_rsa(key, hash, signature),
            PublicKey::Ecdsa(curve, key) => {
                if signature.len() != 2 * curve.length() {
                    return Err(Error::Signature);
                }
                let (r, s) = signature.split_at(curve.length());
                let signature = EcdsaSignature::from_parts(r, s)?;
                // SAFETY: key and signature are alive; pointer and length are of one slice.
                let done = unsafe {
                    sys::ECDSA_do_verify(
                        hash.as_ptr(),
                        hash.len(),
                        signature.as_ptr(),
                        key.as_ptr(),
                    )
                };
                check(done, Error::Signature)
            }
        }
    }

    /// Verifies a certificate's or a revocation list's signature over the hash of it: RSA names the hash in a
    /// DigestInfo (RFC 8017 9.2), ECDSA is in DER (RFC 3279 2.2.3).
    pub fn verify_certificate(
        &self,
        with: CertificateHash,
        hash: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let done = match self {
            // SAFETY: the key is alive; pointers and lengths are of one slice each.
            PublicKey::Rsa(key) => unsafe {
                sys::RSA_verify(
                    with.nid(),
                    hash.as_ptr(),
                    hash.len(),
                    signature.as_ptr(),
                    signature.len(),
                    key.as_ptr(),
                )
            },
            // SAFETY: as above; the first argument is not used.
            PublicKey::Ecdsa(_, key) => unsafe {
                sys::ECDSA_verify(
                    0,
                    hash.as_ptr(),
                    hash.len(),
                    signature.as_ptr(),
                    signature.len(),
                    key.as_ptr(),
                )
            },
        };
        check(done, Error::Signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.algorithm())
    }
}

fn verify_rsa(key: &RsaPublic, hash: &[u8], signature: &[u8]) -> Result<(), Error> {
    // SAFETY: the key is alive.
    let mut out = vec![0; unsafe { sys::RSA_size(key.as_ptr()) } as usize];
    let mut length = 0;
    // SAFETY: the key is alive; pointers and lengths are of one vector and of one slice.
    let done = unsafe {
        sys::RSA_verify_raw(
            key.as_ptr(),
            &raw mut length,
            out.as_mut_ptr(),
            out.len(),
            signature.as_ptr(),
            signature.len(),
            sys::RSA_PKCS1_PADDING,
        )
    };
    check(done, Error::Signature)?;
    let signed = out.get(..length).filter(|it| it.len() == hash.len());
    let signed = signed.ok_or(Error::Signature)?;
    let (ours, theirs) = (hash.as_ptr().cast(), signed.as_ptr().cast());
    // SAFETY: both are as long as the hash.
    match unsafe { sys::CRYPTO_memcmp(theirs, ours, hash.len()) } {
        0 => Ok(()),
        _ => Err(Error::Signature),
    }
}

impl EcdsaSignature {
    fn from_parts(r: &[u8], s: &[u8]) -> Result<Self, Error> {
        let (r, s) = (Bignum::from_bytes(r)?, Bignum::from_bytes(s)?);
        // SAFETY: no arguments.
        let signature = EcdsaSignature::own(unsafe { sys::ECDSA_SIG_new() }, Error::Internal)?;
        // SAFETY: all are alive; on success the signature owns both numbers.
        let done = unsafe { sys::ECDSA_SIG_set0(signature.as_ptr(), r.as_ptr(), s.as_ptr()) };
        check(done, Error::Internal)?;
        std::mem::forget((r, s));
        Ok(signature)
    }

    fn write(&self, r_out: &mut [u8], s_out: &mut [u8]) -> Result<(), Error> {
        let (mut r, mut s) = (std::ptr::null(), std::ptr::null());
        // SAFETY: the signature is alive; both numbers remain its own.
        unsafe { sys::ECDSA_SIG_get0(self.as_ptr(), &raw mut r, &raw mut s) };
        for (number, out) in [(r, r_out), (s, s_out)] {
            // SAFETY: the number belongs to the signature; pointer and length are of one slice.
            let done = unsafe { sys::BN_bn2bin_padded(out.as_mut_ptr(), out.len(), number) };
            check(done, Error::Internal)?;
        }
        Ok(())
    }
}
