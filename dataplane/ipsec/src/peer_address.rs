//! Where the peer behind a NAT is: the NAT may give it another address or port at any time, and the first authentic packet
//! from there tells so (RFC 3947 6, "recovering from the expiring NAT mappings").

use crate::PacketBuf;
use crate::engine::lookaside::Lookaside;
use crate::ip::{Address, IpHeader};
use crate::pipeline::{Event, Outlet, Pipeline, SaSide};
use crate::sa::InboundSa;
use crate::spd::Classifier;

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Looks at the outer headers of an authentic packet of ESP in UDP. Control decides what follows from it.
    #[inline]
    pub(crate) fn heed_peer_address<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        packet: &[u8],
        slot: u32,
        sequence: u64,
    ) {
        let Some(sa) = self.sad.inbound.get_mut(slot) else {
            return;
        };
        let Some(known) = sa.udp else {
            return;
        };
        let Some(found) = source(packet).filter(|found| *found != known) else {
            return;
        };
        if is_newest(sa, sequence) {
            let (address, port) = found;
            let sa_side = SaSide::Inbound(slot);
            // Only what control has heard of is known.
            if io.notify(Event::PeerMoved {
                sa: sa_side,
                address,
                port,
            }) {
                sa.udp = Some(found);
            }
        }
    }
}

/// A packet that others overtook comes from where the peer was, and without a replay window it may be a copy from anywhere.
fn is_newest<K>(sa: &InboundSa<K>, sequence: u64) -> bool {
    sa.replay
        .as_ref()
        .is_some_and(|window| window.top() == sequence)
}

/// Address and port that a UDP packet comes from.
fn source(packet: &[u8]) -> Option<(Address, u16)> {
    let ip = IpHeader::parse(packet).ok()?;
    let udp = packet.get(usize::from(ip.header_len)..)?;
    Some((ip.source, u16::from_be_bytes(*udp.first_chunk()?)))
}
