//! What SPD entries count, over all workers and over changes of policy: no packet is forgotten.

use std::sync::Arc;

use portcullis_ipsec::pipeline::EntryCounters;

/// Packets and bytes of each SPD entry.
#[derive(Debug, Default)]
pub struct EntryTotals {
    /// What was counted under views that are gone.
    base: Vec<(u64, u64)>,
    /// By worker: what is counted under the view in force.
    hits: Vec<Arc<[EntryCounters]>>,
    /// By worker: what may still be counted under the view before.
    earlier: Vec<Arc<[EntryCounters]>>,
    /// For each entry its number in the view before.
    before: Vec<u32>,
}

fn sum(workers: &[Arc<[EntryCounters]>], entry: usize) -> (u64, u64) {
    let counters = workers.iter().filter_map(|hits| hits.get(entry));
    counters.fold((0, 0), |(packets, bytes), hits| {
        (packets + hits.packets.get(), bytes + hits.bytes.get())
    })
}

fn plus(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}

impl EntryTotals {
    /// Packets and bytes of an entry.
    pub fn get(&self, entry: usize) -> (u64, u64) {
        let base = self.base.get(entry).copied().unwrap_or_default();
        plus(base, plus(sum(&self.hits, entry), self.earlier(entry)))
    }

    fn earlier(&self, entry: usize) -> (u64, u64) {
        let before = self.before.get(entry).copied().unwrap_or(u32::MAX);
        sum(&self.earlier, before as usize)
    }

    /// Goes over to a new view; `before` has for each of its entries the number in the view before.
    pub fn change(&mut self, hits: Vec<Arc<[EntryCounters]>>, before: Vec<u32>) {
        self.settle();
        let base = |n: &u32| self.base.get(*n as usize).copied().unwrap_or_default();
        self.base = before.iter().map(base).collect();
        self.earlier = std::mem::replace(&mut self.hits, hits);
        self.before = before;
    }

    /// No worker has the view before any more.
    pub fn settle(&mut self) {
        let settled = (0..self.base.len()).map(|entry| {
            let base = self.base.get(entry).copied().unwrap_or_default();
            plus(base, self.earlier(entry))
        });
        self.base = settled.collect();
        self.earlier.clear();
        self.before.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(packets: &[u64]) -> Arc<[EntryCounters]> {
        let counters = packets.iter().map(|n| {
            let hits = EntryCounters::default();
            hits.packets.add(*n);
            hits
        });
        counters.collect()
    }

    #[test]
    fn entries_keep_their_counts_when_they_move() {
        let mut totals = EntryTotals::default();
        totals.change(vec![hits(&[1, 2]), hits(&[10, 20])], vec![u32::MAX; 2]);
        assert_eq!([0, 1, 2].map(|n| totals.get(n).0), [11, 22, 0]);
        let (old, new) = (totals.hits.clone(), hits(&[0, 0, 0]));
        totals.change(vec![new.clone()], vec![1, u32::MAX, 0]);
        // A worker is behind and counts under the view before; another is not.
        old[0][1].packets.add(100);
        new[0].packets.add(1000);
        let expected = [1122, 0, 11];
        assert_eq!([0, 1, 2].map(|n| totals.get(n).0), expected);
        totals.settle();
        assert_eq!([0, 1, 2].map(|n| totals.get(n).0), expected);
        totals.change(vec![hits(&[0])], vec![2]);
        assert_eq!(totals.get(0).0, 11);
    }
}
