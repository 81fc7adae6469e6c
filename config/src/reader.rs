//! A small reader over a parsed TOML document: types, ranges and names are checked where they stand,
//! against the same key tables that the reference is written from.

use crate::Examine;
use crate::document::{Id, Tree, Value};
use crate::mistake::{Report, did_you_mean, key_digits, shown};
use crate::reference::Table;

/// One table of the tree.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    spec: &'static Table,
    tree: &'a Tree<'a>,
    table: Id,
    /// Traces of its names: what has left none need not be looked for. Of the names that a table may have it has few.
    traces: u32,
    report: &'a Report<'a>,
}

/// One bit for a name.
fn trace(name: &str) -> u32 {
    let initial = name.bytes().next().map_or(0, usize::from);
    1 << ((name.len() * 7 + initial) % 32)
}

impl<'a> Section<'a> {
    /// Opens a table and refuses its unknown keys.
    pub(crate) fn open(
        spec: &'static Table,
        tree: &'a Tree<'a>,
        table: Id,
        report: &'a Report<'a>,
    ) -> Self {
        let known = || spec.keys.iter().map(|k| k.name);
        let mut traces = 0;
        for member in tree.members(table) {
            if let Some(name) = known().find(|name| tree.has_name(member, name)) {
                traces |= trace(name);
            } else {
                let name = tree.name(member);
                traces |= trace(name);
                let hint = did_you_mean(name, known());
                let message = format!("unknown key {} in {}{hint}", shown(name), spec.header);
                report.error_unless_broken(tree.name_at(member), message);
            }
        }
        Section {
            spec,
            tree,
            table,
            traces,
            report,
        }
    }

    #[inline]
    fn find(self, name: &str) -> Option<Id> {
        let may_have = self.traces & trace(name) != 0;
        may_have.then(|| self.tree.get(self.table, name))?
    }

    fn item(self, id: Id) -> Option<Item<'a>> {
        Item::new(self.tree, id, self.report)
    }

    /// The value of an optional key.
    pub(crate) fn get(self, name: &'static str) -> Option<Item<'a>> {
        debug_assert!(self.spec.keys.iter().any(|k| k.name == name), "{name}");
        self.item(self.find(name)?)
    }

    /// The value of a key that must be there.
    pub(crate) fn require(self, name: &'static str) -> Option<Item<'a>> {
        debug_assert!(self.spec.keys.iter().any(|k| k.name == name), "{name}");
        let Some(id) = self.find(name) else {
            let message = format!("missing key `{name}` in {}", self.label());
            self.report.error_unless_broken(self.at(), message);
            return None;
        };
        self.item(id)
    }

    /// True if the key is there, whatever its value.
    pub(crate) fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The tables of an array of tables.
    pub(crate) fn sections(
        self,
        name: &'static str,
        spec: &'static Table,
    ) -> impl Iterator<Item = Section<'a>> {
        let list = self.get(name).and_then(|item| match item.value {
            Value::Array => Some(item.id),
            _ => item.unexpected(&format!("an array of tables, each {}", spec.header)),
        });
        let items = list.into_iter().flat_map(move |id| self.tree.members(id));
        let items = items.filter_map(move |id| self.item(id));
        items.filter_map(move |item| item.section(spec))
    }

    /// How many members a list has, if it is one.
    pub(crate) fn count(self, name: &str) -> usize {
        let list = self.find(name);
        list.map_or(0, |id| self.tree.members(id).count())
    }

    /// True if the key says true; what is wrong with it is reported elsewhere.
    pub(crate) fn says_true(self, name: &str) -> bool {
        let value = self.find(name).map(|id| self.tree.value(id));
        value == Some(Value::Boolean(true))
    }

    /// Reports an error at the value of a key, or at the table's header if the key is not there.
    pub(crate) fn error(self, name: &str, message: impl Into<String>) {
        self.report.error(self.place(name), message);
    }

    /// Reports a warning at the value of a key, or at the table's header if the key is not there.
    pub(crate) fn warning(self, name: &str, message: impl Into<String>) {
        self.report.warning(self.place(name), message);
    }

    /// Refuses a key that has no place here.
    pub(crate) fn refuse(self, name: &'static str, reason: &str) {
        if self.has(name) {
            self.error(name, reason);
        }
    }

    /// Byte offset of a key's value, or of the table's header if the key is not there.
    pub(crate) fn place(self, name: &str) -> usize {
        self.tree.at(self.find(name).unwrap_or(self.table))
    }

    /// Who judges credentials, if somebody does.
    pub(crate) fn examine(self) -> Option<Examine> {
        self.report.examine
    }

    /// Byte offset of the table's header.
    pub(crate) fn at(self) -> usize {
        self.tree.at(self.table)
    }

    /// The line of the table's header.
    pub(crate) fn line(self) -> usize {
        self.line_of(self.at())
    }

    /// The line of a byte offset in the tree.
    pub(crate) fn line_of(self, at: usize) -> usize {
        self.report.line(at)
    }

    /// True after a syntax error anywhere in the file.
    pub(crate) fn is_broken(self) -> bool {
        self.report.is_broken()
    }

    /// The header, and the name where it has one: ``[[sa]] `to-b` ``.
    fn label(self) -> String {
        match self.find("name").map(|id| self.tree.value(id)) {
            Some(Value::String(name)) => format!("{} {}", self.spec.header, shown(name)),
            _ => self.spec.header.to_owned(),
        }
    }
}

/// One value of the tree.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    tree: &'a Tree<'a>,
    id: Id,
    value: Value<'a>,
    report: &'a Report<'a>,
}

impl<'a> Item<'a> {
    /// A syntax error may have left no value; it has been reported.
    fn new(tree: &'a Tree<'a>, id: Id, report: &'a Report<'a>) -> Option<Self> {
        let value = tree.value(id);
        (value != Value::Missing).then_some(Item {
            tree,
            id,
            value,
            report,
        })
    }

    fn at(self) -> usize {
        self.tree.at(self.id)
    }

    /// Reports an error at this value.
    pub(crate) fn error(self, message: impl Into<String>) {
        self.report.error(self.at(), message);
    }

    /// Reports an error at this value, but not where a syntax error may have hidden the cause.
    pub(crate) fn error_unless_broken(self, message: impl Into<String>) {
        self.report.error_unless_broken(self.at(), message);
    }

    /// Reports a warning at this value.
    pub(crate) fn warning(self, message: impl Into<String>) {
        self.report.warning(self.at(), message);
    }

    /// A string of at least one character, without control characters.
    pub(crate) fn string(self) -> Option<&'a str> {
        let Value::String(text) = self.value else {
            return self.unexpected("a string");
        };
        if text.is_empty() {
            self.error("expected a string that is not empty");
            return None;
        }
        let is_plain = |byte: u8| (b' '..0x7f).contains(&byte);
        if !text.bytes().all(is_plain) && text.chars().any(char::is_control) {
            self.error("expected a string without control characters");
            return None;
        }
        Some(text)
    }

    /// A string that `read` understands; its error is the message.
    pub(crate) fn parse<T>(self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(self.string()?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.error(message);
                None
            }
        }
    }

    /// One of a list of names.
    pub(crate) fn choice<T: Copy>(self, names: &[(&str, T)]) -> Option<T> {
        self.parse(|text| {
            if let Some(value) = self.find(names) {
                return Ok(value);
            }
            let known = || names.iter().map(|(name, _)| *name);
            let hint = did_you_mean(text, known());
            let known = known().collect::<Vec<_>>().join(", ");
            Err(format!(
                "expected one of {known}; got {}{hint}",
                shown(text)
            ))
        })
    }

    fn text(self) -> Option<&'a str> {
        match self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// One of a list of names that is read, and if wrong reported, elsewhere.
    pub(crate) fn find<T: Copy>(self, names: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = names.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value)
    }

    /// An integer from `min` to `max`.
    pub(crate) fn integer<T: TryFrom<u64>>(self, min: u64, max: u64) -> Option<T> {
        let Value::Integer(integer) = self.value else {
            return self.unexpected("an integer");
        };
        let inside = integer.value().filter(|v| (min..=max).contains(v));
        let value = inside.and_then(|v| T::try_from(v).ok());
        if value.is_none() {
            let got = match key_digits(integer.text()) {
                Some(digits) => format!("one of {digits} digits"),
                None => integer.text().to_owned(),
            };
            self.error(format!(
                "expected an integer from {min} to {max}; got {got}"
            ));
        }
        value
    }

    /// True or false.
    pub(crate) fn boolean(self) -> Option<bool> {
        match self.value {
            Value::Boolean(value) => Some(value),
            _ => self.unexpected("true or false"),
        }
    }

    /// The members of a list; any other value is a list of one.
    pub(crate) fn members(self) -> impl Iterator<Item = Item<'a>> {
        let is_list = self.value == Value::Array;
        let ids = is_list.then(|| self.tree.members(self.id));
        let items = ids.into_iter().flatten();
        let items = items.filter_map(move |id| Item::new(self.tree, id, self.report));
        items.chain((!is_list).then_some(self))
    }

    /// An integer as its text, so that `443` may stand for `"443"`.
    pub(crate) fn integer_or_string(self) -> Option<String> {
        match self.value {
            Value::Integer(_) => Some(self.integer::<u64>(0, u64::MAX)?.to_string()),
            Value::String(_) => self.string().map(str::to_owned),
            _ => self.unexpected("an integer or a string"),
        }
    }

    /// True if the value is an integer.
    pub(crate) fn is_integer(self) -> bool {
        matches!(self.value, Value::Integer(_))
    }

    /// True if the value is true or false.
    pub(crate) fn is_boolean(self) -> bool {
        matches!(self.value, Value::Boolean(_))
    }

    /// A table.
    pub(crate) fn section(self, spec: &'static Table) -> Option<Section<'a>> {
        match self.value {
            Value::Table => Some(Section::open(spec, self.tree, self.id, self.report)),
            _ => self.unexpected("a table"),
        }
    }

    /// Reports a value of the wrong type, naming only the type: the value may be a key.
    fn unexpected<T>(self, expected: &str) -> Option<T> {
        let got = match self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Date => "a date",
            Value::Array => "a list",
            Value::Table => "a table",
            Value::Missing => "nothing",
        };
        self.error(format!("expected {expected}; got {got}"));
        None
    }
}
