//! Reads manually keyed SAs.

use std::path::Path;
use std::sync::Arc;

use crate::address::{self, family};
use crate::keys::{CIPHER_KEY, INTEGRITY_KEY, read_key};
use crate::ports::{Interfaces, Names};
use crate::reader::{Item, Section};
use crate::reference::{LIFETIME, SA, UDP_ENCAPSULATION};
use crate::{
    Cipher, Df, Direction, Dscp, Integrity, Lifetimes, Limits, Mode, SaConfig, Secret, Transform,
    UdpEncapsulation,
};

/// Packets that may arrive late if the policy does not say.
pub(crate) const DEFAULT_REPLAY_WINDOW: u32 = 1024;

/// The UDP port of encapsulated ESP (RFC 3948 4).
const ESP_IN_UDP_PORT: u16 = 4500;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Esp,
    Ah,
}

/// An SA as far as it could be read.
pub(crate) struct Sa<'a> {
    pub(crate) section: Section<'a>,
    /// `None` if it lacks what the checks across tables need; that has been reported.
    pub(crate) config: Option<SaConfig>,
}

/// All SAs, in order.
pub(crate) struct Sas<'a> {
    pub(crate) list: Vec<Sa<'a>>,
    pub(crate) names: Names<'a>,
}

impl<'a> Sas<'a> {
    /// Reads every `[[sa]]`; key files are looked for in `base`.
    pub(crate) fn read(root: Section<'a>, interfaces: &Interfaces<'_>, base: &Path) -> Self {
        let count = root.count("sa");
        let mut names = Names::with_capacity(count);
        let mut list = Vec::with_capacity(count);
        for section in root.sections("sa", &SA) {
            let name = names.read(section, list.len());
            let config = read_sa(section, name, base);
            if let Some(config) = &config {
                check_endpoints(section, config, interfaces);
            }
            list.push(Sa { section, config });
        }
        Sas { list, names }
    }

    /// The SA with this number, as far as it could be read.
    pub(crate) fn config(&self, index: usize) -> Option<&SaConfig> {
        self.list.get(index)?.config.as_ref()
    }
}

fn read_sa(section: Section<'_>, name: &str, base: &Path) -> Option<SaConfig> {
    let directions = [
        ("inbound", Direction::Inbound),
        ("outbound", Direction::Outbound),
    ];
    let direction = section
        .require("direction")
        .and_then(|i| i.choice(&directions));
    let protocols = [("esp", Protocol::Esp), ("ah", Protocol::Ah)];
    let protocol = section
        .require("protocol")
        .and_then(|i| i.choice(&protocols));
    let modes = [("tunnel", Mode::Tunnel), ("transport", Mode::Transport)];
    let mode = section.require("mode").and_then(|i| i.choice(&modes));
    let spi = section.require("spi").and_then(read_spi);
    let source = section
        .require("source")
        .and_then(|i| i.parse(address::host));
    let destination = section
        .require("destination")
        .and_then(|i| i.parse(address::host));
    let transform = read_transform(section, protocol);
    let (cipher_key, integrity_key) = read_keys(section, protocol, base);
    let udp = read_udp(section, protocol);
    let esn = section.get("esn").and_then(Item::boolean).unwrap_or(false);
    let replay_window = read_replay_window(section, direction, esn);
    let (df, dscp) = read_outer_header(section, direction, mode);
    let (soft, hard) = read_lifetimes(section);
    let lifetimes = Lifetimes::new(soft, hard);
    let name = name.to_owned();
    // An algorithm that could not be read has been reported: NULL stands in for the checks to come.
    let transform = match protocol? {
        Protocol::Esp => transform.unwrap_or(Transform::Esp(Cipher::Null, None)),
        Protocol::Ah => transform.unwrap_or(Transform::Ah(Integrity::HmacSha2_256_128)),
    };
    Some(SaConfig {
        name,
        direction: direction?,
        spi: spi?,
        transform,
        cipher_key,
        integrity_key,
        mode: mode?,
        source: source?,
        destination: destination?,
        udp,
        original: None,
        esn,
        replay_window,
        df,
        dscp,
        lifetimes,
        selectors: Arc::default(),
    })
}

/// RFC 4303 2.1: 0 never appears on the wire, 1 to 255 are reserved.
fn read_spi(item: Item<'_>) -> Option<u32> {
    let spi = item.integer(0, u32::MAX.into())?;
    if spi < 256 {
        let message = "expected 256 or more; 0 to 255 are reserved (RFC 4303 2.1)";
        item.error(format!("{message}; got {spi}"));
        return None;
    }
    Some(spi)
}

fn read_transform(section: Section<'_>, protocol: Option<Protocol>) -> Option<Transform> {
    let cipher = section
        .get("encryption")
        .and_then(|i| i.choice(Cipher::NAMES));
    let integrity = section
        .get("integrity")
        .and_then(|i| i.choice(Integrity::NAMES));
    if let Some((integrity, objection)) = integrity.and_then(|i| Some((i, i.objection()?))) {
        section.warning("integrity", format!("{integrity}: {objection}"));
    }
    match protocol? {
        Protocol::Ah => {
            section.refuse(
                "encryption",
                "AH does not encrypt: expected `integrity` only",
            );
            section.require("integrity")?;
            Some(Transform::Ah(integrity?))
        }
        Protocol::Esp => {
            section.require("encryption")?;
            check_esp(section, cipher?, integrity);
            Some(Transform::Esp(cipher?, integrity))
        }
    }
}

/// What ESP may not do without, and may not have twice.
pub(crate) fn check_esp(section: Section<'_>, cipher: Cipher, integrity: Option<Integrity>) {
    let combined = cipher.aead_icv_length().is_some();
    let separate = section.has("integrity");
    if let Some(Integrity::AesGmac(_)) = integrity {
        let message =
            "expected this as `encryption`: in ESP, GMAC is a combined-mode algorithm (RFC 4543 3)";
        section.error("integrity", message);
    } else if combined && separate {
        let message = format!("expected no `integrity`: {cipher} authenticates by itself");
        section.error("integrity", message);
    } else if cipher == Cipher::Null && !separate {
        // RFC 4303 5: encryption and integrity must not both be NULL.
        let message =
            "expected `integrity` with null encryption: not both may be null (RFC 4303 5)";
        section.error("encryption", message);
    } else if !combined && !separate {
        let message = "encryption without authentication is not effective (RFC 8221 4)";
        let message = format!("expected `integrity` with {cipher}: {message}");
        section.error("encryption", message);
    } else if let Some(objection) = cipher.objection() {
        section.warning("encryption", format!("{cipher}: {objection}"));
    }
}

fn read_keys(section: Section<'_>, protocol: Option<Protocol>, base: &Path) -> (Secret, Secret) {
    let named = |key, names| section.get(key).and_then(|i| i.find(names));
    let cipher: Option<Cipher> = named("encryption", Cipher::NAMES);
    let none = || Secret::new(Vec::new());
    let refuse = |(inline, file), reason: &str| {
        section.refuse(inline, reason);
        section.refuse(file, reason);
        none()
    };
    let cipher_key = if protocol == Some(Protocol::Ah) {
        refuse(
            CIPHER_KEY,
            "AH does not encrypt: expected `integrity-key` only",
        )
    } else if cipher == Some(Cipher::Null) {
        refuse(CIPHER_KEY, "expected no key: null encryption takes none")
    } else {
        let shape = cipher.map(Into::into);
        read_key(section, CIPHER_KEY, shape, base).unwrap_or_else(none)
    };
    let integrity_key = if section.has("integrity") {
        let integrity = section
            .get("integrity")
            .and_then(|i| i.find(Integrity::NAMES));
        let shape = integrity.map(Into::into);
        read_key(section, INTEGRITY_KEY, shape, base).unwrap_or_else(none)
    } else {
        refuse(
            INTEGRITY_KEY,
            "expected no key: there is no `integrity` to use it",
        )
    };
    (cipher_key, integrity_key)
}

fn read_udp(section: Section<'_>, protocol: Option<Protocol>) -> Option<UdpEncapsulation> {
    let item = section.get("udp-encapsulation")?;
    if protocol == Some(Protocol::Ah) {
        // RFC 3948 1: only ESP; AH covers the addresses that a NAT changes.
        item.error("expected no UDP encapsulation: it is for ESP only (RFC 3948 1)");
    }
    let udp = item.section(&UDP_ENCAPSULATION)?;
    let port = |name| match udp.get(name) {
        Some(item) => item.integer(1, 65_535),
        None => Some(ESP_IN_UDP_PORT),
    };
    let (source_port, destination_port) = (port("source-port"), port("destination-port"));
    Some(UdpEncapsulation {
        source_port: source_port?,
        destination_port: destination_port?,
    })
}

/// The size of a replay window, 0 for none.
pub(crate) fn read_window(item: Item<'_>) -> Option<u32> {
    let window: u32 = item.integer(0, 65_536)?;
    if window != 0 && (window < 64 || !window.is_power_of_two()) {
        let expected = "expected 0, or a power of two from 64 to 65536";
        item.error(format!("{expected}; got {window}"));
        return None;
    }
    Some(window)
}

fn read_replay_window(
    section: Section<'_>,
    direction: Option<Direction>,
    esn: bool,
) -> Option<u32> {
    let window = match section.get("replay-window") {
        Some(item) => read_window(item)?,
        None => DEFAULT_REPLAY_WINDOW,
    };
    if direction == Some(Direction::Outbound) {
        if section.has("replay-window") {
            let message = "not used: only an inbound SA has a replay window";
            section.warning("replay-window", message);
        }
        return None;
    }
    if esn && window == 0 {
        // RFC 4303 3.3.3: the upper half of the number is kept with the window.
        section.error(
            "replay-window",
            "expected a replay window, since `esn` needs one (RFC 4303 3.3.3)",
        );
    }
    (window != 0).then_some(window)
}

fn read_outer_header(
    section: Section<'_>,
    direction: Option<Direction>,
    mode: Option<Mode>,
) -> (Df, Dscp) {
    let choices = [("copy", Df::Copy), ("set", Df::Set), ("clear", Df::Clear)];
    let df = section.get("df").and_then(|i| i.choice(&choices));
    let dscp = section.get("dscp").and_then(|item| {
        if item.is_integer() {
            item.integer(0, 63).map(Dscp::Fixed)
        } else {
            item.choice(&[("copy", Dscp::Copy)])
        }
    });
    let reason = if mode == Some(Mode::Transport) {
        Some("expected only in tunnel mode: in transport mode the packet keeps its header")
    } else if direction == Some(Direction::Inbound) {
        Some("expected only for an outbound SA: it is about the header that we write")
    } else {
        None
    };
    if let Some(reason) = reason {
        section.refuse("df", reason);
        section.refuse("dscp", reason);
    }
    (df.unwrap_or_default(), dscp.unwrap_or_default())
}

/// The soft and the hard limits of a table.
pub(crate) fn read_lifetimes(section: Section<'_>) -> (Limits, Limits) {
    let open = |name| section.get(name).and_then(|i| i.section(&LIFETIME));
    let (soft, hard) = (open("soft-lifetime"), open("hard-lifetime"));
    let limit = |name| {
        let read = |table: Section<'_>| table.get(name)?.integer::<u64>(1, i64::MAX as u64);
        let (soft, stop) = (soft.and_then(read), hard.and_then(read));
        if let (Some(soft), Some(stop), Some(table)) = (soft, stop, hard) {
            if stop < soft {
                let expected = format!("expected at least the soft limit, {soft} {name}");
                table.error(name, format!("{expected}; got {stop}"));
            }
        }
        (soft, stop)
    };
    let (seconds, bytes, packets) = (limit("seconds"), limit("bytes"), limit("packets"));
    let limits = |seconds, bytes, packets| Limits {
        seconds,
        bytes,
        packets,
    };
    (
        limits(seconds.0, bytes.0, packets.0),
        limits(seconds.1, bytes.1, packets.1),
    )
}

/// One end is ours and the other is not.
fn check_endpoints(section: Section<'_>, sa: &SaConfig, interfaces: &Interfaces<'_>) {
    if sa.source.is_ipv4() != sa.destination.is_ipv4() {
        let (expected, got) = (family(sa.source), sa.destination);
        let message = format!("expected an {expected} address, as the source; got {got}");
        section.error("destination", message);
        return;
    }
    let ours = (("source", sa.source), ("destination", sa.destination));
    let ((near_key, near), (far_key, far)) = match sa.direction {
        Direction::Outbound => ours,
        Direction::Inbound => (ours.1, ours.0),
    };
    if !interfaces.may_own(near) {
        let message = format!("expected an address of this gateway; no port has {near}");
        section.error(near_key, message);
    }
    if interfaces.owns(far) {
        let message = format!("expected the address of the peer; {far} is ours");
        section.error(far_key, message);
    }
}
