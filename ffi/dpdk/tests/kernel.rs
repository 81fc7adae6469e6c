//! Devices over kernel interfaces: tap, af_packet, af_xdp and pcap on a veth. The kernel pings through them.
//!
//! The test starts itself again in a network namespace of its own, which vanishes with the process.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod harness;

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::{env, fs};

use dpdk::{Device, Error, MacAddress, Port, RxQueue, TxQueue};
use harness::{Burst, Pools, echo, start};

const INSIDE: &str = "DPDK_TEST_IN_NAMESPACE";

/// The device's address.
const LEFT: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 1]);

#[test]
fn the_kernel_pings_through_every_device() {
    if env::var_os(INSIDE).is_none() {
        return enter_namespace();
    }
    let eal = harness::eal();
    let pools = harness::pools();
    on_tap(&pools);
    on_veth(&pools, "net_af_packet0,iface=left", &[56, 1472]);
    on_veth(&pools, "net_pcap0,iface=left", &[56, 1472, 8972]);
    pools.assert_all_returned();
    // Last, because this driver never gives back what lies in its fill queue: 2048 buffers a queue.
    // Its frames must fit a buffer without the 256 bytes of XDP_PACKET_HEADROOM: 2048 - 256 - 18 = 1774.
    on_veth(&pools, "net_af_xdp0,iface=left", &[56, 1472, 1746]);
    on_veth(&pools, "net_af_xdp0,iface=left,force_copy=1", &[56, 1472]);
    assert!(
        pools.pool.in_use() <= 2 * (2048 + 64),
        "{} buffers lost",
        pools.pool.in_use()
    );
    longer_than_xdp_takes(&pools);
    drop(pools);
    drop(eal);
}

fn enter_namespace() {
    if fs::metadata("/proc/self").expect("proc").uid() != 0 {
        println!("skipped: devices over kernel interfaces need root");
        return;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(env::current_exe().expect("path"))
        .args([
            "the_kernel_pings_through_every_device",
            "--exact",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .status()
        .expect("unshare");
    assert!(status.success());
}

fn on_tap(pools: &Pools) {
    let device = Device::hotplug("net_tap0,iface=right").expect("net_tap");
    let (port, mut rx, mut tx) = start(device, &pools.config(1500));
    kernel_side(LEFT, 1500);
    ping(56, &mut rx, &mut tx);
    ping(1472, &mut rx, &mut tx);
    control("net_tap", &port);
}

fn on_veth(pools: &Pools, devargs: &str, sizes: &[usize]) {
    ip(&format!(
        "link add left address {LEFT} type veth peer name right"
    ));
    ip("link set left up");
    let device = Device::hotplug(devargs).expect(devargs);
    // Payload, ICMP header, IPv4 header.
    let mtu = sizes.iter().max().map_or(1500, |size| size + 8 + 20);
    ip(&format!("link set left mtu {mtu}"));
    let (port, mut rx, mut tx) = start(device, &pools.config(mtu as u16));
    kernel_side(LEFT, mtu);
    for &size in sizes {
        ping(size, &mut rx, &mut tx);
    }
    control(devargs, &port);
    drop((port, rx, tx));
    ip("link del left");
}

fn longer_than_xdp_takes(pools: &Pools) {
    ip("link add left type veth peer name right");
    let device = Device::hotplug("net_af_xdp0,iface=left").expect("net_af_xdp");
    let result = device.start(&pools.config(1775)).map(drop);
    assert!(
        matches!(
            result,
            Err(Error::Mtu {
                asked: 1775,
                max: 1774,
                ..
            })
        ),
        "{result:?}"
    );
    ip("link del left");
}

/// The kernel's end has 192.0.2.1; 192.0.2.2 is behind the device.
fn kernel_side(neighbour: MacAddress, mtu: usize) {
    ip(&format!("link set right up mtu {mtu}"));
    ip("addr add 192.0.2.1/24 dev right");
    ip(&format!("neigh add 192.0.2.2 lladdr {neighbour} dev right"));
}

fn ping(size: usize, rx: &mut RxQueue, tx: &mut TxQueue) {
    let size = size.to_string();
    let mut child = Command::new("ping")
        .args([
            "-c",
            "5",
            "-i",
            "0.05",
            "-W",
            "2",
            "-M",
            "do",
            "-s",
            &size,
            "192.0.2.2",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ping");
    let mut burst = Burst::new();
    while child.try_wait().expect("ping").is_none() {
        rx.burst(&mut burst);
        burst.retain(echo);
        tx.burst(&mut burst);
    }
    let output = child.wait_with_output().expect("ping");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(" 0% packet loss"), "{text}");
}

/// Every driver answers what the gateway asks, or says that it cannot.
fn control(name: &str, port: &Port) {
    println!("{name}: {:?}", port.info());
    println!("{name}: {:?} link {:?}", port.mac(), port.is_link_up());
    println!("{name}: {:?}", port.stats());
    for result in [
        port.set_promiscuous(true),
        port.set_promiscuous(false),
        port.set_allmulticast(true),
        port.set_allmulticast(false),
        port.set_mac(MacAddress([0x02, 0, 0, 0, 0, 9])),
    ] {
        println!("{name}: {result:?}");
        assert!(
            result.as_ref().err().is_none_or(Error::is_unsupported),
            "{result:?}"
        );
    }
    assert!(port.stats().expect("stats").ipackets >= 10);
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip");
    assert!(status.success(), "ip {arguments}");
}
