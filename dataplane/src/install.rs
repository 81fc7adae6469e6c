//! Where each SA of a policy is, and what brings the workers from one policy to the next: owner, slot, key, SPI
//! index, bundles.
//!
//! An SA is the same one if direction, SPI, destination, protocol, algorithms and keys are: it keeps its place,
//! counters, sequence numbers and replay window, whatever else changes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portcullis_config::{
    Action, Direction, EngineKind, Integrity, Overlap, Policy, SaConfig, SpdEntry, Transform,
};
use portcullis_ipsec::command::Command;
use portcullis_ipsec::counters::SaCounters;
use portcullis_ipsec::ip::{Address, IpVersion};
use portcullis_ipsec::offload::offers::State;
use portcullis_ipsec::pipeline::SaSide;
use portcullis_ipsec::sa::{InboundSa, OutboundSa, SaRef, Shape};
use portcullis_ipsec::sad::{SpiEntry, SpiIndex};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::departing::{Departure, Departures};
use crate::engine::cryptodev::CryptoDevices;
use crate::engine::{Choice, Key};
use crate::offload::Standing;
use crate::slots::{LEAST_ROOM, NONE, Slots, side_of};
use crate::worker::{GatewayEngine, WorkerCommand};

/// An SA as control knows it.
#[derive(Clone, Debug)]
pub struct InstalledSa {
    /// Where it is.
    pub place: SaRef,
    /// What computes its packets.
    pub choice: Choice,
    /// What it counts.
    pub counters: Arc<SaCounters>,
    /// Where it stands with the ports' devices; `None` if it is not offered to them.
    pub standing: Option<Standing>,
    /// Milliseconds of the workers' clock when its life began.
    pub(crate) born: u64,
    pub(crate) links: Links,
}

impl InstalledSa {
    /// What computes its packets now.
    pub fn engine(&self) -> EngineKind {
        let is_active = self.standing.as_ref().is_some_and(Standing::is_active);
        match is_active {
            true => EngineKind::InlineCrypto,
            false => self.choice.engine,
        }
    }

    /// True if that is not the first that should have it.
    pub fn falls_back(&self) -> bool {
        match self.standing.as_ref().and_then(Standing::state) {
            Some(State::Active) => false,
            Some(State::Failed(_)) => true,
            _ => self.choice.fallback.is_some(),
        }
    }

    /// Why that is not an engine that comes before it in the order and should have it.
    pub fn fallback(&self) -> Option<String> {
        let refusal = self.standing.as_ref().and_then(Standing::refusal);
        let refusal = refusal.map(|reason| format!("{}: {reason}", EngineKind::InlineCrypto));
        match self.engine() {
            EngineKind::InlineCrypto => None,
            _ => refusal.or_else(|| Some(self.choice.fallback.as_deref()?.to_owned())),
        }
    }
}

/// Which SA of a bundle is around which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// Slot of the SA around this one.
    pub(crate) outer: Option<u32>,
    /// Bytes that it adds.
    pub(crate) overhead: u16,
    /// This one is around another.
    pub(crate) is_outer: bool,
}

/// The first half of SHA-256: two keys of one gateway do not meet in that by chance, and there may be millions.
type KeyDigest = [u8; 16];

fn digest(key: &[u8]) -> KeyDigest {
    let mut half = KeyDigest::default();
    half.copy_from_slice(&Sha256::digest(key)[..size_of::<KeyDigest>()]);
    half
}

/// A policy in force, and where its SAs are.
#[derive(Debug, Default)]
pub struct Installed {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its SAs, in the order of the policy.
    pub sas: Vec<InstalledSa>,
    /// For each SA, its number in the policy before.
    before: Vec<u32>,
    /// By worker; inbound and outbound.
    slots: Vec<[Slots; 2]>,
    /// Outbound SAs, sorted by SPI.
    by_spi: Vec<u32>,
    /// Digests of keys under which an SA that has gone counted: no other SA may count under them again.
    spent: Arc<HashSet<KeyDigest>>,
}

/// What brings the workers to another policy.
#[derive(Debug)]
pub struct Plan {
    /// What is in force then.
    pub installed: Installed,
    /// For each worker: orders that come before the new view.
    pub before_view: Vec<Vec<WorkerCommand>>,
    /// For each worker: orders that come after it.
    pub after_view: Vec<Vec<WorkerCommand>>,
    /// How long inbound SAs stay that go.
    pub overlap: Overlap,
    /// For each worker: orders that wait until no worker has the old view nor a packet that it decided about.
    pub last: Vec<Vec<WorkerCommand>>,
    /// For each SPD entry, the SA of the policy that serves it: the innermost of its bundle.
    pub serving: Vec<Option<SaRef>>,
    /// What the workers' SPI indexes lack and have too much.
    pub index: IndexChange,
    /// What is new and what goes.
    pub moves: Moves,
}

/// How the workers' SPI indexes come to know a policy's inbound SAs; those of IKE are beside them.
#[derive(Debug, Default)]
pub struct IndexChange {
    /// All of them, if there are too many changes.
    pub whole: Option<SpiIndex>,
    /// Those that are new.
    pub added: Vec<SpiEntry>,
    /// Those that go, now or later.
    pub removed: Departures,
}

/// An index with these entries and room for so many more.
pub fn index_of(entries: impl Iterator<Item = SpiEntry>, more: usize) -> SpiIndex {
    let entries: Vec<_> = entries.collect();
    let room = (entries.len() + more).next_power_of_two().max(LEAST_ROOM);
    let mut index = SpiIndex::with_capacity(room);
    for entry in entries {
        index.insert(entry);
    }
    index
}

/// Numbers of SAs, the new policy's and, for those that go, the old one's.
#[derive(Debug, Default)]
pub struct Moves {
    /// New ones.
    pub added: Vec<u32>,
    /// Those that go.
    pub removed: Vec<u32>,
    /// Those that stay under other terms.
    pub altered: Vec<u32>,
}

/// What finds an SA among those of its direction (RFC 4301 4.1).
type Identity = (Direction, u32, Address, u8);

fn identity(config: &SaConfig) -> Identity {
    let protocol = config.transform.protocol();
    let destination = config.destination.into();
    (config.direction, config.spi, destination, protocol)
}

/// True if packets of both SAs are protected alike, so that sequence numbers must go on.
fn is_same(a: &SaConfig, b: &SaConfig) -> bool {
    let keys = |sa: &SaConfig| (sa.transform, sa.esn);
    keys(a) == keys(b) && a.cipher_key == b.cipher_key && a.integrity_key == b.integrity_key
}

impl Installed {
    /// Nothing, on so many workers.
    pub fn nothing(workers: usize) -> Self {
        Installed {
            slots: vec![[(); 2].map(|()| Slots::of_policy()); workers],
            ..Installed::default()
        }
    }

    /// SAs with their configurations.
    pub fn iter(&self) -> impl Iterator<Item = (&SaConfig, &InstalledSa)> {
        self.policy.sas.iter().zip(&self.sas)
    }

    /// The SA in a worker's slot.
    pub fn at(&self, worker: usize, side: SaSide) -> Option<&SaConfig> {
        self.sa_at(worker, side).map(|(config, _)| config)
    }

    /// The same, and what control knows of it.
    pub fn sa_at(&self, worker: usize, side: SaSide) -> Option<(&SaConfig, &InstalledSa)> {
        let (direction, slot) = match side {
            SaSide::Inbound(slot) => (Direction::Inbound, slot),
            SaSide::Outbound(slot) => (Direction::Outbound, slot),
        };
        let slots = self.slots.get(worker)?.get(side_of(direction))?;
        let number = slots.occupant(slot)? as usize;
        self.policy.sas.get(number).zip(self.sas.get(number))
    }

    /// The outbound SA whose packets look so.
    pub fn outbound(&self, spi: u32, protocol: u8, to: Address) -> Option<(&SaConfig, SaRef)> {
        let sa = |number: &u32| {
            let number = *number as usize;
            Some((self.policy.sas.get(number)?, self.sas.get(number)?.place))
        };
        let spi_of = |number: &u32| sa(number).map_or(0, |(config, _)| config.spi);
        let first = self.by_spi.partition_point(|number| spi_of(number) < spi);
        let same_spi = self.by_spi.iter().skip(first).map_while(sa);
        let mut candidates = same_spi.take_while(|(config, _)| config.spi == spi);
        candidates.find(|(config, _)| identity(config) == (Direction::Outbound, spi, to, protocol))
    }

    /// For each SA its number in the policy before this one.
    pub fn numbers_before(&self) -> impl Iterator<Item = Option<usize>> {
        let number = |number: &u32| (*number != NONE).then_some(*number as usize);
        self.before.iter().map(number)
    }

    /// Plans the way from here to `policy`, at `now`.
    pub fn plan(
        &self,
        policy: Arc<Policy>,
        engine: &GatewayEngine,
        devices: &CryptoDevices,
        now: u64,
    ) -> Result<Plan, Error> {
        let before = self.same_sas(&policy);
        let moves = self.moves(&before);
        let workers = self.slots.len();
        let mut next = Installed {
            slots: self.slots.clone(),
            spent: self.spent_keys(&policy, &moves)?,
            ..Installed::default()
        };
        self.settle(&mut next, &policy, &before, now)?;
        let links = links(&policy, &next.sas)?;
        for (sa, links) in next.sas.iter_mut().zip(links) {
            sa.links = links;
        }
        (next.policy, next.before) = (policy, before);
        next.sort_outbound();
        let empty = || (0..workers).map(|_| Vec::new()).collect();
        let mut plan = Plan {
            serving: serving(&next),
            before_view: empty(),
            after_view: empty(),
            last: empty(),
            index: IndexChange::default(),
            overlap: Overlap::between(&self.policy, &next.policy),
            installed: next,
            moves,
        };
        plan.grow();
        self.add_commands(&mut plan, engine, devices)?;
        self.removal_commands(&mut plan, now);
        self.index_change(&mut plan);
        Ok(plan)
    }

    /// For each SA of `policy`, the number of the same one here.
    fn same_sas(&self, policy: &Policy) -> Vec<u32> {
        let numbers = (0u32..).zip(&self.policy.sas);
        let known: HashMap<Identity, u32> = numbers.map(|(n, sa)| (identity(sa), n)).collect();
        let before = |sa: &SaConfig| {
            let number = known.get(&identity(sa))?;
            let old = self.policy.sas.get(*number as usize)?;
            is_same(old, sa).then_some(*number)
        };
        let numbers = policy.sas.iter().map(|sa| before(sa).unwrap_or(NONE));
        numbers.collect()
    }

    /// Which SAs are new and which go.
    fn moves(&self, before: &[u32]) -> Moves {
        let mut stays = vec![false; self.sas.len()];
        let mut moves = Moves::default();
        for (number, before) in (0u32..).zip(before) {
            match stays.get_mut(*before as usize) {
                Some(stays) => *stays = true,
                None => moves.added.push(number),
            }
        }
        let gone = (0u32..).zip(&stays).filter(|(_, stays)| !**stays);
        moves.removed = gone.map(|(number, _)| number).collect();
        moves
    }

    /// RFC 4106 2: a new SA counts from 1, so the key of one that has counted already is not for it, however long ago
    /// that was. Gives all such keys as they are then.
    fn spent_keys(&self, policy: &Policy, moves: &Moves) -> Result<Arc<HashSet<KeyDigest>>, Error> {
        let mut gone = numbered(&self.policy.sas, &moves.removed)
            .filter_map(nonce_key)
            .peekable();
        let mut spent = self.spent.clone();
        if gone.peek().is_some() {
            Arc::make_mut(&mut spent).extend(gone.map(digest));
        }
        let again = |sa: &&SaConfig| {
            !spent.is_empty() && nonce_key(sa).is_some_and(|key| spent.contains(&digest(key)))
        };
        match numbered(&policy.sas, &moves.added).find(again) {
            Some(sa) => Err(Error::KeyAgain(sa.name.clone())),
            None => Ok(spent),
        }
    }

    /// Gives each SA of `policy` its place: its old one, or a new one with the owner of its entry's other SAs.
    fn settle(
        &self,
        next: &mut Installed,
        policy: &Policy,
        before: &[u32],
        now: u64,
    ) -> Result<(), Error> {
        let known = |before: &u32| self.sas.get(*before as usize);
        let owners = owners(policy, self.slots.len(), before, |n| {
            known(n).map(|sa| sa.place.worker)
        })?;
        next.sas.reserve_exact(policy.sas.len());
        for ((number, (config, owner)), before) in
            (0u32..).zip(policy.sas.iter().zip(owners)).zip(before)
        {
            let slots = next.slots.get_mut(usize::from(owner));
            let slots = slots.and_then(|both| both.get_mut(side_of(config.direction)));
            let Some(slots) = slots else {
                return Err(Error::Bundle(config.name.clone()));
            };
            let sa = match known(before) {
                Some(sa) => sa.clone(),
                None => InstalledSa {
                    place: SaRef {
                        worker: owner,
                        slot: slots.take(now, number),
                    },
                    choice: Choice::default(), // until its key is made
                    standing: None,
                    counters: Arc::default(),
                    born: now,
                    links: Links::default(),
                },
            };
            slots.settle(sa.place.slot, number);
            next.sas.push(sa);
        }
        Ok(())
    }

    fn sort_outbound(&mut self) {
        let sas = &self.policy.sas;
        let numbers = (0u32..).zip(sas);
        let outbound = numbers.filter(|(_, sa)| sa.direction == Direction::Outbound);
        self.by_spi = outbound.map(|(number, _)| number).collect();
        self.by_spi
            .sort_by_key(|number| sas.get(*number as usize).map(|sa| sa.spi));
    }

    /// New SAs, and new terms for those that stay under others.
    fn add_commands(
        &self,
        plan: &mut Plan,
        engine: &GatewayEngine,
        devices: &CryptoDevices,
    ) -> Result<(), Error> {
        let next = &plan.installed;
        // Of each worker and direction.
        let sas = next.sas.len() / (2 * plan.before_view.len().max(1));
        let mut choices = Vec::new();
        let each = || (0u32..).zip(next.iter().zip(&next.before));
        // Inbound SAs stay for a while when they are removed. Made apart from outbound ones, they do not hold their memory.
        let of =
            |direction| each().filter(move |(_, ((config, _), _))| config.direction == direction);
        let both = of(Direction::Outbound).chain(of(Direction::Inbound));
        for (number, ((config, sa), before)) in both {
            let old = self.sas.get(*before as usize);
            let old = old.zip(self.policy.sas.get(*before as usize));
            if old.is_some_and(|(old, terms)| terms == config && old.links == sa.links) {
                continue;
            }
            let (choice, key) = engine
                .serve(config, (sa.place.worker, sas), devices)
                .map_err(|error| Error::Key {
                    sa: config.name.clone(),
                    error,
                })?;
            choices.push((number, choice, key.standing()));
            if old.is_some() {
                plan.moves.altered.push(number);
            }
            if let Some(commands) = plan.before_view.get_mut(usize::from(sa.place.worker)) {
                commands.push(add(config, sa, key, old.is_some()));
            }
        }
        for (number, choice, standing) in choices {
            if let Some(sa) = plan.installed.sas.get_mut(number as usize) {
                sa.choice = choice;
                // Under other terms it keeps its key, and what that shares.
                sa.standing = sa.standing.take().or(standing);
            }
        }
        Ok(())
    }

    /// Makes inbound SAs findable: one by one if they are few, by another index if they are many.
    fn index_change(&self, plan: &mut Plan) {
        let (next, numbers) = (&plan.installed, &plan.moves.added);
        let sas = numbered(&next.policy.sas, numbers).zip(numbered(&next.sas, numbers));
        let added: Vec<_> = sas.filter_map(entry).collect();
        let many = added.len() * 8 >= next.entries().count() && !added.is_empty();
        plan.index.whole = many.then(|| index_of(next.entries(), 0));
        plan.index.added = added;
    }

    /// What finds its inbound SAs.
    pub fn entries(&self) -> impl Iterator<Item = SpiEntry> {
        self.iter().filter_map(entry)
    }

    /// Old SAs go, outbound ones first, and their slots are free for the next plan then.
    fn removal_commands(&self, plan: &mut Plan, now: u64) {
        let stays = plan.overlap.milliseconds();
        for number in &plan.moves.removed {
            let number = *number as usize;
            let Some((config, sa)) = self.policy.sas.get(number).zip(self.sas.get(number)) else {
                continue;
            };
            let (worker, slot) = (usize::from(sa.place.worker), sa.place.slot);
            let due = match entry((config, sa)) {
                Some(entry) => {
                    let due = now + stays(&config.selectors);
                    plan.index.removed.add(Departure {
                        config: config.clone(),
                        sa: sa.clone(),
                        entry,
                        due,
                    });
                    due
                }
                None => {
                    if let Some(commands) = plan.last.get_mut(worker) {
                        commands.push(Command::RemoveOutbound(slot));
                    }
                    now
                }
            };
            let both = plan.installed.slots.get_mut(worker);
            if let Some(slots) = both.and_then(|both| both.get_mut(side_of(config.direction))) {
                slots.release(due, slot);
            }
        }
    }
}

impl Plan {
    /// Memory for more SAs.
    fn grow(&mut self) {
        let workers = self.installed.slots.iter_mut().zip(&mut self.before_view);
        for ([inbound, outbound], commands) in workers {
            commands.extend(inbound.grow(Direction::Inbound));
            commands.extend(outbound.grow(Direction::Outbound));
        }
    }
}

/// The members of a list with these numbers.
fn numbered<'a, T>(list: &'a [T], numbers: &'a [u32]) -> impl Iterator<Item = &'a T> {
    numbers.iter().filter_map(|n| list.get(*n as usize))
}

/// The key under which an SA that we send with uses each sequence number as a nonce.
fn nonce_key(sa: &SaConfig) -> Option<&[u8]> {
    let key = match sa.transform {
        Transform::Esp(cipher, _) if cipher.is_counter_mode() => &sa.cipher_key,
        Transform::Ah(Integrity::AesGmac(_)) => &sa.integrity_key,
        _ => return None,
    };
    (sa.direction == Direction::Outbound).then(|| key.expose())
}

/// The worker that owns each SA. SAs of a bundle have one owner, those of an entry if they can; an entry whose SAs
/// are all new goes to the worker with the fewest.
fn owners(
    policy: &Policy,
    workers: usize,
    before: &[u32],
    known: impl Fn(&u32) -> Option<u16>,
) -> Result<Vec<u16>, Error> {
    let mut owners: Vec<Option<u16>> = before.iter().map(known).collect();
    let mut load = vec![0usize; workers.max(1)];
    for owner in owners.iter().flatten() {
        load.iter_mut()
            .skip(usize::from(*owner))
            .take(1)
            .for_each(|n| *n += 1);
    }
    for entry in &policy.spd {
        let Action::Protect { outbound, inbound } = &entry.action else {
            continue;
        };
        let owned = |owners: &[Option<u16>], sas: &[usize]| {
            sas.iter().find_map(|sa| owners.get(*sa).copied().flatten())
        };
        let least = || {
            (0u16..)
                .zip(&load)
                .min_by_key(|(_, n)| **n)
                .map_or(0, |(w, _)| w)
        };
        let of_entry = owned(&owners, outbound).or_else(|| owned(&owners, inbound));
        let of_entry = of_entry.unwrap_or_else(least);
        for bundle in [outbound, inbound] {
            let owner = owned(&owners, bundle).unwrap_or(of_entry);
            for sa in bundle {
                match owners.get_mut(*sa) {
                    Some(Some(other)) if *other != owner => {
                        return Err(Error::Bundle(entry.name.clone()));
                    }
                    Some(place @ None) => {
                        *place = Some(owner);
                        load.iter_mut()
                            .skip(usize::from(owner))
                            .take(1)
                            .for_each(|n| *n += 1);
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(owners.into_iter().map(|owner| owner.unwrap_or(0)).collect())
}

/// Which SA goes around which. An SA has the same place in every bundle that names it.
fn links(policy: &Policy, sas: &[InstalledSa]) -> Result<Vec<Links>, Error> {
    let mut links = vec![Links::default(); sas.len()];
    for entry in &policy.spd {
        let Action::Protect { outbound, inbound } = &entry.action else {
            continue;
        };
        for bundle in [outbound, inbound] {
            for pair in bundle.windows(2) {
                let &[inner, outer] = pair else { continue };
                let slot = sas.get(outer).map(|sa| sa.place.slot);
                if let Some(link) = links.get_mut(inner) {
                    if link.outer.is_some() && link.outer != slot {
                        return Err(Error::Bundle(entry.name.clone()));
                    }
                    link.outer = slot;
                    link.overhead = policy.sas.get(outer).map_or(0, ah_overhead);
                }
                if let Some(link) = links.get_mut(outer) {
                    link.is_outer = true;
                }
            }
        }
    }
    Ok(links)
}

/// The order that installs an SA, or changes its terms.
pub(crate) fn add(config: &SaConfig, sa: &InstalledSa, key: Key, known: bool) -> WorkerCommand {
    let (slot, links, counters) = (sa.place.slot, sa.links, sa.counters.clone());
    match config.direction {
        Direction::Inbound => {
            let mut new = InboundSa::new(config, key, sa.born, counters);
            new.came_in = links.outer;
            new.carries_bundle = links.is_outer;
            match known {
                true => Command::AlterInbound(slot, Box::new(new)),
                false => Command::AddInbound(slot, Box::new(new)),
            }
        }
        Direction::Outbound => {
            let mut new = OutboundSa::new(config, key, sa.born, counters);
            new.next = links.outer;
            new.bundle_overhead = links.overhead.into();
            match known {
                true => Command::AlterOutbound(slot, Box::new(new)),
                false => Command::AddOutbound(slot, Box::new(new)),
            }
        }
    }
}

/// What finds an SA, if it is inbound.
pub(crate) fn entry((config, sa): (&SaConfig, &InstalledSa)) -> Option<SpiEntry> {
    (config.direction == Direction::Inbound).then(|| SpiEntry {
        spi: config.spi,
        protocol: config.transform.protocol(),
        destination: config.destination.into(),
        sa: sa.place,
    })
}

/// Bytes that an AH SA adds around ESP.
pub(crate) fn ah_overhead(config: &SaConfig) -> u16 {
    let v4 = Address::from(config.destination).is_v4();
    let version = if v4 { IpVersion::V4 } else { IpVersion::V6 };
    Shape::new(config.transform).ah_len(version) as u16
}

/// For each SPD entry, the SA that serves it.
fn serving(installed: &Installed) -> Vec<Option<SaRef>> {
    let innermost = |entry: &SpdEntry| match &entry.action {
        Action::Protect { outbound, .. } => {
            let sa = outbound.first().and_then(|sa| installed.sas.get(*sa))?;
            Some(sa.place)
        }
        Action::Negotiate { .. } | Action::Discard | Action::Bypass => None,
    };
    installed.policy.spd.iter().map(innermost).collect()
}
