//! The policy's inbound SAs that a reload has removed: outbound ones are gone, these still take what a peer sends that
//! has not heard of it, until their overlap is over. Their own lifetime goes on, and whatever they bring must be of the
//! traffic that they were made for.

use std::collections::{BTreeMap, HashMap, HashSet};

use portcullis_config::SaConfig;
use portcullis_ipsec::command::Command;
use portcullis_ipsec::ip::Address;
use portcullis_ipsec::pipeline::SaSide;
use portcullis_ipsec::sad::SpiEntry;

use crate::install::InstalledSa;
use crate::negotiated::Orders;

/// How many go in one round of control: a reload may have removed very many.
const AT_ONCE: usize = 1024;

/// One of them.
#[derive(Clone, Debug)]
pub struct Departure {
    /// As the policy had it.
    pub config: SaConfig,
    /// As control knows it.
    pub sa: InstalledSa,
    /// What finds it, and where it is.
    pub entry: SpiEntry,
    /// Milliseconds of the workers' clock when it goes.
    pub due: u64,
}

/// What finds an SA (RFC 4301 4.1), without where it is.
pub(crate) type Identity = (u32, u8, Address);

/// The identity in an entry.
pub(crate) fn identity(entry: &SpiEntry) -> Identity {
    (entry.spi, entry.protocol, entry.destination)
}

/// A worker's slot.
type Place = (usize, u32);

fn place(departure: &Departure) -> Place {
    let sa = departure.entry.sa;
    (sa.worker.into(), sa.slot)
}

/// Those that one reload has removed. The thread that prepares it makes this: a reload may remove very many.
#[derive(Debug)]
pub struct Departures {
    by_time: BTreeMap<(u64, Place), Departure>,
    due: HashMap<Place, u64>,
    /// When the last of them goes, whatever its own time is.
    no_later: u64,
}

impl Default for Departures {
    fn default() -> Self {
        Departures {
            by_time: BTreeMap::new(),
            due: HashMap::new(),
            no_later: u64::MAX,
        }
    }
}

impl Departures {
    /// One more.
    pub fn add(&mut self, departure: Departure) {
        let (due, place) = (departure.due, place(&departure));
        self.due.insert(place, due);
        self.by_time.insert((due, place), departure);
    }

    fn iter(&self) -> impl Iterator<Item = (&Departure, u64)> {
        let each = self.by_time.values();
        each.map(|departure| (departure, departure.due.min(self.no_later)))
    }

    fn name(&self, place: Place) -> Option<&str> {
        let departure = self.by_time.get(&(*self.due.get(&place)?, place))?;
        Some(&departure.config.name)
    }

    /// The first of them, if its time is over.
    fn take_due(&mut self, now: u64) -> Option<Departure> {
        let (key, _) = self.by_time.first_key_value()?;
        let (key, due) = (*key, key.0.min(self.no_later));
        (due <= now).then(|| self.take(key)).flatten()
    }

    fn take_displaced(&mut self, taken: &HashSet<Identity>) -> Vec<Departure> {
        let each = self.by_time.iter();
        let goes = each.filter(|(_, departure)| taken.contains(&identity(&departure.entry)));
        let keys: Vec<_> = goes.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }

    fn take(&mut self, key: (u64, Place)) -> Option<Departure> {
        self.due.remove(&key.1);
        self.by_time.remove(&key)
    }
}

/// All of them, reload by reload.
#[derive(Debug, Default)]
pub struct Departing(Vec<Departures>);

impl Departing {
    /// Those of one more reload.
    pub fn add(&mut self, departures: Departures) {
        if !departures.by_time.is_empty() {
            self.0.push(departures);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|each| each.by_time.len()).sum()
    }

    /// All of them, and when they go.
    pub fn iter(&self) -> impl Iterator<Item = (&Departure, u64)> {
        self.0.iter().flat_map(Departures::iter)
    }

    /// What finds them.
    pub fn entries(&self) -> impl Iterator<Item = SpiEntry> {
        self.iter().map(|(departure, _)| departure.entry)
    }

    /// Name of the SA in a worker's slot.
    pub fn name(&self, worker: usize, side: SaSide) -> Option<&str> {
        let SaSide::Inbound(slot) = side else {
            return None;
        };
        self.0.iter().find_map(|each| each.name((worker, slot)))
    }

    /// Those whose identity others have from now on, which find them no more.
    pub fn displaced(&mut self, taken: &HashSet<Identity>) -> Vec<Departure> {
        if taken.is_empty() {
            return Vec::new();
        }
        let each = self.0.iter_mut();
        each.flat_map(|each| each.take_displaced(taken)).collect()
    }

    /// Their time is over.
    pub fn hasten(&mut self, now: u64) {
        for each in &mut self.0 {
            each.no_later = each.no_later.min(now);
        }
    }

    /// Orders for some of those whose time is over, among so many workers.
    pub fn due(&mut self, now: u64, workers: usize) -> Orders {
        let mut orders = Orders::new();
        for _ in 0..AT_ONCE {
            let due = self.0.iter_mut().find_map(|each| each.take_due(now));
            let Some(Departure { entry, .. }) = due else {
                break;
            };
            orders.extend((0..workers).map(|worker| (worker, Command::Unindex(entry))));
            orders.push((
                entry.sa.worker.into(),
                Command::RemoveInbound(entry.sa.slot),
            ));
        }
        self.0.retain(|each| !each.by_time.is_empty());
        orders
    }
}
