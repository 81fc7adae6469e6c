//! What most packets are: no IP options, no extension headers, no fragment, sound. Only these take the short way
//! through a worker ([`crate::express`]); every other packet, and every doubt, goes the whole way.

use crate::checksum;
use crate::flow::{FlowKey, Path};
use crate::ip::{Address, IPV6_HEADER, IpVersion, protocol};

/// All that the short way must know of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plain {
    pub(crate) key: FlowKey,
    pub(crate) total_len: u16,
    pub(crate) class: u8,
    pub(crate) hop_limit: u8,
    pub(crate) protocol: u8,
    pub(crate) version: IpVersion,
    pub(crate) dont_fragment: bool,
}

/// An IPv4 header without options, and eight bytes behind it.
const IPV4: usize = 28;
/// An IPv6 header, and eight bytes behind it.
const IPV6: usize = IPV6_HEADER + 8;

impl Plain {
    /// Reads the packet at the front of `packet`; false if it is not plain. Addresses are not judged: a remembered
    /// flow has passed that.
    #[inline(always)]
    pub(crate) fn read(&mut self, packet: &[u8], path: Path) -> bool {
        match packet.first_chunk::<IPV4>() {
            Some(h) if h[0] == 0x45 => self.read_v4(h, packet.len(), path),
            Some(h) if h[0] >> 4 == 6 => match packet.first_chunk() {
                Some(h) => self.read_v6(h, packet.len(), path),
                None => false,
            },
            _ => false,
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, h: &[u8; IPV4], len: usize, path: Path) -> bool {
        let total_len = u16::from_be_bytes([h[2], h[3]]);
        let place = u16::from_be_bytes([h[6], h[7]]);
        let [fixed @ .., _, _, _, _, _, _, _, _] = h;
        // RFC 791 3.1: offset zero and no more fragments.
        if place & 0x3fff != 0
            || usize::from(total_len) > len
            || usize::from(total_len) < IPV4
            || !checksum::is_ipv4_header_sound(fixed)
        {
            return false;
        }
        self.total_len = total_len;
        self.class = h[1];
        self.hop_limit = h[8];
        self.protocol = h[9];
        self.version = IpVersion::V4;
        self.dont_fragment = place & 0x4000 != 0;
        let source = Address::v4([h[12], h[13], h[14], h[15]]);
        let destination = Address::v4([h[16], h[17], h[18], h[19]]);
        let ports = ports(h[9], [h[20], h[21], h[22], h[23]]);
        self.key = FlowKey::plain(source, destination, h[9], ports, path);
        true
    }

    #[inline(always)]
    fn read_v6(&mut self, h: &[u8; IPV6], len: usize, path: Path) -> bool {
        let payload = u16::from_be_bytes([h[4], h[5]]);
        let total_len = usize::from(payload) + IPV6_HEADER;
        if total_len > len
            || total_len < IPV6
            || total_len > usize::from(u16::MAX)
            || matches!(
                h[6],
                protocol::HOP_BY_HOP
                    | protocol::ROUTING
                    | protocol::FRAGMENT
                    | protocol::DESTINATION_OPTIONS
                    | protocol::ICMPV6 // neighbour discovery among it
            )
        {
            return false;
        }
        self.total_len = total_len as u16;
        self.class = h[0] << 4 | h[1] >> 4;
        self.hop_limit = h[7];
        self.protocol = h[6];
        self.version = IpVersion::V6;
        self.dont_fragment = true;
        let (_, rest) = h.split_at(8);
        let (source, rest) = rest.split_at(16);
        let (destination, rest) = rest.split_at(16);
        let address = |bytes: &[u8]| bytes.first_chunk().map_or(Address(0), |b| Address::v6(*b));
        let ports = ports(h[6], [rest[0], rest[1], rest[2], rest[3]]);
        self.key = FlowKey::plain(address(source), address(destination), h[6], ports, path);
        true
    }
}

/// What [`crate::ip::ports`] says, of a packet that has eight bytes of payload.
#[inline(always)]
fn ports(protocol: u8, payload: [u8; 4]) -> Option<[u8; 4]> {
    match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP => Some(payload),
        protocol::ICMP | protocol::ICMPV6 => Some([payload[0], payload[1], 0, 0]),
        _ => None,
    }
}
