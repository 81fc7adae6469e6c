//! Outer headers of tunnel mode (RFC 4301 5.1.2) and what ECN says across them (RFC 6040).

use portcullis_config::{Df, Dscp, UdpEncapsulation};

use crate::DropReason;
use crate::checksum;
use crate::ip::{Address, IPV4_HEADER, IPV6_HEADER, IpVersion, protocol};

/// Length of a UDP header.
pub const UDP_HEADER: usize = 8;
/// TTL or hop limit of packets that start here (RFC 4301 5.1.2.1 note 2).
pub const HOP_LIMIT: u8 = 64;

const LONGEST: usize = IPV6_HEADER + UDP_HEADER;
const DONT_FRAGMENT: u16 = 0x4000;
const ECN: u8 = 3;

/// An outer IP header, with UDP (RFC 3948) if asked for, of which only lengths, class and identification are
/// still open.
#[derive(Clone, Debug)]
pub struct OuterHeader {
    template: [u8; LONGEST],
    rules: OuterRules,
}

/// How what is open in an outer header is filled in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OuterRules {
    version: IpVersion,
    udp: bool,
    /// Bits of the inner class that are copied, and the bits that are added.
    class_mask: u8,
    class_set: u8,
    /// Flags that are always set, and those that the inner DF sets.
    flags: u16,
    flags_copied: u16,
    /// Sum of the 16 bit words of the IPv4 header that do not change, as they lie in memory.
    partial_sum: u32,
}

impl OuterHeader {
    /// A header from `source` to `destination`, which are of one family, that carries `protocol`: ESP or AH.
    pub fn new(
        source: Address,
        destination: Address,
        protocol: u8,
        udp: Option<UdpEncapsulation>,
        df: Df,
        dscp: Dscp,
    ) -> Self {
        let mut template = [0; LONGEST];
        let next = if udp.is_some() {
            protocol::UDP
        } else {
            protocol
        };
        let version = if source.is_v4() {
            template[0] = 0x45;
            template[8] = HOP_LIMIT;
            template[9] = next;
            template[12..16].copy_from_slice(&source.v4_bytes());
            template[16..20].copy_from_slice(&destination.v4_bytes());
            IpVersion::V4
        } else {
            // RFC 4301 5.1.2.2 note 8: a gateway does not copy the flow label; it stays zero.
            template[0] = 0x60;
            template[6] = next;
            template[7] = HOP_LIMIT;
            template[8..24].copy_from_slice(&source.v6_bytes());
            template[24..40].copy_from_slice(&destination.v6_bytes());
            IpVersion::V6
        };
        let ip = ip_header_len(version);
        if let Some(ports) = udp {
            template[ip..ip + 2].copy_from_slice(&ports.source_port.to_be_bytes());
            template[ip + 2..ip + 4].copy_from_slice(&ports.destination_port.to_be_bytes());
        }
        let (class_mask, class_set) = match dscp {
            Dscp::Copy => (0xff, 0),
            Dscp::Fixed(value) => (ECN, value << 2),
        };
        let (flags, flags_copied) = match df {
            Df::Copy => (0, DONT_FRAGMENT),
            Df::Set => (DONT_FRAGMENT, 0),
            Df::Clear => (0, 0),
        };
        OuterHeader {
            template,
            rules: OuterRules {
                version,
                udp: udp.is_some(),
                class_mask,
                class_set,
                flags,
                flags_copied,
                partial_sum: u32::from(
                    checksum::fold(checksum::sum(0, &template[..IPV4_HEADER])).to_be(),
                ),
            },
        }
    }

    /// Bytes of IP header, and UDP header if there is one.
    #[inline]
    pub fn len(&self) -> usize {
        ip_header_len(self.rules.version) + if self.rules.udp { UDP_HEADER } else { 0 }
    }

    /// Never: a header has bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// IP version of the outer packet.
    #[inline]
    pub fn version(&self) -> IpVersion {
        self.rules.version
    }

    /// True if ESP travels in UDP.
    #[inline]
    pub fn has_udp(&self) -> bool {
        self.rules.udp
    }

    /// True if the outer packet may not be fragmented on its way.
    #[inline]
    pub fn dont_fragment(&self, inner_df: bool) -> bool {
        self.rules.version == IpVersion::V6 || self.rules.flag_bits(inner_df) != 0
    }

    /// Writes the header to the front of `out`; no effect if `out` is shorter than [`len`](Self::len).
    ///
    /// `total_len` counts the bytes of the whole outer packet. `inner_class` is the inner packet's TOS or traffic
    /// class: its DSCP is copied or replaced, its ECN always copied (RFC 6040 4.1, normal mode). `inner_df` is the
    /// inner packet's [`dont_fragment`](crate::ip::IpHeader::dont_fragment), so an inner IPv6 packet counts as
    /// DF. `id` is IPv4's identification, which matters where DF is clear (RFC 6864 4).
    #[inline]
    pub fn write(
        &self,
        out: &mut [u8],
        total_len: usize,
        inner_class: u8,
        inner_df: bool,
        id: u16,
    ) {
        let len = self.len();
        if let (Some(out), Some(template)) = (out.get_mut(..len), self.template.get(..len)) {
            out.copy_from_slice(template);
            self.rules
                .complete(out, total_len, inner_class, inner_df, id);
        }
    }

    /// The header with what is still open left at zero.
    pub fn template(&self) -> &[u8] {
        self.template.get(..self.len()).unwrap_or_default()
    }

    /// How it is filled in.
    pub(crate) fn rules(&self) -> OuterRules {
        self.rules
    }
}

impl OuterRules {
    /// Fills in what is open in a copy of the [template](OuterHeader::template) at the front of `out`.
    #[inline(always)]
    pub(crate) fn complete(
        &self,
        out: &mut [u8],
        total_len: usize,
        inner_class: u8,
        inner_df: bool,
        id: u16,
    ) {
        let class = inner_class & self.class_mask | self.class_set;
        let ip = match self.version {
            IpVersion::V4 => {
                if let Some(h) = out.first_chunk_mut() {
                    self.complete_v4(h, total_len as u16, class, self.flag_bits(inner_df), id);
                }
                IPV4_HEADER
            }
            IpVersion::V6 => {
                if let Some(h) = out.first_chunk_mut::<6>() {
                    h[0] |= class >> 4;
                    h[1] |= class << 4;
                    [h[4], h[5]] = (total_len.saturating_sub(IPV6_HEADER) as u16).to_be_bytes();
                }
                IPV6_HEADER
            }
        };
        if self.udp {
            // RFC 3948 2.1: over IPv4 the checksum is zero; IPv6's is filled in when the packet is sealed.
            if let Some(h) = out.get_mut(ip + 4..ip + 6) {
                h.copy_from_slice(&(total_len.saturating_sub(ip) as u16).to_be_bytes());
            }
        }
    }

    #[inline(always)]
    fn flag_bits(&self, inner_df: bool) -> u16 {
        self.flags | if inner_df { self.flags_copied } else { 0 }
    }

    #[inline(always)]
    fn complete_v4(&self, h: &mut [u8; 12], total_len: u16, class: u8, flags: u16, id: u16) {
        // As they lie in memory: the sum is the same in either byte order (RFC 1071 2 B).
        let words = [u16::from(class), total_len, id, flags].map(u16::to_be_bytes);
        h[1] = class;
        h[2..4].copy_from_slice(&words[1]);
        h[4..6].copy_from_slice(&words[2]);
        h[6..8].copy_from_slice(&words[3]);
        let open = words.map(|word| u32::from(u16::from_ne_bytes(word)));
        let sum = self.partial_sum + open[0] + open[1] + open[2] + open[3];
        // The halves are added with what they carry: what the upper half comes to.
        let sum = sum.wrapping_add(sum.rotate_left(16)) >> 16;
        h[10..12].copy_from_slice(&(!(sum as u16)).to_ne_bytes());
    }
}

const fn ip_header_len(version: IpVersion) -> usize {
    match version {
        IpVersion::V4 => IPV4_HEADER,
        IpVersion::V6 => IPV6_HEADER,
    }
}

/// Fills in the UDP checksum of a whole packet of IPv6 header, UDP header and payload: over IPv6 it is not
/// optional (RFC 8200 8.1).
pub fn fill_udp6_checksum(packet: &mut [u8]) {
    let Some((ip, udp)) = packet.split_first_chunk_mut::<IPV6_HEADER>() else {
        return;
    };
    if udp.len() < UDP_HEADER {
        return;
    }
    udp[6..8].fill(0);
    let pseudo = checksum::sum(
        udp.len() as u64 + u64::from(protocol::UDP),
        &ip[8..IPV6_HEADER],
    );
    let sum = match !checksum::fold(checksum::sum(pseudo, udp)) {
        // Zero would mean "no checksum".
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 6040 figure 4 by inner (row) and outer (column) codepoint: Not-ECT 0, ECT(1) 1, ECT(0) 2, CE 3.
const DECAPSULATED_ECN: [[Option<u8>; 4]; 4] = [
    [Some(0), Some(0), Some(0), None],
    [Some(1), Some(1), Some(1), Some(3)],
    [Some(2), Some(1), Some(2), Some(3)],
    [Some(3), Some(3), Some(3), Some(3)],
];

/// True if an outer header's ECN field may change the inner one (RFC 6040 4.2).
#[inline]
pub(crate) fn is_ect(outer_class: u8) -> bool {
    outer_class & ECN != 0
}

/// Carries congestion marks of the outer header, whose TOS or traffic class is `outer_class`, over into the
/// inner packet (RFC 6040 4.2).
#[inline]
pub fn decapsulate_ecn(
    outer_class: u8,
    inner: &mut [u8],
    inner_version: IpVersion,
) -> Result<(), DropReason> {
    let (h, shift) = match inner_version {
        IpVersion::V4 => (inner, 0),
        IpVersion::V6 => (inner, 4),
    };
    let class = *h.get(1).ok_or(DropReason::InnerMalformed)?;
    if !is_ect(outer_class) {
        return Ok(()); // the first column: nothing changes
    }
    let old = class >> shift & ECN;
    let new = DECAPSULATED_ECN[usize::from(old)][usize::from(outer_class & ECN)]
        .ok_or(DropReason::EcnInvalid)?;
    if new == old {
        return Ok(());
    }
    let changed = class & !(ECN << shift) | new << shift;
    match inner_version {
        IpVersion::V4 => {
            let h: &mut [u8; IPV4_HEADER] =
                h.first_chunk_mut().ok_or(DropReason::InnerMalformed)?;
            let word = |class| u16::from_be_bytes([h[0], class]);
            let sum = checksum::update([h[10], h[11]], word(class), word(changed));
            [h[10], h[11]] = sum;
            h[1] = changed;
        }
        IpVersion::V6 => h[1] = changed,
    }
    Ok(())
}
