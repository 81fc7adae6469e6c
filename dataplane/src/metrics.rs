//! Figures for Prometheus, over HTTP. A thread of its own asks over the control socket, page by page like any other
//! client, and makes the text: control is not kept longer by it than by `show`.

mod exposition;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use portcullis_config::Metrics as Settings;

use crate::Error;
use crate::control::Control;
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

/// Where figures will be served, which nobody else can take away any more, with the thread that will do it. It is free
/// again if this is dropped.
#[derive(Debug)]
pub struct Place {
    stop: Arc<AtomicBool>,
    /// Whose figures.
    start: Sender<PathBuf>,
}

impl Place {
    /// Takes an address.
    pub fn take(listen: SocketAddr) -> Result<Place, Error> {
        let failed = |error| Error::Io {
            what: format!("metrics at {listen}"),
            error,
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, (start, started)) = (stop.clone(), channel::<PathBuf>());
        let body = move || {
            let Ok(socket) = started.recv() else {
                return;
            };
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A client that has gone is no loss.
                    Ok((client, _)) => drop(attend(client, &socket)),
                    Err(_) => std::thread::sleep(PAUSE),
                }
            }
        };
        let thread = std::thread::Builder::new().name("metrics".into());
        // A request that is being answered may wait for control, which may have ended: the thread is never waited for.
        drop(thread.spawn(body).map_err(failed)?);
        Ok(Place { stop, start })
    }

    /// What a policy with `new` settings takes beyond what `old` ones have. An error is one of that policy, which is
    /// refused then as a whole.
    pub fn beyond(old: &Settings, new: &Settings) -> Result<Option<Place>, Error> {
        let changed = new.listen.filter(|_| old != new);
        changed.map(Place::take).transpose()
    }
}

/// A running server; it ends when dropped. One client after the other: whoever asks may be anybody, and costs one thread
/// a few seconds at most.
pub struct Metrics {
    stop: Arc<AtomicBool>,
}

impl Metrics {
    /// Serves the figures of the gateway behind the control socket `socket`.
    pub fn serve(place: Place, socket: &Path) -> Metrics {
        if place.start.send(socket.to_owned()).is_err() {
            tracing::error!("the thread that serves figures has ended");
        }
        Metrics { stop: place.stop }
    }
}

impl Control {
    /// Serves figures where the policy in force says: at `place` if it is another one than before.
    pub fn serve_metrics(&mut self, place: Option<Place>) {
        let policy = &self.installed.policy;
        if policy.metrics.listen.is_none() {
            self.metrics = None;
        }
        if let Some(place) = place {
            self.metrics = Some(Metrics::serve(place, &policy.runtime.control_socket));
        }
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
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
}
