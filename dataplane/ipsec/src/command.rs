//! What control tells a worker. A worker never makes or frees memory: control sends boxes, and gets back what
//! they replaced.

use std::sync::Arc;

use portcullis_config::Mode;

use crate::PacketBuf;
use crate::children::{Bound, Children, RemotePrefix};
use crate::engine::Engine;
use crate::fib::Neighbors;
use crate::offload::{Fits, Session};
use crate::pipeline::{Pipeline, SaSide, View};
use crate::sa::{InboundSa, OutboundSa, SaRef};
use crate::sad::{Slab, SpiEntry, SpiIndex};
use crate::spd::Classifier;

/// An order from control.
#[derive(Debug)]
pub enum Command<K, C> {
    /// Install an inbound SA in a slot of this worker.
    AddInbound(u32, Box<InboundSa<K>>),
    /// Install an outbound SA in a slot of this worker.
    AddOutbound(u32, Box<OutboundSa<K>>),
    /// Remove an inbound SA.
    RemoveInbound(u32),
    /// Remove an outbound SA.
    RemoveOutbound(u32),
    /// Change the terms of an inbound SA: key, replay window and use so far stay.
    AlterInbound(u32, Box<InboundSa<K>>),
    /// Change the terms of an outbound SA: key, sequence number and use so far stay.
    AlterOutbound(u32, Box<OutboundSa<K>>),
    /// Make an inbound SA, of any worker, findable.
    Index(SpiEntry),
    /// Make it unknown.
    Unindex(SpiEntry),
    /// Larger memory for inbound SAs.
    GrowInbound(Slab<InboundSa<K>>),
    /// Larger memory for outbound SAs.
    GrowOutbound(Slab<OutboundSa<K>>),
    /// Another SPI index, which control has filled: a worker would stand still for as long as that takes.
    SetIndex(SpiIndex),
    /// New policy, interfaces and routes.
    SetView(Box<View<C>>),
    /// New neighbours.
    SetNeighbors(Arc<Neighbors>),
    /// Change the SAs that IKE brings.
    Negotiated(Negotiated),
    /// Decide all flows anew.
    ForgetFlows,
    /// A path MTU for an outbound SA, in bytes of the outer packet.
    SetPathMtu(u32, u32),
    /// There is a NIC that may take SAs, or there no longer is.
    OfferSas(bool),
    /// The answer to [`Event::OffloadWanted`](crate::pipeline::Event::OffloadWanted): which packets, or none.
    SettleOffload(SaSide, Session, Option<Fits>),
}

/// An order about SAs that come and go while traffic runs.
#[derive(Debug)]
pub enum Negotiated {
    /// An SA for packets of a child: what is held for it is tried again.
    Bind(Box<Bound>),
    /// An SA serves its child no longer. Flows that remember it are forgotten by [`Command::ForgetFlows`].
    Unbind {
        /// Number of the child.
        child: u32,
        /// Where the SA is bound.
        prefix: RemotePrefix,
        /// The SA; `None` for the child's soft one.
        sa: Option<SaRef>,
    },
    /// More room for bound SAs.
    Grow(Box<Children>),
    /// Outbound SAs change places: what refers to the first slot, that of the SA in use, goes on with the SA in the
    /// second, its successor.
    Swap(u32, u32),
    /// No SA comes of this child for now: what is held for it is dropped.
    Refuse(u32),
}

/// What an order replaced, for control to free.
#[derive(Debug)]
pub enum Retired<K, C> {
    /// Inbound SA.
    Inbound(Box<InboundSa<K>>),
    /// Outbound SA.
    Outbound(Box<OutboundSa<K>>),
    /// Memory of inbound SAs.
    InboundSlab(Slab<InboundSa<K>>),
    /// Memory of outbound SAs.
    OutboundSlab(Slab<OutboundSa<K>>),
    /// Memory of the SPI index.
    Index(SpiIndex),
    /// Policy.
    View(Box<View<C>>),
    /// Neighbours.
    Neighbors(Arc<Neighbors>),
    /// An SA that served a child.
    Bound(Box<Bound>),
    /// Memory of bound SAs.
    Children(Box<Children>),
}

impl<E: Engine, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Carries out an order, between bursts. Returns what control must free.
    pub fn apply(&mut self, command: Command<E::Key, C>) -> Option<Retired<E::Key, C>> {
        match command {
            Command::AddInbound(slot, sa) => {
                let sa = self.admit_inbound(sa);
                self.sad.inbound.put(slot, sa).map(Retired::Inbound)
            }
            Command::AddOutbound(slot, mut sa) => {
                sa.serial = self.next_serial();
                self.sad.outbound.put(slot, sa).map(Retired::Outbound)
            }
            Command::AlterInbound(slot, sa) => {
                let mut sa = self.admit_inbound(sa);
                if let Some(known) = self.sad.inbound.get_mut(slot) {
                    sa.take_over(known);
                }
                self.sad.inbound.put(slot, sa).map(Retired::Inbound)
            }
            Command::AlterOutbound(slot, mut sa) => {
                sa.serial = self.next_serial();
                if let Some(known) = self.sad.outbound.get_mut(slot) {
                    sa.serial = known.serial; // what is in a device is still its own
                    sa.take_over(known);
                }
                self.sad.outbound.put(slot, sa).map(Retired::Outbound)
            }
            Command::RemoveInbound(slot) => self.sad.inbound.take(slot).map(Retired::Inbound),
            Command::RemoveOutbound(slot) => self.sad.outbound.take(slot).map(Retired::Outbound),
            Command::Index(entry) => {
                self.sad.index.insert(entry);
                None
            }
            Command::Unindex(entry) => {
                self.sad.index.remove(&entry);
                None
            }
            Command::GrowInbound(slab) => {
                Some(Retired::InboundSlab(self.sad.inbound.grow_into(slab)))
            }
            Command::GrowOutbound(slab) => {
                Some(Retired::OutboundSlab(self.sad.outbound.grow_into(slab)))
            }
            Command::SetIndex(index) => Some(Retired::Index(std::mem::replace(
                &mut self.sad.index,
                index,
            ))),
            Command::SetView(mut view) => {
                std::mem::swap(&mut self.view, &mut view);
                self.forget_flows();
                Some(Retired::View(view))
            }
            Command::SetNeighbors(neighbors) => {
                let old = std::mem::replace(&mut self.view.neighbors, neighbors);
                self.forget_flows();
                Some(Retired::Neighbors(old))
            }
            Command::Negotiated(order) => self.apply_negotiated(order),
            Command::ForgetFlows => {
                self.forget_flows();
                None
            }
            Command::OfferSas(offloads) => {
                self.offloads = offloads;
                None
            }
            Command::SettleOffload(sa, session, fits) => {
                self.settle_offload(sa, session, fits);
                None
            }
            Command::SetPathMtu(slot, mtu) => {
                if let Some(sa) = self.sad.outbound.get_mut(slot) {
                    sa.path_mtu = mtu;
                    sa.envelope.generation = 0; // its limit is another
                }
                None
            }
        }
    }

    fn apply_negotiated(&mut self, order: Negotiated) -> Option<Retired<E::Key, C>> {
        match order {
            Negotiated::Bind(bound) => {
                self.hold.ripen(bound.child);
                self.children.bind(bound);
                None
            }
            Negotiated::Unbind { child, prefix, sa } => {
                let bound = self.children.unbind(child, prefix, sa);
                bound.map(Retired::Bound)
            }
            Negotiated::Grow(larger) => Some(Retired::Children(self.children.grow_into(larger))),
            Negotiated::Swap(used, successor) => {
                self.swap_outbound(used, successor);
                None
            }
            Negotiated::Refuse(child) => {
                self.hold.refuse(child);
                None
            }
        }
    }

    /// The successor takes the slot that flows remember, and what is known of the way: nothing has to be decided
    /// anew, and no packet finds the slot empty.
    fn swap_outbound(&mut self, used: u32, successor: u32) {
        self.sad.outbound.swap(used, successor);
        let path_mtu = self.sad.outbound.get(successor).map(|sa| sa.path_mtu);
        if let Some(sa) = self.sad.outbound.get_mut(used) {
            sa.moved = Some(successor);
            sa.path_mtu = path_mtu.unwrap_or(sa.path_mtu);
        }
    }

    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// An inbound SA with what the worker adds to it.
    fn admit_inbound(&mut self, mut sa: Box<InboundSa<E::Key>>) -> Box<InboundSa<E::Key>> {
        sa.serial = self.next_serial();
        sa.is_plain_tunnel = sa.shape.is_esp()
            && sa.mode == Mode::Tunnel
            && !sa.udp
            && sa.came_in.is_none()
            && !sa.carries_bundle;
        sa
    }

    /// Whatever was decided must be decided again.
    pub(crate) fn forget_flows(&mut self) {
        self.adjacencies.clear();
        self.flows.invalidate();
        self.clear_flows.invalidate();
    }
}
