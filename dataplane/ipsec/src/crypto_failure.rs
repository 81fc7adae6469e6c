//! Packets that an SA's keys do not open, or that an engine cannot process: dropped, counted, and told to control.

use crate::engine::lookaside::Lookaside;
use crate::ip::{Address, IpHeader};
use crate::pipeline::{Event, Opening, Outlet, Pipeline, SaSide};
use crate::spd::Classifier;
use crate::{DropReason, PacketBuf};

/// Reasons that are worth an event (requirement 139, step 21).
fn is_failure(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::IcvMismatch | DropReason::EngineFailure | DropReason::OffloadFailure
    )
}

impl<E: Lookaside<B>, C: Classifier, B: PacketBuf> Pipeline<E, C, B> {
    /// Drops a packet that did not come out of the engine, or should not have.
    #[cold]
    pub(crate) fn not_opened<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        item: Opening<B>,
        reason: DropReason,
    ) {
        let packet = item.buf.data();
        let header = packet.get(usize::from(item.link)..).unwrap_or_default();
        // The SPI stands in front in ESP, and behind four bytes in AH (RFC 4302 2).
        let esp = self
            .sad
            .inbound
            .get(item.slot)
            .is_none_or(|sa| sa.shape.is_esp());
        let at = item.at as usize + if esp { 0 } else { 4 };
        let spi = packet.get(at..).and_then(|rest| rest.first_chunk());
        if let (Ok(ip), Some(spi)) = (IpHeader::parse(header), spi) {
            let (sa, spi) = (SaSide::Inbound(item.slot), u32::from_be_bytes(*spi));
            self.tell_failure(io, (sa, spi), ip.source, reason);
        }
        self.drop_inbound(io, item.buf, item.slot, reason);
    }

    /// Tells control, as far as the rate limit goes.
    pub(crate) fn tell_failure<I: Outlet<Buf = B>>(
        &mut self,
        io: &mut I,
        (sa, spi): (SaSide, u32),
        source: Address,
        reason: DropReason,
    ) {
        if is_failure(reason) && self.failure_limit.allow(self.now) {
            io.notify(Event::CryptoFailure {
                sa,
                spi,
                source,
                reason,
            });
        }
    }
}
