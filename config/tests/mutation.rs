//! No text makes the parser panic, run away, or point outside the text.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which may

use std::fs;
use std::path::Path;

use portcullis_config::parse;

/// Pieces that mean something to the parser; bytes alone would seldom form them.
const PIECES: &[&str] = &[
    "[[sa]]",
    "[[spd]]",
    "[[port]]",
    "[[port.vlan]]",
    "[runtime]",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\"",
    "'",
    "\"\"\"",
    "\n",
    "#",
    "0x",
    "-1",
    "1e9",
    "nan",
    "1979-05-27",
    "true",
    "18446744073709551616",
    "::",
    "/",
    "/999",
    "-",
    "\\u0000",
    "\\",
    "\u{feff}",
    "é",
    "name",
    "inbound",
    "65536",
];

/// Numbers that look random and are the same in each run (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

fn mutate(text: &str, numbers: &mut Numbers) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        let end = (at + numbers.below(40)).min(bytes.len());
        match numbers.below(5) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, PIECES[numbers.below(PIECES.len())].bytes())),
            3 => drop(bytes.splice(at..end, PIECES[numbers.below(PIECES.len())].bytes())),
            _ => bytes.extend_from_within(at..end),
        }
        if bytes.is_empty() {
            bytes.push(b'=');
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a text; whatever comes of it, each mistake must be at a place in the text.
fn read(text: &str) -> bool {
    let result = parse(text, Path::new("p"), Path::new("/nonexistent"));
    let accepted = result.is_ok();
    let mistakes = result.map_or_else(|mistakes| mistakes, |loaded| loaded.warnings);
    let lines: Vec<_> = text.split('\n').collect();
    for mistake in mistakes {
        let line = lines[mistake.line - 1];
        assert!(
            mistake.column <= line.chars().count() + 1,
            "{mistake} in {text:?}"
        );
    }
    accepted
}

#[test]
fn mutated_examples_do_not_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut numbers = Numbers(1);
    let (mut accepted, mut refused) = (0, 0);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    for path in paths
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
    {
        let text = fs::read_to_string(path).unwrap();
        for _ in 0..600 {
            match read(&mutate(&text, &mut numbers)) {
                true => accepted += 1,
                false => refused += 1,
            }
        }
    }
    // Both outcomes are common, or the mutations would not reach all of the reader.
    assert!(
        accepted > 100 && refused > 1000,
        "{accepted} accepted, {refused} refused"
    );
}

#[test]
fn every_beginning_of_an_example_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ah-over-esp.toml");
    let text = fs::read_to_string(path).unwrap();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        read(&text[..end]);
    }
}

#[test]
fn deep_and_long_texts_are_refused_in_time() {
    let deep = 100_000;
    assert!(!read(&format!("a = {}", "[".repeat(deep))));
    assert!(!read(&format!("a = {}", "{a=".repeat(deep))));
    assert!(!read(&format!("{}a = 1", "a.".repeat(deep))));
    assert!(!read(&format!("[{}a]", "a.".repeat(deep))));
    assert!(!read(&"=\n".repeat(deep)));
    assert!(!read(&"=".repeat(deep)));
    assert!(!read(&"[[sa]]\n".repeat(deep / 10)));
    assert!(!read(&format!("{} = 1", "x".repeat(deep))));
}
