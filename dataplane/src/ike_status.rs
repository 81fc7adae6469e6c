//! IKE's part of the status: IKE SAs, their children, and why negotiations failed.

use std::time::Duration;

use portcullis_config::{AddressRange, Identity, Mode, Selector, Transform, UpperLayer};
use portcullis_ike::show::{ChildSnapshot, Counters, IkeSnapshot, Snapshot};
use portcullis_ike::{CloseReason, Failure};
use serde::{Deserialize, Serialize};

use crate::reasons::explain_reason;

/// IKE at a moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IkeStatus {
    /// IKE SAs, oldest first.
    pub ikes: Vec<IkeSaStatus>,
    /// Children, oldest first.
    pub children: Vec<ChildStatus>,
    /// The latest negotiations that failed, oldest first.
    pub failures: Vec<FailureStatus>,
    /// What was counted since the start.
    pub counters: IkeCounters,
}

/// The answer to an order about a connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Begun {
    /// Why it was not followed.
    pub error: Option<String>,
    /// Milliseconds of the gateway's clock: what happens from then on comes of it.
    pub at_ms: u64,
}

/// One IKE SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IkeSaStatus {
    /// Its number.
    pub id: u64,
    /// Connection, once it is known.
    pub connection: Option<String>,
    /// What it waits for.
    pub state: String,
    /// `initiator` or `responder`.
    pub role: String,
    /// Initiator's and responder's cookies.
    pub cookies: [String; 2],
    /// Our address and port.
    pub local: String,
    /// The peer's.
    pub remote: String,
    /// What the peer has proved to be.
    pub remote_id: Option<String>,
    /// The user behind the peer (XAUTH).
    pub user: Option<String>,
    /// Addresses that mode config has given.
    pub addresses: Vec<String>,
    /// What protects it.
    pub proposal: Option<String>,
    /// There is address translation in front of us; in front of the peer.
    pub nat: [bool; 2],
    /// Seconds since it was established.
    pub established_s: Option<u64>,
    /// Seconds until it is renewed.
    pub renewal_s: Option<u64>,
    /// Quick modes that it has served.
    pub quick_modes: u32,
}

/// One child.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChildStatus {
    /// Its number.
    pub id: u64,
    /// Connection.
    pub connection: String,
    /// Name in the connection.
    pub name: String,
    /// What it waits for.
    pub state: String,
    /// `tunnel` or `transport`.
    pub mode: String,
    /// Traffic on our side.
    pub local: String,
    /// Traffic on the peer's side.
    pub remote: String,
    /// Algorithms with inbound and outbound SPI, innermost first.
    pub sas: Vec<(String, String, String)>,
    /// ESP in UDP.
    pub udp: bool,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Seconds since it was installed.
    pub installed_s: u64,
    /// Packets to the peer find it.
    pub in_use: bool,
    /// Packets and bytes that came in.
    pub received: (u64, u64),
    /// Packets and bytes that went out.
    pub sent: (u64, u64),
}

/// A negotiation that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FailureStatus {
    /// Seconds since then.
    pub ago_s: u64,
    /// Milliseconds of the gateway's clock when it failed.
    pub at_ms: u64,
    /// Connection, as far as it is known.
    pub connection: Option<String>,
    /// Child, if phase 2 failed.
    pub child: Option<String>,
    /// The peer.
    pub remote: String,
    /// Why.
    pub reason: String,
    /// Why, and what to look at.
    pub explanation: String,
    /// What the peer's proposals differed in.
    pub mismatches: Vec<String>,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)] // the fields are those of `Counters`
pub struct IkeCounters {
    pub datagrams: u64,
    pub invalid: u64,
    pub unknown_sa: u64,
    pub unauthentic: u64,
    pub retransmissions_received: u64,
    pub retransmissions_sent: u64,
    pub refused: u64,
    pub evicted: u64,
    pub established: u64,
    pub failed: u64,
    pub users: u64,
    pub wrong_passwords: u64,
    pub pool_exhausted: u64,
    pub children: u64,
    pub rekeys: u64,
}

impl From<Counters> for IkeCounters {
    fn from(c: Counters) -> Self {
        IkeCounters {
            datagrams: c.datagrams,
            invalid: c.invalid,
            unknown_sa: c.unknown_sa,
            unauthentic: c.unauthentic,
            retransmissions_received: c.retransmissions_received,
            retransmissions_sent: c.retransmissions_sent,
            refused: c.refused,
            evicted: c.evicted,
            established: c.established,
            failed: c.failed,
            users: c.users,
            wrong_passwords: c.wrong_passwords,
            pool_exhausted: c.pool_exhausted,
            children: c.children,
            rekeys: c.rekeys,
        }
    }
}

/// What workers know of a child.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// Packets to the peer find it.
    pub in_use: bool,
    /// Packets and bytes that came in.
    pub received: (u64, u64),
    /// Packets and bytes that went out.
    pub sent: (u64, u64),
}

impl IkeStatus {
    /// What of a snapshot is asked for. `uses` tells what workers know of a child.
    pub fn new(
        snapshot: Snapshot,
        now: u64,
        wanted: impl Fn(&str) -> bool,
        uses: impl Fn(portcullis_ike::ChildId) -> Use,
    ) -> Self {
        let now = Duration::from_millis(now);
        let about = |connection: &Option<String>| wanted(connection.as_deref().unwrap_or(""));
        let ikes = snapshot.ikes.into_iter().filter(|sa| about(&sa.connection));
        let children = snapshot
            .children
            .into_iter()
            .filter(|child| wanted(&child.connection));
        let failures = snapshot
            .failures
            .iter()
            .filter(|failure| about(&failure.connection));
        IkeStatus {
            ikes: ikes.map(|sa| ike_sa(sa, now)).collect(),
            children: children
                .map(|child| {
                    let used = uses(child.id);
                    child_status(child, now, used)
                })
                .collect(),
            failures: failures
                .map(|failure| failure_status(failure, now))
                .collect(),
            counters: snapshot.counters.into(),
        }
    }
}

fn seconds_since(now: Duration, then: Duration) -> u64 {
    now.saturating_sub(then).as_secs()
}

fn ike_sa(sa: IkeSnapshot, now: Duration) -> IkeSaStatus {
    let hex = |cookie: [u8; 8]| format!("{:016x}", u64::from_be_bytes(cookie));
    IkeSaStatus {
        id: sa.id.number(),
        connection: sa.connection,
        state: sa.state.into(),
        role: if sa.initiator {
            "initiator"
        } else {
            "responder"
        }
        .into(),
        cookies: sa.cookies.map(hex),
        local: sa.local.to_string(),
        remote: sa.remote.to_string(),
        remote_id: sa.remote_id.as_ref().map(identity_text),
        user: sa.user,
        addresses: sa.addresses.iter().map(ToString::to_string).collect(),
        proposal: sa
            .proposal
            .map(|p| format!("{} {} {}", p.cipher, p.hash, p.group)),
        nat: sa.nat,
        established_s: sa.established.map(|at| seconds_since(now, at)),
        renewal_s: sa.renewal.map(|at| seconds_since(at, now)),
        quick_modes: sa.quick_modes,
    }
}

fn child_status(child: ChildSnapshot, now: Duration, used: Use) -> ChildStatus {
    let sa = |(transform, [inbound, outbound]): (Transform, [u32; 2])| {
        let spi = |spi: u32| format!("{spi:#010x}");
        (transform_text(transform), spi(inbound), spi(outbound))
    };
    let (local, remote) = selector_text(&child.selector);
    ChildStatus {
        id: child.id.number(),
        connection: child.connection,
        name: child.name,
        state: child.state.into(),
        mode: mode_text(child.mode).into(),
        local,
        remote,
        sas: child.sas.into_iter().map(sa).collect(),
        udp: child.udp,
        esn: child.esn,
        installed_s: seconds_since(now, child.installed),
        in_use: used.in_use,
        received: used.received,
        sent: used.sent,
    }
}

fn failure_status(failure: &Failure, now: Duration) -> FailureStatus {
    FailureStatus {
        ago_s: seconds_since(now, failure.at),
        at_ms: failure.at.as_millis() as u64,
        connection: failure.connection.clone(),
        child: failure.child.clone(),
        remote: failure.remote.to_string(),
        reason: reason_text(&failure.reason),
        explanation: explain_reason(&failure.reason),
        mismatches: failure.mismatches.iter().map(ToString::to_string).collect(),
    }
}

/// The mode as the policy file spells it.
pub fn mode_text(mode: Mode) -> &'static str {
    match mode {
        Mode::Tunnel => "tunnel",
        Mode::Transport => "transport",
    }
}

/// The algorithms as the policy file spells them.
pub fn transform_text(transform: Transform) -> String {
    match transform {
        Transform::Esp(cipher, None) => cipher.name().into(),
        Transform::Esp(cipher, Some(integrity)) => {
            format!("{} {}", cipher.name(), integrity.name())
        }
        Transform::Ah(integrity) => integrity.name().into(),
    }
}

/// Our side and the peer's of a selector, for people.
pub fn selector_text(selector: &Selector) -> (String, String) {
    let (protocol, local_ports, remote_ports) = match &selector.upper {
        UpperLayer::Any => (None, &[][..], &[][..]),
        UpperLayer::Protocol(protocol) | UpperLayer::Icmp { protocol, .. } => {
            (Some(*protocol), &[][..], &[][..])
        }
        UpperLayer::Ports {
            protocol,
            local,
            remote,
        } => (Some(*protocol), local.as_slice(), remote.as_slice()),
    };
    let side = |ranges: &[AddressRange], ports: &[portcullis_config::PortRange]| {
        let ranges: Vec<_> = ranges.iter().map(range_text).collect();
        let mut text = if ranges.is_empty() {
            "any".to_owned()
        } else {
            ranges.join(",")
        };
        if let Some(protocol) = protocol {
            text += &format!("/{protocol}");
        }
        for port in ports {
            text += &match port.start == port.end {
                true => format!(":{}", port.start),
                false => format!(":{}-{}", port.start, port.end),
            };
        }
        text
    };
    (
        side(&selector.local, local_ports),
        side(&selector.remote, remote_ports),
    )
}

/// A prefix, an address or a range.
pub fn range_text(range: &AddressRange) -> String {
    let (start, end) = (range.start, range.end);
    if start == end {
        return start.to_string();
    }
    let longest = if start.is_ipv4() { 32 } else { 128 };
    let prefixes = (0..longest).filter_map(|length| ipnet::IpNet::new(start, length).ok());
    let mut exact = prefixes.filter(|net| net.network() == start && net.broadcast() == end);
    exact
        .next()
        .map_or_else(|| format!("{start}-{end}"), |net| net.to_string())
}

/// An identity for people.
pub fn identity_text(identity: &Identity) -> String {
    match identity {
        Identity::Address(address) => address.to_string(),
        Identity::Fqdn(name) | Identity::UserFqdn(name) => name.clone(),
        Identity::DistinguishedName(der) => portcullis_config::distinguished_name_text(der),
        Identity::KeyId(id) => format!("keyid:{}", String::from_utf8_lossy(id).escape_debug()),
    }
}

/// Why something ended, for people.
pub fn reason_text(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Terminated => "terminated here".into(),
        CloseReason::Replaced => "replaced by a new one".into(),
        CloseReason::DeletedByPeer => "deleted by the peer".into(),
        CloseReason::InitialContact => "the peer began anew".into(),
        CloseReason::Expired => "its lifetime is over".into(),
        CloseReason::Idle => "no traffic".into(),
        CloseReason::PeerDead => "the peer does not answer".into(),
        CloseReason::Restarted => "IKE began anew".into(),
        CloseReason::NoAnswer => "the peer does not answer at all".into(),
        CloseReason::Overloaded => "too many half-open ones".into(),
        CloseReason::Error(_) => explain_reason(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_people_write_them() {
        let text = |start: &str, end: &str| {
            range_text(&AddressRange {
                start: start.parse().expect("an address"),
                end: end.parse().expect("an address"),
            })
        };
        assert_eq!(text("10.1.0.0", "10.1.0.255"), "10.1.0.0/24");
        assert_eq!(text("10.1.0.5", "10.1.0.5"), "10.1.0.5");
        assert_eq!(text("10.1.0.5", "10.1.0.9"), "10.1.0.5-10.1.0.9");
        assert_eq!(text("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        assert_eq!(text("2001:db8::", "2001:db8::ffff"), "2001:db8::/112");
    }
}
