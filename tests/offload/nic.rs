//! The NIC of `nic.c`: built once, loaded into gateways.

use std::path::PathBuf;
use std::process::Command;

use kit::site::policy;
use kit::{Drained, Gateway, Netns, Scratch, output};

/// The library.
pub struct Nic(PathBuf);

/// Runtime lines of a gateway with such a NIC. Its own AES-GCM is another's than the NIC's.
pub const RUNTIME: &str = "engines = [\"inline-crypto\", \"portable\"]\n";

impl Nic {
    /// Compiles it.
    ///
    /// # Panics
    /// If that cannot be: what the gateway itself is built with is all it takes.
    pub fn build(scratch: &Scratch) -> Nic {
        let library = scratch.path("nic.so");
        let flags = output("pkg-config", &["--cflags", "libdpdk"]).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/offload/nic.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-w", "-include", "rte_config.h"])
            .args(["-march=corei7", "-DALLOW_EXPERIMENTAL_API"])
            .args(flags.split_whitespace())
            .args([source, "-lIPSec_MB", "-ldl", "-o"])
            .arg(&library)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "cc {source}");
        Nic(library)
    }

    /// What a gateway's environment says: `port` is the device with the NIC.
    fn environment(
        &self,
        log: &Scratch,
        port: &str,
        more: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let own = [
            ("LD_PRELOAD", self.0.to_string_lossy().into_owned()),
            (
                "NIC_LOG",
                log.path("nic.log").to_string_lossy().into_owned(),
            ),
            ("NIC_PORT", port.to_owned()),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        own.into_iter()
            .chain(more)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// A gateway over capture files, the second of whose ports has the NIC.
    pub fn drain(&self, scratch: &Scratch, settings: &[(&str, &str)], policy: &str) -> Drained {
        let events = scratch.path("events.json");
        let runtime = format!("{RUNTIME}event-log = {events:?}\n");
        let environment = self.environment(scratch, "net_pcap1", settings);
        Gateway::drain_under(&environment, &runtime, policy)
    }

    /// A gateway that runs, the port `port` of which has the NIC.
    pub fn start(
        &self,
        netns: &Netns,
        scratch: &Scratch,
        (port, settings): (&str, &[(&str, &str)]),
        policy: &str,
    ) -> Gateway {
        let events = scratch.path("events.json");
        let runtime = format!("{RUNTIME}event-log = {events:?}\n");
        let environment = self.environment(scratch, port, settings);
        Gateway::start_under(netns, &environment, &runtime, policy)
    }
}

/// What the NIC has written down.
pub fn log(scratch: &Scratch) -> String {
    std::fs::read_to_string(scratch.path("nic.log")).unwrap_or_default()
}

/// An error if the NIC was used as it must not be.
pub fn violations(scratch: &Scratch) -> Result<(), String> {
    let log = log(scratch);
    match log.contains("violation") {
        true => Err(log),
        false => Ok(()),
    }
}

/// An event of this kind about this SA was written.
pub fn told(scratch: &Scratch, kind: &str, sa: &str) -> Result<(), String> {
    let events = std::fs::read_to_string(scratch.path("events.json")).unwrap_or_default();
    let kind = format!("\"event\":\"{kind}\"");
    let sa = format!("\"sa\":\"{sa}\"");
    let found = events
        .lines()
        .filter(|line| line.contains(&kind) && line.contains(&sa));
    match found.count() {
        1 => Ok(()),
        other => Err(format!("{other} events {kind} about {sa} in:\n{events}")),
    }
}

/// That of gateway 1 over capture files; neighbours are static.
pub fn device_policy(scratch: &Scratch, esn: bool) -> String {
    let dir = scratch.dir().display();
    let lan = format!("net_pcap0,rx_pcap={dir}/a.pcap,tx_pcap={dir}/a-out.pcap");
    let wan = format!("net_pcap1,rx_pcap={dir}/nothing.pcap,tx_pcap={dir}/wire.pcap");
    let neighbors = "[[neighbor]]\naddress = \"10.99.0.2\"\nmac = \"02:00:00:00:02:02\"\nport = \"wan\"\n\
                     [[neighbor]]\naddress = \"10.1.0.2\"\nmac = \"02:00:00:00:09:09\"\nport = \"lan\"\n";
    policy((1, 2), &lan, &wan, &format!("esn = {esn}")) + neighbors
}
