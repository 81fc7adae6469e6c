//! The slots of one worker in one direction. The policy's SAs have the even ones and IKE's the odd ones, so that
//! neither has to ask the other: a policy is prepared on another thread while SAs come and go.

use std::collections::VecDeque;

use portcullis_config::Direction;
use portcullis_ipsec::command::Command;
use portcullis_ipsec::pipeline::REASSEMBLY_TIMEOUT;
use portcullis_ipsec::sad::Slab;

use crate::worker::WorkerCommand;

/// No SA.
pub const NONE: u32 = u32::MAX;
/// Room for SAs that a worker has at least, so that the first few more need no new memory.
pub const LEAST_ROOM: usize = 1024;
/// Whose slots they are.
const OWNERS: u32 = 2;

/// The slots of one owner.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// The first.
    first: u32,
    /// For each slot, the number of its SA.
    occupants: Vec<u32>,
    /// Those that are free, and since when.
    free: VecDeque<(u64, u32)>,
    /// How many the worker has memory for.
    room: usize,
}

impl Slots {
    /// Slots for the SAs of the policy.
    pub fn of_policy() -> Self {
        Slots::default()
    }

    /// Slots for the SAs that IKE brings.
    pub fn of_ike() -> Self {
        Slots {
            first: 1,
            ..Slots::default()
        }
    }

    fn place(&self, slot: u32) -> Option<usize> {
        let place = slot.checked_sub(self.first)?;
        (place % OWNERS == 0).then_some((place / OWNERS) as usize)
    }

    /// A slot for this SA. Fragments out of an SA wait for the others by its slot: it is not given anew before they
    /// are gone.
    pub fn take(&mut self, now: u64, occupant: u32) -> u32 {
        let old = |(since, _): &(u64, u32)| since + REASSEMBLY_TIMEOUT < now;
        let slot = match self.free.front().is_some_and(old) {
            true => self.free.pop_front().map_or(NONE, |(_, slot)| slot),
            false => {
                self.occupants.push(NONE);
                self.first + (self.occupants.len() as u32 - 1) * OWNERS
            }
        };
        self.settle(slot, occupant);
        slot
    }

    /// This SA has the slot from now on.
    pub fn settle(&mut self, slot: u32, occupant: u32) {
        let place = self.place(slot);
        if let Some(known) = place.and_then(|place| self.occupants.get_mut(place)) {
            *known = occupant;
        }
    }

    /// Nobody has the slot from then on, which may be some time away.
    pub fn release(&mut self, when: u64, slot: u32) {
        let place = self.free.partition_point(|(since, _)| *since <= when);
        self.free.insert(place, (when, slot));
        self.settle(slot, NONE);
    }

    /// Number of the SA in a slot.
    pub fn occupant(&self, slot: u32) -> Option<u32> {
        let occupant = self.occupants.get(self.place(slot)?)?;
        (*occupant != NONE).then_some(*occupant)
    }

    /// The order that brings memory, if these slots need more of it.
    pub fn grow(&mut self, direction: Direction) -> Option<WorkerCommand> {
        let needed = self.occupants.len() * OWNERS as usize;
        if needed <= self.room {
            return None;
        }
        self.room = needed.next_power_of_two().max(LEAST_ROOM);
        Some(match direction {
            Direction::Inbound => Command::GrowInbound(Slab::with_slots(self.room)),
            Direction::Outbound => Command::GrowOutbound(Slab::with_slots(self.room)),
        })
    }
}

/// Place of a direction in a pair.
pub fn side_of(direction: Direction) -> usize {
    match direction {
        Direction::Inbound => 0,
        Direction::Outbound => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_never_meet() {
        let (mut policy, mut ike) = (Slots::of_policy(), Slots::of_ike());
        let taken: Vec<_> = (0..4)
            .map(|n| (policy.take(0, n), ike.take(0, n)))
            .collect();
        assert_eq!(taken, [(0, 1), (2, 3), (4, 5), (6, 7)]);
        assert_eq!((policy.occupant(4), ike.occupant(4)), (Some(2), None));
        assert_eq!((policy.occupant(5), ike.occupant(5)), (None, Some(2)));
    }

    #[test]
    fn a_slot_rests_before_it_is_given_anew() {
        let mut slots = Slots::of_ike();
        let first = slots.take(0, 7);
        slots.release(1000, first);
        assert_eq!(slots.occupant(first), None);
        assert_eq!(slots.take(1000 + REASSEMBLY_TIMEOUT, 8), 3);
        assert_eq!(slots.take(1001 + REASSEMBLY_TIMEOUT, 9), first);
        assert_eq!(slots.occupant(first), Some(9));
    }

    #[test]
    fn memory_is_asked_for_when_it_is_needed() {
        let mut slots = Slots::of_ike();
        assert!(slots.grow(Direction::Inbound).is_none());
        slots.take(0, 0);
        assert!(matches!(
            slots.grow(Direction::Inbound),
            Some(Command::GrowInbound(_))
        ));
        assert!(slots.grow(Direction::Inbound).is_none());
        for n in 1..600 {
            slots.take(0, n);
        }
        assert!(matches!(
            slots.grow(Direction::Outbound),
            Some(Command::GrowOutbound(_))
        ));
    }
}
