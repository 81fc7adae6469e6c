//! Control's side: which SAs a NIC is asked to take, and what it answered.

use std::collections::{HashMap, VecDeque};

use portcullis_config::{SaConfig, Transform};

use super::{Fits, Session};
use crate::pipeline::SaSide;

/// What a NIC can do, asked when its port starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Algorithms.
    pub transforms: Vec<Transform>,
    /// ESP in UDP (RFC 3948).
    pub udp_encapsulation: bool,
    /// Which packets.
    pub fits: Fits,
}

/// A NIC that ciphers. No call waits for it.
pub trait Provider {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// Begins to give it an SA.
    fn add(&mut self, session: Session, sa: &SaConfig);
    /// Takes an SA away that it has.
    fn remove(&mut self, session: Session);
    /// An SA that it now has, or why it has not.
    fn poll(&mut self) -> Option<(Session, Result<(), String>)>;
    /// True if it has lost all that it had since the last call: it was reset, or is gone.
    fn was_lost(&mut self) -> bool;
}

/// Why an SA is no longer on a NIC.
const LOST: &str = "the device was reset or removed";

/// Where an offer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The NIC has not answered.
    Asked,
    /// The NIC has the SA.
    Active,
    /// The NIC does not take it, for this reason.
    Failed(String),
    /// The SA is gone before the NIC has answered.
    Leaving,
}

#[derive(Debug)]
struct Offer {
    worker: u16,
    sa: SaSide,
    state: State,
}

/// What a worker is to be told: whether the NIC has the SA, and for which packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The worker that asked.
    pub worker: u16,
    /// Its SA.
    pub sa: SaSide,
    /// What the NIC calls it.
    pub session: Session,
    /// Which packets, or why none.
    pub result: Result<Fits, String>,
}

/// All SAs that a NIC was asked to take.
#[derive(Debug)]
pub struct Offers<P> {
    provider: P,
    capabilities: Capabilities,
    offers: HashMap<Session, Offer>,
    /// What the NIC has lost, to be told.
    lost: VecDeque<Answer>,
}

impl<P: Provider> Offers<P> {
    /// None yet.
    pub fn new(provider: P) -> Self {
        Offers {
            capabilities: provider.capabilities(),
            provider,
            offers: HashMap::new(),
            lost: VecDeque::new(),
        }
    }

    /// A worker wants an SA on the NIC. Gives the answer if it is clear that it cannot be.
    pub fn wanted(
        &mut self,
        (worker, sa): (u16, SaSide),
        session: Session,
        config: &SaConfig,
    ) -> Option<Answer> {
        let refusal = refusal(&self.capabilities, config);
        let state = match &refusal {
            Some(reason) => State::Failed((*reason).to_owned()),
            None => State::Asked,
        };
        self.offers.insert(session, Offer { worker, sa, state });
        let Some(reason) = refusal else {
            self.provider.add(session, config);
            return None;
        };
        Some(Answer {
            worker,
            sa,
            session,
            result: Err(reason.to_owned()),
        })
    }

    /// The SA is gone from its worker: the NIC gives it up, now or as soon as it has it.
    pub fn gone(&mut self, session: Session) {
        match self.offers.remove(&session) {
            Some(Offer {
                state: State::Active,
                ..
            }) => self.provider.remove(session),
            Some(
                offer @ Offer {
                    state: State::Asked | State::Leaving,
                    ..
                },
            ) => {
                let state = State::Leaving;
                self.offers.insert(session, Offer { state, ..offer });
            }
            _ => {}
        }
    }

    /// Nobody asks for the state of an SA that the NIC does not take: it has been told.
    pub fn forget(&mut self, session: Session) {
        if let Some(State::Failed(_)) = self.state(session) {
            self.offers.remove(&session);
        }
    }

    /// The NIC.
    pub fn provider(&self) -> &P {
        &self.provider
    }

    /// All that it has or was asked to take it has not, and is not asked for again: software goes on.
    fn lose_all(&mut self) {
        self.offers.retain(|_, offer| offer.state != State::Leaving);
        for (session, offer) in &mut self.offers {
            if matches!(offer.state, State::Asked | State::Active) {
                offer.state = State::Failed(LOST.into());
                self.lost.push_back(Answer {
                    worker: offer.worker,
                    sa: offer.sa,
                    session: *session,
                    result: Err(LOST.into()),
                });
            }
        }
    }

    /// The next answer of the NIC.
    pub fn poll(&mut self) -> Option<Answer> {
        if self.provider.was_lost() {
            self.lose_all();
        }
        if let Some(answer) = self.lost.pop_front() {
            return Some(answer);
        }
        while let Some((session, result)) = self.provider.poll() {
            let Some(offer) = self.offers.get_mut(&session) else {
                continue;
            };
            if offer.state == State::Leaving {
                if result.is_ok() {
                    self.provider.remove(session);
                }
                self.offers.remove(&session);
                continue;
            }
            if offer.state != State::Asked {
                // It was lost meanwhile, and that has been told.
                if result.is_ok() {
                    self.provider.remove(session);
                }
                continue;
            }
            offer.state = match &result {
                Ok(()) => State::Active,
                Err(reason) => State::Failed(reason.clone()),
            };
            let fits = self.capabilities.fits;
            return Some(Answer {
                worker: offer.worker,
                sa: offer.sa,
                session,
                result: result.map(|()| fits),
            });
        }
        None
    }

    /// Where an SA stands; `None` if nobody asked.
    pub fn state(&self, session: Session) -> Option<&State> {
        self.offers.get(&session).map(|offer| &offer.state)
    }
}

/// Why a NIC cannot have an SA, whatever packets come.
fn refusal(capabilities: &Capabilities, config: &SaConfig) -> Option<&'static str> {
    if !capabilities.transforms.contains(&config.transform) {
        return Some("the device does not have its algorithms");
    }
    if config.udp.is_some() && !capabilities.udp_encapsulation {
        return Some("the device does not do ESP in UDP");
    }
    None
}
