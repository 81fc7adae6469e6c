//! The kernel against published vectors, against another implementation at every length, and against pages that must
//! not be touched. Where there is no kernel there is nothing to test but that it says so.

#![allow(clippy::unwrap_used, clippy::panic)]

mod agreement;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod message;
mod vectors;

use vaes::Unsupported;
use vaes::gcm::Kernel;

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
fn tells_why_there_is_no_kernel() {
    let Some(kernel) = kernel() else {
        return;
    };
    for len in (0..40).filter(|n| ![16, 24, 32].contains(n)) {
        assert!(kernel.key(&vec![1; len], [0; 4], 16).is_none());
    }
    for icv in (0..40).filter(|n| ![8, 12, 16].contains(n)) {
        assert!(kernel.key(&[1; 16], [0; 4], icv).is_none());
    }
    let key = kernel.key(&[0xab; 32], [0xcd; 4], 8).unwrap();
    assert_eq!(format!("{key:?}"), "Key(Aes256)");
}
