//! Bursts: which packets go together, and what begins and ends a packet.
//!
//! The AAD shares a vector with the encrypted counter block: before the payload of an ESP packet lie the 16 bytes
//! SPI, sequence number and IV, in the place of block 0, whose counter 1 enciphers the tag (SP 800-38D 7.1). So block
//! i of a packet has counter i + 1 all through, and is hashed all through but for the IV in block 0.

use core::arch::x86_64::*;
use std::hint::black_box;

use crate::ghash::Sums;
use crate::key::{Key, KeySize, Schedule};
use crate::vector::{self, Block, V};
use crate::{EspPacket, Unsupported, jumbo, known_answer, long, short};

/// Proof that this CPU has what the kernel needs and that it passed its known answers.
#[derive(Clone, Copy, Debug)]
pub struct Kernel(());

/// SPI, sequence number and IV (RFC 4106 3.1).
pub(crate) const HEADER: usize = 16;
/// Packets classified at a time, a bit each.
const BURST: usize = 64;
/// Packets whose tags are made at a time.
pub(crate) const QUAD: usize = 4;

impl Kernel {
    /// Looks at the CPU and computes known answers with distinct data in every lane.
    pub fn new() -> Result<Self, Unsupported> {
        macro_rules! require {
            ($($feature:tt)*) => {
                $(if !std::arch::is_x86_feature_detected!($feature) {
                    return Err(Unsupported::Cpu($feature));
                })*
            };
        }
        require!("avx512f" "avx512bw" "avx512dq" "avx512vl" "vaes" "vpclmulqdq" "aes" "bmi2");
        let kernel = Kernel(());
        known_answer::check(&kernel)?;
        Ok(kernel)
    }

    /// Expands a key of 16, 24 or 32 bytes, with the salt of RFC 4106 4 and ICVs of 8, 12 or 16 bytes; `None` for
    /// other lengths.
    pub fn key(&self, key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<Key> {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { Key::expand(key, salt, icv_len) }
    }

    /// Encrypts each payload in place and writes its ICV.
    pub fn seal(&self, packets: &mut [EspPacket<'_>]) {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { run::<true>(packets) }
    }

    /// Verifies each ICV in constant time and decrypts each payload in place.
    pub fn open(&self, packets: &mut [EspPacket<'_>]) {
        // SAFETY: a `Kernel` exists only where the CPU has all that is enabled.
        unsafe { run::<false>(packets) }
    }
}

/// Calls `$run` for the packets of each key size, if there are any.
macro_rules! each_size {
    ($run:path, $seal:expr, $burst:expr, $sets:expr) => {{
        use $run as run;
        let [aes128, aes192, aes256] = $sets;
        if aes128 != 0 {
            run::<$seal, 10>($burst, aes128);
        }
        if aes192 != 0 {
            run::<$seal, 12>($burst, aes192);
        }
        if aes256 != 0 {
            run::<$seal, 14>($burst, aes256);
        }
    }};
}

/// The packets of a burst that are treated alike, by key size: a bit each.
type Sets = [u64; KeySize::ALL.len()];

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
fn run<const SEAL: bool>(packets: &mut [EspPacket<'_>]) {
    for burst in packets.chunks_mut(BURST) {
        let [short, long, jumbo] = classify(burst);
        each_size!(short::run, SEAL, burst, short);
        each_size!(long::run, SEAL, burst, long);
        each_size!(jumbo::run, SEAL, burst, jumbo);
    }
}

/// Short, long and jumbo packets. Those too short for an IV and an ICV are in no set.
#[inline]
fn classify(burst: &mut [EspPacket<'_>]) -> [Sets; 3] {
    let mut sets = [Sets::default(); 3];
    for (i, packet) in burst.iter_mut().enumerate() {
        packet.ok = false;
        if let Some(body) = packet.packet.len().checked_sub(packet.key.icv_len) {
            let sized = body >= HEADER;
            let size = usize::from(body > short::LIMIT) + usize::from(body > long::LIMIT);
            sets[size][packet.key.size as usize] |= u64::from(sized) << i;
        }
    }
    sets
}

/// Takes up to four packets out of a set; their number, and their places. In lieu of missing ones there is the last
/// one again.
#[inline]
pub(crate) fn take_quad(set: &mut u64) -> (usize, [usize; QUAD]) {
    let mut places = [0; QUAD];
    let mut count = 0;
    let mut last = 0;
    for place in &mut places {
        if *set != 0 {
            last = set.trailing_zeros() as usize;
            *set &= *set - 1;
            count += 1;
        }
        *place = last;
    }
    (count, places)
}

/// From the SPI to the end of the payload.
#[inline]
pub(crate) fn body<'p>(packet: &'p mut EspPacket<'_>) -> &'p mut [u8] {
    let end = packet.packet.len().saturating_sub(packet.key.icv_len);
    packet.packet.get_mut(..end).unwrap_or_default()
}

/// The state of counter 0 after round 1.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(crate) fn counter_0(schedule: &Schedule, body: &[u8]) -> V {
    _mm512_aesenc_epi128(counter_block_0(schedule, body), schedule.round(1))
}

/// Counter 0 with round key 0 added. The IV is from byte 8 of the packet on, and from byte 4 of the counter block
/// (RFC 4106 4).
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn counter_block_0(schedule: &Schedule, body: &[u8]) -> V {
    const IV_TO_NONCE: i32 = 0b00_11_10_00;
    let header = vector::broadcast(body.first_chunk().unwrap_or(&[0; HEADER]));
    let nonce = _mm512_maskz_shuffle_epi32::<IV_TO_NONCE>(0x6666, header);
    _mm512_xor_si512(nonce, schedule.start())
}

/// The states of a packet's `vector`th vector after round 1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn counters(schedule: &Schedule, counter_0: V, vector: usize) -> V {
    _mm512_mask_xor_epi32(counter_0, 0x1111, counter_0, schedule.counters(vector))
}

/// Adds the key stream to the first vector of a packet, but for the header.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn cipher_first(data: V, stream: V) -> V {
    _mm512_mask_xor_epi64(data, 0xfc, data, stream)
}

/// What is hashed of the first vector: the AAD (RFC 4106 5), and the ciphertext behind the header.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn hashed_first(vector: V, sequence_high: Option<u32>) -> V {
    let Some(high) = sequence_high else {
        // SPI, sequence number, zeros.
        return vector::reverse_bytes_of(!0x00ff, vector);
    };
    // SPI, both halves of the sequence number, zeros.
    const SEQUENCE_DOWN: i32 = 0b11_10_10_00;
    let v = vector::reverse_bytes(vector);
    let v = _mm512_mask_shuffle_epi32::<SEQUENCE_DOWN>(v, 0x000f, v);
    let v = _mm512_mask_set1_epi32(v, 0x0004, high as i32);
    _mm512_maskz_mov_epi32(!0x0001, v)
}

/// The last block that is hashed: how many bits are encrypted and how many are AAD, bytes reversed.
#[inline]
pub(crate) fn lengths(packet: &EspPacket<'_>) -> [u64; 2] {
    let payload = packet.packet.len().wrapping_sub(packet.key.icv_len + HEADER);
    let aad = if packet.sequence_high.is_some() { 12 } else { 8 };
    [payload as u64 * 8, aad * 8]
}

/// What the tags of four packets are made of.
pub(crate) struct Ending<'a> {
    pub(crate) count: usize,
    pub(crate) places: [usize; QUAD],
    pub(crate) schedules: [&'a Schedule; QUAD],
    /// What is added to the hash: the block with counter 1, enciphered.
    pub(crate) masks: [__m128i; QUAD],
    pub(crate) lengths: [[u64; 2]; QUAD],
}

impl<'a> Ending<'a> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn none(schedule: &'a Schedule) -> Self {
        Ending {
            count: 0,
            places: [0; QUAD],
            schedules: [schedule; QUAD],
            masks: [_mm_setzero_si128(); QUAD],
            lengths: [[0; 2]; QUAD],
        }
    }

    /// Makes the tags of the packets with these hashes and writes or compares them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,vpclmulqdq,bmi2")]
    pub(crate) fn finish<const SEAL: bool>(
        &self,
        packets: &mut [EspPacket<'_>],
        sums: &[Sums; QUAD],
    ) {
        let mut sums = Sums::total(sums);
        sums.add_product(self.length_blocks(), self.h());
        let tags = vector::reverse_bytes(sums.reduce());
        let mut bytes = [0; 64];
        vector::store(&mut bytes, _mm512_xor_si512(tags, gather(self.masks)));
        let (tags, _) = bytes.as_chunks::<16>();
        for (&place, tag) in self.places.iter().zip(tags).take(self.count) {
            let packet = &mut packets[place];
            if SEAL {
                write_icv(packet, tag);
            } else {
                compare_icv(packet, tag);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    fn length_blocks(&self) -> V {
        let [[a, b], [c, d], [e, f], [g, h]] = self.lengths.map(|l| l.map(|n| n as i64));
        _mm512_setr_epi64(a, b, c, d, e, f, g, h)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn h(&self) -> V {
        let [a, b, c, d] = self.schedules.map(|s| s.h());
        let v = vector::broadcast(a);
        let v = vector::insert(v, 0x00f0, b);
        let v = vector::insert(v, 0x0f00, c);
        vector::insert(v, 0xf000, d)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn gather([a, b, c, d]: [__m128i; QUAD]) -> V {
    let v = _mm512_castsi128_si512(a);
    let v = _mm512_inserti64x2::<1>(v, b);
    let v = _mm512_inserti64x2::<2>(v, c);
    _mm512_inserti64x2::<3>(v, d)
}

/// Copies as much of the tag as the ICV has.
#[inline]
fn write_icv(packet: &mut EspPacket<'_>, tag: &Block) {
    packet.ok = true;
    match packet.key.icv_len {
        16 => copy_start::<16>(packet.packet, tag),
        12 => copy_start::<12>(packet.packet, tag),
        _ => copy_start::<8>(packet.packet, tag),
    }
}

#[inline]
fn copy_start<const N: usize>(packet: &mut [u8], tag: &Block) {
    if let (Some(icv), Some(tag)) = (packet.last_chunk_mut::<N>(), tag.first_chunk()) {
        *icv = *tag;
    }
}

/// Compares as much of the tag as the ICV has, in constant time.
#[inline]
fn compare_icv(packet: &mut EspPacket<'_>, tag: &Block) {
    let mut icv = [0; 16];
    let mask = match packet.key.icv_len {
        16 => {
            if let Some(bytes) = packet.packet.last_chunk() {
                icv = *bytes;
            }
            u128::MAX
        }
        12 => {
            copy_end::<12>(&mut icv, packet.packet);
            u128::MAX >> 32
        }
        _ => {
            copy_end::<8>(&mut icv, packet.packet);
            u128::MAX >> 64
        }
    };
    let difference = (u128::from_le_bytes(icv) ^ u128::from_le_bytes(*tag)) & mask;
    packet.ok = black_box(difference) == 0;
}

#[inline]
fn copy_end<const N: usize>(icv: &mut Block, packet: &[u8]) {
    if let (Some(icv), Some(bytes)) = (icv.first_chunk_mut::<N>(), packet.last_chunk()) {
        *icv = *bytes;
    }
}
