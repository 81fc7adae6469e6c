//! A parsed policy: tables of names and values, each with its place, in little memory.
//!
//! ```text
//! text -> plain: what nearly all of a large policy is -> Tree
//!      -> else general: all of TOML, recovers after mistakes -> Tree
//! ```
//! A policy of many SAs is read in a fraction of the time and memory that a general reader takes; whatever is not plain,
//! every mistake among it, is that reader's, so that there is one judge of what TOML is.
//!
//! What is read are numbers: where names and values stand. All of them lie in one list, which comes and goes at once.

mod general;
mod plain;

use std::collections::BTreeMap;
use std::ops::Range;

use zeroize::Zeroizing;

use crate::mistake::Report;

/// Bytes of text for each name, value and table of a large policy, at the least.
const BYTES_EACH: usize = 16;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// One value, list or table, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(u32);

/// All that was read of a text, which may be several policies one behind the other.
pub(crate) struct Tree<'i> {
    text: &'i str,
    nodes: Vec<Node>,
    /// What escapes stand for and what else is not in the text as it is meant, by the number of its node. It may hold
    /// keys.
    meant: BTreeMap<u32, Zeroizing<String>>,
    /// The same of names.
    names: BTreeMap<u32, String>,
}

/// What can stand behind a name. It may be a key, so that it is not to be printed.
#[derive(Clone, Copy, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Value<'a> {
    /// A syntax error left none; it has been reported.
    Missing,
    String(&'a str),
    Integer(Integer<'a>),
    Float,
    Boolean(bool),
    Date,
    Array,
    Table,
}

/// An integer as it is written, but for underscores, whatever its size.
#[derive(Clone, Copy, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Integer<'a>(&'a str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Missing,
    /// Between quotes, of which the first is at its place.
    String,
    Integer,
    Float,
    True,
    False,
    Date,
    Array,
    Table,
}

/// A value, its place and its name, if it has one.
#[derive(Clone, Copy)]
struct Node {
    /// Where it stands: the value, or the table's header.
    at: u32,
    name_at: u32,
    /// Bytes of text, or the first of its members.
    extent: u32,
    /// The one behind it in the same list or table.
    next: u32,
    name_length: u16,
    /// The first byte of its name.
    initial: u8,
    kind: Kind,
}

// A large policy has millions of them.
const _: () = assert!(size_of::<Node>() == 20);

/// What stands before the digits of a radix other than ten.
const PREFIXES: [(&str, u32); 3] = [("0b", 2), ("0o", 8), ("0x", 16)];

impl<'a> Integer<'a> {
    /// Its value, if that is not negative and not too large.
    pub(crate) fn value(self) -> Option<u64> {
        let mut prefixes = PREFIXES.iter();
        let prefixed =
            prefixes.find_map(|(prefix, radix)| Some((self.0.strip_prefix(prefix)?, radix)));
        let (digits, radix) = prefixed.unwrap_or((self.0, &10));
        u64::from_str_radix(digits, *radix).ok()
    }

    /// Its digits.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }
}

impl<'i> Tree<'i> {
    /// Nothing read of this text, which is shorter than 4 GiB.
    pub(crate) fn new(text: &'i str) -> Self {
        Tree {
            text,
            nodes: Vec::with_capacity(text.len() / BYTES_EACH),
            meant: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// Reads a part of the text, which is a policy by itself: its table. What is wrong in it is reported.
    pub(crate) fn read(&mut self, part: Range<usize>, report: &mut Report<'_>) -> Id {
        let before = self.nodes.len();
        plain::read(self, part.clone()).unwrap_or_else(|| {
            self.nodes.truncate(before);
            general::read(self, part, report)
        })
    }

    fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    /// Text from a place on.
    fn piece(&self, at: u32, length: u32) -> &'i str {
        let at = at as usize;
        self.text.get(at..at + length as usize).unwrap_or_default()
    }

    /// What stands there.
    pub(crate) fn value(&self, id: Id) -> Value<'_> {
        let Some(node) = self.node(id) else {
            return Value::Missing;
        };
        let meant = || self.meant.get(&id.0).map(|text| text.as_str());
        match node.kind {
            Kind::Missing => Value::Missing,
            Kind::String if node.extent == NONE => Value::String(meant().unwrap_or_default()),
            Kind::String => Value::String(self.piece(node.at + 1, node.extent)),
            Kind::Integer if node.extent == NONE => {
                Value::Integer(Integer(meant().unwrap_or_default()))
            }
            Kind::Integer => Value::Integer(Integer(self.piece(node.at, node.extent))),
            Kind::Float => Value::Float,
            Kind::True => Value::Boolean(true),
            Kind::False => Value::Boolean(false),
            Kind::Date => Value::Date,
            Kind::Array => Value::Array,
            Kind::Table => Value::Table,
        }
    }

    /// Byte offset of a value, or of a table's header.
    pub(crate) fn at(&self, id: Id) -> usize {
        self.node(id).map_or(0, |node| node.at as usize)
    }

    /// A value's name, empty if it has none.
    pub(crate) fn name(&self, id: Id) -> &str {
        match self.node(id) {
            Some(node) if node.name_length != 0 => {
                self.piece(node.name_at, node.name_length.into())
            }
            _ => self.names.get(&id.0).map_or("", String::as_str),
        }
    }

    /// Byte offset of a value's name.
    pub(crate) fn name_at(&self, id: Id) -> usize {
        self.node(id).map_or(0, |node| node.name_at as usize)
    }

    /// The values of a table or list, in the order of the text; in a table there are few: looking at all beats hashing.
    pub(crate) fn members(&self, of: Id) -> impl Iterator<Item = Id> + Clone {
        let is_holder = |node: &&Node| matches!(node.kind, Kind::Array | Kind::Table);
        let first = self.node(of).filter(is_holder).map(|node| node.extent);
        let known = |number: u32| (number != NONE).then_some(Id(number));
        let next = move |id: &Id| known(self.node(*id)?.next);
        std::iter::successors(first.and_then(known), next)
    }

    /// The value of this name in a table.
    pub(crate) fn get(&self, table: Id, name: &str) -> Option<Id> {
        self.members(table).find(|id| self.has_name(*id, name))
    }

    /// True if a value has this name.
    pub(crate) fn has_name(&self, id: Id, name: &str) -> bool {
        let Some(node) = self.node(id) else {
            return false;
        };
        if node.name_length == 0 {
            return self.name(id) == name;
        }
        // Nearly all others differ in these.
        let is_near = (usize::from(node.name_length), Some(&node.initial))
            == (name.len(), name.as_bytes().first());
        let at = node.name_at as usize;
        is_near && self.text.as_bytes().get(at..at + name.len()) == Some(name.as_bytes())
    }

    /// Adds a value without a name; of so short a text are fewer than there are numbers.
    fn add(&mut self, kind: Kind, at: usize, extent: u32) -> Id {
        let number = self.nodes.len() as u32;
        self.nodes.push(Node {
            at: at as u32,
            name_at: 0,
            extent,
            next: NONE,
            name_length: 0,
            initial: 0,
            kind,
        });
        Id(number)
    }

    /// Gives a value the name that stands at this place.
    fn give_name(&mut self, Id(number): Id, at: usize, length: u16) {
        let initial = self.text.as_bytes().get(at).copied();
        if let Some(node) = self.nodes.get_mut(number as usize) {
            (node.name_at, node.name_length) = (at as u32, length);
            node.initial = initial.unwrap_or_default();
        }
    }

    /// Puts a value into a table or list behind `last`, its last one.
    fn link(&mut self, holder: Id, last: Option<Id>, member: Id) {
        let place = match last {
            Some(last) => self.nodes.get_mut(last.0 as usize).map(|n| &mut n.next),
            None => self.nodes.get_mut(holder.0 as usize).map(|n| &mut n.extent),
        };
        if let Some(place) = place {
            *place = member.0;
        }
    }

    /// Keeps of a table what `wanted` says.
    pub(crate) fn retain(&mut self, table: Id, wanted: impl Fn(&str) -> bool) {
        let kept: Vec<_> = self.members(table).collect();
        let kept = kept.into_iter().filter(|id| wanted(self.name(*id)));
        let kept: Vec<_> = kept.collect();
        self.put(table, &kept);
    }

    /// Has a table or list hold these and nothing else.
    pub(crate) fn put(&mut self, holder: Id, members: &[Id]) {
        if let Some(node) = self.nodes.get_mut(holder.0 as usize) {
            node.extent = NONE;
        }
        let mut last = None;
        for id in members {
            self.link(holder, last, *id);
            last = Some(*id);
        }
        if let Some(node) = last.and_then(|Id(last)| self.nodes.get_mut(last as usize)) {
            node.next = NONE;
        }
    }
}

#[cfg(test)]
mod tests;
