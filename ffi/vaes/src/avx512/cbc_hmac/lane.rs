//! The packets that go side by side, and what is derived from each.

use core::arch::x86_64::*;

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

/// Up to [`LANES`] packets; where there is none, nothing.
pub(super) struct Lanes<'a> {
    /// From the SPI to the end of the payload.
    bodies: [&'a mut [u8]; LANES],
    icvs: [&'a mut [u8]; LANES],
    pub(super) schedules: [&'a Schedule; LANES],
    tails: [Tail; LANES],
    /// Blocks that are hashed.
    blocks: [usize; LANES],
    /// Which packet of its burst each is.
    places: [usize; LANES],
    count: usize,
    /// Of the shortest body.
    shortest: usize,
}

impl<'a> Lanes<'a> {
    #[inline(always)]
    pub(super) fn none() -> Self {
        Lanes {
            bodies: std::array::from_fn(|_| Default::default()),
            icvs: std::array::from_fn(|_| Default::default()),
            schedules: [&Schedule::ZERO; LANES],
            tails: [[0; 2 * BLOCK]; LANES],
            blocks: [0; LANES],
            places: [0; LANES],
            count: 0,
            shortest: usize::MAX,
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
        (self.bodies[lane], self.icvs[lane]) = packet.split_at_mut(body_len);
        self.schedules[lane] = key.schedule();
        self.places[lane] = place;
        self.count += 1;
        self.shortest = self.shortest.min(body_len);
        Some(())
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
        self.bodies[lane].as_chunks().0
    }

    /// The most blocks that are hashed of a packet.
    pub(super) fn most_blocks(&self) -> usize {
        self.blocks.iter().copied().max().unwrap_or(0)
    }

    /// The most parts of 64 bytes that a payload has.
    pub(super) fn most_parts(&self) -> usize {
        let longest = self.bodies.iter().map(|body| body.len()).max().unwrap_or(0);
        longest.saturating_sub(PAYLOAD).div_ceil(BLOCK)
    }

    /// The lanes that have so many blocks to hash, a bit each.
    #[inline]
    pub(super) fn with_block(&self, step: usize) -> u32 {
        let bit = |(i, blocks): (usize, &usize)| u32::from(*blocks > step) << i;
        self.blocks.iter().enumerate().map(bit).sum()
    }

    pub(super) fn iv(&self, lane: usize) -> &Block {
        let iv = self.bodies[lane].get(HEADER..);
        iv.and_then(|iv| iv.first_chunk()).unwrap_or(&[0; 16])
    }

    /// Of each packet: which one of the burst it is, the schedule of its key, its body and its ICV.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (usize, &Schedule, Body<'_>, &mut [u8])> {
        let places = self.places.iter().zip(&self.schedules).take(self.count);
        let parts = self.bodies.iter_mut().zip(&mut self.icvs);
        let all = places.zip(parts);
        all.map(|((place, schedule), (body, icv))| (*place, *schedule, Body(body), &mut **icv))
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
        if self.has_chunk(lane, start) {
            let body = self.bodies[lane].as_mut_ptr();
            // SAFETY: `has_chunk` says that they are there.
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

    /// All packets have 64 bytes from `start` on, this one among them: no body of the `count` first is shorter than
    /// `shortest`. (To ask each packet takes longer than to read it.)
    #[inline(always)]
    fn has_chunk(&self, lane: usize, start: usize) -> bool {
        let last = self.shortest.checked_sub(BLOCK);
        lane < self.count && last.is_some_and(|last| start <= last)
    }

    /// 64 bytes of a packet, if all packets have them; else zeros.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn whole_chunk(&self, lane: usize, start: usize) -> V {
        if !self.has_chunk(lane, start) {
            return vector::zero();
        }
        // What follows the next part is asked for now: there are more packets than the CPU reads ahead of.
        vector::ask(self.bodies[lane].as_ptr().wrapping_add(start + 2 * BLOCK));
        // SAFETY: `has_chunk` says that they are there.
        vector::load(unsafe { &*self.bodies[lane].as_ptr().add(start).cast::<[u8; BLOCK]>() })
    }

    /// What there is of the `step`th 64 bytes of a payload.
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn payload_part(&self, lane: usize, step: usize) -> V {
        part(self.bodies[lane], PAYLOAD + BLOCK * step)
    }

    /// Writes it.
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn set_payload_part(&mut self, lane: usize, step: usize, v: V) {
        match self.bodies[lane].get_mut(PAYLOAD + BLOCK * step..) {
            Some(rest) if !rest.is_empty() => vector::store_part(rest, v),
            _ => {}
        }
    }

    /// The `step`th block to hash, with what the hash function is given behind the packet.
    #[target_feature(enable = "avx512f,avx512bw,bmi2")]
    pub(super) fn block_part(&self, lane: usize, step: usize) -> V {
        let body = &self.bodies[lane];
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
pub(super) struct Body<'a>(&'a mut [u8]);

impl<'a> Body<'a> {
    pub(super) fn iv_and_payload(self) -> Option<(&'a Block, &'a mut [u8])> {
        let (iv, payload) = self.0.get_mut(HEADER..)?.split_first_chunk_mut()?;
        Some((iv, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;
    use crate::cbc_hmac::Kernel;

    #[test]
    fn no_chunk_is_beyond_the_shortest_packet_or_of_none() {
        let Ok(kernel) = Kernel::new() else {
            eprintln!("skipped: no kernel on this CPU");
            return;
        };
        let key = kernel.key(Hash::Sha1, &[1; 16], &[2; 20]).unwrap();
        let icv = Hash::Sha1.icv_bytes();
        for blocks in [0, 1, 3, 4, 10] {
            let shortest = PAYLOAD + 16 * blocks;
            let mut packets = [vec![0; shortest + icv], vec![0; shortest + 320 + icv]];
            let mut lanes = Lanes::none();
            for (place, packet) in packets.iter_mut().enumerate() {
                assert!(lanes.add(place, &key, packet, None).is_some());
            }
            let starts = (0..shortest + 400).chain(usize::MAX - 200..=usize::MAX);
            for start in starts {
                let is_there = start.checked_add(BLOCK).is_some_and(|end| end <= shortest);
                assert_eq!(lanes.has_chunk(0, start), is_there, "{shortest} {start}");
                assert_eq!(lanes.has_chunk(1, start), is_there, "{shortest} {start}");
                assert!(!lanes.has_chunk(2, start));
                assert!(!lanes.has_chunk(LANES - 1, start));
            }
        }
    }
}
