//! The policy agent: finds the policy of this gateway, puts it into force, looks for the next one, and remembers the
//! last one.
//!
//! Its parts: the [`store`] brings policies, the [`cache`] keeps the last one, the machine's own file (given to
//! `portcullis run`) is the local registry, [`state`] decides, [`hands`] does what takes long, and the
//! [`Reloader`] puts a policy into force. The first policy comes after ports, workers and IKE
//! run, and until then the workers have one that discards everything.

pub mod cache;
pub mod hands;
pub mod health;
pub mod refusals;
pub mod state;
pub mod status;
pub mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_config::{Store, StorePlace};

use self::hands::{Errand, Hands, Return};
use self::health::Health;
use self::refusals::Refusals;
use self::state::{Fetch, Machine, Origin, State, Task, Terms, Verdict};
use self::status::{Failure, PolicyStatus};
use self::store::Fetched;
use crate::Error;
use crate::control::Control;
use crate::reload::{self, Reloader, Source};
use crate::report::{Outcome, ReloadReport};
use crate::worker::GatewayEngine;

/// The agent.
pub struct Agent {
    machine: Machine,
    reloader: Reloader,
    store: Option<Store>,
    /// The store, or none, that takes its place if all goes well.
    other: Option<Option<Store>>,
    hands: Hands,
    /// Of a reload that ended before there was a policy to try.
    refusal: Option<ReloadReport>,
    file: PathBuf,
    /// What the store or the cache has brought, and is in force.
    in_force: Option<Arc<Fetched>>,
    /// What may come into force.
    candidate: Option<Arc<Fetched>>,
    /// Why the store was of no help the last time.
    failure: Option<(String, u64)>,
    refusals: Refusals,
    /// Why the cache was of no help the last time.
    no_cache: Option<String>,
    loaded_at: u64,
    polled_at: Option<u64>,
}

impl Agent {
    /// For the machine's own file, and the store that it names.
    pub fn new(file: &Path, engine: GatewayEngine, store: Option<Store>) -> Result<Self, Error> {
        Ok(Agent {
            machine: Machine::new(terms(store.as_ref())),
            reloader: Reloader::new(file, engine),
            store,
            other: None,
            hands: Hands::start()?,
            refusal: None,
            file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            in_force: None,
            candidate: None,
            failure: None,
            refusals: Refusals::default(),
            no_cache: None,
            loaded_at: 0,
            polled_at: None,
        })
    }

    /// Everything that serves the policy runs.
    pub fn start(&mut self, control: &mut Control, now: u64) {
        control.store = self.store.as_ref().map(health);
        let task = self.machine.start();
        self.carry_out(control, now, task);
    }

    /// True if there is nothing to wait for.
    pub fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }

    /// Looks for the newest policy, or with `trial` finds out what it would change; false if something is under way.
    pub fn request(&mut self, control: &mut Control, now: u64, trial: bool) -> bool {
        let task = self.machine.request(trial);
        let begun = task.is_some();
        self.carry_out(control, now, task);
        begun
    }

    /// Goes on as far as is possible without waiting. A report when a policy was tried and nothing else is left to
    /// try.
    pub fn advance(&mut self, control: &mut Control, now: u64) -> Option<ReloadReport> {
        let away = control.store.as_mut().and_then(|store| {
            store.state = self.machine.state();
            self.machine.is_idle().then(|| store.tell()).flatten()
        });
        if let Some(away) = away {
            control.raise(now, away);
        }
        let done = self.hands.poll();
        let task = done.and_then(|done| self.take(control, now, done));
        let task = task.or_else(|| self.machine.handle_timeout(now));
        self.carry_out(control, now, task);
        if let Some(refusal) = self.refusal.take() {
            reload::tell(control, now, &refusal);
            return Some(refusal);
        }
        let mut report = self.reloader.advance(control, now)?;
        if self.is_news(&report) {
            reload::tell(control, now, &report);
        }
        let task = self.conclude(control, now, &report);
        let last = self.machine.is_idle();
        self.carry_out(control, now, task);
        if !last {
            return None;
        }
        report.store_failure = self.failure.as_ref().map(|(failure, _)| failure.clone());
        Some(report)
    }

    /// Polls that come to the same again are not told of again: a store may stay away, or wrong, for days.
    fn is_news(&mut self, report: &ReloadReport) -> bool {
        if report.dry_run {
            return false;
        }
        // What an asked store has is no word of the one whose place it would take.
        let origin = self.machine.origin().filter(|_| self.other.is_none());
        let is_other = origin.is_none_or(|origin| self.refusals.note(origin, report));
        is_other || !self.machine.is_due()
    }

    fn take(&mut self, control: &mut Control, now: u64, done: Return) -> Option<Task> {
        match done {
            Return::Looked(named) => {
                // Where that cannot be told, the store stays the known one. A file with mistakes, these or others, is
                // refused as a whole, with all of them, when it is read.
                self.other = named.ok().filter(|named| *named != self.store);
                let other = self.other.as_ref().map(|other| terms(other.as_ref()));
                self.machine.looked(other)
            }
            Return::Fetched(Err(failure)) if self.other.take().is_some() => {
                let reason = format!("[store] brings no policy: {failure}");
                self.refusal = Some(ReloadReport {
                    dry_run: self.machine.is_trial(),
                    ..ReloadReport::refused(vec![reason])
                });
                self.machine.fetched(now, Fetch::Failed)
            }
            Return::Fetched(fetched) => {
                self.polled_at = Some(now);
                let (fetch, failure) = match fetched {
                    Ok(Some(policy)) => {
                        self.candidate = Some(Arc::new(policy));
                        (Fetch::New, None)
                    }
                    Ok(None) => (Fetch::Same, None),
                    Err(failure) => (Fetch::Failed, Some(failure)),
                };
                // What an asked store has to say before it takes another's place is no word of that one.
                let store = control.store.as_mut().filter(|_| self.other.is_none());
                let back = store.and_then(|store| match &failure {
                    Some(failure) => {
                        store.failed(now, failure);
                        None
                    }
                    None => {
                        if matches!(fetch, Fetch::Same) {
                            self.refusals.end(Origin::Store);
                            store.confirm();
                        }
                        store.answered(now)
                    }
                });
                if let Some(back) = back {
                    control.raise(now, back);
                }
                self.failure = failure.map(|failure| (failure, now));
                self.machine.fetched(now, fetch)
            }
            Return::Cache(read) => {
                let found = read.is_ok();
                match read {
                    Ok((policy, written)) => {
                        self.no_cache = None;
                        self.candidate = Some(Arc::new(policy));
                        if let Some(store) = &mut control.store {
                            store.cache_read(written);
                        }
                    }
                    Err(failure) => {
                        let failure = failure.to_string();
                        if self.no_cache.as_ref() != Some(&failure) {
                            tracing::warn!("{failure}");
                            self.no_cache = Some(failure);
                        }
                    }
                }
                self.machine.cache_read(found)
            }
            Return::Kept(kept) => {
                if let Err(failure) = kept {
                    tracing::error!("{failure}");
                }
                None
            }
        }
    }

    /// A policy was tried.
    fn conclude(&mut self, control: &mut Control, now: u64, report: &ReloadReport) -> Option<Task> {
        let candidate = self.candidate.take();
        let about = &control.installed.policy.about;
        let verdict = match report.outcome {
            Outcome::Refused => Verdict::Refused,
            _ => Verdict::Taken {
                interval: about.poll_interval.map(|seconds| seconds * 1000),
                is_policy: !about.is_absent,
            },
        };
        let trial = self.machine.is_trial();
        let task = self.machine.applied(now, verdict);
        let taken = !trial && report.outcome != Outcome::Refused;
        let other = self.other.take();
        let of_ours = other.is_none();
        let moved = other.filter(|_| taken);
        let from_store = taken && (candidate.is_some() || moved.is_some());
        if let Some(other) = moved {
            (self.store, self.failure) = (other, None);
            self.refusals.clear();
            control.store = self.store.as_ref().map(health);
        }
        let from_store = from_store && self.machine.state() == State::CentralDownloaded;
        if let Some(store) = control.store.as_mut().filter(|_| from_store) {
            store.confirm();
        }
        match (report.outcome, self.machine.state()) {
            // What is in force stays, whatever was tried: also where the candidate says the same in other words.
            _ if trial => {}
            (Outcome::Refused, _) if candidate.is_some() && of_ours => {
                let reason = report.reasons.first().map_or("", String::as_str);
                self.failure = Some((format!("its policy is refused: {reason}"), now));
            }
            (Outcome::Refused, _) => {}
            (_, State::Initial | State::LocalDownloaded) => {
                (self.in_force, self.loaded_at) = (None, now);
            }
            (_, State::CentralDownloaded | State::Cached) => {
                self.in_force = candidate.or(self.in_force.take());
                self.loaded_at = now;
            }
        }
        task
    }

    fn carry_out(&mut self, control: &Control, now: u64, task: Option<Task>) {
        let store = || match &self.other {
            Some(other) => other.clone(),
            None => self.store.clone(),
        };
        let errand = match task {
            None => return,
            Some(Task::Look) => Some(Errand::Look(self.reloader.file().to_owned())),
            Some(Task::Apply { origin, trial }) => {
                let documents = match origin {
                    Origin::Store | Origin::Cache => self.candidate.clone(),
                    Origin::InForce => self.in_force.clone(),
                    Origin::Machine => None,
                };
                let source = Source {
                    documents,
                    store: store(),
                };
                self.reloader.begin(control, now, source, trial);
                return;
            }
            Some(Task::Fetch) => store().map(|store| Errand::Fetch(store, self.in_force.clone())),
            Some(Task::ReadCache) => store().map(Errand::ReadCache),
            Some(Task::WriteCache) => {
                let kept = store().zip(self.in_force.clone());
                kept.map(|(store, policy)| Errand::WriteCache(store, policy))
            }
        };
        if let Some(errand) = errand {
            self.hands.send(errand);
        }
    }

    /// What `portcullis policy status` tells.
    pub fn status(&self, control: &Control, now: u64) -> PolicyStatus {
        let in_force = self.in_force.as_deref();
        let files = in_force.map(|policy| policy.documents.iter().map(|document| &document.name));
        let place = self.store.as_ref().map(|store| &store.place);
        PolicyStatus {
            state: self.machine.state(),
            version: control.installed.policy.about.version.clone(),
            etag: in_force.and_then(|policy| policy.tag.clone()),
            checksum: in_force.map(|policy| policy.checksum.clone()),
            file: self.file.clone(),
            store: place.map(|place| match in_force {
                Some(policy) => policy.place.clone(),
                None => place_text(place),
            }),
            cache: place.and_then(|place| match place {
                StorePlace::Local(_) => None,
                StorePlace::Remote(remote) => std::path::absolute(&remote.cache).ok(),
            }),
            documents: files.map_or_else(Vec::new, |files| files.cloned().collect()),
            poll_interval_ms: self.store.as_ref().map(|_| self.machine.interval()),
            next_poll_ms: self.machine.next_poll().map(|due| due.saturating_sub(now)),
            polled_ms_ago: self.polled_at.map(|at| now - at),
            loaded_ms_ago: now - self.loaded_at,
            failure: self.failure.as_ref().map(|(text, at)| Failure {
                text: text.clone(),
                ms_ago: now - at,
            }),
        }
    }
}

/// What there is with this store.
fn terms(store: Option<&Store>) -> Terms {
    let is_remote = |store: &Store| matches!(store.place, StorePlace::Remote(_));
    let seconds = store.map_or(Store::POLL_INTERVAL, |store| store.poll_interval);
    Terms {
        store: store.is_some(),
        cache: store.is_some_and(is_remote),
        interval: seconds * 1000,
    }
}

/// Of a store of which nothing is known yet.
fn health(store: &Store) -> Health {
    Health::new(place_text(&store.place))
}

/// The widest place of a store.
fn place_text(place: &StorePlace) -> String {
    match place {
        StorePlace::Local(paths) => paths
            .last()
            .map_or_else(String::new, |path| path.display().to_string()),
        StorePlace::Remote(remote) => remote.urls.last().cloned().unwrap_or_default(),
    }
}
