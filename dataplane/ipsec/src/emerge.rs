//! The short way out of an inbound tunnel, in steps like [`crate::express`]: the inner headers of a burst are read and
//! their flows asked for, before the first of them is looked up.
//!
//! ```text
//! foresee: trailer, inner header, hash -> memory of the flow is asked for; nothing changes
//! emerge:  replay window, selectors by flow, hop limit, link header -> transmit
//! ```

use crate::engine::lookaside::Lookaside;
use crate::express::{Arrival, Way};
use crate::flow::{Decision, Egress, FlowKey, Path, Verdict};
use crate::ip::{self, protocol};
use crate::pipeline::{BURST, Opening, Outlet, Pipeline};
use crate::plain::{Plain, V4, V6};
use crate::spd::Classifier;
use crate::tunnel::is_ect;
use crate::{DropReason, PacketBuf, esp};

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Looks at those packets of a lane that are authentic: bit i of `done` is the i-th's.
    #[inline(never)]
    pub(crate) fn foresee_all(&self, lane: &[Opening<B>], mut done: u64, arrivals: &mut [Arrival]) {
        for (item, arrival) in lane.iter().zip(arrivals) {
            arrival.way = Way::Whole;
            if done & 1 != 0 && item.link != 0 {
                self.foresee(item, arrival);
            }
            done >>= 1;
        }
    }

    /// Has all packets of a lane go on.
    #[inline(never)]
    pub(crate) fn emerge_all<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        lane: &mut Vec<Opening<B>>,
        mut done: u64,
        arrivals: &[Arrival; BURST],
    ) {
        let mut items = lane.drain(..);
        for arrival in arrivals {
            let Some(item) = items.next() else {
                return;
            };
            match done & 1 != 0 && item.link != 0 {
                true => self.emerge(io, item, arrival),
                false => self.opened(io, item, done & 1 != 0, None),
            }
            done >>= 1;
        }
    }

    /// Looks at an authentic packet.
    #[inline(always)]
    fn foresee(&self, item: &Opening<B>, arrival: &mut Arrival) {
        let Some(sa) = self.sad.inbound.get(item.slot) else {
            return;
        };
        let at = item.at as usize;
        let esp = item.buf.data().get(at..).unwrap_or_default();
        let inner = esp::ESP_HEADER + sa.shape.iv_len;
        let packet = |payload| esp.get(inner..inner + payload).unwrap_or_default();
        match esp::trailer(esp, &sa.shape) {
            Ok((payload, protocol::IPV4)) => {
                self.foresee_inner::<V4>(arrival, packet(payload), at + inner, sa.serial);
            }
            Ok((payload, protocol::IPV6)) => {
                self.foresee_inner::<V6>(arrival, packet(payload), at + inner, sa.serial);
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn foresee_inner<H: Plain>(
        &self,
        arrival: &mut Arrival,
        packet: &[u8],
        at: usize,
        serial: u32,
    ) {
        let Some(header) = H::read(packet) else {
            return;
        };
        arrival.len = H::total_len(header).min(usize::from(u16::MAX)) as u16;
        arrival.version = H::VERSION;
        arrival.key = H::key(header, FlowKey::path(Path::Decapsulated(serial)));
        arrival.place = self.flows.place(&arrival.key);
        self.flows.prefetch(arrival.place);
        arrival.way = Way::Emerged(at as u32);
    }

    /// Forwards an authentic packet of a tunnel, if its flow is decided and leaves in clear.
    #[inline(always)]
    fn emerge<I: Outlet<Buf = B>>(&mut self, io: &mut I, item: Opening<B>, arrival: &Arrival) {
        let Some(sa) = self.sad.inbound.get_mut(item.slot) else {
            return self.drop(io, item.buf, DropReason::BadSpi);
        };
        if let Err(reason) = sa.accept(item.sequence) {
            return self.drop_inbound(io, item.buf, item.slot, reason);
        }
        let back = match arrival.way {
            Way::Emerged(at) => self.forward_emerged(io, item, arrival, at as usize),
            _ => Some(item),
        };
        if let Some(item) = back {
            self.settle_opening();
            self.accepted(io, item, None);
        }
    }

    /// The same for a packet whose flow is known; otherwise gives it back, unchanged.
    #[inline(always)]
    fn forward_emerged<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        mut item: Opening<B>,
        arrival: &Arrival,
        at: usize,
    ) -> Option<Opening<B>> {
        let slot = item.slot;
        if !self.opening_account.is_of(slot, u32::MAX) && !self.open_opening_account(slot) {
            return Some(item);
        }
        let Some(&Decision {
            verdict: Verdict::Forward(way),
            ..
        }) = self.flows.get(arrival.place, &arrival.key)
        else {
            return Some(item);
        };
        let Some(way) = self.adjacencies.get(way) else {
            return Some(item);
        };
        let Egress::Ready(link) = &way.egress else {
            return Some(item);
        };
        let len = usize::from(arrival.len);
        if is_ect(item.class) || len > usize::from(way.mtu) {
            return Some(item);
        }
        // The link header takes the place of what comes off: there is room.
        let link_len = usize::from(link.len);
        let front = at as isize - link_len as isize;
        if let Ok(frame) = item.buf.reshape(front, link_len + len) {
            link.write(frame);
            if let Some(packet) = frame.get_mut(link_len..) {
                ip::decrement_hop_limit(packet, arrival.version);
            }
        }
        self.opening_account.note(len);
        io.transmit(link.interface, item.buf);
        None
    }
}
