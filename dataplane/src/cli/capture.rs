//! `portcullis capture`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use zeroize::Zeroizing;

use super::fail;
use crate::Error;
use crate::live_capture::Order;
use crate::socket;

/// How often a client looks whether it is interrupted.
const LOOK: Duration = Duration::from_millis(100);
/// Has Wireshark decrypt ESP without being asked in its dialogs.
const PREFERENCES: &[u8] =
    b"esp.enable_encryption_decode: TRUE\nesp.enable_null_encryption_decode_heuristic: TRUE\n";

/// Where a capture goes, and when it ends by itself.
pub(super) struct Target {
    /// pcapng file; `-` is standard output.
    pub(super) file: PathBuf,
    /// Ends after so many seconds.
    pub(super) seconds: Option<u64>,
    /// Ends when the file has so many bytes.
    pub(super) bytes: u64,
}

impl Target {
    /// Where the keys go: a folder that Wireshark takes for its configuration.
    pub(super) fn keys(&self) -> Option<PathBuf> {
        let name = self.file.file_name().filter(|name| *name != "-")?;
        let mut name = name.to_owned();
        name.push(".keys");
        Some(self.file.with_file_name(name))
    }
}

/// Captures until interrupted.
pub(super) fn capture(order: &Order, target: &Target, socket: &Path) -> ExitCode {
    match run(order, target, socket) {
        Ok(words) => {
            eprintln!("portcullis: {words}");
            if let (true, Some(keys)) = (order.keys, target.keys()) {
                let (keys, file) = (keys.display(), target.file.display());
                eprintln!("open it with: WIRESHARK_CONFIG_DIR={keys} wireshark -r {file}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let what = format!("capture {}", path.display());
    move |error| Error::Io {
        what: what.clone(),
        error,
    }
}

/// A file that only its owner may read: it holds clear text, or keys.
fn create(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(failed(path))
}

fn create_keys(folder: &Path) -> Result<File, Error> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed(folder)(error));
        }
        _ => {}
    }
    let preferences = folder.join("preferences");
    let mut file = create(&preferences)?;
    file.write_all(PREFERENCES).map_err(failed(&preferences))?;
    create(&folder.join("esp_sa"))
}

fn run(order: &Order, target: &Target, socket: &Path) -> Result<String, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(failed(socket))?;
    }
    let mut stream = socket::capture(socket, order)?;
    stream
        .set_read_timeout(Some(LOOK))
        .map_err(failed(socket))?;
    let out: Box<dyn Write> = match target.file == Path::new("-") {
        true => Box::new(std::io::stdout()),
        false => Box::new(create(&target.file)?),
    };
    let keys = target.keys().filter(|_| order.keys);
    let mut files = Files {
        packets: BufWriter::new(out),
        keys: keys.as_deref().map(create_keys).transpose()?,
        written: 0,
    };
    let begun = std::time::Instant::now();
    let (mut buffer, mut ended) = (Zeroizing::new(Vec::new()), false);
    let mut chunk = Zeroizing::new([0; 65536]);
    loop {
        let late = target
            .seconds
            .is_some_and(|s| begun.elapsed() >= Duration::from_secs(s));
        let enough = late || files.written >= target.bytes || stop.load(Ordering::Relaxed);
        if enough && !ended {
            ended = true;
            stream.shutdown(Shutdown::Write).map_err(failed(socket))?;
        }
        match stream.read(&mut *chunk) {
            Ok(0) => return Ok("the gateway has ended".into()),
            Ok(length) => buffer.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                files.packets.flush().map_err(failed(&target.file))?;
            }
            Err(error) => return Err(failed(socket)(error)),
        }
        if let Some(words) = files.take(&mut buffer).map_err(failed(&target.file))? {
            files.packets.flush().map_err(failed(&target.file))?;
            return match files.written {
                0 => Err(failed(socket)(std::io::Error::other(words))),
                _ => Ok(words),
            };
        }
    }
}

struct Files {
    packets: BufWriter<Box<dyn Write>>,
    keys: Option<File>,
    written: u64,
}

impl Files {
    /// Writes the parts that are whole. The words at the end, when it is there.
    fn take(&mut self, buffer: &mut Zeroizing<Vec<u8>>) -> std::io::Result<Option<String>> {
        let mut used = 0;
        let mut words = None;
        while let Some((kind, part)) = part(buffer.get(used..).unwrap_or_default()) {
            used += part.len() + HEAD;
            match kind {
                b'P' => {
                    self.packets.write_all(part)?;
                    self.written += part.len() as u64;
                }
                b'K' => {
                    if let Some(keys) = &mut self.keys {
                        keys.write_all(part)?;
                    }
                }
                _ => words = Some(String::from_utf8_lossy(part).into_owned()),
            }
        }
        buffer.drain(..used);
        Ok(words)
    }
}

/// Bytes of kind and length.
const HEAD: usize = 5;

/// The first part, if it is whole.
fn part(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let ([kind, length @ ..], rest) = bytes.split_first_chunk::<HEAD>()?;
    Some((*kind, rest.get(..u32::from_le_bytes(*length) as usize)?))
}
