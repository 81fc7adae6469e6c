//! ESP that a NIC computes (requirements 155 to 158): inline crypto, with the packet's headers and trailer still ours.
//!
//! ```text
//! Software --first packet: the NIC is asked--> Asked --it has the SA--> Active
//!                                                \--it has not--------> Failed, for good
//! ```
//! Nobody waits for the NIC: packets are ciphered in software until it has the SA, and so is each packet that it cannot
//! do. The worker knows what to do with a packet; control asks the NICs, see [`offers`].

pub mod offers;

use crate::engine::Engine;
use crate::engine::lookaside::Lookaside;
use crate::flow::Egress;
use crate::pipeline::{Event, Lane, Opening, Outlet, Pipeline, SaSide, Sealing};
use crate::sa::OutboundSa;
use crate::spd::Classifier;
use crate::tunnel::UDP_HEADER;
use crate::{DropReason, InterfaceId, PacketBuf, ip};

/// What a NIC calls an SA: no two have the same, be it one after the other in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session(pub u64);

/// Where an SA stands with the NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// Nobody has asked.
    #[default]
    Software,
    /// The NIC is asked, and may have it already.
    Asked(Session),
    /// The NIC has it.
    Active(Session, Fits),
    /// The NIC does not take it, and is not asked again.
    Failed,
}

impl Offload {
    /// What the NIC calls it, if it has it or may have.
    pub fn session(&self) -> Option<Session> {
        match self {
            Offload::Asked(session) | Offload::Active(session, _) => Some(*session),
            Offload::Software | Offload::Failed => None,
        }
    }

    /// The answer to the question of this session, or that the NIC lost it. False if it is not about this SA.
    fn answered(&mut self, session: Session, fits: Option<Fits>) -> bool {
        let own = self.session() == Some(session);
        if own {
            *self = fits.map_or(Offload::Failed, |fits| Offload::Active(session, fits));
        }
        own
    }
}

/// Which packets of an SA the NIC can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fits {
    /// Those with IPv4 options or IPv6 extension headers.
    pub ip_options: bool,
    /// Those that came inside another SA.
    pub transport_over_tunnel: bool,
}

/// What a NIC says of a packet that it received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HardwareStatus {
    /// It did nothing to it.
    #[default]
    Untouched,
    /// It verified and decrypted it in place; headers and trailer are there. Of the SAs that the NIC has, that is the one
    /// with the packet's SPI and addresses.
    Opened,
    /// It tried, and the packet is not authentic or cannot be decrypted.
    Failed,
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Offers an SA to the NIC when its first packet comes: by an event, for which nobody waits.
    fn offer<I: Outlet<Buf = B>>(worker: u16, io: &mut I, sa: SaSide, serial: u32) -> Offload {
        let session = Session(u64::from(worker) << 32 | u64::from(serial));
        match io.notify(Event::OffloadWanted { sa, session }) {
            true => Offload::Asked(session),
            false => Offload::Software,
        }
    }

    /// Takes out of the seal lane what the NIC will cipher as it sends it (requirement 145, steps 15 to 18).
    #[cold]
    pub(crate) fn seal_offloaded<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        lane: &mut Vec<Sealing<B>>,
    ) {
        let mut rest = Lane::new();
        for mut item in lane.drain(..) {
            let taken = match self.sad.outbound.get_mut(item.slot) {
                // The SA around it signs what the NIC would make only later.
                Some(sa) if sa.next.is_some() => false,
                Some(sa) => match sa.offload {
                    Offload::Software => {
                        let side = SaSide::Outbound(item.slot);
                        sa.offload = Self::offer(self.worker, io, side, sa.serial);
                        false
                    }
                    Offload::Active(session, fits) => {
                        let fits = fits.ip_options || !has_options(&item, sa.udp.is_some());
                        match way_out(&item, sa).filter(|_| fits) {
                            Some(out) => self.engine.mark(&sa.key, &mut item.buf, session, out),
                            None => false,
                        }
                    }
                    Offload::Asked(_) | Offload::Failed => false,
                },
                None => false,
            };
            if !taken {
                rest.push(item);
                continue;
            }
            if let Some(sa) = self.sad.outbound.get(item.slot) {
                sa.counters.offloaded.add(1);
            }
            self.counters.offloaded.add(1);
            self.sealed(io, item, true);
        }
        lane.extend(rest);
    }

    /// Takes out of the open lane what the NIC has opened, or could not (requirement 136, steps 3 and 4; 139, step 19).
    #[cold]
    pub(crate) fn open_offloaded<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        lane: &mut Vec<Opening<B>>,
    ) {
        let mut rest = Lane::new();
        for mut item in lane.drain(..) {
            let Some(sa) = self.sad.inbound.get_mut(item.slot) else {
                rest.push(item);
                continue;
            };
            // What came before the answer may have been opened with the key of another SA that had this one's SPI.
            let known = matches!(sa.offload, Offload::Active(..));
            if sa.offload == Offload::Software {
                let side = SaSide::Inbound(item.slot);
                sa.offload = Self::offer(self.worker, io, side, sa.serial);
            }
            match item.buf.hardware_status() {
                // What it says is about the SA that came off before.
                _ if item.depth > 0 => rest.push(item),
                HardwareStatus::Untouched => rest.push(item),
                HardwareStatus::Opened if known => {
                    sa.counters.offloaded.add(1);
                    self.counters.offloaded.add(1);
                    // It says nothing of what comes out, which may go to another worker.
                    item.buf.forget_hardware_status();
                    // The whole way: the short one has a single place in the code, where its callers are inlined.
                    self.opened(io, item, true, None);
                }
                // Opened with keys of an SA that is gone, it proves nothing.
                HardwareStatus::Failed | HardwareStatus::Opened => {
                    self.not_opened(io, item, DropReason::OffloadFailure);
                }
            }
        }
        lane.extend(rest);
    }
}

impl<E: Engine, C, B> Pipeline<E, C, B> {
    /// The answer to [`Event::OffloadWanted`]; without `fits` it is no.
    pub(crate) fn settle_offload(&mut self, sa: SaSide, session: Session, fits: Option<Fits>) {
        match sa {
            SaSide::Inbound(slot) => {
                if let Some(sa) = self.sad.inbound.get_mut(slot) {
                    sa.offload.answered(session, fits);
                }
            }
            SaSide::Outbound(slot) => {
                let Some(sa) = self.sad.outbound.get_mut(slot) else {
                    return;
                };
                let moved = sa.moved;
                if sa.offload.answered(session, fits) {
                    return;
                }
                // It was replaced meanwhile, and may still stand.
                if let Some(sa) = moved.and_then(|slot| self.sad.outbound.get_mut(slot)) {
                    sa.offload.answered(session, fits);
                }
            }
        }
    }
}

/// Where a packet leaves if it leaves as it is: one that is cut, or whose neighbour is not known yet, has to be finished
/// before.
fn way_out<K, B: PacketBuf>(item: &Sealing<B>, sa: &OutboundSa<K>) -> Option<InterfaceId> {
    item.addressed.or_else(|| {
        let way = sa.way?;
        let mtu = sa.path_mtu.min(way.mtu.into()) as usize;
        match way.egress {
            Egress::Ready(link) if item.buf.len() <= mtu => Some(link.interface),
            _ => None,
        }
    })
}

/// IPv4 options or IPv6 extension headers in front of ESP. Tunnels have none.
fn has_options<B: PacketBuf>(item: &Sealing<B>, udp: bool) -> bool {
    let plain = match item.buf.data().first() {
        Some(first) if first >> 4 == 4 => ip::IPV4_HEADER,
        _ => ip::IPV6_HEADER,
    };
    let udp = if udp { UDP_HEADER } else { 0 };
    item.addressed.is_none() && item.at as usize > plain + udp
}
