//! Addresses, prefixes, ranges and MAC addresses as they are written in a policy file.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::AddressRange;
use crate::mistake::shown;

/// An IPv4 or IPv6 address of one host.
pub(crate) fn host(text: &str) -> Result<IpAddr, String> {
    let address = any(text)?;
    if is_host(address) {
        Ok(address)
    } else {
        Err(format!("expected the address of one host; got {address}"))
    }
}

/// An address of ours with the length of its on-link prefix.
pub(crate) fn interface(text: &str) -> Result<IpNet, String> {
    let expected = "an address with the length of its prefix, such as 192.0.2.1/24";
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("expected {expected}; got {}", shown(text)))?;
    // All prefixes of two addresses and one have no room for a network address (RFC 3021, RFC 6164).
    let roomy = net.max_prefix_len() - net.prefix_len() > 1;
    let reserved = roomy
        && (net.addr() == net.network() || net.addr().is_ipv4() && net.addr() == net.broadcast());
    if !is_host(net.addr()) || reserved {
        let what = "is not the address of one host";
        return Err(format!("expected {expected}; {} {what}", shown(text)));
    }
    Ok(net)
}

/// A prefix without bits behind its length.
pub(crate) fn prefix(text: &str) -> Result<IpNet, String> {
    let expected = "a prefix such as 10.1.0.0/16 or 2001:db8::/32";
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("expected {expected}; got {}", shown(text)))?;
    if net.addr() != net.network() {
        let (whole, host) = (net.trunc(), IpNet::from(net.addr()));
        return Err(format!("expected {whole} or {host}; got {net}"));
    }
    Ok(net)
}

/// A prefix, a range `first-last` or one address.
pub(crate) fn range(text: &str) -> Result<AddressRange, String> {
    if text.contains('/') {
        let net = prefix(text)?;
        let (start, end) = (net.network(), net.broadcast());
        return Ok(AddressRange { start, end });
    }
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let wrong = |_| {
        let expected = "a prefix, an address or a range of addresses such as 10.1.1.5-10.1.1.9";
        format!("expected {expected}; got {}", shown(text))
    };
    let (start, end) = (
        any(start.trim()).map_err(wrong)?,
        any(end.trim()).map_err(wrong)?,
    );
    if start.is_ipv4() != end.is_ipv4() {
        return Err(format!(
            "expected both ends of one family; got {start} and {end}"
        ));
    }
    if start > end {
        return Err(format!(
            "expected the lower end first; got {start} before {end}"
        ));
    }
    Ok(AddressRange { start, end })
}

/// A number or a range `first-last` inside `limits`.
pub(crate) fn numbers<T: TryFrom<u64>>(
    text: &str,
    what: &str,
    limits: RangeInclusive<u64>,
) -> Result<(T, T), String> {
    let (low, high) = (limits.start(), limits.end());
    let expected = format!("expected {what} from {low} to {high}, or a range such as");
    let wrong = || format!("{expected} \"{low}-{high}\"; got {}", shown(text));
    let number = |text: &str| -> Option<u64> {
        let number = text.trim().parse().ok()?;
        limits.contains(&number).then_some(number)
    };
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let start = number(start).ok_or_else(wrong)?;
    let end = number(end).ok_or_else(wrong)?;
    if start > end {
        return Err(format!(
            "expected the lower end first; got {start} before {end}"
        ));
    }
    match (T::try_from(start), T::try_from(end)) {
        (Ok(start), Ok(end)) => Ok((start, end)),
        _ => Err(wrong()),
    }
}

/// A unicast MAC address.
pub(crate) fn mac(text: &str) -> Result<[u8; 6], String> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    let mut complete = true;
    for byte in &mut mac {
        let part = parts.next().filter(|p| p.len() == 2 && !p.starts_with('+'));
        let value = part.and_then(|p| u8::from_str_radix(p, 16).ok());
        complete &= value.is_some();
        *byte = value.unwrap_or_default();
    }
    if !complete || parts.next().is_some() {
        let expected = "expected a MAC address such as 02:00:00:00:00:01";
        return Err(format!("{expected}; got {}", shown(text)));
    }
    // The lowest bit of the first byte marks a group address (IEEE 802 8.2.2).
    let [first, ..] = mac;
    if first & 1 != 0 || mac == [0; 6] {
        return Err(format!("expected a unicast MAC address; got {text}"));
    }
    Ok(mac)
}

/// `IPv4` or `IPv6`.
pub(crate) fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// True for fe80::/10, which is on link everywhere (RFC 4291 2.5.6).
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.segments()[0] & 0xffc0 == 0xfe80)
}

fn any(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        let expected = "expected an address such as 192.0.2.1 or 2001:db8::1";
        format!("{expected}; got {}", shown(text))
    })
}

fn is_host(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}
