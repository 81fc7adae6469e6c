//! Interfaces, routes and neighbours as a worker sees them: immutable snapshots.

use std::collections::HashMap;

use ipnet::IpNet;
use portcullis_config::Side;

use crate::InterfaceId;
use crate::ip::Address;

/// An IP interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Side of the IPsec boundary.
    pub side: Side,
    /// Our MAC address on it.
    pub mac: [u8; 6],
    /// 802.1Q tag.
    pub vlan: Option<u16>,
    /// Largest IP packet.
    pub mtu: u16,
    /// Our addresses, in order; the first of a family is the source of ICMP errors.
    pub addresses: Vec<IpNet>,
}

/// Routes and local addresses.
#[derive(Debug, Default)]
pub struct Fib {
    interfaces: Box<[Interface]>,
    /// Prefix lengths in use, longest first, each with its prefixes: (mapped prefix length, prefix -> hop).
    routes: Vec<(u32, HashMap<u128, Hop>)>,
    local: Box<[Address]>,
    broadcast: Box<[Address]>,
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Leaves by this interface.
    pub interface: InterfaceId,
    /// To this neighbour; `None`: the destination itself is on link.
    pub via: Option<Address>,
}

/// A prefix in the mapped address space: IPv4 /n is /(96 + n).
fn mapped(net: &IpNet) -> (u32, u128) {
    let len = u32::from(net.prefix_len()) + if matches!(net, IpNet::V4(_)) { 96 } else { 0 };
    (len, mask(Address::from(net.network()), len))
}

fn mask(address: Address, len: u32) -> u128 {
    address.0 & u128::MAX.checked_shl(128 - len).unwrap_or(0)
}

impl Fib {
    /// Builds the table; connected prefixes come from the interfaces' addresses.
    pub fn new(interfaces: Vec<Interface>, routes: &[(IpNet, Hop)]) -> Self {
        let mut by_length: HashMap<u32, HashMap<u128, Hop>> = HashMap::new();
        let mut insert = |net: &IpNet, hop: Hop| {
            let (len, prefix) = mapped(net);
            by_length.entry(len).or_default().insert(prefix, hop);
        };
        let mut local = Vec::new();
        let mut broadcast = vec![Address::v4([255; 4])];
        for (index, interface) in interfaces.iter().enumerate() {
            for net in &interface.addresses {
                insert(
                    &net.trunc(),
                    Hop {
                        interface: InterfaceId(index as u16),
                        via: None,
                    },
                );
                local.push(Address::from(net.addr()));
                if let IpNet::V4(n) = net {
                    if n.prefix_len() < 31 {
                        broadcast.push(Address::v4(n.broadcast().octets()));
                    }
                }
            }
            if interface
                .addresses
                .iter()
                .any(|n| matches!(n, IpNet::V6(_)))
            {
                local.push(link_local(interface.mac));
            }
        }
        for (net, hop) in routes {
            insert(net, *hop);
        }
        let mut routes: Vec<_> = by_length.into_iter().collect();
        routes.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        Fib {
            interfaces: interfaces.into(),
            routes,
            local: local.into(),
            broadcast: broadcast.into(),
        }
    }

    /// Longest-prefix match.
    pub fn route(&self, destination: Address) -> Option<Hop> {
        let family = 96 * u32::from(destination.is_v4());
        self.routes
            .iter()
            .take_while(|(len, _)| *len >= family)
            .find_map(|(len, prefixes)| prefixes.get(&mask(destination, *len)).copied())
    }

    /// An interface.
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(usize::from(id.0))
    }

    /// All interfaces, in order of their ids.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// One of our own addresses.
    pub fn is_local(&self, address: Address) -> bool {
        self.local.contains(&address)
    }

    /// Limited or directed broadcast.
    pub fn is_broadcast(&self, address: Address) -> bool {
        self.broadcast.contains(&address)
    }

    /// Source address for a packet that this gateway sends out of `interface` to a destination of that family:
    /// the interface's own, else the first one we have.
    pub fn source_address(&self, interface: InterfaceId, v4: bool) -> Option<Address> {
        let of = |i: &Interface| {
            i.addresses
                .iter()
                .map(|n| Address::from(n.addr()))
                .find(|a| a.is_v4() == v4)
        };
        self.interface(interface)
            .and_then(of)
            .or_else(|| self.interfaces.iter().find_map(of))
    }
}

/// The IPv6 link-local address of a station (RFC 4291 appendix A).
pub fn link_local(mac: [u8; 6]) -> Address {
    let [a, b, c, d, e, f] = mac;
    let [g, h, i, j, k, l, m, n] = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Address::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, g, h, i, j, k, l, m, n])
}

/// Known neighbours.
#[derive(Debug, Default)]
pub struct Neighbors(pub HashMap<(InterfaceId, Address), [u8; 6]>);
