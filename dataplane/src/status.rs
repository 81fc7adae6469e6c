//! What operators see: one snapshot with a stable form, in JSON or as tables.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use portcullis_config::{Action, Direction, SaConfig, Side, Transform};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::counters::Counter;
use portcullis_ipsec::pipeline::Stage;

use crate::config_status::ConfigStatus;
use crate::control::Control;
use crate::filters::{FilterStatus, filters};
use crate::ike_status::{IkeStatus, mode_text, selector_text, transform_text};
use crate::install::InstalledSa;
use crate::neighbor_status::{NeighborStatus, neighbors};
use crate::rates::Rates;
use crate::report::{Outcome, ReloadReport};
use crate::rule_status::{RuleStatus, direction_text};
use crate::statistics::{Statistics, statistics};
use crate::tunnels::{self, TunnelCount, TunnelStatus};

/// Version of the form; raised when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;
/// How often rates are taken, in milliseconds.
const SAMPLE: u64 = 1000;

/// SAs and SPD entries looked at for one answer, so that control is soon back at its work.
const PAGE: usize = 500;

/// What a client wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Tunnels: up or down, and why.
    Tunnels,
    /// Security associations: packets, bytes, rates.
    Sa,
    /// The security policy database, in order.
    #[value(alias = "policy")]
    Spd,
    /// Filters of main mode and quick mode: generic ones of the policy, specific ones of negotiations.
    Filters,
    /// Those of main mode.
    MmFilter,
    /// Those of quick mode.
    QmFilter,
    /// Packets under ESP and AH, SAs, rekeys, bad packets.
    #[value(alias = "statistics")]
    Stats,
    /// Settings in force: profile, exemptions, revocation checks.
    Config,
    /// Ports and interfaces.
    Ports,
    /// Packets not forwarded, by reason.
    Drops,
    /// Neighbours.
    Neighbors,
    /// Workers, and reloads of the policy.
    Workers,
    /// Cycles a packet takes in each stage of a worker, if the policy says `cycle-budget = true`.
    Cycles,
    /// IKE SAs, and negotiations that failed.
    #[value(alias = "mm-sa")]
    Ike,
    /// What IKE has negotiated under them.
    #[value(alias = "qm-sa")]
    Child,
    /// The latest events.
    Events,
    /// Everything.
    #[default]
    All,
}

/// A question for a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// What it is about.
    pub what: What,
    /// SAs and SPD entries from this one on, a page of them.
    pub from: usize,
    /// Only those whose name contains this.
    pub name: Option<String>,
}

impl Query {
    /// True if this part is asked for.
    fn wants(&self, what: What) -> bool {
        self.what == what || self.what == What::All
    }

    /// True if an SA or entry with this name is asked for.
    fn is_about(&self, name: &str) -> bool {
        self.name
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()))
    }
}

/// A snapshot of the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Milliseconds since start.
    pub uptime_ms: u64,
    /// Workers.
    pub workers: Vec<WorkerStatus>,
    /// Ports.
    pub ports: Vec<PortStatus>,
    /// SAs.
    pub sas: Vec<SaStatus>,
    /// How many of them, negotiated ones included, have a later engine than the policy's order should give them.
    pub engine_fallbacks: usize,
    /// How many SAs there are, those that a reload has removed among them until they leave.
    pub sa_count: usize,
    /// Tunnels.
    pub tunnels: Vec<TunnelStatus>,
    /// How many there are, if they or statistics are asked for.
    pub tunnel_count: TunnelCount,
    /// Filters.
    pub filters: Vec<FilterStatus>,
    /// Settings in force.
    pub config: Option<ConfigStatus>,
    /// What was counted in all.
    pub statistics: Statistics,
    /// SPD entries, in order.
    pub spd: Vec<SpdStatus>,
    /// How many SPD entries there are.
    pub spd_count: usize,
    /// Where the next page of SAs and SPD entries begins, if there is one.
    pub next: Option<usize>,
    /// Drops that happened, by reason, of all workers and control.
    pub drops: Vec<DropStatus>,
    /// Those of control alone.
    pub control_drops: Vec<DropStatus>,
    /// Neighbours.
    pub neighbors: Vec<NeighborStatus>,
    /// Packet buffers.
    pub buffers: BufferStatus,
    /// Reloads of the policy.
    pub reloads: ReloadStatus,
    /// IKE.
    pub ike: IkeStatus,
}

/// Reloads of the policy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReloadStatus {
    /// How many put a new policy into force.
    pub applied: u64,
    /// How many were refused.
    pub refused: u64,
    /// How the last one ended.
    pub last: Option<Outcome>,
    /// How long it took, from the file to the last worker, in milliseconds.
    pub last_ms: f64,
}

/// Cycles that a worker spent in one stage, since it started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct StageStatus {
    pub stage: String,
    pub cycles: u64,
}

/// One worker: `received + created + injected + taken_over = transmitted + drops + punted + handed_off +
/// consumed + held` when nothing is in flight.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)] // the fields are those of `WorkerCounters`
pub struct WorkerStatus {
    pub worker: usize,
    /// Share of rounds in which there was work, in percent, over the last second.
    pub load_percent: f64,
    pub received: u64,
    pub transmitted: u64,
    pub punted: u64,
    pub handed_off: u64,
    pub taken_over: u64,
    pub injected: u64,
    pub created: u64,
    pub consumed: u64,
    pub held: u64,
    pub flow_misses: u64,
    pub offloaded: u64,
    pub dropped: u64,
    /// What `dropped` is the sum of.
    pub drops: Vec<DropStatus>,
    /// Orders and packets that control has for it.
    pub ring_depth: usize,
    /// Packets and news that it has for control.
    pub punt_depth: usize,
    /// Cycles of the time stamp counter by stage; empty unless the policy says `cycle-budget = true`.
    pub cycles: Vec<StageStatus>,
    /// Its longest round since workers were last asked for, in microseconds.
    pub longest_round_us: f64,
    /// Its longest round since start.
    pub longest_round_ever_us: f64,
    /// The longest round in which it took orders of control, since workers were last asked for: microseconds of its own
    /// time, without what others on its core took meanwhile.
    pub longest_orders_us: f64,
}

/// One port.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PortStatus {
    /// Name.
    pub port: String,
    /// DPDK driver.
    pub driver: String,
    /// MAC address.
    pub mac: String,
    /// Link.
    pub up: bool,
    /// Interfaces on it: name, side, addresses.
    pub interfaces: Vec<InterfaceStatus>,
    /// Frames received by workers.
    pub rx_packets: u64,
    /// Bytes received by workers.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that the device lost before a worker saw them.
    pub rx_missed: u64,
    /// Frames with errors.
    pub rx_errors: u64,
    /// Frames that did not make it into the capture file.
    pub capture_lost: u64,
}

/// One interface of a port.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// `protected` or `unprotected`.
    pub side: String,
    /// VLAN id.
    pub vlan: Option<u16>,
    /// MTU.
    pub mtu: u16,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
}

/// One SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SaStatus {
    /// Name.
    pub name: String,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// SPI in hexadecimal.
    pub spi: String,
    /// `esp` or `ah`.
    pub protocol: String,
    /// `tunnel` or `transport`.
    pub mode: String,
    /// Algorithms.
    pub transform: String,
    /// Engine that computes them, as the policy spells it. `inline-crypto`: the port's device has the SA, and what it
    /// cannot do of it is another engine's.
    pub engine: String,
    /// Why it is not an earlier engine that should have them.
    pub fallback: Option<String>,
    /// Where it stands with the port's device: `software` before its first packet, `asked`, `active` or `failed`; `None`
    /// if it is not offered.
    pub offload: Option<String>,
    /// Of its packets, those that the device ciphered or opened.
    pub offloaded: u64,
    /// Outer source.
    pub source: String,
    /// Outer destination.
    pub destination: String,
    /// Owning worker.
    pub worker: u16,
    /// Packets protected, or accepted.
    pub packets: u64,
    /// Bytes of the packets inside.
    pub bytes: u64,
    /// Megabits a second over the last second.
    pub mbps: f64,
    /// Megabits a second from first to last use.
    pub mbps_average: f64,
    /// Highest sequence number.
    pub sequence: u64,
    /// Milliseconds since its last use; `None`: never used.
    pub idle_ms: Option<u64>,
    /// Its drops, by reason.
    pub drops: Vec<DropStatus>,
    /// Milliseconds for which it still takes packets, if a reload has removed it; `None`: it is in force.
    pub leaves_ms: Option<u64>,
}

/// One SPD entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SpdStatus {
    /// Name.
    pub name: String,
    /// Place in the order, from 1.
    pub order: usize,
    /// Traffic on our side.
    pub local: String,
    /// Traffic on the peer's side.
    pub remote: String,
    /// `both`, `outbound` or `inbound`: packets for which it is.
    pub direction: String,
    /// `protect`, `bypass` or `discard`.
    pub action: String,
    /// The rule from which it came; `None`: it is written as an entry.
    pub rule: Option<RuleStatus>,
    /// Outbound SAs, innermost first.
    pub outbound: Vec<String>,
    /// Inbound SAs, innermost first.
    pub inbound: Vec<String>,
    /// Packets that it decided about: outbound ones, and clear inbound ones.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Drops for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DropStatus {
    /// Reason.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

/// Packet buffers of all pools.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BufferStatus {
    /// All.
    pub total: u32,
    /// With workers, control and devices.
    pub in_use: u32,
}

/// Takes samples for rates.
#[derive(Debug, Default)]
pub struct Telemetry {
    taken: u64,
    rates: Rates,
    rounds: Vec<(u64, u64)>,
    load: Vec<f64>,
    /// By worker, in ticks: since workers were last asked for, and since start.
    longest: RefCell<Vec<(u64, u64)>>,
    /// By worker, in nanoseconds.
    longest_orders: RefCell<Vec<(u64, u64)>>,
    reloads: ReloadStatus,
}

fn megabits(bytes: u64, milliseconds: u64) -> f64 {
    bytes as f64 * 8.0 / 1000.0 / milliseconds.max(1) as f64
}

impl Telemetry {
    /// Takes a sample if it is time.
    pub fn tick(&mut self, control: &Control, now: u64) {
        let free = |garbage| control.reclaimer.free(garbage);
        self.rates.tick(&control.installed, now, free);
        if now < self.taken + SAMPLE {
            return;
        }
        self.taken = now;
        let rounds: Vec<_> = control
            .workers
            .iter()
            .map(|w| (w.status.busy_rounds.get(), w.status.rounds.get()))
            .collect();
        let before = |index: usize| self.rounds.get(index).copied().unwrap_or((0, 0));
        let share = |(i, (busy, all)): (usize, &(u64, u64))| {
            let (busy_before, all_before) = before(i);
            100.0 * (busy - busy_before) as f64 / (all - all_before).max(1) as f64
        };
        self.load = rounds.iter().enumerate().map(share).collect();
        self.rounds = rounds;
    }

    /// Counts a reload.
    pub fn note_reload(&mut self, report: &ReloadReport) {
        if report.dry_run {
            return;
        }
        match report.outcome {
            Outcome::Planned => (),
            Outcome::Applied => self.reloads.applied += 1,
            Outcome::Refused => self.reloads.refused += 1,
            Outcome::Unchanged => {}
        }
        self.reloads.last = Some(report.outcome);
        self.reloads.last_ms = report.read_ms + report.prepare_ms + report.apply_ms;
    }

    /// Longest rounds of a worker, lately and ever; `forget` begins anew.
    fn longest(
        known: &RefCell<Vec<(u64, u64)>>,
        (worker, new): (usize, &AtomicU64),
        forget: bool,
    ) -> (f64, f64) {
        let mut longest = known.borrow_mut();
        if longest.len() <= worker {
            longest.resize(worker + 1, (0, 0));
        }
        let Some((lately, ever)) = longest.get_mut(worker) else {
            return (0.0, 0.0);
        };
        *lately = (*lately).max(new.swap(0, Ordering::Relaxed));
        *ever = (*ever).max(*lately);
        let answer = (*lately as f64, *ever as f64);
        if forget {
            *lately = 0;
        }
        answer
    }

    /// Frames received so far by all workers.
    pub fn received(&self, control: &Control) -> u64 {
        control
            .workers
            .iter()
            .map(|w| w.status.counters.received.get())
            .sum()
    }

    /// The last snapshot, when the workers have ended.
    pub fn finish(&mut self, control: &Control, now: u64) -> Status {
        let all = 0..usize::MAX;
        self.snapshot(control, now, &Query::default(), &all)
    }

    /// A snapshot of what is asked for.
    pub fn status(&self, control: &Control, now: u64, query: &Query) -> Status {
        let page = query.from..query.from.saturating_add(PAGE);
        self.snapshot(control, now, query, &page)
    }

    fn snapshot(&self, control: &Control, now: u64, query: &Query, page: &Range<usize>) -> Status {
        let (pools, policy) = (&control.pools, &control.installed.policy);
        let (sas, entries) = (query.wants(What::Sa), query.wants(What::Spd));
        let length = |wanted: bool, list: usize| if wanted { list } else { 0 };
        let negotiated = &control.negotiated;
        let sa_count = policy.sas.len() + negotiated.sas().count() + negotiated.departing.len();
        let (tunnels, filters) = (query.wants(What::Tunnels), query.wants(What::Filters));
        let tunnel_count = match tunnels || query.wants(What::Stats) {
            true => tunnels::count(control),
            false => TunnelCount::default(),
        };
        let lists = [
            length(sas, sa_count),
            length(entries || filters, policy.spd.len()),
            length(tunnels, tunnel_count.configured),
        ];
        let end = lists.into_iter().max().unwrap_or(0);
        Status {
            schema: SCHEMA,
            uptime_ms: now,
            workers: self.workers(control, query.what == What::Workers),
            ports: if query.wants(What::Ports) {
                ports(control)
            } else {
                Vec::new()
            },
            sas: if sas {
                self.sas(control, now, query, page)
            } else {
                Vec::new()
            },
            engine_fallbacks: fallbacks(control),
            sa_count,
            tunnels: if tunnels {
                self.tunnels(control, now, query, page)
            } else {
                Vec::new()
            },
            tunnel_count,
            filters: if filters {
                self::filters(control, page, |name| query.is_about(name))
            } else {
                Vec::new()
            },
            config: (page.start == 0 && query.wants(What::Config)).then(|| {
                let store = control.store.as_ref().map(|store| store.status(now));
                ConfigStatus::of(policy, store, |name| query.is_about(name))
            }),
            statistics: statistics(control, self.rates.sums(), sa_count),
            spd: if entries {
                spd(control, query, page)
            } else {
                Vec::new()
            },
            spd_count: policy.spd.len(),
            next: (page.end < end).then_some(page.end),
            drops: drops(|reason| {
                let workers = control
                    .workers
                    .iter()
                    .map(|w| w.status.counters.drops.get(reason));
                workers.sum::<u64>() + control.drops.get(reason)
            }),
            control_drops: drops(|reason| control.drops.get(reason)),
            neighbors: if query.wants(What::Neighbors) {
                neighbors(control)
            } else {
                Vec::new()
            },
            buffers: BufferStatus {
                total: pools.packets.count() + pools.jumbo.count(),
                in_use: pools.in_use(),
            },
            reloads: self.reloads.clone(),
            ike: match page.start == 0 && (query.wants(What::Ike) || query.wants(What::Child)) {
                true => ike(control, now, query),
                false => IkeStatus::default(),
            },
        }
    }

    fn tunnels(
        &self,
        control: &Control,
        now: u64,
        query: &Query,
        page: &Range<usize>,
    ) -> Vec<TunnelStatus> {
        let wanted = |name: &str| query.is_about(name);
        tunnels::tunnels(control, now, page, wanted, |sa| self.rates.of(sa))
    }

    fn workers(&self, control: &Control, forget: bool) -> Vec<WorkerStatus> {
        let ticks_per_us = dpdk::thread::cycles_hz() as f64 / 1e6;
        let row = |(worker, link): (usize, &crate::control::WorkerLink)| {
            let c = &link.status.counters;
            let round = (worker, &link.status.longest_round);
            let longest = Self::longest(&self.longest, round, forget);
            let orders = (worker, &link.status.longest_orders);
            let orders = Self::longest(&self.longest_orders, orders, forget);
            WorkerStatus {
                worker,
                load_percent: self.load.get(worker).copied().unwrap_or(0.0),
                received: c.received.get(),
                transmitted: c.transmitted.get(),
                punted: c.punted.get(),
                handed_off: c.handed_off.get(),
                taken_over: c.taken_over.get(),
                injected: c.injected.get(),
                created: c.created.get(),
                consumed: c.consumed.get(),
                held: c.held.get(),
                flow_misses: c.flow_misses.get(),
                offloaded: c.offloaded.get(),
                dropped: c.drops.total(),
                drops: drops(|reason| c.drops.get(reason)),
                ring_depth: link.to_worker.depth() + link.waiting.len(),
                punt_depth: link.from_worker.depth()
                    + link.urgent.depth()
                    + link.neighbors.depth()
                    + link.first.depth(),
                cycles: cycles(control, link),
                longest_round_us: longest.0 / ticks_per_us,
                longest_round_ever_us: longest.1 / ticks_per_us,
                longest_orders_us: orders.0 / 1e3,
            }
        };
        control.workers.iter().enumerate().map(row).collect()
    }

    fn sas(
        &self,
        control: &Control,
        now: u64,
        query: &Query,
        page: &Range<usize>,
    ) -> Vec<SaStatus> {
        let row = |(mbps, (config, sa), due): (f64, (&SaConfig, &InstalledSa), Option<u64>)| {
            let c = &sa.counters;
            let (first, last) = (c.first_used.get(), c.last_used.get());
            let used = c.packets.get() != 0;
            SaStatus {
                name: config.name.clone(),
                direction: match config.direction {
                    Direction::Inbound => "inbound",
                    Direction::Outbound => "outbound",
                }
                .into(),
                spi: format!("{:#010x}", config.spi),
                protocol: if matches!(config.transform, Transform::Esp(..)) {
                    "esp"
                } else {
                    "ah"
                }
                .into(),
                mode: mode_text(config.mode).into(),
                transform: transform_text(config.transform),
                engine: sa.engine().to_string(),
                fallback: sa.fallback(),
                offload: sa.standing.as_ref().map(|standing| standing.text().into()),
                offloaded: c.offloaded.get(),
                source: config.source.to_string(),
                destination: config.destination.to_string(),
                worker: sa.place.worker,
                packets: c.packets.get(),
                bytes: c.bytes.get(),
                mbps,
                mbps_average: if used {
                    megabits(c.bytes.get(), last.saturating_sub(first))
                } else {
                    0.0
                },
                sequence: c.sequence.get(),
                idle_ms: used.then(|| now.saturating_sub(last)),
                drops: drops(|reason| c.drops.get(reason)),
                leaves_ms: due.map(|due| due.saturating_sub(now)),
            }
        };
        let manual = control.installed.iter().enumerate();
        let manual = manual.map(|(index, sa)| (self.rates.of(index), sa, None));
        let negotiated = control.negotiated.sas();
        let negotiated = negotiated.map(|sa| (sa.mbps, (&sa.config, &sa.sa), None));
        let departing = control.negotiated.departing.iter();
        let departing = departing.map(|(sa, due)| (0.0, (&sa.config, &sa.sa), Some(due)));
        let sas = manual.chain(negotiated).chain(departing);
        let sas = sas.skip(page.start).take(page.len());
        let sas = sas.filter(|(_, (config, _), _)| query.is_about(&config.name));
        // With the first page: they are few.
        let soft = control.soft.iter().filter(|_| page.start == 0);
        let soft = soft.map(|soft| soft.status(now));
        sas.map(row)
            .chain(soft.filter(|soft| query.is_about(&soft.name)))
            .collect()
    }
}

fn ike(control: &Control, now: u64, query: &Query) -> IkeStatus {
    let snapshot = control.ike.endpoint.snapshot();
    let wanted = |name: &str| query.is_about(name);
    IkeStatus::new(snapshot, now, wanted, |id| control.negotiated.used(id))
}

fn fallbacks(control: &Control) -> usize {
    let negotiated = control.negotiated.sas().map(|sa| &sa.sa);
    let sas = control.installed.sas.iter().chain(negotiated);
    sas.filter(|sa| sa.falls_back()).count()
}

/// Cycles by stage, if they are counted.
fn cycles(control: &Control, link: &crate::control::WorkerLink) -> Vec<StageStatus> {
    let stages = match control.installed.policy.runtime.cycle_budget {
        true => &Stage::ALL[..],
        false => &[],
    };
    let row = |(stage, name): &(Stage, &str)| StageStatus {
        stage: (*name).into(),
        cycles: link.status.cycles.get(*stage),
    };
    stages.iter().map(row).collect()
}

/// All reasons that occurred.
fn drops(count: impl Fn(DropReason) -> u64) -> Vec<DropStatus> {
    let row = |reason: &DropReason| DropStatus {
        reason: reason.text().into(),
        packets: count(*reason),
    };
    DropReason::ALL
        .iter()
        .map(row)
        .filter(|drop| drop.packets != 0)
        .collect()
}

fn ports(control: &Control) -> Vec<PortStatus> {
    let behind = |port: usize| {
        let on = control
            .installed
            .policy
            .interfaces
            .iter()
            .zip(&control.ports.interface_port);
        on.filter(move |(_, p)| usize::from(**p) == port)
            .map(|(i, _)| InterfaceStatus {
                name: i.name.clone(),
                side: if i.side == Side::Protected {
                    "protected"
                } else {
                    "unprotected"
                }
                .into(),
                vlan: i.vlan,
                mtu: i.mtu,
                addresses: i.addresses.iter().map(ToString::to_string).collect(),
            })
    };
    let row = |(index, port): (usize, &crate::port::GatewayPort)| {
        let sum = |of: fn(&crate::worker::PortCounters) -> &Counter| {
            port.counters.iter().map(|c| of(c).get()).sum()
        };
        let device = port.port.stats().ok();
        PortStatus {
            port: port.name.clone(),
            driver: port.port.info().driver.clone(),
            mac: mac_text(port.mac),
            up: port.port.is_link_up().unwrap_or(false),
            interfaces: behind(index).collect(),
            rx_packets: sum(|c| &c.rx_packets),
            rx_bytes: sum(|c| &c.rx_bytes),
            tx_packets: sum(|c| &c.tx_packets),
            tx_bytes: sum(|c| &c.tx_bytes),
            rx_missed: device.as_ref().map_or(0, |d| d.imissed + d.rx_nombuf),
            rx_errors: device.as_ref().map_or(0, |d| d.ierrors),
            capture_lost: sum(|c| &c.capture_lost),
        }
    };
    control.ports.ports.iter().enumerate().map(row).collect()
}

fn spd(control: &Control, query: &Query, page: &Range<usize>) -> Vec<SpdStatus> {
    let policy = &control.installed.policy;
    let names = |sas: &[usize]| -> Vec<String> {
        sas.iter()
            .filter_map(|sa| policy.sas.get(*sa))
            .map(|sa| sa.name.clone())
            .collect()
    };
    let row = |(index, entry): (usize, &portcullis_config::SpdEntry)| {
        let (packets, bytes) = control.entries.get(index);
        let (local, remote) = selector_text(&entry.selector);
        let (action, outbound, inbound) = match &entry.action {
            Action::Discard => ("discard", Vec::new(), Vec::new()),
            Action::Bypass => ("bypass", Vec::new(), Vec::new()),
            Action::Protect { outbound, inbound } => ("protect", names(outbound), names(inbound)),
            Action::Negotiate {
                connection, child, ..
            } => {
                let connection = policy.connections.get(*connection);
                let child = connection.and_then(|c| Some((c, c.children.get(*child)?)));
                let name = child.map(|(c, child)| format!("{}/{}", c.name, child.name));
                let names: Vec<_> = name.into_iter().collect();
                ("protect", names.clone(), names)
            }
        };
        SpdStatus {
            name: entry.name.clone(),
            order: index + 1,
            local,
            remote,
            direction: direction_text(entry).into(),
            action: action.into(),
            rule: RuleStatus::of(entry),
            outbound,
            inbound,
            packets,
            bytes,
        }
    };
    let entries = policy.spd.iter().enumerate();
    let entries = entries.skip(page.start).take(page.len());
    entries
        .filter(|(_, entry)| query.is_about(&entry.name))
        .map(row)
        .collect()
}

pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    dpdk::MacAddress(mac).to_string()
}
