//! The algorithms of IKE by name, and what speaks against them.

use std::fmt;

use crate::reader::{Item, Section};
use crate::reference::{CHILD_PROPOSAL, IKE_PROPOSAL};
use crate::sa::check_esp;
use crate::{
    AesKey, ChildProposal, Cipher, Group, IkeCipher, IkeHash, IkeProposal, Integrity,
    Phase1Exchange, Profile, Transform,
};

impl IkeCipher {
    /// Every cipher of phase 1 with its name in a policy file.
    pub const NAMES: &'static [(&'static str, IkeCipher)] = &[
        ("aes128-cbc", IkeCipher::AesCbc(AesKey::Aes128)),
        ("aes192-cbc", IkeCipher::AesCbc(AesKey::Aes192)),
        ("aes256-cbc", IkeCipher::AesCbc(AesKey::Aes256)),
        ("3des-cbc", IkeCipher::TripleDesCbc),
    ];

    /// Why it should not be used.
    pub const fn objection(self) -> Option<&'static str> {
        match self {
            IkeCipher::TripleDesCbc => Some("legacy: slow, and its 8 byte block leaks"),
            IkeCipher::AesCbc(_) => None,
        }
    }
}

impl IkeHash {
    /// Every hash of phase 1 with its name in a policy file.
    pub const NAMES: &'static [(&'static str, IkeHash)] = &[
        ("sha2-256", IkeHash::Sha2_256),
        ("sha2-384", IkeHash::Sha2_384),
        ("sha2-512", IkeHash::Sha2_512),
        ("sha1", IkeHash::Sha1),
        ("md5", IkeHash::Md5),
    ];

    /// Why it should not be used.
    pub const fn objection(self) -> Option<&'static str> {
        match self {
            IkeHash::Md5 => Some("legacy: MD5 is broken"),
            _ => None,
        }
    }
}

impl Group {
    /// Every Diffie-Hellman group with its name in a policy file.
    pub const NAMES: &'static [(&'static str, Group)] = &[
        ("x25519", Group::X25519),
        ("ecp256", Group::Ecp256),
        ("ecp384", Group::Ecp384),
        ("ecp521", Group::Ecp521),
        ("modp2048", Group::Modp2048),
        ("modp3072", Group::Modp3072),
        ("modp4096", Group::Modp4096),
        ("modp6144", Group::Modp6144),
        ("modp8192", Group::Modp8192),
        ("modp1536", Group::Modp1536),
        ("modp1024", Group::Modp1024),
        ("modp768", Group::Modp768),
    ];

    /// True for the groups of numbers modulo a prime.
    pub(crate) const fn is_modp(self) -> bool {
        !matches!(
            self,
            Group::Ecp256 | Group::Ecp384 | Group::Ecp521 | Group::X25519
        )
    }

    /// Why it should not be used.
    pub const fn objection(self) -> Option<&'static str> {
        match self {
            Group::Modp768 => Some("legacy: 768 bits have been broken"),
            Group::Modp1024 => {
                Some("legacy: 1024 bits are within reach (RFC 8247 2.4 says SHOULD NOT)")
            }
            Group::Modp1536 => {
                Some("legacy: 1536 bits will not last (RFC 8247 2.4 says SHOULD NOT)")
            }
            _ => None,
        }
    }
}

macro_rules! named {
    ($($kind:ident),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let found = Self::NAMES.iter().find(|(_, value)| value == self);
                f.write_str(found.map_or("unnamed", |(name, _)| name))
            }
        }
    )*};
}

named!(IkeCipher, IkeHash, Group);

/// ESP without extended sequence numbers.
pub(crate) const fn esp(cipher: Cipher, integrity: Option<Integrity>) -> ChildProposal {
    ChildProposal {
        esp: Some(Transform::Esp(cipher, integrity)),
        ah: None,
        esn: false,
    }
}

/// The proposals of a connection.
pub(crate) fn read_ike(
    section: Section<'_>,
    exchange: Phase1Exchange,
    profile: Profile,
) -> Option<Vec<IkeProposal>> {
    // RFC 2409 5: the first message of aggressive mode has the key already, so the group is not negotiable.
    let one_group = exchange == Phase1Exchange::Aggressive;
    let Some(list) = section.get("proposals") else {
        return Some(profile.ike_proposals(exchange));
    };
    let found: Vec<_> = tables(list).map(read_ike_proposal).collect();
    let found = found.into_iter().collect::<Option<Vec<_>>>()?;
    if let Some(first) = found.first().filter(|_| one_group) {
        if found.iter().any(|p| p.group != first.group) {
            list.error("expected one group in all proposals: aggressive mode cannot negotiate it (RFC 2409 5)");
        }
    }
    some(found, list)
}

fn tables(list: Item<'_>) -> impl Iterator<Item = Item<'_>> {
    list.members()
}

fn some<T>(found: Vec<T>, list: Item<'_>) -> Option<Vec<T>> {
    if found.is_empty() {
        list.error("expected at least one proposal; leave the key out for the usual ones");
        return None;
    }
    Some(found)
}

fn read_ike_proposal(item: Item<'_>) -> Option<IkeProposal> {
    let section = item.section(&IKE_PROPOSAL)?;
    let cipher = section
        .require("encryption")
        .and_then(|i| i.choice(IkeCipher::NAMES));
    let hash = section
        .require("hash")
        .and_then(|i| i.choice(IkeHash::NAMES));
    let group = read_group(section.require("group"));
    let warn = |key, name: String, objection: Option<&str>| {
        if let Some(objection) = objection {
            section.warning(key, format!("{name}: {objection}"));
        }
    };
    if let Some(cipher) = cipher {
        warn("encryption", cipher.to_string(), cipher.objection());
    }
    if let Some(hash) = hash {
        warn("hash", hash.to_string(), hash.objection());
    }
    Some(IkeProposal {
        cipher: cipher?,
        hash: hash?,
        group: group?,
    })
}

/// A Diffie-Hellman group.
pub(crate) fn read_group(item: Option<Item<'_>>) -> Option<Group> {
    let item = item?;
    let group = item.choice(Group::NAMES)?;
    if let Some(objection) = group.objection() {
        item.warning(format!("{group}: {objection}"));
    }
    Some(group)
}

/// The proposals of a child, if it has its own.
pub(crate) fn read_child(section: Section<'_>) -> Option<Option<Vec<ChildProposal>>> {
    let Some(list) = section.get("proposals") else {
        return Some(None);
    };
    let found: Vec<_> = tables(list).map(read_child_proposal).collect();
    let found = found.into_iter().collect::<Option<Vec<_>>>()?;
    let ciphers = found.iter().map(|proposal| match proposal.esp {
        Some(Transform::Esp(cipher, _)) => cipher,
        _ => Cipher::Null,
    });
    warn_of_fallback(list, ciphers);
    some(found, list).map(Some)
}

/// A responder may take any proposal, and one that lacks the first gets the next: in a list that grows weaker nobody
/// notices what protection there is in the end.
fn warn_of_fallback(list: Item<'_>, ciphers: impl Iterator<Item = Cipher>) {
    let strength = |cipher: Cipher| match cipher {
        Cipher::Null | Cipher::AesGmac(_) => 0,
        Cipher::DesCbc => 1,
        Cipher::TripleDesCbc => 2,
        _ => 3,
    };
    let mut best: Option<Cipher> = None;
    for (item, cipher) in list.members().zip(ciphers) {
        match best {
            Some(best) if strength(cipher) < strength(best) => item.warning(format!(
                "a peer without {best} falls back to this weaker one, and nobody notices"
            )),
            _ => best = Some(cipher),
        }
    }
}

fn read_child_proposal(item: Item<'_>) -> Option<ChildProposal> {
    let section = item.section(&CHILD_PROPOSAL)?;
    let cipher = section.get("encryption").map(|i| i.choice(Cipher::NAMES));
    let [integrity, ah] = ["integrity", "ah"].map(|key| read_integrity(section, key));
    let esn = section.get("esn").map(Item::boolean);
    if cipher.is_none() && ah.is_none() {
        section.error("encryption", "expected `encryption` for ESP, or `ah`");
        return None;
    }
    if cipher.is_none() {
        section.refuse(
            "integrity",
            "expected `encryption` with it; for AH it is `ah`",
        );
    }
    if cipher == Some(Some(Cipher::ChaCha20Poly1305)) {
        section.error(
            "encryption",
            "IKEv1 has no name for chacha20-poly1305 (RFC 7634 5)",
        );
    }
    let esp = match cipher {
        Some(cipher) => {
            check_esp(section, cipher?, integrity.flatten());
            let integrity = match integrity {
                Some(integrity) => Some(integrity?),
                None => None,
            };
            Some(Transform::Esp(cipher?, integrity))
        }
        None => None,
    };
    let ah = match ah {
        Some(ah) => Some(ah?),
        None => None,
    };
    let esn = match esn {
        Some(esn) => esn?,
        None => false,
    };
    Some(ChildProposal { esp, ah, esn })
}

/// An integrity algorithm that IKEv1 can name; the inner `None` if it could not be read.
fn read_integrity(section: Section<'_>, key: &'static str) -> Option<Option<Integrity>> {
    let item = section.get(key)?;
    let integrity = item.choice(Integrity::NAMES);
    if integrity == Some(Integrity::AesCmac96) {
        item.error("IKEv1 has no name for aes-cmac-96");
    } else if let Some((integrity, objection)) = integrity.and_then(|i| Some((i, i.objection()?))) {
        item.warning(format!("{integrity}: {objection}"));
    }
    Some(integrity)
}
