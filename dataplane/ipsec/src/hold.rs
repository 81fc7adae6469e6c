//! Packets that wait for an SA: one for each destination of a child, the last that came (RFC 4301 4.4.1: the packet
//! may be held; of several to one destination only the last is worth it).

use crate::engine::lookaside::Lookaside;
use crate::ip::{Address, IpHeader};
use crate::pipeline::{Event, Origin, Outlet, Pipeline};
use crate::spd::Classifier;
use crate::{DropReason, PacketBuf};

/// Packets that a worker holds at the most.
pub const MOST_HELD: usize = 256;
/// Milliseconds that a packet is held: nobody waits longer for an answer.
pub const HOLD_TIME: u64 = 30_000;
/// Milliseconds after which control is asked again for the same destination.
const ASK_AGAIN: u64 = 1000;

/// What becomes of a packet when it is looked at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It waits.
    Waits,
    /// There is a new SA: it is tried again.
    Ripe,
    /// There will be none.
    Refused,
}

#[derive(Debug)]
struct Held<B> {
    child: u32,
    destination: Address,
    origin: Origin,
    since: u64,
    /// When control was asked.
    asked: Option<u64>,
    fate: Fate,
    buf: B,
}

/// The packets that a worker holds.
#[derive(Debug)]
pub(crate) struct Hold<B> {
    list: Vec<Held<B>>,
    /// When there is something to do.
    due: u64,
}

impl<B> Hold<B> {
    pub(crate) fn new() -> Self {
        Hold {
            list: Vec::with_capacity(MOST_HELD),
            due: u64::MAX,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    fn mark(&mut self, child: u32, fate: Fate) {
        for held in self.list.iter_mut().filter(|held| held.child == child) {
            held.fate = fate;
            self.due = 0;
        }
    }

    /// The child has another SA: its packets are tried again when the round ends.
    pub(crate) fn ripen(&mut self, child: u32) {
        self.mark(child, Fate::Ripe);
    }

    /// The child gets none: its packets are dropped when the round ends.
    pub(crate) fn refuse(&mut self, child: u32) {
        self.mark(child, Fate::Refused);
    }
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Holds a packet for which its child has no SA, and has control ask for one.
    #[cold]
    pub(crate) fn hold<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        buf: B,
        ip: &IpHeader,
        origin: Origin,
        child: u32,
    ) {
        let destination = ip.destination;
        let same = |held: &Held<B>| held.child == child && held.destination == destination;
        let before = match self.hold.list.iter().position(same) {
            Some(at) => Some((at, DropReason::HeldReplaced)),
            None if self.hold.list.len() >= MOST_HELD => Some((0, DropReason::HoldFull)),
            None => None,
        };
        let mut asked = None;
        if let Some((at, reason)) = before {
            // In order of their age: the first is the oldest.
            let old = self.hold.list.remove(at);
            if reason == DropReason::HeldReplaced {
                asked = old.asked;
            }
            self.drop(io, old.buf, reason);
        }
        let again = asked.is_none_or(|at| self.now >= at + ASK_AGAIN);
        if again && self.acquire_limit.allow(self.now) {
            let told = io.notify(Event::Negotiate {
                child,
                source: ip.source,
                destination,
                protocol: ip.protocol,
            });
            asked = told.then_some(self.now).or(asked);
        }
        self.hold.list.push(Held {
            child,
            destination,
            origin,
            since: self.now,
            asked,
            fate: Fate::Waits,
            buf,
        });
        self.hold.due = self.hold.due.min(self.now + HOLD_TIME);
    }

    /// Ends a round for the packets that are held. Cheap when there is nothing to do.
    #[inline]
    pub(crate) fn release_held<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        if self.hold.due <= self.now {
            self.look_at_held(io);
        }
    }

    #[cold]
    fn look_at_held<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        self.hold.due = u64::MAX;
        // What is held again goes to the end of the list.
        let mut at = 0;
        for _ in 0..self.hold.list.len() {
            let Some(held) = self.hold.list.get(at) else {
                break;
            };
            let end = held.since + HOLD_TIME;
            if held.fate == Fate::Waits && self.now < end {
                self.hold.due = self.hold.due.min(end);
                at += 1;
                continue;
            }
            let Held {
                buf, fate, origin, ..
            } = self.hold.list.remove(at);
            match fate {
                Fate::Ripe => {
                    self.reenter(io, buf, |p, io, buf, ip| p.outbound(io, buf, &ip, origin));
                }
                Fate::Waits | Fate::Refused => self.drop(io, buf, DropReason::NotNegotiated),
            }
        }
    }

    /// Gives back all packets, before the worker ends.
    pub(crate) fn clear_held<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        for held in std::mem::take(&mut self.hold.list) {
            self.drop(io, held.buf, DropReason::NotNegotiated);
        }
    }
}
