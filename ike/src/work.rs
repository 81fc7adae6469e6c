//! Work that takes milliseconds, to be done elsewhere: Diffie-Hellman and signatures.

use crate::{IkeId, RandomSource};

/// Something to compute. It can be sent to any thread; its order does not matter.
pub struct Work {
    pub(crate) ike: IkeId,
}

/// What was computed, for [`Endpoint::handle_work_done`](crate::Endpoint::handle_work_done).
pub struct WorkDone {
    pub(crate) ike: IkeId,
}

impl Work {
    /// Computes it. `unix_time` in seconds is for the validity of certificates.
    pub fn run(self, _random: &mut dyn RandomSource, _unix_time: u64) -> WorkDone {
        WorkDone { ike: self.ike }
    }
}
