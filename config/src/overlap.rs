//! How long the inbound SAs of what a new policy removes stay (RFC 4301 4.4.1: "a mechanism for configuring what actions
//! to take, e.g., delete an affected SA, allow an affected SA to continue unchanged").

use std::collections::HashSet;

use crate::shadow::Extent;
use crate::{Action, Direction, Policy, Profile, Selector, SharedSelector, SpdEntry};

/// What becomes of the inbound SAs that only the policy before has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    seconds: u64,
    /// Traffic that the new policy discards, and the one before did not name.
    refused: Vec<SharedSelector>,
}

/// `inbound-overlap`: seconds for which the inbound SAs of what a reload removes stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundOverlap(pub u64);

impl Default for InboundOverlap {
    fn default() -> Self {
        InboundOverlap(Profile::default().inbound_overlap())
    }
}

impl Overlap {
    /// On the way from one policy to the next.
    pub fn between(old: &Policy, new: &Policy) -> Overlap {
        let concerns = |entry: &&SpdEntry| {
            entry.action == Action::Discard && entry.direction != Some(Direction::Outbound)
        };
        let known = old.spd.iter().filter(concerns);
        let known: HashSet<_> = known.map(|entry| &entry.selector).collect();
        let is_new = |entry: &&SpdEntry| !known.contains(&entry.selector);
        let refused = new.spd.iter().filter(concerns).filter(is_new);
        Overlap {
            seconds: new.inbound_overlap.0,
            refused: refused.map(|entry| entry.selector.clone()).collect(),
        }
    }

    /// True if those that have been removed before may not stay either: nothing is to overlap any more, or what they bring
    /// may be what is refused now.
    pub fn ends_others(&self) -> bool {
        self.seconds == 0 || !self.refused.is_empty()
    }

    /// Tells for how many milliseconds an inbound SA with some traffic stays.
    pub fn milliseconds(&self) -> impl Fn(&[Selector]) -> u64 + '_ {
        fn extent(selector: &Selector) -> Extent<'_> {
            Extent::of(selector, None)
        }
        let refused: Vec<_> = self
            .refused
            .iter()
            .map(|selector| extent(selector))
            .collect();
        move |selectors| {
            let mut traffic = selectors.iter().map(extent);
            match traffic.any(|traffic| refused.iter().any(|refused| refused.overlaps(&traffic))) {
                true => 0,
                false => self.seconds * 1000,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(discarded: &[&str]) -> Policy {
        let entry = |remote: &&str| SpdEntry {
            name: (*remote).to_owned(),
            selector: traffic(remote).into(),
            direction: None,
            action: Action::Discard,
            origin: None,
        };
        Policy {
            spd: discarded.iter().map(entry).collect(),
            inbound_overlap: InboundOverlap(30),
            ..Policy::default()
        }
    }

    fn traffic(remote: &str) -> Selector {
        Selector {
            remote: vec![crate::address::range(remote).unwrap()],
            ..Selector::default()
        }
    }

    #[test]
    fn what_the_same_change_forbids_goes_at_once() {
        let (old, new) = (
            policy(&["0.0.0.0/0"]),
            policy(&["0.0.0.0/0", "10.2.0.0/16"]),
        );
        let stays = |overlap: &Overlap, remote| overlap.milliseconds()(&[traffic(remote)]);
        let overlap = Overlap::between(&old, &new);
        assert_eq!(stays(&overlap, "10.2.3.0/24"), 0);
        assert_eq!(stays(&overlap, "10.0.0.0/8"), 0);
        assert_eq!(stays(&overlap, "10.3.0.0/16"), 30_000);
        // What was discarded before is no word about this SA.
        let same = Overlap::between(&old, &old);
        assert_eq!(stays(&same, "10.2.3.0/24"), 30_000);
    }
}
