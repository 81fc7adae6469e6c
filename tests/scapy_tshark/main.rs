//! scapy and tshark open what Portcullis sealed, and Portcullis opens what scapy sealed (proof 3).
//!
//! No device and no rights are needed: the gateway's ports are capture files.
//!
//! ```text
//! clear packets ----------------- lan-in.pcap -> gateway -> wan-out.pcap -> scapy, tshark: the same packets?
//! clear packets -> scapy seals -> wan-in.pcap -> gateway -> lan-out.pcap: the same packets?
//! ```
//! In transport mode the clear packets are echo requests to the gateway, and its replies go the other way.

mod suites;

use std::collections::BTreeMap;
use std::path::Path;

use kit::packet::{Carried, Mac, carried, echo, forwarded, ip_frame, udp_packet};
use kit::{Cases, Gateway, Need, Scratch, available, output, pcap, python};
use serde_json::{Value, json};
use suites::{Mode, Suite, TO_GATEWAY, TO_PEER, suites};

const GATEWAY_WAN: Mac = [2, 0, 0, 0, 0, 1];
const PEER: Mac = [2, 0, 0, 0, 0, 2];
const GATEWAY_LAN: Mac = [2, 0, 0, 0, 0, 3];
const LAN_HOST: Mac = [2, 0, 0, 0, 0, 4];

const POLICY: &str = r#"
[[port]]
name = "wan"
device = "net_pcap0,rx_pcap=DIR/wan-in.pcap,tx_pcap=DIR/wan-out.pcap"
side = "unprotected"
addresses = ["10.99.0.1/16", "fd99::1/64"]
mac = "02:00:00:00:00:01"

[[port]]
name = "lan"
device = "net_pcap1,rx_pcap=DIR/lan-in.pcap,tx_pcap=DIR/lan-out.pcap"
side = "protected"
addresses = ["10.1.0.1/24", "fd01::1/64"]
mac = "02:00:00:00:00:03"

[[neighbor]]
address = "10.99.0.2"
mac = "02:00:00:00:00:02"
port = "wan"

[[neighbor]]
address = "fd99::2"
mac = "02:00:00:00:00:02"
port = "wan"

[[neighbor]]
address = "10.1.0.2"
mac = "02:00:00:00:00:04"
port = "lan"

[[neighbor]]
address = "fd01::2"
mac = "02:00:00:00:00:04"
port = "lan"

[[route]]
destination = "10.2.0.0/15"
via = "10.99.0.2"

[[route]]
destination = "fd02::/16"
via = "fd99::2"
"#;

/// Payload sizes: the edges of 4, 8 and 16 byte padding, and large ones.
const SIZES: [usize; 9] = [0, 1, 2, 5, 12, 13, 14, 500, 1300];
/// Payload sizes of echo requests.
const ECHO_SIZES: [usize; 3] = [0, 13, 1300];
/// Sequence numbers of the packets that scapy seals, 32 and 64 bits wide.
const SEQUENCE: [u64; 9] = [
    1,
    2,
    3,
    100,
    99,
    0x7fff_0000,
    0xfffe_0000,
    0xffff_fffe,
    0xffff_ffff,
];
const SEQUENCE_ESN: [u64; 9] = [
    1,
    2,
    0x7fff_ffff,
    0xffff_fff0,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0002,
    0x1_0000_0001,
    0x1_7fff_0000,
];

/// Packets by the SPI that protected them.
type BySpi = BTreeMap<u32, Vec<Vec<u8>>>;

#[test]
fn scapy_and_tshark() {
    let needs = [Need::Scapy, Need::Program("tshark", "tshark")];
    if !available("scapy_and_tshark", &needs) {
        return;
    }
    let mut cases = Cases::new();
    exchange(&mut cases, "");
    // The same packets through crypto devices, for the suites that they have.
    for device in ["crypto_aesni_mb", "crypto_openssl"] {
        eprintln!("{device}:");
        let engines = "engines = [\"cryptodev\", \"portable\"]";
        exchange(
            &mut cases,
            &format!("{engines}\ncrypto-devices = [\"{device}\"]"),
        );
    }
    cases.finish();
}

/// Both directions of all suites through a gateway with these lines in `[runtime]`.
fn exchange(cases: &mut Cases, runtime: &str) {
    let scratch = Scratch::new("scapy");
    let suites = suites();

    let clear_in = write_lan_in(&scratch, &suites);
    let clear_out = write_wan_in(&scratch, &suites);
    let dir = scratch.dir().to_string_lossy();
    let mut policy = POLICY.replace("DIR", &dir);
    for suite in &suites {
        policy.push_str(&suite.policy());
    }
    let ended = Gateway::drain(runtime, &policy);
    cases.run("drained", || {
        let ended = ended.success()?;
        let drops = ended.drops()?;
        if !drops.is_empty() {
            return Err(format!("unexpected drops: {drops:?}"));
        }
        let aside = ended.sas_of_engine("cryptodev")?;
        // At least one in four SAs is of a suite that every device has.
        match runtime.is_empty() || aside * 2 > suites.len() {
            true => Ok(()),
            false => Err(format!("only {aside} SAs are in the crypto device")),
        }
    });

    let lan_out = packets(&scratch.path("lan-out.pcap"));
    let wan_out = by_spi(&scratch.path("wan-out.pcap"));
    let opened = open_by_scapy(&scratch, &suites, &wan_out);
    for (name, mode) in suites::MODES {
        let of_mode: Vec<&Suite> = suites.iter().filter(|s| s.mode == mode).collect();
        if let Mode::Tunnel { .. } = mode {
            cases.run(&format!("portcullis opens scapy: {name}"), || {
                each(&of_mode, |suite| {
                    opened_by_portcullis(suite, &clear_out, &lan_out)
                })
            });
        }
        cases.run(&format!("portcullis numbers its packets: {name}"), || {
            each(&of_mode, |suite| numbered(suite, &wan_out))
        });
        cases.run(&format!("scapy opens portcullis: {name}"), || {
            each(&of_mode, |suite| opened_by_scapy(suite, &clear_in, &opened))
        });
    }
    cases.run("tshark opens portcullis", || {
        tshark(&scratch, &suites, &clear_in)
    });
}

/// How many suites fail, and why the first of them do.
fn each(suites: &[&Suite], check: impl Fn(&Suite) -> Result<(), String>) -> Result<(), String> {
    let failed: Vec<String> = suites
        .iter()
        .filter_map(|suite| {
            check(suite)
                .err()
                .map(|why| format!("{}: {why}", suite.name))
        })
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "{} of {}\n{}",
            failed.len(),
            suites.len(),
            failed[..failed.len().min(3)].join("\n")
        ))
    }
}

/// A payload that tells packets apart.
fn payload(number: u16, size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| (i as u8).wrapping_mul(7) ^ number as u8)
        .collect()
}

/// What the gateway shall seal: written for its LAN port, returned as it must come out of the tunnel. In transport
/// mode these are the replies that the gateway makes itself.
fn write_lan_in(scratch: &Scratch, suites: &[Suite]) -> BySpi {
    let mut frames = Vec::new();
    let mut expected = BySpi::new();
    for suite in suites {
        let (here, there) = suite.inside();
        let sealed = expected
            .entry(TO_PEER + u32::from(suite.number))
            .or_default();
        match suite.mode {
            Mode::Tunnel { .. } => {
                for size in SIZES {
                    let data = payload(suite.number, size);
                    let packet = udp_packet(&here, &there, (40_000, 41_000 + suite.number), &data);
                    frames.push(ip_frame(GATEWAY_LAN, LAN_HOST, &packet));
                    sealed.push(forwarded(&packet));
                }
            }
            Mode::Transport(_) if suite.scapy_knows() => {
                for (index, size) in (0..).zip(ECHO_SIZES) {
                    let data = payload(suite.number, size);
                    sealed.push(echo(&here, &there, true, [0, 1, 0, index], &data));
                }
            }
            Mode::Transport(_) => {}
        }
    }
    pcap::write(&scratch.path("lan-in.pcap"), &frames);
    expected
}

/// What the gateway shall open: sealed by scapy for its WAN port, returned as it must come out on the LAN.
fn write_wan_in(scratch: &Scratch, suites: &[Suite]) -> BySpi {
    let (mut rounds, mut sas) = (vec![Vec::new(); SEQUENCE.len()], serde_json::Map::new());
    let mut expected = BySpi::new();
    for suite in suites.iter().filter(|suite| suite.scapy_knows()) {
        let (here, there) = suite.inside();
        let spi = TO_GATEWAY + u32::from(suite.number);
        sas.insert(spi.to_string(), scapy_sa(suite, TO_GATEWAY));
        let sequence = if suite.esn { SEQUENCE_ESN } else { SEQUENCE };
        let clear: Vec<Vec<u8>> = match suite.mode {
            Mode::Tunnel { .. } => SIZES
                .iter()
                .map(|&size| {
                    let data = payload(suite.number, size);
                    udp_packet(&there, &here, (41_000 + suite.number, 40_000), &data)
                })
                .collect(),
            Mode::Transport(_) => (0..)
                .zip(ECHO_SIZES)
                .map(|(index, size)| {
                    let data = payload(suite.number, size);
                    echo(&there, &here, false, [0, 1, 0, index], &data)
                })
                .collect(),
        };
        for (round, (packet, sequence)) in rounds.iter_mut().zip(clear.iter().zip(sequence)) {
            round.push((ip_frame(GATEWAY_WAN, PEER, packet), json!([spi, sequence])));
        }
        expected.insert(spi, clear.iter().map(|packet| forwarded(packet)).collect());
    }
    // The SAs take turns: a receiver may look at a burst of packets before it moves any window, and from one look
    // to the next a sequence number of 64 bits can only be followed over 2^31.
    let (frames, order): (Vec<_>, Vec<_>) = rounds.into_iter().flatten().unzip();
    pcap::write(&scratch.path("clear.pcap"), &frames);
    let plan = json!({
        "sas": sas,
        "packets": order,
        "in": scratch.path("clear.pcap"),
        "out": scratch.path("wan-in.pcap"),
    });
    scapy(scratch, "seal", &plan).unwrap_or_else(|e| panic!("{e}"));
    expected
}

/// One SA of a plan for `tests/scapy/sa.py`.
fn scapy_sa(suite: &Suite, direction: u32) -> Value {
    let spi = direction + u32::from(suite.number);
    let (here, there) = suite.ends();
    let ends = if direction == TO_PEER {
        [here, there]
    } else {
        [there, here]
    };
    json!({
        "protocol": if suite.cipher.is_some() { "esp" } else { "ah" },
        "crypt": suite.cipher.and_then(|cipher| cipher.scapy),
        "crypt_key": suite.cipher_key(spi),
        "crypt_icv": suite.cipher.map_or(0, |cipher| cipher.icv),
        "auth": suite.integrity.and_then(|integrity| integrity.scapy),
        "auth_key": suite.integrity_key(spi),
        "tunnel": matches!(suite.mode, Mode::Tunnel { .. }).then_some(ends),
        "udp": suite.udp,
        "esn": suite.esn,
    })
}

/// Runs the script over a plan: what it prints.
fn scapy(scratch: &Scratch, action: &str, plan: &Value) -> Result<String, String> {
    let file = scratch.write("plan.json", 0o600, plan.to_string().as_bytes());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy/sa.py");
    let python = python().ok_or("no Python with scapy")?;
    let (script, file) = (script.to_string_lossy(), file.to_string_lossy());
    output(python, &[&script, action, &file])
}

/// What scapy says of every packet on the wire: the clear packet in hex, or an error, by SPI.
fn open_by_scapy(scratch: &Scratch, suites: &[Suite], wan: &BySpi) -> BTreeMap<u32, Vec<String>> {
    let (mut sas, mut spis, mut frames) = (serde_json::Map::new(), Vec::new(), Vec::new());
    for suite in suites.iter().filter(|suite| suite.scapy_knows()) {
        let spi = TO_PEER + u32::from(suite.number);
        sas.insert(spi.to_string(), scapy_sa(suite, TO_PEER));
        for frame in wan.get(&spi).into_iter().flatten() {
            spis.push(spi);
            frames.push(frame);
        }
    }
    pcap::write(&scratch.path("sealed.pcap"), &frames);
    let plan = json!({ "sas": sas, "in": scratch.path("sealed.pcap") });
    let text = scapy(scratch, "open", &plan).unwrap_or_else(|e| panic!("{e}"));
    let opened: Vec<String> = serde_json::from_str(&text).unwrap();
    assert_eq!(opened.len(), spis.len());
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (spi, packet) in spis.into_iter().zip(opened) {
        found.entry(spi).or_default().push(packet);
    }
    found
}

/// The IP packets of a capture file.
fn packets(path: &Path) -> Vec<Vec<u8>> {
    pcap::read(path)
        .iter()
        .map(|frame| frame[14..].to_vec())
        .collect()
}

/// The frames of a capture file by SPI; what is neither ESP nor AH under the key 0.
fn by_spi(path: &Path) -> BySpi {
    let mut found = BySpi::new();
    for frame in pcap::read(path) {
        let spi = match carried(&frame) {
            Carried::Protected(_, spi) | Carried::EspInUdp(spi) => spi,
            _ => 0,
        };
        found.entry(spi).or_default().push(frame);
    }
    found
}

/// The packets of the suite on the LAN are those that scapy sealed, byte for byte, in order.
fn opened_by_portcullis(suite: &Suite, clear: &BySpi, lan: &[Vec<u8>]) -> Result<(), String> {
    let spi = TO_GATEWAY + u32::from(suite.number);
    let Some(expected) = clear.get(&spi) else {
        return Ok(()); // not known to scapy
    };
    let (_, there) = suite.inside();
    let source: std::net::IpAddr = there.parse().unwrap();
    let found: Vec<&Vec<u8>> = lan
        .iter()
        .filter(|packet| match source {
            std::net::IpAddr::V4(address) => {
                packet[0] >> 4 == 4 && packet[12..16] == address.octets()
            }
            std::net::IpAddr::V6(address) => {
                packet[0] >> 4 == 6 && packet[8..24] == address.octets()
            }
        })
        .collect();
    same(expected.iter().collect(), found)
}

fn same(expected: Vec<&Vec<u8>>, found: Vec<&Vec<u8>>) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let different = expected.iter().zip(&found).position(|(e, f)| e != f);
    Err(match different {
        None => format!("{} packets, expected {}", found.len(), expected.len()),
        Some(i) => format!(
            "packet {i}:\n  is        {:02x?}\n  should be {:02x?}",
            found[i], expected[i]
        ),
    })
}

/// Sequence numbers are 1, 2, 3, ... (RFC 4303 2.2).
fn numbered(suite: &Suite, wan: &BySpi) -> Result<(), String> {
    let spi = TO_PEER + u32::from(suite.number);
    for (index, frame) in (1_u32..).zip(wan.get(&spi).into_iter().flatten()) {
        let at = frame
            .windows(4)
            .position(|window| window == spi.to_be_bytes())
            .ok_or("no SPI")?;
        if frame[at + 4..at + 8] != index.to_be_bytes() {
            return Err(format!(
                "packet {index} has number {:02x?}",
                &frame[at + 4..at + 8]
            ));
        }
    }
    Ok(())
}

/// scapy verified and decrypted every packet of the suite, and found the clear packets.
fn opened_by_scapy(
    suite: &Suite,
    clear: &BySpi,
    opened: &BTreeMap<u32, Vec<String>>,
) -> Result<(), String> {
    if !suite.scapy_knows() {
        return Ok(());
    }
    let spi = TO_PEER + u32::from(suite.number);
    let mut found = Vec::new();
    for text in opened.get(&spi).into_iter().flatten() {
        found.push(bytes(text).ok_or(text)?);
    }
    let mut expected = clear[&spi].clone();
    if let Mode::Transport(_) = suite.mode {
        // The gateway chose TTL and identification of its replies: compare what is behind the IP header.
        for packet in expected.iter_mut().chain(&mut found) {
            packet.drain(..if packet[0] >> 4 == 6 { 40 } else { 20 });
        }
    }
    same(expected.iter().collect(), found.iter().collect())
}

/// Bytes of a hex string.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}

/// tshark finds every ICV good and the UDP payloads of the clear packets.
fn tshark(scratch: &Scratch, suites: &[Suite], clear: &BySpi) -> Result<(), String> {
    let known: Vec<&Suite> = suites
        .iter()
        .filter(|suite| suite.tshark_knows() && matches!(suite.mode, Mode::Tunnel { .. }))
        .collect();
    let wire = scratch.path("wan-out.pcap");
    let wire = wire.to_string_lossy();
    let mut args: Vec<String> = [
        "-r",
        &wire,
        "-T",
        "fields",
        "-E",
        "occurrence=l",
        "-Y",
        "esp",
    ]
    .map(str::to_owned)
    .into();
    for field in ["esp.spi", "esp.icv_good", "udp.payload", "udp.dstport"] {
        args.extend(["-e".into(), field.into()]);
    }
    for option in [
        "esp.enable_encryption_decode:TRUE",
        "esp.enable_authentication_check:TRUE",
    ] {
        args.extend(["-o".into(), option.into()]);
    }
    for suite in &known {
        args.extend(["-o".into(), tshark_sa(suite)]);
    }
    let text = output(
        "tshark",
        &args.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    let mut found: BTreeMap<u32, Vec<(String, String)>> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        let spi = u32::from_str_radix(next().trim_start_matches("0x"), 16).unwrap_or(0);
        found.entry(spi).or_default().push((next(), next()));
    }
    each(&known, |suite| {
        let spi = TO_PEER + u32::from(suite.number);
        let rows = found.get(&spi).map(Vec::as_slice).unwrap_or_default();
        let header = if clear[&spi][0][0] >> 4 == 6 { 40 } else { 20 };
        let expected: Vec<String> = clear[&spi]
            .iter()
            .map(|packet| {
                packet[header + 8..]
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect()
            })
            .collect();
        let mut payloads: Vec<String> = rows.iter().map(|row| row.1.clone()).collect();
        if suite.udp {
            // Where the inner datagram is empty, the last payload is that of the outer one.
            payloads[0].clear();
        }
        if payloads != expected {
            return Err(format!("found {payloads:?}, expected {expected:?}"));
        }
        match rows.iter().find(|row| row.0 != "1" && row.0 != "True") {
            Some(row) => Err(format!("ICV is good: {:?}", row.0)),
            None => Ok(()),
        }
    })
}

/// A row of tshark's table of SAs.
fn tshark_sa(suite: &Suite) -> String {
    let spi = TO_PEER + u32::from(suite.number);
    let (here, there) = suite.ends();
    let version = if here.contains(':') { "IPv6" } else { "IPv4" };
    let hex = |key: String| {
        if key.is_empty() {
            key
        } else {
            format!("0x{key}")
        }
    };
    let name = |part: Option<suites::Algorithm>| part.and_then(|p| p.tshark).unwrap_or("NULL");
    format!(
        "uat:esp_sa:\"{version}\",\"{here}\",\"{there}\",\"{spi:#010x}\",\"{}\",\"{}\",\"{}\",\"{}\"",
        name(suite.cipher),
        hex(suite.cipher_key(spi)),
        name(suite.integrity),
        hex(suite.integrity_key(spi)),
    )
}
