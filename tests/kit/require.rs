//! Skipping a proof where the machine cannot run it, and refusing to skip in CI.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::cases::say;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// The right to make network namespaces and raw sockets.
    Root,
    /// A program on the search path, and the Debian package that brings it.
    Program(&'static str, &'static str),
    /// A device file, and what makes it appear.
    File(&'static str, &'static str),
    /// Python with scapy 2.8 or newer: older ones compute a wrong ICV for ESN with HMAC.
    Scapy,
}

impl Need {
    /// Why it is not there.
    fn missing(self) -> Option<String> {
        match self {
            Need::Root => (!can_make_namespaces()).then(|| "needs root".to_owned()),
            Need::Program(program, package) => {
                (!on_path(program)).then(|| format!("needs {program} (Debian package {package})"))
            }
            Need::File(path, from) => {
                (!Path::new(path).exists()).then(|| format!("needs {path} ({from})"))
            }
            Need::Scapy => python().is_none().then(|| {
                "needs Python with scapy 2.8: scripts/test installs it, or set PORTCULLIS_PYTHON"
                    .to_owned()
            }),
        }
    }
}

/// True if `test` can run here; otherwise prints `skipped: ...`.
///
/// # Panics
/// In CI (`CI=true`): there everything must run.
pub fn available(test: &str, needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let reason = missing.join(", ");
    assert!(
        env::var("CI").as_deref() != Ok("true"),
        "{test} must run in CI: {reason}"
    );
    say(&format!("skipped: {test}: {reason}"));
    false
}

/// Being root is not enough in a container, so the check is whether the capabilities are there.
fn can_make_namespaces() -> bool {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|have| have & CAP_NET_ADMIN != 0 && have & CAP_SYS_ADMIN != 0)
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

/// A Python that has scapy 2.8: `PORTCULLIS_PYTHON`, the one that `scripts/test` makes, or the system's.
pub fn python() -> Option<PathBuf> {
    let prepared = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python3");
    env::var_os("PORTCULLIS_PYTHON")
        .map(PathBuf::from)
        .into_iter()
        .chain([prepared, "python3".into()])
        .find(|python| {
            Command::new(python)
                .args([
                    "-c",
                    "import scapy, scapy.layers.ipsec as i\n\
                     assert tuple(map(int, scapy.VERSION.split('.')[:2])) >= (2, 8)\n\
                     assert 'AES-GCM' in i.CRYPT_ALGOS",
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
}
