//! Keys that are kept as they came, in one cache line each, and expanded anew for each burst, eight at a time: for so many
//! SAs that reading what is expanded takes longer than expanding it.

use core::arch::x86_64::*;

use super::ghash::Sums;
use super::key::{self, Compact, Key, KeySize};
use crate::avx512::aes;
use crate::avx512::vector::{self, Block, V};
use crate::{BURST, EspPacket};

/// Keys that are expanded side by side, one in each block of two vectors: one vector would wait for itself.
const EIGHT: usize = 8;
/// Powers of H that packets of up to [`NEAR`] bytes need.
const FEW_POWERS: usize = 8;
/// All that are expanded are twice as many.
const _: () = assert!(2 * FEW_POWERS == key::START);
/// From the SPI to the end of the ICV.
const NEAR: usize = 112;

/// The key of an SA, with its salt. Wiped when dropped.
pub struct Seed {
    line: Box<Line>,
    pub(super) size: KeySize,
    pub(super) icv_len: u8,
}

/// What is kept of a key.
#[repr(C, align(64))]
struct Line {
    /// The key, and zeros.
    key: [Block; 2],
    /// Its first 16 bytes with the salt added: what each counter block begins with.
    start: Block,
    /// H times x.
    h: Block,
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    fn blocks(&self) -> [&Block; 4] {
        let [first, second] = &self.key;
        [first, second, &self.start, &self.h]
    }
}

impl Seed {
    #[target_feature(enable = "avx512f,aes,vaes")]
    pub(super) fn new(key: &[u8], salt: [u8; 4], icv_len: usize) -> Option<Self> {
        let size = KeySize::of(key)?;
        if !matches!(icv_len, 8 | 12 | 16) {
            return None;
        }
        let mut line = Box::new(Line {
            key: [[0; 16]; 2],
            start: [0; 16],
            h: [0; 16],
        });
        let bytes = line.key.as_flattened_mut();
        bytes.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        line.start = line.key[0];
        let start = line.start.iter_mut();
        start.zip(salt).for_each(|(to, salt)| *to ^= salt);
        let mut round_keys = aes::expand(key);
        key::hash_key(&mut line.h, &round_keys, size);
        vector::wipe_blocks(&mut round_keys);
        Some(Seed {
            line,
            size,
            icv_len: icv_len as u8,
        })
    }

    /// Asks for its memory.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::soon(&*self.line);
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        let Line { key, start, h } = &mut *self.line;
        for blocks in [
            &mut key[..],
            std::slice::from_mut(start),
            std::slice::from_mut(h),
        ] {
            vector::wipe_blocks(blocks);
        }
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seed({:?})", self.size)
    }
}

/// Room for the keys of a burst. It holds nothing between bursts.
pub struct Room {
    keys: Box<[Key<Compact>]>,
}

impl Room {
    pub(super) fn new() -> Self {
        Room {
            keys: (0..BURST).map(|_| Key::none()).collect(),
        }
    }

    /// Expands the seeds of up to [`BURST`] packets; returns which key is that of each. Packets in a row that have the same
    /// seed share a key.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,aes,vaes,vpclmulqdq")]
    pub(super) fn fill(&mut self, packets: &[EspPacket<'_, Seed>]) -> [u8; BURST] {
        let mut which = [0; BURST];
        let Some(first) = packets.first() else {
            return which;
        };
        let (mut seeds, mut last, mut longest) = ([first.key; BURST], 0, 0);
        for (packet, which) in packets.iter().zip(&mut which) {
            last += usize::from(!std::ptr::eq(seeds[last], packet.key));
            seeds[last] = packet.key;
            *which = last as u8;
            longest = longest.max(packet.packet.len());
        }
        let seeds = seeds.chunks(EIGHT).filter_map(<[_]>::first_chunk);
        let keys = self.keys.chunks_mut(EIGHT);
        let keys = keys.filter_map(<[_]>::first_chunk_mut);
        for (seeds, keys) in seeds.zip(keys).take(last / EIGHT + 1) {
            expand(seeds, keys, longest > NEAR);
        }
        which
    }

    /// The `which`th key.
    #[inline]
    pub(super) fn key(&self, which: u8) -> &Key<Compact> {
        &self.keys[usize::from(which) % BURST]
    }

    /// Wipes the first keys, up to the `last`th, and those that were expanded beside it.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn wipe(&mut self, last: u8) {
        let used = usize::from(last) / EIGHT * EIGHT + EIGHT;
        for key in self.keys.iter_mut().take(used) {
            vector::wipe_blocks(key.blocks());
        }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room")
    }
}

/// Two vectors: a block for each of eight keys.
type Pair = [V; 2];
/// Where eight keys are expanded to.
type Places<'a> = [&'a mut [Block; key::CORE]; EIGHT];

/// Expands eight seeds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,aes,vaes,vpclmulqdq")]
fn expand(seeds: &[&Seed; EIGHT], keys: &mut [Key<Compact>; EIGHT], all_powers: bool) {
    for (key, seed) in keys.iter_mut().zip(seeds) {
        (key.size, key.icv_len) = (seed.size, seed.icv_len);
    }
    let mut places = keys.each_mut().map(Key::blocks);
    expand_powers(seeds, &mut places, all_powers);
    let are = |size| seeds.map(|seed| seed.size == size);
    if are(KeySize::Aes128).contains(&true) {
        expand_128(seeds, &mut places, &are(KeySize::Aes128));
    }
    if are(KeySize::Aes256).contains(&true) {
        expand_256(seeds, &mut places, &are(KeySize::Aes256));
    }
    if are(KeySize::Aes192).contains(&true) {
        expand_192(seeds, &mut places);
    }
}

/// Block `n` of the lines of eight seeds.
#[inline]
#[target_feature(enable = "avx512f")]
fn gather(seeds: &[&Seed; EIGHT], n: usize) -> Pair {
    let [a, b, c, d, e, f, g, h] = seeds.map(|seed| seed.line.blocks()[n]);
    [four([a, b, c, d]), four([e, f, g, h])]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn four([a, b, c, d]: [&Block; 4]) -> V {
    let v = vector::insert(vector::broadcast(a), 0x00f0, b);
    vector::insert(vector::insert(v, 0x0f00, c), 0xf000, d)
}

/// Four blocks in a row of each key, from place `first` on, to those that are meant.
#[inline]
#[target_feature(enable = "avx512f")]
fn put(places: &mut Places<'_>, first: usize, blocks: [Pair; 4], to: &[bool; EIGHT]) {
    let [a, b, c, d] = blocks;
    let [e, f, g, h] = vector::transpose([a[0], b[0], c[0], d[0]]);
    let [i, j, k, l] = vector::transpose([a[1], b[1], c[1], d[1]]);
    let rows = [e, f, g, h, i, j, k, l];
    for ((place, row), to) in places.iter_mut().zip(rows).zip(to) {
        if *to {
            vector::store_blocks(place, first, row);
        }
    }
}

/// The next four words of a key schedule (FIPS 197 5.2): each is the sum of the word before and of the one as far back as
/// the key is long, which is in `back`; the first is SubWord of the last word of `before`, rotated if `ROTATE`, and `rcon`
/// added. If all columns of a state are the same, ShiftRows changes nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn next<const ROTATE: bool>(back: Pair, before: Pair, rcon: i32) -> Pair {
    let last = _mm512_set1_epi32(if ROTATE { 0x0c0f_0e0d } else { 0x0f0e_0d0c });
    let rcon = _mm512_set1_epi32(rcon);
    let columns = [0, 1].map(|i| _mm512_shuffle_epi8(before[i], last));
    let substituted = columns.map(|columns| _mm512_aesenclast_epi128(columns, rcon));
    let two = back.map(|v| _mm512_xor_si512(v, _mm512_bslli_epi128::<4>(v)));
    [0, 1].map(|i| {
        _mm512_ternarylogic_epi64::<0x96>(two[i], _mm512_bslli_epi128::<8>(two[i]), substituted[i])
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn expand_128(seeds: &[&Seed; EIGHT], places: &mut Places<'_>, to: &[bool; EIGHT]) {
    let k0 = gather(seeds, 0);
    let k1 = next::<true>(k0, k0, 0x01);
    let k2 = next::<true>(k1, k1, 0x02);
    let k3 = next::<true>(k2, k2, 0x04);
    put(places, key::START, [gather(seeds, 2), k1, k2, k3], to);
    let k4 = next::<true>(k3, k3, 0x08);
    let k5 = next::<true>(k4, k4, 0x10);
    let k6 = next::<true>(k5, k5, 0x20);
    let k7 = next::<true>(k6, k6, 0x40);
    put(places, key::START + 4, [k4, k5, k6, k7], to);
    let k8 = next::<true>(k7, k7, 0x80);
    let k9 = next::<true>(k8, k8, 0x1b);
    let k10 = next::<true>(k9, k9, 0x36);
    put(places, key::START + 7, [k7, k8, k9, k10], to);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn expand_256(seeds: &[&Seed; EIGHT], places: &mut Places<'_>, to: &[bool; EIGHT]) {
    let (k0, k1) = (gather(seeds, 0), gather(seeds, 1));
    let k2 = next::<true>(k0, k1, 0x01);
    let k3 = next::<false>(k1, k2, 0);
    put(places, key::START, [gather(seeds, 2), k1, k2, k3], to);
    let k4 = next::<true>(k2, k3, 0x02);
    let k5 = next::<false>(k3, k4, 0);
    let k6 = next::<true>(k4, k5, 0x04);
    let k7 = next::<false>(k5, k6, 0);
    put(places, key::START + 4, [k4, k5, k6, k7], to);
    let k8 = next::<true>(k6, k7, 0x08);
    let k9 = next::<false>(k7, k8, 0);
    let k10 = next::<true>(k8, k9, 0x10);
    let k11 = next::<false>(k9, k10, 0);
    put(places, key::START + 8, [k8, k9, k10, k11], to);
    let k12 = next::<true>(k10, k11, 0x20);
    let k13 = next::<false>(k11, k12, 0);
    let k14 = next::<true>(k12, k13, 0x40);
    put(places, key::START + 11, [k11, k12, k13, k14], to);
}

/// One by one: few use it.
#[cold]
#[target_feature(enable = "aes")]
fn expand_192(seeds: &[&Seed; EIGHT], places: &mut Places<'_>) {
    for (seed, place) in seeds.iter().zip(places) {
        if seed.size == KeySize::Aes192 {
            let mut round_keys = aes::expand(&seed.line.key.as_flattened()[..24]);
            place[key::START] = seed.line.start;
            place[key::START + 1..].copy_from_slice(&round_keys[1..]);
            vector::wipe_blocks(&mut round_keys);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn product(a: Pair, b: Pair) -> Pair {
    [0, 1].map(|i| Sums::product(a[i], b[i]).reduce())
}

/// Powers of H: those that short packets need, or all.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn expand_powers(seeds: &[&Seed; EIGHT], places: &mut Places<'_>, all: bool) {
    let h1 = gather(seeds, 3);
    let h2 = product(h1, h1);
    let [h3, h4] = [product(h2, h1), product(h2, h2)];
    let mut powers = [h4, h3, h2, h1];
    let everywhere = [true; EIGHT];
    put(places, key::START - 4, powers, &everywhere);
    powers = powers.map(|power| product(h4, power));
    put(places, key::START - FEW_POWERS, powers, &everywhere);
    if all {
        for first in [4, 0] {
            powers = powers.map(|power| product(h4, power));
            put(places, first, powers, &everywhere);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::gcm::Kernel;

    const SIZES: [usize; 4] = [16, 24, 32, 16];

    /// The `i`th key, of one of the sizes.
    fn bytes(i: usize) -> Vec<u8> {
        (0..SIZES[i % 4])
            .map(|at| (7 * at + 31 * i) as u8)
            .collect()
    }

    fn packet<'a>(key: &'a Seed, packet: &'a mut [u8]) -> EspPacket<'a, Seed> {
        EspPacket {
            key,
            packet,
            sequence_high: None,
            ok: false,
        }
    }

    #[test]
    fn a_seed_becomes_what_its_key_is_expanded_to_and_nothing_is_left() {
        let Ok(kernel) = Kernel::new() else {
            return;
        };
        let mut room = kernel.room();
        for count in [1, 7, 8, 9, BURST] {
            for len in [NEAR, NEAR + 1] {
                let seeds: Vec<Seed> = (0..count)
                    .map(|i| kernel.key(&bytes(i), [i as u8; 4], 16).unwrap())
                    .collect();
                let mut memory = vec![vec![0; len]; count];
                let packets = seeds.iter().zip(&mut memory);
                let packets: Vec<_> = packets.map(|(seed, bytes)| packet(seed, bytes)).collect();
                // SAFETY: there is a `Kernel`, so the CPU has all that is enabled.
                let which = unsafe { room.fill(&packets) };
                for i in 0..count {
                    assert_eq!(usize::from(which[i]), i);
                    // SAFETY: as above.
                    let expanded = unsafe { Key::expand(&bytes(i), [i as u8; 4], 16) };
                    let mut expanded: Key<Compact> = expanded.unwrap();
                    let rounds = key::START + 1 + [10, 12, 14, 10][i % 4];
                    let first = if len > NEAR { 0 } else { FEW_POWERS };
                    let found = &room.keys[i];
                    assert_eq!((found.size, found.icv_len()), (seeds[i].size, 16));
                    let found = room.keys[i].blocks();
                    assert_eq!(found[first..rounds], expanded.blocks()[first..rounds]);
                }
                // SAFETY: as above.
                unsafe { room.wipe(which[count - 1]) };
                for key in room.keys.iter_mut() {
                    assert_eq!(key.blocks(), &[[0; 16]; key::CORE]);
                }
            }
        }
    }

    #[test]
    fn packets_in_a_row_share_a_key() {
        let Ok(kernel) = Kernel::new() else {
            return;
        };
        let order = [0, 0, 1, 0, 2, 2, 2, 1];
        let seeds: Vec<Seed> = (0..3)
            .map(|i| kernel.key(&bytes(i), [1; 4], 16).unwrap())
            .collect();
        let keys: Vec<Key> = (0..3)
            .map(|i| kernel.key(&bytes(i), [1; 4], 16).unwrap())
            .collect();
        let clear: Vec<Vec<u8>> = (0..8).map(|i| vec![i as u8; 16 + 20 * i + 16]).collect();
        let mut sealed = clear.clone();
        let mut packets: Vec<_> = order
            .iter()
            .zip(&mut sealed)
            .map(|(&i, bytes)| packet(&seeds[i], bytes))
            .collect();
        let mut room = kernel.room();
        // SAFETY: there is a `Kernel`, so the CPU has all that is enabled.
        let which = unsafe { room.fill(&packets) };
        assert_eq!(which[..8], [0, 0, 1, 2, 3, 3, 3, 4]);
        assert_eq!(kernel.run_seeds::<true>(&mut packets, &mut room), 0xff);
        let mut expected = clear;
        for (i, bytes) in order.into_iter().zip(&mut expected) {
            let key = &keys[i];
            let mut one = [EspPacket {
                key,
                packet: bytes,
                sequence_high: None,
                ok: false,
            }];
            kernel.seal(&mut one);
        }
        assert_eq!(sealed, expected);
    }
}
