//! Two gateways and a host behind each, joined by veth pairs: what is on a wire can be watched from outside.
//!
//! ```text
//! 10.1.0.2 ---- 10.1.0.1 A 10.99.0.1 ==== 10.99.0.2 B 10.2.0.1 ---- 10.2.0.2
//! ```

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::{Gateway, Netns, Process, Scratch, pcap, veth};

pub const RUNTIME: &str = "eal = [\"--no-huge\", \"-m\", \"128\"]\nmbufs = 8191";

pub struct Lab {
    pub scratch: Scratch,
    pub gateways: [Netns; 2],
    pub hosts: [Netns; 2],
}

impl Lab {
    pub fn new() -> Lab {
        let lab = Lab {
            scratch: Scratch::new("steady"),
            gateways: [Netns::new("a"), Netns::new("b")],
            hosts: [Netns::new("host-a"), Netns::new("host-b")],
        };
        veth((&lab.gateways[0], "wan"), (&lab.gateways[1], "wan"));
        for (number, (gateway, host)) in lab.gateways.iter().zip(&lab.hosts).enumerate() {
            veth((gateway, "lan"), (host, "eth0"));
            host.address("eth0", &format!("10.{}.0.2/24", number + 1));
            host.ip(&format!("route add default via 10.{}.0.1", number + 1));
            // Nobody asks for the gateway while it is down.
            let mac = lab.mac(number, "lan");
            host.ip(&format!(
                "neigh add 10.{}.0.1 lladdr {mac} dev eth0",
                number + 1
            ));
        }
        lab
    }

    /// MAC address of a gateway's interface.
    pub fn mac(&self, gateway: usize, interface: &str) -> String {
        let line = format!("cat /sys/class/net/{interface}/address");
        let mac = self.gateways[gateway]
            .sh(&line)
            .unwrap_or_else(|e| panic!("{e}"));
        mac.trim().to_owned()
    }

    /// Ports and route of a gateway.
    pub fn ports(&self, gateway: usize) -> String {
        let (me, peer) = (gateway + 1, 2 - gateway);
        format!(
            "[[port]]\nname = \"lan\"\ndevice = \"net_af_packet0,iface=lan\"\nside = \"protected\"\n\
             addresses = [\"10.{me}.0.1/24\"]\n\
             [[port]]\nname = \"wan\"\ndevice = \"net_af_packet1,iface=wan\"\nside = \"unprotected\"\n\
             addresses = [\"10.99.0.{me}/24\"]\n\
             [[route]]\ndestination = \"10.{peer}.0.0/24\"\nvia = \"10.99.0.{peer}\"\n"
        )
    }

    pub fn start(&self, gateway: usize, policy: &str) -> Gateway {
        let text = self.ports(gateway) + policy;
        Gateway::start(Some(&self.gateways[gateway]), RUNTIME, &text)
    }

    /// Watches an interface, both directions.
    pub fn watch(&self, netns: &Netns, interface: &str, file: &str) -> Watch {
        let path = self.scratch.path(file);
        let mut command = netns.command("tcpdump");
        command
            .args([
                "-i",
                interface,
                "-n",
                "-U",
                "--immediate-mode",
                "-B",
                "65536",
                "-Z",
                "root",
                "-w",
            ])
            .arg(&path);
        let mut process = Process::start("tcpdump", &mut command);
        process.wait_stderr("listening on", Duration::from_secs(10));
        Watch { process, path }
    }

    /// Sends or counts, in the namespace of a host.
    pub fn traffic(&self, netns: &Netns, args: &[&str]) -> Traffic {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/steady/traffic.py");
        let mut command = netns.command("python3");
        let process = Process::start("traffic.py", command.arg(script).args(args));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !process.stdout().contains("ready") {
            assert!(Instant::now() < deadline, "{}", process.stderr());
            sleep(Duration::from_millis(10));
        }
        Traffic(process)
    }
}

/// A running capture.
pub struct Watch {
    process: Process,
    path: PathBuf,
}

impl Watch {
    /// Every frame.
    pub fn end(mut self) -> Vec<Vec<u8>> {
        sleep(Duration::from_millis(200));
        self.process.signal("INT");
        self.process.wait(Duration::from_secs(10));
        pcap::read(&self.path)
    }
}

/// A running script.
pub struct Traffic(Process);

impl Traffic {
    /// What it counted.
    pub fn end(mut self) -> Vec<u64> {
        drop(self.0.take_stdin());
        self.0.wait(Duration::from_secs(10));
        let out = self.0.stdout();
        let last = out.lines().last().unwrap_or_default();
        last.split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    }
}

/// Manual SAs between both gateways: `from-1` and `from-2`, with an SPI and a key for each pair.
pub fn sas(gateway: usize, pair: u32) -> String {
    let (me, peer) = (gateway + 1, 2 - gateway);
    let sa = |(direction, from, to): (&str, usize, usize)| {
        format!(
            "[[sa]]\nname = \"from-{from}-{pair}\"\ndirection = \"{direction}\"\nprotocol = \"esp\"\nspi = {}\n\
             mode = \"tunnel\"\nsource = \"10.99.0.{from}\"\ndestination = \"10.99.0.{to}\"\n\
             encryption = \"aes128-gcm16\"\nkey = \"{}\"\n",
            0x1000 * (pair + 1) + from as u32,
            format!("{:02x}", from as u32 * 16 + pair % 16).repeat(16) + &format!("{pair:08x}"),
        )
    };
    [("outbound", me, peer), ("inbound", peer, me)]
        .map(sa)
        .concat()
}

/// A connection to the other gateway with these children.
pub fn connection(gateway: usize, children: &[&str]) -> String {
    let peer = 2 - gateway;
    let mut text = format!(
        "[[connection]]\nname = \"peer\"\nremote = \"10.99.0.{peer}\"\npsk = \"correct horse battery staple\"\n\
         proposals = [{{ encryption = \"aes256-cbc\", hash = \"sha2-256\", group = \"x25519\" }}]\n"
    );
    for child in children {
        text += &format!(
            "[[connection.child]]\nname = \"{child}\"\nproposals = [{{ encryption = \"aes128-gcm16\" }}]\n"
        );
    }
    text
}

/// An entry for the traffic of a port between both networks.
pub fn entry(gateway: usize, name: &str, port: u16, action: &str) -> String {
    let (me, peer) = (gateway + 1, 2 - gateway);
    // The port is the receiver's, behind B.
    let side = ["remote-port", "local-port"][gateway];
    format!(
        "[[spd]]\nname = \"{name}\"\nlocal = \"10.{me}.0.0/24\"\nremote = \"10.{peer}.0.0/24\"\nprotocol = \"udp\"\n\
         {side} = {port}\n{action}\n"
    )
}
