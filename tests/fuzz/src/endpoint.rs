//! Bytes to what two endpoints live through: datagrams of strangers and of an attacker on the path, commands, time.
//!
//! The input is how both are configured, then a program: an operation, its argument, a length, that many bytes, and so on.
//! Whatever the program: nothing panics, what nobody has authenticated leaves all that stands as it is, half-open IKE SAs
//! stay within their bounds, and when both have ended nothing is left.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_config::{
    AddressPool, Connection, Dpd, DpdAction, Group, ModeConfig, Phase1Exchange, RemoteAddress,
};
use portcullis_ike::show::{ChildSnapshot, IkeSnapshot};
use portcullis_ike::{Command, Settings};

use crate::harness::{Pair, STRANGER, Weather, gateways, range};

/// RFC 2408 3.1: offsets in the header, and its length.
const EXCHANGE_TYPE: usize = 18;
const LENGTH: usize = 24;
const HEADER: usize = 28;
/// Far fewer than usual, so that the bounds are reached.
const HALF_OPEN: (usize, usize) = (3, 6);
const STEPS: usize = 48;
/// A phase 1 that nobody finishes, and all repetitions, are over by then.
const LONG: Duration = Duration::from_secs(400);

/// One step of a program.
struct Step<'a> {
    operation: u8,
    argument: u8,
    bytes: &'a [u8],
}

fn steps(mut data: &[u8]) -> impl Iterator<Item = Step<'_>> {
    std::iter::from_fn(move || {
        let &[operation, argument, length, ref rest @ ..] = data else {
            return None;
        };
        let (bytes, rest) = rest.split_at(usize::from(length).min(rest.len()));
        data = rest;
        Some(Step {
            operation,
            argument,
            bytes,
        })
    })
}

/// Both ends, as the bits of the first byte say.
fn pair(kind: u8) -> Pair {
    let mut connections = gateways();
    for connection in &mut connections {
        if kind & 1 != 0 {
            connection.exchange = Phase1Exchange::Aggressive;
        }
        if kind & 2 != 0 {
            connection.children[0].pfs = Some(Group::X25519);
        }
        if kind & 8 != 0 {
            connection.fragment_size = Some(576);
            connection.dpd = Some(Dpd {
                delay: 5,
                on_traffic_only: false,
                action: DpdAction::Restart,
            });
        }
    }
    if kind & 4 != 0 {
        with_mode_config(&mut connections);
    }
    let settings = Settings {
        half_open_per_source: HALF_OPEN.0,
        half_open_total: HALF_OPEN.1,
        commit: kind & 16 != 0,
        ..Settings::default()
    };
    let mut pair = Pair::with(7, connections, settings);
    if kind & 32 != 0 {
        pair.nat = Some(SocketAddr::from(([203, 0, 113, 1], 10_000)));
    }
    pair
}

/// The first asks the second for an address.
fn with_mode_config([asks, gives]: &mut [Connection; 2]) {
    asks.remote_access.mode_config = Some(ModeConfig::Ask);
    gives.remote = RemoteAddress::Any;
    gives.remote_access.mode_config = Some(ModeConfig::Give {
        pool: Arc::new(AddressPool {
            name: "few".to_owned(),
            ranges: vec![range("10.1.0.10", "10.1.0.12")],
            netmask: Ipv4Addr::BROADCAST,
            dns: Vec::new(),
            nbns: Vec::new(),
            split_include: Vec::new(),
            domain: None,
            banner: None,
        }),
        push: false,
    });
}

/// Bytes that change others: where, and what to.
fn change(message: &mut Vec<u8>, changes: &[u8]) {
    for change in changes.chunks_exact(3) {
        let at = usize::from(change[0]) | usize::from(change[1] & 0x3f) << 8;
        match change[1] >> 6 {
            0 | 1 if !message.is_empty() => {
                let at = at % message.len();
                message[at] = change[2];
            }
            2 => message.truncate(at % (message.len() + 1)),
            _ => message.extend(std::iter::repeat_n(change[2], at % 64)),
        }
    }
}

/// Makes the length field true, or nobody reads on.
fn fit(message: &mut [u8]) {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    if let Some(field) = message.get_mut(LENGTH..HEADER) {
        field.copy_from_slice(&length);
    }
}

/// All that stands, of one end.
fn standing(pair: &Pair, end: usize) -> (Vec<IkeSnapshot>, Vec<ChildSnapshot>) {
    let mut all = pair.ends[end].endpoint.snapshot();
    all.ikes.retain(|ike| ike.state == "established");
    (all.ikes, all.children)
}

/// Where the other end is, as this one sees it.
fn peer_of(pair: &Pair, end: usize) -> SocketAddr {
    match pair.nat {
        Some(nat) if end == 1 => SocketAddr::new(nat.ip(), nat.port() + 500),
        _ => pair.ends[1 - end].address,
    }
}

/// What somebody without keys sends.
fn forged(pair: &mut Pair, to: usize, stranger: bool, bytes: &[u8]) {
    let before = standing(pair, to);
    let local = pair.ends[to].address;
    let remote = match stranger {
        true => SocketAddr::from((STRANGER, 500)),
        false => peer_of(pair, to),
    };
    pair.deliver(to, local, remote, bytes);
    assert_eq!(before, standing(pair, to), "unauthenticated, and believed");
}

/// A message of this exchange under the cookies of one that was sent, whatever its payloads.
fn under_known_cookies(pair: &Pair, argument: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    let (first, body) = bytes.split_first()?;
    let index = usize::from(argument >> 1) % pair.log.len().max(1);
    let mut message = pair.log.get(index)?.1.get(..HEADER)?.to_vec();
    let [next, exchange, flags] = [first & 0x1f, first >> 5, argument & 1];
    message[16] = next;
    message[EXCHANGE_TYPE] = [2, 4, 5, 6, 32, 33, 0, 255][usize::from(exchange)];
    message[EXCHANGE_TYPE + 1] = flags;
    message.extend(body);
    fit(&mut message);
    Some(message)
}

fn command(pair: &mut Pair, end: usize, argument: u8, bytes: &[u8]) {
    let connection = "peer".to_owned();
    let number = usize::from(bytes.first().copied().unwrap_or(0));
    let children: Vec<_> = pair.ends[end].installed.inbound.keys().copied().collect();
    let child = children.get(number % children.len().max(1)).copied();
    let command = match (argument >> 1, child) {
        (0, _) => Command::Initiate {
            connection,
            child: None,
        },
        (1, _) => Command::Terminate { connection },
        (2, _) => Command::Restart,
        (3, _) => Command::RekeyIke { connection },
        (4, Some(child)) => Command::SoftExpired(child),
        (5, Some(child)) => Command::HardExpired(child),
        (6, Some(child)) => Command::Moved {
            child,
            remote: SocketAddr::from((STRANGER, 4500)),
        },
        (7, _) => Command::UnknownSpi {
            protocol: 50,
            spi: 0x1000 + number as u32,
            remote: pair.ends[1 - end].address.ip(),
        },
        (8, _) => Command::Acquire {
            connection,
            child: "lan".to_owned(),
            local: [10, 1 + end as u8, 0, 10].into(),
            remote: [10, 2 - end as u8, 0, 10].into(),
        },
        _ => {
            pair.traffic();
            return;
        }
    };
    pair.command(end, command);
}

fn run(
    pair: &mut Pair,
    Step {
        operation,
        argument,
        bytes,
    }: &Step<'_>,
) {
    let (argument, end) = (*argument, usize::from(argument & 1));
    match operation % 8 {
        0 => forged(pair, end, argument & 2 != 0, bytes),
        1 => {
            if let Some(message) = under_known_cookies(pair, argument, bytes) {
                forged(pair, end, false, &message);
            }
        }
        // Changed or not, once more: what had been lost may be welcome.
        2 => {
            let index = usize::from(argument) % pair.log.len().max(1);
            if let Some((from, message)) = pair.log.get(index).cloned() {
                let mut message = message;
                change(&mut message, bytes);
                let (to, local) = (1 - from, pair.ends[1 - from].address);
                let remote = peer_of(pair, to);
                pair.deliver(to, local, remote, &message);
            }
        }
        // The next message of this end is changed on its way.
        3 => {
            let changes = bytes.to_vec();
            let mut once = true;
            pair.tamper = Some(Box::new(move |from, message| {
                let mut message = message.to_vec();
                if std::mem::take(&mut once) && from == end {
                    change(&mut message, &changes);
                    fit(&mut message);
                }
                vec![message]
            }));
            pair.run(Duration::from_millis(50));
            pair.tamper = None;
        }
        4 => pair.run(Duration::from_millis(u64::from(argument) << 2)),
        5 => pair.run(Duration::from_secs(u64::from(argument))),
        6 => {
            pair.weather = Weather {
                loss: u64::from(argument % 4) * 20,
                duplication: u64::from(argument >> 2 & 3) * 30,
                delay: (1, 1 + u64::from(argument >> 4) * 40),
            }
        }
        _ => command(pair, end, argument, bytes),
    }
}

/// Half-open IKE SAs that peers have begun, of one end.
fn half_open(pair: &Pair, end: usize) -> usize {
    let ikes = pair.ends[end].endpoint.snapshot().ikes;
    let responding = ikes.iter().filter(|ike| !ike.initiator);
    responding.filter(|ike| ike.established.is_none()).count()
}

/// What two endpoints live through.
pub fn endpoint(data: &[u8]) {
    let Some((kind, program)) = data.split_first() else {
        return;
    };
    let mut pair = pair(*kind);
    for step in steps(program).take(STEPS) {
        run(&mut pair, &step);
        assert!((0..2).all(|end| half_open(&pair, end) <= HALF_OPEN.1));
    }
    // Both end: nothing is left of any of it.
    pair.weather = Weather::default();
    for end in 0..2 {
        pair.command(end, Command::Configure(Vec::new()));
    }
    pair.run(LONG);
    pair.no_leak();
    for end in &pair.ends {
        let left = end.endpoint.snapshot();
        assert!(left.ikes.is_empty() && left.children.is_empty(), "{left:?}");
        assert_eq!(end.reserved.load(Ordering::Relaxed), 0);
        assert_eq!(end.endpoint.poll_timeout(), None);
    }
}
