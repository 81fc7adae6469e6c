//! What goes in front of the packets of an outbound ESP tunnel SA, and behind them, built once for each generation
//! of routes and neighbours: for most packets the rest of the work is one copy and a few words.
//!
//! ```text
//! link header | outer IP | UDP | SPI, sequence number | IV | inner packet | padding, pad length, next header | ICV
//! ```

use crate::esp::{ESP_HEADER, TRAILER};
use crate::flow::{Adjacency, Egress};
use crate::ip::IpHeader;
use crate::sa::Shape;
use crate::tunnel::OuterHeader;
use crate::{InterfaceId, NoRoom, PacketBuf};

/// Room for the longest headers: a tagged link header, IPv6, UDP, ESP, an IV of a block.
const ROOM: usize = 96;
/// The longest IV.
pub(crate) const LONGEST_IV: usize = 16;

/// Prebuilt headers of an SA.
#[derive(Debug)]
pub struct Envelope {
    /// The headers, at the end; lengths, class, identification, sequence number and IV are open.
    bytes: [u8; ROOM],
    /// Generation for which it holds; zero for none.
    pub generation: u32,
    /// Longest inner packet that it fits; zero if it fits none.
    pub limit: u32,
    /// Where the packets leave.
    pub interface: InterfaceId,
    /// Offset of the link header in `bytes`.
    start: u8,
    /// Offset of the outer IP header.
    ip_at: u8,
    /// Offset of ESP.
    esp_at: u8,
    /// What is added to an inner packet's length to be a multiple of the SA's alignment, less one.
    mask: u8,
    icv_len: u8,
}

impl Default for Envelope {
    fn default() -> Self {
        Envelope {
            bytes: [0; ROOM],
            generation: 0,
            limit: 0,
            interface: InterfaceId(u16::MAX),
            start: 0,
            ip_at: 0,
            esp_at: 0,
            mask: 0,
            icv_len: 0,
        }
    }
}

/// What is open in an envelope for one packet.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) sequence: u64,
    pub(crate) iv: &'a [u8; LONGEST_IV],
    pub(crate) id: u16,
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
        let mut bytes = [0; ROOM];
        let esp_at = ROOM - shape.iv_len - ESP_HEADER;
        let ip_at = esp_at - outer.len();
        bytes[esp_at..esp_at + 4].copy_from_slice(&spi.to_be_bytes());
        bytes[ip_at..esp_at].copy_from_slice(outer.template());
        let unfit = Envelope::unfit(generation);
        let Egress::Ready(link) = way.egress else {
            return unfit;
        };
        if shape.iv_len > LONGEST_IV || shape.icv_len < 8 {
            return unfit;
        }
        let start = ip_at - usize::from(link.len);
        bytes[ip_at - link.bytes.len()..ip_at].copy_from_slice(&link.bytes);
        Envelope {
            bytes,
            generation,
            limit: limit as u32,
            interface: link.interface,
            start: start as u8,
            ip_at: ip_at as u8,
            esp_at: esp_at as u8,
            mask: (shape.alignment - 1) as u8,
            icv_len: shape.icv_len as u8,
        }
    }

    /// One that fits no packet.
    pub(crate) fn unfit(generation: u32) -> Envelope {
        Envelope {
            generation,
            ..Envelope::default()
        }
    }

    /// Puts an inner packet into the envelope; returns where ESP begins. Only cipher and ICV are missing then
    /// (RFC 4303 3.3).
    #[inline]
    pub(crate) fn close<B: PacketBuf>(
        &self,
        buf: &mut B,
        ip: &IpHeader,
        outer: &OuterHeader,
        letter: &Letter<'_>,
    ) -> Result<usize, NoRoom> {
        let pad = self.append_trailer(buf, ip.version.tunnel_protocol())?;
        let total = buf.len() + ROOM - usize::from(self.ip_at);
        debug_assert!(pad < 256);
        buf.prepend(ROOM)?;
        let front: &mut [u8; ROOM] = buf.data_mut().first_chunk_mut().ok_or(NoRoom)?;
        *front = self.bytes;
        let (ip_at, esp_at) = (usize::from(self.ip_at), usize::from(self.esp_at));
        let header = front.get_mut(ip_at..esp_at).ok_or(NoRoom)?;
        outer.complete(header, total, ip.traffic_class, ip.dont_fragment, letter.id);
        let esp = front.get_mut(esp_at..).ok_or(NoRoom)?;
        let (head, iv) = esp.split_first_chunk_mut::<ESP_HEADER>().ok_or(NoRoom)?;
        head[4..].copy_from_slice(&(letter.sequence as u32).to_be_bytes());
        match iv.len() {
            8 => iv.copy_from_slice(&letter.iv[..8]),
            LONGEST_IV => iv.copy_from_slice(letter.iv),
            n => iv.copy_from_slice(letter.iv.get(..n).ok_or(NoRoom)?),
        }
        buf.trim_front(usize::from(self.start));
        Ok(esp_at - usize::from(self.start))
    }

    /// Padding, pad length, next header, and room for the ICV (RFC 4303 2.4 to 2.8). Returns the pad length.
    #[inline]
    fn append_trailer<B: PacketBuf>(&self, buf: &mut B, next_header: u8) -> Result<usize, NoRoom> {
        let end = buf.len();
        let pad = (end + TRAILER).wrapping_neg() & usize::from(self.mask);
        buf.append(pad + TRAILER + usize::from(self.icv_len))?;
        let tail = buf.data_mut().get_mut(end..).ok_or(NoRoom)?;
        let fill = if pad < 7 { 0 } else { pad };
        for (byte, value) in tail.iter_mut().zip(1..=fill as u8) {
            *byte = value;
        }
        // The last six bytes of padding at most, and the trailer, as one word: an ICV of eight bytes or more
        // follows, so there is room for it.
        let short = pad.min(6);
        let mut word = 0x0006_0504_0302_0100u64 >> 8 & ((1 << (8 * short)) - 1);
        word += (pad - short) as u64 * (0x0101_0101_0101 & ((1 << (8 * short)) - 1));
        word |= (pad as u64 | u64::from(next_header) << 8) << (8 * short);
        let last = tail
            .get_mut(pad - short..)
            .and_then(|t| t.first_chunk_mut());
        *last.ok_or(NoRoom)? = word.to_le_bytes();
        Ok(pad)
    }
}
