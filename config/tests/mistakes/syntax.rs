//! Text that is not TOML, or TOML of the wrong type.

use crate::{END, error, errors, read};

#[test]
fn syntax_errors_are_all_reported() {
    let text = "[runtime]\nworkers = one\n[[port]]\nname = \"a\nside = \"unprotected\"\n";
    let mistakes = read(text).unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|m| (m.line, m.column)).collect();
    assert_eq!(places, [(2, 11), (4, 10)]);
    assert_eq!(
        mistakes[0].message,
        "string values must be quoted, expected literal string"
    );
}

#[test]
fn wrong_values_are_reported_beside_syntax_errors_but_nothing_that_may_follow_from_them() {
    let text = "[[sa]]\nname = \"x\nspi = 12\n[[spd]]\nname = \"y\"\naction = \"protct\"\n";
    let mistakes = read(text).unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "policy.toml:2:10: error: invalid basic string, expected `\"`",
            "policy.toml:3:7: error: expected 256 or more; 0 to 255 are reserved (RFC 4303 2.1); got 12",
            "policy.toml:6:10: error: expected one of protect, bypass, discard; got `protct`; did you mean `protect`?",
        ]
    );
}

#[test]
fn key_given_twice() {
    error(
        &[("mtu = 1500", "mtu = 1500\n^mtu = 1400")],
        "duplicate key",
    );
}

#[test]
fn unknown_keys_and_tables() {
    error(
        &[("mtu = 1500", "mtu = 1500\n^mut = 1")],
        "unknown key `mut` in [[port]]; did you mean `mtu`?",
    );
    error(
        &[("mtu = 1500", "mtu = 1500\n^colour = 1")],
        "unknown key `colour` in [[port]]",
    );
    error(
        &[(END, &format!("{END}[[^ports]]\nname = \"x\"\n"))],
        "unknown key `ports` in the policy file; did you mean `port`?",
    );
    error(
        &[(
            "spi = 0x1001",
            "spi = 0x1001\nhard-lifetime = { ^second = 5 }",
        )],
        "unknown key `second` in soft-lifetime, hard-lifetime; did you mean `seconds`?",
    );
}

#[test]
fn a_name_that_does_not_belong_there_still_names() {
    errors(
        &[(
            "[[route]]\ndestination = \"10.2.0.0/24\"",
            "^[[route]]\n^name = \"branch\"",
        )],
        &[
            "missing key `destination` in [[route]] `branch`",
            "unknown key `name` in [[route]]",
        ],
    );
}

#[test]
fn tables_that_only_another_table_implies() {
    error(
        &[(END, &format!("{END}[runtime.^more]\nx = 1\n"))],
        "unknown key `more` in [runtime]",
    );
    error(
        &[(END, &format!("{END}[[spd]]\nname = \"x\"\n^action.x = 1\n"))],
        "expected a string; got a table",
    );
}

#[test]
fn wrong_types() {
    errors(
        &[
            ("name = \"lan\"", "name = ^5"),
            ("mtu = 1500", "mtu = ^\"1500\""),
            ("id = 10", "id = ^10.0"),
            (
                "spi = 0x1001",
                "spi = 0x1001\nesn = ^\"yes\"\nhard-lifetime = ^5",
            ),
            ("local = \"10.1.0.0/24\"", "local = [^{}, ^true]"),
        ],
        &[
            "expected a string; got an integer",
            "expected an integer; got a string",
            "expected an integer; got a float",
            "expected true or false; got a string",
            "expected a table; got an integer",
            "expected a string; got a table",
            "expected a string; got a boolean",
        ],
    );
}

#[test]
fn table_instead_of_array_of_tables() {
    let mistakes = read("[sa]\nname = \"x\"\n").unwrap_err();
    let error = mistakes
        .iter()
        .find(|m| m.message.contains("array"))
        .unwrap();
    assert_eq!(
        error.to_string(),
        "policy.toml:1:1: error: expected an array of tables, each [[sa]]; got a table"
    );
}

#[test]
fn strings_that_are_empty_or_hold_control_characters() {
    error(
        &[("device = \"net_tap0,iface=lan0\"", "device = ^\"\"")],
        "expected a string that is not empty",
    );
    error(
        &[(
            "device = \"net_tap0,iface=lan0\"",
            "device = ^\"net\\u0000tap\"",
        )],
        "expected a string without control characters",
    );
    error(
        &[("device = \"net_tap0,iface=lan0\"", "device = ^\"net tap\"")],
        "expected a device without white space, such as 0000:01:00.0 or net_tap0,iface=tap0",
    );
}

#[test]
fn names_are_unique_and_short() {
    error(
        &[("name = \"dmz\"", "name = ^\"lan\"")],
        "the name `lan` is taken in line 2",
    );
    error(
        &[("name = \"in\"\n", "name = ^\"out\"\n"), (END, "")],
        "the name `out` is taken in line 29",
    );
    error(
        &[(
            END,
            &format!("{END}[[spd]]\nname = ^\"a-to-b\"\naction = \"discard\"\n"),
        )],
        "the name `a-to-b` is taken in line 53",
    );
    error(
        &[("name = \"dmz\"", "name = ^\"d m z\"")],
        "expected a name of at most 64 bytes without white space",
    );
}

#[test]
fn runtime() {
    let runtime = |line: &str, message: &str| {
        error(
            &[(
                "[[port]]\nname = \"lan\"",
                &format!("[runtime]\n{line}\n[[port]]\nname = \"lan\""),
            )],
            message,
        );
    };
    runtime("workers = ^0", "expected an integer from 1 to 1024; got 0");
    runtime(
        "workers = ^-1",
        "expected an integer from 1 to 1024; got -1",
    );
    runtime(
        "mbufs = ^0xffff_ffff_ffff",
        "expected an integer from 256 to 16777215; got 0xffffffffffff",
    );
    runtime(
        "mbuf-size = ^100",
        "expected an integer from 128 to 65407; got 100",
    );
    runtime(
        "workers = 2\ncores = ^[1]",
        "expected 2 cores, one for each worker; got 1",
    );
    runtime("cores = [1, ^1]", "core 1 is given twice");
    runtime(
        "engines = [\"vaes\", ^\"ipsecmb\"]",
        "expected one of vaes, ipsec-mb, portable, cryptodev, inline-crypto; got `ipsecmb`; did you mean `ipsec-mb`?",
    );
    runtime(
        "engines = [\"portable\", \"vaes\", ^\"portable\"]",
        "expected each engine once; portable is given twice",
    );
    runtime("engines = ^[]", "expected at least one engine");
    runtime("engines = [^1]", "expected a string; got an integer");
    runtime(
        "engines = ^[\"cryptodev\", \"portable\"]",
        "cryptodev needs a device in crypto-devices",
    );
    runtime(
        "engines = ^[\"portable\", \"inline-crypto\"]",
        "inline-crypto needs an engine after it: the first packets of an SA are that one's",
    );
    let devices = "engines = [\"cryptodev\"]\ncrypto-devices";
    runtime(
        &format!("{devices} = [\"crypto_null\", ^\"crypto_null\"]"),
        "device \"crypto_null\" is given twice",
    );
    let path = "x".repeat(108);
    runtime(
        &format!("control-socket = ^\"{path}\""),
        "expected a path of at most 107 bytes; got 108",
    );
}
