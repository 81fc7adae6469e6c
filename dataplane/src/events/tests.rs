use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::*;

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn bad_spi() -> Event {
    Event::BadSpi {
        spi: "0x00000100".into(),
        protocol: 50,
        source: "192.0.2.1".into(),
        destination: "192.0.2.2".into(),
    }
}

fn events() -> Events {
    let mut events = Events::new(None).expect("no file");
    events.journal = None;
    events
}

#[test]
fn a_line_quotes_what_could_be_taken_for_another_field() {
    let mut events = events();
    events.raise(
        0,
        Event::SaDown {
            child: 3,
            connection: "b spi_in=0".into(),
            name: "lans".into(),
            reason: "a \"b\"\nforged line".into(),
        },
    );
    assert_eq!(
        events.after(0, false).events[0].line(),
        "SAs removed child=3 connection=\"b spi_in=0\" name=lans reason=\"a \\\"b\\\"\\nforged line\""
    );
}

#[test]
fn json_lines_are_appended_and_the_file_is_reopened() {
    let directory = scratch("events");
    let (log, rotated) = (directory.join("events.jsonl"), directory.join("old"));
    let mut events = Events::new(Some(&log)).expect("a file");
    events.raise(0, Event::Stopping {});
    std::fs::rename(&log, &rotated).expect("rotated");
    events.raise(0, bad_spi());
    events.reopen(Some(&log));
    events.raise(0, Event::SaAging { sa: "a".into() });
    let parsed = |path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).expect("the log");
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        lines.collect()
    };
    let old = parsed(&rotated);
    assert_eq!(old.len(), 2);
    assert_eq!(old[0]["event"], "stopping");
    assert_eq!(old[1]["event"], "bad-spi");
    assert_eq!(old[1]["spi"], "0x00000100");
    assert_eq!(old[1]["severity"], "warning");
    assert_eq!(old[1]["number"], 2);
    let new = parsed(&log);
    assert_eq!((new.len(), &new[0]["sa"]), (1, &Value::from("a")));
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn a_strangers_flood_is_counted_and_hides_nothing_else() {
    let mut events = events();
    for _ in 0..1000 {
        events.raise(0, bad_spi());
    }
    events.raise(0, Event::Stopping {});
    assert_eq!(events.latest, u64::from(STRANGERS.1) + 1);
    events.raise(10_000, bad_spi());
    let last = events.after(u64::from(STRANGERS.1) + 1, false).events;
    let suppressed = Event::Suppressed {
        kind: "bad-spi".into(),
        count: 900,
    };
    assert_eq!(last[0].event, suppressed);
    assert_eq!(last[1].event, bad_spi());
}

#[test]
fn the_latest_are_kept_and_given_in_pages() {
    let mut events = events();
    for _ in 0..KEPT + 5 {
        events.raise(0, Event::Stopping {});
    }
    let first = events.after(0, false);
    assert_eq!(first.events[0].number, 6);
    assert_eq!(first.events.len(), PAGE);
    let last = events.after(0, true);
    assert_eq!(last.events[PAGE - 1].number, (KEPT + 5) as u64);
    assert!(events.after(last.latest, false).events.is_empty());
}

#[test]
fn records_come_back_from_json_as_they_were() {
    let mut events = events();
    events.raise(0, bad_spi());
    let record = &events.after(0, false).events[0];
    let text = serde_json::to_string(record).expect("JSON");
    let back: Record = serde_json::from_str(&text).expect("a record");
    assert_eq!(back, *record);
}

/// Reads an entry as systemd's description of the protocol says.
fn parse_entry(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    while !bytes.is_empty() {
        let end = bytes
            .iter()
            .position(|b| *b == b'=' || *b == b'\n')
            .expect("an end");
        let (name, rest) = bytes.split_at(end);
        let (value, rest) = match rest[0] {
            b'=' => {
                let end = rest.iter().position(|b| *b == b'\n').expect("a line");
                (&rest[1..end], &rest[end + 1..])
            }
            _ => {
                let (length, rest) = rest[1..].split_at(8);
                let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
                (&rest[..length], &rest[length + 1..])
            }
        };
        fields.push((text(name), text(value)));
        bytes = rest;
    }
    fields
}

#[test]
fn the_journal_gets_a_field_for_each_of_the_events() {
    let directory = scratch("journal");
    let path = directory.join("socket");
    let journald = UnixDatagram::bind(&path).expect("a socket");
    let mut events = events();
    events.journal = Journal::at(&path);
    let reasons = vec!["one\nPRIORITY=0".to_owned()];
    events.raise(0, Event::PolicyRefused { reasons });
    events.raise(
        0,
        Event::IkeDown {
            ike: 7,
            connection: "b".into(),
            reason: "two\nPRIORITY=0".into(),
        },
    );
    let mut buffer = [0; 4096];
    let length = journald.recv(&mut buffer).expect("an entry");
    let fields = parse_entry(&buffer[..length]);
    let get = |fields: &[(String, String)], name: &str| -> Vec<String> {
        let of_name = fields.iter().filter(|(n, _)| n == name);
        of_name.map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(get(&fields, "PRIORITY"), ["3"]);
    assert_eq!(get(&fields, "PORTCULLIS_EVENT"), ["policy-refused"]);
    let length = journald.recv(&mut buffer).expect("an entry");
    let fields = parse_entry(&buffer[..length]);
    assert_eq!(get(&fields, "PRIORITY"), ["6"]);
    assert_eq!(get(&fields, "SYSLOG_IDENTIFIER"), ["portcullis"]);
    assert_eq!(get(&fields, "PORTCULLIS_IKE"), ["7"]);
    assert_eq!(get(&fields, "PORTCULLIS_REASON"), ["two\nPRIORITY=0"]);
    std::fs::remove_dir_all(directory).expect("removed");
}

/// What becomes of peers and of SAs.
fn of_peers_and_sas() -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    let (connection, name) = (text("b"), text("lans"));
    let (remote, reason) = (text("192.0.2.2:500"), text("for a reason"));
    let (transform, sa) = (text("aes128-gcm16"), text("to-b"));
    let spis = || vec![text("0x00000100"), text("0x00000200")];
    vec![
        Event::IkeUp {
            ike: 1,
            connection: connection.clone(),
            remote: remote.clone(),
            identity: text("b.example"),
            renews: Some(4),
        },
        Event::IkeDown {
            ike: 1,
            connection: connection.clone(),
            reason: reason.clone(),
        },
        Event::SaUp {
            child: 1,
            connection: connection.clone(),
            name: name.clone(),
            remote: remote.clone(),
            transform: transform.clone(),
            spi_in: spis(),
            spi_out: spis(),
        },
        Event::SaRekeyed {
            child: 2,
            connection: connection.clone(),
            name: name.clone(),
            remote: remote.clone(),
            transform,
            spi_in: spis(),
            spi_out: spis(),
            replaces: 1,
        },
        Event::SaDown {
            child: 1,
            connection: connection.clone(),
            name: name.clone(),
            reason: reason.clone(),
        },
        Event::SoftSaUp {
            connection: connection.clone(),
            name: name.clone(),
            remote: remote.clone(),
        },
        Event::SoftSaDown {
            connection: connection.clone(),
            name: name.clone(),
            reason: reason.clone(),
        },
        Event::SaAging { sa: sa.clone() },
        Event::SaExpired { sa: sa.clone() },
        Event::SaRefused {
            child: 1,
            connection: connection.clone(),
            name: name.clone(),
            reason: reason.clone(),
        },
        Event::PeerMoved {
            children: 2,
            remote: remote.clone(),
        },
        Event::ShortLife {
            connection: connection.clone(),
            child: Some(name.clone()),
            seconds: Some(10),
            kilobytes: Some(20),
        },
    ]
}

/// What fails with a peer or a packet, and what is learnt of a path.
fn of_failures() -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    let (connection, name) = (text("b"), text("lans"));
    let (remote, reason) = (text("192.0.2.2:500"), text("for a reason"));
    let (source, destination) = (text("192.0.2.1"), text("192.0.2.2"));
    let sa = text("to-b");
    vec![
        bad_spi(),
        Event::AuthenticationFailed {
            connection: Some(connection.clone()),
            child: Some(name.clone()),
            remote: remote.clone(),
            reason: reason.clone(),
        },
        Event::NegotiationFailed {
            connection: Some(connection),
            child: Some(name.clone()),
            remote,
            reason: reason.clone(),
            mismatches: vec![text("offered one, wanted another")],
        },
        Event::NoSa {
            entry: name,
            source: source.clone(),
            destination,
            protocol: 17,
        },
        Event::CryptoFailure {
            sa: sa.clone(),
            spi: text("0x00000100"),
            source: Some(source),
            reason: reason.clone(),
        },
        Event::OffloadFailed {
            sa: sa.clone(),
            reason: reason.clone(),
        },
        Event::PathMtu { sa, mtu: 1400 },
    ]
}

/// What the gateway itself does, and those that it depends on.
fn of_the_gateway() -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    let reason = text("for a reason");
    vec![
        Event::Started {
            version: text("1.0.0"),
            workers: 2,
            entries: 3,
        },
        Event::Stopping {},
        Event::PolicyChanged {
            sas_added: 1,
            sas_removed: 2,
            sas_changed: 3,
            entries_added: 4,
            entries_removed: 5,
            entries_changed: 6,
            milliseconds: 7,
        },
        Event::PolicyRefused {
            reasons: vec![text("line 1: one\nline 2: another")],
        },
        Event::StoreAway {
            store: text("https://store.example/policy"),
            reason: reason.clone(),
            policy: text("from the cache"),
            policy_age_s: Some(60),
        },
        Event::StoreBack {
            store: text("https://store.example/policy"),
            away_s: 60,
        },
        Event::MetricsAway {
            address: text("127.0.0.1:9100"),
            reason: reason.clone(),
        },
        Event::MetricsBack {
            address: text("127.0.0.1:9100"),
            away_s: 60,
            attempts: 60,
        },
        Event::CaptureStarted {
            side: text("both"),
            tunnel: Some(text("b/lans")),
            sas_with_keys: 2,
        },
        Event::CaptureEnded {
            packets: 1,
            lost: 2,
            reason,
        },
        Event::Suppressed {
            kind: text("bad-spi"),
            count: 3,
        },
    ]
}

/// One of each kind, with something in every field.
fn one_of_each() -> Vec<Event> {
    [of_peers_and_sas(), of_failures(), of_the_gateway()].concat()
}

/// What the published schema has of each kind: its name, and those of its fields.
fn kinds_of_the_schema() -> BTreeMap<String, BTreeSet<String>> {
    let schema: Value = serde_json::from_str(include_str!("../../schema/event.schema.json"))
        .expect("the schema is JSON");
    let mut kinds = BTreeMap::new();
    let mut places = vec![&schema];
    while let Some(place) = places.pop() {
        match place {
            Value::Object(object) => places.extend(object.values()),
            Value::Array(list) => places.extend(list),
            _ => {}
        }
        let Some(kind) = place["properties"]["event"]["const"].as_str() else {
            continue;
        };
        let fields = place["properties"].as_object().into_iter().flatten();
        let fields = fields.map(|(name, _)| name.clone());
        let fields = fields.filter(|name| name != "event").collect();
        kinds.insert(kind.to_owned(), fields);
    }
    kinds
}

/// systemd.journal-fields(7), syslog(3): every kind comes with its summary, how urgent it is, and all of its fields, in
/// the journal and in the JSON line alike.
#[test]
fn every_kind_of_event_comes_out_with_all_of_its_fields() {
    let directory = scratch("kinds");
    let (path, log) = (directory.join("socket"), directory.join("events.jsonl"));
    let journald = UnixDatagram::bind(&path).expect("a socket");
    let mut events = Events::new(Some(&log)).expect("a file");
    events.journal = Journal::at(&path);
    let mut told = BTreeMap::new();
    for event in one_of_each() {
        events.raise(0, event);
        let mut buffer = [0; 4096];
        let length = journald.recv(&mut buffer).expect("an entry");
        let entry: BTreeMap<_, _> = parse_entry(&buffer[..length]).into_iter().collect();
        let lines = std::fs::read_to_string(&log).expect("the log");
        let line: Value =
            serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
        let kind = entry["PORTCULLIS_EVENT"].clone();
        assert_eq!(line["event"], kind.as_str());
        let urgency = match line["severity"].as_str() {
            Some("error") => "3",
            Some("warning") => "4",
            Some("info") => "6",
            other => panic!("{other:?}"),
        };
        assert_eq!(entry["PRIORITY"], urgency, "{kind}");
        assert!(
            entry["MESSAGE"].starts_with(&entry["PORTCULLIS_SUMMARY"]),
            "{kind}"
        );
        let own = ["SUMMARY", "EVENT"];
        let fields = entry.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("PORTCULLIS_")?;
            Some((name, value)).filter(|_| !own.contains(&name))
        });
        let fields = fields.map(|(name, value)| {
            let name = name.to_lowercase();
            let expected = match &line[&name] {
                Value::String(text) => text.clone(),
                other => value_text(other),
            };
            assert_eq!(*value, expected, "{kind}: {name}");
            name
        });
        assert_eq!(
            told.insert(kind.clone(), fields.collect()),
            None,
            "{kind} twice"
        );
    }
    assert_eq!(told, kinds_of_the_schema());
    std::fs::remove_dir_all(directory).expect("removed");
}
