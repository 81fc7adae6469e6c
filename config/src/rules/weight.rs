//! How specific a filter is.

use std::net::IpAddr;

use crate::rules::{Filter, FilterAddress};
use crate::{AddressRange, UpperLayer};

/// Of an exemption, which comes before every rule.
pub(crate) const EXEMPTION: u32 = u32::MAX;
/// Bits of one end that names a host.
const HOST: u32 = 128;

/// The weight of a filter: first how narrow both ends are, then whether it names a protocol, then ports.
pub(crate) fn weight(filter: &Filter) -> u32 {
    let upper = match &filter.upper {
        UpperLayer::Any => 0,
        UpperLayer::Protocol(_) => 4,
        UpperLayer::Icmp { .. } => 5,
        UpperLayer::Ports { local, remote, .. } => {
            4 + u32::from(!local.is_empty()) + u32::from(!remote.is_empty())
        }
    };
    (narrowness(&filter.source) + narrowness(&filter.destination)) << 3 | upper
}

/// 0 for any address to [`HOST`] for one, alike for IPv4 and IPv6.
fn narrowness(address: &FilterAddress) -> u32 {
    match address {
        FilterAddress::Any => 0,
        FilterAddress::MyAddress => HOST,
        FilterAddress::Ranges(ranges) => ranges.iter().map(range).min().unwrap_or(0),
    }
}

/// Bits that both ends of a range have in common.
fn range(range: &AddressRange) -> u32 {
    match (range.start, range.end) {
        (IpAddr::V4(start), IpAddr::V4(end)) => {
            (start.to_bits() ^ end.to_bits()).leading_zeros() * (HOST / 32)
        }
        (IpAddr::V6(start), IpAddr::V6(end)) => (start.to_bits() ^ end.to_bits()).leading_zeros(),
        _ => 0,
    }
}
