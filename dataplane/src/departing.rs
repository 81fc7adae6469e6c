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

/// All of them.
#[derive(Debug, Default)]
pub struct Departing {
    by_time: BTreeMap<(u64, Place), Departure>,
    due: HashMap<Place, u64>,
}

impl Departing {
    /// One more.
    pub fn add(&mut self, departure: Departure) {
        let (due, place) = (departure.due, place(&departure));
        self.due.insert(place, due);
        self.by_time.insert((due, place), departure);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    /// All of them, the first to go first.
    pub fn iter(&self) -> impl Iterator<Item = &Departure> {
        self.by_time.values()
    }

    /// What finds them.
    pub fn entries(&self) -> impl Iterator<Item = SpiEntry> {
        self.iter().map(|departure| departure.entry)
    }

    /// Name of the SA in a worker's slot.
    pub fn name(&self, worker: usize, side: SaSide) -> Option<&str> {
        let SaSide::Inbound(slot) = side else {
            return None;
        };
        let place = (worker, slot);
        let departure = self.by_time.get(&(*self.due.get(&place)?, place))?;
        Some(&departure.config.name)
    }

    /// Those whose identity others have from now on, which find them no more.
    pub fn displaced(&mut self, taken: &HashSet<Identity>) -> Vec<Departure> {
        let goes = |departure: &&Departure| taken.contains(&identity(&departure.entry));
        let keys = self.iter().filter(goes).map(|d| (d.due, place(d)));
        let keys: Vec<_> = keys.collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }

    /// Their time is over.
    pub fn hasten(&mut self, now: u64) {
        for (_, departure) in std::mem::take(&mut self.by_time) {
            self.add(Departure {
                due: now.min(departure.due),
                ..departure
            });
        }
    }

    /// Orders for the first of those whose time is over, among so many workers.
    pub fn due(&mut self, now: u64, workers: usize) -> Orders {
        let mut orders = Orders::new();
        for _ in 0..AT_ONCE {
            let first = self.by_time.first_key_value().map(|(key, _)| *key);
            let due = first.filter(|(due, _)| *due <= now);
            let Some(Departure { entry, .. }) = due.and_then(|key| self.take(key)) else {
                break;
            };
            orders.extend((0..workers).map(|worker| (worker, Command::Unindex(entry))));
            orders.push((
                entry.sa.worker.into(),
                Command::RemoveInbound(entry.sa.slot),
            ));
        }
        orders
    }

    fn take(&mut self, key: (u64, Place)) -> Option<Departure> {
        self.due.remove(&key.1);
        self.by_time.remove(&key)
    }
}
