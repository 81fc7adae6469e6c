//! Tags of four packets at a time (SP 800-38D 7.1 steps 5 and 6).

use core::arch::x86_64::*;

use super::ghash::Sums;
use super::lane::{Lane, QUAD, Set};
use crate::avx512::vector::{self, V};

/// Hashes the blocks of lengths, reduces, and adds the enciphered block with counter 1, of which `masks` has four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
pub(crate) fn make([a, b, c, d]: [&Lane<'_>; QUAD], sums: &[Sums; QUAD], masks: V) -> [u8; 64] {
    let gather = |[a, b, c, d]: [_; QUAD]| {
        let v = vector::broadcast(a);
        let v = vector::insert(v, 0x00f0, b);
        let v = vector::insert(v, 0x0f00, c);
        vector::insert(v, 0xf000, d)
    };
    let lengths = gather([&a.lengths, &b.lengths, &c.lengths, &d.lengths]);
    let h = gather([
        a.schedule.h(),
        b.schedule.h(),
        c.schedule.h(),
        d.schedule.h(),
    ]);
    let mut sums = Sums::total(sums);
    sums.add_product(lengths, h);
    let hash = vector::reverse_bytes(sums.reduce());
    let mut tags = [0; 64];
    vector::store(&mut tags, _mm512_xor_si512(hash, masks));
    tags
}

/// The first blocks of four key streams.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) fn masks([a, b, c, d]: [V; QUAD]) -> V {
    let v = _mm512_inserti64x2::<1>(a, _mm512_castsi512_si128(b));
    let v = _mm512_inserti64x2::<2>(v, _mm512_castsi512_si128(c));
    _mm512_inserti64x2::<3>(v, _mm512_castsi512_si128(d))
}

/// Writes the tags of the first `count` of four packets, or compares them; returns which ones are done or right.
#[inline]
pub(crate) fn finish<const SEAL: bool>(
    lanes: [&Lane<'_>; QUAD],
    places: [usize; QUAD],
    count: usize,
    tags: &[u8; 64],
) -> Set {
    let mut done = 0;
    let (tags, _) = tags.as_chunks::<16>();
    for ((lane, place), tag) in lanes.into_iter().zip(places).zip(tags).take(count) {
        let ok = if SEAL {
            lane.write_icv(tag);
            true
        } else {
            lane.icv_is(tag)
        };
        done |= Set::from(ok) << place;
    }
    done
}
