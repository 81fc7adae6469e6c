//! Protecting a packet with an outbound SA (RFC 4303 3.3, RFC 4302 3.3): sequence number, headers, the lane to the
//! engine, and out.
//!
//! ESP tunnels have their headers prebuilt in an [`Envelope`]; whatever does not fit one (transport mode, AH,
//! bundles, packets too long, neighbours unknown) is built header by header.

use portcullis_config::Df;

use crate::engine::AhJob;
use crate::engine::lookaside::Lookaside;
use crate::envelope::{Envelope, LONGEST_IV, Letter};
use crate::esp::EspFields;
use crate::icmp::IcmpError;
use crate::ip::{IPV6_HEADER, IpHeader, IpVersion, protocol};
use crate::pipeline::{
    Event, Lane, Origin, Outlet, Pipeline, SaSide, Sealing, Stage, ah_job, esp_job, verdicts,
};
use crate::sa::{LifeState, OutboundSa};
use crate::spd::Classifier;
use crate::tunnel::{UDP_HEADER, fill_udp6_checksum};
use crate::{DropReason, PacketBuf, ah, esp};

/// RFC 8200 5: every IPv6 link carries packets of this size.
const IPV6_MINIMUM_MTU: usize = 1280;

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Protects a packet with an SA of this worker, whose hop limit is already decremented.
    #[inline]
    pub(crate) fn protect<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        slot: u32,
    ) {
        let Some(sa) = self.sad.outbound.get(slot) else {
            return self.drop(io, buf, DropReason::NoSa);
        };
        if sa.envelope.generation != self.flows.generation() {
            if let Err(reason) = self.address_envelope(slot) {
                return self.drop(io, buf, reason);
            }
        } else if ip.total_len <= sa.envelope.limit {
            return self.enclose(io, buf, ip, slot);
        }
        self.protect_by_parts(io, buf, ip, origin, slot);
    }

    /// Puts a packet into its SA's envelope and into the lane.
    fn enclose<I: Outlet<Buf = B>>(&mut self, io: &mut I, mut buf: B, ip: &IpHeader, slot: u32) {
        let payload = buf.len();
        let enclosed = self
            .charge_outbound(io, slot, payload)
            .and_then(|sequence| {
                let sa = self.sad.outbound.get(slot).ok_or(DropReason::NoSa)?;
                let iv = sa.random_iv(&mut self.rng);
                let letter = Letter {
                    len: payload,
                    sequence,
                    id: sa.identification(sequence),
                    iv: iv.as_ref(),
                    forwarded: false,
                };
                let at = sa.envelope.close(&mut buf, 0, ip.version, &letter);
                let at = at.map_err(|_| DropReason::NoRoomInBuffer)?;
                sa.counters.sealed(payload as u64, sequence, self.now);
                Ok((sequence, at, sa.envelope.interface))
            });
        match enclosed {
            Ok((sequence, at, interface)) => self.push_sealing(
                io,
                Sealing {
                    buf,
                    slot,
                    at: at as u32,
                    sequence,
                    payload: payload as u32,
                    addressed: Some(interface),
                },
            ),
            Err(reason) => self.drop_outbound(io, buf, slot, reason),
        }
    }

    /// Finds the way of an SA's packets, and builds its envelope.
    #[cold]
    fn address_envelope(&mut self, slot: u32) -> Result<(), DropReason> {
        let sa = self.sad.outbound.get(slot).ok_or(DropReason::NoSa)?;
        let version = if sa.destination.is_v4() {
            IpVersion::V4
        } else {
            IpVersion::V6
        };
        let hop = self
            .view
            .fib
            .route(sa.destination)
            .ok_or(DropReason::NoRoute)?;
        let way = self.adjacency(hop, sa.destination, version);
        let room = self.path_mtu(sa).min(way.mtu.into()) as usize;
        let generation = self.flows.generation();
        let envelope = match &sa.outer {
            // The UDP checksum over IPv6 covers the ciphertext: it comes later.
            Some(outer)
                if sa.shape.is_esp()
                    && sa.next.is_none()
                    && !(outer.has_udp() && version == IpVersion::V6) =>
            {
                let limit = sa
                    .shape
                    .largest_payload(room.saturating_sub(outer.len()))
                    .min(usize::from(u16::MAX));
                Envelope::new(generation, limit, &way, outer, sa.spi, &sa.shape)
            }
            _ => Envelope::unfit(generation),
        };
        if let Some(sa) = self.sad.outbound.get_mut(slot) {
            sa.way = Some(way);
            sa.envelope = envelope;
        }
        Ok(())
    }

    /// Path MTU of a bundle from `sa` outwards: routers quote the outermost SA, whichever is asked.
    fn path_mtu(&self, sa: &OutboundSa<E::Key>) -> u32 {
        let next = sa.next.and_then(|next| self.sad.outbound.get(next));
        next.map_or(sa.path_mtu, |next| sa.path_mtu.min(self.path_mtu(next)))
    }

    /// The same for packets that the envelope does not fit: size, sequence number, headers one by one.
    fn protect_by_parts<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        slot: u32,
    ) {
        let Some(sa) = self.sad.outbound.get(slot) else {
            return self.drop(io, buf, DropReason::NoSa);
        };
        let Some(way) = sa.way else {
            return self.drop(io, buf, DropReason::NoRoute);
        };
        let Some(outer) = &sa.outer else {
            return self.protect_transport(io, buf, ip, slot);
        };
        // RFC 4301 8.2: what fits into the outer packet's path MTU after all headers.
        let room = (self.path_mtu(sa).min(way.mtu.into()) as usize)
            .saturating_sub(outer.len() + sa.bundle_overhead);
        let limit = match sa.shape.is_esp() {
            true => sa.shape.largest_payload(room),
            false => room.saturating_sub(sa.shape.ah_len(outer.version())),
        };
        let mut inner_df = ip.dont_fragment;
        if ip.total_len as usize > limit {
            match oversize(ip, limit, sa.df) {
                Oversize::FragmentInner => {
                    return self.cut(io, buf, ip, limit, |p, io, piece| {
                        p.reenter(io, piece, |p, io, piece, ip| {
                            p.protect(io, piece, &ip, origin, slot)
                        });
                    });
                }
                Oversize::FragmentOuter => inner_df = false,
                Oversize::Refuse { mtu } => {
                    let error = IcmpError::TooBig { mtu };
                    return self.refuse(io, buf, ip, origin, error, DropReason::TooBig);
                }
            }
        }
        self.encapsulate(io, buf, ip, slot, Some(inner_df));
    }

    /// Transport mode protects only whole packets between the SA's own addresses (RFC 4303 3.1.1, 3.3.4).
    fn protect_transport<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        slot: u32,
    ) {
        if ip.is_fragment() {
            return self.drop(io, buf, DropReason::FragmentTransport);
        }
        let ends = self
            .sad
            .outbound
            .get(slot)
            .map(|sa| (sa.source, sa.destination));
        if ends != Some((ip.source, ip.destination)) {
            return self.drop(io, buf, DropReason::SelectorMismatch);
        }
        self.encapsulate(io, buf, ip, slot, None);
    }

    /// Charges the SA, builds its headers and puts the packet into the lane. `tunnel_df`: the inner DF for the
    /// outer header, `None` in transport mode.
    fn encapsulate<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        ip: &IpHeader,
        slot: u32,
        tunnel_df: Option<bool>,
    ) {
        let payload = buf.len();
        let built = self
            .charge_outbound(io, slot, payload)
            .and_then(|sequence| {
                self.build(&mut buf, ip, slot, sequence, tunnel_df)
                    .map(|at| (sequence, at))
            });
        let (sequence, at) = match built {
            Ok(built) => built,
            Err(reason) => return self.drop_outbound(io, buf, slot, reason),
        };
        let Some(sa) = self.sad.outbound.get(slot) else {
            return self.drop(io, buf, DropReason::NoSa);
        };
        let item = Sealing {
            buf,
            slot,
            at: at as u32,
            sequence,
            payload: payload as u32,
            addressed: None,
        };
        sa.counters.sealed(payload as u64, sequence, self.now);
        if sa.shape.is_esp() {
            return self.push_sealing(io, item);
        }
        let masked =
            IpHeader::parse(item.buf.data()).and_then(|ip| ah::masked_header(item.buf.data(), &ip));
        match masked {
            Ok(masked) => self.signing.push((item, masked)),
            Err(reason) => return self.drop_outbound(io, item.buf, slot, reason),
        }
        if self.signing.is_full() {
            self.run_signing(io);
        }
    }

    #[inline(always)]
    pub(crate) fn push_sealing<I: Outlet<Buf = B>>(&mut self, io: &mut I, item: Sealing<B>) {
        self.sealing.push(item);
        if self.sealing.is_full() {
            self.run_sealing(io);
        }
    }

    /// Counts a packet against its SA's lifetime and gives it a sequence number.
    #[inline]
    fn charge_outbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        slot: u32,
        payload: usize,
    ) -> Result<u64, DropReason> {
        let sa = self.sad.outbound.get_mut(slot).ok_or(DropReason::NoSa)?;
        let charged = match sa.life.charge(payload, self.now) {
            LifeState::Alive => sa.next_sequence(),
            LifeState::Soft => {
                sa.life
                    .told_soft(io.notify(Event::SoftExpire(SaSide::Outbound(slot))));
                sa.next_sequence()
            }
            LifeState::Expired => Err(DropReason::SaExpired),
        };
        if charged.is_err() && sa.life.hard_is_news() {
            sa.life
                .told_hard(io.notify(Event::HardExpire(SaSide::Outbound(slot))));
        }
        charged
    }

    /// Writes all headers and the trailer; returns where ESP or AH begins.
    fn build(
        &mut self,
        buf: &mut B,
        ip: &IpHeader,
        slot: u32,
        sequence: u64,
        tunnel_df: Option<bool>,
    ) -> Result<usize, DropReason> {
        let sa = self.sad.outbound.get(slot).ok_or(DropReason::NoSa)?;
        let no_room = |_| DropReason::NoRoomInBuffer;
        let chained = ip.version == IpVersion::V6 && usize::from(ip.header_len) != IPV6_HEADER;
        if sa.outer.is_none() && sa.udp.is_some() && chained {
            // The UDP checksum is written where UDP stands behind nothing but the IPv6 header.
            return Err(DropReason::Ipv6Extension);
        }
        let (keep, gap, next_header) = match &sa.outer {
            Some(outer) => (0, outer.len(), ip.version.tunnel_protocol()),
            None => (
                usize::from(ip.header_len),
                if sa.udp.is_some() { UDP_HEADER } else { 0 },
                ip.protocol,
            ),
        };
        if sa.shape.is_esp() {
            let mut iv = [0; LONGEST_IV];
            match sa.random_iv(&mut self.rng) {
                Some(random) => iv = random,
                // Counter modes: the sequence number is unique under the key (RFC 4106 3.1).
                None => iv[..8].copy_from_slice(&sequence.to_be_bytes()),
            }
            let fields = EspFields {
                spi: sa.spi,
                sequence,
                iv: &iv,
                next_header,
            };
            esp::prepare(buf, keep, gap, &sa.shape, &fields).map_err(no_room)?;
        } else {
            let version = sa.outer.as_ref().map_or(ip.version, |o| o.version());
            let header = ah::AhHeader {
                next_header,
                len: sa.shape.ah_len(version),
                spi: sa.spi,
                sequence: sequence as u32,
            };
            ah::prepare(buf, keep, gap, &sa.shape, &header, sequence).map_err(no_room)?;
        }
        let total = buf.len();
        if total > usize::from(u16::MAX) {
            return Err(DropReason::TooBig);
        }
        match (&sa.outer, tunnel_df) {
            (Some(outer), df) => {
                outer.write(
                    buf.data_mut(),
                    total,
                    ip.traffic_class,
                    df.unwrap_or(true),
                    sa.identification(sequence),
                );
            }
            (None, _) => {
                let protocol = match sa.udp {
                    Some(_) => protocol::UDP,
                    None => sa.shape.transform.protocol(),
                };
                esp::rewrite_ip(
                    buf.data_mut(),
                    ip.version,
                    usize::from(ip.protocol_at),
                    protocol,
                );
                if let (Some(udp), Some(out)) = (sa.udp, buf.data_mut().get_mut(keep..)) {
                    esp::write_udp(out, udp, total - keep);
                }
            }
        }
        Ok(keep + gap)
    }

    pub(crate) fn run_sealing<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        io.lap(Stage::Decide);
        self.settle_sealing();
        let mut lane = self.sealing.begin();
        if self.offloads {
            self.seal_offloaded(io, &mut lane);
        }
        if self.engine.has_device() {
            self.seal_aside(io, &mut lane);
        }
        let sad = &self.sad;
        let mut done = self.engine.seal_each(&mut lane, |item| {
            esp_job(
                sad.outbound_key(item.slot),
                &mut item.buf,
                item.at,
                item.sequence,
            )
        });
        io.lap(Stage::Cipher);
        for item in lane.drain(..) {
            self.sealed(io, item, done & 1 != 0);
            done >>= 1;
        }
        self.sealing.end(lane);
        io.lap(Stage::Finish);
    }

    pub(crate) fn run_signing<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        let mut lane = self.signing.begin();
        let (items, sad) = (lane.len(), &self.sad);
        let answers = {
            let jobs = lane.iter_mut().filter_map(|(item, header)| {
                ah_job(
                    sad.outbound_key(item.slot),
                    &mut item.buf,
                    header,
                    item.at,
                    item.sequence,
                )
            });
            let mut jobs: Lane<AhJob<'_, E::Key>> = jobs.collect();
            self.engine.sign(&mut jobs);
            verdicts(items, &jobs, |job| job.ok)
        };
        for ((item, _), ok) in lane.drain(..).zip(answers) {
            self.sealed(io, item, ok);
        }
        self.signing.end(lane);
    }

    /// A packet left the engine: send it, or wrap it in the next SA of its bundle.
    #[inline(always)]
    pub(crate) fn sealed<I: Outlet<Buf = B>>(&mut self, io: &mut I, item: Sealing<B>, ok: bool) {
        match item.addressed {
            Some(interface) if ok => io.transmit(interface, item.buf),
            None if ok => self.sealed_parts(io, item.buf, item.slot),
            _ => self.not_sealed(io, item, DropReason::EngineFailure),
        }
    }

    #[cold]
    pub(crate) fn not_sealed<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        item: Sealing<B>,
        reason: DropReason,
    ) {
        if let Some(sa) = self.sad.outbound.get(item.slot) {
            sa.counters.withdraw(item.payload.into());
            let (side, source) = (SaSide::Outbound(item.slot), sa.source);
            self.tell_failure(io, (side, sa.spi), source, reason);
        }
        self.drop_outbound(io, item.buf, item.slot, reason);
    }

    fn sealed_parts<I: Outlet<Buf = B>>(&mut self, io: &mut I, mut buf: B, slot: u32) {
        let Some(sa) = self.sad.outbound.get(slot) else {
            return self.drop(io, buf, DropReason::NoSa);
        };
        if sa.udp.is_some() && !sa.destination.is_v4() {
            fill_udp6_checksum(buf.data_mut());
        }
        if let Some(next) = sa.next {
            return self.reenter(io, buf, |p, io, buf, ip| {
                p.encapsulate(io, buf, &ip, next, None)
            });
        }
        if sa.envelope.generation != self.flows.generation() {
            // The outer SA of a bundle is asked for its way only here.
            if let Err(reason) = self.address_envelope(slot) {
                return self.drop_outbound(io, buf, slot, reason);
            }
        }
        let Some((way, path_mtu)) = self
            .sad
            .outbound
            .get(slot)
            .and_then(|sa| Some((sa.way?, sa.path_mtu)))
        else {
            return self.drop_outbound(io, buf, slot, DropReason::NoRoute);
        };
        let mtu = path_mtu.min(way.mtu.into()) as usize;
        if buf.len() <= mtu {
            return self.send(io, buf, &way.egress);
        }
        // RFC 4303 3.3.4: fragmentation, if any, comes after ESP.
        self.reenter(io, buf, |p, io, buf, ip| {
            if ip.version == IpVersion::V4 && ip.dont_fragment {
                return p.drop_outbound(io, buf, slot, DropReason::TooBig);
            }
            p.cut(io, buf, &ip, mtu, |p, io, piece| {
                p.send(io, piece, &way.egress)
            });
        });
    }

    fn drop_outbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        slot: u32,
        reason: DropReason,
    ) {
        if let Some(sa) = self.sad.outbound.get(slot) {
            sa.counters.drops.add(reason, 1);
        }
        self.drop(io, buf, reason);
    }
}

/// What to do with a packet that does not fit its tunnel.
#[derive(Debug, PartialEq, Eq)]
enum Oversize {
    /// Fragment it, then protect the fragments.
    FragmentInner,
    /// Protect it, then fragment what comes out.
    FragmentOuter,
    /// Tell the sender the size that fits.
    Refuse { mtu: u32 },
}

/// RFC 4301 8.1, 8.2.1: DF and IPv6 forbid to fragment the inner packet; the policy may allow it for the outer.
fn oversize(ip: &IpHeader, limit: usize, df: Df) -> Oversize {
    if !ip.dont_fragment {
        return Oversize::FragmentInner;
    }
    if ip.version == IpVersion::V6 && limit < IPV6_MINIMUM_MTU {
        // RFC 2473 7.1: an IPv6 sender need not go below 1280, so the tunnel must.
        if ip.total_len as usize <= IPV6_MINIMUM_MTU {
            return Oversize::FragmentOuter;
        }
        return Oversize::Refuse {
            mtu: IPV6_MINIMUM_MTU as u32,
        };
    }
    match df {
        Df::Clear => Oversize::FragmentOuter,
        Df::Copy | Df::Set => Oversize::Refuse { mtu: limit as u32 },
    }
}
