//! What the tests of all devices share. The EAL starts once in a process, so each file here has one test.
#![allow(dead_code, reason = "no test file uses everything")]

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use dpdk::{Device, Eal, Mbuf, Mempool, Port, PortConfig, RxQueue, TxQueue};

/// Needs no hugepages, no files and no free socket names, so tests may run at the same time.
pub(crate) const EAL_ARGS: [&str; 9] = [
    "-l",
    "0",
    "--no-huge",
    "-m",
    "256",
    "--no-pci",
    "--no-shconf",
    "--no-telemetry",
    "--log-level=error",
];

pub(crate) fn eal() -> Eal {
    Eal::init(EAL_ARGS).expect("EAL")
}

pub(crate) struct Pools {
    pub(crate) pool: Mempool,
    pub(crate) jumbo: Mempool,
}

pub(crate) fn pools() -> Pools {
    Pools {
        pool: Mempool::new("pool", 16383, 256, 2048).expect("pool"),
        jumbo: Mempool::new("jumbo", 255, 0, 16384).expect("jumbo"),
    }
}

impl Pools {
    pub(crate) fn config(&self, mtu: u16) -> PortConfig {
        PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            descriptors: 512,
            mtu,
            pool: self.pool.clone(),
            jumbo: self.jumbo.clone(),
            security: false,
        }
    }

    pub(crate) fn packet(&self, bytes: &[u8]) -> Mbuf {
        let pool = if bytes.len() > usize::from(self.pool.data_room()) {
            &self.jumbo
        } else {
            &self.pool
        };
        let mut buf = pool.alloc().expect("buffer");
        buf.append(bytes.len()).expect("room");
        buf.data_mut().copy_from_slice(bytes);
        buf
    }

    pub(crate) fn assert_all_returned(&self) {
        assert_eq!(
            (self.pool.in_use(), self.jumbo.in_use()),
            (0, 0),
            "buffers lost"
        );
    }
}

/// The device of a port with one queue each way.
pub(crate) fn start(device: Device, config: &PortConfig) -> (Port, RxQueue, TxQueue) {
    let (port, mut rx, mut tx) = device.start(config).expect("start");
    (
        port,
        rx.pop().expect("RX queue"),
        tx.pop().expect("TX queue"),
    )
}

pub(crate) type Burst = ArrayVec<Mbuf, 64>;

/// Sends all of it, within two seconds.
pub(crate) fn send(tx: &mut TxQueue, packets: impl IntoIterator<Item = Mbuf>) {
    let mut burst: Burst = packets.into_iter().collect();
    let deadline = Instant::now() + Duration::from_secs(2);
    while !burst.is_empty() {
        tx.burst(&mut burst);
        assert!(
            Instant::now() < deadline,
            "{} packets were not sent",
            burst.len()
        );
    }
}

/// Turns an ICMP echo request to the port into its reply, as a host of every address would.
pub(crate) fn echo(packet: &mut Mbuf) -> bool {
    let data = packet.data_mut();
    // Ethernet type IPv4, no IP options, protocol ICMP, type 8 (RFC 792).
    let is_request =
        data.len() >= 42 && data[12..15] == [0x08, 0x00, 0x45] && data[23] == 1 && data[34] == 8;
    if is_request {
        let (destination, source) = data[..12].split_at_mut(6);
        destination.swap_with_slice(source);
        let (source, destination) = data[26..34].split_at_mut(4);
        source.swap_with_slice(destination);
        data[34] = 0;
        // RFC 1624: the sum loses 0x0800, so its complement gains it.
        let sum = u32::from(u16::from_be_bytes([data[36], data[37]])) + 0x0800;
        let sum = (sum & 0xffff) + (sum >> 16);
        data[36..38].copy_from_slice(&(sum as u16).to_be_bytes());
    }
    is_request
}

/// Receives until `wanted` packets came that `is_ours`, within five seconds; others are dropped.
pub(crate) fn receive(
    rx: &mut RxQueue,
    wanted: usize,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Vec<Mbuf> {
    let mut packets = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while packets.len() < wanted {
        let mut burst = Burst::new();
        rx.burst(&mut burst);
        packets.extend(burst.into_iter().filter(|packet| is_ours(packet.data())));
        assert!(
            Instant::now() < deadline,
            "{} of {wanted} packets came",
            packets.len()
        );
    }
    packets
}

/// A frame that no kernel interprets: broadcast, EtherType 0x88b5 (IEEE 802 local experimental).
pub(crate) fn frame(len: usize, tag: u8) -> Vec<u8> {
    let mut frame = vec![tag; len];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, tag]);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

pub(crate) fn is_test_frame(data: &[u8]) -> bool {
    data.get(12..14) == Some(&[0x88, 0xb5])
}
