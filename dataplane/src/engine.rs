//! The crypto engine of the workers: the fastest that this kind of CPU has.

#[cfg(target_arch = "x86_64")]
mod multi_buffer;

#[cfg(target_arch = "x86_64")]
pub use multi_buffer::{FastEngine, Key};
#[cfg(not(target_arch = "x86_64"))]
pub use portcullis_ipsec::engine::portable::{Key, Portable as FastEngine};
