//! Capture files in and out, and packets longer than one buffer.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod harness;

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use dpdk::{Device, Mbuf};
use harness::{Burst, Pools, frame, receive, send, start};

#[test]
fn capture_files() {
    let eal = harness::eal();
    let pools = harness::pools();
    let directory = Directory::new();
    file_to_file(&pools, &directory.0);
    long_packets_become_contiguous(&pools, &directory.0);
    infinite_input(&pools, &directory.0);
    pools.assert_all_returned();
    drop(pools);
    drop(eal);
}

fn file_to_file(pools: &Pools, directory: &Path) {
    let (input, output) = (directory.join("in.pcap"), directory.join("out.pcap"));
    let frames: Vec<_> = (0..100)
        .map(|tag| frame(60 + usize::from(tag) * 14, tag))
        .collect();
    fs::write(&input, capture(&frames)).expect("write");
    let devargs = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        input.display(),
        output.display()
    );
    let device = Device::hotplug(&devargs).expect("net_pcap");
    println!("{:?}", device.info());
    let (port, mut rx, mut tx) = start(device, &pools.config(1500));

    let packets = receive(&mut rx, 100, |_| true);
    assert!(packets.iter().map(Mbuf::data).eq(&frames));
    assert_eq!(rx.burst(&mut Burst::new()), 0, "the file has ended");
    let mut packets = packets.into_iter();
    while packets.len() > 0 {
        send(&mut tx, packets.by_ref().take(64));
    }
    assert_eq!(port.stats().expect("stats").opackets, 100);
    drop((port, rx, tx));
    assert_eq!(read_capture(&output), frames);
}

fn long_packets_become_contiguous(pools: &Pools, directory: &Path) {
    let (input, output) = (directory.join("long.pcap"), directory.join("long-out.pcap"));
    // One buffer holds 2048, a jumbo one 16384: the last but one is lost.
    let lengths = [60, 2048, 2049, 9018, 16384, 16385, 61];
    let frames: Vec<_> = (1..)
        .zip(lengths)
        .map(|(tag, len)| frame(len, tag))
        .collect();
    fs::write(&input, capture(&frames)).expect("write");
    let devargs = format!(
        "net_pcap1,rx_pcap={},tx_pcap={}",
        input.display(),
        output.display()
    );
    let (port, mut rx, mut tx) = start(
        Device::hotplug(&devargs).expect("net_pcap"),
        &pools.config(9000),
    );

    let mut burst = Burst::new();
    burst.push(pools.packet(&frame(77, 0)));
    assert_eq!(rx.burst(&mut burst), 6);
    assert_eq!(rx.lost_chains(), 1);
    let expected: Vec<_> = [77, 60, 2048, 2049, 9018, 16384, 61].to_vec();
    assert_eq!(burst.iter().map(Mbuf::len).collect::<Vec<_>>(), expected);
    assert!(
        burst
            .iter()
            .skip(1)
            .take(5)
            .map(Mbuf::data)
            .eq(&frames[..5])
    );
    assert_eq!(
        (pools.pool.in_use(), pools.jumbo.in_use()),
        (4, 3),
        "chains went back at once"
    );

    let longest = burst.get_mut(5).expect("the longest");
    assert_eq!((longest.headroom(), longest.tailroom()), (128, 0));
    longest.prepend(128).expect("headroom for encapsulation");
    longest.trim_front(128);
    send(&mut tx, burst.drain(1..));
    drop((port, rx, tx, burst));
    let expected: Vec<_> = frames
        .into_iter()
        .filter(|frame| frame.len() != 16385)
        .collect();
    assert_eq!(read_capture(&output), expected);
}

fn infinite_input(pools: &Pools, directory: &Path) {
    let input = directory.join("loop.pcap");
    let frames: Vec<_> = (0..5).map(|tag| frame(100, tag)).collect();
    fs::write(&input, capture(&frames)).expect("write");
    let devargs = format!("net_pcap2,rx_pcap={},infinite_rx=1", input.display());
    let (_port, mut rx, mut tx) = start(
        Device::hotplug(&devargs).expect("net_pcap"),
        &pools.config(1500),
    );
    let packets = receive(&mut rx, 1000, |_| true);
    assert!(
        packets
            .iter()
            .map(Mbuf::data)
            .zip(frames.iter().cycle())
            .all(|(a, b)| a == b)
    );
    // Without an output, what is sent is dropped.
    send(&mut tx, packets.into_iter().take(64));
}

/// A capture file: magic number and version 2.4, no time zone, link type 1 (Ethernet).
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let header: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 262_144, 1];
    let mut file: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    for (second, frame) in frames.iter().enumerate() {
        let record = [second as u32, 0, frame.len() as u32, frame.len() as u32];
        file.extend(record.into_iter().flat_map(u32::to_le_bytes));
        file.extend(frame);
    }
    file
}

fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).expect("read");
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while let Some((header, tail)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        frames.push(tail[..len].to_vec());
        rest = &tail[len..];
    }
    frames
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = env::temp_dir().join(format!("dpdk-pcap-{}", process::id()));
        fs::create_dir(&path).expect("directory");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
