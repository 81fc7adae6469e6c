//! NAT traversal in phase 1 (RFC 3947 3 and 4).
//!
//! ```text
//! HDR, KE, Ni, NAT-D, NAT-D  -->
//!                            <--  HDR, KE, Nr, NAT-D, NAT-D
//! HDR*#, IDii, HASH_I        -->        # from here on port 4500 if there is a NAT
//!                            <--  HDR*#, IDir, HASH_R
//! ```

use std::net::SocketAddr;

use portcullis_config::{IkeHash, NatTraversal};

use crate::InvalidMessage;
use crate::core::Path;
use crate::crypto::hash::hash;
use crate::crypto::keymat::Cookies;
use crate::wire::identification::octets;
use crate::wire::payload::kind;
use crate::wire::vendor_id::NatTraversalVersion;
use crate::wire::{Payloads, Writer};

/// Where NATs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    /// In front of us: we send keepalives.
    pub(crate) ours: bool,
    /// In front of the peer: its address may change.
    pub(crate) theirs: bool,
    /// ESP goes in UDP, and modes are numbered this way.
    pub(crate) udp: Option<NatTraversalVersion>,
}

/// HASH = HASH(CKY-I | CKY-R | IP | Port) (RFC 3947 3.2).
fn discovery(with: IkeHash, cookies: Cookies, end: SocketAddr) -> Vec<u8> {
    let port = end.port().to_be_bytes();
    let address = octets(end.ip());
    let parts = [&cookies.initiator[..], &cookies.responder, &address, &port];
    hash(with, &parts).as_ref().to_vec()
}

fn payload_kind(version: NatTraversalVersion) -> u8 {
    match version {
        NatTraversalVersion::Rfc3947 => kind::NAT_D,
        NatTraversalVersion::Draft => kind::NAT_D_DRAFT,
    }
}

/// Appends our NAT-D payloads: the peer's end as we see it, then ours. Where a NAT is to be pretended, ours is wrong.
pub(crate) fn write(
    writer: &mut Writer,
    version: NatTraversalVersion,
    policy: NatTraversal,
    (with, cookies, path): (IkeHash, Cookies, Path),
) {
    let mut source = discovery(with, cookies, path.local);
    if policy == NatTraversal::Force {
        source.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let kind = payload_kind(version);
    writer.payload(kind, &discovery(with, cookies, path.remote));
    writer.payload(kind, &source);
}

/// Tells from the peer's NAT-D payloads where NATs are: the first names our end, the others the peer's.
pub(crate) fn read(
    payloads: &Payloads<'_>,
    version: NatTraversalVersion,
    policy: NatTraversal,
    (with, cookies, path): (IkeHash, Cookies, Path),
) -> Result<Nat, InvalidMessage> {
    let mut hashes = payloads.all(payload_kind(version));
    let Some(first) = hashes.next() else {
        return Ok(Nat::default());
    };
    let ours = discovery(with, cookies, path.local);
    let theirs = discovery(with, cookies, path.remote);
    let forced = policy == NatTraversal::Force;
    let nat = Nat {
        ours: first != ours || forced,
        theirs: !hashes.any(|hash| hash == theirs),
        udp: None,
    };
    let found = nat.ours || nat.theirs;
    Ok(Nat {
        udp: found.then_some(version),
        ..nat
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::message::message;

    const COOKIES: Cookies = Cookies {
        initiator: [1; 8],
        responder: [2; 8],
    };

    fn path(local: &str, remote: &str) -> Path {
        Path {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    fn seen(sent: Path, policy: NatTraversal, received: Path) -> Nat {
        let version = NatTraversalVersion::Rfc3947;
        let mut writer = message(COOKIES, 2, 0);
        write(&mut writer, version, policy, (IkeHash::Sha1, COOKIES, sent));
        let payloads = Payloads::parse(20, writer.body()).unwrap();
        let detect = NatTraversal::Detect;
        read(
            &payloads,
            version,
            detect,
            (IkeHash::Sha1, COOKIES, received),
        )
        .unwrap()
    }

    #[test]
    fn finds_the_nat_on_either_side() {
        let (inside, outside, server) = ("10.0.0.5:500", "192.0.2.1:1024", "192.0.2.9:500");
        let none = seen(
            path(outside, server),
            NatTraversal::Detect,
            path(server, outside),
        );
        assert_eq!(none, Nat::default());
        // A client behind a NAT sends, a server behind one answers.
        let behind = seen(
            path(inside, server),
            NatTraversal::Detect,
            path(server, outside),
        );
        assert_eq!((behind.ours, behind.theirs), (false, true));
        let front = seen(
            path(server, outside),
            NatTraversal::Detect,
            path(inside, server),
        );
        assert_eq!((front.ours, front.theirs), (true, false));
        let forced = seen(
            path(outside, server),
            NatTraversal::Force,
            path(server, outside),
        );
        assert_eq!((forced.theirs, forced.udp.is_some()), (true, true));
    }

    #[test]
    fn hashes_as_the_rfc_says() {
        // printf '\1\1\1\1\1\1\1\1\2\2\2\2\2\2\2\2\300\0\2\1\1\364' | sha1sum
        let hash = discovery(IkeHash::Sha1, COOKIES, "192.0.2.1:500".parse().unwrap());
        let expected = "3ca7080caf618c11fe64bf2eb2d9795ba76b573d";
        let text: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(text, expected);
    }
}
