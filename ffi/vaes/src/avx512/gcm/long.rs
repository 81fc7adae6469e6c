//! Packets of more than two vectors, one after the other: while up to eight vectors are enciphered, those before are
//! hashed, be they of the same packet or of the one before.

use core::arch::x86_64::*;

use super::counter::{self, Header};
use super::ghash::Sums;
use super::key::{COUNTERS, Core, NEAR_POWERS, POWERS, Schedule};
use super::lane::{Lane, Set, take_of};
use super::row::Row;
use super::tag::Tags;
use crate::avx512::aes::each_round;
use crate::avx512::vector::{self, V};

/// Vectors that are enciphered side by side. Of fewer, each round would wait for the one before.
const GROUP: usize = 8;
pub(crate) const GROUP_BYTES: usize = 64 * GROUP;
/// Groups whose counters the key knows. Packets of as many are treated in a row: so are branches foreseen.
pub(crate) const GROUPS: usize = COUNTERS / (4 * GROUP);
type Group = [V; GROUP];
/// Blocks of a group.
const GROUP_BLOCKS: usize = 4 * GROUP;

/// Makes the states `$x` after round 1 the key streams; meanwhile runs `$hash` for each pair of a group, with its
/// number as a constant.
macro_rules! encipher {
    ($x:ident, $rounds:ident, $core:ident, $pair:ident => $hash:block) => {
        each_round!(ROUND of $rounds => {
            let key = $core.round(ROUND);
            for x in &mut $x {
                *x = _mm512_aesenc_epi128(*x, key);
                vector::hold(x);
            }
            if ROUND % 2 == 0 && ROUND <= GROUP {
                const $pair: usize = ROUND / 2 - 1;
                $hash
            }
        });
        let key = $core.round($rounds);
        for x in &mut $x {
            *x = _mm512_aesenclast_epi128(*x, key);
        }
    };
}

/// Seals or opens the packets in the sets, whose keys have `R` rounds; returns which ones are sealed or authentic.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
pub(crate) fn run<S: Schedule, const SEAL: bool, const R: usize>(
    row: &Row<Lane<'_, S>>,
    mut sets: [Set; GROUPS + 1],
) -> Set {
    let mut tags = Tags::<S, SEAL>::none(row.at(0));
    let mut hash = Hash::none(row.at(0));
    let mut unfolded = Unfolded::none();
    while let Some(place) = take_of(&mut sets) {
        let lane = row.at(place);
        let (core, body) = (lane.core(), lane.take_body());
        let (header, blocks) = (Header::new(lane.schedule, body), body.len().div_ceil(16));
        // The last part is one of one to eight vectors.
        let groups = body.len().saturating_sub(1) / GROUP_BYTES;
        let (whole, last) = body.split_at_mut(groups * GROUP_BYTES);
        let (whole, _) = whole.as_chunks_mut::<GROUP_BYTES>();
        /// Enciphers the first vectors, meanwhile hashes the last ones of the packet before.
        macro_rules! first_part {
            ($n:literal, $bytes:expr, $add:ident) => {{
                let mut x: [V; $n] = header.states(0);
                encipher!(x, R, core, J => {
                    if J < hash.pairs {
                        hash.add_last_pair(J, &unfolded);
                    }
                });
                tags.push(hash.lane, hash.place, hash.sums, hash.mask);
                hash = Hash::new(lane, place, blocks, x[0]);
                if lane.schedule.wide().is_none() {
                    unfolded.unfold(core, blocks);
                }
                x[0] = counter::behind_header(x[0]);
                let mut hashed = $add::<SEAL, $n>($bytes, x);
                reverse(&mut hashed);
                hashed[0] = counter::with_aad(hashed[0], &lane.aad);
                hash.is_next(&hashed);
            }};
        }
        /// Enciphers the next vectors, meanwhile hashes the group before.
        macro_rules! next_part {
            ($n:literal, $bytes:expr, $add:ident, $number:expr) => {{
                let mut x: [V; $n] = header.states($number);
                encipher!(x, R, core, J => {
                    hash.add_pair(J, &unfolded);
                });
                let mut hashed = $add::<SEAL, $n>($bytes, x);
                reverse(&mut hashed);
                hash.carry(&mut hashed[0]);
                hash.is_next(&hashed);
            }};
        }
        if let Some((first, whole)) = whole.split_first_mut() {
            first_part!(8, first, add);
            for (i, group) in whole.iter_mut().enumerate() {
                next_part!(8, group, add, i + 1);
            }
            match last.len().div_ceil(64) {
                1 => next_part!(1, last, add_part, groups),
                2 => next_part!(2, last, add_part, groups),
                3 => next_part!(3, last, add_part, groups),
                4 => next_part!(4, last, add_part, groups),
                5 => next_part!(5, last, add_part, groups),
                6 => next_part!(6, last, add_part, groups),
                7 => next_part!(7, last, add_part, groups),
                _ => next_part!(8, last, add_part, groups),
            }
        } else {
            match last.len().div_ceil(64) {
                ..=3 => first_part!(3, last, add_part),
                4 => first_part!(4, last, add_part),
                5 => first_part!(5, last, add_part),
                6 => first_part!(6, last, add_part),
                7 => first_part!(7, last, add_part),
                _ => first_part!(8, last, add_part),
            }
        }
    }
    for j in 0..hash.pairs {
        hash.add_last_pair(j, &unfolded);
    }
    if row.at(0).schedule.wide().is_none() {
        unfolded.wipe();
    }
    tags.push(hash.lane, hash.place, hash.sums, hash.mask);
    tags.flush()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn reverse(vectors: &mut [V]) {
    for vector in vectors {
        *vector = vector::reverse_bytes(*vector);
    }
}

/// A packet's hash, and what of it is yet to be hashed.
struct Hash<'r, 'a, S: 'static> {
    lane: &'r Lane<'a, S>,
    /// 0 if there is no packet.
    place: usize,
    /// The power of H for the block that is to be hashed next.
    exponent: usize,
    /// Blocks behind those that are hashed with one reduction.
    behind: usize,
    sums: Sums,
    /// Its first block masks the tag.
    mask: V,
    /// To be hashed next.
    vectors: Group,
    /// How many pairs of them there are.
    pairs: usize,
}

impl<'r, 'a, S: Schedule> Hash<'r, 'a, S> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn none(lane: &'r Lane<'a, S>) -> Self {
        Hash::new(lane, 0, 0, vector::zero())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(lane: &'r Lane<'a, S>, place: usize, blocks: usize, mask: V) -> Self {
        let (exponent, behind) = chunk(lane.schedule, blocks);
        Hash {
            lane,
            place,
            exponent,
            behind,
            sums: Sums::zero(),
            mask,
            vectors: [vector::zero(); GROUP],
            pairs: 0,
        }
    }

    /// These are to be hashed next.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn is_next<const N: usize>(&mut self, vectors: &[V; N]) {
        self.pairs = N.div_ceil(2);
        self.vectors = [vector::zero(); GROUP];
        self.vectors[..N].copy_from_slice(vectors);
    }

    /// Adds the `j`th pair of a group that has others behind it.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn add_pair(&mut self, j: usize, unfolded: &Unfolded) {
        let powers = match self.lane.schedule.wide() {
            Some(wide) => {
                let powers = wide.group_powers(self.exponent);
                [0, 4].map(|i| vector::load_blocks(powers, 8 * j + i))
            }
            // A group with others behind it has the highest powers.
            None => unfolded.pair(j),
        };
        self.add(j, powers);
    }

    /// Adds the `j`th pair of the last vectors.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn add_last_pair(&mut self, j: usize, unfolded: &Unfolded) {
        let powers = |i| {
            let exponent = self.exponent.wrapping_sub(8 * j + i);
            match self.lane.schedule.wide() {
                Some(wide) => wide.powers(exponent),
                None => unfolded.powers(exponent),
            }
        };
        self.add(j, [0, 4].map(powers));
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn add(&mut self, j: usize, powers: [V; 2]) {
        let pair = [self.vectors[2 * j], self.vectors[2 * j + 1]];
        self.sums.add_products(pair, powers);
        self.sums.hold();
    }

    /// A group is hashed. At the end of a chunk reduces the hash and adds it to the first block of the next one.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn carry(&mut self, first: &mut V) {
        self.exponent = self.exponent.wrapping_sub(GROUP_BLOCKS);
        if self.exponent == 0 {
            *first = _mm512_xor_si512(*first, vector::sum_of_blocks(self.sums.reduce()));
            self.sums = Sums::zero();
            (self.exponent, self.behind) = chunk(self.lane.schedule, self.behind);
        }
    }
}

/// How many blocks are hashed with one reduction, as the power of H of the first one, and how many are left. A chunk
/// with others behind it is a group; behind the last chunk is the block of lengths.
#[inline]
fn chunk(schedule: &impl Schedule, blocks: usize) -> (usize, usize) {
    let powers = if schedule.wide().is_some() {
        POWERS
    } else {
        GROUP_BLOCKS + 1
    };
    if blocks < powers {
        (blocks + 1, 0)
    } else {
        (GROUP_BLOCKS, blocks - GROUP_BLOCKS)
    }
}

/// Vectors of powers for a group and the block of lengths, and what a pair of loads may take behind them.
const UNFOLDED: usize = 1 + GROUP + 2;

/// The powers for a group of vectors, of a key that has fewer of them.
struct Unfolded {
    /// From H^36 down; what loads may take behind H.
    vectors: [V; UNFOLDED],
}

impl Unfolded {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn none() -> Self {
        Unfolded {
            vectors: [vector::zero(); UNFOLDED],
        }
    }

    /// As far as a packet of so many blocks needs them. H^(n + 16) is H^n times H^16.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn unfold(&mut self, core: Core<'_>, blocks: usize) {
        let near: [V; GROUP / 2] = std::array::from_fn(|i| core.powers(i));
        self.vectors[1 + GROUP / 2..=GROUP].copy_from_slice(&near);
        if blocks >= NEAR_POWERS {
            let multiplier = core.highest();
            let far = near.map(|power| Sums::product(power, multiplier).reduce());
            self.vectors[0] = Sums::product(far[GROUP / 2 - 1], multiplier).reduce();
            self.vectors[1..=GROUP / 2].copy_from_slice(&far);
        }
    }

    /// The powers for the `j`th pair of a whole group.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn pair(&self, j: usize) -> [V; 2] {
        [self.vectors[1 + 2 * j], self.vectors[2 + 2 * j]]
    }

    /// H^`exponent` and the three powers below it; anything behind H^1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn powers(&self, exponent: usize) -> V {
        let first = (GROUP_BLOCKS + 4).wrapping_sub(exponent);
        vector::load_blocks(vector::blocks::<_, { 4 * UNFOLDED }>(&self.vectors), first)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn wipe(&mut self) {
        vector::wipe(&mut self.vectors);
    }
}

/// Adds key streams to whole vectors; returns the ciphertext.
#[inline]
#[target_feature(enable = "avx512f")]
fn add<const SEAL: bool, const N: usize>(bytes: &mut [u8; GROUP_BYTES], x: [V; N]) -> [V; N] {
    let mut hashed = x;
    for (bytes, x) in bytes.as_chunks_mut().0.iter_mut().zip(&mut hashed) {
        *x = add_vector::<SEAL>(bytes, *x);
    }
    hashed
}

/// Adds key streams to `N` vectors, the last one perhaps a part of one; returns the ciphertext, zeros behind.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn add_part<const SEAL: bool, const N: usize>(bytes: &mut [u8], x: [V; N]) -> [V; N] {
    let mut hashed = x;
    let (whole, bytes) = bytes.split_at_mut(bytes.len().min(64 * (N - 1)));
    for (bytes, x) in whole.as_chunks_mut().0.iter_mut().zip(&mut hashed) {
        *x = add_vector::<SEAL>(bytes, *x);
    }
    let last = &mut hashed[N - 1];
    let data = vector::load_part(bytes);
    let out = _mm512_xor_si512(data, *last);
    vector::store_part(bytes, out);
    *last = if SEAL {
        vector::keep_part(bytes, out)
    } else {
        data
    };
    hashed
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_vector<const SEAL: bool>(bytes: &mut [u8; 64], x: V) -> V {
    let data = vector::load(bytes);
    let out = _mm512_xor_si512(data, x);
    vector::store(bytes, out);
    if SEAL { out } else { data }
}
