//! Phase 1: the ISAKMP proposal (RFC 2409 appendix A).

use aws_lc::elliptic::Curve;
use portcullis_config::{AesKey, Group, IkeCipher, IkeHash, IkeProposal};

use super::lifetime::{KILOBYTES, Lifetime, PHASE_1, SECONDS};
use super::{compare, named};
use crate::InvalidMessage;
use crate::crypto::signature::Algorithm;
use crate::show::{Difference, Mismatch};
use crate::wire::attribute::Attribute;
use crate::wire::protocol;
use crate::wire::security_association::{Proposal, SecurityAssociation, Transform};

/// KEY_IKE (RFC 2407 4.4.2.1).
const KEY_IKE: u8 = 1;

/// Attributes (RFC 2409 appendix A).
const ENCRYPTION: u16 = 1;
const HASH: u16 = 2;
const AUTHENTICATION: u16 = 3;
const GROUP: u16 = 4;
const LIFE_TYPE: u16 = PHASE_1.0;
const LIFE_DURATION: u16 = PHASE_1.1;
const KEY_LENGTH: u16 = 14;

const CIPHERS: &[(u64, &str)] = &[
    (1, "DES"),
    (2, "IDEA"),
    (3, "Blowfish"),
    (4, "RC5"),
    (5, "3DES"),
    (6, "CAST"),
    (7, "AES"),
    (8, "Camellia"),
];
const HASHES: &[(u64, &str)] = &[
    (1, "MD5"),
    (2, "SHA1"),
    (3, "Tiger"),
    (4, "SHA2-256"),
    (5, "SHA2-384"),
    (6, "SHA2-512"),
];
const METHODS: &[(u64, &str)] = &[
    (1, "pre-shared key"),
    (2, "DSS signatures"),
    (3, "RSA signatures"),
    (4, "RSA encryption"),
    (5, "revised RSA encryption"),
    (9, "ECDSA with P-256"),
    (10, "ECDSA with P-384"),
    (11, "ECDSA with P-521"),
    (64221, "hybrid RSA, initiator"),
    (64222, "hybrid RSA, responder"),
    (65001, "XAUTH with pre-shared key, initiator"),
    (65002, "XAUTH with pre-shared key, responder"),
    (65005, "XAUTH with RSA, initiator"),
    (65006, "XAUTH with RSA, responder"),
];

/// Authentication methods (RFC 2409 appendix A, RFC 4754 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    PreSharedKey,
    RsaSignatures,
    Ecdsa256,
    Ecdsa384,
    Ecdsa521,
}

impl Method {
    /// The method that signs with such a key.
    pub(crate) fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rsa(_) => Method::RsaSignatures,
            Algorithm::Ecdsa(Curve::P256) => Method::Ecdsa256,
            Algorithm::Ecdsa(Curve::P384) => Method::Ecdsa384,
            Algorithm::Ecdsa(Curve::P521) => Method::Ecdsa521,
        }
    }

    /// The method's number; `None` where a user's proof follows that it has no number for.
    pub(crate) fn number(self, user: Option<User>) -> Option<u16> {
        let Some(User { initiates, hybrid }) = user else {
            return Some(match self {
                Method::PreSharedKey => 1,
                Method::RsaSignatures => 3,
                Method::Ecdsa256 => 9,
                Method::Ecdsa384 => 10,
                Method::Ecdsa521 => 11,
            });
        };
        // XAUTHInit.. and HybridInit..; ..Resp.. is the next number.
        let initiator = match (self, hybrid) {
            (Method::PreSharedKey, false) => 65001,
            (Method::RsaSignatures, false) => 65005,
            (Method::RsaSignatures, true) => 64221,
            _ => return None,
        };
        Some(initiator + u16::from(!initiates))
    }
}

/// A user who has to prove themselves after phase 1 (draft-beaulieu-ike-xauth-02 7.2,
/// draft-ietf-ipsec-isakmp-hybrid-auth-05 3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Theirs is the end that initiates.
    pub(crate) initiates: bool,
    /// In phase 1 their end proves nothing.
    pub(crate) hybrid: bool,
}

/// What a connection allows in phase 1.
pub(crate) struct Policy<'a> {
    pub(crate) proposals: &'a [IkeProposal],
    /// Number of the authentication method.
    pub(crate) method: u16,
    pub(crate) lifetime: Lifetime,
}

/// What both agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) proposal: IkeProposal,
    /// What the initiator offered.
    pub(crate) lifetime: Lifetime,
    /// The choice, in the initiator's words (RFC 2409 5: it comes back as it was offered).
    pub(crate) answer: SecurityAssociation,
}

/// An attribute that may be missing.
type Number = Option<u64>;

/// A transform, as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Offer {
    cipher: Number,
    key_length: Number,
    hash: Number,
    method: Number,
    group: Number,
    seconds: Number,
    kilobytes: Number,
    /// Attributes that nobody here understands: they change the meaning, so that the transform is refused.
    unknown: Number,
}

impl Offer {
    fn read(transform: &Transform) -> Result<Self, InvalidMessage> {
        let mut offer = Offer::default();
        let mut life_type = None;
        for attribute in &transform.attributes {
            let value = Some(attribute.as_number()?);
            match attribute.kind {
                ENCRYPTION => offer.cipher = value,
                HASH => offer.hash = value,
                AUTHENTICATION => offer.method = value,
                GROUP => offer.group = value,
                LIFE_TYPE => life_type = value,
                LIFE_DURATION if life_type == Some(SECONDS) => offer.seconds = value,
                LIFE_DURATION if life_type == Some(KILOBYTES) => offer.kilobytes = value,
                KEY_LENGTH => offer.key_length = value,
                other => offer.unknown = Some(u64::from(other)),
            }
        }
        if transform.id != KEY_IKE {
            offer.unknown = Some(u64::from(transform.id));
        }
        Ok(offer)
    }

    fn of(proposal: &IkeProposal, method: u16) -> Self {
        let (cipher, key_length) = cipher_number(proposal.cipher);
        Offer {
            cipher: Some(u64::from(cipher)),
            key_length: key_length.map(u64::from),
            hash: Some(u64::from(hash_number(proposal.hash))),
            method: Some(method.into()),
            group: Some(u64::from(group_number(proposal.group))),
            seconds: None,
            kilobytes: None,
            unknown: None,
        }
    }

    /// The first attribute in which the peer's offer is not ours.
    fn difference(&self, ours: &Offer) -> Option<Difference> {
        let number = |n: &Number| n.map_or("none".to_owned(), |n| n.to_string());
        let difference = compare("encryption", &self.cipher, &ours.cipher, |n| {
            named(CIPHERS, *n)
        })
        .or_else(|| compare("key length", &self.key_length, &ours.key_length, number))
        .or_else(|| compare("hash", &self.hash, &ours.hash, |n| named(HASHES, *n)))
        .or_else(|| {
            compare("authentication", &self.method, &ours.method, |n| {
                named(METHODS, *n)
            })
        })
        .or_else(|| compare("group", &self.group, &ours.group, number))
        .or_else(|| compare("attribute", &self.unknown, &ours.unknown, number))?;
        Some(Difference {
            ours: ours.describe(),
            ..difference
        })
    }

    fn describe(&self) -> String {
        let bits = self.key_length.map_or(String::new(), |n| format!("-{n}"));
        let cipher = named(CIPHERS, self.cipher);
        let hash = named(HASHES, self.hash);
        let method = named(METHODS, self.method);
        let group = self.group.map_or("none".to_owned(), |n| n.to_string());
        format!("{cipher}{bits}, {hash}, group {group}, {method}")
    }
}

impl Policy<'_> {
    /// The offer of an initiator: one proposal, a transform for each of ours (RFC 2409 5: one proposal only).
    pub(crate) fn offer(&self) -> SecurityAssociation {
        let transforms = self
            .proposals
            .iter()
            .zip(1..=u8::MAX)
            .map(|(proposal, number)| {
                let (cipher, key_length) = cipher_number(proposal.cipher);
                let mut attributes = vec![Attribute::basic(ENCRYPTION, cipher)];
                attributes.extend(key_length.map(|bits| Attribute::basic(KEY_LENGTH, bits)));
                attributes.extend([
                    Attribute::basic(HASH, hash_number(proposal.hash)),
                    Attribute::basic(AUTHENTICATION, self.method),
                    Attribute::basic(GROUP, group_number(proposal.group)),
                ]);
                attributes.extend(self.lifetime.attributes(PHASE_1));
                Transform {
                    number,
                    id: KEY_IKE,
                    attributes,
                }
            });
        SecurityAssociation {
            proposals: vec![Proposal {
                number: 1,
                protocol: protocol::ISAKMP,
                spi: Vec::new(),
                transforms: transforms.collect(),
            }],
        }
    }

    /// The responder's choice: the first of ours that the peer offers.
    pub(crate) fn choose(
        &self,
        offered: &SecurityAssociation,
    ) -> Result<Result<Chosen, Vec<Mismatch>>, InvalidMessage> {
        let mut offers = Vec::new();
        for proposal in &offered.proposals {
            for transform in &proposal.transforms {
                offers.push((proposal, transform, Offer::read(transform)?));
            }
        }
        for ours in self.proposals {
            let wanted = Offer::of(ours, self.method);
            let found = offers.iter().find(|(proposal, _, offer)| {
                proposal.protocol == protocol::ISAKMP && offer.difference(&wanted).is_none()
            });
            if let Some((proposal, transform, offer)) = found {
                let answer = Proposal {
                    transforms: vec![(*transform).clone()],
                    ..(*proposal).clone()
                };
                return Ok(Ok(Chosen {
                    proposal: *ours,
                    lifetime: Lifetime::said(offer.seconds, offer.kilobytes),
                    answer: SecurityAssociation {
                        proposals: vec![answer],
                    },
                }));
            }
        }
        let mismatches = offers.iter().map(|(_, _, offer)| Mismatch {
            offered: offer.describe(),
            differences: self.differences(offer),
        });
        Ok(Err(mismatches.collect()))
    }

    fn differences(&self, offer: &Offer) -> Vec<Difference> {
        let ours = self.proposals.iter().map(|p| Offer::of(p, self.method));
        ours.filter_map(|ours| offer.difference(&ours)).collect()
    }

    /// What the responder chose of our offer; `None` if it changed it (requirement 72).
    pub(crate) fn chosen(
        &self,
        answer: &SecurityAssociation,
    ) -> Result<Option<Chosen>, InvalidMessage> {
        let [proposal] = &answer.proposals[..] else {
            return Ok(None);
        };
        let [transform] = &proposal.transforms[..] else {
            return Ok(None);
        };
        let offer = Offer::read(transform)?;
        let ours = self
            .proposals
            .iter()
            .find(|ours| offer.difference(&Offer::of(ours, self.method)).is_none());
        // RFC 2409 5: neither is the lifetime changed; one that is not repeated is as we said it.
        let same = |theirs: Number, ours: Number| {
            let ours = ours.map(|ours| ours.min(u32::MAX.into()));
            theirs.is_none() || theirs == ours
        };
        let same_life = same(offer.seconds, self.lifetime.seconds)
            && same(offer.kilobytes, self.lifetime.kilobytes);
        Ok(ours
            .filter(|_| proposal.protocol == protocol::ISAKMP && same_life)
            .map(|ours| Chosen {
                proposal: *ours,
                lifetime: Lifetime::said(offer.seconds, offer.kilobytes),
                answer: answer.clone(),
            }))
    }
}

fn cipher_number(cipher: IkeCipher) -> (u16, Option<u16>) {
    match cipher {
        IkeCipher::TripleDesCbc => (5, None),
        IkeCipher::AesCbc(AesKey::Aes128) => (7, Some(128)),
        IkeCipher::AesCbc(AesKey::Aes192) => (7, Some(192)),
        IkeCipher::AesCbc(AesKey::Aes256) => (7, Some(256)),
    }
}

fn hash_number(hash: IkeHash) -> u16 {
    match hash {
        IkeHash::Md5 => 1,
        IkeHash::Sha1 => 2,
        IkeHash::Sha2_256 => 4,
        IkeHash::Sha2_384 => 5,
        IkeHash::Sha2_512 => 6,
    }
}

/// The group's number with IANA, in both phases.
pub(super) fn group_number(group: Group) -> u16 {
    match group {
        Group::Modp768 => 1,
        Group::Modp1024 => 2,
        Group::Modp1536 => 5,
        Group::Modp2048 => 14,
        Group::Modp3072 => 15,
        Group::Modp4096 => 16,
        Group::Modp6144 => 17,
        Group::Modp8192 => 18,
        Group::Ecp256 => 19,
        Group::Ecp384 => 20,
        Group::Ecp521 => 21,
        Group::X25519 => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRONG: IkeProposal = IkeProposal {
        cipher: IkeCipher::AesCbc(AesKey::Aes256),
        hash: IkeHash::Sha2_256,
        group: Group::Ecp256,
    };
    const OLD: IkeProposal = IkeProposal {
        cipher: IkeCipher::TripleDesCbc,
        hash: IkeHash::Sha1,
        group: Group::Modp1024,
    };

    fn policy(proposals: &[IkeProposal]) -> Policy<'_> {
        Policy {
            proposals,
            method: 1,
            lifetime: Lifetime::said(Some(28800), None),
        }
    }

    #[test]
    fn an_offer_is_as_the_rfc_numbers_it() {
        let offer = policy(&[STRONG]).offer().encode();
        let expected = [
            &[0, 0, 0, 1, 0, 0, 0, 1][..],
            &[0, 0, 0, 44, 1, 1, 0, 1],
            &[0, 0, 0, 36, 1, 1, 0, 0],
            // AES (7) with 256 bits, SHA2-256 (4), pre-shared key (1), group 19, seconds (1), 28800.
            &[0x80, 1, 0, 7, 0x80, 14, 1, 0, 0x80, 2, 0, 4],
            &[0x80, 3, 0, 1, 0x80, 4, 0, 19],
            &[0x80, 11, 0, 1, 0x80, 12, 0x70, 0x80],
        ];
        assert_eq!(offer, expected.concat());
    }

    #[test]
    fn methods_with_a_user_have_numbers_of_their_own() {
        // draft-beaulieu-ike-xauth-02 7.2, draft-ietf-ipsec-isakmp-hybrid-auth-05 3.2.1.
        let number =
            |method: Method, initiates, hybrid| method.number(Some(User { initiates, hybrid }));
        assert_eq!(number(Method::PreSharedKey, true, false), Some(65001));
        assert_eq!(number(Method::PreSharedKey, false, false), Some(65002));
        assert_eq!(number(Method::RsaSignatures, true, false), Some(65005));
        assert_eq!(number(Method::RsaSignatures, false, false), Some(65006));
        assert_eq!(number(Method::RsaSignatures, true, true), Some(64221));
        assert_eq!(number(Method::RsaSignatures, false, true), Some(64222));
        assert_eq!(number(Method::Ecdsa256, true, false), None);
        // Whoever asks for a user does not do without.
        let with = |method| Policy {
            method,
            ..policy(&[STRONG])
        };
        for (ours, theirs) in [
            (1, 1),
            (1, 65001),
            (65001, 1),
            (65001, 65002),
            (65001, 65001),
        ] {
            let chosen = with(ours).choose(&with(theirs).offer()).unwrap();
            assert_eq!(chosen.is_ok(), ours == theirs);
        }
    }

    #[test]
    fn the_responder_prefers_its_own_order() {
        let offered = policy(&[OLD, STRONG]).offer();
        let chosen = policy(&[STRONG, OLD]).choose(&offered).unwrap().unwrap();
        assert_eq!(chosen.proposal, STRONG);
        assert_eq!(chosen.lifetime, Lifetime::said(Some(28800), None));
        let seen = policy(&[OLD, STRONG]).chosen(&chosen.answer).unwrap();
        assert_eq!(seen.map(|c| c.proposal), Some(STRONG));
    }

    #[test]
    fn no_seconds_are_no_limit() {
        let endless = Policy {
            lifetime: Lifetime {
                seconds: Some(0),
                kilobytes: None,
            },
            ..policy(&[STRONG])
        };
        let chosen = policy(&[STRONG]).choose(&endless.offer()).unwrap().unwrap();
        assert_eq!(chosen.lifetime, Lifetime::default());
    }

    #[test]
    fn a_refusal_names_the_attribute() {
        let offered = policy(&[OLD]).offer();
        let mismatches = policy(&[STRONG]).choose(&offered).unwrap().unwrap_err();
        let [mismatch] = &mismatches[..] else {
            panic!("{mismatches:?}");
        };
        assert_eq!(
            mismatch.to_string(),
            "3DES, SHA1, group 2, pre-shared key: encryption 3DES, not AES of AES-256, SHA2-256, group 19, pre-shared key"
        );
        let longer = IkeProposal {
            cipher: IkeCipher::AesCbc(AesKey::Aes128),
            ..STRONG
        };
        let offered = policy(&[longer]).offer();
        let mismatches = policy(&[STRONG]).choose(&offered).unwrap().unwrap_err();
        assert_eq!(mismatches[0].differences[0].attribute, "key length");
    }

    #[test]
    fn a_changed_answer_is_refused() {
        let ours = policy(&[STRONG]);
        assert_eq!(ours.chosen(&policy(&[OLD]).offer()), Ok(None));
        let longer = Policy {
            lifetime: Lifetime::said(Some(86400), None),
            ..policy(&[STRONG])
        };
        assert_eq!(ours.chosen(&longer.offer()), Ok(None));
        assert_eq!(ours.chosen(&policy(&[STRONG, OLD]).offer()), Ok(None));
    }
}
