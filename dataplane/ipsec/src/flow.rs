//! The flow cache: what the SPD and the routes said about a 5-tuple, remembered per worker.
//!
//! An entry is valid for one generation; every change of policy, SAs, routes or neighbours begins a new one.

use crate::fib::Hop;
use crate::ip::{Address, IpHeader};
use crate::sa::SaRef;
use crate::{DropReason, InterfaceId};

/// Which decision is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Path {
    /// From the protected side, or made here.
    Outbound = 0,
    /// Clear, from the unprotected side.
    InboundClear = 1,
    /// Came out of an SA.
    Decapsulated = 2,
}

/// What a flow's ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// There are none to see: what the SPD says of ports 0 does not hold.
    None,
    /// As they stand in the packet.
    Seen([u8; 4]),
    /// A fragment's.
    Hidden,
}

/// What tells one flow from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    source: Address,
    destination: Address,
    ports: Ports,
    protocol: u8,
    path: Path,
}

impl FlowKey {
    /// The key of a packet on `path`; `ports` as [`crate::ip::ports`] reads them.
    pub fn new(ip: &IpHeader, ports: Option<[u8; 4]>, path: Path) -> Self {
        FlowKey {
            source: ip.source,
            destination: ip.destination,
            ports: match ports {
                _ if ip.is_fragment() => Ports::Hidden,
                Some(ports) => Ports::Seen(ports),
                None => Ports::None,
            },
            protocol: ip.protocol,
            path,
        }
    }

    fn hash(&self, seed: u64) -> u64 {
        // Multiply-fold; the seed is random per worker, so that nobody outside can aim at one slot.
        const K: u64 = 0x9e37_79b9_7f4a_7c15;
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let ports = match self.ports {
            Ports::None => 1 << 48,
            Ports::Seen(ports) => u64::from(u32::from_ne_bytes(ports)),
            Ports::Hidden => 2 << 48,
        };
        let tail = ports | u64::from(self.protocol) << 32 | (self.path as u64) << 40;
        let a = fold(
            self.source.0 as u64 ^ seed,
            (self.source.0 >> 64) as u64 ^ K,
        );
        let b = fold(
            self.destination.0 as u64 ^ K,
            (self.destination.0 >> 64) as u64 ^ seed,
        );
        fold(a ^ tail, b.wrapping_add(K) ^ seed.rotate_left(32))
    }
}

/// The Ethernet header under which a packet leaves, tag included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHeader {
    /// Leaves by this interface.
    pub interface: InterfaceId,
    /// Bytes in use, 14 or 18.
    pub len: u8,
    /// The header.
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

/// The decision about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Drop.
    Drop(DropReason),
    /// For this gateway itself.
    Local,
    /// Forward in clear.
    Forward(Egress),
    /// Protect with this SA (the innermost of its bundle).
    Protect(SaRef),
    /// Decapsulated here and bound for the unprotected side again: the SPD decides as for any outbound packet.
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

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: FlowKey,
    generation: u32,
    decision: Decision,
}

const WAYS: usize = 4;

/// A set-associative cache with a fixed number of slots.
#[derive(Debug)]
pub struct FlowCache {
    slots: Box<[[Slot; WAYS]]>,
    seed: u64,
    generation: u32,
    victim: usize,
}

impl FlowCache {
    /// A cache of `flows` flows, rounded up to a power of two.
    pub fn new(flows: usize, seed: u64) -> Self {
        let empty = Slot {
            key: FlowKey {
                source: Address::default(),
                destination: Address::default(),
                ports: Ports::None,
                protocol: 0,
                path: Path::Outbound,
            },
            generation: 0,
            decision: Decision {
                verdict: Verdict::Drop(DropReason::PolicyNoMatch),
                entry: u32::MAX,
            },
        };
        let sets = flows.div_ceil(WAYS).next_power_of_two();
        FlowCache {
            slots: vec![[empty; WAYS]; sets].into(),
            seed,
            generation: 1,
            victim: 0,
        }
    }

    /// Forgets everything.
    pub fn invalidate(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Once in four billion changes: old generations must not come back to life.
            self.slots
                .iter_mut()
                .flatten()
                .for_each(|slot| slot.generation = 0);
            self.generation = 1;
        }
    }

    /// The present generation.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    fn set(&self, key: &FlowKey) -> usize {
        key.hash(self.seed) as usize & (self.slots.len() - 1)
    }

    /// What is known about a flow.
    #[inline]
    pub fn get(&self, key: &FlowKey) -> Option<Decision> {
        let set = self.slots.get(self.set(key))?;
        set.iter()
            .find(|s| s.generation == self.generation && s.key == *key)
            .map(|s| s.decision)
    }

    /// Remembers a decision, in the place of a stale one if there is one.
    pub fn insert(&mut self, key: FlowKey, decision: Decision) {
        let (generation, index) = (self.generation, self.set(&key));
        self.victim = (self.victim + 1) % WAYS;
        let victim = self.victim;
        if let Some(set) = self.slots.get_mut(index) {
            let way = set
                .iter()
                .position(|s| s.generation != generation)
                .unwrap_or(victim);
            if let Some(slot) = set.get_mut(way) {
                *slot = Slot {
                    key,
                    generation,
                    decision,
                };
            }
        }
    }
}
