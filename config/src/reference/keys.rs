//! Keys of the process, its ports, routes and neighbours.

use super::Presence::{Default, Optional, Required};
use super::{Key, Table};

/// The outermost table of the file.
pub const ROOT: Table = Table {
    header: "the policy file",
    doc: "The tables of a policy.",
    keys: &[
        Key {
            name: "policy",
            kind: "table",
            presence: Optional,
            example: "{ profile = \"modern\" }",
            doc: "What goes for the whole policy.",
        },
        Key {
            name: "runtime",
            kind: "table",
            presence: Optional,
            example: "{ workers = 1 }",
            doc: "How the process runs.",
        },
        Key {
            name: "store",
            kind: "table",
            presence: Optional,
            example: "{ path = \"policy.d\" }",
            doc: "Where the policy comes from.",
        },
        Key {
            name: "metrics",
            kind: "table",
            presence: Optional,
            example: "{ listen = \"127.0.0.1:9469\" }",
            doc: "Figures for Prometheus.",
        },
        Key {
            name: "port",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Ports.",
        },
        Key {
            name: "route",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Static routes.",
        },
        Key {
            name: "neighbor",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Static neighbours.",
        },
        Key {
            name: "connection",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Peers with which IKE negotiates SAs.",
        },
        Key {
            name: "pool",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Addresses for road warriors.",
        },
        Key {
            name: "sa",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Manually keyed SAs.",
        },
        Key {
            name: "spd",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "The SPD.",
        },
        Key {
            name: "ike",
            kind: "table",
            presence: Optional,
            example: "{ lifetime = 28800 }",
            doc: "How phase 1 runs for all rules.",
        },
        Key {
            name: "filter-list",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Which packets rules are about.",
        },
        Key {
            name: "filter-action",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "What becomes of them.",
        },
        Key {
            name: "rule",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Rules.",
        },
        Key {
            name: "default-response",
            kind: "table",
            presence: Optional,
            example: "{ active = false }",
            doc: "What answers a peer that no rule is about.",
        },
    ],
};

/// `[runtime]`.
pub const RUNTIME: Table = Table {
    header: "[runtime]",
    doc: "How the process runs. The whole table may be left out.",
    keys: &[
        Key {
            name: "workers",
            kind: "1..1024",
            presence: Default("1"),
            example: "2",
            doc: "Workers that forward packets, each on a core of its own.",
        },
        Key {
            name: "cores",
            kind: "list of 0..1023",
            presence: Default("[]"),
            example: "[2, 3]",
            doc: "Cores for the workers, in order, at least one for each; left out, the program chooses.",
        },
        Key {
            name: "control-socket",
            kind: "path, at most 107 bytes",
            presence: Default("\"/run/portcullis.sock\""),
            example: "\"/tmp/gw-a.sock\"",
            doc: "Unix socket that `portcullis show` talks to.",
        },
        Key {
            name: "engines",
            kind: "list of \"vaes\", \"ipsec-mb\", \"portable\", \"cryptodev\", \"inline-crypto\"",
            presence: Default("[\"vaes\", \"ipsec-mb\", \"portable\"]"),
            example: "[\"ipsec-mb\", \"portable\"]",
            doc: "Crypto engines in order: an SA gets the first that has its algorithms on this machine. `vaes` is \
                  AES-GCM, and AES-CBC with HMAC-SHA1 or HMAC-SHA2-256, for CPUs with AVX-512 and VAES, `ipsec-mb` Intel's multi-buffer library, `portable` runs \
                  everywhere, `cryptodev` gives ESP to `crypto-devices`, `inline-crypto` has ports cipher AES-GCM as they send \
                  and receive, where their devices can, once an engine after it has done the first packets. `show sa` tells the engine, and why it is not an earlier one that should have it.",
        },
        Key {
            name: "key-log",
            kind: "path of a directory",
            presence: Optional,
            example: "\"/root/keys\"",
            doc: "For debugging: the keys of every negotiated SA are written down there, in files that Wireshark reads as its \
                  `ikev1_decryption_table` and `esp_sa`. Whoever reads them reads the traffic.",
        },
        Key {
            name: "event-log",
            kind: "path of a file",
            presence: Optional,
            example: "\"/var/log/portcullis/events.jsonl\"",
            doc: "Events are added to this file, one JSON object a line: tunnels that come up and go, refused peers, unknown \
                  SPIs, changes of policy. It is opened anew at SIGHUP and at every reload, so that it can be rotated.",
        },
        Key {
            name: "eal",
            kind: "list of strings",
            presence: Default("[]"),
            example: "[\"--no-huge\", \"-m\", \"512\"]",
            doc: "Further arguments for DPDK's environment abstraction layer.",
        },
        Key {
            name: "mbufs",
            kind: "256..16777215",
            presence: Default("16383"),
            example: "65535",
            doc: "Packet buffers in the pool; best is a power of two less one.",
        },
        Key {
            name: "mbuf-size",
            kind: "128..65407",
            presence: Default("2048"),
            example: "9216",
            doc: "Bytes of packet data one buffer holds, headroom not counted; larger packets take several.",
        },
        Key {
            name: "cycle-budget",
            kind: "boolean",
            presence: Default("false"),
            example: "true",
            doc: "Workers count the CPU cycles of each stage, for `portcullis show cycles`. Costs a few percent.",
        },
        Key {
            name: "crypto-devices",
            kind: "list of strings",
            presence: Default("[]"),
            example: "[\"0000:3d:00.0\", \"crypto_aesni_mb\"]",
            doc: "DPDK's crypto devices for the engine `cryptodev`, the preferred one first: PCI addresses, or virtual \
                  devices, whose names begin with `crypto_`.",
        },
        Key {
            name: "crypto-queue",
            kind: "1..32768",
            presence: Default("1024"),
            example: "256",
            doc: "Packets that one worker may have in one crypto device at once; more are dropped and counted as \
                  `engine-busy`.",
        },
    ],
};

/// `[metrics]`.
pub const METRICS: Table = Table {
    header: "[metrics]",
    doc: "Figures for Prometheus, over HTTP at `/metrics`. Nothing is served without this table.",
    keys: &[Key {
        name: "listen",
        kind: "address and port",
        presence: Required,
        example: "\"127.0.0.1:9469\"",
        doc: "Where to serve them. Whoever can connect reads the names and the traffic of all tunnels: an address other than \
              loopback is warned of. A reload moves it, or refuses the whole policy if the place is \
              taken.",
    }],
};

/// `[[port]]`.
pub const PORT: Table = Table {
    header: "[[port]]",
    doc: "A DPDK port and its untagged interface. It needs no address if it only carries VLANs.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among ports and VLANs",
            presence: Required,
            example: "\"wan\"",
            doc: "Name in logs, counters, routes and neighbours.",
        },
        Key {
            name: "device",
            kind: "string",
            presence: Required,
            example: "\"net_af_xdp0,iface=eth1\"",
            doc: "PCI address (`0000:01:00.0`) or virtual device (`net_...`) with its arguments, as DPDK spells them.",
        },
        Key {
            name: "side",
            kind: "`protected` or `unprotected`",
            presence: Required,
            example: "\"unprotected\"",
            doc: "Side of the IPsec boundary (RFC 4301 3.1): `protected` towards our networks, `unprotected` towards the peers.",
        },
        Key {
            name: "addresses",
            kind: "list of address/length",
            presence: Default("[]"),
            example: "[\"192.0.2.1/24\", \"2001:db8::1/64\"]",
            doc: "Our addresses with the length of the prefix that is on link.",
        },
        Key {
            name: "mac",
            kind: "unicast MAC address",
            presence: Optional,
            example: "\"02:00:00:00:00:01\"",
            doc: "Used instead of the device's own.",
        },
        Key {
            name: "class",
            kind: "`lan` or `remote-access`",
            presence: Default("\"lan\""),
            example: "\"remote-access\"",
            doc: "Kind of network, for rules with an `interface-class`.",
        },
        Key {
            name: "mtu",
            kind: "68..65535, with IPv6 from 1280",
            presence: Default("1500"),
            example: "9000",
            doc: "Largest IP packet in bytes (RFC 791 3.1, RFC 8200 5).",
        },
        Key {
            name: "capture",
            kind: "path",
            presence: Optional,
            example: "\"wire.pcap\"",
            doc: "pcap file that gets a copy of every frame of the port, both directions, VLANs included.",
        },
        Key {
            name: "vlan",
            kind: "array of tables",
            presence: Optional,
            example: "[]",
            doc: "Tagged interfaces on this port, each a `[[port.vlan]]` below its `[[port]]`.",
        },
    ],
};

/// `[[port.vlan]]`.
pub const VLAN: Table = Table {
    header: "[[port.vlan]]",
    doc: "An IEEE 802.1Q tagged interface on the `[[port]]` above it, with the same MAC address.",
    keys: &[
        Key {
            name: "name",
            kind: "string, unique among ports and VLANs",
            presence: Required,
            example: "\"lan10\"",
            doc: "Name in logs, counters, routes and neighbours.",
        },
        Key {
            name: "id",
            kind: "1..4094, unique on its port",
            presence: Required,
            example: "10",
            doc: "VLAN identifier.",
        },
        Key {
            name: "side",
            kind: "`protected` or `unprotected`",
            presence: Required,
            example: "\"protected\"",
            doc: "Side of the IPsec boundary; may differ from the port's.",
        },
        Key {
            name: "addresses",
            kind: "list of address/length",
            presence: Default("[]"),
            example: "[\"10.10.0.1/24\"]",
            doc: "As for a port.",
        },
        Key {
            name: "class",
            kind: "`lan` or `remote-access`",
            presence: Default("\"lan\""),
            example: "\"remote-access\"",
            doc: "Kind of network, for rules with an `interface-class`.",
        },
        Key {
            name: "mtu",
            kind: "68..65535, at most the port's",
            presence: Optional,
            example: "1400",
            doc: "As for a port; left out, it is the port's.",
        },
    ],
};

/// `[[route]]`.
pub const ROUTE: Table = Table {
    header: "[[route]]",
    doc: "A static route. The longest prefix wins; prefixes of our own addresses are on link without one.",
    keys: &[
        Key {
            name: "destination",
            kind: "prefix",
            presence: Required,
            example: "\"0.0.0.0/0\"",
            doc: "Where to. Bits behind the prefix length must be zero.",
        },
        Key {
            name: "via",
            kind: "address",
            presence: Optional,
            example: "\"192.0.2.254\"",
            doc: "Next hop, of the same family; left out, the destination is on link.",
        },
        Key {
            name: "port",
            kind: "name of a port or VLAN",
            presence: Optional,
            example: "\"wan\"",
            doc: "Where out. May be left out if `via` is on link of exactly one.",
        },
    ],
};

/// `[[neighbor]]`.
pub const NEIGHBOR: Table = Table {
    header: "[[neighbor]]",
    doc: "A neighbour that is not asked for: neither ARP nor neighbour discovery is sent for it.",
    keys: &[
        Key {
            name: "address",
            kind: "address",
            presence: Required,
            example: "\"192.0.2.254\"",
            doc: "Its IP address.",
        },
        Key {
            name: "mac",
            kind: "unicast MAC address",
            presence: Required,
            example: "\"02:00:00:00:00:fe\"",
            doc: "Its MAC address.",
        },
        Key {
            name: "port",
            kind: "name of a port or VLAN",
            presence: Optional,
            example: "\"wan\"",
            doc: "Where it is. May be left out if `address` is on link of exactly one.",
        },
    ],
};
