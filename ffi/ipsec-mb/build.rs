//! Generates the bindings and links the library. The library has no pkg-config file.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

include!("../libclang.rs");

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=../libclang.rs");
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        return Ok(());
    }
    let header = ["/usr/include", "/usr/local/include"]
        .map(|directory| Path::new(directory).join("intel-ipsec-mb.h"))
        .into_iter()
        .find(|path| path.exists())
        .ok_or("intel-ipsec-mb.h was not found. On Debian: apt install libipsec-mb-dev")?;
    println!("cargo:rerun-if-changed={}", header.display());
    println!("cargo:rustc-link-lib=dylib=IPSec_MB");

    choose_libclang();
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    bindgen::Builder::default()
        .header(header.display().to_string())
        // Old names of the library that it defines as macros, one of them that of a field.
        .clang_arg("-DNO_COMPAT_IMB_API_053")
        .allowlist_function(
            "imb_get_mb_mgr_size|imb_set_pointers_mb_mgr|init_mb_mgr_auto|imb_get_errno",
        )
        .allowlist_type("IMB_MGR|gcm_key_data|gcm_context_data")
        .generate_comments(false)
        .layout_tests(false)
        .derive_default(true)
        .generate()
        .map_err(|error| {
            format!("bindgen on intel-ipsec-mb.h (is libclang-dev installed?): {error}")
        })?
        .write_to_file(out.join("bindings.rs"))
        .map_err(|error: io::Error| error.to_string())
}
