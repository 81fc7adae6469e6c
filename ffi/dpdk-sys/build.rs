//! Finds DPDK, compiles the shim and generates the bindings.

use std::path::PathBuf;
use std::{env, fs, io};

include!("../libclang.rs");

/// The libraries whose symbols the bindings and the shim use. Drivers are not linked: the EAL loads
/// them as plugins. `rte_log` is a library of its own from 24.03 on.
const LIBRARIES: [&str; 8] = [
    "rte_security",
    "rte_cryptodev",
    "rte_ethdev",
    "rte_mbuf",
    "rte_mempool",
    "rte_ring",
    "rte_eal",
    "rte_log",
];

const FUNCTIONS: &str = "rte_eal_(init|cleanup)|rte_strerror|rte_get_tsc_hz|rte_thread_(un)?register|rte_dev_(probe|remove)\
    |rte_pktmbuf_(copy|free_bulk)|rte_mempool_(avail_count|free)\
    |rte_eth_dev_(get_port_by_name|get_name_by_port|info_get|configure|adjust_nb_rx_tx_desc|start|stop|close|set_mtu|socket_id)\
    |rte_eth_[rt]x_queue_setup|rte_eth_macaddr_get|rte_eth_dev_default_mac_addr_set|rte_eth_stats_get\
    |rte_eth_(promiscuous|allmulticast)_(enable|disable)|shim_.*";

fn main() -> Result<(), String> {
    let files = [
        "shim.h",
        "shim.c",
        "crypto.h",
        "crypto.c",
        "security.h",
        "security.c",
        "../libclang.rs",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let dpdk = pkg_config::Config::new()
        .atleast_version("22.11")
        .cargo_metadata(false)
        .probe("libdpdk")
        .map_err(|error| {
            format!(
                "DPDK 22.11 or newer was not found. On Debian: apt install libdpdk-dev dpdk libclang-dev \
                 clang pkg-config\n{error}"
            )
        })?;
    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES
        .iter()
        .filter(|name| dpdk.libs.iter().any(|found| found == *name))
    {
        println!("cargo:rustc-link-lib=dylib={library}");
    }

    let mut flags = vec!["-include".to_owned(), "rte_config.h".to_owned()];
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        // DPDK's own baseline; its headers use these intrinsics.
        flags.push("-march=corei7".to_owned());
    }
    let mut shim = cc::Build::new();
    shim.files(["shim.c", "crypto.c", "security.c"])
        // The function behind rte_security_set_pkt_metadata is marked so; the wrapper is not.
        .define("ALLOW_EXPERIMENTAL_API", None)
        .includes(&dpdk.include_paths)
        .warnings(false)
        .opt_level(3);
    for flag in &flags {
        shim.flag(flag);
    }
    shim.compile("portcullis_dpdk_shim");

    flags.extend(
        dpdk.include_paths
            .iter()
            .map(|path| format!("-I{}", path.display())),
    );
    choose_libclang();
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    bindgen::Builder::default()
        .header("shim.h")
        .clang_args(flags)
        .allowlist_function(FUNCTIONS)
        .allowlist_var("SHIM_.*")
        // Only pointers to these cross the border: lib.rs declares them without content.
        .blocklist_type("rte_mbuf|rte_mempool|rte_device")
        .generate_comments(false)
        .layout_tests(false)
        .derive_default(true)
        .generate()
        .map_err(|error| {
            format!("bindgen on DPDK's headers (is libclang-dev installed?): {error}")
        })?
        .write_to_file(out.join("bindings.rs"))
        .map_err(|error: io::Error| error.to_string())
}
