//! Signatures of phase 1 (RFC 2409 5.1, RFC 4754).

use aws_lc::elliptic::Curve;
pub use aws_lc::signature::{Algorithm, PrivateKey, PublicKey};
use portcullis_config::IkeHash;

/// The hash whose HMAC makes HASH_I and HASH_R for a signature: ECDSA is tied to one (RFC 4754 4), RSA takes the
/// negotiated one (RFC 2409 5.1).
pub fn signed_hash(algorithm: Algorithm, negotiated: IkeHash) -> IkeHash {
    match algorithm {
        Algorithm::Rsa(_) => negotiated,
        Algorithm::Ecdsa(Curve::P256) => IkeHash::Sha2_256,
        Algorithm::Ecdsa(Curve::P384) => IkeHash::Sha2_384,
        Algorithm::Ecdsa(Curve::P521) => IkeHash::Sha2_512,
    }
}
