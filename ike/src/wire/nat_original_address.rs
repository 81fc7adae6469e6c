//! The NAT original address payload (RFC 3947 5.2).

use std::net::IpAddr;

use crate::InvalidMessage;
use crate::wire::Reader;
use crate::wire::identification::{IPV4_ADDR, IPV6_ADDR, octets};

pub(crate) fn parse(body: &[u8]) -> Result<IpAddr, InvalidMessage> {
    let mut reader = Reader::new(body);
    let kind = reader.u8()?;
    reader.take(3)?;
    let address = match kind {
        IPV4_ADDR => IpAddr::from(reader.array::<4>()?),
        IPV6_ADDR => IpAddr::from(reader.array::<16>()?),
        _ => return Err(InvalidMessage::Identification),
    };
    match reader.is_empty() {
        true => Ok(address),
        false => Err(InvalidMessage::Length),
    }
}

pub(crate) fn encode(address: IpAddr) -> Vec<u8> {
    let kind = match address {
        IpAddr::V4(_) => IPV4_ADDR,
        IpAddr::V6(_) => IPV6_ADDR,
    };
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(octets(address));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(encode(v4), [1, 0, 0, 0, 192, 0, 2, 7]);
        for address in [v4, "2001:db8::7".parse().unwrap()] {
            assert_eq!(parse(&encode(address)), Ok(address));
        }
        assert_eq!(
            parse(&[1, 0, 0, 0, 1, 2, 3]),
            Err(InvalidMessage::Truncated)
        );
        assert_eq!(parse(&[4, 0, 0, 0]), Err(InvalidMessage::Identification));
        assert_eq!(
            parse(&[1, 0, 0, 0, 1, 2, 3, 4, 5]),
            Err(InvalidMessage::Length)
        );
    }
}
