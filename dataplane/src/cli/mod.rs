//! The command line.

mod capture;
mod check;
mod connection;
mod events;
mod explain;
mod generate;
mod policy;
mod reload;
mod run;
mod show;
mod table;
mod top;
mod tunnel_table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};

use crate::socket::{self, Whom};
use crate::status::What;

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
        /// What to show; `mm-sa`, `qm-sa`, `policy` and `statistics` are other names of `ike`, `child`, `spd` and `stats`.
        what: What,
        /// Only tunnels, SAs, SPD entries and connections whose name contains this.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// At most so many SAs, SPD entries or tunnels.
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
    /// Tell what would become of a packet, and of its answer, and why. Nothing is sent.
    ///
    /// Which SPD entry matches, which SA carries the packet or which connection would negotiate one, and which route
    /// it takes. Packets are supposed to come from where the route to their source leads.
    Explain(explain::Arguments),
    /// Copy packets of a running gateway to a pcapng file, with the keys to decrypt them, until interrupted.
    ///
    /// Only who may use the control socket can do this, and it is told as an event. Beside FILE a folder FILE.keys is
    /// made, which opens the protected packets: `WIRESHARK_CONFIG_DIR=FILE.keys wireshark -r FILE`. Whoever has it reads
    /// the traffic. Messages of IKE stay encrypted unless `key-log` of the policy keeps their keys.
    Capture(capture::Arguments),
    /// Print the latest events: tunnels that come up and go, refused peers, unknown SPIs, changes of policy.
    Events {
        /// Go on with those that come, until interrupted.
        #[arg(long, short)]
        follow: bool,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
    /// Watch tunnels and workers: rates, load and history, each second.
    ///
    /// Keys: q ends, the arrows scroll, s sorts by rate or by the order of the policy.
    Top {
        /// Only tunnels whose name contains this.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
    /// Make manual pages and shell completions, for packages.
    #[command(hide = true)]
    Generate {
        #[command(subcommand)]
        what: generate::What,
    },
    /// Begin a key exchange, and wait for its end.
    Initiate {
        /// Connection, or connection and child: `b` or `b/lans`.
        name: String,
        /// Seconds to wait; 0: not at all.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
    /// Delete the SAs of a connection, here and at the peer.
    Terminate {
        /// Connection.
        name: String,
        /// Only what the peer at this address has of it, or at this address and port; as `show ike` has it.
        #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = connection::peer)]
        peer: Option<Whom>,
        /// Only what this user has of it.
        #[arg(long, conflicts_with = "peer")]
        user: Option<String>,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
    /// Begin a part of a running gateway anew; SAs go on carrying packets.
    Restart {
        /// What.
        what: Part,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
    /// Where the policy comes from: poll the store, show, export and import.
    Policy {
        #[command(subcommand)]
        action: policy::Action,
        /// Control socket of the gateway.
        #[arg(
            long,
            global = true,
            value_name = "PATH",
            default_value = "/run/portcullis.sock"
        )]
        socket: PathBuf,
    },
    /// Have a running gateway read its policy file again, and ask its store if it has one; also done on SIGHUP.
    ///
    /// SPD, SAs, routes and static neighbours change while traffic runs, all or nothing. What stays as it is keeps
    /// its counters, sequence numbers and replay windows.
    Reload {
        /// Only print what would change.
        #[arg(long)]
        dry_run: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Control socket of the gateway.
        #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
        socket: PathBuf,
    },
}

/// What can begin anew by itself.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Part {
    /// IKE: its SAs are forgotten, those of the workers stay and are renewed in time.
    Ike,
}

/// Runs the command.
pub fn main() -> ExitCode {
    start_log();
    let command = Arguments::parse().command;
    if !matches!(command, Command::Run { .. }) {
        if let Err(error) = end_with_reader() {
            return fail(&error);
        }
    }
    match command {
        Command::Run {
            config,
            drain,
            json,
        } => run::run(&config, drain, json),
        Command::Check { file } => check::check(&file),
        Command::Show {
            what,
            name,
            limit,
            json,
            socket,
        } => show::show(what, name, limit, json, &socket),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Generate { what } => generate::generate(&what),
        Command::Top { name, socket } => top::top(name, &socket),
        Command::Capture(arguments) => capture::capture(&arguments),
        Command::Events {
            follow,
            json,
            socket,
        } => events::events(follow, json, &socket),
        Command::Initiate { name, wait, socket } => connection::initiate(&name, wait, &socket),
        Command::Terminate {
            name,
            peer,
            user,
            socket,
        } => connection::terminate(&name, peer.or(user.map(Whom::User)), &socket),
        Command::Restart {
            what: Part::Ike,
            socket,
        } => match socket::restart_ike(&socket) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Command::Policy { action, socket } => policy::policy(&action, &socket),
        Command::Reload {
            dry_run,
            json,
            socket,
        } => reload::reload(dry_run, json, &socket),
    }
}

/// A command whose reader has gone, as in `portcullis show sa | head`, ends without a word.
fn end_with_reader() -> std::io::Result<()> {
    use signal_hook::{consts::SIGPIPE, flag::register_conditional_shutdown};
    const STATUS: i32 = 128 + SIGPIPE;
    register_conditional_shutdown(SIGPIPE, STATUS, Arc::new(AtomicBool::new(true))).map(drop)
}

/// Log lines go to standard error; `PORTCULLIS_LOG` chooses levels, as in `debug` or `portcullis=trace`.
fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Prints an error and gives the exit code for it.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("portcullis: {error}");
    ExitCode::FAILURE
}
