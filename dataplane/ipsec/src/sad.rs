//! The security association database of one worker (RFC 4301 4.4.2).
//!
//! Slots are numbered by control, which also makes all memory: a worker only moves boxes in and out. The SPI
//! index knows every worker's inbound SAs, so that a packet on the wrong worker finds its owner.

use crate::ip::Address;
use crate::sa::{InboundSa, OutboundSa, SaRef};

/// What finds an inbound SA: SPI, destination and protocol (RFC 4301 4.1), and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiEntry {
    /// SPI.
    pub spi: u32,
    /// 50 or 51.
    pub protocol: u8,
    /// Our address to which it is sent.
    pub destination: Address,
    /// Owner and slot.
    pub sa: SaRef,
}

/// An [`SpiEntry`] in half a cache line; protocol 0 is an empty place.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    destination: Address,
    spi: u32,
    slot: u32,
    worker: u16,
    protocol: u8,
}

const _: () = assert!(size_of::<Place>() == 32);

impl Place {
    fn new(entry: &SpiEntry) -> Self {
        Place {
            destination: entry.destination,
            spi: entry.spi,
            slot: entry.sa.slot,
            worker: entry.sa.worker,
            protocol: entry.protocol,
        }
    }

    fn is_empty(&self) -> bool {
        self.protocol == 0
    }

    fn sa(&self) -> SaRef {
        SaRef {
            worker: self.worker,
            slot: self.slot,
        }
    }
}

/// Open-addressing hash table of [`SpiEntry`]s, at most half full.
#[derive(Clone, Debug, Default)]
pub struct SpiIndex {
    slots: Box<[Place]>,
    len: usize,
}

impl SpiIndex {
    /// A table for `entries` entries.
    pub fn with_capacity(entries: usize) -> Self {
        SpiIndex {
            slots: vec![Place::default(); (entries * 2).next_power_of_two().max(16)].into(),
            len: 0,
        }
    }

    /// How many entries it takes.
    pub fn room(&self) -> usize {
        self.slots.len() / 2
    }

    /// True if one more entry would make lookups slow: a larger table must come first.
    pub fn is_full(&self) -> bool {
        self.len * 2 >= self.slots.len()
    }

    fn home(&self, spi: u32) -> usize {
        let hash = u64::from(spi).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        hash as usize & self.slots.len().wrapping_sub(1)
    }

    fn find(&self, spi: u32, protocol: u8, destination: Address) -> Option<usize> {
        let mut at = self.home(spi);
        for _ in 0..self.slots.len() {
            match self.slots.get(at)? {
                e if e.is_empty() => return None,
                e if e.spi == spi && e.protocol == protocol && e.destination == destination => {
                    return Some(at);
                }
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
        None
    }

    /// Asks for the memory that [`SpiIndex::lookup`] will read.
    #[inline]
    pub fn prefetch(&self, spi: u32) {
        if let Some(slot) = self.slots.get(self.home(spi)) {
            prefetch::soon(slot);
        }
    }

    /// Finds the SA of a packet.
    #[inline]
    pub fn lookup(&self, spi: u32, protocol: u8, destination: Address) -> Option<SaRef> {
        let at = self.find(spi, protocol, destination)?;
        self.slots.get(at).map(Place::sa)
    }

    /// Adds or replaces an entry; false if the table is full.
    pub fn insert(&mut self, entry: SpiEntry) -> bool {
        if let Some(at) = self.find(entry.spi, entry.protocol, entry.destination) {
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = Place::new(&entry);
            }
            return true;
        }
        if self.is_full() {
            return false;
        }
        let mut at = self.home(entry.spi);
        while self.slots.get(at).is_some_and(|place| !place.is_empty()) {
            at = (at + 1) & (self.slots.len() - 1);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Place::new(&entry);
            self.len += 1;
        }
        true
    }

    /// Removes an entry if it still names `sa`.
    pub fn remove(&mut self, entry: &SpiEntry) {
        let Some(mut hole) = self.find(entry.spi, entry.protocol, entry.destination) else {
            return;
        };
        if self.slots.get(hole).is_none_or(|e| e.sa() != entry.sa) {
            return;
        }
        self.len -= 1;
        let mask = self.slots.len() - 1;
        let mut at = hole;
        // Close the gap: entries behind it move up unless that would put them before their home.
        loop {
            at = (at + 1) & mask;
            let Some(next) = self.slots.get(at).copied().filter(|e| !e.is_empty()) else {
                break;
            };
            let home = self.home(next.spi);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                if let Some(slot) = self.slots.get_mut(hole) {
                    *slot = next;
                }
                hole = at;
            }
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            *slot = Place::default();
        }
    }
}

/// A numbered set of boxes.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Option<Box<T>>>,
    occupied: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            slots: Vec::new(),
            occupied: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Room for slots below `slots`.
    pub fn with_slots(slots: usize) -> Self {
        Slab {
            slots: (0..slots).map(|_| None).collect(),
            occupied: 0,
        }
    }

    /// The occupant of a slot.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.as_deref()
    }

    /// The occupant of a slot, to change.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Asks for the memory that says where a slot's occupant is.
    #[inline]
    pub fn prefetch_place(&self, slot: u32) {
        if let Some(place) = self.slots.get(slot as usize) {
            prefetch::soon(place);
        }
    }

    /// Asks for the first `lines` cache lines of a slot's occupant.
    #[inline]
    pub fn prefetch(&self, slot: u32, lines: usize) {
        if let Some(occupant) = self.get(slot) {
            prefetch::front(occupant, lines);
        }
    }

    /// Puts an occupant in; gives back the one before, or the new one if there is no such slot.
    pub fn put(&mut self, slot: u32, occupant: Box<T>) -> Option<Box<T>> {
        match self.slots.get_mut(slot as usize) {
            Some(place) => {
                let before = place.replace(occupant);
                self.occupied += usize::from(before.is_none());
                before
            }
            None => Some(occupant),
        }
    }

    /// Takes an occupant out.
    pub fn take(&mut self, slot: u32) -> Option<Box<T>> {
        let occupant = self.slots.get_mut(slot as usize)?.take()?;
        self.occupied -= 1;
        Some(occupant)
    }

    /// Changes places.
    pub fn swap(&mut self, a: u32, b: u32) {
        let (a, b) = (a as usize, b as usize);
        if a.max(b) < self.slots.len() {
            self.slots.swap(a, b);
        }
    }

    /// Moves all occupants into a larger slab and returns the old memory. That is one copy of the pointers: 0.1 ms
    /// for 100 000.
    pub fn grow_into(&mut self, mut larger: Slab<T>) -> Slab<T> {
        if let Some(places) = larger.slots.get_mut(..self.slots.len()) {
            places.swap_with_slice(&mut self.slots);
            std::mem::swap(&mut larger.occupied, &mut self.occupied);
            std::mem::swap(self, &mut larger);
        }
        larger
    }
}

/// So many SAs are used without asking for their memory first: it is in the second cache, and asking costs more than
/// that wins (measured: 1000 SAs, 4 % slower when asked for).
const FEW: usize = 1024;

/// All SAs of one worker.
#[derive(Debug)]
pub struct Sad<K> {
    /// SPIs of all workers.
    pub index: SpiIndex,
    /// This worker's inbound SAs.
    pub inbound: Slab<InboundSa<K>>,
    /// This worker's outbound SAs.
    pub outbound: Slab<OutboundSa<K>>,
}

impl<K> Sad<K> {
    /// Key and ESN of an inbound SA.
    pub(crate) fn inbound_key(&self, slot: u32) -> Option<(&K, bool)> {
        self.inbound.get(slot).map(|sa| (&sa.key, sa.esn))
    }

    /// True if there are more SAs than the cache holds.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        self.inbound.occupied.max(self.outbound.occupied) > FEW
    }

    /// Key and ESN of an outbound SA.
    pub(crate) fn outbound_key(&self, slot: u32) -> Option<(&K, bool)> {
        self.outbound.get(slot).map(|sa| (&sa.key, sa.esn))
    }
}

impl<K> Default for Sad<K> {
    fn default() -> Self {
        Sad {
            index: SpiIndex::with_capacity(0),
            inbound: Slab::default(),
            outbound: Slab::default(),
        }
    }
}
