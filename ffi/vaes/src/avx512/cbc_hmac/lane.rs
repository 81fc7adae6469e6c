//! The packets that go side by side, and what is derived from each.

use core::arch::x86_64::*;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use super::key::{Key, Schedule};
use crate::avx512::vector::{self, Block, V};

/// Packets that go side by side.
pub(super) const LANES: usize = 32;
/// SPI and sequence number (RFC 4303 2).
const HEADER: usize = 8;
/// Where the payload begins, behind an IV of a block (RFC 3602 3).
const PAYLOAD: usize = HEADER + size_of::<Block>();
/// Block of the hash functions, in bytes, and that of HMAC's key.
const BLOCK: usize = 64;
/// What a hash function is given behind the packet: the high half of an ESN (RFC 4303 2.2.1), and padding; zeros for
/// what is of the packet.
type Tail = [u8; 2 * BLOCK];

/// Up to [`LANES`] packets.
pub(super) struct Lanes<'a> {
    bodies: [Body<'a>; LANES],
    icvs: [&'a mut [u8]; LANES],
    pub(super) schedules: [&'a Schedule; LANES],
    tails: [Tail; LANES],
    /// Blocks that are hashed.
    blocks: [usize; LANES],
    /// Which packet of its burst each is.
    places: [usize; LANES],
    count: usize,
    /// Of the shortest body; nothing until all packets are there.
    shortest: usize,
}

impl<'a> Lanes<'a> {
    #[inline(always)]
    pub(super) fn none() -> Self {
        Lanes {
            bodies: [const { Body::NONE }; LANES],
            icvs: std::array::from_fn(|_| Default::default()),
            schedules: [&Schedule::ZERO; LANES],
            tails: [[0; 2 * BLOCK]; LANES],
            blocks: [0; LANES],
            places: [0; LANES],
            count: 0,
            shortest: 0,
        }
    }

    /// Adds a packet, if there is room and if it has an IV, an ICV, and whole blocks between.
    #[inline]
    pub(super) fn add(
        &mut self,
        place: usize,
        key: &'a Key,
        packet: &'a mut [u8],
        sequence_high: Option<u32>,
    ) -> Option<()> {
        let (lane, body_len) = (self.count, packet.len().checked_sub(key.hash.icv_bytes())?);
        if body_len.checked_sub(PAYLOAD)? % size_of::<Block>() != 0 {
            return None;
        }
        let tail = self.tails.get_mut(lane)?;
        let mut end = body_len % BLOCK;
        if let Some(high) = sequence_high {
            tail.get_mut(end..end + 4)?
                .copy_from_slice(&high.to_be_bytes());
            end += 4;
        }
        // FIPS 180-4 5.1.1: a bit, and the length in bits, that of HMAC's key block included.
        *tail.get_mut(end)? = 0x80;
        let blocks = (end + 1 + 8).div_ceil(BLOCK);
        let bits = (BLOCK + body_len / BLOCK * BLOCK + end) as u64 * 8;
        *tail.get_mut(..BLOCK * blocks)?.last_chunk_mut()? = bits.to_be_bytes();
        self.blocks[lane] = body_len / BLOCK + blocks;
        let (body, icv) = packet.split_at_mut(body_len);
        (self.bodies[lane], self.icvs[lane]) = (Body::new(body), icv);
        self.schedules[lane] = key.schedule();
        self.places[lane] = place;
        (self.count, self.shortest) = (lane + 1, 0);
        Some(())
    }

    /// To be called when all packets are there. Where there is none, what is computed of whole blocks is computed of
    /// the first one again, which is sooner than to ask each time whether there is one.
    pub(super) fn complete(&mut self) {
        let (bodies, none) = self.bodies.split_at_mut(self.count);
        self.shortest = bodies.iter().map(|body| body.len).min().unwrap_or(0);
        if let Some(first) = bodies.first() {
            none.fill_with(|| Body { len: 0, ..*first });
            let (schedules, none) = self.schedules.split_at_mut(self.count);
            none.fill(schedules[0]);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Blocks of a packet that are hashed.
    pub(super) fn blocks(&self, lane: usize) -> usize {
        self.blocks[lane]
    }

    /// Those that are all of the packet.
    pub(super) fn whole_blocks(&self, lane: usize) -> &[[u8; BLOCK]] {
        self.bodies[lane].bytes().as_chunks().0
    }

    /// The most blocks that are hashed of a packet.
    pub(super) fn most_blocks(&self) -> usize {
        self.blocks.iter().copied().max().unwrap_or(0)
    }

    /// The most parts of 64 bytes that a payload has.
    pub(super) fn most_parts(&self) -> usize {
        let longest = self.bodies.iter().map(|body| body.len).max().unwrap_or(0);
        longest.saturating_sub(PAYLOAD).div_ceil(BLOCK)
    }

    /// The lanes that have so many blocks to hash, a bit each; where there is no packet, any.
    #[inline]
    pub(super) fn with_block(&self, step: usize) -> u32 {
        if self.blocks_are_whole(step) {
            return !0;
        }
        let bit = |(i, blocks): (usize, &usize)| u32::from(*blocks > step) << i;
        self.blocks.iter().enumerate().map(bit).sum()
    }

    /// Of the first packet, where there is none.
    pub(super) fn iv(&self, lane: usize) -> &Block {
        let lane = if lane < self.count { lane } else { 0 };
        let iv = self.bodies[lane].bytes().get(HEADER..);
        iv.and_then(|iv| iv.first_chunk()).unwrap_or(&[0; 16])
    }

    /// Of each packet: which one of the burst it is, the schedule of its key, its IV and payload, and its ICV.
    pub(super) fn each(
        &mut self,
    ) -> impl Iterator<Item = (usize, &Schedule, &Block, &mut [u8], &mut [u8])> {
        let places = self.places.iter().zip(&self.schedules).take(self.count);
        let parts = self.bodies.iter_mut().zip(&mut self.icvs);
        places.zip(parts).map(|((place, schedule), (body, icv))| {
            let behind = body.bytes_mut().get_mut(HEADER..);
            let parts = behind.and_then(|behind| behind.split_first_chunk_mut());
            let (iv, payload): (&Block, &mut [u8]) = match parts {
                Some((iv, payload)) => (iv, payload),
                None => (&[0; 16], &mut []),
            };
            (*place, *schedule, iv, payload, &mut **icv)
        })
    }

    /// Each packet has a `step`th 64 bytes of payload, all of them.
    #[inline]
    pub(super) fn payloads_are_whole(&self, step: usize) -> bool {
        PAYLOAD + BLOCK * (step + 1) <= self.shortest
    }

    /// Each packet has all of its `step`th block to hash.
    #[inline]
    pub(super) fn blocks_are_whole(&self, step: usize) -> bool {
        BLOCK * (step + 1) <= self.shortest
    }

    /// The `step`th 64 bytes of a payload, if those of all payloads are whole.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn payload(&self, lane: usize, step: usize) -> V {
        self.whole_chunk(lane, PAYLOAD + BLOCK * step)
    }

    /// Writes them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn set_payload(&mut self, lane: usize, step: usize, v: V) {
        let start = PAYLOAD + BLOCK * step;
        if self.have_chunk(start) {
            let body = self.bodies[lane].start.as_ptr();
            // SAFETY: `have_chunk` says that they are there.
            let bytes = unsafe { &mut *body.add(start).cast::<[u8; BLOCK]>() };
            vector::store(bytes, v);
        }
    }

    /// The `step`th block to hash of a packet, if that of all packets is whole.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn block(&self, lane: usize, step: usize) -> V {
        self.whole_chunk(lane, BLOCK * step)
    }

    /// All packets have 64 bytes from `start` on, and so has each body in `bodies`: it is that of a packet that is no
    /// shorter than `shortest`, which is nothing until [`complete`](Self::complete) has seen to that.
    #[inline(always)]
    fn have_chunk(&self, start: usize) -> bool {
        let last = self.shortest.checked_sub(BLOCK);
        last.is_some_and(|last| start <= last)
    }

    /// 64 bytes of a packet, if all packets have them; else zeros.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn whole_chunk(&self, lane: usize, start: usize) -> V {
        if !self.have_chunk(start) {
            return vector::zero();
        }
        let body = self.bodies[lane].start.as_ptr();
        // What follows the next part is asked for now: there are more packets than the CPU reads ahead of.
        vector::ask(body.wrapping_add(start + 2 * BLOCK));
        // SAFETY: `have_chunk` says that they are there.
        vector::load(unsafe { &*body.add(start).cast::<[u8; BLOCK]>() })
    }

    /// What there is of the `step`th 64 bytes of a payload.
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn payload_part(&self, lane: usize, step: usize) -> V {
        part(self.bodies[lane].bytes(), PAYLOAD + BLOCK * step)
    }

    /// Writes it.
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn set_payload_part(&mut self, lane: usize, step: usize, v: V) {
        let body = self.bodies[lane].bytes_mut();
        match body.get_mut(PAYLOAD + BLOCK * step..) {
            Some(rest) if !rest.is_empty() => vector::store_part(rest, v),
            _ => {}
        }
    }

    /// The `step`th block to hash, with what the hash function is given behind the packet.
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn block_part(&self, lane: usize, step: usize) -> V {
        let body = self.bodies[lane].bytes();
        let part = part(body, BLOCK * step);
        let tail = step.checked_sub(body.len() / BLOCK);
        let tail = tail.and_then(|n| self.tails[lane].as_chunks().0.get(n));
        tail.map_or(part, |tail| _mm512_or_si512(vector::load(tail), part))
    }
}

/// What there is of 64 bytes, and zeros. (Asking for none may take long: where they are not, there may be no memory.)
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn part(body: &[u8], start: usize) -> V {
    match body.get(start..) {
        Some(rest) if !rest.is_empty() => vector::load_part(rest),
        _ => vector::zero(),
    }
}

/// From the SPI to the end of the payload.
struct Body<'a> {
    start: NonNull<u8>,
    len: usize,
    packet: PhantomData<&'a mut [u8]>,
}

impl<'a> Body<'a> {
    const NONE: Self = Body {
        start: NonNull::dangling(),
        len: 0,
        packet: PhantomData,
    };

    fn new(bytes: &'a mut [u8]) -> Self {
        Body {
            len: bytes.len(),
            start: NonNull::from(bytes).cast(),
            packet: PhantomData,
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: of a packet that is borrowed for 'a, which nothing else reads or writes while this is borrowed; or
        // no bytes.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; bodies that begin alike are of one packet and those behind the first have no bytes.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;
    use crate::cbc_hmac::Kernel;

    #[test]
    fn no_chunk_is_beyond_the_shortest_packet() {
        let Ok(kernel) = Kernel::new() else {
            eprintln!("skipped: no kernel on this CPU");
            return;
        };
        let key = kernel.key(Hash::Sha1, &[1; 16], &[2; 20]).unwrap();
        let icv = Hash::Sha1.icv_bytes();
        for blocks in [0, 1, 3, 4, 10] {
            let shortest = PAYLOAD + 16 * blocks;
            let mut packets = [vec![0; shortest + icv], vec![0; shortest + 320 + icv]];
            let mut another = vec![0; PAYLOAD + icv];
            let mut lanes = Lanes::none();
            assert!(!lanes.have_chunk(0));
            for (place, packet) in packets.iter_mut().enumerate() {
                assert!(lanes.add(place, &key, packet, None).is_some());
            }
            assert!(!lanes.have_chunk(0));
            lanes.complete();
            let starts = (0..shortest + 400).chain(usize::MAX - 200..=usize::MAX);
            for start in starts {
                let is_there = start.checked_add(BLOCK).is_some_and(|end| end <= shortest);
                assert_eq!(lanes.have_chunk(start), is_there, "{shortest} {start}");
            }
            // Until all packets are there again, including this one.
            assert!(lanes.add(2, &key, &mut another, None).is_some());
            assert!(!lanes.have_chunk(0));
        }
    }
}
