//! Figures for Prometheus, over HTTP. A thread of its own asks over the control socket, page by page like any other
//! client, and makes the text: control is not kept longer by it than by `show`.

mod exposition;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tiny_http::{Header, Method, Response, Server};

use crate::Error;
use crate::socket;
use crate::status::Query;

/// SAs, tunnels and SPD entries with series of their own: more are for `show`, not for a time series database.
const MOST: usize = 10_000;
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A running server; it ends when dropped.
pub struct Metrics {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Serves the figures of the gateway behind the control socket `socket` at `listen`.
    pub fn serve(listen: SocketAddr, socket: &Path) -> Result<Metrics, Error> {
        let failed = |error| Error::Io {
            what: format!("metrics at {listen}"),
            error,
        };
        let server = Server::http(listen).map_err(|error| failed(std::io::Error::other(error)))?;
        let server = Arc::new(server);
        let (requests, socket): (_, PathBuf) = (server.clone(), socket.to_owned());
        let body = move || {
            for request in requests.incoming_requests() {
                let response = answer(request.method(), request.url(), &socket);
                // A client that has gone is no loss.
                drop(request.respond(response));
            }
        };
        let thread = std::thread::Builder::new().name("metrics".into());
        let thread = thread.spawn(body).map_err(failed)?;
        Ok(Metrics {
            server,
            thread: Some(thread),
        })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.server.unblock();
        // A request that is being answered may wait for control, which has ended: it is not waited for.
        drop(self.thread.take());
    }
}

fn answer(method: &Method, url: &str, socket: &Path) -> Response<std::io::Cursor<Vec<u8>>> {
    let plain = |text: &str, code: u16| Response::from_string(text).with_status_code(code);
    let path = url.split('?').next().unwrap_or_default();
    if !matches!(method, Method::Get | Method::Head) {
        return plain("only GET\n", 405);
    }
    match path {
        "/metrics" => match socket::ask(socket, Query::default(), MOST) {
            Ok(status) => {
                let response = Response::from_string(exposition::text(&status));
                match Header::from_bytes("Content-Type", CONTENT_TYPE) {
                    Ok(header) => response.with_header(header),
                    Err(()) => response,
                }
            }
            Err(error) => plain(&format!("{error}\n"), 503),
        },
        "/" => plain("portcullis: the figures are at /metrics\n", 200),
        _ => plain("the figures are at /metrics\n", 404),
    }
}
