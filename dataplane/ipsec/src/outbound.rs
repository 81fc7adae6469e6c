//! Outbound processing (RFC 4301 5.1): from the protected side, or from this gateway, across the boundary.

use crate::engine::lookaside::Lookaside;
use crate::fib::Hop;
use crate::flow::{Decision, FlowKey, FlowPlace, Path, Verdict};
use crate::ip::{self, Address, IpHeader, protocol};
use crate::local::quoted_key;
use crate::pipeline::{Event, Handoff, Origin, Outlet, Pipeline, Service};
use crate::sa::SaRef;
use crate::spd::{Classifier, EntryAction, Flow, Match, SelectorKey};
use crate::{DropReason, PacketBuf};

/// A packet's flow, and what is known about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownFlow {
    pub(crate) key: FlowKey,
    pub(crate) place: FlowPlace,
    pub(crate) decision: Option<Decision>,
}

/// Whether a packet crosses the boundary.
pub(crate) enum Crossing<'a> {
    /// No: no SPD entry is asked.
    Ends(Verdict),
    /// No: it stays on the protected side.
    Inside(&'a Hop),
    /// Yes, over this hop, if there is a route.
    Out(Option<&'a Hop>),
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Decides about a packet that may have to leave the protected side.
    pub(crate) fn outbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
    ) {
        let path = match origin {
            Origin::Interface(_) => Path::Outbound,
            Origin::Sa(_) => Path::Hairpin,
            Origin::Worker | Origin::Local => Path::Local,
        };
        let key = FlowKey::new(ip, ip::ports(buf.data(), ip), path);
        let place = self.flows.place(&key);
        let decision = self.flows.get(place, &key).copied();
        let flow = KnownFlow {
            key,
            place,
            decision,
        };
        self.outbound_flow(io, buf, ip, origin, &flow);
    }

    /// The same for a packet whose flow was looked up.
    #[inline]
    pub(crate) fn outbound_flow<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        flow: &KnownFlow,
    ) {
        let decision = match flow.decision {
            Some(decision) => decision,
            None => {
                self.counters.flow_misses.add(1);
                match self.decide_outbound(io, buf.data(), ip, origin) {
                    Match::Yes((decision, remember)) => {
                        if remember {
                            self.flows.insert(flow.place, flow.key, decision);
                        }
                        decision
                    }
                    Match::Reassemble => {
                        return self.reassemble(io, buf, ip, origin, |p, io, buf, ip| {
                            p.outbound(io, buf, &ip, origin);
                        });
                    }
                    Match::No => Decision::unasked(Verdict::Drop(DropReason::PolicyNoMatch)),
                }
            }
        };
        self.count_entry(&decision, ip.total_len);
        match decision.verdict {
            Verdict::Protect(sa) => self.protect_with(io, buf, ip, origin, sa),
            Verdict::Forward(way) => self.forward_by(io, buf, ip, origin, way),
            Verdict::Local => self.deliver(io, buf, *ip, origin),
            Verdict::Drop(reason) => self.drop(io, buf, reason),
            Verdict::Hairpin => self.drop(io, buf, DropReason::NoRoute),
            Verdict::Hold(child) => self.hold(io, buf, ip, origin, child),
        }
    }

    /// Asks routes and SPD. Says also whether the answer may be remembered for the flow.
    fn decide_outbound<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        packet: &[u8],
        ip: &IpHeader,
        origin: Origin,
    ) -> Match<(Decision, bool)> {
        let unasked = |verdict| Match::Yes((Decision::unasked(verdict), true));
        let received = matches!(origin, Origin::Interface(_));
        let hop = match self.crossing(ip.source, ip.destination, received) {
            Crossing::Ends(verdict) => return unasked(verdict),
            _ if ip.hides_protocol() => return Match::Reassemble,
            Crossing::Inside(&hop) => return unasked(self.forward_verdict(Some(hop), ip)),
            Crossing::Out(hop) => hop.copied(),
        };
        let key = SelectorKey::of(packet, ip, Flow::Outbound);
        let (key, (entry, action), remember) = match self.view.spd.lookup(&key, Flow::Outbound) {
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
            EntryAction::Bypass => self.forward_verdict(hop, ip),
            EntryAction::Protect => match self.bound_sa(entry, &key, ip) {
                Match::Yes(Some(sa)) => Verdict::Protect(sa),
                Match::Yes(None) => {
                    let verdict = self.forward_verdict(hop, ip);
                    // Not remembered: the soft SA counts each packet.
                    return Match::Yes((Decision { verdict, entry }, false));
                }
                Match::Reassemble => return Match::Reassemble,
                Match::No => {
                    let verdict = match self.view.services.get(entry as usize) {
                        Some(Service::Child {
                            only_answers: true, ..
                        }) => self.forward_verdict(hop, ip),
                        Some(Service::Child { number, .. }) => Verdict::Hold(*number),
                        _ => {
                            self.acquire(io, entry, ip);
                            Verdict::Drop(DropReason::NoSa)
                        }
                    };
                    return Match::Yes((Decision { verdict, entry }, false));
                }
            },
        };
        Match::Yes((Decision { verdict, entry }, remember))
    }

    /// What addresses and routes say of a packet from the protected side, or, if not `received`, of our own.
    #[inline(always)]
    pub(crate) fn crossing(
        &self,
        source: Address,
        destination: Address,
        received: bool,
    ) -> Crossing<'_> {
        let fib = &self.view.fib;
        let (from_us, to) = (fib.is_local(source), fib.destination(destination));
        // RFC 1812 5.3.8: nobody else speaks in clear from our addresses.
        if received && from_us {
            return Crossing::Ends(Verdict::Drop(DropReason::IpMartian));
        }
        if to.local {
            return Crossing::Ends(Verdict::Local);
        }
        if destination.is_multicast() || to.broadcast {
            return Crossing::Ends(Verdict::Drop(DropReason::Multicast));
        }
        if destination.is_v6_link_local() || (source.is_v6_link_local() && !from_us) {
            return Crossing::Ends(Verdict::Drop(DropReason::IpMartian));
        }
        match to.hop {
            Some(hop) if to.protected => Crossing::Inside(hop),
            hop => Crossing::Out(hop),
        }
    }

    /// Forward over a hop, if there is one.
    pub(crate) fn forward_verdict(&mut self, hop: Option<Hop>, ip: &IpHeader) -> Verdict {
        match hop {
            Some(hop) => self
                .remembered_adjacency(hop, ip.destination, ip.version)
                .map_or(Verdict::Drop(DropReason::NoNeighbor), Verdict::Forward),
            None => Verdict::Drop(DropReason::NoRoute),
        }
    }

    /// The SPD entry, if it protects, of the packet quoted in an ICMP error (RFC 4301 6.2): the quoted packet
    /// came from the peer's side.
    fn lookup_quoted(
        &self,
        packet: &[u8],
        ip: &IpHeader,
    ) -> Option<(SelectorKey, (u32, EntryAction))> {
        let key = quoted_key(packet, ip, Flow::Inbound)?;
        match self.view.spd.lookup(&key, Flow::Outbound) {
            Match::Yes((entry, EntryAction::Protect)) => Some((key, (entry, EntryAction::Protect))),
            _ => None,
        }
    }

    /// The first SA that serves the entry and may carry the packet; `None` for a soft one, which has counted it.
    fn bound_sa(&self, entry: u32, key: &SelectorKey, ip: &IpHeader) -> Match<Option<SaRef>> {
        match self.view.services.get(entry as usize) {
            Some(Service::Sa(sa)) => Match::Yes(Some(*sa)),
            Some(Service::Child {
                number,
                accepts_clear,
                ..
            }) => match self.find_carrier(*number, key, ip) {
                Match::Yes(None) if !accepts_clear => Match::No,
                found => found,
            },
            Some(Service::Nothing) | None => Match::No,
        }
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

    #[inline]
    fn protect_with<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        sa: SaRef,
    ) {
        let Some(buf) = self.take_hop(io, buf, ip, origin) else {
            return;
        };
        if sa.worker != self.worker {
            return io.hand_off(sa.worker, Handoff::Seal(sa.slot, buf));
        }
        self.protect(io, buf, ip, origin, sa.slot);
    }
}
