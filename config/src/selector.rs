//! Traffic selectors (RFC 4301 4.4.1.1): what of a packet an SPD entry or an SA looks at.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

/// An inclusive range of addresses of one family; `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// First address.
    pub start: IpAddr,
    /// Last address, of the same family.
    pub end: IpAddr,
}

impl AddressRange {
    /// True if `address` is of the range's family and inside it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.start, self.end, address) {
            (IpAddr::V4(s), IpAddr::V4(e), IpAddr::V4(a)) => s <= a && a <= e,
            (IpAddr::V6(s), IpAddr::V6(e), IpAddr::V6(a)) => s <= a && a <= e,
            _ => false,
        }
    }
}

/// An inclusive range of 16 bit ports; `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

/// The next layer's part of a selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpperLayer {
    /// Any protocol, ports not looked at.
    #[default]
    Any,
    /// One IP protocol number, no ports looked at.
    Protocol(u8),
    /// A protocol with ports (TCP 6, UDP 17, DCCP 33, SCTP 132). An empty list is any port.
    Ports {
        /// IP protocol number.
        protocol: u8,
        /// Ports on the local side.
        local: Vec<PortRange>,
        /// Ports on the remote side.
        remote: Vec<PortRange>,
    },
    /// ICMP (1) or ICMPv6 (58) with inclusive ranges of type and code.
    Icmp {
        /// IP protocol number, 1 or 58.
        protocol: u8,
        /// Inclusive range of types.
        types: (u8, u8),
        /// Inclusive range of codes.
        codes: (u8, u8),
    },
}

/// One selector; local is this gateway's side, remote the peer's, whatever the direction of the packet.
/// An empty address list is "any address of either family".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Addresses behind this gateway.
    pub local: Vec<AddressRange>,
    /// Addresses behind the peer.
    pub remote: Vec<AddressRange>,
    /// Protocol, ports, ICMP type and code.
    pub upper: UpperLayer,
}

/// The selector of an SPD entry, in memory that the SAs of the entry have, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedSelector(Arc<[Selector; 1]>);

impl SharedSelector {
    /// All the traffic of an SA that serves this entry alone.
    pub fn alone(&self) -> Arc<[Selector]> {
        self.0.clone()
    }
}

impl From<Selector> for SharedSelector {
    fn from(selector: Selector) -> Self {
        SharedSelector(Arc::new([selector]))
    }
}

impl Deref for SharedSelector {
    type Target = Selector;

    fn deref(&self) -> &Selector {
        let [selector] = &*self.0;
        selector
    }
}
