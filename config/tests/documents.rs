//! A machine's own file, and the documents that its store brings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests, which may

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_config::{
    Action, Document, Loaded, Selector, StorePlace, load, load_store, load_with,
};

const MACHINE: &str = "\
[store]
path = \"policy.d\"
poll-interval = 7

[[port]]
name = \"wan\"
device = \"net_null0\"
side = \"unprotected\"
addresses = [\"192.0.2.1/24\"]

[[route]]
destination = \"10.2.0.0/24\"
via = \"192.0.2.2\"

[[spd]]
name = \"own\"
action = \"discard\"
";
const FIRST: &str = "\
[policy]
version = \"seven\"
poll-interval = 900

[[spd]]
name = \"first\"
local = \"10.1.0.0/24\"
remote = \"10.2.0.0/24\"
action = \"bypass\"
";
const SECOND: &str = "\
[[route]]
destination = \"10.3.0.0/24\"
via = \"192.0.2.3\"

[[spd]]
name = \"second\"
action = \"discard\"
";

fn machine(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("documents-{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

fn document(name: &str, text: &str) -> Document {
    Document {
        name: name.into(),
        text: text.to_owned().into(),
        mode: None,
    }
}

fn names(loaded: &Loaded) -> Vec<&str> {
    let entries = loaded.policy.spd.iter();
    entries.map(|entry| entry.name.as_str()).collect()
}

fn mistakes(machine: &Path, documents: &[Document]) -> Vec<String> {
    let mistakes = load_with(machine, documents).expect_err("it is refused");
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn documents_take_the_place_of_the_machines_own_policy() {
    let machine = machine("place", MACHINE);
    let own = load(&machine).unwrap();
    assert_eq!(names(&own), ["own"]);
    let store = own.policy.store.unwrap();
    let beside = machine.parent().unwrap().join("policy.d");
    assert_eq!(
        (store.place, store.poll_interval),
        (StorePlace::Local(vec![beside]), 7)
    );

    let both = [document("a.toml", FIRST), document("b.toml", SECOND)];
    let loaded = load_with(&machine, &both).unwrap();
    assert_eq!(names(&loaded), ["first", "second"]);
    assert_eq!(loaded.policy.spd[0].action, Action::Bypass);
    // The machine's own routes stay, with those of the documents.
    assert_eq!(loaded.policy.routes.len(), 2);
    assert_eq!(loaded.policy.interfaces.len(), 1);
    assert_eq!(loaded.policy.about.version.as_deref(), Some("seven"));
    assert_eq!(loaded.policy.about.poll_interval, Some(900));
}

#[test]
fn scopes_are_places_from_the_nearest_to_the_widest() {
    let scopes = "path = \"all/{scope}.d\"\nscopes = { site = \"berlin\", node = \"gw-1.a\", group = \"b\" }";
    let text = MACHINE.replace("path = \"policy.d\"", scopes);
    let file = machine("scopes", &text);
    let store = load(&file).unwrap().policy.store.unwrap();
    let base = file.parent().unwrap().join("all");
    let places = ["node/gw-1.a.d", "group/b.d", "site/berlin.d", "global.d"];
    let places = places.map(|place| base.join(place)).to_vec();
    assert_eq!(store.place, StorePlace::Local(places));
}

#[test]
fn before_the_first_policy_everything_is_discarded() {
    let own = MACHINE.split("[[spd]]").next().unwrap();
    let policy = load(&machine("before", own)).unwrap().policy;
    assert!(policy.about.is_absent);
    assert_eq!(
        (policy.spd.len(), &policy.spd[0].action),
        (1, &Action::Discard)
    );
    assert_eq!(*policy.spd[0].selector, Selector::default());
    assert_eq!(policy.routes.len(), 1);
    let open = "[policy]\nprofile = \"ws2003\"\n[store]\nbefore-policy = \"open\"";
    let open = own.replace("[store]", open);
    let policy = load(&machine("before-open", &open)).unwrap().policy;
    assert_eq!(
        (policy.spd.len(), &policy.spd[0].action),
        (1, &Action::Bypass)
    );
}

#[test]
fn mistakes_stand_where_they_are() {
    let machine = machine("mistakes", MACHINE);
    let second = SECOND
        .replace("discard", "drop")
        .replace("192.0.2.3", "wan");
    let documents = [document("a.toml", FIRST), document("b.toml", &second)];
    let found = mistakes(&machine, &documents);
    assert!(found[0].starts_with("b.toml:3:7: error: "), "{found:?}");
    assert!(found[1].starts_with("b.toml:7:10: error: "), "{found:?}");
    assert_eq!(found.len(), 2, "{found:?}");
    // Syntax, too; and a key of one file does not run into the next.
    let broken = FIRST.replace("\"first\"", "\"first");
    let documents = [document("a.toml", &broken), document("b.toml", SECOND)];
    let found = mistakes(&machine, &documents);
    assert!(found[0].starts_with("a.toml:6:"), "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn the_machine_belongs_to_its_own_file() {
    let machine = machine("own", MACHINE);
    for (table, text) in [
        ("runtime", "[runtime]\nworkers = 2\n"),
        ("store", "[store]\npath = \"elsewhere\"\n"),
        ("port", "[[port]]\nname = \"lan\"\n"),
    ] {
        let found = mistakes(&machine, &[document("a.toml", text)]);
        let expected = format!("`{table}` belongs into the machine's own file");
        assert!(found[0].contains(&expected), "{found:?}");
    }
    let twice = [
        document("a.toml", FIRST),
        document("b.toml", "[policy]\nversion = \"8\"\n"),
    ];
    let found = mistakes(&machine, &twice);
    assert_eq!(
        found,
        ["b.toml:1:2: error: `policy` stands in another document, too"]
    );
}

#[test]
fn keys_in_a_document_that_is_a_file_close_it() {
    const SA: &str = "[[sa]]\nname = \"in\"\ndirection = \"inbound\"\nprotocol = \"ah\"\nspi = 300\n\
                      mode = \"tunnel\"\nsource = \"192.0.2.2\"\ndestination = \"192.0.2.1\"\n\
                      integrity = \"hmac-sha2-256-128\"\n\
                      integrity-key = \"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\"\n\
                      [[spd]]\nname = \"in\"\naction = \"protect\"\ninbound = \"in\"\n";
    let machine = machine("mode", MACHINE);
    fs::set_permissions(&machine, Permissions::from_mode(0o644)).unwrap();
    let open = |mode| Document {
        mode,
        ..document("a.toml", SA)
    };
    let found = mistakes(&machine, &[open(Some(0o644))]);
    assert!(
        found[0].starts_with("a.toml:10:") && found[0].contains("0644"),
        "{found:?}"
    );
    for mode in [Some(0o600), None] {
        assert!(load_with(&machine, &[open(mode)]).is_ok(), "{mode:?}");
    }
}

#[test]
fn a_store_is_whole_and_not_in_clear() {
    for (text, expected) in [
        ("", "expected either `url` or `path`; got neither"),
        ("url = \"https://a/\"\npath = \"b\"", "got both"),
        ("url = \"https://a/p\"", "missing `ca`"),
        (
            "url = \"http://a/p\"\nca = \"ca.crt\"",
            "begins with https://",
        ),
        (
            "url = \"https://me:secret@a/p\"\nca = \"ca.crt\"",
            "without a user",
        ),
        (
            "url = \"https:///p\"\nca = \"ca.crt\"",
            "begins with https://",
        ),
        ("path = \"b\"\nca = \"c\"", "expected only with `url`"),
        (
            "path = \"b\"\nbefore-policy = \"open\"",
            "only with `profile",
        ),
        (
            "path = \"{scope}.d\"",
            "`{scope}` stands for one of `scopes`, which are missing",
        ),
        (
            "path = \"b\"\nscopes = { node = \"a\" }",
            "expected `{scope}` in it",
        ),
        (
            "path = \"{scope}\"\nscopes = { node = \"../a\" }",
            "expected letters, digits",
        ),
        (
            "path = \"{scope}\"\nscopes = { zone = \"a\" }",
            "unknown key `zone` in scopes",
        ),
        (
            "path = \"b\"\npoll-interval = 0",
            "expected an integer from 1",
        ),
    ] {
        let text = MACHINE.replace("path = \"policy.d\"\npoll-interval = 7", text);
        let found = mistakes(&machine("store", &text), &[]);
        assert!(
            found.iter().any(|m| m.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}

/// Many documents take no more memory than their texts: not one has blanks for all before it.
#[test]
fn many_large_documents_are_read_in_their_own_size() {
    let peak = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<usize>().unwrap() << 10
    };
    let machine = machine("many", MACHINE);
    let comment = "# much to say about it\n".repeat(2500);
    let documents: Vec<_> = (0..200)
        .map(|n| {
            let entry = format!(
                "[[spd]]\nname = \"{n}\"\nlocal = \"10.1.{n}.0/24\"\naction = \"discard\"\n"
            );
            document(&format!("{n}.toml"), &(comment.clone() + &entry))
        })
        .collect();
    let size: usize = documents.iter().map(|document| document.text.len()).sum();
    let before = peak();
    let loaded = load_with(&machine, &documents).unwrap();
    assert_eq!(loaded.policy.spd.len(), 200);
    let grown = peak() - before;
    assert!(grown < 8 * size, "{grown} bytes for {size}");
}

#[test]
fn a_store_is_looked_for_only_where_the_file_may_name_one() {
    let place = |name: &str, text: &str| {
        load_store(&machine(name, text)).map(|store| store.map(|store| store.place))
    };
    let named = StorePlace::Local(vec![
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy.d"),
    ]);
    assert_eq!(place("named", MACHINE), Ok(Some(named.clone())));
    let escaped = MACHINE.replace("[store]", "[\"s\\u0074ore\"]");
    assert_eq!(place("escaped", &escaped), Ok(Some(named)));
    // What is wrong elsewhere in the file is told when all of it is read; no name of a store, no reading.
    assert_eq!(place("none", "[broken"), Ok(None));
    let broken = format!("{MACHINE}[broken");
    assert!(place("broken", &broken).is_err());
    let wrong = MACHINE.replace("poll-interval = 7", "poll-interval = 0");
    assert!(place("wrong", &wrong).is_err());
}
