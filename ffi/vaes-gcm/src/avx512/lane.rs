//! What the kernel knows of each packet of a burst.

use std::cell::Cell;

use super::key::{KeySize, Schedule};
use super::row::Row;
use super::vector::Block;
use super::{long, short};
use crate::{BURST, EspPacket};

/// Places, a bit each: packet i of a burst is at place i + 1, and nothing at place 0.
pub(crate) type Set = u64;
/// Packets whose tags are made at a time.
pub(crate) const QUAD: usize = 4;

/// SPI, sequence number and IV (RFC 4106 3.1).
const HEADER: usize = 16;

/// What is derived from one packet. Nothing of it is read soon after it is written: a vector that has been written by
/// words cannot be forwarded to the reader.
pub(crate) struct Lane<'a> {
    pub(crate) schedule: &'a Schedule,
    /// The first block that is hashed: the AAD, bytes reversed.
    pub(crate) aad: Block,
    /// The last block that is hashed, bytes reversed.
    pub(crate) lengths: Block,
    /// From the SPI to the end of the payload.
    body: Cell<&'a mut [u8]>,
    icv: Cell<&'a mut [u8]>,
}

/// The packets of a burst.
pub(crate) struct Burst<'a> {
    pub(crate) lanes: Row<Lane<'a>>,
    /// The packets that are treated alike, by key size and by size: short, long by length, jumbo. Those too short for
    /// IV and ICV are in none.
    pub(crate) sets: [[Set; SIZES]; KeySize::ALL.len()],
}

/// Short, long of so many groups of vectors, and jumbo.
pub(crate) const SIZES: usize = 1 + long::GROUPS + 1;

/// One of the [`SIZES`].
#[inline]
fn size(body: usize) -> usize {
    if body <= short::LIMIT {
        0
    } else {
        1 + ((body - 1) / long::GROUP_BYTES).min(long::GROUPS)
    }
}

impl<'a> Lane<'a> {
    /// In lieu of a packet. Vectors of no bytes are read from and written to `nowhere`: if it were not there, the CPU
    /// would take hundreds of cycles to find that it need not be.
    fn none(nowhere: &'a mut [u8]) -> Self {
        Lane {
            schedule: &Schedule::ZERO,
            aad: [0; 16],
            lengths: [0; 16],
            body: Cell::new(nowhere.split_at_mut(0).0),
            icv: Cell::default(),
        }
    }

    /// `None` if the packet is too short for IV and ICV.
    #[inline]
    fn new(packet: EspPacket<'a>) -> Option<Self> {
        let end = packet.packet.len().checked_sub(packet.key.icv_len)?;
        let (body, icv) = packet.packet.split_at_mut_checked(end)?;
        let payload = end.checked_sub(HEADER)?;
        let word = |bytes: &[u8; 4]| u128::from(u32::from_be_bytes(*bytes));
        let (spi, rest) = body.split_first_chunk()?;
        let (spi, sequence) = (word(spi), word(rest.first_chunk()?));
        // RFC 4106 5. In a reversed block the first bytes are the high ones.
        let (aad, aad_len) = match packet.sequence_high {
            None => ((spi << 96) | (sequence << 64), 8),
            Some(high) => (
                (spi << 96) | (u128::from(high) << 64) | (sequence << 32),
                12,
            ),
        };
        let lengths = (aad_len * 8) << 64 | (payload as u128 * 8);
        Some(Lane {
            schedule: packet.key.schedule(),
            aad: aad.to_le_bytes(),
            lengths: lengths.to_le_bytes(),
            body: Cell::new(body),
            icv: Cell::new(icv),
        })
    }

    /// Hands out the body; then there is none any more.
    #[inline]
    pub(crate) fn take_body(&self) -> &'a mut [u8] {
        let (none, body) = self.body.take().split_at_mut(0);
        self.body.set(none);
        body
    }

    /// Writes as much of the tag as the ICV has.
    #[inline]
    pub(crate) fn write_icv(&self, tag: &Block) {
        let icv = self.icv.take();
        match icv.len() {
            16 => write::<16>(icv, tag),
            12 => write::<12>(icv, tag),
            _ => write::<8>(icv, tag),
        }
    }

    /// Compares as much of the tag as the ICV has, in constant time.
    #[inline]
    pub(crate) fn icv_is(&self, tag: &Block) -> bool {
        let icv = self.icv.take();
        let difference = match icv.len() {
            16 => difference::<16>(icv, tag),
            12 => difference::<12>(icv, tag),
            _ => difference::<8>(icv, tag),
        };
        std::hint::black_box(difference) == 0
    }
}

#[inline]
fn write<const N: usize>(icv: &mut [u8], tag: &Block) {
    if let (Some(icv), Some(tag)) = (icv.first_chunk_mut::<N>(), tag.first_chunk()) {
        *icv = *tag;
    }
}

/// All bits in which an ICV of `N` bytes differs from the tag; the words may overlap.
#[inline]
fn difference<const N: usize>(icv: &[u8], tag: &Block) -> u64 {
    let Some(icv) = icv.first_chunk::<N>() else {
        return !0;
    };
    let first = |bytes: &[u8]| bytes.first_chunk().map_or(0, |w| u64::from_ne_bytes(*w));
    let last = |bytes: &[u8]| bytes.last_chunk().map_or(0, |w| u64::from_ne_bytes(*w));
    (first(icv) ^ first(tag)) | (last(icv) ^ last(&tag[..N]))
}

impl<'a> Burst<'a> {
    #[inline]
    pub(crate) fn none(nowhere: &'a mut [u8]) -> Self {
        Burst {
            lanes: Row::new(Lane::none(nowhere)),
            sets: Default::default(),
        }
    }

    /// At most [`BURST`] packets.
    #[inline]
    pub(crate) fn fill<'p: 'a>(&mut self, packets: impl Iterator<Item = EspPacket<'p>>) {
        let sets = &mut self.sets;
        let mut place = 1;
        self.lanes.fill(packets.take(BURST).map(|packet| {
            place <<= 1;
            let key_size = packet.key.size as usize;
            let end = packet.packet.len().wrapping_sub(packet.key.icv_len);
            let Some(lane) = Lane::new(packet) else {
                return Lane::none(&mut []);
            };
            sets[key_size][size(end)] |= place;
            lane
        }));
    }
}

/// Takes up to four places out of a set; their number, and the places. In lieu of missing ones there is place 0.
#[inline]
pub(crate) fn take_quad(set: &mut Set) -> (usize, [usize; QUAD]) {
    let count = (set.count_ones() as usize).min(QUAD);
    (count, [0; QUAD].map(|_| take(set)))
}

/// Like [`take_quad`], out of one set after the other.
#[inline]
pub(crate) fn take_quad_of(sets: &mut [Set]) -> (usize, [usize; QUAD]) {
    let (mut count, mut places) = (0, [0; QUAD]);
    for place in &mut places {
        if let Some(set) = sets.iter_mut().find(|set| **set != 0) {
            *place = take(set);
            count += 1;
        }
    }
    (count, places)
}

/// Takes a place out of a set; 0 if there is none.
#[inline]
fn take(set: &mut Set) -> usize {
    // Behind the last one this is 64, of which 0 is left.
    let place = set.trailing_zeros() as usize % 64;
    *set &= set.wrapping_sub(1);
    place
}
