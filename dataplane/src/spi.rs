//! SPIs of inbound SAs that are negotiated (requirement of RFC 4301 4.4.2: the receiver chooses them): random, so that
//! nobody can aim at them, and each in use once.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_config::{Direction, Policy};
use portcullis_ike::SpiSource;

/// RFC 4303 2.1: what is below is reserved.
const LEAST_SPI: u32 = 256;
/// Attempts to find one that is free: of four thousand million, most are.
const ATTEMPTS: usize = 64;

#[derive(Debug, Default)]
struct Taken {
    /// By IKE.
    negotiated: HashSet<u32>,
    /// By the policy's own inbound SAs.
    manual: HashSet<u32>,
}

/// SPIs in use. A copy is the same one.
#[derive(Clone, Debug, Default)]
pub struct Spis(Arc<Mutex<Taken>>);

impl Spis {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The sets are whole between any two calls on them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These inbound SAs of the policy have theirs already.
    pub fn keep_off(&self, policy: &Policy) {
        let inbound = policy
            .sas
            .iter()
            .filter(|sa| sa.direction == Direction::Inbound);
        self.taken().manual = inbound.map(|sa| sa.spi).collect();
    }
}

impl SpiSource for Spis {
    fn reserve(&mut self, _protocol: u8, _destination: IpAddr) -> Option<u32> {
        let mut taken = self.taken();
        for _ in 0..ATTEMPTS {
            let spi = getrandom::u32().ok()?;
            if spi >= LEAST_SPI && !taken.manual.contains(&spi) && taken.negotiated.insert(spi) {
                return Some(spi);
            }
        }
        None
    }

    fn release(&mut self, spi: u32) {
        self.taken().negotiated.remove(&spi);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_none_reserved() {
        let mut spis = Spis::default();
        let here = IpAddr::from([192, 0, 2, 1]);
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let spi = spis.reserve(50, here).expect("there are enough");
            assert!(spi >= 256 && seen.insert(spi));
        }
        seen.iter().for_each(|spi| spis.clone().release(*spi));
        assert!(spis.taken().negotiated.is_empty());
    }
}
