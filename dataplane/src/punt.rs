//! Which packets for the slow path go before the others: without neighbours and IKE, nothing else works for long.

use portcullis_ike::CookieKey;
use portcullis_ipsec::PacketBuf;
use portcullis_ipsec::ip::{self, IpHeader, protocol};
use portcullis_ipsec::pipeline::Punt;

/// UDP ports of IKE (RFC 2408 2.5.1, RFC 3947 4).
pub(crate) const IKE_PORTS: [u16; 2] = [500, 4500];

/// True for an IP packet to an IKE port. Of those to port 4500, the pipeline has kept ESP and keepalives (RFC 3948 2).
pub(crate) fn is_ike(packet: &[u8], header: &IpHeader) -> bool {
    header.protocol == protocol::UDP
        && ip::ports(packet, header)
            .is_some_and(|[.., high, low]| IKE_PORTS.contains(&u16::from_be_bytes([high, low])))
}

/// Where a punt waits for control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// ARP and neighbour discovery: a ring of their own, since without neighbours nothing else arrives, whatever comes
    /// over IKE.
    Neighbors,
    /// IKE with a cookie of ours: from the addresses to which we have sent one.
    Urgent,
    /// All other IKE, first messages above all. Anybody can send as much of it as they like: a ring of its own.
    First,
    /// All others.
    Usual,
}

/// The ring of a punt.
pub(crate) fn queue<B: PacketBuf>(punt: &Punt<B>, cookies: &CookieKey) -> Queue {
    match punt {
        Punt::Neighbor { .. } => Queue::Neighbors,
        Punt::Unresolved { .. } => Queue::Usual,
        Punt::Local { packet } => {
            let packet = packet.data();
            match IpHeader::parse(packet) {
                Ok(header) if is_ike(packet, &header) => {
                    let source = header.source.to_ip();
                    match message(packet, &header) {
                        Some(message) if cookies.is_for_us(message, source) => Queue::Urgent,
                        _ => Queue::First,
                    }
                }
                _ => Queue::Usual,
            }
        }
    }
}

/// The message of IKE in a packet to one of its ports.
fn message<'a>(packet: &'a [u8], header: &IpHeader) -> Option<&'a [u8]> {
    let udp = packet.get(usize::from(header.header_len)..)?;
    let (udp, message) = udp.split_first_chunk::<8>()?;
    // RFC 3948 2.2: on the port that is shared with ESP there is a marker before it.
    match udp.get(2..4) == Some(&IKE_PORTS[0].to_be_bytes()) {
        true => Some(message),
        false => message.strip_prefix(&[0; 4]),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ipsec::InterfaceId;
    use portcullis_ipsec::buffer::TestBuf;
    use portcullis_ipsec::ip::Address;

    use super::*;

    /// IPv4 (RFC 791) from 192.0.2.2 to 192.0.2.1 with eight bytes that begin with ports 1024 and `port`.
    fn local(protocol: u8, port: u16) -> Punt<TestBuf> {
        with_payload(protocol, port, &[])
    }

    /// The same with more behind them.
    fn with_payload(protocol: u8, port: u16, payload: &[u8]) -> Punt<TestBuf> {
        let length = 28 + payload.len() as u8;
        let mut bytes = vec![
            0x45, 0, 0, length, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1, 4,
            0, 0, 0, 0, 8, 0, 0,
        ];
        bytes[22..24].copy_from_slice(&port.to_be_bytes());
        bytes.extend(payload);
        let words = bytes[..20].chunks(2);
        let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        assert!(IpHeader::parse(&bytes).is_ok());
        Punt::Local {
            packet: TestBuf::new(&bytes),
        }
    }

    #[test]
    fn neighbors_and_ike_go_first() {
        let frame = TestBuf::new(&[0; 60]);
        let interface = InterfaceId(0);
        let neighbor = Punt::Neighbor { interface, frame };
        let queue = |punt: &Punt<TestBuf>| queue(punt, &CookieKey::new([7; 16]));
        assert_eq!(queue(&neighbor), Queue::Neighbors);
        // UDP is 17, TCP 6, ICMP 1; IKE's ports are 500 and 4500 (RFC 7296 2).
        assert_eq!(queue(&local(17, 500)), Queue::First);
        assert_eq!(queue(&local(17, 4500)), Queue::First);
        for (protocol, port) in [(17, 501), (6, 500), (6, 4500), (1, 500)] {
            let queue = queue(&local(protocol, port));
            assert_eq!(queue, Queue::Usual, "{protocol} {port}");
        }
        let packet = TestBuf::new(&[0; 20]);
        let next_hop = Address::from(std::net::IpAddr::from([192, 0, 2, 2]));
        let unresolved = Punt::Unresolved {
            interface,
            next_hop,
            packet,
        };
        assert_eq!(queue(&unresolved), Queue::Usual);
    }

    /// RFC 2408 3.1: initiator's cookie, responder's cookie, and what follows.
    #[test]
    fn what_has_no_cookie_of_ours_waits_by_itself() {
        let key = CookieKey::new([7; 16]);
        let ours = key.cookie([1; 6], [192, 0, 2, 2].into());
        let stolen = key.cookie([1; 6], [192, 0, 2, 3].into());
        let header = |initiator, responder| [initiator, responder, [0; 8]].concat();
        for (message, expected) in [
            (header([1; 8], ours), Queue::Urgent),
            (header(ours, [2; 8]), Queue::Urgent),
            // A first message, cookies made up or from elsewhere, and what is no message.
            (header([1; 8], [0; 8]), Queue::First),
            (header([1; 8], [2; 8]), Queue::First),
            (header([1; 8], stolen), Queue::First),
            (ours.to_vec(), Queue::First),
        ] {
            let plain = with_payload(17, 500, &message);
            assert_eq!(queue(&plain, &key), expected, "{message:?}");
            let marked = with_payload(17, 4500, &[&[0; 4], &message[..]].concat());
            assert_eq!(queue(&marked, &key), expected, "{message:?}");
        }
    }
}
