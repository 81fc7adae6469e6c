//! What goes in front of the packets of an outbound ESP tunnel SA, and behind them, built once for each generation
//! of routes and neighbours: for most packets the rest of the work is one copy and a few words.
//!
//! ```text
//! link header | outer IP | UDP | SPI, sequence number | IV | inner packet | padding, pad length, next header | ICV
//! ```

use crate::esp::{ESP_HEADER, TRAILER};
use crate::flow::{Adjacency, Egress};
use crate::ip::{self, IPV4_HEADER, IpVersion};
use crate::sa::Shape;
use crate::tunnel::{OuterHeader, OuterRules};
use crate::{InterfaceId, NoRoom, PacketBuf};

/// Room for the longest headers: a tagged link header, IPv6, UDP, ESP, an IV of a block.
const ROOM: usize = 96;
/// The longest IV.
pub(crate) const LONGEST_IV: usize = 16;

/// Prebuilt headers of an SA, in two cache lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Envelope {
    /// Generation for which it holds; zero for none.
    pub generation: u32,
    /// Longest inner packet that it fits; zero if it fits none.
    pub limit: u32,
    /// How what is open in the outer header is filled in.
    outer: OuterRules,
    /// Where the packets leave.
    pub interface: InterfaceId,
    /// Length of the headers.
    len: u8,
    /// Offset of the outer IP header.
    ip_at: u8,
    /// Offset of ESP.
    esp_at: u8,
    /// What is added to an inner packet's length to be a multiple of the SA's alignment, less one.
    mask: u8,
    icv_len: u8,
    /// The headers; lengths, class, identification, sequence number and IV are open.
    bytes: [u8; ROOM],
}

impl Default for Envelope {
    fn default() -> Self {
        Envelope {
            generation: 0,
            limit: 0,
            outer: OuterRules::default(),
            interface: InterfaceId(u16::MAX),
            len: 0,
            ip_at: 0,
            esp_at: 0,
            mask: 0,
            icv_len: 0,
            bytes: [0; ROOM],
        }
    }
}

/// An inner packet, and what is open in its envelope.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    /// Length in bytes.
    pub(crate) len: usize,
    pub(crate) sequence: u64,
    /// Identification of an outer IPv4 header.
    pub(crate) id: u16,
    /// An IV that is not the sequence number, at the front.
    pub(crate) iv: Option<&'a [u8; LONGEST_IV]>,
    /// The inner packet is forwarded: its hop limit, which is above one, is decremented (RFC 4301 5.1.2.1 note 3).
    pub(crate) forwarded: bool,
}

impl Envelope {
    /// The headers of an SA whose packets leave by `way`, for inner packets of up to `limit` bytes. They fit no
    /// packet if the neighbour is not known.
    pub(crate) fn new(
        generation: u32,
        limit: usize,
        way: &Adjacency,
        outer: &OuterHeader,
        spi: u32,
        shape: &Shape,
    ) -> Envelope {
        let Egress::Ready(link) = way.egress else {
            return Envelope::unfit(generation);
        };
        if shape.iv_len > LONGEST_IV || shape.icv_len < 8 {
            return Envelope::unfit(generation);
        }
        let ip_at = usize::from(link.len);
        let esp_at = ip_at + outer.len();
        let mut bytes = [0; ROOM];
        link.write(&mut bytes);
        bytes[ip_at..esp_at].copy_from_slice(outer.template());
        bytes[esp_at..esp_at + 4].copy_from_slice(&spi.to_be_bytes());
        Envelope {
            bytes,
            generation,
            limit: limit as u32,
            interface: link.interface,
            len: (esp_at + ESP_HEADER + shape.iv_len) as u8,
            ip_at: ip_at as u8,
            esp_at: esp_at as u8,
            mask: (shape.alignment - 1) as u8,
            icv_len: shape.icv_len as u8,
            outer: outer.rules(),
        }
    }

    /// One that fits no packet.
    pub(crate) fn unfit(generation: u32) -> Envelope {
        Envelope {
            generation,
            ..Envelope::default()
        }
    }

    /// Puts an inner packet of `version` into the envelope: the `letter.len` bytes of `buf` behind the first `skip`,
    /// which go. Returns where ESP begins. Only cipher and ICV are missing then (RFC 4303 3.3). After an error nothing
    /// has changed.
    #[inline(always)]
    pub(crate) fn close<B: PacketBuf>(
        &self,
        buf: &mut B,
        skip: usize,
        version: IpVersion,
        letter: &Letter<'_>,
    ) -> Result<usize, NoRoom> {
        let pad = (letter.len + TRAILER).wrapping_neg() & usize::from(self.mask);
        let front = usize::from(self.len);
        let end = front + letter.len;
        let len = end + pad + TRAILER + usize::from(self.icv_len);
        let packet = buf.reshape(skip as isize - front as isize, len)?;
        let (head, tail) = packet.split_at_mut_checked(end).ok_or(NoRoom)?;
        write_trailer(tail, pad, version.tunnel_protocol())?;
        let (head, inner) = head.split_at_mut_checked(front).ok_or(NoRoom)?;
        let inner: &mut [u8; IPV4_HEADER] = inner.first_chunk_mut().ok_or(NoRoom)?;
        let (class, dont_fragment) = match version {
            IpVersion::V4 => (inner[1], inner[6] & 0x40 != 0),
            IpVersion::V6 => (inner[0] << 4 | inner[1] >> 4, true),
        };
        if letter.forwarded {
            ip::decrement_hop_limit(inner, version);
        }
        copy_front(head, &self.bytes)?;
        let (head, esp) = head
            .split_at_mut_checked(usize::from(self.esp_at))
            .ok_or(NoRoom)?;
        let header = head.get_mut(usize::from(self.ip_at)..).ok_or(NoRoom)?;
        let total = len - usize::from(self.ip_at);
        self.outer
            .complete(header, total, class, dont_fragment, letter.id);
        let (header, iv) = esp.split_first_chunk_mut::<ESP_HEADER>().ok_or(NoRoom)?;
        header[4..].copy_from_slice(&(letter.sequence as u32).to_be_bytes());
        match (letter.iv, iv.first_chunk_mut()) {
            // Counter modes: the sequence number is unique under the key (RFC 4106 3.1).
            (None, Some(counter)) => *counter = letter.sequence.to_be_bytes(),
            (None, None) => {}
            (Some(random), _) => iv.copy_from_slice(random.get(..iv.len()).ok_or(NoRoom)?),
        }
        Ok(usize::from(self.esp_at))
    }
}

/// Copies the front of `bytes` to `front`, which is as long as a link header and an IP header at least: in pieces of
/// fixed length, which may overlap.
#[inline(always)]
fn copy_front(front: &mut [u8], bytes: &[u8; ROOM]) -> Result<(), NoRoom> {
    const PIECE: usize = 32;
    *front.first_chunk_mut().ok_or(NoRoom)? = *bytes.first_chunk::<PIECE>().ok_or(NoRoom)?;
    if front.len() > 2 * PIECE {
        let (to, from) = (front.get_mut(PIECE..), bytes.get(PIECE..));
        let to = to.and_then(|to| to.first_chunk_mut::<PIECE>());
        *to.ok_or(NoRoom)? = *from.and_then(|from| from.first_chunk()).ok_or(NoRoom)?;
    }
    let from = bytes
        .get(front.len() - PIECE..)
        .and_then(|b| b.first_chunk::<PIECE>());
    *front.last_chunk_mut().ok_or(NoRoom)? = *from.ok_or(NoRoom)?;
    Ok(())
}

/// The last bytes of padding, six at most, for each length of padding up to that of a block: 1, 2, 3, ...
const PADDING: [u64; 16] = {
    let mut words = [0; 16];
    let mut pad = 0;
    while pad < 16 {
        let short = if pad < 6 { pad } else { 6 };
        let mut i = 0;
        while i < short {
            words[pad] |= ((pad - short + i + 1) as u64) << (8 * i);
            i += 1;
        }
        words[pad] |= (pad as u64) << (8 * short);
        pad += 1;
    }
    words
};

/// Padding, pad length and next header at the front of `tail` (RFC 4303 2.4 to 2.6); an ICV of eight bytes or more
/// follows, so there is room to write whole words.
#[inline(always)]
fn write_trailer(tail: &mut [u8], pad: usize, next_header: u8) -> Result<(), NoRoom> {
    let short = pad.min(6);
    if pad > short {
        for (byte, value) in tail.iter_mut().zip(1..=pad as u8) {
            *byte = value;
        }
    }
    // The end of the padding and the trailer make one word.
    let word = PADDING[pad & 15] | u64::from(next_header) << (8 * short + 8);
    let last = tail
        .get_mut(pad - short..)
        .and_then(|t| t.first_chunk_mut());
    *last.ok_or(NoRoom)? = word.to_le_bytes();
    Ok(())
}
