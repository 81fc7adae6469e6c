//! What is due when.

use std::collections::{BTreeSet, HashMap};

use crate::{ChildId, IkeId, Time};

/// Something that can be due.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Item {
    Ike(IkeId),
    Child(ChildId),
    /// A connection, by name, that begins anew.
    Restart(String),
}

/// Items by time, each at most once.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    by_time: BTreeSet<(Time, Item)>,
    times: HashMap<Item, Time>,
}

impl Agenda {
    /// Notes when an item is due; `None`: never.
    pub(super) fn set(&mut self, item: Item, at: Option<Time>) {
        if self.times.get(&item).copied() == at {
            return;
        }
        if let Some(old) = self.times.remove(&item) {
            self.by_time.remove(&(old, item.clone()));
        }
        if let Some(at) = at {
            self.times.insert(item.clone(), at);
            self.by_time.insert((at, item));
        }
    }

    /// True if an item is to be due.
    pub(super) fn has(&self, item: &Item) -> bool {
        self.times.contains_key(item)
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes an item that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<Item> {
        self.by_time.first().filter(|(at, _)| *at <= now)?;
        let (_, item) = self.by_time.pop_first()?;
        self.times.remove(&item);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_is_due_in_order_and_once() {
        let at = Time::from_secs;
        let mut agenda = Agenda::default();
        agenda.set(Item::Ike(IkeId(1)), Some(at(5)));
        agenda.set(Item::Child(ChildId(1)), Some(at(3)));
        agenda.set(Item::Ike(IkeId(1)), Some(at(4)));
        agenda.set(Item::Restart("a".to_owned()), Some(at(1)));
        agenda.set(Item::Restart("a".to_owned()), None);
        assert_eq!((agenda.next(), agenda.pop(at(2))), (Some(at(3)), None));
        assert_eq!(agenda.pop(at(9)), Some(Item::Child(ChildId(1))));
        assert_eq!(agenda.pop(at(9)), Some(Item::Ike(IkeId(1))));
        assert_eq!((agenda.pop(at(9)), agenda.next()), (None, None));
    }
}
