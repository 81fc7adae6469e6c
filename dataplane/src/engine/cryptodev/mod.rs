//! Crypto devices (cryptodev): they cipher while the worker goes on.
//!
//! Control opens the devices, and makes a session for each SA that one of them can serve; each worker has a queue of
//! each device.

mod queue;
mod suite;

use dpdk::crypto::{CryptoConfig, CryptoDevice, Sessions};
use portcullis_config::SaConfig;

pub use queue::{DeviceKey, DeviceQueues};

use suite::Suite;

use crate::Error;
use crate::eal::device_name;

/// Sessions that a device has place for beyond those of the policy file.
const SPARE_SESSIONS: u32 = 64;

/// All crypto devices of the policy, as control knows them.
#[derive(Debug, Default)]
pub struct CryptoDevices {
    devices: Vec<(String, Sessions)>,
}

impl CryptoDevices {
    /// Opens devices as DPDK spells them, with a queue for each of `workers` that holds `depth` packets, and place
    /// for the sessions of `sas` SAs. Gives each worker its queues.
    pub fn start(
        names: &[String],
        workers: u16,
        depth: u16,
        sas: usize,
    ) -> Result<(CryptoDevices, Vec<DeviceQueues>), Error> {
        let mut queues: Vec<_> = (0..workers).map(|_| DeviceQueues::default()).collect();
        let config = CryptoConfig {
            queues: workers,
            depth: depth.into(),
            sessions: Self::sessions(sas),
        };
        let mut devices = Vec::new();
        for name in names {
            let device = CryptoDevice::open(device_name(name))?;
            tracing::info!(
                device = name,
                driver = device.driver(),
                "crypto device opened"
            );
            let (sessions, theirs) = device.start(&config)?;
            devices.push((name.clone(), sessions));
            for (worker, queue) in queues.iter_mut().zip(theirs) {
                worker.0.push(queue);
            }
        }
        Ok((CryptoDevices { devices }, queues))
    }

    /// Sessions that a device has place for beside a policy of so many SAs: a replacement is made before what it
    /// replaces is gone.
    pub fn sessions(sas: usize) -> u32 {
        u32::try_from(sas)
            .unwrap_or(u32::MAX)
            .saturating_mul(2)
            .saturating_add(SPARE_SESSIONS)
    }

    /// Why no device has an SA's algorithms; `None` if one has.
    pub fn refuses(&self, config: &SaConfig) -> Option<String> {
        if self.devices.is_empty() {
            return Some("no crypto device is configured".into());
        }
        match self.find(config) {
            Some(_) => None,
            None => Some("no crypto device has these algorithms".into()),
        }
    }

    fn find<'a>(
        &self,
        config: &'a SaConfig,
    ) -> Option<(usize, Suite, dpdk::crypto::Transform<'a>)> {
        let (suite, transform) = Suite::of(config)?;
        let device = self
            .devices
            .iter()
            .position(|(_, sessions)| sessions.supports(&transform))?;
        Some((device, suite, transform))
    }

    /// Makes the session of an SA for packets of its worker, or says why it cannot.
    pub fn key(&self, config: &SaConfig, worker: u16) -> Result<DeviceKey, String> {
        let found = self
            .find(config)
            .and_then(|found| Some((found, self.devices.get(found.0)?)));
        let Some(((device, suite, transform), (name, sessions))) = found else {
            return Err("no crypto device has these algorithms".into());
        };
        let session = sessions
            .create(worker, &transform)
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(DeviceKey {
            session,
            suite,
            device,
        })
    }
}
