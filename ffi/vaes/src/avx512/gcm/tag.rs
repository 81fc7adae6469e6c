//! Tags of four packets at a time (SP 800-38D 7.1 steps 5 and 6).

use core::arch::x86_64::*;

use super::ghash::Sums;
use super::key::Schedule;
use super::lane::{Lane, QUAD, Set};
use crate::avx512::vector::{self, V};

/// Hashes the blocks of lengths, reduces, and adds the enciphered block with counter 1, of which `masks` has four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
pub(crate) fn make<S: Schedule>(
    [a, b, c, d]: [&Lane<'_, S>; QUAD],
    sums: &[Sums; QUAD],
    masks: V,
) -> [u8; 64] {
    let gather = |[a, b, c, d]: [_; QUAD]| {
        let v = vector::broadcast(a);
        let v = vector::insert(v, 0x00f0, b);
        let v = vector::insert(v, 0x0f00, c);
        vector::insert(v, 0xf000, d)
    };
    let lengths = gather([&a.lengths, &b.lengths, &c.lengths, &d.lengths]);
    let h = gather([a.core().h(), b.core().h(), c.core().h(), d.core().h()]);
    let mut sums = Sums::total(sums);
    sums.add_product(lengths, h);
    let hash = vector::reverse_bytes(sums.reduce());
    let mut tags = [0; 64];
    vector::store(&mut tags, _mm512_xor_si512(hash, masks));
    tags
}

/// Gathers packets whose hashes are complete but for the block of lengths, until there are four of them.
pub(crate) struct Tags<'r, 'a, S: 'static, const SEAL: bool> {
    lanes: [&'r Lane<'a, S>; QUAD],
    places: [usize; QUAD],
    sums: [Sums; QUAD],
    masks: [V; QUAD],
    count: usize,
    done: Set,
}

impl<'r, 'a, S: Schedule, const SEAL: bool> Tags<'r, 'a, S, SEAL> {
    /// `lane` is in lieu of missing ones.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn none(lane: &'r Lane<'a, S>) -> Self {
        Tags {
            lanes: [lane; QUAD],
            places: [0; QUAD],
            sums: [Sums::zero(); QUAD],
            masks: [vector::zero(); QUAD],
            count: 0,
            done: 0,
        }
    }

    /// One packet more; the first block of `mask` masks its tag. None at place 0.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,vpclmulqdq")]
    pub(crate) fn push(&mut self, lane: &'r Lane<'a, S>, place: usize, sums: Sums, mask: V) {
        let i = self.count % QUAD;
        self.lanes[i] = lane;
        self.places[i] = place;
        self.sums[i] = sums;
        self.masks[i] = mask;
        self.count += usize::from(place != 0);
        if self.count == QUAD {
            self.flush();
        }
    }

    /// Writes or compares the tags of those that have been gathered; returns which of all packets are done or right.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,vpclmulqdq")]
    pub(crate) fn flush(&mut self) -> Set {
        if self.count != 0 {
            let tags = make(self.lanes, &self.sums, masks(self.masks));
            self.done |= finish::<S, SEAL>(self.lanes, self.places, self.count, &tags);
            self.count = 0;
        }
        self.done
    }
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
pub(crate) fn finish<S: Schedule, const SEAL: bool>(
    lanes: [&Lane<'_, S>; QUAD],
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
