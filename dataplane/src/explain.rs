//! What would become of a packet, and why: the answer to `portcullis explain`. It asks the same SPD, routes and SAs
//! as the workers do (RFC 4301 5), and sends nothing.

mod verdict;

use std::net::IpAddr;

use portcullis_config::{Policy, Side};
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::fib::{Fib, Hop};
use portcullis_ipsec::ip::{Address, protocol};
use portcullis_ipsec::neighbor::State;
use portcullis_ipsec::spd::{Flow, SelectorKey, Spd, Tree, UpperKey};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::rule_status::RuleStatus;
use crate::status::SCHEMA;

/// A packet to think of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Question {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// IP protocol, if it matters.
    pub protocol: Option<u8>,
    /// TCP, UDP, DCCP or SCTP port that it comes from.
    pub source_port: Option<u16>,
    /// Port that it goes to; for ICMP its type.
    pub destination_port: Option<u16>,
}

/// What becomes of it, and of an answer to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Explanation {
    /// Version of the form.
    pub schema: u32,
    /// False if the answer is from a file: nobody knows then which SAs there are.
    pub running: bool,
    /// The packet.
    pub forward: Way,
    /// Its answer.
    pub reverse: Way,
}

/// What happens to a packet in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It leaves under the protection of an SA.
    Protected,
    /// It is let in if it comes in an SA.
    Admitted,
    /// It crosses the boundary in clear.
    Bypassed,
    /// It goes on without crossing the boundary.
    Forwarded,
    /// It is for this gateway.
    Delivered,
    /// It waits for an SA that IKE negotiates.
    Held,
    /// It goes no further.
    Dropped,
}

/// The way of one packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Way {
    /// From here.
    pub source: String,
    /// To there.
    pub destination: String,
    /// Protocol and ports, as far as they are known.
    pub upper: String,
    /// Side that it comes from, by the route to its source: `protected`, `unprotected`, `local` or `unknown`; `sa` on its
    /// way out of one.
    pub from_side: String,
    /// Interface that it comes from.
    pub from_interface: Option<String>,
    /// The SPD entry that decides.
    pub entry: Option<EntryFound>,
    /// The SAs that carry it, innermost first.
    pub sas: Vec<SaFound>,
    /// Connection and child that would negotiate one, or have.
    pub connection: Option<String>,
    /// Where it goes next.
    pub route: Option<RouteFound>,
    /// Where what protects it goes next: to the other end of the tunnel.
    pub outer_route: Option<RouteFound>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Counter of its drop, if it is dropped, or of what comes otherwise than it must.
    pub drop_reason: Option<String>,
    /// All that in words.
    pub words: Vec<String>,
    /// Where it goes out of its SA, if it does not stay on this side: the SPD is asked again, as for any packet that
    /// leaves, and another SA may carry it.
    pub onward: Option<Box<Way>>,
}

/// An SPD entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EntryFound {
    /// The rule from which it came; `None`: it is written as an entry.
    pub rule: Option<RuleStatus>,
    /// Place in the order, from 1.
    pub order: usize,
    /// Name.
    pub name: String,
    /// `protect`, `bypass` or `discard`.
    pub action: String,
    /// Traffic on our side.
    pub local: String,
    /// Traffic on the peer's side.
    pub remote: String,
}

/// An SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SaFound {
    /// Name.
    pub name: String,
    /// SPI in hexadecimal.
    pub spi: String,
    /// Algorithms.
    pub transform: String,
    /// `tunnel` or `transport`.
    pub mode: String,
    /// Outer source.
    pub source: String,
    /// Outer destination.
    pub destination: String,
}

/// A route.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RouteFound {
    /// Interface.
    pub interface: String,
    /// `protected` or `unprotected`.
    pub side: String,
    /// Next hop; none: the destination itself is on link.
    pub via: Option<String>,
    /// What is known of the neighbour: `permanent`, `reachable`, `probing`, `incomplete`, or nothing.
    pub neighbor: Option<String>,
}

/// Side that a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Local,
    Side(Side),
    Unknown,
}

/// What is asked.
pub struct Scene<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its routes.
    pub fib: &'a Fib,
    /// Its SPD as workers have it.
    pub spd: &'a Spd<Tree>,
    /// The gateway, if one runs: it has SAs and neighbours.
    pub control: Option<&'a Control>,
}

impl Question {
    fn reversed(&self) -> Question {
        let is_icmp = self.is_icmp();
        Question {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            source_port: self.destination_port.filter(|_| !is_icmp),
            destination_port: match is_icmp {
                true => self.destination_port.map(answer_to),
                false => self.source_port,
            },
        }
    }

    fn is_icmp(&self) -> bool {
        matches!(self.protocol, Some(protocol::ICMP | protocol::ICMPV6))
    }

    fn key(&self, flow: Flow) -> SelectorKey {
        let upper = match (self.source_port, self.destination_port) {
            (_, Some(kind)) if self.is_icmp() => UpperKey::Icmp {
                kind: kind as u8,
                code: 0,
            },
            (None, None) => UpperKey::None,
            (source, destination) => {
                let (source, destination) = (source.unwrap_or(0), destination.unwrap_or(0));
                let (local, remote) = match flow {
                    Flow::Outbound => (source, destination),
                    Flow::Inbound => (destination, source),
                };
                UpperKey::Ports { local, remote }
            }
        };
        let (source, destination) = (self.source.into(), self.destination.into());
        let (local, remote) = match flow {
            Flow::Outbound => (source, destination),
            Flow::Inbound => (destination, source),
        };
        SelectorKey {
            local,
            remote,
            protocol: self.protocol.unwrap_or(NO_PROTOCOL),
            upper,
        }
    }

    fn upper_text(&self) -> String {
        let Some(protocol) = self.protocol else {
            return "any protocol".into();
        };
        let name = match protocol {
            1 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            50 => "esp".to_owned(),
            51 => "ah".to_owned(),
            58 => "icmpv6".to_owned(),
            other => format!("protocol {other}"),
        };
        match (self.source_port, self.destination_port) {
            (_, Some(kind)) if self.is_icmp() => format!("{name} type {kind}"),
            (Some(source), Some(destination)) => {
                format!("{name} from port {source} to port {destination}")
            }
            (None, Some(destination)) => format!("{name} to port {destination}"),
            (Some(source), None) => format!("{name} from port {source}"),
            (None, None) => name,
        }
    }
}

/// IANA's "Reserved": stands for a protocol that no entry names.
const NO_PROTOCOL: u8 = 255;

/// The type of the answer to an ICMP request: echo (RFC 792, RFC 4443 4.2); others are taken for their own.
fn answer_to(kind: u16) -> u16 {
    match kind {
        8 => 0,
        128 => 129,
        other => other,
    }
}

/// What becomes of a packet and of its answer.
pub fn explain(scene: &Scene<'_>, question: &Question) -> Explanation {
    Explanation {
        schema: SCHEMA,
        running: scene.control.is_some(),
        forward: verdict::way(scene, question),
        reverse: verdict::way(scene, &question.reversed()),
    }
}

impl Control {
    /// What would become of a packet.
    pub fn explain(&self, question: &Question) -> Explanation {
        let scene = Scene {
            policy: &self.installed.policy,
            fib: &self.fib,
            spd: &self.spd,
            control: Some(self),
        };
        explain(&scene, question)
    }
}

impl Scene<'_> {
    fn interface_name(&self, id: InterfaceId) -> String {
        let interface = self.policy.interfaces.get(usize::from(id.0));
        interface.map_or_else(|| "?".into(), |interface| interface.name.clone())
    }

    fn side(&self, hop: Option<Hop>) -> Option<Side> {
        Some(self.fib.interface(hop?.interface)?.side)
    }

    /// Where a packet from this address comes from: the interface that its answer would leave by.
    fn origin(&self, source: Address) -> (From, Option<String>) {
        if self.fib.is_local(source) {
            return (From::Local, None);
        }
        let hop = self.fib.route(source);
        match (hop, self.side(hop)) {
            (Some(hop), Some(side)) => (From::Side(side), Some(self.interface_name(hop.interface))),
            _ => (From::Unknown, None),
        }
    }

    fn route(&self, destination: Address) -> Option<RouteFound> {
        let hop = self.fib.route(destination)?;
        let next = hop.via.unwrap_or(destination);
        let neighbor = self.control.and_then(|control| {
            let mut known = control.resolver.entries();
            known.find(|(interface, address, ..)| *interface == hop.interface && *address == next)
        });
        let state = neighbor.map(|(.., state)| match state {
            State::Permanent => "permanent",
            State::Reachable => "reachable",
            State::Probing => "probing",
            State::Incomplete => "incomplete",
        });
        Some(RouteFound {
            interface: self.interface_name(hop.interface),
            side: self.side(Some(hop)).map_or("", side_name).into(),
            via: hop.via.map(|via| via.to_ip().to_string()),
            neighbor: state.map(str::to_owned),
        })
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Protected => "protected",
        Side::Unprotected => "unprotected",
    }
}

#[cfg(test)]
mod tests;
