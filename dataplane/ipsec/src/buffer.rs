//! What a packet buffer is, and where packets come from and go to.

use crate::offload::{HardwareStatus, Session};

/// There is not enough head- or tailroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// A contiguous packet with room in front and behind: an mbuf in the gateway, [`TestBuf`] in tests.
///
/// Chained mbufs are made contiguous when they are received, so that no stage sees a chain.
pub trait PacketBuf {
    /// The packet's bytes.
    fn data(&self) -> &[u8];
    /// The packet's bytes, to write.
    fn data_mut(&mut self) -> &mut [u8];
    /// Bytes free in front.
    fn headroom(&self) -> usize;
    /// Bytes free behind.
    fn tailroom(&self) -> usize;
    /// Grows the packet by `n` bytes at the front, content undefined.
    fn prepend(&mut self, n: usize) -> Result<(), NoRoom>;
    /// Grows the packet by `n` bytes at the end, content undefined.
    fn append(&mut self, n: usize) -> Result<(), NoRoom>;
    /// Removes up to `n` bytes at the front.
    fn trim_front(&mut self, n: usize);
    /// Keeps the first `len` bytes; no effect if the packet is not longer.
    fn truncate(&mut self, len: usize);
    /// Moves the packet's start by `front` bytes, backwards if negative, and makes it `len` bytes long: what comes
    /// in is undefined. Gives the packet as it is then; after an error it is as before.
    fn reshape(&mut self, front: isize, len: usize) -> Result<&mut [u8], NoRoom>;
    /// Puts `front` bytes, at most `ROOM`, in lieu of the first `skip`, and makes what is behind them `len` bytes long;
    /// what comes in is undefined. Gives the `ROOM` bytes that end where `len` begins, the packet's `front` bytes
    /// behind bytes of nobody, and the `len`: with a fixed length nothing in front needs looking up. After an error
    /// it is as before.
    fn wrap<const ROOM: usize>(
        &mut self,
        skip: usize,
        front: usize,
        len: usize,
    ) -> Result<(&mut [u8; ROOM], &mut [u8]), NoRoom>;
    /// What the NIC that received it says of it. Buffers that carry no such word say nothing.
    fn hardware_status(&self) -> HardwareStatus {
        HardwareStatus::Untouched
    }
    /// Forgets that word: what it was about has come off the packet.
    fn forget_hardware_status(&mut self) {}
    /// Has the NIC that sends it cipher it; false if that cannot be, and then it must not go out so.
    fn mark(&mut self, _session: Session) -> bool {
        false
    }
    /// Length in bytes.
    fn len(&self) -> usize {
        self.data().len()
    }
    /// True if it holds no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Index of an IP interface: its position in `Policy::interfaces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u16);

/// Where the pipeline gets buffers and where packets go. A worker implements it over DPDK, a test over `Vec`s.
///
/// No call here may block, allocate from the heap or make a system call.
pub trait Io {
    /// The packets.
    type Buf: PacketBuf;
    /// An empty buffer with headroom for all encapsulations and room for `len` bytes behind it.
    fn allocate(&mut self, len: usize) -> Option<Self::Buf>;
    /// Sends a complete Ethernet frame.
    fn transmit(&mut self, interface: InterfaceId, frame: Self::Buf);
    /// Takes back a packet that is dropped; the reason is already counted.
    fn discard(&mut self, buf: Self::Buf);
}

/// A packet buffer on the heap, for tests and for frames that control writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestBuf {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// What a NIC would have said of it.
    pub status: HardwareStatus,
    /// The NIC that sends it would cipher it, if there were one.
    pub marked: Option<Session>,
}

impl TestBuf {
    /// Headroom of a fresh buffer, as DPDK's default.
    pub const HEADROOM: usize = 128;

    /// An empty buffer with room for `capacity` bytes behind the headroom.
    pub fn with_capacity(capacity: usize) -> Self {
        TestBuf {
            bytes: vec![0; Self::HEADROOM + capacity],
            start: Self::HEADROOM,
            end: Self::HEADROOM,
            status: HardwareStatus::Untouched,
            marked: None,
        }
    }

    /// A buffer that holds `data`, with tailroom for trailers.
    pub fn new(data: &[u8]) -> Self {
        let mut buf = Self::with_capacity(data.len() + 256);
        buf.end += data.len();
        buf.bytes[buf.start..buf.end].copy_from_slice(data);
        buf
    }
}

impl PacketBuf for TestBuf {
    fn hardware_status(&self) -> HardwareStatus {
        self.status
    }
    fn forget_hardware_status(&mut self) {
        self.status = HardwareStatus::Untouched;
    }
    fn mark(&mut self, session: Session) -> bool {
        self.marked = Some(session);
        true
    }
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }
    fn headroom(&self) -> usize {
        self.start
    }
    fn tailroom(&self) -> usize {
        self.bytes.len() - self.end
    }
    fn prepend(&mut self, n: usize) -> Result<(), NoRoom> {
        self.start = self.start.checked_sub(n).ok_or(NoRoom)?;
        Ok(())
    }
    fn append(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.tailroom() {
            return Err(NoRoom);
        }
        self.end += n;
        Ok(())
    }
    fn trim_front(&mut self, n: usize) {
        self.start = self.end.min(self.start + n);
    }
    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
    fn reshape(&mut self, front: isize, len: usize) -> Result<&mut [u8], NoRoom> {
        let start = self.start.checked_add_signed(front).ok_or(NoRoom)?;
        let end = start
            .checked_add(len)
            .filter(|end| *end <= self.bytes.len());
        (self.start, self.end) = (start, end.ok_or(NoRoom)?);
        Ok(self.data_mut())
    }
    fn wrap<const ROOM: usize>(
        &mut self,
        skip: usize,
        front: usize,
        len: usize,
    ) -> Result<(&mut [u8; ROOM], &mut [u8]), NoRoom> {
        let at = self.start + skip;
        if at < ROOM || front > ROOM || at + len > self.bytes.len() {
            return Err(NoRoom);
        }
        (self.start, self.end) = (at - front, at + len);
        let (before, rest) = self.bytes.split_at_mut(at);
        let before = before.last_chunk_mut().ok_or(NoRoom)?;
        Ok((before, &mut rest[..len]))
    }
}
