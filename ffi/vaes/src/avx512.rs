//! The kernels, and what both have: [`vector`] is the only place that reads and writes memory by vectors, and never
//! outside a slice; [`aes`] has the rounds.
// What needs a compiler newer than the oldest that is supported is here, and build.rs sees to it that it gets one.
#![allow(clippy::incompatible_msrv)]

mod aes;
pub mod cbc_hmac;
pub mod gcm;
mod vector;

use crate::Unsupported;

/// Whether the CPU has what all of this crate needs.
fn require() -> Result<(), Unsupported> {
    macro_rules! require {
        ($($feature:tt)*) => {
            $(if !std::arch::is_x86_feature_detected!($feature) {
                return Err(Unsupported::Cpu($feature));
            })*
        };
    }
    require!("avx512f" "avx512bw" "avx512dq" "avx512vl" "vaes" "vpclmulqdq" "aes" "bmi2");
    Ok(())
}
