//! Inline crypto of network devices (rte_security): ESP's headers and trailer are the caller's, the device ciphers a
//! packet as it sends or receives it.
//!
//! A [`Session`] is an SA in a device. It leaves it when the last handle is dropped, which must not be a thread that
//! polls: the driver may take its time.

use std::ffi::c_int;
use std::fmt;
use std::net::IpAddr;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys as sys;

use crate::crypto::Pool;
use crate::error::{Errno, Error, c_string};
use crate::mbuf::Mbuf;
use crate::port::Open;

/// What a device did to a packet that it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing.
    Untouched,
    /// It verified and decrypted it in place; headers, trailer and ICV are there.
    Opened,
    /// It tried, and the packet is not authentic or cannot be decrypted.
    Failed,
}

/// An SA of ESP with AES-GCM, in the device's words.
pub struct Sa<'a> {
    /// SPI.
    pub spi: u32,
    /// Key, without salt.
    pub key: &'a [u8],
    /// Salt (RFC 4106 4).
    pub salt: [u8; 4],
    /// Length of the ICV.
    pub icv: u16,
    /// 64 bit sequence numbers, the high half of which is 0 yet.
    pub esn: bool,
    /// The device sends its packets; otherwise it receives them.
    pub egress: bool,
    /// Tunnel mode; otherwise transport mode.
    pub tunnel: bool,
    /// Outer addresses in tunnel mode, those of the ends in transport mode: source and destination.
    pub ends: (IpAddr, IpAddr),
}

impl fmt::Debug for Sa<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        f.debug_struct("Sa").field("spi", &self.spi).finish()
    }
}

/// What a device lacks for an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Inline crypto for SAs of this mode and direction.
    #[error("the device has no inline crypto for this mode and direction")]
    Inline,
    /// Extended sequence numbers.
    #[error("the device has no extended sequence numbers")]
    Esn,
    /// The algorithm, or keys or an ICV of this length.
    #[error("the device does not have its algorithms")]
    Cipher,
}

impl Sa<'_> {
    fn raw(&self) -> sys::shim_sa {
        sys::shim_sa {
            spi: self.spi,
            salt: self.salt,
            key: self.key.as_ptr(),
            key_len: self.key.len().min(usize::from(u16::MAX)) as u16,
            icv_len: self.icv,
            esn: self.esn.into(),
            egress: self.egress.into(),
            tunnel: self.tunnel.into(),
            v6: self.ends.1.is_ipv6().into(),
            source: octets(self.ends.0),
            destination: octets(self.ends.1),
        }
    }
}

/// An address, at the front.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

/// The memory of a port's sessions, and the port.
#[derive(Debug)]
struct Place {
    pool: Pool,
    port: Arc<Open>,
}

/// A port's inline crypto: control's side.
#[derive(Debug)]
pub struct Security {
    place: Arc<Place>,
    losses: &'static AtomicU32,
    noticed: u32,
}

impl Security {
    pub(crate) fn open(port: Arc<Open>, sessions: u32) -> Result<Security, Error> {
        let name = c_string(&format!("security-{}", port.id))?;
        let state = port.runtime.state();
        // SAFETY: the EAL runs, the port is open, and the name is copied.
        let raw = unsafe { sys::shim_security_pool(name.as_ptr(), port.id, sessions) };
        let pool = Pool::new("rte_security_session_get_size", raw)?;
        // A callback may run at any time: what it writes to is never freed. There are as many as ports.
        let losses: &'static AtomicU32 = Box::leak(Box::default());
        // SAFETY: the port is open, and the number lives for ever and is only ever changed atomically.
        let code = unsafe { sys::shim_security_watch(port.id, losses.as_ptr()) };
        drop(state);
        Error::check("rte_eth_dev_callback_register", code)?;
        Ok(Security {
            place: Arc::new(Place { pool, port }),
            losses,
            noticed: 0,
        })
    }

    /// What the device says that it lacks for an SA.
    pub fn lacks(&self, sa: &Sa<'_>) -> Option<Lack> {
        let raw = sa.raw();
        // SAFETY: the port is open; its capabilities are constant.
        let lack = unsafe { sys::shim_security_lacks(self.place.port.id, &raw) } as u32;
        match lack {
            sys::SHIM_LACKS_NOTHING => None,
            sys::SHIM_LACKS_ESN => Some(Lack::Esn),
            sys::SHIM_LACKS_CIPHER => Some(Lack::Cipher),
            _ => Some(Lack::Inline),
        }
    }

    /// Gives the device an SA; and if it receives its packets, the rule by which it knows them.
    pub fn create(&self, sa: &Sa<'_>) -> Result<Session, Error> {
        let raw = sa.raw();
        let mut made = sys::shim_session {
            ctx: ptr::null_mut(),
            session: ptr::null_mut(),
            flow: ptr::null_mut(),
            size: 0,
            port: 0,
            metadata: 0,
        };
        let place = &self.place;
        let alone = place.port.runtime.state();
        // SAFETY: the port is open and started with inline crypto; the description and its key live during the call,
        // the pool as long as the session. The lock keeps other changes out.
        let code: c_int =
            unsafe { sys::shim_security_create(place.port.id, &raw, place.pool.0, &mut made) };
        drop(alone);
        if code < 0 {
            return Err(Error::Call {
                call: "rte_security_session_create",
                errno: Errno(-code),
            });
        }
        Ok(Session(Arc::new(Inner {
            raw: made,
            place: place.clone(),
        })))
    }

    /// True if the device was reset or removed since the last look: it has no session any more.
    pub fn was_lost(&mut self) -> bool {
        let losses = self.losses.load(Ordering::Acquire);
        std::mem::replace(&mut self.noticed, losses) != losses
    }
}

/// An SA in a device.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    raw: sys::shim_session,
    place: Arc<Place>,
}

// SAFETY: packets only read what the pointers lead to; it is changed in one call, which frees it when all handles are gone.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        let _alone = self.place.port.runtime.state();
        // SAFETY: the session is the port's, which is open, and nobody has it any more. The lock keeps other changes out.
        unsafe { sys::shim_security_free(&mut self.raw) };
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// Has the device cipher a packet as it sends it: complete, but with payload and trailer in clear and an ICV to be
    /// filled in, at the packet's end. False if the driver refuses, and then the packet must not go out so.
    #[inline]
    pub fn mark(&self, packet: &mut Mbuf) -> bool {
        // SAFETY: the session lives, and the packet is ours alone and valid.
        unsafe { sys::shim_security_mark(&self.0.raw, packet.raw()) == 0 }
    }
}
