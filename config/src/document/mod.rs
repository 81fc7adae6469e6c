//! A parsed policy file: tables of names and values, each with its place, in little memory.
//!
//! ```text
//! text -> plain: what nearly all of a large policy is -> Table
//!      -> else general: all of TOML, recovers after mistakes -> Table
//! ```
//! A policy of many SAs is read in a fraction of the time and memory that a general reader takes; whatever is not plain,
//! every mistake among it, is that reader's, so that there is one judge of what TOML is.

mod general;
mod plain;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use crate::mistake::Report;

/// Values by name, in the order of the text. There are few in each: looking at all beats hashing.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Table<'i> {
    members: Box<[Member<'i>]>,
}

/// A name and its value.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Member<'i> {
    pub(crate) name: Text<'i>,
    /// Byte offset of the name.
    pub(crate) at: usize,
    pub(crate) node: Node<'i>,
}

/// A value and its place.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Node<'i> {
    /// Byte offset of the value, or of the table's header.
    pub(crate) at: usize,
    pub(crate) value: Value<'i>,
}

/// What can stand behind a name.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) enum Value<'i> {
    /// A syntax error left none; it has been reported.
    Missing,
    String(Text<'i>),
    Integer(Integer<'i>),
    Float,
    Boolean(bool),
    Date,
    Array(Vec<Node<'i>>),
    Table(Table<'i>),
}

// A large policy has millions of them.
const _: () = assert!(size_of::<Value<'_>>() == 24);

/// A piece of the file, or what its escapes stand for, in as little memory as a piece of the file takes.
pub(crate) enum Text<'i> {
    Written(&'i str),
    #[expect(clippy::box_collection)] // a `Box<str>` is twice as large
    Meant(Box<String>),
}

impl<'i> From<Cow<'i, str>> for Text<'i> {
    fn from(text: Cow<'i, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Text::Written(text),
            Cow::Owned(text) => Text::Meant(Box::new(text)),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Written(text) => text,
            Text::Meant(text) => text,
        }
    }
}

/// An integer as it is written, but for underscores, whatever its size.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Integer<'i>(Text<'i>);

/// What stands before the digits of a radix other than ten.
const PREFIXES: [(&str, u32); 3] = [("0b", 2), ("0o", 8), ("0x", 16)];

impl Node<'_> {
    /// It is not deeper than what the parser takes.
    fn shift(&mut self, by: usize) {
        self.at += by;
        match &mut self.value {
            Value::Array(nodes) => nodes.iter_mut().for_each(|node| node.shift(by)),
            Value::Table(table) => table.shift(by),
            _ => {}
        }
    }
}

impl Integer<'_> {
    /// Its value, if that is not negative and not too large.
    pub(crate) fn value(&self) -> Option<u64> {
        let mut prefixes = PREFIXES.iter();
        let prefixed =
            prefixes.find_map(|(prefix, radix)| Some((self.0.strip_prefix(prefix)?, radix)));
        let (digits, radix) = prefixed.unwrap_or((&self.0, &10));
        u64::from_str_radix(digits, *radix).ok()
    }
}

impl fmt::Display for Integer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'i> Table<'i> {
    /// Parses a text that stands behind `start` bytes of others; what is wrong in it is reported.
    pub(crate) fn parse(text: &'i str, start: usize, report: &mut Report<'_>) -> Self {
        let parsed = plain::parse(text);
        let mut table = parsed.unwrap_or_else(|| general::parse(text, start, report));
        if start != 0 {
            table.shift(start);
        }
        table
    }

    fn shift(&mut self, by: usize) {
        for member in &mut *self.members {
            member.at += by;
            member.node.shift(by);
        }
    }

    /// The value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Node<'i>> {
        let found = self.members.iter().find(|member| *member.name == *name);
        found.map(|member| &member.node)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node<'i>> {
        let found = self.members.iter_mut().find(|member| *member.name == *name);
        found.map(|member| &mut member.node)
    }

    /// All names with their values.
    pub(crate) fn members(&self) -> &[Member<'i>] {
        &self.members
    }

    /// The same, to be taken.
    pub(crate) fn into_members(self) -> Vec<Member<'i>> {
        self.members.into_vec()
    }

    /// Adds a name that is not there.
    pub(crate) fn push(&mut self, member: Member<'i>) {
        let mut members = std::mem::take(&mut self.members).into_vec();
        members.push(member);
        self.members = members.into();
    }

    /// Keeps the names that `wanted` says.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let mut members = std::mem::take(&mut self.members).into_vec();
        members.retain(|member| wanted(&member.name));
        self.members = members.into();
    }
}

#[cfg(test)]
mod tests;
