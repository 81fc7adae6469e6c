//! The reference is what the code says, and what the reference says is true.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which may

use std::path::Path;

use portcullis_config::reference::{Presence, ROOT, TABLES, Table, reference};
use portcullis_config::{Policy, parse};

// A policy with every table in it; each test changes one line.
const PORT: &str = "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\nside = \"unprotected\"\n\
                    addresses = [\"192.0.2.1/24\"]\n";
const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:9469\"\n";
const VLAN: &str = "[[port.vlan]]\nname = \"lan\"\nid = 10\nside = \"protected\"\n";
const ROUTE: &str =
    "[[route]]\ndestination = \"10.2.0.0/24\"\nvia = \"192.0.2.2\"\nport = \"wan\"\n";
const NEIGHBOR: &str = "[[neighbor]]\naddress = \"192.0.2.2\"\nmac = \"02:00:00:00:00:02\"\n";
const SA: &str = "[[sa]]\nname = \"from-b\"\ndirection = \"inbound\"\nprotocol = \"esp\"\nspi = 0x1001\n\
                  mode = \"tunnel\"\nsource = \"192.0.2.2\"\ndestination = \"192.0.2.1\"\n\
                  encryption = \"aes128-cbc\"\n\
                  key = \"000102030405060708090a0b0c0d0e0f\"\nintegrity = \"hmac-md5-96\"\n\
                  integrity-key = \"000102030405060708090a0b0c0d0e0f\"\n";
const POOL: &str = "[[pool]]\nname = \"warriors\"\naddresses = \"10.4.0.0/28\"\n";
const CONNECTION: &str = "[[connection]]\nname = \"b\"\nremote = \"192.0.2.2\"\n\
                          psk = \"correct horse battery staple\"\n";
const CHILD: &str = "[[connection.child]]\nname = \"lans\"\n";
const NEGOTIATE: &str = "[[spd]]\nname = \"c-to-d\"\nlocal = \"10.3.0.0/24\"\nremote = \"10.4.0.0/24\"\n\
                         action = \"protect\"\nconnection = \"b\"\nchild = \"lans\"\n";
const STORE: &str = "[store]\npath = \"policy.d\"\n";
const SPD: &str = "[[spd]]\nname = \"a-to-b\"\naction = \"protect\"\ninbound = \"from-b\"\n";

const POLICY: &str = "[policy]\nmanagement = [{ remote = \"192.0.2.0/24\" }]\n";
const FILTER_LIST: &str = "[[filter-list]]\nname = \"f\"\n";
const FILTER: &str =
    "[[filter-list.filter]]\nsource = \"10.5.0.0/24\"\ndestination = \"10.6.0.0/24\"\n";
const FILTER_ACTION: &str = "[[filter-action]]\nname = \"n\"\naction = \"negotiate\"\n";
const RULE: &str = "[[rule]]\nname = \"r\"\nfilter-list = \"f\"\nfilter-action = \"n\"\n\
                    authentication = [{ psk = \"correct horse battery staple\" }]\n\
                    tunnel-endpoint = \"192.0.2.7\"\n";
const DEFAULT_RESPONSE: &str = "[default-response]\n\
                                authentication = [{ psk = \"correct horse battery staple\" }]\n";

/// Keys that go with `certificate` only.
const WITH_CERTIFICATE: [&str; 6] = [
    "further-certificates",
    "private-key-file",
    "roots",
    "crls",
    "revocation",
    "name-roots",
];

/// The base policy with `line` in place of the line for `key` in the table, or added to it.
fn with(table: &Table, key: &str, line: &str) -> String {
    let in_place = format!("{{ {line} }}");
    // Tables that are written in place: where, and under which key.
    let (home, key, line) = match table.header {
        "udp-encapsulation" => ("[[sa]]", table.header, in_place),
        "soft-lifetime, hard-lifetime" => ("[[sa]]", "hard-lifetime", in_place),
        "dpd" | "xauth" => (
            "[[connection]]",
            table.header,
            in_place.replace("{ ", &others(table, key)),
        ),
        "proposals of [[connection]]" => (
            "[[connection]]",
            "proposals",
            in_place.replace("{ ", &others(table, key)),
        ),
        "proposals of [[connection.child]]" => (
            "[[connection.child]]",
            "proposals",
            in_place.replace("{ ", &others(table, key)),
        ),
        "scopes" => ("[store]", "scopes", in_place),
        "management" => (
            "[policy]",
            "management",
            in_place.replace("{ ", &others(table, key)),
        ),
        "authentication" => {
            let psk = "{ psk = \"correct horse battery staple\", ";
            let alone = key.starts_with("psk") || key == "certificate";
            let line = in_place.replace("{ ", if alone { "{ " } else { psk });
            let certificate = "{ certificate = \"absent.crt\", ";
            let certified = WITH_CERTIFICATE.contains(&key);
            let line = if certified {
                in_place.replace("{ ", certificate)
            } else {
                line
            };
            ("[[rule]]", "authentication", line)
        }
        header => (header, key, line.to_owned()),
    };
    let line = match home == table.header {
        true => line,
        false => format!("{key} = {line}"),
    };
    let line = match WITH_CERTIFICATE.contains(&key) {
        true => format!("certificate = \"absent.crt\"\n{line}"),
        false => line,
    };
    let line = match key {
        "mode-config" => format!("pool = \"warriors\"\n{line}"),
        _ => line,
    };
    let bases = [
        POLICY,
        "[ike]\n",
        DEFAULT_RESPONSE,
        "[runtime]\n",
        STORE,
        METRICS,
        PORT,
        VLAN,
        ROUTE,
        NEIGHBOR,
        POOL,
        CONNECTION,
        CHILD,
        NEGOTIATE,
        SA,
        SPD,
        FILTER_LIST,
        FILTER,
        FILTER_ACTION,
        RULE,
    ];
    let mut policy = String::new();
    let mut done = false;
    for base in bases {
        let (header, keys) = base.split_once('\n').unwrap();
        policy += &format!("{header}\n");
        if key == "clear-text" && header == "[policy]" {
            policy += "profile = \"ws2003\"\n"; // there alone
        }
        let names_connection =
            ["connection", "child", "clear-text"].contains(&key) && header == "[[spd]]";
        let here = header == home && !done && (!names_connection || base == NEGOTIATE);
        let here = here && (header != "[[spd]]" || base == SPD || names_connection);
        done |= here;
        let twin = key.trim_end_matches("-file"); // a key and its file stand for each other
        let certified = key == "certificate" || WITH_CERTIFICATE.contains(&key);
        let twin = if certified { "psk" } else { twin };
        for old in keys.lines() {
            let replaced = [key, twin]
                .iter()
                .any(|k| old.starts_with(&format!("{k} = ")));
            if !(here && replaced) {
                policy += &format!("{old}\n");
            }
        }
        if here {
            policy += &format!("{line}\n");
        }
    }
    policy
}

/// The beginning of a table that is written in place, with the keys that it needs beside `key`.
fn others(table: &Table, key: &str) -> String {
    let needed = table.keys.iter().filter(|other| {
        let needed = matches!(other.presence, Presence::Required);
        let esp = table.header.contains("child") && ["ah", "esn", "frobnicate"].contains(&key);
        other.name != key && (needed || esp && other.name == "encryption")
    });
    let needed: String = needed
        .map(|k| format!("{} = {}, ", k.name, k.example))
        .collect();
    let client = ["user", "password-file"].contains(&key);
    let needed = match client {
        true => needed.replace("\"server\"", "\"client\""),
        false => needed,
    };
    format!("{{ {needed}")
}

fn load(text: &str) -> Result<Policy, Vec<String>> {
    let loaded = parse(text, Path::new("p.toml"), Path::new("/nonexistent"));
    loaded
        .map(|l| l.policy)
        .map_err(|m| m.iter().map(ToString::to_string).collect())
}

#[test]
fn reference_file_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    let advice = "run: UPDATE_REFERENCE=1 cargo test -p portcullis-config --test reference";
    assert!(
        file == reference(),
        "config/REFERENCE.md is not up to date; {advice}"
    );
}

#[test]
fn every_listed_key_is_read() {
    for table in TABLES {
        for key in table
            .keys
            .iter()
            .filter(|k| !["vlan", "filter"].contains(&k.name))
        {
            // No key holds a date, so that whoever reads the key must refuse it.
            let text = with(table, key.name, &format!("{} = 1979-05-27", key.name));
            let mistakes = load(&text).expect_err(key.name);
            let refused = mistakes.iter().any(|m| m.contains("got a date"));
            assert!(refused, "{} {}: {mistakes:?}", table.header, key.name);
        }
    }
    for key in ROOT.keys {
        let mistakes = load(&format!("{} = 1979-05-27", key.name)).expect_err(key.name);
        assert!(
            mistakes.iter().any(|m| m.contains("got a date")),
            "{}: {mistakes:?}",
            key.name
        );
    }
}

#[test]
fn keys_are_listed_once() {
    for table in TABLES {
        let mut names: Vec<_> = table.keys.iter().map(|key| key.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{}", table.header);
    }
}

#[test]
fn key_that_is_not_listed_is_refused() {
    for table in TABLES {
        let mistakes = load(&with(table, "frobnicate", "frobnicate = 1")).expect_err(table.header);
        let expected = format!("unknown key `frobnicate` in {}", table.header);
        assert!(
            mistakes.iter().any(|m| m.ends_with(&expected)),
            "{mistakes:?}"
        );
    }
}

#[test]
fn required_keys_are_required_and_no_others() {
    for table in TABLES {
        for key in table.keys {
            let text = with(table, key.name, "");
            let missing = format!("missing key `{}` in {}", key.name, table.header);
            let missed = load(&text).err().unwrap_or_default();
            let missed = missed.iter().any(|m| m.contains(&missing));
            let conditional = [
                "encryption",
                "integrity",
                "port",
                "private-key-file",
                "authentication",
                "users-file",
                "user",
                "password-file",
            ]
            .contains(&key.name);
            let required = matches!(key.presence, Presence::Required);
            assert!(
                missed == required || conditional,
                "{} {}",
                table.header,
                key.name
            );
        }
    }
}

#[test]
fn defaults_are_what_leaving_out_means() {
    for table in TABLES {
        for key in table.keys {
            if let Presence::Default(value) = key.presence {
                let mut lines = [String::new(), format!("{} = {value}", key.name)];
                if (table.header, key.name) == ("[[port]]", "addresses") {
                    continue; // the rest of the base policy needs the port's address
                }
                if WITH_CERTIFICATE.contains(&key.name) {
                    continue; // certificates are files: see the tests of mistakes
                }
                if table.header == "xauth" {
                    continue; // users are a file, too
                }
                if ["df", "dscp"].contains(&key.name) {
                    continue; // outbound only: see the test below
                }
                if table.header == "udp-encapsulation" {
                    let other = ["source-port", "destination-port"]
                        .into_iter()
                        .find(|k| *k != key.name);
                    let other = format!("{} = 7", other.unwrap());
                    lines = [other.clone(), format!("{other}, {}", lines[1])];
                }
                let [without, given] = lines.map(|line| load(&with(table, key.name, &line)));
                assert_eq!(
                    without.unwrap(),
                    given.unwrap(),
                    "{} {}",
                    table.header,
                    key.name
                );
            }
        }
    }
}

#[test]
fn outer_header_is_copied_by_default() {
    let outbound = |line: &str| {
        let sa = SA
            .replace("inbound", "outbound")
            .replace("source = \"192.0.2.2\"", "source = \"192.0.2.1\"")
            .replace("destination = \"192.0.2.1\"", "destination = \"192.0.2.2\"");
        load(&format!("{PORT}{sa}{line}\n")).unwrap()
    };
    assert_eq!(outbound(""), outbound("df = \"copy\""));
    assert_eq!(outbound(""), outbound("dscp = \"copy\""));
    assert_ne!(outbound(""), outbound("df = \"set\""));
    assert_ne!(outbound(""), outbound("dscp = 46"));
}

#[test]
fn examples_of_the_reference_are_of_the_right_type() {
    for table in TABLES {
        for key in table
            .keys
            .iter()
            .filter(|k| !["vlan", "filter"].contains(&k.name))
        {
            let text = with(table, key.name, &format!("{} = {}", key.name, key.example));
            let Err(mistakes) = load(&text) else { continue };
            // Alone in another table an example may not fit the rest; its type and form must.
            let wrong = |m: &&String| {
                m.contains("; got a") || m.contains("expected one of") || m.contains("such as")
            };
            assert_eq!(
                mistakes.iter().find(wrong),
                None,
                "{} {}",
                table.header,
                key.name
            );
        }
    }
}
