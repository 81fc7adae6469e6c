//! Which frames a capture shows: those of the SAs, and of the traffic, of one tunnel.

use std::collections::HashSet;

use portcullis_config::{Action, SaConfig, Selector, Side};
use portcullis_ipsec::ethernet::Frame;
use portcullis_ipsec::ip::{Address, IpHeader, protocol};
use portcullis_ipsec::spd::{CompiledSelector, Flow, Match, SelectorKey};

use super::Order;
use crate::control::Control;
use crate::negotiated::Child;

/// Bytes of a UDP header.
const UDP: usize = 8;

/// A filter that follows the SAs as they come and go.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Everything.
    all: bool,
    /// Protected packets: SPI and destination.
    sas: HashSet<(u32, Address)>,
    /// Clear ones.
    selectors: Vec<CompiledSelector>,
}

impl Filter {
    /// The filter for an order, and the SAs that it is about.
    pub(super) fn new<'a>(control: &'a Control, order: &Order) -> (Filter, Vec<&'a SaConfig>) {
        let policy = &control.installed.policy;
        let negotiated = || control.negotiated.sas().map(|sa| &sa.config);
        let (mut sas, mut selectors): (Vec<&SaConfig>, Vec<&Selector>) = (Vec::new(), Vec::new());
        match (&order.tunnel, &order.sa) {
            (None, None) => sas.extend(negotiated().chain(&policy.sas)),
            (_, Some(name)) => {
                let named = negotiated().chain(&policy.sas);
                sas.extend(named.filter(|sa| sa.name == *name));
                selectors.extend(sas.iter().flat_map(|sa| &*sa.selectors));
            }
            (Some(name), None) => {
                let children = control.negotiated.children().map(|(_, child)| child);
                for child in children.filter(|child| is_named(child, name)) {
                    let both = child.inbound.iter().chain(&child.outbound);
                    sas.extend(both.map(|sa| &sa.config));
                    selectors.push(child.selector());
                }
                for entry in &policy.spd {
                    let ours = match &entry.action {
                        Action::Protect { outbound, inbound } if entry.name == *name => {
                            let numbers = outbound.iter().chain(inbound);
                            sas.extend(numbers.filter_map(|number| policy.sas.get(*number)));
                            true
                        }
                        Action::Negotiate {
                            connection, child, ..
                        } => {
                            let connection = policy.connections.get(*connection);
                            let child = connection.and_then(|c| c.children.get(*child));
                            connection.zip(child).is_some_and(|(connection, child)| {
                                let full = format!("{}/{}", connection.name, child.name);
                                entry.name == *name || connection.name == *name || full == *name
                            })
                        }
                        _ => false,
                    };
                    selectors.extend(ours.then_some(&*entry.selector));
                }
            }
        }
        let named = |sa: &&SaConfig| (sa.spi, Address::from(sa.destination));
        let filter = Filter {
            all: order.tunnel.is_none() && order.sa.is_none(),
            sas: sas.iter().map(named).collect(),
            selectors: selectors.into_iter().map(CompiledSelector::new).collect(),
        };
        (filter, sas)
    }

    /// True if nothing has the name that was asked for.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.sas.is_empty() && self.selectors.is_empty()
    }

    /// True if a frame is to be shown.
    pub(super) fn admits(&self, frame: &[u8], head: &Frame, side: Side, received: bool) -> bool {
        if self.all {
            return true;
        }
        let packet = frame.get(head.len..).unwrap_or_default();
        let Ok(ip) = IpHeader::parse(packet) else {
            return false;
        };
        match side {
            Side::Unprotected => {
                spi(packet, &ip).is_some_and(|spi| self.sas.contains(&(spi, ip.destination)))
            }
            Side::Protected => {
                let flow = if received {
                    Flow::Outbound
                } else {
                    Flow::Inbound
                };
                let key = SelectorKey::of(packet, &ip, flow);
                let matches = |selector: &CompiledSelector| selector.matches(&key) != Match::No;
                self.selectors.iter().any(matches)
            }
        }
    }
}

fn is_named(child: &Child, name: &str) -> bool {
    let (connection, own) = &child.name;
    *connection == *name || name.split_once('/') == Some((connection, own))
}

/// The SPI of a protected packet, ESP in UDP among them; of fragments, the first has it.
fn spi(packet: &[u8], ip: &IpHeader) -> Option<u32> {
    let payload = packet.get(usize::from(ip.header_len)..)?;
    let at = match ip.protocol {
        protocol::ESP => 0,
        protocol::AH => 4,    // RFC 4302 2: next header, length, reserved
        protocol::UDP => UDP, // RFC 3948 2.1
        _ => return None,
    };
    let spi = payload.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*spi))
}
