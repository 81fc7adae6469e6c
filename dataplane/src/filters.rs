//! Filters as the monitor of the source documents shows them: for main mode and quick mode, generic ones of the
//! policy, and specific ones that came of negotiations.

use std::ops::Range;

use portcullis_config::{Action, RemoteAddress};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::ike_status::{range_text, selector_text};

/// Traffic, and what happens to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FilterStatus {
    /// `main-mode` or `quick-mode`.
    pub phase: String,
    /// `generic`: of the policy. `specific`: of a negotiation.
    pub kind: String,
    /// Connection, SPD entry or child that it is of.
    pub name: String,
    /// `negotiate`, `protect`, `permit` or `discard`.
    pub action: String,
    /// How much it says, if it came of a rule: the more, the higher, and the earlier it is asked.
    pub weight: Option<u32>,
    /// Our side: addresses, protocol, ports.
    pub local: String,
    /// The peer's.
    pub remote: String,
}

fn filter(
    (phase, kind): (&str, &str),
    name: &str,
    action: &str,
    (local, remote): (String, String),
) -> FilterStatus {
    FilterStatus {
        phase: phase.into(),
        kind: kind.into(),
        name: name.into(),
        action: action.into(),
        weight: None,
        local,
        remote,
    }
}

/// A page of filters: SPD entries are paged, the others are with the first page.
pub fn filters(
    control: &Control,
    page: &Range<usize>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<FilterStatus> {
    let mut filters = Vec::new();
    if page.start == 0 {
        main_mode(control, &mut filters);
    }
    let entries = control.installed.policy.spd.iter();
    filters.extend(entries.skip(page.start).take(page.len()).map(|entry| {
        let action = match &entry.action {
            Action::Discard => "discard",
            Action::Bypass => "permit",
            Action::Protect { .. } => "protect",
            Action::Negotiate { .. } => "negotiate",
        };
        let ends = selector_text(&entry.selector);
        FilterStatus {
            weight: entry.origin.as_ref().map(|origin| origin.weight),
            ..filter(("quick-mode", "generic"), &entry.name, action, ends)
        }
    }));
    if page.start == 0 {
        quick_mode(control, &mut filters);
    }
    filters.retain(|filter| wanted(&filter.name));
    filters
}

fn main_mode(control: &Control, filters: &mut Vec<FilterStatus>) {
    for connection in &control.installed.policy.connections {
        let local = connection
            .local
            .map_or_else(|| "any".into(), |a| a.to_string());
        let remote = match &connection.remote {
            RemoteAddress::Host(address) => address.to_string(),
            RemoteAddress::Ranges(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(range_text).collect();
                ranges.join(",")
            }
            RemoteAddress::Any => "any".into(),
        };
        let kind = ("main-mode", "generic");
        filters.push(filter(kind, &connection.name, "negotiate", (local, remote)));
    }
    for sa in control.ike.endpoint.snapshot().ikes {
        let name = sa.connection.as_deref().unwrap_or("?");
        let ends = (sa.local.to_string(), sa.remote.to_string());
        filters.push(filter(("main-mode", "specific"), name, "negotiate", ends));
    }
}

fn quick_mode(control: &Control, filters: &mut Vec<FilterStatus>) {
    let kind = ("quick-mode", "specific");
    for (_, child) in control.negotiated.children() {
        let name = format!("{}/{}", child.name.0, child.name.1);
        let ends = selector_text(child.selector());
        filters.push(filter(kind, &name, "protect", ends));
    }
    // What lets IKE through: the pair of ports of each exchange, 4500 once a NAT was found (RFC 3947 4).
    for sa in control.ike.endpoint.snapshot().ikes {
        let name = sa.connection.as_deref().unwrap_or("?");
        let end = |address: std::net::SocketAddr| format!("{}/17:{}", address.ip(), address.port());
        let ends = (end(sa.local), end(sa.remote));
        filters.push(filter(kind, name, "permit", ends));
    }
}
