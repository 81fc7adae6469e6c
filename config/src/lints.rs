//! What is most likely not meant so, seen over all entries.

use crate::mistake::shown;
use crate::rules::KERBEROS;
use crate::settings::Settings;
use crate::shadow::{self, Extent};
use crate::spd::Entry;
use crate::{Action, AddressRange, Direction, Selector, Topology, UpperLayer};

/// Warns of dead entries, of ways in that are closed, and of what a source port opens.
pub(crate) fn check(entries: &[Entry<'_>], settings: &Settings<'_>, topology: &Topology) {
    shadow::check(entries);
    check_source_ports(entries);
    for (item, selector) in &settings.management {
        let own = topology.own().map(|own| AddressRange {
            start: own,
            end: own,
        });
        let mut selector = selector.clone();
        if selector.local.is_empty() {
            selector.local = own.collect();
        }
        if let Some(message) = obstacle(&selector, entries) {
            item.warning(message);
        }
    }
}

/// Windows let Kerberos in by its port at the sender's end, which any sender can choose.
fn check_source_ports(entries: &[Entry<'_>]) {
    for entry in entries {
        let Some(config) = &entry.entry else { continue };
        let opens = config.action == Action::Bypass
            && config.direction != Some(Direction::Outbound)
            && matches!(&config.selector.upper, UpperLayer::Ports { local, remote, .. }
                if local.is_empty() && remote.iter().any(|r| r.start == KERBEROS && r.end == KERBEROS));
        // The exemptions have a warning of their own.
        if opens
            && config
                .origin
                .as_ref()
                .is_none_or(|origin| origin.order != 0)
        {
            let name = shown(&config.name);
            let message = format!(
                "{name} lets in whoever sends from port {KERBEROS}, to every port: expected ports at our end, too"
            );
            entry.section.warning(entry.key, message);
        }
    }
}

/// What keeps such packets from passing in clear, both ways.
fn obstacle(selector: &Selector, entries: &[Entry<'_>]) -> Option<String> {
    let way = Extent::of(selector, None);
    [Direction::Inbound, Direction::Outbound]
        .into_iter()
        .find_map(|direction| {
            for entry in entries {
                let Some(config) = &entry.entry else { continue };
                if config.direction.is_some_and(|only| only != direction) {
                    continue;
                }
                let extent = Extent::of(&config.selector, None);
                if !extent.overlaps(&way) {
                    continue;
                }
                let what = match config.action {
                    Action::Bypass if extent.covers(&way) => return None,
                    Action::Bypass => continue,
                    Action::Discard => "discards",
                    Action::Protect { .. } | Action::Negotiate { .. } => "protects",
                };
                let (name, line) = (shown(&config.name), entry.section.line());
                return Some(format!(
                    "this way in would be cut off: {name} in line {line} {what} some of it"
                ));
            }
            let message = "this way in would be cut off: no entry lets all of it pass in clear";
            Some(message.to_owned())
        })
}
