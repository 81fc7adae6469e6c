//! Children from what quick mode agreed on: the inbound SAs first, the outbound ones when the peer is ready.

use std::time::Duration;

use portcullis_config::{Direction, Secret, Transform};

use super::{Agreement, release};
use crate::child::{ChildSa, ChildState, DirectionKeys, limits};
use crate::core::{Core, Request};
use crate::crypto::dh::SharedSecret;
use crate::crypto::keymat::Skeyid;
use crate::proposal::ipsec::{self, Spis};
use crate::v1::ike_sa::{IkeSa, Role};
use crate::v1::phase1::Both;
use crate::wire::protocol;
use crate::{ChildId, CloseReason, Error, Event, Local, Time};

/// How long a replaced child stays if nothing shows that its replacement is used: longer where the peer began the
/// rekey, who deletes first.
const OVERLAP_INITIATOR: Duration = Duration::from_secs(20);
const OVERLAP_RESPONDER: Duration = Duration::from_secs(40);

/// Makes the child and installs its inbound SAs. The keys of the outbound ones are for [`complete`].
pub(super) fn inbound(
    sa: &IkeSa,
    core: &mut Core,
    now: Time,
    (role, agreement): (Role, Agreement),
    shared: Option<&SharedSecret>,
) -> Result<(ChildId, DirectionKeys), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    // The policy may have changed meanwhile.
    if !connection.children.contains(&agreement.policy) {
        release(core, agreement.spis);
        return Err(Local::NotConfigured.into());
    }
    let peer = sa.peer_id.clone().ok_or(Local::NotConfigured)?;
    let skeyid = &sa.keys()?.skeyid;
    let Agreement {
        wanted,
        policy,
        chosen,
        spis,
        nonces,
        original,
        ..
    } = agreement;
    let keys = |spis: Spis| {
        direction_keys(skeyid, &nonces, shared, (chosen.proposal.esp, spis.esp), {
            (chosen.proposal.ah, spis.ah)
        })
    };
    let (inbound_keys, outbound_keys) = (keys(spis), keys(chosen.spis));
    let limits = limits(&policy, chosen.lifetime, |value| core.jittered(value));
    let life = ipsec::lifetime(&limits.1);
    core.note_short_life(
        &connection.name,
        Some(&policy.name),
        chosen.lifetime.below(life),
    );
    let child = ChildSa {
        id: core.children.next_id(),
        ike: sa.id,
        connection,
        policy,
        peer,
        path: sa.path,
        state: ChildState::Inbound,
        selector: wanted.selector,
        said: wanted.said,
        proposal: chosen.proposal,
        udp: sa.nat.udp.is_some(),
        original,
        inbound: spis,
        outbound: chosen.spis,
        initiator: role == Role::Initiator,
        nonce: nonces.initiator.clone().min(nonces.responder.clone()),
        limits,
        replaces: wanted.replaces,
        replaced_by: None,
        installed: now,
        traffic: (0, 0),
        last_traffic: now,
        failed: 0,
        again: None,
    };
    let (id, add) = (child.id, child.add(Direction::Inbound, inbound_keys));
    core.children.insert(child);
    core.events.push_back(Event::AddSa(Box::new(add)));
    Ok((id, outbound_keys))
}

/// KEYMAT of one direction (RFC 2409 5.5): what the cipher takes, then what authenticates (RFC 2407 4.5).
fn direction_keys(
    skeyid: &Skeyid,
    nonces: &Both,
    shared: Option<&SharedSecret>,
    (esp, esp_spi): (Option<Transform>, Option<u32>),
    (ah, ah_spi): (Option<portcullis_config::Integrity>, Option<u32>),
) -> DirectionKeys {
    let keymat = |protocol: u8, spi: u32, length: usize| {
        skeyid.keymat(protocol, spi, nonces.nonces(), shared, length)
    };
    let esp = match (esp, esp_spi) {
        (Some(Transform::Esp(cipher, integrity)), Some(spi)) => {
            let first = cipher.key_length();
            let second = integrity.map_or(0, |i| i.key_length());
            let all = keymat(protocol::ESP, spi, first + second);
            let (first, second) = all.expose().split_at_checked(first).unwrap_or_default();
            Some((Secret::new(first.to_vec()), Secret::new(second.to_vec())))
        }
        _ => None,
    };
    let ah = ah
        .zip(ah_spi)
        .map(|(integrity, spi)| keymat(protocol::AH, spi, integrity.key_length()));
    DirectionKeys { esp, ah }
}

/// The peer is ready: installs the outbound SAs, after all datagrams are sent if `deferred`.
pub(super) fn complete(
    core: &mut Core,
    now: Time,
    id: ChildId,
    keys: DirectionKeys,
    deferred: bool,
) {
    let Some(child) = core.children.get_mut(id) else {
        return;
    };
    child.state = ChildState::Installed;
    let rival = child.replaces;
    core.counters.children += 1;
    core.requests.push_back(Request::Installed(id));
    let wins = rival.is_none_or(|old| replace(core, now, old, id));
    let Some(child) = core.children.get(id).filter(|_| wins) else {
        return;
    };
    let add = Event::AddSa(Box::new(child.add(Direction::Outbound, keys)));
    match deferred {
        true => core.deferred.push_back(add),
        false => core.events.push_back(add),
    }
}

/// `id` takes over from `old`, unless another one already has: of two that both ends made at once, the one with the
/// lowest of all nonces goes (RFC 7296 2.8.1 has this rule; RFC 2409 has none). Tells whether `id` stays.
fn replace(core: &mut Core, now: Time, old: ChildId, id: ChildId) -> bool {
    core.counters.rekeys += 1;
    let rival = core.children.get(old).and_then(|old| old.replaced_by);
    let rival = rival.filter(|rival| core.children.get(*rival).is_some_and(|r| !r.is_replaced()));
    let nonce = |core: &Core, id| core.children.get(id).map(|child| child.nonce.clone());
    match rival {
        Some(rival) if nonce(core, id) < nonce(core, rival) => {
            retire(core, now, id, rival);
            return false;
        }
        Some(rival) => {
            retire(core, now, rival, id);
            core.children.set_replaces(id, rival);
        }
        None => retire(core, now, old, id),
    }
    true
}

/// `old` stays for a while and goes.
fn retire(core: &mut Core, now: Time, old: ChildId, new: ChildId) {
    let began = core.children.get(new).is_some_and(|child| child.initiator);
    let Some(child) = core.children.get_mut(old) else {
        return;
    };
    let overlap = match began {
        true => OVERLAP_INITIATOR,
        false => OVERLAP_RESPONDER,
    };
    child.replaced_by = Some(new);
    child.state = ChildState::Replaced {
        until: now + overlap,
    };
    core.requests.push_back(Request::Plan(old));
}

/// Removes a child at this end.
pub(super) fn remove(core: &mut Core, id: ChildId, reason: CloseReason) -> Option<String> {
    let child = core.children.remove(id)?;
    core.events.push_back(Event::RemoveSa { child: id, reason });
    Some(child.policy.name)
}

/// One more quick mode is done: at the connection's limit, phase 1 goes (requirement 122).
pub(super) fn count(sa: &mut IkeSa, core: &Core, now: Time) {
    let limit = sa.connection.as_ref().and_then(|c| c.quick_modes);
    if limit.is_some_and(|limit| sa.quick_modes >= limit) {
        sa.retire(core, now);
    }
}
