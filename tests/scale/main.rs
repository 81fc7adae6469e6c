//! A policy that changes while traffic runs: no packet of what stays is lost, and no worker stands still for long.
//!
//! `scripts/scale` prints how long changes take and how large SAs are.

mod lab;
mod policy;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use kit::{Gateway, Scratch, balance};
use lab::{RUNTIME, Reloaded, one_tunnel, reload};
use policy::Size;
use serde_json::Value;

const START: Duration = Duration::from_secs(60);
/// What a round with orders may take of a worker's time, in microseconds.
const LONGEST_STALL: f64 = 1e3;

fn expect(report: &Value, path: &str, expected: Value) -> Result<(), String> {
    match report.pointer(path) == Some(&expected) {
        true => Ok(()),
        false => Err(format!("{path} is not {expected}: {report}")),
    }
}

/// Packets of tunnel 0, by its SA.
fn protected(gateway: &Gateway) -> Result<u64, String> {
    let table = gateway.show_with(&["sa", "--name", "out-0", "--limit", "1"])?;
    let row = &table["sas"][0];
    match (row["name"].as_str(), row["packets"].as_u64()) {
        (Some("out-0"), Some(packets)) => Ok(packets),
        _ => Err(format!("no packets of out-0 in {table}")),
    }
}

/// Something was received, all of it is accounted for, and nothing was dropped.
fn lossless(report: &Value) -> Result<(), String> {
    balance(report)?;
    let worker = &report["workers"][0];
    match (worker["received"].as_u64(), worker["dropped"].as_u64()) {
        (Some(1..), Some(0)) => Ok(()),
        _ => Err(format!("something was lost: {worker}")),
    }
}

#[test]
fn traffic_goes_on_while_the_policy_changes() {
    // What tests are built without optimisation for is not worth minutes.
    let many = if cfg!(debug_assertions) { 1000 } else { 10_000 };
    let result = change(many);
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

fn change(many: u32) -> Result<(), String> {
    let scratch = Scratch::new("scale");
    let ports = policy::ports(&one_tunnel(&scratch));
    let text = |size: Size| ports.clone() + &policy::entries(size);
    let base = Size {
        entries: many,
        ..Size::default()
    };
    let gateway = Gateway::start_with(RUNTIME, &text(base), &["--json"], START);
    let (mut before, mut stalls) = (0, BTreeMap::new());
    for round in 0..5 {
        let replaced = Size {
            first_entry: many * (round % 2),
            ..base
        };
        let added = Size {
            entries: many + 1,
            ..replaced
        };
        let tunnels = Size {
            tunnels: many / 2,
            // Never those of a round before: the keys of an SA that went are spent (RFC 4106 2).
            first_tunnel: 1 + round * (many / 2),
            ..replaced
        };
        for (what, size, kind, count) in [
            ("replace all entries", replaced, "/spd/added", many),
            ("add an entry", added, "/spd/added", 1),
            ("add SAs, remove an entry", tunnels, "/sas/added", many),
            ("remove the SAs", replaced, "/sas/removed", many),
        ] {
            gateway.rewrite(RUNTIME, &text(size));
            let Reloaded { report, stall } = reload(&gateway, what)?;
            let same = round == 0 && what == "replace all entries";
            let outcome = if same { "unchanged" } else { "applied" };
            expect(&report, "/outcome", outcome.into())?;
            let least = stalls.entry(what).or_insert(stall);
            *least = stall.min(*least);
            expect(&report, kind, if same { 0 } else { count }.into())?;
            let packets = protected(&gateway)?;
            if packets <= before {
                return Err(format!("{what}: {before} packets before, {packets} after"));
            }
            before = packets;
        }
    }
    // The best of five: interrupts count, too.
    if let Some((what, stall)) = stalls.iter().find(|(_, stall)| **stall > LONGEST_STALL) {
        return Err(format!("{what}: {stall} us without a look at the ports"));
    }
    let workers = gateway.show("workers")?;
    expect(&workers, "/reloads/applied", 19.into())?;
    let end = gateway.stop().success()?;
    let report: Value = serde_json::from_str(&end.stdout).map_err(|e| e.to_string())?;
    lossless(&report)?;
    // Never begun anew: every packet has had its own sequence number.
    let sa = &report["sas"][0];
    let sent = report["workers"][0]["received"].clone();
    expect(sa, "/name", "out-0".into())?;
    expect(sa, "/packets", sent.clone())?;
    expect(sa, "/sequence", sent.clone())?;
    let entries = report["spd"].as_array().ok_or("no entries")?;
    let entry = entries.iter().find(|entry| entry["name"] == "tunnel-0");
    expect(entry.ok_or("no entry")?, "/packets", sent)
}

#[test]
fn what_cannot_change_is_refused_as_a_whole() {
    let result = refusals();
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

fn refusals() -> Result<(), String> {
    let scratch = Scratch::new("scale");
    let ports = policy::ports(&one_tunnel(&scratch));
    let text = |entries| {
        let size = Size {
            entries,
            ..Size::default()
        };
        ports.clone() + &policy::entries(size)
    };
    let mut gateway = Gateway::start_with(RUNTIME, &text(3), &["--json"], START);
    // A trial changes nothing.
    gateway.rewrite(RUNTIME, &text(4));
    let report = gateway.reload(&["--dry-run"])?;
    expect(&report, "/outcome", "planned".into())?;
    expect(&report, "/spd/added_names", serde_json::json!(["entry-3"]))?;
    for (what, runtime, policy, reason) in [
        (
            "a mistake",
            RUNTIME,
            text(5).replace("discard", "drop"),
            "expected one of",
        ),
        (
            "a port",
            RUNTIME,
            text(5).replace("net_null1", "net_null2"),
            "port `wan` differs",
        ),
        (
            "a worker",
            "workers = 2\neal = [\"--no-huge\", \"-m\", \"512\"]",
            text(5),
            "`workers` differs",
        ),
        (
            "a key again",
            RUNTIME,
            text(5).replace("spi = 4096", "spi = 4097"),
            "RFC 4106",
        ),
    ] {
        gateway.rewrite(runtime, &policy);
        let Reloaded { report, .. } = reload(&gateway, what)?;
        expect(&report, "/outcome", "refused".into())?;
        if !report["reasons"].to_string().contains(reason) {
            return Err(format!("{what}: {report}"));
        }
        expect(&gateway.show("spd")?, "/spd_count", 4.into())?;
    }
    // New terms: the SA goes on. A signal does as well as the command.
    let packets = protected(&gateway)?;
    let terms = text(6).replace("name = \"out-0\"\n", "name = \"out-0\"\ndscp = 46\n");
    gateway.rewrite(RUNTIME, &terms);
    gateway.signal("HUP");
    for _ in 0..200 {
        if gateway.show("workers")?["reloads"]["applied"] == 1 {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    expect(&gateway.show("spd")?, "/spd_count", 7.into())?;
    if protected(&gateway)? <= packets {
        return Err("the SA under new terms began anew".into());
    }
    let end = gateway.stop().success()?;
    let report: Value = serde_json::from_str(&end.stdout).map_err(|e| e.to_string())?;
    lossless(&report)?;
    expect(
        &report["sas"][0],
        "/sequence",
        report["workers"][0]["received"].clone(),
    )
}
