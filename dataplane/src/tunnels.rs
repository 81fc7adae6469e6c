//! Tunnels as operators think of them: what is configured to be protected, whether it is, and if not why not.

use std::collections::HashMap;
use std::ops::Range;

use portcullis_config::{Action, Policy, RemoteAddress};
use portcullis_ike::ChildId;
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::negotiated::{Child, NegotiatedSa};
use crate::reasons::explain_reason;

/// A child of a connection, or an SPD entry with manually keyed SAs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TunnelStatus {
    /// `connection/child`, or the SPD entry.
    pub name: String,
    /// Its SAs are negotiated.
    pub negotiated: bool,
    /// There are SAs that packets find.
    pub up: bool,
    /// How many sets of SAs there are: several where many peers share a child.
    pub instances: usize,
    /// The other end, or what of it is configured.
    pub remote: String,
    /// Packets received under its present SAs.
    pub packets_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Megabits a second received over the last second.
    pub mbps_in: f64,
    /// Megabits a second sent over the last second.
    pub mbps_out: f64,
    /// Why there are none, as far as is known.
    pub last_failure: Option<TunnelFailure>,
}

/// A negotiation that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TunnelFailure {
    /// Seconds since then.
    pub ago_s: u64,
    /// What happened, and what to look at.
    pub explanation: String,
}

/// How many tunnels there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TunnelCount {
    /// In the policy.
    pub configured: usize,
    /// With SAs.
    pub up: usize,
}

/// The children that are installed, by name.
type Installed<'a> = HashMap<(&'a str, &'a str), Vec<(ChildId, &'a Child)>>;

fn installed(control: &Control) -> Installed<'_> {
    let mut found = Installed::new();
    for (id, child) in control.negotiated.children() {
        let (connection, name) = (child.name.0.as_str(), child.name.1.as_str());
        found
            .entry((connection, name))
            .or_default()
            .push((id, child));
    }
    found
}

/// Entries that manually keyed SAs serve.
fn manual(policy: &Policy) -> impl Iterator<Item = (&str, &[usize], &[usize])> {
    policy.spd.iter().filter_map(|entry| match &entry.action {
        Action::Protect { outbound, inbound } => {
            Some((entry.name.as_str(), outbound.as_slice(), inbound.as_slice()))
        }
        _ => None,
    })
}

/// How many tunnels there are, and how many of them are up.
pub fn count(control: &Control) -> TunnelCount {
    let policy = &control.installed.policy;
    let installed = installed(control);
    let children = policy.connections.iter().flat_map(|connection| {
        let children = connection.children.iter();
        children.map(|child| (connection.name.as_str(), child.name.as_str()))
    });
    let in_use = |name| {
        let found: Option<&Vec<(ChildId, &Child)>> = installed.get(&name);
        found.is_some_and(|all| {
            all.iter()
                .any(|(id, _)| control.negotiated.used(*id).in_use)
        })
    };
    let states = children.map(in_use);
    let mut count = TunnelCount::default();
    for up in states.chain(
        manual(policy).map(|(_, outbound, inbound)| !outbound.is_empty() || !inbound.is_empty()),
    ) {
        count.configured += 1;
        count.up += usize::from(up);
    }
    count
}

/// A page of tunnels: negotiated ones in the order of the policy, then the others. `rate` gives the megabits a second
/// of a manually keyed SA.
pub fn tunnels(
    control: &Control,
    now: u64,
    page: &Range<usize>,
    wanted: impl Fn(&str) -> bool,
    rate: impl Fn(usize) -> f64,
) -> Vec<TunnelStatus> {
    let policy = &control.installed.policy;
    let installed = installed(control);
    let failure = |connection: &str, child: &str| {
        let of_it = |failure: &&portcullis_ike::Failure| {
            failure.connection.as_deref() == Some(connection)
                && failure.child.as_deref().is_none_or(|name| name == child)
        };
        let last = control.ike.endpoint.failures().find(of_it)?;
        Some(TunnelFailure {
            ago_s: now.saturating_sub(last.at.as_millis() as u64) / 1000,
            explanation: explain_reason(&last.reason),
        })
    };
    let negotiated = policy.connections.iter().flat_map(|connection| {
        let children = connection.children.iter();
        children.map(move |child| (connection, child))
    });
    let negotiated = negotiated.map(|(connection, child)| {
        let name = (connection.name.as_str(), child.name.as_str());
        let all = installed.get(&name).map_or(&[][..], Vec::as_slice);
        let mut status = of_children(control, all);
        status.name = format!("{}/{}", name.0, name.1);
        if status.remote.is_empty() {
            status.remote = remote_text(&connection.remote);
        }
        if !status.up {
            status.last_failure = failure(name.0, name.1);
        }
        status
    });
    let manual = manual(policy)
        .map(|(name, outbound, inbound)| of_entry(control, name, (outbound, inbound), &rate));
    let page = negotiated.chain(manual).skip(page.start).take(page.len());
    page.filter(|tunnel| wanted(&tunnel.name)).collect()
}

fn remote_text(remote: &RemoteAddress) -> String {
    match remote {
        RemoteAddress::Host(address) => address.to_string(),
        RemoteAddress::Ranges(ranges) => {
            let ranges = ranges.iter().map(crate::ike_status::range_text);
            ranges.collect::<Vec<_>>().join(",")
        }
        RemoteAddress::Any => "any".into(),
    }
}

fn of_children(control: &Control, all: &[(ChildId, &Child)]) -> TunnelStatus {
    let mut status = TunnelStatus {
        name: String::new(),
        negotiated: true,
        up: false,
        instances: all.len(),
        remote: String::new(),
        packets_in: 0,
        bytes_in: 0,
        packets_out: 0,
        bytes_out: 0,
        mbps_in: 0.0,
        mbps_out: 0.0,
        last_failure: None,
    };
    let mbps = |sas: &[NegotiatedSa]| sas.first().map_or(0.0, |sa| sa.mbps);
    for (id, child) in all {
        let used = control.negotiated.used(*id);
        status.up |= used.in_use;
        status.packets_in += used.received.0;
        status.bytes_in += used.received.1;
        status.packets_out += used.sent.0;
        status.bytes_out += used.sent.1;
        status.mbps_in += mbps(&child.inbound);
        status.mbps_out += mbps(&child.outbound);
        if let (Some(outer), true) = (child.outbound.last(), status.remote.is_empty()) {
            status.remote = outer.config.destination.to_string();
        }
    }
    status
}

fn of_entry(
    control: &Control,
    name: &str,
    (outbound, inbound): (&[usize], &[usize]),
    rate: &impl Fn(usize) -> f64,
) -> TunnelStatus {
    let counted = |sas: &[usize]| {
        let innermost = sas.first().copied();
        let sa = innermost.and_then(|number| control.installed.sas.get(number));
        let volume = sa.map_or((0, 0), |sa| {
            (sa.counters.packets.get(), sa.counters.bytes.get())
        });
        (volume, innermost.map_or(0.0, rate))
    };
    let outer = outbound.last().or(inbound.last());
    let outer = outer.and_then(|number| control.installed.policy.sas.get(*number));
    let remote = outer.map_or_else(String::new, |sa| match outbound.is_empty() {
        true => sa.source.to_string(),
        false => sa.destination.to_string(),
    });
    let ((packets_in, bytes_in), mbps_in) = counted(inbound);
    let ((packets_out, bytes_out), mbps_out) = counted(outbound);
    TunnelStatus {
        name: name.to_owned(),
        negotiated: false,
        up: outer.is_some(),
        instances: 1,
        remote,
        packets_in,
        bytes_in,
        packets_out,
        bytes_out,
        mbps_in,
        mbps_out,
        last_failure: None,
    }
}
