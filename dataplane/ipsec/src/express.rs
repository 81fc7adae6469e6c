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

use portcullis_config::Side;

use crate::engine::lookaside::Lookaside;
use crate::envelope::Letter;
use crate::ethernet::{HEADER, ethertype};
use crate::flow::{Decision, Egress, FlowKey, Path, Verdict};
use crate::ip::{self, IpVersion, protocol};
use crate::pipeline::{Opening, Outlet, Pipeline, Sealing};
use crate::plain::{Plain, V4, V6};
use crate::sa::SaRef;
use crate::spd::Classifier;
use crate::tunnel::is_ect;
use crate::{PacketBuf, esp};

/// A packet of a burst. It is written where it stays: to move what was just written costs more than all lookups.
#[derive(Debug)]
pub(crate) struct Arrival<B> {
    /// Taken out when it is decided.
    pub(crate) buf: Option<B>,
    version: IpVersion,
    way: Way,
    hash: u64,
}

/// Where a packet of a burst goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The whole way.
    Whole,
    /// From the protected side: its flow is to be looked up.
    Outbound,
    /// ESP with this SPI, to be looked up.
    Esp(u32),
    /// Into an SA of this worker, for an SPD entry.
    Protect(u32, u32),
    /// To an SA of this worker.
    Open(u32),
}

impl<B> Default for Arrival<B> {
    fn default() -> Self {
        Arrival {
            buf: None,
            version: IpVersion::V4,
            way: Way::Whole,
            hash: 0,
        }
    }
}

/// The untagged interface of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Untagged {
    side: Side,
    mac: [u8; 6],
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// What is known of a port before its frames are looked at.
    pub(crate) fn untagged(&self, port: usize) -> Option<Untagged> {
        let id = self.view.ports.get(port)?.untagged?;
        let interface = self.view.fib.interface(id)?;
        Some(Untagged {
            side: interface.side,
            mac: interface.mac,
        })
    }

    /// Takes in one frame of a burst.
    #[inline(always)]
    pub(crate) fn arrive(&self, port: Option<Untagged>, arrival: &mut Arrival<B>, frame: B) {
        arrival.way = Way::Whole;
        if let (Some(port), Some((header, packet))) = (port, frame.data().split_first_chunk()) {
            match unicast_ethertype(header, port.mac) {
                Some(ethertype::IPV4) => self.arrive_plain::<V4>(port.side, arrival, packet),
                Some(ethertype::IPV6) => self.arrive_plain::<V6>(port.side, arrival, packet),
                _ => {}
            }
        }
        arrival.buf = Some(frame);
    }

    #[inline(always)]
    fn arrive_plain<H: Plain>(&self, side: Side, arrival: &mut Arrival<B>, packet: &[u8]) {
        let Some(header) = H::read(packet) else {
            return;
        };
        arrival.version = H::VERSION;
        if side == Side::Protected {
            let key = H::key(header, FlowKey::path(Path::Outbound));
            arrival.hash = self.flows.hash(&key);
            self.flows.prefetch(arrival.hash);
            arrival.way = Way::Outbound;
        } else if H::protocol(header) == protocol::ESP {
            let spi = u32::from_be_bytes(H::payload(header));
            self.sad.index.prefetch(spi);
            arrival.way = Way::Esp(spi);
        }
    }

    /// Decides all that have arrived, in order.
    pub(crate) fn run_arrivals<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        port: usize,
        burst: &mut [Arrival<B>],
    ) {
        for arrival in &mut *burst {
            match arrival.version {
                IpVersion::V4 => self.look_up::<V4>(arrival),
                IpVersion::V6 => self.look_up::<V6>(arrival),
            }
        }
        for arrival in burst {
            let Some(buf) = arrival.buf.take() else {
                continue;
            };
            let back = match (arrival.way, arrival.version) {
                (Way::Protect(slot, entry), IpVersion::V4) => {
                    self.express_seal::<V4, I>(io, buf, slot, entry)
                }
                (Way::Protect(slot, entry), IpVersion::V6) => {
                    self.express_seal::<V6, I>(io, buf, slot, entry)
                }
                (Way::Open(slot), IpVersion::V4) => self.express_open::<V4, I>(io, buf, slot),
                (Way::Open(slot), IpVersion::V6) => self.express_open::<V6, I>(io, buf, slot),
                (Way::Whole | Way::Outbound | Way::Esp(_), _) => Some(buf),
            };
            if let Some(buf) = back {
                self.admit(io, port, buf);
            }
        }
    }

    #[inline(always)]
    fn look_up<H: Plain>(&self, arrival: &mut Arrival<B>) {
        let packet = arrival.buf.as_ref().map_or(&[][..], |buf| buf.data());
        let Some(header) = packet.get(HEADER..).and_then(H::again) else {
            return;
        };
        match arrival.way {
            Way::Outbound => {
                let key = H::key(header, FlowKey::path(Path::Outbound));
                if let Some(&Decision {
                    verdict: Verdict::Protect(SaRef { worker, slot }),
                    entry,
                }) = self.flows.get(arrival.hash, &key)
                {
                    if worker == self.worker {
                        self.sad.outbound.prefetch(slot);
                        arrival.way = Way::Protect(slot, entry);
                    }
                }
            }
            Way::Esp(spi) => {
                let found = self
                    .sad
                    .index
                    .lookup(spi, protocol::ESP, H::destination(header));
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

    /// Puts a packet into its SA's envelope and the lane, if it fits and there is nothing to tell about the SA;
    /// otherwise gives it back, unchanged.
    #[inline(always)]
    fn express_seal<H: Plain, I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        slot: u32,
        entry: u32,
    ) -> Option<B> {
        let Some(head) = buf.data().get(HEADER..).and_then(H::again) else {
            return Some(buf);
        };
        let (len, hop_limit) = (H::total_len(head), H::hop_limit(head));
        let (class, dont_fragment) = (H::class(head), H::dont_fragment(head));
        let Some(sa) = self.sad.outbound.get_mut(slot) else {
            return Some(buf);
        };
        let Some(outer) = &sa.outer else {
            return Some(buf);
        };
        if sa.envelope.generation != self.flows.generation()
            || len > sa.envelope.limit as usize
            || hop_limit <= 1
            || sa.sequence >= sa.last_sequence
            || !sa.envelope.has_room(&buf)
            || !sa.life.charge_quietly(len, self.now)
        {
            return Some(buf);
        }
        // RFC 4301 5.1.2.1 note 3: forwarding decrements the inner TTL.
        if let Some(packet) = buf.data_mut().get_mut(HEADER..) {
            ip::decrement_hop_limit(packet, H::VERSION);
        }
        sa.sequence += 1;
        let sequence = sa.sequence;
        let iv = sa.iv(sequence, &mut self.rng);
        let letter = Letter {
            len,
            version: H::VERSION,
            class,
            dont_fragment,
            sequence,
            iv: &iv,
            id: sa.identification(sequence),
        };
        // There is room; were there none, the lane would be refused as a whole.
        let at = sa.envelope.close(&mut buf, HEADER, outer, &letter);
        sa.counters.sealed(len as u64, sequence, self.now);
        if let Some(hits) = self.view.hits.get(entry as usize) {
            hits.packets.add(1);
            hits.bytes.add(len as u64);
        }
        let item = Sealing {
            buf,
            sequence,
            slot,
            at: at.unwrap_or(usize::MAX) as u32,
            payload: len as u32,
            addressed: Some(sa.envelope.interface),
        };
        self.push_sealing(io, item);
        None
    }

    /// Checks an ESP packet as far as that goes without its key, and puts it into the lane, if its SA is an
    /// ordinary tunnel and it may be genuine; otherwise gives it back.
    #[inline(always)]
    fn express_open<H: Plain, I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        slot: u32,
    ) -> Option<B> {
        let Some(head) = buf.data().get(HEADER..).and_then(H::again) else {
            return Some(buf);
        };
        let (at, end) = (HEADER + H::HEADER, HEADER + H::total_len(head));
        let class = H::class(head);
        let Some(sa) = self.sad.inbound.get(slot).filter(|sa| sa.is_plain_tunnel) else {
            return Some(buf);
        };
        let esp = buf.data().get(at..end).unwrap_or_default();
        let Ok(low) = esp::check(esp, &sa.shape) else {
            return Some(buf);
        };
        let sequence = match &sa.replay {
            Some(window) => match window.check(low) {
                Ok(sequence) => sequence,
                Err(_) => return Some(buf),
            },
            None => low.into(),
        };
        buf.truncate(end);
        let item = Opening {
            buf,
            sequence,
            slot,
            at: at as u32,
            class,
            depth: 0,
            link: HEADER as u8,
        };
        self.push_opening(io, item, None);
        None
    }

    /// Forwards an authentic packet of a tunnel, if its flow is decided and leaves in clear; otherwise gives it
    /// back, unchanged.
    #[inline(always)]
    pub(crate) fn express_opened<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        item: &Opening<()>,
    ) -> Option<B> {
        let Some(sa) = self.sad.inbound.get(item.slot) else {
            return Some(buf);
        };
        let at = item.at as usize;
        let esp = buf.data().get(at..).unwrap_or_default();
        let Ok((payload, next_header)) = esp::trailer(esp, &sa.shape) else {
            return Some(buf);
        };
        let inner = at + esp::ESP_HEADER + sa.shape.iv_len;
        match next_header {
            protocol::IPV4 => self.express_forward::<V4, I>(io, buf, item, inner, payload),
            protocol::IPV6 => self.express_forward::<V6, I>(io, buf, item, inner, payload),
            _ => Some(buf),
        }
    }

    /// The same for the packet of `payload` bytes at offset `inner`.
    #[inline(always)]
    fn express_forward<H: Plain, I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        item: &Opening<()>,
        inner: usize,
        payload: usize,
    ) -> Option<B> {
        let Some(sa) = self.sad.inbound.get_mut(item.slot) else {
            return Some(buf);
        };
        let packet = buf.data().get(inner..inner + payload).unwrap_or_default();
        let Some(head) = H::read(packet) else {
            return Some(buf);
        };
        let (len, hop_limit) = (H::total_len(head), H::hop_limit(head));
        let key = H::key(head, FlowKey::path(Path::Decapsulated(sa.serial)));
        let Some(&Decision {
            verdict: Verdict::Forward(way),
            ..
        }) = self.flows.get(self.flows.hash(&key), &key)
        else {
            return Some(buf);
        };
        let Some(way) = self.adjacencies.get(way) else {
            return Some(buf);
        };
        let Egress::Ready(link) = &way.egress else {
            return Some(buf);
        };
        let front = inner - usize::from(link.len);
        if hop_limit <= 1
            || is_ect(item.class)
            || len > usize::from(way.mtu)
            || !sa.life.charge_quietly(len, self.now)
        {
            return Some(buf);
        }
        if let Some(packet) = buf.data_mut().get_mut(inner..) {
            ip::decrement_hop_limit(packet, H::VERSION);
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

/// The type of a frame to the station `mac`, and to it alone.
#[inline(always)]
fn unicast_ethertype(header: &[u8; HEADER], mac: [u8; 6]) -> Option<u16> {
    let [destination @ .., _, _, _, _, _, _, _, _] = header;
    (*destination == mac).then_some(u16::from_be_bytes([header[12], header[13]]))
}
