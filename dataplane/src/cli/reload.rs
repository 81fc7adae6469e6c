//! `portcullis reload`.

use std::path::Path;
use std::process::ExitCode;

use super::{fail, show};
use crate::report::{Difference, Outcome, ReloadReport};
use crate::socket;

/// Has the gateway behind `socket` read its policy again, and prints what came of it.
pub(super) fn reload(trial: bool, json: bool, socket: &Path) -> ExitCode {
    match socket::reload(socket, trial) {
        Ok(report) => tell(&report, json),
        Err(error) => fail(&error),
    }
}

/// Prints what came of it, and gives the exit code for that.
pub(super) fn tell(report: &ReloadReport, json: bool) -> ExitCode {
    match json {
        true => show::print_json(report),
        false => print(report),
    }
    match report.outcome {
        Outcome::Refused => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn print(report: &ReloadReport) {
    report
        .warnings
        .iter()
        .for_each(|warning| eprintln!("{warning}"));
    report
        .reasons
        .iter()
        .for_each(|reason| eprintln!("{reason}"));
    if let Some(failure) = &report.store_failure {
        eprintln!("policy store: {failure}");
    }
    match report.outcome {
        Outcome::Refused => return eprintln!("portcullis: refused; nothing has changed"),
        Outcome::Unchanged => return println!("the policy is as before"),
        Outcome::Planned => println!("would change:"),
        Outcome::Applied => println!("changed:"),
    }
    for (what, difference) in [
        ("SAs", &report.sas),
        ("SPD entries", &report.spd),
        ("connections", &report.connections),
        ("routes", &report.routes),
        ("static neighbours", &report.neighbors),
    ] {
        print_difference(what, difference);
    }
    for setting in &report.settings {
        println!("  {setting}");
    }
    if report.spd_reordered {
        println!("  the order of SPD entries");
    }
    let (read, prepare, apply) = (report.read_ms, report.prepare_ms, report.apply_ms);
    println!("read in {read:.1} ms, prepared in {prepare:.1} ms, applied in {apply:.1} ms");
}

fn print_difference(what: &str, difference: &Difference) {
    if difference.is_empty() {
        return;
    }
    println!("  {what} ({} unchanged)", difference.unchanged);
    for (how, count, names) in [
        ("added", difference.added, &difference.added_names),
        ("removed", difference.removed, &difference.removed_names),
        ("changed", difference.changed, &difference.changed_names),
    ] {
        if count != 0 {
            let more = match count - names.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            println!("    {how} {count}: {}{more}", names.join(", "));
        }
    }
    for (name, fields) in difference
        .changed_names
        .iter()
        .zip(&difference.changed_fields)
    {
        println!("      {name}: {fields}");
    }
}
