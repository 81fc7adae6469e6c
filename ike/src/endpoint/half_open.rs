//! Half-open IKE SAs of responders, counted by source: work is refused before it is done.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::IkeId;
use crate::source::source as network;

/// Where a first message came from, and its cookie.
type Source = (SocketAddr, [u8; 8]);

/// Those whose peers have proved nothing yet.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    by_source: HashMap<Source, IkeId>,
    sources: BTreeMap<IkeId, Source>,
    counts: HashMap<IpAddr, usize>,
}

impl HalfOpen {
    pub(super) fn insert(&mut self, source: Source, id: IkeId) {
        self.by_source.insert(source, id);
        self.sources.insert(id, source);
        *self.counts.entry(network(source.0.ip())).or_default() += 1;
    }

    pub(super) fn remove(&mut self, id: IkeId) {
        let Some(source) = self.sources.remove(&id) else {
            return;
        };
        self.by_source.remove(&source);
        if let Some(count) = self.counts.get_mut(&network(source.0.ip())) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&network(source.0.ip()));
            }
        }
    }

    /// The one that this first message has begun already.
    pub(super) fn repeated(&self, source: Source) -> Option<IkeId> {
        self.by_source.get(&source).copied()
    }

    pub(super) fn of_source(&self, address: IpAddr) -> usize {
        self.counts
            .get(&network(address))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn oldest(&self) -> Option<IkeId> {
        self.sources.keys().next().copied()
    }
}
