//! What the kernel knows of each packet of a burst.

use std::mem::{self, MaybeUninit};

use super::key::{KeySize, Schedule};
use super::vector::Block;
use super::{long, short};
use crate::EspPacket;

/// Packets of a burst; a bit each in a [`Set`].
pub(crate) const LANES: usize = 32;
pub(crate) type Set = u32;
/// Packets whose tags are made at a time.
pub(crate) const QUAD: usize = 4;

/// SPI, sequence number and IV (RFC 4106 3.1).
const HEADER: usize = 16;

/// One packet.
pub(crate) struct Lane<'a> {
    pub(crate) schedule: &'a Schedule,
    /// SPI, sequence number and IV.
    pub(crate) header: Block,
    /// The first block that is hashed: the AAD, bytes reversed.
    pub(crate) aad: Block,
    /// The last block that is hashed, bytes reversed.
    pub(crate) lengths: Block,
    /// From the SPI to the end of the payload.
    body: &'a mut [u8],
    icv: &'a mut [u8],
}

/// The packets that are treated alike, by key size.
pub(crate) type Sets = [Set; KeySize::ALL.len()];

/// The packets of a burst, and which of them are short, long and jumbo.
pub(crate) struct Lanes<'a> {
    /// The first `len` are there. An array of nothing in lieu of the others would cost more than a small burst.
    lanes: [MaybeUninit<Lane<'a>>; LANES],
    /// From 1 on.
    len: usize,
    pub(crate) short: Sets,
    pub(crate) long: Sets,
    pub(crate) jumbo: Sets,
}

impl<'a> Lane<'a> {
    /// In lieu of a packet.
    fn none() -> Self {
        Lane {
            schedule: &Schedule::ZERO,
            header: [0; 16],
            aad: [0; 16],
            lengths: [0; 16],
            body: &mut [],
            icv: &mut [],
        }
    }

    /// `None` if the packet is too short for IV and ICV.
    #[inline]
    fn new(packet: &'a mut EspPacket<'_>) -> Option<Self> {
        let end = packet.packet.len().checked_sub(packet.key.icv_len)?;
        let (body, icv) = packet.packet.split_at_mut_checked(end)?;
        let header = *body.first_chunk::<HEADER>()?;
        let [spi, sequence, ..] = words(header);
        // RFC 4106 5. In a reversed block the first bytes are the high ones.
        let (aad, aad_len) = match packet.sequence_high {
            None => ((spi << 96) | (sequence << 64), 8),
            Some(high) => (
                (spi << 96) | (u128::from(high) << 64) | (sequence << 32),
                12,
            ),
        };
        let payload = body.len() - HEADER;
        let lengths = (aad_len * 8) << 64 | (payload as u128 * 8);
        Some(Lane {
            schedule: packet.key.schedule(),
            header,
            aad: aad.to_le_bytes(),
            lengths: lengths.to_le_bytes(),
            body,
            icv,
        })
    }

    /// Hands out the body; the lane is then as if it had none.
    #[inline]
    pub(crate) fn take_body(&mut self) -> &'a mut [u8] {
        mem::take(&mut self.body)
    }

    /// Writes as much of the tag as the ICV has.
    #[inline]
    pub(crate) fn write_icv(&mut self, tag: &Block) {
        match self.icv.len() {
            16 => write::<16>(self.icv, tag),
            12 => write::<12>(self.icv, tag),
            _ => write::<8>(self.icv, tag),
        }
    }

    /// Compares as much of the tag as the ICV has, in constant time.
    #[inline]
    pub(crate) fn icv_is(&self, tag: &Block) -> bool {
        let difference = match self.icv.len() {
            16 => difference::<16>(self.icv, tag),
            12 => difference::<12>(self.icv, tag),
            _ => difference::<8>(self.icv, tag),
        };
        std::hint::black_box(difference) == 0
    }
}

#[inline]
fn words(header: Block) -> [u128; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = header;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]]
        .map(|word| u128::from(u32::from_be_bytes(word)))
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

impl<'a> Lanes<'a> {
    /// At most [`LANES`] packets. Those too short for IV and ICV are in no set.
    #[inline]
    pub(crate) fn new(packets: &'a mut [EspPacket<'_>]) -> Self {
        let mut lanes = Lanes {
            lanes: [const { MaybeUninit::uninit() }; LANES],
            len: 1,
            short: Sets::default(),
            long: Sets::default(),
            jumbo: Sets::default(),
        };
        lanes.lanes[0].write(Lane::none());
        for (i, (packet, place)) in packets.iter_mut().zip(&mut lanes.lanes).enumerate() {
            let key_size = packet.key.size as usize;
            let lane = Lane::new(packet);
            lanes.len = i + 1;
            let Some(lane) = lane else {
                place.write(Lane::none());
                continue;
            };
            let body = lane.body.len();
            let sets = if body <= short::LIMIT {
                &mut lanes.short
            } else if body <= long::LIMIT {
                &mut lanes.long
            } else {
                &mut lanes.jumbo
            };
            sets[key_size] |= 1 << i;
            place.write(lane);
        }
        lanes
    }

    #[inline]
    pub(crate) fn at(&self, place: usize) -> &Lane<'a> {
        let lane = &self.lanes[self.clamp(place)];
        // SAFETY: the place is one of the first `len`, which are written.
        unsafe { lane.assume_init_ref() }
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, place: usize) -> &mut Lane<'a> {
        let place = self.clamp(place);
        // SAFETY: the place is one of the first `len`, which are written.
        unsafe { self.lanes[place].assume_init_mut() }
    }

    /// A place that is there, without a branch that would part what goes together.
    #[inline]
    fn clamp(&self, place: usize) -> usize {
        place.min(self.len - 1) % LANES
    }
}

/// Takes up to four packets out of a set; their number, and their places. In lieu of missing ones there is the last
/// one again.
#[inline]
pub(crate) fn take_quad(set: &mut Set) -> (usize, [usize; QUAD]) {
    let mut places = [0; QUAD];
    let mut count = 0;
    let mut last = 0;
    for place in &mut places {
        if *set != 0 {
            last = set.trailing_zeros() as usize;
            *set &= *set - 1;
            count += 1;
        }
        *place = last;
    }
    (count, places)
}
