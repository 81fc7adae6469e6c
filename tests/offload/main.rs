//! Inline crypto: the released binary with a NIC that has it, as DPDK sees one (`nic.c`), and the peer without.
//!
//! The NIC knows of an SA only what it was told through DPDK, and ciphers with ipsec-mb, which the gateway is told not to
//! use; scapy, and a gateway that computes everything itself, open what it has made.

mod live;
mod nic;

use kit::packet::{Mac, ip_frame, udp_packet};
use kit::{Cases, Need, Scratch, available, output, pcap, python};
use nic::{Nic, device_policy};
use serde_json::{Value, json};

const LAN_A: Mac = [2, 0, 0, 0, 1, 1];
const HOST: Mac = [2, 0, 0, 0, 9, 9];
/// Many enough that most come after the NIC's answer.
const PACKETS: u32 = 30_000;
/// Of those, scapy opens the first and each so many-th.
const STRIDE: usize = 499;
const SPI_OUT: u32 = 0x1001;
const SPI_IN: u32 = 0x1002;

#[test]
fn over_capture_files() {
    if !available("over_capture_files", &[Need::Scapy]) {
        return;
    }
    let library = Scratch::new("nic");
    let nic = Nic::build(&library);
    let mut cases = Cases::new();
    cases.run("outbound, and scapy opens it", || outbound(&nic, false));
    cases.run("the same with ESN", || outbound(&nic, true));
    cases.run("a NIC that has no place", || refused(&nic));
    cases.run("a NIC that is reset", || reset(&nic));
    cases.run("no NIC at all", || nobody(&nic));
    cases.finish();
}

#[test]
fn while_it_runs() {
    let needs = [
        Need::Root,
        Need::Program("ip", "iproute2"),
        Need::Program("ping", "iputils-ping"),
    ];
    if !available("while_it_runs", &needs) {
        return;
    }
    let library = Scratch::new("nic");
    let nic = Nic::build(&library);
    let mut cases = Cases::new();
    cases.run("tunnel", || live::ping(&nic));
    cases.run("forged", || live::forged(&nic));
    cases.finish();
}

/// Packet `n` of network A, for network B.
fn clear(n: u32) -> Vec<u8> {
    let data = [&n.to_be_bytes()[..], &vec![7; n as usize * 31 % 200]].concat();
    udp_packet("10.1.0.2", "10.2.0.2", (1000, 2000), &data)
}

/// Files of a run, with all packets that come in.
fn inputs() -> Scratch {
    let scratch = Scratch::new("offload");
    let frames: Vec<_> = (0..PACKETS)
        .map(|n| ip_frame(LAN_A, HOST, &clear(n)))
        .collect();
    pcap::write(&scratch.path("a.pcap"), &frames);
    pcap::write::<&[u8]>(&scratch.path("nothing.pcap"), &[]);
    scratch
}

/// Gateway A over capture files, whose unprotected port has the NIC: its last status.
fn run(
    nic: &Nic,
    scratch: &Scratch,
    esn: bool,
    settings: &[(&str, &str)],
) -> Result<Value, String> {
    let ended = nic.drain(scratch, settings, &device_policy(scratch, esn));
    let report = ended.success()?.report()?;
    nic::violations(scratch)?;
    Ok(report)
}

/// The row of an SA.
fn sa(report: &Value, spi: u32) -> &Value {
    let rows = report["sas"].as_array().into_iter().flatten();
    let mut rows = rows.filter(|row| row["spi"] == format!("{spi:#010x}"));
    rows.next().unwrap_or(&Value::Null)
}

/// All packets of the wire are there, in the order in which the gateway numbered them, and scapy opens them.
fn opened_by_scapy(scratch: &Scratch, esn: bool) -> Result<(), String> {
    let mut wire = pcap::read(&scratch.path("wire.pcap"));
    wire.retain(|frame| frame[12..14] == [8, 0]);
    if wire.len() != PACKETS as usize {
        return Err(format!("{} packets on the wire", wire.len()));
    }
    let some: Vec<_> = wire.iter().step_by(STRIDE).collect();
    pcap::write(&scratch.path("some.pcap"), &some);
    let plan = json!({
        "in": scratch.path("some.pcap"),
        "sas": { SPI_OUT.to_string(): {
            "protocol": "esp", "crypt": "AES-GCM", "crypt_key": "01".repeat(20), "crypt_icv": 16,
            "auth": null, "auth_key": "", "tunnel": ["10.99.0.1", "10.99.0.2"], "udp": false, "esn": esn,
        } },
    });
    let file = scratch.write("plan.json", 0o600, plan.to_string().as_bytes());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy/sa.py");
    let python = python().ok_or("no Python with scapy")?;
    let said = output(python, &[script, "open", &file.to_string_lossy()])?;
    let opened: Vec<String> = serde_json::from_str(&said).map_err(|e| e.to_string())?;
    // RFC 4303 3.3.3: numbers begin with 1 and go up by one.
    for (frame, opened) in some.iter().zip(&opened) {
        let number = u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]);
        let expected = kit::packet::forwarded(&clear(number - 1));
        let hex: String = expected.iter().map(|b| format!("{b:02x}")).collect();
        if *opened != hex {
            return Err(format!("number {number}: {opened}"));
        }
    }
    Ok(())
}

fn expect(row: &Value, wanted: &[(&str, Value)]) -> Result<(), String> {
    match wanted.iter().all(|(field, value)| row[field] == *value) {
        true => Ok(()),
        false => Err(format!("expected {wanted:?} in {row}")),
    }
}

/// The first packets in software, then the NIC's; nobody on the wire sees a difference.
fn outbound(nic: &Nic, esn: bool) -> Result<(), String> {
    let scratch = inputs();
    let settings: &[(&str, &str)] = if esn { &[("NIC_ESN", "1")] } else { &[] };
    let report = run(nic, &scratch, esn, settings)?;
    let row = sa(&report, SPI_OUT);
    expect(
        row,
        &[
            ("engine", json!("inline-crypto")),
            ("offload", json!("active")),
            ("fallback", Value::Null),
            ("packets", json!(PACKETS)),
        ],
    )?;
    let offloaded = row["offloaded"].as_u64().unwrap_or(0);
    if offloaded == 0 || offloaded >= u64::from(PACKETS) {
        return Err(format!("{offloaded} packets were the NIC's"));
    }
    expect(&report["workers"][0], &[("offloaded", json!(offloaded))])?;
    let log = nic::log(&scratch);
    let esn_text = u8::from(esn);
    let created = format!(
        "egress tunnel spi {SPI_OUT:#x} esn {esn_text} key {} salt {}",
        "01".repeat(16),
        "01".repeat(4)
    );
    for line in [
        "configure rx 1 tx 1",
        created.as_str(),
        "destroy 0",
        &format!("close sent {offloaded} "),
    ] {
        if !log.contains(line) {
            return Err(format!("no `{line}` in:\n{log}"));
        }
    }
    opened_by_scapy(&scratch, esn)
}

/// Refused once, it is not asked again: the SA stays in software, and it is known why.
fn refused(nic: &Nic) -> Result<(), String> {
    let scratch = inputs();
    let report = run(nic, &scratch, false, &[("NIC_SESSIONS", "0")])?;
    let row = sa(&report, SPI_OUT);
    expect(
        row,
        &[
            ("engine", json!("portable")),
            ("offload", json!("failed")),
            ("offloaded", json!(0)),
            ("packets", json!(PACKETS)),
        ],
    )?;
    if !row["fallback"]
        .as_str()
        .is_some_and(|why| why.starts_with("inline-crypto: rte_security_session_create"))
    {
        return Err(format!("{row}"));
    }
    expect(&report, &[("engine_fallbacks", json!(1))])?;
    let asked = nic::log(&scratch).matches("full").count();
    if asked != 1 {
        return Err(format!("asked {asked} times"));
    }
    nic::told(&scratch, "offload-failed", "from-1")?;
    opened_by_scapy(&scratch, false)?;
    // Without ESN in the device, an SA with ESN is not for it.
    let scratch = inputs();
    let report = run(nic, &scratch, true, &[])?;
    let why = "inline-crypto: the device has no extended sequence numbers";
    expect(sa(&report, SPI_OUT), &[("fallback", json!(why))])?;
    opened_by_scapy(&scratch, true)
}

/// It loses the SA: software goes on where it was, and no packet goes out in clear.
fn reset(nic: &Nic) -> Result<(), String> {
    let scratch = inputs();
    let report = run(nic, &scratch, false, &[("NIC_RESET", "100")])?;
    let row = sa(&report, SPI_OUT);
    expect(
        row,
        &[
            ("engine", json!("portable")),
            ("offload", json!("failed")),
            (
                "fallback",
                json!("inline-crypto: the device was reset or removed"),
            ),
        ],
    )?;
    nic::told(&scratch, "offload-failed", "from-1")?;
    opened_by_scapy(&scratch, false)
}

/// The order names it, and no port has it.
fn nobody(nic: &Nic) -> Result<(), String> {
    let scratch = inputs();
    let report = run(nic, &scratch, false, &[("NIC_PORT", "none")])?;
    let why = json!("inline-crypto: no port has it");
    for spi in [SPI_OUT, SPI_IN] {
        let expected = [("fallback", why.clone()), ("offload", Value::Null)];
        expect(sa(&report, spi), &expected)?;
    }
    expect(&report, &[("engine_fallbacks", json!(2))])
}
