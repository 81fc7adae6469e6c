//! The short way of a burst: plain packets of flows already decided, in steps, so that the cache misses of one packet
//! overlap with the work on the others.
//!
//! ```text
//! arrive:  Ethernet, IP, hash         -> memory of the flow, or of the SPI, is asked for
//! look up: flow or SPI                -> of many SAs, memory of the SA is asked for, and then what it points to
//! decide:  protected side: header and trailer -> seal lane;  unprotected side: sizes, replay -> open lane
//! opened:  see [`crate::emerge`]
//! ```
//! Nothing here drops a packet before authentication or decides a flow: whatever is not ordinary goes the whole way
//! of [`crate::pipeline`], as it came, and nothing has changed until it is certain that a packet stays here.

use portcullis_config::Side;

use crate::engine::lookaside::Lookaside;
use crate::envelope::Letter;
use crate::ethernet::{HEADER, ethertype};
use crate::flow::{Decision, FlowKey, FlowPlace, Path, Verdict};
use crate::ip::{Address, IpVersion, protocol};
use crate::pipeline::{Opening, Outlet, Pipeline, Sealing};
use crate::plain::{Plain, V4, V6};
use crate::replay::ReplayWindow;
use crate::sa::{InboundSa, OutboundSa, SaRef};
use crate::spd::Classifier;
use crate::{PacketBuf, esp};

/// What is known of a packet of a burst.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) key: FlowKey,
    pub(crate) place: FlowPlace,
    pub(crate) way: Way,
    /// Length of the IP packet.
    pub(crate) len: u16,
    header_len: u8,
    class: u8,
    pub(crate) version: IpVersion,
}

/// Where a packet of a burst goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Way {
    /// The whole way.
    #[default]
    Whole,
    /// From the protected side: its flow is to be looked up.
    Outbound,
    /// ESP with this SPI to this address, to be looked up.
    Esp(u32, Address),
    /// Into an SA of this worker, for an SPD entry.
    Protect(u32, u32),
    /// To an SA of this worker.
    Open(u32),
    /// Out of an SA, the inner packet at this offset.
    Emerged(u32),
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

    // Each step is a function of its own, so that the compiler keeps in registers what it needs over and over.

    /// Looks at the frames of a burst.
    #[inline(never)]
    pub(crate) fn arrive_all(
        &self,
        port: Option<Untagged>,
        arrivals: &mut [Arrival],
        frames: &[B],
    ) {
        for (frame, arrival) in frames.iter().zip(arrivals) {
            self.arrive(port, arrival, frame);
        }
    }

    /// Looks up their flows and SPIs.
    #[inline(never)]
    pub(crate) fn look_up_all(&self, arrivals: &mut [Arrival]) {
        for arrival in arrivals {
            self.look_up(arrival);
        }
    }

    /// Decides.
    #[inline(never)]
    pub(crate) fn decide_all<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        port: usize,
        arrivals: &[Arrival],
        frames: impl Iterator<Item = B>,
    ) {
        for (frame, arrival) in frames.zip(arrivals) {
            self.decide(io, port, arrival, frame);
        }
    }

    /// Looks at one frame of a burst.
    #[inline(always)]
    fn arrive(&self, port: Option<Untagged>, arrival: &mut Arrival, frame: &B) {
        arrival.way = Way::Whole;
        if let (Some(port), Some((header, packet))) = (port, frame.data().split_first_chunk()) {
            match unicast_ethertype(header, port.mac) {
                Some(ethertype::IPV4) => self.arrive_plain::<V4>(port.side, arrival, packet),
                Some(ethertype::IPV6) => self.arrive_plain::<V6>(port.side, arrival, packet),
                _ => {}
            }
        }
    }

    #[inline(always)]
    fn arrive_plain<H: Plain>(&self, side: Side, arrival: &mut Arrival, packet: &[u8]) {
        let Some(header) = H::read(packet) else {
            return;
        };
        // An IPv6 packet may be longer; then it is too long for every envelope.
        arrival.len = H::total_len(header).min(usize::from(u16::MAX)) as u16;
        arrival.version = H::VERSION;
        if side == Side::Protected {
            arrival.key = H::key(header, FlowKey::path(Path::Outbound));
            arrival.place = self.flows.place(&arrival.key);
            self.flows.prefetch(arrival.place);
            arrival.way = Way::Outbound;
        } else if H::protocol(header) == protocol::ESP {
            arrival.header_len = H::HEADER as u8;
            arrival.class = H::class(header);
            let spi = u32::from_be_bytes(H::payload(header));
            self.sad.index.prefetch(spi);
            arrival.way = Way::Esp(spi, H::destination(header));
        }
    }

    /// Looks up the flow or the SPI.
    #[inline(always)]
    fn look_up(&self, arrival: &mut Arrival) {
        match arrival.way {
            Way::Outbound => match self.flows.get_first(arrival.place, &arrival.key) {
                Some(&Decision {
                    verdict: Verdict::Protect(SaRef { worker, slot }),
                    entry,
                }) if worker == self.worker => {
                    self.sad.outbound.prefetch_place(slot);
                    arrival.way = Way::Protect(slot, entry);
                }
                Some(_) => arrival.way = Way::Whole,
                None => self.flows.prefetch_elsewhere(arrival.place),
            },
            Way::Esp(spi, destination) => {
                let found = self.sad.index.lookup(spi, protocol::ESP, destination);
                if let Some(SaRef { worker, slot }) = found {
                    if worker == self.worker {
                        self.sad.inbound.prefetch_place(slot);
                        arrival.way = Way::Open(slot);
                    }
                }
            }
            Way::Whole | Way::Protect(..) | Way::Open(_) | Way::Emerged(_) => {}
        }
    }

    /// Asks for the memory of the SAs of a burst, then for what they point to: for all of them before any is used.
    #[inline(never)]
    pub(crate) fn approach(&self, arrivals: &[Arrival], count: usize) {
        let arrivals = arrivals.iter().take(count);
        arrivals.clone().for_each(|a| self.approach_sa(a));
        arrivals.for_each(|a| self.approach_key(a));
    }

    /// Asks for the memory of the SA.
    #[inline(always)]
    fn approach_sa(&self, arrival: &Arrival) {
        let sad = &self.sad;
        match arrival.way {
            Way::Protect(slot, _) => sad.outbound.prefetch(slot, OutboundSa::<E::Key>::FRONT),
            Way::Open(slot) => sad.inbound.prefetch(slot, InboundSa::<E::Key>::FRONT),
            Way::Whole | Way::Outbound | Way::Esp(..) | Way::Emerged(_) => {}
        }
    }

    /// Asks for the memory that the SA points to.
    #[inline(always)]
    fn approach_key(&self, arrival: &Arrival) {
        match arrival.way {
            Way::Protect(slot, entry) => {
                if let Some(sa) = self.sad.outbound.get(slot) {
                    sa.counters.prefetch();
                    self.engine.prefetch(&sa.key, arrival.len.into());
                }
                if let Some(hits) = self.view.hits.get(entry as usize) {
                    prefetch::soon(hits);
                }
            }
            Way::Open(slot) => {
                if let Some(sa) = self.sad.inbound.get(slot) {
                    sa.counters.prefetch();
                    sa.replay.iter().for_each(ReplayWindow::prefetch);
                    self.engine.prefetch(&sa.key, arrival.len.into());
                }
            }
            Way::Whole | Way::Outbound | Way::Esp(..) | Way::Emerged(_) => {}
        }
    }

    /// Decides.
    #[inline(always)]
    fn decide<I: Outlet<Buf = B>>(&mut self, io: &mut I, port: usize, arrival: &Arrival, frame: B) {
        let back = match arrival.way {
            Way::Protect(slot, entry) => self.express_seal(io, frame, arrival, slot, entry),
            Way::Open(slot) => self.express_open(io, frame, arrival, slot),
            Way::Outbound => self.express_first(io, frame, arrival),
            Way::Whole | Way::Esp(..) | Way::Emerged(_) => Some(frame),
        };
        if let Some(frame) = back {
            self.settle_sealing();
            self.admit(io, port, frame);
        }
    }

    /// A packet whose flow was not found with one look.
    #[inline(always)]
    fn express_first<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        frame: B,
        arrival: &Arrival,
    ) -> Option<B> {
        match self.first_of_flow(arrival) {
            Some((slot, entry)) => self.express_seal(io, frame, arrival, slot, entry),
            None => Some(frame),
        }
    }

    /// Puts a packet into its SA's envelope and the lane, if it fits and there is nothing to tell about the SA;
    /// otherwise gives it back, unchanged.
    #[inline(always)]
    fn express_seal<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        arrival: &Arrival,
        slot: u32,
        entry: u32,
    ) -> Option<B> {
        let len = usize::from(arrival.len);
        if !self.sealing_account.is_of(slot, entry) && !self.open_sealing_account(slot, entry) {
            return Some(buf);
        }
        let Some(sa) = self.sad.outbound.get_mut(slot) else {
            return Some(buf);
        };
        if len > sa.envelope.limit as usize {
            return Some(buf);
        }
        let sequence = sa.sequence + 1;
        let iv = sa.random_iv(&mut self.rng);
        let letter = Letter {
            len,
            sequence,
            id: sa.identification(sequence),
            iv: iv.as_ref(),
            forwarded: true,
        };
        let closed = match arrival.version {
            IpVersion::V4 => sa.envelope.close(&mut buf, HEADER, IpVersion::V4, &letter),
            IpVersion::V6 => sa.envelope.close(&mut buf, HEADER, IpVersion::V6, &letter),
        };
        let Ok(at) = closed else {
            return Some(buf);
        };
        sa.sequence = sequence;
        self.sealing_account.note(len);
        let item = Sealing {
            buf,
            sequence,
            slot,
            at: at as u32,
            payload: len as u32,
            addressed: Some(sa.envelope.interface),
        };
        self.push_sealing(io, item);
        None
    }

    /// Checks an ESP packet as far as that goes without its key, and puts it into the lane, if its SA is an
    /// ordinary tunnel and it may be genuine; otherwise gives it back.
    #[inline(always)]
    fn express_open<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut buf: B,
        arrival: &Arrival,
        slot: u32,
    ) -> Option<B> {
        let at = HEADER + usize::from(arrival.header_len);
        let end = HEADER + usize::from(arrival.len);
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
            class: arrival.class,
            depth: 0,
            link: HEADER as u8,
        };
        self.push_opening(io, item, None);
        None
    }
}

/// The type of a frame to the station `mac`, and to it alone.
#[inline(always)]
fn unicast_ethertype(header: &[u8; HEADER], mac: [u8; 6]) -> Option<u16> {
    let [destination @ .., _, _, _, _, _, _, _, _] = header;
    (*destination == mac).then_some(u16::from_be_bytes([header[12], header[13]]))
}
