//! AH: what is covered is brought together, many packets at a time, and authenticated side by side.

use arrayvec::ArrayVec;
use ipsec_mb::{MacJob, Tag};
use portcullis_ipsec::engine::AhJob;
use portcullis_ipsec::engine::parts::nonce;

use super::authenticate::{Counts, implicit};
use super::key::{Auth, Key};
use super::{MultiBuffer, SCRATCH};
use crate::engine::{Algorithm, BURST};

/// Length of the IV of GMAC, at the beginning of its ICV field (RFC 4543 4).
const IV: usize = 8;
/// Length of the ICV of GMAC behind that.
const GMAC: usize = 16;
/// Stands for the ICV field, which counts as zero (RFC 4302 3.3.3).
const ZEROS: [u8; 32] = [0; 32];

type Job<'a> = AhJob<'a, crate::engine::Key>;

impl MultiBuffer {
    /// Signs the jobs that are this engine's, which are [`BURST`] at most.
    pub(in crate::engine) fn sign(&mut self, jobs: &mut [Job<'_>]) {
        let put = |tag: &[u8], icv: &mut [u8]| {
            icv.iter_mut().zip(tag).for_each(|(i, t)| *i = *t);
            icv.len() == tag.len()
        };
        self.each(jobs, |auth, parts, icv| auth.one.sign(parts, icv), put);
    }

    /// Verifies the jobs that are this engine's, which are [`BURST`] at most.
    pub(in crate::engine) fn verify(&mut self, jobs: &mut [Job<'_>]) {
        let one = |auth: &Auth, parts: &[&[u8]], icv: &mut [u8]| auth.one.verify(parts, icv);
        self.each(jobs, one, |tag, icv| ipsec_mb::equal(tag, icv));
    }

    /// Computes the ICV of each job and has `finish` write it or compare it with the one that is there; `one` does
    /// both for what is too few or too long to go side by side.
    fn each(
        &mut self,
        jobs: &mut [Job<'_>],
        one: impl Fn(&Auth, &[&[u8]], &mut [u8]) -> bool,
        finish: impl Fn(&[u8], &mut [u8]) -> bool,
    ) {
        let mut counts = Counts::default();
        jobs.iter().filter_map(auth).for_each(|a| counts.add(a));
        self.scratch.clear();
        // Where in the scratch each packet ends, for those that are there.
        let mut ends = [None; BURST];
        for (job, end) in jobs.iter_mut().zip(&mut ends) {
            let Algorithm::MultiBuffer(key) = &job.key.algorithm else {
                continue;
            };
            job.ok = match &**key {
                Key::AhMac(auth) => with_parts(job, 0, auth.icv_length(), |parts, _, icv| {
                    let length: usize = parts.iter().map(|part| part.len()).sum();
                    if !counts.are_many(auth) || self.scratch.len() + length > SCRATCH {
                        return one(auth, parts, icv);
                    }
                    parts.iter().for_each(|p| self.scratch.extend_from_slice(p));
                    *end = Some(self.scratch.len());
                    false
                }),
                Key::AhGmac { key, salt } => with_parts(job, IV, GMAC, |parts, iv, icv| {
                    let tag = nonce(salt, iv).and_then(|n| self.manager.gmac(key, &n, parts));
                    tag.is_some_and(|tag| finish(&tag, icv))
                }),
                _ => Some(false),
            }
            .unwrap_or(false);
        }
        self.finish(jobs, &ends, finish);
    }

    /// Authenticates what is in the scratch.
    fn finish(
        &mut self,
        jobs: &mut [Job<'_>],
        ends: &[Option<usize>; BURST],
        finish: impl Fn(&[u8], &mut [u8]) -> bool,
    ) {
        let (mut tags, mut done): ([Tag; BURST], _) = ([[0; 32]; BURST], [false; BURST]);
        let mut batch = ArrayVec::<_, BURST>::new();
        let mut start = 0;
        let places = ends.iter().zip(tags.iter_mut().zip(&mut done));
        for (job, (end, (tag, ok))) in jobs.iter().zip(places) {
            let (Some(auth), Some(end)) = (auth(job), *end) else {
                continue;
            };
            if let Some(data) = self.scratch.get(start..end) {
                let key = &auth.many;
                batch.push(MacJob { key, data, tag, ok });
            }
            start = end;
        }
        self.manager.mac(&mut batch);
        drop(batch);
        let outcomes = jobs.iter_mut().zip(&tags).zip(done);
        for ((job, tag), _) in outcomes.filter(|(_, done)| *done) {
            let Some(length) = auth(job).map(Auth::icv_length) else {
                continue;
            };
            let outcome = with_parts(job, 0, length, |_, _, icv| {
                tag.get(..length).is_some_and(|tag| finish(tag, icv))
            });
            job.ok = outcome == Some(true);
        }
    }
}

/// The integrity algorithm of a job that is this engine's, but for GMAC.
fn auth<'a>(job: &Job<'a>) -> Option<&'a Auth> {
    match &job.key.algorithm {
        Algorithm::MultiBuffer(key) => match &**key {
            Key::AhMac(auth) => Some(auth),
            _ => None,
        },
        _ => None,
    }
}

/// Calls `then` with what is covered, the IV and the ICV, of these lengths; `None` if the packet is too short.
fn with_parts<T>(
    job: &mut Job<'_>,
    iv: usize,
    icv: usize,
    then: impl FnOnce(&[&[u8]], &[u8], &mut [u8]) -> T,
) -> Option<T> {
    let high = job.sequence_high.map(u32::to_be_bytes);
    let (fixed, rest) = job.packet.split_first_chunk_mut::<12>()?;
    let (iv, rest) = rest.split_at_mut_checked(iv)?;
    let (icv, rest) = rest.split_at_mut_checked(icv)?;
    let zeros = ZEROS.get(..icv.len())?;
    let parts = [job.header, fixed, iv, zeros, rest, implicit(&high)];
    Some(then(&parts, iv, icv))
}
