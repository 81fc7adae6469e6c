//! What no rule looks at: the default exemptions of Windows 2000 to Server 2003.

use std::net::{IpAddr, Ipv4Addr};

use crate::rules::Topology;
use crate::rules::topology::{single, whole};
use crate::{AddressRange, Direction, PortRange, Selector, UpperLayer};

/// 224.0.0.0 with mask 240.0.0.0.
pub(crate) const MULTICAST: AddressRange = AddressRange {
    start: IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)),
    end: IpAddr::V4(Ipv4Addr::new(239, 255, 255, 255)),
};
const TCP: u8 = 6;
const UDP: u8 = 17;
const RSVP: u8 = 46;
/// The port of Kerberos.
pub(crate) const KERBEROS: u16 = 88;
const ISAKMP: u16 = 500;

/// Which exemptions there are, as a number from 0, the most, to 3, the fewest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemptions(u8);

/// Something that is exempt.
pub(crate) struct Exempt {
    pub(crate) name: &'static str,
    pub(crate) selector: Selector,
    pub(crate) direction: Option<Direction>,
}

impl Exemptions {
    /// What Windows Server 2003 has if nobody says otherwise: only ISAKMP.
    pub const WS2003: Exemptions = Exemptions(3);

    /// With this number, from 0 to 3.
    pub fn new(number: u8) -> Option<Self> {
        (number <= 3).then_some(Exemptions(number))
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Kerberos and RSVP, at 0 and 2.
    pub(crate) fn has_kerberos(self) -> bool {
        matches!(self.0, 0 | 2)
    }

    /// Multicast and broadcast both ways, at 0 and 1; at 2 and 3 only what comes in.
    fn has_multicast(self) -> bool {
        self.0 < 2
    }

    pub(crate) fn list(self, topology: &Topology) -> Vec<Exempt> {
        let own: Vec<_> = topology.own().map(single).collect();
        let mut list = Vec::new();
        // An empty list of addresses would be any, not none.
        let mut add_own = |name, upper| {
            if !own.is_empty() {
                list.push(Exempt {
                    name,
                    selector: Selector {
                        local: own.clone(),
                        remote: Vec::new(),
                        upper,
                    },
                    direction: None,
                });
            }
        };
        if self.has_kerberos() {
            for (protocol, [client, server]) in [
                (UDP, ["kerberos-udp-client", "kerberos-udp-server"]),
                (TCP, ["kerberos-tcp-client", "kerberos-tcp-server"]),
            ] {
                add_own(client, ports(protocol, None, Some(KERBEROS)));
                add_own(server, ports(protocol, Some(KERBEROS), None));
            }
            add_own("rsvp", UpperLayer::Protocol(RSVP));
        }
        add_own("isakmp", ports(UDP, Some(ISAKMP), Some(ISAKMP)));
        for (to, from, groups) in [
            ("multicast-out", "multicast-in", vec![MULTICAST]),
            ("broadcast-out", "broadcast-in", topology.broadcasts()),
        ] {
            if self.has_multicast() {
                list.push(Exempt {
                    name: to,
                    selector: between(vec![whole(true)], groups.clone()),
                    direction: Some(Direction::Outbound),
                });
            }
            list.push(Exempt {
                name: from,
                selector: between(groups, vec![whole(true)]),
                direction: Some(Direction::Inbound),
            });
        }
        if self.0 == 0 {
            list.push(Exempt {
                name: "ipv6",
                selector: between(vec![whole(false)], vec![whole(false)]),
                direction: None,
            });
        }
        list
    }
}

fn between(local: Vec<AddressRange>, remote: Vec<AddressRange>) -> Selector {
    Selector {
        local,
        remote,
        upper: UpperLayer::Any,
    }
}

fn ports(protocol: u8, local: Option<u16>, remote: Option<u16>) -> UpperLayer {
    let list = |port: Option<u16>| {
        let range = port.map(|port| PortRange {
            start: port,
            end: port,
        });
        range.into_iter().collect()
    };
    UpperLayer::Ports {
        protocol,
        local: list(local),
        remote: list(remote),
    }
}
