//! What differs between two policies' objects of one name, in the words of the policy file. Keys are named, never
//! shown.

use portcullis_config::{ChildPolicy, Connection, Policy, SaConfig, SpdEntry};

use crate::prepare::is_same_action;

/// Names of what differs.
pub type Fields = Vec<String>;

fn named(fields: &[(&str, bool)]) -> Fields {
    let differing = fields.iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| (*name).to_owned()).collect()
}

/// Of two SPD entries.
pub fn of_entries(old: (&Policy, &SpdEntry), new: (&Policy, &SpdEntry)) -> Fields {
    let (a, b) = (old.1, new.1);
    named(&[
        ("local", a.selector.local != b.selector.local),
        ("remote", a.selector.remote != b.selector.remote),
        ("protocol and ports", a.selector.upper != b.selector.upper),
        ("direction", a.direction != b.direction),
        ("action", !is_same_action(old, new)),
    ])
}

/// Of two SAs that have the same identity and keys.
pub fn of_sas(a: &SaConfig, b: &SaConfig) -> Fields {
    let mut fields = named(&[
        ("mode", a.mode != b.mode),
        ("source", a.source != b.source),
        ("udp-encapsulation", a.udp != b.udp),
        ("replay-window", a.replay_window != b.replay_window),
        ("df", a.df != b.df),
        ("dscp", a.dscp != b.dscp),
        ("soft-lifetime", a.lifetimes.soft() != b.lifetimes.soft()),
        ("hard-lifetime", a.lifetimes.hard() != b.lifetimes.hard()),
        ("entries", a.selectors != b.selectors),
    ]);
    if fields.is_empty() {
        fields.push("bundle".to_owned());
    }
    fields
}

/// Of two connections; children by name.
pub fn of_connections(a: &Connection, b: &Connection) -> Fields {
    let mut fields = named(&[
        ("exchange", a.exchange != b.exchange),
        ("local", a.local != b.local),
        ("remote", a.remote != b.remote),
        ("local-id", a.local_id != b.local_id),
        ("remote-id", a.remote_id != b.remote_id),
        ("psk or certificate", a.authentication != b.authentication),
        ("authentication", a.further != b.further),
        ("proposals", a.ike_proposals != b.ike_proposals),
        ("lifetime", a.ike_lifetime != b.ike_lifetime),
        ("lifetime-kilobytes", a.ike_kilobytes != b.ike_kilobytes),
        ("quick-modes", a.quick_modes != b.quick_modes),
        ("dpd", a.dpd != b.dpd),
        ("nat-traversal", a.nat_traversal != b.nat_traversal),
        ("fragment-size", a.fragment_size != b.fragment_size),
        ("start", a.start != b.start),
    ]);
    let of = |children: &'_ [ChildPolicy], name: &str| -> Option<ChildPolicy> {
        children.iter().find(|child| child.name == name).cloned()
    };
    for child in &b.children {
        match of(&a.children, &child.name) {
            None => fields.push(format!("child {} added", child.name)),
            Some(old) if old != *child => fields.push(format!("child {} changed", child.name)),
            Some(_) => {}
        }
    }
    let gone = a
        .children
        .iter()
        .filter(|child| of(&b.children, &child.name).is_none());
    fields.extend(gone.map(|child| format!("child {} removed", child.name)));
    if fields.is_empty() && a != b {
        fields.push("other terms".to_owned());
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use portcullis_config::parse;

    use super::*;
    use crate::report::Difference;

    const POLICY: &str = "
[[port]]
name = \"wan\"
device = \"net_null0\"
side = \"unprotected\"
addresses = [\"192.0.2.1/24\"]
[[connection]]
name = \"b\"
remote = \"192.0.2.2\"
psk = \"correct horse battery staple\"
[[connection.child]]
name = \"lans\"
[[spd]]
name = \"lans\"
local = \"10.1.0.0/24\"
remote = \"10.2.0.0/24\"
action = \"protect\"
connection = \"b\"
[[spd]]
name = \"rest\"
protocol = \"tcp\"
local-port = 22
action = \"discard\"
";

    fn policy(text: &str) -> Policy {
        parse(text, Path::new("p.toml"), Path::new(""))
            .unwrap()
            .policy
    }

    /// What of a thing changes when the policy is changed so.
    fn changes(
        of: fn(&Policy, &Policy) -> Difference,
        from: &str,
        to: &str,
    ) -> Vec<(String, String)> {
        assert!(POLICY.contains(from), "{from}");
        let difference = of(&policy(POLICY), &policy(&POLICY.replacen(from, to, 1)));
        let names = difference.changed_names.into_iter();
        names.zip(difference.changed_fields).collect()
    }

    fn one(name: &str, fields: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), fields.to_owned())]
    }

    #[test]
    fn a_change_is_named() {
        let spd = Difference::of_spd;
        assert_eq!(changes(spd, "discard", "bypass"), one("rest", "action"));
        assert_eq!(
            changes(spd, "= 22", "= 23"),
            one("rest", "protocol and ports")
        );
        assert_eq!(
            changes(spd, "10.2.0.0/24", "10.3.0.0/24"),
            one("lans", "remote")
        );
        let connections = Difference::of_connections;
        assert_eq!(
            changes(connections, "10.2.0.0/24", "10.3.0.0/24"),
            one("b", "child lans changed")
        );
        assert_eq!(
            changes(connections, "battery", "bakery"),
            one("b", "psk or certificate")
        );
        // An entry is as before if only its connection is another.
        assert_eq!(changes(spd, "battery", "bakery"), []);
        assert_eq!(changes(connections, "discard", "bypass"), []);
    }
}
