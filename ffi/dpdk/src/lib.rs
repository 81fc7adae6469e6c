//! DPDK behind a safe and small interface.
//!
//! Who owns what:
//! - [`Eal`] is the process's DPDK. It starts once, on the thread that becomes the main lcore.
//! - [`Mempool`]s live until the EAL is cleaned up, whatever becomes of their handles. So an [`Mbuf`]
//!   is one pointer, holds no count of references, and may outlive every handle.
//! - [`Device`] is an Ethernet device that nobody else has opened. [`Device::start`] makes it a [`Port`]
//!   (control) and its [`RxQueue`]s and [`TxQueue`]s (packets). The device is stopped and closed when
//!   the last of these is dropped, so a queue never polls a stopped device.
//! - Crypto devices: see [`crypto`]; network devices that cipher: see [`security`].
//! - Dropping [`Eal`] cleans up only if no port, pool handle, registered thread or mbuf is left;
//!   otherwise the memory stays mapped until the process ends, and nothing dangles.

pub mod crypto;
mod eal;
mod error;
mod hugepages;
mod mbuf;
mod mempool;
mod port;
mod queue;
pub mod security;
pub mod thread;

pub use eal::Eal;
pub use error::{Errno, Error};
pub use hugepages::free_hugepage_bytes;
pub use mbuf::{Mbuf, NoRoom};
pub use mempool::Mempool;
pub use port::{Device, DeviceInfo, MacAddress, Port, PortConfig, PortStats};
pub use queue::{RxQueue, TxQueue};
