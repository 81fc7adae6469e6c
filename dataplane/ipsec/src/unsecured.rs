//! Clear packets that match an entry which protects. RFC 4301 5.2 step 3b discards them; two weaker kinds of entries
//! (requirement 25) let some in, as long as nothing better is known:
//!
//! ```text
//! SA for its contents     -> discard: who can protect must       (requirement 137, step 14)
//! soft SA                 -> pass                                (step 13)
//! none, entry accepts     -> pass                                (steps 9 to 11, requirement 132)
//! none, ordinary entry    -> discard
//! ```

use crate::PacketBuf;
use crate::children::Carrier;
use crate::engine::lookaside::Lookaside;
use crate::ip::IpHeader;
use crate::pipeline::{Pipeline, Service};
use crate::sa::SaRef;
use crate::spd::{Classifier, Match, SelectorKey};

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// The SA of a child for a packet; `None` for a soft one, which has counted it.
    pub(crate) fn find_carrier(
        &self,
        child: u32,
        key: &SelectorKey,
        ip: &IpHeader,
    ) -> Match<Option<SaRef>> {
        match self.children.find(child, key) {
            Match::Yes(Carrier::Sa(sa)) => Match::Yes(Some(*sa)),
            Match::Yes(Carrier::Clear(counters)) => {
                counters.used(ip.total_len.into(), self.now);
                Match::Yes(None)
            }
            Match::Reassemble => Match::Reassemble,
            Match::No => Match::No,
        }
    }

    /// Whether a clear packet from the unprotected side may pass an entry that protects; `None` if only the whole
    /// packet can tell. Says also whether the answer may be remembered: SAs come and go.
    pub(crate) fn admits_unsecured(
        &self,
        entry: u32,
        key: &SelectorKey,
        ip: &IpHeader,
    ) -> Option<(bool, bool)> {
        let Some(&Service::Child {
            number,
            accepts_clear: true,
            ..
        }) = self.view.services.get(entry as usize)
        else {
            return Some((false, true));
        };
        match self.find_carrier(number, key, ip) {
            Match::Yes(sa) => Some((sa.is_none(), false)),
            Match::No => Some((true, false)),
            Match::Reassemble => None,
        }
    }
}
