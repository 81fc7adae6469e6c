//! Powers modulo a prime as a responder of Diffie-Hellman needs them: its public value and the secret, both with its
//! private key, at once, on CPUs with AVX-512 IFMA. Two multiplications side by side hide each other's waiting: together
//! they take about as long as one.
//!
//! A [`Modulus`] is the proof that the CPU can do it. Without the intrinsics (rustc before 1.89) or on another
//! architecture there is none, and another library has to do.

#[cfg_attr(
    not(all(target_arch = "x86_64", avx512_intrinsics)),
    path = "absent.rs"
)]
mod ifma;
mod number;

use zeroize::Zeroizing;

/// A prime of 2048, 3072 or 4096 bits whose highest bit is set, and what computing modulo it takes.
#[derive(Debug)]
pub struct Modulus {
    size: Size,
    /// Bytes.
    length: usize,
}

#[derive(Debug)]
enum Size {
    Bits2048(Box<ifma::Field<5>>),
    Bits3072(Box<ifma::Field<8>>),
    Bits4096(Box<ifma::Field<10>>),
}

impl Modulus {
    /// `None` where the CPU cannot do it, or for a number of another size or that is even.
    pub fn new(prime: &[u8]) -> Option<Self> {
        let odd = prime.last().is_some_and(|last| last & 1 == 1);
        let full = prime.first().is_some_and(|first| first & 0x80 != 0);
        if !odd || !full {
            return None;
        }
        let size = match prime.len() {
            256 => Size::Bits2048(Box::new(ifma::Field::new(prime)?)),
            384 => Size::Bits3072(Box::new(ifma::Field::new(prime)?)),
            512 => Size::Bits4096(Box::new(ifma::Field::new(prime)?)),
            _ => return None,
        };
        let length = prime.len();
        Some(Modulus { size, length })
    }

    /// Both bases to the power of `exponent`, each as many bytes as the prime. Bases that are longer than the prime have
    /// no power. The time depends on the lengths alone.
    pub fn powers(&self, bases: [&[u8]; 2], exponent: &[u8]) -> Option<[Zeroizing<Vec<u8>>; 2]> {
        if bases.iter().any(|base| base.len() > self.length) {
            return None;
        }
        let length = self.length;
        Some(match &self.size {
            Size::Bits2048(field) => field.powers(bases, exponent, length),
            Size::Bits3072(field) => field.powers(bases, exponent, length),
            Size::Bits4096(field) => field.powers(bases, exponent, length),
        })
    }
}
