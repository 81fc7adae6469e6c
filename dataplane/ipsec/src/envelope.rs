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
/// Most headers fit here, at the end of the room.
const NEAR: usize = 64;
/// In the room, the last places at which an outer header and ESP begin.
const LAST_IP: usize = ROOM - ESP_HEADER - IPV4_HEADER;
const LAST_ESP: usize = ROOM - ESP_HEADER;

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
    spi: u32,
    /// Where the packets leave.
    pub interface: InterfaceId,
    /// Length of the headers.
    len: u8,
    /// Where the outer IP header and ESP begin in the room.
    ip_at: u8,
    esp_at: u8,
    iv_len: u8,
    /// What is added to an inner packet's length to be a multiple of the SA's alignment, less one.
    mask: u8,
    icv_len: u8,
    /// The headers, at the end; lengths, class, identification, ESP and IV are open.
    room: [u8; ROOM],
}

const _: () = assert!(size_of::<Envelope>() == 128);

impl Default for Envelope {
    fn default() -> Self {
        Envelope {
            generation: 0,
            limit: 0,
            outer: OuterRules::default(),
            spi: 0,
            interface: InterfaceId(u16::MAX),
            len: 0,
            ip_at: 0,
            esp_at: 0,
            iv_len: 0,
            mask: 0,
            icv_len: 0,
            room: [0; ROOM],
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
        let len = usize::from(link.len) + outer.len() + ESP_HEADER + shape.iv_len;
        let esp_at = ROOM - shape.iv_len - ESP_HEADER;
        let ip_at = esp_at - outer.len();
        let mut room = [0; ROOM];
        link.write(&mut room[ROOM - len..]);
        room[ip_at..esp_at].copy_from_slice(outer.template());
        Envelope {
            room,
            spi,
            generation,
            limit: limit as u32,
            interface: link.interface,
            len: len as u8,
            ip_at: ip_at as u8,
            esp_at: esp_at as u8,
            iv_len: shape.iv_len as u8,
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
        let body_len = letter.len + pad + TRAILER + usize::from(self.icv_len);
        let (front, body) = buf.wrap::<ROOM>(skip, usize::from(self.len), body_len)?;
        write_trailer(body, letter.len, pad, version)?;
        let inner: &mut [u8; IPV4_HEADER] = body.first_chunk_mut().ok_or(NoRoom)?;
        let (class, dont_fragment) = match version {
            IpVersion::V4 => (inner[1], inner[6] & 0x40 != 0),
            IpVersion::V6 => (inner[0] << 4 | inner[1] >> 4, true),
        };
        if letter.forwarded {
            ip::decrement_hop_limit(inner, version);
        }
        self.write_headers(front);
        // The least is what the place is anyway; so the compiler knows that it is in the room.
        let ip_at = usize::from(self.ip_at).min(LAST_IP);
        let esp_at = usize::from(self.esp_at).min(LAST_ESP);
        let total = ROOM - ip_at + body_len;
        self.outer
            .complete(&mut front[ip_at..], total, class, dont_fragment, letter.id);
        // In one word, as it is soon to be read.
        let header = u64::from(self.spi) << 32 | u64::from(letter.sequence as u32);
        front[esp_at..][..ESP_HEADER].copy_from_slice(&header.to_be_bytes());
        let iv = front.last_chunk_mut::<LONGEST_IV>().ok_or(NoRoom)?;
        match (letter.iv, self.iv_len) {
            // Counter modes: the sequence number is unique under the key (RFC 4106 3.1).
            (None, 8) => iv[8..].copy_from_slice(&letter.sequence.to_be_bytes()),
            (None, _) => {}
            (Some(random), 8) => iv[8..].copy_from_slice(&random[..8]),
            (Some(random), _) => *iv = *random,
        }
        Ok(esp_at + usize::from(self.len) - ROOM)
    }

    /// Writes what is known of the headers: 64 bytes where that is enough, one cache line less of each packet.
    #[inline(always)]
    fn write_headers(&self, front: &mut [u8; ROOM]) {
        match (front.last_chunk_mut::<NEAR>(), self.room.last_chunk()) {
            (Some(front), Some(near)) if usize::from(self.len) <= NEAR => *front = *near,
            _ => *front = self.room,
        }
    }
}

/// The last bytes of padding, six at most, for each length of padding up to that of a block: 1, 2, 3, ..; behind them pad
/// length and next header.
const fn trailers(next_header: u8) -> [u64; 16] {
    let mut words = [0; 16];
    let mut pad = 0;
    while pad < 16 {
        let short = if pad < 6 { pad } else { 6 };
        let mut i = 0;
        while i < short {
            words[pad] |= ((pad - short + i + 1) as u64) << (8 * i);
            i += 1;
        }
        words[pad] |= (pad as u64) << (8 * short) | (next_header as u64) << (8 * short + 8);
        pad += 1;
    }
    words
}

const V4_TRAILERS: [u64; 16] = trailers(IpVersion::V4.tunnel_protocol());
const V6_TRAILERS: [u64; 16] = trailers(IpVersion::V6.tunnel_protocol());

/// The longest padding, and one more.
const PADDING: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Padding, pad length and next header behind the first `at` bytes of `body` (RFC 4303 2.4 to 2.6); an ICV of eight
/// bytes or more follows, so there is room to write whole words.
#[inline(always)]
fn write_trailer(body: &mut [u8], at: usize, pad: usize, version: IpVersion) -> Result<(), NoRoom> {
    let words = match version {
        IpVersion::V4 => &V4_TRAILERS,
        IpVersion::V6 => &V6_TRAILERS,
    };
    let mut end = at;
    if pad > 6 {
        // What is too much of it lies where the rest of the trailer and the ICV will be.
        let padding = body.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
        *padding.ok_or(NoRoom)? = PADDING;
        end += pad - 6;
    }
    let last = body.get_mut(end..).and_then(<[u8]>::first_chunk_mut);
    *last.ok_or(NoRoom)? = words[pad & 15].to_le_bytes();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_length_are_written_whole() {
        for len in 0..=ROOM {
            let envelope = Envelope {
                len: len as u8,
                room: std::array::from_fn(|i| i as u8),
                ..Envelope::default()
            };
            let mut front = [0xff; ROOM];
            envelope.write_headers(&mut front);
            assert_eq!(front[ROOM - len..], envelope.room[ROOM - len..], "{len}");
        }
    }
}
