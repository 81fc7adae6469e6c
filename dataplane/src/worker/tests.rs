//! A worker between its rings, with buffers of DPDK and without devices: what it sends goes to another worker.

use std::path::Path;

use dpdk::Eal;
use portcullis_config::{Direction, EngineKind, parse};
use portcullis_ipsec::PacketBuf;
use portcullis_ipsec::fib::{Fib, Neighbors};
use portcullis_ipsec::ip::Address;

use super::*;
use crate::fib;
use crate::install::Installed;
use crate::prepare::{Basis, Prepared, prepare};
use crate::ring::ring;

const POLICY: &str = r#"
[[port]]
name = "wan"
device = "net_null0"
side = "unprotected"
addresses = "192.0.2.1/24"

[[port]]
name = "lan"
device = "net_null1"
side = "protected"
addresses = "10.1.0.1/24"

[[route]]
destination = "10.2.0.0/24"
via = "192.0.2.2"
port = "wan"

[[sa]]
name = "to-b"
direction = "outbound"
protocol = "esp"
spi = 0x1002
mode = "tunnel"
source = "192.0.2.1"
destination = "192.0.2.2"
encryption = "aes128-gcm16"
key = "000102030405060708090a0b0c0d0e0f10111213"

[[sa]]
name = "from-b"
direction = "inbound"
protocol = "esp"
spi = 0x1001
mode = "tunnel"
source = "192.0.2.2"
destination = "192.0.2.1"
encryption = "aes128-gcm16"
key = "100102030405060708090a0b0c0d0e0f10111213"

[[spd]]
name = "lans"
local = "10.1.0.0/24"
remote = "10.2.0.0/24"
action = "protect"
outbound = "to-b"
inbound = "from-b"
"#;

/// IPv4 (RFC 791) from 10.1.0.2 to 10.2.0.2, protocol 253 (RFC 3692), nothing inside.
const CLEAR: [u8; 20] = [
    0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 253, 0x25, 0xe7, 10, 1, 0, 2, 10, 2, 0, 2,
];

fn prepared(engine: &GatewayEngine) -> Prepared {
    let policy = parse(POLICY, Path::new("test.toml"), Path::new("/"));
    let policy = policy.expect("a policy").policy;
    let port = |interface| fib::interface(interface, [2, 0, 0, 0, 0, 1]);
    let basis = Basis {
        installed: Arc::new(Installed::nothing(1)),
        fib: Arc::new(Fib::new(policy.interfaces.iter().map(port).collect(), &[])),
        ports: Arc::default(),
        devices: Arc::default(),
        numbers: Arc::default(),
    };
    let mut prepared = prepare(&basis, Arc::new(policy), engine, 0).expect("an engine");
    let peer = Address::v4([192, 0, 2, 2]);
    let mut neighbors = Neighbors::default();
    neighbors
        .0
        .insert((InterfaceId(0), peer), [2, 0, 0, 0, 0, 2]);
    prepared.views[0].neighbors = Arc::new(neighbors);
    prepared
}

/// The worker of `prepared`, what control holds of its rings, and what it sends.
fn worker(
    prepared: &mut Prepared,
    engine: GatewayEngine,
    pool: &Mempool,
) -> (Worker, Sender<ToWorker>, Receiver<ToPeer>) {
    let (to_worker, from_control) = ring(64);
    let (to_peer, sent) = ring(64);
    let port = |_| WorkerPort {
        rx: None,
        tx: None,
        tx_worker: 1,
        capture: Arc::default(),
        finite: false,
        pending: ArrayVec::new(),
        counters: Arc::default(),
    };
    let status = Arc::<WorkerStatus>::default();
    let counters = status.counters.clone();
    let io = WorkerIo {
        pool: pool.clone(),
        jumbo: pool.clone(),
        ports: (0..2).map(port).collect(),
        interface_port: vec![0, 1],
        rings: WorkerRings {
            from_control,
            to_control: ring(64).0,
            urgent: ring(64).0,
            neighbors: ring(64).0,
            first: ring(64).0,
            retired: ring(64).0,
            captured: ring(64).0,
            to_peers: vec![None, Some(to_peer)],
            from_peers: vec![None, None],
        },
        cookies: CookieKey::new([0; 16]),
        counters: counters.clone(),
        offloads: false,
        discarded: ArrayVec::new(),
        stop_watch: None,
    };
    let view = prepared.views.remove(0);
    let worker = Worker {
        pipeline: Pipeline::new(0, engine, *view, counters, 256, [7; 32]),
        io,
        status,
        shares_core: false,
        stop: Arc::default(),
        epoch: 0,
    };
    (worker, to_worker, sent)
}

/// An order does not change what becomes of packets that came before it, though they still wait for others to be
/// ciphered with.
#[test]
fn packets_in_a_lane_go_before_the_order_behind_them() {
    let arguments = [
        "-l",
        "0",
        "--no-huge",
        "-m",
        "64",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        "--log-level=error",
    ];
    let eal = Eal::init(arguments).expect("EAL");
    let pool = Mempool::new("worker", 63, 0, 2048).expect("pool");
    let engine = || GatewayEngine::with_order(&[EngineKind::Portable]);
    let mut prepared = prepared(&engine());
    let (mut worker, mut control, mut sent) = worker(&mut prepared, engine(), &pool);
    let installed = &prepared.plan.installed;
    let outbound = installed
        .iter()
        .find(|(sa, _)| sa.direction == Direction::Outbound);
    let slot = outbound.expect("the policy has one").1.place.slot;
    let mut packet = Packet(pool.alloc().expect("buffer"));
    packet.append(CLEAR.len()).expect("room");
    packet.data_mut().copy_from_slice(&CLEAR);
    let orders = prepared.plan.before_view.remove(0);
    let before = orders.into_iter().map(ToWorker::Command);
    let index = Command::SetIndex(prepared.plan.index.whole.take().expect("all are new"));
    for message in before.chain([
        ToWorker::Command(index),
        ToWorker::Inject(Inject::Packet(packet)),
        ToWorker::Command(Command::RemoveOutbound(slot)),
    ]) {
        control.push(message).expect("room");
    }
    assert!(worker.round(1000));
    let counters = &worker.status.counters;
    let drops = DropReason::ALL
        .iter()
        .filter(|reason| counters.drops.get(**reason) != 0);
    assert_eq!(drops.collect::<Vec<_>>(), [&DropReason::NoSa; 0]);
    let Some(ToPeer::Frame(InterfaceId(0), frame)) = sent.pop() else {
        panic!("nothing is sent");
    };
    // Behind the link header (IEEE 802.3) ESP, RFC 4303 2: protocol 50, the SPI, the first sequence number.
    let ip = &frame.data()[14..];
    assert_eq!((ip[9], &ip[20..28]), (50, &[0, 0, 0x10, 2, 0, 0, 0, 1][..]));
    drop((frame, worker, sent, pool));
    drop(eal);
}
