//! Brings up many tunnels with one responder, each from an address of its own, and says how many a second: a load.
//!
//! ```text
//! tunnels RESPONDER FIRST-ADDRESS COUNT WINDOW GROUP SECRET
//! ```
//!
//! Main mode with a pre-shared key, then quick mode for the address itself; WINDOW tunnels are under way at any time.
//! GROUP is `modp2048`, `ecp256` or `x25519`.
//!
//! To take less time than a responder, it draws its key pairs before the clock starts, and modulo a prime its private
//! keys are short, which spares it most of the power: whoever overhears finds them. The responder is spared nothing.
//! The addresses must be ours (`ip route add local ..`), and port 500 free.
// It is for measuring: what is wrong ends it.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_config::{
    AddressRange, AesKey, Authentication, ChildPolicy, ChildProposal, Cipher, Connection,
    Direction, Group, Identity, IkeCipher, IkeHash, IkeProposal, Integrity, Limits, Mode,
    NatTraversal, Phase1Exchange, RemoteAccess, RemoteAddress, Secret, Selector, Start, Transform,
    UpperLayer,
};
use portcullis_ike::crypto::dh::KeyPair;
use portcullis_ike::{Command, Datagram, Endpoint, Event, RandomSource, Settings, SpiSource};

/// Time without any tunnel after which it gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Waits so long when the responder has not answered anybody: what it computes shows what a tunnel costs.
const NAP: Duration = Duration::from_micros(30);
/// Bytes of a private key modulo a prime.
const SHORT: usize = 4;

struct Urandom(File);

impl RandomSource for Urandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).expect("/dev/urandom");
    }
}

fn urandom() -> Urandom {
    Urandom(File::open("/dev/urandom").expect("/dev/urandom"))
}

/// Each peer has but one SA.
struct Spis(u32);

impl SpiSource for Spis {
    fn reserve(&mut self, _protocol: u8, _destination: IpAddr) -> Option<u32> {
        Some(self.0)
    }

    fn release(&mut self, _spi: u32) {}
}

/// The load, as the command line has it.
struct Load {
    responder: Ipv4Addr,
    first: Ipv4Addr,
    count: u32,
    window: usize,
    group: Group,
    secret: String,
}

impl Load {
    fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let [responder, first, count, window, group, secret] = args.as_slice() else {
            panic!("tunnels RESPONDER FIRST-ADDRESS COUNT WINDOW GROUP SECRET");
        };
        Load {
            responder: responder.parse().expect("RESPONDER"),
            first: first.parse().expect("FIRST-ADDRESS"),
            count: count.parse().expect("COUNT"),
            window: window.parse().expect("WINDOW"),
            group: match group.as_str() {
                "modp2048" => Group::Modp2048,
                "ecp256" => Group::Ecp256,
                "x25519" => Group::X25519,
                other => panic!("no such GROUP: {other}"),
            },
            secret: secret.clone(),
        }
    }

    fn connection(&self, number: u32, address: IpAddr) -> Connection {
        let range = |start: IpAddr, end: IpAddr| vec![AddressRange { start, end }];
        let lan = |host| IpAddr::from(Ipv4Addr::new(10, 1, 0, host));
        Connection {
            name: "load".to_owned(),
            exchange: Phase1Exchange::Main,
            local: Some(address),
            remote: RemoteAddress::Host(self.responder.into()),
            local_id: Identity::UserFqdn(format!("c{number}@lt.test")),
            remote_id: Some(Identity::Fqdn("gw.lt.test".to_owned())),
            remote_access: RemoteAccess::default(),
            authentication: Authentication::PreSharedKey(Secret::new(
                self.secret.clone().into_bytes(),
            )),
            further: Vec::new(),
            ike_proposals: vec![IkeProposal {
                cipher: IkeCipher::AesCbc(AesKey::Aes128),
                hash: IkeHash::Sha2_256,
                group: self.group,
            }],
            ike_lifetime: 3600,
            ike_kilobytes: None,
            quick_modes: None,
            dpd: None,
            nat_traversal: NatTraversal::Detect,
            fragment_size: None,
            start: Start::Manual,
            children: vec![ChildPolicy {
                name: "host".to_owned(),
                mode: Mode::Tunnel,
                selector: Selector {
                    local: range(address, address),
                    remote: range(lan(0), lan(255)),
                    upper: UpperLayer::Any,
                },
                proposals: vec![ChildProposal {
                    esp: Some(Transform::Esp(
                        Cipher::AesCbc(AesKey::Aes128),
                        Some(Integrity::HmacSha2_256_128),
                    )),
                    ah: None,
                    esn: false,
                }],
                pfs: None,
                soft: Limits::default(),
                hard: Limits {
                    seconds: Some(3600),
                    ..Limits::default()
                },
                replay_window: Some(64),
                idle: None,
            }],
        }
    }

    fn pair(&self, random: &mut Urandom) -> KeyPair {
        if self.group != Group::Modp2048 {
            return KeyPair::new(self.group, random).expect("key pair");
        }
        let mut private = vec![0; SHORT];
        random.fill(&mut private);
        // Never 0 or 1.
        private.iter_mut().for_each(|byte| *byte |= 2);
        KeyPair::from_private(self.group, private).expect("key pair")
    }
}

/// One initiator.
struct Peer {
    endpoint: Endpoint,
    socket: UdpSocket,
    local: SocketAddr,
    pair: Option<KeyPair>,
    stands: bool,
}

impl Peer {
    fn new(load: &Load, number: u32, random: &mut Urandom) -> Self {
        let address = IpAddr::from(Ipv4Addr::from_bits(load.first.to_bits() + number));
        let settings = Settings::default();
        let spis = Box::new(Spis(0x1000 + number));
        let mut endpoint = Endpoint::new(settings, Box::new(urandom()), spis);
        let connection = Arc::new(load.connection(number, address));
        endpoint.handle_command(Duration::ZERO, Command::Configure(vec![connection]));
        let local = SocketAddr::from((address, 500));
        let socket = UdpSocket::bind(local).expect("bind");
        socket.set_nonblocking(true).expect("socket");
        socket.connect((load.responder, 500)).expect("connect");
        Peer {
            endpoint,
            socket,
            local,
            pair: Some(load.pair(random)),
            stands: false,
        }
    }

    fn begin(&mut self, now: Duration, random: &mut Urandom) {
        let connection = "load".to_owned();
        let child = None;
        self.endpoint
            .handle_command(now, Command::Initiate { connection, child });
        self.drain(now, random);
    }

    /// Takes what came in, and the time. True if anything came.
    fn turn(&mut self, now: Duration, remote: SocketAddr, random: &mut Urandom) -> bool {
        let (mut bytes, mut came) = ([0; 2048], false);
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let (local, bytes) = (self.local, &bytes[..length]);
            let datagram = Datagram {
                local,
                remote,
                bytes,
            };
            self.endpoint.handle_datagram(now, datagram);
            self.drain(now, random);
            came = true;
        }
        if self.endpoint.poll_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
            self.drain(now, random);
        }
        came
    }

    fn drain(&mut self, now: Duration, random: &mut Urandom) {
        loop {
            let mut more = false;
            while let Some(event) = self.endpoint.poll_event() {
                match event {
                    Event::Failed(failure) => panic!("{}: {failure:?}", self.local),
                    Event::AddSa(add) => self.stands |= add.direction == Direction::Outbound,
                    _ => {}
                }
                more = true;
            }
            while let Some(work) = self.endpoint.poll_work() {
                let done = match self.pair.take() {
                    Some(pair) => work.supply(pair),
                    None => Err(work),
                };
                let done = done.unwrap_or_else(|work| work.run(random, 0));
                self.endpoint.handle_work_done(now, done);
                more = true;
            }
            while let Some(transmit) = self.endpoint.poll_transmit() {
                // What the network loses comes again.
                let _ = self.socket.send(&transmit.bytes);
                more = true;
            }
            if !more {
                return;
            }
        }
    }
}

/// Time that this process has computed.
fn computed() -> Duration {
    let text = fs::read_to_string("/proc/self/schedstat").expect("schedstat");
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(first.expect("nanoseconds"))
}

fn main() {
    let load = Load::from_args();
    let mut random = urandom();
    let remote = SocketAddr::from((load.responder, 500));
    let peers: Vec<_> = (0..load.count)
        .map(|number| Peer::new(&load, number, &mut random))
        .collect();
    let (mut waiting, mut under_way) = (peers.into_iter(), Vec::<Peer>::new());
    // Those that stand keep their sockets: what comes late is not answered by an ICMP error.
    let mut standing: Vec<Peer> = Vec::new();
    let (begin, before) = (Instant::now(), computed());
    let mut last = begin;
    while standing.len() < load.count as usize {
        while under_way.len() < load.window {
            let Some(mut peer) = waiting.next() else {
                break;
            };
            peer.begin(begin.elapsed(), &mut random);
            under_way.push(peer);
        }
        let mut idle = true;
        for number in (0..under_way.len()).rev() {
            idle &= !under_way[number].turn(begin.elapsed(), remote, &mut random);
            if under_way[number].stands {
                standing.push(under_way.swap_remove(number));
                last = Instant::now();
            }
        }
        if idle {
            std::thread::sleep(NAP);
        }
        assert!(last.elapsed() < PATIENCE, "{} stand", standing.len());
    }
    let seconds = begin.elapsed().as_secs_f64();
    let repeated: u64 = standing
        .iter()
        .map(|peer| peer.endpoint.counters().retransmissions_sent)
        .sum();
    println!(
        "{{\"tunnels\": {}, \"seconds\": {seconds:.3}, \"rate\": {:.0}, \"own_ms\": {:.3}, \"repeated\": {repeated}}}",
        standing.len(),
        standing.len() as f64 / seconds,
        (computed() - before).as_secs_f64() * 1e3 / standing.len() as f64,
    );
}
