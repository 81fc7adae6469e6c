//! `portcullis show`.

use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use super::{fail, table};
use crate::socket;

/// What to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Security associations: packets, bytes, rates.
    Sa,
    /// The security policy database, in order.
    Spd,
    /// Ports and interfaces.
    Ports,
    /// Packets not forwarded, by reason.
    Drops,
    /// Neighbours.
    Neighbors,
    /// Workers.
    Workers,
    /// Cycles a packet takes in each stage of a worker, if the policy says `cycle-budget = true`.
    Cycles,
    /// Everything.
    All,
}

/// Asks the gateway behind `socket` and prints the answer.
pub(super) fn show(what: What, json: bool, socket: &Path) -> ExitCode {
    let status = match socket::ask(socket) {
        Ok(status) => status,
        Err(error) => return fail(&error),
    };
    if !json {
        table::print(&status, what);
        return ExitCode::SUCCESS;
    }
    let schema = status.schema;
    match what {
        What::Sa => print_json(&json!({ "schema": schema, "sas": status.sas })),
        What::Spd => print_json(&json!({ "schema": schema, "spd": status.spd })),
        What::Ports => {
            print_json(
                &json!({ "schema": schema, "ports": status.ports, "buffers": status.buffers }),
            );
        }
        What::Drops => {
            let workers = status
                .workers
                .iter()
                .map(|w| json!({ "worker": w.worker, "drops": w.drops }));
            let workers: Vec<_> = workers.collect();
            let control = status.control_drops;
            print_json(
                &json!({ "schema": schema, "drops": status.drops, "workers": workers, "control": control }),
            )
        }
        What::Neighbors => print_json(&json!({ "schema": schema, "neighbors": status.neighbors })),
        What::Workers | What::Cycles => {
            print_json(&json!({ "schema": schema, "workers": status.workers }))
        }
        What::All => print_json(&status),
    }
    ExitCode::SUCCESS
}

/// Prints a value as one JSON document.
pub(super) fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("portcullis: {error}"),
    }
}
