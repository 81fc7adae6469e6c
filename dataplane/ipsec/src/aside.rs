//! Packets that a device ciphers while the worker goes on: out of the lanes, and back on their way when they return.

use crate::engine::lookaside::{AsideDone, AsideJob, Lookaside, Parcel};
use crate::pipeline::{BURST, Lane, Opening, Outlet, Pipeline, Sealing};
use crate::spd::Classifier;
use crate::{DropReason, PacketBuf};

/// What the pipeline notes about a packet in the device.
#[derive(Debug)]
pub struct Ticket {
    /// The SA's serial number: another one may have its slot when the packet comes back.
    serial: u32,
    errand: Errand,
}

impl Ticket {
    /// True if the packet is to be sealed, false if it is to be opened.
    pub fn seals(&self) -> bool {
        matches!(self.errand, Errand::Seal(_))
    }
}

#[derive(Debug)]
enum Errand {
    Seal(Sealing<()>),
    Open(Opening<()>),
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Packets in the engine's device.
    pub fn in_flight(&self) -> usize {
        self.engine.in_flight()
    }

    /// Takes out of the seal lane what is the device's.
    #[inline(never)]
    pub(crate) fn seal_aside<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        lane: &mut Vec<Sealing<B>>,
    ) {
        let (mut rest, mut jobs) = (Lane::new(), Lane::new());
        for item in lane.drain(..) {
            let sa = self.sad.outbound.get(item.slot);
            let Some(sa) = sa.filter(|sa| self.engine.serves(&sa.key)) else {
                rest.push(item);
                continue;
            };
            let (buf, item) = item.split();
            jobs.push(AsideJob {
                key: &sa.key,
                at: item.at,
                sequence_high: sa.esn.then_some((item.sequence >> 32) as u32),
                parcel: Parcel {
                    buf,
                    ticket: Ticket {
                        serial: sa.serial,
                        errand: Errand::Seal(item),
                    },
                },
            });
        }
        lane.extend(rest);
        let mut refused = Lane::new();
        self.engine.enqueue(jobs, &mut refused);
        for (parcel, reason) in refused {
            self.refuse_parcel(io, parcel, reason);
        }
    }

    /// Takes out of the open lane what is the device's.
    #[inline(never)]
    pub(crate) fn open_aside<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        lane: &mut Vec<Opening<B>>,
    ) {
        let (mut rest, mut jobs) = (Lane::new(), Lane::new());
        for item in lane.drain(..) {
            let sa = self.sad.inbound.get(item.slot);
            let Some(sa) = sa.filter(|sa| self.engine.serves(&sa.key)) else {
                rest.push(item);
                continue;
            };
            let (buf, item) = item.split();
            jobs.push(AsideJob {
                key: &sa.key,
                at: item.at,
                sequence_high: sa.esn.then_some((item.sequence >> 32) as u32),
                parcel: Parcel {
                    buf,
                    ticket: Ticket {
                        serial: sa.serial,
                        errand: Errand::Open(item),
                    },
                },
            });
        }
        lane.extend(rest);
        let mut refused = Lane::new();
        self.engine.enqueue(jobs, &mut refused);
        for (parcel, reason) in refused {
            self.refuse_parcel(io, parcel, reason);
        }
    }

    /// The device does not take it, and a worker waits for nobody.
    #[cold]
    fn refuse_parcel<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        parcel: Parcel<B>,
        reason: DropReason,
    ) {
        let Parcel { buf, ticket } = parcel;
        match ticket.errand {
            Errand::Seal(item) => self.not_sealed(io, item.with(buf), reason),
            Errand::Open(item) => self.drop_inbound(io, buf, item.slot, reason),
        }
    }

    /// Takes back what the device is done with.
    #[inline]
    pub(crate) fn collect<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        if self.engine.has_device() {
            self.collect_parcels(io);
        }
    }

    #[inline(never)]
    fn collect_parcels<I: Outlet<Buf = B>>(&mut self, io: &mut I) {
        // What comes out may go in again: not for ever.
        for _ in 0..=self.engine.in_flight() / BURST {
            let mut done = Lane::<AsideDone<B>>::new();
            self.engine.dequeue(&mut done);
            if done.is_empty() {
                break;
            }
            for AsideDone { parcel, ok } in done {
                self.returned(io, parcel, ok);
            }
        }
    }

    fn returned<I: Outlet<Buf = B>>(&mut self, io: &mut I, parcel: Parcel<B>, ok: bool) {
        let Parcel { buf, ticket } = parcel;
        match ticket.errand {
            Errand::Seal(mut item) => {
                let mut sa = self.sad.outbound.get(item.slot);
                if let Some(moved) =
                    sa.and_then(|sa| sa.moved.filter(|_| sa.serial != ticket.serial))
                {
                    // Its SA was replaced meanwhile, and still stands.
                    (item.slot, sa) = (moved, self.sad.outbound.get(moved));
                }
                if sa.is_none_or(|sa| sa.serial != ticket.serial) {
                    return self.drop(io, buf, DropReason::NoSa);
                }
                self.sealed(io, item.with(buf), ok);
            }
            Errand::Open(item) => {
                let sa = self.sad.inbound.get(item.slot);
                if sa.is_none_or(|sa| sa.serial != ticket.serial) {
                    return self.drop(io, buf, DropReason::BadSpi);
                }
                self.opened(io, item.with(buf), ok, None);
            }
        }
    }
}
