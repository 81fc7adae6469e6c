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
use vaes::gcm::{Kernel, Key, Seed};

/// Each test of the list with both forms of keys.
macro_rules! with_both_forms {
    ($($test:ident)*) => {
        mod wide {
            $(#[test]
            fn $test() {
                super::$test::<vaes::gcm::Key>();
            })*
        }

        mod seed {
            $(#[test]
            fn $test() {
                super::$test::<vaes::gcm::Seed>();
            })*
        }
    };
}
use with_both_forms;

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
        let key = vec![1; len];
        assert!(kernel.key::<Key>(&key, [0; 4], 16).is_none());
        assert!(kernel.key::<Seed>(&key, [0; 4], 16).is_none());
    }
    for icv in (0..40).filter(|n| ![8, 12, 16].contains(n)) {
        assert!(kernel.key::<Key>(&[1; 16], [0; 4], icv).is_none());
        assert!(kernel.key::<Seed>(&[1; 16], [0; 4], icv).is_none());
    }
    let key: Key = kernel.key(&[0xab; 32], [0xcd; 4], 8).unwrap();
    assert_eq!(format!("{key:?}"), "Key(Aes256)");
    let seed: Seed = kernel.key(&[0xab; 24], [0xcd; 4], 8).unwrap();
    assert_eq!(format!("{seed:?}"), "Seed(Aes192)");
}
