//! AES-GCM, and AES-CBC with HMAC, by our own kernels, many packets at a time.

use arrayvec::ArrayVec;
use portcullis_config::{Cipher, Integrity, Transform};
use portcullis_ipsec::engine::parts::salted;
use portcullis_ipsec::engine::{EspJob, KeyError};
use vaes::{EspPacket, Hash, cbc_hmac, gcm};

use super::{Algorithm, BURST};

/// A packet of AES-GCM.
pub(super) type Packet<'a> = EspPacket<'a, gcm::Key>;

/// The kernels have an algorithm for it.
pub(super) fn has(transform: Transform) -> bool {
    matches!(transform, Transform::Esp(Cipher::AesGcm(..), None)) || hash(transform).is_some()
}

/// The hash function of a transform that is AES-CBC with HMAC.
fn hash(transform: Transform) -> Option<Hash> {
    match transform {
        Transform::Esp(Cipher::AesCbc(_), Some(Integrity::HmacSha1_96)) => Some(Hash::Sha1),
        Transform::Esp(Cipher::AesCbc(_), Some(Integrity::HmacSha2_256_128)) => Some(Hash::Sha256),
        _ => None,
    }
}

/// The kernels on a CPU that has their instructions.
#[derive(Debug)]
pub(super) struct KernelEngine {
    gcm: gcm::Kernel,
    cbc_hmac: cbc_hmac::Kernel,
}

impl KernelEngine {
    pub(super) fn new() -> Result<Self, String> {
        let gcm = gcm::Kernel::new().map_err(|error| error.to_string())?;
        let cbc_hmac = cbc_hmac::Kernel::new().map_err(|error| error.to_string())?;
        Ok(KernelEngine { gcm, cbc_hmac })
    }

    /// The caller has checked the lengths of the keys.
    pub(super) fn key(
        &self,
        transform: Transform,
        cipher_key: &[u8],
        integrity_key: &[u8],
    ) -> Result<Algorithm, KeyError> {
        if let Some(hash) = hash(transform) {
            let key = self.cbc_hmac.key(hash, cipher_key, integrity_key);
            return key.map(Algorithm::CbcHmac).ok_or(KeyError::Length);
        }
        let Transform::Esp(Cipher::AesGcm(_, icv), None) = transform else {
            return Err(KeyError::Unsupported);
        };
        let (key, salt) = salted(cipher_key)?;
        let key = self.gcm.key(key, salt, icv.bytes());
        key.map(Algorithm::Gcm).ok_or(KeyError::Length)
    }

    /// Seals those of up to [`BURST`] packets of AES-GCM that are there; bit i of the answer is set if the i-th is done.
    #[inline(always)]
    pub(super) fn seal<'p>(&self, packets: impl Iterator<Item = Option<Packet<'p>>>) -> u64 {
        self.gcm.seal_burst(packets)
    }

    /// Opens them; bit i of the answer is set if the i-th is authentic.
    #[inline(always)]
    pub(super) fn open<'p>(&self, packets: impl Iterator<Item = Option<Packet<'p>>>) -> u64 {
        self.gcm.open_burst(packets)
    }

    /// Seals those of up to [`BURST`] jobs that are of AES-CBC with HMAC.
    pub(super) fn seal_cbc_hmac(&self, jobs: &mut [Job<'_>]) {
        each(jobs, |packets| self.cbc_hmac.seal(packets));
    }

    /// Opens them.
    pub(super) fn open_cbc_hmac(&self, jobs: &mut [Job<'_>]) {
        each(jobs, |packets| self.cbc_hmac.open(packets));
    }
}

type Job<'a> = EspJob<'a, super::Key>;

fn each(jobs: &mut [Job<'_>], run: impl FnOnce(&mut [EspPacket<'_, cbc_hmac::Key>])) {
    let mut packets = ArrayVec::<_, BURST>::new();
    let mut oks = ArrayVec::<_, BURST>::new();
    for EspJob {
        key,
        packet,
        sequence_high,
        ok,
    } in jobs.iter_mut().take(BURST)
    {
        if let Algorithm::CbcHmac(key) = &key.algorithm {
            packets.push(EspPacket {
                key,
                packet,
                sequence_high: *sequence_high,
                ok: false,
            });
            oks.push(ok);
        }
    }
    if packets.is_empty() {
        return;
    }
    run(&mut packets);
    for (ok, packet) in oks.iter_mut().zip(&packets) {
        **ok = packet.ok;
    }
}
