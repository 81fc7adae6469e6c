//! Connections: which peers IKE talks to, how both prove who they are, and what is negotiated. Together they are
//! the peer authorization database (RFC 4301 4.4.3).

use std::net::IpAddr;

use crate::{AddressRange, Integrity, Limits, Mode, RemoteAccess, Secret, Selector, Transform};

/// One kind of peer, and what may be negotiated with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Name in logs, in `show` and for `initiate`.
    pub name: String,
    /// How phase 1 runs.
    pub exchange: Phase1Exchange,
    /// This gateway's address; `None`: the one on the way to the peer, or any of its unprotected ones.
    pub local: Option<IpAddr>,
    /// Where the peer may be.
    pub remote: RemoteAddress,
    /// What this gateway says it is.
    pub local_id: Identity,
    /// What the peer must prove to be; `None`: anything that the credentials vouch for.
    pub remote_id: Option<Identity>,
    /// How both prove it.
    pub authentication: Authentication,
    /// Other ways to prove it, with what this gateway says it is then, the preferred one first.
    pub further: Vec<Method>,
    /// Road warriors: users and addresses.
    pub remote_access: RemoteAccess,
    /// What phase 1 may use, best first.
    pub ike_proposals: Vec<IkeProposal>,
    /// Seconds after which phase 1 is renewed, and ends.
    pub ike_lifetime: u64,
    /// Kilobytes of IKE's own messages after which phase 1 is renewed, and ends; `None`: no limit.
    pub ike_kilobytes: Option<u64>,
    /// Quick modes that one phase 1 serves; `None`: any number. 1 is master key perfect forward secrecy.
    pub quick_modes: Option<u32>,
    /// Dead peer detection (RFC 3706); `None`: answered, never asked.
    pub dpd: Option<Dpd>,
    /// NAT traversal (RFC 3947).
    pub nat_traversal: NatTraversal,
    /// Splits own messages that are longer than this many bytes of IP packet, if the peer can join them.
    pub fragment_size: Option<u16>,
    /// Starts by itself, not only when a packet asks for it.
    pub start: Start,
    /// What quick mode negotiates.
    pub children: Vec<ChildPolicy>,
}

/// Phase 1 exchanges (RFC 2409 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase1Exchange {
    /// Main mode: six messages, identities protected.
    #[default]
    Main,
    /// Aggressive mode: three messages, identities in clear, and a hash of the pre-shared key to guess at.
    Aggressive,
}

/// Where a peer may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteAddress {
    /// At this address: a connection that can be initiated.
    Host(IpAddr),
    /// In these ranges: responder only.
    Ranges(Vec<AddressRange>),
    /// Anywhere: responder only.
    Any,
}

/// An identity (RFC 2407 4.6.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// ID_IPV4_ADDR, ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN.
    Fqdn(String),
    /// ID_USER_FQDN.
    UserFqdn(String),
    /// ID_DER_ASN1_DN: a subject, in DER.
    DistinguishedName(Vec<u8>),
    /// ID_KEY_ID.
    KeyId(Vec<u8>),
}

/// How both ends prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A secret that both know.
    PreSharedKey(Secret),
    /// Signatures over certificates, RSA or ECDSA as the key is.
    Certificates(Credentials),
}

/// A way in which both ends prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// How.
    pub authentication: Authentication,
    /// What this gateway says it is.
    pub local_id: Identity,
}

/// This gateway's certificate, and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Own certificate first, then its issuers without the root; DER.
    pub chain: Vec<Vec<u8>>,
    /// Its private key: PKCS#8, DER.
    pub private_key: Secret,
    /// Roots that a peer's chain must end at; DER.
    pub roots: Vec<Vec<u8>>,
    /// Revocation lists; DER.
    pub crls: Vec<Vec<u8>>,
    /// What follows if revocation cannot be told.
    pub revocation: Revocation,
    /// Names the roots in certificate requests.
    pub name_roots: bool,
}

/// How strictly revocation is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Not at all.
    Off,
    /// A certificate that a list names is refused.
    #[default]
    Known,
    /// A certificate of which no current list tells is refused, too.
    Required,
}

/// What protects phase 1 (RFC 2409 appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IkeProposal {
    /// Encryption, CBC.
    pub cipher: IkeCipher,
    /// Hash, and as HMAC the PRF.
    pub hash: IkeHash,
    /// Diffie-Hellman group.
    pub group: Group,
}

/// Ciphers of phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeCipher {
    /// AES-CBC with 128, 192 or 256 bits (RFC 3602).
    AesCbc(crate::AesKey),
    /// 3DES-CBC, legacy.
    TripleDesCbc,
}

/// Hashes of phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeHash {
    /// Legacy.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA2-256 (RFC 4868).
    Sha2_256,
    /// SHA2-384.
    Sha2_384,
    /// SHA2-512.
    Sha2_512,
}

/// Diffie-Hellman groups, by their number with IANA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// 1: 768 bits (RFC 2409 6.1), legacy.
    Modp768,
    /// 2: 1024 bits (RFC 2409 6.2), legacy.
    Modp1024,
    /// 5: 1536 bits (RFC 3526), legacy.
    Modp1536,
    /// 14 (RFC 3526).
    Modp2048,
    /// 15.
    Modp3072,
    /// 16.
    Modp4096,
    /// 17.
    Modp6144,
    /// 18.
    Modp8192,
    /// 19: P-256 (RFC 5903).
    Ecp256,
    /// 20: P-384.
    Ecp384,
    /// 21: P-521.
    Ecp521,
    /// 31: Curve25519 (RFC 8031).
    X25519,
}

/// Dead peer detection (RFC 3706).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dpd {
    /// Seconds without a sign of life after which the peer is asked.
    pub delay: u64,
    /// Asks only when there was traffic to the peer and none from it.
    pub on_traffic_only: bool,
    /// What follows when it does not answer.
    pub action: DpdAction,
}

/// What follows a dead peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DpdAction {
    /// SAs go; the next packet that asks for them starts anew.
    #[default]
    Clear,
    /// Starts anew at once.
    Restart,
}

/// NAT traversal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NatTraversal {
    /// Where a NAT is found.
    #[default]
    Detect,
    /// As if there were one: ESP in UDP always.
    Force,
    /// Never offered.
    Off,
}

/// When a connection starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Start {
    /// When the peer or `initiate` says so.
    Manual,
    /// When a packet asks for it.
    #[default]
    Traffic,
    /// At once.
    Load,
}

/// What quick mode negotiates for a connection: tunnel or transport SAs (RFC 2409 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildPolicy {
    /// Name, unique in its connection.
    pub name: String,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Traffic that may be protected. A responder takes what lies inside it.
    pub selector: Selector,
    /// What may protect it, best first.
    pub proposals: Vec<ChildProposal>,
    /// New Diffie-Hellman with each quick mode.
    pub pfs: Option<Group>,
    /// Limits at which a replacement is negotiated.
    pub soft: Limits,
    /// Limits at which the SAs end; what is offered to the peer.
    pub hard: Limits,
    /// Packets that may arrive late; `None`: no replay check.
    pub replay_window: Option<u32>,
    /// Seconds without traffic after which the SAs go.
    pub idle: Option<u64>,
}

/// One proposal of quick mode: protocols that are all applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChildProposal {
    /// ESP, nearest to the payload.
    pub esp: Option<Transform>,
    /// AH, around it.
    pub ah: Option<Integrity>,
    /// Extended sequence numbers (RFC 4304).
    pub esn: bool,
}
