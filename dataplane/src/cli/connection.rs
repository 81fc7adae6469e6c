//! `portcullis initiate` and `portcullis terminate`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::fail;
use crate::Error;
use crate::ike_status::{FailureStatus, IkeStatus};
use crate::socket::{self, Whom};
use crate::status::{Query, What};

/// How often the gateway is asked how far it is.
const ASK: Duration = Duration::from_millis(50);

/// Begins a key exchange, and prints how it ended.
pub(super) fn initiate(name: &str, wait: u64, socket: &Path) -> ExitCode {
    let (connection, child) = match name.split_once('/') {
        Some((connection, child)) => (connection, Some(child)),
        None => (name, None),
    };
    let begun = match socket::initiate(socket, connection, child) {
        Ok(begun) => begun,
        Err(error) => return fail(&error),
    };
    if let Some(error) = begun.error {
        eprintln!("portcullis: {error}");
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(wait) {
        std::thread::sleep(ASK);
        let ike = match ask(socket, connection) {
            Ok(ike) => ike,
            Err(error) => return fail(&error),
        };
        let ours = |name: &str| child.is_none_or(|child| child == name);
        let mut children = ike.children.iter();
        if let Some(child) =
            children.find(|c| c.connection == connection && ours(&c.name) && c.in_use)
        {
            println!("{connection}/{} is established", child.name);
            return ExitCode::SUCCESS;
        }
        let recent = |failure: &&FailureStatus| {
            failure.at_ms >= begun.at_ms && failure.connection.as_deref() == Some(connection)
        };
        if let Some(failure) = ike.failures.iter().find(recent) {
            eprintln!("portcullis: {name}: {}", failure.explanation);
            for mismatch in &failure.mismatches {
                eprintln!("    offered {mismatch}");
            }
            return ExitCode::FAILURE;
        }
    }
    if wait == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("portcullis: {name}: not established after {wait} s");
    ExitCode::FAILURE
}

fn ask(socket: &Path, connection: &str) -> Result<IkeStatus, Error> {
    let query = Query {
        what: What::Child,
        name: Some(connection.to_owned()),
        from: 0,
    };
    Ok(socket::ask(socket, query, 0)?.ike)
}

/// `ADDRESS` or `ADDRESS:PORT`, an IPv6 address with a port in brackets.
pub(super) fn peer(text: &str) -> Result<Whom, String> {
    let place = |_| text.parse().map(Whom::Place);
    let read = text.parse().map(Whom::Address).or_else(place);
    read.map_err(|_| "expected an address, or an address and a port".to_owned())
}

/// Ends a connection, or what one peer has of it.
pub(super) fn terminate(name: &str, peer: Option<Whom>, socket: &Path) -> ExitCode {
    match socket::terminate(socket, name, peer) {
        Ok(begun) => match begun.error {
            Some(error) => {
                eprintln!("portcullis: {error}");
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        },
        Err(error) => fail(&error),
    }
}
