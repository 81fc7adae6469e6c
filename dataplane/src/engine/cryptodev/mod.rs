//! Crypto devices (cryptodev): they cipher while the worker goes on.
//!
//! Control opens the devices, and makes a session for each SA that one of them can serve; each worker has a queue of
//! each device.

mod queue;
mod suite;

use dpdk::crypto::{CryptoConfig, CryptoDevice, Sessions};
use portcullis_config::{EngineKind, Policy, SaConfig};

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
    /// A port's own device ciphers, too.
    pub inline: bool,
}

impl CryptoDevices {
    /// Opens the devices of a policy, if it wants any, and gives each worker its queues.
    pub fn start(policy: &Policy) -> Result<(CryptoDevices, Vec<DeviceQueues>), Error> {
        let runtime = &policy.runtime;
        let mut queues: Vec<_> = (0..runtime.workers)
            .map(|_| DeviceQueues::default())
            .collect();
        let config = CryptoConfig {
            queues: runtime.workers,
            depth: runtime.crypto_queue.into(),
            sessions: Self::sessions(policy.sas.len()),
        };
        let mut devices = Vec::new();
        let wanted = runtime.engines.contains(&EngineKind::Cryptodev);
        for name in runtime.crypto_devices.iter().filter(|_| wanted) {
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
        let inline = false;
        Ok((CryptoDevices { devices, inline }, queues))
    }

    /// Sessions that a device has place for beside a policy of so many SAs: a replacement is made before what it
    /// replaces is gone.
    pub fn sessions(sas: usize) -> u32 {
        u32::try_from(sas)
            .unwrap_or(u32::MAX)
            .saturating_mul(2)
            .saturating_add(SPARE_SESSIONS)
    }

    /// Makes the session of an SA for packets of its worker, or says why it cannot; `None` if its algorithms are not
    /// for devices.
    pub fn key(&self, config: &SaConfig, worker: u16) -> Option<Result<DeviceKey, String>> {
        let (suite, transform) = Suite::of(config)?;
        let mut devices = self.devices.iter().enumerate();
        let found = devices.find(|(_, (_, sessions))| sessions.supports(&transform));
        let Some((device, (name, sessions))) = found else {
            return Some(Err("no device has these algorithms".into()));
        };
        let session = sessions.create(worker, &transform);
        let key = session.map(|session| DeviceKey {
            session,
            suite,
            device,
        });
        Some(key.map_err(|error| format!("{name}: {error}")))
    }

    /// Ends the sessions of SAs that are gone, and whose last packets are back.
    pub fn sweep(&self) {
        for (_, sessions) in &self.devices {
            sessions.sweep();
        }
    }
}
