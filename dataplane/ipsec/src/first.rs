//! The first packet of a flow from the protected side, as far as this worker remembers: decided on its own, so that it goes
//! on the short way like those that follow it. A worker that is shown ever new flows must not be slow for it.

use crate::children::Carrier;
use crate::engine::lookaside::Lookaside;
use crate::express::Arrival;
use crate::flow::{Decision, FlowKey, Verdict};
use crate::outbound::Crossing;
use crate::pipeline::{Pipeline, Service};
use crate::sa::SaRef;
use crate::spd::{Classifier, EntryAction, Flow, Match, SelectorKey};
use crate::{DropReason, PacketBuf};

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// The SA of this worker for a plain packet whose flow is not where it is looked for first, and the SPD entry. `None`:
    /// the packet goes the whole way, where a decision that was remembered here is found.
    #[inline(never)]
    pub(crate) fn first_of_flow(&mut self, arrival: &Arrival) -> Option<(u32, u32)> {
        // A packet before it in the same burst may have decided the flow.
        let decision = match self.flows.get(arrival.place, &arrival.key) {
            Some(decision) => *decision,
            None => {
                let decision = self.decide_plain(&arrival.key)?;
                self.counters.flow_misses.add(1);
                self.flows.insert(arrival.place, arrival.key, decision);
                decision
            }
        };
        match decision.verdict {
            Verdict::Protect(SaRef { worker, slot }) if worker == self.worker => {
                Some((slot, decision.entry))
            }
            _ => None,
        }
    }

    /// What an entry that protects or discards says of plain packets, if that may be remembered and nobody is to be told.
    fn decide_plain(&self, flow: &FlowKey) -> Option<Decision> {
        let (source, destination) = flow.addresses();
        let version = flow.version();
        if !source.is_valid_source(version) || !destination.is_valid_destination(version) {
            return None;
        }
        let Crossing::Out(_) = self.crossing(source, destination, true) else {
            return None;
        };
        let key = SelectorKey::of_whole(
            (source, destination),
            flow.protocol(),
            flow.ports(),
            Flow::Outbound,
        );
        let Match::Yes((entry, action)) = self.view.spd.lookup(&key, Flow::Outbound) else {
            return None;
        };
        let verdict = match action {
            EntryAction::Discard => Verdict::Drop(DropReason::PolicyDiscard),
            EntryAction::Protect => Verdict::Protect(self.standing_sa(entry, &key)?),
            EntryAction::Bypass => return None,
        };
        Some(Decision { verdict, entry })
    }

    /// The SA that serves an entry for a packet, if there is one now.
    fn standing_sa(&self, entry: u32, key: &SelectorKey) -> Option<SaRef> {
        match self.view.services.get(entry as usize)? {
            Service::Sa(sa) => Some(*sa),
            Service::Child { number, .. } => match self.children.find(*number, key) {
                Match::Yes(Carrier::Sa(sa)) => Some(*sa),
                _ => None,
            },
            Service::Nothing => None,
        }
    }
}
