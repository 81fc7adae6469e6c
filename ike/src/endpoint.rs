//! The endpoint: all IKE SAs of this gateway.

mod again;
mod agenda;
mod commands;
mod configure;
mod directory;
mod dismiss;
mod half_open;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Connection, Phase1Exchange, RemoteAddress};

use self::agenda::{Agenda, Item};
use self::directory::Directory;
pub use self::dismiss::Peer;
use self::half_open::HalfOpen;
use crate::cookie::CookieKey;
use crate::core::{Core, Path};
use crate::crypto::keymat::Cookies;
use crate::header::Header;
use crate::peer_id::PeerId;
use crate::show::{Counters, Snapshot};
use crate::v1::ike_sa::{IkeSa, Role, State};
use crate::v1::message::{Incoming, VERSION};
use crate::v1::{aggressive_mode, exchange, main_mode, notice};
use crate::{
    CloseReason, Command, Datagram, Error, Event, Failure, IkeId, Local, RandomSource, SpiSource,
    Time, Transmit, Work, WorkDone,
};

/// How the endpoint behaves, whatever the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Port of IKE: 500 (RFC 2408 2.5.1).
    pub port: u16,
    /// Port of IKE behind a NAT, shared with ESP: 4500 (RFC 3947 4).
    pub nat_port: u16,
    /// Time to the first retransmission; each further one waits twice as long.
    pub retransmit: Duration,
    /// Retransmissions before the peer is given up.
    pub retries: u32,
    /// Time in which a peer must have finished phase 1.
    pub half_open_time: Duration,
    /// Half-open IKE SAs that one source address may have.
    pub half_open_per_source: usize,
    /// Half-open IKE SAs in total; beyond that the oldest one goes.
    pub half_open_total: usize,
    /// Time between keepalives to a NAT (RFC 3948 4).
    pub keepalive: Duration,
    /// As quick mode's responder, holds every initiator back with the commit bit until CONNECTED (RFC 2408 3.1), not
    /// only those that expect it, as Windows does.
    pub commit: bool,
    /// Says the keys of IKE SAs ([`Event::KeyLog`]).
    pub key_log: bool,
}

impl Settings {
    /// How long a finished exchange answers repetitions: as long as the peer may repeat.
    pub(crate) fn exchange_memory(&self) -> Duration {
        let cycle = 2_u32.saturating_pow(self.retries.saturating_add(1));
        self.retransmit.saturating_mul(cycle)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            port: 500,
            nat_port: 4500,
            retransmit: Duration::from_secs(1),
            retries: 5,
            half_open_time: Duration::from_secs(60),
            half_open_per_source: 64,
            half_open_total: 10_000,
            keepalive: Duration::from_secs(20),
            commit: false,
            key_log: false,
        }
    }
}

/// All IKE SAs of this gateway.
///
/// - in: `handle_datagram`, `handle_timeout`, `handle_command`, `handle_work_done`;
/// - out, after each of these: `poll_event`, `poll_work` and `poll_transmit`, in this order and again until all
///   three have nothing more, then `poll_timeout`. The order matters: an inbound SA is installed before the peer
///   learns of it, an outbound one after the peer has been told that it may come.
pub struct Endpoint {
    core: Core,
    ikes: BTreeMap<IkeId, IkeSa>,
    /// By our own cookie, which we chose and know to be unique.
    by_cookie: HashMap<[u8; 8], IkeId>,
    cookie_key: CookieKey,
    directory: Directory,
    half_open: HalfOpen,
    agenda: Agenda,
    /// How often connections that should stand have failed since they did.
    restarts: HashMap<String, u32>,
    /// Connections that come again after their peer's death, until all of their children have.
    coming_again: HashSet<String>,
    last: u64,
}

impl Endpoint {
    /// An endpoint without connections; [`Command::Configure`] brings them.
    pub fn new(
        settings: Settings,
        random: Box<dyn RandomSource + Send>,
        spis: Box<dyn SpiSource>,
    ) -> Self {
        let mut core = Core::new(settings, random, spis);
        Endpoint {
            cookie_key: CookieKey::new(core.random()),
            core,
            ikes: BTreeMap::new(),
            by_cookie: HashMap::new(),
            directory: Directory::default(),
            half_open: HalfOpen::default(),
            agenda: Agenda::default(),
            restarts: HashMap::new(),
            coming_again: HashSet::new(),
            last: 0,
        }
    }

    /// Tells the time of day in seconds since 1970, for the validity of own certificates.
    pub fn set_calendar(&mut self, unix_time: u64) {
        self.core.calendar = Some(unix_time);
    }

    /// What messages for our IKE SAs are recognised with, as long as the endpoint lives.
    pub fn cookie_key(&self) -> CookieKey {
        self.cookie_key.clone()
    }

    /// Takes what came in.
    pub fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>) {
        self.core.counters.datagrams += 1;
        let path = Path {
            local: datagram.local,
            remote: datagram.remote,
        };
        // RFC 3948 2.3: a keepalive is one byte, and says nothing.
        if datagram.bytes == [0xff] {
            return;
        }
        let marked = path.local.port() != self.core.settings.port;
        let bytes = match marked {
            true => datagram.bytes.strip_prefix(&[0; 4]),
            false => Some(datagram.bytes),
        };
        let message = bytes.map(|bytes| (bytes, Header::parse(bytes)));
        let Some((bytes, Ok(header))) = message else {
            self.core.counters.invalid += 1;
            return;
        };
        if header.version != VERSION {
            self.core.counters.invalid += 1;
            return;
        }
        let incoming = Incoming {
            header,
            bytes,
            path,
        };
        match self.find(&header) {
            Some(id) => self.with(now, id, |sa, core| sa.receive(core, now, incoming)),
            None if header.responder_cookie == [0; 8] => self.begin(now, incoming),
            None => self.core.counters.unknown_sa += 1,
        }
        self.settle(now);
    }

    /// Does what is due. To be called when the time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(item) = self.agenda.pop(now) {
            match item {
                Item::Ike(id) => self.with(now, id, |sa, core| sa.timeout(core, now)),
                Item::Child(id) => self.child_timeout(now, id),
                Item::Restart(connection) => self.restart(now, &connection),
            }
            self.settle(now);
        }
    }

    /// Does what it is told.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        self.command(now, command);
        self.settle(now);
    }

    /// Takes the result of a [`Work`].
    pub fn handle_work_done(&mut self, now: Time, done: WorkDone) {
        let WorkDone {
            ike,
            exchange,
            outcome,
        } = done;
        self.with(now, ike, |sa, core| {
            sa.computed(core, now, exchange, outcome)
        });
        self.settle(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.agenda.next()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.core.events.is_empty() && self.core.transmits.is_empty() {
            self.core.events.append(&mut self.core.deferred);
        }
        self.core.events.pop_front()
    }

    /// The next thing to compute.
    pub fn poll_work(&mut self) -> Option<Work> {
        self.core.works.pop_front()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// The latest negotiations that failed, the last one first.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.core.failures.iter().rev()
    }

    /// What `show` prints.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            ikes: self.ikes.values().map(IkeSa::snapshot).collect(),
            children: self.core.children.iter().map(|c| c.snapshot()).collect(),
            failures: self.core.failures.iter().cloned().collect(),
            counters: self.core.counters,
        }
    }

    /// The IKE SA of a message: our cookie finds it, the peer's must be right, too.
    fn find(&self, header: &Header) -> Option<IkeId> {
        let by = |cookie| self.by_cookie.get(cookie).copied();
        let known = |id: IkeId, role: Role| {
            let sa = self.ikes.get(&id)?;
            let theirs = match role {
                Role::Responder => sa.cookies.initiator == header.initiator_cookie,
                // The responder's cookie is new to us with message 2.
                Role::Initiator => {
                    sa.cookies.responder == [0; 8] && header.responder_cookie != [0; 8]
                        || sa.cookies.responder == header.responder_cookie
                }
            };
            (sa.role == role && theirs).then_some(id)
        };
        by(&header.responder_cookie)
            .and_then(|id| known(id, Role::Responder))
            .or_else(|| by(&header.initiator_cookie).and_then(|id| known(id, Role::Initiator)))
    }

    /// A first message: a new IKE SA, or one that is repeated.
    fn begin(&mut self, now: Time, incoming: Incoming<'_>) {
        let Header {
            initiator_cookie,
            exchange_type,
            message_id,
            ..
        } = incoming.header;
        let source = (incoming.path.remote, initiator_cookie);
        if let Some(id) = self.half_open.repeated(source) {
            self.with(now, id, |sa, core| sa.receive(core, now, incoming));
            return;
        }
        let respond = match exchange_type {
            exchange::IDENTITY_PROTECTION => main_mode::respond,
            exchange::AGGRESSIVE => aggressive_mode::respond,
            _ => {
                self.core.counters.unknown_sa += 1;
                return;
            }
        };
        if message_id != 0 || !self.admit(now, incoming.path) {
            self.core.counters.refused += 1;
            return;
        }
        let cookies = Cookies {
            initiator: initiator_cookie,
            responder: self.cookie(incoming.path),
        };
        let id = self.next_id();
        let role = (Role::Responder, cookies);
        let mut sa = IkeSa::new(&self.core, now, id, role, incoming.path, State::Changing);
        match respond(&mut sa, &mut self.core, incoming) {
            Ok(()) => {
                self.half_open.insert(source, id);
                self.insert(sa, cookies.responder);
                self.with(now, id, |_, _| ());
            }
            Err(error) => self.refuse(now, sa, error),
        }
    }

    /// Says why a first message leads to nothing, to the peer and to the operator.
    fn refuse(&mut self, now: Time, mut sa: IkeSa, error: Error) {
        notice::refuse(&sa, &mut self.core, &error);
        sa.fail(&mut self.core, now, error);
    }

    /// Room for one more half-open IKE SA, if this source may have it: the oldest one goes for it.
    fn admit(&mut self, now: Time, path: Path) -> bool {
        let (per_source, total) = (
            self.core.settings.half_open_per_source,
            self.core.settings.half_open_total,
        );
        if self.half_open.of_source(path.remote.ip()) >= per_source {
            return false;
        }
        if self.half_open.len() >= total {
            let Some(oldest) = self.half_open.oldest() else {
                return false;
            };
            self.core.counters.evicted += 1;
            self.with(now, oldest, |sa, core| {
                sa.close(core, now, CloseReason::Overloaded);
            });
        }
        true
    }

    /// A cookie that no other IKE SA has. Its first bytes are not zero, lest it look like a non-ESP marker.
    fn cookie(&mut self, path: Path) -> [u8; 8] {
        loop {
            let random = self.core.random();
            let cookie = self.cookie_key.cookie(random, path.remote.ip());
            if !cookie.starts_with(&[0; 4]) && !self.by_cookie.contains_key(&cookie) {
                return cookie;
            }
        }
    }

    fn next_id(&mut self) -> IkeId {
        self.last += 1;
        IkeId(self.last)
    }

    fn insert(&mut self, sa: IkeSa, own_cookie: [u8; 8]) {
        *self.core.peers.entry(sa.home).or_default() += 1;
        self.by_cookie.insert(own_cookie, sa.id);
        self.ikes.insert(sa.id, sa);
    }

    /// Lets an IKE SA do something, then notes when it is due next, or that it is over.
    fn with(&mut self, now: Time, id: IkeId, step: impl FnOnce(&mut IkeSa, &mut Core)) {
        let Some(sa) = self.ikes.get_mut(&id) else {
            return;
        };
        step(sa, &mut self.core);
        sa.check_volume(&mut self.core, now);
        if !sa.state.is_half_open() {
            self.half_open.remove(id);
        }
        if matches!(sa.state, State::Closed) {
            let own = match sa.role {
                Role::Initiator => sa.cookies.initiator,
                Role::Responder => sa.cookies.responder,
            };
            self.by_cookie.remove(&own);
            self.directory.forget(id);
            let gone = sa.peer_id.take();
            if let Entry::Occupied(mut count) = self.core.peers.entry(sa.home) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
            self.ikes.remove(&id);
            self.agenda.set(Item::Ike(id), None);
            self.vacate(gone);
        } else {
            self.directory
                .note(id, sa.connection_name(), sa.peer_id.as_ref());
            self.agenda.set(Item::Ike(id), sa.deadline());
        }
    }

    /// Does what IKE SAs asked for.
    fn settle(&mut self, now: Time) {
        while let Some(request) = self.core.requests.pop_front() {
            self.request(now, request);
        }
        let left = self.core.children.take_left();
        self.vacate(left);
    }

    /// Frees the addresses of peers that have neither IKE SA nor child any more.
    fn vacate(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        for peer in peers {
            let is_gone = self.directory.of_peer(&peer).next().is_none()
                && self.core.children.of_peer(&peer).next().is_none();
            if is_gone {
                self.core.leases.release(&peer);
            }
        }
    }

    /// Starts a phase 1 for a connection.
    fn initiate(
        &mut self,
        now: Time,
        connection: &Arc<Connection>,
        path: Path,
    ) -> Result<IkeId, Error> {
        // Who is to prove themselves by XAUTH begins.
        if connection.remote_access.asks() {
            return Err(Local::OnlyPeer.into());
        }
        let cookies = Cookies {
            initiator: self.cookie(path),
            responder: [0; 8],
        };
        let id = self.next_id();
        let role = (Role::Initiator, cookies);
        let mut sa = IkeSa::new(&self.core, now, id, role, path, State::Changing);
        sa.connection = Some(connection.clone());
        match connection.exchange {
            Phase1Exchange::Main => main_mode::initiate(&mut sa, &mut self.core, now)?,
            Phase1Exchange::Aggressive => aggressive_mode::initiate(&mut sa, &mut self.core)?,
        }
        self.insert(sa, cookies.initiator);
        self.with(now, id, |_, _| ());
        Ok(id)
    }

    /// Between two addresses.
    fn path_between(&self, local: IpAddr, remote: IpAddr) -> Path {
        let port = self.core.settings.port;
        Path {
            local: (local, port).into(),
            remote: (remote, port).into(),
        }
    }

    /// Where a connection's peer is, if it is known beforehand.
    fn path_of(&self, connection: &Connection) -> Result<Path, Error> {
        match (&connection.local, &connection.remote) {
            (Some(local), RemoteAddress::Host(remote)) => Ok(self.path_between(*local, *remote)),
            _ => Err(Local::NoAddress.into()),
        }
    }
}
