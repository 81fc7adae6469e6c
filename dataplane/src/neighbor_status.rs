//! Neighbours, as an operator asks for them.

use portcullis_ipsec::neighbor::State;
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::status::mac_text;

/// One neighbour.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NeighborStatus {
    /// Interface.
    pub interface: String,
    /// IP address.
    pub address: String,
    /// MAC address, unless unknown.
    pub mac: Option<String>,
    /// `permanent`, `reachable`, `probing` or `incomplete`.
    pub state: String,
}

/// All neighbours, by interface.
pub(crate) fn neighbors(control: &Control) -> Vec<NeighborStatus> {
    let name = |index: u16| {
        control
            .installed
            .policy
            .interfaces
            .get(usize::from(index))
            .map_or_else(String::new, |i| i.name.clone())
    };
    let mut rows: Vec<_> = control
        .resolver
        .entries()
        .map(|(interface, address, mac, state)| NeighborStatus {
            interface: name(interface.0),
            address: address.to_ip().to_string(),
            mac: (state != State::Incomplete).then(|| mac_text(mac)),
            state: match state {
                State::Permanent => "permanent",
                State::Reachable => "reachable",
                State::Probing => "probing",
                State::Incomplete => "incomplete",
            }
            .into(),
        })
        .collect();
    rows.sort_by(|a, b| (&a.interface, &a.address).cmp(&(&b.interface, &b.address)));
    rows
}
