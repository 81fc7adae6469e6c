//! AH (RFC 4302): header, and the IP header as the ICV sees it.

use arrayvec::ArrayVec;

use crate::esp::{insert_header, remove_header};
use crate::ip::{IPV4_HEADER, IPV6_HEADER, IpHeader, IpVersion, protocol};
use crate::sa::Shape;
use crate::{DropReason, NoRoom, PacketBuf};

/// Next header, length, reserved, SPI, sequence number.
pub const AH_FIXED: usize = 12;
/// Longest IP header, extension headers included, that AH covers here.
pub const MAX_MASKED: usize = 256;

/// The IP header with its mutable fields zero.
pub type MaskedHeader = ArrayVec<u8, MAX_MASKED>;

impl Shape {
    /// Length of the AH header in a packet of `version`: 32 bit units for IPv4, 64 for IPv6
    /// (RFC 4302 3.3.3.2.1).
    pub fn ah_len(&self, version: IpVersion) -> usize {
        match version {
            IpVersion::V4 => (AH_FIXED + self.icv_len).next_multiple_of(4),
            IpVersion::V6 => (AH_FIXED + self.icv_len).next_multiple_of(8),
        }
    }
}

/// What an AH header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AhHeader {
    /// Next header.
    pub next_header: u8,
    /// Length in bytes.
    pub len: usize,
    /// SPI.
    pub spi: u32,
    /// Low half of the sequence number.
    pub sequence: u32,
}

impl AhHeader {
    /// Reads the AH header at the front of `packet`.
    pub fn parse(packet: &[u8]) -> Result<AhHeader, DropReason> {
        let h = packet
            .first_chunk::<AH_FIXED>()
            .ok_or(DropReason::EspAhMalformed)?;
        let len = (usize::from(h[1]) + 2) * 4;
        if len < AH_FIXED || len > packet.len() {
            return Err(DropReason::EspAhMalformed);
        }
        Ok(AhHeader {
            next_header: h[0],
            len,
            spi: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            sequence: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
        })
    }

    /// The header's length must be its SA's; some senders align to 64 bits in IPv4 too.
    pub fn check(&self, shape: &Shape) -> Result<(), DropReason> {
        let lengths = [shape.ah_len(IpVersion::V4), shape.ah_len(IpVersion::V6)];
        if lengths.contains(&self.len) {
            Ok(())
        } else {
            Err(DropReason::EspAhMalformed)
        }
    }
}

/// Inserts an AH header behind `keep` header bytes and `gap` bytes for an outer header that the caller writes;
/// its ICV field is zero (for GMAC it begins with the IV).
pub fn prepare<B: PacketBuf>(
    buf: &mut B,
    keep: usize,
    gap: usize,
    shape: &Shape,
    header: &AhHeader,
    full_sequence: u64,
) -> Result<(), NoRoom> {
    let ah_len = header.len;
    insert_header(buf, keep, gap + ah_len)?;
    let ah = buf
        .data_mut()
        .get_mut(keep + gap..keep + gap + ah_len)
        .ok_or(NoRoom)?;
    ah.fill(0);
    let (fixed, icv) = ah.split_first_chunk_mut::<AH_FIXED>().ok_or(NoRoom)?;
    fixed[0] = header.next_header;
    fixed[1] = (ah_len / 4 - 2) as u8;
    fixed[4..8].copy_from_slice(&header.spi.to_be_bytes());
    fixed[8..].copy_from_slice(&header.sequence.to_be_bytes());
    if shape.iv_in_icv() {
        if let Some(iv) = icv.first_chunk_mut() {
            *iv = full_sequence.to_be_bytes();
        }
    }
    Ok(())
}

/// Takes AH off in transport mode; the IP header's length and protocol follow.
pub fn strip_transport<B: PacketBuf>(buf: &mut B, ip: &IpHeader, ah: &AhHeader) {
    remove_header(buf, usize::from(ip.header_len), ah.len);
    crate::esp::rewrite_ip(
        buf.data_mut(),
        ip.version,
        usize::from(ip.protocol_at),
        ah.next_header,
    );
}

/// The IP header in front of AH as the ICV covers it (RFC 4302 3.3.3.1, appendix A).
pub fn masked_header(packet: &[u8], ip: &IpHeader) -> Result<MaskedHeader, DropReason> {
    let header = packet
        .get(..usize::from(ip.header_len))
        .ok_or(DropReason::EspAhMalformed)?;
    let mut masked = MaskedHeader::new();
    masked
        .try_extend_from_slice(header)
        .map_err(|_| DropReason::EspAhMalformed)?;
    match ip.version {
        IpVersion::V4 => mask_v4(&mut masked),
        IpVersion::V6 => mask_v6(&mut masked)?,
    }
    Ok(masked)
}

fn mask_v4(header: &mut [u8]) {
    let Some((fixed, mut options)) = header.split_first_chunk_mut::<IPV4_HEADER>() else {
        return;
    };
    fixed[1] = 0; // TOS
    fixed[6..8].fill(0); // flags, fragment offset
    fixed[8] = 0; // TTL
    fixed[10..12].fill(0); // checksum
    while let Some(&kind) = options.first() {
        let len = match kind {
            0 | 1 => 1,
            _ => usize::from(options.get(1).copied().unwrap_or(0)).max(2),
        };
        let Some((option, rest)) = options.split_at_mut_checked(len) else {
            return;
        };
        // RFC 4302 A1: immutable are end, NOP, security, extended and commercial security, router alert,
        // sender directed multi-destination.
        if !matches!(kind, 0 | 1 | 130 | 133 | 134 | 148 | 149) {
            option.fill(0);
        }
        options = rest;
    }
}

fn mask_v6(header: &mut [u8]) -> Result<(), DropReason> {
    let bad = DropReason::Ipv6Extension;
    let (fixed, mut rest) = header.split_first_chunk_mut::<IPV6_HEADER>().ok_or(bad)?;
    let mut kind = fixed[6];
    // Class, flow label, hop limit (RFC 4302 3.3.3.1.2.1).
    fixed[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    fixed[7] = 0;
    while !rest.is_empty() {
        let &[next, len8, ..] = &*rest else {
            return Err(bad);
        };
        let (extension, behind) = rest
            .split_at_mut_checked(8 + 8 * usize::from(len8))
            .ok_or(bad)?;
        if matches!(kind, protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS) {
            mask_v6_options(extension.get_mut(2..).ok_or(bad)?)?;
        }
        (kind, rest) = (next, behind);
    }
    Ok(())
}

/// RFC 4302 3.3.3.1.2.2: the data of an option that may change en route counts as zero.
fn mask_v6_options(mut options: &mut [u8]) -> Result<(), DropReason> {
    while let Some(&kind) = options.first() {
        let len = match kind {
            0 => 1, // Pad1
            _ => 2 + usize::from(*options.get(1).ok_or(DropReason::Ipv6Extension)?),
        };
        let (option, rest) = options
            .split_at_mut_checked(len)
            .ok_or(DropReason::Ipv6Extension)?;
        if kind & 0x20 != 0 {
            if let Some(data) = option.get_mut(2..) {
                data.fill(0);
            }
        }
        options = rest;
    }
    Ok(())
}
