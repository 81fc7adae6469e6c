//! ICMP (RFC 792) and ICMPv6 (RFC 4443): errors that the gateway sends, errors that it reads, and echo.

use crate::ip::{Address, IPV4_HEADER, IPV6_HEADER, IpHeader, IpVersion, protocol};
use crate::tunnel::HOP_LIMIT;
use crate::{DropReason, PacketBuf, checksum};

/// Length of the ICMP header in front of what is quoted.
const ICMP_HEADER: usize = 8;
/// RFC 1812 4.3.2.3: the longest IPv4 datagram with an error.
const LONGEST_V4: usize = 576;
/// RFC 4443 2.4 (c): the minimum MTU of IPv6.
const LONGEST_V6: usize = 1280;
/// Internetwork control, as RFC 1812 4.3.2.5 has it for errors.
const TRAFFIC_CLASS: u8 = 0xc0;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// TTL or hop limit exhausted.
    TimeExceeded,
    /// Fragments whose others did not come in time.
    ReassemblyTimeExceeded,
    /// Larger than `mtu` and not to be fragmented (RFC 1191 4, RFC 4443 3.2).
    TooBig {
        /// Largest IP packet, in bytes, that would pass.
        mtu: u32,
    },
    /// Forbidden by policy (RFC 4301 5.1.1, 6.2).
    Prohibited,
    /// No route to the destination.
    NoRoute,
    /// The next hop or the host does not answer.
    HostUnreachable,
    /// Nothing listens on that port.
    PortUnreachable,
}

impl IcmpError {
    /// Type, code and the second word of the ICMP header.
    fn encode(self, version: IpVersion) -> (u8, u8, u32) {
        match version {
            IpVersion::V4 => match self {
                IcmpError::TimeExceeded => (11, 0, 0),
                IcmpError::ReassemblyTimeExceeded => (11, 1, 0),
                IcmpError::TooBig { mtu } => (3, 4, mtu.min(0xffff)),
                IcmpError::Prohibited => (3, 13, 0),
                IcmpError::NoRoute => (3, 0, 0),
                IcmpError::HostUnreachable => (3, 1, 0),
                IcmpError::PortUnreachable => (3, 3, 0),
            },
            IpVersion::V6 => match self {
                IcmpError::TimeExceeded => (3, 0, 0),
                IcmpError::ReassemblyTimeExceeded => (3, 1, 0),
                IcmpError::TooBig { mtu } => (2, 0, mtu),
                IcmpError::Prohibited => (1, 1, 0),
                IcmpError::NoRoute => (1, 0, 0),
                IcmpError::HostUnreachable => (1, 3, 0),
                IcmpError::PortUnreachable => (1, 4, 0),
            },
        }
    }
}

/// No error may be sent about this packet, or its buffer has no room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoError;

/// Turns `buf`, the offending IP packet with header `header`, into an ICMP error about it from `source`.
///
/// It quotes as much of the packet as may be, further back in the buffer: what is in front stays free for the headers that
/// protect the error. The buffer is unchanged where the answer is [`NoError`].
pub fn make_error<B: PacketBuf>(
    buf: &mut B,
    header: &IpHeader,
    error: IcmpError,
    source: Address,
) -> Result<(), NoError> {
    if !may_be_answered(buf.data(), header, error) {
        return Err(NoError);
    }
    if source.is_v4() != (header.version == IpVersion::V4) {
        return Err(NoError);
    }
    let (ip, longest) = match header.version {
        IpVersion::V4 => (IPV4_HEADER, LONGEST_V4),
        IpVersion::V6 => (IPV6_HEADER, LONGEST_V6),
    };
    let headers = ip + ICMP_HEADER;
    let total_len = longest.min(header.total_len as usize + headers);
    let packet = buf.reshape(0, total_len).map_err(|_| NoError)?;
    packet.copy_within(..total_len - headers, headers);
    let Some((head, message)) = packet.split_at_mut_checked(ip) else {
        return Err(NoError);
    };
    write_ip_header(head, header.version, source, header.source, total_len);
    let (kind, code, word) = error.encode(header.version);
    if let Some(h) = message.first_chunk_mut::<ICMP_HEADER>() {
        let [w0, w1, w2, w3] = word.to_be_bytes();
        *h = [kind, code, 0, 0, w0, w1, w2, w3];
    }
    let sum = !checksum::fold(checksum::sum(
        seed(header.version, header.source, source, message.len()),
        message,
    ));
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    Ok(())
}

/// Where the checksum starts: ICMPv6 covers a pseudo-header (RFC 4443 2.3), ICMP does not.
fn seed(version: IpVersion, source: Address, destination: Address, len: usize) -> u64 {
    match version {
        IpVersion::V4 => 0,
        IpVersion::V6 => checksum::pseudo_header(source, destination, len, protocol::ICMPV6),
    }
}

fn write_ip_header(h: &mut [u8], version: IpVersion, from: Address, to: Address, total_len: usize) {
    match version {
        IpVersion::V4 => {
            let Some(h) = h.first_chunk_mut::<IPV4_HEADER>() else {
                return;
            };
            // DF: an atomic datagram needs no identification (RFC 6864 4.1).
            *h = [0; IPV4_HEADER];
            (h[0], h[1], h[6]) = (0x45, TRAFFIC_CLASS, 0x40);
            [h[2], h[3]] = (total_len as u16).to_be_bytes();
            (h[8], h[9]) = (HOP_LIMIT, protocol::ICMP);
            h[12..16].copy_from_slice(&from.v4_bytes());
            h[16..20].copy_from_slice(&to.v4_bytes());
            let sum = checksum::checksum(h);
            [h[10], h[11]] = sum.to_be_bytes();
        }
        IpVersion::V6 => {
            let Some(h) = h.first_chunk_mut::<IPV6_HEADER>() else {
                return;
            };
            *h = [0; IPV6_HEADER];
            (h[0], h[1]) = (0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4);
            [h[4], h[5]] = ((total_len - IPV6_HEADER) as u16).to_be_bytes();
            (h[6], h[7]) = (protocol::ICMPV6, HOP_LIMIT);
            h[8..24].copy_from_slice(&from.v6_bytes());
            h[24..40].copy_from_slice(&to.v6_bytes());
        }
    }
}

/// RFC 1122 3.2.2, RFC 1812 4.3.2.7 and RFC 4443 2.4 (e): about which packets no error may be sent.
fn may_be_answered(packet: &[u8], header: &IpHeader, error: IcmpError) -> bool {
    if header.fragment().is_some_and(|f| f.offset != 0) {
        return false;
    }
    let source = header.source;
    let kind = packet.get(usize::from(header.header_len)).copied();
    match header.version {
        IpVersion::V4 => {
            // Neither the unspecified address, class D and E, nor the broadcast address names one host.
            let [s, ..] = source.v4_bytes();
            let [d, ..] = header.destination.v4_bytes();
            // An ICMP packet too short to tell its type may be an error.
            let about_error = header.protocol == protocol::ICMP
                && kind.is_none_or(|k| is_error(k, header.version));
            (1..224).contains(&s) && s != 127 && d < 224 && !about_error
        }
        IpVersion::V6 => {
            const REDIRECT: u8 = 137;
            let about_error = header.protocol == protocol::ICMPV6
                && kind.is_none_or(|k| is_error(k, header.version) || k == REDIRECT);
            // RFC 4443 2.4 (e.3): path MTU discovery works for multicast too.
            let to_many = header.destination.is_multicast();
            let told_anyway = matches!(error, IcmpError::TooBig { .. });
            source.0 > 1 && !source.is_multicast() && (!to_many || told_anyway) && !about_error
        }
    }
}

fn is_error(kind: u8, version: IpVersion) -> bool {
    match version {
        // Unreachable, source quench, redirect, time exceeded, parameter problem.
        IpVersion::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        // RFC 4443 2.1: errors have the high bit clear.
        IpVersion::V6 => kind < 128,
    }
}

/// The ICMP message of a whole packet, if its checksum is right.
fn message<'a>(packet: &'a [u8], header: &IpHeader) -> Option<&'a [u8]> {
    let expected = match header.version {
        IpVersion::V4 => protocol::ICMP,
        IpVersion::V6 => protocol::ICMPV6,
    };
    if header.protocol != expected || header.is_fragment() {
        return None;
    }
    let message = packet.get(usize::from(header.header_len)..header.total_len as usize)?;
    let seed = seed(
        header.version,
        header.source,
        header.destination,
        message.len(),
    );
    let intact = checksum::fold(checksum::sum(seed, message)) == 0xffff;
    (intact && message.len() >= ICMP_HEADER).then_some(message)
}

/// Turns an echo request into its reply in place: addresses swapped, TTL 64, checksums right.
///
/// Options and extension headers stay as they are.
pub fn echo_reply(packet: &mut [u8], header: &IpHeader) -> Result<(), DropReason> {
    let (request, reply) = match header.version {
        IpVersion::V4 => (8, 0),
        IpVersion::V6 => (128, 129),
    };
    let message = message(packet, header).ok_or(DropReason::IcmpMalformed)?;
    if message.get(..2) != Some(&[request, 0]) {
        return Err(DropReason::NoListener);
    }
    // The reply would have to come from the group's address.
    if header.destination.is_multicast() {
        return Err(DropReason::Multicast);
    }
    let (head, message) = packet
        .split_at_mut_checked(usize::from(header.header_len))
        .ok_or(DropReason::IpMalformed)?;
    if let Some(h) = message.first_chunk_mut::<ICMP_HEADER>() {
        // Swapped addresses leave the pseudo-header's sum as it is.
        let [from, to] = [request, reply].map(|kind| u16::from_be_bytes([kind, 0]));
        [h[2], h[3]] = checksum::update([h[2], h[3]], from, to);
        h[0] = reply;
    }
    match header.version {
        IpVersion::V4 => {
            let h: &mut [u8; IPV4_HEADER] =
                head.first_chunk_mut().ok_or(DropReason::IpMalformed)?;
            let (source, destination) = h[12..20].split_at_mut(4);
            source.swap_with_slice(destination);
            h[8] = HOP_LIMIT;
            h[10..12].fill(0);
            let sum = checksum::checksum(head).to_be_bytes();
            if let Some(field) = head.get_mut(10..12) {
                field.copy_from_slice(&sum);
            }
        }
        IpVersion::V6 => {
            let h: &mut [u8; IPV6_HEADER] =
                head.first_chunk_mut().ok_or(DropReason::IpMalformed)?;
            let (source, destination) = h[8..40].split_at_mut(16);
            source.swap_with_slice(destination);
            h[7] = HOP_LIMIT;
        }
    }
    Ok(())
}

/// What a received ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotedKind {
    /// The packet was too big. Routers older than RFC 1191 leave `mtu` zero.
    TooBig {
        /// Next hop's MTU.
        mtu: u32,
    },
    /// Destination unreachable.
    Unreachable,
    /// TTL, hop limit or time for reassembly exceeded.
    TimeExceeded,
    /// Any other error.
    Other,
}

/// A received ICMP error and the front of the packet that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedError<'a> {
    /// What happened.
    pub kind: QuotedKind,
    /// The quoted packet from its IP header, as far as quoted.
    pub quoted: &'a [u8],
}

/// Reads an ICMP error; `None` if it is none, or its checksum is wrong.
pub fn parse_error<'a>(packet: &'a [u8], header: &IpHeader) -> Option<QuotedError<'a>> {
    let (&[kind, code, _, _, w0, w1, w2, w3], quoted) =
        message(packet, header)?.split_first_chunk::<ICMP_HEADER>()?;
    if !is_error(kind, header.version) {
        return None;
    }
    let kind = match (header.version, kind, code) {
        (IpVersion::V4, 3, 4) => QuotedKind::TooBig {
            mtu: u32::from(u16::from_be_bytes([w2, w3])),
        },
        (IpVersion::V6, 2, _) => QuotedKind::TooBig {
            mtu: u32::from_be_bytes([w0, w1, w2, w3]),
        },
        (IpVersion::V4, 3, _) | (IpVersion::V6, 1, _) => QuotedKind::Unreachable,
        (IpVersion::V4, 11, _) | (IpVersion::V6, 3, _) => QuotedKind::TimeExceeded,
        _ => QuotedKind::Other,
    };
    Some(QuotedError { kind, quoted })
}

/// A token bucket that bounds how many errors are sent (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)).
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Tokens of a thousandth of a message, so that `per_second` of them come in each millisecond.
    tokens: u64,
    per_second: u64,
    full: u64,
    last: u64,
}

impl RateLimit {
    const COST: u64 = 1000;

    /// `per_second` messages on average, at most `burst` at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let full = u64::from(burst) * Self::COST;
        RateLimit {
            tokens: full,
            per_second: u64::from(per_second),
            full,
            last: 0,
        }
    }

    /// True if one more may be sent at `now` milliseconds; it is then counted.
    pub fn allow(&mut self, now: u64) -> bool {
        let gained = now
            .saturating_sub(self.last)
            .saturating_mul(self.per_second);
        self.last = self.last.max(now);
        self.tokens = self.tokens.saturating_add(gained).min(self.full);
        let allowed = self.tokens >= Self::COST;
        if allowed {
            self.tokens -= Self::COST;
        }
        allowed
    }
}
