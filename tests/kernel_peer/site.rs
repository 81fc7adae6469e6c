//! The topology: LAN host -- gateway -- Linux kernel with its own network behind it.
//!
//! ```text
//! lan netns          gateway netns                       far netns
//! eth0 ------------- lan0 [af_xdp] gateway [af_xdp] wan0 ------------- peer0 (vec0 of the guest)
//! 10.1.0.2           10.1.0.1                  10.99.0.1               10.99.0.2, lan 10.2.N.1
//! fd01::2            fd01::1                   fd99::1                 fd99::2,   lan fd02:N::1
//! ```
//! Case N has the network 10.2.N.0/24 or fd02:N::/64 behind the guest in tunnel mode, and the guest's address
//! 10.99.1.N or fd99::1:N in transport mode.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use kit::{Gateway, Guest, Netns, Process, Scratch, pcap, veth};

/// Everything that runs.
pub struct Site {
    pub guest: Guest,
    pub lan: Netns,
    gateway_netns: Netns,
    _far: Netns,
    _capture: Process,
    wire: PathBuf,
    seen: usize,
    _scratch: Scratch,
}

/// Ports, routes and neighbours of the gateway; SAs and SPD entries follow.
const POLICY: &str = r#"
[[port]]
name = "wan"
device = "net_af_xdp0,iface=wan0"
side = "unprotected"
addresses = ["10.99.0.1/16", "fd99::1/64"]

[[port]]
name = "lan"
device = "net_af_xdp1,iface=lan0"
side = "protected"
addresses = ["10.1.0.1/24", "fd01::1/64"]

[[route]]
destination = "10.2.0.0/16"
via = "10.99.0.2"
port = "wan"

[[route]]
destination = "fd02::/16"
via = "fd99::2"
port = "wan"
"#;

/// Networks and addresses of the guest that all cases share.
const GUEST: &str = "set -e
ip link set vec0 up mtu 1500
ip addr add 10.99.0.2/16 dev vec0
ip addr add fd99::2/64 dev vec0 nodad
ip link add lan type dummy
ip link set lan up
ip route add 10.1.0.0/24 via 10.99.0.1
ip route add fd01::/64 via fd99::1
# Linux would protect neighbour discovery, too: the advertisement (type 136) that the protected packet waits for.
for direction in in out; do
    for type in 135 136; do
        ip xfrm policy add src ::/0 dst ::/0 proto ipv6-icmp type $type dir $direction priority 1
    done
done
# A UDP socket that hands ESP to the kernel (RFC 3948): UDP_ENCAP is option 100, ESP in UDP its value 2.
perl -MSocket -e 'socket(S, AF_INET, SOCK_DGRAM, 0) && bind(S, sockaddr_in(4500, INADDR_ANY))
    && setsockopt(S, 17, 100, pack(\"i\", 2)) or die $!; sleep 3600' >/dev/null 2>&1 &";

impl Site {
    /// Namespaces, guest and capture; the gateway is started by [`Site::gateway`].
    pub fn new() -> Site {
        let (lan, gateway_netns, far) = (Netns::new("lan"), Netns::new("gw"), Netns::new("far"));
        veth((&gateway_netns, "lan0"), (&lan, "eth0"));
        veth((&gateway_netns, "wan0"), (&far, "peer0"));
        lan.set_ipv6(true);
        lan.address("eth0", "10.1.0.2/24");
        lan.address("eth0", "fd01::2/64");
        lan.ip("route add default via 10.1.0.1");
        lan.ip("-6 route add default via fd01::1");

        let scratch = Scratch::new("wire");
        let wire = scratch.path("wire.pcap");
        let mut command = far.command("tcpdump");
        command
            .args(["-i", "peer0", "--immediate-mode", "-U", "-Z", "root", "-w"])
            .arg(&wire);
        let mut capture = Process::start("tcpdump", &mut command);
        capture.wait_stderr("listening on", Duration::from_secs(10));

        let mut guest = Guest::boot(&far, &["peer0"]);
        guest.sh(GUEST).unwrap_or_else(|e| panic!("{e}"));
        Site {
            guest,
            lan,
            gateway_netns,
            _far: far,
            _capture: capture,
            wire,
            seen: 0,
            _scratch: scratch,
        }
    }

    /// Starts the gateway with these SAs and SPD entries.
    pub fn gateway(&self, sas_and_spd: &str) -> Gateway {
        Gateway::start(
            Some(&self.gateway_netns),
            "",
            &format!("{POLICY}{sas_and_spd}"),
        )
    }

    /// Runs lines of `ip -batch` in the guest: one process, which is what costs time there.
    pub fn guest_ip(&mut self, lines: &str) -> Result<String, String> {
        self.guest.sh(&format!("ip -batch - <<'END'\n{lines}\nEND"))
    }

    /// Frames that crossed the unprotected wire since the last call.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        sleep(Duration::from_millis(50)); // what is under way may land
        let mut all = pcap::read(&self.wire);
        let new = all.split_off(self.seen);
        self.seen += new.len();
        new
    }
}
