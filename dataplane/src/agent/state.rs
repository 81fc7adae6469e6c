//! What the agent does next: no clock, no file, no socket in here.
//!
//! ```text
//! start, interval, request -> Fetch --new--> Apply(Store) --taken--> WriteCache        CentralDownloaded
//!                               |               `--refused--.
//!                               +--same: as before          |  (only if there is no policy yet)
//!                               `--failed--> ReadCache <----' --> Apply(Cache)         Cached
//!                                               `--none, refused--> Apply(Machine)     LocalDownloaded, or Initial
//! ```
//! Once there is a policy, it stays in force until a better one is taken: a store that is away, or whose policy is
//! refused, changes nothing. On request the machine's own file is read again in any case. If it names another store, or
//! none, or one for the first time, that one is asked, and takes the place of the one before together with its policy, or
//! not at all:
//!
//! ```text
//! request -> Look --the same store--> Fetch, as above
//!              `--another-> Fetch --new, same--> Apply --taken--> that store is ours
//!                             `--failed              `--refused   nothing has changed
//! ```

use serde::{Deserialize, Serialize};

/// Where the policy in force came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There is none yet.
    #[default]
    Initial,
    /// It stands in the machine's own file.
    LocalDownloaded,
    /// The store has it.
    CentralDownloaded,
    /// The store had it once.
    Cached,
}

impl State {
    /// As `portcullis policy status` says it.
    pub fn text(self) -> &'static str {
        match self {
            State::Initial => "no policy yet",
            State::LocalDownloaded => "the machine's own",
            State::CentralDownloaded => "from the store",
            State::Cached => "from the cache",
        }
    }
}

/// From where a policy is put into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// What the store has brought.
    Store,
    /// What the cache has kept.
    Cache,
    /// The machine's own file alone.
    Machine,
    /// What is in force, with the machine's own file read again.
    InForce,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// See which store the machine's own file names.
    Look,
    /// Ask the store: the one that was looked up, if it is another.
    Fetch,
    /// Look into the cache.
    ReadCache,
    /// Put a policy into force, or with `trial` find out what that would change.
    Apply {
        /// Which.
        origin: Origin,
        /// Nothing is changed.
        trial: bool,
    },
    /// Keep what is in force now.
    WriteCache,
}

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// There is another policy.
    New,
    /// It has what is in force.
    Same,
    /// Nothing that helps.
    Failed,
}

/// What became of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in force, or in a trial it could be.
    Taken {
        /// Milliseconds between two polls, if it says.
        interval: Option<u64>,
        /// It is a policy, and not only a machine without one.
        is_policy: bool,
    },
    /// It is not.
    Refused,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A store.
    pub store: bool,
    /// A cache for it.
    pub cache: bool,
    /// Milliseconds between two polls if no policy says otherwise.
    pub interval: u64,
}

/// Why something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Its time has come.
    Due,
    /// Somebody asked for it.
    Request { trial: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Looking(Reason),
    Fetching(Reason),
    ReadingCache(Reason),
    Applying(Origin, Reason),
}

/// The agent's mind.
#[derive(Clone, Debug)]
pub struct Machine {
    terms: Terms,
    state: State,
    step: Step,
    interval: u64,
    next_poll: Option<u64>,
    /// What there is once what is tried is in force.
    moving: Option<Terms>,
}

impl Machine {
    /// Before the first policy.
    pub fn new(terms: Terms) -> Self {
        Machine {
            terms,
            state: State::Initial,
            step: Step::Idle,
            interval: terms.interval,
            next_poll: None,
            moving: None,
        }
    }

    /// Where the policy in force came from.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the store is asked next.
    pub fn next_poll(&self) -> Option<u64> {
        self.next_poll
    }

    /// Milliseconds between two polls.
    pub fn interval(&self) -> u64 {
        self.interval
    }

    /// True if there is nothing to wait for.
    pub fn is_idle(&self) -> bool {
        self.step == Step::Idle
    }

    /// True while something is only tried.
    pub fn is_trial(&self) -> bool {
        let trial = Reason::Request { trial: true };
        match self.step {
            Step::Idle => false,
            Step::Looking(reason)
            | Step::Fetching(reason)
            | Step::ReadingCache(reason)
            | Step::Applying(_, reason) => reason == trial,
        }
    }

    /// From where what is tried comes.
    pub fn origin(&self) -> Option<Origin> {
        match self.step {
            Step::Applying(origin, _) => Some(origin),
            _ => None,
        }
    }

    /// True while something is done that nobody asked for.
    pub fn is_due(&self) -> bool {
        match self.step {
            Step::Idle => false,
            Step::Looking(reason)
            | Step::Fetching(reason)
            | Step::ReadingCache(reason)
            | Step::Applying(_, reason) => reason == Reason::Due,
        }
    }

    /// Ports, workers and IKE run. Without a store the policy came with the machine's own file.
    pub fn start(&mut self) -> Option<Task> {
        if !self.terms.store {
            self.state = State::LocalDownloaded;
            return None;
        }
        Some(self.fetch(Reason::Due))
    }

    /// Somebody wants the newest policy, or only to know what it would change; `None` if something is under way.
    pub fn request(&mut self, trial: bool) -> Option<Task> {
        if !self.is_idle() {
            return None;
        }
        self.step = Step::Looking(Reason::Request { trial });
        Some(Task::Look)
    }

    /// The machine's file has been looked at: what there would be, if its store is another one than before.
    pub fn looked(&mut self, other: Option<Terms>) -> Option<Task> {
        let Step::Looking(reason) = self.step else {
            return None;
        };
        self.moving = other;
        Some(match other.unwrap_or(self.terms).store {
            true => self.fetch(reason),
            false => self.apply(Origin::Machine, reason),
        })
    }

    /// Time passes.
    pub fn handle_timeout(&mut self, now: u64) -> Option<Task> {
        let due = self.next_poll.is_some_and(|due| due <= now);
        (due && self.is_idle()).then(|| self.fetch(Reason::Due))
    }

    /// The store has answered, or has not.
    pub fn fetched(&mut self, now: u64, fetch: Fetch) -> Option<Task> {
        let Step::Fetching(reason) = self.step else {
            return None;
        };
        if self.moving.is_some() && fetch == Fetch::Failed {
            self.step = Step::Idle;
            self.moving = None;
            return None;
        }
        match (fetch, reason) {
            (Fetch::New, _) => Some(self.apply(Origin::Store, reason)),
            (Fetch::Failed, _) if self.state == State::Initial => self.fall_back(reason),
            (Fetch::Same | Fetch::Failed, Reason::Request { .. }) => {
                if fetch == Fetch::Same && self.moving.is_none() {
                    self.confirm();
                }
                Some(self.apply(Origin::InForce, reason))
            }
            (Fetch::Same, Reason::Due) => {
                self.confirm();
                self.rest(now, self.interval)
            }
            (Fetch::Failed, Reason::Due) => self.rest(now, self.terms.interval),
        }
    }

    /// The cache has been looked into: was there a policy?
    pub fn cache_read(&mut self, found: bool) -> Option<Task> {
        let Step::ReadingCache(reason) = self.step else {
            return None;
        };
        let origin = match found {
            true => Origin::Cache,
            false => Origin::Machine,
        };
        Some(self.apply(origin, reason))
    }

    /// A policy has been tried.
    pub fn applied(&mut self, now: u64, verdict: Verdict) -> Option<Task> {
        let Step::Applying(origin, reason) = self.step else {
            return None;
        };
        let trial = reason == Reason::Request { trial: true };
        let moving = self.moving.take();
        let Verdict::Taken {
            interval,
            is_policy,
        } = verdict
        else {
            return match (self.state, origin) {
                _ if trial || moving.is_some() => {
                    self.step = Step::Idle;
                    None
                }
                (State::Initial, Origin::Store) => self.fall_back(reason),
                (State::Initial, Origin::Cache) => Some(self.apply(Origin::Machine, reason)),
                _ => self.rest(now, self.terms.interval),
            };
        };
        if trial {
            self.step = Step::Idle;
            return None;
        }
        let moved = moving.is_some();
        self.terms = moving.unwrap_or(self.terms);
        if moved && origin == Origin::InForce {
            self.confirm();
        }
        self.state = match origin {
            Origin::Store => State::CentralDownloaded,
            Origin::Cache => State::Cached,
            Origin::Machine if is_policy => State::LocalDownloaded,
            Origin::Machine => State::Initial,
            Origin::InForce => self.state,
        };
        self.interval = interval.unwrap_or(self.terms.interval);
        // What is not from the store is not what it should be: the next try is not the policy's to put off.
        let wait = match self.state {
            State::CentralDownloaded => self.interval,
            _ => self.terms.interval,
        };
        self.rest(now, wait);
        let keep = origin == Origin::Store || moved && origin == Origin::InForce;
        (keep && self.terms.cache).then_some(Task::WriteCache)
    }

    /// The store has what the cache had.
    fn confirm(&mut self) {
        if self.state == State::Cached {
            self.state = State::CentralDownloaded;
        }
    }

    fn fetch(&mut self, reason: Reason) -> Task {
        self.step = Step::Fetching(reason);
        Task::Fetch
    }

    fn apply(&mut self, origin: Origin, reason: Reason) -> Task {
        self.step = Step::Applying(origin, reason);
        let trial = reason == Reason::Request { trial: true };
        Task::Apply { origin, trial }
    }

    fn fall_back(&mut self, reason: Reason) -> Option<Task> {
        if !self.terms.cache {
            return Some(self.apply(Origin::Machine, reason));
        }
        self.step = Step::ReadingCache(reason);
        Some(Task::ReadCache)
    }

    fn rest(&mut self, now: u64, wait: u64) -> Option<Task> {
        self.step = Step::Idle;
        self.next_poll = self.terms.store.then(|| now + wait);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: u64 = 300_000;
    const TERMS: Terms = Terms {
        store: true,
        cache: true,
        interval: DEFAULT,
    };
    const TAKEN: Verdict = Verdict::Taken {
        interval: None,
        is_policy: true,
    };

    fn apply(origin: Origin) -> Option<Task> {
        let trial = false;
        Some(Task::Apply { origin, trial })
    }

    /// One with a policy of the store that is to be polled every second, taken at 100.
    fn central() -> Machine {
        let mut machine = Machine::new(TERMS);
        assert_eq!(machine.start(), Some(Task::Fetch));
        assert_eq!(machine.state(), State::Initial);
        assert_eq!(machine.fetched(50, Fetch::New), apply(Origin::Store));
        let verdict = Verdict::Taken {
            interval: Some(1000),
            is_policy: true,
        };
        // First to the workers and IKE, then into the cache.
        assert_eq!(machine.applied(100, verdict), Some(Task::WriteCache));
        assert_eq!(machine.state(), State::CentralDownloaded);
        assert_eq!(machine.next_poll(), Some(1100));
        machine
    }

    #[test]
    fn without_a_store_there_is_nothing_to_poll() {
        let mut machine = Machine::new(Terms {
            store: false,
            cache: false,
            interval: DEFAULT,
        });
        assert_eq!(machine.start(), None);
        assert_eq!(machine.state(), State::LocalDownloaded);
        assert_eq!(machine.handle_timeout(u64::MAX), None);
        assert_eq!(machine.request(false), Some(Task::Look));
        assert_eq!(machine.looked(None), apply(Origin::Machine));
        assert_eq!(machine.applied(5, TAKEN), None);
        assert_eq!(machine.next_poll(), None);
    }

    #[test]
    fn the_order_is_store_cache_machine_and_then_to_wait() {
        let mut machine = Machine::new(TERMS);
        machine.start();
        assert_eq!(machine.fetched(10, Fetch::Failed), Some(Task::ReadCache));
        assert_eq!(machine.cache_read(true), apply(Origin::Cache));
        let mut other = machine.clone();
        assert_eq!(machine.applied(20, TAKEN), None);
        assert_eq!(machine.state(), State::Cached);
        assert_eq!(machine.next_poll(), Some(20 + DEFAULT));
        // The cache is damaged, or what it holds does not fit this machine.
        assert_eq!(other.applied(20, Verdict::Refused), apply(Origin::Machine));
        let mut without = other.clone();
        assert_eq!(other.applied(30, TAKEN), None);
        assert_eq!(other.state(), State::LocalDownloaded);
        let nothing = Verdict::Taken {
            interval: None,
            is_policy: false,
        };
        assert_eq!(without.applied(30, nothing), None);
        assert_eq!(without.state(), State::Initial);
        // It goes on asking, at the default interval.
        assert_eq!(without.handle_timeout(29 + DEFAULT), None);
        assert_eq!(without.handle_timeout(30 + DEFAULT), Some(Task::Fetch));
        assert_eq!(
            without.fetched(31 + DEFAULT, Fetch::New),
            apply(Origin::Store)
        );
    }

    #[test]
    fn a_cache_that_cannot_be_read_is_none() {
        let mut machine = Machine::new(TERMS);
        machine.start();
        machine.fetched(10, Fetch::Failed);
        assert_eq!(machine.cache_read(false), apply(Origin::Machine));
    }

    #[test]
    fn a_store_without_a_cache_has_none() {
        let mut machine = Machine::new(Terms {
            cache: false,
            ..TERMS
        });
        machine.start();
        assert_eq!(machine.fetched(10, Fetch::New), apply(Origin::Store));
        assert_eq!(machine.applied(20, TAKEN), None);
        let mut machine = Machine::new(Terms {
            cache: false,
            ..TERMS
        });
        machine.start();
        assert_eq!(machine.fetched(10, Fetch::Failed), apply(Origin::Machine));
    }

    #[test]
    fn a_policy_that_is_refused_at_first_is_as_good_as_none() {
        let mut machine = Machine::new(TERMS);
        machine.start();
        machine.fetched(10, Fetch::New);
        assert_eq!(machine.applied(20, Verdict::Refused), Some(Task::ReadCache));
    }

    #[test]
    fn a_policy_in_force_outlives_the_store_and_its_mistakes() {
        let mut machine = central();
        assert_eq!(machine.handle_timeout(1099), None);
        assert_eq!(machine.handle_timeout(1100), Some(Task::Fetch));
        // Nothing else begins meanwhile.
        assert_eq!(machine.handle_timeout(1_000_000), None);
        assert_eq!(machine.request(false), None);
        assert_eq!(machine.fetched(1200, Fetch::Failed), None);
        assert_eq!(machine.state(), State::CentralDownloaded);
        // After a failure the default interval goes.
        assert_eq!(machine.next_poll(), Some(1200 + DEFAULT));
        machine.handle_timeout(1200 + DEFAULT);
        assert_eq!(machine.fetched(400_000, Fetch::New), apply(Origin::Store));
        assert_eq!(machine.applied(400_001, Verdict::Refused), None);
        assert_eq!(machine.state(), State::CentralDownloaded);
        assert_eq!(machine.next_poll(), Some(400_001 + DEFAULT));
        // The store has mended its ways: the policy's interval again.
        machine.handle_timeout(400_001 + DEFAULT);
        assert_eq!(machine.fetched(800_000, Fetch::Same), None);
        assert_eq!(machine.next_poll(), Some(801_000));
    }

    #[test]
    fn the_store_replaces_or_confirms_the_cache() {
        let mut machine = Machine::new(TERMS);
        machine.start();
        machine.fetched(10, Fetch::Failed);
        machine.cache_read(true);
        machine.applied(20, TAKEN);
        machine.handle_timeout(20 + DEFAULT);
        let mut other = machine.clone();
        assert_eq!(machine.fetched(400_000, Fetch::Same), None);
        assert_eq!(machine.state(), State::CentralDownloaded);
        assert_eq!(other.fetched(400_000, Fetch::New), apply(Origin::Store));
        assert_eq!(other.applied(400_001, TAKEN), Some(Task::WriteCache));
        assert_eq!(other.state(), State::CentralDownloaded);
    }

    #[test]
    fn a_request_reads_the_machines_file_whatever_the_store_says() {
        for fetch in [Fetch::Same, Fetch::Failed] {
            let mut machine = central();
            assert_eq!(machine.request(false), Some(Task::Look));
            assert_eq!(machine.looked(None), Some(Task::Fetch));
            assert_eq!(machine.fetched(500, fetch), apply(Origin::InForce));
            assert_eq!(machine.applied(600, TAKEN), None);
            assert_eq!(machine.state(), State::CentralDownloaded);
        }
    }

    #[test]
    fn a_trial_changes_nothing() {
        let mut machine = central();
        assert_eq!(machine.request(true), Some(Task::Look));
        assert_eq!(machine.looked(None), Some(Task::Fetch));
        let (origin, trial) = (Origin::Store, true);
        let task = machine.fetched(500, Fetch::New);
        assert_eq!(task, Some(Task::Apply { origin, trial }));
        assert_eq!(machine.applied(600, TAKEN), None);
        assert!(machine.is_idle());
        assert_eq!(machine.next_poll(), Some(1100));
    }

    /// Another store takes the place of the one before with its policy, or not at all.
    #[test]
    fn another_store_comes_with_its_policy() {
        let other = Terms {
            interval: 7000,
            ..TERMS
        };
        let moving = || {
            let mut machine = central();
            machine.request(false);
            assert_eq!(machine.looked(Some(other)), Some(Task::Fetch));
            machine
        };
        let mut machine = moving();
        assert_eq!(machine.fetched(500, Fetch::New), apply(Origin::Store));
        assert_eq!(machine.applied(600, TAKEN), Some(Task::WriteCache));
        assert_eq!(machine.next_poll(), Some(7600));
        // The same words as before are kept in its cache, too.
        let mut machine = moving();
        assert_eq!(machine.fetched(500, Fetch::Same), apply(Origin::InForce));
        assert_eq!(machine.applied(600, TAKEN), Some(Task::WriteCache));
        let mut machine = moving();
        assert_eq!(machine.fetched(500, Fetch::Failed), None);
        assert!(machine.is_idle());
        assert_eq!(machine.next_poll(), Some(1100));
        let mut machine = moving();
        machine.fetched(500, Fetch::New);
        assert_eq!(machine.applied(600, Verdict::Refused), None);
        assert_eq!(machine.next_poll(), Some(1100));
        assert_eq!(machine.state(), State::CentralDownloaded);
    }

    #[test]
    fn a_store_may_come_and_go() {
        let none = Terms {
            store: false,
            cache: false,
            interval: DEFAULT,
        };
        let mut machine = central();
        machine.request(false);
        assert_eq!(machine.looked(Some(none)), apply(Origin::Machine));
        assert_eq!(machine.applied(600, TAKEN), None);
        assert_eq!(machine.state(), State::LocalDownloaded);
        assert_eq!(machine.next_poll(), None);
        machine.request(false);
        assert_eq!(machine.looked(Some(TERMS)), Some(Task::Fetch));
        assert_eq!(machine.fetched(700, Fetch::New), apply(Origin::Store));
        assert_eq!(machine.applied(800, TAKEN), Some(Task::WriteCache));
        assert_eq!(machine.state(), State::CentralDownloaded);
        assert_eq!(machine.next_poll(), Some(800 + DEFAULT));
    }

    #[test]
    fn answers_to_nothing_are_nothing() {
        let mut machine = central();
        assert_eq!(machine.looked(None), None);
        assert_eq!(machine.fetched(500, Fetch::New), None);
        assert_eq!(machine.cache_read(true), None);
        assert_eq!(machine.applied(500, TAKEN), None);
    }
}
