//! Reads what nearly all of a large policy is: headers of bare names, and bare names with strings without escapes,
//! integers, booleans, lists and inline tables of these. Gives up at anything else, right or wrong.

use super::{Integer, Member, Node, Table, Text, Value};

/// Lists and inline tables in each other, and names of a header.
const DEPTH: usize = 8;
/// Names in one table: a table of more is left to one that hashes them.
const MEMBERS: usize = 64;
/// Longer integers are left to others.
const DIGITS: usize = 15;

/// The document, if all of it is plain and no name stands twice.
pub(super) fn parse(text: &str) -> Option<Table<'_>> {
    let mut plain = Plain { text, at: 0 };
    let mut headed = Headed::default();
    // Of the table that is being read. Complete, it gets memory of its own size: what a larger one leaves over would be
    // taken by what stays, and hold its page when the document goes.
    let mut members = Vec::with_capacity(MEMBERS);
    let mut header = None;
    while let Some(next) = plain.next_line()? {
        if next == b'[' {
            headed.attach(header.take(), members.drain(..).collect())?;
            header = Some(plain.header()?);
        } else {
            plain.member(&mut members, DEPTH)?;
        }
        plain.end_line()?;
    }
    headed.attach(header, members.into())?;
    Some(headed.root)
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

/// Tables as far as they are complete.
#[derive(Default)]
struct Headed<'i> {
    root: Table<'i>,
    /// Places of the first `[[` of each list, in order: only such lists may grow.
    grow: Vec<usize>,
}

impl<'i> Headed<'i> {
    /// Puts a table where its header says; the first one has none.
    fn attach(&mut self, header: Option<Header<'i>>, members: Box<[Member<'i>]>) -> Option<()> {
        let table = Table { members };
        let Some(header) = header else {
            self.root = table;
            return Some(());
        };
        let mut parent = &mut self.root;
        for name in &header.around {
            // Only what stands behind a `[[` is looked into.
            let node = parent.get_mut(name)?;
            let Value::Array(tables) = &mut node.value else {
                return None;
            };
            match tables
                .last_mut()
                .filter(|_| self.grow.binary_search(&node.at).is_ok())
            {
                Some(Node {
                    value: Value::Table(last),
                    ..
                }) => parent = last,
                _ => return None,
            }
        }
        let at = header.at;
        let new = Node {
            at,
            value: Value::Table(table),
        };
        let node = match (parent.get_mut(header.name), header.several) {
            (Some(known), true) if self.grow.binary_search(&known.at).is_ok() => {
                let Value::Array(tables) = &mut known.value else {
                    return None;
                };
                tables.push(new);
                return Some(());
            }
            (Some(_), _) => return None,
            (None, false) => new,
            (None, true) => {
                self.grow.push(at);
                let value = Value::Array(vec![new]);
                Node { at, value }
            }
        };
        if parent.members.len() >= MEMBERS {
            return None;
        }
        parent.push(Member {
            name: Text::Written(header.name),
            at: header.name_at,
            node,
        });
        Some(())
    }
}

/// A place in the text.
struct Plain<'i> {
    text: &'i str,
    at: usize,
}

impl<'i> Plain<'i> {
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
        (!name.is_empty()).then_some((name, at))
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
    fn member(&mut self, members: &mut Vec<Member<'i>>, depth: usize) -> Option<()> {
        let (name, at) = self.name()?;
        self.blanks();
        let is_known = || members.iter().any(|member| *member.name == *name);
        if !self.take(b'=') || members.len() >= MEMBERS || is_known() {
            return None;
        }
        self.blanks();
        let node = self.node(depth)?;
        members.push(Member {
            name: Text::Written(name),
            at,
            node,
        });
        Some(())
    }

    fn node(&mut self, depth: usize) -> Option<Node<'i>> {
        let at = self.at;
        let value = match self.peek()? {
            quote @ (b'"' | b'\'') => self.string(quote)?,
            b'[' => self.list(depth.checked_sub(1)?)?,
            b'{' => self.inline_table(depth.checked_sub(1)?)?,
            _ => self.word()?,
        };
        Some(Node { at, value })
    }

    fn string(&mut self, quote: u8) -> Option<Value<'i>> {
        self.at += 1;
        let text = self.run(|byte| byte != quote && byte != b'\\' && is_shown(byte));
        // Three quotes begin another kind of string, and the first two of them would pass for an empty one.
        let ended = self.take(quote) && self.peek() != Some(quote);
        ended.then_some(Value::String(Text::Written(text)))
    }

    fn word(&mut self) -> Option<Value<'i>> {
        let word = self.run(|byte| byte.is_ascii_alphanumeric());
        let value = match word {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
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
                Value::Integer(Integer(Text::Written(word)))
            }
        };
        let ends = [b' ', b'\t', b'\n', b'\r', b',', b']', b'}', b'#'];
        self.peek()
            .is_none_or(|next| ends.contains(&next))
            .then_some(value)
    }

    fn list(&mut self, depth: usize) -> Option<Value<'i>> {
        self.at += 1;
        let mut nodes = Vec::new();
        loop {
            // A list may go on in further lines.
            self.next_line()?;
            if self.take(b']') {
                return Some(Value::Array(nodes));
            }
            if nodes.is_empty() {
                // Most have one member, and there may be very many of them.
                nodes.reserve_exact(1);
            }
            nodes.push(self.node(depth)?);
            self.next_line()?;
            if !self.take(b',') && self.peek() != Some(b']') {
                return None;
            }
        }
    }

    fn inline_table(&mut self, depth: usize) -> Option<Value<'i>> {
        self.at += 1;
        let mut members = Vec::new();
        self.blanks();
        if self.take(b'}') {
            return Some(Value::Table(Table::default()));
        }
        loop {
            self.blanks();
            self.member(&mut members, depth)?;
            self.blanks();
            if self.take(b'}') {
                let members = members.into();
                return Some(Value::Table(Table { members }));
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
