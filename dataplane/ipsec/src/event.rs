//! What workers tell control.

use crate::DropReason;
use crate::ip::Address;
use crate::offload::Session;

/// News for control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A soft limit was reached: replace the SA.
    SoftExpire(SaSide),
    /// A hard limit, or the last sequence number, was reached: the SA has stopped.
    HardExpire(SaSide),
    /// ESP or AH for which there is no SA (RFC 4301 5.2), rate-limited.
    BadSpi {
        /// SPI.
        spi: u32,
        /// 50 or 51.
        protocol: u8,
        /// Claimed source.
        source: Address,
        /// Our address.
        destination: Address,
    },
    /// A packet needs an SA that nobody negotiates, rate-limited.
    Acquire {
        /// SPD entry.
        entry: u32,
        /// Source.
        source: Address,
        /// Destination.
        destination: Address,
        /// Protocol.
        protocol: u8,
    },
    /// A packet is held until there is an SA of this child, rate-limited.
    Negotiate {
        /// Number of the child, from control.
        child: u32,
        /// Source.
        source: Address,
        /// Destination.
        destination: Address,
        /// Protocol.
        protocol: u8,
    },
    /// An SA's packet was not authentic, or no engine could process it; rate-limited.
    CryptoFailure {
        /// The SA.
        sa: SaSide,
        /// SPI in the packet.
        spi: u32,
        /// Source of the packet.
        source: Address,
        /// Why it was dropped.
        reason: DropReason,
    },
    /// The first packet of an SA: a NIC might compute it.
    OffloadWanted {
        /// The SA.
        sa: SaSide,
        /// What the NIC is to call it.
        session: Session,
    },
    /// A router says that our protected packets are too big (RFC 4301 8.2), rate-limited and unauthenticated.
    PathMtu {
        /// SPI in the quoted packet.
        spi: u32,
        /// Protocol of the quoted packet.
        protocol: u8,
        /// Destination of the quoted packet.
        destination: Address,
        /// MTU it names, for the outer packet.
        mtu: u32,
    },
}

/// An SA of the worker that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaSide {
    /// Inbound SA in this slot.
    Inbound(u32),
    /// Outbound SA in this slot.
    Outbound(u32),
}
