//! Pools of packet buffers.

use std::ptr::NonNull;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::eal::{Pool, Runtime};
use crate::error::{Error, c_string};
use crate::mbuf::Mbuf;

/// A handle to a pool of packet buffers of one size. The pool itself lives as long as the EAL.
#[derive(Clone, Debug)]
pub struct Mempool {
    pool: Pool,
    data_room: u16,
    _runtime: Arc<Runtime>,
}

impl Mempool {
    /// Bytes in front of a fresh buffer's data.
    pub const HEADROOM: u16 = sys::SHIM_MBUF_HEADROOM;

    /// The largest `data_room`.
    pub const MAX_DATA_ROOM: u16 = u16::MAX - Self::HEADROOM;

    /// Makes `count` buffers (best one less than a power of two) with room for `data_room` bytes behind the
    /// headroom. Each registered thread keeps up to `cache` free ones (at most 512) to itself.
    pub fn new(name: &str, count: u32, cache: u32, data_room: u16) -> Result<Mempool, Error> {
        let room = data_room
            .checked_add(Self::HEADROOM)
            .ok_or(Error::DataRoom(data_room))?;
        let name = c_string(name)?;
        let runtime = Runtime::current()?;
        let mut state = runtime.state();
        // SAFETY: the EAL runs, and the name is a C string that is copied.
        let raw = unsafe { sys::shim_mbuf_pool(name.as_ptr(), count, cache, room) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::last("shim_mbuf_pool"))?;
        let pool = Pool { raw, count };
        state.pools.push(pool);
        drop(state);
        Ok(Mempool {
            pool,
            data_room,
            _runtime: runtime,
        })
    }

    /// An empty buffer.
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives, and gives out each buffer to one owner: single segment, reference count 1.
        unsafe { NonNull::new(sys::shim_mbuf_alloc(self.raw())).map(|raw| Mbuf::from_raw(raw)) }
    }

    /// Appends `n` empty buffers, or none if `bufs` or the pool has not as many left.
    pub fn alloc_bulk<const N: usize>(&self, bufs: &mut ArrayVec<Mbuf, N>, n: usize) -> bool {
        let len = bufs.len();
        if n > bufs.remaining_capacity() {
            return false;
        }
        // SAFETY: there is space for n pointers behind the first len, an `Mbuf` is such a pointer, and after
        // success (0) all n are valid and ours alone.
        unsafe {
            let spare = bufs.as_mut_ptr().add(len).cast();
            let done = sys::shim_mbuf_alloc_bulk(self.raw(), spare, n as u32) == 0;
            if done {
                bufs.set_len(len + n);
            }
            done
        }
    }

    /// Room for data behind the headroom of a fresh buffer.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// Buffers in the pool, in use or not.
    pub fn count(&self) -> u32 {
        self.pool.count
    }

    /// Buffers that are out: with us, in a driver's queue or on the wire. Exact only while no thread is busy.
    pub fn in_use(&self) -> u32 {
        self.pool.count.saturating_sub(self.pool.available())
    }

    pub(crate) fn raw(&self) -> *mut sys::rte_mempool {
        self.pool.raw.as_ptr()
    }
}
