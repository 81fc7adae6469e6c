//! Keys of the store of a policy.

use super::Presence::{Default, Optional};
use super::{Key, Table};

/// `[store]`.
pub const STORE: Table = Table {
    header: "[store]",
    doc: "Where the policy comes from. With it, the file given to `portcullis run` keeps to what belongs to the \
          machine (`runtime`, `metrics`, `port`, `route`, `neighbor` and `store` itself), and everything else comes in the documents \
          of the store, which may have further routes and neighbours. The order is: the store; if it cannot be \
          had, the cache; if there is none, the policy that stands in the machine's own file; if none stands there, \
          all packets are discarded until there is a policy. Relative file names in a document are looked for beside \
          the machine's file. A reload moves to another store, to a first one or to none: if the new one brings a policy \
          that can come into force, and otherwise nothing changes. A store that goes away is an event, as is its return; \
          `portcullis show config` has its state.",
    keys: &[
        Key {
            name: "url",
            kind: "URL, `https://` only",
            presence: Optional,
            example: "\"https://policy.example/site-a.toml\"",
            doc: "The policy is polled from this server; redirections are refused. This or `path` must be there.",
        },
        Key {
            name: "ca",
            kind: "list of paths of PEM files",
            presence: Optional,
            example: "\"policy-ca.crt\"",
            doc: "Whom the server's certificate must come from; no other authority counts. Required with `url`.",
        },
        Key {
            name: "certificate",
            kind: "list of paths of PEM files",
            presence: Optional,
            example: "\"gateway.crt\"",
            doc: "This gateway's certificate and its issuers, for a server that wants to know who asks.",
        },
        Key {
            name: "private-key-file",
            kind: "path of a PEM file",
            presence: Optional,
            example: "\"gateway.key\"",
            doc: "Its private key (PKCS#8), closed to others.",
        },
        Key {
            name: "cache",
            kind: "path",
            presence: Default("\"/var/lib/portcullis/policy-cache\""),
            example: "\"/var/lib/portcullis/site-a\"",
            doc: "The last policy of the server is kept there, for when the server is away. Whoever edits it \
                  finds it refused.",
        },
        Key {
            name: "path",
            kind: "path",
            presence: Optional,
            example: "\"policy.d\"",
            doc: "A file with the policy, or a directory whose `*.toml` are joined in the order of their names.",
        },
        Key {
            name: "scopes",
            kind: "table",
            presence: Optional,
            example: "{ node = \"gw1\" }",
            doc: "What this gateway is part of, where the store has policies for each: of them it takes the nearest that is \
                  there. `url` or `path` says with `{scope}` where they are.",
        },
        Key {
            name: "before-policy",
            kind: "`closed` or `open`",
            presence: Default("\"closed\""),
            example: "\"closed\"",
            doc: "What happens before the first policy: all packets are discarded, or all pass in clear. `open` goes \
                  only with `profile = \"ws2003\"` in the machine's own file.",
        },
        Key {
            name: "poll-interval",
            kind: "1..604800 seconds",
            presence: Default("300"),
            example: "60",
            doc: "Time between two polls while no policy names its own, and after each failure.",
        },
    ],
};

/// `scopes`.
pub const SCOPES: Table = Table {
    header: "scopes",
    doc: "What this gateway is part of, in `[store]`, from the nearest to the widest: `{scope}` in `url` or `path` becomes \
          `node/NAME`, `group/NAME`, `site/NAME`, and `global` in the end. The first place that has a policy gives it, whole: \
          policies of several scopes are not mixed. A server must say 404 for a place without one; any other failure is one \
          of the store, and nothing wider is taken instead.",
    keys: &[
        Key {
            name: "node",
            kind: "name",
            presence: Optional,
            example: "\"gw1\"",
            doc: "This gateway alone.",
        },
        Key {
            name: "group",
            kind: "name",
            presence: Optional,
            example: "\"branches\"",
            doc: "Gateways with the same duty.",
        },
        Key {
            name: "site",
            kind: "name",
            presence: Optional,
            example: "\"berlin\"",
            doc: "All gateways of a site.",
        },
    ],
};
