//! SPD entries: selectors, actions, and entries that never match.

use portcullis_config::{Action, AddressRange, Bundle, PortRange, UpperLayer};

use crate::{END, edited, error, errors, expect_fine, read, warning};

const LOCAL: &str = "local = \"10.1.0.0/24\"";
const REMOTE: &str = "remote = \"10.2.0.0/24\"";

fn local(new: &str, message: &str) {
    error(&[(LOCAL, &format!("local = {new}"))], message);
}

fn upper(lines: &str, message: &str) {
    error(&[(LOCAL, &format!("{LOCAL}\n{lines}"))], message);
}

fn entry(lines: &str) -> String {
    format!("{END}[[spd]]\n{lines}\n")
}

#[test]
fn address_ranges() {
    let range = "expected a prefix, an address or a range of addresses such as 10.1.1.5-10.1.1.9";
    local("^\"10.1.0.0-\"", &format!("{range}; got `10.1.0.0-`"));
    local("^\"any\"", &format!("{range}; got `any`"));
    local(
        "^\"10.1.0.9-10.1.0.5\"",
        "expected the lower end first; got 10.1.0.9 before 10.1.0.5",
    );
    local(
        "^\"10.1.0.9-2001:db8::1\"",
        "expected both ends of one family; got 10.1.0.9 and 2001:db8::1",
    );
    local(
        "[\"10.1.0.0/24\", ^\"10.3.0.1/24\"]",
        "expected 10.3.0.0/24 or 10.3.0.1/32; got 10.3.0.1/24",
    );
    local("^[]", "expected at least one; leave the key out for any");
}

#[test]
fn families() {
    error(
        &[(REMOTE, "remote = ^\"2001:db8:2::/48\"")],
        "expected IPv4 addresses, as in `local`: a packet has one family",
    );
    warning(
        &[(REMOTE, "remote = ^[\"10.2.0.0/24\", \"2001:db8:2::/48\"]")],
        "its IPv6 addresses match nothing: the other side has none",
    );
    upper(
        "protocol = ^\"icmpv6\"",
        "expected icmp, since the addresses are IPv4",
    );
    error(
        &[
            (LOCAL, "local = \"fd00:1::/64\"\nprotocol = ^1"),
            (REMOTE, "remote = \"fd00:2::/64\""),
        ],
        "expected icmpv6, since the addresses are IPv6",
    );
}

#[test]
fn protocols_and_ports() {
    upper(
        "protocol = ^256",
        "expected an integer from 0 to 255; got 256",
    );
    let mistakes = read(&edited(&[(LOCAL, "protocol = \"tpc\"")])).unwrap_err();
    assert!(
        mistakes[0]
            .message
            .ends_with("got `tpc`; did you mean `tcp`?"),
        "{mistakes:?}"
    );
    let port = "expected a port from 0 to 65535, or a range such as \"0-65535\"";
    upper(
        "protocol = \"tcp\"\nlocal-port = ^65536",
        &format!("{port}; got `65536`"),
    );
    upper(
        "protocol = \"tcp\"\nlocal-port = [80, ^\"https\"]",
        &format!("{port}; got `https`"),
    );
    upper(
        "protocol = \"tcp\"\nremote-port = ^\"90-80\"",
        "expected the lower end first; got 90 before 80",
    );
    upper(
        "protocol = \"tcp\"\nremote-port = ^[]",
        "expected at least one; leave the key out for any",
    );
    let only = "expected only with protocol tcp, udp, dccp or sctp";
    upper("local-port = ^80", only);
    upper("protocol = \"gre\"\nremote-port = ^80", only);
}

#[test]
fn icmp() {
    let only = "expected only with protocol icmp or icmpv6";
    upper("protocol = \"tcp\"\nicmp-type = ^8", only);
    errors(&[(LOCAL, "icmp-type = ^8\nicmp-code = ^0")], &[only, only]);
    upper(
        "protocol = \"icmp\"\nicmp-code = ^0",
        "expected `icmp-type` with it (RFC 4301 4.4.1.1)",
    );
    let integer = "expected an integer from 0 to 255, or a range such as \"0-255\"";
    upper(
        "protocol = \"icmp\"\nicmp-type = ^256",
        &format!("{integer}; got `256`"),
    );
    upper(
        "protocol = \"icmp\"\nicmp-type = ^\"8-3\"",
        "expected the lower end first; got 8 before 3",
    );
}

#[test]
fn selectors_are_read_as_written() {
    let lines = "local = [\"10.1.0.0/24\", \"10.3.0.5-10.3.0.9\"]\nprotocol = \"udp\"\nlocal-port = [53, \"1000-1999\"]";
    let policy = read(&edited(&[(LOCAL, lines)])).unwrap().policy;
    let range = |start: &str, end: &str| AddressRange {
        start: start.parse().unwrap(),
        end: end.parse().unwrap(),
    };
    let selector = &policy.spd[0].selector;
    assert_eq!(
        selector.local,
        [
            range("10.1.0.0", "10.1.0.255"),
            range("10.3.0.5", "10.3.0.9")
        ]
    );
    assert_eq!(selector.remote, [range("10.2.0.0", "10.2.0.255")]);
    let port = |start, end| PortRange { start, end };
    let ports = UpperLayer::Ports {
        protocol: 17,
        local: vec![port(53, 53), port(1000, 1999)],
        remote: vec![],
    };
    assert_eq!(selector.upper, ports);
    let protect = Action::Protect {
        outbound: Bundle::from_iter([0]),
        inbound: Bundle::from_iter([1]),
    };
    assert_eq!(policy.spd[0].action, protect);

    let icmp = |lines: &str| {
        let lines = format!("{LOCAL}\nprotocol = \"icmp\"\n{lines}");
        let policy = read(&edited(&[(LOCAL, &lines)])).unwrap().policy;
        policy.spd[0].selector.upper.clone()
    };
    assert_eq!(icmp(""), UpperLayer::Protocol(1));
    let (protocol, types) = (1, (3, 3));
    let codes = (0, 255);
    assert_eq!(
        icmp("icmp-type = 3"),
        UpperLayer::Icmp {
            protocol,
            types,
            codes
        }
    );
    let codes = (1, 4);
    assert_eq!(
        icmp("icmp-type = 3\nicmp-code = \"1-4\""),
        UpperLayer::Icmp {
            protocol,
            types,
            codes
        }
    );
}

#[test]
fn actions() {
    error(
        &[("action = \"protect\"", "action = ^\"pass\"")],
        "expected one of protect, bypass, discard; got `pass`; did you mean `bypass`?",
    );
    let only = "expected only with action \"protect\"";
    let sas = "outbound = \"out\"\ninbound = \"in\"\n";
    errors(
        &[
            ("action = \"protect\"", "action = \"bypass\""),
            (sas, "outbound = ^\"out\"\ninbound = ^\"in\"\n"),
        ],
        &[only, only],
    );
    error(
        &[("action = \"protect\"", "action = ^\"protect\""), (sas, "")],
        "expected `outbound` and `inbound` SAs with action \"protect\"",
    );
}

#[test]
fn entry_with_one_direction_only() {
    let found = |edit| {
        let warnings = read(&edited(&[edit])).unwrap().warnings;
        warnings.into_iter().map(|w| w.message).collect::<Vec<_>>()
    };
    let unused = "no SPD entry names this SA: nothing uses it";
    assert_eq!(
        found((END, "")),
        [unused, "no inbound SA: nothing from the peer is accepted"]
    );
    assert_eq!(
        found(("outbound = \"out\"\n", "")),
        [unused, "no outbound SA: packets to the peer are dropped"]
    );
}

#[test]
fn entry_behind_one_that_covers_it() {
    let never = "never matches: the entry in line 53 matches all its packets";
    for covered in [
        "local = \"10.1.0.0/24\"\nremote = \"10.2.0.0/24\"",
        "local = \"10.1.0.7\"\nremote = [\"10.2.0.0/25\", \"10.2.0.128/25\"]",
        "local = \"10.1.0.7\"\nremote = \"10.2.0.3-10.2.0.200\"\nprotocol = \"tcp\"\nlocal-port = 80",
        "local = \"10.1.0.7\"\nremote = \"10.2.0.3\"\nprotocol = \"icmp\"\nicmp-type = 8",
    ] {
        let lines = format!("name = ^\"x\"\naction = \"discard\"\n{covered}");
        warning(&[(END, &entry(&lines))], never);
    }
    for other in [
        "local = \"10.1.0.0/23\"\nremote = \"10.2.0.0/24\"",
        "remote = \"10.2.0.0/24\"",
        "local = [\"10.1.0.0/24\", \"fd00:1::/64\"]\nremote = [\"10.2.0.0/24\", \"fd00:2::/64\"]",
        "local = \"fd00:1::/64\"\nremote = \"fd00:2::/64\"",
    ] {
        let lines = format!("name = \"x\"\naction = \"discard\"\n{other}");
        assert_eq!(
            read(&edited(&[(END, &entry(&lines))])).unwrap().warnings,
            [],
            "{other}"
        );
    }
}

#[test]
fn entry_covered_in_its_next_layer() {
    let pairs = [
        (
            "protocol = \"tcp\"",
            "protocol = \"tcp\"\nremote-port = 80",
            true,
        ),
        (
            "protocol = \"tcp\"",
            "protocol = \"udp\"\nremote-port = 80",
            false,
        ),
        ("protocol = \"tcp\"", "", false),
        (
            "protocol = \"tcp\"\nremote-port = [\"1-79\", \"80-90\"]",
            "protocol = \"tcp\"\nremote-port = \"70-85\"",
            true,
        ),
        (
            "protocol = \"tcp\"\nremote-port = \"80-90\"",
            "protocol = \"tcp\"\nremote-port = \"70-85\"",
            false,
        ),
        (
            "protocol = \"tcp\"\nremote-port = 80",
            "protocol = \"tcp\"\nlocal-port = 80",
            false,
        ),
        (
            "protocol = \"tcp\"\nremote-port = 80",
            "protocol = \"tcp\"",
            false,
        ),
        (
            "protocol = \"icmp\"\nicmp-type = \"3-5\"",
            "protocol = \"icmp\"\nicmp-type = 4\nicmp-code = 1",
            true,
        ),
        (
            "protocol = \"icmp\"\nicmp-type = 4\nicmp-code = 1",
            "protocol = \"icmp\"\nicmp-type = 4",
            false,
        ),
    ];
    for (first, second, covered) in pairs {
        let lines = format!(
            "name = \"x\"\naction = \"bypass\"\n{first}\n[[spd]]\nname = \"y\"\naction = \"discard\"\n{second}"
        );
        let warnings = read(&edited(&[(END, &entry(&lines))])).unwrap().warnings;
        assert_eq!(
            warnings.len(),
            usize::from(covered),
            "{first} / {second}: {warnings:?}"
        );
    }
}

#[test]
fn lists_of_one_may_go_without_brackets() {
    let listed = edited(&[
        (LOCAL, "local = [\"10.1.0.0/24\"]"),
        (END, "inbound = [\"in\"]\n"),
    ]);
    assert_eq!(read(&listed), read(crate::BASE));
    expect_fine(&[(LOCAL, "protocol = 6\nlocal-port = \"80\"")]);
}
