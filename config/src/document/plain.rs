//! Reads what nearly all of a large policy is: headers of bare names, and bare names with strings without escapes,
//! integers, booleans, lists and inline tables of these. Gives up at anything else, right or wrong.

use std::ops::Range;

use super::{Id, Kind, NONE, Tree};

/// Lists and inline tables in each other, and names of a header.
const DEPTH: usize = 8;
/// Names in one table: a table of more is left to one that hashes them.
const MEMBERS: usize = 64;
/// Longer names and integers are left to others.
const NAME: usize = u16::MAX as usize;
const DIGITS: usize = 15;

/// The table of this part of the text, if all of it is plain and no name stands twice.
pub(super) fn read(tree: &mut Tree<'_>, part: Range<usize>) -> Option<Id> {
    let text = tree.text.get(..part.end)?;
    let root = tree.add(Kind::Table, part.start, NONE);
    let mut plain = Plain {
        text,
        at: part.start,
        tree,
    };
    let mut lists = Lists::default();
    let mut table = Tail::of(root);
    while let Some(next) = plain.next_line()? {
        if next == b'[' {
            let header = plain.header()?;
            table = Tail::of(plain.attach(root, &mut lists, &header)?);
        } else {
            plain.member(&mut table, DEPTH)?;
        }
        plain.end_line()?;
    }
    Some(root)
}

/// `[name]` or `[[name.name]]`.
struct Header<'i> {
    at: usize,
    /// `[[`: one of several.
    several: bool,
    /// Names of the tables around it, and its own with its place.
    around: Vec<&'i str>,
    name: &'i str,
    name_at: usize,
}

/// Lists that headers make, in order, with their last tables: only such lists may grow.
#[derive(Default)]
struct Lists(Vec<(Id, Id)>);

impl Lists {
    /// The last table of a list.
    fn last(&mut self, list: Id) -> Option<&mut Id> {
        let number = self.0.binary_search_by_key(&list, |(list, _)| *list).ok()?;
        self.0.get_mut(number).map(|(_, last)| last)
    }
}

/// A table or list that is being read.
struct Tail {
    holder: Id,
    last: Option<Id>,
    count: usize,
}

impl Tail {
    fn of(holder: Id) -> Self {
        Tail {
            holder,
            last: None,
            count: 0,
        }
    }

    fn push(&mut self, tree: &mut Tree<'_>, member: Id) {
        tree.link(self.holder, self.last, member);
        self.last = Some(member);
        self.count += 1;
    }
}

/// A place in the text.
struct Plain<'d, 'i> {
    text: &'i str,
    at: usize,
    tree: &'d mut Tree<'i>,
}

impl<'i> Plain<'_, 'i> {
    /// Puts a table where its header says.
    fn attach(&mut self, root: Id, lists: &mut Lists, header: &Header<'i>) -> Option<Id> {
        let tree = &mut *self.tree;
        let mut parent = root;
        for name in &header.around {
            // Only what stands behind a `[[` is looked into.
            parent = *lists.last(tree.get(parent, name)?)?;
        }
        let mut known = Tail::of(parent);
        if let Some(list) = tree.get(parent, header.name) {
            let last = lists.last(list).filter(|_| header.several)?;
            let new = tree.add(Kind::Table, header.at, NONE);
            tree.link(list, Some(*last), new);
            *last = new;
            return Some(new);
        }
        for id in tree.members(parent) {
            (known.last, known.count) = (Some(id), known.count + 1);
        }
        if known.count >= MEMBERS {
            return None;
        }
        let kind = match header.several {
            true => Kind::Array,
            false => Kind::Table,
        };
        let named = tree.add(kind, header.at, NONE);
        tree.give_name(named, header.name_at, header.name.len() as u16);
        known.push(tree, named);
        if !header.several {
            return Some(named);
        }
        let first = tree.add(Kind::Table, header.at, NONE);
        tree.link(named, None, first);
        lists.0.push((named, first));
        Some(first)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes this byte if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// What is taken by `wanted`, byte by byte; the text is cut at ASCII only.
    fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'i str {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !wanted(*byte));
        let (from, length) = (self.at, length.unwrap_or(rest.len()));
        self.at += length;
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The rest of a line, of which nothing counts.
    fn end_line(&mut self) -> Option<()> {
        self.blanks();
        if self.take(b'#') {
            self.run(is_shown);
        }
        let ended = match self.take(b'\r') {
            true => self.take(b'\n'),
            false => self.take(b'\n') || self.at == self.text.len(),
        };
        ended.then_some(())
    }

    /// Skips lines with nothing that counts: the first byte of the next one that has something.
    fn next_line(&mut self) -> Option<Option<u8>> {
        loop {
            self.blanks();
            match self.peek() {
                None => return Some(None),
                Some(b'#' | b'\n' | b'\r') => self.end_line()?,
                next => return Some(next),
            }
        }
    }

    /// A name without quotes, and its place.
    fn name(&mut self) -> Option<(&'i str, usize)> {
        let at = self.at;
        let name = self.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (1..=NAME).contains(&name.len()).then_some((name, at))
    }

    fn header(&mut self) -> Option<Header<'i>> {
        let at = self.at;
        self.at += 1;
        let several = self.take(b'[');
        let mut around = Vec::new();
        let (mut name, mut name_at) = self.name()?;
        while self.take(b'.') {
            if around.len() >= DEPTH {
                return None;
            }
            around.push(name);
            (name, name_at) = self.name()?;
        }
        let closed = self.take(b']') && (!several || self.take(b']'));
        closed.then_some(Header {
            at,
            several,
            around,
            name,
            name_at,
        })
    }

    /// `name = value`
    fn member(&mut self, table: &mut Tail, depth: usize) -> Option<()> {
        let (name, at) = self.name()?;
        self.blanks();
        if !self.take(b'=') || table.count >= MEMBERS {
            return None;
        }
        if self.tree.get(table.holder, name).is_some() {
            return None;
        }
        self.blanks();
        let value = self.value(depth)?;
        self.tree.give_name(value, at, name.len() as u16);
        table.push(self.tree, value);
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Id> {
        match self.peek()? {
            quote @ (b'"' | b'\'') => self.string(quote),
            b'[' => self.list(depth.checked_sub(1)?),
            b'{' => self.inline_table(depth.checked_sub(1)?),
            _ => self.word(),
        }
    }

    fn string(&mut self, quote: u8) -> Option<Id> {
        let at = self.at;
        self.at += 1;
        let text = self.run(|byte| byte != quote && byte != b'\\' && is_shown(byte));
        // Three quotes begin another kind of string, and the first two of them would pass for an empty one.
        let ended = self.take(quote) && self.peek() != Some(quote);
        ended.then(|| self.tree.add(Kind::String, at, text.len() as u32))
    }

    fn word(&mut self) -> Option<Id> {
        let at = self.at;
        let word = self.run(|byte| byte.is_ascii_alphanumeric());
        let kind = match word {
            "true" => Kind::True,
            "false" => Kind::False,
            _ => {
                let (digits, radix) = match word.strip_prefix("0x") {
                    Some(digits) => (digits, 16),
                    None => (word, 10),
                };
                let all = digits.bytes().all(|byte| char::from(byte).is_digit(radix));
                let padded = radix == 10 && digits.len() > 1 && digits.starts_with('0');
                if !all || padded || digits.is_empty() || digits.len() > DIGITS {
                    return None;
                }
                Kind::Integer
            }
        };
        let ends = [b' ', b'\t', b'\n', b'\r', b',', b']', b'}', b'#'];
        let ended = self.peek().is_none_or(|next| ends.contains(&next));
        ended.then(|| self.tree.add(kind, at, word.len() as u32))
    }

    fn list(&mut self, depth: usize) -> Option<Id> {
        let list = self.tree.add(Kind::Array, self.at, NONE);
        let mut members = Tail::of(list);
        self.at += 1;
        loop {
            // A list may go on in further lines.
            self.next_line()?;
            if self.take(b']') {
                return Some(list);
            }
            let value = self.value(depth)?;
            members.push(self.tree, value);
            self.next_line()?;
            if !self.take(b',') && self.peek() != Some(b']') {
                return None;
            }
        }
    }

    fn inline_table(&mut self, depth: usize) -> Option<Id> {
        let table = self.tree.add(Kind::Table, self.at, NONE);
        let mut members = Tail::of(table);
        self.at += 1;
        self.blanks();
        if self.take(b'}') {
            return Some(table);
        }
        loop {
            self.blanks();
            self.member(&mut members, depth)?;
            self.blanks();
            if self.take(b'}') {
                return Some(table);
            }
            if !self.take(b',') {
                return None;
            }
        }
    }
}

/// No control character, but for the tab.
fn is_shown(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}
