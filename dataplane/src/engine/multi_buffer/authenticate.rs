//! Integrity of ESP with a plain cipher, over a burst.

use arrayvec::ArrayVec;
use ipsec_mb::{Mac, MacJob, Manager, Tag};
use portcullis_ipsec::engine::EspJob;
use portcullis_ipsec::engine::parts::split_icv;

use super::key::{Auth, Key};
use crate::engine::{Algorithm, BURST};

pub(super) type Job<'a> = EspJob<'a, crate::engine::Key>;

/// How many packets of a burst each integrity algorithm has.
#[derive(Default)]
pub(super) struct Counts([u8; 7]);

impl Counts {
    pub(super) fn add(&mut self, auth: &Auth) {
        if let Some(count) = self.0.get_mut(auth.many.mac() as usize) {
            *count += 1;
        }
    }

    /// So many that they are done sooner side by side than one by one.
    ///
    /// The library takes as long for one packet as for all that fit side by side; one by one, the instructions
    /// for SHA-1, SHA-256 and AES make up for some of that. Measured at 64, 512 and 1420 bytes on an Intel Xeon of
    /// the Sapphire Rapids kind, with ipsec-mb 1.3.
    pub(super) fn are_many(&self, auth: &Auth) -> bool {
        let mac = auth.many.mac();
        let break_even = match mac {
            Mac::HmacSha1 => 5,
            Mac::HmacSha256 => 8,
            Mac::AesXcbc | Mac::AesCmac => 3,
            Mac::HmacMd5 | Mac::HmacSha384 | Mac::HmacSha512 => 2,
        };
        self.0
            .get(mac as usize)
            .is_some_and(|count| *count >= break_even)
    }
}

/// The integrity algorithm of a job that is this engine's and not of a combined mode.
fn auth<'a>(job: &Job<'a>) -> Option<&'a Auth> {
    match &job.key.algorithm {
        Algorithm::MultiBuffer(key) => match &**key {
            Key::EncryptThenMac { auth, .. } => Some(auth),
            _ => None,
        },
        _ => None,
    }
}

/// The high half of an ESN, as it is covered.
pub(super) fn implicit(high: &Option<[u8; 4]>) -> &[u8] {
    high.as_ref().map_or(&[], |high| high)
}

/// What was computed for a burst.
struct Computed {
    tags: [Tag; BURST],
    /// There is a tag.
    done: [bool; BURST],
    /// The beginning of the ICV, in whose place stood the high half of the ESN.
    displaced: [[u8; 4]; BURST],
}

/// Computes the tags of the jobs that are `ok`, which they then no longer are. What is too few is left to `one`,
/// which says itself what is `ok`.
#[inline]
fn compute(
    manager: &mut Manager,
    jobs: &mut [Job<'_>],
    one: impl Fn(&Auth, &[&[u8]], &mut [u8]) -> bool,
) -> Computed {
    let mut computed = Computed {
        tags: [[0; 32]; BURST],
        done: [false; BURST],
        displaced: [[0; 4]; BURST],
    };
    let mut counts = Counts::default();
    let authentic = jobs.iter().filter(|job| job.ok).filter_map(auth);
    authentic.for_each(|auth| counts.add(auth));

    let mut batch = ArrayVec::<_, BURST>::new();
    let places = computed.tags.iter_mut().zip(&mut computed.done);
    for ((job, place), displaced) in jobs.iter_mut().zip(places).zip(&mut computed.displaced) {
        let Some(auth) = auth(job).filter(|_| job.ok) else {
            continue;
        };
        job.ok = false;
        let high = job.sequence_high.map(u32::to_be_bytes);
        let Some((covered, icv)) = split_icv(job.packet, auth.icv_length()) else {
            continue;
        };
        if !counts.are_many(auth) {
            job.ok = one(auth, &[covered, implicit(&high)], icv);
            continue;
        }
        let mut end = covered.len();
        if let (Some(high), Some(beginning)) = (high, icv.first_chunk_mut()) {
            *displaced = std::mem::replace(beginning, high);
            end += high.len();
        }
        if let Some(data) = job.packet.get(..end) {
            let (key, (tag, ok)) = (&auth.many, place);
            batch.push(MacJob { key, data, tag, ok });
        }
    }
    manager.mac(&mut batch);
    drop(batch);
    computed
}

/// Writes the ICV of each job that is `ok`, and says whether it still is.
pub(super) fn sign(manager: &mut Manager, jobs: &mut [Job<'_>]) {
    let computed = compute(manager, jobs, |auth, parts, icv| auth.one.sign(parts, icv));
    let outcomes = jobs.iter_mut().zip(&computed.tags).zip(computed.done);
    for ((job, tag), _) in outcomes.filter(|(_, done)| *done) {
        let Some((_, icv)) = auth(job).and_then(|a| split_icv(job.packet, a.icv_length())) else {
            continue;
        };
        icv.iter_mut().zip(tag).for_each(|(i, t)| *i = *t);
        job.ok = true;
    }
}

/// Verifies the ICV of each job that is `ok` in constant time, and says whether it still is.
pub(super) fn verify(manager: &mut Manager, jobs: &mut [Job<'_>]) {
    let computed = compute(manager, jobs, |auth, parts, icv| {
        auth.one.verify(parts, icv)
    });
    let outcomes = jobs.iter_mut().zip(&computed.tags).zip(computed.done);
    let outcomes = outcomes.zip(computed.displaced);
    for (((job, tag), _), displaced) in outcomes.filter(|((_, done), _)| *done) {
        let Some(auth) = auth(job) else { continue };
        let Some((_, icv)) = split_icv(job.packet, auth.icv_length()) else {
            continue;
        };
        if let (Some(_), Some(beginning)) = (job.sequence_high, icv.first_chunk_mut()) {
            *beginning = displaced;
        }
        job.ok = auth.many.is_tag(tag, icv);
    }
}
