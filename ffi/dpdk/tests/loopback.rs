//! Devices that need neither kernel nor file: null and ring.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod harness;

use dpdk::{Device, Error, Mbuf, PortConfig};
use harness::{Burst, Pools, frame, send, start};

#[test]
fn null_and_ring() {
    let eal = harness::eal();
    let pools = harness::pools();
    devices_are_opened_once();
    null_makes_and_swallows(&pools);
    ring_loops_back(&pools);
    several_queues(&pools);
    impossible_configurations(&pools);
    pools.assert_all_returned();
    drop(pools);
    drop(eal);
}

fn devices_are_opened_once() {
    assert_eq!(
        Device::open("net_null7").map(drop),
        Err(Error::NoSuchDevice("net_null7".to_owned()))
    );
    let device = Device::hotplug("net_null7").expect("hotplug");
    assert_eq!(
        Device::open("net_null7").map(drop),
        Err(Error::InUse("net_null7".to_owned()))
    );
    drop(device);
    assert_eq!(
        Device::open("net_null7").map(drop),
        Err(Error::NoSuchDevice("net_null7".to_owned()))
    );
    drop(Device::hotplug("net_null7").expect("the name is free again"));
    let error = Device::hotplug("net_nonsense0")
        .map(drop)
        .expect_err("no such driver");
    println!("{error}");
}

fn null_makes_and_swallows(pools: &Pools) {
    let device = Device::hotplug("net_null0,size=100").expect("net_null");
    assert_eq!(device.info().driver, "net_null");
    let (port, mut rx, mut tx) = start(device, &pools.config(1500));
    let mut burst = Burst::new();
    burst.push(pools.packet(&frame(60, 1)));
    assert_eq!(
        rx.burst(&mut burst),
        63,
        "fills the room behind what is there"
    );
    assert!(burst.iter().skip(1).all(|packet| packet.len() == 100));
    assert_eq!(tx.burst(&mut burst), 64);
    assert!(burst.is_empty());
    let stats = port.stats().expect("stats");
    assert_eq!((stats.ipackets, stats.opackets), (63, 64));
    assert!(port.is_link_up().expect("link"));
}

fn ring_loops_back(pools: &Pools) {
    let (port, mut rx, mut tx) = start(
        Device::hotplug("net_ring0").expect("net_ring"),
        &pools.config(1500),
    );
    let sent: Vec<_> = (0..40)
        .map(|tag| frame(60 + usize::from(tag), tag))
        .collect();
    send(&mut tx, sent.iter().map(|frame| pools.packet(frame)));
    let mut burst = Burst::new();
    assert_eq!(rx.burst(&mut burst), 40);
    assert!(burst.iter().map(Mbuf::data).eq(&sent));
    assert_eq!(rx.burst(&mut burst), 0);
    Mbuf::free_bulk(&mut burst);

    // A ring of 1024 holds 1023; what does not fit stays, in order.
    for _ in 0..15 {
        send(&mut tx, (0..64).map(|tag| pools.packet(&frame(60, tag))));
    }
    let mut burst: Burst = (0..64).map(|tag| pools.packet(&frame(60, tag))).collect();
    assert_eq!(tx.burst(&mut burst), 63);
    assert_eq!(burst.len(), 1);
    assert_eq!(burst.first().map(Mbuf::data), Some(&frame(60, 63)[..]));
    assert_eq!(tx.burst(&mut burst), 0);
    assert_eq!(burst.len(), 1);
    drop(burst);

    let mut left = 1023;
    while left > 0 {
        left -= rx.burst(&mut Burst::new());
    }
    let stats = port.stats().expect("stats");
    assert_eq!((stats.ipackets, stats.opackets), (1063, 1063));
}

fn several_queues(pools: &Pools) {
    let config = PortConfig {
        rx_queues: 3,
        tx_queues: 2,
        ..pools.config(1500)
    };
    let device = Device::hotplug("net_null1").expect("net_null");
    let (port, rx, mut tx) = device.start(&config).expect("start");
    assert_eq!((rx.len(), tx.len()), (3, 2));
    drop(port);
    // The queues keep the port running.
    for mut queue in rx {
        let mut burst = Burst::new();
        assert_eq!(queue.burst(&mut burst), 64);
        assert_eq!(tx[1].burst(&mut burst), 64);
    }
    drop(tx);
    assert_eq!(
        Device::open("net_null1").map(drop),
        Err(Error::NoSuchDevice("net_null1".to_owned()))
    );
}

fn impossible_configurations(pools: &Pools) {
    let device = || Device::hotplug("net_ring1").expect("net_ring");
    let config = PortConfig {
        rx_queues: 0,
        ..pools.config(1500)
    };
    assert!(matches!(
        device().start(&config),
        Err(Error::Queues {
            direction: "RX",
            asked: 0,
            ..
        })
    ));
    let config = PortConfig {
        tx_queues: 500,
        ..pools.config(1500)
    };
    assert!(matches!(
        device().start(&config),
        Err(Error::Queues {
            direction: "TX",
            asked: 500,
            ..
        })
    ));
    assert!(matches!(
        device().start(&pools.config(10)),
        Err(Error::Mtu { asked: 10, .. })
    ));
}
