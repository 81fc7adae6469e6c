//! What a reload of the policy would do, did, or refused to do.

use std::collections::HashMap;

use portcullis_config::{Interface, InterfaceClass, Policy, Runtime, SaConfig};
use serde::{Deserialize, Serialize};

use crate::changes::{Fields, of_connections, of_entries, of_sas};
use crate::install::Moves;

/// Names given of each kind; the counts are of all.
const NAMED: usize = 100;

/// How a reload ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The new policy is in force.
    Applied,
    /// The file says what is in force.
    #[default]
    Unchanged,
    /// A trial: this would change.
    Planned,
    /// Nothing was changed.
    Refused,
}

/// A reload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReloadReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Only to know what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Why it was refused.
    pub reasons: Vec<String>,
    /// What is most likely not meant so.
    pub warnings: Vec<String>,
    /// SAs.
    pub sas: Difference,
    /// SPD entries.
    pub spd: Difference,
    /// Connections.
    #[serde(default)]
    pub connections: Difference,
    /// The order of SPD entries changes.
    pub spd_reordered: bool,
    /// Routes.
    pub routes: Difference,
    /// Static neighbours.
    pub neighbors: Difference,
    /// What else differs: settings of the gateway as a whole, and of its ports.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Why the store was of no help, if it was none.
    #[serde(default)]
    pub store_failure: Option<String>,
    /// Milliseconds to read and check the file.
    pub read_ms: f64,
    /// Milliseconds to make what it takes.
    pub prepare_ms: f64,
    /// Milliseconds until every worker had it.
    pub apply_ms: f64,
}

impl ReloadReport {
    /// A reload that changes nothing.
    pub fn refused(reasons: Vec<String>) -> Self {
        ReloadReport {
            outcome: Outcome::Refused,
            reasons,
            ..ReloadReport::default()
        }
    }
}

/// How many of a kind come, go, change and stay; and the names of the first ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Difference {
    pub added: usize,
    pub removed: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub added_names: Vec<String>,
    pub removed_names: Vec<String>,
    pub changed_names: Vec<String>,
    /// For each of `changed_names`: what of it.
    #[serde(default)]
    pub changed_fields: Vec<String>,
}

impl Difference {
    /// True if nothing comes, goes or changes.
    pub fn is_empty(&self) -> bool {
        self.added + self.removed + self.changed == 0
    }

    fn add(count: &mut usize, names: &mut Vec<String>, name: &str) {
        *count += 1;
        if names.len() < NAMED {
            names.push(name.to_owned());
        }
    }

    /// Compares lists by name; `fields` gets the places of two of one name, and names what differs.
    fn new<N: AsRef<str>>(old: &[N], new: &[N], fields: impl Fn(usize, usize) -> Fields) -> Self {
        let mut difference = Difference::default();
        let mut known: HashMap<&str, usize> = HashMap::new();
        known.extend(
            old.iter()
                .enumerate()
                .map(|(place, name)| (name.as_ref(), place)),
        );
        for (place, name) in new.iter().map(N::as_ref).enumerate() {
            match known.remove(name) {
                Some(before) => difference.compare(name, fields(before, place)),
                None => Self::add(&mut difference.added, &mut difference.added_names, name),
            }
        }
        let mut gone: Vec<(&str, usize)> = known.into_iter().collect();
        gone.sort_unstable_by_key(|(_, place)| *place);
        for (name, _) in gone {
            Self::add(&mut difference.removed, &mut difference.removed_names, name);
        }
        difference
    }

    fn compare(&mut self, name: &str, fields: Fields) {
        if fields.is_empty() {
            self.unchanged += 1;
            return;
        }
        if self.changed_names.len() < NAMED {
            self.changed_fields.push(fields.join(", "));
        }
        Self::add(&mut self.changed, &mut self.changed_names, name);
    }

    /// SAs that a plan moves.
    pub fn of_sas(old: &Policy, new: &Policy, moves: &Moves) -> Self {
        let name = |policy: &Policy, n: &u32| {
            policy
                .sas
                .get(*n as usize)
                .map_or_else(String::new, |sa| sa.name.clone())
        };
        let names = |policy: &Policy, numbers: &[u32]| -> Vec<String> {
            numbers
                .iter()
                .take(NAMED)
                .map(|n| name(policy, n))
                .collect()
        };
        Difference {
            added: moves.added.len(),
            removed: moves.removed.len(),
            changed: moves.altered.len(),
            unchanged: new.sas.len() - moves.added.len() - moves.altered.len(),
            added_names: names(new, &moves.added),
            removed_names: names(old, &moves.removed),
            changed_names: names(new, &moves.altered),
            changed_fields: altered_fields(old, new, moves),
        }
    }

    /// SPD entries.
    pub fn of_spd(old: &Policy, new: &Policy) -> Self {
        // There may be very many of them.
        fn names(policy: &Policy) -> Vec<&str> {
            policy.spd.iter().map(|e| e.name.as_str()).collect()
        }
        Self::new(&names(old), &names(new), |a, b| {
            let pair = old.spd.get(a).zip(new.spd.get(b));
            pair.map_or_else(Fields::new, |(a, b)| of_entries((old, a), (new, b)))
        })
    }

    /// Connections.
    pub fn of_connections(old: &Policy, new: &Policy) -> Self {
        let names =
            |p: &Policy| -> Vec<_> { p.connections.iter().map(|c| c.name.clone()).collect() };
        Self::new(&names(old), &names(new), |a, b| {
            let pair = old.connections.get(a).zip(new.connections.get(b));
            pair.map_or_else(Fields::new, |(a, b)| of_connections(a, b))
        })
    }

    /// Routes.
    pub fn of_routes(old: &Policy, new: &Policy) -> Self {
        let names =
            |p: &Policy| -> Vec<_> { p.routes.iter().map(|r| r.destination.to_string()).collect() };
        Self::new(&names(old), &names(new), |a, b| {
            said("next hop", old.routes.get(a) != new.routes.get(b))
        })
    }

    /// Static neighbours.
    pub fn of_neighbors(old: &Policy, new: &Policy) -> Self {
        let names = |p: &Policy| -> Vec<_> {
            let name = |n: &portcullis_config::Neighbor| match p.interfaces.get(n.interface) {
                Some(interface) => format!("{} on {}", n.address, interface.name),
                None => n.address.to_string(),
            };
            p.neighbors.iter().map(name).collect()
        };
        Self::new(&names(old), &names(new), |a, b| {
            said("MAC address", old.neighbors.get(a) != new.neighbors.get(b))
        })
    }
}

fn said(what: &str, differs: bool) -> Fields {
    differs.then(|| what.to_owned()).into_iter().collect()
}

/// What differs in settings that are no entries of a list.
pub fn settings_differences(old: &Policy, new: &Policy) -> Vec<String> {
    let mut settings = Vec::new();
    let mut say = |what: &str, differs: bool| {
        if differs {
            settings.push(what.to_owned());
        }
    };
    say("[store]", old.store != new.store);
    say("[policy] profile", old.profile != new.profile);
    say("[policy] version or poll-interval", old.about != new.about);
    say(
        "[policy] default-exemption",
        old.rules.exemptions != new.rules.exemptions,
    );
    say(
        "[policy] inbound-overlap",
        old.inbound_overlap != new.inbound_overlap,
    );
    say("[metrics] listen", old.metrics != new.metrics);
    say(
        "[runtime] event-log",
        old.runtime.event_log != new.runtime.event_log,
    );
    for (old, new) in old.interfaces.iter().zip(&new.interfaces) {
        let what = |key: &str| format!("port `{}` {key}", new.name);
        say(&what("addresses"), old.addresses != new.addresses);
        say(&what("interface-class"), old.class != new.class);
    }
    settings
}

/// What differs in the first SAs that stay under other terms.
fn altered_fields(old: &Policy, new: &Policy, moves: &Moves) -> Vec<String> {
    let fields = |number: &u32| {
        let sa = new.sas.get(*number as usize);
        let same = |other: &&SaConfig| {
            sa.is_some_and(|sa| {
                (sa.direction, sa.spi, sa.destination)
                    == (other.direction, other.spi, other.destination)
            })
        };
        let before = old.sas.iter().find(same);
        before
            .zip(sa)
            .map_or_else(String::new, |(a, b)| of_sas(a, b).join(", "))
    };
    moves.altered.iter().take(NAMED).map(fields).collect()
}

/// True if entries that are in both stand in another order.
pub fn is_reordered(entries_before: &[u32]) -> bool {
    let known = entries_before.iter().filter(|n| **n != u32::MAX);
    !known.is_sorted()
}

/// What differs and cannot change while the gateway runs.
pub fn fixed_differences(old: &Policy, new: &Policy) -> Vec<String> {
    let mut reasons = runtime_differences(&old.runtime, &new.runtime);
    // Addresses and kinds are the policy's; the rest is the device's.
    let fixed = |interface: &Interface| Interface {
        addresses: Vec::new(),
        class: InterfaceClass::default(),
        ..interface.clone()
    };
    let by_name = |policy: &'_ Policy, name: &str| -> Option<Interface> {
        policy.interfaces.iter().find(|i| i.name == name).map(fixed)
    };
    let why = "ports and their devices cannot change while the gateway runs";
    for interface in &new.interfaces {
        match by_name(old, &interface.name) {
            None => reasons.push(format!("port `{}` is new: {why}", interface.name)),
            Some(known) if known != fixed(interface) => {
                reasons.push(format!("port `{}` differs: {why}", interface.name));
            }
            Some(_) => {}
        }
    }
    for interface in &old.interfaces {
        if by_name(new, &interface.name).is_none() {
            reasons.push(format!("port `{}` is missing: {why}", interface.name));
        }
    }
    let name = |interface: &Interface| interface.name.clone();
    let is_same_order = old
        .interfaces
        .iter()
        .map(name)
        .eq(new.interfaces.iter().map(name));
    if reasons.is_empty() && !is_same_order {
        reasons.push(format!("the ports are in another order: {why}"));
    }
    reasons
}

fn runtime_differences(old: &Runtime, new: &Runtime) -> Vec<String> {
    let keys = [
        ("workers", old.workers != new.workers),
        ("cores", old.cores != new.cores),
        ("eal", old.eal != new.eal),
        ("control-socket", old.control_socket != new.control_socket),
        ("mbufs", old.mbufs != new.mbufs),
        ("mbuf-size", old.mbuf_size != new.mbuf_size),
        ("engines", old.engines != new.engines),
        ("crypto-devices", old.crypto_devices != new.crypto_devices),
        ("crypto-queue", old.crypto_queue != new.crypto_queue),
        ("cycle-budget", old.cycle_budget != new.cycle_budget),
        ("key-log", old.key_log != new.key_log),
    ];
    let differs = keys.iter().filter(|(_, differs)| *differs);
    let reason = |(key, _): &(&str, bool)| {
        format!("[runtime] `{key}` differs: it cannot change while the gateway runs")
    };
    differs.map(reason).collect()
}
