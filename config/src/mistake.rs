//! Mistakes in a policy file: where, how bad, and what was expected.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

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
    file: &'a Path,
    text: &'a [u8],
    found: RefCell<Vec<Found>>,
    broken_lines: Vec<usize>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(file: &'a Path, text: &'a [u8]) -> Self {
        Report {
            file,
            text,
            found: RefCell::default(),
            broken_lines: Vec::new(),
        }
    }

    /// Notes a syntax error, one for each line: those that follow in the same line come from the first.
    pub(crate) fn syntax(&mut self, at: usize, message: &str) {
        let (line, _) = self.position(at);
        if !self.broken_lines.contains(&line) {
            self.push(at, Severity::Error, message.to_owned());
            self.broken_lines.push(line);
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

    /// Line and column of a byte offset, both from 1.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.split(|b| *b == b'\n').count();
        let last = before.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        // Bytes 10xxxxxx continue a UTF-8 character.
        let column = 1 + last.iter().filter(|b| **b & 0xc0 != 0x80).count();
        (line, column)
    }

    /// All mistakes in the order of the file.
    pub(crate) fn finish(self) -> Vec<Mistake> {
        let mut found = self.found.take();
        found.sort_by_key(|f| f.at);
        let mistake = |f: Found| {
            let (line, column) = self.position(f.at);
            Mistake {
                file: self.file.to_owned(),
                line,
                column,
                severity: f.severity,
                message: f.message,
            }
        };
        found.into_iter().map(mistake).collect()
    }

    fn note(&self, at: usize, severity: Severity, message: String) {
        let misread = self.is_broken() && self.broken_lines.contains(&self.position(at).0);
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

/// The name among `known` that `word` was most likely meant to be.
pub(crate) fn closest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = known.into_iter().map(|k| (edit_distance(word, k), k));
    let (distance, name) = near.min()?;
    (distance <= 1 + name.len() / 5).then_some(name)
}

/// `; did you mean ...?` where a known name is close, else nothing.
pub(crate) fn did_you_mean<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    closest(word, known).map_or(String::new(), |k| format!("; did you mean `{k}`?"))
}

/// Text as it may stand in a message: what could be a key is not shown.
pub(crate) fn shown(text: &str) -> String {
    let looks_secret = text.len() >= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if looks_secret {
        return format!("{} hex digits", text.len());
    }
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("`{}`", short.escape_debug())
}

/// Levenshtein distance, row by row.
fn edit_distance(a: &str, b: &str) -> usize {
    let a = a.get(..a.len().min(64)).unwrap_or_default();
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (y, cell) in b.chars().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
