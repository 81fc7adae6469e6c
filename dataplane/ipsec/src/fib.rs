//! Interfaces, routes and neighbours as a worker sees them: immutable snapshots.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};

use ipnet::IpNet;
use portcullis_config::Side;

use crate::InterfaceId;
use crate::intervals::AddressIntervals;
use crate::ip::Address;

/// An IP interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Side of the IPsec boundary.
    pub side: Side,
    /// Our MAC address on it.
    pub mac: [u8; 6],
    /// 802.1Q tag.
    pub vlan: Option<u16>,
    /// Largest IP packet.
    pub mtu: u16,
    /// Our addresses, in order; the first of a family is the source of ICMP errors.
    pub addresses: Vec<IpNet>,
}

/// Routes and local addresses.
#[derive(Debug)]
pub struct Fib {
    interfaces: Box<[Interface]>,
    intervals: AddressIntervals,
    /// For each interval: where among `hops`, [`LOCAL`], [`BROADCAST`] and [`PROTECTED`].
    places: Box<[u32]>,
    /// Each hop once, behind `None`.
    hops: Box<[Option<Hop>]>,
}

/// Of an interval with one of our own addresses.
const LOCAL: u32 = 1 << 31;
/// Of an interval with a broadcast address.
const BROADCAST: u32 = 1 << 30;
/// Of an interval whose hop is on the protected side.
const PROTECTED: u32 = 1 << 29;

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// One of our own.
    pub local: bool,
    /// Limited or directed broadcast.
    pub broadcast: bool,
    /// The hop is on the protected side.
    pub protected: bool,
    /// By longest-prefix match.
    pub hop: Option<&'a Hop>,
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Leaves by this interface.
    pub interface: InterfaceId,
    /// To this neighbour; `None`: the destination itself is on link.
    pub via: Option<Address>,
}

/// A range of addresses in the mapped space.
type Range = (Address, Address);

/// A prefix in the mapped address space, where IPv4 /n is /(96 + n).
fn mapped(net: &IpNet) -> (u32, Range) {
    let len = u32::from(net.prefix_len()) + if matches!(net, IpNet::V4(_)) { 96 } else { 0 };
    let host = u128::MAX.checked_shr(len).unwrap_or(0);
    let first = Address::from(net.addr()).0 & !host;
    (len, (Address(first), Address(first | host)))
}

/// What the interfaces' addresses say.
#[derive(Default)]
struct Connected {
    routes: Vec<(IpNet, Hop)>,
    local: Vec<Address>,
    broadcast: Vec<Address>,
}

impl Connected {
    fn new(interfaces: &[Interface]) -> Self {
        let mut connected = Connected::default();
        connected.broadcast.push(Address::v4([255; 4]));
        for (index, interface) in interfaces.iter().enumerate() {
            let on_link = Hop {
                interface: InterfaceId(index as u16),
                via: None,
            };
            for net in &interface.addresses {
                connected.routes.push((*net, on_link));
                connected.local.push(Address::from(net.addr()));
                if let IpNet::V4(n) = net {
                    if n.prefix_len() < 31 {
                        let broadcast = Address::v4(n.broadcast().octets());
                        connected.broadcast.push(broadcast);
                    }
                }
            }
            let is_v6 = |net: &IpNet| matches!(net, IpNet::V6(_));
            if interface.addresses.iter().any(is_v6) {
                connected.local.push(link_local(interface.mac));
            }
        }
        connected
    }
}

impl Default for Fib {
    fn default() -> Self {
        Fib::new(Vec::new(), &[])
    }
}

impl Fib {
    /// Builds the table; connected prefixes come from the interfaces' addresses.
    pub fn new(interfaces: Vec<Interface>, routes: &[(IpNet, Hop)]) -> Self {
        let connected = Connected::new(&interfaces);
        let mut hops = vec![None];
        let mut places: HashMap<Hop, u32> = HashMap::new();
        // By length: a longer prefix is laid over a shorter one. A later route replaces an earlier one.
        let mut prefixes: BTreeMap<(u32, Range), u32> = BTreeMap::new();
        for (net, hop) in connected.routes.iter().chain(routes) {
            let place = *places.entry(*hop).or_insert_with(|| {
                hops.push(Some(*hop));
                let interface = interfaces.get(usize::from(hop.interface.0));
                let protected = interface.is_some_and(|i| i.side == Side::Protected);
                (hops.len() as u32 - 1) | if protected { PROTECTED } else { 0 }
            });
            prefixes.insert(mapped(net), place);
        }
        // An IPv6 prefix around the mapped addresses says nothing of IPv4; its 0.0.0.0/0 is the next longer one.
        let v4 = (Address::v4([0; 4]), Address::v4([255; 4]));
        prefixes.entry((96, v4)).or_insert(0);

        let single = |address: &Address| (*address, *address);
        let stations = connected.local.iter().chain(&connected.broadcast);
        let ranges = prefixes.keys().map(|(_, range)| *range);
        let intervals = AddressIntervals::new(ranges.chain(stations.map(single)));
        let mut places = vec![0; intervals.count() as usize];
        for ((_, (first, last)), place) in &prefixes {
            let (first, last) = (intervals.rank(*first), intervals.rank(*last));
            if let Some(covered) = places.get_mut(first as usize..=last as usize) {
                covered.fill(*place);
            }
        }
        let mut mark = |addresses: &[Address], bit: u32| {
            for address in addresses {
                if let Some(place) = places.get_mut(intervals.rank(*address) as usize) {
                    *place |= bit;
                }
            }
        };
        mark(&connected.local, LOCAL);
        mark(&connected.broadcast, BROADCAST);
        Fib {
            interfaces: interfaces.into(),
            places: places.into(),
            hops: hops.into(),
            intervals,
        }
    }

    /// All that is known of an address, in one lookup.
    #[inline(always)]
    pub fn destination(&self, address: Address) -> Destination<'_> {
        let rank = self.intervals.rank(address) as usize;
        let place = self.places.get(rank).copied().unwrap_or_default();
        let hop = (place & !(LOCAL | BROADCAST | PROTECTED)) as usize;
        Destination {
            local: place & LOCAL != 0,
            broadcast: place & BROADCAST != 0,
            protected: place & PROTECTED != 0,
            hop: self.hops.get(hop).and_then(Option::as_ref),
        }
    }

    /// Longest-prefix match.
    #[inline]
    pub fn route(&self, destination: Address) -> Option<Hop> {
        self.destination(destination).hop.copied()
    }

    /// An interface.
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(usize::from(id.0))
    }

    /// All interfaces, in order of their ids.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// One of our own addresses.
    #[inline]
    pub fn is_local(&self, address: Address) -> bool {
        self.destination(address).local
    }

    /// Limited or directed broadcast.
    #[inline]
    pub fn is_broadcast(&self, address: Address) -> bool {
        self.destination(address).broadcast
    }

    /// Source address for a packet that this gateway sends out of `interface` to a destination of that family:
    /// the interface's own, else the first one we have.
    pub fn source_address(&self, interface: InterfaceId, v4: bool) -> Option<Address> {
        let of = |i: &Interface| {
            i.addresses
                .iter()
                .map(|n| Address::from(n.addr()))
                .find(|a| a.is_v4() == v4)
        };
        self.interface(interface)
            .and_then(of)
            .or_else(|| self.interfaces.iter().find_map(of))
    }
}

/// The IPv6 link-local address of a station (RFC 4291 appendix A).
pub fn link_local(mac: [u8; 6]) -> Address {
    let [a, b, c, d, e, f] = mac;
    let [g, h, i, j, k, l, m, n] = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Address::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, g, h, i, j, k, l, m, n])
}

/// Known neighbours.
#[derive(Debug, Default)]
pub struct Neighbors(pub HashMap<(InterfaceId, Address), [u8; 6], Seeded>);

/// Builds hashers for addresses: faster than the standard library's, and with a seed of the system's, so that
/// nobody can choose addresses that collide.
#[derive(Clone, Copy, Debug)]
pub struct Seeded([u64; 2]);

impl Default for Seeded {
    fn default() -> Self {
        let system = RandomState::new();
        Seeded([system.hash_one(0), system.hash_one(1)])
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folded;

    #[inline]
    fn build_hasher(&self) -> Folded {
        Folded {
            state: self.0[0],
            key: self.0[1] | 1,
        }
    }
}

/// Multiplies and folds, word by word.
#[derive(Clone, Copy, Debug)]
pub struct Folded {
    state: u64,
    key: u64,
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut()
                .zip(chunk)
                .for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.key);
        self.state =
            (product as u64 ^ (product >> 64) as u64).wrapping_add(self.key.rotate_left(32));
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.write_u64((word >> 64) as u64);
        self.write_u64(word as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}
