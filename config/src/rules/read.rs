//! Reads rules and what they share.

use std::path::Path;

use crate::connections::{self, integer};
use crate::examine::examine;
use crate::ports::{Interfaces, Names, members};
use crate::reader::{Item, Section};
use crate::reference::{
    AUTHENTICATION, DEFAULT_RESPONSE, FILTER, FILTER_ACTION, FILTER_LIST, IKE, RULE,
};
use crate::rules::{
    DefaultResponse, Filter, FilterAction, FilterAddress, FilterList, FilterVerb, IkeSettings,
    InterfaceClass, Negotiation, Rule, RuleSet,
};
use crate::{
    Authentication, Group, Identity, Method, Phase1Exchange, Profile, RemoteAddress, address,
    credentials, proposals, spd,
};

/// Where what was read stands, in the order of the [`RuleSet`].
#[derive(Default)]
pub(crate) struct RuleSections<'a> {
    pub(crate) rules: Vec<Section<'a>>,
    /// Of each rule the number of its filter list.
    lists: Vec<usize>,
    /// Each filter list.
    lists_at: Vec<Section<'a>>,
    /// Of each filter list its filters.
    filters: Vec<Vec<Section<'a>>>,
    actions: Vec<Section<'a>>,
    pub(crate) default_response: Option<Section<'a>>,
    /// Each `authentication`.
    pub(crate) methods: Vec<Section<'a>>,
}

/// What rules are read against.
#[derive(Clone, Copy)]
struct Around<'i> {
    interfaces: &'i Interfaces<'i>,
    base: &'i Path,
    profile: Profile,
}

#[derive(Clone, Copy)]
enum Verb {
    Permit,
    Block,
    Negotiate,
}

const VERBS: &[(&str, Verb)] = &[
    ("permit", Verb::Permit),
    ("block", Verb::Block),
    ("negotiate", Verb::Negotiate),
];

/// Keys of an action that say how it negotiates.
const OF_NEGOTIATE: [&str; 7] = [
    "proposals",
    "pfs",
    "soft-lifetime",
    "hard-lifetime",
    "replay-window",
    "idle",
    "clear-text",
];

const NO_KERBEROS: &str =
    "this gateway has no Kerberos (GSS-API) authentication: give both ends a certificate";

/// Reads all of them. What could not be read is left out; that has been reported.
pub(crate) fn read<'a>(
    root: Section<'a>,
    interfaces: &Interfaces<'_>,
    base: &Path,
    profile: Profile,
) -> (RuleSet, RuleSections<'a>) {
    let mut set = RuleSet::default();
    let mut sections = RuleSections::default();
    let around = Around {
        interfaces,
        base,
        profile,
    };
    set.ike = read_ike(root, profile);
    let (mut lists, mut actions, mut names) =
        (Names::default(), Names::default(), Names::default());
    let (mut read_verbs, mut all_read) = (Vec::new(), !root.is_broken());
    for section in root.sections("filter-list", &FILTER_LIST) {
        let name = lists.read(section, set.filter_lists.len()).to_owned();
        let (filters, places) = read_filters(section, profile);
        set.filter_lists.push(FilterList { name, filters });
        sections.lists_at.push(section);
        sections.filters.push(places);
    }
    for section in root.sections("filter-action", &FILTER_ACTION) {
        let name = actions.read(section, sections.actions.len()).to_owned();
        let verb = read_verb(section, &set.ike, profile);
        read_verbs.push(verb.is_some());
        // One that could not be read keeps its number.
        let verb = verb.unwrap_or(FilterVerb::Block);
        set.filter_actions.push(FilterAction { name, verb });
        sections.actions.push(section);
    }
    for (number, section) in root.sections("rule", &RULE).enumerate() {
        let name = names.read(section, number);
        let list = section.require("filter-list");
        let list = list.and_then(|item| lists.find(item, "filter list"));
        let action = section.require("filter-action");
        let action = action.and_then(|item| actions.find(item, "filter action"));
        let known = action.filter(|n| read_verbs.get(*n) == Some(&true));
        let known = known.and_then(|n| set.filter_actions.get(n));
        let negotiates = known.map(|a| matches!(a.verb, FilterVerb::Negotiate(_)));
        let rest = read_rule(section, name, negotiates, around, &mut sections.methods);
        all_read &= list.is_some() && action.is_some() && rest.is_some();
        if let (Some(list), Some(action), Some(rule)) = (list, action, rest) {
            set.rules.push(Rule {
                filter_list: list,
                filter_action: action,
                ..rule
            });
            sections.rules.push(section);
            sections.lists.push(list);
        }
    }
    // One that could not be read may name any of them.
    if all_read {
        warn_of_unused(&set, &sections);
    }
    for (section, action) in sections.actions.iter().zip(&set.filter_actions) {
        warn_of_lifetime(*section, &action.verb, set.ike.lifetime);
    }
    set.default_response = read_default_response(root, around, &mut sections);
    (set, sections)
}

/// Lists and actions that no rule names.
fn warn_of_unused(set: &RuleSet, sections: &RuleSections<'_>) {
    for (number, section) in sections.lists_at.iter().enumerate() {
        if set.rules.iter().all(|rule| rule.filter_list != number) {
            section.warning("name", "no rule names this filter list: nothing uses it");
        }
    }
    for (number, section) in sections.actions.iter().enumerate() {
        if set.rules.iter().all(|rule| rule.filter_action != number) {
            section.warning("name", "no rule names this filter action: nothing uses it");
        }
    }
}

fn read_ike(root: Section<'_>, profile: Profile) -> IkeSettings {
    let usual = IkeSettings::of(profile);
    let Some(section) = root.get("ike").and_then(|i| i.section(&IKE)) else {
        return usual;
    };
    let settings = || {
        Some(IkeSettings {
            proposals: proposals::read_ike(section, Phase1Exchange::Main, profile)?,
            lifetime: integer(section, "lifetime", 60, 604_800, usual.lifetime)?,
            quick_modes: connections::read_quick_modes(section)?,
            dpd: connections::read_dpd(section)?,
            nat_traversal: connections::choice(
                section,
                "nat-traversal",
                connections::NAT_TRAVERSAL,
            )?,
            fragment_size: connections::read_fragment_size(section)?,
        })
    };
    settings().unwrap_or(usual)
}

fn read_filters(section: Section<'_>, profile: Profile) -> (Vec<Filter>, Vec<Section<'_>>) {
    let sections = section.sections("filter", &FILTER);
    let sections: Vec<_> = sections.collect();
    if sections.is_empty() {
        section.error("filter", "expected at least one [[filter-list.filter]]");
    }
    let read = |section| Some((read_filter(section, profile)?, section));
    sections.into_iter().filter_map(read).unzip()
}

fn read_filter(section: Section<'_>, profile: Profile) -> Option<Filter> {
    let source = section.require("source").and_then(read_address);
    let destination = section.require("destination").and_then(read_address);
    let upper = spd::read_upper(section, ["source-port", "destination-port"]);
    let mirrored = match section.get("mirrored") {
        Some(item) => item.boolean(),
        None => Some(true),
    };
    if let Some(FilterAddress::Ranges(ranges)) = &destination {
        if profile == Profile::Ws2003 && ranges.iter().any(is_multicast_group) {
            section.error("destination", "expected no multicast group: in profile \"ws2003\" only `any` or 224.0.0.0/4 stand for multicast");
        }
    }
    Some(Filter {
        source: source?,
        destination: destination?,
        upper: upper?,
        mirrored: mirrored?,
    })
}

/// Some of 224.0.0.0/4, but not all of it.
fn is_multicast_group(range: &crate::AddressRange) -> bool {
    let all = super::exemptions::MULTICAST;
    range.start.is_multicast() && range.end.is_multicast() && range.start.is_ipv4() && *range != all
}

fn read_address(item: Item<'_>) -> Option<FilterAddress> {
    let words = [("any", true), ("my-address", false)];
    if let Some(any) = item.find(&words) {
        return Some(match any {
            true => FilterAddress::Any,
            false => FilterAddress::MyAddress,
        });
    }
    let found: Vec<_> = item.members().map(|i| i.parse(address::range)).collect();
    if found.is_empty() {
        item.error("expected at least one; \"any\" for any");
        return None;
    }
    let ranges = found.into_iter().collect::<Option<Vec<_>>>()?;
    Some(FilterAddress::Ranges(ranges))
}

fn read_verb(section: Section<'_>, ike: &IkeSettings, profile: Profile) -> Option<FilterVerb> {
    let verb = section.require("action")?.choice(VERBS);
    if let Some(Verb::Permit | Verb::Block) = verb {
        for key in OF_NEGOTIATE {
            section.refuse(key, "expected only with action \"negotiate\"");
        }
    }
    Some(match verb? {
        Verb::Permit => FilterVerb::Permit,
        Verb::Block => FilterVerb::Block,
        Verb::Negotiate => FilterVerb::Negotiate(read_negotiation(section, ike, profile)?),
    })
}

fn read_negotiation(
    section: Section<'_>,
    ike: &IkeSettings,
    profile: Profile,
) -> Option<Negotiation> {
    let (proposals, replay_window) = connections::read_protection(section, profile);
    let pfs = read_pfs(section, ike);
    let (soft, hard) = connections::read_child_lifetimes(section, profile);
    let idle = connections::read_idle(section, profile);
    let clear = spd::read_clear(section, profile);
    Some(Negotiation {
        proposals: proposals?,
        pfs: pfs?,
        soft,
        hard,
        replay_window: replay_window?,
        idle: idle?,
        clear: clear?,
    })
}

/// With `true` the group is that of main mode.
fn read_pfs(section: Section<'_>, ike: &IkeSettings) -> Option<Option<Group>> {
    let Some(item) = section.get("pfs") else {
        return Some(None);
    };
    if !item.is_boolean() {
        return proposals::read_group(Some(item)).map(Some);
    }
    if !item.boolean()? {
        return Some(None);
    }
    let first = ike.proposals.first()?.group;
    if ike.proposals.iter().any(|proposal| proposal.group != first) {
        item.error("expected the name of a group: [ike] proposes several");
    }
    Some(Some(first))
}

fn read_rule<'a>(
    section: Section<'a>,
    name: &str,
    negotiates: Option<bool>,
    around: Around<'_>,
    methods: &mut Vec<Section<'a>>,
) -> Option<Rule> {
    if negotiates == Some(false) {
        for key in [
            "authentication",
            "remote-id",
            "tunnel-endpoint",
            "local",
            "start",
        ] {
            section.refuse(key, "expected only with an action that negotiates");
        }
    }
    let endpoint = match section.get("tunnel-endpoint") {
        Some(item) => connections::read_remote(item).map(Some),
        None => Some(None),
    };
    let local = connections::read_local(section, around.interfaces);
    let class = match section.get("interface-class") {
        Some(item) => item.choice(InterfaceClass::NAMES).map(Some),
        None => Some(None),
    };
    let remote_id = read_remote_id(section, endpoint.as_ref());
    let start = connections::choice(section, "start", connections::STARTS);
    let way_in = match endpoint.as_ref() {
        Some(Some(RemoteAddress::Host(host))) => around.interfaces.owns(*host),
        _ => false,
    };
    let authentication = match (negotiates.unwrap_or(section.has("authentication")), way_in) {
        (true, false) => {
            let remote = endpoint.clone().flatten().unwrap_or(RemoteAddress::Any);
            read_methods(section, (&remote, local.flatten()), around, methods)
        }
        (true, true) => {
            section.refuse(
                "authentication",
                "expected only in the rule that is the way out of this tunnel",
            );
            Some(Vec::new())
        }
        (false, _) => Some(Vec::new()),
    };
    Some(Rule {
        name: name.to_owned(),
        filter_list: 0,
        filter_action: 0,
        authentication: authentication?,
        remote_id: remote_id?,
        tunnel_endpoint: endpoint?,
        local: local?,
        interface_class: class?,
        start: start?,
    })
}

fn read_remote_id(
    section: Section<'_>,
    endpoint: Option<&Option<RemoteAddress>>,
) -> Option<Option<Identity>> {
    connections::read_remote_id(section, endpoint.and_then(Option::as_ref))
}

/// The ways in which both ends prove who they are.
fn read_methods<'a>(
    section: Section<'a>,
    (remote, local): (&RemoteAddress, Option<std::net::IpAddr>),
    around: Around<'_>,
    methods: &mut Vec<Section<'a>>,
) -> Option<Vec<Method>> {
    let list = section.require("authentication")?;
    let mut all = Some(Vec::<Method>::new());
    for item in members(section, "authentication") {
        let Some(table) = item.section(&AUTHENTICATION) else {
            all = None;
            continue;
        };
        methods.push(table);
        let method = || {
            if let Some(kerberos) = table
                .get("kerberos")
                .filter(|item| item.boolean() != Some(false))
            {
                kerberos.error_unless_broken(NO_KERBEROS);
                return None;
            }
            let authentication = credentials::read(table, Phase1Exchange::Main, None, around.base)?;
            let local_id = connections::read_local_id(
                table,
                &authentication,
                remote,
                local,
                around.interfaces,
            )?;
            examine(table, Some(&authentication), Some(&local_id));
            Some(Method {
                authentication,
                local_id,
            })
        };
        let Some(method) = method() else {
            all = None;
            continue;
        };
        let is_same = |known: &Method| {
            let psk = |m: &Method| matches!(m.authentication, Authentication::PreSharedKey(_));
            psk(known) && psk(&method)
        };
        if all.iter().flatten().any(is_same) {
            item.error("expected one pre-shared key: the peer could not tell which is meant");
        }
        if let Some(all) = &mut all {
            all.push(method);
        }
    }
    if all.as_ref().is_some_and(Vec::is_empty) {
        list.error("expected at least one way to prove who both ends are");
        return None;
    }
    all
}

/// Windows Server 2003 had one in every policy; here it needs a key or a certificate first.
fn read_default_response<'a>(
    root: Section<'a>,
    around: Around<'_>,
    sections: &mut RuleSections<'a>,
) -> Option<DefaultResponse> {
    let section = root.get("default-response")?.section(&DEFAULT_RESPONSE)?;
    sections.default_response = Some(section);
    let active = match section.get("active") {
        Some(item) => item.boolean(),
        None => Some(true),
    };
    let own = proposals::read_child(section);
    let anybody = (&RemoteAddress::Any, None);
    let authentication = read_methods(section, anybody, around, &mut sections.methods);
    Some(DefaultResponse {
        active: active?,
        proposals: own?.unwrap_or_else(|| around.profile.default_response()),
        authentication: authentication?,
    })
}

/// Phase 2 may outlive phase 1 by as long as it lives itself: a warning where that is a good part of it.
fn warn_of_lifetime(section: Section<'_>, verb: &FilterVerb, ike_lifetime: u64) {
    if let FilterVerb::Negotiate(negotiation) = verb {
        connections::warn_of_lifetimes(section, negotiation.hard, ike_lifetime);
    }
}

impl<'a> RuleSections<'a> {
    /// Where a filter of a rule stands, both by their numbers.
    pub(crate) fn filter(&self, rule: usize, filter: usize) -> Option<Section<'a>> {
        let list = self.lists.get(rule)?;
        self.filters.get(*list)?.get(filter).copied()
    }
}
