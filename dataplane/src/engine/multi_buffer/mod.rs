//! Intel's multi-buffer library: of every burst, the packets of one algorithm side by side, whatever their SAs.

mod ah;
mod authenticate;
mod esp;
mod key;

use ipsec_mb::{Algorithm, Manager};
use portcullis_config::Transform;

pub(super) use key::Key;

/// Bytes of the AH packets, headers included, that are authenticated side by side.
const SCRATCH: usize = 512 << 10;

/// The library's state of one worker.
pub(super) struct MultiBuffer {
    manager: Manager,
    /// What AH covers is not in one piece: here it is brought together. Never grows.
    scratch: Vec<u8>,
}

/// The library has the algorithms of a transform.
pub(super) fn has(transform: Transform) -> bool {
    !key::algorithms(transform).is_empty()
}

impl MultiBuffer {
    pub(super) fn new() -> Result<Self, String> {
        let manager = Manager::new().map_err(|error| error.to_string())?;
        let scratch = Vec::with_capacity(SCRATCH);
        Ok(MultiBuffer { manager, scratch })
    }

    /// A line for each algorithm that the library computes wrongly here.
    pub(super) fn refusals(&self) -> Vec<String> {
        let refused = self.manager.refused().iter();
        refused
            .map(|algorithm| format!("engine ipsec-mb is without {}", wrong(algorithm)))
            .collect()
    }

    /// Why this engine does not take a transform that the library has.
    pub(super) fn refuses(&self, transform: Transform) -> Option<String> {
        let needed = key::algorithms(transform);
        let refused = needed.iter().find(|a| self.manager.refused().contains(a));
        refused.map(wrong)
    }
}

fn wrong(algorithm: &Algorithm) -> String {
    format!("{algorithm:?}, whose known answers it does not compute")
}

impl std::fmt::Debug for MultiBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MultiBuffer")
    }
}
