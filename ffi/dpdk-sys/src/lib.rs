//! DPDK's C interface as bindgen reads it from the installed headers, cut down to what the `dpdk` crate uses.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code"
)]

/// A packet buffer. Its fields lie at the offsets `SHIM_MBUF_*`.
#[repr(C)]
pub struct rte_mbuf {
    _opaque: [u8; 0],
}

/// A pool of packet buffers.
#[repr(C)]
pub struct rte_mempool {
    _opaque: [u8; 0],
}

/// A device on a bus.
#[repr(C)]
pub struct rte_device {
    _opaque: [u8; 0],
}

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
