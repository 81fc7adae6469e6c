//! Mistakes in a policy file: where, how bad, and what was expected.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Examine;

/// Bytes of text between which lines are counted anew.
const BLOCK: usize = 4096;

/// How bad a [`Mistake`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy is taken, but most likely not meant so.
    Warning,
}

/// One mistake in a policy file. Its text never holds keying material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The policy file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (file, line, column) = (self.file.display(), self.line, self.column);
        write!(f, "{file}:{line}:{column}: {severity}: {}", self.message)
    }
}

struct Found {
    at: usize,
    severity: Severity,
    message: String,
}

/// Collects mistakes by their byte offset in the text.
pub(crate) struct Report<'a> {
    /// Where each file begins in the text.
    files: Vec<(usize, &'a Path)>,
    text: &'a [u8],
    /// For each block of the text, how many lines have ended before it, as far as anybody has asked: a good policy may
    /// have millions of lines.
    ended: RefCell<Vec<usize>>,
    found: RefCell<Vec<Found>>,
    /// Lines with a syntax error.
    broken_lines: HashSet<usize>,
    /// Who judges the credentials that the text names.
    pub(crate) examine: Option<Examine>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(file: &'a Path, text: &'a [u8]) -> Self {
        Self::of_parts(vec![(0, file)], text)
    }

    /// About several files, one behind the other; each begins with a line.
    pub(crate) fn of_parts(files: Vec<(usize, &'a Path)>, text: &'a [u8]) -> Self {
        Report {
            files,
            text,
            ended: RefCell::new(vec![0]),
            found: RefCell::default(),
            broken_lines: HashSet::new(),
            examine: None,
        }
    }

    /// Notes a syntax error, one for each line: those that follow in the same line come from the first.
    pub(crate) fn syntax(&mut self, at: usize, message: &str) {
        if self.broken_lines.insert(self.line_of_all(at)) {
            self.push(at, Severity::Error, message.to_owned());
        }
    }

    /// True after a syntax error: what the rest of the file lacks may only have been misread.
    pub(crate) fn is_broken(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    pub(crate) fn error(&self, at: usize, message: impl Into<String>) {
        self.note(at, Severity::Error, message.into());
    }

    pub(crate) fn warning(&self, at: usize, message: impl Into<String>) {
        self.note(at, Severity::Warning, message.into());
    }

    /// Notes an error that would be wrong to report where a syntax error hid part of the file.
    pub(crate) fn error_unless_broken(&self, at: usize, message: impl Into<String>) {
        if !self.is_broken() {
            self.error(at, message);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        let found = self.found.borrow();
        found.iter().any(|f| f.severity == Severity::Error)
    }

    /// Line of a byte offset in its file, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        let (start, _) = self.file(at);
        self.line_of_all(at) + 1 - self.line_of_all(start)
    }

    /// Line of a byte offset, from 1, all files counted.
    fn line_of_all(&self, at: usize) -> usize {
        let mut ended = self.ended.borrow_mut();
        let block = at.min(self.text.len()) / BLOCK;
        let known = ended.len() - 1;
        let new = self.text.chunks(BLOCK).take(block).skip(known);
        for text in new {
            let before = ended.last().copied().unwrap_or_default();
            ended.push(before + line_ends(text));
        }
        let before = ended.get(block).copied().unwrap_or_default();
        1 + before + line_ends(self.text.get(block * BLOCK..at).unwrap_or_default())
    }

    /// Where the file of a byte offset begins, and its name.
    fn file(&self, at: usize) -> (usize, &'a Path) {
        let after = self.files.partition_point(|(start, _)| *start <= at);
        let file = self.files.get(after.saturating_sub(1)).copied();
        file.unwrap_or((0, Path::new("")))
    }

    /// All mistakes in the order of the file.
    pub(crate) fn finish(self) -> Vec<Mistake> {
        let mut found = self.found.take();
        found.sort_by_key(|f| f.at);
        let (mut last, mut column) = (0, 1);
        let mistake = |f: Found| {
            // Counted on from the mistake before, so that a long line is walked once.
            let since = self.text.get(last..f.at).unwrap_or_default();
            if let Some(end) = since.iter().rposition(|byte| *byte == b'\n') {
                (last, column) = (last + end + 1, 1);
            }
            column += characters(self.text.get(last..f.at).unwrap_or_default());
            last = f.at;
            Mistake {
                file: self.file(f.at).1.to_owned(),
                line: self.line(f.at),
                column,
                severity: f.severity,
                message: f.message,
            }
        };
        found.into_iter().map(mistake).collect()
    }

    fn note(&self, at: usize, severity: Severity, message: String) {
        let misread = self.is_broken() && self.broken_lines.contains(&self.line_of_all(at));
        if !misread {
            self.push(at, severity, message);
        }
    }

    fn push(&self, at: usize, severity: Severity, message: String) {
        self.found.borrow_mut().push(Found {
            at,
            severity,
            message,
        });
    }
}

/// Lines that end in a text.
fn line_ends(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Characters in UTF-8 text: bytes 10xxxxxx only continue one.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|b| **b & 0xc0 != 0x80).count()
}

/// The name among `known` that `word` was most likely meant to be.
pub(crate) fn closest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = known.into_iter().map(|k| (edit_distance(word, k), k));
    let (distance, name) = near.min()?;
    (distance <= 1 + name.len() / 6).then_some(name)
}

/// `; did you mean ...?` where a known name is close, else nothing.
pub(crate) fn did_you_mean<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    closest(word, known).map_or(String::new(), |k| format!("; did you mean `{k}`?"))
}

/// Text as it may stand in a message: what could be a key is not shown.
pub(crate) fn shown(text: &str) -> String {
    if let Some(digits) = key_digits(text) {
        return format!("{digits} hex digits");
    }
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("`{}`", short.escape_debug())
}

/// The hex digits of a text that could be a key: eight bytes or more, after `0x` or not, in one piece, parted as TOML
/// parts integers, or byte by byte, of which a MAC address or an EUI-64 has no more than eight.
pub(crate) fn key_digits(text: &str) -> Option<usize> {
    let digits = text.trim_ascii();
    let digits = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let digits = digits.unwrap_or(text.trim_ascii());
    let is_part = |byte: &u8| matches!(byte, b'_' | b':' | b'-' | b' ');
    let count = digits.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit() || is_part(&b));
    let in_bytes = digits.split([':', '-', ' ']).all(|byte| byte.len() == 2);
    let in_one = !digits.contains([':', '-', ' ']);
    (is_hex && (in_one && count >= 16 || in_bytes && count > 16)).then_some(count)
}

/// Edits from `a` to `b`: characters put in, left out, replaced, or swapped with the next.
fn edit_distance(a: &str, b: &str) -> usize {
    // No name is longer, and the work must stay small for any text.
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    // Row i holds the edits from the first i characters of `a` to each beginning of `b`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let cell = |rows: &[Vec<usize>], i: usize, j: usize| {
        let row = rows.get(i).and_then(|row| row.get(j));
        row.copied().unwrap_or(usize::MAX / 2)
    };
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = cell(&rows, i, j) + usize::from(x != y);
            let left_out = cell(&rows, i, j + 1) + 1;
            let put_in = row.last().map_or(usize::MAX, |n| n + 1);
            let crossed = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            let swapped = if crossed {
                cell(&rows, i - 1, j - 1) + 1
            } else {
                usize::MAX
            };
            row.push(replaced.min(left_out).min(put_in).min(swapped));
        }
        rows.push(row);
    }
    cell(&rows, a.len(), b.len())
}
