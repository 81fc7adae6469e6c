//! SAs, alone, against each other and in bundles.

use portcullis_config::{Integrity, Limits, Transform};

use crate::{BASE, END, edited, error, errors, expect_fine, read, warning};

const GCM: &str = "encryption = \"aes128-gcm16\"";
const GCM_KEY: &str = "key = \"000102030405060708090a0b0c0d0e0f10111213\"";
const CBC: &str = "encryption = \"aes256-cbc\"";
const CBC_KEY: &str = "key = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"";
const HMAC: &str = "integrity = \"hmac-sha2-256-128\"";
const HMAC_KEY: &str =
    "integrity-key = \"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\"";
const OUT: &str = "name = \"out\"\n";
const IN: &str = "name = \"in\"\n";

/// The outbound SA with more lines.
fn out(lines: &str, message: &str) {
    error(&[(OUT, &format!("{OUT}{lines}\n"))], message);
}

/// The inbound SA with more lines.
fn inbound(lines: &str, message: &str) {
    error(&[(IN, &format!("{IN}{lines}\n"))], message);
}

#[test]
fn key_lengths() {
    // Keying material lengths restated from RFC 4106 8.1, 4309 7.1, 7634 4, 3602 5, 3686 5.1, 2451 2.2, 2405.
    let cases = [
        ("aes128-gcm16", 20, "16 byte key and 4 byte salt"),
        ("aes192-gcm12", 28, "24 byte key and 4 byte salt"),
        ("aes256-gcm8", 36, "32 byte key and 4 byte salt"),
        ("aes128-gmac", 20, "16 byte key and 4 byte salt"),
        ("chacha20-poly1305", 36, "32 byte key and 4 byte salt"),
        ("aes128-ccm16", 19, "16 byte key and 3 byte salt"),
        ("aes256-ccm8", 35, "32 byte key and 3 byte salt"),
    ];
    for (cipher, length, parts) in cases {
        let given = length - 4;
        let (encryption, key) = (
            format!("encryption = \"{cipher}\""),
            format!("key = ^\"{}\"", "ab".repeat(given)),
        );
        let message = format!(
            "expected {length} bytes ({} hex digits) for {cipher}: {parts}; got {given} bytes ({} hex digits)",
            length * 2,
            given * 2
        );
        error(&[(GCM, &encryption), (GCM_KEY, &key)], &message);
    }
    for (cipher, length) in [
        ("aes192-cbc", 24),
        ("aes128-ctr", 20),
        ("3des-cbc", 24),
        ("des-cbc", 8),
    ] {
        let (encryption, key) = (
            format!("encryption = \"{cipher}\""),
            format!("key = ^\"{}\"", "ab".repeat(length + 1)),
        );
        let mistakes = read(&edited(&[
            (CBC, &encryption),
            (CBC_KEY, &key.replace('^', "")),
        ]))
        .unwrap_err();
        let expected = format!(
            "expected {length} bytes ({} hex digits) for {cipher}",
            length * 2
        );
        assert!(
            mistakes.iter().any(|m| m.message.starts_with(&expected)),
            "{mistakes:?}"
        );
    }
    // RFC 2403 2, 2404 3, 4868 2.1, 3566 4, 4494 2.
    for (name, length) in [
        ("hmac-md5-96", 16),
        ("hmac-sha1-96", 20),
        ("hmac-sha2-384-192", 48),
        ("hmac-sha2-512-256", 64),
        ("aes-xcbc-96", 16),
        ("aes-cmac-96", 16),
    ] {
        let message = format!(
            "expected {length} bytes ({} hex digits) for {name}; got 1 and a half bytes (3 hex digits)",
            length * 2
        );
        let integrity = format!("integrity = \"{name}\"");
        error(
            &[(HMAC, &integrity), (HMAC_KEY, "integrity-key = ^\"abc\"")],
            &message,
        );
    }
}

#[test]
fn key_that_is_not_hex() {
    error(
        &[(
            GCM_KEY,
            "key = ^\"0001020304x5060708090a0b0c0d0e0f10111213\"",
        )],
        "expected hex digits only; character 11 of the key is not one",
    );
    expect_fine(&[(
        GCM_KEY,
        "key = \"0x000102030405060708090A0B0C0D0E0F10111213\"",
    )]);
}

#[test]
fn messages_do_not_show_keys() {
    let key = "000102030405060708090a0b0c0d0e0f10111213";
    let edits: [&[(&str, &str)]; 6] = [
        &[(GCM, "encryption = \"aes256-gcm16\"")],
        &[(GCM, &format!("encryption = \"{key}\""))],
        &[(OUT, &format!("{OUT}integrity = \"{key}\"\n"))],
        &[(OUT, &format!("name = \"{key}\"\nname = \"{key}\"\n"))],
        &[("outbound = \"out\"", &format!("outbound = \"{key}\""))],
        &[(
            "key = \"000102030405060708090a0b0c0d0e0f10111213\"",
            &format!("key = \"{key}\n"),
        )],
    ];
    for edit in edits {
        let mistakes = read(&edited(edit)).unwrap_err();
        assert!(
            mistakes.iter().all(|m| !m.message.contains("01020304")),
            "{mistakes:?}"
        );
    }
    let policy = read(BASE).unwrap().policy;
    assert!(!format!("{policy:?}").contains("1, 2, 3"));
}

#[test]
fn missing_and_unwanted_keys() {
    errors(
        &[("[[sa]] # out", "^[[sa]] # out"), (GCM_KEY, "")],
        &[
            "missing `key` or `key-file`: expected 20 bytes (40 hex digits) for aes128-gcm16: 16 byte key and 4 byte salt",
        ],
    );
    errors(
        &[("[[sa]] # in", "^[[sa]] # in"), (HMAC_KEY, "")],
        &[
            "missing `integrity-key` or `integrity-key-file`: expected 32 bytes (64 hex digits) for hmac-sha2-256-128",
        ],
    );
    out(
        "integrity-key = ^\"00\"",
        "expected no key: there is no `integrity` to use it",
    );
    error(
        &[(CBC, "encryption = \"null\""), (CBC_KEY, "key = ^\"00\"")],
        "expected no key: null encryption takes none",
    );
}

#[test]
fn algorithms_that_do_not_go_together() {
    error(
        &[(
            GCM_KEY,
            &format!(
                "{GCM_KEY}\nintegrity = ^\"hmac-sha1-96\"\nintegrity-key = \"{}\"",
                "ab".repeat(20)
            ),
        )],
        "expected no `integrity`: aes128-gcm16 authenticates by itself",
    );
    error(
        &[
            (CBC, "encryption = ^\"aes256-cbc\""),
            (HMAC, ""),
            (HMAC_KEY, ""),
        ],
        "expected `integrity` with aes256-cbc: encryption without authentication is not effective (RFC 8221 4)",
    );
    error(
        &[
            (CBC, "encryption = ^\"null\""),
            (CBC_KEY, ""),
            (HMAC, ""),
            (HMAC_KEY, ""),
        ],
        "expected `integrity` with null encryption: not both may be null (RFC 4303 5)",
    );
    error(
        &[
            (HMAC, "integrity = ^\"aes256-gmac\""),
            (
                HMAC_KEY,
                &format!("integrity-key = \"{}\"", "ab".repeat(36)),
            ),
        ],
        "expected this as `encryption`: in ESP, GMAC is a combined-mode algorithm (RFC 4543 3)",
    );
    let mistakes = read(&edited(&[(GCM, "encryption = \"aes128-gcm\"")])).unwrap_err();
    assert!(
        mistakes[0].message.contains("did you mean `aes128-gcm16`?")
            || mistakes[0].message.contains("did you mean `aes128-gcm8`?"),
        "{mistakes:?}"
    );
}

#[test]
fn legacy_algorithms_are_warned_of() {
    let key = |n: usize| format!("key = \"{}\"", "ab".repeat(n));
    warning(
        &[(CBC, "encryption = ^\"des-cbc\""), (CBC_KEY, &key(8))],
        "des-cbc: RFC 8221 5 says MUST NOT: its 56 bit key is searched in hours",
    );
    warning(
        &[(CBC, "encryption = ^\"3des-cbc\""), (CBC_KEY, &key(24))],
        "3des-cbc: RFC 8221 5 says SHOULD NOT: slow, and its 8 byte block leaks",
    );
    warning(
        &[(CBC, "encryption = ^\"null\""), (CBC_KEY, "")],
        "null: nothing is encrypted: packets travel in clear",
    );
    warning(
        &[
            (HMAC, "integrity = ^\"hmac-md5-96\""),
            (HMAC_KEY, &format!("integrity-{}", key(16))),
        ],
        "hmac-md5-96: RFC 8221 6 says MUST NOT: MD5 is broken",
    );
}

#[test]
fn one_key_for_two_counter_mode_sas() {
    warning(
        &[
            (CBC, GCM),
            (CBC_KEY, &GCM_KEY.replace("= ", "= ^")),
            (HMAC, ""),
            (HMAC_KEY, ""),
        ],
        "the SA in line 29 has the same key: in a counter mode every nonce is used twice (RFC 4106 2)",
    );
}

/// The inbound SA as AH, with `line` in place of its encryption and key.
fn ah(line: &str) -> String {
    let inbound = "name = \"in\"\ndirection = \"inbound\"\nprotocol = ";
    let (esp, ah) = (format!("{inbound}\"esp\""), format!("{inbound}\"ah\""));
    edited(&[(&esp, &ah), (CBC, line), (CBC_KEY, "")])
}

#[test]
fn ah_takes_integrity_only() {
    for (line, message) in [
        (
            "encryption = \"null\"",
            "AH does not encrypt: expected `integrity` only",
        ),
        (
            "key = \"00\"",
            "AH does not encrypt: expected `integrity-key` only",
        ),
        (
            "udp-encapsulation = {}",
            "expected no UDP encapsulation: it is for ESP only (RFC 3948 1)",
        ),
    ] {
        let column = line.find("= ").unwrap() + 3;
        let mistakes = read(&ah(line)).unwrap_err();
        let found: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [format!("policy.toml:48:{column}: error: {message}")]
        );
    }
    let policy = read(&ah("")).unwrap().policy;
    assert_eq!(
        policy.sas[1].transform,
        Transform::Ah(Integrity::HmacSha2_256_128)
    );
}

#[test]
fn keys_under_other_names_are_not_shown() {
    let digits = "000102030405060708090a0b0c0d0e0f10111213";
    let parted = |part: &str| {
        let bytes = digits.as_bytes().chunks(2);
        let bytes: Vec<_> = bytes.map(|b| std::str::from_utf8(b).unwrap()).collect();
        bytes.join(part)
    };
    let texts = [
        digits.to_owned(),
        format!("0x{digits}"),
        parted(":"),
        parted("-"),
        parted(" "),
        format!("0x{}", parted("_")),
    ];
    let quoted = texts.iter().map(|text| format!("\"{text}\""));
    let bare = [format!("0x{digits}"), format!("0x{}", parted("_"))];
    for text in quoted.chain(bare) {
        for (old, name) in [(GCM, "encryption"), ("spi = 0x1001", "spi")] {
            let policy = edited(&[(old, &format!("{name} = {text}"))]);
            for mistake in read(&policy).unwrap_err() {
                assert!(!mistake.message.contains("0b0c"), "{mistake}");
                assert!(!mistake.message.contains("0b:"), "{mistake}");
                assert!(!mistake.message.contains("04"), "{mistake}");
            }
        }
    }
    // What is no key is told.
    let address = "2001:0db8:0000:0000:0000:0000:0000:0001";
    let policy = edited(&[(GCM, &format!("encryption = \"{address}\""))]);
    let mistakes = read(&policy).unwrap_err();
    assert!(mistakes.iter().any(|m| m.message.contains(address)));
}

#[test]
fn spi() {
    let reserved = "expected 256 or more; 0 to 255 are reserved (RFC 4303 2.1)";
    error(
        &[("spi = 0x1001", "spi = ^255")],
        &format!("{reserved}; got 255"),
    );
    error(
        &[("spi = 0x1001", "spi = ^0x1_0000_0000")],
        "expected an integer from 0 to 4294967295; got 0x100000000",
    );
    expect_fine(&[
        ("spi = 0x1001", "spi = 256"),
        ("spi = 0x2001", "spi = 0xffff_ffff"),
    ]);
}

#[test]
fn one_identity_for_two_sas() {
    let sa = |name: &str, direction: &str, source: &str, destination: &str, spi: &str| {
        format!(
            "{END}[[sa]]\nname = \"{name}\"\ndirection = \"{direction}\"\nprotocol = \"esp\"\nspi = {spi}\n\
             mode = \"tunnel\"\nsource = \"{source}\"\ndestination = \"{destination}\"\n{GCM}\nkey = \"{}\"\n",
            "ab".repeat(20)
        )
    };
    error(
        &[(
            END,
            &sa("in2", "inbound", "192.0.2.3", "192.0.2.1", "^0x2001"),
        )],
        "the inbound SA in line 40 has this SPI with the same destination and protocol",
    );
    error(
        &[(
            END,
            &sa("out2", "outbound", "192.0.2.1", "192.0.2.2", "^0x1001"),
        )],
        "the outbound SA in line 29 has this SPI with the same destination and protocol",
    );
    // The peer's numbers are not ours, and another peer may choose the same.
    expect_fine(&[(
        END,
        &sa("out2", "outbound", "192.0.2.1", "192.0.2.3", "0x1001"),
    )]);
    expect_fine(&[(
        END,
        &sa("in2", "inbound", "192.0.2.2", "192.0.2.1", "0x1001"),
    )]);
}

#[test]
fn endpoints() {
    let out = "source = \"192.0.2.1\"\ndestination = \"192.0.2.2\"";
    let inbound = "source = \"192.0.2.2\"\ndestination = \"192.0.2.1\"";
    error(
        &[(
            out,
            "source = \"192.0.2.1\"\ndestination = ^\"2001:db8::2\"",
        )],
        "expected an IPv4 address, as the source; got 2001:db8::2",
    );
    error(
        &[(out, "source = ^\"192.0.2.9\"\ndestination = \"192.0.2.2\"")],
        "expected an address of this gateway; no port has 192.0.2.9",
    );
    error(
        &[(out, "source = \"192.0.2.1\"\ndestination = ^\"10.1.0.1\"")],
        "expected the address of the peer; 10.1.0.1 is ours",
    );
    error(
        &[(
            inbound,
            "source = \"192.0.2.2\"\ndestination = ^\"192.0.2.9\"",
        )],
        "expected an address of this gateway; no port has 192.0.2.9",
    );
    error(
        &[(
            inbound,
            "source = ^\"239.1.1.1\"\ndestination = \"192.0.2.1\"",
        )],
        "expected the address of one host; got 239.1.1.1",
    );
}

#[test]
fn replay_window_and_esn() {
    let expected = "expected 0, or a power of two from 64 to 65536";
    for wrong in [1, 32, 63, 100, 65_535] {
        inbound(
            &format!("replay-window = ^{wrong}"),
            &format!("{expected}; got {wrong}"),
        );
    }
    inbound(
        "replay-window = ^131072",
        "expected an integer from 0 to 65536; got 131072",
    );
    inbound(
        "esn = true\nreplay-window = ^0",
        "expected a replay window, since `esn` needs one (RFC 4303 3.3.3)",
    );
    warning(
        &[(OUT, &format!("{OUT}replay-window = ^64\n"))],
        "not used: only an inbound SA has a replay window",
    );
    let window = |lines: &str| {
        let policy = read(&edited(&[(IN, &format!("{IN}{lines}\n"))]))
            .unwrap()
            .policy;
        assert_eq!(policy.sas[0].replay_window, None);
        policy.sas[1].replay_window
    };
    assert_eq!(window(""), Some(1024));
    assert_eq!(window("replay-window = 0"), None);
    assert_eq!(window("replay-window = 65536\nesn = true"), Some(65_536));
}

#[test]
fn outer_header() {
    let outbound = "expected only for an outbound SA: it is about the header that we write";
    inbound("df = ^\"set\"", outbound);
    inbound("dscp = ^7", outbound);
    out("df = ^\"on\"", "expected one of copy, set, clear; got `on`");
    out("dscp = ^64", "expected an integer from 0 to 63; got 64");
    out("dscp = ^\"ef\"", "expected one of copy; got `ef`");
}

#[test]
fn udp_encapsulation() {
    out(
        "udp-encapsulation = { source-port = ^0 }",
        "expected an integer from 1 to 65535; got 0",
    );
    let lines = format!("{OUT}udp-encapsulation = {{ destination-port = 31044 }}\n");
    let policy = read(&edited(&[(OUT, &lines)])).unwrap().policy;
    let udp = policy.sas[0].udp.unwrap();
    assert_eq!((udp.source_port, udp.destination_port), (4500, 31_044));
}

#[test]
fn lifetimes() {
    out(
        "hard-lifetime = { packets = ^0 }",
        "expected an integer from 1 to 9223372036854775807; got 0",
    );
    errors(
        &[(
            OUT,
            &format!(
                "{OUT}soft-lifetime = {{ seconds = 10, bytes = 5 }}\nhard-lifetime = {{ seconds = ^9, bytes = ^4 }}\n"
            ),
        )],
        &[
            "expected at least the soft limit, 10 seconds; got 9",
            "expected at least the soft limit, 5 bytes; got 4",
        ],
    );
    let lines =
        format!("{OUT}soft-lifetime = {{ seconds = 10 }}\nhard-lifetime = {{ packets = 7 }}\n");
    let policy = read(&edited(&[(OUT, &lines)])).unwrap().policy;
    let none = Limits::default();
    assert_eq!(
        policy.sas[0].lifetimes.soft(),
        Limits {
            seconds: Some(10),
            ..none
        }
    );
    assert_eq!(
        policy.sas[0].lifetimes.hard(),
        Limits {
            packets: Some(7),
            ..none
        }
    );
}

#[test]
fn sas_of_an_entry() {
    error(
        &[("outbound = \"out\"", "outbound = ^\"in\"")],
        "expected an outbound SA",
    );
    error(&[(END, "inbound = ^\"out\"\n")], "expected an inbound SA");
    errors(
        &[("outbound = \"out\"", "outbound = [^\"ou\", ^\"zzz\"]")],
        &[
            "there is no SA `ou`; did you mean `out`?",
            "there is no SA `zzz`",
        ],
    );
    let spare = format!(
        "{END}[[sa]]\nname = ^\"spare\"\ndirection = \"outbound\"\nprotocol = \"ah\"\nspi = 999\n\
        mode = \"tunnel\"\nsource = \"192.0.2.1\"\ndestination = \"192.0.2.2\"\n{HMAC}\n{HMAC_KEY}\n"
    );
    warning(
        &[(END, &spare)],
        "no SPD entry names this SA: nothing uses it",
    );
}

/// The end of the base policy, and an outbound AH SA behind it.
fn with_outbound_ah() -> String {
    format!(
        "{END}[[sa]]\nname = \"ah\"\ndirection = \"outbound\"\nprotocol = \"ah\"\nspi = 999\nmode = \"transport\"\n\
         source = \"192.0.2.1\"\ndestination = \"192.0.2.2\"\n{HMAC}\n{HMAC_KEY}\n"
    )
}

/// The base policy with that SA, of which `edit` changes a line, and a list of outbound SAs.
fn bundle(list: &str, edit: (&str, &str), message: Option<&str>) {
    let end = with_outbound_ah().replace(edit.0, edit.1);
    let list = format!("outbound = {list}");
    let edits = [("outbound = \"out\"", list.as_str()), (END, end.as_str())];
    match message {
        Some(message) => error(&edits, message),
        None => expect_fine(&edits),
    }
}

#[test]
fn bundles() {
    bundle("[\"out\", \"ah\"]", ("", ""), None);
    bundle(
        "^[\"ah\", \"out\"]",
        ("", ""),
        Some("expected ESP inside AH: first `out`, then `ah`"),
    );
    let one = Some("expected one SA, or one of ESP and then one of AH around it");
    bundle("^[\"out\", \"out\"]", ("", ""), one);
    bundle("^[\"ah\", \"ah\"]", ("", ""), one);
    bundle("^[\"out\", \"ah\", \"ah\"]", ("", ""), one);
    bundle(
        "^[\"out\", \"ah\"]",
        ("transport", "tunnel"),
        Some("expected transport mode for `ah`: only the innermost may be a tunnel"),
    );
    bundle(
        "^[\"out\", \"ah\"]",
        ("\"192.0.2.2\"", "\"192.0.2.3\""),
        Some("expected `ah` to go from 192.0.2.1 to 192.0.2.2, as `out` inside it"),
    );
}

#[test]
fn udp_encapsulation_inside_ah() {
    error(
        &[
            (OUT, &format!("{OUT}udp-encapsulation = {{}}\n")),
            ("outbound = \"out\"", "outbound = ^[\"out\", \"ah\"]"),
            (END, &with_outbound_ah()),
        ],
        "expected no UDP encapsulation in `out`: AH around it does not pass address translation",
    );
}

#[test]
fn modes_of_an_entry() {
    let transport = "spi = 0x1001\nmode = \"transport\"";
    let tunnel = "spi = 0x1001\nmode = \"tunnel\"";
    errors(
        &[
            (tunnel, transport),
            (END, "inbound = ^\"in\"\n"),
            ("local = \"10.1.0.0/24\"", ""),
            ("remote = \"10.2.0.0/24\"", ""),
        ],
        &["expected the mode of the outbound SA: an entry has one mode (RFC 4301 4.4.1.2)"],
    );
    let both = [
        (tunnel, transport),
        (
            "spi = 0x2001\nmode = \"tunnel\"",
            "spi = 0x2001\nmode = \"transport\"",
        ),
    ];
    let host = ("local = \"10.1.0.0/24\"", "local = \"192.0.2.1\"");
    let peer = ("remote = \"10.2.0.0/24\"", "remote = \"192.0.2.2\"");
    expect_fine(&[both[0], both[1], host, peer]);
    let mistakes = read(&edited(&[both[0], both[1], host])).unwrap_err();
    let messages: Vec<_> = mistakes.iter().map(|m| m.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "expected 192.0.2.2 in it: `out` is in transport mode with that address",
            "expected 192.0.2.2 in it: `in` is in transport mode with that address",
        ]
    );
    error(
        &[
            both[0],
            both[1],
            host,
            peer,
            (OUT, &format!("{OUT}df = ^\"set\"\n")),
        ],
        "expected only in tunnel mode: in transport mode the packet keeps its header",
    );
}
