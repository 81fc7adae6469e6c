//! Reads connections and their children.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::address::{self, family};
use crate::examine::examine;
use crate::ports::{Interfaces, Names};
use crate::reader::{Item, Section};
use crate::reference::{CHILD, CONNECTION, DPD};
use crate::remote_access::{self, Pools};
use crate::sa::{read_lifetimes, read_window};
use crate::spd::Entry;
use crate::{
    Action, AddressRange, Authentication, ChildPolicy, ChildProposal, Connection, Dpd, DpdAction,
    Identity, Limits, Mode, NatTraversal, Phase1Exchange, Profile, RemoteAddress, Selector, Side,
    Start, Topology, UpperLayer, credentials, identity, proposals,
};

/// Less is most likely a mistake.
const SHORT_LIFETIME: u64 = 300;
/// Leaves room for tunnels on the way below the usual 1500.
pub(crate) const FRAGMENT_SIZE: u16 = 1280;

pub(crate) const NAT_TRAVERSAL: &[(&str, NatTraversal)] = &[
    ("detect", NatTraversal::Detect),
    ("force", NatTraversal::Force),
    ("off", NatTraversal::Off),
];

pub(crate) const STARTS: &[(&str, Start)] = &[
    ("manual", Start::Manual),
    ("traffic", Start::Traffic),
    ("load", Start::Load),
];

/// A child as far as it could be read, and where.
struct Child<'a> {
    section: Section<'a>,
    policy: Option<ChildPolicy>,
}

/// A connection as far as it could be read, and where.
pub(crate) struct Peer<'a> {
    section: Section<'a>,
    connection: Option<Connection>,
    children: Vec<Child<'a>>,
    child_names: Names<'a>,
}

/// All connections, in order.
pub(crate) struct Connections<'a> {
    list: Vec<Peer<'a>>,
    names: Names<'a>,
}

impl<'a> Connections<'a> {
    /// Reads every `[[connection]]`; files are looked for in `base`.
    pub(crate) fn read(
        root: Section<'a>,
        interfaces: &Interfaces<'_>,
        base: &Path,
        profile: Profile,
    ) -> Self {
        let pools = Pools::read(root);
        let mut names = Names::default();
        let mut list = Vec::new();
        for section in root.sections("connection", &CONNECTION) {
            let name = names.read(section, list.len());
            let mut child_names = Names::default();
            let mut children = Vec::new();
            for section in section.sections("child", &CHILD) {
                let name = child_names.read(section, children.len());
                let policy = read_child(section, name, profile);
                children.push(Child { section, policy });
            }
            let connection = read_connection(section, name, (interfaces, &pools), (base, profile));
            for child in &children {
                if let (Some(connection), Some(policy)) = (&connection, &child.policy) {
                    warn_of_lifetimes(child.section, policy.hard, connection.ike_lifetime);
                }
            }
            if children.is_empty() {
                section.error("child", "expected at least one [[connection.child]]");
            }
            list.push(Peer {
                section,
                connection,
                children,
                child_names,
            });
        }
        Connections { list, names }
    }

    /// The connection and child that an SPD entry names.
    pub(crate) fn find(&self, section: Section<'_>) -> Option<(usize, usize)> {
        let connection = self.names.find(section.get("connection")?, "connection")?;
        let peer = self.list.get(connection)?;
        let child = match section.get("child") {
            Some(item) => peer.child_names.find(item, "child of that connection")?,
            None if peer.children.len() > 1 => {
                section.error(
                    "connection",
                    "expected `child`: this connection has several",
                );
                return None;
            }
            None => 0,
        };
        Some((connection, child))
    }

    /// Their tables.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section<'_>> {
        self.list.iter().map(|peer| peer.section)
    }

    /// Warns of peers that no packet can reach.
    pub(crate) fn check_ways(&self, topology: &Topology) {
        let known = self.list.iter().filter_map(|peer| {
            let connection = peer.connection.as_ref()?;
            match connection.remote {
                RemoteAddress::Host(remote) => Some((peer.section, remote)),
                RemoteAddress::Ranges(_) | RemoteAddress::Any => None,
            }
        });
        for (section, remote) in known.filter(|(_, remote)| !topology.reaches(*remote)) {
            let message =
                format!("no port and no [[route]] leads to {remote}: IKE cannot reach this peer");
            section.warning("remote", message);
        }
    }

    /// Gives each child the selector of the entry that names it. Exactly one must, and quick mode must have words
    /// for it.
    pub(crate) fn select(&mut self, entries: &[Entry<'_>]) {
        let mut lines = HashMap::new();
        // An entry that could not be read may name any of them.
        let all_read = entries.iter().all(|entry| entry.entry.is_some());
        for entry in entries {
            let Some(config) = &entry.entry else { continue };
            let Action::Negotiate {
                connection, child, ..
            } = config.action
            else {
                continue;
            };
            let (section, line) = (entry.section, entry.section.line());
            if let Some(first) = lines.insert((connection, child), line) {
                let key = if section.has("child") {
                    "child"
                } else {
                    "connection"
                };
                section.error(
                    key,
                    format!("the entry in line {first} has this child: each has one entry"),
                );
                continue;
            }
            let Some(peer) = self.list.get_mut(connection) else {
                continue;
            };
            let Some(place) = peer.children.get_mut(child) else {
                continue;
            };
            let (Some(policy), Some(connection)) = (&mut place.policy, &peer.connection) else {
                continue;
            };
            let selector = check_words(section, &config.selector);
            check_transport(section, policy, &config.selector, connection);
            remote_access::check_selector(section, &connection.remote_access, &config.selector);
            policy.selector = selector.unwrap_or_default();
        }
        for (number, peer) in self.list.iter().enumerate().filter(|_| all_read) {
            for (child, place) in peer.children.iter().enumerate() {
                if !lines.contains_key(&(number, child)) {
                    let message = "no SPD entry names this child: there is nothing to protect";
                    place.section.error("name", message);
                }
            }
        }
    }

    /// All of them, if they could be read.
    pub(crate) fn finish(self) -> Vec<Connection> {
        let finish = |peer: Peer<'_>| {
            let children = peer.children.into_iter().filter_map(|child| child.policy);
            let children = children.collect();
            peer.connection.map(|connection| Connection {
                children,
                ..connection
            })
        };
        self.list.into_iter().filter_map(finish).collect()
    }
}

fn read_connection(
    section: Section<'_>,
    name: &str,
    (interfaces, pools): (&Interfaces<'_>, &Pools<'_>),
    (base, profile): (&Path, Profile),
) -> Option<Connection> {
    let exchanges = [
        ("main", Phase1Exchange::Main),
        ("aggressive", Phase1Exchange::Aggressive),
    ];
    let exchange = choice(section, "exchange", &exchanges);
    let remote = section.require("remote").and_then(read_remote);
    let local = read_local(section, interfaces);
    if let (Some(RemoteAddress::Host(remote)), Some(Some(local))) = (&remote, local) {
        if remote.is_ipv4() != local.is_ipv4() {
            let expected = family(local);
            section.error(
                "remote",
                format!("expected an {expected} address, as `local`"),
            );
        }
    }
    let hybrid = remote_access::read_hybrid(section);
    let authentication = hybrid
        .and_then(|hybrid| credentials::read(section, exchange.unwrap_or_default(), hybrid, base));
    let further = hybrid.and_then(|hybrid| credentials::read_further(section, hybrid, base));
    let local_id = match (&authentication, &remote) {
        (Some(authentication), Some(remote)) => {
            read_local_id(section, authentication, remote, local.flatten(), interfaces)
        }
        _ => section
            .get("local-id")
            .and_then(|i| i.parse(identity::read)),
    };
    examine(section, authentication.as_ref(), local_id.as_ref());
    let remote_id = read_remote_id(section, remote.as_ref());
    let remote_access = pools.read_access(section, authentication.as_ref(), remote.as_ref(), base);
    let ike_proposals = proposals::read_ike(section, exchange.unwrap_or_default(), profile);
    let ike_lifetime = integer(section, "lifetime", 60, 604_800, profile.ike_lifetime());
    let ike_kilobytes = read_ike_kilobytes(section);
    let quick_modes = read_quick_modes(section);
    let nat_traversal = choice(section, "nat-traversal", NAT_TRAVERSAL);
    let start = choice(section, "start", STARTS);
    let peer_is_known = matches!(remote, Some(RemoteAddress::Host(_)) | None);
    if start == Some(Start::Load) && !peer_is_known {
        section.error(
            "start",
            "expected one address as `remote`: with a peer anywhere, only it can begin",
        );
    }
    let (dpd, fragment_size) = (read_dpd(section), read_fragment_size(section));
    Some(Connection {
        name: name.to_owned(),
        exchange: exchange?,
        local: local?,
        remote: remote?,
        local_id: local_id?,
        remote_id: remote_id?,
        authentication: authentication?,
        remote_access: remote_access?,
        ike_proposals: ike_proposals?,
        ike_lifetime: ike_lifetime?,
        ike_kilobytes: ike_kilobytes?,
        quick_modes: quick_modes?,
        dpd: dpd?,
        nat_traversal: nat_traversal?,
        fragment_size: fragment_size?,
        start: start?,
        further: further?,
        children: Vec::new(),
    })
}

/// How many kilobytes one phase 1 protects.
pub(crate) fn read_ike_kilobytes(section: Section<'_>) -> Option<Option<u64>> {
    match section.get("lifetime-kilobytes") {
        Some(item) => item.integer(64, u32::MAX.into()).map(Some),
        None => Some(None),
    }
}

/// How many quick modes one phase 1 serves.
pub(crate) fn read_quick_modes(section: Section<'_>) -> Option<Option<u32>> {
    match section.get("quick-modes") {
        Some(item) => item.integer(1, u32::MAX.into()).map(Some),
        None => Some(None),
    }
}

/// One of a list of names; left out, the usual one.
pub(crate) fn choice<T: Copy + Default>(
    section: Section<'_>,
    key: &'static str,
    names: &[(&str, T)],
) -> Option<T> {
    match section.get(key) {
        Some(item) => item.choice(names),
        None => Some(T::default()),
    }
}

/// An integer; left out, the usual one.
pub(crate) fn integer(
    section: Section<'_>,
    key: &'static str,
    min: u64,
    max: u64,
    usual: u64,
) -> Option<u64> {
    match section.get(key) {
        Some(item) => item.integer(min, max),
        None => Some(usual),
    }
}

pub(crate) fn read_remote(item: Item<'_>) -> Option<RemoteAddress> {
    if item.find(&[("any", ())]).is_some() {
        return Some(RemoteAddress::Any);
    }
    let found: Vec<_> = item.members().map(|i| i.parse(address::range)).collect();
    let ranges = found.into_iter().collect::<Option<Vec<AddressRange>>>()?;
    match ranges.as_slice() {
        [] => {
            item.error("expected at least one address; \"any\" for a peer anywhere");
            None
        }
        [AddressRange { start, end }] if start == end => Some(RemoteAddress::Host(*start)),
        _ => Some(RemoteAddress::Ranges(ranges)),
    }
}

pub(crate) fn read_local(
    section: Section<'_>,
    interfaces: &Interfaces<'_>,
) -> Option<Option<IpAddr>> {
    let Some(item) = section.get("local") else {
        return Some(None);
    };
    let local = item.parse(address::host)?;
    if !interfaces.may_own(local) {
        let message = format!("expected an address of this gateway; no port has {local}");
        section.error("local", message);
    }
    Some(Some(local))
}

/// What this gateway says it is; left out: the subject of its certificate, or the one address that it can speak from.
pub(crate) fn read_local_id(
    section: Section<'_>,
    authentication: &Authentication,
    remote: &RemoteAddress,
    local: Option<IpAddr>,
    interfaces: &Interfaces<'_>,
) -> Option<Identity> {
    if let Some(item) = section.get("local-id") {
        return item.parse(identity::read);
    }
    let own = match authentication {
        Authentication::Certificates(credentials) => credentials.chain.first(),
        Authentication::PreSharedKey(_) => None,
    };
    if let Some(own) = own {
        return identity::subject(own).map(Identity::DistinguishedName);
    }
    let speaks = |net: &&IpNet| match remote {
        RemoteAddress::Host(remote) => remote.is_ipv4() == net.addr().is_ipv4(),
        RemoteAddress::Ranges(_) | RemoteAddress::Any => true,
    };
    let outside = interfaces
        .list
        .iter()
        .filter(|i| i.side == Side::Unprotected);
    let ours: Vec<_> = outside.flat_map(|i| &i.addresses).filter(speaks).collect();
    match (local, ours.as_slice()) {
        (Some(local), _) => Some(Identity::Address(local)),
        (None, [only]) => Some(Identity::Address(only.addr())),
        (None, _) => {
            if interfaces.is_complete() {
                let message = "missing `local-id` or `local`: several addresses could be meant";
                section.error("local-id", message);
            }
            None
        }
    }
}

pub(crate) fn read_remote_id(
    section: Section<'_>,
    remote: Option<&RemoteAddress>,
) -> Option<Option<Identity>> {
    match (section.get("remote-id"), remote) {
        (Some(item), _) if item.find(&[("any", ())]).is_some() => Some(None),
        (Some(item), _) => item.parse(identity::read).map(Some),
        (None, Some(RemoteAddress::Host(remote))) => Some(Some(Identity::Address(*remote))),
        (None, _) => Some(None),
    }
}

pub(crate) fn read_dpd(section: Section<'_>) -> Option<Option<Dpd>> {
    let Some(item) = section.get("dpd") else {
        return Some(None);
    };
    let table = item.section(&DPD)?;
    let delay = table.require("delay").and_then(|i| i.integer(1, 86_400));
    let on_traffic_only = match table.get("when") {
        Some(item) => item.choice(&[("traffic", true), ("always", false)]),
        None => Some(true),
    };
    let actions = [("clear", DpdAction::Clear), ("restart", DpdAction::Restart)];
    let action = choice(table, "action", &actions);
    Some(Some(Dpd {
        delay: delay?,
        on_traffic_only: on_traffic_only?,
        action: action?,
    }))
}

pub(crate) fn read_fragment_size(section: Section<'_>) -> Option<Option<u16>> {
    let Some(item) = section.get("fragment-size") else {
        return Some(Some(FRAGMENT_SIZE));
    };
    let size: u16 = item.integer(0, 65_535)?;
    if (1..576).contains(&size) {
        item.error(format!(
            "expected 0, or 576 or more, which every IPv4 host takes; got {size}"
        ));
        return None;
    }
    Some((size != 0).then_some(size))
}

fn read_child(section: Section<'_>, name: &str, profile: Profile) -> Option<ChildPolicy> {
    let mode = match section.get("mode") {
        Some(item) => item.choice(&[("tunnel", Mode::Tunnel), ("transport", Mode::Transport)]),
        None => Some(Mode::Tunnel),
    };
    let pfs = match section.get("pfs") {
        Some(item) => Some(Some(proposals::read_group(Some(item))?)),
        None => Some(None),
    };
    let (soft, hard) = read_child_lifetimes(section, profile);
    let (proposals, replay_window) = read_protection(section, profile);
    let idle = read_idle(section, profile);
    Some(ChildPolicy {
        name: name.to_owned(),
        mode: mode?,
        selector: Selector::default(),
        proposals: proposals?,
        pfs: pfs?,
        soft,
        hard,
        replay_window: replay_window?,
        idle: idle?,
    })
}

/// Proposals, and the replay window that extended sequence numbers need.
pub(crate) fn read_protection(
    section: Section<'_>,
    profile: Profile,
) -> (Option<Vec<ChildProposal>>, Option<Option<u32>>) {
    let own = proposals::read_child(section);
    let window = match section.get("replay-window") {
        Some(item) => read_window(item),
        None => Some(crate::sa::DEFAULT_REPLAY_WINDOW),
    };
    let usual = || profile.child_proposals(window != Some(0));
    let proposals = own.map(|own| own.unwrap_or_else(usual));
    let esn = proposals.iter().flatten().any(|proposal| proposal.esn);
    if esn && window == Some(0) {
        let message = "expected a replay window, since `esn` needs one (RFC 4303 3.3.3)";
        section.error("replay-window", message);
    }
    (proposals, window.map(|w| (w != 0).then_some(w)))
}

/// Seconds without traffic after which SAs go.
pub(crate) fn read_idle(section: Section<'_>, profile: Profile) -> Option<Option<u64>> {
    match section.get("idle") {
        Some(item) => item.integer(1, 86_400).map(Some),
        None => Some(profile.idle()),
    }
}

/// SAs of quick mode may go on after their phase 1 has ended, for as long as they live.
pub(crate) fn warn_of_lifetimes(section: Section<'_>, hard: Limits, ike_lifetime: u64) {
    let disparate = hard.seconds.filter(|seconds| *seconds >= ike_lifetime / 4);
    if let (true, Some(seconds)) = (section.has("hard-lifetime"), disparate) {
        let message = format!(
            "SAs may live {seconds} seconds on when their phase 1 of {ike_lifetime} seconds has ended: expected less than a quarter of it"
        );
        section.warning("hard-lifetime", message);
    }
}

/// Where the policy does not say, replacement begins at nine tenths of the end.
pub(crate) fn soft_of(hard: Limits) -> Limits {
    let sooner = |hard: Option<u64>| hard.map(|hard| (hard - hard / 10).max(1));
    Limits {
        seconds: sooner(hard.seconds),
        bytes: sooner(hard.bytes),
        packets: sooner(hard.packets),
    }
}

/// Soft and hard limits.
pub(crate) fn read_child_lifetimes(section: Section<'_>, profile: Profile) -> (Limits, Limits) {
    let (soft, mut hard) = read_lifetimes(section);
    if !section.has("hard-lifetime") {
        let usual = profile.child_lifetime();
        let at_least =
            |usual: Option<u64>, soft: Option<u64>| usual.map(|usual| usual.max(soft.unwrap_or(0)));
        hard.seconds = at_least(usual.seconds, soft.seconds);
        hard.bytes = at_least(usual.bytes, soft.bytes);
    }
    let short = hard.seconds.filter(|seconds| *seconds < SHORT_LIFETIME);
    match (short, profile) {
        (None, _) => {}
        (Some(_), Profile::Modern) => section.warning(
            "hard-lifetime",
            format!("SAs that live less than {SHORT_LIFETIME} seconds cost many key exchanges"),
        ),
        (Some(got), Profile::Ws2003) => section.error(
            "hard-lifetime",
            format!("expected at least {SHORT_LIFETIME} seconds, the least in profile \"ws2003\"; got {got}"),
        ),
    }
    let usual = soft_of(hard);
    let soft = Limits {
        seconds: soft.seconds.or(usual.seconds),
        bytes: soft.bytes.or(usual.bytes),
        packets: soft.packets.or(usual.packets),
    };
    (soft, hard)
}

/// RFC 2407 4.6.2: quick mode names one address, prefix or range on each side, of one family, with one protocol and
/// one port.
fn check_words(section: Section<'_>, selector: &Selector) -> Option<Selector> {
    let one =
        "quick mode names one for each side (RFC 2407 4.6.2); make an entry and a child for each";
    let sides = [("local", &selector.local), ("remote", &selector.remote)];
    for (key, _) in sides.iter().filter(|(_, ranges)| ranges.len() > 1) {
        section.error(key, format!("expected one prefix or range: {one}"));
    }
    match &selector.upper {
        UpperLayer::Any | UpperLayer::Protocol(_) => {}
        UpperLayer::Ports { local, remote, .. } => {
            for (key, ports) in [("local-port", local), ("remote-port", remote)] {
                if ports.len() > 1 || ports.iter().any(|range| range.start != range.end) {
                    section.error(key, format!("expected one port: {one}"));
                }
            }
        }
        UpperLayer::Icmp { .. } => {
            section.error(
                "icmp-type",
                "quick mode has no words for ICMP types (RFC 2407 4.6.2)",
            );
        }
    }
    let Some(known) = selector.local.first().or(selector.remote.first()) else {
        section.error(
            "local",
            "expected `local` or `remote`: quick mode names addresses of one family",
        );
        return None;
    };
    let whole = whole_family(known.start);
    let side = |ranges: &[AddressRange]| vec![ranges.first().copied().unwrap_or(whole)];
    Some(Selector {
        local: side(&selector.local),
        remote: side(&selector.remote),
        upper: selector.upper.clone(),
    })
}

fn whole_family(of: IpAddr) -> AddressRange {
    let (start, end) = match of {
        IpAddr::V4(_) => (IpAddr::from([0; 4]), IpAddr::from([255; 4])),
        IpAddr::V6(_) => (IpAddr::from([0; 16]), IpAddr::from([255; 16])),
    };
    AddressRange { start, end }
}

/// In transport mode the selected packets are those between the two gateways (RFC 4301 4.1).
fn check_transport(
    section: Section<'_>,
    child: &ChildPolicy,
    selector: &Selector,
    connection: &Connection,
) {
    if child.mode != Mode::Transport {
        return;
    }
    let remote = match connection.remote {
        RemoteAddress::Host(remote) => Some(remote),
        RemoteAddress::Ranges(_) | RemoteAddress::Any => None,
    };
    let ends = [
        ("local", &selector.local, connection.local),
        ("remote", &selector.remote, remote),
    ];
    for (key, ranges, end) in ends {
        if let Some(end) = end.filter(|end| !crate::spd::admits(ranges, *end)) {
            let name = crate::mistake::shown(&child.name);
            let message =
                format!("expected {end} in it: {name} is in transport mode between the gateways");
            section.error(key, message);
        }
    }
}
