//! Keys of connections.

use super::Presence::{Default, Optional, Required};
use super::{Key, Table};

/// `[[connection]]`.
pub const CONNECTION: Table = Table {
    header: "[[connection]]",
    doc: "A peer with which IKEv1 (RFC 2409) negotiates SAs, and how both prove who they are. What is protected is in the \
          `[[spd]]` entries that name the connection and one of its children.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among connections",
            presence: Required,
            example: "\"b\"",
            doc: "Name in logs, in `show ike`, and for `initiate` and `terminate`.",
        },
        Key {
            name: "exchange",
            kind: "`main` or `aggressive`",
            presence: Default("\"main\""),
            example: "\"aggressive\"",
            doc: "How phase 1 runs. Aggressive mode shows identities, and to anybody who asks a hash of the pre-shared key: \
                  warned of.",
        },
        Key {
            name: "local",
            kind: "address",
            presence: Optional,
            example: "\"192.0.2.1\"",
            doc: "Address of this gateway; left out, the one on the way to the peer, or any if the peer may be in many places.",
        },
        Key {
            name: "remote",
            kind: "address, list of prefixes or ranges, or `any`",
            presence: Required,
            example: "\"198.51.100.1\"",
            doc: "Where the peer is. Only with one address can this gateway begin.",
        },
        Key {
            name: "local-id",
            kind: "identity",
            presence: Optional,
            example: "\"a.example\"",
            doc: "What this gateway says it is: an address, a name, `user@name`, a distinguished name such as \
                  `CN=a.example, O=Example`, or `keyid:` and text. Left out: the subject of its certificate, or its address.",
        },
        Key {
            name: "remote-id",
            kind: "identity, or `any`",
            presence: Optional,
            example: "\"b.example\"",
            doc: "What the peer must prove to be. Left out: its address if `remote` is one, else any.",
        },
        Key {
            name: "psk",
            kind: "string",
            presence: Optional,
            example: "\"0x6b1f0b5a3ac8f7e1d1b0a2c94e5d6f70\"",
            doc: "Pre-shared key: the bytes of the string, or after `0x` hex digits. One of `psk`, `psk-file` and \
                  `certificate` is required. A weak one is warned of.",
        },
        Key {
            name: "psk-file",
            kind: "path of a file with mode 0600",
            presence: Optional,
            example: "\"b.psk\"",
            doc: "File that holds what `psk` would; white space around it does not count.",
        },
        Key {
            name: "certificate",
            kind: "path of a PEM file",
            presence: Optional,
            example: "\"a.crt\"",
            doc: "Certificate of this gateway (X.509; RSA or ECDSA), then those of its issuers, without the root.",
        },
        Key {
            name: "private-key-file",
            kind: "path of a PEM file with mode 0600",
            presence: Optional,
            example: "\"a.pem\"",
            doc: "Its private key, as PKCS#8. With `certificate`.",
        },
        Key {
            name: "further-certificates",
            kind: "list of tables",
            presence: Optional,
            example: "[{ certificate = \"b.crt\", private-key-file = \"b.pem\", roots = [\"cb.crt\"] }]",
            doc: "Further certificates of this gateway, with the keys of `authentication` below. The one is used whose \
                  issuer the peer asks for, first of those with the key usage of IKE; a peer may lead to the `roots` of any of them, whichever is used. \
                  With `certificate`.",
        },
        Key {
            name: "roots",
            kind: "list of paths of PEM files",
            presence: Optional,
            example: "[\"ca.crt\"]",
            doc: "Certificates at which the peer's chain must end. With `certificate`.",
        },
        Key {
            name: "crls",
            kind: "list of paths of PEM files",
            presence: Optional,
            example: "[\"ca.crl\"]",
            doc: "Revocation lists. With `certificate`.",
        },
        Key {
            name: "revocation",
            kind: "`off`, `known` or `required`",
            presence: Default("\"known\""),
            example: "\"required\"",
            doc: "Refuse a certificate that a list names (`known`), or also one of which no current list tells \
                  (`required`). With `certificate`.",
        },
        Key {
            name: "name-roots",
            kind: "true or false",
            presence: Default("true"),
            example: "false",
            doc: "Certificate requests name the roots; otherwise they tell nothing. With `certificate`.",
        },
        Key {
            name: "xauth",
            kind: "table",
            presence: Optional,
            example: "{ role = \"server\", users-file = \"users\" }",
            doc: "A user proves themselves by name and password after phase 1: the peer's (`server`), or the one of this \
                  gateway (`client`).",
        },
        Key {
            name: "hybrid",
            kind: "true or false",
            presence: Default("false"),
            example: "true",
            doc: "In phase 1 only the server of `xauth` proves itself, with its `certificate`; the client has `roots` only.",
        },
        Key {
            name: "pool",
            kind: "name of a `[[pool]]`",
            presence: Optional,
            example: "\"warriors\"",
            doc: "Peers get addresses from it (mode config), and SAs for those only. A peer is known by its user's name, and \
                  by its identity where a certificate or nothing else tells: it gets the same address when it comes again.",
        },
        Key {
            name: "mode-config",
            kind: "`pull` or `push`",
            presence: Default("\"pull\""),
            example: "\"push\"",
            doc: "Peers ask for their address, or are told without asking. With `pool`.",
        },
        Key {
            name: "request-address",
            kind: "true or false",
            presence: Default("false"),
            example: "true",
            doc: "Ask the peer for an address (mode config); it becomes the local side of what is negotiated.",
        },
        Key {
            name: "proposals",
            kind: "list of tables",
            presence: Optional,
            example: "[{ encryption = \"aes256-cbc\", hash = \"sha2-256\", group = \"modp2048\" }]",
            doc: "What may protect phase 1, best first; in aggressive mode all of one group. Left out: AES-256 with SHA2-256 \
                  and ecp256 or modp2048, AES-128 with SHA2-256 and modp2048; in profile `ws2003` 3DES with SHA-1 or MD5 and \
                  modp1024.",
        },
        Key {
            name: "lifetime",
            kind: "60..604800",
            presence: Default("28800"),
            example: "3600",
            doc: "Seconds after which phase 1 ends; it is renewed before. Where the peer wants less, that counts, but for fewer than 60 seconds or 64 kilobytes, which count as those: the peer is told, if it began, and the log.",
        },
        Key {
            name: "lifetime-kilobytes",
            kind: "64..4294967295",
            presence: Optional,
            example: "10000",
            doc: "Kilobytes of IKE's own protected messages after which phase 1 ends; it is renewed before. Left out, there is \
                  no limit but the peer's.",
        },
        Key {
            name: "quick-modes",
            kind: "integer from 1",
            presence: Optional,
            example: "1",
            doc: "Quick modes that one phase 1 serves; left out, any number. 1 is perfect forward secrecy of the master key.",
        },
        Key {
            name: "dpd",
            kind: "table",
            presence: Optional,
            example: "{ delay = 30, action = \"restart\" }",
            doc: "Dead peer detection (RFC 3706). Left out, the peer is answered and never asked.",
        },
        Key {
            name: "nat-traversal",
            kind: "`detect`, `force` or `off`",
            presence: Default("\"detect\""),
            example: "\"force\"",
            doc: "ESP in UDP (RFC 3947) where there is address translation on the way, always, or never.",
        },
        Key {
            name: "fragment-size",
            kind: "0, or 576..65535",
            presence: Default("1280"),
            example: "576",
            doc: "Bytes of IP packet above which our messages are sent in parts, if the peer can join them; 0: never.",
        },
        Key {
            name: "start",
            kind: "`manual`, `traffic` or `load`",
            presence: Default("\"traffic\""),
            example: "\"load\"",
            doc: "Begin when `initiate` or the peer says so, also when a packet needs it, or at once.",
        },
        Key {
            name: "child",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "What is negotiated under this phase 1, at least one: `[[connection.child]]`.",
        },
    ],
};

/// `proposals` of a connection.
pub const IKE_PROPOSAL: Table = Table {
    header: "proposals of [[connection]]",
    doc: "What may protect phase 1, written in place: \
          `proposals = [{ encryption = \"aes256-cbc\", hash = \"sha2-256\", group = \"modp2048\" }]`.",
    keys: &[
        Key {
            name: "encryption",
            kind: "`aes128-cbc`, `aes192-cbc`, `aes256-cbc` or `3des-cbc`",
            presence: Required,
            example: "\"aes256-cbc\"",
            doc: "Cipher. 3DES is warned of.",
        },
        Key {
            name: "hash",
            kind: "`sha2-256`, `sha2-384`, `sha2-512`, `sha1` or `md5`",
            presence: Required,
            example: "\"sha2-256\"",
            doc: "Hash, and as HMAC the source of keys. MD5 is warned of.",
        },
        Key {
            name: "group",
            kind: "name of a group, see below",
            presence: Required,
            example: "\"modp2048\"",
            doc: "Diffie-Hellman group.",
        },
    ],
};

/// `xauth` of a connection.
pub const XAUTH: Table = Table {
    header: "xauth",
    doc: "Extended authentication of a `[[connection]]`, written in place: \
          `xauth = { role = \"server\", users-file = \"users\" }`.",
    keys: &[
        Key {
            name: "role",
            kind: "`server` or `client`",
            presence: Required,
            example: "\"server\"",
            doc: "Ask the peer for name and password, or be asked.",
        },
        Key {
            name: "users-file",
            kind: "path of a file with mode 0600",
            presence: Optional,
            example: "\"users\"",
            doc: "Lines `name:hash`; the hash is what `openssl passwd -6` prints. Required of a server.",
        },
        Key {
            name: "tries",
            kind: "1..10",
            presence: Default("3"),
            example: "1",
            doc: "Passwords that a client may try before its phase 1 is ended. Server. A wrong one is answered after a delay, \
                  which grows.",
        },
        Key {
            name: "user",
            kind: "string",
            presence: Optional,
            example: "\"alice\"",
            doc: "Name. Required of a client.",
        },
        Key {
            name: "password-file",
            kind: "path of a file with mode 0600",
            presence: Optional,
            example: "\"alice.password\"",
            doc: "File whose first line is the password. Required of a client.",
        },
    ],
};

/// `[[pool]]`.
pub const POOL: Table = Table {
    header: "[[pool]]",
    doc: "Addresses for road warriors, and what else they are told. A connection names it with `pool`. An address is free \
          again when the peer's phase 1 and its SAs are gone.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among pools",
            presence: Required,
            example: "\"warriors\"",
            doc: "Name.",
        },
        Key {
            name: "addresses",
            kind: "list of prefixes or ranges",
            presence: Required,
            example: "[\"10.64.0.0/16\"]",
            doc: "What peers get, in order; IPv4 and IPv6.",
        },
        Key {
            name: "netmask",
            kind: "IPv4 netmask",
            presence: Default("\"255.255.255.255\""),
            example: "\"255.255.0.0\"",
            doc: "Goes with an IPv4 address.",
        },
        Key {
            name: "dns",
            kind: "list of addresses",
            presence: Optional,
            example: "[\"10.1.0.53\"]",
            doc: "Name servers.",
        },
        Key {
            name: "nbns",
            kind: "list of IPv4 addresses",
            presence: Optional,
            example: "[\"10.1.0.54\"]",
            doc: "NetBIOS name servers (WINS).",
        },
        Key {
            name: "split-include",
            kind: "list of IPv4 prefixes",
            presence: Optional,
            example: "[\"10.1.0.0/16\"]",
            doc: "Networks behind this gateway, for clients that send only those through the tunnel.",
        },
        Key {
            name: "domain",
            kind: "string",
            presence: Optional,
            example: "\"example.com\"",
            doc: "Default domain (Unity).",
        },
        Key {
            name: "banner",
            kind: "string",
            presence: Optional,
            example: "\"Welcome\"",
            doc: "Greeting (Unity).",
        },
    ],
};

/// `dpd` of a connection.
pub const DPD: Table = Table {
    header: "dpd",
    doc: "Dead peer detection of a `[[connection]]`, written in place: `dpd = { delay = 30 }`.",
    keys: &[
        Key {
            name: "delay",
            kind: "1..86400",
            presence: Required,
            example: "30",
            doc: "Seconds without a sign of life after which the peer is asked.",
        },
        Key {
            name: "when",
            kind: "`traffic` or `always`",
            presence: Default("\"traffic\""),
            example: "\"always\"",
            doc: "Ask only if there was traffic to the peer and none from it, or also when nothing is sent.",
        },
        Key {
            name: "action",
            kind: "`clear` or `restart`",
            presence: Default("\"clear\""),
            example: "\"restart\"",
            doc: "When it does not answer: its SAs go and the next packet begins anew, or begin anew at once, again and again until all stand.",
        },
    ],
};

/// `[[connection.child]]`.
pub const CHILD: Table = Table {
    header: "[[connection.child]]",
    doc: "How traffic with the peer is protected: what quick mode negotiates (RFC 2409 5.5). Which traffic, is in the one \
          `[[spd]]` entry that names the child; as responder, parts of it are taken, too.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique in its connection",
            presence: Required,
            example: "\"lans\"",
            doc: "Name in logs, in `show child`, in SPD entries, and for `initiate` and `terminate`.",
        },
        Key {
            name: "mode",
            kind: "`tunnel` or `transport`",
            presence: Default("\"tunnel\""),
            example: "\"transport\"",
            doc: "Tunnel: whole packets inside new ones. Transport: packets between both gateways themselves.",
        },
        Key {
            name: "proposals",
            kind: "list of tables",
            presence: Optional,
            example: "[{ encryption = \"aes128-gcm16\" }]",
            doc: "What may protect it, best first. Left out: ESP with aes256-gcm16 or aes128-gcm16, with extended sequence \
                  numbers or without, or AES-CBC of 256 or 128 bits with hmac-sha2-256-128; in profile `ws2003` 3DES with \
                  hmac-sha1-96 or hmac-md5-96.",
        },
        Key {
            name: "pfs",
            kind: "name of a group, see below",
            presence: Optional,
            example: "\"modp2048\"",
            doc: "Diffie-Hellman in each quick mode: perfect forward secrecy of its keys. Left out, keys come from phase 1.",
        },
        Key {
            name: "soft-lifetime",
            kind: "table",
            presence: Optional,
            example: "{ seconds = 3000 }",
            doc: "Limits at which the SAs are replaced; left out, nine tenths of the hard ones.",
        },
        Key {
            name: "hard-lifetime",
            kind: "table",
            presence: Default("{ seconds = 3600 }"),
            example: "{ seconds = 3600, bytes = 1_000_000_000 }",
            doc: "Limits at which the SAs end; offered to the peer. Where it wants less, that counts, but for fewer than 60 seconds or 1024 kilobytes, which count as those: the peer is told, if it began, and the log. In profile `ws2003` the default is also 102 400 000 bytes.",
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
            doc: "Seconds without traffic after which the SAs go; left out, never, in profile `ws2003` 300.",
        },
    ],
};

/// `proposals` of a child.
pub const CHILD_PROPOSAL: Table = Table {
    header: "proposals of [[connection.child]]",
    doc: "What may protect traffic, written in place: `proposals = [{ encryption = \"aes256-cbc\", integrity = \
          \"hmac-sha2-256-128\" }, { ah = \"hmac-sha2-256-128\" }]`.",
    keys: &[
        Key {
            name: "encryption",
            kind: "name of a cipher, see below",
            presence: Optional,
            example: "\"aes128-gcm16\"",
            doc: "ESP with this cipher. This or `ah`, or both: ESP inside AH. IKEv1 has no name for `chacha20-poly1305`.",
        },
        Key {
            name: "integrity",
            kind: "name of an integrity algorithm, see below",
            presence: Optional,
            example: "\"hmac-sha2-256-128\"",
            doc: "Required where the cipher does not authenticate. IKEv1 has no name for `aes-cmac-96`.",
        },
        Key {
            name: "ah",
            kind: "name of an integrity algorithm, see below",
            presence: Optional,
            example: "\"hmac-sha2-256-128\"",
            doc: "AH with this algorithm.",
        },
        Key {
            name: "esn",
            kind: "true or false",
            presence: Default("false"),
            example: "true",
            doc: "Extended sequence numbers (RFC 4304).",
        },
    ],
};
