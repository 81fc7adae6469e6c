//! Packets with more blocks than there are powers of H: hashed in chunks, each reduced and carried into the next.

use core::arch::x86_64::*;

use super::counter;
use super::ghash::Sums;
use super::key::{POWERS, Schedule};
use super::lane::{Lane, QUAD, Set};
use super::long::add_part;
use super::row::Row;
use super::tag;
use crate::avx512::aes::each_round;
use crate::avx512::vector::{self, V};

/// Vectors that are enciphered side by side.
const GROUP: usize = 4;
/// Blocks with one reduction: whole groups, and a power left for the block of lengths.
const CHUNK: usize = (POWERS - 1) / (4 * GROUP) * (4 * GROUP);

/// Seals or opens the packets in the set, whose keys have `R` rounds; returns which ones are sealed or authentic.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
pub(crate) fn run<const SEAL: bool, const R: usize>(row: &Row<Lane<'_>>, mut set: Set) -> Set {
    let mut done = 0;
    while set != 0 {
        let place = set.trailing_zeros() as usize;
        set &= set - 1;
        let lane = row.at(place);
        let mut sums = [Sums::zero(); QUAD];
        let mask;
        (sums[0], mask) = cipher::<SEAL, R>(lane, lane.take_body());
        let tags = tag::make([lane; QUAD], &sums, mask);
        done |= tag::finish::<SEAL>([lane; QUAD], [place; QUAD], 1, &tags);
    }
    done
}

/// All of a packet; returns its hash without the block of lengths, and a vector whose first block masks the tag.
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,bmi2")]
fn cipher<const SEAL: bool, const R: usize>(lane: &Lane<'_>, body: &mut [u8]) -> (Sums, V) {
    let schedule = lane.schedule;
    let mut counters = Counters::new(schedule, body);
    let mut mask = None;
    let mut sums = Sums::zero();
    let mut carry = _mm512_setzero_si512();
    let mut left = body.len().div_ceil(16);
    for chunk in body.chunks_mut(CHUNK * 16) {
        // The hash of what came before is added to the first block. Only the last chunk has the block of lengths
        // behind it.
        let mut exponent = if left > CHUNK { CHUNK } else { left + 1 };
        left = left.saturating_sub(CHUNK);
        sums = Sums::zero();
        for bytes in chunk.chunks_mut(64 * GROUP) {
            let mut x = encrypt::<R>(schedule, counters.next());
            let first = mask.is_none();
            if first {
                mask = Some(x[0]);
                x[0] = counter::behind_header(x[0]);
            }
            let hashed = add_part::<SEAL, GROUP>(bytes, x);
            for (j, vector) in hashed.into_iter().enumerate() {
                let vector = if first && j == 0 {
                    counter::hashed_first(vector, &lane.aad)
                } else {
                    vector::reverse_bytes(vector)
                };
                sums.add_product(_mm512_xor_si512(vector, carry), schedule.powers(exponent));
                carry = _mm512_setzero_si512();
                exponent = exponent.saturating_sub(4);
            }
        }
        let zero = Sums::zero();
        carry = Sums::total(&[sums, zero, zero, zero]).reduce();
    }
    (sums, mask.unwrap_or(_mm512_setzero_si512()))
}

/// Counter blocks, beginning with counter 1, with round key 0.
struct Counters {
    block_0: V,
    counters: V,
}

impl Counters {
    #[target_feature(enable = "avx512f")]
    fn new(schedule: &Schedule, body: &[u8]) -> Self {
        let counters = _mm512_setr_epi32(0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4);
        Counters {
            block_0: counter::block_0(schedule, body),
            counters,
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn next(&mut self) -> [V; GROUP] {
        // The last word of a block, its bytes reversed; the others are zero anyway.
        let big_endian = _mm512_broadcast_i32x4(_mm_setr_epi8(
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 14, 13, 12,
        ));
        let mut blocks = [self.block_0; GROUP];
        for block in &mut blocks {
            let counters = _mm512_shuffle_epi8(self.counters, big_endian);
            *block = _mm512_xor_si512(*block, counters);
            self.counters = _mm512_add_epi32(self.counters, _mm512_maskz_set1_epi32(0x8888, 4));
        }
        blocks
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt<const R: usize>(schedule: &Schedule, mut x: [V; GROUP]) -> [V; GROUP] {
    let key = schedule.round(1);
    for x in &mut x {
        *x = _mm512_aesenc_epi128(*x, key);
    }
    each_round!(ROUND of R => {
        let key = schedule.round(ROUND);
        for x in &mut x {
            *x = _mm512_aesenc_epi128(*x, key);
        }
    });
    let key = schedule.round(R);
    x.map(|x| _mm512_aesenclast_epi128(x, key))
}
