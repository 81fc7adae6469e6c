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
