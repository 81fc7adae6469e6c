//! Puts what comes of rules between what is written, and says what is wrong with it where it stands.

use std::collections::HashMap;

use crate::mistake::shown;
use crate::reader::Section;
use crate::rules::compile::{Compiled, From, Made};
use crate::rules::read::RuleSections;
use crate::settings::Settings;
use crate::spd::Entry;
use crate::{Connection, Severity};

/// Makes of the written entries all in the order in which they are tried: exemptions, written ones, those of rules, and
/// what is left.
pub(crate) fn place<'a>(
    root: Section<'a>,
    settings: &Settings<'a>,
    places: &RuleSections<'a>,
    mut all: Vec<Entry<'a>>,
    made: Compiled,
    connections: &mut Vec<Connection>,
) -> Vec<Entry<'a>> {
    let whole = settings.section.unwrap_or(root);
    for problem in made.problems {
        let section = places.filter(problem.rule, problem.filter).unwrap_or(root);
        match problem.severity {
            Severity::Error => section.error(problem.key, problem.message),
            Severity::Warning => section.warning(problem.key, problem.message),
        }
    }
    let entry = |made: Made| {
        let (section, key) = match made.from {
            From::Filter { rule, .. } => (places.rules.get(rule).copied(), "filter-list"),
            From::Response => (places.default_response, "active"),
            From::Policy => (settings.section, "profile"),
        };
        Entry {
            section: section.unwrap_or(whole),
            key,
            entry: Some(made.entry),
        }
    };
    all.splice(..0, made.before.into_iter().map(entry));
    all.extend(made.after.into_iter().map(entry));
    check_names(&all);
    for connection in made.connections {
        if connections
            .iter()
            .any(|known| known.name == connection.name)
        {
            let rules = places.rules.iter();
            let rule = rules.copied().find(|rule| {
                let name = rule.get("name").and_then(|item| item.string());
                name == Some(&connection.name)
            });
            let name = shown(&connection.name);
            let message = format!("the name {name} is that of a [[connection]]");
            rule.unwrap_or(whole).error("name", message);
        }
        connections.push(connection);
    }
    all
}

/// An entry that is written must not have the name of one that is made.
fn check_names(entries: &[Entry<'_>]) {
    let mut made = HashMap::new();
    let known = entries.iter().filter_map(|e| Some((e, e.entry.as_ref()?)));
    for (entry, config) in known.clone().filter(|(_, c)| c.origin.is_some()) {
        made.insert(config.name.as_str(), entry.section.line());
    }
    if made.is_empty() {
        return;
    }
    for (entry, config) in known.filter(|(_, c)| c.origin.is_none()) {
        if let Some(line) = made.get(config.name.as_str()) {
            let name = shown(&config.name);
            let message = format!("the name {name} is that of an entry that line {line} makes");
            entry.section.error("name", message);
        }
    }
}
