//! The control socket: a local client sends a line that asks, and gets an answer in JSON.
//!
//! A line is a [`Request`] in JSON; the word `show` asks for the whole status.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::agent::status::PolicyStatus;
use crate::events::EventPage;
use crate::explain::{Explanation, Question};
use crate::ike_status::Begun;
use crate::live_capture::Order;
use crate::report::ReloadReport;
use crate::status::{Query, Status};

/// Asks for everything.
const SHOW: &str = "show";
/// Longest question.
const LONGEST_REQUEST: usize = 1024;
/// Clients served at once.
const MOST_SESSIONS: usize = 16;
/// How long a client waits for a status.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client waits for a reload: a million SAs take their time.
const RELOAD_PATIENCE: Duration = Duration::from_secs(600);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// A status.
    Show(Query),
    /// Events.
    Events {
        /// Those with higher numbers.
        after: u64,
        /// Not the oldest but the latest of them.
        last: bool,
    },
    /// What would become of a packet.
    Explain(Question),
    /// Copies of frames, until the client has seen enough.
    Capture(Order),
    /// Read the policy file again.
    Reload {
        /// Only say what would change.
        trial: bool,
    },
    /// Where the policy came from.
    Policy,
    /// Begin IKE anew.
    RestartIke,
    /// Begin a key exchange.
    Initiate {
        /// Connection.
        connection: String,
        /// One of its children; `None`: all.
        child: Option<String>,
    },
    /// End a connection, or what one peer has of it.
    Terminate {
        /// Connection.
        connection: String,
        /// One of its peers; `None`: all.
        peer: Option<Whom>,
    },
}

/// One peer of a connection that has many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// Whoever is at this address.
    Address(IpAddr),
    /// At this address and port.
    Place(SocketAddr),
    /// Who has proved to be this user.
    User(String),
}

impl Request {
    fn parse(line: &str) -> Option<Request> {
        match line {
            SHOW => Some(Request::Show(Query::default())),
            line => serde_json::from_str(line).ok(),
        }
    }
}

/// What a client gets.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This.
    Answer(Vec<u8>),
    /// What [`ControlSocket::answer`] brings.
    Later,
    /// The client's stream goes over to a capture.
    Capture(Order),
}

/// A listening socket that is removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    sessions: Vec<Session>,
    /// Clients that want to see frames.
    watchers: Vec<(UnixStream, Order)>,
    /// When it last looked for clients.
    looked: u64,
}

/// A client; nothing that it does or leaves undone makes control wait.
#[derive(Debug)]
struct Session {
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// It has asked for what takes time.
    waits: bool,
}

impl ControlSocket {
    /// Listens at `path`, in place of a socket that nobody listens at any more. Only the owner may connect.
    pub fn bind(path: &Path) -> Result<ControlSocket, Error> {
        let failed = |error| Error::Io {
            what: format!("control socket {}", path.display()),
            error,
        };
        if UnixStream::connect(path).is_ok() {
            return Err(Error::Running(path.to_owned()));
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
            watchers: Vec::new(),
            looked: 0,
        })
    }

    /// Does for each client what can be done without waiting. Looks for others once a millisecond: that is a system
    /// call.
    pub fn serve(&mut self, now: u64, mut reply: impl FnMut(Request) -> Reply) {
        if std::mem::replace(&mut self.looked, now) == now && self.sessions.is_empty() {
            return;
        }
        while let Ok((stream, _)) = self.listener.accept() {
            if self.sessions.len() < MOST_SESSIONS && stream.set_nonblocking(true).is_ok() {
                self.sessions.push(Session {
                    stream,
                    request: Vec::new(),
                    answer: Vec::new(),
                    waits: false,
                });
            }
        }
        let watchers = &mut self.watchers;
        self.sessions
            .retain_mut(|session| session.advance(&mut reply, watchers));
    }

    /// A client that wants to see frames.
    pub fn take_watcher(&mut self) -> Option<(UnixStream, Order)> {
        self.watchers.pop()
    }

    /// Answers those who wait.
    pub fn answer(&mut self, answer: &[u8]) {
        for session in self.sessions.iter_mut().filter(|session| session.waits) {
            session.answer = answer.to_vec();
            session.waits = false;
        }
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
    fn advance(
        &mut self,
        reply: &mut impl FnMut(Request) -> Reply,
        watchers: &mut Vec<(UnixStream, Order)>,
    ) -> bool {
        if self.waits {
            return true;
        }
        if self.answer.is_empty() {
            match self.read_line() {
                Ok(Some(line)) => match Request::parse(&line).map(reply) {
                    Some(Reply::Answer(answer)) => self.answer = answer,
                    Some(Reply::Later) => {
                        self.waits = true;
                        return true;
                    }
                    Some(Reply::Capture(order)) => {
                        watchers.extend(self.stream.try_clone().map(|stream| (stream, order)));
                        return false;
                    }
                    None => self.answer = b"{\"error\":\"expected: show, or a request\"}".to_vec(),
                },
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

/// Asks a running gateway for its status, page by page, until `most` SAs or SPD entries are there.
pub fn ask(path: &Path, mut query: Query, most: usize) -> Result<Status, Error> {
    let mut status: Status = request(path, &Request::Show(query.clone()), PATIENCE)?;
    while let Some(next) = status.next {
        let lists = [status.sas.len(), status.spd.len(), status.tunnels.len()];
        if lists.iter().any(|length| *length >= most) {
            break;
        }
        query.from = next;
        let page: Status = request(path, &Request::Show(query.clone()), PATIENCE)?;
        status.next = page.next;
        status.sas.extend(page.sas);
        status.spd.extend(page.spd);
        status.tunnels.extend(page.tunnels);
        status.filters.extend(page.filters);
    }
    status.sas.truncate(most);
    status.spd.truncate(most);
    status.tunnels.truncate(most);
    status.filters.truncate(most);
    Ok(status)
}

/// Asks a running gateway for events.
pub fn events(path: &Path, after: u64, last: bool) -> Result<EventPage, Error> {
    request(path, &Request::Events { after, last }, PATIENCE)
}

/// Asks a running gateway what would become of a packet.
pub fn explain(path: &Path, question: &Question) -> Result<Explanation, Error> {
    request(path, &Request::Explain(question.clone()), PATIENCE)
}

/// Has a running gateway read its policy file again.
pub fn reload(path: &Path, trial: bool) -> Result<ReloadReport, Error> {
    request(path, &Request::Reload { trial }, RELOAD_PATIENCE)
}

/// Has a running gateway begin IKE anew.
pub fn restart_ike(path: &Path) -> Result<Begun, Error> {
    request(path, &Request::RestartIke, PATIENCE)
}

/// Asks a running gateway where its policy came from.
pub fn policy(path: &Path) -> Result<PolicyStatus, Error> {
    request(path, &Request::Policy, PATIENCE)
}

/// Has a running gateway begin a key exchange.
pub fn initiate(path: &Path, connection: &str, child: Option<&str>) -> Result<Begun, Error> {
    let (connection, child) = (connection.to_owned(), child.map(str::to_owned));
    request(path, &Request::Initiate { connection, child }, PATIENCE)
}

/// Has a running gateway end a connection, or what one peer has of it.
pub fn terminate(path: &Path, connection: &str, peer: Option<Whom>) -> Result<Begun, Error> {
    let connection = connection.to_owned();
    request(path, &Request::Terminate { connection, peer }, PATIENCE)
}

/// Has a running gateway copy frames: the stream that they come from.
pub fn capture(path: &Path, order: &Order) -> Result<UnixStream, Error> {
    open(path, &Request::Capture(order.clone()))
}

/// Sends a request.
fn open(path: &Path, request: &Request) -> Result<UnixStream, Error> {
    let failed = |error| Error::Io {
        what: format!("control socket {}", path.display()),
        error,
    };
    let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Error::NoGateway(path.to_owned()),
        ErrorKind::PermissionDenied => Error::NotAllowed(path.to_owned()),
        _ => failed(error),
    })?;
    stream.write_all(&line).map_err(failed)?;
    Ok(stream)
}

fn request<T: DeserializeOwned>(
    path: &Path,
    request: &Request,
    patience: Duration,
) -> Result<T, Error> {
    let failed = |error| Error::Io {
        what: format!("control socket {}", path.display()),
        error,
    };
    let mut stream = open(path, request)?;
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    serde_json::from_slice(&answer).map_err(|error| failed(error.into()))
}
