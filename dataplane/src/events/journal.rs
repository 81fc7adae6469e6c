//! journald's native protocol: a datagram of `FIELD=value` lines for each event.
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::Value;

use super::{Record, Severity, value_text};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A way to journald.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// If systemd started this process with its standard error connected to the journal.
    pub(super) fn of_this_process() -> Option<Journal> {
        // systemd.exec(5): JOURNAL_STREAM names device and inode, to be compared with those of standard error.
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let ours = std::fs::metadata("/proc/self/fd/2").ok()?;
        let same = stream == format!("{}:{}", ours.dev(), ours.ino());
        same.then(|| Journal::at(Path::new(SOCKET))).flatten()
    }

    /// The journal that listens at `path`.
    pub(super) fn at(path: &Path) -> Option<Journal> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(path).ok()?;
        // The journal may be behind: control does not wait for it.
        socket.set_nonblocking(true).ok()?;
        Some(Journal { socket })
    }

    /// Sends one entry; false if the journal did not take it.
    pub(super) fn write(&self, words: &str, record: &Record) -> bool {
        self.socket.send(&entry(words, record)).is_ok()
    }
}

/// One entry, with a field of its own for each of the event's.
fn entry(words: &str, record: &Record) -> Vec<u8> {
    // syslog(3): LOG_ERR, LOG_WARNING, LOG_INFO.
    let priority = match record.severity {
        Severity::Error => "3",
        Severity::Warning => "4",
        Severity::Info => "6",
    };
    let mut entry = Vec::new();
    let line = record.line();
    field(&mut entry, "MESSAGE", &line);
    field(&mut entry, "PRIORITY", priority);
    field(&mut entry, "SYSLOG_IDENTIFIER", "portcullis");
    field(&mut entry, "PORTCULLIS_SUMMARY", words);
    let kind = serde_json::to_value(&record.event).unwrap_or(Value::Null);
    let kind = kind.get("event").map_or_else(String::new, value_text);
    field(&mut entry, "PORTCULLIS_EVENT", &kind);
    for (name, value) in record.fields() {
        let text = match &value {
            Value::String(text) => text.clone(),
            other => value_text(other),
        };
        let name = format!("PORTCULLIS_{}", name.to_ascii_uppercase());
        field(&mut entry, &name, &text);
    }
    entry
}

/// A value with a line break goes with its length before it: it cannot pretend to be another field.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}
