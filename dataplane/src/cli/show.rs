//! `portcullis show`.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{events, fail, table};
use crate::socket;
use crate::status::{Query, What};

/// Asks the gateway behind `socket` and prints the answer.
pub(super) fn show(
    what: What,
    name: Option<String>,
    limit: Option<usize>,
    json: bool,
    socket: &Path,
) -> ExitCode {
    if what == What::Events {
        return events::events(false, json, socket);
    }
    let phase = phase(what);
    let query = Query {
        what: phase.map_or(what, |_| What::Filters),
        name,
        from: 0,
    };
    let mut status = match socket::ask(socket, query, limit.unwrap_or(usize::MAX)) {
        Ok(status) => status,
        Err(error) => return fail(&error),
    };
    if let Some(phase) = phase {
        status.filters.retain(|filter| filter.phase == phase);
    }
    if !json {
        table::print(&status, what);
        return ExitCode::SUCCESS;
    }
    let schema = status.schema;
    match what {
        What::Sa => {
            print_json(&json!({ "schema": schema, "sas": status.sas, "sa_count": status.sa_count }))
        }
        What::Tunnels => print_json(
            &json!({ "schema": schema, "tunnels": status.tunnels, "tunnel_count": status.tunnel_count }),
        ),
        What::Filters | What::MmFilter | What::QmFilter => {
            print_json(&json!({ "schema": schema, "filters": status.filters }))
        }
        What::Config => print_json(&json!({ "schema": schema, "config": status.config })),
        What::Stats => print_json(
            &json!({ "schema": schema, "statistics": status.statistics, "tunnel_count": status.tunnel_count }),
        ),
        What::Events => {} // told above
        What::Spd => print_json(
            &json!({ "schema": schema, "spd": status.spd, "spd_count": status.spd_count }),
        ),
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
        What::Workers | What::Cycles => print_json(
            &json!({ "schema": schema, "workers": status.workers, "reloads": status.reloads }),
        ),
        What::Ike => {
            let ike = status.ike;
            print_json(&json!({
                "schema": schema, "ikes": ike.ikes, "failures": ike.failures, "counters": ike.counters
            }));
        }
        What::Child => print_json(&json!({ "schema": schema, "children": status.ike.children })),
        What::All => print_json(&status),
    }
    ExitCode::SUCCESS
}

/// The phase whose filters alone are asked for.
fn phase(what: What) -> Option<&'static str> {
    match what {
        What::MmFilter => Some("main-mode"),
        What::QmFilter => Some("quick-mode"),
        _ => None,
    }
}

/// Prints a value as one JSON document.
pub(super) fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("portcullis: {error}"),
    }
}
