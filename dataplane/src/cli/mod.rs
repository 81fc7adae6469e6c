//! The command line.

mod check;
mod run;
mod show;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A bare-metal IPsec VPN concentrator on DPDK.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway until it is interrupted.
    Run {
        /// Policy file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// End when all capture files that ports read are read and their packets have left.
        #[arg(long)]
        drain: bool,
        /// Print the final report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Validate a policy file without starting anything.
    Check {
        /// Policy file.
        file: PathBuf,
    },
    /// Show what a running gateway does.
    Show {
        /// What to show.
        what: show::What,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
}

/// Runs the command.
pub fn main() -> ExitCode {
    start_log();
    match Arguments::parse().command {
        Command::Run {
            config,
            drain,
            json,
        } => run::run(&config, drain, json),
        Command::Check { file } => check::check(&file),
        Command::Show { what, json, socket } => show::show(what, json, &socket),
    }
}

/// Log lines go to standard error; `PORTCULLIS_LOG` chooses levels, as in `debug` or `portcullis=trace`.
fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}

/// Prints an error and gives the exit code for it.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("portcullis: {error}");
    ExitCode::FAILURE
}
