//! What a fuzz target runs inside of this crate: bytes to payloads and proposals. Whatever can be read is written, and
//! read again as the same.

use portcullis_config::{
    AesKey, ChildProposal, Cipher, Group, IkeCipher, IkeHash, IkeProposal, Integrity, Limits, Mode,
    Transform,
};

use crate::proposal::lifetime::{Lifetime, PHASE_2};
use crate::proposal::{ike, ipsec};
use crate::wire::configuration::Configuration;
use crate::wire::delete::Delete;
use crate::wire::fragment::Fragment;
use crate::wire::identification::Identification;
use crate::wire::notification::{Notification, notify};
use crate::wire::payload::{Payload, kind};
use crate::wire::security_association::SecurityAssociation;
use crate::wire::{Payloads, certificate, nat_original_address};

/// Reads a chain of payloads, whose first kind is the first byte, and each payload as what it is.
pub fn payloads(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else {
        return;
    };
    if let Ok(payloads) = Payloads::parse(*first, bytes) {
        payloads.iter().for_each(payload);
    }
}

fn payload(Payload { kind, body }: Payload<'_>) {
    match kind {
        kind::SA => {
            if let Ok(sa) = SecurityAssociation::parse(body) {
                assert_eq!(SecurityAssociation::parse(&sa.encode()).as_ref(), Ok(&sa));
                proposals(&sa);
            }
        }
        kind::IDENTIFICATION => {
            if let Ok(id) = Identification::parse(body) {
                assert_eq!(id.encode(), body);
                identification(&id);
            }
        }
        kind::CERTIFICATE | kind::CERTIFICATE_REQUEST => {
            if let Ok((encoding, data)) = certificate::parse(body) {
                assert_eq!(certificate::encode(encoding, data), body);
            }
        }
        kind::NOTIFICATION => {
            if let Ok(notification) = Notification::parse(body) {
                let again = Notification::parse(&notification.encode());
                assert_eq!(again.as_ref(), Ok(&notification));
                if notification.kind == notify::RESPONDER_LIFETIME {
                    lifetime(&notification.data);
                }
            }
        }
        kind::DELETE => {
            if let Ok(delete) = Delete::parse(body) {
                if !delete.spis.is_empty() {
                    assert_eq!(delete.encode(), body);
                }
            }
        }
        kind::CONFIGURATION => {
            if let Ok(configuration) = Configuration::parse(body) {
                let again = Configuration::parse(&configuration.encode());
                assert_eq!(again.as_ref(), Ok(&configuration));
            }
        }
        kind::NAT_OA => {
            if let Ok(address) = nat_original_address::parse(body) {
                let again = nat_original_address::parse(&nat_original_address::encode(address));
                assert_eq!(again, Ok(address));
            }
        }
        kind::FRAGMENT => {
            if let Ok(fragment) = Fragment::parse(body) {
                assert_eq!(Fragment::parse(&fragment.encode()), Ok(fragment));
            }
        }
        _ => {}
    }
}

fn identification(id: &Identification) {
    if let Ok(identity) = id.identity() {
        let written = Identification::of_identity(&identity);
        assert_eq!(written.identity(), Ok(identity));
    }
    if let Ok(range) = id.range() {
        assert!(range.start <= range.end);
        let written = Identification::of_traffic(range, id.protocol, id.port);
        assert_eq!(written.range(), Ok(range));
    }
}

fn lifetime(data: &[u8]) {
    let Ok(read) = Lifetime::parse(data) else {
        return;
    };
    // We write no more than four bytes.
    let mut both = read.seconds.iter().chain(&read.kilobytes);
    if both.all(|said| *said <= u64::from(u32::MAX)) {
        assert_eq!(Lifetime::parse(&read.encode(PHASE_2)), Ok(read));
    }
}

/// Chooses of what a peer offers. The choice is one transform for each protocol, and one that we would have offered.
fn proposals(sa: &SecurityAssociation) {
    let ours = |cipher, hash, group| IkeProposal {
        cipher,
        hash,
        group,
    };
    let ike = ike::Policy {
        proposals: &[
            ours(
                IkeCipher::AesCbc(AesKey::Aes256),
                IkeHash::Sha2_256,
                Group::Modp2048,
            ),
            ours(IkeCipher::TripleDesCbc, IkeHash::Sha1, Group::Modp1024),
        ],
        method: 1,
        lifetime: Lifetime::said(Some(28_800), None),
    };
    if let Ok(Ok(chosen)) = ike.choose(sa) {
        assert!(ike.proposals.contains(&chosen.proposal));
        assert!(matches!(&chosen.answer.proposals[..], [one] if one.transforms.len() == 1));
    }
    let _ = ike.chosen(sa);
    let esp = Transform::Esp(
        Cipher::AesCbc(AesKey::Aes128),
        Some(Integrity::HmacSha2_256_128),
    );
    let child = |esp, ah| ChildProposal {
        esp,
        ah,
        esn: false,
    };
    let ipsec = ipsec::Policy {
        proposals: &[
            child(Some(esp), None),
            child(Some(esp), Some(Integrity::HmacSha1_96)),
            child(None, Some(Integrity::HmacSha1_96)),
        ],
        mode: Mode::Tunnel,
        udp: None,
        pfs: None,
        hard: Limits::default(),
    };
    if let Ok(Ok(chosen)) = ipsec.choose(sa) {
        assert!(ipsec.proposals.contains(&chosen.proposal));
        let spis = ipsec::Spis {
            esp: Some(0x1000),
            ah: Some(0x1001),
        };
        let answer = chosen.answer(spis);
        assert!(answer.proposals.iter().all(|p| p.transforms.len() == 1));
        assert_eq!(SecurityAssociation::parse(&answer.encode()), Ok(answer));
    }
    let _ = ipsec.chosen(sa);
}

#[cfg(test)]
#[allow(unreachable_pub)] // public for the fuzz targets
#[path = "../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn corpus() {
    replay::replay("tests/fuzz/corpus/ike_payloads", 2000, payloads);
}
