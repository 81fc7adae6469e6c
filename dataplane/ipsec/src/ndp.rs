//! Neighbour Discovery's solicitations and advertisements (RFC 4861 4.3, 4.4), as untagged frames.

use crate::arp::is_station;
use crate::checksum;
use crate::ip::{Address, IPV6_HEADER, IpHeader, IpVersion, protocol};

/// All nodes on the link, `ff02::1`.
pub const ALL_NODES: Address = Address((0xff02 << 112) | 1);

const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Type, code, checksum, flags and target.
const FIXED: usize = 24;
/// RFC 4861 7.1: only packets that no router forwarded arrive with it.
const HOP_LIMIT: u8 = 255;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Who has the target address?
    Solicitation {
        /// Link-layer address of the sender.
        source_mac: Option<[u8; 6]>,
    },
    /// The target has this address.
    Advertisement {
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what is known.
        overrides: bool,
        /// Link-layer address of the target.
        target_mac: Option<[u8; 6]>,
    },
}

/// A Neighbour Discovery message with the addresses of its IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Source address; unspecified while the sender checks for duplicates (RFC 4862 5.4.2).
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// The address it is about.
    pub target: Address,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// Reads an Ethernet frame; `None` if it holds neither message, or one that RFC 4861 7.1.1 or 7.1.2 tells
    /// to discard.
    pub fn parse(frame: &[u8]) -> Option<Message> {
        let (ethernet, packet) = frame.split_first_chunk::<14>()?;
        if ethernet[12..] != ETHERTYPE {
            return None;
        }
        let header = IpHeader::parse(packet).ok()?;
        // RFC 6980 5: never in fragments.
        if header.version != IpVersion::V6
            || header.protocol != protocol::ICMPV6
            || header.hop_limit != HOP_LIMIT
            || header.fragment().is_some()
        {
            return None;
        }
        let message = packet.get(usize::from(header.header_len)..header.total_len as usize)?;
        let (source, destination) = (header.source, header.destination);
        let seed = checksum::pseudo_header(source, destination, message.len(), protocol::ICMPV6);
        if checksum::fold(checksum::sum(seed, message)) != 0xffff {
            return None;
        }
        let (fixed, options) = message.split_first_chunk::<FIXED>()?;
        let &[kind, code, _, _, flags, ..] = fixed;
        let target = Address::v6(*fixed.last_chunk()?);
        if code != 0 || target.is_multicast() || target.is_v4() {
            return None;
        }
        let body = match kind {
            SOLICITATION => Body::Solicitation {
                source_mac: link_layer_address(options, SOURCE_LINK_LAYER)?,
            },
            ADVERTISEMENT => Body::Advertisement {
                router: flags & ROUTER != 0,
                solicited: flags & SOLICITED != 0,
                overrides: flags & OVERRIDE != 0,
                target_mac: link_layer_address(options, TARGET_LINK_LAYER)?,
            },
            _ => return None,
        };
        let message = Message {
            source,
            destination,
            target,
            body,
        };
        message.is_consistent().then_some(message)
    }

    /// The rules of RFC 4861 7.1.1 and 7.1.2 about addresses and flags together.
    fn is_consistent(&self) -> bool {
        match self.body {
            Body::Solicitation { source_mac } => {
                let group = solicited_node(self.target);
                self.source.0 != 0 || source_mac.is_none() && self.destination == group
            }
            Body::Advertisement { solicited, .. } => {
                self.source.0 != 0 && !(self.destination.is_multicast() && solicited)
            }
        }
    }

    /// The Ethernet frame that carries it from `mac` to `destination_mac`.
    pub fn build(&self, mac: [u8; 6], destination_mac: [u8; 6]) -> Vec<u8> {
        let (kind, flags, option, address) = match self.body {
            Body::Solicitation { source_mac } => (SOLICITATION, 0, SOURCE_LINK_LAYER, source_mac),
            Body::Advertisement {
                router,
                solicited,
                overrides,
                target_mac,
            } => {
                let flag = |set, bit| if set { bit } else { 0 };
                let flags =
                    flag(router, ROUTER) | flag(solicited, SOLICITED) | flag(overrides, OVERRIDE);
                (ADVERTISEMENT, flags, TARGET_LINK_LAYER, target_mac)
            }
        };
        let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        message.extend(self.target.v6_bytes());
        if let Some(address) = address {
            message.extend([option, 1]);
            message.extend(address);
        }
        let seed = checksum::pseudo_header(
            self.source,
            self.destination,
            message.len(),
            protocol::ICMPV6,
        );
        let sum = !checksum::fold(checksum::sum(seed, &message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());

        let mut frame = Vec::with_capacity(14 + IPV6_HEADER + message.len());
        frame.extend(destination_mac);
        frame.extend(mac);
        frame.extend(ETHERTYPE);
        frame.extend([0x60, 0, 0, 0]);
        frame.extend((message.len() as u16).to_be_bytes());
        frame.extend([protocol::ICMPV6, HOP_LIMIT]);
        frame.extend(self.source.v6_bytes());
        frame.extend(self.destination.v6_bytes());
        frame.extend(message);
        frame
    }
}

/// The link-layer address in the option `wanted`; `None` if the options are malformed (RFC 4861 7.1: an option
/// of length zero discards the message).
fn link_layer_address(mut options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let mut found = None;
    while !options.is_empty() {
        let &[kind, units] = options.first_chunk()?;
        let len = 8 * usize::from(units);
        let (option, rest) = options.split_at_checked(len).filter(|_| len > 0)?;
        if kind == wanted && len == 8 {
            let mac = *option.last_chunk::<6>()?;
            if !is_station(mac) {
                return None;
            }
            found = Some(mac);
        }
        options = rest;
    }
    Some(found)
}

/// Solicited-node multicast address (RFC 4291 2.7.1): `ff02::1:ff00:0/104` and the low 24 bits.
pub const fn solicited_node(address: Address) -> Address {
    Address((0xff02 << 112) | (1 << 32) | (0xff << 24) | (address.0 & 0x00ff_ffff))
}

/// Ethernet address of an IPv6 multicast group (RFC 2464 7).
pub const fn multicast_mac(group: Address) -> [u8; 6] {
    let [a, b, c, d] = (group.0 as u32).to_be_bytes();
    [0x33, 0x33, a, b, c, d]
}

/// Link-local address with the modified EUI-64 identifier of `mac` (RFC 4291 2.5.6, RFC 2464 4).
pub const fn link_local(mac: [u8; 6]) -> Address {
    let [a, b, c, d, e, f] = mac;
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Address((0xfe80 << 112) | identifier as u128)
}
