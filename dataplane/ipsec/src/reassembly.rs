//! Reassembly of IPv4 (RFC 791 3.2, RFC 815) and IPv6 (RFC 8200 4.5) fragments.
//!
//! 1. An atomic fragment stands alone: its header is removed (RFC 6946 4).
//! 2. A fragment of impossible or suspicious size is dropped (RFC 1858, RFC 3128).
//! 3. An exact duplicate is dropped. Any other overlap condemns the packet: what came is dropped, and what still
//!    comes is, until its time is over (RFC 5722 4). IPv4 is held to the same.
//! 4. When no byte is missing, one buffer takes all, under the first fragment's header.

use std::collections::{HashMap, VecDeque};

use arrayvec::ArrayVec;

use crate::esp::LONGEST_TRAILER;
use crate::fragment::FRAGMENT_HEADER;
use crate::ip::{Address, Fragment, IPV4_HEADER, IPV6_HEADER, IpHeader, IpVersion, protocol};
use crate::pipeline::Origin;
use crate::{DropReason, Io, PacketBuf, checksum};

/// Most fragments of one packet.
pub const MAX_FRAGMENTS: usize = 64;
/// RFC 1858 3.3.1: a first fragment that hides TCP's flags is an attack.
const TCP_MINIMUM: usize = 16;
/// Every other upper layer shows its ports, SPI or type in this many bytes.
const UPPER_LAYER_MINIMUM: usize = 8;
const ECN_CE: u8 = 3;

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Reassembled<B> {
    /// It waits for others.
    Held {
        /// Older fragments of the same source that went to `io.discard` to make room
        /// ([`DropReason::FragmentTableFull`]).
        evicted: u32,
    },
    /// The whole packet.
    Complete(B),
    /// It was dropped, perhaps with others.
    Dropped {
        /// Why.
        reason: DropReason,
        /// Buffers that went to `io.discard`, this one included.
        count: u32,
    },
}

/// What fragments of one packet have in common. IPv6 leaves the protocol zero, because fragments may differ in
/// it (RFC 8200 4.5); no IPv4 address equals an IPv6 one, so the version is in it too. The origin keeps a clear
/// fragment from completing an authentic packet, and one SA's from completing another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    source: Address,
    destination: Address,
    id: u32,
    protocol: u8,
}

/// A fragment that waits: bytes `start..end` of the payload, which are at `at` in its buffer.
struct Piece<B> {
    buf: B,
    start: u32,
    end: u32,
    at: u16,
}

impl<B: PacketBuf> Piece<B> {
    fn payload(&self) -> &[u8] {
        let at = usize::from(self.at);
        let len = (self.end - self.start) as usize;
        self.buf.data().get(at..at + len).unwrap_or_default()
    }
}

/// A packet in reassembly.
struct Assembly<B> {
    key: Key,
    /// In order, without overlap.
    pieces: ArrayVec<Piece<B>, MAX_FRAGMENTS>,
    received: u32,
    /// Payload length, once the last fragment is here.
    length: Option<u32>,
    /// Set of ECN codepoints seen.
    ecn: u8,
    /// Fragments overlapped: nothing more is accepted.
    condemned: bool,
}

/// How a fragment fits with the others of its packet.
enum Fit {
    Added,
    Duplicate,
    Impossible,
}

impl<B: PacketBuf> Assembly<B> {
    fn fit(&self, piece: &Piece<B>, last: bool) -> Fit {
        let i = self.pieces.partition_point(|p| p.start < piece.start);
        let behind = self.pieces.get(i);
        let before = i.checked_sub(1).and_then(|i| self.pieces.get(i));
        if let Some(same) = behind.filter(|p| (p.start, p.end) == (piece.start, piece.end)) {
            let as_last = self.length == Some(piece.end);
            return if as_last == last && same.payload() == piece.payload() {
                Fit::Duplicate
            } else {
                Fit::Impossible
            };
        }
        let overlaps = before.is_some_and(|p| p.end > piece.start)
            || behind.is_some_and(|p| p.start < piece.end);
        let beyond = match self.length {
            Some(length) => last || piece.end > length,
            None => last && behind.is_some(),
        };
        if self.condemned || overlaps || beyond || self.pieces.is_full() {
            Fit::Impossible
        } else {
            Fit::Added
        }
    }

    fn add(&mut self, piece: Piece<B>, last: bool, ecn: u8) {
        self.received += piece.end - piece.start;
        self.ecn |= 1 << ecn;
        if last {
            self.length = Some(piece.end);
        }
        let i = self.pieces.partition_point(|p| p.start < piece.start);
        self.pieces.insert(i, piece);
    }

    fn is_complete(&self) -> bool {
        self.length == Some(self.received)
    }

    /// Builds the whole packet.
    fn join<I: Io<Buf = B>>(&self, io: &mut I) -> Result<B, DropReason> {
        let invalid = DropReason::FragmentInvalid;
        let first = self.pieces.first().ok_or(invalid)?;
        let v4 = self.key.source.is_v4();
        let head_len = usize::from(first.at) - if v4 { 0 } else { FRAGMENT_HEADER };
        let head = first.buf.data().get(..head_len).ok_or(invalid)?;
        let total_len = head_len + self.received as usize;
        let length_field = total_len - if v4 { 0 } else { IPV6_HEADER };
        let length_field = u16::try_from(length_field).map_err(|_| invalid)?;
        let ce = self.ecn & 1 << ECN_CE != 0;
        // RFC 3168 5.3: congestion may not be forgotten, nor told to those who do not understand.
        if ce && self.ecn & 1 != 0 {
            return Err(DropReason::EcnInvalid);
        }
        // What was reassembled may still be sealed.
        let room = total_len + LONGEST_TRAILER;
        let mut buf = io.allocate(room).ok_or(DropReason::NoBuffer)?;
        if buf.append(total_len).is_err() {
            io.discard(buf);
            return Err(DropReason::NoRoomInBuffer);
        }
        let packet = buf.data_mut();
        let mut rest = &mut *packet;
        for part in std::iter::once(head).chain(self.pieces.iter().map(Piece::payload)) {
            let Some((front, behind)) = rest.split_at_mut_checked(part.len()) else {
                break;
            };
            front.copy_from_slice(part);
            rest = behind;
        }
        if v4 {
            finish_v4(packet, length_field, ce);
        } else {
            let next = first.buf.data().get(head_len).copied().ok_or(invalid)?;
            finish_v6(packet, head_len, next, length_field);
            if let Some(class) = packet.get_mut(1).filter(|_| ce) {
                *class |= ECN_CE << 4;
            }
        }
        Ok(buf)
    }
}

fn finish_v4(packet: &mut [u8], total_len: u16, ce: bool) {
    let Some(h) = packet.first_chunk_mut::<IPV4_HEADER>() else {
        return;
    };
    [h[2], h[3]] = total_len.to_be_bytes();
    [h[6], h[7]] = [h[6] & 0xc0, 0];
    h[1] |= if ce { ECN_CE } else { 0 };
    h[10..12].fill(0);
    let header_len = usize::from(h[0] & 15) * 4;
    if let Some(head) = packet.get_mut(..header_len) {
        let sum = checksum::checksum(head).to_be_bytes();
        head[10..12].copy_from_slice(&sum);
    }
}

/// Takes the fragment header, which was at `head_len` and named `next`, out of the chain.
fn finish_v6(packet: &mut [u8], head_len: usize, next: u8, payload_length: u16) {
    let (mut at, mut field) = (IPV6_HEADER, 6);
    while at < head_len {
        field = at;
        at += 8 + 8 * usize::from(packet.get(at + 1).copied().unwrap_or(0));
    }
    if let Some(named) = packet.get_mut(field) {
        *named = next;
    }
    if let Some(field) = packet.get_mut(4..6) {
        field.copy_from_slice(&payload_length.to_be_bytes());
    }
}

/// RFC 6946 4: an atomic fragment is a whole packet, whatever others have its identification.
fn remove_fragment_header<B: PacketBuf>(buf: &mut B, header: &IpHeader, place: &Fragment) {
    let at = usize::from(place.header_at);
    buf.truncate(header.total_len as usize);
    let packet = buf.data_mut();
    let Some(&next) = packet.get(at) else {
        return;
    };
    packet.copy_within(..at, FRAGMENT_HEADER);
    buf.trim_front(FRAGMENT_HEADER);
    let payload_length = buf.len() - IPV6_HEADER;
    finish_v6(buf.data_mut(), at, next, payload_length as u16);
}

/// Bytes of payload that a fragment carries, and where they are in it, if its size can be right.
fn measure(header: &IpHeader, place: &Fragment) -> Option<(u16, usize)> {
    let at = match header.version {
        IpVersion::V4 => usize::from(header.header_len),
        IpVersion::V6 => usize::from(place.header_at) + FRAGMENT_HEADER,
    };
    let len = (header.total_len as usize).checked_sub(at)?;
    let before = match header.version {
        IpVersion::V4 => at,
        IpVersion::V6 => at - FRAGMENT_HEADER - IPV6_HEADER,
    };
    let tcp = header.protocol == protocol::TCP;
    let minimum = if tcp {
        TCP_MINIMUM
    } else {
        UPPER_LAYER_MINIMUM
    };
    let suspicious = match place.offset {
        0 => header.payload_len() < minimum,
        // RFC 3128 2: would overwrite TCP's flags.
        8 => tcp,
        _ => false,
    };
    let impossible = len == 0
        || place.more && len % 8 != 0
        || before + usize::from(place.offset) + len > usize::from(u16::MAX);
    (!suspicious && !impossible).then_some((at as u16, len))
}

/// When a packet's first fragment came.
struct Age {
    born: u64,
    source: Address,
    slot: usize,
}

/// Packets in reassembly. All memory is made at the start: room for a number of packets, [`MAX_FRAGMENTS`] each.
pub struct Reassembler<B> {
    slots: Vec<Assembly<B>>,
    free: Vec<usize>,
    /// Slot of each packet, hashed with a random key so that no one can aim for collisions.
    index: HashMap<Key, usize>,
    /// Oldest first.
    ages: VecDeque<Age>,
    timeout_ms: u64,
    held: usize,
}

impl<B: PacketBuf> Reassembler<B> {
    /// For up to `packets` packets at a time, each of which may take `timeout_ms` milliseconds.
    pub fn new(packets: usize, timeout_ms: u64) -> Self {
        let nobody = Key {
            origin: Origin::Local,
            source: Address::default(),
            destination: Address::default(),
            id: 0,
            protocol: 0,
        };
        let slot = |_| Assembly {
            key: nobody,
            pieces: ArrayVec::new(),
            received: 0,
            length: None,
            ecn: 0,
            condemned: false,
        };
        Reassembler {
            slots: (0..packets).map(slot).collect(),
            free: (0..packets).rev().collect(),
            // Half full, the table clears up after removals in place and never grows.
            index: HashMap::with_capacity(2 * packets),
            ages: VecDeque::with_capacity(packets),
            timeout_ms,
            held: 0,
        }
    }

    /// Takes an IP packet that starts at its IP header, and gives back the whole packet if this completes it.
    /// A packet without a fragment's fields is returned as it is.
    pub fn push<I: Io<Buf = B>>(
        &mut self,
        io: &mut I,
        now: u64,
        origin: Origin,
        mut fragment: B,
        header: &IpHeader,
    ) -> Reassembled<B> {
        let Some(place) = header.fragment() else {
            return Reassembled::Complete(fragment);
        };
        if !header.is_fragment() {
            remove_fragment_header(&mut fragment, header, &place);
            return Reassembled::Complete(fragment);
        }
        let Some((at, len)) = measure(header, &place) else {
            return drop_one(io, fragment, DropReason::FragmentInvalid);
        };
        let key = Key {
            origin,
            source: header.source,
            destination: header.destination,
            id: place.id,
            protocol: match header.version {
                IpVersion::V4 => header.protocol,
                IpVersion::V6 => 0,
            },
        };
        let Some((slot, evicted)) = self.find_or_open(io, now, key) else {
            return drop_one(io, fragment, DropReason::FragmentTableFull);
        };
        let start = u32::from(place.offset);
        let piece = Piece {
            buf: fragment,
            start,
            end: start + len as u32,
            at,
        };
        self.insert(
            io,
            slot,
            piece,
            !place.more,
            header.traffic_class & 3,
            evicted,
        )
    }

    fn insert<I: Io<Buf = B>>(
        &mut self,
        io: &mut I,
        slot: usize,
        piece: Piece<B>,
        last: bool,
        ecn: u8,
        evicted: u32,
    ) -> Reassembled<B> {
        let assembly = &mut self.slots[slot];
        match assembly.fit(&piece, last) {
            Fit::Duplicate => drop_one(io, piece.buf, DropReason::FragmentInvalid),
            Fit::Impossible => {
                assembly.condemned = true;
                io.discard(piece.buf);
                let count = 1 + self.discard_pieces(io, slot);
                let reason = DropReason::FragmentInvalid;
                Reassembled::Dropped { reason, count }
            }
            Fit::Added => {
                assembly.add(piece, last, ecn);
                self.held += 1;
                if !assembly.is_complete() {
                    return Reassembled::Held { evicted };
                }
                let whole = assembly.join(io);
                self.ages.retain(|age| age.slot != slot);
                let count = self.close(io, slot);
                match whole {
                    Ok(buf) => Reassembled::Complete(buf),
                    Err(reason) => Reassembled::Dropped { reason, count },
                }
            }
        }
    }

    /// The packet's slot, and how many fragments had to go for it.
    fn find_or_open<I: Io<Buf = B>>(
        &mut self,
        io: &mut I,
        now: u64,
        key: Key,
    ) -> Option<(usize, u32)> {
        if let Some(&slot) = self.index.get(&key) {
            return Some((slot, 0));
        }
        let mut evicted = 0;
        if self.free.is_empty() {
            // A source may crowd out itself, nobody else.
            let oldest = self.ages.iter().position(|age| age.source == key.source)?;
            let age = self.ages.remove(oldest)?;
            evicted = self.close(io, age.slot);
        }
        let slot = self.free.pop()?;
        self.slots[slot].key = key;
        self.index.insert(key, slot);
        self.ages.push_back(Age {
            born: now,
            source: key.source,
            slot,
        });
        Some((slot, evicted))
    }

    /// Frees a slot that is no longer among the ages; returns how many buffers it held.
    fn close<I: Io<Buf = B>>(&mut self, io: &mut I, slot: usize) -> u32 {
        let count = self.discard_pieces(io, slot);
        let assembly = &mut self.slots[slot];
        assembly.received = 0;
        assembly.length = None;
        assembly.ecn = 0;
        assembly.condemned = false;
        self.index.remove(&assembly.key);
        self.free.push(slot);
        count
    }

    fn discard_pieces<I: Io<Buf = B>>(&mut self, io: &mut I, slot: usize) -> u32 {
        let pieces = &mut self.slots[slot].pieces;
        let count = pieces.len();
        pieces.drain(..).for_each(|piece| io.discard(piece.buf));
        self.held -= count;
        count as u32
    }

    /// Drops packets whose time is over; returns how many buffers those were
    /// ([`DropReason::FragmentTimeout`]).
    pub fn expire<I: Io<Buf = B>>(&mut self, io: &mut I, now: u64) -> u32 {
        let mut count = 0;
        while let Some(age) = self.ages.front() {
            if age.born.saturating_add(self.timeout_ms) > now {
                break;
            }
            let slot = age.slot;
            self.ages.pop_front();
            count += self.close(io, slot);
        }
        count
    }

    /// Drops all packets; returns how many buffers those were.
    pub fn clear<I: Io<Buf = B>>(&mut self, io: &mut I) -> u32 {
        let mut count = 0;
        while let Some(age) = self.ages.pop_front() {
            count += self.close(io, age.slot);
        }
        count
    }

    /// Buffers held.
    pub fn held(&self) -> usize {
        self.held
    }
}

fn drop_one<I: Io>(io: &mut I, buf: I::Buf, reason: DropReason) -> Reassembled<I::Buf> {
    io.discard(buf);
    Reassembled::Dropped { reason, count: 1 }
}
