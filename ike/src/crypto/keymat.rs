//! Keys of phase 1 and phase 2, and the hashes that authenticate messages (RFC 2409 5 and appendix B).

use portcullis_config::{IkeCipher, IkeHash, Secret};
use zeroize::Zeroizing;

use super::cipher::{self, Iv, PhaseCipher};
use super::dh::SharedSecret;
use super::hash::{Digest, hash, prf};

/// Both nonces: bodies of the payloads (Ni_b, Nr_b).
#[derive(Clone, Copy, Debug)]
pub struct Nonces<'a> {
    /// Ni_b.
    pub initiator: &'a [u8],
    /// Nr_b.
    pub responder: &'a [u8],
}

/// Both cookies (CKY-I, CKY-R).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cookies {
    /// CKY-I.
    pub initiator: [u8; 8],
    /// CKY-R.
    pub responder: [u8; 8],
}

/// Both Diffie-Hellman public values: bodies of the payloads (g^xi, g^xr).
#[derive(Clone, Copy, Debug)]
pub struct PublicValues<'a> {
    /// g^xi.
    pub initiator: &'a [u8],
    /// g^xr.
    pub responder: &'a [u8],
}

/// What phase 1 keys are made of (RFC 2409 5), and the PRF.
#[derive(Debug)]
pub struct Skeyid {
    hash: IkeHash,
    cookies: Cookies,
    skeyid: Digest,
    d: Digest,
    a: Digest,
    e: Digest,
}

impl Skeyid {
    /// For pre-shared keys: SKEYID = prf(pre-shared-key, Ni_b | Nr_b).
    pub fn from_psk(
        hash: IkeHash,
        psk: &[u8],
        nonces: Nonces<'_>,
        shared: &SharedSecret,
        cookies: Cookies,
    ) -> Self {
        let skeyid = prf(hash, psk, &[nonces.initiator, nonces.responder]);
        Skeyid::derive(hash, skeyid, shared, cookies)
    }

    /// For signatures: SKEYID = prf(Ni_b | Nr_b, g^xy).
    pub fn from_signatures(
        hash: IkeHash,
        nonces: Nonces<'_>,
        shared: &SharedSecret,
        cookies: Cookies,
    ) -> Self {
        let key = [nonces.initiator, nonces.responder].concat();
        let skeyid = prf(hash, &key, &[shared.as_bytes()]);
        Skeyid::derive(hash, skeyid, shared, cookies)
    }

    fn derive(hash: IkeHash, skeyid: Digest, shared: &SharedSecret, cookies: Cookies) -> Self {
        let next = |previous: &[u8], number: u8| {
            let parts = [
                previous,
                shared.as_bytes(),
                &cookies.initiator,
                &cookies.responder,
                &[number],
            ];
            prf(hash, skeyid.as_ref(), &parts)
        };
        let d = next(&[], 0);
        let a = next(d.as_ref(), 1);
        let e = next(a.as_ref(), 2);
        Skeyid {
            hash,
            cookies,
            skeyid,
            d,
            a,
            e,
        }
    }

    /// HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b) (RFC 2409 5).
    ///
    /// `with` is the negotiated hash, or that of the signature algorithm if one is tied to it (RFC 2409 5.1, RFC 4754 4).
    pub fn hash_i(&self, with: IkeHash, public: PublicValues<'_>, sa: &[u8], id: &[u8]) -> Digest {
        let parts = [
            public.initiator,
            public.responder,
            &self.cookies.initiator,
            &self.cookies.responder,
            sa,
            id,
        ];
        prf(with, self.skeyid.as_ref(), &parts)
    }

    /// HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b) (RFC 2409 5).
    pub fn hash_r(&self, with: IkeHash, public: PublicValues<'_>, sa: &[u8], id: &[u8]) -> Digest {
        let parts = [
            public.responder,
            public.initiator,
            &self.cookies.responder,
            &self.cookies.initiator,
            sa,
            id,
        ];
        prf(with, self.skeyid.as_ref(), &parts)
    }

    /// The phase 1 cipher's key, which a key log may show: the first bytes of SKEYID_e, or if it is too short those of K1 | K2 | .. with
    /// K1 = prf(SKEYID_e, 0) and Kn = prf(SKEYID_e, Kn-1) (RFC 2409 appendix B).
    pub fn cipher_key(&self, cipher: IkeCipher) -> Secret {
        appendix_b(self.hash, self.e.as_ref(), cipher::key_length(cipher))
    }

    /// The phase 1 cipher with its key.
    pub fn cipher(&self, cipher: IkeCipher) -> PhaseCipher {
        PhaseCipher::new(cipher, &self.cipher_key(cipher))
    }

    /// The IV of the first encrypted message of phase 1: hash(g^xi | g^xr) (RFC 2409 appendix B).
    pub fn phase1_iv(&self, cipher: IkeCipher, public: PublicValues<'_>) -> Iv {
        let digest = hash(self.hash, &[public.initiator, public.responder]);
        Iv::new(cipher, digest.as_ref())
    }

    /// The IV of the first message of a later exchange: hash(last block of phase 1 | M-ID) (RFC 2409 appendix B).
    pub fn exchange_iv(&self, cipher: IkeCipher, phase1: &Iv, message_id: u32) -> Iv {
        let digest = hash(self.hash, &[phase1.as_ref(), &message_id.to_be_bytes()]);
        Iv::new(cipher, digest.as_ref())
    }

    /// HASH(1) of quick mode, and of an informational exchange: prf(SKEYID_a, M-ID | what follows the hash payload)
    /// (RFC 2409 5.5 and 5.7).
    pub fn hash_1(&self, message_id: u32, rest: &[u8]) -> Digest {
        let parts = [&message_id.to_be_bytes(), rest];
        prf(self.hash, self.a.as_ref(), &parts)
    }

    /// HASH(2) of quick mode: prf(SKEYID_a, M-ID | Ni_b | what follows the hash payload) (RFC 2409 5.5).
    pub fn hash_2(&self, message_id: u32, initiator_nonce: &[u8], rest: &[u8]) -> Digest {
        let parts = [&message_id.to_be_bytes(), initiator_nonce, rest];
        prf(self.hash, self.a.as_ref(), &parts)
    }

    /// HASH(3) of quick mode: prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b) (RFC 2409 5.5).
    pub fn hash_3(&self, message_id: u32, nonces: Nonces<'_>) -> Digest {
        let id = message_id.to_be_bytes();
        let parts = [&[0], &id[..], nonces.initiator, nonces.responder];
        prf(self.hash, self.a.as_ref(), &parts)
    }

    /// KEYMAT = K1 | K2 | .., K1 = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b) and
    /// Kn = prf(SKEYID_d, Kn-1 | the same) (RFC 2409 5.5): as many bytes as the SA's keys have together.
    pub fn keymat(
        &self,
        protocol: u8,
        spi: u32,
        nonces: Nonces<'_>,
        pfs: Option<&SharedSecret>,
        length: usize,
    ) -> Secret {
        let seed = [
            pfs.map(SharedSecret::as_bytes).unwrap_or_default(),
            &[protocol],
            &spi.to_be_bytes(),
            nonces.initiator,
            nonces.responder,
        ];
        quick_mode_keymat(self.hash, self.d.as_ref(), &seed, length)
    }

    /// Whose keys these are.
    pub fn cookies(&self) -> Cookies {
        self.cookies
    }
}

fn appendix_b(hash: IkeHash, skeyid_e: &[u8], length: usize) -> Secret {
    match skeyid_e.get(..length) {
        Some(key) => Secret::new(key.to_vec()),
        None => stretch(length, |previous| {
            prf(hash, skeyid_e, &[previous.unwrap_or(&[0])])
        }),
    }
}

fn quick_mode_keymat(hash: IkeHash, skeyid_d: &[u8], seed: &[&[u8]], length: usize) -> Secret {
    stretch(length, |previous| {
        let parts = [&[previous.unwrap_or_default()], seed].concat();
        prf(hash, skeyid_d, &parts)
    })
}

/// The first bytes of K1 | K2 | .., each made of the one before.
fn stretch(length: usize, next: impl Fn(Option<&[u8]>) -> Digest) -> Secret {
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    let mut block: Option<Digest> = None;
    while out.len() < length {
        let digest = next(block.as_ref().map(Digest::as_ref));
        let missing = length - out.len();
        out.extend(digest.as_ref().iter().take(missing));
        block = Some(digest);
    }
    Secret::new(std::mem::take(&mut *out))
}

#[cfg(test)]
mod tests;
