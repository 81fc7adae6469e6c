//! The quick modes of an IKE SA: those that are open, and those that are over and only answer repetitions.

use std::collections::{BTreeMap, BTreeSet};

use super::{QuickMode, State};
use crate::Time;

/// Quick modes by message id. However many there are, the next one that is due is found at once, and so are the open
/// ones.
#[derive(Debug, Default)]
pub(crate) struct QuickModes {
    by_id: BTreeMap<u32, QuickMode>,
    due: BTreeSet<(Time, u32)>,
    open: BTreeSet<u32>,
}

impl QuickModes {
    pub(crate) fn insert(&mut self, id: u32, quick_mode: QuickMode) {
        self.remove(id);
        self.due.extend(quick_mode.deadline().map(|at| (at, id)));
        if !matches!(quick_mode.state, State::Done | State::Failed) {
            self.open.insert(id);
        }
        self.by_id.insert(id, quick_mode);
    }

    /// Takes one out, to change it, or for good.
    pub(crate) fn remove(&mut self, id: u32) -> Option<QuickMode> {
        let quick_mode = self.by_id.remove(&id)?;
        if let Some(at) = quick_mode.deadline() {
            self.due.remove(&(at, id));
        }
        self.open.remove(&id);
        Some(quick_mode)
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Those that are not over.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u32, &QuickMode)> {
        let open = self.open.iter();
        open.filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }

    /// How many are not over.
    pub(crate) fn count_open(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Message ids of those that are due.
    pub(crate) fn due(&self, now: Time) -> Vec<u32> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, id)| *id).collect()
    }

    pub(crate) fn into_all(self) -> impl Iterator<Item = QuickMode> {
        self.by_id.into_values()
    }
}
