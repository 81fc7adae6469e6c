//! The endpoint: all IKE SAs of this gateway.

use std::time::Duration;

use crate::show::Snapshot;
use crate::{Command, Datagram, Event, RandomSource, SpiSource, Time, Transmit, Work, WorkDone};

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
    /// Says the keys of IKE SAs ([`Event::KeyLog`]).
    pub key_log: bool,
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
            key_log: false,
        }
    }
}

/// All IKE SAs of this gateway.
///
/// - in: `handle_datagram`, `handle_timeout`, `handle_command`, `handle_work_done`;
/// - out, to be polled until `None` after each of these, in this order: `poll_event`, `poll_work`,
///   `poll_transmit`, `poll_timeout`. Events come before datagrams, so that an inbound SA is installed
///   before the peer learns of it.
pub struct Endpoint {
    settings: Settings,
    random: Box<dyn RandomSource + Send>,
    spis: Box<dyn SpiSource>,
}

impl Endpoint {
    /// An endpoint without connections; [`Command::Configure`] brings them.
    pub fn new(
        settings: Settings,
        random: Box<dyn RandomSource + Send>,
        spis: Box<dyn SpiSource>,
    ) -> Self {
        Endpoint {
            settings,
            random,
            spis,
        }
    }

    /// Takes what came in.
    pub fn handle_datagram(&mut self, _now: Time, _datagram: Datagram<'_>) {}

    /// Does what is due. To be called when the time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// Does what it is told.
    pub fn handle_command(&mut self, _now: Time, _command: Command) {}

    /// Takes the result of a [`Work`].
    pub fn handle_work_done(&mut self, _now: Time, _done: WorkDone) {}

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// The next thing to compute.
    pub fn poll_work(&mut self) -> Option<Work> {
        None
    }

    /// What `show` prints.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
