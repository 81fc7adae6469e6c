//! JSON lines: one object an event, appended.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Record;
use crate::Error;

/// An open file of events.
#[derive(Debug)]
pub(super) struct EventFile {
    file: File,
    path: PathBuf,
    /// It could not be written; said once.
    failed: bool,
}

impl EventFile {
    /// Opens the file to add to it. The owner may write and its group read, as with other logs.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o640).open(path);
        let file = file.map_err(|error| Error::Io {
            what: format!("event log {}", path.display()),
            error,
        })?;
        Ok(EventFile {
            file,
            path: path.to_owned(),
            failed: false,
        })
    }

    /// Adds one line, in one call, so that lines of several writers stay whole.
    pub(super) fn write(&mut self, record: &Record) {
        let Ok(mut line) = serde_json::to_vec(record) else {
            return;
        };
        line.push(b'\n');
        match self.file.write_all(&line) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                tracing::error!(%error, "event log {} cannot be written", self.path.display());
                self.failed = true;
            }
            Err(_) => {}
        }
    }
}
