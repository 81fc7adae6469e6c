//! One port's device: its capabilities, and the SAs that it has.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dpdk::security::{self, Sa, Security};
use portcullis_config::{AeadIcv, AesKey, Cipher, Direction, Mode, SaConfig, Transform};
use portcullis_ipsec::offload::offers::{Capabilities, Provider};
use portcullis_ipsec::offload::{Fits, Session};

/// How long an SA stays in the device after its end: packets that are marked for it may still wait to be sent.
const LINGER: Duration = Duration::from_secs(1);
/// Length of the salt (RFC 4106 4).
const SALT: usize = 4;
/// SAs that a device is asked to hold at once.
pub(super) const SESSIONS: u32 = 1024;

/// What the device knows an inbound SA by.
type Mark = (u32, IpAddr);

/// An SA in the device.
#[derive(Debug)]
struct Held {
    session: security::Session,
    inbound: Option<Mark>,
}

/// A device that ciphers as it sends and receives.
#[derive(Debug)]
pub struct Device {
    security: Security,
    asked: VecDeque<(Session, SaConfig)>,
    held: HashMap<Session, Held>,
    leaving: VecDeque<(Instant, Held)>,
}

/// True if this is an algorithm that devices are asked for.
pub fn has(transform: Transform) -> bool {
    matches!(transform, Transform::Esp(Cipher::AesGcm(..), _))
}

/// An SA in the device's words; `None` if it has none for it.
fn words(config: &SaConfig) -> Option<Sa<'_>> {
    let keymat = config.cipher_key.expose();
    let (key, salt) = keymat.split_at_checked(keymat.len().checked_sub(SALT)?)?;
    has(config.transform).then_some(Sa {
        spi: config.spi,
        key,
        salt: *salt.first_chunk()?,
        icv: config.transform.icv_length() as u16,
        esn: config.esn,
        egress: config.direction == Direction::Outbound,
        tunnel: config.mode == Mode::Tunnel,
        ends: (config.source, config.destination),
    })
}

impl Device {
    /// The device behind a port.
    pub fn new(security: Security) -> Self {
        Device {
            security,
            asked: VecDeque::new(),
            held: HashMap::new(),
            leaving: VecDeque::new(),
        }
    }

    /// An SA that it has.
    pub fn session(&self, session: Session) -> Option<security::Session> {
        Some(self.held.get(&session)?.session.clone())
    }

    /// True if the device has SAs of this algorithm, of any mode, in both directions.
    fn is_able(&self, key: &[u8], icv: u16) -> bool {
        let none = IpAddr::from([0; 4]);
        let able = |egress, tunnel| {
            let sa = Sa {
                spi: 0,
                key,
                salt: [0; SALT],
                icv,
                esn: false,
                egress,
                tunnel,
                ends: (none, none),
            };
            self.security.lacks(&sa).is_none()
        };
        [false, true].iter().any(|tunnel| able(true, *tunnel))
            || [false, true].iter().any(|tunnel| able(false, *tunnel))
    }

    /// Gives the device an SA, or says why it cannot be.
    fn create(&mut self, config: &SaConfig) -> Result<Held, String> {
        let sa = words(config).ok_or("the device does not have its algorithms")?;
        if let Some(lack) = self.security.lacks(&sa) {
            return Err(lack.to_string());
        }
        let inbound = (!sa.egress).then_some((config.spi, config.destination));
        let all = self
            .held
            .values()
            .chain(self.leaving.iter().map(|(_, held)| held));
        // What the device says of a packet would be said of either.
        if inbound.is_some() && all.map(|held| held.inbound).any(|mark| mark == inbound) {
            return Err("the device has another SA with its SPI".into());
        }
        let session = self.security.create(&sa);
        let session = session.map_err(|error| error.to_string())?;
        Ok(Held { session, inbound })
    }
}

impl Provider for Device {
    fn capabilities(&self) -> Capabilities {
        let keys = [AesKey::Aes128, AesKey::Aes192, AesKey::Aes256];
        let icvs = [AeadIcv::Icv8, AeadIcv::Icv12, AeadIcv::Icv16];
        let transforms = keys.into_iter().flat_map(|key| {
            let transform = move |icv| Transform::Esp(Cipher::AesGcm(key, icv), None);
            icvs.into_iter().map(transform)
        });
        let able = |transform: &Transform| {
            let Transform::Esp(cipher, _) = transform else {
                return false;
            };
            let key = vec![0; cipher.key_length().saturating_sub(SALT)];
            self.is_able(&key, transform.icv_length() as u16)
        };
        Capabilities {
            transforms: transforms.filter(able).collect(),
            udp_encapsulation: false,
            fits: Fits::default(),
        }
    }

    fn add(&mut self, session: Session, sa: &SaConfig) {
        self.asked.push_back((session, sa.clone()));
    }

    fn remove(&mut self, session: Session) {
        if let Some(held) = self.held.remove(&session) {
            self.leaving.push_back((Instant::now(), held));
        }
    }

    fn poll(&mut self) -> Option<(Session, Result<(), String>)> {
        let gone = |held: &(Instant, Held)| held.0.elapsed() >= LINGER;
        while self.leaving.front().is_some_and(gone) {
            self.leaving.pop_front();
        }
        let (session, config) = self.asked.pop_front()?;
        let created = self.create(&config);
        Some((
            session,
            created.map(|held| drop(self.held.insert(session, held))),
        ))
    }

    fn was_lost(&mut self) -> bool {
        let lost = self.security.was_lost();
        if lost {
            self.asked.clear();
            let held = self.held.drain().map(|(_, held)| (Instant::now(), held));
            self.leaving.extend(held);
        }
        lost
    }
}
