//! `portcullis run`.

use std::path::Path;
use std::process::ExitCode;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{check, fail, show, table};
use crate::gateway::{self, Signals};
use crate::policy_file;
use crate::status::{Status, What};

/// Runs a gateway and prints its final report.
pub(super) fn run(config: &Path, drain: bool, json: bool) -> ExitCode {
    let Some(policy) = check::tell(policy_file::load_to_run(config)) else {
        return ExitCode::FAILURE;
    };
    let signals = Signals::default();
    for (signal, flag) in [
        (SIGINT, &signals.stop),
        (SIGTERM, &signals.stop),
        (SIGHUP, &signals.reload),
    ] {
        if let Err(error) = signal_hook::flag::register(signal, flag.clone()) {
            return fail(&error);
        }
    }
    match gateway::run(config, policy, drain, &signals) {
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
    for what in [What::Ports, What::Sa, What::Drops, What::Workers] {
        println!();
        table::print(status, what);
    }
}
