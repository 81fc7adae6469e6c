//! The hosts on both sides of a gateway that stands between two shared-memory ports: source and sink in one thread,
//! so that one clock times both. `scripts/latency` and `scripts/overload` start it:
//!
//!   exerciser LAN_SOCKET WAN_SOCKET CORE latency|overload|punts SIZE
//!
//! It prints one JSON object a line. Addresses and keys are those of `scripts/lab.sh`.

mod frames;
mod hosts;

use std::error::Error;
use std::process::{Command, Stdio};

use dpdk::{Eal, thread};
use frames::{data, to_gateway};
use hosts::{Hosts, Phase};

/// Rounds of a measurement; the quietest counts, because other work takes the cores away now and then.
const ROUNDS: usize = 7;
/// Seconds of a round: as long as fits between two such disturbances most of the time.
const ROUND: f64 = 0.3;
/// More packets a second than any port takes.
const FULL_SPEED: f64 = 1e9;
/// Seconds of overload.
const OVERLOAD: f64 = 3.0;
/// Seconds after which recovery is tested.
const REST: f64 = 0.1;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [lan, wan, core, mode, size] = args.as_slice() else {
        return Err(
            "usage: exerciser LAN_SOCKET WAN_SOCKET CORE latency|overload|punts SIZE".into(),
        );
    };
    let lcores = format!("--lcores=0@{core}");
    let memory = ["--no-huge", "-m", "256", "--no-pci", "--no-shconf"];
    let quiet = ["--no-telemetry", "--log-level=error"];
    let eal = Eal::init([&[lcores.as_str()][..], &memory, &quiet].concat())?;
    let size: usize = size.parse()?;
    let mut hosts = Hosts::connect(lan, wan)?;
    match mode.as_str() {
        "latency" => latency(&mut hosts, size)?,
        "overload" => overload(&mut hosts, size)?,
        "punts" => punts(&mut hosts, size)?,
        _ => return Err(format!("no such mode: {mode}").into()),
    }
    drop(hosts);
    drop(eal);
    Ok(())
}

/// The highest rate at which sealed packets arrive while more are offered, in packets a second.
fn capacity(hosts: &mut Hosts, frame: &[u8]) -> Result<f64, Box<dyn Error>> {
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        let phase = hosts.load(frame, FULL_SPEED, ROUND)?;
        best = best.max(phase.received_in_time as f64 / ROUND);
    }
    match best > 0.0 {
        true => Ok(best),
        false => Err("nothing comes through".into()),
    }
}

/// Puts this thread, and none of DPDK's, before other work where that is allowed.
fn go_first() -> std::io::Result<()> {
    let thread = std::process::id().to_string();
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", "1", &thread])
        .stderr(Stdio::null());
    chrt.status().map(drop)
}

fn latency(hosts: &mut Hosts, size: usize) -> Result<(), Box<dyn Error>> {
    go_first()?;
    let frame = data(size);
    let highest = capacity(hosts, &frame)?;
    for percent in [10, 50] {
        let rate = highest * f64::from(percent) / 100.0;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(Timed::new(hosts.load(&frame, rate, ROUND)?)?);
        }
        rounds.sort_by(|a, b| a.at(0.999).total_cmp(&b.at(0.999)));
        let [best, ..] = rounds.as_slice() else {
            continue;
        };
        println!(
            "{{\"size\": {size}, \"highest_mpps\": {:.3}, \"percent\": {percent}, \"mpps\": {:.3}, \"packets\": {}, \
             \"p50_us\": {:.1}, \"p99_us\": {:.1}, \"p999_us\": {:.1}, \"max_us\": {:.1}, \
             \"median_round_p999_us\": {:.1}, \"longest_pause_us\": {:.1}}}",
            highest / 1e6,
            rate / 1e6,
            best.ticks.len(),
            best.at(0.5),
            best.at(0.99),
            best.at(0.999),
            best.at(1.0),
            rounds
                .get(rounds.len() / 2)
                .map_or(0.0, |round| round.at(0.999)),
            best.pause,
        );
    }
    Ok(())
}

/// The times of one round, sorted.
struct Timed {
    ticks: Vec<u64>,
    pause: f64,
}

impl Timed {
    fn new(phase: Phase) -> Result<Timed, Box<dyn Error>> {
        let mut ticks = phase.times;
        if ticks.is_empty() {
            return Err("nothing comes through".into());
        }
        ticks.sort_unstable();
        Ok(Timed {
            ticks,
            pause: microseconds(phase.longest_pause),
        })
    }

    /// Microseconds that `share` of the packets did not exceed.
    fn at(&self, share: f64) -> f64 {
        let rank = (self.ticks.len() as f64 * share).ceil() as usize;
        let ticks = self.ticks.get(rank.saturating_sub(1));
        microseconds(ticks.copied().unwrap_or_default())
    }
}

fn microseconds(ticks: u64) -> f64 {
    ticks as f64 * 1e6 / thread::cycles_hz() as f64
}

/// Twice the capacity of packets to seal, while others ask for addresses, ping, and want to negotiate.
fn overload(hosts: &mut Hosts, size: usize) -> Result<(), Box<dyn Error>> {
    let frame = data(size);
    let highest = capacity(hosts, &frame)?;
    println!("{{\"capacity_pps\": {highest:.0}}}");
    hosts.ask(true);
    let phase = hosts.load(&frame, highest * 2.0, OVERLOAD)?;
    report("overload", &phase);
    recover(hosts, &frame, highest)
}

/// As many packets as go for the gateway itself: the slow path is what is flooded.
fn punts(hosts: &mut Hosts, size: usize) -> Result<(), Box<dyn Error>> {
    hosts.ask(true);
    let phase = hosts.load(&to_gateway(size), FULL_SPEED, OVERLOAD)?;
    report("punts", &phase);
    recover(hosts, &data(size), 100_000.0)
}

/// After a rest of [`REST`] nothing may be lost: neither questions nor, at a tenth of the capacity, packets.
fn recover(hosts: &mut Hosts, frame: &[u8], highest: f64) -> Result<(), Box<dyn Error>> {
    hosts.ask(false);
    hosts.load(frame, 0.0, REST)?;
    hosts.ask(true);
    let phase = hosts.load(frame, highest / 10.0, 1.0)?;
    report("recovered", &phase);
    println!("{{\"accepted\": {}}}", hosts.accepted());
    Ok(())
}

fn report(stage: &str, phase: &Phase) {
    println!(
        "{{\"stage\": \"{stage}\", \"offered\": {}, \"accepted\": {}, \"refused\": {}, \"sealed\": {}, \
         \"arp_asked\": {}, \"arp_answered\": {}, \"pings\": {}, \"pongs\": {}, \"ike_sent\": {}}}",
        phase.offered,
        phase.accepted,
        phase.offered - phase.accepted,
        phase.sealed,
        phase.arp_asked,
        phase.arp_answered,
        phase.pings,
        phase.pongs,
        phase.ike_sent,
    );
}
