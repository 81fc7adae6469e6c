//! ESP (RFC 4303): what goes around the cipher, in both directions.
//!
//! Sealing, RFC 4303 3.3: pad, trailer, header, IV; the engine encrypts and writes the ICV.
//! Opening, RFC 4303 3.4: sizes, replay, the engine verifies and decrypts; trailer and header come off.

use portcullis_config::UdpEncapsulation;

use crate::ip::{IPV4_HEADER, IPV6_HEADER, IpHeader, IpVersion, protocol};
use crate::sa::Shape;
use crate::tunnel::UDP_HEADER;
use crate::{DropReason, NoRoom, PacketBuf, checksum};

/// SPI and sequence number.
pub const ESP_HEADER: usize = 8;
/// Pad length and next header.
pub(crate) const TRAILER: usize = 2;

/// The longest trailer, with ICV: padding to blocks of 16, and 32 bytes of HMAC-SHA2-512-256.
pub(crate) const LONGEST_TRAILER: usize = 15 + TRAILER + 32;

/// RFC 4303 2.4: the default padding.
const PAD: [u8; 256] = {
    let mut pad = [0; 256];
    let mut i = 0;
    while i < 256 {
        pad[i] = (i + 1) as u8;
        i += 1;
    }
    pad
};

impl Shape {
    /// Padding bytes behind `payload` bytes.
    fn padding(&self, payload: usize) -> usize {
        (payload + TRAILER).wrapping_neg() & (self.alignment - 1)
    }

    /// Bytes of an ESP packet, header to ICV, around `payload` bytes.
    pub fn sealed_len(&self, payload: usize) -> usize {
        ESP_HEADER + self.iv_len + payload + self.padding(payload) + TRAILER + self.icv_len
    }

    /// The largest payload whose ESP packet is at most `len` bytes.
    pub fn largest_payload(&self, len: usize) -> usize {
        let room = len.saturating_sub(ESP_HEADER + self.iv_len + self.icv_len);
        (room & !(self.alignment - 1)).saturating_sub(TRAILER)
    }
}

/// What a packet's ESP header and trailer will say.
#[derive(Clone, Copy, Debug)]
pub struct EspFields<'a> {
    /// SPI.
    pub spi: u32,
    /// Sequence number, of which the low half is sent.
    pub sequence: u64,
    /// The IV, `iv_len` bytes.
    pub iv: &'a [u8],
    /// Next header.
    pub next_header: u8,
}

/// Builds an ESP packet around a payload, all but encryption and ICV.
///
/// The buffer holds `keep` bytes of header and then the payload; afterwards it holds those `keep` bytes, `gap`
/// undefined bytes for the caller's outer or UDP header, then the ESP packet.
pub fn prepare<B: PacketBuf>(
    buf: &mut B,
    keep: usize,
    gap: usize,
    shape: &Shape,
    fields: &EspFields<'_>,
) -> Result<(), NoRoom> {
    let payload = buf.len().checked_sub(keep).ok_or(NoRoom)?;
    let pad = shape.padding(payload);
    let end = buf.len();
    buf.append(pad + TRAILER + shape.icv_len)?;
    if let Some(tail) = buf.data_mut().get_mut(end..end + pad + TRAILER) {
        for (to, from) in tail.iter_mut().zip(&PAD[..pad]) {
            *to = *from;
        }
        if let [.., pad_length, next_header] = tail {
            (*pad_length, *next_header) = (pad as u8, fields.next_header);
        }
    }
    insert_header(buf, keep, gap + ESP_HEADER + shape.iv_len)?;
    let header = buf.data_mut().get_mut(keep + gap..).ok_or(NoRoom)?;
    let (front, rest) = header.split_first_chunk_mut::<ESP_HEADER>().ok_or(NoRoom)?;
    front[..4].copy_from_slice(&fields.spi.to_be_bytes());
    front[4..].copy_from_slice(&(fields.sequence as u32).to_be_bytes());
    rest.get_mut(..shape.iv_len)
        .ok_or(NoRoom)?
        .copy_from_slice(fields.iv.get(..shape.iv_len).ok_or(NoRoom)?);
    Ok(())
}

/// Opens a gap of `n` bytes behind the first `keep` bytes.
pub(crate) fn insert_header<B: PacketBuf>(
    buf: &mut B,
    keep: usize,
    n: usize,
) -> Result<(), NoRoom> {
    buf.prepend(n)?;
    if keep > 0 {
        buf.data_mut().copy_within(n..n + keep, 0);
    }
    Ok(())
}

/// Closes a gap of `n` bytes behind the first `keep` bytes.
pub(crate) fn remove_header<B: PacketBuf>(buf: &mut B, keep: usize, n: usize) {
    if keep > 0 && keep + n <= buf.len() {
        buf.data_mut().copy_within(..keep, n);
    }
    buf.trim_front(n);
}

/// Writes the UDP header of RFC 3948 2.1 over `udp_len` bytes; the checksum is zero.
pub fn write_udp(out: &mut [u8], udp: UdpEncapsulation, udp_len: usize) {
    if let Some(header) = out.first_chunk_mut::<UDP_HEADER>() {
        header[..2].copy_from_slice(&udp.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&udp.destination_port.to_be_bytes());
        header[4..6].copy_from_slice(&(udp_len as u16).to_be_bytes());
        header[6..].fill(0);
    }
}

/// Rewrites the length, and the protocol byte at `protocol_at`, of the IP packet that fills `packet`.
pub(crate) fn rewrite_ip(packet: &mut [u8], version: IpVersion, protocol_at: usize, protocol: u8) {
    let total = packet.len();
    if let Some(byte) = packet.get_mut(protocol_at) {
        *byte = protocol;
    }
    match version {
        IpVersion::V4 => {
            let header_len = usize::from(packet.first().map_or(0, |b| b & 15)) * 4;
            if let Some(header) = packet.get_mut(..header_len.max(IPV4_HEADER)) {
                header[2..4].copy_from_slice(&(total as u16).to_be_bytes());
                header[10..12].fill(0);
                let sum = checksum::checksum(header).to_be_bytes();
                header[10..12].copy_from_slice(&sum);
            }
        }
        IpVersion::V6 => {
            if let Some(len) = packet.get_mut(4..6) {
                len.copy_from_slice(&(total.saturating_sub(IPV6_HEADER) as u16).to_be_bytes());
            }
        }
    }
}

/// SPI and low sequence number of the ESP packet at the front of `packet`, if it is long enough for its SA:
/// header, IV, a trailer, ICV, and whole cipher blocks.
#[inline]
pub fn check(packet: &[u8], shape: &Shape) -> Result<u32, DropReason> {
    let header = packet
        .first_chunk::<ESP_HEADER>()
        .ok_or(DropReason::EspAhMalformed)?;
    packet
        .len()
        .checked_sub(ESP_HEADER + shape.iv_len + shape.icv_len)
        .filter(|n| *n >= TRAILER && n & (shape.alignment - 1) == 0)
        .ok_or(DropReason::EspAhMalformed)?;
    Ok(u32::from_be_bytes([
        header[4], header[5], header[6], header[7],
    ]))
}

/// Reads and checks the trailer of an opened ESP packet that fills `packet`:
/// gives the payload's length and the next header (RFC 4303 2.4, 2.6).
#[inline]
pub fn trailer(packet: &[u8], shape: &Shape) -> Result<(usize, u8), DropReason> {
    let body = packet
        .get(ESP_HEADER + shape.iv_len..packet.len().saturating_sub(shape.icv_len))
        .ok_or(DropReason::EspAhMalformed)?;
    let &[ref payload @ .., pad_length, next_header] = body else {
        return Err(DropReason::EspAhMalformed);
    };
    let pad_length = usize::from(pad_length);
    let len = payload
        .len()
        .checked_sub(pad_length)
        .ok_or(DropReason::PaddingInvalid)?;
    // RFC 4303 2.4: the receiver inspects the default padding.
    if !is_default_padding(payload, pad_length) {
        return Err(DropReason::PaddingInvalid);
    }
    if next_header == protocol::NO_NEXT_HEADER {
        return Err(DropReason::DummyPacket);
    }
    Ok((len, next_header))
}

/// True if `payload`, of at least that length, ends in `pad` bytes of 1, 2, 3, ...
#[inline(always)]
fn is_default_padding(payload: &[u8], pad: usize) -> bool {
    match payload.last_chunk() {
        // All that counter modes need, in one word.
        Some(last) if pad < 8 => {
            let found = u64::from_be_bytes(*last) & ((1 << (8 * pad)) - 1);
            found == 0x0001_0203_0405_0607 >> (8 * (7 - pad))
        }
        _ => payload.get(payload.len() - pad..) == PAD.get(..pad),
    }
}

/// Takes ESP off in transport mode: what remains is the IP header and its payload (RFC 4303 3.1.1).
/// `udp` is the length of a UDP header between the IP header and ESP.
pub fn strip_transport<B: PacketBuf>(
    buf: &mut B,
    ip: &IpHeader,
    udp: usize,
    shape: &Shape,
) -> Result<(), DropReason> {
    let header_len = usize::from(ip.header_len);
    let at = header_len + udp;
    let esp = buf.data().get(at..).ok_or(DropReason::EspAhMalformed)?;
    let (payload, next_header) = trailer(esp, shape)?;
    if matches!(next_header, protocol::IPV4 | protocol::IPV6) {
        return Err(DropReason::NextHeaderInvalid);
    }
    let gap = udp + ESP_HEADER + shape.iv_len;
    buf.truncate(header_len + gap + payload);
    remove_header(buf, header_len, gap);
    rewrite_ip(
        buf.data_mut(),
        ip.version,
        usize::from(ip.protocol_at),
        next_header,
    );
    Ok(())
}

/// Takes ESP and the outer header off in tunnel mode: what remains begins with the inner IP header
/// (RFC 4303 3.1.2). `at` is where ESP begins.
pub fn strip_tunnel<B: PacketBuf>(
    buf: &mut B,
    at: usize,
    shape: &Shape,
) -> Result<IpVersion, DropReason> {
    let esp = buf.data().get(at..).ok_or(DropReason::EspAhMalformed)?;
    let (payload, next_header) = trailer(esp, shape)?;
    let version = inner_version(next_header)?;
    let front = at + ESP_HEADER + shape.iv_len;
    buf.truncate(front + payload);
    buf.trim_front(front);
    check_version(buf.data(), version)
}

/// The IP version that a tunnel's next header announces.
pub(crate) fn inner_version(next_header: u8) -> Result<IpVersion, DropReason> {
    match next_header {
        protocol::IPV4 => Ok(IpVersion::V4),
        protocol::IPV6 => Ok(IpVersion::V6),
        _ => Err(DropReason::NextHeaderInvalid),
    }
}

/// The inner packet must be of the version that was announced.
pub(crate) fn check_version(inner: &[u8], version: IpVersion) -> Result<IpVersion, DropReason> {
    match (inner.first().map(|b| b >> 4), version) {
        (Some(4), IpVersion::V4) | (Some(6), IpVersion::V6) => Ok(version),
        _ => Err(DropReason::InnerMalformed),
    }
}
