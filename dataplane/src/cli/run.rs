//! `portcullis run`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::{check, fail, show, table};
use crate::gateway;
use crate::status::Status;

/// Runs a gateway and prints its final report.
pub(super) fn run(config: &Path, drain: bool, json: bool) -> ExitCode {
    let Some(policy) = check::load_and_tell(config) else {
        return ExitCode::FAILURE;
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, stop.clone()) {
            return fail(&error);
        }
    }
    match gateway::run(policy, drain, &stop) {
        Ok(status) => {
            report(&status, json);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn report(status: &Status, json: bool) {
    if json {
        show::print_json(status);
        return;
    }
    let seconds = status.uptime_ms as f64 / 1000.0;
    println!("ran {seconds:.1} s");
    for what in [
        show::What::Ports,
        show::What::Sa,
        show::What::Drops,
        show::What::Workers,
    ] {
        println!();
        table::print(status, what);
    }
}
