//! Two gateways, 1 and 2, a network behind each, an ESP tunnel between them.
//!
//! ```text
//! 10.1.0.2 ---- 10.1.0.1 1 10.99.0.1 ==== 10.99.0.2 2 10.2.0.1 ---- 10.2.0.2
//! ```

use crate::Netns;

/// Ports, route, SAs and SPD of gateway 1 or 2 with these devices; `more` goes into each SA.
pub fn policy((me, peer): (u8, u8), lan: &str, wan: &str, more: &str) -> String {
    let mut text = format!(
        r#"
[[port]]
name = "lan"
device = "{lan}"
side = "protected"
addresses = ["10.{me}.0.1/24"]
mac = "02:00:00:00:0{me}:01"

[[port]]
name = "wan"
device = "{wan}"
side = "unprotected"
addresses = ["10.99.0.{me}/24"]
mac = "02:00:00:00:0{me}:02"

[[route]]
destination = "10.{peer}.0.0/24"
via = "10.99.0.{peer}"

[[spd]]
name = "lan-to-lan"
local = ["10.{me}.0.0/24"]
remote = ["10.{peer}.0.0/24"]
action = "protect"
outbound = ["from-{me}"]
inbound = ["from-{peer}"]
"#
    );
    for (direction, from, to) in [("outbound", me, peer), ("inbound", peer, me)] {
        text.push_str(&format!(
            r#"
[[sa]]
name = "from-{from}"
direction = "{direction}"
protocol = "esp"
spi = {}
mode = "tunnel"
source = "10.99.0.{from}"
destination = "10.99.0.{to}"
encryption = "aes128-gcm16"
key = "{}"
{more}
"#,
            0x1000 + u32::from(from),
            format!("{from:02x}").repeat(16 + 4),
        ));
    }
    text
}

/// The same where the ports are the kernel's: it keeps its own MAC addresses.
pub fn without_macs(policy: &str) -> String {
    let lines = policy.lines().filter(|line| !line.starts_with("mac ="));
    lines.collect::<Vec<_>>().join("\n")
}

/// The host behind gateway `me`.
pub fn set_up_host(netns: &Netns, interface: &str, me: u8) {
    netns.ip(&format!("link set {interface} up"));
    netns.address(interface, &format!("10.{me}.0.2/24"));
    netns.ip(&format!("route add default via 10.{me}.0.1"));
}
