//! What the monitor of the source documents counts: packets under ESP and AH, SAs, rekeys, bad packets.

use portcullis_ipsec::DropReason;
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::tally::Sums;

/// Packets that no honest peer sends, or that somebody changed, replayed or sent astray.
const BAD: [DropReason; 12] = [
    DropReason::EspAhMalformed,
    DropReason::BadSpi,
    DropReason::EncapsulationMismatch,
    DropReason::Replay,
    DropReason::ReplayOld,
    DropReason::IcvMismatch,
    DropReason::PaddingInvalid,
    DropReason::NextHeaderInvalid,
    DropReason::InnerMalformed,
    DropReason::SelectorMismatch,
    DropReason::BundleMismatch,
    DropReason::ProtectedExpected,
];

/// Figures of the whole gateway. Those of packets are a second old at the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Statistics {
    /// Packets under ESP and AH, since the start.
    #[serde(flatten)]
    pub sums: Sums,
    /// SAs, each direction counted for itself, with those that a reload has removed and that still receive
    /// (`leaves_ms`).
    pub sas: usize,
    /// IKE SAs that were established since the start.
    pub ike_established: u64,
    /// Negotiations that failed since then.
    pub ike_failed: u64,
    /// SAs of children that replaced others.
    pub rekeys: u64,
    /// Packets that were not what they must be: unknown SPI, wrong ICV, replayed, malformed, outside their SA, or
    /// in clear.
    pub bad_packets: u64,
}

/// The figures now. `sums` are those of manually keyed SAs.
pub fn statistics(control: &Control, sums: Sums, sas: usize) -> Statistics {
    let counters = control.ike.endpoint.counters();
    let bad = |worker: &crate::control::WorkerLink| -> u64 {
        let drops = &worker.status.counters.drops;
        BAD.iter().map(|reason| drops.get(*reason)).sum()
    };
    Statistics {
        sums: sums + control.negotiated.sums(),
        sas,
        ike_established: counters.established,
        ike_failed: counters.failed,
        rekeys: counters.rekeys,
        bad_packets: control.workers.iter().map(bad).sum(),
    }
}
