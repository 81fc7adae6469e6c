//! AES-GCM, and AES-CBC with HMAC, by our own kernels, many packets at a time.

use arrayvec::ArrayVec;
use portcullis_config::{Cipher, Integrity, Transform};
use portcullis_ipsec::engine::parts::salted;
use portcullis_ipsec::engine::{EspJob, KeyError};
use vaes::{EspPacket, Hash, cbc_hmac, gcm};

use super::{Algorithm, BURST};

/// A packet of AES-GCM.
pub(super) type Packet<'a> = EspPacket<'a, gcm::Key>;

/// True for AES-GCM whose key is kept as a seed.
pub(super) fn is_seed(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::GcmSeed(_))
}

/// The packet of a job.
#[inline(always)]
pub(super) fn packet<'a>(key: &'a gcm::Key, job: Job<'a>) -> Packet<'a> {
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
    room: gcm::Room,
}

impl KernelEngine {
    pub(super) fn new() -> Result<Self, String> {
        let gcm = gcm::Kernel::new().map_err(|error| error.to_string())?;
        let cbc_hmac = cbc_hmac::Kernel::new().map_err(|error| error.to_string())?;
        let room = gcm.room();
        Ok(KernelEngine {
            gcm,
            cbc_hmac,
            room,
        })
    }

    /// The caller has checked the lengths of the keys. `seldom`: it will seldom be found in the CPU's caches.
    pub(super) fn key(
        &self,
        transform: Transform,
        (cipher_key, integrity_key): (&[u8], &[u8]),
        seldom: bool,
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
        let algorithm = match seldom {
            false => gcm.key(key, salt, icv_len).map(Algorithm::Gcm),
            true => gcm.key(key, salt, icv_len).map(Algorithm::GcmSeed),
        };
        algorithm.ok_or(KeyError::Length)
    }

    /// Seals or opens those of up to [`BURST`] packets of AES-GCM that are there; bit i of the answer is set if the
    /// i-th is sealed, or authentic.
    #[inline(always)]
    pub(super) fn run<'p, const SEAL: bool>(
        &self,
        packets: impl Iterator<Item = Option<Packet<'p>>>,
    ) -> u64 {
        match SEAL {
            true => self.gcm.seal_burst(packets),
            false => self.gcm.open_burst(packets),
        }
    }

    /// Seals those of up to [`BURST`] jobs that are of AES-GCM with a seed, or of AES-CBC with HMAC.
    pub(super) fn seal_others(&mut self, jobs: &mut [Job<'_>]) {
        self.run_seeds::<true>(jobs);
        each(jobs, cbc_hmac, |packets| self.cbc_hmac.seal(packets));
    }

    /// Opens them.
    pub(super) fn open_others(&mut self, jobs: &mut [Job<'_>]) {
        self.run_seeds::<false>(jobs);
        each(jobs, cbc_hmac, |packets| self.cbc_hmac.open(packets));
    }

    fn run_seeds<const SEAL: bool>(&mut self, jobs: &mut [Job<'_>]) {
        each(jobs, seed, |packets| {
            let done = self.gcm.run_seeds::<SEAL>(packets, &mut self.room);
            for (i, packet) in packets.iter_mut().enumerate() {
                packet.ok = done >> i & 1 != 0;
            }
        });
    }
}

fn seed(algorithm: &Algorithm) -> Option<&gcm::Seed> {
    match algorithm {
        Algorithm::GcmSeed(seed) => Some(seed),
        _ => None,
    }
}

fn cbc_hmac(algorithm: &Algorithm) -> Option<&cbc_hmac::Key> {
    match algorithm {
        Algorithm::CbcHmac(key) => Some(key),
        _ => None,
    }
}

type Job<'a> = EspJob<'a, super::Key>;

/// Runs together those of up to [`BURST`] jobs that have a key of one kind.
#[inline(always)]
fn each<K>(
    jobs: &mut [Job<'_>],
    key: impl Fn(&Algorithm) -> Option<&K>,
    run: impl FnOnce(&mut [EspPacket<'_, K>]),
) {
    let mut packets = ArrayVec::<_, BURST>::new();
    let mut oks = ArrayVec::<_, BURST>::new();
    for job in jobs.iter_mut().take(BURST) {
        if let Some(key) = key(&job.key.algorithm) {
            packets.push(EspPacket {
                key,
                packet: job.packet,
                sequence_high: job.sequence_high,
                ok: false,
            });
            oks.push(&mut job.ok);
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
