//! Stands for an engine that needs another kind of CPU.

use std::convert::Infallible;

use portcullis_config::Transform;
use portcullis_ipsec::engine::{AhJob, EspJob, KeyError};

/// There is none.
#[derive(Debug)]
pub(super) struct Absent(Infallible);
pub(super) type MultiBuffer = Absent;

/// There is none.
pub(super) struct Key(#[allow(dead_code)] Infallible);

/// On a CPU that cannot have the engine, it is not missed.
pub(super) fn has(_transform: Transform) -> bool {
    false
}

impl Absent {
    pub(super) fn new() -> Result<Self, String> {
        Err("not for this kind of CPU".into())
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        match self.0 {}
    }

    pub(super) fn refuses(&self, _: Transform) -> Option<String> {
        match self.0 {}
    }

    pub(super) fn key(&self, _: Transform, _: &[u8], _: &[u8]) -> Result<Key, KeyError> {
        match self.0 {}
    }

    pub(super) fn seal(&self, _: &mut [EspJob<'_, super::Key>]) {
        match self.0 {}
    }

    pub(super) fn open(&self, _: &mut [EspJob<'_, super::Key>]) {
        match self.0 {}
    }

    pub(super) fn sign(&self, _: &mut [AhJob<'_, super::Key>]) {
        match self.0 {}
    }

    pub(super) fn verify(&self, _: &mut [AhJob<'_, super::Key>]) {
        match self.0 {}
    }
}
