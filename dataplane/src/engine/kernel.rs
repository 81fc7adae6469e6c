//! AES-GCM, and AES-CBC with HMAC, by our own kernels, many packets at a time.

use arrayvec::ArrayVec;
use portcullis_config::{Cipher, Integrity, Transform};
use portcullis_ipsec::engine::parts::salted;
use portcullis_ipsec::engine::{EspJob, KeyError};
use vaes::{EspPacket, Hash, cbc_hmac, gcm};

use super::{Algorithm, BURST, again, mark};

/// A packet of AES-GCM.
pub(super) type Packet<'a, S = gcm::Wide> = EspPacket<'a, gcm::Key<S>>;

/// True for AES-GCM with a compact key.
pub(super) fn is_compact(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::CompactGcm(_))
}

/// The packet of a job.
#[inline(always)]
pub(super) fn packet<'a, S: gcm::Schedule>(key: &'a gcm::Key<S>, job: Job<'a>) -> Packet<'a, S> {
    Packet {
        key,
        packet: job.packet,
        sequence_high: job.sequence_high,
        ok: false,
    }
}

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

    /// The caller has checked the lengths of the keys. `compact`: it will seldom be found in the CPU's caches.
    pub(super) fn key(
        &self,
        transform: Transform,
        (cipher_key, integrity_key): (&[u8], &[u8]),
        compact: bool,
    ) -> Result<Algorithm, KeyError> {
        if let Some(hash) = hash(transform) {
            let key = self.cbc_hmac.key(hash, cipher_key, integrity_key);
            return key.map(Algorithm::CbcHmac).ok_or(KeyError::Length);
        }
        let Transform::Esp(Cipher::AesGcm(_, icv), None) = transform else {
            return Err(KeyError::Unsupported);
        };
        let (key, salt) = salted(cipher_key)?;
        let (gcm, icv_len) = (&self.gcm, icv.bytes());
        let algorithm = match compact {
            false => gcm.key(key, salt, icv_len).map(Algorithm::Gcm),
            true => gcm.key(key, salt, icv_len).map(Algorithm::CompactGcm),
        };
        algorithm.ok_or(KeyError::Length)
    }

    /// Seals or opens those of up to [`BURST`] packets of AES-GCM that are there; bit i of the answer is set if the
    /// i-th is sealed, or authentic.
    #[inline(always)]
    pub(super) fn run<'p, S: gcm::Schedule, const SEAL: bool>(
        &self,
        packets: impl Iterator<Item = Option<Packet<'p, S>>>,
    ) -> u64 {
        match SEAL {
            true => self.gcm.seal_burst(packets),
            false => self.gcm.open_burst(packets),
        }
    }

    /// Seals those of up to [`BURST`] jobs that are of AES-GCM with a compact key, or of AES-CBC with HMAC.
    pub(super) fn seal_others(&self, jobs: &mut [Job<'_>]) {
        self.run_compact::<true>(jobs);
        each(jobs, |packets| self.cbc_hmac.seal(packets));
    }

    /// Opens them.
    pub(super) fn open_others(&self, jobs: &mut [Job<'_>]) {
        self.run_compact::<false>(jobs);
        each(jobs, |packets| self.cbc_hmac.open(packets));
    }

    fn run_compact<const SEAL: bool>(&self, jobs: &mut [Job<'_>]) {
        if !jobs.iter().any(|job| is_compact(&job.key.algorithm)) {
            return;
        }
        let done = self.run::<_, SEAL>(jobs.iter_mut().map(|job| match &job.key.algorithm {
            Algorithm::CompactGcm(key) => Some(packet(key, again(job)?)),
            _ => None,
        }));
        mark(jobs, done);
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
