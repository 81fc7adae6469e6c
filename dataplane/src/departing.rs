//! The policy's inbound SAs that a reload has removed: outbound ones are gone, these still take what a peer sends that
//! has not heard of it, until their overlap is over. Their own lifetime goes on, and whatever they bring must be of the
//! traffic that they were made for.

use std::collections::HashSet;

use portcullis_ipsec::command::Command;
use portcullis_ipsec::ip::Address;
use portcullis_ipsec::pipeline::SaSide;
use portcullis_ipsec::sad::SpiEntry;

use crate::negotiated::Orders;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// As the policy called it.
    pub name: String,
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

/// All of them.
#[derive(Debug, Default)]
pub struct Departing(Vec<Departure>);

impl Departing {
    /// One more.
    pub fn add(&mut self, departure: Departure) {
        self.0.push(departure);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What finds them.
    pub fn entries(&self) -> impl Iterator<Item = SpiEntry> {
        self.0.iter().map(|departure| departure.entry)
    }

    /// Name of the SA in a worker's slot.
    pub fn name(&self, worker: usize, side: SaSide) -> Option<&str> {
        let SaSide::Inbound(slot) = side else {
            return None;
        };
        let is_there = |known: &&Departure| {
            (usize::from(known.entry.sa.worker), known.entry.sa.slot) == (worker, slot)
        };
        self.0.iter().find(is_there).map(|d| d.name.as_str())
    }

    /// Those whose identity others have from now on, which find them no more.
    pub fn displaced(&mut self, taken: &HashSet<Identity>) -> Vec<Departure> {
        self.take(|departure| taken.contains(&identity(&departure.entry)))
    }

    /// Their time is over.
    pub fn hasten(&mut self, now: u64) {
        self.0.iter_mut().for_each(|departure| departure.due = now);
    }

    /// Orders for those whose time is over, among so many workers.
    pub fn due(&mut self, now: u64, workers: usize) -> Orders {
        let mut orders = Orders::new();
        for departure in self.take(|departure| departure.due <= now) {
            let entry = departure.entry;
            orders.extend((0..workers).map(|worker| (worker, Command::Unindex(entry))));
            orders.push((
                entry.sa.worker.into(),
                Command::RemoveInbound(entry.sa.slot),
            ));
        }
        orders
    }

    fn take(&mut self, goes: impl Fn(&Departure) -> bool) -> Vec<Departure> {
        if !self.0.iter().any(&goes) {
            return Vec::new();
        }
        let (gone, stays) = std::mem::take(&mut self.0).into_iter().partition(goes);
        self.0 = stays;
        gone
    }
}
