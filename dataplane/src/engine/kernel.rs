//! AES-GCM by our own kernel, many packets at a time.

use portcullis_config::{Cipher, Transform};
use portcullis_ipsec::engine::parts::salted;
use portcullis_ipsec::engine::{EspJob, KeyError};
use vaes_gcm::{EspPacket, Kernel};

use super::Algorithm;

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

    /// The caller has checked the length of the keying material; there is no separate integrity key.
    pub(super) fn key(
        &self,
        transform: Transform,
        keymat: &[u8],
        _integrity_key: &[u8],
    ) -> Result<Key, KeyError> {
        let Transform::Esp(Cipher::AesGcm(_, icv), None) = transform else {
            return Err(KeyError::Unsupported);
        };
        let (key, salt) = salted(keymat)?;
        let key = self.0.key(key, salt, icv.bytes());
        key.ok_or(KeyError::Length)
    }

    #[inline]
    pub(super) fn seal(&self, jobs: &mut [EspJob<'_, super::Key>]) -> usize {
        let done = self.0.seal_burst(Own(jobs.iter_mut()));
        mark(jobs, done)
    }

    #[inline]
    pub(super) fn open(&self, jobs: &mut [EspJob<'_, super::Key>]) -> usize {
        let done = self.0.open_burst(Own(jobs.iter_mut()));
        mark(jobs, done)
    }
}

/// The jobs that are the kernel's.
struct Own<'j, 'p>(std::slice::IterMut<'j, EspJob<'p, super::Key>>);

impl<'j> Iterator for Own<'j, '_> {
    type Item = EspPacket<'j>;

    #[inline(always)]
    fn next(&mut self) -> Option<EspPacket<'j>> {
        self.0.find_map(|job| match &job.key.0 {
            Algorithm::Kernel(key) => Some(EspPacket {
                key,
                packet: &mut *job.packet,
                sequence_high: job.sequence_high,
                ok: false,
            }),
            _ => None,
        })
    }
}

/// Notes which of the kernel's jobs are done, bit i for the i-th; says how many are the kernel's.
#[inline]
fn mark(jobs: &mut [EspJob<'_, super::Key>], done: u64) -> usize {
    let mut count = 0;
    for job in jobs {
        if let Algorithm::Kernel(_) = job.key.0 {
            job.ok = done >> count & 1 != 0;
            count += 1;
        }
    }
    count
}
