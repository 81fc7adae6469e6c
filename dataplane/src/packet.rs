//! An mbuf as the packet buffer of the IPsec pipeline.

use dpdk::Mbuf;
use dpdk::security::Received;
use portcullis_ipsec::offload::HardwareStatus;
use portcullis_ipsec::{NoRoom, PacketBuf};

/// A packet in an mbuf.
#[derive(Debug)]
#[repr(transparent)]
pub struct Packet(pub Mbuf);

impl PacketBuf for Packet {
    #[inline(always)]
    fn data(&self) -> &[u8] {
        self.0.data()
    }
    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        self.0.data_mut()
    }
    #[inline(always)]
    fn headroom(&self) -> usize {
        self.0.headroom()
    }
    #[inline(always)]
    fn tailroom(&self) -> usize {
        self.0.tailroom()
    }
    #[inline(always)]
    fn prepend(&mut self, n: usize) -> Result<(), NoRoom> {
        self.0.prepend(n).map_err(|_| NoRoom)
    }
    #[inline(always)]
    fn append(&mut self, n: usize) -> Result<(), NoRoom> {
        self.0.append(n).map_err(|_| NoRoom)
    }
    #[inline(always)]
    fn trim_front(&mut self, n: usize) {
        self.0.trim_front(n);
    }
    #[inline(always)]
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
    #[inline(always)]
    fn reshape(&mut self, front: isize, len: usize) -> Result<&mut [u8], NoRoom> {
        self.0.reshape(front, len).map_err(|_| NoRoom)
    }
    #[inline]
    fn hardware_status(&self) -> HardwareStatus {
        match self.0.received() {
            Received::Untouched => HardwareStatus::Untouched,
            Received::Opened => HardwareStatus::Opened,
            Received::Failed => HardwareStatus::Failed,
        }
    }
    #[inline]
    fn forget_hardware_status(&mut self) {
        self.0.forget_received();
    }
    #[inline(always)]
    fn wrap<const ROOM: usize>(
        &mut self,
        skip: usize,
        front: usize,
        len: usize,
    ) -> Result<(&mut [u8; ROOM], &mut [u8]), NoRoom> {
        self.0.wrap(skip, front, len).map_err(|_| NoRoom)
    }
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }
}
