//! `portcullis capture`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
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

/// What `portcullis capture` is told.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this tunnel: a connection, a child as `connection/child`, or an SPD entry.
    #[arg(long, value_name = "NAME", conflicts_with = "sa")]
    tunnel: Option<String>,
    /// Only this SA.
    #[arg(long, value_name = "NAME")]
    sa: Option<String>,
    /// Only the protected side, where packets are in clear.
    #[arg(long, conflicts_with_all = ["protected", "both"])]
    clear: bool,
    /// Only the unprotected side, where packets are protected.
    #[arg(long, conflicts_with = "both")]
    protected: bool,
    /// Both sides, as without this.
    #[arg(long)]
    both: bool,
    /// File to write; `-` is standard output, without keys.
    #[arg(long, short, value_name = "FILE")]
    write: PathBuf,
    /// Without the keys.
    #[arg(long)]
    no_keys: bool,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// End when the file has so many megabytes.
    #[arg(long, value_name = "MB", default_value_t = 1000)]
    megabytes: u64,
    /// Control socket of the gateway.
    #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
    socket: PathBuf,
}

impl Arguments {
    fn order(&self) -> Order {
        Order {
            tunnel: self.tunnel.clone(),
            sa: self.sa.clone(),
            clear: !self.protected,
            protected: !self.clear,
            keys: !self.no_keys && self.write != Path::new("-"),
        }
    }

    /// Where the keys go: a folder that Wireshark takes for its configuration.
    fn keys(&self) -> Option<PathBuf> {
        let mut name = self.write.file_name()?.to_owned();
        name.push(".keys");
        Some(self.write.with_file_name(name))
    }
}

/// Captures until interrupted.
pub(super) fn capture(arguments: &Arguments) -> ExitCode {
    let order = arguments.order();
    match run(arguments, &order) {
        Ok(words) => {
            eprintln!("portcullis: {words}");
            if let (true, Some(keys)) = (order.keys, arguments.keys()) {
                let (keys, file) = (keys.display(), arguments.write.display());
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

/// A file that only its owner may read: it holds clear text, or keys. One that is there already goes first, lest it be open
/// to others, or a link; a pipe or a device stays.
fn create(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match std::fs::symlink_metadata(path).map(|found| found.file_type()) {
        Ok(kind) if kind.is_file() || kind.is_symlink() => {
            std::fs::remove_file(path).map_err(failed(path))?;
            options.create_new(true);
        }
        Ok(_) => {}
        Err(_) => {
            options.create_new(true);
        }
    }
    options.open(path).map_err(failed(path))
}

/// A folder that is there already takes keys only if nobody else can look into it.
fn own_folder(folder: &Path) -> std::io::Result<()> {
    let (found, own) = (
        std::fs::symlink_metadata(folder)?,
        std::fs::metadata("/proc/self")?,
    );
    if found.is_dir() && found.uid() == own.uid() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(std::io::Error::other(
        "it is there already, and not a folder of yours that is closed to others",
    ))
}

fn create_keys(folder: &Path) -> Result<File, Error> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed(folder)(error));
        }
        Err(_) => own_folder(folder).map_err(failed(folder))?,
        Ok(()) => {}
    }
    let preferences = folder.join("preferences");
    let mut file = create(&preferences)?;
    file.write_all(PREFERENCES).map_err(failed(&preferences))?;
    create(&folder.join("esp_sa"))
}

fn run(arguments: &Arguments, order: &Order) -> Result<String, Error> {
    let (file, socket) = (arguments.write.as_path(), arguments.socket.as_path());
    let most = arguments.megabytes.saturating_mul(1_000_000);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(failed(socket))?;
    }
    let mut stream = socket::capture(socket, order)?;
    stream
        .set_read_timeout(Some(LOOK))
        .map_err(failed(socket))?;
    let mut files: Option<Files> = None;
    let begun = std::time::Instant::now();
    let (mut buffer, mut ended) = (Zeroizing::new(Vec::new()), false);
    let mut chunk = Zeroizing::new([0; 65536]);
    loop {
        let late = arguments
            .seconds
            .is_some_and(|s| begun.elapsed() >= Duration::from_secs(s));
        let written = files.as_ref().map_or(0, |files| files.written);
        let enough = late || written >= most || stop.load(Ordering::Relaxed);
        if enough && !ended {
            ended = true;
            stream.shutdown(Shutdown::Write).map_err(failed(socket))?;
        }
        match stream.read(&mut *chunk) {
            Ok(0) if files.is_none() => {
                let words = "the gateway has ended before the capture began";
                return Err(failed(socket)(std::io::Error::other(words)));
            }
            Ok(0) => return Ok("the gateway has ended".into()),
            Ok(length) => buffer.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                if let Some(files) = &mut files {
                    files.packets.flush().map_err(failed(file))?;
                }
            }
            Err(error) => return Err(failed(socket)(error)),
        }
        if files.is_none() {
            match part(&buffer) {
                None => continue,
                Some((b'P' | b'K', _)) => files = Some(Files::create(arguments, order)?),
                // It is refused: what a capture before has left stays.
                Some((_, words)) => {
                    let words = String::from_utf8_lossy(words).into_owned();
                    return Err(failed(socket)(std::io::Error::other(words)));
                }
            }
        }
        let Some(files) = &mut files else { continue };
        if let Some(words) = files.take(&mut buffer).map_err(failed(file))? {
            files.packets.flush().map_err(failed(file))?;
            return Ok(words);
        }
    }
}

struct Files {
    packets: BufWriter<Box<dyn Write>>,
    keys: Option<File>,
    written: u64,
}

impl Files {
    fn create(arguments: &Arguments, order: &Order) -> Result<Files, Error> {
        let file = arguments.write.as_path();
        let out: Box<dyn Write> = match file == Path::new("-") {
            true => Box::new(std::io::stdout()),
            false => Box::new(create(file)?),
        };
        let keys = arguments.keys().filter(|_| order.keys);
        Ok(Files {
            packets: BufWriter::new(out),
            keys: keys.as_deref().map(create_keys).transpose()?,
            written: 0,
        })
    }

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
