//! Brings SAs from the policy to the workers: owner, slot, key, SPI index, bundles.
//!
//! Today the SAs are those of the policy file; a key exchange hands in the same [`SaConfig`]s.

use std::sync::Arc;

use portcullis_config::{Action, Direction, Policy, SaConfig};
use portcullis_ipsec::command::Command;
use portcullis_ipsec::counters::SaCounters;
use portcullis_ipsec::ip::{Address, IpVersion};
use portcullis_ipsec::pipeline::Binding;
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef};
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};
use portcullis_ipsec::spd::CompiledSelector;

use crate::Error;
use crate::engine::cryptodev::{CryptoDevices, DeviceQueues};
use crate::engine::{Choice, Key};
use crate::worker::{GatewayEngine, WorkerCommand};

/// An SA as control knows it.
#[derive(Debug)]
pub struct InstalledSa {
    /// What it is; keys included, so it is not printed as a whole.
    pub config: SaConfig,
    /// Where it is.
    pub place: SaRef,
    /// What computes its packets.
    pub choice: Choice,
    /// What it counts.
    pub counters: Arc<SaCounters>,
}

/// All SAs, in the order of the policy, and the orders that install them.
#[derive(Debug, Default)]
pub struct Installation {
    /// SAs.
    pub sas: Vec<InstalledSa>,
    /// Orders for each worker, to be carried out in this order.
    pub commands: Vec<Vec<WorkerCommand>>,
    /// For each SPD entry, the SAs that serve it.
    pub bindings: Vec<Vec<Binding>>,
    /// What of the engines is not there.
    pub refusals: Vec<String>,
    /// Crypto devices.
    pub devices: CryptoDevices,
    /// Each worker's queues of them.
    pub queues: Vec<DeviceQueues>,
}

/// Which SA of a bundle is around which.
#[derive(Clone, Copy, Debug, Default)]
struct Links {
    /// The SA around this one.
    outer: Option<usize>,
    /// This one is around another.
    is_outer: bool,
}

/// Plans the installation of all SAs of a policy on its workers.
pub fn install(policy: &Policy, engine: &GatewayEngine, now: u64) -> Result<Installation, Error> {
    let workers = usize::from(policy.runtime.workers);
    let owners = owners(policy, workers)?;
    let links = links(policy)?;
    let mut slots = vec![(0u32, 0u32); workers];
    let (devices, queues) = CryptoDevices::start(policy)?;
    let mut keys = Vec::new();
    let mut plan = Installation {
        commands: (0..workers).map(|_| Vec::new()).collect(),
        refusals: engine.refusals(),
        devices,
        queues,
        ..Installation::default()
    };
    for (config, owner) in policy.sas.iter().zip(&owners) {
        let counts = slots
            .get_mut(*owner)
            .ok_or(Error::Bundle(config.name.clone()))?;
        let slot = match config.direction {
            Direction::Inbound => &mut counts.0,
            Direction::Outbound => &mut counts.1,
        };
        let place = SaRef {
            worker: *owner as u16,
            slot: *slot,
        };
        *slot += 1;
        let counters = Arc::default();
        let (choice, key) = engine
            .serve(config, place.worker, &plan.devices)
            .map_err(|error| Error::Key {
                sa: config.name.clone(),
                error,
            })?;
        keys.push(key);
        plan.sas.push(InstalledSa {
            config: config.clone(),
            place,
            choice,
            counters,
        });
    }
    for (commands, (inbound, outbound)) in plan.commands.iter_mut().zip(slots) {
        commands.push(Command::GrowInbound(Slab::with_slots(inbound as usize)));
        commands.push(Command::GrowOutbound(Slab::with_slots(outbound as usize)));
        commands.push(Command::GrowIndex(SpiIndex::with_capacity(
            policy.sas.len(),
        )));
    }
    for (index, (link, key)) in links.iter().zip(keys).enumerate() {
        add(&mut plan, index, *link, key, now);
    }
    plan.bindings = bindings(policy, &plan.sas);
    Ok(plan)
}

/// The worker that owns each SA: all SAs of an SPD entry have one owner, entries take turns.
fn owners(policy: &Policy, workers: usize) -> Result<Vec<usize>, Error> {
    let mut owners = vec![None; policy.sas.len()];
    let mut turn = 0;
    for entry in &policy.spd {
        let Action::Protect { outbound, inbound } = &entry.action else {
            continue;
        };
        let named = || outbound.iter().chain(inbound).copied();
        let known = named().find_map(|sa| owners.get(sa).copied().flatten());
        let owner = known.unwrap_or_else(|| {
            turn += 1;
            (turn - 1) % workers
        });
        for sa in named() {
            match owners.get_mut(sa) {
                Some(Some(other)) if *other != owner => {
                    return Err(Error::Bundle(entry.name.clone()));
                }
                Some(place) => *place = Some(owner),
                None => {}
            }
        }
    }
    Ok(owners.into_iter().map(|owner| owner.unwrap_or(0)).collect())
}

/// Which SA goes around which. An SA has the same place in every bundle that names it.
fn links(policy: &Policy) -> Result<Vec<Links>, Error> {
    let mut links = vec![Links::default(); policy.sas.len()];
    for entry in &policy.spd {
        let Action::Protect { outbound, inbound } = &entry.action else {
            continue;
        };
        for bundle in [outbound, inbound] {
            for pair in bundle.windows(2) {
                let &[inner, outer] = pair else { continue };
                if let Some(link) = links.get_mut(inner) {
                    if link.outer.is_some_and(|known| known != outer) {
                        return Err(Error::Bundle(entry.name.clone()));
                    }
                    link.outer = Some(outer);
                }
                if let Some(link) = links.get_mut(outer) {
                    link.is_outer = true;
                }
            }
        }
    }
    Ok(links)
}

fn add(plan: &mut Installation, index: usize, link: Links, key: Key, now: u64) {
    let Some(sa) = plan.sas.get(index) else {
        return;
    };
    let (config, place) = (&sa.config, sa.place);
    let around = link.outer.and_then(|outer| plan.sas.get(outer));
    let counters = sa.counters.clone();
    let command = match config.direction {
        Direction::Inbound => {
            let mut new = InboundSa::new(config, key, now, counters);
            new.came_in = around.map(|sa| sa.place.slot);
            new.carries_bundle = link.is_outer;
            Command::AddInbound(place.slot, Box::new(new))
        }
        Direction::Outbound => {
            let mut new = OutboundSa::new(config, key, now, counters);
            new.next = around.map(|sa| sa.place.slot);
            new.bundle_overhead = around.map_or(0, |sa| ah_overhead(&sa.config));
            Command::AddOutbound(place.slot, Box::new(new))
        }
    };
    let entry = SpiEntry {
        spi: config.spi,
        protocol: config.transform.protocol(),
        destination: config.destination.into(),
        sa: place,
    };
    let inbound = config.direction == Direction::Inbound;
    if let Some(commands) = plan.commands.get_mut(usize::from(place.worker)) {
        commands.push(command);
    }
    if inbound {
        plan.commands
            .iter_mut()
            .for_each(|commands| commands.push(Command::Index(entry)));
    }
}

/// Bytes that an AH SA adds around ESP.
fn ah_overhead(config: &SaConfig) -> usize {
    let v4 = Address::from(config.destination).is_v4();
    let version = if v4 { IpVersion::V4 } else { IpVersion::V6 };
    portcullis_ipsec::sa::Shape::new(config.transform).ah_len(version)
}

fn bindings(policy: &Policy, sas: &[InstalledSa]) -> Vec<Vec<Binding>> {
    let binding = |entry: &portcullis_config::SpdEntry| match &entry.action {
        Action::Protect { outbound, .. } => {
            let innermost = outbound.first().and_then(|sa| sas.get(*sa));
            let selectors: Arc<[_]> = [CompiledSelector::new(&entry.selector)].into();
            innermost
                .map(|sa| Binding {
                    sa: sa.place,
                    selectors,
                })
                .into_iter()
                .collect()
        }
        Action::Discard | Action::Bypass => Vec::new(),
    };
    policy.spd.iter().map(binding).collect()
}
