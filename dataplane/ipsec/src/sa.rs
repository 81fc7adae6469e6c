//! Security associations as a worker uses them: everything precomputed, one owner, no atomics but counters.

use std::mem::offset_of;
use std::sync::Arc;

use portcullis_config::{
    Cipher, Df, Dscp, Integrity, Limits, Mode, SaConfig, Transform, UdpEncapsulation,
};

use rand_core::RngCore;

use crate::DropReason;
use crate::counters::SaCounters;
use crate::envelope::{Envelope, LONGEST_IV};
use crate::flow::Adjacency;
use crate::ip::Address;
use crate::nat_checksum::Original;
use crate::offload::Offload;
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

/// Where a lifetime ends, `u64::MAX` for never.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    packets: u64,
    bytes: u64,
    /// Milliseconds.
    at: u64,
}

impl Bounds {
    fn new(limits: Limits, born: u64) -> Self {
        let seconds = limits.seconds.map(|s| s.saturating_mul(1000));
        Bounds {
            packets: limits.packets.unwrap_or(u64::MAX),
            bytes: limits.bytes.unwrap_or(u64::MAX),
            at: seconds.map_or(u64::MAX, |s| born.saturating_add(s)),
        }
    }

    fn nearer(self, other: Bounds) -> Self {
        Bounds {
            packets: self.packets.min(other.packets),
            bytes: self.bytes.min(other.bytes),
            at: self.at.min(other.at),
        }
    }
}

/// Lifetime of an SA (RFC 4301 4.4.2.1): bytes and packets counted by its one owner, seconds by its clock.
#[derive(Debug)]
#[repr(C)]
pub struct Life {
    packets: u64,
    bytes: u64,
    /// The nearest bounds about which there is something to do: all that most packets are held against.
    next: Bounds,
    soft: Bounds,
    hard: Bounds,
    hard_told: bool,
}

impl Life {
    /// A life that begins at `now` milliseconds.
    pub fn new(soft: Limits, hard: Limits, now: u64) -> Self {
        let (soft, hard) = (Bounds::new(soft, now), Bounds::new(hard, now));
        Life {
            packets: 0,
            bytes: 0,
            next: soft.nearer(hard),
            soft,
            hard,
            hard_told: false,
        }
    }

    #[inline]
    fn exceeds(&self, bounds: &Bounds, now: u64) -> bool {
        self.packets > bounds.packets || self.bytes > bounds.bytes || now >= bounds.at
    }

    /// Counts one packet of `bytes` and says whether it may pass. A refused packet is not counted.
    #[inline]
    pub fn charge(&mut self, bytes: usize, now: u64) -> LifeState {
        self.packets += 1;
        self.bytes += bytes as u64;
        if !self.exceeds(&self.next, now) {
            return LifeState::Alive;
        }
        self.charge_at_bounds(bytes, now)
    }

    /// True if so many packets more, however long, have no consequences now.
    #[inline]
    pub(crate) fn is_far_from_bounds(&self, packets: usize, now: u64) -> bool {
        let bytes = packets as u64 * u64::from(u16::MAX);
        let packets = self.packets + packets as u64;
        packets <= self.next.packets && self.bytes + bytes <= self.next.bytes && now < self.next.at
    }

    /// Counts packets that have no consequences.
    #[inline]
    pub(crate) fn charge_many(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
    }

    #[cold]
    fn charge_at_bounds(&mut self, bytes: usize, now: u64) -> LifeState {
        if self.exceeds(&self.hard, now) {
            self.packets -= 1;
            self.bytes -= bytes as u64;
            return LifeState::Expired;
        }
        match self.exceeds(&self.soft, now) {
            true => LifeState::Soft,
            false => LifeState::Alive,
        }
    }

    /// Goes on where another life of the same SA, with other limits, has come to.
    pub fn take_over(&mut self, old: &Life) {
        (self.packets, self.bytes) = (old.packets, old.bytes);
    }

    /// Notes whether control took the news of the soft limit; if not, the next packet brings it again.
    pub fn told_soft(&mut self, told: bool) {
        if told {
            self.next = self.hard;
            self.soft = self.hard;
        }
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

/// An SA that we receive with. What each packet needs comes first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct InboundSa<K> {
    /// Counters shared with the control thread.
    pub counters: Arc<SaCounters>,
    /// Its number among all SAs that the worker ever had: remembered flows and packets in a device name it, so that
    /// those of another SA in the same slot are not taken for its own. Given by the worker.
    pub serial: u32,
    /// ESP in tunnel mode, not in UDP and in no bundle.
    pub is_plain_tunnel: bool,
    /// 64 bit sequence numbers.
    pub esn: bool,
    /// Sizes.
    pub shape: Shape,
    /// Anti-replay; `None` where the policy turned it off.
    pub replay: Option<ReplayWindow>,
    /// Engine key.
    pub key: K,
    /// Lifetime.
    pub life: Life,
    /// Tunnel or transport.
    pub mode: Mode,
    /// ESP comes in UDP: from this address and port, the last time.
    pub udp: Option<(Address, u16)>,
    /// What may come out of it; empty for an SA that only ever carries another one of its bundle.
    pub selectors: Arc<[CompiledSelector]>,
    /// Slot of the SA that must have come off the same packet just before (AH around ESP).
    pub came_in: Option<u32>,
    /// True for that outer SA: what comes out must be the next SA of the bundle.
    pub carries_bundle: bool,
    /// Where it stands with the NIC.
    pub offload: Offload,
    /// Addresses that the sender's checksums cover, if NATs may have changed them: for transport mode alone.
    pub original: Option<Original>,
}

const _: () = {
    type Sa = InboundSa<[usize; 4]>;
    let end = offset_of!(Sa, life) + offset_of!(Life, soft);
    assert!(end <= Sa::FRONT * 64 && offset_of!(Sa, replay) < end && offset_of!(Sa, key) < end);
};

impl<K> InboundSa<K> {
    /// Cache lines that each packet of a plain tunnel needs, with a key of four words.
    pub(crate) const FRONT: usize = 3;

    /// A fresh SA from its configuration and an engine's key. Bundle fields start unset.
    pub fn new(config: &SaConfig, key: K, now: u64, counters: Arc<SaCounters>) -> Self {
        InboundSa {
            key,
            shape: Shape::new(config.transform),
            is_plain_tunnel: false,
            mode: config.mode,
            udp: config
                .udp
                .map(|udp| (config.source.into(), udp.source_port)),
            original: Original::of(config),
            esn: config.esn,
            replay: config
                .replay_window
                .map(|size| ReplayWindow::new(size, config.esn)),
            life: Life::new(config.lifetimes.soft(), config.lifetimes.hard(), now),
            serial: 0,
            selectors: config.selectors.iter().map(CompiledSelector::new).collect(),
            came_in: None,
            carries_bundle: false,
            offload: Offload::default(),
            counters,
        }
    }

    /// Records the sequence number of an authentic packet (RFC 4303 3.4.3).
    #[inline]
    pub(crate) fn accept(&mut self, sequence: u64) -> Result<(), DropReason> {
        let highest = match &mut self.replay {
            Some(window) => {
                window.track(sequence)?;
                window.top()
            }
            None => sequence,
        };
        self.counters.sequence.set(highest);
        Ok(())
    }

    /// Goes on where the same SA under other terms has come to: its key, use so far, and sequence numbers.
    pub fn take_over(&mut self, old: &mut InboundSa<K>) {
        std::mem::swap(&mut self.key, &mut old.key);
        self.offload = std::mem::take(&mut old.offload);
        self.life.take_over(&old.life);
        if let (Some(replay), Some(old)) = (&mut self.replay, &old.replay) {
            replay.take_over(old);
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

/// An SA that we send with. What each packet needs comes first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct OutboundSa<K> {
    /// Last sequence number used.
    pub sequence: u64,
    /// Last one that there is (RFC 4303 3.3.3).
    pub last_sequence: u64,
    /// Counters shared with the control thread.
    pub counters: Arc<SaCounters>,
    /// What sets identifications of this SA apart.
    id_base: u16,
    /// Each packet's IV must be random.
    random_iv: bool,
    /// 64 bit sequence numbers.
    pub esn: bool,
    /// Engine key.
    pub key: K,
    /// Its packets' headers and way out, as last found.
    pub envelope: Envelope,
    /// Lifetime.
    pub life: Life,
    /// Where its packets leave, as found for the envelope's generation.
    pub way: Option<Adjacency>,
    /// SPI.
    pub spi: u32,
    /// Sizes.
    pub shape: Shape,
    /// Outer header; `None` in transport mode.
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
    /// Slot of the SA that this one took the place of.
    pub moved: Option<u32>,
    /// Path MTU learnt for the outer packet (RFC 4301 8.2); `u32::MAX` if nothing was.
    pub path_mtu: u32,
    /// Where it stands with the NIC.
    pub offload: Offload,
    /// Its number among all SAs that the worker ever had, which packets in a device name. Given by the worker.
    pub serial: u32,
}

const _: () = {
    type Sa = OutboundSa<[usize; 4]>;
    let end = offset_of!(Sa, life) + offset_of!(Life, soft);
    assert!(end <= Sa::FRONT * 64 && offset_of!(Sa, envelope) < end && offset_of!(Sa, key) < end);
};

impl<K> OutboundSa<K> {
    /// Cache lines that each packet in an envelope needs, with a key of four words.
    pub(crate) const FRONT: usize = 4;

    /// A fresh SA from its configuration and an engine's key. Bundle fields start unset.
    pub fn new(config: &SaConfig, key: K, now: u64, counters: Arc<SaCounters>) -> Self {
        let (source, destination) = (config.source.into(), config.destination.into());
        let protocol = config.transform.protocol();
        let (df, dscp): (Df, Dscp) = (config.df, config.dscp);
        let outer = (config.mode == Mode::Tunnel)
            .then(|| OuterHeader::new(source, destination, protocol, config.udp, df, dscp));
        OutboundSa {
            envelope: Envelope::default(),
            way: None,
            key,
            spi: config.spi,
            shape: Shape::new(config.transform),
            esn: config.esn,
            sequence: 0,
            last_sequence: match config.esn {
                true => u64::MAX,
                false => u64::from(u32::MAX),
            },
            id_base: (config.spi.wrapping_mul(0x9e37_79b1) >> 16) as u16,
            random_iv: Shape::new(config.transform).needs_random_iv(),
            outer,
            udp: config.udp,
            df,
            source,
            destination,
            next: None,
            bundle_overhead: 0,
            moved: None,
            path_mtu: u32::MAX,
            offload: Offload::default(),
            serial: 0,
            life: Life::new(config.lifetimes.soft(), config.lifetimes.hard(), now),
            counters,
        }
    }

    /// Goes on where the same SA under other terms has come to: its key, use so far, sequence number, path MTU.
    pub fn take_over(&mut self, old: &mut OutboundSa<K>) {
        std::mem::swap(&mut self.key, &mut old.key);
        self.offload = std::mem::take(&mut old.offload);
        self.life.take_over(&old.life);
        self.sequence = old.sequence;
        self.path_mtu = old.path_mtu;
    }

    /// An IV of a packet, at the front, if it must be random (RFC 3602 3).
    #[inline(always)]
    pub(crate) fn random_iv(&self, rng: &mut impl RngCore) -> Option<[u8; LONGEST_IV]> {
        self.random_iv.then(|| {
            let mut iv = [0; LONGEST_IV];
            rng.fill_bytes(&mut iv);
            iv
        })
    }

    /// IPv4's identification. RFC 6864 4.2: unique for an SA, and apart from those of other SAs to the same peer.
    #[inline(always)]
    pub(crate) fn identification(&self, sequence: u64) -> u16 {
        self.id_base.wrapping_add(sequence as u16)
    }

    /// Takes the next sequence number, unless it would repeat (RFC 4303 3.3.3).
    #[inline]
    pub fn next_sequence(&mut self) -> Result<u64, DropReason> {
        if self.sequence >= self.last_sequence {
            return Err(DropReason::SequenceOverflow);
        }
        self.sequence += 1;
        Ok(self.sequence)
    }
}
