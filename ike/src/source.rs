//! Where something comes from, as far as that limits what one may do: whoever has one address of IPv6 has a /64 of them
//! (RFC 4291 2.5.4), and can be a new one with each packet.

use std::net::{IpAddr, Ipv6Addr};

/// Bits that tell networks apart.
const NETWORK: u128 = !(u64::MAX as u128);

/// The address that stands for all that its owner has.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_source() {
        let of = |address: &str| source(address.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
