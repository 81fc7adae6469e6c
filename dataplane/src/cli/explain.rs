//! `portcullis explain`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use portcullis_config::Policy;

use super::{check, fail, show};
use crate::explain::{Explanation, Question, RouteFound, Scene, Way, explain as answer};
use crate::{fib, socket};

/// Protocols that people call by name.
const PROTOCOLS: [(&str, u8); 8] = [
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("sctp", 132),
];

/// A protocol's number or name.
fn protocol(text: &str) -> Result<u8, String> {
    let known = PROTOCOLS.iter().find(|(name, _)| *name == text);
    match known {
        Some((_, number)) => Ok(*number),
        None => text.parse().map_err(|_| {
            "expected a number from 0 to 255, or tcp, udp, icmp, icmpv6, esp, ah, sctp or dccp"
                .into()
        }),
    }
}

/// What `portcullis explain` is told.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Source address.
    source: IpAddr,
    /// Destination address.
    destination: IpAddr,
    /// IP protocol: a number, or tcp, udp, icmp, icmpv6, esp, ah, sctp or dccp.
    #[arg(value_parser = protocol)]
    protocol: Option<u8>,
    /// Destination port; for ICMP the type.
    port: Option<u16>,
    /// Source port.
    #[arg(long, value_name = "PORT", default_value_t = 49152)]
    source_port: u16,
    /// Ask this policy file instead of a running gateway.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Control socket of the gateway.
    #[arg(long, value_name = "PATH", default_value = "/run/portcullis.sock")]
    socket: PathBuf,
}

/// Asks the running gateway, or the policy in a file.
pub(super) fn explain(arguments: &Arguments) -> ExitCode {
    let port = arguments.port;
    let question = Question {
        source: arguments.source,
        destination: arguments.destination,
        protocol: arguments.protocol,
        source_port: port.map(|_| arguments.source_port),
        destination_port: port,
    };
    let explanation = match &arguments.config {
        Some(file) => match check::load_and_tell(file) {
            Some(policy) => offline(&policy, &question),
            None => return ExitCode::FAILURE,
        },
        None => match socket::explain(&arguments.socket, &question) {
            Ok(explanation) => explanation,
            Err(error) => return fail(&error),
        },
    };
    match arguments.json {
        true => show::print_json(&explanation),
        false => print(&explanation),
    }
    ExitCode::SUCCESS
}

fn offline(policy: &Policy, question: &Question) -> Explanation {
    // No device is asked for its MAC address: only its link-local address would depend on it.
    let interfaces = policy.interfaces.iter().map(|i| fib::interface(i, [0; 6]));
    let fib = fib::build(policy, &interfaces.collect::<Vec<_>>());
    let scene = Scene {
        policy,
        fib: &fib,
        spd: &fib::spd(policy),
        control: None,
    };
    answer(&scene, question)
}

fn print(explanation: &Explanation) {
    print_way(&explanation.forward);
    println!();
    println!("and back:");
    print_way(&explanation.reverse);
    if !explanation.running {
        println!();
        println!("(from the file alone: which negotiated SAs there are, a running gateway knows)");
    }
}

fn print_way(way: &Way) {
    println!("{} -> {}, {}", way.source, way.destination, way.upper);
    print_decision(way);
    if let Some(onward) = &way.onward {
        println!("  out of its SA:");
        print_decision(onward);
    }
}

fn print_decision(way: &Way) {
    let line = |name: &str, text: String| println!("  {name:<10} {text}");
    let from = match &way.from_interface {
        Some(interface) => format!("{interface} ({})", way.from_side),
        None => way.from_side.clone(),
    };
    line("from", from);
    if let Some(entry) = &way.entry {
        line(
            "entry",
            format!(
                "{} `{}`: {}, local {}, remote {}",
                entry.order, entry.name, entry.action, entry.local, entry.remote
            ),
        );
    }
    if let Some(connection) = &way.connection {
        line("connection", connection.clone());
    }
    for sa in &way.sas {
        line(
            "SA",
            format!(
                "`{}` {} {} {} {} -> {}",
                sa.name, sa.spi, sa.mode, sa.transform, sa.source, sa.destination
            ),
        );
    }
    if let Some(route) = &way.route {
        line("route", route_text(route));
    }
    if let Some(route) = &way.outer_route {
        line("outer", route_text(route));
    }
    let outcome = format!("{:?}", way.outcome).to_lowercase();
    line("outcome", outcome);
    if let Some(reason) = &way.drop_reason {
        line("counter", reason.clone());
    }
    for words in &way.words {
        line("why", words.clone());
    }
}

fn route_text(route: &RouteFound) -> String {
    let via = match &route.via {
        Some(via) => format!("via {via}"),
        None => "on link".into(),
    };
    let neighbor = route.neighbor.as_ref();
    let neighbor = neighbor.map_or_else(String::new, |state| format!(", neighbour {state}"));
    format!("{} ({}) {via}{neighbor}", route.interface, route.side)
}
