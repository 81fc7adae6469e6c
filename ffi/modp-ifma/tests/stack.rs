//! What powers leave of themselves in memory: on the stack, nothing.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use modp_ifma::Modulus;

/// Bytes of the stack, below where the powers are asked for, that are looked at.
const DEPTH: usize = 256 << 10;
/// The digits with which the powers are computed (RFC 3526's primes are not needed for this: any odd number is one here).
const BITS: usize = 52;

/// A number's digits, lowest first.
fn digits(bytes: &[u8]) -> HashSet<u64> {
    let bit = |n: usize| {
        let byte = bytes.len().checked_sub(1 + n / 8).map(|place| bytes[place]);
        u64::from(byte.unwrap_or(0) >> (n % 8) & 1)
    };
    let digit = |n: usize| (0..BITS).fold(0, |digit, i| digit | bit(n * BITS + i) << i);
    (0..8 * bytes.len() / BITS).map(digit).collect()
}

/// Calls it with so much of the stack in use that it cannot fault on a page that is not there yet.
#[inline(never)]
fn touch(byte: u8) -> u8 {
    let room = std::hint::black_box([byte; DEPTH]);
    room[usize::from(byte)]
}

#[test]
fn the_stack_keeps_nothing() {
    let mut prime = vec![0x9d; 256];
    prime[255] |= 1;
    let Some(modulus) = Modulus::new(&prime) else {
        return println!("no AVX-512 IFMA here");
    };
    assert_eq!(touch(0), 0);
    let memory = File::open("/proc/self/mem").unwrap();
    let mut below = vec![0; DEPTH];
    let here = 0u8;
    let powers = modulus.powers([&[2], &[0x53; 256]], &[0xa7; 32]).unwrap();
    let first = std::ptr::from_ref(&here) as u64 - DEPTH as u64;
    memory.read_exact_at(&mut below, first).unwrap();
    for power in &powers {
        let digits = digits(power);
        let words = below.chunks_exact(8);
        let found =
            words.filter(|w| digits.contains(&u64::from_le_bytes((*w).try_into().unwrap())));
        assert_eq!(found.count(), 0, "digits of a power are on the stack");
        let bytes = below.windows(16).any(|window| window == &power[..16]);
        assert!(!bytes, "bytes of a power are on the stack");
    }
}
