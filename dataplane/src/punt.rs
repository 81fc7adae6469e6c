//! Which packets for the slow path go before the others: without neighbours and IKE, nothing else works for long.

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

/// ARP, neighbour discovery and IKE: these have a ring that no flood of other punts can fill.
pub(crate) fn is_urgent<B: PacketBuf>(punt: &Punt<B>) -> bool {
    match punt {
        Punt::Neighbor { .. } => true,
        Punt::Unresolved { .. } => false,
        Punt::Local { packet } => {
            let packet = packet.data();
            IpHeader::parse(packet).is_ok_and(|header| is_ike(packet, &header))
        }
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
        let mut bytes = [
            0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1, 4, 0, 0,
            0, 0, 8, 0, 0,
        ];
        bytes[22..24].copy_from_slice(&port.to_be_bytes());
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
        assert!(is_urgent(&Punt::Neighbor { interface, frame }));
        // UDP is 17, TCP 6, ICMP 1; IKE's ports are 500 and 4500 (RFC 7296 2).
        assert!(is_urgent(&local(17, 500)));
        assert!(is_urgent(&local(17, 4500)));
        for (protocol, port) in [(17, 501), (6, 500), (6, 4500), (1, 500)] {
            assert!(!is_urgent(&local(protocol, port)), "{protocol} {port}");
        }
        let packet = TestBuf::new(&[0; 20]);
        let next_hop = Address::from(std::net::IpAddr::from([192, 0, 2, 2]));
        assert!(!is_urgent(&Punt::Unresolved {
            interface,
            next_hop,
            packet
        }));
    }
}
