//! A gateway whose buffers are all taken, and that goes on as soon as it has some again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::{Gateway, balance};

use crate::lab::Lab;
use crate::{MARKER, NEGOTIATED};

/// The fewest that a policy may ask for; the pool of large buffers comes on top.
const FEW: &str = "eal = [\"--no-huge\", \"-m\", \"128\"]\nmbufs = 256";
/// Neighbours that nobody is: eight packets wait for each, 512 in all, which is twice what there is.
const NOBODY: &str = "10.99.0.128/25";

fn in_use(gateway: &Gateway) -> Result<u64, String> {
    let table = gateway.show("ports")?;
    table["buffers"]["in_use"]
        .as_u64()
        .ok_or_else(|| format!("no buffers in {table}"))
}

/// Waits for what must come true.
fn until(seconds: u64, mut what: impl FnMut() -> Result<bool, String>) -> Result<Duration, String> {
    let began = Instant::now();
    while !what()? {
        if began.elapsed() > Duration::from_secs(seconds) {
            return Err(format!("not after {seconds} seconds"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed())
}

/// Packets for neighbours that do not answer wait until no buffer is left. Nothing of it stays.
pub fn buffers() -> Result<(), String> {
    let lab = Lab::new();
    let bypass =
        format!("[[spd]]\nname = \"nobody\"\nremote = \"{NOBODY}\"\naction = \"bypass\"\n");
    let policy = lab.ports(0) + &bypass + &crate::closed::policy(0);
    let a = Gateway::start_with_args(&lab.gateways[0], FEW, &policy, &["--json"]);
    let b = lab.start(1, &crate::closed::policy(1));
    a.run(&["initiate", "peer/stays", "--wait", "20"])?;
    let send = ["send", "10.2.0.2", "200", MARKER, &NEGOTIATED.to_string()];
    let before = in_use(&a)?;
    // Beyond all that there is.
    let flood = lab.traffic(&lab.hosts[0], &["sweep", NOBODY, "3000"]);
    let most = until(20, || Ok(in_use(&a)? >= before + 250))
        .map_err(|e| format!("buffers are not exhausted: {e}; {:?}", in_use(&a)));
    sleep(Duration::from_secs(1));
    let swept = flood.end()[0];
    most?;
    // At once: three questions, a second apart, and nobody waits any longer.
    let counter = lab.traffic(&lab.hosts[1], &["count", &NEGOTIATED.to_string()]);
    let back = until(10, || Ok(in_use(&a)? <= before + 8)).map_err(|e| {
        format!(
            "buffers do not come back: {e}; {} of {before}",
            in_use(&a).unwrap_or(0)
        )
    })?;
    let sender = lab.traffic(&lab.hosts[0], &send);
    sleep(Duration::from_secs(1));
    let (sent, received) = (sender.end()[0], counter.end()[0]);
    let drops = a.drops()?;
    let facts = format!(
        "{swept} for nobody, {drops:?}; buffers back after {back:?}; then {sent} sent, {received} received"
    );
    let dropped = |reason: &str| drops.get(reason).copied().unwrap_or(0);
    let counted = dropped("no-buffer") > 0 && dropped("neighbor-unresolved") > 250;
    // The wires and sockets of a busy machine may lose one or two.
    if received < 100 || received * 20 < sent * 19 || !counted {
        return Err(facts);
    }
    println!("{facts}");
    let end = a.stop().success()?;
    balance(&end.report()?)?;
    let report = end.report()?;
    let left = report["buffers"]["in_use"].as_u64();
    if left != Some(0) {
        return Err(format!("{left:?} buffers left at the end"));
    }
    b.stop().success().map(drop)
}
