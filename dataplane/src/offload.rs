//! Inline crypto (requirements 155 to 158): SAs that workers offer, given to the devices of ports, one port for each SA:
//! that through which its peer is reached.
//!
//! Workers wait for nothing: an offer is an event, the device is asked between two of control's rounds, and the answer is
//! an order. What a device does not take, software goes on with; it is told once, and the SA is not offered again.

mod device;
mod standing;

use std::collections::HashMap;

use portcullis_config::{Direction, EngineKind, Runtime, SaConfig};
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::command::Retired;
use portcullis_ipsec::offload::Session;
use portcullis_ipsec::offload::offers::{Answer, Offers, State};
use portcullis_ipsec::pipeline::SaSide;

use crate::control::Control;
use crate::events::Event;
use crate::install::InstalledSa;
use crate::port::GatewayPort;
use crate::worker::{ToWorker, WorkerCommand, WorkerRetired};

pub use device::{Device, has};
pub use standing::Standing;
use standing::Way;

/// Answers of one device that are passed on in one round.
const ANSWERS: usize = 32;

/// Why an SA that a device should have is another engine's.
pub const NO_PORT: &str = "no port has it";

/// An SA that was offered.
#[derive(Debug)]
struct Offered {
    port: usize,
    name: String,
    standing: Standing,
}

/// All devices that cipher, and what they were offered.
#[derive(Debug, Default)]
pub struct Offloads {
    /// By port.
    devices: Vec<Option<Offers<Device>>>,
    offered: HashMap<Session, Offered>,
}

/// True if the policy wants SAs on the ports' devices.
pub fn is_wanted(runtime: &Runtime) -> bool {
    runtime.engines.contains(&EngineKind::InlineCrypto)
}

/// A port's inline crypto, if it has it, and all workers send by it: a packet that one sends for another might come to
/// the device after the SA is gone.
pub fn open(port: &dpdk::Port, name: &str, queues: u16, workers: u16) -> Option<Device> {
    let security = match port.security(device::SESSIONS) {
        Ok(security) => security?,
        Err(error) => {
            tracing::warn!(port = name, %error, "inline crypto cannot be used");
            return None;
        }
    };
    if queues < workers {
        tracing::warn!(
            port = name,
            "inline crypto is not used: fewer transmit queues than workers"
        );
        return None;
    }
    tracing::info!(port = name, "the device has inline crypto");
    Some(Device::new(security))
}

impl Offloads {
    /// The devices of all ports, none of which has an SA yet.
    pub fn new(ports: &mut [GatewayPort]) -> Self {
        let devices = ports.iter_mut().map(|port| port.device.take());
        Offloads {
            devices: devices.map(|device| device.map(Offers::new)).collect(),
            offered: HashMap::new(),
        }
    }

    /// True if there is a device.
    pub fn has_device(&self) -> bool {
        self.devices.iter().any(Option::is_some)
    }

    /// What workers retire leaves the devices.
    pub fn retire(&mut self, retired: &WorkerRetired) {
        let session = match retired {
            Retired::Inbound(sa) => sa.offload.session(),
            Retired::Outbound(sa) => sa.offload.session(),
            _ => None,
        };
        let offered = session.and_then(|session| Some((session, self.offered.remove(&session)?)));
        if let Some((session, offered)) = offered {
            if let Some(Some(device)) = self.devices.get_mut(offered.port) {
                device.gone(session);
            }
        }
    }

    /// Asks the device of a port. `Some` if it is clear that it cannot be.
    fn ask(
        &mut self,
        (worker, sa): (u16, SaSide),
        session: Session,
        port: usize,
        (config, standing): (&SaConfig, Standing),
    ) -> Option<Answer> {
        let refused = |reason: &str| {
            Some(Answer {
                worker,
                sa,
                session,
                result: Err(reason.to_owned()),
            })
        };
        let name = config.name.clone();
        standing.note(State::Asked);
        self.offered.insert(
            session,
            Offered {
                port,
                name,
                standing,
            },
        );
        match self.devices.get_mut(port) {
            Some(Some(device)) => device.wanted((worker, sa), session, config),
            _ => refused("the port through which its peer is reached has none"),
        }
    }

    /// The next answers of all devices.
    fn answers(&mut self) -> Vec<Answer> {
        let devices = self.devices.iter_mut().flatten();
        devices
            .flat_map(|device| std::iter::from_fn(|| device.poll()).take(ANSWERS))
            .collect()
    }

    /// Notes an answer with the SA. Gives the name of the SA that goes on in software, and why.
    fn note(&mut self, answer: &Answer, interfaces: Vec<InterfaceId>) -> Option<(String, String)> {
        if let Err(reason) = &answer.result {
            // The worker calls it by no session from now on.
            let offered = self.offered.remove(&answer.session)?;
            if let Some(Some(device)) = self.devices.get_mut(offered.port) {
                device.forget(answer.session);
            }
            offered.standing.note(State::Failed(reason.clone()));
            return Some((offered.name, reason.clone()));
        }
        let offered = self.offered.get(&answer.session)?;
        let device = self.devices.get(offered.port)?.as_ref()?;
        if let (Some(session), SaSide::Outbound(_)) =
            (device.provider().session(answer.session), answer.sa)
        {
            offered.standing.open(Way {
                session,
                interfaces: interfaces.into(),
            });
        }
        offered.standing.note(State::Active);
        None
    }

    fn port_of(&self, session: Session) -> Option<usize> {
        Some(self.offered.get(&session)?.port)
    }
}

impl Control {
    /// Tells workers to offer SAs, if there is a device that might take them.
    pub fn begin_offloads(&mut self) {
        if self.offloads.has_device() {
            for worker in &mut self.workers {
                worker.send(ToWorker::Command(WorkerCommand::OfferSas(true)));
            }
        }
    }

    /// A worker offers an SA.
    pub(crate) fn offload_wanted(
        &mut self,
        now: u64,
        (worker, side): (usize, SaSide),
        session: Session,
    ) {
        let known = self.installed.sa_at(worker, side);
        let known = known.or_else(|| self.negotiated.sa_at(worker, side));
        let place = (worker as u16, side);
        let Some((config, InstalledSa { standing, .. })) = known else {
            self.settle(place, session, None);
            return;
        };
        let Some(standing) = standing.clone() else {
            // The policy's order has another engine for it, or devices no word: it is nobody's failure.
            self.settle(place, session, None);
            return;
        };
        let peer = match config.direction {
            Direction::Inbound => config.source,
            Direction::Outbound => config.destination,
        };
        let hop = self.fib.route(peer.into());
        let port = hop.and_then(|hop| self.ports.port_of(hop.interface));
        let offer = (config, standing);
        let answer = self
            .offloads
            .ask(place, session, port.unwrap_or(usize::MAX), offer);
        if let Some(answer) = answer {
            self.take_answer(now, &answer);
        }
    }

    /// Passes on what devices say.
    pub(crate) fn advance_offloads(&mut self, now: u64) {
        for answer in self.offloads.answers() {
            self.take_answer(now, &answer);
        }
    }

    fn take_answer(&mut self, now: u64, answer: &Answer) {
        let port = self.offloads.port_of(answer.session);
        let behind = port.map_or_else(Vec::new, |port| self.ports.interfaces_of(port));
        if let Some((sa, reason)) = self.offloads.note(answer, behind) {
            self.raise(now, Event::OffloadFailed { sa, reason });
        }
        let fits = answer.result.as_ref().ok().copied();
        self.settle((answer.worker, answer.sa), answer.session, fits);
    }

    fn settle(
        &mut self,
        (worker, side): (u16, SaSide),
        session: Session,
        fits: Option<portcullis_ipsec::offload::Fits>,
    ) {
        if let Some(worker) = self.workers.get_mut(usize::from(worker)) {
            let order = WorkerCommand::SettleOffload(side, session, fits);
            worker.send(ToWorker::Command(order));
        }
    }
}
