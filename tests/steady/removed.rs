//! What a reload removes: it sends no more, and for a while it still takes what a peer sends that has not heard of it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::closed::await_sent;
use crate::lab::{Lab, RUNTIME, entry, sas};
use crate::{MANUAL, MARKER, NEGOTIATED};

/// Seconds; the scripts need one or two of them to start.
const OVERLAP: u64 = 8;

/// Two pairs of manual SAs, for two ports.
fn tunnels(gateway: usize) -> String {
    let (me, peer) = (gateway + 1, 2 - gateway);
    let protect = |pair| {
        format!(
            "action = \"protect\"\noutbound = \"from-{me}-{pair}\"\ninbound = \"from-{peer}-{pair}\""
        )
    };
    let entries = entry(gateway, "goes", MANUAL, &protect(0))
        + &entry(gateway, "is-forbidden", NEGOTIATED, &protect(1));
    sas(gateway, 0) + &sas(gateway, 1) + &entries
}

/// How much of what one host sends to each port for a while reaches the other: sent and received.
fn arrives(lab: &Lab) -> [Vec<u64>; 2] {
    let ports = [MANUAL, NEGOTIATED].map(|port| port.to_string());
    let [one, other] = ports.each_ref().map(String::as_str);
    let counter = lab.traffic(&lab.hosts[1], &["count", one, other]);
    let to = ["send", "10.2.0.2", "200", MARKER, one, other];
    let sender = lab.traffic(&lab.hosts[0], &to);
    sleep(Duration::from_secs(1));
    let sent = sender.end();
    sleep(Duration::from_millis(300));
    [sent, counter.end()]
}

/// Of two entries that go, one is only taken out, and one is forbidden by the same reload.
pub fn entries() -> Result<(), String> {
    let lab = Lab::new();
    let policy = format!("[policy]\ninbound-overlap = {OVERLAP}\n");
    let a = lab.start(0, &tunnels(0));
    let b = lab.start(1, &(policy.clone() + &tunnels(1)));
    // Until both ways stand.
    let warm_up = ["send", "10.2.0.2", "50", MARKER, "5001", "5002"];
    let sender = lab.traffic(&lab.hosts[0], &warm_up);
    await_sent(&b, "lan", 40)?;
    sender.end();
    let forbids = entry(1, "forbids", NEGOTIATED, "action = \"discard\"");
    b.rewrite(RUNTIME, &(policy + &lab.ports(1) + &forbids));
    let report = b.reload(&[])?;
    let removed = Instant::now();
    if report["outcome"] != "applied" || report["sas"]["removed"] != 4 {
        return Err(report.to_string());
    }
    let left = b.show("sa")?;
    let rows = left["sas"].as_array().map_or(&[][..], Vec::as_slice);
    let leaves = |sa: &Value| {
        sa["leaves_ms"]
            .as_u64()
            .is_some_and(|ms| ms <= OVERLAP * 1000)
    };
    // Nothing sends any more, and what is forbidden is not taken either.
    if !matches!(rows, [sa] if sa["direction"] == "inbound" && leaves(sa)) {
        return Err(format!("not the one that still takes packets: {left}"));
    }
    let [sent, received] = arrives(&lab);
    if sent[0] < 50 || received != [sent[0], 0] {
        return Err(format!(
            "at first: {sent:?} sent, {received:?} received\n{}",
            b.log()
        ));
    }
    let over = Duration::from_millis(OVERLAP * 1000 + 500);
    sleep(over.saturating_sub(removed.elapsed()));
    let [sent, received] = arrives(&lab);
    if sent[0] < 50 || received != [0, 0] {
        return Err(format!("afterwards: {sent:?} sent, {received:?} received"));
    }
    let left = b.show("sa")?;
    if left["sas"] != json!([]) {
        return Err(format!("their time is over: {left}"));
    }
    let unknown = b.drops()?.get("bad-spi").copied();
    a.stop().success()?;
    b.stop().success()?;
    match unknown {
        Some(1..) => Ok(()),
        other => Err(format!("unknown SPIs: {other:?}")),
    }
}
