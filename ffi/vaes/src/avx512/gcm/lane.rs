//! What the kernel knows of each packet of a burst.

use std::cell::Cell;
use std::mem::MaybeUninit;

use super::key::{Core, Key, KeySize, Schedule};
use super::row::Row;
use super::{long, short};
use crate::avx512::vector::Block;
use crate::{BURST, EspPacket};

/// Places, a bit each: packet i of a burst is at place i + 1, and nothing at place 0.
pub(crate) type Set = u64;
/// Packets whose tags are made at a time.
pub(crate) const QUAD: usize = 4;

/// SPI, sequence number and IV (RFC 4106 3.1).
const HEADER: usize = 16;

/// What is derived from one packet. Nothing of it is read soon after it is written: a vector that has been written by
/// words cannot be forwarded to the reader.
#[repr(C, align(64))]
pub(crate) struct Lane<'a, S: 'static> {
    /// The first block that is hashed: the AAD, bytes reversed.
    pub(crate) aad: Block,
    /// The last block that is hashed, bytes reversed.
    pub(crate) lengths: Block,
    pub(crate) schedule: &'a S,
    /// The packet; when the body is taken, the ICV.
    bytes: Cell<&'a mut [u8]>,
    /// From the SPI to the end of the payload.
    body_len: usize,
}

/// The packets of a burst.
pub(crate) struct Burst<'a, S: 'static> {
    pub(crate) lanes: Row<Lane<'a, S>>,
    /// The packets that are treated alike, by key size and by size: short, and long by length. Those too short for IV
    /// and ICV are in none.
    pub(crate) sets: [[Set; SIZES]; KeySize::ALL.len()],
}

/// Short, and long by how many groups of vectors go before the last part: none, 1, ..., or [`long::GROUPS`] and more.
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

impl<'a, S: Schedule> Lane<'a, S> {
    /// In lieu of a packet. Vectors of no bytes are read from and written to `nowhere`: if it were not there, the CPU
    /// would take hundreds of cycles to find that it need not be.
    fn none(nowhere: &'a mut [u8]) -> Self {
        Lane {
            aad: [0; 16],
            lengths: [0; 16],
            schedule: S::NONE,
            bytes: Cell::new(nowhere.split_at_mut(0).0),
            body_len: 0,
        }
    }

    /// `None` if the packet is too short for IV and ICV.
    #[inline(always)]
    fn new(packet: EspPacket<'a, Key<S>>) -> Option<Self> {
        let EspPacket {
            key,
            packet,
            sequence_high,
            ..
        } = packet;
        let body_len = packet.len().wrapping_sub(key.icv_len());
        let payload = packet.len().checked_sub(HEADER + key.icv_len())?;
        let header = u64::from_be_bytes(*packet.first_chunk()?);
        // RFC 4106 5. In a reversed block the first bytes are the high ones.
        let (high, low, aad_len) = match sequence_high {
            None => (header, 0, 8),
            Some(sequence_high) => {
                let high = header >> 32 << 32 | u64::from(sequence_high);
                (high, header << 32, 12)
            }
        };
        let block = |high: u64, low: u64| (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        Some(Lane {
            aad: block(high, low),
            lengths: block(aad_len * 8, payload as u64 * 8),
            schedule: key.schedule(),
            bytes: Cell::new(packet),
            body_len,
        })
    }

    /// What every key has.
    #[inline(always)]
    pub(crate) fn core(&self) -> Core<'a> {
        self.schedule.core()
    }

    /// Hands out the body, once; what is left is the ICV.
    #[inline]
    pub(crate) fn take_body(&self) -> &'a mut [u8] {
        let bytes = self.bytes.take();
        let (body, icv) = bytes
            .split_at_mut_checked(self.body_len)
            .unwrap_or_default();
        self.bytes.set(icv);
        body
    }

    /// Writes as much of the tag as the ICV has.
    #[inline]
    pub(crate) fn write_icv(&self, tag: &Block) {
        let icv = self.bytes.take();
        match icv.len() {
            16 => write::<16>(icv, tag),
            12 => write::<12>(icv, tag),
            _ => write::<8>(icv, tag),
        }
    }

    /// Compares as much of the tag as the ICV has, in constant time.
    #[inline]
    pub(crate) fn icv_is(&self, tag: &Block) -> bool {
        let icv = self.bytes.take();
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

impl<'a, S: Schedule> Burst<'a, S> {
    #[inline]
    pub(crate) fn none(nowhere: &'a mut [u8]) -> Self {
        Burst {
            lanes: Row::new(Lane::none(nowhere)),
            sets: Default::default(),
        }
    }

    /// At most [`BURST`] packets; those that are not there are in no set.
    #[inline]
    pub(crate) fn fill<'p: 'a>(
        &mut self,
        packets: impl Iterator<Item = Option<EspPacket<'p, Key<S>>>>,
    ) {
        let sets = &mut self.sets;
        let mut set: Set = 1;
        // Of packets in a row that are alike, with those: a set in memory would have to wait for the one before.
        let (mut like, mut alike) = ((KeySize::Aes128, 0), 0);
        let packets = packets.take(BURST);
        self.lanes.fill(packets, |place, packet| {
            set <<= 1;
            let lane = packet.and_then(|packet| Some((packet.key.size, Lane::new(packet)?)));
            let Some((key_size, lane)) = lane else {
                return leave_out(place);
            };
            let kind = (key_size, size(lane.body_len));
            if kind != like {
                sets[like.0 as usize][like.1] |= alike;
                (like, alike) = (kind, 0);
            }
            alike |= set;
            place.write(lane)
        });
        sets[like.0 as usize][like.1] |= alike;
    }
}

/// Apart, so that the compiler does not prepare for it with every packet.
#[cold]
#[inline(never)]
fn leave_out<'p, 'a, S: Schedule>(place: &'p mut MaybeUninit<Lane<'a, S>>) -> &'p mut Lane<'a, S> {
    place.write(Lane::none(&mut []))
}

/// Takes up to four places out of a set; their number, and the places. In lieu of missing ones there is place 0.
#[inline]
pub(crate) fn take_quad(set: &mut Set) -> (usize, [usize; QUAD]) {
    let count = (set.count_ones() as usize).min(QUAD);
    (count, [0; QUAD].map(|_| take(set)))
}

/// Takes a place out of the first set that has one.
#[inline]
pub(crate) fn take_of(sets: &mut [Set]) -> Option<usize> {
    sets.iter_mut().find(|set| **set != 0).map(take)
}

/// Takes a place out of a set; 0 if there is none.
#[inline]
fn take(set: &mut Set) -> usize {
    // Behind the last one this is 64, of which 0 is left.
    let place = set.trailing_zeros() as usize % 64;
    *set &= set.wrapping_sub(1);
    place
}
