//! Why policies were refused the last time, of each origin for itself: one poll may refuse what the store has and then
//! what the cache has.

use std::collections::HashMap;

use super::state::Origin;
use crate::report::{Outcome, ReloadReport};

/// The last refusals that nothing has ended yet.
#[derive(Debug, Default)]
pub struct Refusals(HashMap<Origin, Vec<String>>);

impl Refusals {
    /// Remembers what became of a policy from there; true if that is something else than the last time.
    pub fn note(&mut self, origin: Origin, report: &ReloadReport) -> bool {
        match report.outcome {
            Outcome::Refused => {
                let before = self.0.insert(origin, report.reasons.clone());
                before.as_ref() != Some(&report.reasons)
            }
            Outcome::Unchanged => {
                self.end(origin);
                false
            }
            Outcome::Applied | Outcome::Planned => {
                self.end(origin);
                true
            }
        }
    }

    /// What is there now is in force: the same mistake again is a new one.
    pub fn end(&mut self, origin: Origin) {
        self.0.remove(&origin);
    }

    /// Another store takes the place of the one before.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: &str) -> ReloadReport {
        ReloadReport::refused(vec![reason.into()])
    }

    #[test]
    fn each_origin_has_its_own() {
        let mut refusals = Refusals::default();
        assert!(refusals.note(Origin::Store, &refused("one")));
        assert!(refusals.note(Origin::Cache, &refused("two")));
        for _ in 0..3 {
            assert!(!refusals.note(Origin::Store, &refused("one")));
            assert!(!refusals.note(Origin::Cache, &refused("two")));
        }
        assert!(refusals.note(Origin::Store, &refused("three")));
        assert!(!refusals.note(Origin::Cache, &refused("two")));
    }

    #[test]
    fn a_mistake_made_again_is_news() {
        let mut refusals = Refusals::default();
        for outcome in [Outcome::Unchanged, Outcome::Applied] {
            assert!(refusals.note(Origin::Store, &refused("one")));
            let good = ReloadReport {
                outcome,
                ..ReloadReport::default()
            };
            // Of the machine's own file, it says nothing of the store.
            refusals.note(Origin::Machine, &good);
            assert!(!refusals.note(Origin::Store, &refused("one")));
            refusals.note(Origin::Store, &good);
        }
        assert!(refusals.note(Origin::Store, &refused("one")));
        refusals.end(Origin::Store);
        assert!(refusals.note(Origin::Store, &refused("one")));
    }
}
