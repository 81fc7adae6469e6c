//! Packets of at most two vectors, four at a time: while four are enciphered, the four before are hashed.

use core::arch::x86_64::*;

use super::counter::{self, Header};
use super::ghash::Sums;
use super::key::Schedule;
use super::lane::{Lane, QUAD, Set, take_quad};
use super::row::Row;
use super::tag;
use crate::avx512::aes::each_round;
use crate::avx512::vector::{self, Block, V};

/// From the SPI to the end of the payload.
pub(crate) const LIMIT: usize = 128;

/// Four packets that are enciphered and yet to be hashed.
struct Pending<'r, 'a, S: 'static> {
    count: usize,
    places: [usize; QUAD],
    lanes: [&'r Lane<'a, S>; QUAD],
    masks: V,
    vectors: [[V; 2]; QUAD],
    /// The powers of H for the blocks of each.
    powers: [&'r [Block; 8]; QUAD],
}

/// Runs `$body` for each of four packets, with its number as a constant.
macro_rules! each_lane {
    ($j:ident => $body:block) => {
        each_lane!(@ $j => $body; 0 1 2 3)
    };
    (@ $j:ident => $body:block; $($n:literal)*) => {
        $({
            const $j: usize = $n;
            $body
        })*
    };
}

/// Seals or opens the packets in the set, whose keys have `R` rounds; returns which ones are sealed or authentic.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
pub(crate) fn run<S: Schedule, const SEAL: bool, const R: usize>(
    row: &Row<Lane<'_, S>>,
    mut set: Set,
) -> Set {
    let zero = _mm512_setzero_si512();
    let mut done = 0;
    let mut pending = Pending {
        count: 0,
        places: [0; QUAD],
        lanes: [row.at(0); QUAD],
        masks: zero,
        vectors: [[zero; 2]; QUAD],
        powers: [row.at(0).core().powers_from(0); QUAD],
    };
    while set != 0 {
        let (count, places) = take_quad(&mut set);
        let mut lanes = [row.at(0); QUAD];
        let mut powers = pending.powers;
        let mut bodies: [&mut [u8]; QUAD] = Default::default();
        each_lane!(J => {
            lanes[J] = row.at(places[J]);
            bodies[J] = lanes[J].take_body();
            powers[J] = lanes[J].core().powers_from(bodies[J].len().div_ceil(16) + 1);
        });

        let mut x = [[zero; 2]; QUAD];
        each_lane!(J => {
            let header = Header::new(lanes[J].schedule, bodies[J]);
            x[J] = [header.state(0), header.state(4)];
        });
        let mut sums = [Sums::zero(); QUAD];
        each_round!(ROUND of R => {
            each_lane!(J => {
                let key = lanes[J].core().round(ROUND);
                x[J][0] = _mm512_aesenc_epi128(x[J][0], key);
                x[J][1] = _mm512_aesenc_epi128(x[J][1], key);
                vector::hold(&mut x[J][0]);
                vector::hold(&mut x[J][1]);
            });
            if ROUND % 2 == 0 && ROUND / 2 <= QUAD {
                hash(&pending, ROUND / 2 - 1, &mut sums);
            }
        });
        each_lane!(J => {
            let key = lanes[J].core().round(R);
            x[J][0] = _mm512_aesenclast_epi128(x[J][0], key);
            x[J][1] = _mm512_aesenclast_epi128(x[J][1], key);
        });
        let tags = tag::make(pending.lanes, &sums, pending.masks);
        let masks = tag::masks([x[0][0], x[1][0], x[2][0], x[3][0]]);
        let [a, b, c, d] = bodies;
        let vectors = [
            cipher::<SEAL>(a, x[0], &lanes[0].aad),
            cipher::<SEAL>(b, x[1], &lanes[1].aad),
            cipher::<SEAL>(c, x[2], &lanes[2].aad),
            cipher::<SEAL>(d, x[3], &lanes[3].aad),
        ];
        done |= tag::finish::<S, SEAL>(pending.lanes, pending.places, pending.count, &tags);
        pending = Pending {
            count,
            places,
            lanes,
            masks,
            vectors,
            powers,
        };
    }
    let mut sums = [Sums::zero(); QUAD];
    each_lane!(J => {
        hash(&pending, J, &mut sums);
    });
    let tags = tag::make(pending.lanes, &sums, pending.masks);
    done | tag::finish::<S, SEAL>(pending.lanes, pending.places, pending.count, &tags)
}

#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn hash<S>(pending: &Pending<'_, '_, S>, j: usize, sums: &mut [Sums; QUAD]) {
    let powers = pending.powers[j];
    let h = [
        vector::load_blocks(powers, 0),
        vector::load_blocks(powers, 4),
    ];
    sums[j].add_products(pending.vectors[j], h);
    sums[j].hold();
}

/// Adds the key stream `x` to the two vectors of a packet, the second one perhaps empty; returns what is hashed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn cipher<const SEAL: bool>(body: &mut [u8], x: [V; 2], aad: &Block) -> [V; 2] {
    let (first, second) = body.split_at_mut(body.len().min(64));
    let data = [vector::load_part(first), vector::load_part(second)];
    let out = [
        _mm512_xor_si512(data[0], counter::behind_header(x[0])),
        _mm512_xor_si512(data[1], x[1]),
    ];
    vector::store_part(first, out[0]);
    vector::store_part(second, out[1]);
    let hashed = if SEAL {
        [
            vector::keep_part(first, out[0]),
            vector::keep_part(second, out[1]),
        ]
    } else {
        data
    };
    [
        counter::with_aad(vector::reverse_bytes(hashed[0]), aad),
        vector::reverse_bytes(hashed[1]),
    ]
}
