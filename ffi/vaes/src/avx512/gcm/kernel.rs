//! Bursts: the packets that go together, one set after the other.

use super::key::{Compact, Key, Schedule, Wide};
use super::lane::{Burst, Lane, SIZES, Set};
use super::row::Row;
use super::seed::{Room, Seed};
use super::{known_answer, long, short};
use crate::avx512::require;
use crate::{BURST, EspPacket, Unsupported};

/// Proof that this CPU has what the kernel needs and that it passed its known answers.
#[derive(Clone, Copy, Debug)]
pub struct Kernel(());

impl Kernel {
    /// Looks at the CPU and computes known answers with distinct data in every lane.
    pub fn new() -> Result<Self, Unsupported> {
        require()?;
        let kernel = Kernel(());
        known_answer::check::<Key>(&kernel)?;
        known_answer::check::<Seed>(&kernel)?;
        Ok(kernel)
    }

    /// Takes a key of 16, 24 or 32 bytes, with the salt of RFC 4106 4 and ICVs of 8, 12 or 16 bytes; `None` for other
    /// lengths.
    pub fn key<F: Form>(&self, key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<F> {
        F::new(self, key, salt, icv_len)
    }

    /// Encrypts each payload in place and writes its ICV.
    pub fn seal<F: Form>(&self, packets: &mut [EspPacket<'_, F>]) {
        F::run_all::<true>(self, packets);
    }

    /// The same for up to [`BURST`] packets from wherever they are, some of them perhaps for others; later ones are
    /// left alone. Bit i of the answer is what `ok` would be for the i-th.
    #[inline]
    pub fn seal_burst<'p>(&self, packets: impl Iterator<Item = Option<EspPacket<'p, Key>>>) -> u64 {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { run::<Wide, true>(packets) }
    }

    /// Verifies each ICV in constant time and decrypts each payload in place.
    pub fn open<F: Form>(&self, packets: &mut [EspPacket<'_, F>]) {
        F::run_all::<false>(self, packets);
    }

    /// The same for up to [`BURST`] packets, as [`Kernel::seal_burst`].
    #[inline]
    pub fn open_burst<'p>(&self, packets: impl Iterator<Item = Option<EspPacket<'p, Key>>>) -> u64 {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { run::<Wide, false>(packets) }
    }

    /// Room for the keys of packets with seeds.
    pub fn room(&self) -> Room {
        Room::new()
    }

    /// Seals or opens the first [`BURST`] packets, which have seeds, as [`Kernel::seal_burst`] and [`Kernel::open_burst`].
    #[inline]
    pub fn run_seeds<const SEAL: bool>(
        &self,
        packets: &mut [EspPacket<'_, Seed>],
        room: &mut Room,
    ) -> u64 {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { run_seeds::<SEAL>(packets, room) }
    }
}

/// How the key of an SA is kept: expanded, or as a [`Seed`].
pub trait Form: Sized + std::fmt::Debug {
    /// As [`Kernel::key`].
    fn new(kernel: &Kernel, key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<Self>;
    /// Seals or opens all packets.
    fn run_all<const SEAL: bool>(kernel: &Kernel, packets: &mut [EspPacket<'_, Self>]);
}

impl Form for Key {
    fn new(_: &Kernel, key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<Self> {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { Key::expand(key, salt, icv_len) }
    }

    fn run_all<const SEAL: bool>(_: &Kernel, packets: &mut [EspPacket<'_, Self>]) {
        for packets in packets.chunks_mut(BURST) {
            let burst = packets.iter_mut().map(|p| Some(p.again()));
            // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
            let done = unsafe { run::<Wide, SEAL>(burst) };
            mark(packets, done);
        }
    }
}

impl Form for Seed {
    fn new(_: &Kernel, key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<Self> {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { Seed::new(key, salt, icv_len) }
    }

    fn run_all<const SEAL: bool>(kernel: &Kernel, packets: &mut [EspPacket<'_, Self>]) {
        let mut room = kernel.room();
        for packets in packets.chunks_mut(BURST) {
            let done = kernel.run_seeds::<SEAL>(packets, &mut room);
            mark(packets, done);
        }
    }
}

fn mark<K>(packets: &mut [EspPacket<'_, K>], done: u64) {
    for (i, packet) in packets.iter_mut().enumerate() {
        packet.ok = done >> i & 1 != 0;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn run_seeds<const SEAL: bool>(packets: &mut [EspPacket<'_, Seed>], room: &mut Room) -> u64 {
    let count = packets.len().min(BURST);
    let packets = &mut packets[..count];
    let which = room.fill(packets);
    let keyed = packets.iter_mut().zip(which).map(|(packet, which)| {
        Some(EspPacket {
            key: room.key(which),
            packet: &mut *packet.packet,
            sequence_high: packet.sequence_high,
            ok: false,
        })
    });
    let done = run::<Compact, SEAL>(keyed);
    room.wipe(which[..count].last().copied().unwrap_or(0));
    done
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn run<'p, S: Schedule, const SEAL: bool>(
    packets: impl Iterator<Item = Option<EspPacket<'p, Key<S>>>>,
) -> u64 {
    let mut nowhere = [0; 64];
    let mut burst = Burst::none(&mut nowhere);
    burst.fill(packets);
    let [aes128, aes192, aes256] = burst.sets;
    let done = run_sets::<S, SEAL, 10>(&burst.lanes, aes128)
        | run_sets::<S, SEAL, 12>(&burst.lanes, aes192)
        | run_sets::<S, SEAL, 14>(&burst.lanes, aes256);
    done >> 1 // from places to packets
}

/// Seals or opens the packets whose keys have `R` rounds; returns which ones are sealed or authentic.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn run_sets<S: Schedule, const SEAL: bool, const R: usize>(
    row: &Row<Lane<'_, S>>,
    sets: [Set; SIZES],
) -> Set {
    let [short, long @ ..] = sets;
    let mut done = 0;
    if short != 0 {
        done |= short::run::<S, SEAL, R>(row, short);
    }
    if long != [0; long::GROUPS + 1] {
        done |= long::run::<S, SEAL, R>(row, long);
    }
    done
}
