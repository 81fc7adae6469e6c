//! The control socket: a local client sends a line that asks, and gets an answer in JSON.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::status::Status;

/// The only question so far.
const SHOW: &str = "show";
/// Longest question.
const LONGEST_REQUEST: usize = 256;
/// Clients served at once.
const MOST_SESSIONS: usize = 16;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listening socket that is removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    sessions: Vec<Session>,
}

/// A client; nothing that it does or leaves undone makes control wait.
#[derive(Debug)]
struct Session {
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl ControlSocket {
    /// Listens at `path`, in place of a socket that nobody listens at any more. Only the owner may connect.
    pub fn bind(path: &Path) -> Result<ControlSocket, Error> {
        let failed = |error| Error::Io {
            what: format!("control socket {}", path.display()),
            error,
        };
        if UnixStream::connect(path).is_ok() {
            return Err(failed(ErrorKind::AddrInUse.into()));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, owner_only).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(ControlSocket {
            listener,
            path: path.to_owned(),
            sessions: Vec::new(),
        })
    }

    /// Does for each client what can be done without waiting.
    pub fn serve(&mut self, status: impl Fn() -> Status) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.sessions.len() < MOST_SESSIONS && stream.set_nonblocking(true).is_ok() {
                self.sessions.push(Session {
                    stream,
                    request: Vec::new(),
                    answer: Vec::new(),
                });
            }
        }
        self.sessions.retain_mut(|session| session.advance(&status));
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // It may be gone already, which is as well.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Session {
    /// False when the session is over.
    fn advance(&mut self, status: &impl Fn() -> Status) -> bool {
        if self.answer.is_empty() {
            match self.read_line() {
                Ok(Some(line)) if line == SHOW => {
                    self.answer = serde_json::to_vec(&status()).unwrap_or_default();
                }
                Ok(Some(_)) => self.answer = b"{\"error\":\"expected: show\"}".to_vec(),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        match self.stream.write(&self.answer) {
            Ok(0) => false,
            Ok(sent) => {
                self.answer.drain(..sent);
                !self.answer.is_empty()
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn read_line(&mut self) -> std::io::Result<Option<String>> {
        let mut chunk = [0; LONGEST_REQUEST];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => self
                .request
                .extend_from_slice(chunk.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        match self.request.iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(self
                .request
                .get(..end)
                .map(|line| String::from_utf8_lossy(line).into_owned())),
            None if self.request.len() < LONGEST_REQUEST => Ok(None),
            None => Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Asks a running gateway for its status.
pub fn ask(path: &Path) -> Result<Status, Error> {
    let failed = |error| Error::Io {
        what: format!("control socket {}", path.display()),
        error,
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream
        .write_all(format!("{SHOW}\n").as_bytes())
        .map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    serde_json::from_slice(&answer).map_err(|error| failed(error.into()))
}
