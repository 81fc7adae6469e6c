//! AES-GCM by our own kernel where the CPU has the instructions, else by Intel's multi-buffer library; everything
//! else by the portable engine.

use std::fmt;

use arrayvec::ArrayVec;
use ipsec_mb::{GcmJob, GcmKey, Manager};
use portcullis_config::{Cipher, Secret, Transform};
use portcullis_ipsec::engine::parts::{Aad, EspParts, nonce, salted};
use portcullis_ipsec::engine::portable::{self, Portable};
use portcullis_ipsec::engine::{AhJob, Engine, EspJob, KeyError};
use vaes_gcm::{EspPacket, Kernel};

/// How many packets the library gets at once at most.
const BURST: usize = 32;
/// Length of the explicit IV (RFC 4106 3.1).
const IV: usize = 8;

/// The fastest engine that this machine has for each algorithm. One for each worker.
#[derive(Debug, Default)]
pub struct FastEngine {
    portable: Portable,
    kernel: Option<Kernel>,
    manager: Option<Manager>,
}

impl FastEngine {
    /// An engine that uses the kernel and Intel's library, unless they fail their known answers: then it does
    /// without, and says so in the log.
    pub fn new() -> Self {
        let kernel = Kernel::new()
            .inspect_err(|error| tracing::warn!("AES-GCM runs without AVX-512: {error}"))
            .ok();
        let manager = Manager::new()
            .inspect_err(|error| tracing::warn!("AES-GCM runs on the portable engine: {error}"))
            .ok();
        FastEngine {
            portable: Portable::new(),
            kernel,
            manager,
        }
    }

    /// An engine that runs the same code on every CPU. It takes no AES-GCM key of another engine.
    pub fn portable() -> Self {
        FastEngine::default()
    }

    /// Runs every job: those of AES-GCM by `gcm` and together, the others by `portable` and one by one.
    fn esp(
        &mut self,
        jobs: &mut [EspJob<'_, Key>],
        kernel: impl Fn(&Kernel, &mut [EspPacket<'_>]),
        gcm: impl Fn(&mut Manager, &mut [GcmJob<'_>]),
        portable: impl Fn(&mut Portable, &mut [EspJob<'_, portable::Key>]),
    ) {
        for jobs in jobs.chunks_mut(BURST) {
            if let Some(own) = &self.kernel {
                if run_kernel(own, jobs, &kernel) == jobs.len() {
                    continue;
                }
            }
            let mut aads = [Aad::default(); BURST];
            let mut batch = ArrayVec::<_, BURST>::new();
            for (job, aad) in jobs.iter_mut().zip(&mut aads) {
                match &job.key.0 {
                    Algorithm::Kernel(_) => continue,
                    _ => job.ok = false,
                }
                match &job.key.0 {
                    Algorithm::Kernel(_) => {}
                    Algorithm::Gcm(key) => batch.extend(key.job(job, aad)),
                    Algorithm::Portable(key) => {
                        let mut one = [EspJob {
                            key: &**key,
                            packet: job.packet,
                            sequence_high: job.sequence_high,
                            ok: false,
                        }];
                        portable(&mut self.portable, &mut one);
                        let [EspJob { ok, .. }] = one;
                        job.ok = ok;
                    }
                }
            }
            if let Some(manager) = &mut self.manager {
                gcm(manager, &mut batch);
            }
        }
    }

    /// Runs every job by `portable`; AES-GCM is not an algorithm of AH.
    fn ah(
        &mut self,
        jobs: &mut [AhJob<'_, Key>],
        portable: impl Fn(&mut Portable, &mut [AhJob<'_, portable::Key>]),
    ) {
        for job in jobs {
            job.ok = false;
            if let Algorithm::Portable(key) = &job.key.0 {
                let mut one = [AhJob {
                    key: &**key,
                    header: job.header,
                    packet: job.packet,
                    sequence_high: job.sequence_high,
                    ok: false,
                }];
                portable(&mut self.portable, &mut one);
                let [AhJob { ok, .. }] = one;
                job.ok = ok;
            }
        }
    }
}

/// Runs the jobs that are the kernel's, and says how many that were.
#[inline]
fn run_kernel(
    kernel: &Kernel,
    jobs: &mut [EspJob<'_, Key>],
    run: impl Fn(&Kernel, &mut [EspPacket<'_>]),
) -> usize {
    let answers: ArrayVec<bool, BURST> = {
        let mut batch = ArrayVec::<EspPacket<'_>, BURST>::new();
        for job in &mut *jobs {
            if let Algorithm::Kernel(key) = &job.key.0 {
                batch.push(EspPacket {
                    key,
                    packet: job.packet,
                    sequence_high: job.sequence_high,
                    ok: false,
                });
            }
        }
        run(kernel, &mut batch);
        batch.iter().map(|packet| packet.ok).collect()
    };
    let own = jobs
        .iter_mut()
        .filter(|job| matches!(job.key.0, Algorithm::Kernel(_)));
    own.zip(&answers).for_each(|(job, ok)| job.ok = *ok);
    answers.len()
}

/// Precomputed key schedule of one SA.
pub struct Key(Algorithm);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

// Each has its schedule in a box: an SA is as small as its own fields, however large the other kinds are.
enum Algorithm {
    Kernel(vaes_gcm::Key),
    Gcm(Gcm),
    Portable(Box<portable::Key>),
}

/// AES-GCM of an SA.
struct Gcm {
    key: GcmKey,
    salt: [u8; 4],
    icv: usize,
}

impl Gcm {
    /// The library's job for a packet; `None` if the packet is too short.
    fn job<'a>(&'a self, job: &'a mut EspJob<'_, Key>, aad: &'a mut Aad) -> Option<GcmJob<'a>> {
        let parts = EspParts::split(job.packet, IV, self.icv)?;
        *aad = Aad::new(parts.header, job.sequence_high);
        Some(GcmJob {
            key: &self.key,
            nonce: nonce(&self.salt, parts.iv)?,
            aad: aad.as_slice(),
            data: parts.payload,
            tag: parts.icv,
            ok: &mut job.ok,
        })
    }
}

impl Engine for FastEngine {
    type Key = Key;

    fn key(
        &self,
        transform: Transform,
        cipher_key: &Secret,
        integrity_key: &Secret,
    ) -> Result<Key, KeyError> {
        let algorithm = match (&self.manager, transform) {
            (_, Transform::Esp(Cipher::AesGcm(aes, icv), None)) if self.kernel.is_some() => {
                let (key, salt) = salted(cipher_key.expose())?;
                if key.len() != aes.bytes() || !integrity_key.expose().is_empty() {
                    return Err(KeyError::Length);
                }
                let kernel = self.kernel.as_ref().ok_or(KeyError::Unsupported)?;
                let key = kernel.key(key, salt, icv.bytes());
                Algorithm::Kernel(key.ok_or(KeyError::Length)?)
            }
            (Some(manager), Transform::Esp(Cipher::AesGcm(aes, icv), None)) => {
                let (key, salt) = salted(cipher_key.expose())?;
                if key.len() != aes.bytes() || !integrity_key.expose().is_empty() {
                    return Err(KeyError::Length);
                }
                Algorithm::Gcm(Gcm {
                    key: manager.gcm_key(key).ok_or(KeyError::Length)?,
                    salt,
                    icv: icv.bytes(),
                })
            }
            _ => Algorithm::Portable(Box::new(self.portable.key(
                transform,
                cipher_key,
                integrity_key,
            )?)),
        };
        Ok(Key(algorithm))
    }

    fn seal(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        self.esp(jobs, Kernel::seal, Manager::seal, Portable::seal);
    }

    fn open(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        self.esp(jobs, Kernel::open, Manager::open, Portable::open);
    }

    fn sign(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        self.ah(jobs, Portable::sign);
    }

    fn verify(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        self.ah(jobs, Portable::verify);
    }
}
