//! IPv4 and IPv6 headers: what the gateway must know of a packet, read once and checked once.
//!
//! After [`IpHeader::parse`] every offset in an [`IpHeader`] lies inside the packet it was read from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{DropReason, checksum};

/// IP protocol numbers this crate acts on (IANA).
pub mod protocol {
    /// IPv6 hop-by-hop options (RFC 8200 4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// IPv4 in IP: tunnel mode's next header (RFC 4303 2.6).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// IPv6 in IP: tunnel mode's next header.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ESP (RFC 4303).
    pub const ESP: u8 = 50;
    /// AH (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// No next header (RFC 8200 4.7); ESP's dummy packet (RFC 4303 2.6).
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// Length of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Length of an IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Longest chain of IPv6 extension headers that is followed, in headers.
const MAX_EXTENSION_HEADERS: usize = 8;

/// An address of either family in one comparable word: IPv4 is mapped into `::ffff:0:0/96` (RFC 4291 2.5.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u128);

const V4_MAPPED: u128 = 0xffff << 32;

impl Address {
    /// True for an IPv4 address.
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// The standard library's form.
    pub const fn to_ip(self) -> IpAddr {
        if self.is_v4() {
            IpAddr::V4(Ipv4Addr::from_bits(self.0 as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(self.0))
        }
    }

    /// From four bytes in network order.
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Address(V4_MAPPED | u32::from_be_bytes(bytes) as u128)
    }

    /// From sixteen bytes in network order.
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Address(u128::from_be_bytes(bytes))
    }

    /// An IPv4 address's four bytes (the low four of an IPv6 one).
    pub const fn v4_bytes(self) -> [u8; 4] {
        (self.0 as u32).to_be_bytes()
    }

    /// An IPv6 address's sixteen bytes.
    pub const fn v6_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// IPv4 class D or IPv6 `ff00::/8`.
    pub const fn is_multicast(self) -> bool {
        if self.is_v4() {
            (self.0 as u32) >> 28 == 0xe
        } else {
            self.0 >> 120 == 0xff
        }
    }

    /// IPv6 link-local unicast, `fe80::/10`.
    pub const fn is_v6_link_local(self) -> bool {
        !self.is_v4() && self.0 >> 118 == 0x3fa
    }

    /// May be a source address on the wire: not unspecified, loopback, multicast or broadcast,
    /// and not an IPv4-mapped one in an IPv6 header (RFC 1812 5.3.7, RFC 4291 2.5.5.2).
    #[inline]
    pub(crate) fn is_valid_source(self, version: IpVersion) -> bool {
        match version {
            IpVersion::V4 => {
                let a = self.0 as u32;
                a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 0xe
            }
            IpVersion::V6 => !self.is_v4() && self.0 > 1 && !self.is_multicast(),
        }
    }

    /// May be a destination on the wire: not unspecified or loopback, no IPv4-mapped one in an IPv6 header.
    #[inline]
    pub(crate) fn is_valid_destination(self, version: IpVersion) -> bool {
        match version {
            IpVersion::V4 => (self.0 as u32) >> 24 != 0 && (self.0 as u32) >> 24 != 127,
            IpVersion::V6 => !self.is_v4() && self.0 > 1,
        }
    }
}

impl From<IpAddr> for Address {
    fn from(a: IpAddr) -> Self {
        match a {
            IpAddr::V4(a) => Address::v4(a.octets()),
            IpAddr::V6(a) => Address::v6(a.octets()),
        }
    }
}

/// IP version of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// Next header value under which ESP and AH carry such a packet in tunnel mode.
    pub const fn tunnel_protocol(self) -> u8 {
        match self {
            IpVersion::V4 => protocol::IPV4,
            IpVersion::V6 => protocol::IPV6,
        }
    }

    /// Ethernet type.
    pub const fn ethertype(self) -> u16 {
        match self {
            IpVersion::V4 => 0x0800,
            IpVersion::V6 => 0x86dd,
        }
    }
}

/// A packet's place in a fragmented one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of the payload in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
    /// IPv6: offset of the fragment header in the packet; IPv4: 0.
    pub header_at: u16,
}

/// A [`Fragment`] or none in one word: headers are copied a lot, and a word is copied at a stroke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FragmentField(u64);

impl FragmentField {
    const PRESENT: u64 = 1;
    const MORE: u64 = 2;
    /// Offsets are multiples of eight.
    const OFFSET: u64 = 0xfff8;

    #[inline]
    fn new(place: Fragment) -> Self {
        let flags = Self::PRESENT | if place.more { Self::MORE } else { 0 };
        let offset = u64::from(place.offset) & Self::OFFSET;
        FragmentField(flags | offset | u64::from(place.header_at) << 16 | u64::from(place.id) << 32)
    }

    #[inline]
    fn get(self) -> Option<Fragment> {
        (self.0 & Self::PRESENT != 0).then_some(Fragment {
            offset: (self.0 & Self::OFFSET) as u16,
            more: self.0 & Self::MORE != 0,
            id: (self.0 >> 32) as u32,
            header_at: (self.0 >> 16) as u16,
        })
    }
}

/// What a packet's IP header, and an IPv6 chain of extension headers, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpHeader {
    /// Version.
    pub version: IpVersion,
    /// TOS octet or traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// IPv4's DF bit; always true for IPv6, which routers never fragment.
    pub dont_fragment: bool,
    /// Bytes up to the payload of `protocol`: options and extension headers included.
    pub header_len: u16,
    /// Length of the whole packet in bytes.
    pub total_len: u32,
    /// The payload's protocol: the first header that is no extension header, or ESP or AH.
    pub protocol: u8,
    /// Offset of the byte that names `protocol`.
    pub protocol_at: u16,
    fragment: FragmentField,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
}

fn be16(p: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*p.get(at..)?.first_chunk()?))
}

fn ipv6_total_len(packet: &[u8]) -> Option<usize> {
    Some(IPV6_HEADER + usize::from(be16(packet, 4)?))
}

impl IpHeader {
    /// Reads the IP header of a packet that an ICMP error quotes, of which the end may be missing (RFC 792):
    /// `total_len` is the length that is there. Neither checksum nor addresses are checked.
    pub fn parse_quoted(quoted: &[u8]) -> Option<IpHeader> {
        let mut header = IpHeader::default();
        match quoted.first()? >> 4 {
            4 => {
                header.read_v4(quoted.first_chunk()?).ok()?;
                header.total_len = header.total_len.min(quoted.len() as u32);
                (u32::from(header.header_len) <= header.total_len).then_some(header)
            }
            6 => {
                let total_len = ipv6_total_len(quoted)?;
                let there = quoted.get(..total_len).unwrap_or(quoted);
                header.read_v6(there).ok()?;
                Some(header)
            }
            _ => None,
        }
    }

    /// Reads and checks the IP header at the front of `packet`; trailing bytes (Ethernet padding) are allowed.
    /// The IPv4 checksum is checked too.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<IpHeader, DropReason> {
        let mut header = IpHeader::default();
        header.read(packet)?;
        Ok(header)
    }

    /// The same into a header that has its place, which after an error holds nothing of use.
    #[inline(always)]
    pub fn read(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        match packet.first().map(|b| b >> 4) {
            Some(4) => self.check_v4(packet)?,
            Some(6) => {
                let total_len = ipv6_total_len(packet).ok_or(DropReason::IpMalformed)?;
                self.read_v6(packet.get(..total_len).ok_or(DropReason::IpMalformed)?)?;
            }
            _ => return Err(DropReason::IpMalformed),
        }
        if self.source.is_valid_source(self.version)
            && self.destination.is_valid_destination(self.version)
        {
            return Ok(());
        }
        // Duplicate address detection speaks from the unspecified address (RFC 4862 5.4.2).
        if self.source.0 == 0
            && self.protocol == protocol::ICMPV6
            && self.destination.is_multicast()
        {
            return Ok(());
        }
        Err(DropReason::IpMartian)
    }

    #[inline(always)]
    fn check_v4(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let fixed = packet.first_chunk().ok_or(DropReason::IpMalformed)?;
        self.read_v4(fixed)?;
        if self.total_len as usize > packet.len() {
            return Err(DropReason::IpMalformed);
        }
        if usize::from(self.header_len) > IPV4_HEADER {
            Self::check_long_v4(packet, usize::from(self.header_len))?;
        } else if !checksum::is_ipv4_header_sound(fixed) {
            return Err(DropReason::IpChecksum);
        }
        Ok(())
    }

    /// Checksum and options of an IPv4 header that is longer than the fixed part.
    #[cold]
    fn check_long_v4(packet: &[u8], header_len: usize) -> Result<(), DropReason> {
        let whole = packet.get(..header_len).ok_or(DropReason::IpMalformed)?;
        if checksum::checksum(whole) != 0 {
            return Err(DropReason::IpChecksum);
        }
        check_options(whole.get(IPV4_HEADER..).unwrap_or_default())
    }

    #[inline(always)]
    fn read_v4(&mut self, h: &[u8; IPV4_HEADER]) -> Result<(), DropReason> {
        let header_len = usize::from(h[0] & 15) * 4;
        let total_len = usize::from(u16::from_be_bytes([h[2], h[3]]));
        if header_len < IPV4_HEADER || total_len < header_len {
            return Err(DropReason::IpMalformed);
        }
        let place = u16::from_be_bytes([h[6], h[7]]);
        let (offset, more) = ((place & 0x1fff) * 8, place & 0x2000 != 0);
        self.fragment = match offset != 0 || more {
            true => FragmentField::new(Fragment {
                offset,
                more,
                id: u32::from(u16::from_be_bytes([h[4], h[5]])),
                header_at: 0,
            }),
            false => FragmentField::default(),
        };
        self.version = IpVersion::V4;
        self.traffic_class = h[1];
        self.hop_limit = h[8];
        self.dont_fragment = place & 0x4000 != 0;
        self.header_len = header_len as u16;
        self.total_len = total_len as u32;
        self.protocol = h[9];
        self.protocol_at = 9;
        self.source = Address::v4([h[12], h[13], h[14], h[15]]);
        self.destination = Address::v4([h[16], h[17], h[18], h[19]]);
        Ok(())
    }

    /// Reads all of `packet`, whatever its length field says.
    #[inline(always)]
    fn read_v6(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let h: &[u8; IPV6_HEADER] = packet.first_chunk().ok_or(DropReason::IpMalformed)?;
        let address = |at: usize| {
            let bytes = h.get(at..).and_then(|a| a.first_chunk());
            bytes.map_or(Address::default(), |bytes| Address::v6(*bytes))
        };
        self.version = IpVersion::V6;
        self.traffic_class = h[0] << 4 | h[1] >> 4;
        self.hop_limit = h[7];
        self.dont_fragment = true;
        self.header_len = IPV6_HEADER as u16;
        self.total_len = packet.len() as u32;
        self.protocol = h[6];
        self.protocol_at = 6;
        self.fragment = FragmentField::default();
        self.source = address(8);
        self.destination = address(24);
        match self.protocol {
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::DESTINATION_OPTIONS => self.follow_extension_headers(packet),
            _ => Ok(()),
        }
    }

    /// Walks the chain of RFC 8200 4 up to the upper layer, ESP or AH.
    fn follow_extension_headers(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let bad = DropReason::Ipv6Extension;
        for seen in 0..=MAX_EXTENSION_HEADERS {
            let at = usize::from(self.header_len);
            let len = match self.protocol {
                // RFC 8200 4.1: hop-by-hop only first.
                protocol::HOP_BY_HOP if seen > 0 => return Err(bad),
                protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => {
                    8 + 8 * usize::from(*packet.get(at + 1).ok_or(bad)?)
                }
                protocol::ROUTING => {
                    let [_, len, kind, left] =
                        *packet.get(at..).and_then(|h| h.first_chunk()).ok_or(bad)?;
                    // RFC 5095: type 0 is a way around every filter.
                    if kind == 0 && left != 0 {
                        return Err(bad);
                    }
                    8 + 8 * usize::from(len)
                }
                // RFC 8200 4.1: at most one; a second would hide what the first says.
                protocol::FRAGMENT if self.fragment().is_some() => return Err(bad),
                protocol::FRAGMENT => {
                    let field = be16(packet, at + 2).ok_or(bad)?;
                    let id = packet
                        .get(at + 4..)
                        .and_then(|h| h.first_chunk())
                        .ok_or(bad)?;
                    self.fragment = FragmentField::new(Fragment {
                        offset: field & 0xfff8,
                        more: field & 1 != 0,
                        id: u32::from_be_bytes(*id),
                        header_at: at as u16,
                    });
                    8
                }
                _ => return Ok(()),
            };
            self.protocol_at = self.header_len;
            self.protocol = *packet.get(at).ok_or(bad)?;
            if at + len > packet.len() {
                return Err(bad);
            }
            self.header_len = u16::try_from(at + len).map_err(|_| bad)?;
            // Behind a later fragment's header comes payload, not a header.
            if self.fragment().is_some_and(|f| f.offset != 0) {
                return Ok(());
            }
        }
        Err(bad)
    }

    /// Set for any part of a fragmented packet, and for atomic fragments (RFC 6946): those have offset 0 and no
    /// more.
    #[inline]
    pub fn fragment(&self) -> Option<Fragment> {
        self.fragment.get()
    }

    /// As if it were no fragment.
    pub(crate) fn forget_fragment(&mut self) {
        self.fragment = FragmentField::default();
    }

    /// The payload's length in bytes.
    pub fn payload_len(&self) -> usize {
        self.total_len as usize - usize::from(self.header_len)
    }

    /// True for a fragment behind whose fragment header come more extension headers: only the first fragment
    /// knows the upper layer.
    pub fn hides_protocol(&self) -> bool {
        let Some(place) = self.fragment().filter(|_| self.version == IpVersion::V6) else {
            return false;
        };
        let extension = matches!(
            self.protocol,
            protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::FRAGMENT
                | protocol::DESTINATION_OPTIONS
        );
        self.is_fragment() && (extension || self.protocol_at != place.header_at)
    }

    /// True for a part of a packet that another part must complete.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment.0 & (FragmentField::MORE | FragmentField::OFFSET) != 0
    }
}

/// Options of an IPv4 header: well-formed, and no source route (RFC 6274 3.13.2.3, RFC 7126).
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => return Ok(()),
            1 => options = rest,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(DropReason::IpOption),
            _ => {
                let len = usize::from(*rest.first().ok_or(DropReason::IpOption)?);
                if len < 2 {
                    return Err(DropReason::IpOption);
                }
                options = options.get(len..).ok_or(DropReason::IpOption)?;
            }
        }
    }
    Ok(())
}

/// Source and destination port, or ICMP type and code, of the payload, as the 32 bits that stand there;
/// `None` for other protocols, later fragments and payloads too short.
#[inline]
pub fn ports(packet: &[u8], header: &IpHeader) -> Option<[u8; 4]> {
    if header.fragment.0 & FragmentField::OFFSET != 0 {
        return None;
    }
    let payload = packet.get(usize::from(header.header_len)..header.total_len as usize)?;
    match header.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP => {
            payload.first_chunk().copied()
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let &[kind, code] = payload.first_chunk()?;
            Some([kind, code, 0, 0])
        }
        _ => None,
    }
}

/// Decrements the TTL or hop limit of the packet at the front of `packet`; the caller has checked that it is
/// above one. IPv4's checksum is updated as RFC 1624 says.
#[inline(always)]
pub fn decrement_hop_limit(packet: &mut [u8], version: IpVersion) {
    match version {
        IpVersion::V4 => {
            if let Some(h) = packet.first_chunk_mut::<IPV4_HEADER>() {
                // TTL, protocol and checksum as one word: bytes one by one take longer.
                let word = u32::from_be_bytes([h[8], h[9], h[10], h[11]]);
                let [.., high, low] = word.to_be_bytes();
                let sum = u32::from(u16::from_be_bytes(checksum::less_one_hop([high, low])));
                let word = (word.wrapping_sub(1 << 24) & 0xffff_0000 | sum).to_be_bytes();
                [h[8], h[9], h[10], h[11]] = word;
            }
        }
        IpVersion::V6 => {
            if let Some(limit) = packet.get_mut(7) {
                *limit = limit.wrapping_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
