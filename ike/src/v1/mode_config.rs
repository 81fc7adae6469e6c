//! Mode config (draft-dukes-ike-mode-cfg-02): the addresses of road warriors.
//!
//! ```text
//! Client                                            Server
//! REQUEST(IP4_ADDRESS="" IP4_DNS="" ..)        -->                                       (pull)
//!                                              <--  REPLY(IP4_ADDRESS=10.64.0.1 IP4_DNS=10.1.0.53 ..)
//!
//!                                              <--  SET(IP4_ADDRESS=10.64.0.1 ..)        (push)
//! ACKNOWLEDGE(IP4_ADDRESS="" ..)               -->
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use portcullis_config::{AddressPool, Connection, ModeConfig};

use crate::core::Core;
use crate::v1::ike_sa::{IkeSa, State as IkeState};
use crate::v1::quick_mode;
use crate::v1::transaction::{self, bytes};
use crate::v1::xauth::{Admission, TIME};
use crate::wire::attribute::{Attribute, Value};
use crate::wire::configuration::{Configuration, Type, mode_config as kinds};
use crate::{CloseReason, Error, Local, PeerMisbehaved, Time};

/// What we can tell.
const SUPPORTED: [u16; 14] = [
    kinds::IP4_ADDRESS,
    kinds::IP4_NETMASK,
    kinds::IP4_DNS,
    kinds::IP4_NBNS,
    kinds::ADDRESS_EXPIRY,
    kinds::APPLICATION_VERSION,
    kinds::IP6_ADDRESS,
    kinds::IP6_DNS,
    kinds::IP4_SUBNET,
    kinds::SUPPORTED_ATTRIBUTES,
    kinds::IP6_SUBNET,
    kinds::UNITY_BANNER,
    kinds::UNITY_DEF_DOMAIN,
    kinds::UNITY_SPLIT_INCLUDE,
];
/// What is pushed, in this order.
const PUSHED: [u16; 10] = [
    kinds::IP4_ADDRESS,
    kinds::IP4_NETMASK,
    kinds::IP6_ADDRESS,
    kinds::ADDRESS_EXPIRY,
    kinds::IP4_DNS,
    kinds::IP4_NBNS,
    kinds::IP6_DNS,
    kinds::IP4_SUBNET,
    kinds::UNITY_DEF_DOMAIN,
    kinds::UNITY_SPLIT_INCLUDE,
];
/// What is asked for.
const ASKED: [u16; 2] = [kinds::IP4_ADDRESS, kinds::IP4_NETMASK];
/// The version is none of the peer's business.
const VERSION: &[u8] = b"Portcullis";

/// The user is admitted, or none had to be: an address comes next, or phase 2 may begin.
pub(super) fn begin(sa: &mut IkeSa, core: &mut Core, now: Time) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    match &connection.remote_access.mode_config {
        Some(ModeConfig::Ask) => ask(sa, core, now, &connection),
        Some(ModeConfig::Give { pool, push: true }) => {
            // What we begin is for the address that is leased with this.
            sa.stand(core, now);
            push(sa, core, now, pool)?;
            quick_mode::initiate_queued(sa, core, now);
            Ok(())
        }
        Some(ModeConfig::Give { push: false, .. }) | None => {
            sa.ready(core, now);
            Ok(())
        }
    }
}

/// Client: asks for an address. One that is renewed asks for the same.
fn ask(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    connection: &Arc<Connection>,
) -> Result<(), Error> {
    sa.half_open_until = Some(now + TIME);
    sa.state = IkeState::Admission(Admission::AwaitAddress);
    let mut children = core.children.of_connection(&connection.name);
    let ours = children.find_map(|child| {
        let range = child.selector.local.first()?;
        (range.start == range.end).then_some(range.start)
    });
    drop(children);
    let known = match ours {
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        _ => Vec::new(),
    };
    let value = |kind: u16| match kind {
        kinds::IP4_ADDRESS => known.clone(),
        _ => Vec::new(),
    };
    let request = Configuration {
        kind: Type::Request,
        identifier: u16::from_be_bytes(core.random()),
        attributes: ASKED.map(|kind| bytes(kind, &value(kind))).into(),
    };
    transaction::begin(sa, core, now, &request)
}

/// Server: tells without being asked.
fn push(sa: &mut IkeSa, core: &mut Core, now: Time, pool: &AddressPool) -> Result<(), Error> {
    let mut attributes = Vec::new();
    for kind in PUSHED {
        let asked = bytes(kind, &[]);
        tell(sa, core, now, (pool, &asked), &mut attributes);
    }
    let set = Configuration {
        kind: Type::Set,
        identifier: u16::from_be_bytes(core.random()),
        attributes,
    };
    transaction::begin(sa, core, now, &set)
}

/// An answer came: the client has its address. The acknowledgement of a push says nothing more.
pub(super) fn answered(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    answer: &Configuration,
) -> Result<(), Error> {
    match sa.state {
        IkeState::Admission(Admission::AwaitAddress) if answer.kind == Type::Reply => {
            take(sa, answer).ok_or(PeerMisbehaved::NoAddress)?;
            sa.ready(core, now);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Client: the address in a REPLY or a SET.
fn take(sa: &mut IkeSa, told: &Configuration) -> Option<()> {
    let address: [u8; 4] = told.bytes(kinds::IP4_ADDRESS)?.try_into().ok()?;
    sa.addresses = vec![Ipv4Addr::from(address).into()];
    Some(())
}

/// What to answer to the peer's message; `None`: nothing, for it has no place yet.
pub(super) fn asked(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    question: &Configuration,
) -> Option<Vec<Attribute>> {
    let connection = sa.connection.clone()?;
    match (question.kind, &connection.remote_access.mode_config) {
        (Type::Request, Some(ModeConfig::Give { pool, .. })) if sa.is_established() => {
            let mut attributes = Vec::new();
            for asked in &question.attributes {
                tell(sa, core, now, (pool, asked), &mut attributes);
            }
            Some(attributes)
        }
        // A REPLY is always sent, even an empty one (draft-dukes-ike-mode-cfg-02 2).
        (Type::Request, _) if sa.is_established() => Some(Vec::new()),
        // Whoever pushes need not be asked: an address that we have asked for comes with the REPLY.
        (Type::Set, Some(ModeConfig::Ask)) if sa.is_established() || awaits_address(sa) => {
            take(sa, question)?;
            let accepted = question.attribute(kinds::IP4_ADDRESS)?.kind;
            Some(vec![bytes(accepted, &[])])
        }
        (Type::Set, _) if sa.is_established() => Some(Vec::new()),
        _ => None,
    }
}

fn awaits_address(sa: &IkeSa) -> bool {
    matches!(sa.state, IkeState::Admission(Admission::AwaitAddress))
}

/// What we have of one thing that is asked for.
fn tell(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (pool, asked): (&AddressPool, &Attribute),
    told: &mut Vec<Attribute>,
) {
    let kind = asked.kind;
    // One address of a family is enough, however many are asked for; so is one of each list.
    if told.iter().any(|attribute| attribute.kind == kind) {
        return;
    }
    let mut say = |value: &[u8]| told.push(bytes(kind, value));
    match kind {
        kinds::IP4_ADDRESS | kinds::IP6_ADDRESS => {
            if let Some(address) = lease(sa, core, now, (pool, asked)) {
                say(&octets(address));
            }
        }
        kinds::IP4_NETMASK => say(&pool.netmask.octets()),
        kinds::IP4_DNS => v4(&pool.dns).for_each(|dns| say(&dns.octets())),
        kinds::IP6_DNS => v6(&pool.dns).for_each(|dns| say(&dns.octets())),
        kinds::IP4_NBNS => pool.nbns.iter().for_each(|nbns| say(&nbns.octets())),
        kinds::ADDRESS_EXPIRY => {
            // 3.4: until the ISAKMP SA expires.
            let left = sa.expiry.map_or(0, |end| end.saturating_sub(now).as_secs());
            say(&u32::try_from(left).unwrap_or(u32::MAX).to_be_bytes());
        }
        kinds::APPLICATION_VERSION => say(VERSION),
        kinds::IP4_SUBNET => {
            for net in &pool.split_include {
                say(&[net.network().octets(), net.netmask().octets()].concat());
            }
        }
        kinds::SUPPORTED_ATTRIBUTES => say(&SUPPORTED.map(u16::to_be_bytes).concat()),
        kinds::UNITY_BANNER => pool.banner.iter().for_each(|text| say(text.as_bytes())),
        kinds::UNITY_DEF_DOMAIN => pool.domain.iter().for_each(|text| say(text.as_bytes())),
        kinds::UNITY_SPLIT_INCLUDE => {
            // One attribute for all: address, netmask, and six bytes that are protocol and ports, of each.
            let nets = pool.split_include.iter().map(|net| {
                let ends = [net.network().octets(), net.netmask().octets()].concat();
                [ends, vec![0; 6]].concat()
            });
            let all = nets.collect::<Vec<_>>().concat();
            if !all.is_empty() {
                say(&all);
            }
        }
        _ => {}
    }
}

/// Leases an address of the family that is asked for.
fn lease(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (pool, asked): (&AddressPool, &Attribute),
) -> Option<IpAddr> {
    let peer = sa.peer_id.clone()?;
    let wanted = match &asked.value {
        Value::Variable(bytes) => &bytes[..],
        Value::Basic(_) => &[],
    };
    let leased = match asked.kind {
        kinds::IP4_ADDRESS => {
            let wanted = wanted.try_into().ok().map(|octets: [u8; 4]| octets.into());
            core.leases.take_v4(pool, &peer, wanted).map(IpAddr::V4)
        }
        _ => {
            // Some add the length of a prefix.
            let wanted = wanted
                .first_chunk()
                .map(|octets: &[u8; 16]| (*octets).into());
            core.leases.take_v6(pool, &peer, wanted).map(IpAddr::V6)
        }
    };
    match leased {
        Some(address) if !sa.addresses.contains(&address) => sa.addresses.push(address),
        Some(_) => {}
        None if has_family(pool, asked.kind == kinds::IP4_ADDRESS) => {
            core.counters.pool_exhausted += 1;
            let reason = CloseReason::Error(Local::PoolExhausted.into());
            let names = (sa.connection_name(), None);
            core.fail(now, sa.path.remote, names, reason, Vec::new());
        }
        None => {}
    }
    leased
}

fn has_family(pool: &AddressPool, v4: bool) -> bool {
    pool.ranges.iter().any(|range| range.start.is_ipv4() == v4)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn v4(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn v6(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv6Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    })
}
