//! Packets built and taken apart by hand, with numbers restated from the RFCs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ethertype of IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethertype of IPv6 (RFC 2464).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IP protocol numbers (RFC 792, 4303, 4302, 768, 4443, 8200).
pub const ICMP: u8 = 1;
/// UDP (RFC 768).
pub const UDP: u8 = 17;
/// IPv6 fragment header (RFC 8200 4.5).
pub const FRAGMENT: u8 = 44;
/// ESP (RFC 4303 2).
pub const ESP: u8 = 50;
/// AH (RFC 4302 2).
pub const AH: u8 = 51;
/// ICMPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;

/// A MAC address.
pub type Mac = [u8; 6];

/// An Ethernet frame, not padded.
pub fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(destination);
    frame.extend(source);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An Ethernet frame around an IP packet of either version.
pub fn ip_frame(destination: Mac, source: Mac, packet: &[u8]) -> Vec<u8> {
    let ethertype = match packet.first().map(|b| b >> 4) {
        Some(6) => ETHERTYPE_IPV6,
        _ => ETHERTYPE_IPV4,
    };
    ethernet(destination, source, ethertype, packet)
}

/// Ones' complement checksum (RFC 1071).
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Fields of an IPv4 header that a test varies.
#[derive(Clone)]
pub struct Ipv4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset in units of 8 bytes: 0x4000 is DF, 0x2000 is MF (RFC 791 3.1).
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Options, a multiple of 4 bytes.
    pub options: Vec<u8>,
}

impl Ipv4 {
    /// A plain header.
    pub fn new(source: &str, destination: &str, protocol: u8) -> Ipv4 {
        Ipv4 {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            id: 1,
            fragment: 0,
            ttl: 64,
            options: Vec::new(),
        }
    }

    /// The packet, lengths and checksum right.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut packet = vec![0x40 | (header / 4) as u8, 0];
        packet.extend(((header + payload.len()) as u16).to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        let sum = checksum(&[&packet]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// An IPv6 packet; `next_header` may announce extension headers with which `payload` begins.
pub fn ipv6(source: &str, destination: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let destination: Ipv6Addr = destination.parse().unwrap();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A UDP datagram with a right checksum.
pub fn udp(source: IpAddr, destination: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut datagram = Vec::new();
    datagram.extend(ports.0.to_be_bytes());
    datagram.extend(ports.1.to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let mut pseudo = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(a) => pseudo.extend(a.octets()),
            IpAddr::V6(a) => pseudo.extend(a.octets()),
        }
    }
    pseudo.extend([0, UDP]);
    pseudo.extend(length.to_be_bytes());
    let sum = match checksum(&[&pseudo, &datagram]) {
        0 => 0xffff, // zero means "none" (RFC 768)
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// A UDP packet between two addresses of one family.
pub fn udp_packet(source: &str, destination: &str, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let addresses = (source.parse().unwrap(), destination.parse().unwrap());
    let datagram = udp(addresses.0, addresses.1, ports, payload);
    match addresses {
        (IpAddr::V4(_), _) => Ipv4::new(source, destination, UDP).packet(&datagram),
        _ => ipv6(source, destination, UDP, &datagram),
    }
}

/// An ICMPv4 message (RFC 792) without pseudo header.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(payload);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// An ICMPv6 message (RFC 4443 2.1): its checksum covers the addresses.
pub fn icmpv6(
    addresses: (&str, &str),
    kind: u8,
    code: u8,
    rest: [u8; 4],
    payload: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(payload);
    let mut pseudo = Vec::new();
    for address in [addresses.0, addresses.1] {
        pseudo.extend(address.parse::<Ipv6Addr>().unwrap().octets());
    }
    pseudo.extend((message.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, ICMPV6]);
    let sum = checksum(&[&pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// An echo request (or with `reply`, the answer to it) from the first address to the second.
pub fn echo(source: &str, destination: &str, reply: bool, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    if source.contains(':') {
        let kind = if reply { 129 } else { 128 };
        let message = icmpv6((source, destination), kind, 0, rest, data);
        return ipv6(source, destination, ICMPV6, &message);
    }
    let kind = if reply { 0 } else { 8 };
    Ipv4::new(source, destination, ICMP).packet(&icmp(kind, 0, rest, data))
}

/// The packet one hop further: TTL or hop limit one less, the IPv4 checksum with it (RFC 1812 5.3.1).
pub fn forwarded(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] -= 1;
        return packet;
    }
    let header = usize::from(packet[0] & 0x0f) * 4;
    packet[8] -= 1;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..header]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// What a frame carries, as far as a check of the wire needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// ESP or AH, with the SPI.
    Protected(u8, u32),
    /// ESP in UDP (RFC 3948 2.1), with the SPI.
    EspInUdp(u32),
    /// A fragment that is not the first, of a packet of this protocol.
    LaterFragment(u8),
    /// ARP, neighbour discovery or a multicast listener report.
    Resolution,
    /// Anything else: protocol, source and destination in words.
    Clear(String),
}

/// Looks into a frame. Of IPv6 extension headers it knows the fragment header, and hop-by-hop options before ICMPv6.
pub fn carried(frame: &[u8]) -> Carried {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => Carried::Resolution,
        Some([0x08, 0x00]) if frame.len() >= 34 => {
            let header = usize::from(frame[14] & 0x0f) * 4;
            let offset = u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff;
            protocol(frame, frame[23], 14 + header, offset)
        }
        Some([0x86, 0xdd]) if frame.len() >= 54 => match frame[20] {
            FRAGMENT if frame.len() >= 62 => {
                let offset = u16::from_be_bytes([frame[56], frame[57]]) >> 3;
                protocol(frame, frame[54], 62, offset)
            }
            // Hop-by-hop options with the router alert of a multicast listener report (RFC 3810 5).
            0 if frame.get(54..56) == Some(&[ICMPV6, 0]) => protocol(frame, ICMPV6, 62, 0),
            next => protocol(frame, next, 54, 0),
        },
        _ => Carried::Clear(format!("frame {:02x?}", &frame[..frame.len().min(14)])),
    }
}

fn protocol(frame: &[u8], number: u8, at: usize, offset: u16) -> Carried {
    let word = |at: usize| {
        frame
            .get(at..at + 4)
            .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    };
    match number {
        _ if offset != 0 => Carried::LaterFragment(number),
        ESP => Carried::Protected(ESP, word(at).unwrap_or(0)),
        AH => Carried::Protected(AH, word(at + 4).unwrap_or(0)),
        UDP if frame.get(at..at + 4) == Some(&[0x11, 0x94, 0x11, 0x94]) => {
            Carried::EspInUdp(word(at + 8).unwrap_or(0))
        }
        // Neighbour discovery: 133 to 137 (RFC 4861 4), 143 multicast listener report (RFC 3810).
        ICMPV6 if matches!(frame.get(at), Some(133..=137 | 143)) => Carried::Resolution,
        _ => Carried::Clear(format!(
            "protocol {number}: {:02x?}",
            &frame[14..frame.len().min(62)]
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_rfc1071() {
        // The example of RFC 1071 3: the sum is ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
        assert_eq!(
            checksum(&[&Ipv4::new("10.0.0.1", "10.0.0.2", UDP).packet(&[])]),
            0
        );
    }

    #[test]
    fn frames_are_told_apart() {
        let spi = [0, 0, 0x10, 0x01];
        let esp = Ipv4::new("10.0.0.1", "10.0.0.2", ESP).packet(&spi);
        assert_eq!(
            carried(&ip_frame([0; 6], [0; 6], &esp)),
            Carried::Protected(ESP, 0x1001)
        );
        let ah = ipv6("fd::1", "fd::2", AH, &[4, 4, 0, 0, 0, 0, 0x10, 0x01]);
        assert_eq!(
            carried(&ip_frame([0; 6], [0; 6], &ah)),
            Carried::Protected(AH, 0x1001)
        );
        let clear = udp_packet("10.0.0.1", "10.0.0.2", (1, 2), b"x");
        assert!(matches!(
            carried(&ip_frame([0; 6], [0; 6], &clear)),
            Carried::Clear(_)
        ));
    }
}
