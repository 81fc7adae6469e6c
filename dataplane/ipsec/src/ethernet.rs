//! Ethernet and 802.1Q framing.

use crate::DropReason;
use crate::fib::Interface;
use crate::flow::LinkHeader;
use crate::{InterfaceId, NoRoom, PacketBuf};

/// Ethernet types.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// Destination, source, type.
pub const HEADER: usize = 14;
/// A tag's two words.
pub const TAG: usize = 4;

/// What an Ethernet header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Destination.
    pub destination: [u8; 6],
    /// VLAN id of the tag; priority tags (id 0) count as untagged (802.1Q 9.3).
    pub vlan: Option<u16>,
    /// Type behind the tag.
    pub ethertype: u16,
    /// Length of header and tag.
    pub len: usize,
}

impl Frame {
    /// Reads the header at the front of `frame`.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Frame, DropReason> {
        let bad = DropReason::EthernetTruncated;
        let (h, rest) = frame.split_first_chunk::<HEADER>().ok_or(bad)?;
        let destination = [h[0], h[1], h[2], h[3], h[4], h[5]];
        let ethertype = u16::from_be_bytes([h[12], h[13]]);
        if ethertype != ethertype::VLAN {
            return Ok(Frame {
                destination,
                vlan: None,
                ethertype,
                len: HEADER,
            });
        }
        let tag = rest.first_chunk::<TAG>().ok_or(bad)?;
        let id = u16::from_be_bytes([tag[0], tag[1]]) & 0xfff;
        Ok(Frame {
            destination,
            vlan: (id != 0).then_some(id),
            ethertype: u16::from_be_bytes([tag[2], tag[3]]),
            len: HEADER + TAG,
        })
    }

    /// Addressed to this station: its own address, or a group one.
    pub fn is_for(&self, mac: [u8; 6]) -> bool {
        self.destination == mac || self.is_group()
    }

    /// Addressed to many stations.
    pub fn is_group(&self) -> bool {
        self.destination[0] & 1 != 0
    }
}

impl LinkHeader {
    /// The header of a packet from `interface` to `destination`.
    pub fn new(
        id: InterfaceId,
        interface: &Interface,
        destination: [u8; 6],
        ethertype: u16,
    ) -> Self {
        let mut bytes = [0; HEADER + TAG];
        let len = match interface.vlan {
            None => HEADER,
            Some(vlan) => {
                bytes[12..14].copy_from_slice(&ethertype::VLAN.to_be_bytes());
                bytes[14..16].copy_from_slice(&vlan.to_be_bytes());
                HEADER + TAG
            }
        };
        let start = HEADER + TAG - len;
        bytes[start..start + 6].copy_from_slice(&destination);
        bytes[start + 6..start + 12].copy_from_slice(&interface.mac);
        bytes[HEADER + TAG - 2..].copy_from_slice(&ethertype.to_be_bytes());
        LinkHeader {
            interface: id,
            len: len as u8,
            bytes,
        }
    }

    /// Writes the header over the front of a frame.
    #[inline(always)]
    pub(crate) fn write(&self, frame: &mut [u8]) {
        match (self.bytes.last_chunk::<HEADER>(), frame.first_chunk_mut()) {
            (Some(from), Some(to)) if usize::from(self.len) == HEADER => *to = *from,
            _ => {
                if let Some(to) = frame.first_chunk_mut() {
                    *to = self.bytes;
                }
            }
        }
    }

    /// Puts the header in front of a packet.
    #[inline]
    pub fn prepend_to<B: PacketBuf>(&self, buf: &mut B) -> Result<(), NoRoom> {
        // All of it at a stroke, then off with what an untagged header does not have.
        buf.prepend(HEADER + TAG)?;
        *buf.data_mut().first_chunk_mut().ok_or(NoRoom)? = self.bytes;
        buf.trim_front(HEADER + TAG - usize::from(self.len));
        Ok(())
    }
}
