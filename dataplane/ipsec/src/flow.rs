//! The flow cache: what the SPD, the SAs' selectors and the routes said about a 5-tuple, remembered per worker.
//!
//! An entry is valid for one generation; every change of policy, bindings, routes or neighbours begins a new one.
//! A flow takes one cache line.

use std::collections::HashMap;

use crate::fib::Hop;
use crate::ip::{Address, IpHeader, IpVersion};
use crate::sa::SaRef;
use crate::{DropReason, InterfaceId};

/// Which decision is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// From the protected side.
    Outbound,
    /// Made by this gateway.
    Local,
    /// Out of an SA, and not for the protected side.
    Hairpin,
    /// Clear, from the unprotected side.
    InboundClear,
    /// Came out of the inbound SA with this [`serial`](crate::sa::InboundSa::serial).
    Decapsulated(u32),
}

/// What tells one flow from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// Source and destination; those of IPv4 fill the first word, and the others are zero.
    addresses: [u64; 4],
    /// Ports as they stand in the packet, protocol, path, version, and whether there are ports.
    upper: u64,
    /// The SA of [`Path::Decapsulated`].
    sa: u32,
}

/// There are no ports to see: what the SPD says of ports 0 does not hold.
const NO_PORTS: u64 = 1 << 48;
/// A fragment's ports.
const HIDDEN_PORTS: u64 = 2 << 48;
/// The packet is IPv4.
const IS_V4: u64 = 1 << 56;

impl FlowKey {
    /// The key of a packet on `path`; `ports` as [`crate::ip::ports`] reads them.
    pub fn new(ip: &IpHeader, ports: Option<[u8; 4]>, path: Path) -> Self {
        let path = Self::path(path);
        let mut key = match ip.version {
            IpVersion::V4 => {
                let mut addresses = [0; 8];
                addresses[..4].copy_from_slice(&ip.source.v4_bytes());
                addresses[4..].copy_from_slice(&ip.destination.v4_bytes());
                Self::v4(addresses, ip.protocol, ports, path)
            }
            IpVersion::V6 => {
                let mut addresses = [0; 32];
                addresses[..16].copy_from_slice(&ip.source.v6_bytes());
                addresses[16..].copy_from_slice(&ip.destination.v6_bytes());
                Self::v6(&addresses, ip.protocol, ports, path)
            }
        };
        if ip.is_fragment() {
            key.upper = key.upper & !0xffff_ffff & !NO_PORTS | HIDDEN_PORTS;
        }
        key
    }

    /// What a path adds to a key.
    #[inline(always)]
    pub(crate) fn path(path: Path) -> (u64, u32) {
        match path {
            Path::Outbound => (0, 0),
            Path::Local => (1 << 40, 0),
            Path::Hairpin => (2 << 40, 0),
            Path::InboundClear => (3 << 40, 0),
            Path::Decapsulated(sa) => (4 << 40, sa),
        }
    }

    /// Source and destination.
    #[inline(always)]
    pub(crate) fn addresses(&self) -> (Address, Address) {
        let [a, b, c, d] = self.addresses;
        match self.version() {
            IpVersion::V4 => {
                let (source, destination) = (a.to_be() >> 32, a.to_be() & 0xffff_ffff);
                let address = |word: u64| Address::v4((word as u32).to_be_bytes());
                (address(source), address(destination))
            }
            IpVersion::V6 => {
                let address = |high: u64, low: u64| {
                    Address(u128::from(high.to_be()) << 64 | u128::from(low.to_be()))
                };
                (address(a, b), address(c, d))
            }
        }
    }

    /// Version of the packets.
    #[inline(always)]
    pub(crate) fn version(&self) -> IpVersion {
        match self.upper & IS_V4 {
            0 => IpVersion::V6,
            _ => IpVersion::V4,
        }
    }

    /// Their upper-layer protocol.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> u8 {
        (self.upper >> 32) as u8
    }

    /// What was read as ports.
    #[inline(always)]
    pub(crate) fn ports(&self) -> Option<[u8; 4]> {
        (self.upper & NO_PORTS == 0).then_some((self.upper as u32).to_ne_bytes())
    }

    #[inline(always)]
    fn upper(protocol: u8, ports: Option<[u8; 4]>) -> u64 {
        let ports = match ports {
            Some(ports) => u64::from(u32::from_ne_bytes(ports)),
            None => NO_PORTS,
        };
        ports | u64::from(protocol) << 32
    }

    /// The key of an IPv4 packet that is no fragment, with its addresses as they stand there.
    #[inline(always)]
    pub(crate) fn v4(
        addresses: [u8; 8],
        protocol: u8,
        ports: Option<[u8; 4]>,
        (path, sa): (u64, u32),
    ) -> Self {
        FlowKey {
            addresses: [u64::from_ne_bytes(addresses), 0, 0, 0],
            upper: Self::upper(protocol, ports) | path | IS_V4,
            sa,
        }
    }

    /// The same of an IPv6 packet.
    #[inline(always)]
    pub(crate) fn v6(
        addresses: &[u8; 32],
        protocol: u8,
        ports: Option<[u8; 4]>,
        (path, sa): (u64, u32),
    ) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(addresses.chunks_exact(8)) {
            *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
        }
        FlowKey {
            addresses: words,
            upper: Self::upper(protocol, ports) | path,
            sa,
        }
    }
}

/// The Ethernet header under which a packet leaves, tag included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHeader {
    /// Leaves by this interface.
    pub interface: InterfaceId,
    /// Bytes in use, 14 or 18.
    pub len: u8,
    /// The header, at the end.
    pub bytes: [u8; 18],
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// With this header.
    Ready(LinkHeader),
    /// When the neighbour's MAC address is known.
    Unresolved(Hop),
}

impl Egress {
    /// The interface by which the packet leaves.
    pub fn interface(&self) -> InterfaceId {
        match self {
            Egress::Ready(link) => link.interface,
            Egress::Unresolved(hop) => hop.interface,
        }
    }
}

/// A way out, and the longest packet that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjacency {
    /// How packets leave.
    pub egress: Egress,
    /// MTU of the interface.
    pub mtu: u16,
}

/// Place of an [`Adjacency`] in a worker's [`Adjacencies`], for one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdjacencyId(u32);

/// The ways out that a worker's flows use.
#[derive(Debug)]
pub struct Adjacencies {
    list: Vec<Adjacency>,
    known: HashMap<(InterfaceId, Address, IpVersion), u32>,
}

impl Adjacencies {
    /// How many there may be; when there are more, all flows are decided again.
    const MOST: usize = 1 << 14;
    /// How many more a burst may find: places are not given anew while a burst refers to them.
    const SLACK: usize = 1 << 10;

    /// Room for all that there may be.
    pub fn new() -> Self {
        Adjacencies {
            list: Vec::with_capacity(Self::MOST + Self::SLACK),
            known: HashMap::with_capacity(Self::MOST + Self::SLACK),
        }
    }

    /// An adjacency.
    #[inline]
    pub fn get(&self, id: AdjacencyId) -> Option<&Adjacency> {
        self.list.get(id.0 as usize)
    }

    /// The place of a neighbour for packets of a version.
    pub fn find(&self, neighbor: (InterfaceId, Address, IpVersion)) -> Option<AdjacencyId> {
        self.known.get(&neighbor).map(|id| AdjacencyId(*id))
    }

    /// Adds one; `None` if there is no room.
    pub fn add(
        &mut self,
        neighbor: (InterfaceId, Address, IpVersion),
        way: Adjacency,
    ) -> Option<AdjacencyId> {
        if self.list.len() >= Self::MOST + Self::SLACK {
            return None;
        }
        let id = self.list.len() as u32;
        self.list.push(way);
        self.known.insert(neighbor, id);
        Some(AdjacencyId(id))
    }

    /// True if all flows should be decided again before the next burst.
    pub fn is_full(&self) -> bool {
        self.list.len() >= Self::MOST
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.list.clear();
        self.known.clear();
    }
}

impl Default for Adjacencies {
    fn default() -> Self {
        Self::new()
    }
}

/// What happens to the packets of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Dropped.
    Drop(DropReason),
    /// Ours: to the slow path.
    Local,
    /// Forwarded in clear.
    Forward(AdjacencyId),
    /// Protected with an outbound SA.
    Protect(SaRef),
    /// Held until IKE has negotiated an SA of this child; never remembered.
    Hold(u32),
    /// Out of an SA, for the unprotected side: the SPD decides as for any outbound packet.
    Hairpin,
}

/// A remembered decision, and the SPD entry that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens to the packets.
    pub verdict: Verdict,
    /// Index of the SPD entry, `u32::MAX` if none was asked.
    pub entry: u32,
}

impl Decision {
    /// A decision that no SPD entry made.
    pub const fn unasked(verdict: Verdict) -> Self {
        Decision {
            verdict,
            entry: u32::MAX,
        }
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Slot {
    addresses: [u64; 4],
    upper: u64,
    /// SA and generation.
    tag: u64,
    decision: Decision,
}

#[inline(always)]
fn tag(sa: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(sa)
}

impl Slot {
    fn new(key: &FlowKey, generation: u32, decision: Decision) -> Self {
        Slot {
            addresses: key.addresses,
            upper: key.upper,
            tag: tag(key.sa, generation),
            decision,
        }
    }

    #[inline(always)]
    fn holds(&self, key: &FlowKey, generation: u32) -> bool {
        let (a, b) = (&self.addresses, &key.addresses);
        let different =
            (a[0] ^ b[0]) | (self.upper ^ key.upper) | (self.tag ^ tag(key.sa, generation));
        // If both are IPv4, there is nothing more in the addresses.
        different == 0 && (key.upper & IS_V4 != 0 || a[1..] == b[1..])
    }
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Where a flow is looked for: its hash, whose low bits name the slot where it is looked for first.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowPlace(u32);

/// Slots of a set.
const WAYS: usize = 4;

/// What is in the slots of a set, in one word, so that nearly every flow that is not there is known not to be without
/// a look at them: for each twelve bits of the flow's hash, and four of the generation.
type Marks = [u16; WAYS];

/// A set-associative cache with a fixed number of slots.
#[derive(Debug)]
pub struct FlowCache {
    slots: Box<[Slot]>,
    marks: Box<[Marks]>,
    /// Of slots: a power of two, less one.
    mask: u32,
    seed: u64,
    generation: u32,
    inserted: u32,
}

impl FlowCache {
    /// A cache of `flows` flows, rounded up to a power of two.
    pub fn new(flows: usize, seed: u64) -> Self {
        let nothing = Decision::unasked(Verdict::Drop(DropReason::PolicyNoMatch));
        let empty = Slot::new(&FlowKey::default(), 0, nothing);
        let slots = flows.clamp(WAYS, 1 << 30).next_power_of_two();
        FlowCache {
            slots: vec![empty; slots].into(),
            marks: vec![[0; WAYS]; slots / WAYS].into(),
            mask: (slots - 1) as u32,
            seed,
            generation: 1,
            inserted: 0,
        }
    }

    /// Forgets everything.
    pub fn invalidate(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Once in four billion changes: old generations must not come back to life.
            self.slots.iter_mut().for_each(|slot| slot.tag = 0);
            self.generation = 1;
        }
    }

    /// The present generation, never zero.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Where a flow is looked for, to be computed once. Multiply-fold; the seed is random per worker, so that nobody
    /// outside can aim at one place.
    #[inline(always)]
    pub fn place(&self, key: &FlowKey) -> FlowPlace {
        const K: u64 = 0x9e37_79b9_7f4a_7c15;
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let upper = key.upper ^ u64::from(key.sa).rotate_left(20);
        let a = &key.addresses;
        let all = match key.upper & IS_V4 != 0 {
            true => a[0],
            false => {
                let source = fold(a[0] ^ self.seed, a[1] ^ K);
                source ^ fold(a[2] ^ K, a[3] ^ self.seed.rotate_left(16))
            }
        };
        FlowPlace(fold(all ^ self.seed.rotate_left(32), upper ^ self.seed ^ K) as u32)
    }

    /// The slot where a flow is looked for first.
    #[inline(always)]
    fn first(&self, place: FlowPlace) -> usize {
        (place.0 & self.mask) as usize
    }

    /// Asks for the memory that [`FlowCache::get`] will read.
    #[inline(always)]
    pub fn prefetch(&self, place: FlowPlace) {
        if let Some(slot) = self.slots.get(self.first(place)) {
            prefetch::soon(slot);
        }
    }

    /// What is known about a flow. Most are found with one look.
    #[inline(always)]
    pub fn get(&self, place: FlowPlace, key: &FlowKey) -> Option<&Decision> {
        self.get_first(place, key)
            .or_else(|| self.get_elsewhere(place, key))
    }

    /// With one look.
    #[inline(always)]
    pub(crate) fn get_first(&self, place: FlowPlace, key: &FlowKey) -> Option<&Decision> {
        let slot = self.slots.get(self.first(place))?;
        slot.holds(key, self.generation).then_some(&slot.decision)
    }

    /// Asks for the memory that [`FlowCache::get_elsewhere`] will read first.
    #[inline]
    pub(crate) fn prefetch_elsewhere(&self, place: FlowPlace) {
        if let Some(marks) = self.marks.get(self.first(place) / WAYS) {
            prefetch::soon(marks);
        }
    }

    /// In the other slots of the set.
    #[cold]
    pub(crate) fn get_elsewhere(&self, place: FlowPlace, key: &FlowKey) -> Option<&Decision> {
        let first = self.first(place);
        let marks = self.marks.get(first / WAYS)?;
        let mark = mark(place, self.generation);
        set(first)
            .zip(marks)
            .filter(|(_, there)| **there == mark)
            .filter_map(|(at, _)| self.slots.get(at))
            .find(|slot| slot.holds(key, self.generation))
            .map(|slot| &slot.decision)
    }

    /// Remembers a decision: where it is looked for first if nothing of this generation is there, else in another such
    /// slot of the set, else in place of another flow.
    pub fn insert(&mut self, place: FlowPlace, key: FlowKey, decision: Decision) {
        let first = self.first(place);
        let Some(marks) = self.marks.get_mut(first / WAYS) else {
            return;
        };
        let generation = self.generation;
        self.inserted = self.inserted.wrapping_add(1);
        // Mostly what is looked at first goes, whose memory is here; but not always, as two flows in use may want it.
        let victim = match self.inserted % 4 {
            0 => self.inserted as usize / 4,
            _ => first,
        };
        let is_free = |way: &usize| (marks[*way] ^ generation as u16) & 15 != 0;
        let mut ways = [0, 1, 2, 3].map(|step| (first + step) % WAYS).into_iter();
        let way = ways.find(is_free).unwrap_or(victim % WAYS);
        marks[way] = mark(place, generation);
        if let Some(slot) = self.slots.get_mut(first - first % WAYS + way) {
            *slot = Slot::new(&key, generation, decision);
        }
    }
}

/// The mark of a flow that is decided in a generation.
#[inline(always)]
fn mark(place: FlowPlace, generation: u32) -> u16 {
    (place.0 >> 20 << 4 | generation & 15) as u16
}

/// The slots of the set of a slot.
#[inline(always)]
fn set(first: usize) -> impl Iterator<Item = usize> {
    let begin = first - first % WAYS;
    begin..begin + WAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_what_it_was_made_of() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 7];
        let key = FlowKey::v4(v4, 17, Some([4, 0, 0, 53]), FlowKey::path(Path::Outbound));
        let addresses = (Address::v4([192, 0, 2, 1]), Address::v4([198, 51, 100, 7]));
        assert_eq!(key.addresses(), addresses);
        assert_eq!((key.version(), key.protocol()), (IpVersion::V4, 17));
        assert_eq!(key.ports(), Some([4, 0, 0, 53]));

        let v6 = std::array::from_fn(|i| i as u8 + 1);
        let key = FlowKey::v6(&v6, 47, None, FlowKey::path(Path::Decapsulated(7)));
        let half = |first: u8| Address::v6(std::array::from_fn(|i| i as u8 + first));
        assert_eq!(key.addresses(), (half(1), half(17)));
        assert_eq!((key.version(), key.protocol()), (IpVersion::V6, 47));
        assert_eq!(key.ports(), None);
    }
}
