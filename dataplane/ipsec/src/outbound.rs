//! Outbound processing (RFC 4301 5.1): from the protected side, or from this gateway, across the boundary.

use portcullis_config::{Df, Side};
use rand_core::RngCore;

use crate::engine::{AhJob, Engine, EspJob};
use crate::esp::EspFields;
use crate::flow::{Decision, Egress, FlowKey, Path, Verdict};
use crate::fragment::fragment;
use crate::icmp::IcmpError;
use crate::ip::{self, IPV6_HEADER, IpHeader, IpVersion, protocol};
use crate::local::quoted_key;
use crate::pipeline::{
    Event, Handoff, Lane, MAX_FRAGMENTS, Origin, Outlet, Pipeline, Punt, SaSide, Sealing, ah_job,
    esp_job, verdicts,
};
use crate::sa::{CachedRoute, LifeState, OutboundSa, SaRef, any_match};
use crate::spd::{Classifier, EntryAction, Flow, Match, SelectorKey};
use crate::tunnel::{UDP_HEADER, fill_udp6_checksum};
use crate::{DropReason, PacketBuf, ah, esp};

/// RFC 8200 5: every IPv6 link carries packets of this size.
const IPV6_MINIMUM_MTU: usize = 1280;

impl<E: Engine, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Decides about a packet that may have to leave the protected side.
    pub(crate) fn outbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: IpHeader,
        origin: Origin,
    ) {
        // RFC 1812 5.3.8: nobody else speaks in clear from our addresses.
        if matches!(origin, Origin::Interface(_)) && self.view.fib.is_local(ip.source) {
            return self.drop(io, buf, DropReason::IpMartian);
        }
        let key = FlowKey::new(&ip, ip::ports(buf.data(), &ip), Path::Outbound);
        let decision = match self.flows.get(&key) {
            Some(decision) => decision,
            None => {
                self.counters.flow_misses.add(1);
                match self.decide_outbound(io, buf.data(), &ip) {
                    Match::Yes((decision, remember)) => {
                        if remember {
                            self.flows.insert(key, decision);
                        }
                        decision
                    }
                    Match::Reassemble => {
                        return self.reassemble(io, buf, &ip, origin, |p, io, buf, ip| {
                            p.outbound(io, buf, ip, origin);
                        });
                    }
                    Match::No => Decision {
                        verdict: Verdict::Drop(DropReason::PolicyNoMatch),
                        entry: u32::MAX,
                    },
                }
            }
        };
        self.count_entry(&decision, ip.total_len);
        match decision.verdict {
            Verdict::Drop(reason) => self.drop(io, buf, reason),
            Verdict::Local => self.deliver(io, buf, ip, origin),
            Verdict::Forward(egress) => self.forward(io, buf, ip, origin, egress),
            Verdict::Protect(sa) => self.protect_with(io, buf, ip, origin, sa),
            Verdict::Hairpin => self.drop(io, buf, DropReason::NoRoute),
        }
    }

    /// Asks routes and SPD. Says also whether the answer may be remembered for the flow.
    fn decide_outbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        packet: &[u8],
        ip: &IpHeader,
    ) -> Match<(Decision, bool)> {
        let unasked = |verdict| {
            Match::Yes((
                Decision {
                    verdict,
                    entry: u32::MAX,
                },
                true,
            ))
        };
        let fib = &self.view.fib;
        if fib.is_local(ip.destination) {
            return unasked(Verdict::Local);
        }
        if ip.destination.is_multicast() || fib.is_broadcast(ip.destination) {
            return unasked(Verdict::Drop(DropReason::Multicast));
        }
        if ip.destination.is_v6_link_local()
            || (ip.source.is_v6_link_local() && !fib.is_local(ip.source))
        {
            return unasked(Verdict::Drop(DropReason::IpMartian));
        }
        if ip.hides_protocol() {
            return Match::Reassemble;
        }
        let hop = fib.route(ip.destination);
        let stays_inside = hop
            .and_then(|h| fib.interface(h.interface))
            .is_some_and(|i| i.side == Side::Protected);
        let clear = hop.map(|h| self.egress(h, ip.destination, ip.version));
        if let (Some(egress), true) = (clear, stays_inside) {
            return unasked(Verdict::Forward(egress));
        }
        let key = SelectorKey::of(packet, ip, Flow::Outbound);
        let (key, (entry, action), remember) = match self.view.spd.lookup(&key) {
            Match::Yes(found) => (key, found, true),
            Match::Reassemble => return Match::Reassemble,
            // RFC 4301 6.2: an ICMP error may travel in the SA of the packet that it is about.
            Match::No => match self.lookup_quoted(packet, ip) {
                Some((key, found)) => (key, found, false),
                None => {
                    let (verdict, entry) = (Verdict::Drop(DropReason::PolicyNoMatch), u32::MAX);
                    // The next ICMP error of this flow may be about another packet.
                    let remember = !matches!(ip.protocol, protocol::ICMP | protocol::ICMPV6);
                    return Match::Yes((Decision { verdict, entry }, remember));
                }
            },
        };
        let verdict = match action {
            EntryAction::Discard => Verdict::Drop(DropReason::PolicyDiscard),
            EntryAction::Bypass => match clear {
                Some(egress) => Verdict::Forward(egress),
                None => Verdict::Drop(DropReason::NoRoute),
            },
            EntryAction::Protect => match self.bound_sa(entry, &key) {
                Match::Yes(sa) => Verdict::Protect(sa),
                Match::Reassemble => return Match::Reassemble,
                Match::No => {
                    self.acquire(io, entry, ip);
                    return Match::Yes((
                        Decision {
                            verdict: Verdict::Drop(DropReason::NoSa),
                            entry,
                        },
                        false,
                    ));
                }
            },
        };
        Match::Yes((Decision { verdict, entry }, remember))
    }

    /// The SPD entry, if it protects, of the packet quoted in an ICMP error (RFC 4301 6.2): the quoted packet
    /// came from the peer's side.
    fn lookup_quoted(
        &self,
        packet: &[u8],
        ip: &IpHeader,
    ) -> Option<(SelectorKey, (u32, EntryAction))> {
        let key = quoted_key(packet, ip, Flow::Inbound)?;
        match self.view.spd.lookup(&key) {
            Match::Yes((entry, EntryAction::Protect)) => Some((key, (entry, EntryAction::Protect))),
            _ => None,
        }
    }

    /// The first SA that serves the entry and may carry the packet.
    fn bound_sa(&self, entry: u32, key: &SelectorKey) -> Match<SaRef> {
        let bindings = self.view.bindings.get(entry as usize);
        for binding in bindings.into_iter().flatten() {
            match any_match(&binding.selectors, key) {
                Match::Yes(()) => return Match::Yes(binding.sa),
                Match::Reassemble => return Match::Reassemble,
                Match::No => {}
            }
        }
        Match::No
    }

    fn acquire<I: Outlet<Buf = B>>(&mut self, io: &mut I, entry: u32, ip: &IpHeader) {
        if self.acquire_limit.allow(self.now) {
            io.notify(Event::Acquire {
                entry,
                source: ip.source,
                destination: ip.destination,
                protocol: ip.protocol,
            });
        }
    }

    /// Forwards in clear: hop limit, MTU, link header.
    pub(crate) fn forward<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        ip: IpHeader,
        origin: Origin,
        egress: Egress,
    ) {
        if origin != Origin::Local {
            if ip.hop_limit <= 1 {
                return self.refuse(
                    io,
                    buf,
                    &ip,
                    origin,
                    IcmpError::TimeExceeded,
                    DropReason::TtlExpired,
                );
            }
            ip::decrement_hop_limit(buf.data_mut(), ip.version);
        }
        let mtu = self
            .view
            .fib
            .interface(egress.interface())
            .map_or(0, |i| usize::from(i.mtu));
        if ip.total_len as usize <= mtu {
            return self.send(io, buf, egress);
        }
        if ip.dont_fragment && origin != Origin::Local {
            let error = IcmpError::TooBig { mtu: mtu as u32 };
            return self.refuse(io, buf, &ip, origin, error, DropReason::TooBig);
        }
        self.cut(io, buf, &ip, mtu, |p, io, piece| p.send(io, piece, egress));
    }

    /// Cuts a packet into fragments and goes on with each.
    fn cut<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        mtu: usize,
        mut each: impl FnMut(&mut Self, &mut I, B),
    ) {
        let mut pieces = std::mem::take(&mut self.fragments);
        let id = self.rng.next_u32();
        let mut lost = 0;
        let cut = fragment(io, buf.data(), ip, mtu, id, &mut |io: &mut I, piece: B| {
            if pieces.len() < MAX_FRAGMENTS {
                pieces.push(piece);
            } else {
                lost += 1;
                io.discard(piece);
            }
        });
        match cut {
            Ok(()) if lost == 0 => {
                self.counters.created.add(pieces.len() as u64);
                self.counters.consumed.add(1);
                io.discard(buf);
                for piece in pieces.drain(..) {
                    each(self, io, piece);
                }
            }
            result => {
                // A packet goes whole or not at all.
                pieces.drain(..).for_each(|piece| io.discard(piece));
                self.drop(io, buf, result.err().unwrap_or(DropReason::FragmentInvalid));
            }
        }
        self.fragments = pieces;
    }

    /// Puts the link header on a finished IP packet and sends it, or has its neighbour resolved.
    pub(crate) fn send<I: Outlet<Buf = B>>(&mut self, io: &mut I, mut buf: B, egress: Egress) {
        match egress {
            Egress::Ready(link) => match link.prepend_to(&mut buf) {
                Ok(()) => io.transmit(link.interface, buf),
                Err(_) => self.drop(io, buf, DropReason::NoRoomInBuffer),
            },
            Egress::Unresolved(hop) => match hop.via {
                Some(next_hop) => {
                    io.punt(Punt::Unresolved {
                        interface: hop.interface,
                        next_hop,
                        packet: buf,
                    });
                }
                None => self.drop(io, buf, DropReason::NoNeighbor),
            },
        }
    }

    /// Sends a packet of this gateway that the SPD does not concern.
    pub(crate) fn send_exempt<I: Outlet<Buf = B>>(&mut self, io: &mut I, buf: B, ip: IpHeader) {
        match self.view.fib.route(ip.destination) {
            Some(hop) => {
                let egress = self.egress(hop, ip.destination, ip.version);
                self.forward(io, buf, ip, Origin::Local, egress);
            }
            None => self.drop(io, buf, DropReason::NoRoute),
        }
    }

    fn protect_with<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        ip: IpHeader,
        origin: Origin,
        sa: SaRef,
    ) {
        if origin != Origin::Local {
            if ip.hop_limit <= 1 {
                return self.refuse(
                    io,
                    buf,
                    &ip,
                    origin,
                    IcmpError::TimeExceeded,
                    DropReason::TtlExpired,
                );
            }
            // RFC 4301 5.1.2.1 note 3: forwarding decrements the inner TTL.
            ip::decrement_hop_limit(buf.data_mut(), ip.version);
        }
        if sa.worker != self.worker {
            return io.hand_off(sa.worker, Handoff::Seal(sa.slot, buf));
        }
        self.protect(io, buf, ip, origin, sa.slot);
    }

    /// Where the outer packet of an SA leaves.
    fn sa_route(&mut self, slot: u32) -> Result<CachedRoute, DropReason> {
        let generation = self.flows.generation();
        let sa = self.sad.outbound.get(slot).ok_or(DropReason::NoSa)?;
        if let Some(route) = sa.route.filter(|r| r.generation == generation) {
            return Ok(route);
        }
        let (destination, v4) = (sa.destination, sa.destination.is_v4());
        let hop = self
            .view
            .fib
            .route(destination)
            .ok_or(DropReason::NoRoute)?;
        let mtu = self
            .view
            .fib
            .interface(hop.interface)
            .ok_or(DropReason::NoRoute)?
            .mtu;
        let version = if v4 { IpVersion::V4 } else { IpVersion::V6 };
        let route = CachedRoute {
            generation,
            egress: self.egress(hop, destination, version),
            mtu,
        };
        if let Some(sa) = self.sad.outbound.get_mut(slot) {
            sa.route = Some(route);
        }
        Ok(route)
    }

    /// Path MTU of a bundle from `sa` outwards: routers quote the outermost SA, whichever is asked.
    fn path_mtu(&self, sa: &OutboundSa<E::Key>) -> u32 {
        let next = sa.next.and_then(|next| self.sad.outbound.get(next));
        next.map_or(sa.path_mtu, |next| sa.path_mtu.min(self.path_mtu(next)))
    }

    /// Protects a packet with an SA of this worker, whose hop limit is already decremented: size, sequence
    /// number, headers; then the lane.
    pub(crate) fn protect<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: IpHeader,
        origin: Origin,
        slot: u32,
    ) {
        let route = match self.sa_route(slot) {
            Ok(route) => route,
            Err(reason) => return self.drop(io, buf, reason),
        };
        let Some(sa) = self.sad.outbound.get(slot) else {
            return self.drop(io, buf, DropReason::NoSa);
        };
        let Some(outer) = &sa.outer else {
            return self.protect_transport(io, buf, ip, slot);
        };
        // RFC 4301 8.2: what fits into the outer packet's path MTU after all headers.
        let room = (self.path_mtu(sa).min(route.mtu.into()) as usize)
            .saturating_sub(outer.len() + sa.bundle_overhead);
        let limit = match sa.shape.is_esp() {
            true => sa.shape.largest_payload(room),
            false => room.saturating_sub(sa.shape.ah_len(outer.version())),
        };
        let mut inner_df = ip.dont_fragment;
        if ip.total_len as usize > limit {
            match oversize(&ip, limit, sa.df) {
                Oversize::FragmentInner => {
                    return self.cut(io, buf, &ip, limit, |p, io, piece| {
                        p.reenter(io, piece, |p, io, piece, ip| {
                            p.protect(io, piece, ip, origin, slot)
                        });
                    });
                }
                Oversize::FragmentOuter => inner_df = false,
                Oversize::Refuse { mtu } => {
                    let error = IcmpError::TooBig { mtu };
                    return self.refuse(io, buf, &ip, origin, error, DropReason::TooBig);
                }
            }
        }
        self.encapsulate(io, buf, &ip, slot, Some(inner_df));
    }

    /// Transport mode protects only whole packets between the SA's own addresses (RFC 4303 3.1.1, 3.3.4).
    fn protect_transport<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: IpHeader,
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
        self.encapsulate(io, buf, &ip, slot, None);
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
        let item = Sealing {
            buf,
            slot,
            at,
            sequence,
            payload,
        };
        if self
            .sad
            .outbound
            .get(slot)
            .is_some_and(|sa| sa.shape.is_esp())
        {
            self.sealing.push(item);
            if self.sealing.is_full() {
                self.run_sealing(io);
            }
            return;
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

    fn charge_outbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        slot: u32,
        payload: usize,
    ) -> Result<u64, DropReason> {
        let sa = self.sad.outbound.get_mut(slot).ok_or(DropReason::NoSa)?;
        let stopped = match sa.life.charge(payload, self.now) {
            LifeState::Alive => None,
            LifeState::Soft => {
                sa.life
                    .told_soft(io.notify(Event::SoftExpire(SaSide::Outbound(slot))));
                None
            }
            LifeState::Expired => Some(DropReason::SaExpired),
        };
        match stopped.map_or_else(|| sa.next_sequence(), Err) {
            Ok(sequence) => Ok(sequence),
            Err(reason) => {
                if sa.life.hard_is_news() {
                    sa.life
                        .told_hard(io.notify(Event::HardExpire(SaSide::Outbound(slot))));
                }
                Err(reason)
            }
        }
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
            let mut iv = [0; 16];
            match sa.shape.needs_random_iv() {
                true => self.rng.fill_bytes(&mut iv),
                // Counter modes: the sequence number is unique under the key (RFC 4106 3.1).
                false => iv[..8].copy_from_slice(&sequence.to_be_bytes()),
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
            let len = sa.shape.ah_len(version);
            let header = ah::AhHeader {
                next_header,
                len,
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
                    // RFC 6864 4.2: unique for an SA, and apart from those of other SAs to the same peer.
                    (sa.spi.wrapping_mul(0x9e37_79b1) >> 16).wrapping_add(sequence as u32) as u16,
                );
            }
            (None, _) => {
                let protocol = if sa.udp.is_some() {
                    protocol::UDP
                } else {
                    sa.shape.transform.protocol()
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
        let mut lane = std::mem::take(&mut self.sealing);
        let (items, sad) = (lane.len(), &self.sad);
        let answers = {
            let jobs = lane.iter_mut().filter_map(|item| {
                esp_job(
                    sad.outbound_key(item.slot),
                    &mut item.buf,
                    item.at,
                    item.sequence,
                )
            });
            let mut jobs: Lane<EspJob<'_, E::Key>> = jobs.collect();
            self.engine.seal(&mut jobs);
            verdicts(items, &jobs, |job| job.ok)
        };
        for (item, ok) in lane.drain(..).zip(answers) {
            self.sealed(io, item, ok);
        }
    }

    pub(crate) fn run_signing<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        let mut lane = std::mem::take(&mut self.signing);
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
    }

    /// A packet left the engine: count it, wrap it in the next SA of its bundle, or send it.
    fn sealed<I: Outlet<Buf = B>>(&mut self, io: &mut I, item: Sealing<B>, ok: bool) {
        let Sealing {
            mut buf,
            slot,
            sequence,
            payload,
            ..
        } = item;
        let Some(sa) = self.sad.outbound.get(slot).filter(|_| ok) else {
            return self.drop_outbound(io, buf, slot, DropReason::EngineFailure);
        };
        sa.counters.used(payload as u64, self.now);
        sa.counters.sequence.set(sequence);
        let next = sa.next;
        if sa.udp.is_some() && !sa.destination.is_v4() {
            fill_udp6_checksum(buf.data_mut());
        }
        if let Some(next) = next {
            return self.reenter(io, buf, |p, io, buf, ip| {
                p.encapsulate(io, buf, &ip, next, None)
            });
        }
        let route = match self.sa_route(slot) {
            Ok(route) => route,
            Err(reason) => return self.drop_outbound(io, buf, slot, reason),
        };
        let path_mtu = self
            .sad
            .outbound
            .get(slot)
            .map_or(u32::MAX, |sa| sa.path_mtu);
        let mtu = path_mtu.min(route.mtu.into()) as usize;
        if buf.len() <= mtu {
            return self.send(io, buf, route.egress);
        }
        // RFC 4303 3.3.4: fragmentation, if any, comes after ESP.
        self.reenter(io, buf, |p, io, buf, ip| {
            if ip.version == IpVersion::V4 && ip.dont_fragment {
                return p.drop_outbound(io, buf, slot, DropReason::TooBig);
            }
            p.cut(io, buf, &ip, mtu, |p, io, piece| {
                p.send(io, piece, route.egress)
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
