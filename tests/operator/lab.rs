//! Two gateways between two hosts; IKE makes their tunnel when a packet asks for it.

use std::path::PathBuf;
use std::process::Command;

use kit::{Gateway, Netns, Scratch, binary, python, veth};
use serde_json::Value;

/// The lab while it lives.
pub struct Lab {
    pub a: Gateway,
    _b: Gateway,
    pub host_a: Netns,
    netns: [Netns; 2],
    _host_b: Netns,
    /// Where A serves its figures.
    pub metrics: &'static str,
    /// The policy of A.
    pub policy_file: PathBuf,
    pub scratch: Scratch,
}

fn policy(me: u8, more: &str) -> String {
    let peer = 3 - me;
    format!(
        r#"
[[port]]
name = "lan"
device = "net_af_packet1,iface=lan"
side = "protected"
addresses = ["10.{me}.0.1/24"]

[[port]]
name = "wan"
device = "net_af_packet0,iface=wan"
side = "unprotected"
addresses = ["10.99.0.{me}/24"]

[[route]]
destination = "10.{peer}.0.0/24"
via = "10.99.0.{peer}"

[[connection]]
name = "b"
remote = "10.99.0.{peer}"
psk = "correct horse battery staple"

[[connection.child]]
name = "lans"

[[spd]]
name = "to-b"
local = ["10.{me}.0.0/24"]
remote = ["10.{peer}.0.0/24"]
action = "protect"
connection = "b"
child = "lans"
{more}
"#
    )
}

/// A tunnel with a key written by hand, of A alone.
const SPARE: &str = r#"
[metrics]
listen = "127.0.0.1:9469"

[[route]]
destination = "10.3.0.0/24"
via = "10.99.0.2"

[[sa]]
name = "to-c"
direction = "outbound"
protocol = "esp"
spi = 0x3001
mode = "tunnel"
source = "10.99.0.1"
destination = "10.99.0.3"
encryption = "aes128-gcm16"
key = "000102030405060708090a0b0c0d0e0f10111213"

[[spd]]
name = "spare"
local = ["10.1.0.0/24"]
remote = ["10.3.0.0/24"]
action = "protect"
outbound = ["to-c"]
"#;

impl Lab {
    pub fn new() -> Result<Lab, String> {
        let scratch = Scratch::new("operator");
        let netns = [Netns::new("a"), Netns::new("b")];
        let hosts = [Netns::new("host-a"), Netns::new("host-b")];
        veth((&netns[0], "wan"), (&netns[1], "wan"));
        for (index, host) in hosts.iter().enumerate() {
            let number = index + 1;
            veth((&netns[index], "lan"), (host, "eth0"));
            host.ip("link set eth0 up");
            host.address("eth0", &format!("10.{number}.0.2/24"));
            host.ip(&format!("route add default via 10.{number}.0.1"));
            netns[index].ip("link set lo up");
        }
        let log = format!("event-log = {:?}", scratch.path("events.jsonl"));
        let text = policy(1, SPARE);
        let a = Gateway::start(Some(&netns[0]), &log, &text);
        let b = Gateway::start(Some(&netns[1]), "", &policy(2, ""));
        let policy_file = a.policy_file();
        let [host_a, host_b] = hosts;
        Ok(Lab {
            a,
            _b: b,
            host_a,
            netns,
            _host_b: host_b,
            metrics: "127.0.0.1:9469",
            policy_file,
            scratch,
        })
    }

    /// A command of the operator of A.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let (name, rest) = args.split_at(1);
        // Before the rest, which may end with `-w`.
        command.args(name).arg("--socket").arg(self.a.socket());
        command.args(rest);
        command
    }

    /// What a command prints.
    pub fn text(&self, args: &[&str]) -> Result<String, String> {
        let done = self.command(args).output().map_err(|e| e.to_string())?;
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
            false => Err(format!(
                "{args:?}: {}",
                String::from_utf8_lossy(&done.stderr)
            )),
        }
    }

    /// The same as JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value, String> {
        let text = self.text(args)?;
        serde_json::from_str(&text).map_err(|e| format!("{args:?}: {e}\n{text}"))
    }

    /// Runs the checking script beside A, where its loopback is.
    pub fn check_beside(&self, args: &[&str]) -> Result<String, String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator/check.py");
        let python = python().ok_or("no python")?;
        let line = format!("{} {script} {}", python.display(), args.join(" "));
        self.netns[0].sh(&line)
    }

    /// A packet of ESP that no SA is for, from beside B.
    pub fn stray_esp(&self, spi: u32) -> Result<(), String> {
        let python = python().ok_or("no python")?;
        let line = format!(
            "{} -c 'from scapy.all import *; sendp(Ether(dst=\"{}\")/IP(src=\"10.99.0.2\", dst=\"10.99.0.1\", proto=50)\
             /Raw(({spi}).to_bytes(4, \"big\") + bytes(60)), iface=\"wan\", verbose=0)'",
            python.display(),
            self.netns[0].sh("cat /sys/class/net/wan/address")?.trim(),
        );
        self.netns[1].sh(&line).map(drop)
    }
}
