//! Real packets through every kind of DPDK device that needs no hardware: null, ring, pcap, memif, tap, af_packet,
//! af_xdp (proof 6).

mod crypto;
mod lab;

use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::packet::{Carried, Mac, carried, forwarded, ip_frame, udp_packet};
use kit::{Cases, Gateway, Need, Scratch, available, pcap};

/// UDP packets that the tests over capture files send.
const PACKETS: usize = 100;
const WAN_A: Mac = [2, 0, 0, 0, 1, 2];
const WAN_B: Mac = [2, 0, 0, 0, 2, 2];
const LAN_A: Mac = [2, 0, 0, 0, 1, 1];
const LAN_B: Mac = [2, 0, 0, 0, 2, 1];
const HOST: Mac = [2, 0, 0, 0, 9, 9];

#[test]
fn without_rights() {
    let scratch = Scratch::new("devices");
    let mut cases = Cases::new();
    cases.run("pcap", || pcap_files(&scratch));
    cases.run("null", || null(&scratch));
    cases.run("engines", engines);
    cases.run("ring", || ring(&scratch));
    cases.finish();
}

#[test]
fn crypto_devices() {
    let mut cases = Cases::new();
    for device in ["crypto_aesni_mb", "crypto_openssl"] {
        let name = |what: &str| format!("{device}: {what}");
        cases.run(&name("as the worker"), || {
            crypto::same_as_the_worker(device)
        });
        cases.run(&name("tiny queue"), || crypto::tiny_queue(device));
        cases.run(&name("forged"), || crypto::forged(device));
    }
    cases.run("crypto_null: fallback", crypto::fallback);
    cases.finish();
}

#[test]
fn with_namespaces() {
    let needs = [
        Need::Root,
        Need::Program("ip", "iproute2"),
        Need::Program("ethtool", "ethtool"),
        Need::Program("ping", "iputils-ping"),
        Need::File("/dev/net/tun", "module tun"),
    ];
    if !available("with_namespaces", &needs) {
        return;
    }
    let mut cases = Cases::new();
    cases.run("memif and tap", || {
        lab::ping(lab::Wan::Memif, lab::Lan::Tap)
    });
    cases.run("af_packet", || {
        lab::ping(lab::Wan::AfPacket, lab::Lan::AfPacket)
    });
    cases.run("af_xdp", || lab::ping(lab::Wan::AfXdp, lab::Lan::AfXdp));
    cases.finish();
}

/// Clear packets between a host of network A and one of network B.
fn clear(from: &str, to: &str) -> Vec<Vec<u8>> {
    (0..PACKETS)
        .map(|index| udp_packet(from, to, (1000, 2000), &vec![index as u8; index * 13]))
        .collect()
}

/// Frames for a gateway's port.
fn frames(port: Mac, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets
        .iter()
        .map(|packet| ip_frame(port, HOST, packet))
        .collect()
}

/// Frames of a capture file that are not address resolution: a port announces its addresses.
fn read(scratch: &Scratch, file: &str) -> Vec<Vec<u8>> {
    let mut frames = pcap::read(&scratch.path(file));
    frames.retain(|frame| carried(frame) != Carried::Resolution);
    frames
}

/// Their IP packets.
fn packets(scratch: &Scratch, file: &str) -> Vec<Vec<u8>> {
    read(scratch, file)
        .iter()
        .map(|frame| frame[14..].to_vec())
        .collect()
}

/// The policy of gateway A or B with these devices; neighbours are static.
fn policy(side: lab::Side, lan: &str, wan: &str) -> String {
    let neighbors = format!(
        "[[neighbor]]\naddress = \"10.99.0.{}\"\nmac = \"02:00:00:00:0{}:02\"\nport = \"wan\"\n\
         [[neighbor]]\naddress = \"10.{}.0.2\"\nmac = \"02:00:00:00:09:09\"\nport = \"lan\"\n",
        side.other(),
        side.other(),
        side.number(),
    );
    lab::policy(side, lan, wan) + &neighbors
}

/// Seals packets of network A towards B into `wire.pcap`, and opens them again in another process.
fn pcap_files(scratch: &Scratch) -> Result<(), String> {
    let sent = clear("10.1.0.2", "10.2.0.2");
    pcap::write(&scratch.path("a.pcap"), &frames(LAN_A, &sent));
    pcap::write::<&[u8]>(&scratch.path("nothing.pcap"), &[]);
    let dir = scratch.dir().display();
    Gateway::drain(
        "",
        &policy(
            lab::Side::A,
            &format!("net_pcap0,rx_pcap={dir}/a.pcap,tx_pcap={dir}/a-out.pcap"),
            &format!("net_pcap1,rx_pcap={dir}/nothing.pcap,tx_pcap={dir}/wire.pcap"),
        ),
    )
    .success()?;
    let wire = read(scratch, "wire.pcap");
    for frame in &wire {
        if carried(frame) != Carried::Protected(50, lab::Side::A.spi()) {
            return Err(format!("on the wire: {:?}", carried(frame)));
        }
        if frame[..12] != [WAN_B, WAN_A].concat() {
            return Err(format!("MAC addresses {:02x?}", &frame[..12]));
        }
    }
    Gateway::drain(
        "",
        &policy(
            lab::Side::B,
            &format!("net_pcap0,rx_pcap={dir}/nothing.pcap,tx_pcap={dir}/b.pcap"),
            &format!("net_pcap1,rx_pcap={dir}/wire.pcap,tx_pcap={dir}/b-out.pcap"),
        ),
    )
    .success()?;
    // Two gateways are two hops.
    let expected: Vec<_> = sent
        .iter()
        .map(|packet| forwarded(&forwarded(packet)))
        .collect();
    if packets(scratch, "b.pcap") != expected {
        return Err("other packets came out than went in".into());
    }
    Ok(())
}

/// The null device takes what is sealed, while it floods its receiver with empty frames.
fn null(scratch: &Scratch) -> Result<(), String> {
    let sent = clear("10.1.0.2", "10.2.0.2");
    pcap::write(&scratch.path("a.pcap"), &frames(LAN_A, &sent));
    let dir = scratch.dir().display();
    let lan = format!("net_pcap0,rx_pcap={dir}/a.pcap,tx_pcap={dir}/a-out.pcap");
    let gateway = Gateway::start(None, "", &policy(lab::Side::A, &lan, "net_null0"));
    wait_for(|| Ok(gateway.sa_packets(lab::Side::A.spi())? == PACKETS as u64))?;
    let wan = gateway.port("wan")?;
    // The port announces its addresses, too.
    if wan.transmitted < PACKETS as u64 || wan.received == 0 {
        return Err(format!("the null device carried {wan:?}"));
    }
    gateway.stop().success().map(drop)
}

/// An SA has an engine of the policy's order, and `show sa` tells which.
fn engines() -> Result<(), String> {
    let policy = policy(lab::Side::A, "net_null0", "net_null1");
    for engine in ["portable", "ipsec-mb"] {
        let runtime = format!("engines = [\"{engine}\"]");
        let gateway = Gateway::start(None, &runtime, &policy);
        let table = gateway.show("sa")?;
        let sas = table["sas"].as_array().filter(|sas| !sas.is_empty());
        let is_right = |sa: &serde_json::Value| sa["engine"] == engine && sa["fallback"].is_null();
        if !sas.is_some_and(|sas| sas.iter().all(is_right)) {
            return Err(format!("not on {engine}, or by falling back: {table}"));
        }
    }
    Ok(())
}

/// What is sent to a ring device comes back from it. Gateway B opens packets and sends them to its LAN, a ring whose
/// only station is B itself: each circles until its TTL ends.
fn ring(scratch: &Scratch) -> Result<(), String> {
    let sent = clear("10.1.0.2", "10.2.0.2");
    pcap::write(&scratch.path("a.pcap"), &frames(LAN_A, &sent));
    pcap::write::<&[u8]>(&scratch.path("nothing.pcap"), &[]);
    let dir = scratch.dir().display();
    Gateway::drain(
        "",
        &policy(
            lab::Side::A,
            &format!("net_pcap0,rx_pcap={dir}/a.pcap,tx_pcap={dir}/a-out.pcap"),
            &format!("net_pcap1,rx_pcap={dir}/nothing.pcap,tx_pcap={dir}/wire.pcap"),
        ),
    )
    .success()?;
    let wan = format!("net_pcap0,rx_pcap={dir}/wire.pcap,tx_pcap={dir}/b-out.pcap");
    let policy = policy(lab::Side::B, "net_ring0", &wan).replace(&mac(HOST), &mac(LAN_B));
    let gateway = Gateway::start(None, "", &policy);
    // 64 at first, 63 from A, 62 from B, and 1 the last time.
    const ROUNDS: u64 = 62;
    wait_for(|| Ok(gateway.drops()?.get("ttl-expired") == Some(&(PACKETS as u64))))
        .map_err(|e| format!("{e}; {:?}", gateway.drops()))?;
    let lan = gateway.port("lan")?;
    // The port announces its addresses, too.
    if lan.received.min(lan.transmitted) < ROUNDS * PACKETS as u64 {
        return Err(format!("the ring carried {lan:?}"));
    }
    gateway.stop().success().map(drop)
}

fn mac(bytes: Mac) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Asks again until it is so, for five seconds.
fn wait_for(mut ready: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !ready()? {
        if Instant::now() > deadline {
            return Err("not all packets came through within 5 s".into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
