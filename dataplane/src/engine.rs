//! The crypto engine of the workers: of each algorithm, the first in an order of engines that has it.

pub mod cryptodev;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod multi_buffer;

// Says so on other CPUs. (The kernel's own crate does.)
#[cfg(not(target_arch = "x86_64"))]
#[path = "engine/absent.rs"]
mod multi_buffer;

use std::fmt;

use arrayvec::ArrayVec;
use portcullis_config::{EngineKind, Runtime, SaConfig, Secret, Transform};
use portcullis_ipsec::engine::lookaside::{AsideDone, AsideJob, Lookaside, Parcel};
use portcullis_ipsec::engine::parts::check_key_lengths;
use portcullis_ipsec::engine::portable::{self, Portable};
use portcullis_ipsec::engine::{self, AhJob, Engine, EspJob, KeyError};
use portcullis_ipsec::offload::Session;
use portcullis_ipsec::{DropReason, InterfaceId, pipeline};

use crate::offload::{self, Standing};
use crate::packet::Packet;
use cryptodev::{CryptoDevices, DeviceKey, DeviceQueues};
use kernel::KernelEngine;
use multi_buffer::MultiBuffer;

/// How many packets an engine gets at once at most.
const BURST: usize = 32;

/// The keys of so many SAs are kept expanded. To read those of more takes longer than to expand them anew (measured: with
/// 10 000 as long, with 30 000 a tenth longer).
const EXPANDED: usize = 8192;

/// The engines of one worker.
#[derive(Debug)]
pub struct FastEngine {
    order: Vec<EngineKind>,
    kernel: Result<KernelEngine, String>,
    multi_buffer: Result<MultiBuffer, String>,
    portable: Portable,
    devices: DeviceQueues,
}

/// Which engine serves an SA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The engine.
    pub engine: EngineKind,
    /// Why it is not one that comes before it in the order and should have it.
    pub fallback: Option<Box<str>>,
    /// Ports' devices come before it in the order, and may have it.
    pub offered: bool,
}

impl FastEngine {
    /// All engines, the fastest first.
    pub fn new() -> Self {
        Self::with_order(&Runtime::default().engines)
    }

    /// The engines of this order, as far as this machine has them and they compute their known answers rightly.
    pub fn with_order(order: &[EngineKind]) -> Self {
        FastEngine {
            order: order.to_vec(),
            kernel: start(order, EngineKind::Vaes, KernelEngine::new),
            multi_buffer: start(order, EngineKind::IpsecMb, MultiBuffer::new),
            portable: Portable::new(),
            devices: DeviceQueues::default(),
        }
    }

    /// The same with a worker's queues of crypto devices.
    pub fn with_devices(self, devices: DeviceQueues) -> Self {
        FastEngine { devices, ..self }
    }

    /// What of the order is not there, and what of it is refused: a line for each.
    pub fn refusals(&self) -> Vec<String> {
        let unavailable = |kind: &EngineKind| match kind {
            EngineKind::Vaes => self.kernel.as_ref().err().cloned(),
            EngineKind::IpsecMb => self.multi_buffer.as_ref().err().cloned(),
            EngineKind::Portable | EngineKind::Cryptodev | EngineKind::InlineCrypto => None,
        };
        let mut lines: Vec<_> = self
            .order
            .iter()
            .filter_map(|kind| {
                Some(format!(
                    "engine {kind} is not there: {}",
                    unavailable(kind)?
                ))
            })
            .collect();
        lines.extend(self.multi_buffer.iter().flat_map(MultiBuffer::refusals));
        lines
    }

    /// The engine for a transform, devices aside; `None` if no engine of the order has it.
    pub fn choose(&self, transform: Transform) -> Option<Choice> {
        self.choose_with(transform, || None, true)
    }

    /// The same for an SA of a worker that has `sas` in one direction, with its key, and devices in their place.
    pub fn serve(
        &self,
        config: &SaConfig,
        (worker, sas): (u16, usize),
        devices: &CryptoDevices,
    ) -> Result<(Choice, Key), KeyError> {
        let keys = (&config.cipher_key, &config.integrity_key);
        check_key_lengths(config.transform, keys.0.expose(), keys.1.expose())?;
        let mut made = None;
        let device = || Some(devices.key(config, worker)?.map(|key| made = Some(key)));
        let choice = self
            .choose_with(config.transform, device, devices.inline)
            .ok_or(KeyError::Unsupported)?;
        let mut key = match made {
            Some(key) => Key::new(Algorithm::Device(Box::new(key))),
            None => self.key_among(sas, config.transform, keys)?,
        };
        key.standing = choice.offered.then(Standing::default);
        Ok((choice, key))
    }

    /// A key of an SA of a worker that has `sas` in one direction, for the first engine of the order that has its
    /// transform.
    pub fn key_among(
        &self,
        sas: usize,
        transform: Transform,
        (cipher_key, integrity_key): (&Secret, &Secret),
    ) -> Result<Key, KeyError> {
        let keys = (cipher_key.expose(), integrity_key.expose());
        check_key_lengths(transform, keys.0, keys.1)?;
        let choice = self.choose(transform).ok_or(KeyError::Unsupported)?;
        let algorithm = match (choice.engine, &self.kernel, &self.multi_buffer) {
            (EngineKind::Vaes, Ok(engine), _) => engine.key(transform, keys, sas > EXPANDED)?,
            (EngineKind::IpsecMb, _, Ok(engine)) => {
                Algorithm::MultiBuffer(Box::new(engine.key(transform, keys.0, keys.1)?))
            }
            _ => {
                let key = self.portable.key(transform, cipher_key, integrity_key)?;
                Algorithm::Portable(Box::new(key))
            }
        };
        Ok(Key::new(algorithm))
    }

    /// The first engine of the order that has a transform. `device` asks crypto devices: `None` if they are not
    /// expected to have it. `inline`: there is a port whose device ciphers.
    fn choose_with(
        &self,
        transform: Transform,
        device: impl FnOnce() -> Option<Result<(), String>>,
        inline: bool,
    ) -> Option<Choice> {
        let mut device = Some(device);
        let (mut fallback, mut offered) = (None, false);
        for &engine in &self.order {
            let obstacle = match engine {
                EngineKind::Vaes if !kernel::has(transform) => continue,
                EngineKind::IpsecMb if !multi_buffer::has(transform) => continue,
                EngineKind::InlineCrypto if !offload::has(transform) => continue,
                EngineKind::InlineCrypto if inline => {
                    // It takes the SA later, or does not.
                    offered = true;
                    continue;
                }
                EngineKind::InlineCrypto => Some(offload::NO_PORT.into()),
                EngineKind::Vaes => self.kernel.as_ref().err().cloned(),
                EngineKind::IpsecMb => match &self.multi_buffer {
                    Ok(engine) => engine.refuses(transform),
                    Err(reason) => Some(reason.clone()),
                },
                EngineKind::Portable => None,
                EngineKind::Cryptodev => match device.take().and_then(|ask| ask()) {
                    Some(answer) => answer.err(),
                    None => continue,
                },
            };
            match obstacle {
                None => {
                    return Some(Choice {
                        engine,
                        fallback,
                        offered,
                    });
                }
                Some(reason) => fallback = fallback.or(Some(format!("{engine}: {reason}").into())),
            }
        }
        None
    }

    /// Seals or opens the packets of up to [`BURST`] items: the kernel takes those of AES-GCM as they come, the
    /// others are listed. Bit i of the answer is item i's `ok`.
    #[inline(always)]
    fn each<'a, T, const SEAL: bool>(
        &mut self,
        items: &'a mut [T],
        job: impl Fn(&'a mut T) -> Option<EspJob<'a, Key>>,
    ) -> u64 {
        let (mut places, mut others) = (ArrayVec::<_, BURST>::new(), ArrayVec::<_, BURST>::new());
        let items = items.iter_mut().take(BURST).enumerate();
        let packets = items.map(|(place, item)| {
            let job = job(item)?;
            let Algorithm::Gcm(key) = &job.key.algorithm else {
                places.push(place);
                others.push(job);
                return None;
            };
            Some(kernel::packet(key, job))
        });
        let done = match &self.kernel {
            Ok(kernel) => kernel.run::<SEAL>(packets),
            Err(_) => {
                packets.for_each(drop);
                0
            }
        };
        if others.is_empty() {
            return done;
        }
        match SEAL {
            true => self.others(
                &mut others,
                KernelEngine::seal_others,
                MultiBuffer::seal,
                Portable::seal,
            ),
            false => self.others(
                &mut others,
                KernelEngine::open_others,
                MultiBuffer::open,
                Portable::open,
            ),
        }
        done | engine::answers(&places, &others)
    }

    /// Runs every job that is not of AES-GCM by the kernel, or whose key is a seed: those of the kernels and of the
    /// library together, those of the portable engine one by one.
    fn others(
        &mut self,
        jobs: &mut [EspJob<'_, Key>],
        own: impl Fn(&mut KernelEngine, &mut [EspJob<'_, Key>]),
        multi_buffer: impl Fn(&mut MultiBuffer, &mut [EspJob<'_, Key>]),
        portable: impl Fn(&mut Portable, &mut [EspJob<'_, portable::Key>]),
    ) {
        for jobs in jobs.chunks_mut(BURST) {
            if let Ok(engine) = &mut self.kernel {
                own(engine, jobs);
                if jobs.iter().all(|job| kernel::is_seed(&job.key.algorithm)) {
                    continue;
                }
            }
            if let Ok(engine) = &mut self.multi_buffer {
                multi_buffer(engine, jobs);
            }
            for job in jobs {
                match &job.key.algorithm {
                    Algorithm::GcmSeed(_) | Algorithm::CbcHmac(_) if self.kernel.is_ok() => {}
                    Algorithm::MultiBuffer(_) if self.multi_buffer.is_ok() => {}
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
                    _ => job.ok = false,
                }
            }
        }
    }

    /// Runs every job, as [`esp`](Self::esp) does; the kernel has no algorithm of AH.
    fn ah(
        &mut self,
        jobs: &mut [AhJob<'_, Key>],
        multi_buffer: impl Fn(&mut MultiBuffer, &mut [AhJob<'_, Key>]),
        portable: impl Fn(&mut Portable, &mut [AhJob<'_, portable::Key>]),
    ) {
        for jobs in jobs.chunks_mut(BURST) {
            if let Ok(engine) = &mut self.multi_buffer {
                multi_buffer(engine, jobs);
            }
            for job in jobs {
                match &job.key.algorithm {
                    Algorithm::MultiBuffer(_) if self.multi_buffer.is_ok() => {}
                    Algorithm::Portable(key) => {
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
                    _ => job.ok = false,
                }
            }
        }
    }
}

impl Default for FastEngine {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts an engine if the order has it.
fn start<E>(
    order: &[EngineKind],
    kind: EngineKind,
    new: impl FnOnce() -> Result<E, String>,
) -> Result<E, String> {
    match order.contains(&kind) {
        true => new(),
        false => Err("not in the order".into()),
    }
}

/// Precomputed key schedule of one SA.
pub struct Key {
    algorithm: Algorithm,
    /// Where the SA stands with the ports' devices, if it is offered to them.
    standing: Option<Standing>,
}

// What each packet needs of an SA is in as many cache lines as are asked for, with a key of four words.
const _: () = assert!(size_of::<Key>() <= size_of::<[usize; 4]>());

impl Key {
    fn new(algorithm: Algorithm) -> Self {
        Key {
            algorithm,
            standing: None,
        }
    }

    /// What it shares with control.
    pub fn standing(&self) -> Option<Standing> {
        self.standing.clone()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

// Each has its schedule in a box: an SA is as small as its own fields, however large the other kinds are.
enum Algorithm {
    Gcm(vaes::gcm::Key),
    GcmSeed(vaes::gcm::Seed),
    CbcHmac(vaes::cbc_hmac::Key),
    MultiBuffer(Box<multi_buffer::Key>),
    Portable(Box<portable::Key>),
    Device(Box<DeviceKey>),
}

impl Lookaside<Packet> for FastEngine {
    #[inline(always)]
    fn has_device(&self) -> bool {
        !self.devices.is_empty()
    }

    #[inline(always)]
    fn serves(&self, key: &Key) -> bool {
        matches!(key.algorithm, Algorithm::Device(_))
    }

    fn enqueue(
        &mut self,
        jobs: ArrayVec<AsideJob<'_, Key, Packet>, { pipeline::BURST }>,
        refused: &mut ArrayVec<(Parcel<Packet>, DropReason), { pipeline::BURST }>,
    ) {
        let key = |key| match key {
            &Key {
                algorithm: Algorithm::Device(ref key),
                ..
            } => Some(&**key),
            _ => None,
        };
        self.devices.enqueue(jobs, key, refused);
    }

    fn dequeue(&mut self, done: &mut ArrayVec<AsideDone<Packet>, { pipeline::BURST }>) {
        self.devices.dequeue(done);
    }

    fn in_flight(&self) -> usize {
        self.devices.in_flight()
    }

    #[inline]
    fn mark(&self, key: &Key, packet: &mut Packet, _session: Session, out: InterfaceId) -> bool {
        let standing = key.standing.as_ref();
        standing.is_some_and(|standing| standing.mark(&mut packet.0, out))
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
        self.key_among(1, transform, (cipher_key, integrity_key))
    }

    #[inline]
    fn prefetch(&self, key: &Key, payload: usize) {
        match &key.algorithm {
            Algorithm::Gcm(key) => key.prefetch(payload),
            Algorithm::GcmSeed(seed) => seed.prefetch(),
            Algorithm::CbcHmac(key) => key.prefetch(),
            Algorithm::MultiBuffer(key) => prefetch::front(&**key, 5),
            Algorithm::Portable(key) => prefetch::front(&**key, 5),
            Algorithm::Device(_) => {}
        }
    }

    fn seal(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        for jobs in jobs.chunks_mut(BURST) {
            let done = self.each::<_, true>(jobs, again);
            mark(jobs, done);
        }
    }

    fn open(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        for jobs in jobs.chunks_mut(BURST) {
            let done = self.each::<_, false>(jobs, again);
            mark(jobs, done);
        }
    }

    #[inline]
    fn seal_each<'a, T>(
        &mut self,
        items: &'a mut [T],
        job: impl Fn(&'a mut T) -> Option<EspJob<'a, Key>>,
    ) -> u64 {
        self.each::<_, true>(items, job)
    }

    #[inline]
    fn open_each<'a, T>(
        &mut self,
        items: &'a mut [T],
        job: impl Fn(&'a mut T) -> Option<EspJob<'a, Key>>,
    ) -> u64 {
        self.each::<_, false>(items, job)
    }

    fn sign(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        self.ah(jobs, |engine, jobs| engine.sign(jobs), Portable::sign);
    }

    fn verify(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        self.ah(jobs, |engine, jobs| engine.verify(jobs), Portable::verify);
    }
}

/// The same job.
fn again<'a>(job: &'a mut EspJob<'_, Key>) -> Option<EspJob<'a, Key>> {
    Some(EspJob {
        key: job.key,
        packet: job.packet,
        sequence_high: job.sequence_high,
        ok: false,
    })
}

fn mark(jobs: &mut [EspJob<'_, Key>], done: u64) {
    for (i, job) in jobs.iter_mut().enumerate() {
        job.ok = done >> i & 1 != 0;
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use portcullis_config::{AeadIcv, AesKey, Cipher, Integrity};

    /// An engine that is missed is named, whatever serves in its place; one that nobody misses is not.
    #[test]
    fn falling_back_has_a_reason() {
        let gcm = Transform::Esp(Cipher::AesGcm(AesKey::Aes128, AeadIcv::Icv16), None);
        let ah = Transform::Ah(Integrity::HmacSha2_256_128);
        let mut engine = FastEngine::new();
        engine.kernel = Err("no AVX-512".into());
        assert_eq!(engine.refusals(), ["engine vaes is not there: no AVX-512"]);
        let fallback = Some("vaes: no AVX-512".into());
        let offered = false;
        let choice = |engine, fallback| {
            Some(Choice {
                engine,
                fallback,
                offered,
            })
        };
        assert_eq!(
            engine.choose(gcm),
            choice(EngineKind::IpsecMb, fallback.clone())
        );
        assert_eq!(engine.choose(ah), choice(EngineKind::IpsecMb, None));

        engine.multi_buffer = Err("no library".into());
        assert_eq!(engine.choose(gcm), choice(EngineKind::Portable, fallback));
        let fallback = Some("ipsec-mb: no library".into());
        assert_eq!(engine.choose(ah), choice(EngineKind::Portable, fallback));
    }
}
