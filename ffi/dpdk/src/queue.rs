//! The queues of a started port: where packets come in and go out.

use std::ptr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::mbuf::Mbuf;
use crate::mempool::Mempool;
use crate::port::Open;

/// One receive queue. It keeps the port open.
#[derive(Debug)]
pub struct RxQueue {
    pub(crate) port: Arc<Open>,
    pub(crate) queue: u16,
    pub(crate) jumbo: Mempool,
    pub(crate) lost: u64,
}

/// One transmit queue. It keeps the port open.
#[derive(Debug)]
pub struct TxQueue {
    pub(crate) port: Arc<Open>,
    pub(crate) queue: u16,
}

impl RxQueue {
    /// Appends what has arrived, as much as fits, and returns how much that was. Some drivers look only
    /// for whole groups of packets, so leave room for 32 or more.
    ///
    /// A chain, or a buffer that somebody shares, is replaced by a copy in the jumbo pool.
    #[inline]
    pub fn burst<const N: usize>(&mut self, bufs: &mut ArrayVec<Mbuf, N>) -> usize {
        let before = bufs.len();
        let room = bufs.remaining_capacity().min(usize::from(u16::MAX)) as u16;
        // SAFETY: there is space for `room` pointers behind the first `before`, and an `Mbuf` is such a
        // pointer. The port runs as long as `self.port` lives, and `&mut self` is the only user of this
        // queue. The driver fills in as many valid mbufs as it returns; those that are not exclusive
        // are replaced below.
        let received = unsafe {
            let spare = bufs.as_mut_ptr().add(before).cast();
            let n = usize::from(sys::shim_rx_burst(self.port.id, self.queue, spare, room));
            bufs.set_len(before + n);
            n
        };
        if bufs.iter().skip(before).all(Mbuf::is_exclusive) {
            return received;
        }
        self.make_exclusive(bufs, before);
        bufs.len() - before
    }

    #[cold]
    fn make_exclusive<const N: usize>(&mut self, bufs: &mut ArrayVec<Mbuf, N>, before: usize) {
        let mut index = 0;
        bufs.retain(|buf| {
            index += 1;
            if index <= before || buf.is_exclusive() {
                return true;
            }
            let copy = buf.copy_contiguous(&self.jumbo);
            self.lost += u64::from(copy.is_none());
            copy.map(|copy| *buf = copy).is_some()
        });
    }

    /// Chains lost so far, because they were longer than the jumbo pool's buffers or it was empty.
    pub fn lost_chains(&self) -> u64 {
        self.lost
    }
}

impl TxQueue {
    /// True if a frame may leave here: nobody has to cipher it any more, or this port's device does, and is now told
    /// where its headers are. False if another device was to do so: it would go out in clear.
    pub fn admits(&self, frame: &mut Mbuf) -> bool {
        // SAFETY: the buffer is ours alone, valid and one segment.
        unsafe { sys::shim_security_leaves(frame.raw(), self.port.id) == 1 }
    }

    /// Sends from the front of `bufs`, and returns how many went. What the device had no room for stays in
    /// `bufs`, in order.
    #[inline]
    pub fn burst<const N: usize>(&mut self, bufs: &mut ArrayVec<Mbuf, N>) -> usize {
        let count = bufs.len().min(usize::from(u16::MAX)) as u16;
        // SAFETY: an `Mbuf` is a pointer to a valid mbuf that we own. The port runs as long as `self.port`
        // lives, and `&mut self` is the only user of this queue. The driver owns those it has sent: the
        // rest moves over them, and the vector forgets them.
        unsafe {
            let first = bufs.as_mut_ptr();
            let sent = usize::from(sys::shim_tx_burst(
                self.port.id,
                self.queue,
                first.cast(),
                count,
            ));
            let rest = bufs.len() - sent;
            ptr::copy(first.add(sent), first, rest);
            bufs.set_len(rest);
            sent
        }
    }
}
