//! Where one SA stands with the ports' devices: control writes it, operators see it, the SA's worker marks by it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dpdk::{Mbuf, security};
use portcullis_ipsec::InterfaceId;
use portcullis_ipsec::offload::offers::State;

/// Where an SA stands. Its key in the worker and control share it.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    way: OnceLock<Way>,
    state: Mutex<Option<State>>,
}

/// An outbound SA in a device, and the interfaces behind which it is.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) session: security::Session,
    pub(super) interfaces: Box<[InterfaceId]>,
}

impl Standing {
    /// Has the device cipher a packet that leaves by this interface, if it is the device that has the SA.
    #[inline]
    pub fn mark(&self, packet: &mut Mbuf, out: InterfaceId) -> bool {
        let way = self.0.way.get();
        way.is_some_and(|way| way.interfaces.contains(&out) && way.session.mark(packet))
    }

    /// The device has the SA. Once.
    pub(super) fn open(&self, way: Way) {
        // The way of another answer about the same key is as good.
        drop(self.0.way.set(way));
    }

    /// What becomes of the offer.
    pub(super) fn note(&self, state: State) {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// Where it stands; `None` if nobody asked.
    pub fn state(&self) -> Option<State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// That in a word.
    pub fn text(&self) -> &'static str {
        match self.state() {
            None => "software",
            Some(State::Asked | State::Leaving) => "asked",
            Some(State::Active) => "active",
            Some(State::Failed(_)) => "failed",
        }
    }

    /// True if it has a device that ciphers for it.
    pub fn is_active(&self) -> bool {
        self.state() == Some(State::Active)
    }

    /// Why no device serves it, though one was asked.
    pub fn refusal(&self) -> Option<String> {
        match self.state() {
            Some(State::Failed(reason)) => Some(reason),
            _ => None,
        }
    }
}
