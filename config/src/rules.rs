//! Rules: a policy as its author thinks of it. They compile to SPD entries and connections, which is what the
//! gateway runs on.
//!
//! ```text
//! [[rule]] --> [[filter-list]] --> filters: which packets, in words that name no side
//!     |   \--> [[filter-action]]: permit, block, or negotiate and how
//!     \------> authentication, tunnel endpoint, interface class
//!
//! filter + topology --> selectors seen from this gateway --> SPD entries, one or two a filter
//! rule              --> connection; filter --> child
//! ```

mod compile;
mod exemptions;
mod place;
mod read;
mod topology;
mod weight;

use std::fmt;

use crate::connections::FRAGMENT_SIZE;
use crate::{
    AddressRange, ChildProposal, ClearText, Dpd, Group, Identity, IkeProposal, Limits, Method,
    NatTraversal, Phase1Exchange, Profile, RemoteAddress, Start, UpperLayer,
};

pub use exemptions::Exemptions;
pub(crate) use exemptions::KERBEROS;
pub(crate) use place::place;
pub(crate) use read::{RuleSections, read};
pub use topology::Topology;

/// The rules of a policy, and what they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Shared lists of filters.
    pub filter_lists: Vec<FilterList>,
    /// Shared actions.
    pub filter_actions: Vec<FilterAction>,
    /// How phase 1 runs, for all rules.
    pub ike: IkeSettings,
    /// The rules, in their author's order.
    pub rules: Vec<Rule>,
    /// What answers a peer that no rule is about; `None`: nobody is answered.
    pub default_response: Option<DefaultResponse>,
    /// What no rule looks at.
    pub exemptions: Option<Exemptions>,
}

impl RuleSet {
    /// Makes entries and connections, which go behind `taken` connections that are written as such.
    pub(crate) fn compile(
        &self,
        topology: &Topology,
        profile: Profile,
        taken: usize,
    ) -> compile::Compiled {
        compile::Compiler::new(self, topology, profile, taken).run()
    }
}

/// A named list of filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterList {
    /// Name by which rules find it.
    pub name: String,
    /// Its filters.
    pub filters: Vec<Filter>,
}

/// Which packets, in words that name no side: from `source` to `destination`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Where they come from.
    pub source: FilterAddress,
    /// Where they go.
    pub destination: FilterAddress,
    /// Protocol and ports; local is the source's.
    pub upper: UpperLayer,
    /// Also the packets that answer them.
    pub mirrored: bool,
}

/// One end of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterAddress {
    /// Any address.
    Any,
    /// Every address of this gateway, whichever it has: expanded again when they change.
    MyAddress,
    /// These.
    Ranges(Vec<AddressRange>),
}

/// A named action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterAction {
    /// Name by which rules find it.
    pub name: String,
    /// What it does.
    pub verb: FilterVerb,
}

/// What an action does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterVerb {
    /// In clear.
    Permit,
    /// Not at all.
    Block,
    /// Protected, as IKE negotiates.
    Negotiate(Negotiation),
}

/// How traffic is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation {
    /// Security methods, best first.
    pub proposals: Vec<ChildProposal>,
    /// Perfect forward secrecy of session keys.
    pub pfs: Option<Group>,
    /// Limits at which a replacement is negotiated.
    pub soft: Limits,
    /// Limits at which the SAs end.
    pub hard: Limits,
    /// Packets that may arrive late.
    pub replay_window: Option<u32>,
    /// Seconds without traffic after which the SAs go.
    pub idle: Option<u64>,
    /// What may cross in clear all the same.
    pub clear: ClearText,
}

/// How phase 1 runs: main mode always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeSettings {
    /// What phase 1 may use, best first.
    pub proposals: Vec<IkeProposal>,
    /// Seconds after which phase 1 is renewed.
    pub lifetime: u64,
    /// Quick modes that one phase 1 serves; 1 is master key perfect forward secrecy.
    pub quick_modes: Option<u32>,
    /// Dead peer detection.
    pub dpd: Option<Dpd>,
    /// NAT traversal.
    pub nat_traversal: NatTraversal,
    /// Splits own messages that are longer.
    pub fragment_size: Option<u16>,
}

impl IkeSettings {
    /// What a profile says.
    pub(crate) fn of(profile: Profile) -> Self {
        IkeSettings {
            proposals: profile.ike_proposals(Phase1Exchange::Main),
            lifetime: profile.ike_lifetime(),
            quick_modes: None,
            dpd: None,
            nat_traversal: NatTraversal::Detect,
            fragment_size: Some(FRAGMENT_SIZE),
        }
    }
}

impl Default for IkeSettings {
    fn default() -> Self {
        IkeSettings::of(Profile::default())
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Index into [`RuleSet::filter_lists`].
    pub filter_list: usize,
    /// Index into [`RuleSet::filter_actions`].
    pub filter_action: usize,
    /// How both ends prove who they are, the preferred way first.
    pub authentication: Vec<Method>,
    /// What the peer must prove to be; `None`: anything that its credentials vouch for.
    pub remote_id: Option<Identity>,
    /// The far end of the tunnel; `None`: transport mode. An address of ours: this rule is the way in of a tunnel whose
    /// way out is another rule.
    pub tunnel_endpoint: Option<RemoteAddress>,
    /// Our end of it.
    pub local: Option<std::net::IpAddr>,
    /// Interfaces for which it is.
    pub interface_class: Option<InterfaceClass>,
    /// When it begins.
    pub start: Start,
}

/// Kinds of interfaces, so that a rule can be for some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InterfaceClass {
    /// Local network.
    #[default]
    Lan,
    /// Remote access.
    RemoteAccess,
}

impl InterfaceClass {
    /// As policies spell them.
    pub const NAMES: &'static [(&'static str, InterfaceClass)] = &[
        ("lan", InterfaceClass::Lan),
        ("remote-access", InterfaceClass::RemoteAccess),
    ];
}

/// The default response rule: what answers a peer that no rule is about. It has no filters of its own, only those
/// that peers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultResponse {
    /// It cannot be deleted, only deactivated.
    pub active: bool,
    /// Security methods, best first.
    pub proposals: Vec<ChildProposal>,
    /// How both ends prove who they are, the preferred way first.
    pub authentication: Vec<Method>,
}

/// Names the set of filters that came of one rule, in whatever order rules stand: it is made of the rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyId(u128);

impl PolicyId {
    /// Of a rule with this name: FNV-1a, in the form of RFC 9562 5.8 (a UUID of a kind of its own).
    pub fn of(rule: &str) -> Self {
        const BASIS: u128 = 0x6c62272e07bb014262b821756295c58d;
        const PRIME: u128 = 0x0000000001000000000000000000013b;
        let mix = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        let hash = rule.bytes().fold(BASIS, mix);
        let (version, variant) = (0xf << 76, 0x3 << 62);
        PolicyId(hash & !version & !variant | 8 << 76 | 2 << 62)
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, digits: u32| self.0 >> shift & ((1 << (4 * digits)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

/// Where an SPD entry comes from that is not written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The rule, or what stands for one.
    pub rule: String,
    /// Identifier of all the entries that came of it.
    pub id: PolicyId,
    /// The rule's place in its author's order, from 1; 0 for what no author wrote.
    pub order: u32,
    /// How much the filter says: the more, the higher.
    pub weight: u32,
}
