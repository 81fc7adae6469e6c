//! AES-GCM by our own kernel, many packets at a time.

use arrayvec::ArrayVec;
use portcullis_config::{Cipher, Transform};
use portcullis_ipsec::engine::parts::salted;
use portcullis_ipsec::engine::{EspJob, KeyError};
use vaes_gcm::{EspPacket, Kernel};

use super::{Algorithm, BURST};

pub(super) use vaes_gcm::Key;

/// The kernel has an algorithm for it.
pub(super) fn has(transform: Transform) -> bool {
    matches!(transform, Transform::Esp(Cipher::AesGcm(..), None))
}

/// The kernel on a CPU that has its instructions.
#[derive(Debug)]
pub(super) struct KernelEngine(Kernel);

impl KernelEngine {
    pub(super) fn new() -> Result<Self, String> {
        let kernel = Kernel::new().map_err(|error| error.to_string())?;
        Ok(KernelEngine(kernel))
    }

    /// The caller has checked the length of the keying material.
    pub(super) fn key(&self, transform: Transform, keymat: &[u8]) -> Result<Key, KeyError> {
        let Transform::Esp(Cipher::AesGcm(_, icv), None) = transform else {
            return Err(KeyError::Unsupported);
        };
        let (key, salt) = salted(keymat)?;
        let key = self.0.key(key, salt, icv.bytes());
        key.ok_or(KeyError::Length)
    }

    #[inline]
    pub(super) fn seal(&self, jobs: &mut [EspJob<'_, super::Key>]) -> usize {
        self.run(jobs, Kernel::seal)
    }

    #[inline]
    pub(super) fn open(&self, jobs: &mut [EspJob<'_, super::Key>]) -> usize {
        self.run(jobs, Kernel::open)
    }

    /// Runs the jobs that are the kernel's, and says how many that were.
    #[inline]
    fn run(
        &self,
        jobs: &mut [EspJob<'_, super::Key>],
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
            run(&self.0, &mut batch);
            batch.iter().map(|packet| packet.ok).collect()
        };
        let own = jobs
            .iter_mut()
            .filter(|job| matches!(job.key.0, Algorithm::Kernel(_)));
        own.zip(&answers).for_each(|(job, ok)| job.ok = *ok);
        answers.len()
    }
}
