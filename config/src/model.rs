//! The typed policy. Everything here has been checked: what a [`Policy`] holds can be built.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use arrayvec::ArrayVec;
use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::{
    About, Connection, InterfaceClass, Origin, Profile, RuleSet, Selector, SharedSelector, Store,
    Transform,
};

/// Keying material: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes ownership of keying material.
    pub fn new(bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Secret(Zeroizing::new(bytes.into_boxed_slice()));
        }
        // What has room to spare would be moved to be cut, and leave a copy behind: this one is wiped.
        let bytes = Zeroizing::new(bytes);
        Secret(Zeroizing::new(bytes.as_slice().into()))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A whole policy file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is meant where nothing is said.
    pub profile: Profile,
    /// How the process runs.
    pub runtime: Runtime,
    /// Where it comes from; `None`: all of it stands in the machine's own file.
    pub store: Option<Store>,
    /// What it says of itself.
    pub about: About,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// Ports, in order of definition; the index is the interface number (VLANs follow their port).
    pub interfaces: Vec<Interface>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Static neighbours.
    pub neighbors: Vec<Neighbor>,
    /// The SPD, first match wins (RFC 4301 4.4.1); what matches nothing is discarded.
    pub spd: Vec<SpdEntry>,
    /// Manually keyed SAs.
    pub sas: Vec<SaConfig>,
    /// Peers with which IKE negotiates SAs.
    pub connections: Vec<Connection>,
    /// The rules from which entries and connections have been made.
    pub rules: RuleSet,
    /// Seconds for which the inbound SAs of what a reload removes stay (RFC 4301 4.4.1).
    pub inbound_overlap: crate::InboundOverlap,
}

/// Process-wide settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Number of workers, at least 1.
    pub workers: u16,
    /// Cores to pin workers to, in order; empty means chosen by the program.
    pub cores: Vec<u16>,
    /// Crypto engines, each at most once: an SA gets the first that has its algorithms.
    pub engines: Vec<EngineKind>,
    /// Further EAL arguments, as DPDK spells them.
    pub eal: Vec<String>,
    /// Path of the control socket for `portcullis show`.
    pub control_socket: PathBuf,
    /// mbufs in the packet pool.
    pub mbufs: u32,
    /// Bytes of packet data one mbuf holds, headroom not counted.
    pub mbuf_size: u16,
    /// Workers count the cycles of each stage.
    pub cycle_budget: bool,
    /// Crypto devices, as DPDK spells them, the preferred one first.
    pub crypto_devices: Vec<String>,
    /// Packets that a worker may have in a crypto device at once.
    pub crypto_queue: u16,
    /// Directory in which the keys that IKE makes are written down, for Wireshark.
    pub key_log: Option<PathBuf>,
    /// File to which events are added, one JSON object a line.
    pub event_log: Option<PathBuf>,
}

/// Figures for Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Where they are served over HTTP; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

impl Default for Runtime {
    fn default() -> Self {
        Runtime {
            workers: 1,
            cores: Vec::new(),
            engines: vec![EngineKind::Vaes, EngineKind::IpsecMb, EngineKind::Portable],
            eal: Vec::new(),
            control_socket: PathBuf::from("/run/portcullis.sock"),
            mbufs: 16383,
            mbuf_size: 2048,
            cycle_budget: false,
            crypto_devices: Vec::new(),
            crypto_queue: 1024,
            key_log: None,
            event_log: None,
        }
    }
}

/// A crypto engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Our AES-GCM, and AES-CBC with HMAC-SHA1 or HMAC-SHA2-256, for CPUs with AVX-512 and VAES.
    Vaes,
    /// Intel's Multi-Buffer Crypto for IPsec Library.
    IpsecMb,
    /// The code that runs on every CPU.
    #[default]
    Portable,
    /// DPDK's crypto devices.
    Cryptodev,
    /// The port itself, as it sends and receives (rte_security); the first packets are another engine's.
    InlineCrypto,
}

impl EngineKind {
    /// As policies spell them.
    pub const NAMES: &'static [(&'static str, EngineKind)] = &[
        ("vaes", EngineKind::Vaes),
        ("ipsec-mb", EngineKind::IpsecMb),
        ("portable", EngineKind::Portable),
        ("cryptodev", EngineKind::Cryptodev),
        ("inline-crypto", EngineKind::InlineCrypto),
    ];

    /// As policies spell it.
    pub fn name(self) -> &'static str {
        let own = Self::NAMES.iter().find(|(_, kind)| *kind == self);
        own.map_or("", |(name, _)| name)
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which side of the IPsec boundary (RFC 4301 3.1) an interface is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Clear traffic of the networks we protect.
    Protected,
    /// The network not trusted.
    Unprotected,
}

/// One IP interface: a DPDK port, or one VLAN on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name in logs, counters and routes.
    pub name: String,
    /// DPDK device string (`net_af_xdp0,iface=eth0`, `0000:01:00.0`, ...). VLANs of a port share it.
    pub device: String,
    /// 802.1Q tag, `None` for untagged.
    pub vlan: Option<u16>,
    /// Side of the IPsec boundary.
    pub side: Side,
    /// Kind of network, for rules that are for some only.
    pub class: InterfaceClass,
    /// Our addresses with their on-link prefix length.
    pub addresses: Vec<IpNet>,
    /// MAC address to use instead of the device's own.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// pcap file to which every frame of the port is copied, both directions.
    pub capture: Option<PathBuf>,
}

/// A static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix.
    pub destination: IpNet,
    /// Next hop; `None` means on link.
    pub via: Option<IpAddr>,
    /// Index into [`Policy::interfaces`].
    pub interface: usize,
}

/// A static neighbour: no ARP or NDP is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its IP address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Index into [`Policy::interfaces`].
    pub interface: usize,
}

/// Indices into [`Policy::sas`], innermost first: one SA, or ESP and AH around it.
pub type Bundle = ArrayVec<usize, 2>;

/// What an SPD entry does with a packet (RFC 4301 4.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Drop it.
    Discard,
    /// Let it cross the boundary in clear.
    Bypass,
    /// Protect it with a bundle of SAs.
    Protect {
        /// With which we send.
        outbound: Bundle,
        /// With which we receive.
        inbound: Bundle,
    },
    /// Protect it with SAs that IKE negotiates.
    Negotiate {
        /// Index into [`Policy::connections`].
        connection: usize,
        /// Index into [`Connection::children`].
        child: usize,
        /// What of its traffic may cross in clear all the same.
        clear: ClearText,
    },
}

/// What of an entry's traffic may cross the boundary in clear although it is to be protected. RFC 4301 knows only
/// the first; the others are for hosts that are being moved to IPsec one by one, and weaken it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClearText {
    /// Nothing.
    #[default]
    Never,
    /// What comes in, as long as there is no SA for it; what goes out is always protected.
    Accept,
    /// The same, and both directions with a peer that does not answer IKE at all, for a while.
    FallBack,
    /// Both directions, as long as the peer has not asked for an SA: the default response rule, which asks nobody.
    Unasked,
}

impl ClearText {
    /// As policies spell them.
    pub const NAMES: &'static [(&'static str, ClearText)] = &[
        ("never", ClearText::Never),
        ("accept", ClearText::Accept),
        ("fall-back", ClearText::FallBack),
    ];
}

/// One ordered entry of the SPD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpdEntry {
    /// Name in logs and counters.
    pub name: String,
    /// What it matches.
    pub selector: SharedSelector,
    /// Only packets that cross the boundary in this direction; `None`: both.
    pub direction: Option<Direction>,
    /// What it does.
    pub action: Action,
    /// What made it; `None`: it is written as an entry.
    pub origin: Option<Box<Origin>>,
}

/// Direction of an SA, seen from this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// We receive with it.
    Inbound,
    /// We send with it.
    Outbound,
}

/// Encapsulation mode (RFC 4301 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Header between the IP header and its payload.
    Transport,
    /// Whole packet inside a new IP header.
    Tunnel,
}

/// What the outer IPv4 header's DF bit becomes (RFC 4301 8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Df {
    /// As in the inner header.
    #[default]
    Copy,
    /// Always set.
    Set,
    /// Always clear.
    Clear,
}

/// What the outer header's DSCP becomes (RFC 4301 5.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dscp {
    /// As in the inner header.
    #[default]
    Copy,
    /// A fixed six bit value.
    Fixed(u8),
}

/// UDP encapsulation of ESP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpEncapsulation {
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub destination_port: u16,
}

/// Limits of an SA's life; `None` is no limit. The one reached first counts (RFC 4301 4.4.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Seconds since installation.
    pub seconds: Option<u64>,
    /// Bytes of protected payload.
    pub bytes: Option<u64>,
    /// Packets.
    pub packets: Option<u64>,
}

/// Soft and hard limits of an SA's life. Few SAs that are keyed by hand have any, and there may be very many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes(Option<Box<(Limits, Limits)>>);

impl Lifetimes {
    /// At the soft limits a replacement is asked for, at the hard ones the SA stops.
    pub fn new(soft: Limits, hard: Limits) -> Self {
        let has_none = (soft, hard) == Default::default();
        Lifetimes((!has_none).then(|| Box::new((soft, hard))))
    }

    /// Limits at which a replacement is asked for.
    pub fn soft(&self) -> Limits {
        self.0.as_ref().map_or_else(Limits::default, |both| both.0)
    }

    /// Limits at which the SA stops.
    pub fn hard(&self) -> Limits {
        self.0.as_ref().map_or_else(Limits::default, |both| both.1)
    }
}

/// One security association, whether written by hand or negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaConfig {
    /// Name in logs and counters.
    pub name: String,
    /// Direction.
    pub direction: Direction,
    /// Security parameters index, 256 or more (RFC 4303 2.1).
    pub spi: u32,
    /// Algorithms.
    pub transform: Transform,
    /// Cipher keying material, empty for AH and NULL.
    pub cipher_key: Secret,
    /// Integrity keying material, empty for combined-mode ciphers.
    pub integrity_key: Secret,
    /// Encapsulation mode.
    pub mode: Mode,
    /// Outer source address (in transport mode, the packet's own).
    pub source: IpAddr,
    /// Outer destination address.
    pub destination: IpAddr,
    /// ESP-in-UDP.
    pub udp: Option<UdpEncapsulation>,
    /// Source and destination that the sender's checksums cover, where NATs put others in their place (RFC 3948
    /// 3.1.2). Inbound transport mode in UDP only.
    pub original: Option<Box<(IpAddr, IpAddr)>>,
    /// Extended 64 bit sequence numbers (RFC 4303 2.2.1).
    pub esn: bool,
    /// Replay window in packets, a power of two from 64 to 65536; `None` turns the check off. Inbound only.
    pub replay_window: Option<u32>,
    /// DF of the outer header. Outbound tunnel only.
    pub df: Df,
    /// DSCP of the outer header. Outbound tunnel only.
    pub dscp: Dscp,
    /// When a replacement is asked for, and when the SA stops.
    pub lifetimes: Lifetimes,
    /// What may travel in it: checked for each inbound packet after decapsulation (RFC 4301 5.2).
    pub selectors: Arc<[Selector]>,
}
