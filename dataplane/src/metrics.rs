//! Figures for Prometheus, over HTTP. A thread of its own asks over the control socket, page by page like any other
//! client, and makes the text: control is not kept longer by it than by `show`.

mod exposition;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_config::Metrics as Settings;

use crate::Error;
use crate::control::Control;
use crate::events::Event;
use crate::socket;
use crate::status::Query;

/// SAs, tunnels and SPD entries with series of their own: more are for `show`, not for a time series database.
const MOST: usize = 10_000;
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
const FIGURES: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
/// Bytes of a request's head. What may follow it is not read.
const LONGEST_HEAD: usize = 8192;
/// A client that takes longer to ask is left.
const PATIENCE: Duration = Duration::from_secs(2);
/// A client that takes longer for the whole answer, however small its pieces, is left.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
/// How often the end is looked for.
const PAUSE: Duration = Duration::from_millis(50);
/// Milliseconds between two looks at whether the door still stands open.
const LOOK: u64 = 1000;

/// The socket that a thread takes clients from, for as long as it is there.
type Door = Arc<Mutex<Option<TcpListener>>>;

/// Closes or opens it, now: the thread holds it for no longer than it takes to look for a client.
fn set(door: &Door, listener: Option<TcpListener>) {
    *door.lock().unwrap_or_else(PoisonError::into_inner) = listener;
}

fn listen(at: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |error| Error::Io {
        what: format!("metrics at {at}"),
        error,
    };
    let listener = TcpListener::bind(at).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Where figures will be served, which nobody else can take away any more, with the thread that will do it. It is free
/// again if this is dropped.
#[derive(Debug)]
pub struct Place {
    at: SocketAddr,
    door: Door,
    stop: Arc<AtomicBool>,
    /// Whose figures.
    start: Sender<PathBuf>,
}

impl Place {
    /// Takes an address.
    pub fn take(at: SocketAddr) -> Result<Place, Error> {
        let door: Door = Arc::new(Mutex::new(Some(listen(at)?)));
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, (start, started)) = (stop.clone(), channel::<PathBuf>());
        let clients = door.clone();
        let body = move || {
            let Ok(socket) = started.recv() else {
                return;
            };
            while !ended.load(Ordering::Relaxed) {
                let door = clients.lock().unwrap_or_else(PoisonError::into_inner);
                let client = door.as_ref().and_then(|door| door.accept().ok());
                drop(door);
                match client {
                    // A client that has gone is no loss.
                    Some((client, _)) => drop(attend(client, &socket)),
                    None => std::thread::sleep(PAUSE),
                }
            }
        };
        let thread = std::thread::Builder::new().name("metrics".into());
        // A request that is being answered may wait for control, which may have ended: the thread is never waited for.
        drop(thread.spawn(body).map_err(|error| Error::Io {
            what: "thread for metrics".into(),
            error,
        })?);
        Ok(Place {
            at,
            door,
            stop,
            start,
        })
    }

    /// What a policy with `new` settings takes beyond what `old` ones have. An error is one of that policy, which is
    /// refused then as a whole.
    ///
    /// All addresses and one of them do not go together at one port: what is served now is closed before, and taken
    /// back if the new one fails, if need be later by [`Control::keep_metrics`]. A `trial` does not go as far.
    pub fn beyond(
        old: &Settings,
        new: &Settings,
        served: Option<Served>,
        trial: bool,
    ) -> Result<Option<Place>, Error> {
        let Some(at) = new.listen.filter(|_| old != new) else {
            return Ok(None);
        };
        let in_the_way = old.listen.filter(|old| overlap(*old, at));
        let Some((served, before)) = served.zip(in_the_way) else {
            return Place::take(at).map(Some);
        };
        if trial {
            return Ok(None);
        }
        set(&served.0, None);
        let place = Place::take(at).map(Some);
        place.inspect_err(|_| set(&served.0, listen(before).ok()))
    }
}

/// True if the ports are the same, and the addresses too or one of them is all. RFC 4291 2.5.5.2: `::ffff:192.0.2.1` is
/// 192.0.2.1.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let [one, other] = [a, b].map(|at| at.ip().to_canonical());
    a.port() == b.port() && (one == other || one.is_unspecified() || other.is_unspecified())
}

/// What can close the socket of a running server, and open it again.
#[derive(Clone, Debug)]
pub struct Served(Door);

/// A running server; it ends when dropped. One client after the other: whoever asks may be anybody, and costs one thread
/// a few seconds at most.
pub struct Metrics {
    at: SocketAddr,
    door: Door,
    stop: Arc<AtomicBool>,
    /// When the door is looked at again.
    look: u64,
    /// Since when it cannot be opened, and how often that was tried.
    away: Option<(u64, u64)>,
}

impl Metrics {
    /// Serves the figures of the gateway behind the control socket `socket`.
    pub fn serve(place: Place, socket: &Path) -> Metrics {
        if place.start.send(socket.to_owned()).is_err() {
            tracing::error!("the thread that serves figures has ended");
        }
        let Place { at, door, stop, .. } = place;
        Metrics {
            at,
            door,
            stop,
            look: 0,
            away: None,
        }
    }

    /// Opens the door if it is closed: a reload has closed it, and did not get the address that it wanted or did not come
    /// back. Somebody else may have the old one meanwhile: it is tried until it is ours, and told when that begins and
    /// ends.
    fn keep(&mut self, now: u64) -> Option<Event> {
        if now < self.look {
            return None;
        }
        self.look = now + LOOK;
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if door.is_some() {
            return None;
        }
        let address = self.at.to_string();
        match (listen(self.at), &mut self.away) {
            (Ok(listener), away) => {
                *door = Some(listener);
                away.take().map(|(since, attempts)| Event::MetricsBack {
                    address,
                    away_s: (now - since) / 1000,
                    attempts,
                })
            }
            (Err(_), Some((_, attempts))) => {
                *attempts += 1;
                None
            }
            (Err(error), away) => {
                *away = Some((now, 1));
                let reason = error.to_string();
                Some(Event::MetricsAway { address, reason })
            }
        }
    }

    /// What ends the alert of one that was away and goes: figures are served elsewhere, or nobody wants them any more.
    fn leave(self, now: u64, elsewhere: Option<SocketAddr>) -> Option<Event> {
        let (since, attempts) = self.away?;
        if elsewhere.is_none() {
            tracing::info!("figures are no longer wanted at {}", self.at);
        }
        Some(Event::MetricsBack {
            address: elsewhere.unwrap_or(self.at).to_string(),
            away_s: now.saturating_sub(since) / 1000,
            attempts,
        })
    }

    /// For who needs its address.
    pub fn served(&self) -> Served {
        Served(self.door.clone())
    }
}

impl Control {
    /// Serves figures where the policy in force says: at `place` if it is another one than before.
    pub fn serve_metrics(&mut self, now: u64, place: Option<Place>) {
        let policy = &self.installed.policy;
        let listen = policy.metrics.listen;
        if place.is_none() && listen.is_some() {
            return;
        }
        let new = place.map(|place| Metrics::serve(place, &policy.runtime.control_socket));
        let old = std::mem::replace(&mut self.metrics, new);
        if let Some(event) = old.and_then(|old| old.leave(now, listen)) {
            self.raise(now, event);
        }
    }

    /// Serves figures again where a reload has left nothing. Not while one is under way: it may need the address.
    pub fn keep_metrics(&mut self, now: u64) {
        if let Some(event) = self.metrics.as_mut().and_then(|metrics| metrics.keep(now)) {
            self.raise(now, event);
        }
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        set(&self.door, None);
    }
}

/// Reads the head of a request (RFC 9112 3), answers it, and closes.
fn attend(mut client: TcpStream, socket: &Path) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let (begun, mut head) = (Instant::now(), Vec::new());
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = client.read(&mut piece)?;
        head.extend(piece.iter().take(count));
        if count == 0 || head.len() > LONGEST_HEAD || begun.elapsed() > PATIENCE {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let (status, kind, body) = answer(method, target, socket);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let begun = Instant::now();
    write(&mut client, head.as_bytes(), begun)?;
    if method != "HEAD" {
        write(&mut client, body.as_bytes(), begun)?;
    }
    client.shutdown(std::net::Shutdown::Write)
}

/// Writes all of a piece of the answer that was begun then.
fn write(client: &mut TcpStream, mut bytes: &[u8], begun: Instant) -> std::io::Result<()> {
    while !bytes.is_empty() {
        // None at all is refused, and ends it.
        let left = LONGEST_ANSWER.saturating_sub(begun.elapsed());
        client.set_write_timeout(Some(left))?;
        let count = client.write(bytes)?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Status, content type and body.
fn answer(method: &str, target: &str, socket: &Path) -> (&'static str, &'static str, String) {
    if !matches!(method, "GET" | "HEAD") {
        return ("405 Method Not Allowed", PLAIN, "only GET\n".into());
    }
    match target.split('?').next().unwrap_or_default() {
        "/metrics" => match socket::ask(socket, Query::default(), MOST) {
            Ok(status) => ("200 OK", FIGURES, exposition::text(&status)),
            Err(error) => ("503 Service Unavailable", PLAIN, format!("{error}\n")),
        },
        "/" => {
            let text = "portcullis: the figures are at /metrics\n";
            ("200 OK", PLAIN, text.into())
        }
        _ => {
            let text = "the figures are at /metrics\n";
            ("404 Not Found", PLAIN, text.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(at: SocketAddr, request: &str) -> String {
        let mut client = TcpStream::connect(at).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap_or_default();
        answer
    }

    /// An address that nobody listens at.
    fn free() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    #[test]
    fn a_place_that_is_not_used_is_free_again() {
        let at = free();
        let place = Place::take(at).unwrap();
        Place::take(at).unwrap_err();
        drop(place);
        let begun = Instant::now();
        while Place::take(at).is_err() {
            assert!(begun.elapsed() < PATIENCE);
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut client, _) = listener.accept().unwrap();
        let now = Instant::now();
        // Most of its time is over, and then all.
        let begun = now.checked_sub(LONGEST_ANSWER * 9 / 10).unwrap();
        write(&mut client, &vec![0; 16 << 20], begun).unwrap_err();
        assert!(now.elapsed() < LONGEST_ANSWER);
        let begun = now.checked_sub(LONGEST_ANSWER).unwrap();
        write(&mut client, &[0], begun).unwrap_err();
    }

    #[test]
    fn whoever_asks_nonsense_gets_nothing_and_ends_nothing() {
        let at = free();
        let place = Place::take(at).unwrap();
        let server = Metrics::serve(place, Path::new("/nonexistent"));
        let huge = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n";
        for request in [
            huge,
            "\r\n\r\n",
            "\0\r\n\r\n",
            "GET\r\n\r\n",
            "POST /metrics HTTP/1.1\r\n\r\n",
        ] {
            ask(at, request);
        }
        ask(at, &"x".repeat(2 * LONGEST_HEAD));
        assert!(ask(at, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask(at, "GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
        assert!(ask(at, "HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
        drop(server);
    }

    fn at(address: &str, port: u16) -> Settings {
        let listen = Some(SocketAddr::new(address.parse().unwrap(), port));
        Settings { listen }
    }

    /// A server at a free port of 127.0.0.1, and its settings.
    fn server() -> (Metrics, Settings) {
        let settings = at("127.0.0.1", free().port());
        let place = Place::beyond(&Settings::default(), &settings, None, false);
        let place = place.unwrap().unwrap();
        (Metrics::serve(place, Path::new("/nonexistent")), settings)
    }

    fn answers(settings: &Settings) -> bool {
        ask(settings.listen.unwrap(), "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 ")
    }

    #[test]
    fn a_server_moves_between_addresses_that_overlap() {
        for (before, after) in [
            ("127.0.0.1", "0.0.0.0"),
            ("127.0.0.1", "::"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("0.0.0.0", "::"),
            ("0.0.0.0", "::ffff:0.0.0.0"),
            ("::ffff:0.0.0.0", "127.0.0.1"),
        ] {
            let port = free().port();
            let (old, new) = (at(before, port), at(after, port));
            let place = Place::take(old.listen.unwrap()).unwrap();
            let server = Metrics::serve(place, Path::new("/nonexistent"));
            let served = || Some(server.served());
            assert!(Place::beyond(&old, &new, served(), true).unwrap().is_none());
            let place = Place::beyond(&old, &new, served(), false);
            let place = place.unwrap_or_else(|error| panic!("{before} to {after}: {error}"));
            let moved = Metrics::serve(place.unwrap(), Path::new("/nonexistent"));
            drop(server);
            assert!(answers(&at("127.0.0.1", port)), "{before} to {after}");
            drop(moved);
        }
    }

    #[test]
    fn a_server_that_cannot_move_stays() {
        let (mut server, old) = server();
        let port = old.listen.unwrap().port();
        let _stranger = TcpListener::bind(("127.0.0.2", port)).unwrap();
        let everywhere = at("0.0.0.0", port);
        Place::beyond(&old, &everywhere, Some(server.served()), false).unwrap_err();
        assert!(answers(&old), "before anybody looks");
        assert_eq!(server.keep(0), None);
    }

    #[test]
    fn a_server_that_can_neither_move_nor_go_back_comes_again() {
        let (mut server, old) = server();
        let at = old.listen.unwrap();
        // A reload that ends between the two.
        set(&server.served().0, None);
        let stranger = TcpListener::bind(at).unwrap();
        let away = server.keep(5000);
        let Some(Event::MetricsAway { address, reason }) = away else {
            panic!("{away:?}");
        };
        assert_eq!(address, at.to_string());
        assert!(reason.contains("in use"), "{reason}");
        // It is told once, and tried each second.
        for now in (5100..9000).step_by(100) {
            assert_eq!(server.keep(now), None, "{now}");
        }
        drop(stranger);
        let back = Event::MetricsBack {
            address,
            away_s: 4,
            attempts: 4,
        };
        assert_eq!(server.keep(9000), Some(back));
        assert!(answers(&old));
        assert_eq!(server.keep(20_000), None);
        assert_eq!(server.leave(30_000, None), None);
    }

    #[test]
    fn a_server_that_is_away_when_a_reload_moves_or_removes_it_is_so_no_longer() {
        for elsewhere in [None, Some(free())] {
            let (mut server, old) = server();
            set(&server.served().0, None);
            let _stranger = TcpListener::bind(old.listen.unwrap()).unwrap();
            assert!(server.keep(5000).is_some());
            assert_eq!(server.keep(7000), None);
            let back = Event::MetricsBack {
                address: elsewhere.or(old.listen).unwrap().to_string(),
                away_s: 3,
                attempts: 2,
            };
            assert_eq!(server.leave(8000, elsewhere), Some(back));
        }
    }
}
