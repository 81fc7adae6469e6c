//! Diffie-Hellman: MODP (RFC 2409 6, RFC 3526), ECP (RFC 5903), Curve25519 (RFC 8031).

use std::fmt;
use std::sync::OnceLock;

use aws_lc::elliptic::Curve;
use aws_lc::{Error, modp, x25519};
use modp_ifma::Modulus;
use portcullis_config::Group;
use zeroize::Zeroizing;

use super::RandomSource;
use super::modp_primes::{
    GENERATOR, MODP_768, MODP_1024, MODP_1536, MODP_2048, MODP_3072, MODP_4096, MODP_6144,
    MODP_8192,
};

/// Private keys that may be drawn until one is in range: a curve refuses one in 2^32 at most.
const ATTEMPTS: usize = 4;

/// How a group computes.
#[derive(Clone, Copy)]
enum Arithmetic {
    /// Modulo a prime, with private keys of so many bytes.
    Modp(&'static [u8], usize),
    Ecp(Curve),
    X25519,
}

/// Private keys are longer than RFC 3526 8 has them for the first, likelier estimate of a group's strength, by as much as
/// makes them whole words: the time goes by these.
fn arithmetic(group: Group) -> Arithmetic {
    match group {
        Group::Modp768 => Arithmetic::Modp(&MODP_768, 32),
        Group::Modp1024 => Arithmetic::Modp(&MODP_1024, 32),
        Group::Modp1536 => Arithmetic::Modp(&MODP_1536, 32),
        Group::Modp2048 => Arithmetic::Modp(&MODP_2048, 32),
        Group::Modp3072 => Arithmetic::Modp(&MODP_3072, 40),
        Group::Modp4096 => Arithmetic::Modp(&MODP_4096, 48),
        Group::Modp6144 => Arithmetic::Modp(&MODP_6144, 48),
        Group::Modp8192 => Arithmetic::Modp(&MODP_8192, 56),
        Group::Ecp256 => Arithmetic::Ecp(Curve::P256),
        Group::Ecp384 => Arithmetic::Ecp(Curve::P384),
        Group::Ecp521 => Arithmetic::Ecp(Curve::P521),
        Group::X25519 => Arithmetic::X25519,
    }
}

/// A group modulo whose prime this CPU raises two numbers to one power at once: a responder does just that.
fn modulus(group: Group) -> Option<&'static Modulus> {
    static MODULI: [OnceLock<Option<Modulus>>; 3] = [const { OnceLock::new() }; 3];
    let [modp2048, modp3072, modp4096] = &MODULI;
    let (modulus, prime): (_, &[u8]) = match group {
        Group::Modp2048 => (modp2048, &MODP_2048),
        Group::Modp3072 => (modp3072, &MODP_3072),
        Group::Modp4096 => (modp4096, &MODP_4096),
        _ => return None,
    };
    let known = modulus.get_or_init(|| Modulus::new(prime).filter(|m| is_right(m, prime)));
    known.as_ref()
}

/// Known answers before it is relied on: those of the other arithmetic.
fn is_right(modulus: &Modulus, prime: &[u8]) -> bool {
    let (private, base) = (&[0x5a; 32], vec![0x3c; prime.len()]);
    let Some([public, shared]) = modulus.powers([&[GENERATOR], &base], private) else {
        return false;
    };
    modp::public_value(prime, GENERATOR, private).is_ok_and(|other| other == *public)
        && modp::agree(prime, private, &base).is_ok_and(|other| other == shared)
}

/// Bytes of a public value in the key exchange payload.
pub fn public_length(group: Group) -> usize {
    match arithmetic(group) {
        Arithmetic::Modp(prime, _) => prime.len(),
        Arithmetic::Ecp(curve) => 2 * curve.length(),
        Arithmetic::X25519 => x25519::LENGTH,
    }
}

/// g^xy: MODP as long as the prime, ECP the x coordinate (RFC 5903 7).
pub struct SharedSecret(Zeroizing<Vec<u8>>);

impl SharedSecret {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for SharedSecret {
    fn from(bytes: Vec<u8>) -> Self {
        SharedSecret(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSecret({} bytes)", self.0.len())
    }
}

/// A private key and its public value.
pub struct KeyPair {
    group: Group,
    private: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
}

impl KeyPair {
    /// Draws a private key and computes its public value.
    pub fn new(group: Group, random: &mut dyn RandomSource) -> Result<Self, Error> {
        let mut last = Error::PrivateKey;
        for _ in 0..ATTEMPTS {
            let length = match arithmetic(group) {
                Arithmetic::Modp(_, length) => length,
                Arithmetic::Ecp(curve) => curve.length(),
                Arithmetic::X25519 => x25519::LENGTH,
            };
            let mut private = vec![0; length];
            random.fill(&mut private);
            // 521 bits are one more than 65 bytes hold.
            if let (Group::Ecp521, Some(first)) = (group, private.first_mut()) {
                *first &= 1;
            }
            match KeyPair::from_private(group, private) {
                Err(Error::PrivateKey) => last = Error::PrivateKey,
                result => return result,
            }
        }
        Err(last)
    }

    /// With a private key that was drawn elsewhere, as the group has them.
    pub fn from_private(group: Group, private: Vec<u8>) -> Result<Self, Error> {
        let private = Zeroizing::new(private);
        let public = match arithmetic(group) {
            Arithmetic::Modp(prime, _) => modp::public_value(prime, GENERATOR, &private)?,
            Arithmetic::Ecp(curve) => curve.public_value(&private)?,
            Arithmetic::X25519 => x25519::public_value(&private)?,
        };
        Ok(KeyPair {
            group,
            private,
            public,
        })
    }

    /// The body of the key exchange payload.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// The secret with a peer, whose public value is checked: its length, its range, that it is on the curve.
    pub fn agree(&self, peer: &[u8]) -> Result<SharedSecret, Error> {
        Ok(SharedSecret(match arithmetic(self.group) {
            Arithmetic::Modp(prime, _) => modp::agree(prime, &self.private, peer)?,
            Arithmetic::Ecp(curve) => curve.agree(&self.private, peer)?,
            Arithmetic::X25519 => x25519::agree(&self.private, peer)?,
        }))
    }
}

/// A responder's public value, and the secret with a peer, whose public value is checked as in [`KeyPair::agree`].
pub fn respond(
    group: Group,
    random: &mut dyn RandomSource,
    peer: &[u8],
) -> Result<(Vec<u8>, SharedSecret), Error> {
    let (Some(modulus), Arithmetic::Modp(prime, length)) = (modulus(group), arithmetic(group))
    else {
        let pair = KeyPair::new(group, random)?;
        let shared = pair.agree(peer)?;
        return Ok((pair.public, shared));
    };
    if !modp::is_public_value(prime, peer) {
        return Err(Error::PublicValue);
    }
    let mut private = Zeroizing::new(vec![0; length]);
    random.fill(&mut private);
    // Zero alone makes a secret that anybody knows: p is a safe prime, and the private key far shorter than it.
    if private.iter().all(|byte| *byte == 0) {
        return Err(Error::PrivateKey);
    }
    let powers = modulus.powers([&[GENERATOR], peer], &private);
    let [public, shared] = powers.ok_or(Error::Internal)?;
    Ok((public.to_vec(), SharedSecret(shared)))
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?})", self.group)
    }
}
