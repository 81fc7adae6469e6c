//! Makes all that a policy takes, on the time of a thread that nobody waits for: what is left is to swap it in.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_config::{Action, ClearText, Policy, SpdEntry};
use portcullis_ipsec::fib::Fib;
use portcullis_ipsec::pipeline::{EntryCounters, PortInterfaces, Service, View};
use portcullis_ipsec::sa::SaRef;
use portcullis_ipsec::spd::{Spd, Tree};

use crate::engine::cryptodev::CryptoDevices;
use crate::install::{Installed, Plan};
use crate::numbers::ChildNumbers;
use crate::worker::GatewayEngine;
use crate::{Error, fib};

/// What a new policy meets.
#[derive(Clone, Debug)]
pub struct Basis {
    /// The policy in force and its SAs.
    pub installed: Arc<Installed>,
    /// Interfaces and routes.
    pub fib: Arc<Fib>,
    /// Interfaces by port.
    pub ports: Arc<[PortInterfaces]>,
    /// Crypto devices.
    pub devices: Arc<CryptoDevices>,
    /// Numbers of the children of connections.
    pub numbers: Arc<ChildNumbers>,
}

/// A policy, ready to be swapped in.
#[derive(Debug)]
pub struct Prepared {
    /// What happens to SAs.
    pub plan: Plan,
    /// Interfaces and routes.
    pub fib: Arc<Fib>,
    /// The SPD that they have.
    pub spd: Arc<Spd<Tree>>,
    /// For each worker its view, without neighbours.
    pub views: Vec<Box<View<Tree>>>,
    /// For each SPD entry its number in the policy before; `u32::MAX` for a new one.
    pub entries_before: Vec<u32>,
    /// Numbers of the children of connections, new ones among them.
    pub numbers: Arc<ChildNumbers>,
}

/// Makes `policy` ready for the workers, at `now`.
pub fn prepare(
    basis: &Basis,
    policy: Arc<Policy>,
    engine: &GatewayEngine,
    now: u64,
) -> Result<Prepared, Error> {
    let plan = basis.installed.plan(policy, engine, &basis.devices, now)?;
    let policy = &plan.installed.policy;
    let fib = Arc::new(fib::build(policy, basis.fib.interfaces()));
    let spd = fib::spd(policy);
    let esp_udp_ports = fib::esp_udp_ports(policy);
    let numbers = basis.numbers.with(policy);
    let service = |(entry, sa): (&SpdEntry, &Option<SaRef>)| match sa {
        Some(sa) => Service::Sa(*sa),
        None => match numbers.of_entry(policy, entry) {
            Some(number) => Service::Child {
                number,
                accepts_clear: clear_text(entry) != ClearText::Never,
                only_answers: clear_text(entry) == ClearText::Unasked,
            },
            None => Service::Nothing,
        },
    };
    let view = |_| {
        Box::new(View {
            spd: spd.clone(),
            services: policy.spd.iter().zip(&plan.serving).map(service).collect(),
            hits: policy
                .spd
                .iter()
                .map(|_| EntryCounters::default())
                .collect(),
            fib: fib.clone(),
            ports: basis.ports.clone(),
            esp_udp_ports: esp_udp_ports.clone(),
            neighbors: Arc::default(),
        })
    };
    Ok(Prepared {
        views: (0..plan.last.len()).map(view).collect(),
        entries_before: entries_before(&basis.installed.policy, policy),
        numbers: Arc::new(numbers),
        spd,
        fib,
        plan,
    })
}

fn clear_text(entry: &SpdEntry) -> ClearText {
    match entry.action {
        Action::Negotiate { clear, .. } => clear,
        _ => ClearText::Never,
    }
}

/// For each SPD entry of `new` the number of the one with its name in `old`.
fn entries_before(old: &Policy, new: &Policy) -> Vec<u32> {
    let names = (0u32..)
        .zip(&old.spd)
        .map(|(n, entry)| (entry.name.as_str(), n));
    let known: HashMap<_, _> = names.collect();
    let before = |name: &str| known.get(name).copied().unwrap_or(u32::MAX);
    new.spd.iter().map(|entry| before(&entry.name)).collect()
}

/// True if both entries do the same, their SAs, connections and children told by name.
pub fn is_same_action(old: (&Policy, &SpdEntry), new: (&Policy, &SpdEntry)) -> bool {
    let same_sas = |a: &[usize], b: &[usize]| names(old.0, a).eq(names(new.0, b));
    match (&old.1.action, &new.1.action) {
        (
            Action::Protect { outbound, inbound },
            Action::Protect {
                outbound: new_outbound,
                inbound: new_inbound,
            },
        ) => same_sas(outbound, new_outbound) && same_sas(inbound, new_inbound),
        (Action::Negotiate { clear, .. }, Action::Negotiate { clear: new, .. }) if clear != new => {
            false
        }
        (
            Action::Negotiate {
                connection, child, ..
            },
            Action::Negotiate {
                connection: new_connection,
                child: new_child,
                ..
            },
        ) => {
            child_name(old.0, *connection, *child) == child_name(new.0, *new_connection, *new_child)
        }
        (a, b) => a == b,
    }
}

fn child_name(policy: &Policy, connection: usize, child: usize) -> Option<(&str, &str)> {
    let connection = policy.connections.get(connection)?;
    Some((&connection.name, &connection.children.get(child)?.name))
}

fn names<'a>(policy: &'a Policy, sas: &'a [usize]) -> impl Iterator<Item = Option<&'a str>> {
    let name = |sa: &usize| Some(policy.sas.get(*sa)?.name.as_str());
    sas.iter().map(name)
}
