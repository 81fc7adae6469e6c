//! Quick mode's initiator.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_config::{ChildPolicy, Connection, Mode, ModeConfig, Selector};

use super::{Agreement, Bodies, Offer, QuickMode, State, install, not_to_be, release};
use crate::core::{Core, Path, Request};
use crate::crypto::dh::KeyPair;
use crate::peer_id::PeerId;
use crate::proposal::ipsec::{Policy, Spis};
use crate::proposal::lifetime::{self, Lifetime};
use crate::traffic::{self, Wanted};
use crate::v1::ike_sa::{IkeSa, Role};
use crate::v1::message::{COMMIT, Incoming};
use crate::v1::phase1::{self, Both};
use crate::wire::notification::Notification;
use crate::wire::payload::kind;
use crate::wire::security_association::SecurityAssociation;
use crate::wire::vendor_id::NatTraversalVersion;
use crate::wire::{Payloads, nat_original_address, protocol};
use crate::work::{Agreed, Job};
use crate::{CloseReason, Error, InvalidMessage, Local, PeerMisbehaved, Time};

/// Quick modes that we have open at once: a peer may not take more, and what is not taken is repeated.
const OPEN: usize = 24;

/// Begins a quick mode, now or when there are not so many others.
pub(crate) fn initiate(sa: &mut IkeSa, core: &mut Core, now: Time, wanted: Wanted) {
    sa.queue.push_back(wanted);
    initiate_queued(sa, core, now);
}

/// Begins the quick modes whose turn it is.
pub(crate) fn initiate_queued(sa: &mut IkeSa, core: &mut Core, now: Time) {
    while sa.is_established() && sa.exchanges.count_open() < OPEN {
        let Some(wanted) = sa.queue.pop_front() else {
            return;
        };
        // Requirement 122: beyond the connection's limit it is for another phase 1 with the same peer.
        match (sa.connection.clone(), sa.peer_id.clone()) {
            (Some(connection), Some(peer)) if !sa.has_quick_mode_left() => {
                let peer = wanted.peer.clone().or(Some((peer, sa.path)));
                let wanted = Box::new(Wanted { peer, ..wanted });
                core.requests
                    .push_back(Request::Negotiate(connection, wanted));
            }
            _ => initiate_now(sa, core, now, wanted),
        }
    }
}

/// Begins a quick mode; a failure is reported.
fn initiate_now(sa: &mut IkeSa, core: &mut Core, now: Time, wanted: Wanted) {
    if let Err(error) = begin(sa, core, now, &wanted) {
        let names = (sa.connection_name(), Some(wanted.child.as_str()));
        let reason = CloseReason::Error(error);
        not_to_be(sa, core, now, wanted.replaces, &reason);
        core.fail(now, sa.path.remote, names, reason, Vec::new());
    }
}

fn begin(sa: &mut IkeSa, core: &mut Core, now: Time, wanted: &Wanted) -> Result<(), Error> {
    // SAs of one peer are not for another, who may have come from the same address.
    let is_other = |(peer, _): &(PeerId, Path)| sa.peer_id.as_ref() != Some(peer);
    if wanted.peer.as_ref().is_some_and(is_other) {
        return Err(Local::OnlyPeer.into());
    }
    let wanted = &to_leased_address(sa, core, from_our_address(sa, wanted)?)?;
    let message_id = core.message_id();
    let iv = sa.keys()?.exchange_iv(message_id);
    let (policy, spis, identities) = prepare(sa, core, wanted)?;
    sa.take_message_id(message_id);
    sa.quick_modes += 1;
    let group = policy.pfs;
    let offer = Offer {
        wanted: wanted.clone(),
        policy,
        spis,
        nonce: phase1::nonce(core),
        identities,
    };
    let mut quick_mode = QuickMode::new(message_id, iv, State::Failed);
    match group {
        Some(group) => {
            quick_mode.state = State::MakingKeyPair(offer);
            core.work(sa.id, message_id, Job::KeyPair(group));
        }
        None => {
            let sent = self::offer(&mut quick_mode, sa, core, now, (offer, None));
            sent.inspect_err(|_| release(core, spis))?;
        }
    }
    sa.exchanges.insert(message_id, quick_mode);
    Ok(())
}

/// Where mode config has given us an address, it is our side of the traffic.
fn from_our_address(sa: &IkeSa, wanted: &Wanted) -> Result<Wanted, Error> {
    let mut wanted = wanted.clone();
    let access = sa.connection.as_ref().map(|c| &c.remote_access);
    let asks = access.is_some_and(|a| matches!(a.mode_config, Some(ModeConfig::Ask)));
    if let Some(address) = sa.addresses.first().filter(|_| asks) {
        let ours = traffic::host(*address);
        let whole = Selector {
            local: vec![ours],
            ..wanted.selector.clone()
        };
        if !traffic::contains(&wanted.selector, &whole) {
            return Err(Local::Selector.into());
        }
        wanted.selector = whole;
    }
    Ok(wanted)
}

/// Where mode config has given the peer an address, it is the peer's side of the traffic, and no other is.
fn to_leased_address(sa: &IkeSa, core: &Core, mut wanted: Wanted) -> Result<Wanted, Error> {
    let (connection, peer) = match (&sa.connection, &sa.peer_id) {
        (Some(connection), Some(peer)) => (connection, peer),
        _ => return Ok(wanted),
    };
    let policy = child_policy(connection, &wanted.child).ok_or(Local::NotConfigured)?;
    let pool = connection.remote_access.pool();
    let Some(pool) = pool.filter(|_| policy.mode == Mode::Tunnel) else {
        return Ok(wanted);
    };
    let leases = core.leases.of(pool, peer).into_iter();
    let mut theirs = leases.map(|lease| Selector {
        remote: vec![traffic::host(lease)],
        ..wanted.selector.clone()
    });
    let theirs = theirs.find(|theirs| traffic::contains(&wanted.selector, theirs));
    wanted.selector = theirs.ok_or(Local::Selector)?;
    Ok(wanted)
}

type Prepared = (ChildPolicy, Spis, (Vec<u8>, Vec<u8>));

fn prepare(sa: &IkeSa, core: &mut Core, wanted: &Wanted) -> Result<Prepared, Error> {
    let connection = sa.connection.as_ref().ok_or(Local::NotConfigured)?;
    let policy = child_policy(connection, &wanted.child).ok_or(Local::NotConfigured)?;
    let (local, remote) = traffic::identities(wanted.said()).ok_or(Local::Selector)?;
    let (esp, ah) = proposals(sa, &policy).protocols();
    let spis = reserve(core, sa.path.local.ip(), (esp, ah))?;
    Ok((policy, spis, (local.encode(), remote.encode())))
}

fn child_policy(connection: &Arc<Connection>, name: &str) -> Option<ChildPolicy> {
    let mut children = connection.children.iter();
    children.find(|child| child.name == name).cloned()
}

/// What the child allows, as this phase 1 has it.
pub(super) fn proposals<'a>(sa: &IkeSa, policy: &'a ChildPolicy) -> Policy<'a> {
    Policy {
        proposals: &policy.proposals,
        mode: policy.mode,
        udp: sa.nat.udp,
        pfs: policy.pfs,
        hard: policy.hard,
    }
}

/// SPIs for our inbound SAs: the data plane chooses them (requirement 55).
pub(super) fn reserve(
    core: &mut Core,
    local: IpAddr,
    (esp, ah): (bool, bool),
) -> Result<Spis, Error> {
    let mut take = |wanted: bool, protocol: u8| match wanted {
        true => core.spis.reserve(protocol, local).map(Some),
        false => Some(None),
    };
    let esp = take(esp, 50).ok_or(Local::NoSpi)?;
    match take(ah, 51) {
        Some(ah) => Ok(Spis { esp, ah }),
        None => {
            release(core, Spis { esp, ah: None });
            Err(Local::NoSpi.into())
        }
    }
}

/// Message 1.
pub(super) fn offer(
    quick_mode: &mut QuickMode,
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (offer, pair): (Offer, Option<KeyPair>),
) -> Result<(), Error> {
    let proposals = proposals(sa, &offer.policy).offer(offer.spis);
    let mut bodies: Bodies = vec![
        (kind::SA, proposals.encode()),
        (kind::NONCE, offer.nonce.clone()),
    ];
    if let Some(pair) = &pair {
        bodies.push((kind::KEY_EXCHANGE, pair.public().to_vec()));
    }
    bodies.push((kind::IDENTIFICATION, offer.identities.0.clone()));
    bodies.push((kind::IDENTIFICATION, offer.identities.1.clone()));
    original_addresses(sa, (Role::Initiator, offer.policy.mode), &mut bodies);
    let id = quick_mode.message_id;
    let message = quick_mode.seal(sa, 0, &bodies, |sa, rest| {
        Ok(sa.keys()?.skeyid.hash_1(id, rest))
    })?;
    quick_mode.state = State::AwaitAnswer { offer, pair };
    sa.send(core, &message);
    let first = core.settings.retransmit;
    quick_mode.retransmission.sent(message, now, first);
    Ok(())
}

/// Behind a NAT, transport mode's checksums need the addresses that each end sees: both of them, the initiator's first
/// (RFC 3947 5.2); by the drafts each end says its own alone (draft-ietf-ipsec-nat-t-ike-03 5.2).
pub(super) fn original_addresses(sa: &IkeSa, (role, mode): (Role, Mode), bodies: &mut Bodies) {
    let (Some(version), Mode::Transport) = (sa.nat.udp, mode) else {
        return;
    };
    let (local, remote) = (sa.path.local.ip(), sa.path.remote.ip());
    let (kind, said) = match (version, role) {
        (NatTraversalVersion::Draft, _) => (kind::NAT_OA_DRAFT, vec![local]),
        (NatTraversalVersion::Rfc3947, Role::Initiator) => (kind::NAT_OA, vec![local, remote]),
        (NatTraversalVersion::Rfc3947, Role::Responder) => (kind::NAT_OA, vec![remote, local]),
    };
    bodies.extend(
        said.into_iter()
            .map(|ip| (kind, nat_original_address::encode(ip))),
    );
}

/// What the peer says of them: its own address as it sees it, and ours. Drafts have the former only, so that ours is
/// not known behind a NAT; some say both all the same.
pub(super) fn read_original_addresses(
    sa: &IkeSa,
    role: Role,
    payloads: &Payloads<'_>,
) -> Result<Option<(IpAddr, IpAddr)>, InvalidMessage> {
    let (local, remote) = (sa.path.local.ip(), sa.path.remote.ip());
    let (kind, is_draft) = match sa.nat.udp {
        Some(NatTraversalVersion::Rfc3947) => (kind::NAT_OA, false),
        Some(NatTraversalVersion::Draft) => (kind::NAT_OA_DRAFT, true),
        None => return Ok(None),
    };
    let mut told = payloads.all(kind).map(nat_original_address::parse);
    let (first, second) = (told.next().transpose()?, told.next().transpose()?);
    let pair = match (first, second, role) {
        (own, None, _) if is_draft && !sa.nat.ours => {
            // Who is not behind a NAT need not say it.
            let own = own.or(Some(remote).filter(|_| !sa.nat.theirs));
            own.map(|own| (own, local))
        }
        (Some(ours), Some(own), Role::Initiator) => Some((own, ours)),
        (Some(own), Some(ours), Role::Responder) => Some((own, ours)),
        _ => None,
    };
    let same_family = |(own, ours): &(IpAddr, IpAddr)| {
        own.is_ipv4() == remote.is_ipv4() && ours.is_ipv4() == local.is_ipv4()
    };
    Ok(pair.filter(same_family))
}

/// Message 2: what the responder chose.
pub(super) fn receive_answer(
    quick_mode: &mut QuickMode,
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let State::AwaitAnswer { offer, .. } = &quick_mode.state else {
        return Ok(());
    };
    let (id, nonce) = (quick_mode.message_id, offer.nonce.clone());
    let body = quick_mode.open(sa, core, now, incoming, |sa, rest| {
        Ok(sa.keys()?.skeyid.hash_2(id, &nonce, rest))
    })?;
    // From here on the message is authentic: what is wrong with it ends the exchange.
    let State::AwaitAnswer { offer, pair } = quick_mode.take() else {
        return Ok(());
    };
    let commit = incoming.header.flags & COMMIT != 0;
    let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
    sa.hear_lifetime(core, &payloads);
    match read_answer(sa, &offer, &payloads, pair.is_some(), commit) {
        Ok((agreement, public)) => {
            release(core, without(offer.spis, agreement.spis));
            let exchange = pair.zip(public);
            match exchange {
                Some((pair, peer)) => {
                    quick_mode.state = State::Agreeing(agreement);
                    core.work(sa.id, id, Job::Agree { pair, peer });
                    Ok(())
                }
                None => install(quick_mode, sa, core, now, (agreement, None)),
            }
        }
        Err(error) => {
            quick_mode.state = State::AwaitAnswer { offer, pair };
            let failed = std::mem::replace(
                quick_mode,
                QuickMode::new(id, quick_mode.iv.clone(), State::Failed),
            );
            quick_mode.until = Some(now + core.settings.exchange_memory());
            failed.abandon(sa, core, now, CloseReason::Error(error));
            Ok(())
        }
    }
}

/// SPIs that are not needed after all.
fn without(reserved: Spis, used: Spis) -> Spis {
    Spis {
        esp: reserved.esp.filter(|_| used.esp.is_none()),
        ah: reserved.ah.filter(|_| used.ah.is_none()),
    }
}

/// The agreement, and the peer's public value if there is one.
fn read_answer(
    sa: &IkeSa,
    offer: &Offer,
    payloads: &Payloads<'_>,
    pfs: bool,
    commit: bool,
) -> Result<(Agreement, Option<Vec<u8>>), Error> {
    for body in payloads.all(kind::NOTIFICATION) {
        let notification = Notification::parse(body)?;
        if notification.is_error() {
            return Err(Error::PeerRefused(notification.kind));
        }
    }
    let selected = SecurityAssociation::parse(payloads.one(kind::SA)?)?;
    let chosen = proposals(sa, &offer.policy).chosen(&selected)?;
    // Requirement 72: what is not one of our transforms, unchanged, is refused.
    let mut chosen = chosen.ok_or(PeerMisbehaved::ChangedProposal)?;
    chosen.lifetime = chosen
        .lifetime
        .shorter(said_lifetime(sa, payloads, chosen.spis));
    let mut identities = payloads.all(kind::IDENTIFICATION);
    let pair = (identities.next(), identities.next());
    // RFC 2409 5.5: they come back as they were, or not at all if they are the hosts' own.
    let same = match pair {
        (Some(local), Some(remote)) => {
            local == &offer.identities.0[..] && remote == &offer.identities.1[..]
        }
        (None, None) => {
            let hosts = traffic::between(sa.path.local.ip(), sa.path.remote.ip());
            traffic::contains(&hosts, &offer.wanted.selector)
        }
        _ => false,
    };
    if !same {
        return Err(PeerMisbehaved::ChangedIdentities.into());
    }
    let public = match pfs {
        true => Some(phase1::not_empty(payloads.one(kind::KEY_EXCHANGE)?)?),
        false => None,
    };
    let theirs = phase1::read_nonce(payloads)?;
    let spis = Spis {
        esp: offer.spis.esp.filter(|_| chosen.spis.esp.is_some()),
        ah: offer.spis.ah.filter(|_| chosen.spis.ah.is_some()),
    };
    let agreement = Agreement {
        wanted: offer.wanted.clone(),
        policy: offer.policy.clone(),
        chosen,
        spis,
        nonces: Both::new(Role::Initiator, offer.nonce.clone(), theirs),
        original: read_original_addresses(sa, Role::Initiator, payloads)?,
        identities: None,
        commit,
    };
    Ok((agreement, public))
}

/// RESPONDER-LIFETIME of the SAs that are being made: its SPI is that of the sender's, or both cookies (RFC 2407
/// 4.6.3.1).
fn said_lifetime(sa: &IkeSa, payloads: &Payloads<'_>, theirs: Spis) -> Lifetime {
    let cookies = [sa.cookies.initiator, sa.cookies.responder].concat();
    lifetime::of_responder(payloads, |protocol, spi| {
        let theirs = match protocol {
            protocol::ESP => theirs.esp,
            protocol::AH => theirs.ah,
            _ => None,
        };
        theirs.is_some_and(|theirs| spi == theirs.to_be_bytes() || spi == cookies)
    })
}

/// Installs what was agreed on, and sends message 3.
pub(super) fn install(
    quick_mode: &mut QuickMode,
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (agreement, agreed): (Agreement, Option<Agreed>),
) -> Result<(), Error> {
    let (id, commit) = (quick_mode.message_id, agreement.commit);
    let nonces = agreement.nonces.clone();
    let shared = agreed.as_ref().map(|agreed| &agreed.shared);
    let (child, keys) = install::inbound(sa, core, now, (Role::Initiator, agreement), shared)?;
    let message = quick_mode.seal(sa, 0, &Bodies::new(), |sa, _| {
        Ok(sa.keys()?.skeyid.hash_3(id, nonces.nonces()))
    })?;
    sa.send(core, &message);
    if commit {
        let first = core.settings.retransmit;
        quick_mode.state = State::AwaitConnected { child, keys };
        quick_mode.retransmission.sent(message, now, first);
    } else {
        install::complete(core, now, child, keys, true);
        quick_mode.retransmission.answered(message);
        quick_mode.finish(now, core);
        install::count(sa, core, now);
    }
    Ok(())
}

/// The fourth message, in the same exchange.
pub(super) fn receive_connected(
    quick_mode: &mut QuickMode,
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let id = quick_mode.message_id;
    quick_mode.open(sa, core, now, incoming, |sa, rest| {
        Ok(sa.keys()?.skeyid.hash_1(id, rest))
    })?;
    if let State::AwaitConnected { child, keys } = quick_mode.take() {
        install::complete(core, now, child, keys, false);
    }
    quick_mode.finish(now, core);
    install::count(sa, core, now);
    Ok(())
}

/// The peer refuses, in an authentic notification: the negotiation that has this SPI, or the only one there is.
pub(crate) fn refused(sa: &mut IkeSa, core: &mut Core, now: Time, notification: &Notification) {
    let open = sa.exchanges.open();
    let open: Vec<(u32, Spis)> = open
        .filter_map(|(id, q)| q.offer().map(|offer| (id, offer.spis)))
        .collect();
    let spi = <[u8; 4]>::try_from(&notification.spi[..]).map(u32::from_be_bytes);
    let named = open
        .iter()
        .find(|(_, spis)| spi.is_ok_and(|spi| [spis.esp, spis.ah].contains(&Some(spi))));
    let found = match (named, &open[..]) {
        (Some((id, _)), _) | (None, [(id, _)]) => *id,
        _ => return,
    };
    if let Some(quick_mode) = sa.exchanges.remove(found) {
        let error = Error::PeerRefused(notification.kind);
        quick_mode.abandon(sa, core, now, CloseReason::Error(error));
    }
    initiate_queued(sa, core, now);
}
