//! Packet buffers.

use std::fmt;
use std::ptr::NonNull;
use std::slice;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::mempool::Mempool;
use crate::security::Received;

/// There is not enough head- or tailroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// A packet buffer that we own alone: one segment, one reference, memory of its own pool.
///
/// Receiving makes sure of that ([`RxQueue::burst`](crate::RxQueue::burst)), so nothing behind it ever
/// meets a chain. Dropping it gives the buffer back to its pool.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: it is the buffer's only owner, and a buffer may go back to its pool from any thread.
unsafe impl Send for Mbuf {}
// SAFETY: a shared `Mbuf` only reads.
unsafe impl Sync for Mbuf {}

impl Mbuf {
    /// # Safety
    /// `raw` is a valid mbuf that nobody else uses. It is a single direct segment with one reference, or the
    /// caller does not let go of it before [`Mbuf::is_exclusive`] was checked.
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Mbuf {
        Mbuf(raw)
    }

    pub(crate) fn raw(&self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// # Safety
    /// `offset` is one of `SHIM_MBUF_*`, and `T` has the width that shim.h asserts for it.
    #[inline(always)]
    unsafe fn field<T>(&self, offset: u32) -> *mut T {
        // SAFETY: the field lies inside the mbuf, aligned as C laid it out.
        unsafe {
            self.0
                .as_ptr()
                .cast::<u8>()
                .add(offset as usize)
                .cast::<T>()
        }
    }

    #[inline(always)]
    fn data_off(&self) -> u16 {
        // SAFETY: data_off is 16 bits wide and initialised.
        unsafe { self.field::<u16>(sys::SHIM_MBUF_DATA_OFF).read() }
    }

    #[inline(always)]
    fn data_len(&self) -> u16 {
        // SAFETY: data_len is 16 bits wide and initialised.
        unsafe { self.field::<u16>(sys::SHIM_MBUF_DATA_LEN).read() }
    }

    #[inline(always)]
    fn buf_len(&self) -> u16 {
        // SAFETY: buf_len is 16 bits wide and initialised.
        unsafe { self.field::<u16>(sys::SHIM_MBUF_BUF_LEN).read() }
    }

    /// Length of the whole chain while a received packet may still be one.
    pub(crate) fn pkt_len(&self) -> u32 {
        // SAFETY: pkt_len is 32 bits wide and initialised.
        unsafe { self.field::<u32>(sys::SHIM_MBUF_PKT_LEN).read() }
    }

    /// Places the packet at `offset` in the buffer. Callers keep `offset + len <= buf_len`.
    #[inline(always)]
    fn place(&mut self, offset: u16, len: u16) {
        debug_assert!(usize::from(offset) + usize::from(len) <= usize::from(self.buf_len()));
        // SAFETY: widths as asserted in shim.h, and `&mut self` is the only access. With one segment the
        // packet's length is the segment's.
        unsafe {
            self.field::<u16>(sys::SHIM_MBUF_DATA_OFF).write(offset);
            self.field::<u16>(sys::SHIM_MBUF_DATA_LEN).write(len);
            self.field::<u32>(sys::SHIM_MBUF_PKT_LEN)
                .write(u32::from(len));
        }
    }

    /// True if this is what an `Mbuf` promises to be; a driver may hand out a chain or a shared buffer.
    #[inline(always)]
    pub(crate) fn is_exclusive(&self) -> bool {
        // SAFETY: widths as asserted in shim.h; all three are initialised.
        unsafe {
            self.field::<u16>(sys::SHIM_MBUF_NB_SEGS).read() == 1
                && self.field::<u16>(sys::SHIM_MBUF_REFCNT).read() == 1
                && self.field::<u64>(sys::SHIM_MBUF_OL_FLAGS).read() & sys::SHIM_MBUF_NOT_DIRECT
                    == 0
        }
    }

    /// What the device that received it did to it.
    #[inline]
    pub fn received(&self) -> Received {
        // SAFETY: ol_flags is 64 bits wide and initialised.
        let flags = unsafe { self.field::<u64>(sys::SHIM_MBUF_OL_FLAGS).read() };
        if flags & sys::SHIM_MBUF_RX_SECURITY == 0 {
            Received::Untouched
        } else if flags & sys::SHIM_MBUF_RX_SECURITY_FAILED == 0 {
            Received::Opened
        } else {
            Received::Failed
        }
    }

    /// Forgets what the device did.
    #[inline]
    pub fn forget_received(&mut self) {
        let words = sys::SHIM_MBUF_RX_SECURITY | sys::SHIM_MBUF_RX_SECURITY_FAILED;
        // SAFETY: ol_flags is 64 bits wide and initialised, and `&mut self` is the only access.
        unsafe {
            let flags = self.field::<u64>(sys::SHIM_MBUF_OL_FLAGS);
            flags.write(flags.read() & !words);
        }
    }

    /// True if the device that sends it has to cipher it.
    #[inline]
    pub fn is_marked(&self) -> bool {
        // SAFETY: ol_flags is 64 bits wide and initialised.
        let flags = unsafe { self.field::<u64>(sys::SHIM_MBUF_OL_FLAGS).read() };
        flags & sys::SHIM_MBUF_TX_SECURITY != 0
    }

    /// A copy of a packet that may be a chain, as one segment of `pool`, if it fits there.
    pub(crate) fn copy_contiguous(&self, pool: &Mempool) -> Option<Mbuf> {
        if self.pkt_len() > u32::from(pool.data_room()) {
            return None;
        }
        // SAFETY: the chain is valid and the pool lives. The copy is new, and as it fits one buffer's data
        // room it is one segment.
        unsafe {
            let raw = sys::rte_pktmbuf_copy(self.0.as_ptr(), pool.raw(), 0, u32::MAX);
            NonNull::new(raw).map(|raw| Mbuf::from_raw(raw))
        }
    }

    /// The packet's bytes.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: data_len bytes from data_off lie inside the buffer (`place`, and the driver's word on
        // receipt). DPDK's memory is mapped zeroed, so it is initialised. Nobody else has the buffer.
        unsafe { slice::from_raw_parts(self.start(), usize::from(self.data_len())) }
    }

    /// The packet's bytes, to write.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `&mut self` is the only access.
        unsafe { slice::from_raw_parts_mut(self.start(), usize::from(self.data_len())) }
    }

    #[inline(always)]
    fn start(&self) -> *mut u8 {
        // SAFETY: buf_addr is a pointer to buf_len bytes, and data_off is at most that.
        unsafe {
            let buf = self.field::<*mut u8>(sys::SHIM_MBUF_BUF_ADDR).read();
            buf.add(usize::from(self.data_off()))
        }
    }

    /// Length in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        usize::from(self.data_len())
    }

    /// True if it holds no byte.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.data_len() == 0
    }

    /// Bytes free in front.
    #[inline(always)]
    pub fn headroom(&self) -> usize {
        usize::from(self.data_off())
    }

    /// Bytes free behind.
    #[inline(always)]
    pub fn tailroom(&self) -> usize {
        usize::from(self.buf_len() - self.data_off() - self.data_len())
    }

    /// Grows the packet by `n` bytes at the front, content undefined.
    #[inline(always)]
    pub fn prepend(&mut self, n: usize) -> Result<(), NoRoom> {
        let n = u16::try_from(n).map_err(|_| NoRoom)?;
        let offset = self.data_off().checked_sub(n).ok_or(NoRoom)?;
        self.place(offset, self.data_len() + n);
        Ok(())
    }

    /// Grows the packet by `n` bytes at the end, content undefined.
    #[inline(always)]
    pub fn append(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.tailroom() {
            return Err(NoRoom);
        }
        // n is at most the tailroom, which is 16 bits.
        self.place(self.data_off(), self.data_len() + n as u16);
        Ok(())
    }

    /// Removes up to `n` bytes at the front.
    #[inline(always)]
    pub fn trim_front(&mut self, n: usize) {
        let n = n.min(self.len()) as u16;
        self.place(self.data_off() + n, self.data_len() - n);
    }

    /// Keeps the first `len` bytes; no effect if the packet is not longer.
    #[inline(always)]
    pub fn truncate(&mut self, len: usize) {
        let len = len.min(self.len()) as u16;
        self.place(self.data_off(), len);
    }

    /// Moves the start by `front` bytes, backwards if negative, and makes the packet `len` bytes long; what comes in
    /// is undefined. Gives the packet's bytes; after an error it is as before.
    #[inline(always)]
    pub fn reshape(&mut self, front: isize, len: usize) -> Result<&mut [u8], NoRoom> {
        let offset = self.data_off() as isize + front;
        let room = usize::from(self.buf_len());
        match usize::try_from(offset) {
            Ok(offset) if offset <= room && len <= room - offset => {
                // Both are at most the buffer's length, which is 16 bits.
                self.place(offset as u16, len as u16);
                Ok(self.data_mut())
            }
            _ => Err(NoRoom),
        }
    }

    /// Puts `front` bytes, at most `ROOM`, in lieu of the first `skip`, and makes what is behind them `len` bytes long;
    /// what comes in is undefined. Gives the `ROOM` bytes that end where `len` begins, the packet's `front` bytes
    /// behind bytes of nobody, and the `len`. After an error it is as before.
    #[inline(always)]
    pub fn wrap<const ROOM: usize>(
        &mut self,
        skip: usize,
        front: usize,
        len: usize,
    ) -> Result<(&mut [u8; ROOM], &mut [u8]), NoRoom> {
        let at = usize::from(self.data_off()) + skip;
        let room = usize::from(self.buf_len());
        if at < ROOM || at > room || len > room - at || front > ROOM {
            return Err(NoRoom);
        }
        // Both are at most the buffer's length, which is 16 bits.
        self.place((at - front) as u16, (front + len) as u16);
        // SAFETY: buf_addr is a pointer to buf_len bytes, of which `ROOM` before `at` and `len` behind it are two parts.
        // DPDK's memory is mapped zeroed, so they are initialised. `&mut self` is the only access.
        unsafe {
            let body = self
                .field::<*mut u8>(sys::SHIM_MBUF_BUF_ADDR)
                .read()
                .add(at);
            let before = &mut *body.sub(ROOM).cast::<[u8; ROOM]>();
            Ok((before, slice::from_raw_parts_mut(body, len)))
        }
    }

    /// Gives all of `bufs` back to their pools, which is cheaper than one by one.
    pub fn free_bulk<const N: usize>(bufs: &mut ArrayVec<Mbuf, N>) {
        let count = bufs.len() as u32;
        // SAFETY: an `Mbuf` is a pointer to a valid mbuf. The vector forgets them, so none is freed twice.
        unsafe {
            bufs.set_len(0);
            sys::rte_pktmbuf_free_bulk(bufs.as_mut_ptr().cast(), count);
        }
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: we are the owner, and the pool outlives all its buffers.
        unsafe { sys::shim_mbuf_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the content: packets do not belong in logs.
        f.debug_struct("Mbuf")
            .field("headroom", &self.headroom())
            .field("len", &self.len())
            .field("tailroom", &self.tailroom())
            .finish()
    }
}

const _: () = assert!(size_of::<Option<Mbuf>>() == size_of::<*const ()>());
