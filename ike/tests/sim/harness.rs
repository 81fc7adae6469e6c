//! Two endpoints on a virtual clock, with a network between them that loses, doubles, delays and reorders by a seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use portcullis_config::{
    AddressRange, AeadIcv, AesKey, Authentication, ChildPolicy, ChildProposal, Cipher, Connection,
    Direction, Group, Identity, IkeCipher, IkeHash, IkeProposal, Limits, Mode, NatTraversal,
    Phase1Exchange, RemoteAccess, RemoteAddress, SaConfig, Secret, Selector, Start, Transform,
    UpperLayer,
};
use portcullis_ike::{
    AddSa, ChildId, Command, Datagram, Endpoint, Event, RandomSource, Settings, SpiSource, Time,
    Work,
};

/// Random numbers from a seed (splitmix64): the same seed gives the same run.
#[derive(Clone)]
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True in so many of 100 cases.
    pub(crate) fn percent(&mut self, part: u64) -> bool {
        self.below(100) < part
    }
}

impl RandomSource for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next() as u8;
        }
    }
}

/// SPIs in turn, and how many are out.
struct Spis {
    next: u32,
    out: Arc<AtomicU32>,
    exhausted: Arc<AtomicBool>,
}

impl SpiSource for Spis {
    fn reserve(&mut self, _protocol: u8, _destination: IpAddr) -> Option<u32> {
        if self.exhausted.load(Ordering::Relaxed) {
            return None;
        }
        self.next += 1;
        self.out.fetch_add(1, Ordering::Relaxed);
        Some(self.next)
    }

    fn release(&mut self, _spi: u32) {
        self.out.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an endpoint's data plane holds.
#[derive(Default)]
pub(crate) struct Installed {
    pub(crate) inbound: BTreeMap<ChildId, Vec<SaConfig>>,
    pub(crate) outbound: BTreeMap<ChildId, Vec<SaConfig>>,
    /// The child that sends now.
    pub(crate) current: Option<ChildId>,
}

/// One end.
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) events: Vec<Event>,
    pub(crate) installed: Installed,
    pub(crate) reserved: Arc<AtomicU32>,
    /// Without SPIs it refuses whatever quick mode asks for.
    pub(crate) exhausted: Arc<AtomicBool>,
    /// It has no time for work: what there is waits.
    pub(crate) is_busy: bool,
    /// Packets received and sent, by child.
    counts: HashMap<ChildId, (u64, u64)>,
    random: Seeded,
}

impl End {
    fn new(address: &str, seed: u64, settings: Settings) -> Self {
        let reserved = Arc::new(AtomicU32::new(0));
        let exhausted = Arc::new(AtomicBool::new(false));
        let spis = Spis {
            next: 0x1000 + (seed as u32 & 0xff) * 0x10000,
            out: reserved.clone(),
            exhausted: exhausted.clone(),
        };
        End {
            endpoint: Endpoint::new(settings, Box::new(Seeded(seed)), Box::new(spis)),
            address: address.parse().unwrap(),
            events: Vec::new(),
            installed: Installed::default(),
            reserved,
            exhausted,
            is_busy: false,
            counts: HashMap::new(),
            random: Seeded(!seed),
        }
    }

    fn take(&mut self, event: Event) {
        match &event {
            Event::AddSa(add) => self.add(add),
            Event::RemoveSa { child, .. } => self.remove(*child),
            _ => {}
        }
        self.events.push(event);
    }

    fn add(&mut self, add: &AddSa) {
        let installed = &mut self.installed;
        match add.direction {
            Direction::Inbound => {
                let old = installed.inbound.insert(add.child, add.sas.clone());
                assert!(old.is_none(), "{:?} is installed twice", add.child);
            }
            Direction::Outbound => {
                assert!(installed.inbound.contains_key(&add.child));
                let old = installed.outbound.insert(add.child, add.sas.clone());
                assert!(old.is_none(), "{:?} is installed twice", add.child);
                installed.current = Some(add.child);
            }
        }
    }

    fn remove(&mut self, child: ChildId) {
        let inbound = self.installed.inbound.remove(&child);
        let sas = inbound.unwrap();
        self.reserved.fetch_sub(sas.len() as u32, Ordering::Relaxed);
        self.installed.outbound.remove(&child);
        if self.installed.current == Some(child) {
            self.installed.current = self.installed.outbound.keys().next_back().copied();
        }
    }

    fn next_work(&mut self) -> Option<Work> {
        match self.is_busy {
            true => None,
            false => self.endpoint.poll_work(),
        }
    }

    /// How many phase 1 stand.
    pub(crate) fn established(&self) -> usize {
        let snapshot = self.endpoint.snapshot();
        let ikes = snapshot.ikes.iter();
        ikes.filter(|ike| ike.state == "established").count()
    }

    pub(crate) fn failures(&self) -> usize {
        let failed = |event: &&Event| matches!(event, Event::Failed(_));
        self.events.iter().filter(failed).count()
    }
}

/// What the network does to datagrams, in percent, and their delay in milliseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) delay: (u64, u64),
}

/// The time of day, in January 2027.
const CALENDAR: u64 = 1_800_000_000;

/// What becomes of a datagram of an end.
pub(crate) type Tamper = Box<dyn FnMut(usize, &[u8]) -> Vec<Vec<u8>>>;

struct InFlight {
    to: usize,
    local: SocketAddr,
    remote: SocketAddr,
    bytes: Vec<u8>,
}

/// Somebody who only sends: what is for them goes nowhere.
pub(crate) const STRANGER: [u8; 4] = [192, 0, 2, 99];

/// Both ends and the network between them.
pub(crate) struct Pair {
    pub(crate) now: Time,
    pub(crate) ends: [End; 2],
    pub(crate) weather: Weather,
    network: Seeded,
    flying: BTreeMap<(Time, u64), InFlight>,
    sent: u64,
    /// Changes what is sent: an attacker on the path, or a peer that lies.
    pub(crate) tamper: Option<Tamper>,
    /// A NAT in front of the first end gives it this address.
    pub(crate) nat: Option<SocketAddr>,
    /// Everything that was sent, by sender.
    pub(crate) log: Vec<(usize, Vec<u8>)>,
}

impl Pair {
    pub(crate) fn new(seed: u64, connections: [Connection; 2]) -> Self {
        Pair::with(seed, connections, Settings::default())
    }

    pub(crate) fn with(seed: u64, [a, b]: [Connection; 2], settings: Settings) -> Self {
        let ends = [
            End::new("192.0.2.1:500", seed * 2 + 1, settings.clone()),
            End::new("192.0.2.2:500", seed * 2 + 2, settings),
        ];
        let mut pair = Pair {
            now: Duration::from_secs(1),
            ends,
            weather: Weather {
                delay: (5, 5),
                ..Weather::default()
            },
            network: Seeded(seed ^ 0x5eed),
            flying: BTreeMap::new(),
            sent: 0,
            tamper: None,
            nat: None,
            log: Vec::new(),
        };
        for (end, connection) in [a, b].into_iter().enumerate() {
            pair.ends[end].endpoint.set_calendar(CALENDAR);
            pair.command(end, Command::Configure(vec![Arc::new(connection)]));
        }
        pair
    }

    pub(crate) fn command(&mut self, end: usize, command: Command) {
        let now = self.now;
        self.ends[end].endpoint.handle_command(now, command);
        self.drain(end);
    }

    pub(crate) fn initiate(&mut self, end: usize) {
        let command = Command::Initiate {
            connection: "peer".to_owned(),
            child: None,
        };
        self.command(end, command);
    }

    /// Takes all that an endpoint has to say.
    fn drain(&mut self, from: usize) {
        loop {
            let mut more = false;
            while let Some(event) = self.ends[from].endpoint.poll_event() {
                self.ends[from].take(event);
                more = true;
            }
            while let Some(work) = self.ends[from].next_work() {
                let done = work.run(&mut self.ends[from].random, CALENDAR);
                let now = self.now;
                self.ends[from].endpoint.handle_work_done(now, done);
                more = true;
            }
            while let Some(transmit) = self.ends[from].endpoint.poll_transmit() {
                self.log.push((from, transmit.bytes.clone()));
                self.send(from, transmit.local, transmit.remote, &transmit.bytes);
                more = true;
            }
            if !more {
                return;
            }
        }
    }

    fn send(&mut self, from: usize, mut local: SocketAddr, mut remote: SocketAddr, bytes: &[u8]) {
        // Behind its NAT the first end is nowhere else.
        let hidden = from == 1 && self.nat.is_some_and(|nat| nat.ip() != remote.ip());
        if hidden || remote.ip() == IpAddr::from(STRANGER) {
            return;
        }
        // The NAT keeps the port's difference, so that both of its ports lead back.
        if let Some(nat) = self.nat {
            if from == 0 {
                local = SocketAddr::new(nat.ip(), nat.port() + local.port() % 1000);
            } else {
                let port = (remote.port() - nat.port()) % 1000;
                let port = if port == 500 && remote.port() == nat.port() + 500 {
                    if local.port() == 4500 { 4500 } else { 500 }
                } else {
                    port
                };
                remote = SocketAddr::new(self.ends[0].address.ip(), port);
            }
        }
        let variants = match &mut self.tamper {
            Some(tamper) => tamper(from, bytes),
            None => vec![bytes.to_vec()],
        };
        for bytes in variants {
            let copies = 1 + u64::from(self.network.percent(self.weather.duplication));
            for _ in 0..copies {
                if self.network.percent(self.weather.loss) {
                    continue;
                }
                let (least, most) = self.weather.delay;
                let delay = least + self.network.below(most - least + 1);
                let at = self.now + Duration::from_millis(delay);
                self.sent += 1;
                let flying = InFlight {
                    to: 1 - from,
                    local: remote,
                    remote: local,
                    bytes: bytes.clone(),
                };
                self.flying.insert((at, self.sent), flying);
            }
        }
    }

    /// Delivers a datagram that nobody here has sent.
    pub(crate) fn inject(&mut self, to: usize, bytes: &[u8]) {
        let (local, remote) = (self.ends[to].address, self.ends[1 - to].address);
        self.deliver(to, local, remote, bytes);
    }

    pub(crate) fn deliver(
        &mut self,
        to: usize,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) {
        let datagram = Datagram {
            local,
            remote,
            bytes,
        };
        let now = self.now;
        self.ends[to].endpoint.handle_datagram(now, datagram);
        self.drain(to);
    }

    /// The next thing that happens, if it is not later than `until`.
    fn step(&mut self, until: Time) -> bool {
        let flying = self.flying.first_key_value().map(|((at, _), _)| *at);
        let timers = self.ends.each_ref().map(|end| end.endpoint.poll_timeout());
        let next = timers.into_iter().flatten().chain(flying).min();
        let Some(next) = next.filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        if flying == Some(next) {
            let (_, flying) = self.flying.pop_first().unwrap();
            self.deliver(flying.to, flying.local, flying.remote, &flying.bytes);
            return true;
        }
        for (end, at) in timers.into_iter().enumerate() {
            if at == Some(next) {
                let now = self.now;
                self.ends[end].endpoint.handle_timeout(now);
                self.drain(end);
            }
        }
        true
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
            assert!(steps < 100_000, "it never comes to rest");
        }
    }

    /// Each end sends a packet with its current child. Tells for each whether it arrived.
    pub(crate) fn traffic(&mut self) -> [bool; 2] {
        [0, 1].map(|end| {
            let installed = &self.ends[end].installed;
            let Some(current) = installed.current else {
                return false;
            };
            let spi = installed.outbound[&current].last().unwrap().spi;
            let inbound = self.ends[1 - end].installed.inbound.iter();
            let mut found = inbound.filter(|(_, sas)| sas.last().unwrap().spi == spi);
            let Some(child) = found.next().map(|(child, _)| *child) else {
                let command = Command::UnknownSpi {
                    protocol: 50,
                    spi,
                    remote: self.ends[end].address.ip(),
                };
                self.command(1 - end, command);
                return false;
            };
            self.ends[1 - end].counts.entry(child).or_default().0 += 1;
            self.ends[end].counts.entry(current).or_default().1 += 1;
            for (end, child) in [(end, current), (1 - end, child)] {
                let (received, sent) = self.ends[end].counts[&child];
                let command = Command::Traffic {
                    child,
                    received,
                    sent,
                };
                self.command(end, command);
            }
            true
        })
    }

    /// Checks that what one end sends with the other receives with, key by key; gives the number of children.
    pub(crate) fn agreed(&self) -> usize {
        let [a, b] = self.ends.each_ref().map(|end| &end.installed);
        for (out, back) in [(a, b), (b, a)] {
            let Some(current) = out.current else {
                continue;
            };
            for sa in &out.outbound[&current] {
                let peers = back.inbound.values().flatten();
                let peer = peers.clone().find(|p| p.spi == sa.spi);
                let peer = peer.unwrap_or_else(|| panic!("nobody receives {:#x}", sa.spi));
                assert_eq!(peer.transform, sa.transform);
                assert_eq!(peer.cipher_key, sa.cipher_key);
                assert_eq!(peer.integrity_key, sa.integrity_key);
                assert_eq!((peer.mode, peer.esn), (sa.mode, sa.esn));
            }
        }
        assert_eq!(a.inbound.len(), b.inbound.len());
        a.inbound.len()
    }

    /// Checks that no SPI is lost and none is used twice.
    pub(crate) fn no_leak(&self) {
        for end in &self.ends {
            let sas = end.installed.inbound.values().flatten();
            let spis: Vec<u32> = sas.map(|sa| sa.spi).collect();
            let reserved = end.reserved.load(Ordering::Relaxed) as usize;
            assert_eq!(reserved, spis.len(), "SPIs are lost");
            let different: BTreeSet<_> = spis.iter().collect();
            assert_eq!(different.len(), spis.len());
            let known: HashMap<_, _> = end
                .endpoint
                .snapshot()
                .children
                .into_iter()
                .map(|c| (c.id, c))
                .collect();
            let installed: BTreeSet<_> = end.installed.inbound.keys().copied().collect();
            assert_eq!(known.keys().copied().collect::<BTreeSet<_>>(), installed);
        }
    }
}

pub(crate) fn range(start: &str, end: &str) -> AddressRange {
    AddressRange {
        start: start.parse().unwrap(),
        end: end.parse().unwrap(),
    }
}

pub(crate) const AES_128_GCM: ChildProposal = ChildProposal {
    esp: Some(Transform::Esp(
        Cipher::AesGcm(AesKey::Aes128, AeadIcv::Icv16),
        None,
    )),
    ah: None,
    esn: false,
};

fn child(lans: [&str; 2]) -> ChildPolicy {
    let lan = |prefix: &str| vec![range(&format!("{prefix}.0"), &format!("{prefix}.255"))];
    ChildPolicy {
        name: "lan".to_owned(),
        mode: Mode::Tunnel,
        selector: Selector {
            local: lan(lans[0]),
            remote: lan(lans[1]),
            upper: UpperLayer::Any,
        },
        proposals: vec![AES_128_GCM],
        pfs: None,
        soft: Limits::default(),
        hard: Limits {
            seconds: Some(3600),
            ..Limits::default()
        },
        replay_window: Some(64),
        idle: None,
    }
}

fn connection(hosts: [&str; 2], names: [&str; 2], lans: [&str; 2]) -> Connection {
    Connection {
        name: "peer".to_owned(),
        exchange: Phase1Exchange::Main,
        local: Some(hosts[0].parse().unwrap()),
        remote: RemoteAddress::Host(hosts[1].parse().unwrap()),
        local_id: Identity::Fqdn(names[0].to_owned()),
        remote_id: Some(Identity::Fqdn(names[1].to_owned())),
        remote_access: RemoteAccess::default(),
        authentication: Authentication::PreSharedKey(Secret::new(b"secret of both".to_vec())),
        further: Vec::new(),
        ike_proposals: vec![IkeProposal {
            cipher: IkeCipher::AesCbc(AesKey::Aes256),
            hash: IkeHash::Sha2_256,
            group: Group::X25519,
        }],
        ike_lifetime: 28800,
        ike_kilobytes: None,
        quick_modes: None,
        dpd: None,
        nat_traversal: NatTraversal::Detect,
        fragment_size: None,
        start: Start::Manual,
        children: vec![child(lans)],
    }
}

/// Connections of two gateways that fit together.
pub(crate) fn gateways() -> [Connection; 2] {
    let (a, b) = ("192.0.2.1", "192.0.2.2");
    [
        connection([a, b], ["a.test", "b.test"], ["10.1.0", "10.2.0"]),
        connection([b, a], ["b.test", "a.test"], ["10.2.0", "10.1.0"]),
    ]
}
