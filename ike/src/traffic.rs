//! Traffic as quick mode can say it: one range of addresses a side, one protocol, one port a side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portcullis_config::{AddressRange, PortRange, Selector, UpperLayer};

use crate::core::Path;
use crate::peer_id::PeerId;
use crate::wire::identification::Identification;
use crate::{ChildId, InvalidMessage};

/// What is to be negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The child's name in its connection.
    pub(crate) child: String,
    /// One range a side.
    pub(crate) selector: Selector,
    /// The child that it takes over from.
    pub(crate) replaces: Option<ChildId>,
    /// With whom, where the connection is for more than one peer, and where that one was.
    pub(crate) peer: Option<(PeerId, Path)>,
    /// Where the peer is, if the connection does not say and nothing has been negotiated yet.
    pub(crate) at: Option<Path>,
    /// What quick mode says, if that is more than `selector`.
    pub(crate) said: Option<Selector>,
}

impl Wanted {
    /// What quick mode says.
    pub(crate) fn said(&self) -> &Selector {
        self.said.as_ref().unwrap_or(&self.selector)
    }
}

const ANY_V4: AddressRange = AddressRange {
    start: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    end: IpAddr::V4(Ipv4Addr::BROADCAST),
};
const ANY_V6: AddressRange = AddressRange {
    start: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    end: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
};

/// Protocols with ports (RFC 4301 4.4.1.1).
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

/// Splits a selector into such as quick mode can say: one for each pair of ranges.
pub(crate) fn pieces(selector: &Selector) -> Vec<Selector> {
    let local = or_any(&selector.local);
    let remote = or_any(&selector.remote);
    let pairs = local
        .iter()
        .flat_map(|l| remote.iter().map(move |r| (*l, *r)));
    pairs
        .filter(|(l, r)| l.start.is_ipv4() == r.start.is_ipv4())
        .map(|(l, r)| Selector {
            local: vec![l],
            remote: vec![r],
            upper: selector.upper.clone(),
        })
        .collect()
}

/// The piece that a packet with these addresses needs.
pub(crate) fn piece_for(selector: &Selector, local: IpAddr, remote: IpAddr) -> Option<Selector> {
    let holds = |ranges: &[AddressRange], address| ranges.iter().any(|r| r.contains(address));
    pieces(selector)
        .into_iter()
        .find(|piece| holds(&piece.local, local) && holds(&piece.remote, remote))
}

fn or_any(ranges: &[AddressRange]) -> Vec<AddressRange> {
    match ranges {
        [] => vec![ANY_V4, ANY_V6],
        some => some.to_vec(),
    }
}

/// The identities that say a piece: of our side and of the peer's. `None` if quick mode cannot say it.
pub(crate) fn identities(piece: &Selector) -> Option<(Identification, Identification)> {
    let ([local], [remote]) = (&piece.local[..], &piece.remote[..]) else {
        return None;
    };
    let (protocol, local_port, remote_port) = match &piece.upper {
        UpperLayer::Any => (0, 0, 0),
        UpperLayer::Protocol(protocol) => (*protocol, 0, 0),
        UpperLayer::Ports {
            protocol,
            local,
            remote,
        } => (*protocol, single_port(local)?, single_port(remote)?),
        UpperLayer::Icmp {
            protocol,
            types: (0, 255),
            codes: (0, 255),
        } => (*protocol, 0, 0),
        UpperLayer::Icmp { .. } => return None,
    };
    Some((
        Identification::of_traffic(*local, protocol, local_port),
        Identification::of_traffic(*remote, protocol, remote_port),
    ))
}

/// 0 is any port.
fn single_port(ports: &[PortRange]) -> Option<u16> {
    match ports {
        [] => Some(0),
        [all] if (all.start, all.end) == (0, u16::MAX) => Some(0),
        [one] if one.start == one.end && one.start != 0 => Some(one.start),
        _ => None,
    }
}

/// What identities of our side and of the peer's say.
pub(crate) fn selector(
    local: &Identification,
    remote: &Identification,
) -> Result<Selector, InvalidMessage> {
    // Some say the protocol on one side only; zero is any.
    let protocol = match (local.protocol, remote.protocol) {
        (0, other) | (other, 0) => other,
        (one, other) if one == other => one,
        _ => return Err(InvalidMessage::Identification),
    };
    let port = |port: u16| match port {
        0 => Vec::new(),
        port => vec![PortRange {
            start: port,
            end: port,
        }],
    };
    let upper = match (protocol, local.port, remote.port) {
        (0, 0, 0) => UpperLayer::Any,
        (protocol, 0, 0) => UpperLayer::Protocol(protocol),
        (protocol, l, r) if WITH_PORTS.contains(&protocol) => UpperLayer::Ports {
            protocol,
            local: port(l),
            remote: port(r),
        },
        _ => return Err(InvalidMessage::Identification),
    };
    Ok(Selector {
        local: vec![local.range()?],
        remote: vec![remote.range()?],
        upper,
    })
}

/// The range of one address.
pub(crate) fn host(address: IpAddr) -> AddressRange {
    AddressRange {
        start: address,
        end: address,
    }
}

/// All traffic between two hosts: what quick mode means without identities (RFC 2409 5.5).
pub(crate) fn between(local: IpAddr, remote: IpAddr) -> Selector {
    Selector {
        local: vec![host(local)],
        remote: vec![host(remote)],
        upper: UpperLayer::Any,
    }
}

/// True if `policy` has all of the traffic of `asked`.
pub(crate) fn contains(policy: &Selector, asked: &Selector) -> bool {
    let within = |outer: &[AddressRange], inner: &[AddressRange]| {
        outer.is_empty()
            || inner.iter().all(|i| {
                outer
                    .iter()
                    .any(|o| o.contains(i.start) && o.contains(i.end))
            })
    };
    within(&policy.local, &asked.local)
        && within(&policy.remote, &asked.remote)
        && upper_contains(&policy.upper, &asked.upper)
}

/// True if two selectors have addresses in common, on both sides.
pub(crate) fn meet(one: &Selector, other: &Selector) -> bool {
    let common = |one: &[AddressRange], other: &[AddressRange]| {
        one.iter()
            .any(|a| other.iter().any(|b| a.start <= b.end && b.start <= a.end))
    };
    common(&one.local, &other.local) && common(&one.remote, &other.remote)
}

fn upper_contains(policy: &UpperLayer, asked: &UpperLayer) -> bool {
    match (policy, asked) {
        (UpperLayer::Any, _) => true,
        (UpperLayer::Protocol(policy), asked) => protocol_of(asked) == Some(*policy),
        (
            UpperLayer::Ports {
                protocol,
                local,
                remote,
            },
            asked,
        ) => {
            if protocol_of(asked) != Some(*protocol) {
                return false;
            }
            let (l, r) = match asked {
                UpperLayer::Ports { local, remote, .. } => (&local[..], &remote[..]),
                _ => (&[][..], &[][..]),
            };
            ports_contain(local, l) && ports_contain(remote, r)
        }
        (
            UpperLayer::Icmp {
                protocol,
                types: (0, 255),
                codes: (0, 255),
            },
            asked,
        ) => protocol_of(asked) == Some(*protocol),
        (policy, asked) => policy == asked,
    }
}

/// An empty list is any port.
fn ports_contain(policy: &[PortRange], asked: &[PortRange]) -> bool {
    let all = [PortRange {
        start: 0,
        end: u16::MAX,
    }];
    let asked = if asked.is_empty() { &all[..] } else { asked };
    policy.is_empty()
        || asked
            .iter()
            .all(|a| policy.iter().any(|p| p.start <= a.start && a.end <= p.end))
}

fn protocol_of(upper: &UpperLayer) -> Option<u8> {
    match upper {
        UpperLayer::Any => None,
        UpperLayer::Protocol(protocol)
        | UpperLayer::Ports { protocol, .. }
        | UpperLayer::Icmp { protocol, .. } => Some(*protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> AddressRange {
        AddressRange {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
        }
    }

    fn lan() -> Selector {
        Selector {
            local: vec![
                range("10.1.0.0", "10.1.0.255"),
                range("fd01::", "fd01::ffff"),
            ],
            remote: vec![
                range("10.2.0.0", "10.2.0.255"),
                range("fd02::", "fd02::ffff"),
            ],
            upper: UpperLayer::Any,
        }
    }

    #[test]
    fn families_are_not_mixed() {
        let pieces = pieces(&lan());
        assert_eq!(pieces.len(), 2);
        for piece in &pieces {
            let (local, remote) = identities(piece).unwrap();
            assert_eq!(selector(&local, &remote).as_ref(), Ok(piece));
            assert!(contains(&lan(), piece) && !contains(piece, &lan()));
        }
        let packet = |l: &str, r: &str| piece_for(&lan(), l.parse().unwrap(), r.parse().unwrap());
        assert_eq!(packet("fd01::1", "fd02::1").as_ref(), pieces.get(1));
        assert_eq!(packet("10.1.0.1", "10.3.0.1"), None);
    }

    #[test]
    fn traffic_meets_on_both_sides() {
        let with = |local, remote| Selector {
            local: vec![local],
            remote: vec![remote],
            upper: UpperLayer::Any,
        };
        let (near, far) = (
            range("10.1.0.7", "10.1.0.7"),
            range("10.2.0.0", "10.2.255.255"),
        );
        assert!(meet(&lan(), &with(near, far)) && meet(&with(near, far), &lan()));
        assert!(!meet(&lan(), &with(near, range("10.2.1.0", "10.2.1.255"))));
        assert!(!meet(&lan(), &with(range("10.3.0.1", "10.3.0.1"), far)));
        assert!(!meet(&lan(), &with(near, range("fd03::", "fd03::ffff"))));
    }

    #[test]
    fn ports_are_one_or_all() {
        let with = |ports: Vec<PortRange>| Selector {
            upper: UpperLayer::Ports {
                protocol: 6,
                local: Vec::new(),
                remote: ports,
            },
            ..between("10.1.0.1".parse().unwrap(), "10.2.0.1".parse().unwrap())
        };
        let ports = |start, end| vec![PortRange { start, end }];
        let one = with(ports(22, 22));
        let (local, remote) = identities(&one).unwrap();
        assert_eq!((local.protocol, local.port, remote.port), (6, 0, 22));
        assert_eq!(selector(&local, &remote), Ok(one.clone()));
        assert_eq!(identities(&with(ports(22, 23))), None);
        assert!(contains(&with(ports(20, 30)), &one));
        assert!(!contains(&with(ports(23, 30)), &one));
        assert!(!contains(&one, &with(Vec::new())));
        assert!(contains(&with(Vec::new()), &one));
        let any = between("10.1.0.1".parse().unwrap(), "10.2.0.1".parse().unwrap());
        assert!(contains(&any, &one) && !contains(&one, &any));
    }
}
