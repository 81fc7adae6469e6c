//! Reads the process settings, ports and VLANs, and finds interfaces by name and address.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::address;
use crate::mistake::{did_you_mean, shown};
use crate::reader::{Item, Section};
use crate::reference::{METRICS, PORT, RUNTIME, VLAN};
use crate::{EngineKind, Interface, InterfaceClass, Metrics, Runtime, Side};

/// The length of `sun_path` of a Unix socket address, less its final zero.
const SOCKET_PATH_LIMIT: usize = 107;

const SIDES: &[(&str, Side)] = &[
    ("protected", Side::Protected),
    ("unprotected", Side::Unprotected),
];

/// Reads `[metrics]`.
pub(crate) fn read_metrics(root: Section<'_>) -> Metrics {
    let section = root.get("metrics").and_then(|i| i.section(&METRICS));
    let item = section.and_then(|section| section.require("listen"));
    let listen = item.and_then(|item| {
        let address = item.parse(|text| {
            let parsed: Result<SocketAddr, _> = text.parse();
            parsed.map_err(|_| {
                let got = shown(text);
                format!("expected an address and a port, such as 127.0.0.1:9469; got {got}")
            })
        })?;
        if !address.ip().is_loopback() {
            item.warning(
                "not loopback: names and traffic of all tunnels are there for others to read",
            );
        }
        Some(address)
    });
    Metrics { listen }
}

/// Reads `[runtime]`.
pub(crate) fn read_runtime(root: Section<'_>) -> Runtime {
    let mut runtime = Runtime::default();
    let Some(section) = root.get("runtime").and_then(|i| i.section(&RUNTIME)) else {
        return runtime;
    };
    let integer = |name, min, max| section.get(name).and_then(|i| i.integer::<u32>(min, max));
    if let Some(workers) = integer("workers", 1, 1024) {
        runtime.workers = workers as u16;
    }
    if let Some(mbufs) = integer("mbufs", 256, 16_777_215) {
        runtime.mbufs = mbufs;
    }
    // DPDK counts a buffer's room in 16 bits, with 128 bytes of headroom in it.
    if let Some(size) = integer("mbuf-size", 128, 65_407) {
        runtime.mbuf_size = size as u16;
    }
    if let Some(on) = section.get("cycle-budget").and_then(|i| i.boolean()) {
        runtime.cycle_budget = on;
    }
    if let Some(path) = section.get("control-socket").and_then(socket_path) {
        runtime.control_socket = path;
    }
    runtime.key_log = section.get("key-log").and_then(|item| {
        item.warning("the keys of all negotiated SAs are written down: for debugging only");
        item.string().map(PathBuf::from)
    });
    runtime.event_log = section
        .get("event-log")
        .and_then(|item| item.string().map(PathBuf::from));
    runtime.eal = members(section, "eal")
        .filter_map(|i| i.string().map(str::to_owned))
        .collect();
    runtime.cores = read_cores(section, runtime.workers);
    runtime.crypto_devices = read_crypto_devices(section);
    if let Some(packets) = integer("crypto-queue", 1, 32_768) {
        runtime.crypto_queue = packets as u16;
    }
    if let Some(engines) = read_engines(section) {
        runtime.engines = engines;
    }
    if runtime.engines.last() == Some(&EngineKind::InlineCrypto) {
        section.error(
            "engines",
            "inline-crypto needs an engine after it: the first packets of an SA are that one's",
        );
    }
    let wanted = runtime.engines.contains(&EngineKind::Cryptodev);
    if wanted && members(section, "crypto-devices").next().is_none() {
        section.error("engines", "cryptodev needs a device in crypto-devices");
    } else if !wanted && !runtime.crypto_devices.is_empty() {
        section.warning(
            "crypto-devices",
            "engines lacks cryptodev, which would use them",
        );
    }
    runtime
}

fn read_engines(section: Section<'_>) -> Option<Vec<EngineKind>> {
    let list = section.get("engines")?;
    let mut engines = Vec::new();
    for item in list.members() {
        match item.choice(EngineKind::NAMES) {
            Some(engine) if engines.contains(&engine) => {
                item.error(format!(
                    "expected each engine once; {engine} is given twice"
                ));
            }
            Some(engine) => engines.push(engine),
            None => {}
        }
    }
    if list.members().next().is_none() {
        list.error("expected at least one engine");
    }
    Some(engines)
}

fn read_cores(section: Section<'_>, workers: u16) -> Vec<u16> {
    let mut cores = Vec::new();
    for item in members(section, "cores") {
        match item.integer(0, 1023) {
            Some(core) if cores.contains(&core) => {
                item.error(format!("core {core} is given twice"))
            }
            Some(core) => cores.push(core),
            None => {}
        }
    }
    let (given, wanted) = (members(section, "cores").count(), usize::from(workers));
    let message = format!("expected {wanted} cores, one for each worker; got {given}");
    if given > 0 && given < wanted {
        section.error("cores", message);
    } else if given > wanted {
        section.warning("cores", message);
    }
    cores
}

fn read_crypto_devices(section: Section<'_>) -> Vec<String> {
    let mut devices = Vec::<String>::new();
    for item in members(section, "crypto-devices") {
        match item.string() {
            Some(device) if devices.iter().any(|known| known == device) => {
                item.error(format!("device {device:?} is given twice"));
            }
            Some(device) => devices.push(device.to_owned()),
            None => {}
        }
    }
    devices
}

fn socket_path(item: Item<'_>) -> Option<PathBuf> {
    let path = item.string()?;
    if path.len() > SOCKET_PATH_LIMIT {
        let length = path.len();
        item.error(format!(
            "expected a path of at most {SOCKET_PATH_LIMIT} bytes; got {length}"
        ));
        return None;
    }
    Some(path.into())
}

/// The members of a list that may be left out.
pub(crate) fn members<'a>(
    section: Section<'a>,
    name: &'static str,
) -> impl Iterator<Item = Item<'a>> {
    section.get(name).into_iter().flat_map(Item::members)
}

/// A name: no white space, not too long for a table.
pub(crate) fn read_name(section: Section<'_>) -> Option<&str> {
    let item = section.require("name")?;
    let name = item.string()?;
    if name.len() > 64 || name.contains(char::is_whitespace) {
        item.error("expected a name of at most 64 bytes without white space");
        return None;
    }
    Some(name)
}

/// Names of one kind of table, each with its place.
#[derive(Default)]
pub(crate) struct Names<'a> {
    /// Each name, the number of its table, and its place.
    list: Vec<(&'a str, usize, usize)>,
    /// Where each is in the list.
    index: HashMap<&'a str, u32>,
    /// The one behind the last that was found: most are asked for in the order in which they stand.
    next: Cell<usize>,
}

impl<'a> Names<'a> {
    /// For so many.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Names {
            list: Vec::with_capacity(count),
            index: HashMap::with_capacity(count),
            next: Cell::default(),
        }
    }

    /// Reads the name of table number `index`; refuses one that is taken.
    pub(crate) fn read(&mut self, section: Section<'a>, index: usize) -> &'a str {
        let Some(name) = read_name(section) else {
            return "";
        };
        match self.index.entry(name) {
            Entry::Occupied(first) => {
                let first = self.list.get(*first.get() as usize);
                let line = section.line_of(first.map_or(0, |(_, _, at)| *at));
                let message = format!("the name {} is taken in line {line}", shown(name));
                section.error("name", message);
            }
            Entry::Vacant(place) => {
                place.insert(self.list.len() as u32);
                self.list.push((name, index, section.at()));
            }
        }
        name
    }

    /// The number of the table that an item names.
    pub(crate) fn find(&self, item: Item<'_>, kind: &str) -> Option<usize> {
        let name = item.string()?;
        let next = self.list.get(self.next.get());
        let place = match next.is_some_and(|(next, ..)| *next == name) {
            true => Some(self.next.get()),
            false => self.index.get(name).map(|place| *place as usize),
        };
        let Some(place) = place else {
            let known = self.list.iter().map(|(name, ..)| *name);
            let hint = did_you_mean(name, known);
            item.error_unless_broken(format!("there is no {kind} {}{hint}", shown(name)));
            return None;
        };
        self.next.set(place + 1);
        self.list.get(place).map(|(_, index, _)| *index)
    }
}

/// The interfaces of the gateway.
#[derive(Default)]
pub(crate) struct Interfaces<'a> {
    /// As in [`crate::Policy::interfaces`].
    pub(crate) list: Vec<Interface>,
    names: Names<'a>,
    /// Each address with its line.
    addresses: HashMap<IpAddr, usize>,
    /// Connected prefixes.
    connected: Vec<(IpNet, usize)>,
    /// False if an address could not be read: then it is not known what is ours.
    complete: bool,
}

impl<'a> Interfaces<'a> {
    /// Reads every `[[port]]` and its VLANs.
    pub(crate) fn read(root: Section<'a>) -> Self {
        let mut interfaces = Interfaces {
            complete: !root.is_broken(),
            ..Interfaces::default()
        };
        let (mut devices, mut captures) = (HashMap::new(), HashMap::new());
        for section in root.sections("port", &PORT) {
            let port = interfaces.read_port(section);
            let device = device_name(&port.device).to_owned();
            let line = section.line();
            if let Some(first) = devices
                .insert(device, line)
                .filter(|_| !port.device.is_empty())
            {
                let message = format!(
                    "the device is taken in line {first}; VLANs of one device are [[port.vlan]] of one port"
                );
                section.error("device", message);
            }
            if let Some(path) = &port.capture {
                if let Some(first) = captures.insert(path.clone(), line) {
                    section.error("capture", format!("the file is taken in line {first}"));
                }
            }
            interfaces.list.push(port.clone());
            interfaces.read_vlans(section, &port);
        }
        interfaces
    }

    /// Our interface number with this name, or the one on whose link the address is.
    pub(crate) fn resolve(
        &self,
        section: Section<'_>,
        address: Option<(&'static str, IpAddr)>,
    ) -> Option<usize> {
        if let Some(item) = section.get("port") {
            return self.names.find(item, "port or VLAN");
        }
        let Some((key, address)) = address else {
            section.require("port");
            return None;
        };
        let on_link = |(_, interface): &(usize, &Interface)| is_on_link(interface, address);
        let found: Vec<_> = self.list.iter().enumerate().filter(on_link).collect();
        if let [(only, _)] = found.as_slice() {
            return Some(*only);
        }
        if self.complete {
            let names: Vec<_> = found.iter().map(|(_, i)| i.name.as_str()).collect();
            let where_to = match names.as_slice() {
                [] => "no port".to_owned(),
                names => names.join(", "),
            };
            let message =
                format!("{address} is on link of {where_to}; expected `port` to say which one");
            section.error(key, message);
        }
        None
    }

    /// False if some of our addresses could not be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// True unless it is certain that the address is none of ours.
    pub(crate) fn may_own(&self, address: IpAddr) -> bool {
        !self.complete || self.owns(address)
    }

    /// True if the address is ours.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    fn read_port(&mut self, section: Section<'a>) -> Interface {
        let name = self.names.read(section, self.list.len()).to_owned();
        let device = section.require("device").and_then(read_device);
        let mtu = section.get("mtu").and_then(|i| i.integer(68, 65_535));
        let capture = section.get("capture").and_then(Item::string);
        let port = Interface {
            name,
            device: device.unwrap_or_default().to_owned(),
            vlan: None,
            side: read_side(section),
            class: read_class(section),
            addresses: self.read_addresses(section),
            mac: section.get("mac").and_then(|i| i.parse(address::mac)),
            mtu: mtu.unwrap_or(1500),
            capture: capture.map(PathBuf::from),
        };
        check_mtu(section, &port);
        port
    }

    fn read_vlans(&mut self, port_section: Section<'a>, port: &Interface) {
        let mut ids = HashMap::new();
        for section in port_section.sections("vlan", &VLAN) {
            let name = self.names.read(section, self.list.len()).to_owned();
            // 0 is a priority tag and 4095 is reserved (IEEE 802.1Q 9.6).
            let id = section.require("id").and_then(|i| i.integer(1, 4094));
            if let Some(first) = id.and_then(|id: u16| ids.insert(id, section.line())) {
                let message = format!("the VLAN id is taken on this port in line {first}");
                section.error("id", message);
            }
            let mtu = section.get("mtu").and_then(|i| i.integer(68, 65_535));
            let vlan = Interface {
                name,
                device: port.device.clone(),
                vlan: id,
                side: read_side(section),
                class: read_class(section),
                addresses: self.read_addresses(section),
                mac: port.mac,
                mtu: mtu.unwrap_or(port.mtu),
                capture: None,
            };
            if vlan.mtu > port.mtu {
                let (got, limit) = (vlan.mtu, port.mtu);
                let message = format!("expected at most the mtu of the port, {limit}; got {got}");
                section.error("mtu", message);
            }
            check_mtu(section, &vlan);
            self.list.push(vlan);
        }
    }

    fn read_addresses(&mut self, section: Section<'_>) -> Vec<IpNet> {
        let (mut addresses, line) = (Vec::new(), section.line());
        for item in members(section, "addresses") {
            let Some(net) = item.parse(address::interface) else {
                self.complete = false;
                continue;
            };
            addresses.push(net);
            if address::is_link_local(net.addr()) {
                continue;
            }
            if let Some(first) = self.addresses.insert(net.addr(), line) {
                let message = format!("the address {} is taken in line {first}", net.addr());
                item.error(message);
                continue;
            }
            let overlaps = |other: &IpNet| other.contains(&net) || net.contains(other);
            let other = self.connected.iter().find(|(other, _)| overlaps(other));
            if let Some((other, first)) = other.filter(|(_, first)| *first != line) {
                let message = format!(
                    "{net} overlaps with {other} in line {first}: it is not clear where its hosts are"
                );
                item.warning(message);
            }
            self.connected.push((net, line));
        }
        addresses
    }
}

/// True if the address is in a prefix of the interface.
pub(crate) fn is_on_link(interface: &Interface, address: IpAddr) -> bool {
    interface.addresses.iter().any(|net| net.contains(&address))
}

fn read_side(section: Section<'_>) -> Side {
    let side = section.require("side").and_then(|i| i.choice(SIDES));
    side.unwrap_or(Side::Unprotected)
}

fn read_class(section: Section<'_>) -> InterfaceClass {
    let class = section
        .get("class")
        .and_then(|i| i.choice(InterfaceClass::NAMES));
    class.unwrap_or_default()
}

fn read_device(item: Item<'_>) -> Option<&str> {
    let device = item.string()?;
    if device.contains(char::is_whitespace) {
        item.error(
            "expected a device without white space, such as 0000:01:00.0 or net_tap0,iface=tap0",
        );
        return None;
    }
    Some(device)
}

/// The part of a device string that names the device: `0000:01:00.0` and `01:00.0` are one.
fn device_name(device: &str) -> &str {
    let name = device.split(',').next().unwrap_or(device);
    name.strip_prefix("0000:").unwrap_or(name)
}

/// RFC 8200 5: every IPv6 link carries packets of 1280 bytes.
fn check_mtu(section: Section<'_>, interface: &Interface) {
    let has_ipv6 = interface.addresses.iter().any(|net| net.addr().is_ipv6());
    if has_ipv6 && interface.mtu < 1280 {
        let got = interface.mtu;
        section.error(
            "mtu",
            format!("expected at least 1280, since there is an IPv6 address; got {got}"),
        );
    }
}
