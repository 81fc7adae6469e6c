//! Keys of rules and what they share.

use super::Presence::{Default, Optional, Required};
use super::{Key, Table};

/// `[policy]`.
pub const POLICY: Table = Table {
    header: "[policy]",
    doc: "What goes for the whole policy. The whole table may be left out.",
    keys: &[
        Key {
            name: "profile",
            kind: "`modern` or `ws2003`",
            presence: Default("\"modern\""),
            example: "\"ws2003\"",
            doc: "What is meant where nothing is said, see below. `ws2003` is for old peers, and warned of.",
        },
        Key {
            name: "version",
            kind: "at most 128 bytes",
            presence: Optional,
            example: "\"2026-11-22.1\"",
            doc: "Shown by `portcullis policy status`; it need not grow.",
        },
        Key {
            name: "poll-interval",
            kind: "1..604800 seconds",
            presence: Optional,
            example: "900",
            doc: "Time between two polls for the next policy; left out, that of `[store]`.",
        },
        Key {
            name: "default-exemption",
            kind: "0..3",
            presence: Optional,
            example: "3",
            doc: "Which traffic no rule looks at, see below. Left out: nothing but our own IKE, in profile `ws2003` 3.",
        },
        Key {
            name: "inbound-overlap",
            kind: "0..86400 seconds",
            presence: Optional,
            example: "60",
            doc: "What a reload removes sends nothing any more at once, and the inbound SAs of the policy's own `[[sa]]` still \
                  take what their peers send for this long, or until their own lifetime ends: of the traffic that they \
                  were made for, whatever the SPD says of it otherwise. One whose traffic meets a `discard` entry that \
                  the same reload brings goes at once, and all that overlap still go with a later reload that brings \
                  one, or 0 here. SAs of IKE do not overlap: their peers are told. Left out: 30, in profile `ws2003` 3600.",
        },
        Key {
            name: "management",
            kind: "list of tables",
            presence: Default("[]"),
            example: "[{ remote = \"192.0.2.0/24\", local-port = 22 }]",
            doc: "Ways in that must stay open in clear: whatever would close one is warned of.",
        },
    ],
};

/// `management` of `[policy]`.
pub const MANAGEMENT: Table = Table {
    header: "management",
    doc: "A way in that must stay open, of `[policy]`, written in place: \
          `management = [{ remote = \"192.0.2.0/24\", local-port = 22 }]`.",
    keys: &[
        Key {
            name: "local",
            kind: "list of prefixes, ranges or addresses",
            presence: Optional,
            example: "\"10.1.0.10\"",
            doc: "What is managed; left out, this gateway.",
        },
        Key {
            name: "remote",
            kind: "list of prefixes, ranges or addresses",
            presence: Required,
            example: "\"192.0.2.0/24\"",
            doc: "From where.",
        },
        Key {
            name: "protocol",
            kind: "name or 0..255",
            presence: Default("\"tcp\""),
            example: "\"udp\"",
            doc: "Next layer protocol.",
        },
        Key {
            name: "local-port",
            kind: "list of ports or ranges",
            presence: Optional,
            example: "22",
            doc: "Ports of what is managed; left out, any.",
        },
        Key {
            name: "remote-port",
            kind: "list of ports or ranges",
            presence: Optional,
            example: "\"1024-65535\"",
            doc: "Ports at the other end; left out, any.",
        },
        Key {
            name: "icmp-type",
            kind: "0..255 or a range",
            presence: Optional,
            example: "8",
            doc: "As in `[[spd]]`.",
        },
        Key {
            name: "icmp-code",
            kind: "0..255 or a range",
            presence: Optional,
            example: "0",
            doc: "As in `[[spd]]`.",
        },
    ],
};

/// `[ike]`.
pub const IKE: Table = Table {
    header: "[ike]",
    doc: "How phase 1 runs for all rules, in main mode. The whole table may be left out.",
    keys: &[
        Key {
            name: "proposals",
            kind: "list of tables",
            presence: Optional,
            example: "[{ encryption = \"aes256-cbc\", hash = \"sha2-256\", group = \"modp2048\" }]",
            doc: "As in `[[connection]]`.",
        },
        Key {
            name: "lifetime",
            kind: "60..604800",
            presence: Default("28800"),
            example: "3600",
            doc: "As in `[[connection]]`.",
        },
        Key {
            name: "quick-modes",
            kind: "integer from 1",
            presence: Optional,
            example: "1",
            doc: "As in `[[connection]]`: 1 is perfect forward secrecy of the master key.",
        },
        Key {
            name: "dpd",
            kind: "table",
            presence: Optional,
            example: "{ delay = 30 }",
            doc: "As in `[[connection]]`.",
        },
        Key {
            name: "nat-traversal",
            kind: "`detect`, `force` or `off`",
            presence: Default("\"detect\""),
            example: "\"off\"",
            doc: "As in `[[connection]]`.",
        },
        Key {
            name: "fragment-size",
            kind: "0, or 576..65535",
            presence: Default("1280"),
            example: "576",
            doc: "As in `[[connection]]`.",
        },
    ],
};

/// `[[filter-list]]`.
pub const FILTER_LIST: Table = Table {
    header: "[[filter-list]]",
    doc: "Which packets: filters under a name, for as many rules as want them.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among filter lists",
            presence: Required,
            example: "\"lans\"",
            doc: "Name by which rules find it.",
        },
        Key {
            name: "filter",
            kind: "array of tables",
            presence: Optional,
            example: "[{ source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\" }]",
            doc: "The filters, at least one: `[[filter-list.filter]]`.",
        },
    ],
};

/// `[[filter-list.filter]]`.
pub const FILTER: Table = Table {
    header: "[[filter-list.filter]]",
    doc: "One filter: from where to where. It names no side: from the routes it is known which end may be ours, and \
          where that is unknown a packet may cross either way.",
    keys: &[
        Key {
            name: "source",
            kind: "list of prefixes, ranges or addresses, `any` or `my-address`",
            presence: Required,
            example: "\"my-address\"",
            doc: "Where packets come from. `my-address` is every address of this gateway, whichever it has.",
        },
        Key {
            name: "destination",
            kind: "list of prefixes, ranges or addresses, `any` or `my-address`",
            presence: Required,
            example: "\"10.2.0.0/24\"",
            doc: "Where they go.",
        },
        Key {
            name: "protocol",
            kind: "name or 0..255",
            presence: Optional,
            example: "\"tcp\"",
            doc: "Next layer protocol, as in `[[spd]]`.",
        },
        Key {
            name: "source-port",
            kind: "list of ports or ranges",
            presence: Optional,
            example: "88",
            doc: "Ports of the source; left out, any.",
        },
        Key {
            name: "destination-port",
            kind: "list of ports or ranges",
            presence: Optional,
            example: "135",
            doc: "Ports of the destination; left out, any.",
        },
        Key {
            name: "icmp-type",
            kind: "0..255 or a range",
            presence: Optional,
            example: "8",
            doc: "As in `[[spd]]`.",
        },
        Key {
            name: "icmp-code",
            kind: "0..255 or a range",
            presence: Optional,
            example: "0",
            doc: "As in `[[spd]]`.",
        },
        Key {
            name: "mirrored",
            kind: "true or false",
            presence: Default("true"),
            example: "false",
            doc: "Also the packets that answer them, with both ends exchanged. What is negotiated is mirrored, for SAs go \
                  both ways; but a tunnel may be written as two rules, each with a filter that is not mirrored.",
        },
    ],
};

/// `[[filter-action]]`.
pub const FILTER_ACTION: Table = Table {
    header: "[[filter-action]]",
    doc: "What becomes of packets: an action under a name, for as many rules as want it. All but `name` and `action` \
          only with `negotiate`.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among filter actions",
            presence: Required,
            example: "\"secure\"",
            doc: "Name by which rules find it.",
        },
        Key {
            name: "action",
            kind: "`permit`, `block` or `negotiate`",
            presence: Required,
            example: "\"negotiate\"",
            doc: "Permit: in clear. Block: not at all. Negotiate: protected by SAs that IKE negotiates.",
        },
        Key {
            name: "proposals",
            kind: "list of tables",
            presence: Optional,
            example: "[{ encryption = \"aes128-gcm16\" }]",
            doc: "Security methods, best first, as in `[[connection.child]]`.",
        },
        Key {
            name: "pfs",
            kind: "true, false, or name of a group, see below",
            presence: Default("false"),
            example: "true",
            doc: "Perfect forward secrecy of session keys: Diffie-Hellman in each quick mode, with `true` of the group of \
                  `[ike]`. Both ends must have it.",
        },
        Key {
            name: "soft-lifetime",
            kind: "table",
            presence: Optional,
            example: "{ seconds = 3000 }",
            doc: "As in `[[connection.child]]`.",
        },
        Key {
            name: "hard-lifetime",
            kind: "table",
            presence: Default("{ seconds = 3600 }"),
            example: "{ seconds = 900, bytes = 100_000_000 }",
            doc: "As in `[[connection.child]]`.",
        },
        Key {
            name: "replay-window",
            kind: "0, or a power of two 64..65536",
            presence: Default("1024"),
            example: "64",
            doc: "As in `[[sa]]`.",
        },
        Key {
            name: "idle",
            kind: "1..86400",
            presence: Optional,
            example: "300",
            doc: "As in `[[connection.child]]`.",
        },
        Key {
            name: "clear-text",
            kind: "`never`, `accept` or `fall-back`",
            presence: Default("\"never\""),
            example: "\"accept\"",
            doc: "As in `[[spd]]`, in profile `ws2003` only: accept what comes in clear but answer protected, or fall back \
                  to clear with a peer that does not speak IKE.",
        },
    ],
};

/// `[[rule]]`.
pub const RULE: Table = Table {
    header: "[[rule]]",
    doc: "A rule: which packets, and what becomes of them. In profile `modern` rules are tried in the order written, in \
          `ws2003` the filter that says most goes first. They come behind every `[[spd]]`. `show spd` names the entries \
          that come of a rule `RULE/N`, N being the number of the filter, with the rule's order and the filter's weight.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among rules",
            presence: Required,
            example: "\"branch\"",
            doc: "Name in logs and counters, and of the connection that comes of it, for `initiate` and `terminate`.",
        },
        Key {
            name: "filter-list",
            kind: "name of a filter list",
            presence: Required,
            example: "\"lans\"",
            doc: "Which packets.",
        },
        Key {
            name: "filter-action",
            kind: "name of a filter action",
            presence: Required,
            example: "\"secure\"",
            doc: "What becomes of them.",
        },
        Key {
            name: "authentication",
            kind: "list of tables",
            presence: Optional,
            example: "[{ psk-file = \"b.psk\" }]",
            doc: "How both ends prove who they are, the preferred way first: at most one pre-shared key, and \
                  certificates, of which the one is used whose issuer the peer asks for. Required with `negotiate`.",
        },
        Key {
            name: "remote-id",
            kind: "identity, or `any`",
            presence: Optional,
            example: "\"b.example\"",
            doc: "As in `[[connection]]`.",
        },
        Key {
            name: "tunnel-endpoint",
            kind: "address, list of prefixes or ranges, or `any`",
            presence: Optional,
            example: "\"198.51.100.1\"",
            doc: "The far end of the tunnel; left out, transport mode between this gateway and the other end of the filter. An \
                  address of ours: the way in of a tunnel, whose way out is another rule.",
        },
        Key {
            name: "local",
            kind: "address",
            presence: Optional,
            example: "\"192.0.2.1\"",
            doc: "Our end; left out, the address on the way to the peer.",
        },
        Key {
            name: "interface-class",
            kind: "`lan` or `remote-access`",
            presence: Optional,
            example: "\"lan\"",
            doc: "Only for traffic over ports of this `class`; left out, all. By the routes: what goes to a peer over another \
                  port is not meant, nor what comes from it.",
        },
        Key {
            name: "start",
            kind: "`manual`, `traffic` or `load`",
            presence: Default("\"traffic\""),
            example: "\"load\"",
            doc: "As in `[[connection]]`.",
        },
    ],
};

/// `[default-response]`.
pub const DEFAULT_RESPONSE: Table = Table {
    header: "[default-response]",
    doc: "The default response rule: what answers a peer that no rule is about, in transport mode between its address and \
          ours. Its filters are those that peers ask for. It comes behind all rules, and this gateway never begins with it.",
    keys: &[
        Key {
            name: "active",
            kind: "true or false",
            presence: Default("true"),
            example: "false",
            doc: "It is not deleted but deactivated.",
        },
        Key {
            name: "proposals",
            kind: "list of tables",
            presence: Optional,
            example: "[{ encryption = \"aes128-gcm16\" }]",
            doc: "Security methods, best first. Left out: as in `[[connection.child]]`, in profile `ws2003` ESP with 3DES or DES, each \
                  with hmac-sha1-96 or hmac-md5-96, then AH with one of both.",
        },
        Key {
            name: "authentication",
            kind: "list of tables",
            presence: Required,
            example: "[{ psk-file = \"b.psk\" }]",
            doc: "How both ends prove who they are, as in `[[rule]]`.",
        },
    ],
};

/// `authentication` of `[[rule]]`.
pub const AUTHENTICATION: Table = Table {
    header: "authentication",
    doc: "A way in which both ends prove who they are, of `[[rule]]` and `[default-response]`, written in place: \
          `authentication = [{ psk-file = \"b.psk\" }]`; without pre-shared keys, of `further-certificates` of \
          `[[connection]]`. All keys are as in `[[connection]]`.",
    keys: &[
        Key {
            name: "kerberos",
            kind: "`false`",
            presence: Default("false"),
            example: "false",
            doc: "`true` is refused: this gateway has no Kerberos (GSS-API) authentication, which was never more than a draft. Machines \
                  of a domain have certificates, too. Traffic of Kerberos itself: `default-exemption`.",
        },
        Key {
            name: "local-id",
            kind: "identity",
            presence: Optional,
            example: "\"a.example\"",
            doc: "What this gateway says it is.",
        },
        Key {
            name: "psk",
            kind: "string",
            presence: Optional,
            example: "\"0x6b1f0b5a3ac8f7e1d1b0a2c94e5d6f70\"",
            doc: "Pre-shared key.",
        },
        Key {
            name: "psk-file",
            kind: "path of a file with mode 0600",
            presence: Optional,
            example: "\"b.psk\"",
            doc: "File that holds it.",
        },
        Key {
            name: "certificate",
            kind: "path of a PEM file",
            presence: Optional,
            example: "\"a.crt\"",
            doc: "Certificate of this gateway and those of its issuers.",
        },
        Key {
            name: "private-key-file",
            kind: "path of a PEM file with mode 0600",
            presence: Optional,
            example: "\"a.pem\"",
            doc: "Its private key.",
        },
        Key {
            name: "roots",
            kind: "list of paths of PEM files",
            presence: Optional,
            example: "[\"ca.crt\"]",
            doc: "Whom this gateway believes.",
        },
        Key {
            name: "crls",
            kind: "list of paths of PEM files",
            presence: Optional,
            example: "[\"ca.crl\"]",
            doc: "Revocation lists.",
        },
        Key {
            name: "revocation",
            kind: "`off`, `known` or `required`",
            presence: Default("\"known\""),
            example: "\"required\"",
            doc: "How strictly revocation is checked.",
        },
        Key {
            name: "name-roots",
            kind: "true or false",
            presence: Default("true"),
            example: "false",
            doc: "Whether certificate requests name the roots.",
        },
    ],
};
