//! What concerns the gateway itself: its slow path, neighbour discovery, and the ICMP errors it sends and heeds.

use crate::engine::lookaside::Lookaside;
use crate::ethernet::{Frame, HEADER, ethertype};
use crate::icmp::{self, IcmpError, QuotedKind};
use crate::ip::{self, IPV6_HEADER, IpHeader, protocol};
use crate::pipeline::{Event, Origin, Outlet, Pipeline, Punt};
use crate::spd::{Classifier, Flow, SelectorKey};
use crate::tunnel::UDP_HEADER;
use crate::{DropReason, InterfaceId, PacketBuf};

/// RFC 4861 4: router and neighbour solicitations and advertisements, redirect.
const NEIGHBOR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;

/// A frame with a neighbour discovery message; those never carry extension headers worth following.
pub(crate) fn is_neighbor_discovery(frame: &[u8], header: &Frame) -> bool {
    header.ethertype == ethertype::IPV6
        && frame.get(header.len + 6) == Some(&protocol::ICMPV6)
        && frame
            .get(header.len + IPV6_HEADER)
            .is_some_and(|kind| NEIGHBOR_DISCOVERY.contains(kind))
}

/// The selectors of the packet that an ICMP error is about, which travelled in direction `flow`; `None` for what
/// is no ICMP error to that packet's source.
///
/// The quote may be cut anywhere behind its ports, so its lengths are not to be believed. It is never the key of
/// a fragment: a first fragment shows its ports, and about later ones nobody sends errors.
pub(crate) fn quoted_key(packet: &[u8], ip: &IpHeader, flow: Flow) -> Option<SelectorKey> {
    let quoted = icmp::parse_error(packet, ip)?.quoted;
    let mut about = IpHeader::parse_quoted(quoted)?;
    if about.source != ip.destination || about.fragment().is_some_and(|f| f.offset != 0) {
        return None;
    }
    about.forget_fragment();
    let ports = ip::ports(quoted, &about);
    Some(SelectorKey::from_parts(&about, ports, flow))
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Gives a frame with ARP or neighbour discovery to the slow path, untagged.
    pub(crate) fn punt_neighbor<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        frame: &Frame,
        interface: InterfaceId,
    ) {
        let tag = frame.len - HEADER;
        if tag != 0 {
            // The addresses move up over the tag; its last two bytes, the real type, stay.
            buf.data_mut().copy_within(..HEADER - 2, tag);
            buf.trim_front(tag);
        }
        io.punt(Punt::Neighbor {
            interface,
            frame: buf,
        });
    }

    /// Gives a packet to one of our addresses to the slow path, whole.
    pub(crate) fn deliver<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: IpHeader,
        origin: Origin,
    ) {
        if ip.is_fragment() {
            return self.reassemble(io, buf, &ip, origin, |p, io, buf, ip| {
                p.deliver(io, buf, ip, origin);
            });
        }
        io.punt(Punt::Local { packet: buf });
    }

    /// Drops a packet for a reason that its sender is told by ICMP, as far as the rate limit goes.
    pub(crate) fn refuse<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        ip: &IpHeader,
        origin: Origin,
        error: IcmpError,
        reason: DropReason,
    ) {
        let v4 = ip.source.is_v4();
        let speaker = match origin {
            Origin::Interface(id) => Some(id),
            Origin::Sa(_) | Origin::Worker | Origin::Local => self.protected_interface(v4),
        };
        let source = speaker.and_then(|id| self.view.fib.source_address(id, v4));
        let told = match source {
            Some(source) if self.icmp_limit.allow(self.now) => {
                icmp::make_error(&mut buf, ip, error, source).is_ok()
            }
            _ => false,
        };
        if !told {
            return self.drop(io, buf, reason);
        }
        // The buffer lives on as the error; the packet it held is dropped.
        self.counters.drops.add(reason, 1);
        self.counters.created.add(1);
        self.reenter(io, buf, |p, io, buf, ip| {
            p.outbound(io, buf, &ip, Origin::Local)
        });
    }

    /// An ICMP error on the unprotected side about a packet that we protected: its MTU is news for control,
    /// which knows all SAs (RFC 4301 8.2.1). True if it was such an error.
    pub(crate) fn heed_path_mtu<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        packet: &[u8],
        ip: &IpHeader,
    ) -> bool {
        let Some(error) = icmp::parse_error(packet, ip) else {
            return false;
        };
        let QuotedKind::TooBig { mtu } = error.kind else {
            return false;
        };
        let Some(inner) = IpHeader::parse_quoted(error.quoted) else {
            return false;
        };
        let payload = error
            .quoted
            .get(usize::from(inner.header_len)..)
            .unwrap_or_default();
        let spi_at = match inner.protocol {
            protocol::ESP => 0,
            protocol::AH => 4,
            // ESP in UDP: behind the UDP header.
            protocol::UDP if self.is_esp_in_udp(payload) => UDP_HEADER,
            _ => return false,
        };
        let Some(spi) = payload.get(spi_at..).and_then(|p| p.first_chunk()) else {
            return false;
        };
        // RFC 4303 2.1: SPIs below 256 are reserved; zero is the marker of IKE (RFC 3948 2.2).
        if u32::from_be_bytes(*spi) < 256 || !self.view.fib.is_local(inner.source) {
            return false;
        }
        if self.notice_limit.allow(self.now) {
            io.notify(Event::PathMtu {
                spi: u32::from_be_bytes(*spi),
                protocol: if inner.protocol == protocol::AH {
                    protocol::AH
                } else {
                    protocol::ESP
                },
                destination: inner.destination,
                mtu,
            });
        }
        true
    }

    /// Sent from a port of ours on which ESP travels.
    fn is_esp_in_udp(&self, udp: &[u8]) -> bool {
        udp.first_chunk()
            .is_some_and(|port| self.view.esp_udp_ports.contains(&u16::from_be_bytes(*port)))
    }
}
