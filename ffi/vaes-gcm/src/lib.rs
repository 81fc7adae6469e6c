//! AES-GCM (NIST SP 800-38D) as ESP uses it (RFC 4106), for bursts of packets at once, on CPUs with AVX-512, VAES
//! and VPCLMULQDQ.
//!
//! A [`Kernel`] is the proof that the CPU can do it and has done it right. Packets of one burst may differ in
//! everything: key, key length, size, ESN.
//!
//! Without the intrinsics (rustc before 1.89) or on another architecture there is only [`Unsupported`].

#[cfg_attr(
    not(all(target_arch = "x86_64", avx512_intrinsics)),
    path = "absent.rs"
)]
mod avx512;

use std::fmt;

pub use avx512::{Kernel, Key};

/// Why there is no kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// The CPU, or the operating system on it, lacks this instruction set.
    Cpu(&'static str),
    /// The program was built with a compiler before 1.89 or for another architecture.
    Build,
    /// Wrong results with keys of so many bits.
    KnownAnswer(usize),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Cpu(feature) => write!(f, "vaes-gcm: this CPU lacks {feature}"),
            Unsupported::Build => f.write_str("vaes-gcm: not for x86-64, or built by rustc < 1.89"),
            Unsupported::KnownAnswer(bits) => {
                write!(f, "vaes-gcm computes AES-GCM with {bits} bit keys wrongly")
            }
        }
    }
}

impl std::error::Error for Unsupported {}

/// One ESP packet to seal or open in place.
#[derive(Debug)]
pub struct EspPacket<'a> {
    /// The key of its SA.
    pub key: &'a Key,
    /// From the SPI to the end of the ICV.
    pub packet: &'a mut [u8],
    /// The high half of an extended sequence number (RFC 4106 5).
    pub sequence_high: Option<u32>,
    /// The result: sealed, or opened and authentic. Not so if the packet is too short for IV and ICV, which leaves it
    /// as it is; the payload of another packet that is not `ok` has been decrypted all the same and means nothing.
    pub ok: bool,
}

impl EspPacket<'_> {
    /// The same packet, for a shorter time.
    #[inline]
    pub fn again(&mut self) -> EspPacket<'_> {
        EspPacket {
            key: self.key,
            packet: self.packet,
            sequence_high: self.sequence_high,
            ok: false,
        }
    }
}

/// Packets that [`Kernel::seal_burst`] and [`Kernel::open_burst`] take at once.
pub const BURST: usize = 32;
