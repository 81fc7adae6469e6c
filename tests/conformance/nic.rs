//! A NIC that takes SAs, or does not, when the test says so; and control's part in it.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use portcullis_config::SaConfig;
use portcullis_ipsec::command::{Command, Retired};
use portcullis_ipsec::offload::offers::{Capabilities, Offers, Provider};
use portcullis_ipsec::offload::{Fits, Session};
use portcullis_ipsec::pipeline::{Event, SaSide};

use crate::rig::Gateway;
use crate::rig::policy::GCM;

/// The NIC.
#[derive(Default)]
pub struct FakeNic {
    capabilities: Capabilities,
    /// Asked for, and not answered.
    pub asked: VecDeque<Session>,
    /// It has them.
    pub holds: BTreeSet<Session>,
    /// How often it was asked.
    pub count: usize,
    /// What it says next, in place of yes.
    pub refusal: Option<String>,
    /// It is reset, and has lost what it had.
    pub reset: bool,
    answers: VecDeque<(Session, Result<(), String>)>,
}

impl FakeNic {
    /// One that can do AES-128-GCM.
    pub fn new(fits: Fits) -> Self {
        FakeNic {
            capabilities: Capabilities {
                transforms: vec![GCM],
                udp_encapsulation: false,
                fits,
            },
            ..FakeNic::default()
        }
    }

    /// Time passes.
    pub fn work(&mut self) {
        while let Some(session) = self.asked.pop_front() {
            let result = match self.refusal.take() {
                Some(reason) => Err(reason),
                None => Ok(()),
            };
            if result.is_ok() {
                assert!(self.holds.insert(session), "no two have the same name");
            }
            self.answers.push_back((session, result));
        }
    }
}

/// The NIC as control holds it.
pub struct Driver<'a>(pub &'a RefCell<FakeNic>);

impl Provider for Driver<'_> {
    fn capabilities(&self) -> Capabilities {
        self.0.borrow().capabilities.clone()
    }
    fn add(&mut self, session: Session, sa: &SaConfig) {
        let mut nic = self.0.borrow_mut();
        assert!(nic.capabilities.transforms.contains(&sa.transform));
        nic.asked.push_back(session);
        nic.count += 1;
    }
    fn remove(&mut self, session: Session) {
        assert!(self.0.borrow_mut().holds.remove(&session), "it has it");
    }
    fn poll(&mut self) -> Option<(Session, Result<(), String>)> {
        self.0.borrow_mut().answers.pop_front()
    }
    fn was_lost(&mut self) -> bool {
        let mut nic = self.0.borrow_mut();
        if nic.reset {
            nic.holds.clear();
        }
        std::mem::take(&mut nic.reset)
    }
}

/// What control does about the events of a gateway and the answers of the NIC. Gives why SAs were refused.
pub fn drive<P: Provider>(gateway: &mut Gateway, offers: &mut Offers<P>) -> Vec<String> {
    let mut answers = Vec::new();
    gateway.io.events.retain(|event| {
        let Event::OffloadWanted { sa, session } = event else {
            return true;
        };
        let (SaSide::Inbound(slot) | SaSide::Outbound(slot)) = sa;
        let config = &gateway.site.sas[*slot as usize];
        answers.extend(offers.wanted((0, *sa), *session, config));
        false
    });
    answers.extend(std::iter::from_fn(|| offers.poll()));
    let mut refused = Vec::new();
    for answer in answers {
        let fits = answer.result.as_ref().ok().copied();
        gateway.apply(Command::SettleOffload(answer.sa, answer.session, fits));
        refused.extend(answer.result.err());
    }
    refused
}

/// Removes an SA, as control does, and tells the NIC.
pub fn remove<P: Provider>(gateway: &mut Gateway, sa: SaSide, offers: &mut Offers<P>) {
    let order = match sa {
        SaSide::Inbound(slot) => Command::RemoveInbound(slot),
        SaSide::Outbound(slot) => Command::RemoveOutbound(slot),
    };
    let session = match gateway.pipeline.apply(order) {
        Some(Retired::Inbound(sa)) => sa.offload.session(),
        Some(Retired::Outbound(sa)) => sa.offload.session(),
        other => panic!("{other:?}"),
    };
    session.into_iter().for_each(|session| offers.gone(session));
}
