//! Checksums behind a NAT (RFC 3948 3.1.2): in transport mode TCP and UDP cover the addresses that the sender saw, and
//! the packet arrives with others. What IKE told of the former puts that right (RFC 3947 5.2); a checksum that was
//! wrong before stays wrong.

use portcullis_config::{Mode, SaConfig};

use crate::checksum::{fold, pseudo_header, sum, update};
use crate::ip::{Address, IpHeader, protocol};

/// Addresses that the sender's checksums cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// Source and destination, as IKE told.
    Told(Address, Address),
    /// Nobody said them: the drafts of RFC 3947 tell a host behind a NAT its peer's address only.
    Untold,
}

impl Original {
    /// Of an inbound SA; `None` where no NAT can change what a checksum covers.
    pub fn of(config: &SaConfig) -> Option<Self> {
        let may_change = config.mode == Mode::Transport && config.udp.is_some();
        may_change.then(|| match config.original.as_deref() {
            Some(&(source, destination)) => Original::Told(source.into(), destination.into()),
            None => Original::Untold,
        })
    }
}

/// Where the checksum stands in a header of TCP, and of UDP.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// Makes the checksum behind this IP header, from which ESP was just taken, cover the addresses in the header instead
/// of the `original` ones. Where those are not told it is made anew: what the packet carries is authentic.
pub fn restore(packet: &mut [u8], ip: &IpHeader, original: Original) {
    let protocol = packet.get(usize::from(ip.protocol_at)).copied();
    let (at, udp) = match protocol {
        Some(protocol::TCP) => (TCP_CHECKSUM, false),
        Some(protocol::UDP) => (UDP_CHECKSUM, true),
        _ => return,
    };
    let header_len = usize::from(ip.header_len);
    let at = header_len + at;
    let anew = match original {
        Original::Told(..) => None,
        Original::Untold => made_anew(packet, ip, at),
    };
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
    let addresses = |source, destination| fold(pseudo_header(source, destination, 0, 0));
    *checksum = match (original, anew) {
        (Original::Told(source, destination), _) => update(
            *checksum,
            addresses(source, destination),
            addresses(ip.source, ip.destination),
        ),
        (Original::Untold, Some(anew)) => anew,
        (Original::Untold, None) => return,
    };
    if udp && *checksum == [0; 2] {
        *checksum = [0xff; 2];
    }
}

/// The checksum that stands at `at`, over the addresses in the header and all behind it (RFC 3948 3.1.2).
fn made_anew(packet: &[u8], ip: &IpHeader, at: usize) -> Option<[u8; 2]> {
    let protocol = *packet.get(usize::from(ip.protocol_at))?;
    let before = packet.get(usize::from(ip.header_len)..at)?;
    let after = packet.get(at + 2..)?;
    let len = before.len() + 2 + after.len();
    let pseudo = pseudo_header(ip.source, ip.destination, len, protocol);
    Some((!fold(sum(sum(pseudo, before), after))).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets made by scapy 2.5, the same segment between the addresses that its sender saw, and between those that
    /// two NATs put in their place.
    const TCP: [&str; 2] = [
        "450000320001000040067d0ec0a80105cb007109\
         0401005000000001000000005002200071960000706f727463756c6c6973",
        "450000320001000040064682c63364070a000009\
         040100500000000100000000500220003b0a0000706f727463756c6c6973",
    ];
    const UDP: [&str; 2] = [
        "450000270001000040117d0ec0a80105cb00710906a506a50013b78d706f727463756c6c697321",
        "450000270001000040114682c63364070a00000906a506a500138101706f727463756c6c697321",
    ];
    const TCP_V6: [&str; 2] = [
        "60000000001e0640fd00000000000000000000000000000520010db8000000000000000000000009\
         0401005000000001000000005002200044860000706f727463756c6c6973",
        "60000000001e064020010db8000000000000000000000007fd010000000000000000000000000009\
         0401005000000001000000005002200044830000706f727463756c6c6973",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// What arrives: the addresses of the second packet, and the checksum of the first.
    fn arrived([sent, right]: [&str; 2]) -> (Vec<u8>, Original, Vec<u8>) {
        let (sent, right) = (bytes(sent), bytes(right));
        let header = IpHeader::parse(&sent).unwrap();
        let len = usize::from(header.header_len);
        let packet = [&right[..len], &sent[len..]].concat();
        let original = Original::Told(header.source, header.destination);
        (packet, original, right)
    }

    #[test]
    fn checksums_of_scapy() {
        for pair in [TCP, UDP, TCP_V6] {
            let (mut packet, original, right) = arrived(pair);
            assert_ne!(packet, right);
            let header = IpHeader::parse(&packet).unwrap();
            let mut untold = packet.clone();
            restore(&mut packet, &header, original);
            assert_eq!(packet, right);
            // The same comes out where nobody said what the addresses were.
            restore(&mut untold, &header, Original::Untold);
            assert_eq!(untold, right);
        }
    }

    #[test]
    fn what_has_no_checksum_has_none_after() {
        let (mut packet, original, _) = arrived(UDP);
        packet[26..28].fill(0);
        let before = packet.clone();
        let header = IpHeader::parse(&packet).unwrap();
        restore(&mut packet, &header, original);
        restore(&mut packet, &header, Original::Untold);
        assert_eq!(packet, before);
        // Nor is there one in ICMP that covers addresses, or in half a header.
        packet[9] = 1;
        let before = packet.clone();
        restore(&mut packet, &header, original);
        assert_eq!(packet, before);
        for len in 20..28 {
            let (mut packet, original, _) = arrived(UDP);
            packet.truncate(len);
            let before = packet.clone();
            restore(&mut packet, &header, original);
            restore(&mut packet, &header, Original::Untold);
            assert_eq!(packet, before);
        }
    }

    #[test]
    fn a_checksum_that_was_wrong_stays_wrong() {
        let (mut packet, original, right) = arrived(TCP);
        packet[40] ^= 1;
        let header = IpHeader::parse(&packet).unwrap();
        restore(&mut packet, &header, original);
        assert_eq!(packet[..40], right[..40]);
        assert_ne!(packet[40..], right[40..]);
    }
}
