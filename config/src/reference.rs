//! The reference of the policy file. The reader takes a key only if it is in these tables, so what is
//! written for users cannot differ from what is read.

mod connection;
mod keys;
mod protection;
mod rules;
mod store;

use std::fmt::Write;

use crate::{Cipher, Group, Integrity};
pub use connection::{CHILD, CHILD_PROPOSAL, CONNECTION, DPD, IKE_PROPOSAL, POOL, XAUTH};
pub use keys::{METRICS, NEIGHBOR, PORT, ROOT, ROUTE, RUNTIME, VLAN};
pub use protection::{LIFETIME, SA, SPD, UDP_ENCAPSULATION};
pub use rules::{
    AUTHENTICATION, DEFAULT_RESPONSE, FILTER, FILTER_ACTION, FILTER_LIST, IKE, MANAGEMENT, POLICY,
    RULE,
};
pub use store::{SCOPES, STORE};

/// A table of the policy file.
#[derive(Debug)]
pub struct Table {
    /// How it is written: `[[sa]]`.
    pub header: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// The keys it may hold.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: &'static str,
    /// Whether it must be there.
    pub presence: Presence,
    /// A value, as TOML.
    pub example: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug)]
pub enum Presence {
    /// It must.
    Required,
    /// It may be left out; `doc` tells what that means.
    Optional,
    /// Left out, it is this, as TOML.
    Default(&'static str),
}

/// Every table but the outermost, in the order of the reference.
pub const TABLES: &[&Table] = &[
    &POLICY,
    &MANAGEMENT,
    &RUNTIME,
    &METRICS,
    &STORE,
    &SCOPES,
    &PORT,
    &VLAN,
    &ROUTE,
    &NEIGHBOR,
    &CONNECTION,
    &IKE_PROPOSAL,
    &XAUTH,
    &POOL,
    &DPD,
    &CHILD,
    &CHILD_PROPOSAL,
    &SA,
    &UDP_ENCAPSULATION,
    &LIFETIME,
    &SPD,
    &IKE,
    &FILTER_LIST,
    &FILTER,
    &FILTER_ACTION,
    &RULE,
    &DEFAULT_RESPONSE,
    &AUTHENTICATION,
];

/// The reference as Markdown: `config/REFERENCE.md`.
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    for table in TABLES {
        write_table(&mut out, table);
    }
    out.push_str(PROFILES);
    out.push_str(EXEMPTIONS);
    out.push_str("\n## Algorithms\n");
    write_ciphers(&mut out);
    write_integrity(&mut out);
    write_groups(&mut out);
    out
}

fn write_table(out: &mut String, table: &Table) {
    let _ = write!(out, "\n## `{}`\n\n{}\n\n", table.header, table.doc);
    out.push_str("| key | value | default | example | meaning |\n|---|---|---|---|---|\n");
    for key in table.keys {
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional => "-".to_owned(),
            Presence::Default(value) => format!("`{value}`"),
        };
        let (name, kind, example, doc) = (key.name, key.kind, key.example, key.doc);
        let _ = writeln!(
            out,
            "| `{name}` | {kind} | {default} | `{example}` | {doc} |"
        );
    }
}

fn write_ciphers(out: &mut String) {
    out.push_str(
        "\n`encryption`, for ESP. The salt or nonce stands behind the key, in the same string. \
         Those with an ICV are combined-mode: they authenticate too and take no `integrity`.\n\n\
         | name | key bytes | salt bytes | ICV bytes | warned of |\n|---|---|---|---|---|\n",
    );
    for (name, cipher) in Cipher::NAMES {
        let (salt, objection) = (cipher.salt_length(), cipher.objection().unwrap_or("-"));
        let key = cipher.key_length() - salt;
        let icv = cipher
            .aead_icv_length()
            .map_or("-".to_owned(), |n| n.to_string());
        let _ = writeln!(out, "| `{name}` | {key} | {salt} | {icv} | {objection} |");
    }
}

fn write_integrity(out: &mut String) {
    out.push_str(
        "\n`integrity`, for AH and for ESP with a cipher that does not authenticate. \
         The GMAC ones are for AH only; in ESP they are an `encryption`.\n\n\
         | name | key bytes | salt bytes | ICV field bytes | warned of |\n|---|---|---|---|---|\n",
    );
    for (name, integrity) in Integrity::NAMES {
        let (salt, objection) = (
            integrity.salt_length(),
            integrity.objection().unwrap_or("-"),
        );
        let (key, icv) = (integrity.key_length() - salt, integrity.icv_length());
        let _ = writeln!(out, "| `{name}` | {key} | {salt} | {icv} | {objection} |");
    }
}

fn write_groups(out: &mut String) {
    out.push_str(
        "\n`group` and `pfs`: Diffie-Hellman groups (RFC 2409 6, RFC 3526, RFC 5903, RFC 8031).\n\n\
         | name | warned of |\n|---|---|\n",
    );
    for (name, group) in Group::NAMES {
        let objection = group.objection().unwrap_or("-");
        let _ = writeln!(out, "| `{name}` | {objection} |");
    }
}

const INTRODUCTION: &str = "\
# The policy file

A policy file is TOML. It holds the ports, addresses and routes of one gateway, its security policy
database (SPD, RFC 4301 4.4.1) and its security associations (SAs). `portcullis check FILE` names every
mistake in it with line and column and starts nothing; `portcullis run --config FILE` refuses what `check`
refuses. The files in `config/examples/` are whole policies.

This text is written by the code that reads the file: a key that is not listed here is refused.

- A list of one may be written without brackets: `inbound = \"from-b\"`.
- A relative `key-file` is looked for beside the policy file. Paths in `device`, `capture`,
  `control-socket` and `event-log` are relative to the directory the program is started in.
- A file that holds keys must be closed to others: `chmod 600`. That goes for each `key-file` and for
  a policy file with a `key` or `integrity-key` in it; any permission for group or others is an error. A copy
  of an example that holds keys needs the same, since version control does not keep the mode.
- Traffic of the gateway itself follows the SPD like any other, except ARP, neighbour discovery and IKE
  (UDP ports 500 and 4500), which are always let through. What no SPD entry matches is discarded;
  in profile `ws2003` it passes in clear.
- What is protected may be written as entries (`[[spd]]`, with `[[connection]]` or `[[sa]]`), as rules (`[[rule]]`), from
  which entries and connections are made, or as both.

Keys written here are static, and each start of the program counts from sequence number 1. Counter modes (all
ciphers with a salt) lose their secrecy when a number comes twice under one key: RFC 8221 3 says SHOULD NOT to
manual keys and MUST NOT to counter modes with them. Use them in the laboratory, or with new keys for each start.
A peer with a replay window also refuses the numbers that it has seen: it needs new keys or a new SA then.
";

const PROFILES: &str = "
## Profiles

What is meant where a policy says nothing. Whatever is said counts in both.

| | `modern` | `ws2003` |
|---|---|---|
| phase 1 | AES-256 or AES-128, SHA2-256, ecp256 or modp2048 | 3DES, SHA-1 or MD5, modp1024 |
| SAs | AES-GCM, else AES-CBC with SHA2-256; extended sequence numbers with a peer that has them | 3DES with SHA-1 or MD5 |
| phase 1 ends after | 8 hours | 8 hours, any number of quick modes |
| SAs end after | 1 hour | 1 hour or 100 000 kilobytes; 300 seconds at least |
| SAs go without traffic after | never | 5 minutes |
| session and master key PFS | no | no |
| order of rules | as written | the filter that says most goes first |
| `clear-text` | only `never` | all |
| `default-exemption` | nothing but our own IKE | 3 |
| what matches nothing | is discarded | passes in clear, both ways: the entry `unmatched` |

The lists of Windows Server 2003 ended with DES. Here nobody gets DES who has not asked for it, but by the default response rule.
";

const EXEMPTIONS: &str = "
## Default exemptions

Entries that go before all others and let pass in clear, `default-exemption/...`.

| `default-exemption` | 0 | 1 | 2 | 3 |
|---|---|---|---|---|
| Kerberos: TCP and UDP port 88 at either end, one end being ours | yes | no | yes | no |
| RSVP: protocol 46, one end being ours | yes | no | yes | no |
| ISAKMP: UDP port 500 at both ends, one being ours | yes | yes | yes | yes |
| multicast (224.0.0.0/4) and broadcast, coming in | yes | yes | yes | yes |
| multicast and broadcast, going out | yes | yes | no | no |
| IPv6 | yes | no | no | no |

With Kerberos exempt whoever sends from port 88 reaches every port: warned of. This gateway forwards no multicast and no
broadcast, whatever the policy says. Our own IKE, on port 4500 too, passes before any entry is looked at.
";
