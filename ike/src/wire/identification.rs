//! The identification payload (RFC 2408 3.8, RFC 2407 4.6.2): of a peer in phase 1, of traffic in phase 2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portcullis_config::{AddressRange, Identity};

use crate::InvalidMessage;
use crate::wire::Reader;

/// Types of identification (RFC 2407 4.6.2.1).
pub(crate) const IPV4_ADDR: u8 = 1;
const FQDN: u8 = 2;
const USER_FQDN: u8 = 3;
const IPV4_ADDR_SUBNET: u8 = 4;
pub(crate) const IPV6_ADDR: u8 = 5;
const IPV6_ADDR_SUBNET: u8 = 6;
const IPV4_ADDR_RANGE: u8 = 7;
const IPV6_ADDR_RANGE: u8 = 8;
const DER_ASN1_DN: u8 = 9;
const KEY_ID: u8 = 11;

/// An identification as it is on the wire; what it means depends on the phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identification {
    pub(crate) kind: u8,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    pub(crate) data: Vec<u8>,
}

impl Identification {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        Ok(Identification {
            kind: reader.u8()?,
            protocol: reader.u8()?,
            port: reader.u16()?,
            data: reader.rest().to_vec(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.protocol];
        bytes.extend(self.port.to_be_bytes());
        bytes.extend(&self.data);
        bytes
    }

    /// Who a peer says it is.
    pub(crate) fn identity(&self) -> Result<Identity, InvalidMessage> {
        let text = || {
            String::from_utf8(self.data.clone())
                .ok()
                .filter(|t| !t.is_empty() && !t.contains(char::is_control))
                .ok_or(InvalidMessage::Identification)
        };
        match self.kind {
            IPV4_ADDR | IPV6_ADDR => Ok(Identity::Address(self.range()?.start)),
            FQDN => Ok(Identity::Fqdn(text()?)),
            USER_FQDN => Ok(Identity::UserFqdn(text()?)),
            DER_ASN1_DN => Ok(Identity::DistinguishedName(self.data.clone())),
            KEY_ID => Ok(Identity::KeyId(self.data.clone())),
            _ => Err(InvalidMessage::Identification),
        }
    }

    /// Addresses of traffic.
    pub(crate) fn range(&self) -> Result<AddressRange, InvalidMessage> {
        let mut reader = Reader::new(&self.data);
        let (start, end) = match self.kind {
            IPV4_ADDR | IPV4_ADDR_SUBNET | IPV4_ADDR_RANGE => {
                let first = reader.u32()?;
                let (start, end) = match self.kind {
                    IPV4_ADDR => (first, first),
                    IPV4_ADDR_SUBNET => {
                        let mask = reader.u32()?;
                        contiguous(mask.leading_ones(), mask.trailing_zeros(), 32)?;
                        (first & mask, first | !mask)
                    }
                    _ => (first, reader.u32()?),
                };
                let address = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
                (address(start), address(end))
            }
            IPV6_ADDR | IPV6_ADDR_SUBNET | IPV6_ADDR_RANGE => {
                let mut number = || reader.array().map(u128::from_be_bytes);
                let first = number()?;
                let (start, end) = match self.kind {
                    IPV6_ADDR => (first, first),
                    IPV6_ADDR_SUBNET => {
                        let mask = number()?;
                        contiguous(mask.leading_ones(), mask.trailing_zeros(), 128)?;
                        (first & mask, first | !mask)
                    }
                    _ => (first, number()?),
                };
                let address = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
                (address(start), address(end))
            }
            _ => return Err(InvalidMessage::Identification),
        };
        if !reader.is_empty() || start > end {
            return Err(InvalidMessage::Identification);
        }
        Ok(AddressRange { start, end })
    }

    /// What we say we are: protocol and port zero (RFC 2407 4.6.2), that is, not said.
    pub(crate) fn of_identity(identity: &Identity) -> Self {
        let (kind, data) = match identity {
            Identity::Address(address @ IpAddr::V4(_)) => (IPV4_ADDR, octets(*address)),
            Identity::Address(address @ IpAddr::V6(_)) => (IPV6_ADDR, octets(*address)),
            Identity::Fqdn(name) => (FQDN, name.as_bytes().to_vec()),
            Identity::UserFqdn(name) => (USER_FQDN, name.as_bytes().to_vec()),
            Identity::DistinguishedName(der) => (DER_ASN1_DN, der.clone()),
            Identity::KeyId(bytes) => (KEY_ID, bytes.clone()),
        };
        Identification {
            kind,
            protocol: 0,
            port: 0,
            data,
        }
    }

    /// Traffic: an address, a subnet where it is one, or a range.
    pub(crate) fn of_traffic(range: AddressRange, protocol: u8, port: u16) -> Self {
        let [single, subnet, wide] = match range.start {
            IpAddr::V4(_) => [IPV4_ADDR, IPV4_ADDR_SUBNET, IPV4_ADDR_RANGE],
            IpAddr::V6(_) => [IPV6_ADDR, IPV6_ADDR_SUBNET, IPV6_ADDR_RANGE],
        };
        let mut data = octets(range.start);
        let kind = if range.start == range.end {
            single
        } else if let Some(mask) = mask(range) {
            data.extend(mask);
            subnet
        } else {
            data.extend(octets(range.end));
            wide
        };
        Identification {
            kind,
            protocol,
            port,
            data,
        }
    }
}

/// An address as bytes.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A mask is ones, then zeros.
fn contiguous(ones: u32, zeros: u32, bits: u32) -> Result<(), InvalidMessage> {
    match ones + zeros == bits || ones == bits {
        true => Ok(()),
        false => Err(InvalidMessage::Identification),
    }
}

/// The mask of a range that is a subnet.
fn mask(range: AddressRange) -> Option<Vec<u8>> {
    match (range.start, range.end) {
        (IpAddr::V4(start), IpAddr::V4(end)) => {
            let (start, host) = (start.to_bits(), start.to_bits() ^ end.to_bits());
            let subnet = start & host == 0 && host.leading_zeros() + host.count_ones() == 32;
            subnet.then(|| (!host).to_be_bytes().to_vec())
        }
        (IpAddr::V6(start), IpAddr::V6(end)) => {
            let (start, host) = (start.to_bits(), start.to_bits() ^ end.to_bits());
            let subnet = start & host == 0 && host.leading_zeros() + host.count_ones() == 128;
            subnet.then(|| (!host).to_be_bytes().to_vec())
        }
        _ => None,
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

    #[test]
    fn traffic_takes_the_narrowest_form() {
        // ID_IPV4_ADDR_SUBNET (4), any protocol and port, 10.1.0.0, 255.255.255.0 (RFC 2407 4.6.2.5).
        let subnet = Identification::of_traffic(range("10.1.0.0", "10.1.0.255"), 0, 0);
        let expected = [4, 0, 0, 0, 10, 1, 0, 0, 255, 255, 255, 0];
        assert_eq!(subnet.encode(), expected);
        // ID_IPV4_ADDR (1), TCP port 22.
        let host = Identification::of_traffic(range("10.1.0.1", "10.1.0.1"), 6, 22);
        assert_eq!(host.encode(), [1, 6, 0, 22, 10, 1, 0, 1]);
        // ID_IPV4_ADDR_RANGE (7).
        let odd = Identification::of_traffic(range("10.1.0.1", "10.1.0.2"), 0, 0);
        assert_eq!(odd.encode(), [7, 0, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2]);
        let all = Identification::of_traffic(range("0.0.0.0", "255.255.255.255"), 0, 0);
        assert_eq!(all.encode(), [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_written_is_read() {
        for (start, end) in [
            ("10.1.0.0", "10.1.0.255"),
            ("10.1.0.1", "10.1.0.1"),
            ("10.1.0.1", "10.1.0.9"),
            ("0.0.0.0", "255.255.255.255"),
            ("2001:db8::", "2001:db8::ffff"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::4"),
            ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let range = range(start, end);
            let written = Identification::of_traffic(range, 17, 53).encode();
            let read = Identification::parse(&written).unwrap();
            assert_eq!(read.range(), Ok(range));
            assert_eq!((read.protocol, read.port), (17, 53));
        }
        for identity in [
            Identity::Address("192.0.2.1".parse().unwrap()),
            Identity::Address("2001:db8::1".parse().unwrap()),
            Identity::Fqdn("a.example".to_owned()),
            Identity::UserFqdn("a@example".to_owned()),
            Identity::DistinguishedName(vec![0x30, 0]),
            Identity::KeyId(vec![1, 2, 3]),
        ] {
            let written = Identification::of_identity(&identity).encode();
            let read = Identification::parse(&written).unwrap();
            assert_eq!(read.identity(), Ok(identity));
        }
    }

    #[test]
    fn refuses_what_is_no_range_or_name() {
        for bytes in [
            // A mask with a hole, one byte short, one too many, a range that runs backwards, an unknown type.
            &[4, 0, 0, 0, 10, 1, 0, 0, 255, 0, 255, 0][..],
            &[1, 0, 0, 0, 10, 1, 0],
            &[1, 0, 0, 0, 10, 1, 0, 0, 0],
            &[7, 0, 0, 0, 10, 1, 0, 2, 10, 1, 0, 1],
            &[99, 0, 0, 0, 10, 1, 0, 2],
        ] {
            assert!(Identification::parse(bytes).unwrap().range().is_err());
        }
        for bytes in [
            &[2, 0, 0, 0][..],
            &[2, 0, 0, 0, b'a', 10],
            &[2, 0, 0, 0, 0xff],
        ] {
            let read = Identification::parse(bytes).unwrap().identity();
            assert_eq!(read, Err(InvalidMessage::Identification));
        }
    }
}
