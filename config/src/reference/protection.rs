//! Keys of SAs and of the SPD.

use super::Presence::{Default, Optional, Required};
use super::{Key, Table};

/// `[[sa]]`.
pub const SA: Table = Table {
    header: "[[sa]]",
    doc: "A manually keyed security association, one direction (RFC 4301 4.1). It carries what the SPD \
          entries that name it select.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among SAs",
            presence: Required,
            example: "\"to-b\"",
            doc: "Name in logs, counters and SPD entries.",
        },
        Key {
            name: "direction",
            kind: "`inbound` or `outbound`",
            presence: Required,
            example: "\"outbound\"",
            doc: "Seen from this gateway.",
        },
        Key {
            name: "protocol",
            kind: "`esp` or `ah`",
            presence: Required,
            example: "\"esp\"",
            doc: "ESP (RFC 4303) or AH (RFC 4302).",
        },
        Key {
            name: "spi",
            kind: "256..4294967295",
            presence: Required,
            example: "0x1001",
            doc: "Security parameters index. With destination and protocol it is unique in its direction.",
        },
        Key {
            name: "mode",
            kind: "`tunnel` or `transport`",
            presence: Required,
            example: "\"tunnel\"",
            doc: "Tunnel: whole packets inside new ones. Transport: packets of the gateway itself.",
        },
        Key {
            name: "source",
            kind: "address",
            presence: Required,
            example: "\"192.0.2.1\"",
            doc: "Outer source; in transport mode the packet's own. Outbound: an address of this gateway.",
        },
        Key {
            name: "destination",
            kind: "address",
            presence: Required,
            example: "\"198.51.100.1\"",
            doc: "Outer destination, of the same family. Inbound: an address of this gateway.",
        },
        Key {
            name: "encryption",
            kind: "name of a cipher, see below",
            presence: Optional,
            example: "\"aes256-gcm16\"",
            doc: "Required for ESP, refused for AH.",
        },
        Key {
            name: "key",
            kind: "hex digits",
            presence: Optional,
            example: "\"000102030405060708090a0b0c0d0e0f10111213\"",
            doc: "Key of the cipher with the salt behind it, as in `ip xfrm`; a leading `0x` is allowed. \
                  This or `key-file`, unless encryption is `null`.",
        },
        Key {
            name: "key-file",
            kind: "path of a file with mode 0600",
            presence: Optional,
            example: "\"to-b.key\"",
            doc: "File that holds what `key` would, and nothing else.",
        },
        Key {
            name: "integrity",
            kind: "name of an integrity algorithm, see below",
            presence: Optional,
            example: "\"hmac-sha2-256-128\"",
            doc: "Required for AH, and for ESP with a cipher that does not authenticate.",
        },
        Key {
            name: "integrity-key",
            kind: "hex digits",
            presence: Optional,
            example: "\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"",
            doc: "Key of the integrity algorithm. This or `integrity-key-file` where there is `integrity`.",
        },
        Key {
            name: "integrity-key-file",
            kind: "path of a file with mode 0600",
            presence: Optional,
            example: "\"to-b.auth\"",
            doc: "File that holds what `integrity-key` would, and nothing else.",
        },
        Key {
            name: "udp-encapsulation",
            kind: "table",
            presence: Optional,
            example: "{ source-port = 4500, destination-port = 4500 }",
            doc: "ESP inside UDP (RFC 3948), to pass address translation. Not for AH.",
        },
        Key {
            name: "esn",
            kind: "true or false",
            presence: Default("false"),
            example: "true",
            doc: "Extended sequence numbers of 64 bits (RFC 4303 2.2.1). Both ends must agree.",
        },
        Key {
            name: "replay-window",
            kind: "0, or a power of two 64..65536",
            presence: Default("1024"),
            example: "64",
            doc: "Inbound: packets that may arrive late and still be told from replayed ones (RFC 4303 3.4.3); \
                  0 turns the check off, which `esn` does not allow.",
        },
        Key {
            name: "df",
            kind: "`copy`, `set` or `clear`",
            presence: Default("\"copy\""),
            example: "\"clear\"",
            doc: "Don't-fragment bit of the outer IPv4 header (RFC 4301 8.1). Outbound tunnel only.",
        },
        Key {
            name: "dscp",
            kind: "`copy` or 0..63",
            presence: Default("\"copy\""),
            example: "46",
            doc: "DSCP of the outer header (RFC 4301 5.1.2). Outbound tunnel only.",
        },
        Key {
            name: "soft-lifetime",
            kind: "table",
            presence: Optional,
            example: "{ seconds = 3000 }",
            doc: "Limits at which a replacement is asked for.",
        },
        Key {
            name: "hard-lifetime",
            kind: "table",
            presence: Optional,
            example: "{ seconds = 3600, bytes = 1_000_000_000 }",
            doc: "Limits at which the SA stops; none may be below its soft limit.",
        },
    ],
};

/// `udp-encapsulation`.
pub const UDP_ENCAPSULATION: Table = Table {
    header: "udp-encapsulation",
    doc: "ESP-in-UDP of a `[[sa]]`, written in place: \
          `udp-encapsulation = { source-port = 4500, destination-port = 4500 }`.",
    keys: &[
        Key {
            name: "source-port",
            kind: "1..65535",
            presence: Default("4500"),
            example: "4500",
            doc: "UDP source port.",
        },
        Key {
            name: "destination-port",
            kind: "1..65535",
            presence: Default("4500"),
            example: "4500",
            doc: "UDP destination port.",
        },
    ],
};

/// `soft-lifetime` and `hard-lifetime`.
pub const LIFETIME: Table = Table {
    header: "soft-lifetime, hard-lifetime",
    doc: "Limits of the life of a `[[sa]]`, written in place: `hard-lifetime = { seconds = 3600 }`. \
          The one that is reached first counts (RFC 4301 4.4.2.1); what is left out is no limit.",
    keys: &[
        Key {
            name: "seconds",
            kind: "integer from 1",
            presence: Optional,
            example: "3600",
            doc: "Seconds since the SA was installed.",
        },
        Key {
            name: "bytes",
            kind: "integer from 1",
            presence: Optional,
            example: "1_000_000_000",
            doc: "Bytes of protected payload.",
        },
        Key {
            name: "packets",
            kind: "integer from 1",
            presence: Optional,
            example: "1_000_000",
            doc: "Packets.",
        },
    ],
};

/// `[[spd]]`.
pub const SPD: Table = Table {
    header: "[[spd]]",
    doc: "An entry of the security policy database. They are tried in order and the first that matches \
          decides (RFC 4301 4.4.1). Local is this gateway's side and remote the peer's, for packets of both \
          directions.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among SPD entries",
            presence: Required,
            example: "\"a-to-b\"",
            doc: "Name in logs and counters.",
        },
        Key {
            name: "local",
            kind: "list of prefixes, ranges or addresses",
            presence: Optional,
            example: "[\"10.1.0.0/24\", \"10.1.1.5-10.1.1.9\"]",
            doc: "Addresses on our side; left out, any of IPv4 and IPv6.",
        },
        Key {
            name: "remote",
            kind: "list of prefixes, ranges or addresses",
            presence: Optional,
            example: "\"2001:db8:2::/48\"",
            doc: "Addresses on the peer's side; left out, any of IPv4 and IPv6.",
        },
        Key {
            name: "protocol",
            kind: "name or 0..255",
            presence: Optional,
            example: "\"tcp\"",
            doc: "Next layer protocol, such as `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, `dccp`, `gre`, `esp`, `ah`; \
                  left out, any.",
        },
        Key {
            name: "local-port",
            kind: "list of ports or ranges",
            presence: Optional,
            example: "[80, \"1024-65535\"]",
            doc: "Ports on our side, with `tcp`, `udp`, `dccp` or `sctp`; left out, any.",
        },
        Key {
            name: "remote-port",
            kind: "list of ports or ranges",
            presence: Optional,
            example: "443",
            doc: "Ports on the peer's side, with `tcp`, `udp`, `dccp` or `sctp`; left out, any.",
        },
        Key {
            name: "icmp-type",
            kind: "0..255 or a range",
            presence: Optional,
            example: "8",
            doc: "ICMP message type, with `icmp` or `icmpv6`; left out, any.",
        },
        Key {
            name: "icmp-code",
            kind: "0..255 or a range",
            presence: Optional,
            example: "\"0-4\"",
            doc: "ICMP message code, with `icmp-type`; left out, any.",
        },
        Key {
            name: "action",
            kind: "`protect`, `bypass` or `discard`",
            presence: Required,
            example: "\"protect\"",
            doc: "Protect: only inside the SAs. Bypass: in clear. Discard: not at all.",
        },
        Key {
            name: "outbound",
            kind: "list of names of SAs",
            presence: Optional,
            example: "[\"to-b-esp\", \"to-b-ah\"]",
            doc: "SAs for packets to the peer, innermost first: one, or ESP and then AH in transport mode around it. \
                  Protect only.",
        },
        Key {
            name: "inbound",
            kind: "list of names of SAs",
            presence: Optional,
            example: "\"from-b\"",
            doc: "SAs for packets from the peer, in the same order. Protect only.",
        },
        Key {
            name: "connection",
            kind: "name of a connection",
            presence: Optional,
            example: "\"b\"",
            doc: "Instead of `outbound` and `inbound`: the peer with which IKE negotiates SAs for these packets, when the first \
                  one comes or as the connection's `start` says. Protect only.",
        },
        Key {
            name: "child",
            kind: "name of one of its children",
            presence: Optional,
            example: "\"lans\"",
            doc: "How they are protected. May be left out if the connection has one child.",
        },
        Key {
            name: "clear-text",
            kind: "`never`, `accept` or `fall-back`",
            presence: Default("\"never\""),
            example: "\"accept\"",
            doc: "What may cross in clear all the same, with `connection` and in profile `ws2003` only. Accept: what \
                  comes in, as long as there is no SA for it; answers are protected. Fall-back: also both directions \
                  with a peer that does not answer IKE at all, until five minutes pass without traffic.",
        },
    ],
};
