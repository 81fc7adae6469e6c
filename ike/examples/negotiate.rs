//! Negotiates with a real peer over UDP sockets and prints what comes of it: IKE without a data path.
//!
//! ```text
//! negotiate LOCAL REMOTE LOCAL-ID REMOTE-ID LOCAL-LAN REMOTE-LAN SECRET [WORD..]
//! ```
//!
//! Words: `initiate`, `aggressive`, `pfs`, `force` (NAT traversal), `transport`, `esn`, `ah`, `rekey` (both phases, after
//! two seconds), `certificates=DIR` (with `own.der`, `own.key` in PKCS#8 and `root.der`), `terminate` (after six), `keys`, `fragment`, `dpd`, `weak` (a group that nobody shares).
//! It ends after ten seconds, or as many as `seconds=N` says.
// It is for trying things out: what is wrong ends it.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis_config::{
    AddressRange, AeadIcv, AesKey, Authentication, ChildPolicy, ChildProposal, Cipher, Connection,
    Credentials, Direction, Dpd, DpdAction, Group, Identity, IkeCipher, IkeHash, IkeProposal,
    Integrity, Limits, Mode, NatTraversal, Phase1Exchange, RemoteAccess, RemoteAddress, Revocation,
    Secret, Selector, Start, Transform, UpperLayer,
};
use portcullis_ike::{
    ChildId, Command, Datagram, Endpoint, Event, RandomSource, Settings, SpiSource,
};

struct Urandom(File);

impl RandomSource for Urandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).expect("/dev/urandom");
    }
}

fn urandom() -> Urandom {
    Urandom(File::open("/dev/urandom").expect("/dev/urandom"))
}

struct Spis(Urandom);

impl SpiSource for Spis {
    fn reserve(&mut self, _protocol: u8, _destination: IpAddr) -> Option<u32> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Some(u32::from_be_bytes(bytes) | 0x100)
    }

    fn release(&mut self, _spi: u32) {}
}

fn lan(text: &str) -> Vec<AddressRange> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    vec![AddressRange {
        start: start.parse().expect("LAN"),
        end: end.parse().expect("LAN"),
    }]
}

fn connection(args: &[String], words: &[String]) -> Connection {
    let [
        local,
        remote,
        local_id,
        remote_id,
        local_lan,
        remote_lan,
        secret,
    ] = args
    else {
        panic!("seven arguments");
    };
    let has = |word: &str| words.iter().any(|w| w == word);
    Connection {
        name: "peer".to_owned(),
        exchange: match has("aggressive") {
            true => Phase1Exchange::Aggressive,
            false => Phase1Exchange::Main,
        },
        local: Some(local.parse().expect("LOCAL")),
        remote: RemoteAddress::Host(remote.parse().expect("REMOTE")),
        local_id: Identity::Fqdn(local_id.clone()),
        remote_id: Some(Identity::Fqdn(remote_id.clone())),
        remote_access: RemoteAccess::default(),
        authentication: authentication(secret, words),
        further: Vec::new(),
        ike_proposals: vec![IkeProposal {
            cipher: IkeCipher::AesCbc(AesKey::Aes128),
            hash: IkeHash::Sha2_256,
            group: match has("weak") {
                true => Group::Modp1024,
                false => Group::Modp2048,
            },
        }],
        ike_lifetime: 3600,
        ike_kilobytes: None,
        quick_modes: None,
        dpd: has("dpd").then_some(Dpd {
            delay: 2,
            on_traffic_only: false,
            action: DpdAction::Clear,
        }),
        nat_traversal: match has("force") {
            true => NatTraversal::Force,
            false => NatTraversal::Detect,
        },
        fragment_size: has("fragment").then_some(300),
        start: Start::Manual,
        children: vec![child((local_lan, remote_lan), words)],
    }
}

fn child((local_lan, remote_lan): (&str, &str), words: &[String]) -> ChildPolicy {
    let has = |word: &str| words.iter().any(|w| w == word);
    let esp = Transform::Esp(Cipher::AesGcm(AesKey::Aes128, AeadIcv::Icv16), None);
    let cbc = Transform::Esp(
        Cipher::AesCbc(AesKey::Aes128),
        Some(Integrity::HmacSha2_256_128),
    );
    let proposal = |esp| ChildProposal {
        esp: Some(esp).filter(|_| !has("ah")),
        ah: has("ah").then_some(Integrity::HmacSha2_256_128),
        esn: has("esn"),
    };
    ChildPolicy {
        name: "lan".to_owned(),
        mode: match has("transport") {
            true => Mode::Transport,
            false => Mode::Tunnel,
        },
        selector: Selector {
            local: lan(local_lan),
            remote: lan(remote_lan),
            upper: UpperLayer::Any,
        },
        proposals: vec![proposal(esp), proposal(cbc)],
        pfs: has("pfs").then_some(Group::Modp2048),
        soft: Limits::default(),
        hard: Limits {
            seconds: Some(1200),
            ..Limits::default()
        },
        replay_window: Some(64),
        idle: None,
    }
}

fn authentication(secret: &str, words: &[String]) -> Authentication {
    let directory = words.iter().find_map(|w| w.strip_prefix("certificates="));
    let Some(directory) = directory else {
        return Authentication::PreSharedKey(Secret::new(secret.to_owned().into_bytes()));
    };
    let read = |name: &str| std::fs::read(format!("{directory}/{name}")).expect("certificates");
    Authentication::Certificates(Credentials {
        chain: vec![read("own.der")],
        private_key: Secret::new(read("own.key")),
        roots: vec![read("root.der")],
        crls: Vec::new(),
        revocation: Revocation::Off,
        name_roots: true,
    })
}

fn show(event: &Event, begin: Instant, installed: &mut Vec<ChildId>) {
    let at = begin.elapsed().as_millis();
    match event {
        Event::AddSa(add) => {
            if add.direction == Direction::Outbound {
                installed.push(add.child);
            }
            let spis: Vec<_> = add.sas.iter().map(|sa| format!("{:08x}", sa.spi)).collect();
            let (child, direction, replaces) = (add.child, add.direction, add.replaces);
            println!("{at} add {child:?} {direction:?} {spis:?} replaces {replaces:?}");
        }
        Event::KeyLog {
            initiator_cookie,
            encryption_key,
        } => {
            let hex =
                |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
            let (cookie, key) = (hex(initiator_cookie), hex(encryption_key.expose()));
            println!("key {cookie},{key}");
        }
        Event::RemoveSa { child, .. } => {
            installed.retain(|c| c != child);
            println!("{at} {event:?}");
        }
        other => println!("{at} {other:?}"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (fixed, words) = args.split_at(7);
    let has = |word: &str| words.iter().any(|w| w == word);
    let connection = connection(fixed, words);
    let local = connection.local.expect("LOCAL");
    let sockets = [500, 4500].map(|port| {
        let socket = UdpSocket::bind((local, port)).expect("bind");
        let wait = Some(Duration::from_millis(5));
        socket.set_read_timeout(wait).expect("timeout");
        socket
    });
    let settings = Settings {
        key_log: has("keys"),
        ..Settings::default()
    };
    let mut endpoint = Endpoint::new(settings, Box::new(urandom()), Box::new(Spis(urandom())));
    let begin = Instant::now();
    let mut installed = Vec::new();
    endpoint.handle_command(
        begin.elapsed(),
        Command::Configure(vec![Arc::new(connection)]),
    );
    let peer = || "peer".to_owned();
    let mut plan = Vec::new();
    if has("initiate") {
        plan.push((0, 'i'));
    }
    if has("rekey") {
        plan.extend([(2, 'c'), (3, 'k')]);
    }
    if has("terminate") {
        plan.push((6, 't'));
    }
    let seconds = words.iter().find_map(|w| w.strip_prefix("seconds="));
    let seconds = seconds.map_or(10, |s| s.parse().expect("seconds"));
    while begin.elapsed() < Duration::from_secs(seconds) {
        if let Some((_, what)) = plan
            .first()
            .filter(|(at, _)| begin.elapsed().as_secs() >= *at)
        {
            let command = match what {
                'i' => Command::Initiate {
                    connection: peer(),
                    child: None,
                },
                'k' => Command::RekeyIke { connection: peer() },
                't' => Command::Terminate { connection: peer() },
                _ => Command::SoftExpired(*installed.last().expect("a child")),
            };
            endpoint.handle_command(begin.elapsed(), command);
            plan.remove(0);
        }
        for socket in &sockets {
            let mut bytes = [0; 65535];
            if let Ok((length, remote)) = socket.recv_from(&mut bytes) {
                let local: SocketAddr = socket.local_addr().expect("address");
                let bytes = &bytes[..length];
                endpoint.handle_datagram(
                    begin.elapsed(),
                    Datagram {
                        local,
                        remote,
                        bytes,
                    },
                );
            }
        }
        endpoint.handle_timeout(begin.elapsed());
        drain(&mut endpoint, &sockets, begin, &mut installed);
    }
    for ike in endpoint.snapshot().ikes {
        println!(
            "ike {} {:?} nat {:?} {}",
            ike.state, ike.remote_id, ike.nat, ike.remote
        );
    }
    for child in endpoint.snapshot().children {
        println!("child {} {:x?} udp {}", child.state, child.sas, child.udp);
    }
    println!("{:?}", endpoint.snapshot().counters);
}

fn drain(
    endpoint: &mut Endpoint,
    sockets: &[UdpSocket; 2],
    begin: Instant,
    installed: &mut Vec<ChildId>,
) {
    loop {
        let mut more = false;
        while let Some(event) = endpoint.poll_event() {
            show(&event, begin, installed);
            more = true;
        }
        while let Some(work) = endpoint.poll_work() {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
            let done = work.run(&mut urandom(), unix.as_secs());
            endpoint.handle_work_done(begin.elapsed(), done);
            more = true;
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            let socket = &sockets[usize::from(transmit.local.port() == 4500)];
            let _ = socket.send_to(&transmit.bytes, transmit.remote);
            more = true;
        }
        if !more {
            return;
        }
    }
}
