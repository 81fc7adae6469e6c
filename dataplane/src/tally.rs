//! Packets under ESP and AH, of SAs that are there and of those that were: sums that never fall.

use std::sync::Arc;

use portcullis_config::{Direction, SaConfig, Transform};
use portcullis_ipsec::counters::SaCounters;
use serde::{Deserialize, Serialize};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Bytes of the packets inside.
    pub bytes: u64,
}

impl Volume {
    /// What the counters of an SA say.
    fn of(counters: &SaCounters) -> Volume {
        Volume {
            packets: counters.packets.get(),
            bytes: counters.bytes.get(),
        }
    }

    /// Adds what `now` is ahead of `seen`.
    fn gain(&mut self, now: Volume, seen: &mut Volume) {
        self.packets += now.packets.saturating_sub(seen.packets);
        self.bytes += now.bytes.saturating_sub(seen.bytes);
        *seen = now;
    }
}

/// Sums by protocol and direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sums {
    /// ESP, received.
    pub esp_received: Volume,
    /// ESP, sent.
    pub esp_sent: Volume,
    /// AH, received.
    pub ah_received: Volume,
    /// AH, sent.
    pub ah_sent: Volume,
}

/// The sum that an SA is part of.
#[derive(Clone, Copy, Debug)]
struct Kind {
    esp: bool,
    inbound: bool,
}

impl Kind {
    fn of(config: &SaConfig) -> Kind {
        Kind {
            esp: matches!(config.transform, Transform::Esp(..)),
            inbound: config.direction == Direction::Inbound,
        }
    }

    fn sum(self, sums: &mut Sums) -> &mut Volume {
        match (self.esp, self.inbound) {
            (true, true) => &mut sums.esp_received,
            (true, false) => &mut sums.esp_sent,
            (false, true) => &mut sums.ah_received,
            (false, false) => &mut sums.ah_sent,
        }
    }
}

/// An SA that goes, and that a worker may still have.
#[derive(Debug)]
struct Departing {
    kind: Kind,
    seen: Volume,
    counters: Arc<SaCounters>,
}

/// Keeps the sums: each SA is looked at from time to time, and when it goes until the last has let go of it.
#[derive(Debug, Default)]
pub struct Tally {
    sums: Sums,
    departing: Vec<Departing>,
}

impl Tally {
    /// Counts what an SA has carried since it was last `seen`.
    pub fn look(&mut self, config: &SaConfig, counters: &SaCounters, seen: &mut Volume) {
        let sum = Kind::of(config).sum(&mut self.sums);
        sum.gain(Volume::of(counters), seen);
    }

    /// An SA goes.
    pub fn depart(&mut self, config: &SaConfig, counters: &Arc<SaCounters>, seen: Volume) {
        self.departing.push(Departing {
            kind: Kind::of(config),
            seen,
            counters: counters.clone(),
        });
    }

    /// Counts what those that go still carry. Gives the counters that nobody else has any more: there may be very many
    /// to free.
    pub fn settle(&mut self) -> Vec<Arc<SaCounters>> {
        let sums = &mut self.sums;
        let (mut settled, mut stay) = (Vec::new(), Vec::new());
        for mut sa in std::mem::take(&mut self.departing) {
            // Who else has it may count on; seen before, the last of its packets are in the counters.
            let alone = Arc::strong_count(&sa.counters) == 1;
            let sum = sa.kind.sum(sums);
            sum.gain(Volume::of(&sa.counters), &mut sa.seen);
            match alone {
                true => settled.push(sa.counters),
                false => stay.push(sa),
            }
        }
        self.departing = stay;
        settled
    }

    /// The sums so far.
    pub fn sums(&self) -> Sums {
        self.sums
    }
}

impl std::ops::Add for Sums {
    type Output = Sums;

    fn add(self, other: Sums) -> Sums {
        let plus = |a: Volume, b: Volume| Volume {
            packets: a.packets + b.packets,
            bytes: a.bytes + b.bytes,
        };
        Sums {
            esp_received: plus(self.esp_received, other.esp_received),
            esp_sent: plus(self.esp_sent, other.esp_sent),
            ah_received: plus(self.ah_received, other.ah_received),
            ah_sent: plus(self.ah_sent, other.ah_sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_kept_as_long_as_somebody_may_count() {
        let counters = Arc::<SaCounters>::default();
        let mut tally = Tally::default();
        tally.departing.push(Departing {
            kind: Kind {
                esp: true,
                inbound: false,
            },
            seen: Volume::default(),
            counters: counters.clone(),
        });
        counters.packets.add(2);
        assert!(tally.settle().is_empty());
        counters.packets.add(3);
        drop(counters);
        assert_eq!(tally.settle().len(), 1);
        assert_eq!(tally.sums().esp_sent.packets, 5);
        // Neither they nor room for them is left.
        assert_eq!(tally.departing.capacity(), 0);
    }
}
