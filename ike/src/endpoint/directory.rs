//! Finds IKE SAs by connection and by peer, however many others there are.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::IkeId;
use crate::peer_id::PeerId;

/// Names and peers of IKE SAs, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Directory {
    by_connection: HashMap<String, BTreeSet<IkeId>>,
    by_peer: HashMap<PeerId, BTreeSet<IkeId>>,
    listed: HashMap<IkeId, (Option<String>, Option<PeerId>)>,
}

impl Directory {
    /// Notes where an IKE SA belongs now.
    pub(super) fn note(&mut self, id: IkeId, connection: Option<&str>, peer: Option<&PeerId>) {
        let known = self.listed.get(&id);
        if known.is_some_and(|(c, p)| c.as_deref() == connection && p.as_ref() == peer) {
            return;
        }
        self.forget(id);
        let (connection, peer) = (connection.map(str::to_owned), peer.cloned());
        if let Some(name) = connection.clone() {
            self.by_connection.entry(name).or_default().insert(id);
        }
        if let Some(peer) = peer.clone() {
            self.by_peer.entry(peer).or_default().insert(id);
        }
        self.listed.insert(id, (connection, peer));
    }

    pub(super) fn forget(&mut self, id: IkeId) {
        if let Some((connection, peer)) = self.listed.remove(&id) {
            strike(&mut self.by_connection, connection, id);
            strike(&mut self.by_peer, peer, id);
        }
    }

    /// IKE SAs of a connection, the newest first.
    pub(super) fn of_connection(&self, name: &str) -> impl Iterator<Item = IkeId> {
        self.by_connection
            .get(name)
            .into_iter()
            .flatten()
            .rev()
            .copied()
    }

    /// IKE SAs with a peer that has said who it is, the newest first.
    pub(super) fn of_peer(&self, peer: &PeerId) -> impl Iterator<Item = IkeId> {
        self.by_peer.get(peer).into_iter().flatten().rev().copied()
    }
}

fn strike<K: Eq + Hash>(map: &mut HashMap<K, BTreeSet<IkeId>>, key: Option<K>, id: IkeId) {
    let Some(key) = key else {
        return;
    };
    if let Some(ids) = map.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_noted_and_forgets() {
        let peer = PeerId::proven("x", &portcullis_config::Identity::Fqdn("a".to_owned()));
        let mut directory = Directory::default();
        directory.note(IkeId(1), Some("x"), None);
        directory.note(IkeId(2), Some("x"), Some(&peer));
        directory.note(IkeId(1), Some("y"), Some(&peer));
        assert!(directory.of_connection("x").eq([IkeId(2)]));
        assert!(directory.of_connection("y").eq([IkeId(1)]));
        assert!(directory.of_peer(&peer).eq([IkeId(2), IkeId(1)]));
        directory.forget(IkeId(2));
        assert!(directory.of_peer(&peer).eq([IkeId(1)]));
        directory.forget(IkeId(1));
        assert!(directory.by_peer.is_empty() && directory.by_connection.is_empty());
    }
}
