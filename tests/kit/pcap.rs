//! Capture files (libpcap 2.4 format, Ethernet), read and written.

use std::path::Path;
use std::{fs, io};

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const SNAPLEN: u32 = 262_144;

/// Writes frames, a microsecond apart.
pub fn write<F: AsRef<[u8]>>(path: &Path, frames: &[F]) {
    let mut file = Vec::new();
    for word in [
        MAGIC_MICROSECONDS,
        4 << 16 | 2,
        0,
        0,
        SNAPLEN,
        LINKTYPE_ETHERNET,
    ] {
        file.extend(word.to_le_bytes());
    }
    for (index, frame) in (0_u32..).zip(frames) {
        let frame = frame.as_ref();
        let length = u32::try_from(frame.len()).unwrap();
        for word in [index / 1_000_000, index % 1_000_000, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    fs::write(path, file).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}

/// Reads all frames of a file written on this machine.
///
/// # Panics
/// When it is not such a file. A last record that is cut short, as in a capture still being written, is left out.
pub fn read(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    parse(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse(file: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let word = |at: usize| -> Option<u32> {
        let bytes = file.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if !matches!(word(0), Some(MAGIC_MICROSECONDS | MAGIC_NANOSECONDS))
        || word(20) != Some(LINKTYPE_ETHERNET)
    {
        return Err(io::Error::other("not a little-endian Ethernet pcap file"));
    }
    let mut frames = Vec::new();
    let mut at = 24;
    while let Some(length) = word(at + 8) {
        let start = at + 16;
        let end = start + length as usize;
        let Some(frame) = file.get(start..end) else {
            break;
        };
        frames.push(frame.to_vec());
        at = end;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let scratch = crate::Scratch::new("pcap");
        let path = scratch.path("a.pcap");
        let frames = [vec![1; 60], vec![], vec![7; 9000]];
        write(&path, &frames);
        assert_eq!(read(&path), frames);
        let mut cut = fs::read(&path).unwrap();
        cut.pop();
        assert_eq!(parse(&cut).unwrap(), frames[..2]);
        assert!(parse(&cut[..23]).is_err());
    }
}
