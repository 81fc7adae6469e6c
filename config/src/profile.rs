//! Profiles: what a policy means where it says nothing.

use crate::proposals::esp;
use crate::{
    AeadIcv, AesKey, ChildProposal, Cipher, Group, IkeCipher, IkeHash, IkeProposal, Integrity,
    Limits, Phase1Exchange,
};

/// A set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// What is sound today: AES-GCM, SHA-2, extended sequence numbers; what matches nothing is discarded.
    #[default]
    Modern,
    /// What Windows Server 2003 did: 3DES, SHA-1 and MD5, 1024 bit groups; what matches nothing passes.
    Ws2003,
}

/// Seconds that phase 1 lives: eight hours in both profiles.
const IKE_LIFETIME: u64 = 28_800;
/// Seconds that the SAs of quick mode live: an hour in both profiles.
const CHILD_LIFETIME: u64 = 3600;
/// Seconds in which a peer hears of a removal, or its operator follows, before what it sends is lost.
const MODERN_OVERLAP: u64 = 30;
/// Windows Server 2003: the SAs of quick mode also end after 100 000 kilobytes.
const WS2003_CHILD_BYTES: u64 = 100_000 * 1024;
/// Windows Server 2003: SAs go after five minutes without traffic.
const WS2003_IDLE: u64 = 300;

impl Profile {
    /// As policies spell them.
    pub const NAMES: &'static [(&'static str, Profile)] =
        &[("modern", Profile::Modern), ("ws2003", Profile::Ws2003)];

    /// As policies spell it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Modern => "modern",
            Profile::Ws2003 => "ws2003",
        }
    }

    /// What phase 1 may use, best first.
    pub(crate) fn ike_proposals(self, exchange: Phase1Exchange) -> Vec<IkeProposal> {
        let all: &[IkeProposal] = match self {
            Profile::Modern => &MODERN_IKE,
            Profile::Ws2003 => &WS2003_IKE,
        };
        // RFC 2409 5: the first message of aggressive mode has the key already, so the group is not negotiable.
        let fits = |p: &&IkeProposal| exchange == Phase1Exchange::Main || p.group.is_modp();
        all.iter().filter(fits).copied().collect()
    }

    /// Seconds that phase 1 lives.
    pub(crate) fn ike_lifetime(self) -> u64 {
        IKE_LIFETIME
    }

    /// What quick mode may use, best first. Extended sequence numbers need a replay window (RFC 4303 3.3.3).
    pub(crate) fn child_proposals(self, replay_window: bool) -> Vec<ChildProposal> {
        let esn = |p: &ChildProposal| ChildProposal { esn: true, ..*p };
        match self {
            Profile::Modern if replay_window => {
                // Behind the others: libreswan refuses an offer at the first attribute that it does not know, but stops
                // reading at what it takes.
                let extended = MODERN_CHILD.iter().take(2).map(esn);
                MODERN_CHILD.into_iter().chain(extended).collect()
            }
            Profile::Modern => MODERN_CHILD.to_vec(),
            Profile::Ws2003 => WS2003_CHILD.to_vec(),
        }
    }

    /// What the default response rule may use, best first.
    pub(crate) fn default_response(self) -> Vec<ChildProposal> {
        match self {
            Profile::Modern => self.child_proposals(true),
            Profile::Ws2003 => WS2003_RESPONSE.to_vec(),
        }
    }

    /// Limits at which the SAs of quick mode end.
    pub(crate) fn child_lifetime(self) -> Limits {
        Limits {
            seconds: Some(CHILD_LIFETIME),
            bytes: (self == Profile::Ws2003).then_some(WS2003_CHILD_BYTES),
            packets: None,
        }
    }

    /// Seconds for which inbound SAs of what is removed stay. In the documents they are left to expire: with the usual
    /// lifetime, none outlives this.
    pub(crate) fn inbound_overlap(self) -> u64 {
        match self {
            Profile::Modern => MODERN_OVERLAP,
            Profile::Ws2003 => CHILD_LIFETIME,
        }
    }

    /// Seconds without traffic after which the SAs of quick mode go.
    pub(crate) fn idle(self) -> Option<u64> {
        (self == Profile::Ws2003).then_some(WS2003_IDLE)
    }
}

const fn ike(key: AesKey, group: Group) -> IkeProposal {
    IkeProposal {
        cipher: IkeCipher::AesCbc(key),
        hash: IkeHash::Sha2_256,
        group,
    }
}

const MODERN_IKE: [IkeProposal; 3] = [
    ike(AesKey::Aes256, Group::Ecp256),
    ike(AesKey::Aes256, Group::Modp2048),
    ike(AesKey::Aes128, Group::Modp2048),
];

const MODERN_CHILD: [ChildProposal; 4] = [
    esp(Cipher::AesGcm(AesKey::Aes256, AeadIcv::Icv16), None),
    esp(Cipher::AesGcm(AesKey::Aes128, AeadIcv::Icv16), None),
    esp(
        Cipher::AesCbc(AesKey::Aes256),
        Some(Integrity::HmacSha2_256_128),
    ),
    esp(
        Cipher::AesCbc(AesKey::Aes128),
        Some(Integrity::HmacSha2_256_128),
    ),
];

const fn triple_des(hash: IkeHash) -> IkeProposal {
    IkeProposal {
        cipher: IkeCipher::TripleDesCbc,
        hash,
        group: Group::Modp1024,
    }
}

/// Its list ended with DES, which is not proposed to anybody who has not asked for it.
const WS2003_IKE: [IkeProposal; 2] = [triple_des(IkeHash::Sha1), triple_des(IkeHash::Md5)];

const WS2003_CHILD: [ChildProposal; 2] = [
    esp(Cipher::TripleDesCbc, Some(Integrity::HmacSha1_96)),
    esp(Cipher::TripleDesCbc, Some(Integrity::HmacMd5_96)),
];

const fn ah(integrity: Integrity) -> ChildProposal {
    ChildProposal {
        esp: None,
        ah: Some(integrity),
        esn: false,
    }
}

const WS2003_RESPONSE: [ChildProposal; 6] = [
    esp(Cipher::TripleDesCbc, Some(Integrity::HmacSha1_96)),
    esp(Cipher::TripleDesCbc, Some(Integrity::HmacMd5_96)),
    esp(Cipher::DesCbc, Some(Integrity::HmacSha1_96)),
    esp(Cipher::DesCbc, Some(Integrity::HmacMd5_96)),
    ah(Integrity::HmacSha1_96),
    ah(Integrity::HmacMd5_96),
];
