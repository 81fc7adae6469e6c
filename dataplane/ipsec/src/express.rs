//! The short way of a burst: plain packets of flows already decided, in steps, so that the cache misses of one packet
//! overlap with the work on the others.
//!
//! ```text
//! arrive:  Ethernet, IP, hash         -> memory of the flow, or of the SPI, is asked for
//! look up: flow or SPI                -> memory of the SA is asked for
//! decide:  protected side: header and trailer -> seal lane;  unprotected side: sizes, replay -> open lane
//! opened:  replay, trailer, selectors by flow, hop limit, link header -> transmit
//! ```
//! Nothing here drops a packet before authentication or decides a flow: whatever is not ordinary goes the whole way
//! of [`crate::pipeline`], as it came, and nothing has changed until it is certain that a packet stays here.

use portcullis_config::{Mode, Side};

use crate::engine::Engine;
use crate::envelope::Letter;
use crate::ethernet::{HEADER, ethertype};
use crate::flow::{Decision, Egress, Path, Verdict};
use crate::ip::{self, IPV4_HEADER, IPV6_HEADER, IpVersion, protocol};
use crate::pipeline::{Opening, Outlet, Pipeline, Sealing};
use crate::plain::Plain;
use crate::sa::SaRef;
use crate::spd::Classifier;
use crate::tunnel::is_ect;
use crate::{InterfaceId, PacketBuf, esp};

/// A packet of a burst. It is written where it stays: to move what was just written costs more than all lookups.
#[derive(Debug)]
pub(crate) struct Arrival<B> {
    /// Taken out when it is decided.
    buf: Option<B>,
    plain: Plain,
    hash: u64,
    way: Way,
}

impl<B> Default for Arrival<B> {
    fn default() -> Self {
        Arrival {
            buf: None,
            plain: Plain::default(),
            hash: 0,
            way: Way::Whole,
        }
    }
}

/// Where a packet of a burst goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The whole way.
    Whole,
    /// From the protected side, its flow to be looked up.
    Outbound,
    /// Into an SA of this worker, for an SPD entry.
    Protect(u32, u32),
    /// ESP, its SPI to be looked up.
    Esp(u32),
    /// To an SA of this worker.
    Open(u32),
}

/// The untagged interface of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Untagged {
    side: Side,
    mac: [u8; 6],
}

impl<E: Engine, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// What is known of a port before its frames are looked at.
    pub(crate) fn untagged(&self, port: usize) -> Option<Untagged> {
        let id: InterfaceId = self.view.ports.get(port)?.untagged?;
        let interface = self.view.fib.interface(id)?;
        Some(Untagged {
            side: interface.side,
            mac: interface.mac,
        })
    }

    /// Takes in one frame of a burst.
    #[inline(always)]
    pub(crate) fn arrive(
        &mut self,
        untagged: Option<Untagged>,
        arrival: &mut Arrival<B>,
        frame: B,
    ) {
        arrival.way = Way::Whole;
        if let Some((side, packet)) = untagged.and_then(|port| port.packet(frame.data())) {
            if arrival.plain.read(packet, Path::Outbound) {
                match side {
                    Side::Protected => {
                        arrival.hash = self.flows.hash(&arrival.plain.key);
                        self.flows.prefetch(arrival.hash);
                        arrival.way = Way::Outbound;
                    }
                    Side::Unprotected if arrival.plain.protocol == protocol::ESP => {
                        let at = header_len(arrival.plain.version);
                        let spi = packet.get(at..).and_then(|esp| esp.first_chunk());
                        let spi = spi.map_or(0, |spi| u32::from_be_bytes(*spi));
                        self.sad.index.prefetch(spi);
                        arrival.way = Way::Esp(spi);
                    }
                    Side::Unprotected => {}
                }
            }
        }
        arrival.buf = Some(frame);
    }

    /// Decides all that have arrived, in order.
    pub(crate) fn run_arrivals<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        port: usize,
        burst: &mut [Arrival<B>],
    ) {
        for arrival in &mut *burst {
            self.look_up(arrival);
        }
        for arrival in burst {
            let Some(mut buf) = arrival.buf.take() else {
                continue;
            };
            let stays = match arrival.way {
                Way::Protect(slot, entry) => {
                    self.express_seal(&mut buf, &arrival.plain, slot, entry)
                }
                Way::Open(slot) => self.express_open(&mut buf, &arrival.plain, slot),
                Way::Whole | Way::Outbound | Way::Esp(_) => Stays::No,
            };
            match stays {
                Stays::Seal(place) => self.push_sealing(io, place.with(buf)),
                Stays::Open(place) => self.push_opening(io, place.with(buf), None),
                Stays::No => self.admit(io, port, buf),
            }
        }
    }

    #[inline(always)]
    fn look_up(&self, arrival: &mut Arrival<B>) {
        match arrival.way {
            Way::Outbound => {
                let found = self.flows.get(arrival.hash, &arrival.plain.key);
                if let Some(&Decision {
                    verdict: Verdict::Protect(SaRef { worker, slot }),
                    entry,
                }) = found
                {
                    if worker == self.worker {
                        self.sad.outbound.prefetch(slot);
                        arrival.way = Way::Protect(slot, entry);
                    }
                }
            }
            Way::Esp(spi) => {
                let destination = arrival.plain.key.destination();
                let found = self.sad.index.lookup(spi, protocol::ESP, destination);
                if let Some(SaRef { worker, slot }) = found {
                    if worker == self.worker {
                        self.sad.inbound.prefetch(slot);
                        arrival.way = Way::Open(slot);
                    }
                }
            }
            Way::Whole | Way::Protect(..) | Way::Open(_) => {}
        }
    }

    /// Puts a packet into its SA's envelope, if it fits and nothing is to be told about the SA.
    #[inline(always)]
    fn express_seal(&mut self, buf: &mut B, plain: &Plain, slot: u32, entry: u32) -> Stays {
        let generation = self.flows.generation();
        let Some(sa) = self.sad.outbound.get_mut(slot) else {
            return Stays::No;
        };
        let Some(outer) = &sa.outer else {
            return Stays::No;
        };
        let len = usize::from(plain.total_len);
        if sa.envelope.generation != generation
            || u32::from(plain.total_len) > sa.envelope.limit
            || plain.hop_limit <= 1
            || sa.sequence >= sa.last_sequence
            || !sa.envelope.has_room(buf)
            || !sa.life.charge_quietly(len, self.now)
        {
            return Stays::No;
        }
        // RFC 4301 5.1.2.1 note 3: forwarding decrements the inner TTL.
        if let Some(packet) = buf.data_mut().get_mut(HEADER..) {
            ip::decrement_hop_limit(packet, plain.version);
        }
        sa.sequence += 1;
        let iv = sa.iv(sa.sequence, &mut self.rng);
        let letter = Letter {
            len,
            version: plain.version,
            class: plain.class,
            dont_fragment: plain.dont_fragment,
            sequence: sa.sequence,
            iv: &iv,
            id: sa.identification(sa.sequence),
        };
        // There is room; were there none, the lane would be refused as a whole.
        let at = sa.envelope.close(buf, HEADER, outer, &letter);
        let place = Sealing {
            buf: (),
            slot,
            at: at.unwrap_or(usize::MAX) as u32,
            sequence: sa.sequence,
            payload: len as u32,
            addressed: true,
        };
        if let Some(hits) = self.view.hits.get(entry as usize) {
            hits.packets.add(1);
            hits.bytes.add(len as u64);
        }
        Stays::Seal(place)
    }

    /// Checks an ESP packet as far as that goes without its key, if its SA is an ordinary tunnel.
    #[inline(always)]
    fn express_open(&mut self, buf: &mut B, plain: &Plain, slot: u32) -> Stays {
        let at = HEADER + header_len(plain.version);
        let end = HEADER + usize::from(plain.total_len);
        let Some(sa) = self.sad.inbound.get(slot) else {
            return Stays::No;
        };
        if sa.udp || sa.mode != Mode::Tunnel || sa.came_in.is_some() || sa.carries_bundle {
            return Stays::No;
        }
        let esp = buf.data().get(at..end).unwrap_or_default();
        let sequence = match (esp::check(esp, &sa.shape), &sa.replay) {
            (Ok(low), Some(window)) => window.check(low),
            (Ok(low), None) => Ok(low.into()),
            (Err(reason), _) => Err(reason),
        };
        match sequence {
            Ok(sequence) => {
                buf.truncate(end);
                Stays::Open(Opening {
                    buf: (),
                    sequence,
                    slot,
                    at: at as u32,
                    class: plain.class,
                    depth: 0,
                    link: HEADER as u8,
                })
            }
            Err(_) => Stays::No,
        }
    }

    /// Forwards an authentic packet of a tunnel, if its flow is decided and leaves in clear; otherwise gives it
    /// back, unchanged.
    #[inline(always)]
    pub(crate) fn express_opened<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        item: &Opening<()>,
    ) -> Option<B> {
        let Some(sa) = self.sad.inbound.get_mut(item.slot) else {
            return Some(buf);
        };
        let at = item.at as usize;
        let esp = buf.data().get(at..).unwrap_or_default();
        let Ok((payload, next_header)) = esp::trailer(esp, &sa.shape) else {
            return Some(buf);
        };
        let inner = at + esp::ESP_HEADER + sa.shape.iv_len;
        let packet = buf.data().get(inner..inner + payload).unwrap_or_default();
        let mut plain = Plain::default();
        if !plain.read(packet, Path::Decapsulated(sa.serial))
            || next_header != plain.version.tunnel_protocol()
            || plain.hop_limit <= 1
            || is_ect(item.class)
        {
            return Some(buf);
        }
        let hash = self.flows.hash(&plain.key);
        let Some(&Decision {
            verdict: Verdict::Forward(way),
            ..
        }) = self.flows.get(hash, &plain.key)
        else {
            return Some(buf);
        };
        let Some(way) = self.adjacencies.get(way) else {
            return Some(buf);
        };
        let Egress::Ready(link) = &way.egress else {
            return Some(buf);
        };
        let (len, front) = (usize::from(plain.total_len), inner - usize::from(link.len));
        if plain.total_len > way.mtu || !sa.life.charge_quietly(len, self.now) {
            return Some(buf);
        }
        if let Some(packet) = buf.data_mut().get_mut(inner..) {
            ip::decrement_hop_limit(packet, plain.version);
        }
        // The link header takes the place of what came off: there is room.
        if let Ok(frame) = buf.reshape(front as isize, usize::from(link.len) + len) {
            link.write(frame);
        }
        sa.counters.used(len as u64, self.now);
        io.transmit(link.interface, buf);
        None
    }
}

/// What becomes of a packet.
enum Stays {
    Seal(Sealing<()>),
    Open(Opening<()>),
    No,
}

impl Untagged {
    /// The IP packet in an untagged unicast frame to this station.
    #[inline(always)]
    fn packet(self, frame: &[u8]) -> Option<(Side, &[u8])> {
        let (header, packet) = frame.split_first_chunk::<HEADER>()?;
        let kind = u16::from_be_bytes([header[12], header[13]]);
        let first = packet.first()? >> 4;
        let fits = match kind {
            ethertype::IPV4 => first == 4,
            ethertype::IPV6 => first == 6,
            _ => false,
        };
        let [mac @ .., _, _, _, _, _, _, _, _] = header;
        (fits && *mac == self.mac).then_some((self.side, packet))
    }
}

#[inline(always)]
fn header_len(version: IpVersion) -> usize {
    match version {
        IpVersion::V4 => IPV4_HEADER,
        IpVersion::V6 => IPV6_HEADER,
    }
}
