//! The kernel against published vectors, against another implementation at every length, and against pages that must
//! not be touched. Where there is no kernel there is nothing to test but that it says so.

#![allow(clippy::unwrap_used, clippy::panic)]

mod agreement;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod forgery;
mod malformed;
mod message;
mod oracle;
mod vectors;

use vaes::cbc_hmac::Kernel;
use vaes::{Hash, Unsupported};

/// The kernel, or `None` on a CPU or in a build that cannot have one.
fn kernel() -> Option<Kernel> {
    match Kernel::new() {
        Ok(kernel) => Some(kernel),
        Err(why @ Unsupported::KnownAnswer(..)) => panic!("{why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[test]
fn refuses_keys_of_wrong_length_and_does_not_print_them() {
    let Some(kernel) = kernel() else {
        return;
    };
    for hash in Hash::ALL {
        let integrity_key = vec![0xab; hash.bytes()];
        for len in (0..=64).filter(|n| ![16, 24, 32].contains(n)) {
            assert!(kernel.key(hash, &vec![0xcd; len], &integrity_key).is_none());
        }
        for len in (0..=64).filter(|&n| n != hash.bytes()) {
            assert!(kernel.key(hash, &[0xcd; 16], &vec![0xab; len]).is_none());
        }
        let key = kernel.key(hash, &[0xcd; 32], &integrity_key).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({hash:?}, 14 rounds)"));
    }
}
