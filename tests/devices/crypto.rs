//! Crypto devices in software: what they make of packets is what the worker would have made of them, in order.

use kit::packet::{ip_frame, udp_packet};
use kit::{Gateway, Scratch, pcap};

use crate::{HOST, LAN_A, frames, lab, packets, policy, read};

/// Packets of one SA whose order is watched.
const MANY: u32 = 100_000;

fn runtime(device: &str, queue: u16) -> String {
    format!(
        "engines = [\"cryptodev\", \"portable\"]\ncrypto-devices = [\"{device}\"]\ncrypto-queue = {queue}\n"
    )
}

/// Numbered packets of changing sizes.
fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| {
            let data = [&n.to_be_bytes()[..], &vec![7; n as usize * 31 % 200]].concat();
            udp_packet("10.1.0.2", "10.2.0.2", (1000, 2000), &data)
        })
        .collect()
}

/// Sealed by gateway A from `a.pcap` into `wire`.
fn seal(scratch: &Scratch, runtime: &str, wire: &str) -> Result<kit::Drained, String> {
    let dir = scratch.dir().display();
    Gateway::drain(
        runtime,
        &policy(
            lab::Side::A,
            &format!("net_pcap0,rx_pcap={dir}/a.pcap,tx_pcap={dir}/a-out.pcap"),
            &format!("net_pcap1,rx_pcap={dir}/nothing.pcap,tx_pcap={dir}/{wire}"),
        ),
    )
    .success()
}

/// Opened by gateway B from `wire.pcap` into `out`.
fn open(scratch: &Scratch, runtime: &str, out: &str) -> Result<kit::Drained, String> {
    let dir = scratch.dir().display();
    Gateway::drain(
        runtime,
        &policy(
            lab::Side::B,
            &format!("net_pcap0,rx_pcap={dir}/nothing.pcap,tx_pcap={dir}/{out}"),
            &format!("net_pcap1,rx_pcap={dir}/wire.pcap,tx_pcap={dir}/b-out.pcap"),
        ),
    )
    .success()
}

fn write(scratch: &Scratch, packets: &[Vec<u8>]) {
    pcap::write(&scratch.path("a.pcap"), &frames(LAN_A, packets));
    pcap::write::<&[u8]>(&scratch.path("nothing.pcap"), &[]);
}

fn all_in_device(ended: &kit::Drained) -> Result<(), String> {
    match ended.sas_of_engine("cryptodev")? {
        2 => Ok(()),
        other => Err(format!("{other} of 2 SAs are in the crypto device")),
    }
}

/// AES-GCM gives the same bytes for the same key, sequence number and packet, whoever computes it: both ways, byte
/// for byte and packet for packet, as without the device.
pub fn same_as_the_worker(device: &str) -> Result<(), String> {
    let scratch = Scratch::new("crypto");
    write(&scratch, &numbered(MANY));
    let runtime = runtime(device, 1024);
    seal(&scratch, "engines = [\"portable\"]", "wire.pcap")?;
    all_in_device(&seal(&scratch, &runtime, "device.pcap")?)?;
    if read(&scratch, "wire.pcap") != read(&scratch, "device.pcap") {
        return Err("the device sealed otherwise, or in another order".into());
    }
    open(&scratch, "engines = [\"portable\"]", "b.pcap")?;
    all_in_device(&open(&scratch, &runtime, "device.pcap")?)?;
    let (worker, device) = (
        packets(&scratch, "b.pcap"),
        packets(&scratch, "device.pcap"),
    );
    if worker.len() != MANY as usize || worker != device {
        return Err("the device opened otherwise, or in another order".into());
    }
    Ok(())
}

/// A queue of four: what finds no room is dropped and counted, what goes through is in order, and all is accounted
/// for.
pub fn tiny_queue(device: &str) -> Result<(), String> {
    let scratch = Scratch::new("crypto");
    let sent = numbered(1000);
    write(&scratch, &sent);
    let ended = seal(&scratch, &runtime(device, 4), "wire.pcap")?;
    all_in_device(&ended)?;
    let (drops, report) = (ended.drops()?, ended.report()?);
    if report["buffers"]["in_use"] != 0 {
        return Err(format!("buffers are lost: {}", report["buffers"]));
    }
    let busy = drops.get("engine-busy").copied().unwrap_or(0) as usize;
    open(&scratch, "engines = [\"portable\"]", "b.pcap")?;
    let number = |packet: &Vec<u8>| packet[28..32].to_vec();
    let came: Vec<_> = packets(&scratch, "b.pcap").iter().map(number).collect();
    if busy == 0 || drops.len() != 1 || came.len() + busy != sent.len() {
        return Err(format!("{} of {} came, {drops:?}", came.len(), sent.len()));
    }
    match came.is_sorted() {
        true => Ok(()),
        false => Err("out of order".into()),
    }
}

/// A device that can do nothing: its SAs have the next engine, and say so.
pub fn fallback() -> Result<(), String> {
    let scratch = Scratch::new("crypto");
    write(&scratch, &numbered(100));
    let ended = seal(&scratch, &runtime("crypto_null", 1024), "wire.pcap")?;
    let (aside, portable) = (
        ended.sas_of_engine("cryptodev")?,
        ended.sas_of_engine("portable")?,
    );
    let report = ended.report()?;
    if (aside, portable) != (0, 2) || report["engine_fallbacks"] != 2 {
        return Err(format!("{aside}, {portable}: {report}"));
    }
    if report["sas"][0]["fallback"] != "cryptodev: no device has these algorithms" {
        return Err(format!("{}", report["sas"][0]));
    }
    match read(&scratch, "wire.pcap").len() {
        100 => Ok(()),
        other => Err(format!("{other} packets")),
    }
}

/// An echo under a forged ICV does not come through a device.
pub fn forged(device: &str) -> Result<(), String> {
    let scratch = Scratch::new("crypto");
    write(&scratch, &numbered(50));
    seal(&scratch, "", "wire.pcap")?;
    let mut wire = read(&scratch, "wire.pcap");
    for frame in wire.iter_mut().step_by(2) {
        if let Some(last) = frame.last_mut() {
            *last ^= 1;
        }
    }
    let clear = udp_packet("10.1.0.2", "10.2.0.2", (1000, 2000), b"clear");
    wire.push(ip_frame([2, 0, 0, 0, 2, 2], HOST, &clear));
    pcap::write(&scratch.path("wire.pcap"), &wire);
    let ended = open(&scratch, &runtime(device, 1024), "b.pcap")?;
    let drops = ended.drops()?;
    let expected = [("clear-but-must-be-protected", 1), ("icv-mismatch", 25)];
    let found: Vec<_> = drops.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    match found == expected && packets(&scratch, "b.pcap").len() == 25 {
        true => Ok(()),
        false => Err(format!("{found:?}")),
    }
}
