//! What bindgen read from `intel-ipsec-mb.h`.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
