//! What most packets are: no IP options, no extension headers, no fragment, sound. Only these take the short way
//! through a worker ([`crate::express`]); every other packet, and every doubt, goes the whole way.

use crate::checksum;
use crate::flow::FlowKey;
use crate::ip::{Address, IPV4_HEADER, IPV6_HEADER, IpVersion, protocol};

/// How the plain packets of a version are read, where they lie.
pub(crate) trait Plain {
    /// The header without options, and eight bytes behind it.
    type Head;
    /// The version.
    const VERSION: IpVersion;
    /// Length of the header.
    const HEADER: usize;

    /// The head of `packet`, if it is plain and may travel on. Addresses are not judged: a remembered flow has passed
    /// that.
    fn read(packet: &[u8]) -> Option<&Self::Head>;

    fn total_len(h: &Self::Head) -> usize;
    fn class(h: &Self::Head) -> u8;
    fn hop_limit(h: &Self::Head) -> u8;
    fn protocol(h: &Self::Head) -> u8;
    /// The four bytes behind the header.
    fn payload(h: &Self::Head) -> [u8; 4];
    fn destination(h: &Self::Head) -> Address;
    /// The key of its flow; `path` as [`FlowKey::path`] gives it.
    fn key(h: &Self::Head, path: (u64, u32)) -> FlowKey;
}

/// RFC 791 3.1.
pub(crate) struct V4;

impl Plain for V4 {
    type Head = [u8; IPV4_HEADER + 8];
    const VERSION: IpVersion = IpVersion::V4;
    const HEADER: usize = IPV4_HEADER;

    #[inline(always)]
    fn read(packet: &[u8]) -> Option<&Self::Head> {
        let h: &Self::Head = packet.first_chunk()?;
        let [fixed @ .., _, _, _, _, _, _, _, _] = h;
        let total_len = Self::total_len(h);
        // No options, no offset, no more fragments.
        let plain = h[0] == 0x45
            && u16::from_be_bytes([h[6], h[7]]) & 0x3fff == 0
            && total_len >= h.len()
            && total_len <= packet.len()
            && Self::hop_limit(h) > 1
            && checksum::is_ipv4_header_sound(fixed);
        plain.then_some(h)
    }

    #[inline(always)]
    fn total_len(h: &Self::Head) -> usize {
        usize::from(u16::from_be_bytes([h[2], h[3]]))
    }

    #[inline(always)]
    fn class(h: &Self::Head) -> u8 {
        h[1]
    }

    #[inline(always)]
    fn hop_limit(h: &Self::Head) -> u8 {
        h[8]
    }

    #[inline(always)]
    fn protocol(h: &Self::Head) -> u8 {
        h[9]
    }

    #[inline(always)]
    fn payload(h: &Self::Head) -> [u8; 4] {
        [h[20], h[21], h[22], h[23]]
    }

    #[inline(always)]
    fn destination(h: &Self::Head) -> Address {
        Address::v4([h[16], h[17], h[18], h[19]])
    }

    #[inline(always)]
    fn key(h: &Self::Head, path: (u64, u32)) -> FlowKey {
        let addresses = [h[12], h[13], h[14], h[15], h[16], h[17], h[18], h[19]];
        FlowKey::v4(addresses, h[9], ports(h[9], Self::payload(h)), path)
    }
}

/// RFC 8200 3.
pub(crate) struct V6;

impl Plain for V6 {
    type Head = [u8; IPV6_HEADER + 8];
    const VERSION: IpVersion = IpVersion::V6;
    const HEADER: usize = IPV6_HEADER;

    #[inline(always)]
    fn read(packet: &[u8]) -> Option<&Self::Head> {
        let h: &Self::Head = packet.first_chunk()?;
        let total_len = Self::total_len(h);
        let extension_or_neighbor_discovery = matches!(
            h[6],
            protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::FRAGMENT
                | protocol::DESTINATION_OPTIONS
                | protocol::ICMPV6
        );
        let plain = h[0] >> 4 == 6
            && !extension_or_neighbor_discovery
            && total_len >= h.len()
            && total_len <= packet.len()
            && Self::hop_limit(h) > 1;
        plain.then_some(h)
    }

    #[inline(always)]
    fn total_len(h: &Self::Head) -> usize {
        usize::from(u16::from_be_bytes([h[4], h[5]])) + IPV6_HEADER
    }

    #[inline(always)]
    fn class(h: &Self::Head) -> u8 {
        h[0] << 4 | h[1] >> 4
    }

    #[inline(always)]
    fn hop_limit(h: &Self::Head) -> u8 {
        h[7]
    }

    #[inline(always)]
    fn protocol(h: &Self::Head) -> u8 {
        h[6]
    }

    #[inline(always)]
    fn payload(h: &Self::Head) -> [u8; 4] {
        [h[40], h[41], h[42], h[43]]
    }

    #[inline(always)]
    fn destination(h: &Self::Head) -> Address {
        let (_, rest) = h.split_at(24);
        rest.first_chunk().map_or(Address(0), |b| Address::v6(*b))
    }

    #[inline(always)]
    fn key(h: &Self::Head, path: (u64, u32)) -> FlowKey {
        let (_, rest) = h.split_at(8);
        let addresses = rest.first_chunk().unwrap_or(&[0; 32]);
        let protocol = Self::protocol(h);
        FlowKey::v6(addresses, protocol, ports(protocol, Self::payload(h)), path)
    }
}

/// What [`crate::ip::ports`] says, of a packet that has eight bytes of payload.
#[inline(always)]
fn ports(protocol: u8, payload: [u8; 4]) -> Option<[u8; 4]> {
    match protocol {
        protocol::TCP | protocol::UDP => Some(payload),
        _ => other_ports(protocol, payload),
    }
}

#[inline(never)]
fn other_ports(protocol: u8, payload: [u8; 4]) -> Option<[u8; 4]> {
    match protocol {
        protocol::SCTP | protocol::DCCP => Some(payload),
        protocol::ICMP | protocol::ICMPV6 => Some([payload[0], payload[1], 0, 0]),
        _ => None,
    }
}
