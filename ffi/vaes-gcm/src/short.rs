//! Packets of at most two vectors, four at a time: while four are enciphered, the four before are hashed.

use core::arch::x86_64::*;

use crate::EspPacket;
use crate::aes::each_round;
use crate::ghash::Sums;
use crate::kernel::{
    Ending, QUAD, body, cipher_first, counter_0, counters, hashed_first, lengths, take_quad,
};
use crate::vector::{self, V};

/// From the SPI to the end of the payload.
pub(crate) const LIMIT: usize = 128;

/// Four packets that are enciphered and yet to be hashed.
struct Pending<'a> {
    ending: Ending<'a>,
    vectors: [[V; 2]; QUAD],
    /// The power of H for the first block of each.
    exponents: [usize; QUAD],
}

/// Seals or opens the packets in the set, whose keys have `R` rounds.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
pub(crate) fn run<const SEAL: bool, const R: usize>(packets: &mut [EspPacket<'_>], mut set: u64) {
    let zero = _mm512_setzero_si512();
    let any = packets[set.trailing_zeros() as usize].key.schedule();
    let mut pending = Pending {
        ending: Ending::none(any),
        vectors: [[zero; 2]; QUAD],
        exponents: [0; QUAD],
    };
    while set != 0 {
        let (count, places) = take_quad(&mut set);
        let schedules = places.map(|place| packets[place].key.schedule());
        let mut x = [[zero; 2]; QUAD];
        for j in 0..QUAD {
            let start = counter_0(schedules[j], body(&mut packets[places[j]]));
            x[j] = [
                counters(schedules[j], start, 0),
                counters(schedules[j], start, 1),
            ];
        }
        let mut sums = [Sums::zero(); QUAD];
        each_round!(ROUND of R => {
            for j in 0..QUAD {
                let key = schedules[j].round(ROUND);
                x[j] = x[j].map(|x| _mm512_aesenc_epi128(x, key));
            }
            if ROUND % 2 == 0 && ROUND / 2 <= QUAD {
                hash(&pending, ROUND / 2 - 1, &mut sums[ROUND / 2 - 1]);
            }
        });
        for j in 0..QUAD {
            let key = schedules[j].round(R);
            x[j] = x[j].map(|x| _mm512_aesenclast_epi128(x, key));
        }
        pending.ending.finish::<SEAL>(packets, &sums);
        pending = cipher::<SEAL>(packets, places, x, Ending {
            count,
            places,
            schedules,
            masks: x.map(|x| _mm512_castsi512_si128(x[0])),
            lengths: [[0; 2]; QUAD],
        });
    }
    let mut sums = [Sums::zero(); QUAD];
    for j in 0..QUAD {
        hash(&pending, j, &mut sums[j]);
    }
    pending.ending.finish::<SEAL>(packets, &sums);
}

#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn hash(pending: &Pending<'_>, j: usize, sums: &mut Sums) {
    let (schedule, exponent) = (pending.ending.schedules[j], pending.exponents[j]);
    sums.add_products(
        pending.vectors[j],
        [
            schedule.powers(exponent),
            schedule.powers(exponent.wrapping_sub(4)),
        ],
    );
}

/// Adds the key streams `x` to four packets. All are read before any is written: a packet that is there twice is
/// twice the same.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn cipher<'a, const SEAL: bool>(
    packets: &mut [EspPacket<'_>],
    places: [usize; QUAD],
    x: [[V; 2]; QUAD],
    mut ending: Ending<'a>,
) -> Pending<'a> {
    let mut vectors = [[_mm512_setzero_si512(); 2]; QUAD];
    let mut exponents = [0; QUAD];
    for j in 0..QUAD {
        let (first, second) = halves(body(&mut packets[places[j]]));
        vectors[j] = [vector::load_part(first), vector::load_part(second)];
    }
    for j in 0..QUAD {
        let packet = &mut packets[places[j]];
        ending.lengths[j] = lengths(packet);
        let sequence_high = packet.sequence_high;
        let body = body(packet);
        exponents[j] = body.len().div_ceil(16) + 1;
        let (first, second) = halves(body);
        let out = [
            cipher_first(vectors[j][0], x[j][0]),
            _mm512_xor_si512(vectors[j][1], x[j][1]),
        ];
        vector::store_part(first, out[0]);
        vector::store_part(second, out[1]);
        if SEAL {
            vectors[j] = [
                vector::keep_part(first, out[0]),
                vector::keep_part(second, out[1]),
            ];
        }
        vectors[j] = [
            hashed_first(vectors[j][0], sequence_high),
            vector::reverse_bytes(vectors[j][1]),
        ];
    }
    Pending {
        ending,
        vectors,
        exponents,
    }
}

/// The two vectors of a packet, the second one perhaps empty.
#[inline]
fn halves(body: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    body.split_at_mut(body.len().min(64))
}
