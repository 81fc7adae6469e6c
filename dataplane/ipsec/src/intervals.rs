//! Into which of many disjoint intervals a number falls: the first step of the SPD and of the FIB.
//!
//! Intervals are named by rank, in ascending order. They are given by their last numbers ("ends"); behind the
//! greatest end lies one interval more.

use crate::ip::Address;

/// A number with intervals.
pub(crate) trait Word: Copy + Ord + Into<u128> {
    /// The greatest number.
    const MAX: Self;
    /// Ends that are compared in one go, at the end of a lookup.
    const WINDOW: usize;
    /// Of a number that fits.
    fn from_wide(wide: u128) -> Self;
    /// `(self - low) >> shift`, which the index is built to keep small.
    fn slot(self, low: Self, shift: u8) -> usize;
}

macro_rules! word {
    ($type:ty, $window:literal) => {
        impl Word for $type {
            const MAX: Self = <$type>::MAX;
            const WINDOW: usize = $window;
            fn from_wide(wide: u128) -> Self {
                wide as $type
            }
            #[inline]
            fn slot(self, low: Self, shift: u8) -> usize {
                (self.wrapping_sub(low) >> shift) as usize
            }
        }
    };
}

word!(u16, 8);
word!(u32, 4);
word!(u128, 4);

/// Fewer ends than this need no index: they are halved four times, which takes fewer instructions than to compare them
/// all at once, and no branch.
const FEW: usize = 16;

/// Slots hold a node's number or, with this bit, the position of a window.
const WINDOW_AT: u32 = 1 << 31;

/// Divides the numbers from `low` to `high` into slots of `1 << shift`.
#[derive(Debug)]
struct Node<W> {
    low: W,
    high: W,
    first: u32,
    shift: u8,
}

/// An index over intervals of one type of number. Its size is linear in their number, whatever they are.
#[derive(Debug)]
pub(crate) struct Intervals<W> {
    /// Ascending, and padded so that every window is a whole one.
    ends: Box<[W]>,
    /// They are few, padded to as many as are compared then.
    few: bool,
    nodes: Vec<Node<W>>,
    slots: Vec<u32>,
    root: u32,
    count: u32,
}

impl<W: Word> Intervals<W> {
    /// Of ends in ascending order, each once, without the greatest number.
    pub(crate) fn new(mut ends: Vec<W>) -> Self {
        let len = ends.len();
        let few = len < FEW;
        let padding = if few { FEW - len } else { W::WINDOW };
        ends.extend(std::iter::repeat_n(W::MAX, padding));
        let mut intervals = Intervals {
            ends: ends.into(),
            few,
            count: len as u32 + 1,
            nodes: Vec::new(),
            slots: Vec::new(),
            root: 0,
        };
        if !few {
            intervals.root = intervals.divide(0, len);
        }
        intervals
    }

    /// The slot for numbers whose rank lies in `from..=to`.
    fn divide(&mut self, from: usize, to: usize) -> u32 {
        let ends = self.ends.get(from..to).unwrap_or_default();
        let (Some(&low), Some(&last)) = (ends.first(), ends.last()) else {
            return WINDOW_AT | from as u32;
        };
        if ends.len() <= W::WINDOW {
            return WINDOW_AT | from as u32;
        }
        // Ranks change behind an end; no end is the greatest number.
        let (low, high): (u128, u128) = (low.into(), last.into() + 1);
        let most = ends.len().next_power_of_two() as u128;
        let mut shift = 0;
        while (high - low) >> shift >= most {
            shift += 1;
        }
        let count = ((high - low) >> shift) as usize + 1;
        let node = self.nodes.len() as u32;
        let first = self.slots.len();
        self.nodes.push(Node {
            low: W::from_wide(low),
            high: W::from_wide(high),
            first: first as u32,
            shift,
        });
        self.slots.resize(first + count, 0);
        let mut begin = from;
        for index in 0..count {
            let slot_low = low + ((index as u128) << shift);
            let slot_high = slot_low.saturating_add((1 << shift) - 1);
            let behind = |ends: &[W], at: usize, number: u128| {
                at + ends
                    .iter()
                    .skip(at)
                    .take(to - at)
                    .take_while(|&&end| end.into() < number)
                    .count()
            };
            begin = behind(&self.ends, begin, slot_low);
            let end = behind(&self.ends, begin, slot_high);
            let slot = self.divide(begin, end);
            if let Some(place) = self.slots.get_mut(first + index) {
                *place = slot;
            }
        }
        node
    }

    /// Number of intervals.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How many ends lie before `number`.
    #[inline(always)]
    pub(crate) fn rank(&self, number: W) -> u32 {
        match self.ends.first_chunk() {
            Some(ends) if self.few => behind_few(ends, number),
            _ => self.rank_of_many(number),
        }
    }

    #[inline(never)]
    fn rank_of_many(&self, number: W) -> u32 {
        let mut slot = self.root;
        while slot & WINDOW_AT == 0 {
            let Some(node) = self.nodes.get(slot as usize) else {
                return 0;
            };
            let within = number.max(node.low).min(node.high);
            let index = node.first as usize + within.slot(node.low, node.shift);
            slot = self.slots.get(index).copied().unwrap_or(WINDOW_AT);
        }
        let start = slot & !WINDOW_AT;
        let window = self
            .ends
            .get(start as usize..start as usize + W::WINDOW)
            .unwrap_or_default();
        start + behind(window, number)
    }

    /// Bytes in use.
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.ends) + size_of_val(&*self.nodes) + size_of_val(&*self.slots)
    }
}

/// How many of these ends, of which the last does not, lie before `number`.
#[inline(always)]
fn behind_few<W: Word>(ends: &[W; FEW], number: W) -> u32 {
    let mut rank = 0;
    for half in [8, 4, 2, 1] {
        // The remainder is the number itself, but so the compiler knows that it is in the array.
        rank += half * usize::from(ends[(rank + half - 1) % FEW] < number);
    }
    rank as u32
}

/// How many of these ends lie before `number`.
#[inline(always)]
fn behind<W: Word>(ends: &[W], number: W) -> u32 {
    ends.iter().map(|end| u32::from(*end < number)).sum()
}

const FIRST_V4: Address = Address::v4([0; 4]);
const LAST_V4: Address = Address::v4([255; 4]);

/// Intervals of addresses of both families, ranked as one.
#[derive(Debug)]
pub(crate) struct AddressIntervals {
    v4: Intervals<u32>,
    v6: Intervals<u128>,
    /// Ends before the first IPv4 address, and from it to before the last one.
    before_v4: u32,
    in_v4: u32,
    count: u32,
}

impl AddressIntervals {
    /// The coarsest intervals of which every one of `ranges` is made.
    pub(crate) fn new(ranges: impl Iterator<Item = (Address, Address)>) -> Self {
        let mut ends: Vec<u128> = ranges
            .flat_map(|(first, last)| [first.0.checked_sub(1), Some(last.0)])
            .flatten()
            .filter(|&end| end != u128::MAX)
            .collect();
        ends.sort_unstable();
        ends.dedup();
        let before_v4 = ends.partition_point(|&end| end < FIRST_V4.0);
        let in_v4 = ends.partition_point(|&end| end < LAST_V4.0) - before_v4;
        let count = ends.len() as u32 + 1;
        let v4 = ends.drain(before_v4..before_v4 + in_v4);
        let v4: Vec<u32> = v4.map(|end| end as u32).collect();
        AddressIntervals {
            v4: Intervals::new(v4),
            v6: Intervals::new(ends),
            before_v4: before_v4 as u32,
            in_v4: in_v4 as u32,
            count,
        }
    }

    /// Number of intervals.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The rank of the interval with `address`.
    #[inline(always)]
    pub(crate) fn rank(&self, address: Address) -> u32 {
        match address.is_v4() {
            true => self.before_v4 + self.v4.rank(address.0 as u32),
            false => self.rank_of_v6(address),
        }
    }

    #[inline(never)]
    fn rank_of_v6(&self, address: Address) -> u32 {
        let beyond = if address > LAST_V4 { self.in_v4 } else { 0 };
        self.v6.rank(address.0) + beyond
    }

    /// Bytes in use.
    pub(crate) fn memory(&self) -> usize {
        self.v4.memory() + self.v6.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many ends as are compared without an index, fewer, and more; close together and far apart.
    #[test]
    fn ranks_are_those_of_a_linear_search() {
        for count in 0..=40u32 {
            for step in [1, 2, 77, 100_000_000] {
                let ends: Vec<u32> = (0..count)
                    .map(|n| 5 + n * step.min(u32::MAX / 41))
                    .collect();
                let intervals = Intervals::new(ends.clone());
                assert_eq!(intervals.count(), count + 1);
                let near = ends.iter().flat_map(|&end| [end - 1, end, end + 1]);
                for number in near.chain([0, u32::MAX]) {
                    let linear = ends.iter().filter(|&&end| end < number).count();
                    assert_eq!(
                        intervals.rank(number),
                        linear as u32,
                        "{number} of {ends:?}"
                    );
                }
            }
        }
    }
}
