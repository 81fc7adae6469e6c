//! The ciphers of ESP for bursts of packets at once, on CPUs with AVX-512, VAES and VPCLMULQDQ: [`gcm`] is AES-GCM
//! (RFC 4106), [`cbc_hmac`] AES-CBC (RFC 3602) with HMAC-SHA-1-96 (RFC 2404) or HMAC-SHA-256-128 (RFC 4868).
//!
//! A kernel is the proof that the CPU can do it and has done it right. Packets of one burst may differ in everything:
//! key, key length, size, ESN.
//!
//! Without the intrinsics (rustc before 1.89) or on another architecture there is only [`Unsupported`].

#[cfg_attr(
    not(all(target_arch = "x86_64", avx512_intrinsics)),
    path = "absent.rs"
)]
mod avx512;

use std::fmt;

pub use avx512::{cbc_hmac, gcm};

/// Why there is no kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// The CPU, or the operating system on it, lacks this instruction set.
    Cpu(&'static str),
    /// The program was built with a compiler before 1.89 or for another architecture.
    Build,
    /// Wrong results with this algorithm, whose key has so many bits.
    KnownAnswer(&'static str, usize),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Cpu(feature) => write!(f, "vaes: this CPU lacks {feature}"),
            Unsupported::Build => f.write_str("vaes: not for x86-64, or built by rustc < 1.89"),
            Unsupported::KnownAnswer(algorithm, bits) => {
                write!(f, "vaes computes {algorithm} with {bits} bit keys wrongly")
            }
        }
    }
}

impl std::error::Error for Unsupported {}

/// One ESP packet to seal or open in place.
#[derive(Debug)]
pub struct EspPacket<'a, Key> {
    /// The key of its SA.
    pub key: &'a Key,
    /// From the SPI to the end of the ICV.
    pub packet: &'a mut [u8],
    /// The high half of an extended sequence number (RFC 4106 5, RFC 4303 2.2.1).
    pub sequence_high: Option<u32>,
    /// The result: sealed, or opened and authentic. Not so if the packet is too short for IV and ICV, or is not of whole
    /// blocks where it must be, which leaves it as it is; the payload of another packet that is not `ok` may have been
    /// decrypted all the same and means nothing.
    pub ok: bool,
}

impl<Key> EspPacket<'_, Key> {
    /// The same packet, for a shorter time.
    #[inline]
    pub fn again(&mut self) -> EspPacket<'_, Key> {
        EspPacket {
            key: self.key,
            packet: self.packet,
            sequence_high: self.sequence_high,
            ok: false,
        }
    }
}

/// A hash function for HMAC, whose ICV is cut as ESP has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// HMAC-SHA-1-96 (RFC 2404).
    Sha1,
    /// HMAC-SHA-256-128 (RFC 4868).
    Sha256,
}

impl Hash {
    /// All of them.
    pub const ALL: [Hash; 2] = [Hash::Sha1, Hash::Sha256];

    /// Length of its output, and of an HMAC key in ESP.
    pub const fn bytes(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
        }
    }

    /// Length of the ICV.
    pub const fn icv_bytes(self) -> usize {
        match self {
            Hash::Sha1 => 12,
            Hash::Sha256 => 16,
        }
    }
}

/// Packets that a kernel takes at once.
pub const BURST: usize = 32;
