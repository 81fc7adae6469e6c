//! ESP: each algorithm of a burst in the form that the library has for it.

use arrayvec::ArrayVec;
use ipsec_mb::{AeadJob, CipherJob, GcmJob, GcmKey, Manager};
use portcullis_ipsec::engine::parts::{Aad, EspParts, nonce};

use super::MultiBuffer;
use super::authenticate::{self, Job};
use super::key::{Key, PlainCipher};
use crate::engine::{Algorithm, BURST};

/// Length of the explicit IV of every combined mode, and of CTR.
const IV: usize = 8;
/// Length of the ICV of GMAC in ESP.
const GMAC: usize = 16;

/// The jobs of a burst, apart by interface of the library.
#[derive(Default)]
struct Batches<'a> {
    gcm: ArrayVec<GcmJob<'a>, BURST>,
    aead: ArrayVec<AeadJob<'a>, BURST>,
    cipher: ArrayVec<CipherJob<'a>, BURST>,
}

impl MultiBuffer {
    /// Seals the jobs that are this engine's, which are [`BURST`] at most.
    pub(in crate::engine) fn seal(&mut self, jobs: &mut [Job<'_>]) {
        let mut aads = [Aad::default(); BURST];
        let mut batches = Batches::default();
        for (job, aad) in jobs.iter_mut().zip(&mut aads) {
            let Algorithm::MultiBuffer(key) = &job.key.algorithm else {
                continue;
            };
            job.ok = false;
            match &**key {
                Key::EspGmac { key, salt } => {
                    let done = gmac(&mut self.manager, key, salt, job);
                    job.ok = done.map(|(icv, tag)| icv.copy_from_slice(&tag)).is_some();
                }
                _ => batches.add(key, job, aad),
            }
        }
        self.manager.seal(&mut batches.gcm);
        self.manager.seal_aead(&mut batches.aead);
        self.manager.encrypt(&mut batches.cipher);
        drop(batches);
        authenticate::sign(&mut self.manager, jobs);
    }

    /// Opens the jobs that are this engine's, which are [`BURST`] at most.
    pub(in crate::engine) fn open(&mut self, jobs: &mut [Job<'_>]) {
        for job in &mut *jobs {
            if let Algorithm::MultiBuffer(key) = &job.key.algorithm {
                job.ok = matches!(**key, Key::EncryptThenMac { .. });
            }
        }
        // Verified before it is decrypted (RFC 4303 3.4.4.1).
        authenticate::verify(&mut self.manager, jobs);
        let mut aads = [Aad::default(); BURST];
        let mut batches = Batches::default();
        for (job, aad) in jobs.iter_mut().zip(&mut aads) {
            let Algorithm::MultiBuffer(key) = &job.key.algorithm else {
                continue;
            };
            match &**key {
                Key::EspGmac { key, salt } => {
                    let done = gmac(&mut self.manager, key, salt, job);
                    job.ok = done.is_some_and(|(icv, tag)| ipsec_mb::equal(&tag, icv));
                }
                Key::EncryptThenMac { .. } if !job.ok => {}
                _ => batches.add(key, job, aad),
            }
        }
        self.manager.open(&mut batches.gcm);
        self.manager.open_aead(&mut batches.aead);
        self.manager.decrypt(&mut batches.cipher);
    }
}

impl<'a> Batches<'a> {
    /// Adds a packet if it is long enough for its parts. It is `ok` without more if nothing is to be ciphered.
    fn add(&mut self, key: &'a Key, job: &'a mut Job<'_>, aad: &'a mut Aad) {
        let ok = &mut job.ok;
        *ok = false;
        let (iv, icv) = lengths(key);
        let Some(parts) = EspParts::split(job.packet, iv, icv) else {
            return;
        };
        match key {
            Key::Gcm { key, salt, .. } => {
                *aad = Aad::new(parts.header, job.sequence_high);
                self.gcm.push(GcmJob {
                    key,
                    nonce: joined(&[salt, parts.iv]),
                    aad: aad.as_slice(),
                    data: parts.payload,
                    tag: parts.icv,
                    ok,
                });
            }
            Key::Aead { key, salt, .. } => {
                *aad = Aad::new(parts.header, job.sequence_high);
                self.aead.push(AeadJob {
                    key,
                    nonce: joined(&[salt, parts.iv]),
                    aad: aad.as_slice(),
                    data: parts.payload,
                    tag: parts.icv,
                    ok,
                });
            }
            Key::EncryptThenMac { cipher, .. } => {
                let (key, iv) = match cipher {
                    PlainCipher::Null => return *ok = true,
                    PlainCipher::Cbc(key, _) => match parts.iv.first_chunk() {
                        Some(iv) => (key, *iv),
                        None => (key, joined(&[parts.iv])),
                    },
                    PlainCipher::Ctr(key, nonce) => {
                        (key, joined(&[nonce, parts.iv, &[0, 0, 0, 1]]))
                    }
                };
                let data = parts.payload;
                self.cipher.push(CipherJob { key, iv, data, ok });
            }
            Key::EspGmac { .. } | Key::AhMac(_) | Key::AhGmac { .. } => {}
        }
    }
}

/// Lengths of IV and ICV in a packet.
fn lengths(key: &Key) -> (usize, usize) {
    match key {
        Key::Gcm { icv, .. } | Key::Aead { icv, .. } => (IV, *icv),
        Key::EspGmac { .. } | Key::AhGmac { .. } => (IV, GMAC),
        Key::EncryptThenMac { cipher, auth } => match cipher {
            PlainCipher::Null => (0, auth.icv_length()),
            PlainCipher::Cbc(_, iv) => (*iv, auth.icv_length()),
            PlainCipher::Ctr(..) => (IV, auth.icv_length()),
        },
        Key::AhMac(auth) => (0, auth.icv_length()),
    }
}

/// The pieces one behind the other, and zeros behind them.
#[inline]
fn joined<const N: usize>(pieces: &[&[u8]]) -> [u8; N] {
    let mut whole = [0; N];
    let mut rest = whole.as_mut_slice();
    for piece in pieces {
        let Some((place, behind)) = rest.split_at_mut_checked(piece.len()) else {
            break;
        };
        place.copy_from_slice(piece);
        rest = behind;
    }
    whole
}

/// The ICV field of a packet and what RFC 4543 3.3 has in it; `None` if the packet is too short.
fn gmac<'a>(
    manager: &mut Manager,
    key: &GcmKey,
    salt: &[u8; 4],
    job: &'a mut Job<'_>,
) -> Option<(&'a mut [u8], [u8; GMAC])> {
    let parts = EspParts::split(job.packet, IV, GMAC)?;
    let aad = Aad::new(parts.header, job.sequence_high);
    let covered = [aad.as_slice(), parts.iv, parts.payload];
    let tag = manager.gmac(key, &nonce(salt, parts.iv)?, &covered)?;
    Some((parts.icv, tag))
}
