//! Security associations as a worker uses them: everything precomputed, one owner, no atomics but counters.

use std::sync::Arc;

use portcullis_config::{
    Cipher, Df, Dscp, Integrity, Limits, Mode, SaConfig, Transform, UdpEncapsulation,
};

use crate::DropReason;
use crate::counters::SaCounters;
use crate::flow::Egress;
use crate::ip::Address;
use crate::replay::ReplayWindow;
use crate::spd::{CompiledSelector, Match, SelectorKey};
use crate::tunnel::OuterHeader;

/// An SA's place: the worker that owns it, and its slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SaRef {
    /// Owning worker.
    pub worker: u16,
    /// Index into that worker's inbound or outbound SAs.
    pub slot: u32,
}

/// Sizes of a transform, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Transform.
    pub transform: Transform,
    /// Explicit IV of ESP.
    pub iv_len: usize,
    /// ICV on the wire.
    pub icv_len: usize,
    /// What ESP pads to.
    pub alignment: usize,
}

impl Shape {
    /// Sizes of `transform`.
    pub const fn new(transform: Transform) -> Self {
        let (iv_len, alignment) = match transform {
            Transform::Esp(cipher, _) => (cipher.iv_length(), cipher.alignment()),
            Transform::Ah(_) => (0, 4),
        };
        Shape {
            transform,
            iv_len,
            icv_len: transform.icv_length(),
            alignment,
        }
    }

    /// True for ESP, false for AH.
    pub const fn is_esp(&self) -> bool {
        matches!(self.transform, Transform::Esp(..))
    }

    /// True if each packet's IV must be random (CBC).
    pub const fn needs_random_iv(&self) -> bool {
        matches!(self.transform, Transform::Esp(cipher, _) if cipher.needs_unpredictable_iv())
    }

    /// True for GMAC in AH, whose IV lies in front of the ICV (RFC 4543 4).
    pub const fn iv_in_icv(&self) -> bool {
        matches!(self.transform, Transform::Ah(Integrity::AesGmac(_)))
    }

    /// Unencrypted ESP: the payload is not ciphertext blocks.
    pub const fn is_null(&self) -> bool {
        matches!(self.transform, Transform::Esp(Cipher::Null, _))
    }
}

/// What an SA's use so far means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeState {
    /// Go on.
    Alive,
    /// A soft limit is reached and control does not know: say so, go on.
    Soft,
    /// A hard limit is reached: the packet may not use the SA.
    Expired,
}

/// Lifetime of an SA (RFC 4301 4.4.2.1): bytes and packets counted by its one owner, seconds by its clock.
#[derive(Debug)]
pub struct Life {
    soft: Limits,
    hard: Limits,
    born: u64,
    packets: u64,
    bytes: u64,
    soft_told: bool,
    hard_told: bool,
}

impl Life {
    /// A life that begins at `now` milliseconds.
    pub fn new(soft: Limits, hard: Limits, now: u64) -> Self {
        Life {
            soft,
            hard,
            born: now,
            packets: 0,
            bytes: 0,
            soft_told: false,
            hard_told: false,
        }
    }

    fn exceeds(&self, limits: &Limits, now: u64) -> bool {
        limits.packets.is_some_and(|l| self.packets > l)
            || limits.bytes.is_some_and(|l| self.bytes > l)
            || limits
                .seconds
                .is_some_and(|l| now.saturating_sub(self.born) >= l.saturating_mul(1000))
    }

    /// Counts one packet of `bytes` and says whether it may pass. A refused packet is not counted.
    #[inline]
    pub fn charge(&mut self, bytes: usize, now: u64) -> LifeState {
        self.packets += 1;
        self.bytes += bytes as u64;
        if self.exceeds(&self.hard, now) {
            self.packets -= 1;
            self.bytes -= bytes as u64;
            return LifeState::Expired;
        }
        if !self.soft_told && self.exceeds(&self.soft, now) {
            return LifeState::Soft;
        }
        LifeState::Alive
    }

    /// Notes whether control took the news of the soft limit; if not, the next packet brings it again.
    pub fn told_soft(&mut self, told: bool) {
        self.soft_told = told;
    }

    /// True until control knows that a hard limit stopped the SA.
    pub fn hard_is_news(&self) -> bool {
        !self.hard_told
    }

    /// Notes whether control took the news of the hard limit.
    pub fn told_hard(&mut self, told: bool) {
        self.hard_told = told;
    }
}

/// An SA that we receive with.
#[derive(Debug)]
pub struct InboundSa<K> {
    /// Engine key.
    pub key: K,
    /// Sizes.
    pub shape: Shape,
    /// Tunnel or transport.
    pub mode: Mode,
    /// ESP comes in UDP.
    pub udp: bool,
    /// 64 bit sequence numbers.
    pub esn: bool,
    /// Anti-replay; `None` where the policy turned it off.
    pub replay: Option<ReplayWindow>,
    /// Lifetime.
    pub life: Life,
    /// What may come out of it; empty for an SA that only ever carries another one of its bundle.
    pub selectors: Box<[CompiledSelector]>,
    /// Slot of the SA that must have come off the same packet just before (AH around ESP).
    pub came_in: Option<u32>,
    /// True for that outer SA: what comes out must be the next SA of the bundle.
    pub carries_bundle: bool,
    /// Counters shared with the control thread.
    pub counters: Arc<SaCounters>,
}

impl<K> InboundSa<K> {
    /// A fresh SA from its configuration and an engine's key. Bundle fields start unset.
    pub fn new(config: &SaConfig, key: K, now: u64, counters: Arc<SaCounters>) -> Self {
        InboundSa {
            key,
            shape: Shape::new(config.transform),
            mode: config.mode,
            udp: config.udp.is_some(),
            esn: config.esn,
            replay: config
                .replay_window
                .map(|size| ReplayWindow::new(size, config.esn)),
            life: Life::new(config.soft, config.hard, now),
            selectors: config.selectors.iter().map(CompiledSelector::new).collect(),
            came_in: None,
            carries_bundle: false,
            counters,
        }
    }

    /// RFC 4301 5.2 step 4: is the packet one that this SA may carry?
    pub fn admits(&self, key: &SelectorKey) -> Match<()> {
        any_match(&self.selectors, key)
    }
}

/// First answer of a list of selectors that is not a plain no.
pub fn any_match(selectors: &[CompiledSelector], key: &SelectorKey) -> Match<()> {
    selectors
        .iter()
        .map(|s| s.matches(key))
        .find(|m| *m != Match::No)
        .unwrap_or(Match::No)
}

/// Where an outbound SA's packets leave, as found for one generation of routes and neighbours.
#[derive(Clone, Copy, Debug)]
pub struct CachedRoute {
    /// Generation for which it holds.
    pub generation: u32,
    /// How packets leave.
    pub egress: Egress,
    /// MTU of the interface.
    pub mtu: u16,
}

/// An SA that we send with.
#[derive(Debug)]
pub struct OutboundSa<K> {
    /// Engine key.
    pub key: K,
    /// SPI.
    pub spi: u32,
    /// Sizes.
    pub shape: Shape,
    /// 64 bit sequence numbers.
    pub esn: bool,
    /// Last sequence number used.
    pub sequence: u64,
    /// Prebuilt outer header; `None` in transport mode.
    pub outer: Option<OuterHeader>,
    /// ESP in UDP.
    pub udp: Option<UdpEncapsulation>,
    /// DF policy of the outer header.
    pub df: Df,
    /// Outer source.
    pub source: Address,
    /// Outer destination.
    pub destination: Address,
    /// Slot of the next SA of the bundle, which goes around this one.
    pub next: Option<u32>,
    /// Bytes that the SAs around this one add.
    pub bundle_overhead: usize,
    /// Path MTU learnt for the outer packet (RFC 4301 8.2); `u32::MAX` if nothing was.
    pub path_mtu: u32,
    /// Route of the outer packet.
    pub route: Option<CachedRoute>,
    /// Lifetime.
    pub life: Life,
    /// Counters shared with the control thread.
    pub counters: Arc<SaCounters>,
}

impl<K> OutboundSa<K> {
    /// A fresh SA from its configuration and an engine's key. Bundle fields start unset.
    pub fn new(config: &SaConfig, key: K, now: u64, counters: Arc<SaCounters>) -> Self {
        let (source, destination) = (config.source.into(), config.destination.into());
        let protocol = config.transform.protocol();
        let (df, dscp): (Df, Dscp) = (config.df, config.dscp);
        let outer = (config.mode == Mode::Tunnel)
            .then(|| OuterHeader::new(source, destination, protocol, config.udp, df, dscp));
        OutboundSa {
            key,
            spi: config.spi,
            shape: Shape::new(config.transform),
            esn: config.esn,
            sequence: 0,
            outer,
            udp: config.udp,
            df,
            source,
            destination,
            next: None,
            bundle_overhead: 0,
            path_mtu: u32::MAX,
            route: None,
            life: Life::new(config.soft, config.hard, now),
            counters,
        }
    }

    /// Takes the next sequence number, unless it would repeat (RFC 4303 3.3.3).
    pub fn next_sequence(&mut self) -> Result<u64, DropReason> {
        let last = if self.esn {
            u64::MAX
        } else {
            u64::from(u32::MAX)
        };
        if self.sequence >= last {
            return Err(DropReason::SequenceOverflow);
        }
        self.sequence += 1;
        Ok(self.sequence)
    }
}
