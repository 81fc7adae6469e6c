//! Each stage of the packet path by itself, in cycles of the time stamp counter: `cargo bench --bench stages`.
//! Where a benchmark says `thrpt`, that is for each packet or lookup, the rest is for all of a round.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Throughput};
use ipnet::IpNet;
use portcullis::engine::FastEngine;
use portcullis_config::{AeadIcv, AesKey, Cipher, Integrity, Secret, Transform};
use portcullis_ipsec::checksum::checksum;
use portcullis_ipsec::engine::portable::Portable;
use portcullis_ipsec::engine::{Engine, EspJob};
use portcullis_ipsec::fib::{Fib, Hop, Neighbors};
use portcullis_ipsec::flow::{Decision, FlowCache, FlowKey, Path, Verdict};
use portcullis_ipsec::ip::{Address, IpHeader};
use portcullis_ipsec::pipeline::{BURST, Stage};
use portcullis_ipsec::replay::ReplayWindow;
use portcullis_ipsec::sa::SaRef;
use portcullis_ipsec::sad::{SpiEntry, SpiIndex};
use portcullis_ipsec::spd::{Classifier, Tree};
use portcullis_ipsec::{InterfaceId, PacketBuf};

mod course;
#[path = "course/cycles.rs"]
mod cycles;
#[path = "../dataplane/ipsec/tests/rig/mod.rs"]
mod rig;
#[path = "../dataplane/ipsec/tests/spd_shapes/mod.rs"]
mod spd_shapes;

use course::{Bench, Frame, Laps, Pool, gateway, pool, put, sites};
use cycles::Cycles;
use rig::packets::udp;
use rig::policy::Sites;
use rig::{LAN, WIRE, framed};
use spd_shapes::{Random, SHAPES, matching};

type Criterion = criterion::Criterion<Cycles>;
type Group<'a> = BenchmarkGroup<'a, Cycles>;

/// ESP header and IV before the payload of AES-GCM, trailer and ICV behind it.
const GCM_OVERHEAD: usize = 8 + 8 + 2 + 16;

/// An IPv4 UDP packet between two hosts of the 10.0.0.0/8 network.
fn packet(destination: u32) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 64, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 2];
    packet.extend((0x0a00_0000 | destination).to_be_bytes());
    let sum = checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend([4, 0, 8, 0, 0, 44, 0, 0]);
    packet.resize(64, 0);
    packet
}

fn parse(c: &mut Criterion) {
    let packet = packet(2);
    c.bench_function("parse", |b| b.iter(|| IpHeader::parse(black_box(&packet))));
}

fn flow_hit(c: &mut Criterion) {
    let mut cache = FlowCache::new(1 << 16, 1);
    let packets: Vec<_> = (0..64).map(packet).collect();
    let key = |packet: &[u8]| {
        let ip = IpHeader::parse(packet).unwrap();
        FlowKey::new(
            &ip,
            portcullis_ipsec::ip::ports(packet, &ip),
            Path::Outbound,
        )
    };
    let keys: Vec<_> = packets.iter().map(|p| key(p)).collect();
    for key in &keys {
        cache.insert(
            cache.place(key),
            *key,
            Decision {
                verdict: Verdict::Local,
                entry: 0,
            },
        );
    }
    let mut turn = 0;
    c.bench_function("flow hit", |b| {
        b.iter(|| {
            turn = (turn + 1) % keys.len();
            let key = black_box(&keys[turn]);
            cache.get(cache.place(key), key)
        })
    });
}

/// Keys that are looked up in turn: more than the branch predictor can learn.
const KEYS: usize = 8192;

/// Measures lookups of `KEYS` different keys, reported for each.
fn lookups<K>(group: &mut Group, id: BenchmarkId, keys: &[K], mut lookup: impl FnMut(&K)) {
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function(id, |b| b.iter(|| keys.iter().for_each(&mut lookup)));
}

fn spd_miss(c: &mut Criterion) {
    for (shape, entries) in SHAPES {
        let mut group = c.benchmark_group(format!("SPD miss, {shape}"));
        for count in [1, 100, 1000, 10_000] {
            let random = &mut Random::new(7);
            let selectors = entries(count, random);
            let keys: Vec<_> = (0..KEYS).map(|_| matching(&selectors, random)).collect();
            let tree = Tree::build(&selectors);
            lookups(
                &mut group,
                BenchmarkId::from_parameter(count),
                &keys,
                |key| {
                    black_box(tree.classify(key));
                },
            );
        }
    }
}

fn spd_build(c: &mut Criterion) {
    let mut group = c.benchmark_group("SPD of 10000 entries built");
    group.sample_size(10);
    for (shape, entries) in SHAPES {
        let selectors = entries(10_000, &mut Random::new(7));
        group.bench_function(shape, |b| b.iter(|| Tree::build(&selectors)));
    }
}

fn route(c: &mut Criterion) {
    for v4 in [true, false] {
        let family = if v4 { "IPv4" } else { "IPv6" };
        let mut group = c.benchmark_group(format!("route, {family}"));
        for count in [10, 1000, 10_000] {
            let random = &mut Random::new(3);
            let routes: Vec<_> = (0..count).map(|_| random_route(v4, random)).collect();
            let keys: Vec<_> = (0..KEYS)
                .map(|_| Address::from(random.pick(&routes).0.addr()))
                .collect();
            let fib = Fib::new(Vec::new(), &routes);
            lookups(
                &mut group,
                BenchmarkId::from_parameter(count),
                &keys,
                |key| {
                    black_box(fib.route(*key));
                },
            );
        }
    }
}

/// To one of eight gateways, from an address anywhere in the prefix.
fn random_route(v4: bool, random: &mut Random) -> (IpNet, Hop) {
    let net = if v4 {
        let length = random.pick(&[16, 20, 22, 24, 24, 24, 24, 28, 32]);
        IpNet::new(Ipv4Addr::from_bits(random.word()).into(), length)
    } else {
        let address = 0x2001_u128 << 112 | u128::from(random.word()) << 80;
        IpNet::new(
            Ipv6Addr::from_bits(address | u128::from(random.word()) << 48).into(),
            random.pick(&[32, 48, 56, 64]),
        )
    };
    let hop = Hop {
        interface: InterfaceId(1),
        via: Some(Address::v4([192, 0, 2, random.below(8) as u8])),
    };
    (net.unwrap(), hop)
}

fn neighbor(c: &mut Criterion) {
    let mut group = c.benchmark_group("neighbour");
    for count in [10, 10_000] {
        let random = &mut Random::new(4);
        let station = |host: u32| {
            let address = Address::v4((0x0a00_0000 + host).to_be_bytes());
            (InterfaceId(1), address)
        };
        let known = (0..count).map(|host| (station(host), [2; 6])).collect();
        let neighbors = Neighbors(known);
        let keys: Vec<_> = (0..KEYS).map(|_| station(random.below(count))).collect();
        lookups(
            &mut group,
            BenchmarkId::from_parameter(count),
            &keys,
            |key| {
                black_box(neighbors.0.get(key));
            },
        );
    }
}

fn sad(c: &mut Criterion) {
    let mut group = c.benchmark_group("SAD by SPI");
    for count in [1u32, 1000, 100_000] {
        let mut index = SpiIndex::with_capacity(count as usize);
        let destination = Address::v4([192, 0, 2, 1]);
        for slot in 0..count {
            let sa = SaRef { worker: 0, slot };
            index.insert(SpiEntry {
                spi: 0x1000 + slot * 7919,
                protocol: 50,
                destination,
                sa,
            });
        }
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                turn = (turn + 1) % count;
                index.lookup(black_box(0x1000 + turn * 7919), 50, destination)
            })
        });
    }
}

fn replay(c: &mut Criterion) {
    let mut window = ReplayWindow::new(1024, true);
    let mut sequence = 0u64;
    c.bench_function("replay check and track", |b| {
        b.iter(|| {
            sequence += 1;
            let full = window.check(black_box(sequence as u32))?;
            window.track(full)
        })
    });
}

/// Adds up the cycles of one stage.
struct LapClock {
    wanted: Stage,
    last: u64,
    total: u64,
}

impl LapClock {
    fn of(wanted: Stage) -> Self {
        LapClock {
            wanted,
            last: 0,
            total: 0,
        }
    }
}

impl Laps for LapClock {
    #[inline(always)]
    fn lap(&mut self, stage: Stage) {
        let now = dpdk::thread::cycles();
        if stage == self.wanted {
            self.total += now - self.last;
        }
        self.last = now;
    }
}

/// A burst of known flows through a port, with a cipher that does nothing: cycles of the wanted stage.
fn burst(
    pipeline: &mut Bench,
    io: &mut Pool<LapClock>,
    port: u16,
    mut fill: impl FnMut(&mut Frame),
) -> u64 {
    let before = io.laps.total;
    let mut frames = ArrayVec::<Frame, BURST>::new();
    for mut frame in io.sent.drain(..) {
        fill(&mut frame);
        frames.push(frame);
    }
    pipeline.receive(io, 1000, usize::from(port), &mut frames);
    assert_eq!(io.sent.len(), BURST);
    io.laps.total - before
}

/// What is before and behind the cipher, in both directions, of 64-byte packets.
fn around_the_cipher(c: &mut Criterion) {
    for (stage, name) in [(Stage::Decide, "prepare"), (Stage::Finish, "finish")] {
        let mut group = c.benchmark_group(format!("{name}, burst of {BURST}"));
        group.throughput(Throughput::Elements(BURST as u64));
        let Sites { a, b, .. } = sites(false);
        let inner = udp("10.1.0.10", "10.2.0.20", (7, 9), &[5; 36]).write();
        let clear = framed(a.mac(LAN), None, &inner);
        let (mut sender, mut io) = (gateway(&a), pool(LapClock::of(stage)));
        let mut outbound = || burst(&mut sender, &mut io, LAN, |frame| put(frame, &clear));
        outbound();
        group.bench_function("outbound", |b| {
            b.iter_custom(|bursts| (0..bursts).map(|_| outbound()).sum())
        });
        let mut sealed = io.sent[0].data().to_vec();
        sealed[..6].copy_from_slice(&b.mac(WIRE));
        let (mut receiver, mut io) = (gateway(&b), pool(LapClock::of(stage)));
        let mut sequence = 0u32;
        let mut inbound = || {
            burst(&mut receiver, &mut io, WIRE, |frame| {
                sequence += 1;
                put(frame, &sealed);
                // Behind the Ethernet and IPv4 headers and the SPI (RFC 4303 2.2).
                frame.data_mut()[38..42].copy_from_slice(&sequence.to_be_bytes());
            })
        };
        inbound();
        group.bench_function("inbound", |b| {
            b.iter_custom(|bursts| (0..bursts).map(|_| inbound()).sum())
        });
    }
}

fn seal<E: Engine>(c: &mut Criterion, name: &str, mut engine: E) {
    let gcm = Transform::Esp(Cipher::AesGcm(AesKey::Aes128, AeadIcv::Icv16), None);
    let cbc = Transform::Esp(Cipher::AesCbc(AesKey::Aes128), Some(Integrity::HmacSha1_96));
    for (transform, label, cipher, integrity) in [
        (gcm, "aes128-gcm16", 20, 0),
        (cbc, "aes128-cbc hmac-sha1-96", 16, 20),
    ] {
        let key = engine
            .key(
                transform,
                &Secret::new(vec![7; cipher]),
                &Secret::new(vec![9; integrity]),
            )
            .unwrap();
        let mut group = c.benchmark_group(format!("seal {label}, {name}, burst of {BURST}"));
        group.throughput(Throughput::Elements(BURST as u64));
        for size in [64usize, 512, 1420] {
            // Whole blocks of every cipher here; CBC's IV and ICV take less together than GCM's padding leaves.
            let length = match cipher {
                20 => (size + GCM_OVERHEAD).next_multiple_of(4),
                _ => 8 + 16 + (size + 2).next_multiple_of(16) + 12,
            };
            let packets = vec![vec![5; length]; BURST];
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter_batched_ref(
                    || packets.clone(),
                    |packets| {
                        let job = |packet| EspJob {
                            key: &key,
                            packet,
                            sequence_high: None,
                            ok: false,
                        };
                        let mut jobs: Vec<_> =
                            packets.iter_mut().map(|p| job(p.as_mut_slice())).collect();
                        engine.seal(&mut jobs);
                        assert!(jobs.iter().all(|job| job.ok));
                    },
                    BatchSize::SmallInput,
                )
            });
        }
    }
}

fn engines(c: &mut Criterion) {
    seal(c, "fast engine", FastEngine::new());
    seal(c, "portable engine", Portable::new());
}

fn main() {
    let mut c = criterion::Criterion::default()
        .with_measurement(Cycles)
        .configure_from_args();
    for stage in [
        parse,
        flow_hit,
        spd_miss,
        spd_build,
        route,
        neighbor,
        sad,
        replay,
        around_the_cipher,
        engines,
    ] {
        stage(&mut c);
    }
    c.final_summary();
}
