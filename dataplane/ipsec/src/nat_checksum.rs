//! Checksums behind a NAT (RFC 3948 3.1.2): in transport mode TCP and UDP cover the addresses that the sender saw, and
//! the packet arrives with others. What IKE told of the former puts that right (RFC 3947 5.2); a checksum that was
//! wrong before stays wrong.

use crate::checksum::{fold, pseudo_header, update};
use crate::ip::{Address, IpHeader, protocol};

/// Where the checksum stands in a header of TCP, and of UDP.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// Makes the checksum behind this IP header, from which ESP was just taken, cover the addresses in the header instead
/// of the `original` source and destination.
pub fn restore(packet: &mut [u8], ip: &IpHeader, original: (Address, Address)) {
    let protocol = packet.get(usize::from(ip.protocol_at)).copied();
    let (at, udp) = match protocol {
        Some(protocol::TCP) => (TCP_CHECKSUM, false),
        Some(protocol::UDP) => (UDP_CHECKSUM, true),
        _ => return,
    };
    let at = usize::from(ip.header_len) + at;
    let Some(field) = packet.get_mut(at..at + 2) else {
        return;
    };
    let Some(checksum) = field.first_chunk_mut::<2>() else {
        return;
    };
    // No checksum at all (RFC 768).
    if udp && *checksum == [0; 2] {
        return;
    }
    let sum = |(source, destination)| fold(pseudo_header(source, destination, 0, 0));
    *checksum = update(*checksum, sum(original), sum((ip.source, ip.destination)));
    if udp && *checksum == [0; 2] {
        *checksum = [0xff; 2];
    }
}
