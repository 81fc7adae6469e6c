//! Quick mode's responder.

use portcullis_config::{AddressPool, ChildPolicy, Mode, Selector};

use super::initiator::{original_addresses, proposals, read_original_addresses, reserve};
use super::{Agreement, Bodies, QuickMode, State, give_up, initiate_queued, install, not_to_be};
use crate::child::ChildState;
use crate::core::Core;
use crate::proposal::ipsec::{self, Chosen};
use crate::proposal::lifetime::{LEAST_OF_PHASE_2, PHASE_2};
use crate::show::Mismatch;
use crate::traffic::{self, Wanted};
use crate::v1::ike_sa::{IkeSa, Role};
use crate::v1::informational;
use crate::v1::message::{COMMIT, Incoming};
use crate::v1::phase1::{self, Both};
use crate::wire::identification::Identification;
use crate::wire::notification::{Notification, notify};
use crate::wire::payload::kind;
use crate::wire::security_association::SecurityAssociation;
use crate::wire::{Payloads, protocol};
use crate::work::{Agreed, Job};
use crate::{ChildId, CloseReason, Error, InvalidMessage, PeerIncompatible, Time};

/// Quick modes that one peer may have open at once.
const OPEN: usize = 64;

/// Message 1.
pub(super) fn begin(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let id = incoming.header.message_id;
    if id == 0 || sa.seen.contains(&id) || sa.exchanges.count_open() >= OPEN {
        return Ok(());
    }
    let iv = sa.keys()?.exchange_iv(id);
    let mut quick_mode = QuickMode::new(id, iv, State::Failed);
    let body = quick_mode.open(sa, core, now, incoming, |sa, rest| {
        Ok(sa.keys()?.skeyid.hash_1(id, rest))
    })?;
    // From here on the message is authentic.
    sa.take_message_id(id);
    let payloads = Payloads::parse(incoming.header.next_payload, &body)?;
    let asked = incoming.header.flags & COMMIT != 0;
    let commit = asked || sa.peer.windows || core.settings.commit;
    let Goes::On { instead_of } = collide(sa, core, now, &payloads)? else {
        sa.forget_message_id(id);
        return Ok(());
    };
    let result = read_offer(sa, core, &payloads, commit);
    let replaces = result.as_ref().ok();
    let replaces = replaces.and_then(|(agreement, _)| agreement.wanted.replaces);
    let result = result.and_then(|(agreement, peer)| match peer {
        Some((group, peer)) => {
            quick_mode.state = State::Agreeing(agreement);
            core.work(sa.id, id, Job::KeyExchange { group, peer });
            Ok(())
        }
        None => answer(&mut quick_mode, sa, core, now, (agreement, None))
            .map_err(|error| (error, Vec::new())),
    });
    match result {
        Ok(()) => {
            sa.quick_modes += 1;
            sa.exchanges.insert(id, quick_mode);
            // Theirs may take over from another child than ours was to.
            if let Some(ours) = instead_of.filter(|ours| ours.replaces != replaces) {
                give_up(core, now, &ours);
            }
        }
        Err((error, mismatches)) => {
            if let Some(ours) = instead_of {
                let reason = CloseReason::Error(error.clone());
                not_to_be(sa, core, now, ours.replaces, &reason);
            }
            refuse(sa, core, now, &payloads, (error, mismatches));
        }
    }
    Ok(())
}

/// What becomes of the peer's offer.
enum Goes {
    /// It is taken, perhaps instead of one of ours.
    On { instead_of: Option<Box<Wanted>> },
    /// It waits until it is repeated.
    Later,
}

/// Both ends may offer the same at once. The offer with the lower nonce gives way, so that one comes to be: ours is
/// given up, or theirs waits until it is repeated, which is after ours.
fn collide(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    payloads: &Payloads<'_>,
) -> Result<Goes, Error> {
    let theirs = phase1::read_nonce(payloads)?;
    let (asked, _) = read_traffic(sa, payloads)?;
    let mut exchanges = sa.exchanges.open();
    let rival = exchanges.find(|(_, ours)| ours.wants(|wanted| *wanted.said() == asked));
    let Some((id, rival)) = rival else {
        return Ok(Goes::On { instead_of: None });
    };
    // Without an offer that is open, the peer has answered ours.
    if rival.offer().is_none_or(|offer| offer.nonce > theirs) {
        return Ok(Goes::Later);
    }
    drop(exchanges);
    let mut instead_of = None;
    if let Some(mut ours) = sa.exchanges.remove(id) {
        instead_of = ours.give_way(core, now).map(Box::new);
        sa.exchanges.insert(id, ours);
    }
    Ok(Goes::On { instead_of })
}

/// Says why, to the peer and to the operator.
fn refuse(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    payloads: &Payloads<'_>,
    (error, mismatches): (Error, Vec<Mismatch>),
) {
    let spi = payloads
        .one(kind::SA)
        .and_then(SecurityAssociation::parse)
        .ok()
        .and_then(|sa| sa.proposals.into_iter().next());
    let (protocol, spi) = spi.map_or((protocol::ESP, Vec::new()), |p| (p.protocol, p.spi));
    let notification = Notification {
        protocol,
        spi,
        kind: error.notification(),
        data: Vec::new(),
    };
    informational::notify(sa, core, &notification);
    let names = (sa.connection_name(), None);
    let reason = CloseReason::Error(error);
    core.fail(now, sa.path.remote, names, reason, mismatches);
}

/// Bodies of IDci and IDcr.
type Identities = (Vec<u8>, Vec<u8>);
type Refused = (Error, Vec<Mismatch>);
type Peer = Option<(portcullis_config::Group, Vec<u8>)>;

fn read_offer(
    sa: &IkeSa,
    core: &mut Core,
    payloads: &Payloads<'_>,
    commit: bool,
) -> Result<(Agreement, Peer), Refused> {
    let plain = |error: Error| (error, Vec::new());
    let invalid = |error: InvalidMessage| (Error::from(error), Vec::new());
    let body = payloads.one(kind::SA).map_err(invalid)?;
    let offered = SecurityAssociation::parse(body).map_err(invalid)?;
    let theirs = phase1::read_nonce(payloads).map_err(invalid)?;
    let (asked, bodies) = read_traffic(sa, payloads).map_err(plain)?;
    let original = read_original_addresses(sa, Role::Responder, payloads).map_err(invalid)?;
    let (policy, chosen, selector) = choose(sa, core, &asked, &offered)?;
    let said = Some(asked).filter(|asked| *asked != selector && policy.mode == Mode::Tunnel);
    let peer = match policy.pfs {
        Some(group) => {
            let value = payloads.one(kind::KEY_EXCHANGE).map_err(invalid)?;
            Some((group, phase1::not_empty(value).map_err(invalid)?))
        }
        None => None,
    };
    let protocols = (chosen.spis.esp.is_some(), chosen.spis.ah.is_some());
    let spis = reserve(core, sa.path.local.ip(), protocols).map_err(plain)?;
    let wanted = Wanted {
        child: policy.name.clone(),
        replaces: predecessor(sa, core, &policy.name, &selector),
        peer: None,
        at: None,
        said,
        selector,
    };
    let agreement = Agreement {
        wanted,
        policy,
        chosen,
        spis,
        nonces: Both::new(Role::Responder, phase1::nonce(core), theirs),
        original,
        identities: Some(bodies),
        commit,
    };
    Ok((agreement, peer))
}

/// The traffic, and the bodies to repeat; without identities it is all between the two hosts.
fn read_traffic(sa: &IkeSa, payloads: &Payloads<'_>) -> Result<(Selector, Identities), Error> {
    let mut bodies = payloads.all(kind::IDENTIFICATION);
    match (bodies.next(), bodies.next(), bodies.next()) {
        (None, None, None) => {
            let hosts = traffic::between(sa.path.local.ip(), sa.path.remote.ip());
            Ok((hosts, (Vec::new(), Vec::new())))
        }
        (Some(remote), Some(local), None) => {
            let selector = traffic::selector(
                &Identification::parse(local)?,
                &Identification::parse(remote)?,
            )?;
            Ok((selector, (remote.to_vec(), local.to_vec())))
        }
        _ => Err(InvalidMessage::Identification.into()),
    }
}

/// The first child of the connection that has this traffic and a proposal in common.
fn choose(
    sa: &IkeSa,
    core: &Core,
    asked: &Selector,
    offered: &SecurityAssociation,
) -> Result<(ChildPolicy, Chosen, Selector), Refused> {
    let plain = |error: Error| (error, Vec::new());
    let connection = sa.connection.as_ref();
    let connection = connection.ok_or_else(|| plain(crate::Local::NotConfigured.into()))?;
    let mut mismatches = Vec::new();
    let mut found = false;
    for policy in &connection.children {
        let selector = match (policy.mode, connection.remote_access.pool()) {
            (Mode::Tunnel, Some(pool)) => leased(sa, core, (pool, policy), asked).map_err(plain)?,
            (mode, _) => effective(sa, mode, asked.clone()),
        };
        if !traffic::contains(&policy.selector, &selector) {
            continue;
        }
        found = true;
        match proposals(sa, policy).choose(offered) {
            Ok(Ok(chosen)) => return Ok((policy.clone(), chosen, selector)),
            Ok(Err(differences)) => mismatches.extend(differences),
            Err(error) => return Err(plain(error.into())),
        }
    }
    match found {
        true => Err((PeerIncompatible::NoProposal.into(), mismatches)),
        false => Err(plain(PeerIncompatible::Traffic.into())),
    }
}

/// A road warrior's traffic is that of the address which it was given. Clients that know of split-include by mode
/// config ask for everything nevertheless (Unity): it is narrowed to what the child has.
fn leased(
    sa: &IkeSa,
    core: &Core,
    (pool, policy): (&AddressPool, &ChildPolicy),
    asked: &Selector,
) -> Result<Selector, Error> {
    let peer = sa.peer_id.as_ref();
    let leases = peer.map_or_else(Vec::new, |peer| core.leases.of(pool, peer));
    let mut leases = leases.into_iter().map(traffic::host);
    let remote = leases.find(|lease| asked.remote == [*lease]);
    let remote = vec![remote.ok_or(PeerIncompatible::Address)?];
    let all = Selector {
        local: policy.selector.local.clone(),
        remote: remote.clone(),
        upper: asked.upper.clone(),
    };
    let asked = Selector {
        local: asked.local.clone(),
        remote,
        upper: asked.upper.clone(),
    };
    Ok(match traffic::contains(&asked, &all) {
        true => all,
        false => asked,
    })
}

/// In transport mode through a NAT, packets arrive with the NAT's address, not with the one that the host behind it
/// knows as its own.
fn effective(sa: &IkeSa, mode: Mode, asked: Selector) -> Selector {
    if mode == Mode::Tunnel {
        return asked;
    }
    let host = |address| vec![traffic::host(address)];
    Selector {
        local: match sa.nat.ours {
            true => host(sa.path.local.ip()),
            false => asked.local,
        },
        remote: match sa.nat.theirs {
            true => host(sa.path.remote.ip()),
            false => asked.remote,
        },
        upper: asked.upper,
    }
}

/// The child of the same peer and traffic that a new one takes over from.
fn predecessor(sa: &IkeSa, core: &Core, name: &str, selector: &Selector) -> Option<ChildId> {
    let peer = sa.peer_id.as_ref()?;
    let alike = core.children.alike(peer, name, selector);
    let mut children =
        alike.filter(|child| child.replaced_by.is_none() && child.state != ChildState::Inbound);
    children.next().map(|child| child.id)
}

/// Installs the inbound SAs, then sends message 2.
pub(super) fn answer(
    quick_mode: &mut QuickMode,
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (agreement, agreed): (Agreement, Option<Agreed>),
) -> Result<(), Error> {
    let (id, commit) = (quick_mode.message_id, agreement.commit);
    let nonces = agreement.nonces.clone();
    let answer = agreement.chosen.answer(agreement.spis);
    let mut bodies: Bodies = vec![
        (kind::SA, answer.encode()),
        (kind::NONCE, nonces.responder.clone()),
    ];
    if let Some(agreed) = &agreed {
        bodies.push((kind::KEY_EXCHANGE, agreed.public.clone()));
    }
    if let Some((initiator, responder)) = agreement.identities.clone() {
        if !initiator.is_empty() {
            bodies.push((kind::IDENTIFICATION, initiator));
            bodies.push((kind::IDENTIFICATION, responder));
        }
    }
    original_addresses(sa, (Role::Responder, agreement.policy.mode), &mut bodies);
    bodies.extend(responder_lifetime(&agreement));
    let flags = if commit { COMMIT } else { 0 };
    let message = quick_mode.seal(sa, flags, &bodies, |sa, rest| {
        Ok(sa.keys()?.skeyid.hash_2(id, &nonces.initiator, rest))
    })?;
    let shared = agreed.as_ref().map(|agreed| &agreed.shared);
    let (child, keys) = install::inbound(sa, core, now, (Role::Responder, agreement), shared)?;
    quick_mode.state = State::AwaitProof {
        child,
        keys,
        nonces,
        commit,
    };
    sa.send(core, &message);
    let first = core.settings.retransmit;
    quick_mode.retransmission.sent(message, now, first);
    Ok(())
}

/// RESPONDER-LIFETIME, if ours is another than what was offered (RFC 2407 4.6.3.1): shorter, or the least that a peer
/// gets.
fn responder_lifetime(agreement: &Agreement) -> Option<(u8, Vec<u8>)> {
    let mut offered = agreement.chosen.lifetime;
    // RFC 2407 4.5.4: what is not said is 28800 seconds.
    offered.seconds = offered.seconds.or(Some(28800));
    let life = ipsec::lifetime(&agreement.policy.hard).shorter(offered.at_least(LEAST_OF_PHASE_2));
    let news = life.beside(offered)?;
    let (protocol, spi) = match (agreement.spis.esp, agreement.spis.ah) {
        (Some(spi), _) => (protocol::ESP, spi),
        (None, ah) => (protocol::AH, ah?),
    };
    let notification = Notification {
        protocol,
        spi: spi.to_be_bytes().to_vec(),
        kind: notify::RESPONDER_LIFETIME,
        data: news.encode(PHASE_2),
    };
    Some((kind::NOTIFICATION, notification.encode()))
}

/// Message 3: the initiator is there and has the keys.
pub(super) fn receive_proof(
    quick_mode: &mut QuickMode,
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    incoming: Incoming<'_>,
) -> Result<(), Error> {
    let State::AwaitProof { nonces, .. } = &quick_mode.state else {
        return Ok(());
    };
    let (id, nonces) = (quick_mode.message_id, nonces.clone());
    quick_mode.open(sa, core, now, incoming, |sa, _| {
        Ok(sa.keys()?.skeyid.hash_3(id, nonces.nonces()))
    })?;
    if let State::AwaitProof {
        child,
        keys,
        commit,
        ..
    } = quick_mode.take()
    {
        install::complete(core, now, child, keys, false);
        if commit {
            let message = connected_message(quick_mode, sa)?;
            sa.send(core, &message);
            quick_mode.retransmission.answered(message);
        }
    }
    quick_mode.finish(now, core);
    install::count(sa, core, now);
    Ok(())
}

/// CONNECTED, in the quick mode's own exchange, as Windows and racoon have it.
fn connected_message(quick_mode: &mut QuickMode, sa: &IkeSa) -> Result<Vec<u8>, Error> {
    let id = quick_mode.message_id;
    let notification = Notification {
        protocol: protocol::ISAKMP,
        spi: [sa.cookies.initiator, sa.cookies.responder].concat(),
        kind: notify::CONNECTED,
        data: Vec::new(),
    };
    let bodies: Bodies = vec![(kind::NOTIFICATION, notification.encode())];
    quick_mode.seal(sa, 0, &bodies, |sa, rest| {
        Ok(sa.keys()?.skeyid.hash_1(id, rest))
    })
}

/// CONNECTED as an informational exchange with the quick mode's message id (RFC 2408 3.1).
pub(crate) fn connected(sa: &mut IkeSa, core: &mut Core, now: Time, message_id: u32) {
    let Some(mut quick_mode) = sa.exchanges.remove(message_id) else {
        return;
    };
    match quick_mode.take() {
        State::AwaitConnected { child, keys } => {
            install::complete(core, now, child, keys, false);
            quick_mode.retransmission.stop();
            quick_mode.finish(now, core);
            install::count(sa, core, now);
        }
        state => quick_mode.state = state,
    }
    sa.exchanges.insert(message_id, quick_mode);
    initiate_queued(sa, core, now);
}
