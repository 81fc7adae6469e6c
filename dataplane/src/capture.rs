//! Capture files: every frame of a port, both directions, in pcap's format with nanoseconds.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Magic number of a file with nanosecond time stamps.
const MAGIC: u32 = 0xa1b2_3c4d;
/// Longest frame that is kept whole.
const SNAP_LENGTH: u32 = 65535;
/// Link type Ethernet.
const ETHERNET: u32 = 1;

/// An open capture file.
#[derive(Debug)]
pub struct Capture {
    file: BufWriter<File>,
}

impl Capture {
    /// Creates the file and writes its header.
    pub fn create(path: &Path) -> std::io::Result<Capture> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&MAGIC.to_le_bytes())?;
        for half in [2u16, 4] {
            file.write_all(&half.to_le_bytes())?;
        }
        for word in [0, 0, SNAP_LENGTH, ETHERNET] {
            file.write_all(&word.to_le_bytes())?;
        }
        Ok(Capture { file })
    }

    /// Appends a frame that was seen at `now`.
    pub fn write(&mut self, now: SystemTime, frame: &[u8]) -> std::io::Result<()> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let length = frame.len() as u32;
        for word in [since.as_secs() as u32, since.subsec_nanos(), length, length] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.file.write_all(frame)
    }

    /// Brings everything to the file.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
