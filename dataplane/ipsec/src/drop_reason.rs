//! Every reason for which a packet is not forwarded: one list yields the enum, the counter and the text.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a packet was not forwarded. There is no reason "other".
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Name in `show drops`, in JSON and in metrics.
            pub const fn text(self) -> &'static str {
                match self { $(DropReason::$name => $text,)* }
            }
        }
    };
}

drop_reasons! {
    // What came from the wire is malformed.
    /// Shorter than an Ethernet header, or than its VLAN tag.
    EthernetTruncated = "ethernet-truncated",
    /// VLAN tag that no interface has.
    UnknownVlan = "unknown-vlan",
    /// Neither IPv4, IPv6 nor ARP.
    UnknownEthertype = "unknown-ethertype",
    /// Not for this station's MAC address.
    NotForUs = "not-for-us",
    /// IP header truncated, wrong version, or length fields that do not fit the frame.
    IpMalformed = "ip-malformed",
    /// IPv4 header checksum wrong.
    IpChecksum = "ip-checksum",
    /// Source or destination address that may not be forwarded (unspecified, loopback, multicast source, ...).
    IpMartian = "ip-martian",
    /// IPv6 extension header chain truncated, too long or forbidden.
    Ipv6Extension = "ipv6-extension-header",
    /// IPv4 source-route option, or an option list that is malformed.
    IpOption = "ip-option",
    /// Multicast or broadcast that is not forwarded.
    Multicast = "multicast",

    // Fragments.
    /// Fragment that overlaps another (RFC 5722), is too long, or has an impossible length.
    FragmentInvalid = "fragment-invalid",
    /// Fragments whose others did not come in time.
    FragmentTimeout = "fragment-timeout",
    /// Too many packets in reassembly.
    FragmentTableFull = "fragment-table-full",
    /// An ICMP error that told us a path MTU, used up by that.
    PathMtuLearnt = "path-mtu-learnt",
    /// Packet too big, and it may not be fragmented: the sender was told (RFC 1191, RFC 8201).
    TooBig = "too-big",
    /// Fragment that transport mode may not protect (RFC 4303 3.3.4).
    FragmentTransport = "fragment-in-transport-mode",

    // Policy (RFC 4301 5).
    /// An SPD entry says discard.
    PolicyDiscard = "policy-discard",
    /// No SPD entry matches.
    PolicyNoMatch = "policy-no-match",
    /// A clear packet that an SPD entry says must be protected (RFC 4301 5.2).
    ProtectedExpected = "clear-but-must-be-protected",
    /// An SPD entry says protect and there is no SA.
    NoSa = "no-sa",
    /// It waited for an SA, and a later packet to the same destination took its place.
    HeldReplaced = "held-replaced",
    /// It waited for an SA, and too many others did.
    HoldFull = "hold-full",
    /// It waited for an SA, and none came.
    NotNegotiated = "no-sa-negotiated",
    /// Decapsulated packet outside the selectors of its SA (RFC 4301 5.2).
    SelectorMismatch = "selector-mismatch",
    /// Decapsulated packet that came with other SAs than its bundle demands.
    BundleMismatch = "bundle-mismatch",

    // Inbound ESP and AH.
    /// ESP or AH header truncated or of impossible length.
    EspAhMalformed = "esp-ah-malformed",
    /// No SA with this SPI, destination and protocol (RFC 4301 5.2, RFC 4303 3.4.2).
    BadSpi = "bad-spi",
    /// ESP in UDP for an SA without, or without UDP for an SA with it (RFC 3948).
    EncapsulationMismatch = "udp-encapsulation-mismatch",
    /// Sequence number received before (RFC 4303 3.4.3).
    Replay = "replay-duplicate",
    /// Sequence number left of the replay window, or zero.
    ReplayOld = "replay-too-old",
    /// ICV wrong (RFC 4303 3.4.4.1, RFC 4302 3.4.4).
    IcvMismatch = "icv-mismatch",
    /// Padding not 1, 2, 3, ... or longer than the packet (RFC 4303 2.4).
    PaddingInvalid = "esp-padding-invalid",
    /// Next header that the SA's mode does not allow.
    NextHeaderInvalid = "next-header-invalid",
    /// Dummy packet, next header 59 (RFC 4303 2.6).
    DummyPacket = "esp-dummy-packet",
    /// Inner packet not IP, or its length does not fit.
    InnerMalformed = "inner-malformed",
    /// ECN codepoints that may not meet (RFC 6040 4.2).
    EcnInvalid = "ecn-invalid",
    /// NAT keepalive (RFC 3948 2.3), swallowed.
    NatKeepalive = "nat-keepalive",
    /// More nested headers than the gateway opens.
    NestingTooDeep = "nesting-too-deep",

    // SA life.
    /// Hard lifetime of the SA reached.
    SaExpired = "sa-expired",
    /// Sequence number would repeat (RFC 4303 3.3.3).
    SequenceOverflow = "sequence-overflow",
    /// The crypto engine refused the packet.
    EngineFailure = "engine-failure",
    /// The NIC could not open the packet, or did so with the keys of an SA that is gone.
    OffloadFailure = "offload-failure",
    /// The crypto device had no room.
    EngineBusy = "engine-busy",

    // Forwarding.
    /// TTL or hop limit exhausted.
    TtlExpired = "ttl-expired",
    /// No route to the destination.
    NoRoute = "no-route",
    /// Neighbour did not answer, or its queue was full.
    NoNeighbor = "neighbor-unresolved",
    /// Too little head- or tailroom for the headers.
    NoRoomInBuffer = "no-room-in-buffer",
    /// No free buffer.
    NoBuffer = "no-buffer",
    /// The device did not take the packet.
    TransmitFull = "transmit-queue-full",
    /// The interface or its link is down, or it has no address to send from.
    InterfaceDown = "interface-down",

    // To and from the slow path.
    /// The ring to the slow path was full.
    PuntFull = "punt-ring-full",
    /// The ring to the slow path for ARP and neighbour discovery, or that for IKE with a cookie of ours, was full.
    UrgentFull = "urgent-ring-full",
    /// The ring to the slow path for other IKE, first messages above all, was full.
    FirstFull = "first-message-ring-full",
    /// The ring from the slow path was full.
    InjectFull = "inject-ring-full",
    /// The ring to another worker was full.
    HandoffFull = "handoff-ring-full",
    /// For this gateway, and nobody here listens.
    NoListener = "no-local-listener",
    /// A datagram to an IKE port with a wrong length or checksum.
    IkeMalformed = "ike-datagram-malformed",
    /// ICMP message truncated, fragmented, or with a wrong checksum.
    IcmpMalformed = "icmp-malformed",
    /// An ICMP error was not sent because of the rate limit.
    RateLimited = "icmp-rate-limited",
}
