//! What a gateway under changing policies runs on, and how a reload is timed.

use kit::{Gateway, Scratch, pcap};
use serde_json::Value;

use crate::policy;

/// What a round of a worker may take at most, wherever the tests run: a scheduler may take the core away.
const LONGEST_ROUND: f64 = 1e6;
/// Without NIC and huge pages.
pub(crate) const RUNTIME: &str = "eal = [\"--no-huge\", \"-m\", \"512\"]";

/// Few packets for tunnel 0, in 64 flows.
pub(crate) fn one_tunnel(scratch: &Scratch) -> String {
    let frames: Vec<_> = (0..64).map(|n| policy::frame(0, 1000 + n, 64)).collect();
    let path = scratch.path("one.pcap");
    pcap::write(&path, &frames);
    path.display().to_string()
}

/// What a reload reports of its steps.
pub(crate) const STEPS: [&str; 3] = ["read_ms", "prepare_ms", "apply_ms"];

fn milliseconds(report: &Value, step: &str) -> f64 {
    report[step].as_f64().unwrap_or(f64::NAN)
}

/// A reload, and for how many microseconds of its own time it kept the worker from its packets at a stretch.
pub(crate) struct Reloaded {
    pub(crate) report: Value,
    pub(crate) stall: f64,
}

/// Reloads, and says how long it took and what the longest round of the worker was meanwhile.
pub(crate) fn reload(gateway: &Gateway, what: &str) -> Result<Reloaded, String> {
    gateway.show("workers")?;
    let report = gateway.reload(&[])?;
    let workers = gateway.show("workers")?;
    let longest = |name: &str| {
        workers["workers"][0][name]
            .as_f64()
            .ok_or("no longest round")
    };
    let (longest, stall) = (longest("longest_round_us")?, longest("longest_orders_us")?);
    let [read, prepare, apply] = STEPS.map(|step| milliseconds(&report, step));
    println!(
        "{what:36} {:9} read {read:8.1} ms  prepare {prepare:8.1} ms  apply {apply:7.1} ms  longest round {longest:7.0} us, \
         with orders {stall:5.0} us of its own",
        report["outcome"].as_str().unwrap_or("?"),
    );
    if longest > LONGEST_ROUND {
        return Err(format!("{what}: the worker stood still for {longest} us"));
    }
    Ok(Reloaded { report, stall })
}
