//! Policies with many SPD entries and SAs, and packets for them.

use std::fmt::Write;

use kit::packet::{Mac, ip_frame, udp_packet};

/// MAC address of the port from which clear packets come.
const LAN: Mac = [2, 0, 0, 0, 1, 1];
const HOST: Mac = [2, 0, 0, 0, 9, 9];

/// What a policy has beside its ports.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// ESP tunnels, each with two SAs and an SPD entry.
    pub tunnels: u32,
    /// Tunnels have these numbers and the following ones; number 0 is always there.
    pub first_tunnel: u32,
    /// Further SPD entries, which discard.
    pub entries: u32,
    /// Whose names and selectors begin here.
    pub first_entry: u32,
}

/// Ports: packets from a file again and again, and a device that takes all.
pub fn ports(packets: &str) -> String {
    format!(
        r#"
[[port]]
name = "lan"
device = "net_pcap0,rx_pcap={packets},infinite_rx=1"
side = "protected"
addresses = ["10.0.0.1/8"]
mac = "02:00:00:00:01:01"

[[port]]
name = "wan"
device = "net_null1,no-rx=1"
side = "unprotected"
addresses = ["192.0.2.1/24"]

[[route]]
destination = "0.0.0.0/0"
via = "192.0.2.2"

[[neighbor]]
address = "192.0.2.2"
mac = "02:00:00:00:02:02"
port = "wan"
"#
    )
}

/// SPD entries and SAs.
pub fn entries(size: Size) -> String {
    let mut text = String::new();
    for n in size.first_entry..size.first_entry + size.entries {
        let [_, a, b, c] = n.to_be_bytes();
        let _ = writeln!(
            text,
            "[[spd]]\nname = \"entry-{n}\"\nremote = [\"172.{}.{b}.{c}/32\"]\naction = \"discard\"",
            16 + a
        );
    }
    let numbers = size.first_tunnel..size.first_tunnel + size.tunnels;
    std::iter::once(0)
        .chain(numbers.filter(|n| *n != 0))
        .for_each(|n| tunnel(&mut text, n));
    text
}

fn tunnel(text: &mut String, n: u32) {
    let [_, a, b, c] = n.to_be_bytes();
    let far = format!("{}.{b}.{c}.1", 30 + a);
    let _ = writeln!(
        text,
        "[[spd]]\nname = \"tunnel-{n}\"\nremote = [\"{}.{b}.{c}.0/24\"]\naction = \"protect\"\n\
         outbound = [\"out-{n}\"]\ninbound = [\"in-{n}\"]",
        100 + a
    );
    for (name, direction, from, to, mark) in [
        ("out", "outbound", "192.0.2.1", far.as_str(), 1),
        ("in", "inbound", far.as_str(), "192.0.2.1", 2),
    ] {
        let _ = writeln!(
            text,
            "[[sa]]\nname = \"{name}-{n}\"\ndirection = \"{direction}\"\nprotocol = \"esp\"\nspi = {}\n\
             mode = \"tunnel\"\nsource = \"{from}\"\ndestination = \"{to}\"\n\
             encryption = \"aes128-gcm16\"\nkey = \"{mark:02x}{n:038x}\"",
            0x1000 + n
        );
    }
}

/// A clear packet of so many bytes for a tunnel.
pub fn frame(tunnel: u32, port: u16, bytes: usize) -> Vec<u8> {
    let [_, a, b, c] = tunnel.to_be_bytes();
    let to = format!("{}.{b}.{c}.5", 100 + a);
    let packet = udp_packet("10.0.0.9", &to, (port, 2000), &vec![0; bytes - 28]);
    ip_frame(LAN, HOST, &packet)
}
