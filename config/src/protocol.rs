//! Names of IP protocols in a policy file, from the IANA registry.

/// ICMP for IPv4 (RFC 792).
pub(crate) const ICMP: u8 = 1;
/// ICMP for IPv6 (RFC 4443).
pub(crate) const ICMPV6: u8 = 58;

/// Names with their numbers.
pub(crate) const NAMES: &[(&str, u8)] = &[
    ("icmp", ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("mobility", 135),
    ("udplite", 136),
];

/// True for the protocols whose header begins with two 16 bit ports that selectors look at
/// (RFC 4301 4.4.1.1).
pub(crate) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132)
}
