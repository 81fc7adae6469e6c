//! The burst interface that every crypto engine implements.
//!
//! Everything before the cipher (headers, IV, padding, room for the ICV) and after it (replay, stripping) is
//! shared; an engine sees whole ESP packets or masked AH packets, many at a time, of mixed SAs and algorithms.

pub mod lookaside;
pub mod parts;
pub mod portable;

use arrayvec::ArrayVec;
use portcullis_config::{Secret, Transform};

use crate::pipeline::BURST;

/// A key that an engine cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Wrong length of cipher or integrity key for the transform.
    Length,
    /// The engine does not know the transform.
    Unsupported,
}

/// One ESP packet to seal or open in place.
///
/// `packet` is the ESP packet from its SPI to the last byte of its ICV:
/// `SPI(4) | sequence(4) | IV(cipher.iv_length()) | payload, padding, pad length, next header | ICV`.
/// Before sealing, everything but the ICV is written and the payload is clear. The caller has checked that
/// the packet is long enough for header, IV and ICV and that the ciphertext is a multiple of the cipher's
/// block; an engine must nonetheless never panic: it reports such a job as not `ok`.
#[derive(Debug)]
pub struct EspJob<'a, K> {
    /// Key made by the same engine.
    pub key: &'a K,
    /// The ESP packet.
    pub packet: &'a mut [u8],
    /// High 32 bits of the sequence number if the SA uses ESN (RFC 4303 2.2.1, RFC 4106 5), not on the wire.
    pub sequence_high: Option<u32>,
    /// Set by the engine: sealed, or opened and authentic. An unauthentic packet's payload is undefined.
    pub ok: bool,
}

/// One AH packet to sign or verify (RFC 4302 3.3.3, 3.4.4).
///
/// The ICV covers `header | packet with its ICV field zero | sequence_high`; `packet` starts at the AH header
/// and ends at the end of the IP packet; the ICV field is at `packet[12..12 + icv_length]`, and explicit
/// padding behind it belongs to the covered bytes as it is. For AES-GMAC the first 8 bytes of the field are
/// the IV (RFC 4543 4), written by the caller before signing. It is covered as it is: RFC 4543 calls only the 16
/// bytes behind it the ICV, and the ICV is what counts as zero (RFC 4302 3.3.3).
#[derive(Debug)]
pub struct AhJob<'a, K> {
    /// Key made by the same engine.
    pub key: &'a K,
    /// The IP header and extension headers before AH, mutable fields already zeroed by the caller.
    pub header: &'a [u8],
    /// From the AH header to the end of the packet.
    pub packet: &'a mut [u8],
    /// High 32 bits of the sequence number if the SA uses ESN (RFC 4302 2.5.1).
    pub sequence_high: Option<u32>,
    /// Set by the engine: signed, or verified.
    pub ok: bool,
}

/// A crypto engine. One instance per worker; keys may be shared between instances of one engine.
pub trait Engine {
    /// Precomputed key schedule of one SA, wiped when dropped.
    type Key: Send + Sync;

    /// Makes a key. Fails if the transform is unknown to the engine or a key has the wrong length.
    fn key(
        &self,
        transform: Transform,
        cipher_key: &Secret,
        integrity_key: &Secret,
    ) -> Result<Self::Key, KeyError>;

    /// Asks for the memory of a key that is used soon, for a payload of so many bytes.
    #[inline]
    fn prefetch(&self, _key: &Self::Key, _payload: usize) {}

    /// Encrypts and authenticates each ESP packet in place and writes its ICV.
    fn seal(&mut self, jobs: &mut [EspJob<'_, Self::Key>]);

    /// Verifies each ESP packet's ICV in constant time and decrypts it in place.
    fn open(&mut self, jobs: &mut [EspJob<'_, Self::Key>]);

    /// Seals the packets of up to [`BURST`] items, of which `job` makes the jobs. Bit i of the answer is item i's
    /// `ok`; one without a job is not `ok`. An engine that can do without the list of jobs has its own way.
    #[inline]
    fn seal_each<'a, T>(
        &mut self,
        items: &'a mut [T],
        job: impl Fn(&'a mut T) -> Option<EspJob<'a, Self::Key>>,
    ) -> u64
    where
        Self::Key: 'a,
    {
        let (places, mut jobs) = listed(items, job);
        self.seal(&mut jobs);
        answers(&places, &jobs)
    }

    /// Opens the packets of up to [`BURST`] items, as [`seal_each`](Self::seal_each).
    #[inline]
    fn open_each<'a, T>(
        &mut self,
        items: &'a mut [T],
        job: impl Fn(&'a mut T) -> Option<EspJob<'a, Self::Key>>,
    ) -> u64
    where
        Self::Key: 'a,
    {
        let (places, mut jobs) = listed(items, job);
        self.open(&mut jobs);
        answers(&places, &jobs)
    }

    /// Writes each AH packet's ICV.
    fn sign(&mut self, jobs: &mut [AhJob<'_, Self::Key>]);

    /// Verifies each AH packet's ICV in constant time.
    fn verify(&mut self, jobs: &mut [AhJob<'_, Self::Key>]);
}

/// A list of jobs, and the items that they are of.
type Listed<'a, K> = (ArrayVec<usize, BURST>, ArrayVec<EspJob<'a, K>, BURST>);

fn listed<'a, T, K>(
    items: &'a mut [T],
    job: impl Fn(&'a mut T) -> Option<EspJob<'a, K>>,
) -> Listed<'a, K> {
    let jobs = items.iter_mut().take(BURST).enumerate();
    jobs.filter_map(|(i, item)| Some((i, job(item)?))).unzip()
}

/// Bit i is set if the job of item i is `ok`.
pub fn answers<K>(items: &[usize], jobs: &[EspJob<'_, K>]) -> u64 {
    let done = items.iter().zip(jobs).filter(|(_, job)| job.ok);
    done.fold(0, |answers, (item, _)| answers | 1 << item)
}
