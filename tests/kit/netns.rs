//! Network namespaces and the veth pairs that join them.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::{output, run};

/// A network namespace; removed, with every interface in it, when dropped.
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one. It is silent until it gets addresses: without IPv6, nothing is sent by itself.
    pub fn new(role: &str) -> Netns {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("portcullis-{}-{unique}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let netns = Netns { name };
        netns.ip("link set lo up");
        netns.set_ipv6(false);
        netns
    }

    /// Name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `ip` inside, arguments split at blanks.
    pub fn ip(&self, args: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(args.split_whitespace());
        run("ip", &all)
    }

    /// Runs a shell line inside: its output, or what went wrong.
    pub fn sh(&self, line: &str) -> Result<String, String> {
        output("ip", &["netns", "exec", &self.name, "sh", "-c", line])
    }

    /// Turns IPv6 on (without duplicate address detection and router solicitation) or off.
    pub fn set_ipv6(&self, on: bool) {
        let off = u8::from(!on);
        let line = format!(
            "cd /proc/sys/net/ipv6/conf || exit 0; for i in *; do \
             echo 0 >$i/accept_dad; echo 0 >$i/accept_ra; echo 0 >$i/router_solicitations; \
             echo {off} >$i/disable_ipv6; done"
        );
        self.sh(&line).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Adds an address (`ADDRESS/LENGTH`) to an interface.
    pub fn address(&self, interface: &str, address: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.ip(&format!("addr add {address} dev {interface}{nodad}"));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = output("ip", &["netns", "del", &self.name]);
    }
}

/// Joins two namespaces by a veth pair, both ends up.
///
/// Checksum and segmentation offloads are off: a packet socket or a DPDK port behind an end would otherwise see
/// packets without checksums, and larger than the MTU.
pub fn veth(a: (&Netns, &str), b: (&Netns, &str)) {
    let line = format!(
        "link add {} netns {} type veth peer name {} netns {}",
        a.1, a.0.name, b.1, b.0.name
    );
    run("ip", &line.split_whitespace().collect::<Vec<_>>());
    for (netns, interface) in [a, b] {
        netns
            .sh(&format!(
                "ethtool -K {interface} tx off rx off tso off gso off gro off >/dev/null"
            ))
            .unwrap_or_else(|e| panic!("{e}"));
        netns.ip(&format!("link set {interface} up"));
    }
}
