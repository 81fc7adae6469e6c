// Included by the build scripts of what is written with AVX-512 intrinsics; they import `env` and `Command`.

/// Tells whether the compiler has them: they are stable since 1.89, which is newer than the oldest compiler that this
/// workspace supports.
fn tell_of_intrinsics() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../intrinsics.rs");
    println!("cargo::rustc-check-cfg=cfg(avx512_intrinsics)");
    if minor_version().is_some_and(|minor| minor >= 89) {
        println!("cargo::rustc-cfg=avx512_intrinsics");
    }
}

/// The 89 of "rustc 1.89.0 (...)"; there is no 2.
fn minor_version() -> Option<u32> {
    let output = Command::new(env::var_os("RUSTC")?)
        .arg("--version")
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    version
        .strip_prefix("rustc 1.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}
