//! What powers leave of the private key on the stack: nothing.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use modp_ifma::Modulus;

/// Bytes of the stack, below where the powers are asked for, that are looked at.
const DEPTH: usize = 128 << 10;

/// Uses so much of the stack that all of it is mapped afterwards.
#[inline(never)]
fn touch(byte: u8) -> u8 {
    let room = std::hint::black_box([byte; DEPTH]);
    room[usize::from(byte)]
}

/// What is on the stack after the powers.
#[inline(never)]
fn left(modulus: &Modulus, memory: &File, exponent: u8) -> Vec<u8> {
    let mut below = vec![0; DEPTH];
    let here = 0u8;
    assert_eq!(touch(0), 0);
    let powers = modulus.powers([&[2], &[0x53; 256]], &[exponent; 32]);
    let first = std::ptr::from_ref(&here) as u64 - DEPTH as u64;
    memory.read_exact_at(&mut below, first).unwrap();
    assert!(powers.is_some());
    below
}

/// The bases are the same, and so is what is left of them: what differs depends on the exponent.
#[test]
fn the_stack_does_not_tell_exponents_apart() {
    // Any odd number does for a prime, if it looks like one.
    let mut prime: Vec<u8> = (0..256u32).map(|n| ((n * n * 167) >> 3) as u8).collect();
    (prime[0], prime[255]) = (0x9d, 0x9d);
    let Some(modulus) = Modulus::new(&prime) else {
        return println!("no AVX-512 IFMA here");
    };
    let memory = File::open("/proc/self/mem").unwrap();
    // The first time the loader leaves something, too.
    left(&modulus, &memory, 1);
    let [one, other] = [0xa7, 0x1e].map(|exponent| left(&modulus, &memory, exponent));
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let differing = words.filter(|(one, other)| one != other).count();
    // Few are addresses of what was allocated; unwiped, there are hundreds.
    assert!(differing <= 8, "{differing} words");
}
