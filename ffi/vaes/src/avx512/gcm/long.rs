//! Packets of more than two vectors whose counters the key knows, one after the other: while four vectors
//! are enciphered, the four before are hashed. The tags are made for four packets at a time.

use core::arch::x86_64::*;

use super::counter;
use super::ghash::Sums;
use super::key::{COUNTERS, POWERS, Schedule};
use super::lane::{Lane, QUAD, Set, take_quad_of};
use super::row::Row;
use super::tag;
use crate::avx512::aes::each_round;
use crate::avx512::vector::{self, Block, V};

/// Vectors that are enciphered side by side.
const GROUP: usize = 4;
pub(crate) const GROUP_BYTES: usize = 64 * GROUP;
/// Groups of the longest packet that is not jumbo. Packets of as many are treated in a row: so are branches foreseen.
pub(crate) const GROUPS: usize = COUNTERS / (4 * GROUP);
type Group = [V; GROUP];

/// Seals or opens the packets in the sets, whose keys have `R` rounds; returns which ones are sealed or authentic.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,bmi2")]
pub(crate) fn run<const SEAL: bool, const R: usize>(
    row: &Row<Lane<'_>>,
    mut sets: [Set; GROUPS],
) -> Set {
    let mut done = 0;
    while sets != [0; GROUPS] {
        let (count, places) = take_quad_of(&mut sets);
        let lanes = places.map(|place| row.at(place));
        let mut sums = [Sums::zero(); QUAD];
        let mut masks = [_mm512_setzero_si512(); QUAD];
        for ((lane, sums), mask) in lanes.iter().zip(&mut sums).zip(&mut masks).take(count) {
            let body = lane.take_body();
            let mut cipher = Cipher::<SEAL, R>::new(lane.schedule, body);
            *mask = cipher.run(body, &lane.aad);
            *sums = cipher.sums;
        }
        let tags = tag::make(lanes, &sums, tag::masks(masks));
        done |= tag::finish::<SEAL>(lanes, places, count, &tags);
    }
    done
}

/// One packet on its way.
struct Cipher<'a, const SEAL: bool, const R: usize> {
    schedule: &'a Schedule,
    state_0: V,
    /// The group that is to be enciphered next.
    next: usize,
    /// Blocks behind those that are hashed with one reduction.
    behind: usize,
    /// The power of H for the vector that is to be hashed next.
    exponent: usize,
    sums: Sums,
}

impl<'a, const SEAL: bool, const R: usize> Cipher<'a, SEAL, R> {
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    fn new(schedule: &'a Schedule, body: &[u8]) -> Self {
        let (exponent, behind) = chunk(body.len().div_ceil(16));
        Cipher {
            schedule,
            state_0: counter::state_0(schedule, body),
            next: 0,
            behind,
            exponent,
            sums: Sums::zero(),
        }
    }

    /// All of a packet; the first block of what is returned masks the tag.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,bmi2")]
    fn run(&mut self, body: &mut [u8], aad: &Block) -> V {
        let mut x = self.encrypt::<GROUP>(None);
        let mask = x[0];
        x[0] = counter::behind_header(x[0]);
        let (first, rest) = body.split_at_mut(body.len().min(GROUP_BYTES));
        let mut hashed = if rest.is_empty() {
            add_part::<SEAL, GROUP>(first, x)
        } else {
            add::<SEAL>(first.as_chunks_mut::<64>().0, x)
        };
        hashed[0] = counter::hashed_first(hashed[0], aad);
        for vector in &mut hashed[1..] {
            *vector = vector::reverse_bytes(*vector);
        }
        let (groups, rest) = rest.as_chunks_mut::<GROUP_BYTES>();
        for group in groups {
            let x = self.encrypt::<GROUP>(Some(&hashed));
            hashed = add::<SEAL>(group.as_chunks_mut::<64>().0, x);
            for vector in &mut hashed {
                *vector = vector::reverse_bytes(*vector);
            }
            self.carry(&mut hashed[0]);
        }
        match rest.len().div_ceil(64) {
            0 => self.hash(&hashed),
            1 => self.tail::<1>(rest, &hashed),
            2 => self.tail::<2>(rest, &hashed),
            3 => self.tail::<3>(rest, &hashed),
            _ => self.tail::<4>(rest, &hashed),
        }
        mask
    }

    /// The key streams of the next `N` vectors; meanwhile hashes the four before.
    #[inline]
    #[target_feature(enable = "avx512f,vaes,vpclmulqdq")]
    fn encrypt<const N: usize>(&mut self, before: Option<&Group>) -> [V; N] {
        let mut x = counter::group_states(self.schedule, self.state_0, self.next);
        self.next += 1;
        let mut sums = self.sums;
        let powers = self.powers();
        each_round!(ROUND of R => {
            let key = self.schedule.round(ROUND);
            for x in &mut x {
                *x = _mm512_aesenc_epi128(*x, key);
            }
            if let (3, Some([x, y, _, _])) = (ROUND, before) {
                sums.add_products([*x, *y], [powers[0], powers[1]]);
            }
            if let (6, Some([_, _, x, y])) = (ROUND, before) {
                sums.add_products([*x, *y], [powers[2], powers[3]]);
            }
        });
        self.sums = sums;
        if before.is_some() {
            self.exponent = self.exponent.wrapping_sub(4 * GROUP);
        }
        let key = self.schedule.round(R);
        for x in &mut x {
            *x = _mm512_aesenclast_epi128(*x, key);
        }
        x
    }

    /// Adds `hashed` to the hash.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn hash<const N: usize>(&mut self, hashed: &[V; N]) {
        for (j, &vector) in hashed.iter().enumerate() {
            let h = self.schedule.powers(self.exponent.wrapping_sub(4 * j));
            self.sums.add_product(vector, h);
        }
        self.exponent = self.exponent.wrapping_sub(4 * N);
    }

    /// The last `N` vectors.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,bmi2")]
    fn tail<const N: usize>(&mut self, rest: &mut [u8], before: &Group) {
        let x = self.encrypt::<N>(Some(before));
        let mut hashed = add_part::<SEAL, N>(rest, x);
        for vector in &mut hashed {
            *vector = vector::reverse_bytes(*vector);
        }
        self.carry(&mut hashed[0]);
        self.hash(&hashed);
    }

    /// The powers of H for the next four vectors. In the last chunk each block has its own. In one before it they are
    /// those of the vectors' first blocks: what is short of them in the other blocks is made up for by the powers of
    /// the vector that the hash is carried into.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn powers(&self) -> Group {
        let powers = self.schedule.group_powers(self.exponent);
        if self.behind == 0 {
            [0, 4, 8, 12].map(|i| vector::load_blocks(powers, i))
        } else {
            [0, 4, 8, 12].map(|i| vector::broadcast(&powers[i]))
        }
    }

    /// At the end of a chunk reduces the hash and adds it to the first vector of the next one.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn carry(&mut self, first: &mut V) {
        if self.behind != 0 && self.exponent == 0 {
            *first = _mm512_xor_si512(*first, self.sums.reduce());
            self.sums = Sums::zero();
            (self.exponent, self.behind) = chunk(self.behind);
        }
    }
}

/// How many blocks are hashed with one reduction, as the power of H of the first one, and how many are left. The last
/// chunk has at least one block, and behind it the block of lengths.
#[inline]
fn chunk(blocks: usize) -> (usize, usize) {
    const CHUNK: usize = POWERS - 4 * GROUP;
    if blocks < POWERS {
        (blocks + 1, 0)
    } else {
        (CHUNK, blocks - CHUNK)
    }
}

/// Adds key streams to whole vectors; returns the ciphertext.
#[inline]
#[target_feature(enable = "avx512f")]
fn add<const SEAL: bool>(bytes: &mut [[u8; 64]], x: Group) -> Group {
    let mut hashed = [_mm512_setzero_si512(); GROUP];
    for ((bytes, x), hashed) in bytes.iter_mut().zip(x).zip(&mut hashed) {
        let data = vector::load(bytes);
        let out = _mm512_xor_si512(data, x);
        vector::store(bytes, out);
        *hashed = if SEAL { out } else { data };
    }
    hashed
}

/// Adds key streams to at most `N` vectors, the last one perhaps a part of one; returns the ciphertext, zeros behind.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(crate) fn add_part<const SEAL: bool, const N: usize>(
    mut bytes: &mut [u8],
    x: [V; N],
) -> [V; N] {
    let mut hashed = [_mm512_setzero_si512(); N];
    for (x, hashed) in x.into_iter().zip(&mut hashed) {
        let (part, behind) = bytes.split_at_mut(bytes.len().min(64));
        let data = vector::load_part(part);
        let out = _mm512_xor_si512(data, x);
        vector::store_part(part, out);
        *hashed = if SEAL {
            vector::keep_part(part, out)
        } else {
            data
        };
        bytes = behind;
    }
    hashed
}
