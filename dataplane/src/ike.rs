//! Joins IKE and the workers: datagrams from the punt ring to the endpoint and back, SAs to the workers, their news
//! to the endpoint, and computations to a pool. Secrets never get into the log.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Connection, Direction, Mode, Policy, RemoteAddress, Start};
use portcullis_ike::{
    AddSa, ChildId, CloseReason, Command, Endpoint, Event as News, Failure, Peer, Settings,
    Transmit,
};
use portcullis_ipsec::command::{Command as Order, Negotiated as NegotiatedOrder};
use portcullis_ipsec::ip::{Address, IpHeader};
use portcullis_ipsec::pipeline::{Inject, SaSide};
use portcullis_ipsec::{DropReason, PacketBuf};

use crate::Error;
use crate::control::{Control, WorkerLink};
use crate::datagram;
use crate::eal::Pools;
use crate::events::Event;
use crate::ike_status::{Begun, identity_text, reason_text, transform_text};
use crate::key_log::KeyLog;
use crate::negotiated::{Inbound, Limit, NegotiatedSa, Orders};
use crate::numbers::ChildNumbers;
use crate::packet::Packet;
use crate::pool::{self, Pool, SystemRandom};
use crate::socket::Whom;
use crate::spi::Spis;
use crate::worker::{GatewayEngine, ToWorker};

/// Milliseconds between two reports of traffic to the endpoint.
const TRAFFIC_INTERVAL: u64 = 1000;
/// Datagrams that wait for workers; were one of them to stand still, more would be of no use.
const MOST_WAITING: usize = 4096;

/// Milliseconds that a peer has to install its SAs after the last message of quick mode, unless it uses them sooner.
const FIRST_USE: u64 = 50;
/// The same where the SAs before them go on meanwhile: a busy peer may take its time, and nothing is lost by waiting.
const SUCCESSION: u64 = 3000;

/// An outbound SA that packets will find.
struct Ready {
    child: ChildId,
    replaces: Option<ChildId>,
    /// Then at the latest.
    due: u64,
    /// The worker that owns it, and what it must have come to: until then others would hand it packets in vain.
    owner: usize,
    mark: u64,
}

/// IKE, and what it needs around it.
pub struct Ike {
    /// All IKE SAs.
    pub endpoint: Endpoint,
    /// Numbers of the children of connections.
    pub numbers: Arc<ChildNumbers>,
    pool: Pool,
    /// Makes keys for SAs.
    engine: GatewayEngine,
    key_log: Option<KeyLog>,
    /// Datagrams that go when the workers have the SAs that came before them.
    outbox: VecDeque<Transmit>,
    /// For each worker what it must have come to before the outbox goes.
    marks: Option<Vec<u64>>,
    /// Outbound SAs that no packet finds yet.
    to_serve: Vec<Ready>,
    traffic_told: u64,
    datagram_id: u16,
    /// The gateway ends: nothing is begun any more, and everything that is to be said gets its time.
    pub(crate) leaving: bool,
}

impl Ike {
    /// An endpoint without connections.
    pub fn new(
        policy: &Policy,
        engine: GatewayEngine,
        spis: Spis,
        threads: usize,
    ) -> Result<Self, Error> {
        let key_log = policy
            .runtime
            .key_log
            .as_deref()
            .map(KeyLog::open)
            .transpose()?;
        let settings = Settings {
            key_log: key_log.is_some(),
            ..Settings::default()
        };
        let mut endpoint = Endpoint::new(settings, Box::new(SystemRandom), Box::new(spis));
        endpoint.set_calendar(pool::calendar());
        Ok(Ike {
            endpoint,
            numbers: Arc::new(ChildNumbers::default()),
            pool: Pool::start(threads)?,
            engine,
            key_log,
            outbox: VecDeque::new(),
            marks: None,
            to_serve: Vec::new(),
            traffic_told: 0,
            datagram_id: 0,
            leaving: false,
        })
    }

    /// True while something is under way that a nap would delay.
    fn is_busy(&self) -> bool {
        self.pool.is_busy() || !self.outbox.is_empty()
    }

    /// True if all datagrams are with the workers.
    pub(crate) fn has_sent(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Gives up what no worker has taken.
    pub(crate) fn forget_unsent(&mut self) {
        self.outbox.clear();
        self.marks = None;
    }
}

impl From<Whom> for Peer {
    fn from(whom: Whom) -> Peer {
        match whom {
            Whom::Address(address) => Peer::Address(address),
            Whom::Place(place) => Peer::Place(place),
            Whom::User(user) => Peer::User(user),
        }
    }
}

fn time(now: u64) -> Duration {
    Duration::from_millis(now)
}

impl Control {
    /// The connections of the policy in force.
    pub fn configure_ike(&mut self, now: u64) {
        let policy = self.installed.policy.clone();
        self.spis.keep_off(&policy);
        let connections = policy.connections.iter().map(|connection| {
            let mut connection = connection.clone();
            connection.local = connection
                .local
                .or_else(|| self.address_to(&connection.remote));
            Arc::new(connection)
        });
        let command = Command::Configure(connections.collect());
        self.ike.endpoint.handle_command(time(now), command);
        self.settle_ike(now);
    }

    /// Ends the IKE SAs and SAs that begin or end at addresses which the policy in force has taken from us.
    pub fn leave_old_addresses(&mut self, now: u64) {
        let mut left = self.ike.endpoint.local_addresses();
        left.retain(|address| !self.fib.is_local((*address).into()));
        for address in left {
            self.command_ike(now, Command::LeaveAddress(address));
        }
    }

    /// Our address on the way to a peer.
    fn address_to(&self, remote: &RemoteAddress) -> Option<IpAddr> {
        let RemoteAddress::Host(remote) = remote else {
            return None;
        };
        let interface = self.fib.route((*remote).into())?.interface;
        let address = self.fib.source_address(interface, remote.is_ipv4())?;
        Some(address.to_ip())
    }

    /// Begins a key exchange for an operator.
    pub fn initiate(&mut self, now: u64, connection: String, child: Option<String>) -> Begun {
        let error = self.find(&connection, child.as_deref()).err();
        if error.is_none() {
            self.command_ike(now, Command::Initiate { connection, child });
        }
        Begun { error, at_ms: now }
    }

    /// Ends a connection, or what one peer has of it, for an operator.
    pub fn terminate(&mut self, now: u64, connection: String, peer: Option<Whom>) -> Begun {
        let known = self
            .installed
            .policy
            .connections
            .iter()
            .any(|c| c.name == connection);
        let mut error = (!known).then(|| format!("there is no connection `{connection}`"));
        match peer.map(Peer::from) {
            _ if !known => {}
            None => self.command_ike(now, Command::Terminate { connection }),
            Some(peer) if self.ike.endpoint.has_peer(&connection, &peer) => {
                self.command_ike(now, Command::Dismiss { connection, peer });
            }
            Some(_) => error = Some(format!("connection `{connection}` has no such peer now")),
        }
        Begun { error, at_ms: now }
    }

    /// A connection that this gateway can begin.
    fn find(&self, connection: &str, child: Option<&str>) -> Result<(), String> {
        let mut connections = self.installed.policy.connections.iter();
        let known = connections.find(|known| known.name == connection);
        let known = known.ok_or_else(|| format!("there is no connection `{connection}`"))?;
        if let Some(child) = child.filter(|child| known.children.iter().all(|c| c.name != *child)) {
            return Err(format!("connection `{connection}` has no child `{child}`"));
        }
        match known.remote {
            RemoteAddress::Host(_) => Ok(()),
            RemoteAddress::Ranges(_) | RemoteAddress::Any => Err(format!(
                "only the peer can begin `{connection}`: its address is not known"
            )),
        }
    }

    /// Begins IKE anew, for an operator or because it is stuck: IKE SAs are forgotten, workers and children go on. A
    /// panic is no case for it: that ends the process, closed, and what supervises it starts it again.
    pub fn restart_ike(&mut self, now: u64) {
        if self.ike.pool.is_stuck() {
            match Pool::start(self.ike.pool.size()) {
                Ok(pool) => std::mem::replace(&mut self.ike.pool, pool).abandon(),
                Err(error) => tracing::error!(%error, "IKE goes on with the threads that it has"),
            }
        }
        tracing::warn!("IKE begins anew");
        self.command_ike(now, Command::Restart);
    }

    pub(crate) fn command_ike(&mut self, now: u64, command: Command) {
        self.ike.endpoint.handle_command(time(now), command);
        self.settle_ike(now);
    }

    /// A packet to one of our IKE ports.
    pub fn receive_ike(
        &mut self,
        now: u64,
        packet: &Packet,
        ip: &IpHeader,
    ) -> Result<(), DropReason> {
        let datagram = datagram::read(packet.data(), ip).ok_or(DropReason::IkeMalformed)?;
        // Whoever begins now asks again, and finds the next gateway: a refusal would send it away.
        if self.ike.leaving {
            return Ok(());
        }
        self.ike.endpoint.handle_datagram(time(now), datagram);
        self.settle_ike(now);
        Ok(())
    }

    /// Does what is due. True if there was, or soon will be, anything to do.
    pub fn drive_ike(&mut self, now: u64) -> bool {
        self.ike.endpoint.set_calendar(pool::calendar());
        while let Some(done) = self.ike.pool.poll() {
            self.ike.endpoint.handle_work_done(time(now), done);
        }
        if self
            .ike
            .endpoint
            .poll_timeout()
            .is_some_and(|due| due <= time(now))
        {
            self.ike.endpoint.handle_timeout(time(now));
        }
        if self.ike.pool.is_stuck() {
            tracing::error!("a computation for IKE does not end");
            self.restart_ike(now);
        }
        self.tell_traffic(now);
        let orders = self.negotiated.tick(now);
        self.send_orders(orders);
        self.settle_ike(now);
        self.serve_ready(now);
        self.ike.is_busy()
    }

    /// Leaves the core to those whom IKE waits for: it may be the only one.
    pub fn await_ike(&mut self, longest: Duration) {
        match self.ike.outbox.is_empty() {
            true => self.ike.pool.wait(longest),
            false => std::thread::yield_now(),
        }
    }

    /// Takes from the endpoint all that it has to say.
    fn settle_ike(&mut self, now: u64) {
        while let Some(event) = self.ike.endpoint.poll_event() {
            self.handle_ike_news(now, event);
        }
        while let Some(work) = self.ike.endpoint.poll_work() {
            self.ike.pool.submit(work);
        }
        while let Some(datagram) = self.ike.endpoint.poll_transmit() {
            if self.ike.outbox.len() < MOST_WAITING || self.ike.leaving {
                self.ike.outbox.push_back(datagram);
            } else {
                self.drops.add(DropReason::InjectFull, 1);
            }
        }
        self.send_outbox();
    }

    fn handle_ike_news(&mut self, now: u64, news: News) {
        match news {
            News::Established(sa) => {
                self.soft.note_capable(sa.remote.ip());
                self.end_soft_sas_of(now, sa.remote.ip());
                let event = Event::IkeUp {
                    ike: sa.ike.number(),
                    connection: sa.connection,
                    remote: sa.remote.to_string(),
                    identity: identity_text(&sa.remote_id),
                    renews: sa.replaces.map(|old| old.number()),
                };
                self.raise(now, event);
            }
            News::Closed {
                ike,
                connection,
                reason,
            } => {
                let (ike, reason) = (ike.number(), reason_text(&reason));
                let event = Event::IkeDown {
                    ike,
                    connection,
                    reason,
                };
                self.raise(now, event);
            }
            News::Failed(failure) => self.negotiation_failed(now, &failure),
            News::AddSa(new) => self.add_sa(now, *new),
            News::RemoveSa { child, reason } => self.remove_sa(now, child, &reason),
            News::PeerMoved {
                children,
                local,
                remote,
            } => {
                let event = Event::PeerMoved {
                    children: children.len(),
                    remote: remote.to_string(),
                };
                self.raise(now, event);
                for child in children {
                    let engine = (&self.ike.engine, &*self.devices);
                    match self.negotiated.moved(child, (local, remote), engine) {
                        Ok(orders) => self.send_orders(orders),
                        Err(error) => self.refuse_sa(now, child, &error),
                    }
                }
            }
            News::ShortLife {
                connection,
                child,
                seconds,
                kilobytes,
            } => {
                let event = Event::ShortLife {
                    connection,
                    child,
                    seconds,
                    kilobytes,
                };
                self.raise(now, event);
            }
            News::KeyLog {
                initiator_cookie,
                encryption_key,
            } => {
                if let Some(log) = &mut self.ike.key_log {
                    log.ike(&initiator_cookie, &encryption_key);
                }
            }
        }
    }

    fn remove_sa(&mut self, now: u64, child: ChildId, reason: &CloseReason) {
        let (connection, name) = self.child_name(child);
        let event = Event::SaDown {
            child: child.number(),
            connection,
            name,
            reason: reason_text(reason),
        };
        self.raise(now, event);
        // The peer is told of it: what it sent before that is on its way still.
        let inbound = match reason {
            CloseReason::Terminated | CloseReason::Idle => Inbound::Lingers,
            _ => Inbound::Ends,
        };
        let orders = self.negotiated.remove(child, now, inbound);
        self.send_orders(orders);
    }

    fn refuse_sa(&mut self, now: u64, child: ChildId, error: &Error) {
        let (connection, name) = self.child_name(child);
        let event = Event::SaRefused {
            child: child.number(),
            connection,
            name,
            reason: error.to_string(),
        };
        self.raise(now, event);
    }

    fn child_name(&self, child: ChildId) -> (String, String) {
        let child = self.negotiated.child(child);
        child.map_or_else(Default::default, |child| child.name.clone())
    }

    fn negotiation_failed(&mut self, now: u64, failure: &Failure) {
        self.raise(now, Event::of_failure(failure));
        let numbers = &self.ike.numbers;
        let refused: Vec<_> = match (&failure.connection, &failure.child) {
            (Some(connection), Some(child)) => numbers.get(connection, child).into_iter().collect(),
            (Some(connection), None) => numbers.of_connection(connection).collect(),
            (None, _) => Vec::new(),
        };
        for number in refused {
            if !self.fall_back(now, number, failure) {
                self.refuse_held(number);
            }
        }
    }

    /// No SA comes of this child for now.
    fn refuse_held(&mut self, number: u32) {
        for worker in &mut self.workers {
            let order = Order::Negotiated(NegotiatedOrder::Refuse(number));
            worker.send(ToWorker::Command(order));
        }
    }

    fn add_sa(&mut self, now: u64, new: AddSa) {
        let (id, direction, replaced) = (new.child, new.direction, new.replaces);
        let Some(number) = self.ike.numbers.get(&new.connection, &new.name) else {
            return;
        };
        if let Some(log) = &mut self.ike.key_log {
            new.sas.iter().for_each(|sa| log.esp(sa));
        }
        let engine = (&self.ike.engine, &*self.devices);
        match self
            .negotiated
            .add(new, number, now, engine, &self.installed)
        {
            Ok(orders) => self.send_orders(orders),
            Err(error) => return self.refuse_sa(now, id, &error),
        }
        self.refresh_capture();
        if direction == Direction::Outbound {
            self.tell_installed(now, id, replaced);
            let owner = self
                .negotiated
                .child(id)
                .and_then(|child| child.outbound.first());
            let owner = owner.map_or(0, |sa| usize::from(sa.sa.place.worker));
            let wait = if replaced.is_some() {
                SUCCESSION
            } else {
                FIRST_USE
            };
            self.ike.to_serve.push(Ready {
                child: id,
                replaces: replaced,
                due: now + wait,
                owner,
                mark: self.workers.get(owner).map_or(0, |link| link.sent),
            });
        }
    }

    /// Both directions of a child are there.
    fn tell_installed(&mut self, now: u64, id: ChildId, replaced: Option<ChildId>) {
        let Some(child) = self.negotiated.child(id) else {
            return;
        };
        let spis = |sas: &[NegotiatedSa]| -> Vec<_> {
            let spis = sas.iter().map(|sa| format!("{:#010x}", sa.config.spi));
            spis.collect()
        };
        let (connection, name) = child.name.clone();
        let outer = child.outbound.last();
        let remote = outer.map_or_else(String::new, |sa| sa.config.destination.to_string());
        let transforms = child
            .outbound
            .iter()
            .map(|sa| transform_text(sa.config.transform));
        let transform = transforms.collect::<Vec<_>>().join(" + ");
        let (spi_in, spi_out) = (spis(&child.inbound), spis(&child.outbound));
        let event = match replaced {
            Some(old) => Event::SaRekeyed {
                child: id.number(),
                connection,
                name,
                remote,
                transform,
                spi_in,
                spi_out,
                replaces: old.number(),
            },
            None => Event::SaUp {
                child: id.number(),
                connection,
                name,
                remote,
                transform,
                spi_in,
                spi_out,
            },
        };
        self.raise(now, event);
    }

    /// Lets packets find the outbound SAs whose time has come.
    fn serve_ready(&mut self, now: u64) {
        let mut orders = Orders::new();
        let (workers, negotiated) = (&self.workers, &mut self.negotiated);
        let mut served = Vec::new();
        self.ike.to_serve.retain(|ready| {
            let owned = workers.get(ready.owner).is_none_or(|link| {
                link.waiting.is_empty() && link.status.taken.get() >= ready.mark
            });
            let used = negotiated.used(ready.child).received.0 > 0;
            let serves = owned && (used || now >= ready.due);
            if serves {
                orders.extend(negotiated.serve(ready.child, ready.replaces));
                let child = negotiated.child(ready.child);
                served.extend(child.and_then(|child| {
                    let peer = child.outbound.last()?.config.destination;
                    Some((child.number, peer))
                }));
            }
            !serves
        });
        self.send_orders(orders);
        for (number, peer) in served {
            self.end_soft_sas(now, number, peer);
        }
    }

    pub(crate) fn send_orders(&mut self, orders: Orders) {
        for (worker, order) in orders {
            if let Some(link) = self.workers.get_mut(worker) {
                link.send(ToWorker::Command(order));
            }
        }
    }

    /// A datagram may tell the peer of SAs: the workers have them first.
    fn send_outbox(&mut self) {
        if self.ike.outbox.is_empty() {
            return;
        }
        if self.ike.marks.is_none() {
            // Orders that are not in the ring yet are not counted on.
            if self.workers.iter().any(|link| !link.waiting.is_empty()) {
                return;
            }
            self.ike.marks = Some(self.workers.iter().map(|link| link.sent).collect());
        }
        let marks = self.ike.marks.iter().flatten();
        let mut links = self.workers.iter().zip(marks);
        if !links.all(|(link, mark)| link.status.taken.get() >= *mark) {
            return;
        }
        self.ike.marks = None;
        // What finds no room in the ring waits for the next look.
        while self.workers.first().is_some_and(WorkerLink::has_room) {
            let Some(datagram) = self.ike.outbox.pop_front() else {
                return;
            };
            self.ike.datagram_id = self.ike.datagram_id.wrapping_add(1);
            match packet(&self.pools, &datagram, self.ike.datagram_id) {
                Some(packet) => self.inject(0, Inject::Exempt(packet)),
                None => self.drops.add(DropReason::NoBuffer, 1),
            }
        }
    }

    fn tell_traffic(&mut self, now: u64) {
        let since = now.saturating_sub(self.ike.traffic_told);
        if since < TRAFFIC_INTERVAL {
            return;
        }
        self.ike.traffic_told = now;
        self.age_soft_sas(now);
        for (child, received, sent) in self.negotiated.traffic(since) {
            let command = Command::Traffic {
                child,
                received,
                sent,
            };
            self.ike.endpoint.handle_command(time(now), command);
        }
    }

    /// A packet is held until there is an SA of this child.
    pub fn acquire(&mut self, now: u64, number: u32, source: Address, destination: Address) {
        let Some((connection, child)) = self.ike.numbers.name(number) else {
            return;
        };
        let (connection, child) = (connection.to_owned(), child.to_owned());
        let policy = &self.installed.policy;
        let known = policy
            .connections
            .iter()
            .find(|known| known.name == connection);
        if self.ike.leaving {
            return self.refuse_held(number);
        }
        // In transport mode the peer is whom the packet is for.
        let transport = |known: &Connection| {
            let mut children = known.children.iter();
            children.any(|c| c.name == child && c.mode == Mode::Transport)
        };
        let starts = known.is_some_and(|known| {
            let found = matches!(known.remote, RemoteAddress::Host(_)) || transport(known);
            known.start != Start::Manual && found
        });
        let (local, remote) = (source.to_ip(), destination.to_ip());
        if !starts {
            tracing::debug!(connection, child, %local, %remote, "a packet needs an SA, and only the peer can begin");
            return self.refuse_held(number);
        }
        tracing::debug!(connection, child, %local, %remote, "a packet needs an SA");
        let command = Command::Acquire {
            connection,
            child,
            local,
            remote,
        };
        self.command_ike(now, command);
    }

    /// An authentic packet of an SA came from another address.
    pub fn peer_moved(&mut self, now: u64, (worker, sa): (usize, SaSide), remote: SocketAddr) {
        if let Some(child) = self.negotiated.child_at(worker, sa) {
            self.command_ike(now, Command::Moved { child, remote });
        }
    }

    /// An SA of IKE reached a limit; false if it is none of its.
    pub fn limit_reached(&mut self, now: u64, worker: usize, side: SaSide, limit: Limit) -> bool {
        let Some(child) = self.negotiated.reached(worker, side, limit, now) else {
            return self.negotiated.is_place(worker, side);
        };
        let (connection, name) = self.child_name(child);
        tracing::debug!(
            child = child.number(),
            connection,
            name,
            ?limit,
            "lifetime reached"
        );
        self.command_ike(
            now,
            match limit {
                Limit::Soft => Command::SoftExpired(child),
                Limit::Hard => Command::HardExpired(child),
            },
        );
        true
    }
}

/// The packet with a datagram.
fn packet(pools: &Pools, datagram: &Transmit, id: u16) -> Option<Packet> {
    let len = datagram::packet_len(datagram)?;
    let fits = len <= usize::from(pools.packets.data_room());
    let pool = if fits { &pools.packets } else { &pools.jumbo };
    let mut packet = Packet(pool.alloc()?);
    datagram::write(&mut packet, datagram, id)?;
    Some(packet)
}
