//! ARP for IPv4 over Ethernet (RFC 826), as untagged frames.

use crate::ip::Address;

/// Ethernet's broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];
/// Shortest Ethernet frame without its check sequence.
const SHORTEST_FRAME: usize = 60;
const ETHERTYPE: [u8; 2] = [0x08, 0x06];
/// Hardware Ethernet, protocol IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has its address.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Sender's hardware address.
    pub sender_mac: [u8; 6],
    /// Sender's IPv4 address; zero in a probe (RFC 5227 2.1.1).
    pub sender: Address,
    /// Target's hardware address; without meaning in a request.
    pub target_mac: [u8; 6],
    /// Target's IPv4 address.
    pub target: Address,
}

impl Arp {
    /// Reads an Ethernet frame; `None` if it holds no ARP for IPv4, or from a sender that is no single station.
    pub fn parse(frame: &[u8]) -> Option<Arp> {
        let (ethernet, arp) = frame.split_first_chunk::<14>()?;
        let h: &[u8; 28] = arp.first_chunk()?;
        if ethernet[12..] != ETHERTYPE || h[..6] != ETHERNET_IPV4 {
            return None;
        }
        let operation = match [h[6], h[7]] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let &[
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            s0,
            s1,
            s2,
            s3,
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            a0,
            a1,
            a2,
            a3,
        ] = h.last_chunk()?;
        let sender_mac = [m0, m1, m2, m3, m4, m5];
        is_station(sender_mac).then_some(Arp {
            operation,
            sender_mac,
            sender: Address::v4([s0, s1, s2, s3]),
            target_mac: [t0, t1, t2, t3, t4, t5],
            target: Address::v4([a0, a1, a2, a3]),
        })
    }

    /// The Ethernet frame that carries it to `destination`.
    pub fn build(&self, destination: [u8; 6]) -> Vec<u8> {
        let operation = match self.operation {
            Operation::Request => [0, 1],
            Operation::Reply => [0, 2],
        };
        let mut frame = Vec::with_capacity(SHORTEST_FRAME);
        frame.extend(destination);
        frame.extend(self.sender_mac);
        frame.extend(ETHERTYPE);
        frame.extend(ETHERNET_IPV4);
        frame.extend(operation);
        frame.extend(self.sender_mac);
        frame.extend(self.sender.v4_bytes());
        frame.extend(self.target_mac);
        frame.extend(self.target.v4_bytes());
        frame.resize(SHORTEST_FRAME, 0);
        frame
    }
}

/// True for a hardware address that one station can have: not a group's, not zero.
pub fn is_station(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}
