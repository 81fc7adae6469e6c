//! Stands for an engine that needs another kind of CPU.

use std::convert::Infallible;

use portcullis_config::Transform;
use portcullis_ipsec::engine::{AhJob, EspJob, KeyError};

/// There is none.
#[derive(Debug)]
pub(super) struct Absent(Infallible);
pub(super) type KernelEngine = Absent;
pub(super) type MultiBuffer = Absent;

/// There is none.
pub(super) struct Key(#[allow(dead_code)] Infallible);

/// On a CPU that cannot have the engine, it is not missed.
pub(super) fn has(_transform: Transform) -> bool {
    false
}

// Each engine uses its part.
#[allow(dead_code)]
impl Absent {
    pub(super) fn new() -> Result<Self, String> {
        Err("not for this kind of CPU".into())
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        match self.0 {}
    }

    pub(super) fn refuses(&self, _transform: Transform) -> Option<String> {
        match self.0 {}
    }

    pub(super) fn seal(&self, _jobs: &mut [EspJob<'_, super::Key>]) -> usize {
        match self.0 {}
    }
}
