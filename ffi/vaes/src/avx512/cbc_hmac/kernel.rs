//! Bursts: the packets that go together, thirty-two at a time.

use super::chain::{self, Chains};
use super::hmac::Hmac;
use super::key::Key;
use super::known_answer;
use super::lane::{LANES, Lanes};
use super::{few, hash};
use crate::avx512::vector::{self, V};
use crate::{BURST, EspPacket, Hash, Unsupported};

/// Proof that this CPU has what the kernel needs and that it passed its known answers.
#[derive(Clone, Copy, Debug)]
pub struct Kernel(());

/// The packets of a burst that go together: of a hash function and a key length.
const KINDS: usize = 6;

impl Kernel {
    /// Looks at the CPU and computes known answers with distinct data in every lane.
    pub fn new() -> Result<Self, Unsupported> {
        crate::avx512::require()?;
        let kernel = Kernel(());
        known_answer::check(&kernel)?;
        Ok(kernel)
    }

    /// Expands a key of AES of 16, 24 or 32 bytes and one of HMAC as long as the hash; `None` for other lengths.
    pub fn key(&self, hash: Hash, cipher_key: &[u8], integrity_key: &[u8]) -> Option<Key> {
        // SAFETY: a kernel exists only where the CPU has all that is enabled.
        unsafe { Key::expand(hash, cipher_key, integrity_key) }
    }

    /// Encrypts each payload in place and writes its ICV.
    pub fn seal(&self, packets: &mut [EspPacket<'_, Key>]) {
        for packets in packets.chunks_mut(BURST) {
            // SAFETY: a kernel exists only where the CPU has all that is enabled.
            unsafe { run::<true>(packets) }
        }
    }

    /// Verifies each ICV in constant time and, if it is right, decrypts the payload in place (RFC 4303 3.4.4.1). A
    /// packet with a wrong one stays as it is.
    pub fn open(&self, packets: &mut [EspPacket<'_, Key>]) {
        for packets in packets.chunks_mut(BURST) {
            // SAFETY: a kernel exists only where the CPU has all that is enabled.
            unsafe { run::<false>(packets) }
        }
    }
}

fn kind(key: &Key) -> usize {
    3 * key.hash as usize + (usize::from(key.rounds) - 10) / 2
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn run<const SEAL: bool>(packets: &mut [EspPacket<'_, Key>]) {
    let mut done = 0u64;
    let kinds = packets
        .iter()
        .map(|p| 1u8 << kind(p.key))
        .fold(0, |all, one| all | one);
    for wanted in 0..KINDS {
        if kinds & 1 << wanted == 0 {
            continue;
        }
        let mut lanes = Lanes::none();
        for (i, p) in packets.iter_mut().enumerate() {
            if kind(p.key) == wanted {
                lanes.add(i, p.key, p.packet, p.sequence_high);
            }
        }
        lanes.complete();
        let lanes = &mut lanes;
        done |= match wanted {
            _ if lanes.count() == 0 => 0,
            0 => group::<SEAL, false, 10>(lanes),
            1 => group::<SEAL, false, 12>(lanes),
            2 => group::<SEAL, false, 14>(lanes),
            3 => group::<SEAL, true, 10>(lanes),
            4 => group::<SEAL, true, 12>(lanes),
            _ => group::<SEAL, true, 14>(lanes),
        };
    }
    for (i, packet) in packets.iter_mut().enumerate() {
        packet.ok = done >> i & 1 != 0;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn group<const SEAL: bool, const SHA256: bool, const R: usize>(lanes: &mut Lanes<'_>) -> u64 {
    let mut tags = [vector::zero(); LANES];
    let are_many = lanes.count() >= few::many(hash::name::<SHA256>());
    match (SEAL, lanes.count()) {
        (true, _) if !are_many => seal_few::<SHA256, R>(lanes, &mut tags),
        (true, ..=16) => seal::<SHA256, R, 1>(lanes, &mut tags),
        (true, _) => seal::<SHA256, R, 2>(lanes, &mut tags),
        (false, _) if !are_many => few::tags::<SHA256>(lanes, &mut tags),
        (false, ..=16) => verify::<SHA256, 1>(lanes, &mut tags),
        (false, _) => verify::<SHA256, 2>(lanes, &mut tags),
    }
    let mut done = 0;
    for ((place, schedule, iv, payload, icv), tag) in lanes.each().zip(&tags) {
        if SEAL {
            vector::store_part(icv, *tag);
        } else if !vector::are_part(icv, *tag) {
            continue;
        } else {
            chain::decrypt::<R>(schedule, iv, payload);
        }
        done |= 1 << place;
    }
    done
}

/// Encrypts, and makes the tags; `N` times sixteen packets side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn seal<const SHA256: bool, const R: usize, const N: usize>(
    lanes: &mut Lanes<'_>,
    tags: &mut [V; LANES],
) {
    let mut chains = Chains::<R, N>::none();
    chains.begin(lanes);
    let mut hmac = Hmac::<SHA256, N>::none();
    hmac.begin(lanes);
    let parts = lanes.most_parts();
    if parts > 0 {
        chains.take(lanes, 0);
        chains.encrypt(0);
        chains.put(lanes, 0);
    }
    for step in 0..lanes.most_blocks() {
        let next = step + 1;
        if step == 0 || !lanes.payloads_are_whole(step) {
            hmac.take(lanes, step);
        }
        if next < parts {
            chains.take(lanes, next);
            hmac.step_beside(lanes, step, &mut chains);
            chains.put(lanes, next);
        } else {
            hmac.step(lanes, step);
        }
    }
    chains.wipe();
    hmac.finish(tags);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn seal_few<const SHA256: bool, const R: usize>(lanes: &mut Lanes<'_>, tags: &mut [V; LANES]) {
    let mut chains = Chains::<R, 1>::none();
    chains.begin(lanes);
    for step in 0..lanes.most_parts() {
        chains.take(lanes, step);
        chains.encrypt(step);
        chains.put(lanes, step);
    }
    chains.wipe();
    few::tags::<SHA256>(lanes, tags);
}

/// Makes the tags that are to be there; `N` times sixteen packets side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn verify<const SHA256: bool, const N: usize>(lanes: &Lanes<'_>, tags: &mut [V; LANES]) {
    let mut hmac = Hmac::<SHA256, N>::none();
    hmac.begin(lanes);
    for step in 0..lanes.most_blocks() {
        hmac.take(lanes, step);
        hmac.step(lanes, step);
    }
    hmac.finish(tags);
}
