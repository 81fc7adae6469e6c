//! Every kind of mistake is found at its line and column and says what was expected.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which may

mod connections;
mod files;
mod ports;
mod protection;
mod road_warriors;
mod rules;
mod selectors;
mod syntax;

use std::path::Path;

use portcullis_config::{Loaded, Mistake, Severity, parse};

/// A policy without a mistake. Each test puts one in, with `^` where it is to be found.
const BASE: &str = r#"
[[port]]
name = "lan"
device = "net_tap0,iface=lan0"
side = "protected"
addresses = ["10.1.0.1/24"]

[[port]]
name = "wan"
device = "net_tap1,iface=wan0"
side = "unprotected"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
mtu = 1500

[[port.vlan]]
name = "dmz"
id = 10
side = "protected"
addresses = ["10.9.0.1/24"]

[[route]]
destination = "10.2.0.0/24"
via = "192.0.2.2"

[[neighbor]]
address = "192.0.2.2"
mac = "02:00:00:00:00:02"

[[sa]] # out
name = "out"
direction = "outbound"
protocol = "esp"
spi = 0x1001
mode = "tunnel"
source = "192.0.2.1"
destination = "192.0.2.2"
encryption = "aes128-gcm16"
key = "000102030405060708090a0b0c0d0e0f10111213"

[[sa]] # in
name = "in"
direction = "inbound"
protocol = "esp"
spi = 0x2001
mode = "tunnel"
source = "192.0.2.2"
destination = "192.0.2.1"
encryption = "aes256-cbc"
key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
integrity = "hmac-sha2-256-128"
integrity-key = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"

[[spd]]
name = "a-to-b"
local = "10.1.0.0/24"
remote = "10.2.0.0/24"
action = "protect"
outbound = "out"
inbound = "in"
"#;

/// What stands behind the last line of the base policy is a table of its own.
const END: &str = "inbound = \"in\"\n";

fn read(text: &str) -> Result<Loaded, Vec<Mistake>> {
    parse(text, Path::new("policy.toml"), Path::new("/nonexistent"))
}

/// The base policy with each `old` replaced by its `new`; each `old` must be there exactly once.
fn edited(edits: &[(&str, &str)]) -> String {
    let mut text = BASE.to_owned();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "{old:?} is not there once");
        text = text.replace(old, new);
    }
    text
}

/// Takes the marks out of a text and returns their lines and columns.
fn unmark(text: &str) -> (String, Vec<(usize, usize)>) {
    let mut places = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let marks = line.match_indices('^').enumerate();
        // Each mark before this one on the line takes a column that will be gone.
        places.extend(marks.map(|(n, (at, _))| (index + 1, line[..at].chars().count() + 1 - n)));
    }
    (text.replace('^', ""), places)
}

/// Asserts that the edited policy has exactly these mistakes, at the marks in their order.
#[track_caller]
fn expect_all(severity: Severity, edits: &[(&str, &str)], messages: &[&str]) {
    let (text, places) = unmark(&edited(edits));
    let found = match read(&text) {
        Ok(loaded) => loaded.warnings,
        Err(mistakes) => mistakes,
    };
    let of_kind = found.iter().filter(|m| m.severity == severity);
    let found: Vec<_> = of_kind
        .map(|m| (m.line, m.column, m.message.as_str()))
        .collect();
    let expected: Vec<_> = places
        .iter()
        .zip(messages)
        .map(|(p, m)| (p.0, p.1, *m))
        .collect();
    assert_eq!(places.len(), messages.len(), "a mark for each message");
    assert_eq!(found, expected);
}

#[track_caller]
fn error(edits: &[(&str, &str)], message: &str) {
    expect_all(Severity::Error, edits, &[message]);
}

#[track_caller]
fn errors(edits: &[(&str, &str)], messages: &[&str]) {
    expect_all(Severity::Error, edits, messages);
}

/// A warning, and no error.
#[track_caller]
fn warning(edits: &[(&str, &str)], message: &str) {
    expect_all(Severity::Warning, edits, &[message]);
    expect_fine(edits);
}

/// No error.
#[track_caller]
fn expect_fine(edits: &[(&str, &str)]) {
    let (text, _) = unmark(&edited(edits));
    if let Err(mistakes) = read(&text) {
        panic!(
            "{}",
            mistakes
                .iter()
                .map(|m| format!("{m}\n"))
                .collect::<String>()
        );
    }
}

#[test]
fn base_policy_is_without_a_mistake() {
    assert_eq!(read(BASE).unwrap().warnings, []);
}

#[test]
fn empty_policy_is_the_default_and_warned_of() {
    let loaded = read("").unwrap();
    assert_eq!(loaded.policy, Default::default());
    let warning = loaded.warnings.first().unwrap().to_string();
    assert_eq!(
        warning,
        "policy.toml:1:1: warning: no [[port]]: there is nothing to forward between"
    );
}

#[test]
fn mistake_is_written_as_file_line_column() {
    let text = "# a comment\n[runtime]\nworkers = 0\nmbufs = \"x\"\n";
    let mistakes = read(text).unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "policy.toml:1:1: warning: no [[port]]: there is nothing to forward between",
            "policy.toml:3:11: error: expected an integer from 1 to 1024; got 0",
            "policy.toml:4:9: error: expected an integer; got a string",
        ]
    );
}

#[test]
fn columns_are_counted_in_characters() {
    let text = "[runtime]\ncontrol-socket = \"ü\"\neal = [\"äöü\", 1]\n";
    let mistakes = read(text).unwrap_err();
    let last = mistakes.last().unwrap();
    assert_eq!((last.line, last.column), (3, 15));
}

#[test]
fn all_mistakes_of_all_tables_are_found_at_once() {
    errors(
        &[
            (
                "side = \"protected\"\naddresses = [\"10.1.0.1/24\"]",
                "side = ^\"inside\"\naddresses = [\"10.1.0.1/24\"]",
            ),
            ("mtu = 1500", "mtu = ^60"),
            ("id = 10", "id = ^4095"),
            (
                "destination = \"10.2.0.0/24\"",
                "destination = ^\"10.2.0.9/24\"",
            ),
            ("mac = \"02:00:00:00:00:02\"", "mac = ^\"02:00\""),
            ("spi = 0x1001", "spi = ^0"),
            (
                "key = \"000102030405060708090a0b0c0d0e0f10111213\"",
                "key = ^\"00\"",
            ),
            ("name = \"a-to-b\"", "^nmae = \"a-to-b\""),
            ("[[spd]]", "^[[spd]]"),
            ("outbound = \"out\"", "outbound = ^\"outt\""),
        ],
        &[
            "expected one of protected, unprotected; got `inside`",
            "expected an integer from 68 to 65535; got 60",
            "expected an integer from 1 to 4094; got 4095",
            "expected 10.2.0.0/24 or 10.2.0.9/32; got 10.2.0.9/24",
            "expected a MAC address such as 02:00:00:00:00:01; got `02:00`",
            "expected 256 or more; 0 to 255 are reserved (RFC 4303 2.1); got 0",
            "expected 20 bytes (40 hex digits) for aes128-gcm16: 16 byte key and 4 byte salt; got 1 byte (2 hex digits)",
            "missing key `name` in [[spd]]",
            "unknown key `nmae` in [[spd]]; did you mean `name`?",
            "there is no SA `outt`; did you mean `out`?",
        ],
    );
}
