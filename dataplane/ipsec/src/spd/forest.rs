//! Decision trees over boxes of ranks: which box that holds a point comes first.
//!
//! A tree cuts the space along one dimension into slots of equal width, and those again, until few boxes are
//! left to look at. A box that reaches into many slots is stored many times, so every subtree is given
//! an allowance for what it stores; where that does not pay for another cut, the boxes are scanned in order.

use std::collections::HashMap;

/// Local address, remote address, protocol and the two halves of what the upper layer says.
pub(super) const DIMENSIONS: usize = 5;
const LOCAL: usize = 0;
const REMOTE: usize = 1;
/// The first half of the upper layer.
const UPPER: usize = 3;
/// As `dimension` of a [`Step`]: the boxes to look at begin at `first`.
const LEAF: u8 = DIMENSIONS as u8;
/// Of no box.
pub(super) const NOWHERE: u32 = u32::MAX;
/// So few boxes are rather scanned than divided.
const FEW: usize = 3;
/// Boxes that a tree stores for each that it is built of, and for small ones besides.
const ALLOWANCE: usize = 16;
const ALLOWANCE_BESIDES: usize = 1 << 10;
/// At most so many times the boxes are in the parts of a cut: what is not spent at once serves finer parts.
const GROWTH: usize = 4;
/// So many slots are as large as one box.
const SLOTS_PER_BOX: usize = size_of::<Packed>() / size_of::<Step>();

/// Ranks of a packet in each dimension; the last three are not used.
pub(super) type Point = [u32; 8];

/// A box of points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) ranges: Ranges,
    /// What is found there; the lowest counts.
    pub(super) code: u32,
    /// It is found at every point of the box.
    pub(super) exact: bool,
}

/// Inclusive ranges of ranks in each dimension.
pub(super) type Ranges = [(u32, u32); DIMENSIONS];

impl Area {
    /// Leaves nothing of `bounds` over.
    fn covers(&self, bounds: &Ranges) -> bool {
        let mut both = self.ranges.iter().zip(bounds);
        self.exact && both.all(|(own, bounds)| own.0 <= bounds.0 && own.1 >= bounds.1)
    }
}

/// An [`Area`] in 32 bytes: lowest ranks, and how far they reach.
#[derive(Clone, Copy, Debug)]
struct Packed {
    low: [u32; 2],
    reach: [u32; 2],
    low_upper: [u16; 3],
    reach_upper: [u16; 3],
    code: u32,
}

impl Packed {
    /// Holds every point.
    const NOWHERE: Packed = Packed {
        low: [0; 2],
        reach: [u32::MAX; 2],
        low_upper: [0; 3],
        reach_upper: [u16::MAX; 3],
        code: NOWHERE,
    };

    fn new(area: &Area) -> Self {
        let [l, r, p, a, b] = area.ranges;
        let low16 = |range: (u32, u32)| range.0 as u16;
        let reach16 = |range: (u32, u32)| (range.1 - range.0) as u16;
        Packed {
            low: [l.0, r.0],
            reach: [l.1 - l.0, r.1 - r.0],
            low_upper: [p, a, b].map(low16),
            reach_upper: [p, a, b].map(reach16),
            code: area.code,
        }
    }

    #[inline]
    fn holds(&self, point: &Point) -> bool {
        let [l, r, p, a, b, ..] = *point;
        let wide = |v: u32, i: usize| v.wrapping_sub(self.low[i]) <= self.reach[i];
        let narrow =
            |v: u32, i: usize| (v as u16).wrapping_sub(self.low_upper[i]) <= self.reach_upper[i];
        // All at once: a branch for each would be guessed wrong too often.
        wide(l, 0) & wide(r, 1) & narrow(p, 0) & narrow(a, 1) & narrow(b, 2)
    }
}

/// Where to go from here: to step `first + (rank in dimension >> shift)`.
#[derive(Clone, Copy, Debug)]
struct Step {
    first: u32,
    dimension: u8,
    shift: u8,
}

const EMPTY: Step = Step {
    first: 0,
    dimension: LEAF,
    shift: 0,
};

/// A tree, and the lowest code in it.
#[derive(Clone, Copy, Debug)]
struct Root {
    lowest: u32,
    step: Step,
}

/// Several trees: what reaches far in one dimension would be stored many times among what does not.
#[derive(Debug)]
pub(super) struct Forest {
    roots: Vec<Root>,
    steps: Vec<Step>,
    /// Leaves; each ends with a box that holds all that can come to it.
    boxes: Vec<Packed>,
}

impl Forest {
    /// Of boxes in ascending order of their codes; the space has `counts` ranks in each dimension.
    pub(super) fn new(areas: &[Area], counts: [u32; DIMENSIONS]) -> Self {
        let mut groups: [Vec<u32>; 5] = Default::default();
        for (number, area) in (0..).zip(areas) {
            let is_wide = |dimension: usize| {
                let (low, high) = area.ranges[dimension];
                high - low >= counts[dimension] / 2
            };
            let [both, local, remote, port, others] = &mut groups;
            let group = match (is_wide(LOCAL), is_wide(REMOTE)) {
                (false, false) => both,
                (false, true) => local,
                (true, false) => remote,
                (true, true) if is_wide(UPPER) => others,
                (true, true) => port,
            };
            group.push(number);
        }
        let mut builder = Builder {
            areas,
            forest: Forest {
                roots: Vec::new(),
                steps: Vec::new(),
                boxes: vec![Packed::NOWHERE],
            },
            leaves: HashMap::new(),
        };
        let bounds = counts.map(|count| (0, count - 1));
        for group in groups {
            let lowest = group.first().and_then(|&n| areas.get(n as usize));
            let Some(lowest) = lowest.map(|area| area.code) else {
                continue;
            };
            let allowance = ALLOWANCE * group.len() + ALLOWANCE_BESIDES;
            let step = builder.grow(&group, &bounds, allowance);
            builder.forest.roots.push(Root { lowest, step });
        }
        let mut forest = builder.forest;
        forest.roots.sort_by_key(|root| root.lowest);
        forest.steps.shrink_to_fit();
        forest.boxes.shrink_to_fit();
        forest
    }

    /// The lowest code of a box with this point for which `also` holds, else [`NOWHERE`].
    #[inline]
    pub(super) fn first(&self, point: &Point, also: impl Fn(u32) -> bool) -> u32 {
        let mut best = NOWHERE;
        for root in &self.roots {
            if root.lowest >= best {
                break;
            }
            best = best.min(self.first_of(root.step, point, &also));
        }
        best
    }

    #[inline]
    fn first_of(&self, mut step: Step, point: &Point, also: &impl Fn(u32) -> bool) -> u32 {
        while step.dimension != LEAF {
            let rank = point[usize::from(step.dimension & 7)];
            let at = step.first.wrapping_add(rank >> (step.shift & 31));
            step = self.steps.get(at as usize).copied().unwrap_or(EMPTY);
        }
        let leaf = self.boxes.get(step.first as usize..).unwrap_or_default();
        leaf.iter()
            .find(|area| area.holds(point) && (area.code == NOWHERE || also(area.code)))
            .map_or(NOWHERE, |area| area.code)
    }

    /// Bytes in use.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.steps) + size_of_val(&*self.boxes)
    }
}

/// A division of a subspace into slots.
struct Cut {
    dimension: usize,
    shift: u32,
    /// First slot of each maximal run of slots into which the same boxes reach.
    runs: Vec<u32>,
    /// Sum of the squares of the runs' boxes: what lookups cost.
    cost: u64,
}

struct Builder<'a> {
    areas: &'a [Area],
    forest: Forest,
    leaves: HashMap<(Vec<u32>, bool), Step>,
}

impl Builder<'_> {
    fn area(&self, number: u32) -> Option<&Area> {
        self.areas.get(number as usize)
    }

    /// A subtree for the boxes of `list`, all of which reach into `bounds`.
    fn grow(&mut self, list: &[u32], bounds: &Ranges, allowance: usize) -> Step {
        if list.len() > FEW {
            let cuts = (0..DIMENSIONS).filter_map(|d| self.cut(list, bounds, d, allowance));
            if let Some(cut) = cuts.min_by_key(|cut| cut.cost) {
                return self.divide(list, bounds, allowance, &cut);
            }
        }
        self.leaf(list, bounds)
    }

    /// The finest cut along a dimension that the allowance pays for.
    fn cut(
        &self,
        list: &[u32],
        bounds: &Ranges,
        dimension: usize,
        allowance: usize,
    ) -> Option<Cut> {
        let (low, high) = bounds[dimension];
        let most = (4 * list.len() as u32).max(16);
        let mut shift = 0;
        while (high >> shift) - (low >> shift) >= most {
            shift += 1;
        }
        let count = ((high >> shift) - (low >> shift)) as usize + 1;
        // Boxes that begin in, and end in, each slot.
        let (mut begin, mut end) = (vec![0u32; count], vec![0u32; count]);
        for area in list.iter().filter_map(|&n| self.area(n)) {
            let (from, to) = area.ranges[dimension];
            let slot = |rank: u32| ((rank >> shift) - (low >> shift)) as usize;
            if let Some(begin) = begin.get_mut(slot(from.max(low))) {
                *begin += 1;
            }
            if let Some(end) = end.get_mut(slot(to.min(high))) {
                *end += 1;
            }
        }
        loop {
            if begin.len() < 2 {
                return None;
            }
            let (runs, stored, cost) = runs(&begin, &end);
            if runs.len() > 1
                && stored + begin.len() / SLOTS_PER_BOX <= allowance
                && stored <= list.len() * GROWTH
            {
                let runs = runs.into_iter().map(|slot| slot as u32).collect();
                return Some(Cut {
                    dimension,
                    shift,
                    runs,
                    cost,
                });
            }
            if runs.len() == 1 {
                return None;
            }
            let odd = (low >> shift) as usize & 1;
            begin = halve(&begin, odd);
            end = halve(&end, odd);
            shift += 1;
        }
    }

    fn divide(&mut self, list: &[u32], bounds: &Ranges, allowance: usize, cut: &Cut) -> Step {
        let (low, high) = bounds[cut.dimension];
        let origin = low >> cut.shift;
        let count = ((high >> cut.shift) - origin) as usize + 1;
        let children = self.distribute(list, bounds, cut);
        let total: usize = children.iter().map(|(list, _)| leaf_size(list.len())).sum();
        let first = self.forest.steps.len();
        self.forest.steps.resize(first + count, EMPTY);
        let to_share = allowance - count / SLOTS_PER_BOX;
        for ((child, bounds), (index, &slot)) in children.iter().zip(cut.runs.iter().enumerate()) {
            let share = to_share as u64 * leaf_size(child.len()) as u64 / total.max(1) as u64;
            let step = self.grow(child, bounds, share as usize);
            let end = cut.runs.get(index + 1).map_or(count, |&slot| slot as usize);
            if let Some(slots) = self
                .forest
                .steps
                .get_mut(first + slot as usize..first + end)
            {
                slots.fill(step);
            }
        }
        Step {
            first: (first as u32).wrapping_sub(origin),
            dimension: cut.dimension as u8,
            shift: cut.shift as u8,
        }
    }

    /// The boxes that count in each run, with its bounds.
    fn distribute(&self, list: &[u32], bounds: &Ranges, cut: &Cut) -> Vec<(Vec<u32>, Ranges)> {
        let (low, high) = bounds[cut.dimension];
        let origin = low >> cut.shift;
        let mut children = Vec::with_capacity(cut.runs.len());
        for (index, &slot) in cut.runs.iter().enumerate() {
            let mut bounds = *bounds;
            let end = match cut.runs.get(index + 1) {
                Some(&next) => ((origin + next) << cut.shift) - 1,
                None => high,
            };
            bounds[cut.dimension] = (low.max((origin + slot) << cut.shift), end);
            children.push((Vec::new(), bounds));
        }
        let mut open = vec![true; children.len()];
        for &number in list {
            let Some(area) = self.area(number) else {
                continue;
            };
            let (from, to) = area.ranges[cut.dimension];
            let from = children.partition_point(|(_, b)| b[cut.dimension].1 < from);
            let reached = children.iter_mut().zip(&mut open).skip(from);
            for ((child, bounds), open) in
                reached.take_while(|((_, bounds), _)| bounds[cut.dimension].0 <= to)
            {
                // Behind a box that leaves nothing over, none counts.
                if *open {
                    child.push(number);
                    *open = !area.covers(bounds);
                }
            }
        }
        children
    }

    fn leaf(&mut self, list: &[u32], bounds: &Ranges) -> Step {
        if list.is_empty() {
            return EMPTY;
        }
        let last = list.last().and_then(|&n| self.area(n));
        let covered = last.is_some_and(|area| area.covers(bounds));
        if let Some(&step) = self.leaves.get(&(list.to_vec(), covered)) {
            return step;
        }
        let step = Step {
            first: self.forest.boxes.len() as u32,
            ..EMPTY
        };
        let packed = list
            .iter()
            .filter_map(|&n| self.areas.get(n as usize))
            .map(Packed::new);
        self.forest.boxes.extend(packed);
        if !covered {
            self.forest.boxes.push(Packed::NOWHERE);
        }
        self.leaves.insert((list.to_vec(), covered), step);
        step
    }
}

/// Boxes stored for a leaf of so many, the one that ends it included; an empty one is there already.
fn leaf_size(boxes: usize) -> usize {
    boxes + usize::from(boxes > 0)
}

/// First slots of the runs, the boxes stored in all of them, and the sum of the squares.
fn runs(begin: &[u32], end: &[u32]) -> (Vec<usize>, usize, u64) {
    let (mut runs, mut stored, mut cost, mut inside, mut ended) = (Vec::new(), 0, 0, 0, 1);
    for (slot, (&begin, &end)) in begin.iter().zip(end).enumerate() {
        inside += begin;
        if begin > 0 || ended > 0 {
            runs.push(slot);
            stored += leaf_size(inside as usize);
            cost += u64::from(inside) * u64::from(inside);
        }
        inside -= end;
        ended = end;
    }
    (runs, stored, cost)
}

/// Adds up neighbouring slots; `odd` is 1 if the first has no partner.
fn halve(counts: &[u32], odd: usize) -> Vec<u32> {
    let (alone, pairs) = counts.split_at(odd.min(counts.len()));
    let pairs = pairs.chunks(2).map(|pair| pair.iter().sum());
    alone.iter().copied().chain(pairs).collect()
}
