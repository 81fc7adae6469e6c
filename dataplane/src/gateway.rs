//! A gateway from start to end: DPDK, ports, workers, the slow path's loop, and the way out.
//!
//! ```text
//! start: DPDK -> ports -> control socket -> crypto devices -> workers -> IKE -> policy agent -> its first policy
//! end:   farewell to peers -> workers -> what is left in the rings -> IKE with its keys, the policy -> ports -> DPDK
//! ```
//! Until there is a policy the workers have one that discards everything, and a port receives only once its worker
//! has that. IKE is begun anew without the rest, see [`Control::restart_ike`]. Everything else that fails ends the
//! process: nothing forwards then, in clear or otherwise, and whoever supervises it starts it again.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use portcullis_config::Policy;
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::counters::DropCounters;
use portcullis_ipsec::fib::Fib;
use portcullis_ipsec::icmp::RateLimit;
use portcullis_ipsec::neighbor::{LocalInterface, Resolver};
use portcullis_ipsec::pipeline::Pipeline;

use crate::Error;
use crate::agent::Agent;
use crate::capture::Capture;
use crate::control::{COMMAND_RING, Control, WorkerLink, fixed_neighbors};
use crate::cycles::StopWatch;
use crate::eal::{self, Pools};
use crate::engine::cryptodev::{CryptoDevices, DeviceQueues};
use crate::events::{Event, Events};
use crate::ike::Ike;
use crate::ike_status::Begun;
use crate::install::Installed;
use crate::metrics::Place;
use crate::negotiated::Negotiated;
use crate::numbers::ChildNumbers;
use crate::offload::Offloads;
use crate::port::Ports;
use crate::prepare::{Basis, Prepared, prepare};
use crate::reclaim::Reclaimer;
use crate::report::ReloadReport;
use crate::ring::{Receiver, Sender, ring};
use crate::service_manager::{self, Watchdog};
use crate::socket::{ControlSocket, Reply, Request};
use crate::soft::SoftSas;
use crate::spi::Spis;
use crate::status::{Status, Telemetry};
use crate::totals::EntryTotals;
use crate::worker::{
    GatewayEngine, PEER_RING, ToPeer, ToWorker, Worker, WorkerIo, WorkerPort, WorkerRings,
    WorkerStatus,
};

/// Punts and news that control may be behind.
const PUNT_RING: usize = 2048;
/// Urgent punts that control may be behind.
const URGENT_RING: usize = 512;
/// ARP and neighbour discovery on their way to control.
const NEIGHBOR_RING: usize = 512;
/// IKE without a cookie of ours that control may be behind.
const FIRST_RING: usize = 512;
/// Copies of frames that control may be behind.
const CAPTURE_RING: usize = 4096;
/// ICMP errors of control per second, and in a burst.
const PORT_UNREACHABLE: (u32, u32) = (1000, 100);
/// Threads for Diffie-Hellman and signatures.
const IKE_THREADS: usize = 2;
/// Flows that a worker remembers at least, and at most.
const FLOWS: (usize, usize) = (1 << 16, 1 << 21);
/// How long control sleeps when there is nothing to do, and at the longest when that goes on.
const NAP: [Duration; 2] = [Duration::from_micros(200), Duration::from_micros(800)];
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

/// What signals ask for.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// End.
    pub stop: Arc<AtomicBool>,
    /// Read the policy file again.
    pub reload: Arc<AtomicBool>,
}

/// Runs a gateway with the policy that `file` holds, until told to stop, or, with `drain`, until its capture files
/// are read. Returns its last status.
pub fn run(file: &Path, policy: Policy, drain: bool, signals: &Signals) -> Result<Status, Error> {
    heap::join_at_once();
    let cores = core_affinity::get_core_ids().unwrap_or_else(|| vec![CoreId { id: 0 }]);
    let placement = place(&policy, cores.into_iter().map(|core| core.id).collect());
    let eal = eal::start(&policy, &placement.cores)?;
    let pools = Pools::new(&policy)?;
    let (ports, dealt) = Ports::start(&policy, &pools)?;
    if drain && !ports.ports.iter().any(|port| port.finite) {
        return Err(Error::NothingToDrain);
    }
    let socket = ControlSocket::bind(&policy.runtime.control_socket)?;
    let engine = GatewayEngine::with_order(&policy.runtime.engines);
    let (mut devices, queues) = CryptoDevices::start(&policy)?;
    devices.inline = ports.ports.iter().any(|port| port.device.is_some());
    let basis = Basis {
        installed: Arc::new(Installed::nothing(dealt.len())),
        fib: Arc::new(Fib::new(ports.fib_interfaces(&policy), &[])),
        ports: ports.interfaces.clone().into(),
        devices: Arc::new(devices),
        numbers: Arc::new(ChildNumbers::default()),
    };
    let store = policy.store.clone();
    // With a store, the agent looks for the policy when all runs that serves it.
    let first = if store.is_some() {
        policy.before_first()
    } else {
        policy
    };
    let prepared = prepare(&basis, Arc::new(first), &engine, 0)?;
    let clock = Clock(Instant::now());
    let stop_workers = Arc::new(AtomicBool::new(false));
    let refusals = engine.refusals();
    log_fallbacks(&refusals, &prepared.plan.installed.sas);
    let (mut control, workers) = assemble(
        pools,
        ports,
        (dealt, queues),
        (prepared, basis.devices),
        &refusals,
        &stop_workers,
    )?;
    let threads = start_workers(workers, &placement, &stop_workers)?;
    for (link, thread) in control.workers.iter_mut().zip(&threads) {
        link.sleeper = placement.shared.then(|| thread.thread().clone());
    }
    keep_off_workers(&placement);
    while !control.is_running() && !signals.stop.load(Ordering::Relaxed) {
        control.round(clock.now());
        all_live(&threads)?;
    }
    // An address that cannot be had ends us: before anybody is told that we run.
    let policy = control.installed.policy.clone();
    let place = Place::beyond(&Default::default(), &policy.metrics, None, false)?;
    open_for_business(&mut control, clock.now());
    control.serve_metrics(clock.now(), place);
    service_manager::ready();
    let mut desk = Desk {
        socket,
        telemetry: Telemetry::default(),
        agent: Agent::new(file, engine, store)?,
    };
    desk.agent.start(&mut control, clock.now());
    let ended = control_loop(&mut control, &mut desk, clock, drain, (signals, &threads));
    service_manager::stopping();
    control.metrics = None;
    control.raise(clock.now(), Event::Stopping {});
    control.take_leave(|| clock.now());
    stop_workers.store(true, Ordering::Relaxed);
    for thread in threads {
        // A worker that panicked has said so; in a release the process is gone by then.
        drop(thread.join());
    }
    ended?;
    control.finish(clock.now());
    let status = desk.telemetry.finish(&control, clock.now());
    drop(control);
    drop(eal);
    Ok(status)
}

/// All workers receive: peers may be spoken to, and whoever waits for us is told.
fn open_for_business(control: &mut Control, now: u64) {
    let started = Event::Started {
        version: env!("CARGO_PKG_VERSION").into(),
        workers: control.workers.len(),
        entries: control.installed.policy.spd.len(),
    };
    control.raise(now, started);
    control.configure_ike(now);
    heap::trim();
    eprintln!("portcullis: running");
}

/// Where operators are served.
struct Desk {
    socket: ControlSocket,
    telemetry: Telemetry,
    agent: Agent,
}

impl Desk {
    /// Does what can be done without waiting.
    fn serve(&mut self, control: &mut Control, now: u64, signals: &Signals) {
        let Desk {
            socket,
            telemetry,
            agent,
        } = self;
        telemetry.tick(control, now);
        if agent.is_idle() && signals.reload.swap(false, Ordering::Relaxed) {
            let log = control.installed.policy.runtime.event_log.clone();
            control.events.reopen(log.as_deref());
            agent.request(control, now, false);
        }
        socket.serve(now, |request| match request {
            Request::Show(query) => Reply::Answer(json(&telemetry.status(control, now, &query))),
            Request::Events { after, last } => {
                Reply::Answer(json(&control.events.after(after, last)))
            }
            Request::Capture(order) => Reply::Capture(order),
            Request::Explain(question) => Reply::Answer(json(&control.explain(&question))),
            Request::Initiate { connection, child } => {
                Reply::Answer(json(&control.initiate(now, connection, child)))
            }
            Request::Terminate { connection, peer } => {
                Reply::Answer(json(&control.terminate(now, connection, peer)))
            }
            Request::RestartIke => {
                control.restart_ike(now);
                let begun = Begun {
                    error: None,
                    at_ms: now,
                };
                Reply::Answer(json(&begun))
            }
            Request::Policy => Reply::Answer(json(&agent.status(control, now))),
            Request::Reload { trial } => match agent.request(control, now, trial) {
                true => Reply::Later,
                false => Reply::Answer(json(&busy())),
            },
        });
        while let Some((stream, order)) = socket.take_watcher() {
            control.begin_capture(now, stream, order);
        }
        if let Some(report) = agent.advance(control, now) {
            socket.answer(&json(&report));
            telemetry.note_reload(&report);
        }
        if agent.is_idle() {
            control.keep_metrics(now);
        }
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn busy() -> ReloadReport {
    ReloadReport::refused(vec!["another reload is under way".into()])
}

fn control_loop(
    control: &mut Control,
    desk: &mut Desk,
    clock: Clock,
    drain: bool,
    (signals, threads): (&Signals, &[JoinHandle<()>]),
) -> Result<(), Error> {
    let (mut quiet_since, mut nap): (Option<(Instant, u64)>, _) = (None, NAP[0]);
    let mut watchdog = Watchdog::of_environment();
    while !signals.stop.load(Ordering::Relaxed) {
        all_live(threads)?;
        let now = clock.now();
        let busy = control.round(now);
        desk.serve(control, now, signals);
        watchdog.tick(now, control.workers.iter().map(|w| w.status.rounds.get()));
        if drain {
            let received = desk.telemetry.received(control);
            let quiet = control.is_drained() && !busy;
            match quiet_since {
                Some((since, before)) if quiet && before == received => {
                    if since.elapsed() >= QUIET && !control.resolver.is_waiting() {
                        return Ok(());
                    }
                }
                _ => quiet_since = quiet.then(|| (Instant::now(), received)),
            }
        }
        match busy {
            true => {
                nap = NAP[0];
                control.await_ike(nap);
            }
            false => {
                std::thread::sleep(nap);
                let longest = NAP[usize::from(!control.is_behind())];
                nap = (2 * nap).min(longest);
            }
        }
    }
    Ok(())
}

/// A worker that ends by itself leaves its queues to nobody: the gateway ends, and whoever supervises it starts it
/// again. (In a release a panic ends the process at once.)
fn all_live(threads: &[JoinHandle<()>]) -> Result<(), Error> {
    match threads.iter().position(JoinHandle::is_finished) {
        Some(worker) => Err(Error::WorkerEnded(worker)),
        None => Ok(()),
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
fn log_fallbacks(refusals: &[String], sas: &[crate::install::InstalledSa]) {
    for refusal in refusals {
        tracing::warn!("{refusal}");
    }
    let count = sas.iter().filter(|sa| sa.choice.fallback.is_some()).count();
    if count != 0 {
        tracing::warn!("{count} of {} SAs fall back to a later engine", sas.len());
    }
}

/// Makes control and the workers around their rings.
fn assemble(
    pools: Pools,
    mut ports: Ports,
    (dealt, queues): (Vec<Vec<WorkerPort>>, Vec<DeviceQueues>),
    (prepared, devices): (Prepared, Arc<CryptoDevices>),
    refusals: &[String],
    stop: &Arc<AtomicBool>,
) -> Result<(Control, Vec<Worker>), Error> {
    let (installed, fib) = (Arc::new(prepared.plan.installed), prepared.fib);
    let (count, spis) = (dealt.len(), Spis::default());
    let engine = GatewayEngine::with_order(&installed.policy.runtime.engines);
    let mut ike = Ike::new(&installed.policy, engine, spis.clone(), IKE_THREADS)?;
    ike.numbers = prepared.numbers;
    let mut control = Control {
        ike,
        negotiated: Negotiated::new(count, spis.clone()),
        spis,
        soft: SoftSas::default(),
        events: Events::new(installed.policy.runtime.event_log.as_deref())?,
        workers: Vec::new(),
        resolver: resolver(&installed.policy, &fib),
        entries: EntryTotals::default(),
        drops: DropCounters::default(),
        neighbors_sent: 0,
        path_mtus: HashMap::new(),
        captures: open_captures(&installed.policy, &ports)?,
        live_capture: None,
        metrics: None,
        store: None,
        reclaimer: Reclaimer::start()?,
        icmp_limit: RateLimit::new(PORT_UNREACHABLE.0, PORT_UNREACHABLE.1),
        devices,
        offloads: Offloads::new(&mut ports.ports),
        fib,
        spd: prepared.spd,
        installed,
        ports,
        pools,
    };
    let hits = prepared.views.iter().map(|view| view.hits.clone());
    control
        .entries
        .change(hits.collect(), prepared.entries_before);
    // Two for each SA, so that a flow in each finds its place.
    let flows = (control.installed.sas.len() * 2).clamp(FLOWS.0, FLOWS.1);
    let found = control
        .negotiated
        .change_index(prepared.plan.index, &control.installed)
        .found;
    let (neighbors, epoch) = (Arc::new(control.neighbors()), dpdk::thread::cycles());
    let orders = prepared.plan.before_view.into_iter().zip(found);
    let orders = prepared.views.into_iter().zip(orders);
    let parts = dealt.into_iter().zip(orders).zip(peer_rings(count));
    let mut workers = Vec::new();
    let mut queues = queues.into_iter();
    for (index, ((ports, (mut view, (orders, found))), peers)) in parts.enumerate() {
        view.neighbors = neighbors.clone();
        let status = Arc::new(WorkerStatus::default());
        let (rings, mut link) = link(status.clone(), peers);
        link.send_all(orders.into_iter().chain(found));
        link.send(ToWorker::Start);
        control.workers.push(link);
        let (counters, mut seed) = (status.counters.clone(), [0; 32]);
        getrandom::fill(&mut seed).map_err(Error::Random)?;
        let devices = queues.next().unwrap_or_default();
        let engine = worker_engine(&control, index, devices, refusals)?;
        workers.push(Worker {
            io: worker_io(&control, ports, rings, &status),
            pipeline: Pipeline::new(index as u16, engine, *view, counters, flows, seed),
            status,
            shares_core: false,
            stop: stop.clone(),
            epoch,
        });
    }
    control.begin_offloads();
    Ok((control, workers))
}

/// A worker's own. Keys are made once, for the engines that control found.
fn worker_engine(
    control: &Control,
    worker: usize,
    devices: DeviceQueues,
    refusals: &[String],
) -> Result<GatewayEngine, Error> {
    let order = &control.installed.policy.runtime.engines;
    let engine = GatewayEngine::with_order(order).with_devices(devices);
    match engine.refusals() == refusals {
        true => Ok(engine),
        false => Err(Error::Worker(worker)),
    }
}

fn worker_io(
    control: &Control,
    ports: Vec<WorkerPort>,
    rings: WorkerRings,
    status: &WorkerStatus,
) -> WorkerIo {
    let stop_watch = || StopWatch::new(status.cycles.clone());
    WorkerIo {
        pool: control.pools.packets.clone(),
        jumbo: control.pools.jumbo.clone(),
        ports,
        interface_port: control.ports.interface_port.clone(),
        rings,
        cookies: control.ike.endpoint.cookie_key(),
        counters: status.counters.clone(),
        discarded: arrayvec::ArrayVec::new(),
        offloads: control.offloads.has_device(),
        stop_watch: control
            .installed
            .policy
            .runtime
            .cycle_budget
            .then(stop_watch),
    }
}

fn link(status: Arc<WorkerStatus>, (to_peers, from_peers): PeerRings) -> (WorkerRings, WorkerLink) {
    let (to_worker, from_control) = ring(COMMAND_RING);
    let (to_control, from_worker) = ring(PUNT_RING);
    let (urgent, urgent_punts) = ring(URGENT_RING);
    let (neighbors, neighbor_punts) = ring(NEIGHBOR_RING);
    let (first, first_punts) = ring(FIRST_RING);
    let (retire, retired) = ring(COMMAND_RING);
    let (capture, captured) = ring(CAPTURE_RING);
    let rings = WorkerRings {
        from_control,
        to_control,
        urgent,
        neighbors,
        first,
        retired: retire,
        captured: capture,
        to_peers,
        from_peers,
    };
    let link = WorkerLink {
        to_worker,
        waiting: VecDeque::new(),
        from_worker,
        urgent: urgent_punts,
        neighbors: neighbor_punts,
        first: first_punts,
        retired,
        captured,
        status,
        sent: 0,
        sleeper: None,
        has_more: false,
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

fn resolver(policy: &Policy, fib: &Fib) -> Resolver<crate::packet::Packet> {
    let locals = fib
        .interfaces()
        .iter()
        .enumerate()
        .map(|(index, interface)| LocalInterface {
            id: InterfaceId(index as u16),
            mac: interface.mac,
            addresses: interface.addresses.clone(),
        });
    Resolver::new(locals.collect(), fixed_neighbors(policy))
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
