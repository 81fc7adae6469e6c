//! Two gateways that run, A with the NIC and B without, and a host behind each.

use std::time::{Duration, Instant};

use kit::site::{policy, set_up_host, without_macs};
use kit::{Gateway, Netns, Scratch, replies, veth};
use serde_json::{Value, json};

use crate::nic::{self, Nic};
use crate::{SPI_IN, SPI_OUT, expect, sa};

/// The laboratory.
struct Lab {
    scratch: Scratch,
    a: Gateway,
    _b: Gateway,
    hosts: [Netns; 2],
    _netns: [Netns; 2],
}

const LAN: &str = "net_af_packet1,iface=lan";
const WAN: &str = "net_af_packet0,iface=wan";

/// The policy of a gateway.
fn kernel_policy(side: (u8, u8)) -> String {
    without_macs(&policy(side, LAN, WAN, ""))
}

impl Lab {
    fn new(nic: &Nic, settings: &[(&str, &str)]) -> Result<Lab, String> {
        let scratch = Scratch::new("offload");
        let netns = [Netns::new("a"), Netns::new("b")];
        let hosts = [Netns::new("host-a"), Netns::new("host-b")];
        veth((&netns[0], "wan"), (&netns[1], "wan"));
        for (me, (netns, host)) in (1..).zip(netns.iter().zip(&hosts)) {
            veth((netns, "lan"), (host, "eth0"));
            set_up_host(host, "eth0", me);
        }
        let port = ("net_af_packet0", settings);
        let a = nic.start(&netns[0], &scratch, port, &kernel_policy((1, 2)));
        let b = Gateway::start(Some(&netns[1]), "", &kernel_policy((2, 1)));
        let lab = Lab {
            scratch,
            a,
            _b: b,
            hosts,
            _netns: netns,
        };
        lab.wait(|lab| lab.ping(1).is_ok())?;
        Ok(lab)
    }

    fn ping(&self, count: u64) -> Result<(), String> {
        let line = format!("ping -n -c {count} -i 0.01 -w 5 -s 500 10.2.0.2");
        let text = self.hosts[0].sh(&line)?;
        match replies(&text) >= count {
            true => Ok(()),
            false => Err(text),
        }
    }

    fn wait(&self, what: impl Fn(&Lab) -> bool) -> Result<(), String> {
        let start = Instant::now();
        while !what(self) {
            if start.elapsed() > Duration::from_secs(20) {
                let log = nic::log(&self.scratch);
                return Err(format!("{}\n{log}\n{}", self.a.log(), self.a.show("sa")?));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Both SAs are the NIC's.
    fn wait_active(&self) -> Result<(), String> {
        self.wait(|lab| {
            let table = lab.a.show("sa").unwrap_or(Value::Null);
            [SPI_OUT, SPI_IN]
                .iter()
                .all(|spi| sa(&table, *spi)["engine"] == "inline-crypto")
        })
    }

    /// The outbound SA is no longer in the NIC.
    fn has_left(&self) -> bool {
        let end = format!("spi {SPI_OUT:#x}");
        let log = nic::log(&self.scratch);
        log.lines()
            .any(|line| line.starts_with("destroy") && line.ends_with(&end))
    }
}

/// The NIC seals what goes out and opens what comes in; when the SAs go, they leave it.
pub fn ping(nic: &Nic) -> Result<(), String> {
    let lab = Lab::new(nic, &[])?;
    lab.wait_active()?;
    let count = |table: &Value, spi| sa(table, spi)["offloaded"].as_u64().unwrap_or(0);
    let before = lab.a.show("sa")?;
    lab.ping(50)?;
    let after = lab.a.show("sa")?;
    for spi in [SPI_OUT, SPI_IN] {
        let done = count(&after, spi) - count(&before, spi);
        if done < 50 {
            return Err(format!(
                "{done} packets of {spi:#x} were the NIC's: {after}"
            ));
        }
    }
    let drops = lab.a.drops()?;
    if drops.contains_key("offload-failure") || drops.contains_key("icv-mismatch") {
        return Err(format!("{drops:?}"));
    }
    // Other keys: the old SAs leave, a little later, and the new ones come.
    let other = kernel_policy((1, 2)).replace("= 4097\n", "= 8193\n");
    let events = lab.scratch.path("events.json");
    let runtime = format!("{}event-log = {events:?}\n", nic::RUNTIME);
    lab.a
        .rewrite(&runtime, &other.replace(&"01".repeat(20), &"07".repeat(20)));
    let report = lab.a.reload(&[])?;
    expect(&report, &[("outcome", json!("applied"))])?;
    lab.wait(Lab::has_left)?;
    let Lab { scratch, a, .. } = lab;
    a.stop().success()?;
    nic::violations(&scratch)?;
    match nic::log(&scratch).contains("close sent") {
        true => Ok(()),
        false => Err(nic::log(&scratch)),
    }
}

/// What the NIC finds not to be authentic is dropped, counted and told.
pub fn forged(nic: &Nic) -> Result<(), String> {
    let lab = Lab::new(nic, &[("NIC_FORGE", "2")])?;
    lab.wait_active()?;
    // Each second reply is spoilt.
    let text = lab.hosts[0].sh("ping -n -c 20 -i 0.01 -w 2 10.2.0.2 || true")?;
    let came = replies(&text);
    let table = lab.a.show("sa")?;
    let drops = sa(&table, SPI_IN)["drops"].to_string();
    if came == 0 || !drops.contains("offload-failure") {
        return Err(format!("{came} came: {drops}"));
    }
    let events = std::fs::read_to_string(lab.scratch.path("events.json")).unwrap_or_default();
    let told = events.lines().any(|line| {
        line.contains("\"event\":\"crypto-failure\"") && line.contains("offload-failure")
    });
    match told {
        true => nic::violations(&lab.scratch),
        false => Err(events),
    }
}
