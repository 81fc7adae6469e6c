//! Changes the policy while traffic runs: all of it, or nothing.
//!
//! ```text
//! read, check, compare, build     new SAs, index, view          no old view, no packet    old SAs go
//! (a thread of its own)       ->  (orders to the workers)  ->   in flight of one      ->  (orders)    -> done
//! ```
//! Outbound SAs go first, and inbound ones when the policy's overlap is over, so that nothing is lost that a peer sends who
//! has not heard of it yet ([`crate::departing`]).
//!
//! A worker meets a new SA before the entry that names it, and an old one is there until no worker has a view, a
//! remembered flow or a packet on its way to another worker that refers to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

use portcullis_config::Store;

use crate::agent::store::Fetched;
use crate::control::Control;
use crate::events::Event;
use crate::install::Plan;
use crate::metrics::{Metrics, Place, Served};
use crate::policy_file;
use crate::prepare::{Basis, Prepared, prepare};
use crate::report::{
    Difference, Outcome, ReloadReport, fixed_differences, is_reordered, settings_differences,
};
use crate::worker::{GRACE_ROUNDS, GatewayEngine, WorkerCommand};

/// What came of the work beside the loop.
struct Answer {
    engine: GatewayEngine,
    ready: Option<Box<Ready>>,
    report: ReloadReport,
}

/// All that a new policy takes.
struct Ready {
    prepared: Prepared,
    /// Where its figures are served, if that is elsewhere.
    metrics: Option<Place>,
}

enum Work {
    Idle,
    Preparing {
        answer: Receiver<Answer>,
        trial: bool,
    },
    Applying(Change, Box<ReloadReport>, Instant),
}

/// What a policy is read from, beside the machine's own file.
pub struct Source {
    /// What a store has brought.
    pub documents: Option<Arc<Fetched>>,
    /// The store that the file must name: the documents are its.
    pub store: Option<Store>,
}

/// Reloads a policy file, one reload at a time.
pub struct Reloader {
    file: PathBuf,
    /// Lent to the thread that makes keys.
    engine: Option<GatewayEngine>,
    work: Work,
}

impl Reloader {
    /// For this policy file.
    pub fn new(file: &Path, engine: GatewayEngine) -> Self {
        Reloader {
            file: file.to_owned(),
            engine: Some(engine),
            work: Work::Idle,
        }
    }

    /// The policy file, by the name that it was given: file names in it are beside it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// True if there is nothing to wait for.
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle)
    }

    /// Begins a reload, or with `trial` finds out what it would do; false if one is under
    /// way.
    pub fn begin(&mut self, control: &Control, now: u64, source: Source, trial: bool) -> bool {
        if !self.is_idle() {
            return false;
        }
        let Some(engine) = self.engine.take() else {
            return false;
        };
        let (file, basis) = (self.file.clone(), control.basis());
        let served = control.metrics.as_ref().map(Metrics::served);
        let (sender, answer) = channel();
        let body = move || {
            let (ready, mut report) = read((&file, &source), (basis, served), &engine, now, trial);
            report.dry_run = trial;
            let answer = Answer {
                engine,
                ready: ready.map(Box::new),
                report,
            };
            // Nobody listens only when the gateway ends.
            drop(sender.send(answer));
            heap::trim();
        };
        // A thread that does not start drops its end of the channel, which is an answer, too.
        drop(
            std::thread::Builder::new()
                .name("reload".into())
                .spawn(body),
        );
        self.work = Work::Preparing { answer, trial };
        true
    }

    /// Goes on as far as is possible without waiting. A report when a reload ends.
    pub fn advance(&mut self, control: &mut Control, now: u64) -> Option<ReloadReport> {
        match &mut self.work {
            Work::Idle => None,
            Work::Preparing { answer, trial } => match answer.try_recv() {
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => {
                    let report = not_back(*trial);
                    self.work = Work::Idle;
                    let order = &control.installed.policy.runtime.engines;
                    self.engine = Some(GatewayEngine::with_order(order));
                    Some(report)
                }
                Ok(answer) => {
                    self.engine = Some(answer.engine);
                    let Some(ready) = answer.ready else {
                        self.work = Work::Idle;
                        return Some(answer.report);
                    };
                    let begun = Instant::now();
                    let change = Change::begin(control, *ready, now);
                    self.work = Work::Applying(change, Box::new(answer.report), begun);
                    None
                }
            },
            Work::Applying(change, report, begun) => {
                if !change.advance(control) {
                    return None;
                }
                report.apply_ms = milliseconds(*begun);
                let report = std::mem::take(&mut **report);
                self.work = Work::Idle;
                Some(report)
            }
        }
    }
}

/// Of the thread that died, or did not start.
fn not_back(trial: bool) -> ReloadReport {
    let reason = "the thread that reads the policy did not come back";
    ReloadReport {
        dry_run: trial,
        ..ReloadReport::refused(vec![reason.into()])
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Reads the policy, compares it with the one in force, and makes all that it takes.
fn read(
    (file, source): (&Path, &Source),
    (basis, served): (Basis, Option<Served>),
    engine: &GatewayEngine,
    now: u64,
    trial: bool,
) -> (Option<Ready>, ReloadReport) {
    let begun = Instant::now();
    let documents = source.documents.as_deref();
    let documents = documents.map_or(&[][..], |fetched| &fetched.documents);
    let loaded = match policy_file::load(file, documents) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            let reasons = mistakes.iter().map(ToString::to_string).collect();
            return (None, ReloadReport::refused(reasons));
        }
    };
    let old = &basis.installed.policy;
    let mut report = ReloadReport {
        warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        read_ms: milliseconds(begun),
        ..ReloadReport::default()
    };
    let refuse = |mut report: ReloadReport, reasons| {
        (report.outcome, report.reasons) = (Outcome::Refused, reasons);
        (None, report)
    };
    let mut reasons = fixed_differences(old, &loaded.policy);
    if loaded.policy.store != source.store {
        reasons
            .push("[store] differs: it changes with `portcullis reload`, not with a poll".into());
    }
    if !reasons.is_empty() {
        return refuse(report, reasons);
    }
    let begun = Instant::now();
    let prepared = match prepare(&basis, Arc::new(loaded.policy), engine, now) {
        Ok(prepared) => prepared,
        Err(error) => return refuse(report, vec![error.to_string()]),
    };
    let new = &prepared.plan.installed.policy;
    let metrics = match Place::beyond(&old.metrics, &new.metrics, served, trial) {
        Ok(place) => place,
        Err(error) => return refuse(report, vec![error.to_string()]),
    };
    report.settings = settings_differences(old, new);
    report.sas = Difference::of_sas(old, new, &prepared.plan.moves);
    report.spd = Difference::of_spd(old, new);
    report.connections = Difference::of_connections(old, new);
    report.spd_reordered = is_reordered(&prepared.entries_before);
    report.routes = Difference::of_routes(old, new);
    report.neighbors = Difference::of_neighbors(old, new);
    report.prepare_ms = milliseconds(begun);
    report.outcome = match (old == new, trial) {
        (true, _) => Outcome::Unchanged,
        (false, true) => Outcome::Planned,
        (false, false) => Outcome::Applied,
    };
    let wanted = report.outcome == Outcome::Applied;
    (wanted.then_some(Ready { prepared, metrics }), report)
}

enum Step {
    /// Until every worker has the new view.
    View,
    /// Until packets that old views sent from worker to worker have arrived.
    Grace,
    /// Until every worker has let go of the old SAs.
    Removal,
}

/// A change on its way to the workers.
struct Change {
    step: Step,
    /// For each worker, what it must have come to.
    marks: Vec<u64>,
    /// What takes away the old SAs that nothing uses any more.
    removals: Vec<Vec<WorkerCommand>>,
}

impl Change {
    /// Puts a new policy into force.
    fn begin(control: &mut Control, Ready { prepared, metrics }: Ready, now: u64) -> Change {
        let Prepared {
            plan,
            fib,
            spd,
            mut views,
            entries_before,
            numbers,
        } = prepared;
        let Plan {
            installed,
            before_view,
            after_view,
            last,
            index,
            overlap,
            ..
        } = plan;
        let hits = views.iter().map(|view| view.hits.clone()).collect();
        control.entries.change(hits, entries_before);
        control.adopt(installed, fib, spd);
        // Before any worker has the new view: what may no longer pass in clear does not.
        control.age_soft_sas(now);
        control.ike.numbers = numbers;
        if overlap.ends_others() {
            control.negotiated.departing.hasten(now);
        }
        let index = control.negotiated.change_index(index, &control.installed);
        let neighbors = Arc::new(control.neighbors());
        for view in &mut views {
            view.neighbors = neighbors.clone();
        }
        let orders = before_view.into_iter().zip(views).zip(after_view);
        let orders = orders.zip(index.found);
        for (link, (((before, view), after), found)) in control.workers.iter_mut().zip(orders) {
            let before = before.into_iter().chain(found);
            let view = [WorkerCommand::SetView(view)];
            link.send_all(before.chain(view).chain(after));
        }
        control.configure_ike(now);
        control.leave_old_addresses(now);
        control.serve_metrics(now, metrics);
        let removals = last.into_iter().zip(index.late);
        let removals = removals.map(|(last, late)| last.into_iter().chain(late).collect());
        Change {
            step: Step::View,
            marks: sent(control),
            removals: removals.collect(),
        }
    }

    /// True when all is done.
    fn advance(&mut self, control: &mut Control) -> bool {
        let links = control.workers.iter().zip(&self.marks);
        let passed = match self.step {
            Step::View | Step::Removal => links
                .clone()
                .all(|(link, mark)| link.status.taken.get() >= *mark),
            Step::Grace => links
                .clone()
                .all(|(link, mark)| link.status.rounds.get() >= *mark),
        };
        if !passed {
            return false;
        }
        self.step = match self.step {
            Step::View => {
                control.entries.settle();
                let rounds = control.workers.iter().map(|link| link.status.rounds.get());
                self.marks = rounds.map(|rounds| rounds + GRACE_ROUNDS).collect();
                Step::Grace
            }
            Step::Grace => {
                send(control, &mut self.removals);
                self.marks = sent(control);
                Step::Removal
            }
            Step::Removal => return true,
        };
        false
    }
}

fn send(control: &mut Control, orders: &mut [Vec<WorkerCommand>]) {
    for (link, orders) in control.workers.iter_mut().zip(orders) {
        link.send_all(std::mem::take(orders));
    }
}

/// For each worker the number of messages so far.
fn sent(control: &Control) -> Vec<u64> {
    control.workers.iter().map(|link| link.sent).collect()
}

/// Tells of a reload. A dry run is of interest to whom it answers, and to nobody else.
pub fn tell(control: &mut Control, now: u64, report: &ReloadReport) {
    if report.dry_run {
        return;
    }
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    let (sas, spd) = (&report.sas, &report.spd);
    match report.outcome {
        Outcome::Refused => {
            let reasons = report.reasons.clone();
            control.raise(now, Event::PolicyRefused { reasons });
        }
        Outcome::Unchanged => tracing::info!("the policy is as before"),
        Outcome::Planned => {}
        Outcome::Applied => {
            let file = control.installed.policy.runtime.event_log.clone();
            control.events.reopen(file.as_deref());
            let event = Event::PolicyChanged {
                sas_added: sas.added,
                sas_removed: sas.removed,
                sas_changed: sas.changed,
                entries_added: spd.added,
                entries_removed: spd.removed,
                entries_changed: spd.changed,
                milliseconds: (report.read_ms + report.prepare_ms + report.apply_ms) as u64,
            };
            control.raise(now, event);
        }
    }
}
