//! Inbound processing (RFC 4301 5.2): from the unprotected side.

use portcullis_config::{Mode, Side};

use crate::ah::{self, AhHeader};
use crate::engine::AhJob;
use crate::engine::lookaside::Lookaside;
use crate::esp;
use crate::flow::{Decision, FlowKey, Path, Verdict};
use crate::ip::{self, IpHeader, protocol};
use crate::local::quoted_key;
use crate::nat_checksum;
use crate::pipeline::{
    Event, Handoff, Lane, MAX_DEPTH, Opening, Origin, Outlet, Pipeline, SaSide, Stage, ah_job,
    esp_job, verdicts,
};
use crate::sa::{LifeState, SaRef};
use crate::spd::{Classifier, EntryAction, Flow, Match, SelectorKey};
use crate::tunnel::{UDP_HEADER, decapsulate_ecn};
use crate::{DropReason, InterfaceId, PacketBuf};

/// RFC 7296 2.23, RFC 3948 2.2: four zero bytes tell IKE from ESP on a shared port.
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// RFC 3948 2.3.
const NAT_KEEPALIVE: u8 = 0xff;
/// IKE's own port (RFC 2408 2.5.1).
const IKE_PORT: u16 = 500;

/// What a UDP packet to one of our addresses is.
enum Udp {
    /// ESP behind the UDP header.
    Esp,
    /// IKE, which the SPD does not concern.
    Ike,
    /// To be dropped.
    Drop(DropReason),
    /// Ordinary traffic.
    Other,
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// A packet from the unprotected side: IPsec to us, or clear.
    pub(crate) fn inbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        from: InterfaceId,
    ) {
        let origin = Origin::Interface(from);
        let local = self.view.fib.is_local(ip.destination);
        if local && ip.is_fragment() {
            return self.reassemble(io, buf, ip, origin, |p, io, buf, ip| {
                p.inbound(io, buf, &ip, from);
            });
        }
        match ip.protocol {
            protocol::ESP | protocol::AH if local => self.open(io, buf, ip, 0),
            protocol::UDP if local => match self.classify_udp(buf.data(), ip) {
                Udp::Esp => self.open(io, buf, ip, 0),
                Udp::Ike => self.deliver(io, buf, *ip, origin),
                Udp::Drop(reason) => self.drop(io, buf, reason),
                Udp::Other => self.inbound_clear(io, buf, ip, origin),
            },
            protocol::ICMP | protocol::ICMPV6
                if local && self.heed_path_mtu(io, buf.data(), ip) =>
            {
                self.drop(io, buf, DropReason::PathMtuLearnt);
            }
            _ => self.inbound_clear(io, buf, ip, origin),
        }
    }

    /// RFC 3948 2: what stands behind a UDP header.
    fn classify_udp(&self, packet: &[u8], ip: &IpHeader) -> Udp {
        let Some(udp) = packet.get(usize::from(ip.header_len)..) else {
            return Udp::Other;
        };
        let Some((header, payload)) = udp.split_first_chunk::<UDP_HEADER>() else {
            return Udp::Drop(DropReason::EspAhMalformed);
        };
        let port = u16::from_be_bytes([header[2], header[3]]);
        if port == IKE_PORT {
            return Udp::Ike;
        }
        if !self.view.esp_udp_ports.contains(&port) {
            return Udp::Other;
        }
        if usize::from(u16::from_be_bytes([header[4], header[5]])) != udp.len() {
            return Udp::Drop(DropReason::EspAhMalformed);
        }
        match payload {
            [NAT_KEEPALIVE] => Udp::Drop(DropReason::NatKeepalive),
            p if p.starts_with(&NON_ESP_MARKER) => Udp::Ike,
            _ => Udp::Esp,
        }
    }

    /// Finds the SA of the outermost ESP or AH header, checks what can be checked without a key, and puts the
    /// packet into a lane. `depth` headers came off before.
    #[inline]
    pub(crate) fn open<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        depth: u8,
    ) {
        if depth >= MAX_DEPTH {
            return self.drop(io, buf, DropReason::NestingTooDeep);
        }
        self.open_bundled(io, buf, ip, depth, None);
    }

    /// The same for the next header of a bundle, behind the SA in slot `came_in`.
    fn open_bundled<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        depth: u8,
        came_in: Option<u32>,
    ) {
        let udp = ip.protocol == protocol::UDP;
        let at = usize::from(ip.header_len) + if udp { UDP_HEADER } else { 0 };
        let packet = buf.data().get(at..).unwrap_or_default();
        let ah = match ip.protocol {
            protocol::AH => match AhHeader::parse(packet) {
                Ok(ah) => Some(ah),
                Err(reason) => return self.drop(io, buf, reason),
            },
            _ => None,
        };
        let spi = match (&ah, packet.first_chunk::<4>()) {
            (Some(ah), _) => ah.spi,
            (None, Some(spi)) => u32::from_be_bytes(*spi),
            (None, None) => return self.drop(io, buf, DropReason::EspAhMalformed),
        };
        let protocol = if ah.is_some() {
            protocol::AH
        } else {
            protocol::ESP
        };
        let Some(SaRef { worker, slot }) = self.sad.index.lookup(spi, protocol, ip.destination)
        else {
            self.bad_spi(io, spi, protocol, ip);
            return self.drop(io, buf, DropReason::BadSpi);
        };
        if worker != self.worker {
            return io.hand_off(worker, Handoff::Open(buf));
        }
        match self.check_inbound(slot, packet, udp, ah.as_ref(), came_in) {
            Ok(sequence) => {
                let item = Opening {
                    buf,
                    sequence,
                    slot,
                    at: at as u32,
                    class: ip.traffic_class,
                    depth,
                    link: 0,
                };
                self.push_opening(io, item, ah.is_some().then_some(ip));
            }
            Err(reason) => self.drop_inbound(io, buf, slot, reason),
        }
    }

    /// All checks before authentication; nothing changes state. Gives the full sequence number.
    fn check_inbound(
        &self,
        slot: u32,
        packet: &[u8],
        udp: bool,
        ah: Option<&AhHeader>,
        came_in: Option<u32>,
    ) -> Result<u64, DropReason> {
        let sa = self.sad.inbound.get(slot).ok_or(DropReason::BadSpi)?;
        if sa.udp.is_some() != udp {
            return Err(DropReason::EncapsulationMismatch);
        }
        if sa.came_in != came_in {
            return Err(DropReason::BundleMismatch);
        }
        let low = match ah {
            Some(ah) => {
                ah.check(&sa.shape)?;
                ah.sequence
            }
            None => esp::check(packet, &sa.shape)?,
        };
        match &sa.replay {
            Some(window) => window.check(low),
            None => Ok(low.into()),
        }
    }

    /// Into the open lane, or, for AH under the IP header `ah`, into the verify lane.
    #[inline(always)]
    pub(crate) fn push_opening<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        item: Opening<B>,
        ah: Option<&IpHeader>,
    ) {
        let Some(ip) = ah else {
            self.opening.push(item);
            if self.opening.is_full() {
                self.run_opening(io);
            }
            return;
        };
        match ah::masked_header(item.buf.data(), ip) {
            Ok(masked) => self.verifying.push((item, masked)),
            Err(reason) => return self.drop_inbound(io, item.buf, item.slot, reason),
        }
        if self.verifying.is_full() {
            self.run_verifying(io);
        }
    }

    pub(crate) fn run_opening<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        io.lap(Stage::Decide);
        let mut lane = self.opening.begin();
        if self.offloads {
            self.open_offloaded(io, &mut lane);
        }
        if self.engine.has_device() {
            self.open_aside(io, &mut lane);
        }
        let sad = &self.sad;
        let done = self.engine.open_each(&mut lane, |item| {
            esp_job(
                sad.inbound_key(item.slot),
                &mut item.buf,
                item.at,
                item.sequence,
            )
        });
        io.lap(Stage::Cipher);
        let mut arrivals = self.emerging.pop().unwrap_or_default();
        self.foresee_all(&lane, done, &mut *arrivals);
        self.emerge_all(io, &mut lane, done, &arrivals);
        self.settle_opening();
        self.emerging.push(arrivals);
        self.opening.end(lane);
        io.lap(Stage::Finish);
    }

    pub(crate) fn run_verifying<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        let mut lane = self.verifying.begin();
        let (items, sad) = (lane.len(), &self.sad);
        let answers = {
            let jobs = lane.iter_mut().filter_map(|(item, header)| {
                ah_job(
                    sad.inbound_key(item.slot),
                    &mut item.buf,
                    header,
                    item.at,
                    item.sequence,
                )
            });
            let mut jobs: Lane<AhJob<'_, E::Key>> = jobs.collect();
            self.engine.verify(&mut jobs);
            verdicts(items, &jobs, |job| job.ok)
        };
        for ((item, _), ok) in lane.drain(..).zip(answers) {
            let packet = item.buf.data().get(item.at as usize..);
            // It was read before; the engine changes nothing but the ICV.
            let ah = AhHeader::parse(packet.unwrap_or_default()).ok();
            self.opened(io, item, ok && ah.is_some(), ah);
        }
        self.verifying.end(lane);
    }

    /// A packet left the engine: replay window, lifetime, headers off, and on with what was inside.
    pub(crate) fn opened<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        item: Opening<B>,
        ok: bool,
        ah: Option<AhHeader>,
    ) {
        match self.accept(item.slot, item.sequence, ok) {
            Ok(()) => self.accepted(io, item, ah),
            Err(reason) => self.not_opened(io, item, reason),
        }
    }

    /// The same for an authentic packet, the whole way.
    pub(crate) fn accepted<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        item: Opening<B>,
        ah: Option<AhHeader>,
    ) {
        let (mut buf, slot, depth) = (item.buf, item.slot, item.depth);
        let Some(mode) = self.sad.inbound.get(slot).map(|sa| sa.mode) else {
            return self.drop(io, buf, DropReason::BadSpi);
        };
        buf.trim_front(usize::from(item.link));
        self.heed_peer_address(io, buf.data(), slot, item.sequence);
        let at = (item.at - u32::from(item.link)) as usize;
        let stripped = self.strip(&mut buf, slot, item.class, at, ah.as_ref(), mode);
        let carries_bundle = match stripped {
            Ok(found) => found,
            Err(reason) => return self.drop_inbound(io, buf, slot, reason),
        };
        let inner = match IpHeader::parse(buf.data()) {
            Ok(inner) => inner,
            Err(_) => return self.drop_inbound(io, buf, slot, DropReason::InnerMalformed),
        };
        // In tunnel mode padding for traffic flow confidentiality may follow (RFC 4303 2.7).
        buf.truncate(inner.total_len as usize);
        if let Err(reason) = self.charge_inbound(io, slot, buf.len()) {
            return self.drop_inbound(io, buf, slot, reason);
        }
        match mode {
            Mode::Transport if carries_bundle => match inner.protocol {
                protocol::ESP | protocol::AH if depth + 1 < MAX_DEPTH => {
                    if let Some(sa) = self.sad.inbound.get(slot) {
                        sa.counters.used(inner.total_len.into(), self.now);
                    }
                    self.open_bundled(io, buf, &inner, depth + 1, Some(slot));
                }
                _ => self.drop_inbound(io, buf, slot, DropReason::BundleMismatch),
            },
            _ => self.decapsulated(io, buf, &inner, slot, depth + 1),
        }
    }

    /// What authentication allows: to record the sequence number.
    fn accept(&mut self, slot: u32, sequence: u64, ok: bool) -> Result<(), DropReason> {
        let sa = self.sad.inbound.get_mut(slot).ok_or(DropReason::BadSpi)?;
        match ok {
            true => sa.accept(sequence),
            false => Err(DropReason::IcvMismatch),
        }
    }

    /// Charges the SA's lifetime for a packet, counted as its sender counts it: without what ESP or AH add.
    #[inline]
    fn charge_inbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        slot: u32,
        bytes: usize,
    ) -> Result<(), DropReason> {
        let sa = self.sad.inbound.get_mut(slot).ok_or(DropReason::BadSpi)?;
        match sa.life.charge(bytes, self.now) {
            LifeState::Alive => Ok(()),
            LifeState::Soft => {
                sa.life
                    .told_soft(io.notify(Event::SoftExpire(SaSide::Inbound(slot))));
                Ok(())
            }
            LifeState::Expired => {
                if sa.life.hard_is_news() {
                    sa.life
                        .told_hard(io.notify(Event::HardExpire(SaSide::Inbound(slot))));
                }
                Err(DropReason::SaExpired)
            }
        }
    }

    /// Takes headers and trailer off. Says also whether the next SA of a bundle must follow.
    #[inline]
    fn strip(
        &self,
        buf: &mut B,
        slot: u32,
        class: u8,
        at: usize,
        ah: Option<&AhHeader>,
        mode: Mode,
    ) -> Result<bool, DropReason> {
        let sa = self.sad.inbound.get(slot).ok_or(DropReason::BadSpi)?;
        match (mode, ah) {
            (Mode::Tunnel, None) => {
                let version = esp::strip_tunnel(buf, at, &sa.shape)?;
                decapsulate_ecn(class, buf.data_mut(), version)?;
            }
            (Mode::Tunnel, Some(ah)) => {
                let version = esp::inner_version(ah.next_header)?;
                buf.trim_front(at + ah.len);
                esp::check_version(buf.data(), version)?;
                decapsulate_ecn(class, buf.data_mut(), version)?;
            }
            (Mode::Transport, None) => {
                let ip = IpHeader::parse(buf.data())?;
                let udp = at - usize::from(ip.header_len);
                esp::strip_transport(buf, &ip, udp, &sa.shape)?;
                if let Some(original) = sa.original {
                    nat_checksum::restore(buf.data_mut(), &ip, original);
                }
            }
            (Mode::Transport, Some(ah)) => {
                if matches!(ah.next_header, protocol::IPV4 | protocol::IPV6) {
                    return Err(DropReason::NextHeaderInvalid);
                }
                let ip = IpHeader::parse(buf.data())?;
                ah::strip_transport(buf, &ip, ah);
            }
        }
        Ok(sa.carries_bundle)
    }

    /// A packet out of an SA: one that its SA may carry, to us, to a neighbour on the protected side, or out
    /// again through the SPD.
    #[inline]
    fn decapsulated<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        slot: u32,
        depth: u8,
    ) {
        let Some(sa) = self.sad.inbound.get(slot) else {
            return self.drop(io, buf, DropReason::BadSpi);
        };
        let path = Path::Decapsulated(sa.serial);
        let key = FlowKey::new(ip, ip::ports(buf.data(), ip), path);
        let place = self.flows.place(&key);
        let verdict = match self.flows.get(place, &key).copied() {
            Some(decision) => decision.verdict,
            None => {
                self.counters.flow_misses.add(1);
                match self.admit_decapsulated(buf.data(), ip, slot) {
                    Match::Yes(remember) => {
                        let verdict = self.decide_decapsulated(ip);
                        if remember {
                            let decision = Decision::unasked(verdict);
                            self.flows.insert(place, key, decision);
                        }
                        verdict
                    }
                    Match::No => {
                        return self.drop_inbound(io, buf, slot, DropReason::SelectorMismatch);
                    }
                    Match::Reassemble => {
                        return self.reassemble(io, buf, ip, Origin::Sa(slot), |p, io, buf, ip| {
                            p.decapsulated(io, buf, &ip, slot, depth);
                        });
                    }
                }
            }
        };
        if let Some(sa) = self.sad.inbound.get(slot) {
            sa.counters.used(ip.total_len.into(), self.now);
        }
        self.deliver_decapsulated(io, buf, ip, slot, depth, verdict);
    }

    /// RFC 4301 5.2 step 4: the packet must be one that its SA may carry. Says also whether the answer holds for
    /// its whole flow.
    fn admit_decapsulated(&self, packet: &[u8], ip: &IpHeader, slot: u32) -> Match<bool> {
        let Some(sa) = self.sad.inbound.get(slot) else {
            return Match::No;
        };
        if ip.hides_protocol() {
            return Match::Reassemble;
        }
        match sa.admits(&SelectorKey::of(packet, ip, Flow::Inbound)) {
            Match::Yes(()) => Match::Yes(true),
            Match::Reassemble => Match::Reassemble,
            // RFC 4301 6.2: an ICMP error comes in the SA of the packet that it is about; that one went out.
            Match::No => match quoted_key(packet, ip, Flow::Outbound).map(|key| sa.admits(&key)) {
                Some(Match::Yes(())) => Match::Yes(false),
                Some(Match::Reassemble) => Match::Reassemble,
                Some(Match::No) | None => Match::No,
            },
        }
    }

    #[inline]
    fn deliver_decapsulated<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        slot: u32,
        depth: u8,
        verdict: Verdict,
    ) {
        let origin = Origin::Sa(slot);
        match verdict {
            Verdict::Forward(way) => self.forward_by(io, buf, ip, origin, way),
            Verdict::Local if ip.is_fragment() => {
                self.reassemble(io, buf, ip, origin, |p, io, buf, ip| {
                    p.deliver_decapsulated(io, buf, &ip, slot, depth, verdict);
                });
            }
            Verdict::Local => match ip.protocol {
                protocol::ESP | protocol::AH => self.open(io, buf, ip, depth),
                _ => self.deliver(io, buf, *ip, origin),
            },
            Verdict::Drop(reason) => self.drop(io, buf, reason),
            Verdict::Hairpin | Verdict::Protect(_) | Verdict::Hold(_) => {
                self.outbound(io, buf, ip, origin)
            }
        }
    }

    fn decide_decapsulated(&mut self, ip: &IpHeader) -> Verdict {
        let fib = &self.view.fib;
        if fib.is_local(ip.destination) {
            return Verdict::Local;
        }
        if ip.destination.is_multicast() || fib.is_broadcast(ip.destination) {
            return Verdict::Drop(DropReason::Multicast);
        }
        if ip.destination.is_v6_link_local() || ip.source.is_v6_link_local() {
            return Verdict::Drop(DropReason::IpMartian);
        }
        match fib.route(ip.destination) {
            Some(hop)
                if fib
                    .interface(hop.interface)
                    .is_some_and(|i| i.side == Side::Protected) =>
            {
                self.forward_verdict(Some(hop), ip)
            }
            _ => Verdict::Hairpin,
        }
    }

    /// A clear packet from the unprotected side: only a bypass entry lets it in (RFC 4301 5.2 step 3b).
    fn inbound_clear<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
    ) {
        // RFC 1812 5.3.8: nobody else speaks in clear from our addresses.
        if matches!(origin, Origin::Interface(_)) && self.view.fib.is_local(ip.source) {
            return self.drop(io, buf, DropReason::IpMartian);
        }
        let key = FlowKey::new(ip, ip::ports(buf.data(), ip), Path::InboundClear);
        let place = self.clear_flows.place(&key);
        let decision = match self.clear_flows.get(place, &key).copied() {
            Some(decision) => decision,
            None => {
                self.counters.flow_misses.add(1);
                match self.decide_inbound_clear(buf.data(), ip) {
                    Match::Yes((decision, remember)) => {
                        if remember {
                            self.clear_flows.insert(place, key, decision);
                        }
                        decision
                    }
                    Match::Reassemble => {
                        return self.reassemble(io, buf, ip, origin, |p, io, buf, ip| {
                            p.inbound_clear(io, buf, &ip, origin);
                        });
                    }
                    Match::No => Decision::unasked(Verdict::Drop(DropReason::PolicyNoMatch)),
                }
            }
        };
        self.count_entry(&decision, ip.total_len);
        match decision.verdict {
            Verdict::Local => self.deliver(io, buf, *ip, origin),
            Verdict::Forward(way) => self.forward_by(io, buf, ip, origin, way),
            Verdict::Drop(reason) => self.drop(io, buf, reason),
            Verdict::Hairpin | Verdict::Protect(_) | Verdict::Hold(_) => {
                self.drop(io, buf, DropReason::ProtectedExpected)
            }
        }
    }

    /// Says also whether the answer may be remembered for the flow.
    fn decide_inbound_clear(&mut self, packet: &[u8], ip: &IpHeader) -> Match<(Decision, bool)> {
        let fib = &self.view.fib;
        let drop = |reason, entry| {
            let verdict = Verdict::Drop(reason);
            Match::Yes((Decision { verdict, entry }, true))
        };
        if ip.destination.is_multicast() || fib.is_broadcast(ip.destination) {
            return drop(DropReason::Multicast, u32::MAX);
        }
        if ip.hides_protocol() {
            return Match::Reassemble;
        }
        let local = fib.is_local(ip.destination);
        if !local && (ip.destination.is_v6_link_local() || ip.source.is_v6_link_local()) {
            return drop(DropReason::IpMartian, u32::MAX);
        }
        let key = SelectorKey::of(packet, ip, Flow::Inbound);
        let (entry, action) = match self.view.spd.lookup(&key, Flow::Inbound) {
            Match::Yes(found) => found,
            Match::No => return drop(DropReason::PolicyNoMatch, u32::MAX),
            Match::Reassemble => return Match::Reassemble,
        };
        let (passes, remember) = match action {
            EntryAction::Discard => return drop(DropReason::PolicyDiscard, entry),
            EntryAction::Bypass => (true, true),
            EntryAction::Protect => match self.admits_unsecured(entry, &key, ip) {
                Some(answer) => answer,
                None => return Match::Reassemble,
            },
        };
        let verdict = match passes {
            true if local => Verdict::Local,
            true => {
                let hop = fib.route(ip.destination);
                self.forward_verdict(hop, ip)
            }
            false => Verdict::Drop(DropReason::ProtectedExpected),
        };
        Match::Yes((Decision { verdict, entry }, remember))
    }

    fn bad_spi<I: Outlet<Buf = B>>(&mut self, io: &mut I, spi: u32, protocol: u8, ip: &IpHeader) {
        if self.notice_limit.allow(self.now) {
            let (source, destination) = (ip.source, ip.destination);
            io.notify(Event::BadSpi {
                spi,
                protocol,
                source,
                destination,
            });
        }
    }

    pub(crate) fn drop_inbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        slot: u32,
        reason: DropReason,
    ) {
        if let Some(sa) = self.sad.inbound.get(slot) {
            sa.counters.drops.add(reason, 1);
        }
        self.drop(io, buf, reason);
    }
}
