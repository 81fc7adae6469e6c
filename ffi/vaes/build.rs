//! Tells whether the compiler has the AVX-512 intrinsics.

use std::{env, process::Command};

include!("../intrinsics.rs");

fn main() {
    tell_of_intrinsics();
}
