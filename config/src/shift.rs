//! Moves what was parsed to its place behind the documents before it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The table, each place in it `by` bytes later.
pub(crate) fn table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let pairs = table.into_iter();
    let moved = pairs.map(|(key, item)| {
        let span = key.span();
        let key = Spanned::new(span.start + by..span.end + by, key.into_inner());
        (key, value(item, by))
    });
    moved.collect()
}

/// It is not deeper than what the parser takes.
fn value(item: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = item.span();
    let moved = match item.into_inner() {
        DeValue::Table(inner) => DeValue::Table(table(inner, by)),
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| value(item, by)).collect())
        }
        plain => plain,
    };
    Spanned::new(span.start + by..span.end + by, moved)
}
