//! UDP datagrams of the gateway itself, in IP packets of either version: what IKE speaks through.

use std::net::SocketAddr;

use portcullis_ike::{Datagram, Transmit};
use portcullis_ipsec::PacketBuf;
use portcullis_ipsec::checksum::{checksum, fold, pseudo_header, sum};
use portcullis_ipsec::ip::{Address, IPV4_HEADER, IPV6_HEADER, IpHeader, IpVersion, protocol};

/// Length of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;
/// Hop limit of packets that start here.
const HOP_LIMIT: u8 = 64;

/// The datagram in a whole IP packet; `None` if its length or checksum is wrong.
pub(crate) fn read<'a>(packet: &'a [u8], ip: &IpHeader) -> Option<Datagram<'a>> {
    let udp = packet.get(usize::from(ip.header_len)..usize::try_from(ip.total_len).ok()?)?;
    let (header, _) = udp.split_first_chunk::<UDP_HEADER>()?;
    let [source, destination, length, sum_field] =
        [0, 2, 4, 6].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let udp = udp.get(..usize::from(length))?;
    let bytes = udp.get(UDP_HEADER..)?;
    // RFC 768: zero is no checksum, which RFC 8200 8.1 forbids with IPv6.
    let has_sum = sum_field != 0 || ip.version == IpVersion::V6;
    let expected = || udp_checksum(ip.source, ip.destination, udp) == 0;
    (!has_sum || sum_field != 0 && expected()).then(|| Datagram {
        local: SocketAddr::new(ip.destination.to_ip(), destination),
        remote: SocketAddr::new(ip.source.to_ip(), source),
        bytes,
    })
}

/// Zero over a datagram that contains its own correct checksum.
fn udp_checksum(source: Address, destination: Address, udp: &[u8]) -> u16 {
    // The sum over mapped IPv4 addresses differs: IPv4's pseudo-header has the four bytes only (RFC 768).
    let pseudo = match source.is_v4() {
        true => {
            let addresses = sum(sum(0, &source.v4_bytes()), &destination.v4_bytes());
            addresses + udp.len() as u64 + u64::from(protocol::UDP)
        }
        false => pseudo_header(source, destination, udp.len(), protocol::UDP),
    };
    !fold(sum(pseudo, udp))
}

/// Length of the IP packet with this datagram; `None` if there is no such packet.
pub(crate) fn packet_len(datagram: &Transmit) -> Option<usize> {
    let header = match datagram.remote {
        SocketAddr::V4(_) => IPV4_HEADER,
        SocketAddr::V6(_) => IPV6_HEADER,
    };
    let len = header + UDP_HEADER + datagram.bytes.len();
    (len <= usize::from(u16::MAX)).then_some(len)
}

/// Writes the IP packet into an empty buffer; `None` if there is no room or the addresses are of two families.
pub(crate) fn write<B: PacketBuf>(buf: &mut B, datagram: &Transmit, id: u16) -> Option<()> {
    let (local, remote) = (datagram.local, datagram.remote);
    let (source, destination) = (Address::from(local.ip()), Address::from(remote.ip()));
    let len = packet_len(datagram)?;
    buf.append(len).ok()?;
    let packet = buf.data_mut().get_mut(..len)?;
    packet.fill(0);
    let udp_len = UDP_HEADER + datagram.bytes.len();
    let (ip, udp) = packet.split_at_mut_checked(len - udp_len)?;
    match (source.is_v4(), destination.is_v4()) {
        (true, true) => {
            let header = ip.first_chunk_mut::<IPV4_HEADER>()?;
            header[0] = 0x45;
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            header[4..6].copy_from_slice(&id.to_be_bytes());
            (header[8], header[9]) = (HOP_LIMIT, protocol::UDP);
            header[12..16].copy_from_slice(&source.v4_bytes());
            header[16..20].copy_from_slice(&destination.v4_bytes());
            let sum = checksum(header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (false, false) => {
            let header = ip.first_chunk_mut::<IPV6_HEADER>()?;
            header[0] = 0x60;
            header[4..6].copy_from_slice(&(udp_len as u16).to_be_bytes());
            (header[6], header[7]) = (protocol::UDP, HOP_LIMIT);
            header[8..24].copy_from_slice(&source.v6_bytes());
            header[24..40].copy_from_slice(&destination.v6_bytes());
        }
        _ => return None,
    }
    let header = udp.first_chunk_mut::<UDP_HEADER>()?;
    header[0..2].copy_from_slice(&local.port().to_be_bytes());
    header[2..4].copy_from_slice(&remote.port().to_be_bytes());
    header[4..6].copy_from_slice(&(udp_len as u16).to_be_bytes());
    udp.get_mut(UDP_HEADER..)?.copy_from_slice(&datagram.bytes);
    let sum = match udp_checksum(source, destination, udp) {
        0 => 0xffff, // RFC 768: zero would mean none
        sum => sum,
    };
    udp.get_mut(6..UDP_HEADER)?
        .copy_from_slice(&sum.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_ipsec::buffer::TestBuf;

    fn written(local: &str, remote: &str, bytes: &[u8]) -> Vec<u8> {
        let datagram = Transmit {
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            bytes: bytes.to_vec(),
        };
        let mut buf = TestBuf::with_capacity(2000);
        write(&mut buf, &datagram, 0x1234).expect("room");
        buf.data().to_vec()
    }

    /// What scapy makes of the same: `IP(src="192.0.2.1", dst="192.0.2.2", id=0x1234)/UDP(sport=500, dport=500)/b"abc"`.
    #[test]
    fn ipv4_as_scapy_writes_it() {
        let expected = "4500001f123400004011e496c0000201c000020201f401f4000bb389616263";
        let expected: Vec<u8> = (0..expected.len() / 2)
            .map(|i| u8::from_str_radix(&expected[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        assert_eq!(written("192.0.2.1:500", "192.0.2.2:500", b"abc"), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        for (local, remote) in [
            ("192.0.2.1:4500", "192.0.2.2:40000"),
            ("[2001:db8::1]:500", "[2001:db8::2]:500"),
        ] {
            for len in [0, 1, 2, 7, 1300] {
                let packet = written(local, remote, &vec![0xa5; len]);
                let ip = IpHeader::parse(&packet).expect("a packet");
                let datagram = read(&packet, &ip).expect("a datagram");
                // Seen from the other end.
                assert_eq!(datagram.remote, local.parse().expect("an address"));
                assert_eq!(datagram.local, remote.parse().expect("an address"));
                assert_eq!(datagram.bytes, vec![0xa5; len]);
                let mut damaged = packet.clone();
                *damaged.last_mut().expect("a byte") ^= 1;
                assert!(
                    read(&damaged, &ip).is_none(),
                    "the checksum covers all of it"
                );
            }
        }
    }

    #[test]
    fn two_families_do_not_meet() {
        let datagram = Transmit {
            local: "192.0.2.1:500".parse().expect("an address"),
            remote: "[2001:db8::2]:500".parse().expect("an address"),
            bytes: vec![],
        };
        let mut buf = TestBuf::with_capacity(2000);
        assert!(write(&mut buf, &datagram, 0).is_none());
    }
}
