//! Shared memory between two processes: this test starts itself a second time.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use dpdk::{Device, Mbuf, Port};
use harness::{Burst, Pools, frame, receive, send, start};

/// Tells the second process which socket to use.
const SOCKET: &str = "DPDK_TEST_MEMIF_SOCKET";

#[test]
fn two_processes() {
    let eal = harness::eal();
    let pools = harness::pools();
    match env::var(SOCKET) {
        Ok(socket) => echo(&pools, &socket),
        Err(_) => ask(&pools),
    }
    pools.assert_all_returned();
    drop(pools);
    drop(eal);
}

fn ask(pools: &Pools) {
    let socket = env::temp_dir().join(format!("dpdk-memif-{}.sock", process::id()));
    let path = socket.to_str().expect("UTF-8");
    let devargs = format!("net_memif0,role=server,id=0,socket={path},socket-abstract=no");
    let device = Device::hotplug(&devargs).expect("net_memif");
    println!("{:?}", device.info());
    let (port, mut rx, mut tx) = start(device, &pools.config(1500));
    assert!(!port.is_link_up().expect("link"), "nobody is there");
    assert_eq!(
        tx.burst(&mut Burst::from_iter([pools.packet(&frame(60, 0))])),
        0
    );

    let mut echo = Command::new(env::current_exe().expect("path"))
        .args(["two_processes", "--exact", "--nocapture"])
        .env(SOCKET, path)
        .spawn()
        .expect("second process");
    await_link(&port);
    // Longer than a memif buffer (2048) and than one of ours: a chain on both sides.
    let lengths = [60, 61, 1514, 2048, 2049, 9018];
    let frames: Vec<_> = (1..)
        .zip(lengths)
        .map(|(tag, len)| frame(len, tag))
        .collect();
    for _ in 0..100 {
        send(&mut tx, frames.iter().map(|frame| pools.packet(frame)));
        let packets = receive(&mut rx, frames.len(), |_| true);
        assert!(packets.iter().map(Mbuf::data).eq(&frames));
    }
    send(&mut tx, [pools.packet(b"goodbye")]);
    assert!(echo.wait().expect("second process").success());
    drop((port, rx, tx));
    let _ = fs::remove_file(socket);
}

fn echo(pools: &Pools, socket: &str) {
    let devargs = format!("net_memif0,role=client,id=0,socket={socket},socket-abstract=no");
    let (port, mut rx, mut tx) = start(
        Device::hotplug(&devargs).expect("net_memif"),
        &pools.config(1500),
    );
    await_link(&port);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut burst = Burst::new();
        rx.burst(&mut burst);
        if burst.iter().any(|packet| packet.data() == b"goodbye") {
            return;
        }
        while !burst.is_empty() {
            tx.burst(&mut burst);
        }
        assert!(Instant::now() < deadline, "no goodbye");
    }
}

fn await_link(port: &Port) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !port.is_link_up().expect("link") {
        assert!(Instant::now() < deadline, "no link");
        thread::sleep(Duration::from_millis(10));
    }
}
