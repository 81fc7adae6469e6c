//! Reads the SPD.

use std::net::IpAddr;

use crate::address::{self, family};
use crate::bundle;
use crate::connections::Connections;
use crate::ports::{Names, members};
use crate::protocol::{self, ICMP, ICMPV6};
use crate::reader::{Item, Section};
use crate::reference::SPD;
use crate::sa::Sas;
use crate::{
    Action, AddressRange, Bundle, ClearText, Direction, PortRange, Profile, Selector, SpdEntry,
    UpperLayer,
};

#[derive(Clone, Copy)]
enum Verb {
    Protect,
    Bypass,
    Discard,
}

const VERBS: &[(&str, Verb)] = &[
    ("protect", Verb::Protect),
    ("bypass", Verb::Bypass),
    ("discard", Verb::Discard),
];

/// An entry as far as it could be read.
pub(crate) struct Entry<'a> {
    pub(crate) section: Section<'a>,
    /// The key at which warnings of it stand.
    pub(crate) key: &'static str,
    /// `None` if it could not be read; that has been reported.
    pub(crate) entry: Option<SpdEntry>,
}

/// Reads every `[[spd]]`, in order.
pub(crate) fn read<'a>(
    root: Section<'a>,
    sas: &Sas<'_>,
    connections: &Connections<'_>,
    profile: Profile,
) -> Vec<Entry<'a>> {
    let count = root.count("spd");
    let mut names = Names::with_capacity(count);
    let mut entries = Vec::with_capacity(count);
    for section in root.sections("spd", &SPD) {
        let name = names.read(section, entries.len());
        let entry = read_entry(section, name, sas, connections, profile);
        let key = "name";
        entries.push(Entry {
            section,
            key,
            entry,
        });
    }
    entries
}

fn read_entry(
    section: Section<'_>,
    name: &str,
    sas: &Sas<'_>,
    connections: &Connections<'_>,
    profile: Profile,
) -> Option<SpdEntry> {
    let selector = read_selector(section);
    let action = read_action(section, selector.as_ref(), sas, connections, profile);
    let (selector, action) = (selector?, action?);
    Some(SpdEntry {
        name: name.to_owned(),
        selector: selector.into(),
        direction: None,
        action,
        origin: None,
    })
}

fn read_action(
    section: Section<'_>,
    selector: Option<&Selector>,
    sas: &Sas<'_>,
    connections: &Connections<'_>,
    profile: Profile,
) -> Option<Action> {
    let action = match section.require("action")?.choice(VERBS)? {
        Verb::Bypass => Action::Bypass,
        Verb::Discard => Action::Discard,
        Verb::Protect if section.has("connection") => {
            for key in ["outbound", "inbound"] {
                section.refuse(key, "expected `connection` or SAs, not both");
            }
            let clear = read_clear(section, profile);
            let (connection, child) = connections.find(section)?;
            let clear = clear?;
            return Some(Action::Negotiate {
                connection,
                child,
                clear,
            });
        }
        Verb::Protect => {
            for key in ["child", "clear-text"] {
                section.refuse(key, "expected `connection` with it");
            }
            let outbound = read_sas(section, "outbound", Direction::Outbound, sas);
            let inbound = read_sas(section, "inbound", Direction::Inbound, sas);
            let (outbound, inbound) = (outbound?, inbound?);
            if let Some(selector) = selector {
                bundle::check(section, selector, &outbound, &inbound, sas);
            }
            // More than there may be have been refused.
            let bundle = |sas: Vec<usize>| {
                let mut bundle = Bundle::new();
                sas.into_iter()
                    .map_while(|sa| bundle.try_push(sa).ok())
                    .for_each(drop);
                bundle
            };
            let (outbound, inbound) = (bundle(outbound), bundle(inbound));
            return Some(Action::Protect { outbound, inbound });
        }
    };
    for key in ["outbound", "inbound", "connection", "child", "clear-text"] {
        section.refuse(key, "expected only with action \"protect\"");
    }
    Some(action)
}

/// What may cross in clear although it is to be protected: RFC 4301 5.2 step 3b knows no entry that protects and lets
/// clear packets in.
pub(crate) fn read_clear(section: Section<'_>, profile: Profile) -> Option<ClearText> {
    let Some(item) = section.get("clear-text") else {
        return Some(ClearText::Never);
    };
    let clear = item.choice(ClearText::NAMES)?;
    if clear != ClearText::Never && profile != Profile::Ws2003 {
        item.error("expected \"never\": only profile ws2003 lets clear packets pass here");
    }
    Some(clear)
}

fn read_sas(
    section: Section<'_>,
    key: &'static str,
    direction: Direction,
    sas: &Sas<'_>,
) -> Option<Vec<usize>> {
    read_all(section, key, |item| {
        let index = sas.names.find(item, "SA")?;
        let config = sas.config(index);
        if config.is_some_and(|c| c.direction != direction) {
            item.error(format!("expected an {key} SA"));
            return None;
        }
        Some(index)
    })
}

/// Reads a list, if there is one, into as much memory as its members need. All of them are looked at before the first
/// that is wrong ends it.
fn read_all<'a, T>(
    section: Section<'a>,
    key: &'static str,
    mut read: impl FnMut(Item<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut all = Some(Vec::new());
    for item in members(section, key) {
        match (read(item), &mut all) {
            (Some(value), Some(all)) => {
                // Most have one member, and there may be very many of them.
                all.reserve_exact(usize::from(all.is_empty()));
                all.push(value);
            }
            _ => all = None,
        }
    }
    let mut all = all?;
    all.shrink_to_fit();
    Some(all)
}

fn read_selector(section: Section<'_>) -> Option<Selector> {
    let local = read_ranges(section, "local");
    let remote = read_ranges(section, "remote");
    let upper = read_upper(section, ["local-port", "remote-port"]);
    let selector = Selector {
        local: local?,
        remote: remote?,
        upper: upper?,
    };
    check_families(section, &selector);
    Some(selector)
}

pub(crate) fn read_ranges(section: Section<'_>, key: &'static str) -> Option<Vec<AddressRange>> {
    let ranges = read_all(section, key, |item| item.parse(address::range))?;
    if ranges.is_empty() && section.has(key) {
        // An empty list would otherwise mean "any", the opposite of what it says.
        section.error(key, "expected at least one; leave the key out for any");
        return None;
    }
    Some(ranges)
}

/// A packet has one family: what stands on one side only matches nothing.
fn check_families(section: Section<'_>, selector: &Selector) {
    let has = |ranges: &[AddressRange], v4: bool| {
        ranges.is_empty() || ranges.iter().any(|r| r.start.is_ipv4() == v4)
    };
    let both = |v4| has(&selector.local, v4) && has(&selector.remote, v4);
    let protocol_fits = |v4: bool| match &selector.upper {
        UpperLayer::Protocol(ICMP) | UpperLayer::Icmp { protocol: ICMP, .. } => v4,
        UpperLayer::Protocol(ICMPV6)
        | UpperLayer::Icmp {
            protocol: ICMPV6, ..
        } => !v4,
        _ => true,
    };
    if !both(true) && !both(false) {
        let expected = selector.local.first().map_or("", |r| family(r.start));
        let message =
            format!("expected {expected} addresses, as in `local`: a packet has one family");
        section.error("remote", message);
        return;
    }
    if !(both(true) && protocol_fits(true) || both(false) && protocol_fits(false)) {
        let (expected, other) = if both(true) {
            ("icmp", "IPv4")
        } else {
            ("icmpv6", "IPv6")
        };
        let message = format!("expected {expected}, since the addresses are {other}");
        section.error("protocol", message);
        return;
    }
    for (key, ranges) in [("local", &selector.local), ("remote", &selector.remote)] {
        let useless = |r: &&AddressRange| !both(r.start.is_ipv4());
        if let Some(range) = ranges.iter().find(useless) {
            let family = family(range.start);
            let message = format!("its {family} addresses match nothing: the other side has none");
            section.warning(key, message);
        }
    }
}

/// Protocol, and ports or types; the keys are those of the ports of the local end and of the remote one.
pub(crate) fn read_upper(section: Section<'_>, keys: [&'static str; 2]) -> Option<UpperLayer> {
    read_upper_or(section, keys, None)
}

/// The same; left out, the protocol is `usual`.
pub(crate) fn read_upper_or(
    section: Section<'_>,
    keys: [&'static str; 2],
    usual: Option<u8>,
) -> Option<UpperLayer> {
    let protocol = match section.get("protocol") {
        Some(item) if item.is_integer() => Some(item.integer::<u8>(0, 255)?),
        Some(item) => Some(item.choice(protocol::NAMES)?),
        None => usual,
    };
    let ports = (read_ports(section, keys[0]), read_ports(section, keys[1]));
    let icmp = (
        read_byte(section, "icmp-type"),
        read_byte(section, "icmp-code"),
    );
    let given = |keys: [&'static str; 2]| keys.into_iter().filter(|k| section.has(k)).collect();
    let port_keys: Vec<_> = given(keys);
    let icmp_keys: Vec<_> = given(["icmp-type", "icmp-code"]);
    let has_ports = protocol.is_some_and(protocol::has_ports);
    let has_types = matches!(protocol, Some(ICMP | ICMPV6));
    for key in port_keys.iter().filter(|_| !has_ports) {
        section.error(key, "expected only with protocol tcp, udp, dccp or sctp");
    }
    for key in icmp_keys.iter().filter(|_| !has_types) {
        section.error(key, "expected only with protocol icmp or icmpv6");
    }
    if has_types && section.has("icmp-code") && !section.has("icmp-type") {
        // RFC 4301 4.4.1.1: a code is looked at together with a type.
        section.error(
            "icmp-code",
            "expected `icmp-type` with it (RFC 4301 4.4.1.1)",
        );
    }
    let (local, remote, types, codes) = (ports.0?, ports.1?, icmp.0?, icmp.1?);
    Some(match protocol {
        None => UpperLayer::Any,
        Some(protocol) if !port_keys.is_empty() => UpperLayer::Ports {
            protocol,
            local,
            remote,
        },
        Some(protocol) if !icmp_keys.is_empty() => UpperLayer::Icmp {
            protocol,
            types,
            codes,
        },
        Some(protocol) => UpperLayer::Protocol(protocol),
    })
}

/// The ranges of a list of ports; empty if it is left out.
fn read_ports(section: Section<'_>, key: &'static str) -> Option<Vec<PortRange>> {
    let ports = read_all(section, key, |item| {
        let (start, end) = read_numbers(item, "a port", 65_535)?;
        Some(PortRange { start, end })
    })?;
    if ports.is_empty() && section.has(key) {
        section.error(key, "expected at least one; leave the key out for any");
        return None;
    }
    Some(ports)
}

/// A range of bytes; all of them if it is left out.
fn read_byte(section: Section<'_>, key: &'static str) -> Option<(u8, u8)> {
    match section.get(key) {
        Some(item) => read_numbers(item, "an integer", 255),
        None => Some((0, 255)),
    }
}

fn read_numbers<T: TryFrom<u64>>(item: Item<'_>, what: &str, max: u64) -> Option<(T, T)> {
    let text = item.integer_or_string()?;
    let numbers = address::numbers(&text, what, 0..=max);
    numbers.map_err(|message| item.error(message)).ok()
}

/// True if `address` is in the list, or the list is empty and means any.
pub(crate) fn admits(ranges: &[AddressRange], address: IpAddr) -> bool {
    ranges.is_empty() || ranges.iter().any(|r| r.contains(address))
}
