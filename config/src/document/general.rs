//! Reads any TOML with the `toml` crate.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Integer, Member, Node, PREFIXES, Table, Value};
use crate::mistake::Report;

/// Parses a text as far as it can be; what is wrong in it is reported, as behind `start` bytes of others.
pub(super) fn parse<'i>(text: &'i str, start: usize, report: &mut Report<'_>) -> Table<'i> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    for error in syntax_errors {
        let at = error.span().map_or(0, |span| span.start);
        report.syntax(start + at, error.message());
    }
    table(document.into_inner())
}

fn table(table: DeTable<'_>) -> Table<'_> {
    let members = table.into_iter().map(|(name, value)| Member {
        at: name.span().start,
        name: name.into_inner().into(),
        node: node(value),
    });
    Table {
        members: members.collect(),
    }
}

fn node(value: Spanned<DeValue<'_>>) -> Node<'_> {
    let span = value.span();
    let value = match value.into_inner() {
        // An empty span stands where a syntax error left no value.
        _ if span.is_empty() => Value::Missing,
        DeValue::String(text) => Value::String(text.into()),
        DeValue::Integer(integer) => {
            let mut prefixes = PREFIXES.iter();
            let prefix = prefixes.find(|(_, radix)| *radix == integer.radix());
            let prefix = prefix.map_or("", |(prefix, _)| prefix);
            let text = format!("{prefix}{}", integer.as_str());
            Value::Integer(Integer(Cow::<str>::Owned(text).into()))
        }
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(nodes) => Value::Array(nodes.into_iter().map(node).collect()),
        DeValue::Table(members) => Value::Table(table(members)),
    };
    let at = span.start;
    Node { at, value }
}
