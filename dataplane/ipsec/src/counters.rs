//! Counters with one writer and any number of readers: a worker adds with plain loads and stores, nobody locks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::DropReason;

/// A 64 bit counter that exactly one thread writes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning worker may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        // No read-modify-write: there is one writer, and a reader sees one value or the next.
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Sets the value; only the owning worker may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The present value, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each [`DropReason`].
#[derive(Debug)]
pub struct DropCounters([Counter; DropReason::COUNT]);

impl Default for DropCounters {
    fn default() -> Self {
        DropCounters(std::array::from_fn(|_| Counter::default()))
    }
}

impl DropCounters {
    /// Counts `n` packets dropped for `reason`.
    #[inline]
    pub fn add(&self, reason: DropReason, n: u64) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.add(n);
        }
    }

    /// How many were dropped for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).map_or(0, Counter::get)
    }

    /// Sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Reasons for which one SA drops packets, each with its count. There are as many SAs as memory has room for, and
/// most drop for few reasons or none: a reason gets a place when it first occurs.
#[derive(Debug, Default)]
pub struct SaDrops([Counter; SaDrops::PLACES]);

impl SaDrops {
    /// How many reasons are told apart: with them an SA's counters take 128 bytes.
    const PLACES: usize = 10;
    /// In a place: the reason and one, below the count.
    const REASON_BITS: u32 = 8;

    /// The reason of a place, and one.
    fn mark(reason: DropReason) -> u64 {
        reason as u64 + 1
    }

    fn has(place: &Counter, mark: u64) -> bool {
        place.get() & ((1 << Self::REASON_BITS) - 1) == mark
    }

    /// Counts `n` packets dropped for `reason`. Reasons beyond those told apart are counted by the worker only.
    #[inline]
    pub fn add(&self, reason: DropReason, n: u64) {
        let mark = Self::mark(reason);
        for place in &self.0 {
            if place.get() == 0 {
                place.set(mark);
            }
            if Self::has(place, mark) {
                return place.add(n << Self::REASON_BITS);
            }
        }
    }

    /// How many were dropped for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        let mut places = self.0.iter();
        let place = places.find(|place| Self::has(place, Self::mark(reason)));
        place.map_or(0, |place| place.get() >> Self::REASON_BITS)
    }
}

/// What one worker counts.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct WorkerCounters {
    /// Frames taken in from devices.
    pub received: Counter,
    /// Frames that devices took.
    pub transmitted: Counter,
    /// Packets given to the slow path.
    pub punted: Counter,
    /// Packets handed to another worker.
    pub handed_off: Counter,
    /// Packets taken over from other workers.
    pub taken_over: Counter,
    /// Packets that the slow path gave to send.
    pub injected: Counter,
    /// Packets made here: fragments, reassembled packets, ICMP errors.
    pub created: Counter,
    /// Packets used up without being dropped: cut into fragments, or fragments merged into a whole.
    pub consumed: Counter,
    /// Packets that await their other fragments or an SA, or are in a crypto device.
    pub held: Counter,
    /// Flow cache misses.
    pub flow_misses: Counter,
    /// ESP packets that a NIC ciphered or opened.
    pub offloaded: Counter,
    /// Packets not forwarded, by reason.
    pub drops: DropCounters,
}

/// What one SA counts; written by the worker that owns it. What each packet changes comes first: beside it in a
/// cache line lies at most what hardly ever changes of another SA.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SaCounters {
    /// Packets protected, or opened and accepted.
    pub packets: Counter,
    /// Bytes of the packets inside, IP header included.
    pub bytes: Counter,
    /// Milliseconds of the worker's clock at its first use.
    pub first_used: Counter,
    /// Milliseconds of the worker's clock at its last use.
    pub last_used: Counter,
    /// Highest sequence number sent or accepted.
    pub sequence: Counter,
    /// Of the packets, those that a NIC ciphered or opened.
    pub offloaded: Counter,
    /// Packets of this SA not forwarded, by reason.
    pub drops: SaDrops,
}

const _: () = assert!(size_of::<SaCounters>() == 128);

impl SaCounters {
    /// Asks for the memory of what each packet changes.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::soon(&self.packets);
        prefetch::soon(&self.sequence);
    }

    /// Counts one packet that is sent.
    #[inline]
    pub fn sealed(&self, bytes: u64, sequence: u64, now: u64) {
        self.used(bytes, now);
        self.sequence.set(sequence);
    }

    /// Takes back a count: the engine refused the packet.
    pub fn withdraw(&self, bytes: u64) {
        self.packets.set(self.packets.get().saturating_sub(1));
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }

    /// Counts one good packet.
    #[inline]
    pub fn used(&self, bytes: u64, now: u64) {
        self.used_by(1, bytes, now);
    }

    /// Counts good packets of `bytes` together.
    #[inline]
    pub fn used_by(&self, packets: u64, bytes: u64, now: u64) {
        if self.packets.get() == 0 {
            self.first_used.set(now);
        }
        self.packets.add(packets);
        self.bytes.add(bytes);
        self.last_used.set(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart_as_far_as_there_are_places() {
        let drops = SaDrops::default();
        for (n, reason) in DropReason::ALL.iter().enumerate() {
            drops.add(*reason, 1);
            drops.add(*reason, n as u64);
        }
        for (n, reason) in DropReason::ALL.iter().enumerate() {
            let expected = if n < SaDrops::PLACES { n as u64 + 1 } else { 0 };
            assert_eq!(drops.get(*reason), expected, "{reason:?}");
        }
    }
}
