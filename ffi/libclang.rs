// Included by the build scripts that run bindgen; they import `env`, `fs` and `PathBuf`.

/// Several LLVMs may be installed, and a libclang with the headers of another one fails in odd ways:
/// take the newest that is complete, unless the environment names one.
fn choose_libclang() {
    println!("cargo:rerun-if-env-changed=LIBCLANG_PATH");
    if env::var_os("LIBCLANG_PATH").is_some() {
        return;
    }
    let version = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("llvm-")?.parse::<u32>().ok()
    };
    let newest = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| version(path).is_some())
        .filter(|path| {
            path.join("lib/libclang.so").exists() || path.join("lib/libclang.so.1").exists()
        })
        .filter(|path| path.join("lib/clang").is_dir())
        .max_by_key(version);
    if let Some(llvm) = newest {
        // SAFETY: a build script has one thread, so nothing reads the environment meanwhile.
        unsafe { env::set_var("LIBCLANG_PATH", llvm.join("lib")) };
    }
}
