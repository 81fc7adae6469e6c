//! Reads any TOML with the `toml` crate.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};
use zeroize::Zeroizing;

use super::{Id, Kind, NONE, PREFIXES, Tree};
use crate::mistake::Report;

/// Reads this part of the text as far as it can be; what is wrong in it is reported.
pub(super) fn read(tree: &mut Tree<'_>, part: Range<usize>, report: &mut Report<'_>) -> Id {
    let start = part.start;
    let text = tree.text.get(part).unwrap_or_default();
    let (table, syntax_errors) = DeTable::parse_recoverable(text);
    for error in syntax_errors {
        let at = error.span().map_or(0, |span| span.start);
        report.syntax(start + at, error.message());
    }
    let root = tree.add(Kind::Table, start, NONE);
    let mut general = General { tree, start };
    general.members(root, table.into_inner());
    root
}

struct General<'d, 'i> {
    tree: &'d mut Tree<'i>,
    /// Where the text begins that the crate has read.
    start: usize,
}

impl<'i> General<'_, 'i> {
    fn members(&mut self, table: Id, members: DeTable<'i>) {
        let mut last = None;
        for (name, value) in members {
            let id = self.value(value);
            self.name(id, name);
            self.tree.link(table, last, id);
            last = Some(id);
        }
    }

    fn name(&mut self, id: Id, name: Spanned<Cow<'i, str>>) {
        let at = self.start + name.span().start;
        let name = name.into_inner();
        let length = u16::try_from(name.len()).unwrap_or_default();
        let written = length != 0 && self.tree.piece(at as u32, length.into()) == name;
        self.tree
            .give_name(id, at, if written { length } else { 0 });
        if !written {
            self.tree.names.insert(id.0, name.into_owned());
        }
    }

    fn value(&mut self, value: Spanned<DeValue<'i>>) -> Id {
        let span = value.span();
        let at = self.start + span.start;
        let kind = match value.into_inner() {
            // An empty span stands where a syntax error left no value.
            _ if span.is_empty() => Kind::Missing,
            DeValue::String(text) => return self.string(at, text),
            DeValue::Integer(integer) => return self.integer(at, &integer),
            DeValue::Float(_) => Kind::Float,
            DeValue::Boolean(true) => Kind::True,
            DeValue::Boolean(false) => Kind::False,
            DeValue::Datetime(_) => Kind::Date,
            DeValue::Array(values) => {
                let list = self.tree.add(Kind::Array, at, NONE);
                let mut last = None;
                for value in values {
                    let member = self.value(value);
                    self.tree.link(list, last, member);
                    last = Some(member);
                }
                return list;
            }
            DeValue::Table(members) => {
                let table = self.tree.add(Kind::Table, at, NONE);
                self.members(table, members);
                return table;
            }
        };
        self.tree.add(kind, at, NONE)
    }

    fn string(&mut self, at: usize, text: Cow<'i, str>) -> Id {
        match text {
            Cow::Borrowed(text) if self.tree.piece(at as u32 + 1, text.len() as u32) == text => {
                self.tree.add(Kind::String, at, text.len() as u32)
            }
            text => self.meant(Kind::String, at, Zeroizing::new(text.into_owned())),
        }
    }

    fn integer(&mut self, at: usize, integer: &DeInteger<'_>) -> Id {
        let mut prefixes = PREFIXES.iter();
        let prefix = prefixes.find(|(_, radix)| *radix == integer.radix());
        let prefix = prefix.map_or("", |(prefix, _)| prefix);
        // A key without its quotes is one, too.
        let text = Zeroizing::new(format!("{prefix}{}", integer.as_str()));
        match self.tree.piece(at as u32, text.len() as u32) == *text {
            true => self.tree.add(Kind::Integer, at, text.len() as u32),
            false => self.meant(Kind::Integer, at, text),
        }
    }

    fn meant(&mut self, kind: Kind, at: usize, text: Zeroizing<String>) -> Id {
        let id = self.tree.add(kind, at, NONE);
        self.tree.meant.insert(id.0, text);
        id
    }
}
