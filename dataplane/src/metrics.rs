//! Figures for Prometheus, over HTTP. A thread of its own asks over the control socket, page by page like any other
//! client, and makes the text: control is not kept longer by it than by `show`.

mod exposition;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
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
/// A client that takes longer to ask, or to take one piece of the answer, is left.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the end is looked for.
const PAUSE: Duration = Duration::from_millis(50);

/// Where figures will be served, which nobody else can take away any more.
#[derive(Debug)]
pub struct Place(TcpListener);

impl Place {
    /// Takes an address.
    pub fn take(listen: SocketAddr) -> Result<Place, Error> {
        let listener = TcpListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        listener.map(Place).map_err(|error| Error::Io {
            what: format!("metrics at {listen}"),
            error,
        })
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
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Serves the figures of the gateway behind the control socket `socket`.
    pub fn serve(Place(listener): Place, socket: &Path) -> Result<Metrics, Error> {
        let failed = |error| Error::Io {
            what: "metrics".into(),
            error,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, socket): (_, PathBuf) = (stop.clone(), socket.to_owned());
        let body = move || {
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A client that has gone is no loss.
                    Ok((client, _)) => drop(attend(client, &socket)),
                    Err(_) => std::thread::sleep(PAUSE),
                }
            }
        };
        let thread = std::thread::Builder::new().name("metrics".into());
        let thread = thread.spawn(body).map_err(failed)?;
        Ok(Metrics {
            stop,
            thread: Some(thread),
        })
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
            match Metrics::serve(place, &policy.runtime.control_socket) {
                Ok(metrics) => self.metrics = Some(metrics),
                Err(error) => tracing::error!(%error, "figures are not served"),
            }
        }
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A request that is being answered may wait for control, which has ended: it is not waited for.
        drop(self.thread.take());
    }
}

/// Reads the head of a request (RFC 9112 3), answers it, and closes.
fn attend(mut client: TcpStream, socket: &Path) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
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
    client.write_all(head.as_bytes())?;
    if method != "HEAD" {
        client.write_all(body.as_bytes())?;
    }
    client.shutdown(std::net::Shutdown::Write)
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

    #[test]
    fn whoever_asks_nonsense_gets_nothing_and_ends_nothing() {
        let place = Place::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = place.0.local_addr().unwrap();
        let server = Metrics::serve(place, Path::new("/nonexistent")).unwrap();
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
