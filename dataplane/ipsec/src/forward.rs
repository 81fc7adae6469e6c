//! Forwarding a packet that needs no protection, or no more (RFC 1812 5.2): hop limit, MTU, link header.

use rand_core::RngCore;

use crate::engine::lookaside::Lookaside;
use crate::fib::Hop;
use crate::flow::{Adjacency, AdjacencyId, Egress, LinkHeader};
use crate::fragment::fragment;
use crate::icmp::IcmpError;
use crate::ip::{self, Address, IpHeader, IpVersion};
use crate::pipeline::{MAX_FRAGMENTS, Origin, Outlet, Pipeline, Punt};
use crate::spd::Classifier;
use crate::{DropReason, PacketBuf};

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Decrements the hop limit of a packet that does not start here; if there is no hop left, tells its sender
    /// (RFC 1812 5.3.1; for the inner header of a tunnel RFC 4301 5.1.2.1 note 3).
    pub(crate) fn take_hop<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        ip: &IpHeader,
        origin: Origin,
    ) -> Option<B> {
        if origin == Origin::Local {
            return Some(buf);
        }
        if ip.hop_limit > 1 {
            ip::decrement_hop_limit(buf.data_mut(), ip.version);
            return Some(buf);
        }
        let (error, reason) = (IcmpError::TimeExceeded, DropReason::TtlExpired);
        self.refuse(io, buf, ip, origin, error, reason);
        None
    }

    /// Forwards in clear: hop limit, MTU, link header.
    pub(crate) fn forward<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        way: &Adjacency,
    ) {
        let Some(buf) = self.take_hop(io, buf, ip, origin) else {
            return;
        };
        let (mtu, egress) = (usize::from(way.mtu), way.egress);
        if ip.total_len as usize <= mtu {
            return self.send(io, buf, &egress);
        }
        if ip.dont_fragment && origin != Origin::Local {
            let error = IcmpError::TooBig { mtu: mtu as u32 };
            return self.refuse(io, buf, ip, origin, error, DropReason::TooBig);
        }
        self.cut(io, buf, ip, mtu, |p, io, piece| p.send(io, piece, &egress));
    }

    /// Cuts a packet into fragments and goes on with each.
    pub(crate) fn cut<I: Outlet<Buf = B>>(
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
    #[inline]
    pub(crate) fn send<I: Outlet<Buf = B>>(&mut self, io: &mut I, mut buf: B, egress: &Egress) {
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
                let way = self.adjacency(hop, ip.destination, ip.version);
                self.forward(io, buf, &ip, Origin::Local, &way);
            }
            None => self.drop(io, buf, DropReason::NoRoute),
        }
    }

    /// How packets to `destination` leave over `hop`.
    pub(crate) fn adjacency(
        &self,
        hop: Hop,
        destination: Address,
        version: IpVersion,
    ) -> Adjacency {
        let next_hop = hop.via.unwrap_or(destination);
        let interface = self.view.fib.interface(hop.interface);
        let mac = self.view.neighbors.0.get(&(hop.interface, next_hop));
        let egress = match (mac, interface) {
            (Some(mac), Some(interface)) => Egress::Ready(LinkHeader::new(
                hop.interface,
                interface,
                *mac,
                version.ethertype(),
            )),
            _ => Egress::Unresolved(Hop {
                interface: hop.interface,
                via: Some(next_hop),
            }),
        };
        Adjacency {
            egress,
            mtu: interface.map_or(0, |i| i.mtu),
        }
    }

    /// The same, for a decision to remember; `None` if there are too many.
    pub(crate) fn remembered_adjacency(
        &mut self,
        hop: Hop,
        destination: Address,
        version: IpVersion,
    ) -> Option<AdjacencyId> {
        let neighbor = (hop.interface, hop.via.unwrap_or(destination), version);
        if let Some(known) = self.adjacencies.find(neighbor) {
            return Some(known);
        }
        let way = self.adjacency(hop, destination, version);
        self.adjacencies.add(neighbor, way)
    }

    /// Forwards by a remembered way.
    #[inline]
    pub(crate) fn forward_by<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        way: AdjacencyId,
    ) {
        match self.adjacencies.get(way).copied() {
            Some(way) => self.forward(io, buf, ip, origin, &way),
            None => self.drop(io, buf, DropReason::InterfaceDown),
        }
    }
}
