//! A gateway from start to end: DPDK, ports, workers, the slow path's loop, and the way out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use portcullis_config::Policy;
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::counters::DropCounters;
use portcullis_ipsec::ip::Address;
use portcullis_ipsec::neighbor::{LocalInterface, Resolver};
use portcullis_ipsec::pipeline::{EntryCounters, Pipeline, View};

use crate::capture::Capture;
use crate::control::{Control, WorkerLink};
use crate::eal::{self, Pools};
use crate::install::{Installation, install};
use crate::port::Ports;
use crate::ring::{Receiver, Sender, ring};
use crate::socket::ControlSocket;
use crate::status::{Status, Telemetry};
use crate::worker::{
    GatewayEngine, ToPeer, ToWorker, Worker, WorkerIo, WorkerPort, WorkerRings, WorkerStatus,
};
use crate::{Error, fib};

/// Orders that a worker may be behind.
const COMMAND_RING: usize = 4096;
/// Punts and news that control may be behind.
const PUNT_RING: usize = 2048;
/// Packets that one worker may be behind another.
const PEER_RING: usize = 1024;
/// Copies of frames that control may be behind.
const CAPTURE_RING: usize = 4096;
/// Flows that a worker remembers.
const FLOWS: usize = 1 << 16;
/// How long control sleeps when there is nothing to do.
const NAP: Duration = Duration::from_micros(200);
/// `--drain`: how long everything must be quiet.
const QUIET: Duration = Duration::from_millis(50);

/// Where workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placement {
    /// All cores the process may use.
    cores: Vec<usize>,
    /// The core of each worker; `None`: any.
    workers: Vec<Option<usize>>,
    /// There are fewer cores than workers and control need, so that idle workers must sleep.
    shared: bool,
}

/// A worker for each of its own cores, control on the rest; where there are too few, all share.
fn place(policy: &Policy, cores: Vec<usize>) -> Placement {
    let count = usize::from(policy.runtime.workers);
    let shared = cores.len() < count + 1;
    let wanted = |worker: usize| match policy.runtime.cores.get(worker) {
        Some(core) => Some(usize::from(*core)),
        None if shared => None,
        None => cores.get(worker + 1).copied(),
    };
    let workers = (0..count).map(wanted).collect();
    Placement {
        cores,
        workers,
        shared,
    }
}

/// Control moves to a core that no worker has, if there is one.
fn keep_off_workers(placement: &Placement) {
    let taken = |core: &&usize| placement.workers.contains(&Some(**core));
    let free = placement.cores.iter().find(|core| !taken(core));
    if let (false, Some(id)) = (placement.shared, free.copied()) {
        if !core_affinity::set_for_current(CoreId { id }) {
            tracing::warn!(core = id, "control cannot be pinned to this core");
        }
    }
}

/// Milliseconds since the gateway started.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// Runs a gateway until `stop` is set, or, with `drain`, until its capture files are read. Returns its last
/// status.
pub fn run(policy: Policy, drain: bool, stop: &AtomicBool) -> Result<Status, Error> {
    let cores = core_affinity::get_core_ids().unwrap_or_else(|| vec![CoreId { id: 0 }]);
    let placement = place(&policy, cores.into_iter().map(|core| core.id).collect());
    let eal = eal::start(&policy, &placement.cores)?;
    let pools = Pools::new(&policy)?;
    let (ports, dealt) = Ports::start(&policy, &pools)?;
    if drain && !ports.ports.iter().any(|port| port.finite) {
        return Err(Error::NothingToDrain);
    }
    let mut socket = ControlSocket::bind(&policy.runtime.control_socket)?;
    let engine = GatewayEngine::with_order(&policy.runtime.engines);
    let installation = install(&policy, &engine, 0)?;
    log_fallbacks(&installation);
    let (clock, epoch) = (Clock(Instant::now()), dpdk::thread::cycles());
    let stop_workers = Arc::new(AtomicBool::new(false));
    let (mut control, workers) = assemble(
        policy,
        pools,
        ports,
        dealt,
        installation,
        epoch,
        &stop_workers,
    )?;
    let threads = start_workers(workers, &placement, &stop_workers)?;
    keep_off_workers(&placement);
    while !control.is_running() && !stop.load(Ordering::Relaxed) {
        control.round(clock.now());
    }
    eprintln!("portcullis: running");
    let mut telemetry = Telemetry::default();
    control_loop(
        &mut control,
        &mut telemetry,
        &mut socket,
        clock,
        drain,
        stop,
    );
    stop_workers.store(true, Ordering::Relaxed);
    for thread in threads {
        // A worker that panicked has said so; in a release the process is gone by then.
        drop(thread.join());
    }
    control.finish(clock.now());
    let status = telemetry.finish(&control, clock.now());
    drop(control);
    drop(eal);
    Ok(status)
}

fn control_loop(
    control: &mut Control,
    telemetry: &mut Telemetry,
    socket: &mut ControlSocket,
    clock: Clock,
    drain: bool,
    stop: &AtomicBool,
) {
    let mut quiet_since: Option<(Instant, u64)> = None;
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let busy = control.round(now);
        telemetry.tick(control, now);
        socket.serve(|| telemetry.status(control, now));
        if drain {
            let received = telemetry.received(control);
            let quiet = control.is_drained() && !busy;
            match quiet_since {
                Some((since, before)) if quiet && before == received => {
                    if since.elapsed() >= QUIET && !control.resolver.is_waiting() {
                        return;
                    }
                }
                _ => quiet_since = quiet.then(|| (Instant::now(), received)),
            }
        }
        if !busy {
            std::thread::sleep(NAP);
        }
    }
}

/// Ends of the rings between each pair of workers: `(to_peers, from_peers)` for each worker.
type PeerRings = (Vec<Option<Sender<ToPeer>>>, Vec<Option<Receiver<ToPeer>>>);

fn peer_rings(workers: usize) -> Vec<PeerRings> {
    let mut ends: Vec<PeerRings> = (0..workers).map(|_| (Vec::new(), Vec::new())).collect();
    for from in 0..workers {
        for to in 0..workers {
            let (sender, receiver) = if from == to {
                (None, None)
            } else {
                let (sender, receiver) = ring(PEER_RING);
                (Some(sender), Some(receiver))
            };
            if let Some(end) = ends.get_mut(from) {
                end.0.push(sender);
            }
            if let Some(end) = ends.get_mut(to) {
                end.1.push(receiver);
            }
        }
    }
    ends
}

/// Says which engines are not there, and how many SAs that concerns.
fn log_fallbacks(installation: &Installation) {
    for refusal in &installation.refusals {
        tracing::warn!("{refusal}");
    }
    let sas = &installation.sas;
    let count = sas.iter().filter(|sa| sa.choice.fallback.is_some()).count();
    if count != 0 {
        tracing::warn!("{count} of {} SAs fall back to a later engine", sas.len());
    }
}

/// Makes control and the workers around their rings.
fn assemble(
    policy: Policy,
    pools: Pools,
    ports: Ports,
    dealt: Vec<Vec<WorkerPort>>,
    installation: Installation,
    epoch: u64,
    stop: &Arc<AtomicBool>,
) -> Result<(Control, Vec<Worker>), Error> {
    let interfaces = ports.fib_interfaces(&policy);
    let fib = Arc::new(fib::build(&policy, interfaces));
    let captures = open_captures(&policy, &ports)?;
    let mut control = Control {
        workers: Vec::new(),
        resolver: resolver(&policy, &fib),
        sas: installation.sas,
        devices: installation.devices,
        drops: DropCounters::default(),
        neighbors_sent: 0,
        path_mtus: HashMap::new(),
        fib,
        policy,
        ports,
        captures,
        pools,
    };
    let (spd, neighbors) = (fib::spd(&control.policy), Arc::new(control.neighbors()));
    let shared: Arc<[_]> = control.ports.interfaces.clone().into();
    let esp_udp_ports = fib::esp_udp_ports(&control.policy);
    let mut workers = Vec::new();
    let rings = peer_rings(dealt.len());
    let mut queues = installation.queues.into_iter();
    for (index, ((ports, commands), peers)) in dealt
        .into_iter()
        .zip(installation.commands)
        .zip(rings)
        .enumerate()
    {
        let hits: Arc<[EntryCounters]> = control
            .policy
            .spd
            .iter()
            .map(|_| EntryCounters::default())
            .collect();
        let view = View {
            spd: spd.clone(),
            bindings: installation
                .bindings
                .iter()
                .map(|b| b.clone().into())
                .collect(),
            hits: hits.clone(),
            fib: control.fib.clone(),
            ports: shared.clone(),
            esp_udp_ports: esp_udp_ports.clone(),
            neighbors: neighbors.clone(),
        };
        let status = Arc::new(WorkerStatus::default());
        let (rings, mut link) = link(status.clone(), hits, peers);
        commands
            .into_iter()
            .for_each(|command| link.send(ToWorker::Command(command)));
        link.send(ToWorker::Start);
        control.workers.push(link);
        let (counters, mut seed) = (status.counters.clone(), [0; 32]);
        getrandom::fill(&mut seed).map_err(Error::Random)?;
        let engine = GatewayEngine::with_order(&control.policy.runtime.engines)
            .with_devices(queues.next().unwrap_or_default());
        // Keys are made once, for the engines that control found.
        if engine.refusals() != installation.refusals {
            return Err(Error::Worker(index));
        }
        let io = WorkerIo {
            pool: control.pools.packets.clone(),
            jumbo: control.pools.jumbo.clone(),
            ports,
            interface_port: control.ports.interface_port.clone(),
            rings,
            counters: counters.clone(),
            discarded: arrayvec::ArrayVec::new(),
        };
        workers.push(Worker {
            pipeline: Pipeline::new(index as u16, engine, view, counters, FLOWS, seed),
            io,
            status,
            shares_core: false,
            stop: stop.clone(),
            epoch,
        });
    }
    Ok((control, workers))
}

fn link(
    status: Arc<WorkerStatus>,
    hits: Arc<[EntryCounters]>,
    (to_peers, from_peers): PeerRings,
) -> (WorkerRings, WorkerLink) {
    let (to_worker, from_control) = ring(COMMAND_RING);
    let (to_control, from_worker) = ring(PUNT_RING);
    let (retire, retired) = ring(COMMAND_RING);
    let (capture, captured) = ring(CAPTURE_RING);
    let rings = WorkerRings {
        from_control,
        to_control,
        retired: retire,
        captured: capture,
        to_peers,
        from_peers,
    };
    let link = WorkerLink {
        to_worker,
        waiting: VecDeque::new(),
        from_worker,
        retired,
        captured,
        status,
        hits,
    };
    (rings, link)
}

/// Starts a thread for each worker, pinned and known to DPDK.
fn start_workers(
    workers: Vec<Worker>,
    placement: &Placement,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<JoinHandle<()>>, Error> {
    let mut threads = Vec::new();
    for (index, mut worker) in workers.into_iter().enumerate() {
        let core = placement.workers.get(index).copied().flatten();
        worker.shares_core = placement.shared;
        let (ready, started) = std::sync::mpsc::channel();
        let body = move || {
            if let Some(id) = core {
                if !core_affinity::set_for_current(CoreId { id }) {
                    tracing::warn!(worker = index, core = id, "cannot be pinned to this core");
                }
            }
            let registration = dpdk::thread::register();
            let known = registration.is_ok();
            // Nobody listens only if the gateway has given up.
            if ready.send(known).is_ok() && known {
                worker.run();
            }
            drop(registration);
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(body);
        threads.push(thread.map_err(|_| Error::Worker(index))?);
        if !started.recv().unwrap_or(false) {
            stop.store(true, Ordering::Relaxed);
            return Err(Error::Worker(index));
        }
    }
    Ok(threads)
}

fn resolver(policy: &Policy, fib: &fib::Fib) -> Resolver<crate::packet::Packet> {
    let locals = fib
        .interfaces()
        .iter()
        .enumerate()
        .map(|(index, interface)| LocalInterface {
            id: InterfaceId(index as u16),
            mac: interface.mac,
            addresses: interface.addresses.clone(),
        });
    let fixed = policy.neighbors.iter().map(|neighbor| {
        (
            InterfaceId(neighbor.interface as u16),
            Address::from(neighbor.address),
            neighbor.mac,
        )
    });
    Resolver::new(locals.collect(), fixed.collect())
}

fn open_captures(policy: &Policy, ports: &Ports) -> Result<Vec<Option<Capture>>, Error> {
    let mut captures: Vec<_> = ports.ports.iter().map(|_| None).collect();
    for (interface, port) in policy.interfaces.iter().zip(&ports.interface_port) {
        let (Some(path), Some(place)) = (&interface.capture, captures.get_mut(usize::from(*port)))
        else {
            continue;
        };
        let file = Capture::create(path).map_err(|error| Error::Io {
            what: format!("capture file {}", path.display()),
            error,
        })?;
        *place = Some(file);
    }
    Ok(captures)
}
