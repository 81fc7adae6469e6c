//! Fragmentation of IPv4 (RFC 791 3.2) and IPv6 (RFC 8200 4.5) packets.

use arrayvec::ArrayVec;

use crate::esp::LONGEST_TRAILER;
use crate::ip::{IPV4_HEADER, IPV6_HEADER, IpHeader, IpVersion, protocol};
use crate::{DropReason, Io, PacketBuf, checksum};

/// Length of an IPv6 fragment header.
pub const FRAGMENT_HEADER: usize = 8;
/// Flag of an IPv4 option that every fragment carries (RFC 791 3.1).
const OPTION_COPIED: u8 = 0x80;
/// The longest IPv4 header.
const IPV4_LONGEST: usize = 60;

/// Cuts `packet`, whose header is `header`, into IP packets of at most `mtu` bytes and hands each to `each`, in
/// order; one that fits is copied whole.
///
/// IPv4 packets may be fragments already; those with DF are refused. IPv6 packets are cut as their source would
/// (only a source may), with identification `id`; IPv4 keeps its own. If buffers run out, what was handed out
/// already stays so.
pub fn fragment<I: Io>(
    io: &mut I,
    packet: &[u8],
    header: &IpHeader,
    mtu: usize,
    id: u32,
    each: &mut impl FnMut(&mut I, I::Buf),
) -> Result<(), DropReason> {
    let packet = packet
        .get(..header.total_len as usize)
        .ok_or(DropReason::IpMalformed)?;
    if packet.len() <= mtu {
        let whole = join(io, &[packet])?;
        each(io, whole);
        return Ok(());
    }
    match header.version {
        IpVersion::V4 => fragment_v4(io, packet, header, mtu, each),
        IpVersion::V6 => fragment_v6(io, packet, header, mtu, id, each),
    }
}

/// A fresh buffer with the bytes of `parts`.
fn join<I: Io>(io: &mut I, parts: &[&[u8]]) -> Result<I::Buf, DropReason> {
    let len = parts.iter().map(|p| p.len()).sum();
    // A fragment may still be sealed.
    let room = len + LONGEST_TRAILER;
    let mut buf = io.allocate(room).ok_or(DropReason::NoBuffer)?;
    if buf.append(len).is_err() {
        io.discard(buf);
        return Err(DropReason::NoRoomInBuffer);
    }
    let mut rest = buf.data_mut();
    for part in parts {
        let Some((front, behind)) = rest.split_at_mut_checked(part.len()) else {
            break;
        };
        front.copy_from_slice(part);
        rest = behind;
    }
    Ok(buf)
}

/// Bytes of payload, a multiple of 8, that fit behind `header_len` bytes; RFC 791 demands room for 8.
fn room(mtu: usize, header_len: usize) -> Result<usize, DropReason> {
    match mtu.saturating_sub(header_len) & !7 {
        0 => Err(DropReason::TooBig),
        room => Ok(room),
    }
}

fn fragment_v4<I: Io>(
    io: &mut I,
    packet: &[u8],
    header: &IpHeader,
    mtu: usize,
    each: &mut impl FnMut(&mut I, I::Buf),
) -> Result<(), DropReason> {
    if header.dont_fragment {
        return Err(DropReason::TooBig);
    }
    let (first, mut payload) = packet
        .split_at_checked(usize::from(header.header_len))
        .ok_or(DropReason::IpMalformed)?;
    let place = header.fragment().unwrap_or_default();
    let mut offset = usize::from(place.offset);
    if offset + payload.len() > usize::from(u16::MAX) {
        return Err(DropReason::FragmentInvalid);
    }
    let mut head: ArrayVec<u8, IPV4_LONGEST> = ArrayVec::new();
    head.try_extend_from_slice(first)
        .map_err(|_| DropReason::IpMalformed)?;
    room(mtu, head.len())?;
    while !payload.is_empty() {
        let fits = mtu - head.len();
        let last = payload.len() <= fits;
        let (part, behind) = payload.split_at(if last { payload.len() } else { fits & !7 });
        let more = !last || place.more;
        complete_v4(&mut head, part.len(), offset, more);
        let buf = join(io, &[&head, part])?;
        each(io, buf);
        payload = behind;
        offset += part.len();
        keep_copied_options(&mut head);
    }
    Ok(())
}

/// Writes the fields that differ from fragment to fragment.
fn complete_v4(head: &mut [u8], payload_len: usize, offset: usize, more: bool) {
    let total_len = (head.len() + payload_len) as u16;
    let words = head.len() / 4;
    let Some(h) = head.first_chunk_mut::<IPV4_HEADER>() else {
        return;
    };
    h[0] = 0x40 | words as u8;
    [h[2], h[3]] = total_len.to_be_bytes();
    [h[6], h[7]] = ((offset / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes();
    h[10..12].fill(0);
    let sum = checksum::checksum(head);
    if let Some(field) = head.get_mut(10..12) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Keeps only the options that belong into every fragment, not just the first (RFC 791 3.1, copied flag).
fn keep_copied_options(head: &mut ArrayVec<u8, IPV4_LONGEST>) {
    if head.len() == IPV4_HEADER {
        return;
    }
    let all = head.clone();
    head.truncate(IPV4_HEADER);
    let mut options = all.get(IPV4_HEADER..).unwrap_or_default();
    while let Some(&kind) = options.first() {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(options.get(1).copied().unwrap_or(0)),
        };
        // The header was parsed: lengths are at least 2 and fit.
        let Some((option, behind)) = options.split_at_checked(len).filter(|_| len > 0) else {
            break;
        };
        if kind & OPTION_COPIED != 0 {
            head.extend(option.iter().copied());
        }
        options = behind;
    }
    while head.len() % 4 != 0 {
        head.push(0);
    }
}

fn fragment_v6<I: Io>(
    io: &mut I,
    packet: &[u8],
    header: &IpHeader,
    mtu: usize,
    id: u32,
    each: &mut impl FnMut(&mut I, I::Buf),
) -> Result<(), DropReason> {
    // Another node's fragments are not ours to cut.
    if header.fragment().is_some() {
        return Err(DropReason::TooBig);
    }
    let (cut, next_at) = per_fragment_headers(packet, header).ok_or(DropReason::Ipv6Extension)?;
    let (head, mut payload) = packet
        .split_at_checked(cut)
        .ok_or(DropReason::Ipv6Extension)?;
    let room = room(mtu, cut + FRAGMENT_HEADER)?;
    // RFC 7112 5: the first fragment holds the whole header chain.
    if usize::from(header.header_len) - cut > room.saturating_sub(8) {
        return Err(DropReason::TooBig);
    }
    let next = *head.get(next_at).ok_or(DropReason::Ipv6Extension)?;
    let mut offset = 0;
    while !payload.is_empty() {
        let last = payload.len() <= mtu - cut - FRAGMENT_HEADER;
        let (part, behind) = payload.split_at(if last { payload.len() } else { room });
        let [o0, o1] = (offset as u16 | u16::from(!last)).to_be_bytes();
        let [i0, i1, i2, i3] = id.to_be_bytes();
        let fragment_header = [next, 0, o0, o1, i0, i1, i2, i3];
        let mut buf = join(io, &[head, &fragment_header, part])?;
        let total_len = buf.len();
        let bytes = buf.data_mut();
        if let Some(at) = bytes.get_mut(next_at) {
            *at = protocol::FRAGMENT;
        }
        if let Some(len) = bytes.get_mut(4..6) {
            len.copy_from_slice(&((total_len - IPV6_HEADER) as u16).to_be_bytes());
        }
        each(io, buf);
        payload = behind;
        offset += part.len();
    }
    Ok(())
}

/// Length of the headers that every fragment repeats, and where their last next header field is: up to the
/// routing header, else the hop-by-hop options, else the IPv6 header (RFC 8200 4.5).
fn per_fragment_headers(packet: &[u8], header: &IpHeader) -> Option<(usize, usize)> {
    let mut found = (IPV6_HEADER, 6);
    let mut at = IPV6_HEADER;
    let mut kind = *packet.get(6)?;
    while at < usize::from(header.header_len) {
        let &[next, len] = packet.get(at..)?.first_chunk()?;
        let end = at + 8 + 8 * usize::from(len);
        if kind == protocol::HOP_BY_HOP || kind == protocol::ROUTING {
            found = (end, at);
        }
        (at, kind) = (end, next);
    }
    Some(found)
}
