//! A packet's way through one worker without device and without cipher: what is left is ours.
//!
//! `cargo bench -p portcullis-proofs --bench path` prints nanoseconds a packet. Under callgrind the same program
//! counts instructions, which no other load on the machine changes: see `scripts/instructions`.

use std::hint::black_box;
use std::time::Instant;

use arrayvec::ArrayVec;
use portcullis_ipsec::PacketBuf;
use portcullis_ipsec::pipeline::BURST;

mod course;
#[path = "../dataplane/ipsec/tests/rig/mod.rs"]
mod rig;

use course::{Bench, Frame, gateway, pool, put, sites};
use rig::packets::udp;
use rig::policy::Sites;
use rig::{LAN, WIRE, framed};

type Pool = course::Pool<()>;

/// Flows in the traffic.
const FLOWS: u16 = 64;
/// Bursts for each figure.
const BURSTS: usize = 4000;

/// Runs bursts through a port; `fill` makes each frame.
#[inline(always)]
fn pass(
    pipeline: &mut Bench,
    io: &mut Pool,
    port: u16,
    bursts: usize,
    fill: &mut impl FnMut(&mut Frame),
) {
    for _ in 0..bursts {
        let mut burst = ArrayVec::<Frame, BURST>::new();
        for mut frame in io.sent.drain(..) {
            fill(&mut frame);
            burst.push(frame);
        }
        pipeline.receive(io, 1000, usize::from(port), &mut burst);
        assert_eq!(io.sent.len(), BURST);
    }
}

/// What `scripts/instructions` counts: a function for each direction.
#[inline(never)]
fn outbound_path(
    pipeline: &mut Bench,
    io: &mut Pool,
    bursts: usize,
    fill: &mut impl FnMut(&mut Frame),
) {
    pass(pipeline, io, LAN, bursts, fill);
}

#[inline(never)]
fn inbound_path(
    pipeline: &mut Bench,
    io: &mut Pool,
    bursts: usize,
    fill: &mut impl FnMut(&mut Frame),
) {
    pass(pipeline, io, WIRE, bursts, fill);
}

fn bench(v6: bool, size: usize) {
    let Sites { a, b, .. } = sites(v6);
    let hosts = match v6 {
        false => ("10.1.0.10", "10.2.0.20"),
        true => ("fd01::10", "fd02::20"),
    };
    let header = if v6 { 48 } else { 28 };
    let clear: Vec<Vec<u8>> = (0..FLOWS)
        .map(|flow| {
            let payload = vec![5; size - header];
            framed(
                a.mac(LAN),
                None,
                &udp(hosts.0, hosts.1, (flow, 9), &payload).write(),
            )
        })
        .collect();
    let mut io = pool(());
    let mut sender = gateway(&a);
    let mut next = 0usize;
    let mut outbound = |io: &mut Pool, bursts| {
        outbound_path(&mut sender, io, bursts, &mut |frame: &mut Frame| {
            put(frame, &clear[next % clear.len()]);
            next += 1;
        });
    };
    outbound(&mut io, 100);
    let started = Instant::now();
    outbound(&mut io, BURSTS);
    report("outbound", v6, size, started);
    let sealed: Vec<Vec<u8>> = io
        .sent
        .iter()
        .map(|frame| {
            let mut bytes = frame.data().to_vec();
            bytes[..6].copy_from_slice(&b.mac(WIRE));
            bytes
        })
        .collect();
    let mut receiver = gateway(&b);
    let at = if v6 { 14 + 40 } else { 14 + 20 };
    let mut sequence = 1u32;
    let mut inbound = |io: &mut Pool, bursts| {
        inbound_path(&mut receiver, io, bursts, &mut |frame: &mut Frame| {
            put(frame, &sealed[sequence as usize % sealed.len()]);
            frame.data_mut()[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
            sequence += 1;
        });
    };
    inbound(&mut io, 100);
    let started = Instant::now();
    inbound(&mut io, BURSTS);
    report("inbound", v6, size, started);
    black_box(&io.sent);
}

fn report(direction: &str, v6: bool, size: usize, started: Instant) {
    let family = if v6 { "IPv6" } else { "IPv4" };
    let each = started.elapsed().as_nanos() as f64 / (BURSTS * BURST) as f64;
    println!("{direction:8} {family} {size:5} bytes {each:7.1} ns");
}

fn main() {
    let only = std::env::var("PATH_BENCH").unwrap_or_default();
    for (name, v6, size) in [("v4", false, 64), ("v6", true, 84)] {
        if name.contains(&only) {
            bench(v6, size);
        }
    }
}
