//! What packets of one SA in a row use up of its lifetime, and what they count, charged to it at once.
//!
//! An account is opened only if nothing that so many packets as a lane holds could use up would have consequences, and
//! it is settled before the lane is run, before a packet goes the whole way, and before another SA's is opened: so no
//! limit is passed unnoticed, and whoever looks at an SA between bursts finds all that was sent.

use crate::PacketBuf;
use crate::engine::lookaside::Lookaside;
use crate::pipeline::{BURST, Pipeline};
use crate::spd::Classifier;

/// Packets of one SA that are not yet charged to it.
#[derive(Debug)]
pub(crate) struct Account {
    slot: u32,
    /// SPD entry that they matched.
    entry: u32,
    packets: u64,
    bytes: u64,
}

impl Account {
    /// Nobody's.
    const CLOSED: Account = Account {
        slot: u32::MAX,
        entry: u32::MAX,
        packets: 0,
        bytes: 0,
    };

    /// True if it is this SA's, for this SPD entry.
    #[inline(always)]
    pub(crate) fn is_of(&self, slot: u32, entry: u32) -> bool {
        self.slot == slot && self.entry == entry
    }

    /// Notes a packet.
    #[inline(always)]
    pub(crate) fn note(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl Default for Account {
    fn default() -> Self {
        Account::CLOSED
    }
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Opens the account of an outbound SA; false if its packets must be charged one by one, or its envelope made anew.
    #[inline]
    pub(crate) fn open_sealing_account(&mut self, slot: u32, entry: u32) -> bool {
        self.settle_sealing();
        let Some(sa) = self.sad.outbound.get(slot) else {
            return false;
        };
        let ordinary = sa.envelope.generation == self.flows.generation()
            && sa.last_sequence.saturating_sub(sa.sequence) >= BURST as u64
            && sa.life.is_far_from_bounds(BURST, self.now);
        if ordinary {
            (self.sealing_account.slot, self.sealing_account.entry) = (slot, entry);
        }
        ordinary
    }

    /// Charges what was sealed, and closes the account.
    #[inline]
    pub(crate) fn settle_sealing(&mut self) {
        let Account {
            slot,
            entry,
            packets,
            bytes,
        } = std::mem::take(&mut self.sealing_account);
        if packets == 0 {
            return;
        }
        if let Some(sa) = self.sad.outbound.get_mut(slot) {
            sa.life.charge_many(packets, bytes);
            sa.counters.used_by(packets, bytes, self.now);
            sa.counters.sequence.set(sa.sequence);
        }
        if let Some(hits) = self.view.hits.get(entry as usize) {
            hits.packets.add(packets);
            hits.bytes.add(bytes);
        }
    }

    /// Opens the account of an inbound SA; false if its packets must be charged one by one.
    #[inline]
    pub(crate) fn open_opening_account(&mut self, slot: u32) -> bool {
        self.settle_opening();
        let sa = self.sad.inbound.get(slot);
        let ordinary = sa.is_some_and(|sa| sa.life.is_far_from_bounds(BURST, self.now));
        if ordinary {
            self.opening_account.slot = slot;
        }
        ordinary
    }

    /// Charges what was opened, and closes the account.
    #[inline]
    pub(crate) fn settle_opening(&mut self) {
        let Account {
            slot,
            packets,
            bytes,
            ..
        } = std::mem::take(&mut self.opening_account);
        if packets == 0 {
            return;
        }
        if let Some(sa) = self.sad.inbound.get_mut(slot) {
            sa.life.charge_many(packets, bytes);
            sa.counters.used_by(packets, bytes, self.now);
        }
    }
}
