//! Hostile input to the running binary (proof 5): nothing crashes, every packet is accounted for by reason, every
//! buffer returns to its pool.

mod attacks;
mod forge;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use attacks::{Attack, attacks};
use kit::{Cases, Gateway, Scratch, pcap};
use serde_json::Value;

/// Fragments wait for the others this long (RFC 791 3.2, RFC 8200 4.5: at least 15 s, at most 60 s), and some more.
const LONGEST_WAIT: Duration = Duration::from_secs(65);
/// By then an idle gateway has nothing in hand.
const SETTLED: Duration = Duration::from_millis(500);

/// Ports are capture files; SAs are NULL with HMAC-SHA2-256-128, and their networks 10.N.0.0/24 behind the peer.
const PORTS: &str = r#"
[[port]]
name = "wan"
device = "net_pcap0,rx_pcap=DIR/wan-in.pcap,tx_pcap=DIR/wan-out.pcap"
side = "unprotected"
addresses = ["10.99.0.1/24", "fd99::1/64"]
mac = "02:00:00:00:00:01"

[[port]]
name = "lan"
device = "net_pcap1,rx_pcap=DIR/lan-in.pcap,tx_pcap=DIR/lan-out.pcap"
side = "protected"
addresses = ["10.1.0.1/24", "fd01::1/64"]
mac = "02:00:00:00:00:03"

[[route]]
destination = "10.0.0.0/13"
via = "10.99.0.2"

[[route]]
destination = "fd02::/16"
via = "fd99::2"
"#;

fn policy(dir: &str) -> String {
    let mut text = PORTS.replace("DIR", dir);
    for (address, mac, port) in [
        ("10.99.0.2", 2, "wan"),
        ("fd99::2", 2, "wan"),
        ("10.1.0.2", 4, "lan"),
        ("fd01::2", 4, "lan"),
    ] {
        text.push_str(&format!(
            "[[neighbor]]\naddress = \"{address}\"\nmac = \"02:00:00:00:00:{mac:02x}\"\nport = \"{port}\"\n"
        ));
    }
    let v4 = ("10.99.0.1", "10.99.0.2", "10.1.0.0/24");
    let v6 = ("fd99::1", "fd99::2", "fd01::/64");
    for (name, protocol, spi, ends, remote, more) in [
        (
            "esp-4",
            "esp",
            forge::ESP_4,
            v4,
            "10.2.0.0/24",
            "replay-window = 0",
        ),
        (
            "esp-6",
            "esp",
            forge::ESP_6,
            v6,
            "fd02::/64",
            "replay-window = 0",
        ),
        (
            "ah-4",
            "ah",
            forge::AH_4,
            v4,
            "10.3.0.0/24",
            "replay-window = 0",
        ),
        (
            "replay-4",
            "esp",
            forge::REPLAY_4,
            v4,
            "10.4.0.0/24",
            "replay-window = 64",
        ),
        (
            "udp-4",
            "esp",
            forge::UDP_4,
            v4,
            "10.5.0.0/24",
            "replay-window = 0\nudp-encapsulation = { source-port = 4500, destination-port = 4500 }",
        ),
    ] {
        let (here, there, local) = ends;
        let encryption = if protocol == "esp" {
            "encryption = \"null\""
        } else {
            ""
        };
        let key = "0b".repeat(32);
        for (direction, spi, source, destination, more) in [
            ("inbound", spi, there, here, more),
            (
                "outbound",
                spi,
                here,
                there,
                more.split_once('\n').map_or("", |(_, udp)| udp),
            ),
        ] {
            text.push_str(&format!(
                "[[sa]]\nname = \"{name}-{direction}\"\ndirection = \"{direction}\"\nprotocol = \"{protocol}\"\n\
                 spi = {spi:#x}\nmode = \"tunnel\"\nsource = \"{source}\"\ndestination = \"{destination}\"\n\
                 {encryption}\nintegrity = \"hmac-sha2-256-128\"\nintegrity-key = \"{key}\"\n{more}\n"
            ));
        }
        text.push_str(&format!(
            "[[spd]]\nname = \"{name}\"\nlocal = [\"{local}\"]\nremote = [\"{remote}\"]\naction = \"protect\"\n\
             outbound = [\"{name}-outbound\"]\ninbound = [\"{name}-inbound\"]\n"
        ));
    }
    text
}

#[test]
fn hostile_input() {
    let mut cases = Cases::new();
    let idle = Attack {
        name: "nothing",
        wan: Vec::new(),
        lan: Vec::new(),
        forwarded: Some(0),
        drops: &[],
    };
    let idle_buffers = run(&idle, None).unwrap_or_else(|e| panic!("{e}"));
    for attack in attacks() {
        cases.run(attack.name, || run(&attack, Some(idle_buffers)).map(drop));
    }
    cases.finish();
}

/// Runs a gateway over the frames of one attack: how many buffers are in use at the end.
fn run(attack: &Attack, idle_buffers: Option<u64>) -> Result<u64, String> {
    let scratch = Scratch::new("hostile");
    pcap::write(&scratch.path("wan-in.pcap"), &attack.wan);
    pcap::write(&scratch.path("lan-in.pcap"), &attack.lan);
    let gateway = Gateway::start(None, "", &policy(&scratch.dir().to_string_lossy()));
    let count = (attack.wan.len() + attack.lan.len()) as u64;

    if idle_buffers.is_none() {
        // The ports announce their addresses first: what that takes is no measure.
        sleep(SETTLED);
    }
    let deadline = Instant::now() + LONGEST_WAIT;
    let buffers = loop {
        let account = Account::of(&gateway)?;
        let back = idle_buffers.is_none_or(|idle| account.buffers <= idle);
        if account.received == count && account.held == 0 && account.balanced() && back {
            break account.buffers;
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{count} frames, {idle_buffers:?} buffers when idle; {account:?}\n{:?}",
                gateway.drops()
            ));
        }
        sleep(Duration::from_millis(20));
    };
    let drops = gateway.drops()?;
    gateway.stop().success()?;
    // The port also announces its addresses, to all.
    let sent = pcap::read(&scratch.path("lan-out.pcap"));
    let forwarded = sent
        .iter()
        .filter(|frame| frame[..6] == forge::HOST)
        .count();
    check(attack, &drops, forwarded)?;
    Ok(buffers)
}

/// Drops and forwarded packets are as the attack expects.
fn check(attack: &Attack, drops: &BTreeMap<String, u64>, forwarded: usize) -> Result<(), String> {
    if attack
        .forwarded
        .is_some_and(|expected| expected != forwarded)
    {
        return Err(format!(
            "{forwarded} forwarded, expected {:?}; {drops:?}",
            attack.forwarded
        ));
    }
    if attack.drops.is_empty() {
        return Ok(());
    }
    for (reason, count) in drops.iter().filter(|(_, count)| **count > 0) {
        match attack.drops.iter().find(|(expected, _)| expected == reason) {
            None => return Err(format!("unexpected reason {reason}: {drops:?}")),
            Some((_, Some(expected))) if expected != count => {
                return Err(format!("{reason}: expected {expected}; {drops:?}"));
            }
            Some(_) => {}
        }
    }
    for (reason, expected) in attack.drops {
        if expected.is_some() && !drops.contains_key(*reason) {
            return Err(format!("{reason} was not counted: {drops:?}"));
        }
    }
    Ok(())
}

/// Where the packets of all workers are.
#[derive(Debug)]
struct Account {
    received: u64,
    held: u64,
    came: u64,
    went: u64,
    buffers: u64,
}

impl Account {
    fn of(gateway: &Gateway) -> Result<Account, String> {
        let all = gateway.show("all")?;
        let buffers = all["buffers"]["in_use"].as_u64();
        let number = |value: &Value| match value {
            // Drops are told by reason.
            Value::Array(reasons) => reasons.iter().filter_map(|r| r["packets"].as_u64()).sum(),
            value => value.as_u64().unwrap_or(0),
        };
        let sum = |fields: &[&str]| -> u64 {
            let workers = all["workers"].as_array().into_iter().flatten();
            workers
                .flat_map(|worker| fields.iter().map(|field| number(&worker[*field])))
                .sum()
        };
        Ok(Account {
            received: sum(&["received"]),
            held: sum(&["held"]),
            came: sum(&["received", "created", "injected", "taken_over"]),
            went: sum(&[
                "transmitted",
                "dropped",
                "punted",
                "handed_off",
                "consumed",
                "held",
            ]),
            buffers: buffers.ok_or_else(|| format!("no buffers in {all}"))?,
        })
    }

    /// No packet is lost without a reason, none is counted twice.
    fn balanced(&self) -> bool {
        self.came == self.went
    }
}
