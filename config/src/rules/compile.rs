//! Rules to SPD entries and connections.

use crate::connections;
use crate::rules::topology::{single, whole};
use crate::rules::{
    Filter, FilterAddress, FilterVerb, Negotiation, Origin, PolicyId, Rule, RuleSet, Topology,
    weight,
};
use crate::{
    Action, AddressRange, ChildPolicy, ClearText, Connection, Direction, Identity, Method, Mode,
    Phase1Exchange, Profile, RemoteAccess, RemoteAddress, Selector, Severity, SpdEntry, Start,
    UpperLayer,
};

/// What an entry was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A filter of a rule, both by their numbers.
    Filter { rule: usize, filter: usize },
    /// The default response rule.
    Response,
    /// The policy as a whole.
    Policy,
}

/// An entry that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) entry: SpdEntry,
    pub(crate) from: From,
}

/// Why something could not be made, or is most likely not meant so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    /// Number of the rule.
    pub(crate) rule: usize,
    /// Number of the filter in its list.
    pub(crate) filter: usize,
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

/// What comes of rules.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    /// What goes before every entry that is written as one.
    pub(crate) before: Vec<Made>,
    /// What goes behind them.
    pub(crate) after: Vec<Made>,
    /// Behind those that are written as such.
    pub(crate) connections: Vec<Connection>,
    pub(crate) problems: Vec<Problem>,
}

/// One way to look at a filter from this gateway.
struct View {
    local: Vec<AddressRange>,
    remote: Vec<AddressRange>,
    /// The source is our end.
    forward: bool,
    upper: UpperLayer,
}

/// Makes entries and connections; `taken` connections are written as such.
pub(crate) struct Compiler<'r> {
    rules: &'r RuleSet,
    topology: &'r Topology,
    profile: Profile,
    taken: usize,
    out: Compiled,
}

impl<'r> Compiler<'r> {
    pub(crate) fn new(
        rules: &'r RuleSet,
        topology: &'r Topology,
        profile: Profile,
        taken: usize,
    ) -> Self {
        Compiler {
            rules,
            topology,
            profile,
            taken,
            out: Compiled::default(),
        }
    }

    pub(crate) fn run(mut self) -> Compiled {
        self.exempt();
        for (number, rule) in self.rules.rules.iter().enumerate() {
            self.rule(number, rule);
        }
        if self.profile == Profile::Ws2003 {
            // What says most goes first; among equals, as their author ordered them.
            let weight = |made: &Made| made.entry.origin.as_ref().map_or(0, |o| o.weight);
            self.out
                .after
                .sort_by_key(|made| std::cmp::Reverse(weight(made)));
        }
        self.respond();
        self.unmatched();
        self.out
    }

    /// The default exemptions.
    fn exempt(&mut self) {
        let Some(exemptions) = self.rules.exemptions else {
            return;
        };
        let rule = "default-exemption";
        for exempt in exemptions.list(self.topology) {
            let entry = SpdEntry {
                name: format!("{rule}/{}", exempt.name),
                selector: exempt.selector.into(),
                direction: exempt.direction,
                action: Action::Bypass,
                origin: Some(origin(rule, 0, weight::EXEMPTION)),
            };
            let from = From::Policy;
            self.out.before.push(Made { entry, from });
        }
    }

    fn rule(&mut self, number: usize, rule: &'r Rule) {
        let list = self.rules.filter_lists.get(rule.filter_list);
        let action = self.rules.filter_actions.get(rule.filter_action);
        let (Some(list), Some(action)) = (list, action) else {
            return;
        };
        for (n, filter) in list.filters.iter().enumerate() {
            let place = (number, n);
            match &action.verb {
                FilterVerb::Permit => self.plain(place, rule, filter, Action::Bypass),
                FilterVerb::Block => self.plain(place, rule, filter, Action::Discard),
                FilterVerb::Negotiate(how) => self.negotiate(place, rule, filter, how),
            }
        }
    }

    /// Permits or blocks: packets may cross in each direction in which the filter can lie.
    fn plain(&mut self, place: (usize, usize), rule: &Rule, filter: &Filter, action: Action) {
        let views = self.views(rule, filter);
        if views.is_empty() {
            // What would not be blocked must not seem to be: packets between two peers cross the boundary twice.
            let severity = match action {
                Action::Discard => Severity::Error,
                _ => Severity::Warning,
            };
            let message = "no packet that crosses the boundary matches: by the routes both ends are on one side";
            self.problem(severity, place, "source", message);
        }
        let same =
            |a: &View, b: &View| (&a.local, &a.remote, &a.upper) == (&b.local, &b.remote, &b.upper);
        let both = matches!(views.as_slice(), [a, b] if same(a, b));
        let several = views.len() > 1;
        for view in views.into_iter().take(if both { 1 } else { 2 }) {
            let (forward, suffix) = (
                view.forward,
                if several && !view.forward {
                    "-back"
                } else {
                    ""
                },
            );
            let mut entry = self.entry(place, rule, filter, view, action.clone());
            entry.direction = match (filter.mirrored || both, forward) {
                (true, _) => None,
                (false, true) => Some(Direction::Outbound),
                (false, false) => Some(Direction::Inbound),
            };
            entry.name += suffix;
            self.push(place, entry);
        }
    }

    /// How the filter lies: source on our side, destination on our side, or both are possible.
    fn views(&self, rule: &Rule, filter: &Filter) -> Vec<View> {
        let class = rule.interface_class;
        let ways = [
            (&filter.source, &filter.destination, true),
            (&filter.destination, &filter.source, false),
        ];
        let view = |(near, far, forward): (&FilterAddress, &FilterAddress, bool)| {
            Some(View {
                local: self.topology.local(near, class)?,
                remote: self.topology.remote(far, class)?,
                forward,
                upper: match forward {
                    true => filter.upper.clone(),
                    false => turned(&filter.upper),
                },
            })
        };
        ways.into_iter().filter_map(view).collect()
    }

    fn entry(
        &self,
        (number, n): (usize, usize),
        rule: &Rule,
        filter: &Filter,
        view: View,
        action: Action,
    ) -> SpdEntry {
        SpdEntry {
            name: format!("{}/{}", rule.name, n + 1),
            selector: Selector {
                local: view.local,
                remote: view.remote,
                upper: view.upper,
            }
            .into(),
            direction: None,
            action,
            origin: Some(origin(
                &rule.name,
                number as u32 + 1,
                weight::weight(filter),
            )),
        }
    }

    /// Protects: one entry and one child, for SAs go both ways.
    fn negotiate(
        &mut self,
        place: (usize, usize),
        rule: &'r Rule,
        filter: &Filter,
        how: &Negotiation,
    ) {
        if self.is_way_in(rule) {
            return self.way_in(place, rule, filter);
        }
        let Some(view) = self.views(rule, filter).into_iter().next() else {
            let message = "no packet that crosses the boundary matches: by the routes both ends are on one side";
            return self.problem(Severity::Error, place, "source", message);
        };
        if !self.check(place, rule, filter, &view) {
            return;
        }
        let mode = match rule.tunnel_endpoint {
            Some(_) => Mode::Tunnel,
            None => Mode::Transport,
        };
        let Some((local, remote)) = one_family(view.local, view.remote) else {
            let message =
                "expected addresses at one end at least: quick mode names those of one family";
            return self.problem(Severity::Error, place, "source", message);
        };
        let view = View {
            local,
            remote,
            ..view
        };
        let peer = rule.tunnel_endpoint.clone();
        let peer = peer.unwrap_or_else(|| remote_of(&view.remote));
        if rule.start == Start::Load && !matches!(peer, RemoteAddress::Host(_)) {
            let message = "expected one address: with `start = \"load\"` this gateway begins, and must know with whom";
            let key = if mode == Mode::Tunnel {
                "source"
            } else {
                "destination"
            };
            return self.problem(Severity::Error, place, key, message);
        }
        let entry = self.entry(place, rule, filter, view, Action::Discard);
        let connection = self.connection(rule, peer, &entry.name);
        let Some((connection, known)) =
            connection.and_then(|n| Some((n, self.out.connections.get_mut(n)?)))
        else {
            return;
        };
        let child = known.children.len();
        known.children.push(child_of(how, mode, &entry));
        let action = Action::Negotiate {
            connection: self.taken + connection,
            child,
            clear: how.clear,
        };
        self.push(place, SpdEntry { action, ..entry });
    }

    /// What IKE and transport mode cannot say.
    fn check(&mut self, place: (usize, usize), rule: &Rule, filter: &Filter, view: &View) -> bool {
        let error = Severity::Error;
        let before = self.out.problems.len();
        if let UpperLayer::Icmp { .. } = view.upper {
            let message = "quick mode has no words for ICMP types (RFC 2407 4.6.2)";
            self.problem(error, place, "icmp-type", message);
        }
        if let UpperLayer::Ports { local, remote, .. } = &filter.upper {
            for (key, ports) in [("source-port", local), ("destination-port", remote)] {
                if ports.len() > 1 || ports.iter().any(|range| range.start != range.end) {
                    let message =
                        "expected one port: quick mode names one at each end (RFC 2407 4.6.2)";
                    self.problem(error, place, key, message);
                }
            }
        }
        if view.remote.iter().any(|range| range.start.is_multicast()) {
            let message =
                "expected no multicast: IKE negotiates with one peer; permit it or block it";
            self.problem(error, place, "destination", message);
        }
        if rule.tunnel_endpoint.is_none() {
            let own = |range: &AddressRange| {
                range.start == range.end && self.topology.own().any(|own| own == range.start)
            };
            if view.local.is_empty() || !view.local.iter().all(own) {
                let message = "expected `my-address` at one end: transport mode is for packets of this gateway itself; for others, name a `tunnel-endpoint` in the rule";
                self.problem(error, place, "source", message);
            }
        }
        if !filter.mirrored {
            match rule.tunnel_endpoint {
                None => {
                    let message = "expected a mirrored filter: SAs go both ways";
                    self.problem(error, place, "mirrored", message);
                }
                Some(_) if !self.has_turned(filter, |other| self.is_way_in(other)) => {
                    let message = "there is no rule for the way in: expected one with this filter turned round and an address of ours as tunnel endpoint, or a mirrored filter";
                    self.problem(error, place, "mirrored", message);
                }
                Some(_) => {}
            }
        }
        self.out.problems.len() == before
    }

    /// True if the tunnel ends here: what goes into it is another rule's.
    fn is_way_in(&self, rule: &Rule) -> bool {
        match rule.tunnel_endpoint {
            Some(RemoteAddress::Host(host)) => self.topology.own().any(|own| own == host),
            _ => false,
        }
    }

    /// The way in is covered by the entry of the way out, which is for both directions.
    fn way_in(&mut self, place: (usize, usize), rule: &Rule, filter: &Filter) {
        let way_out = |other: &Rule| other.tunnel_endpoint.is_some() && !self.is_way_in(other);
        if !self.has_turned(filter, way_out) {
            let message = "there is no rule for the way out: expected one with this filter turned round and the peer as tunnel endpoint";
            self.problem(Severity::Error, place, "source", message);
        }
        if filter.mirrored {
            let message = format!(
                "expected a filter that is not mirrored: {} is only the way in",
                rule.name
            );
            self.problem(Severity::Error, place, "mirrored", message);
        }
    }

    /// True if such a rule that negotiates has this filter the other way round.
    fn has_turned(&self, filter: &Filter, is_such: impl Fn(&Rule) -> bool) -> bool {
        let turned = Filter {
            source: filter.destination.clone(),
            destination: filter.source.clone(),
            upper: turned(&filter.upper),
            mirrored: false,
        };
        let rules = self.rules.rules.iter().filter(|rule| {
            let action = self.rules.filter_actions.get(rule.filter_action);
            action.is_some_and(|a| matches!(a.verb, FilterVerb::Negotiate(_))) && is_such(rule)
        });
        let mut lists = rules.filter_map(|rule| self.rules.filter_lists.get(rule.filter_list));
        lists.any(|list| list.filters.contains(&turned))
    }

    /// The connection with a peer: one for all rules that prove the same to it, so that they have one phase 1.
    fn connection(&mut self, rule: &Rule, remote: RemoteAddress, entry: &str) -> Option<usize> {
        let remote_id = match (&rule.remote_id, &remote) {
            (None, RemoteAddress::Host(host)) => Some(Identity::Address(*host)),
            (id, _) => id.clone(),
        };
        let named = self.out.connections.iter().any(|c| c.name == rule.name);
        // Another peer of the same rule has a connection of its own.
        let name = if named { entry } else { &rule.name };
        let new = self.new_connection(name, remote, &rule.authentication)?;
        let new = Connection {
            local: rule.local,
            remote_id,
            start: rule.start,
            ..new
        };
        let same = |known: &Connection| {
            (&known.remote, known.local, known.start) == (&new.remote, new.local, new.start)
                && known.remote_id == new.remote_id
                && (&known.local_id, &known.authentication, &known.further)
                    == (&new.local_id, &new.authentication, &new.further)
        };
        let known = self.out.connections.iter().position(same);
        Some(known.unwrap_or_else(|| {
            self.out.connections.push(new);
            self.out.connections.len() - 1
        }))
    }

    /// With the settings that all rules share.
    fn new_connection(
        &self,
        name: &str,
        remote: RemoteAddress,
        methods: &[Method],
    ) -> Option<Connection> {
        let ike = &self.rules.ike;
        let (first, further) = methods.split_first()?;
        Some(Connection {
            name: name.to_owned(),
            exchange: Phase1Exchange::Main,
            local: None,
            remote,
            local_id: first.local_id.clone(),
            remote_id: None,
            authentication: first.authentication.clone(),
            further: further.to_vec(),
            remote_access: RemoteAccess::default(),
            ike_proposals: ike.proposals.clone(),
            ike_lifetime: ike.lifetime,
            ike_kilobytes: None,
            quick_modes: ike.quick_modes,
            dpd: ike.dpd,
            nat_traversal: ike.nat_traversal,
            fragment_size: ike.fragment_size,
            start: Start::Manual,
            children: Vec::new(),
        })
    }

    /// The default response rule: behind all others, for what peers ask for.
    fn respond(&mut self) {
        let Some(response) = self.rules.default_response.as_ref().filter(|r| r.active) else {
            return;
        };
        let own: Vec<_> = self.topology.own().map(single).collect();
        let Some((local, remote)) = one_family(own, Vec::new()) else {
            return;
        };
        let rule = "default-response";
        let how = Negotiation {
            proposals: response.proposals.clone(),
            pfs: None,
            soft: connections::soft_of(self.profile.child_lifetime()),
            hard: self.profile.child_lifetime(),
            replay_window: Some(crate::sa::DEFAULT_REPLAY_WINDOW),
            idle: self.profile.idle(),
            // What no rule is about passes in clear there, as long as no peer asks for more.
            clear: match self.profile {
                Profile::Modern => ClearText::Never,
                Profile::Ws2003 => ClearText::Unasked,
            },
        };
        let entry = SpdEntry {
            name: rule.to_owned(),
            selector: Selector {
                local,
                remote,
                upper: UpperLayer::Any,
            }
            .into(),
            direction: None,
            action: Action::Negotiate {
                connection: self.taken + self.out.connections.len(),
                child: 0,
                clear: how.clear,
            },
            origin: Some(origin(rule, 0, 0)),
        };
        let methods = &response.authentication;
        let Some(mut connection) = self.new_connection(rule, RemoteAddress::Any, methods) else {
            return;
        };
        connection
            .children
            .push(child_of(&how, Mode::Transport, &entry));
        self.out.connections.push(connection);
        let from = From::Response;
        self.out.after.push(Made { entry, from });
    }

    /// Windows Server 2003: a packet that no filter matches passes.
    fn unmatched(&mut self) {
        if self.profile == Profile::Ws2003 {
            let rule = "unmatched";
            let entry = SpdEntry {
                name: rule.to_owned(),
                selector: Selector::default().into(),
                direction: None,
                action: Action::Bypass,
                origin: Some(origin(rule, 0, 0)),
            };
            let from = From::Policy;
            self.out.after.push(Made { entry, from });
        }
    }

    fn push(&mut self, (rule, filter): (usize, usize), entry: SpdEntry) {
        let from = From::Filter { rule, filter };
        self.out.after.push(Made { entry, from });
    }

    fn problem(
        &mut self,
        severity: Severity,
        (rule, filter): (usize, usize),
        key: &'static str,
        message: impl Into<String>,
    ) {
        self.out.problems.push(Problem {
            severity,
            rule,
            filter,
            key,
            message: message.into(),
        });
    }
}

fn origin(rule: &str, order: u32, weight: u32) -> Box<Origin> {
    Box::new(Origin {
        rule: rule.to_owned(),
        id: PolicyId::of(rule),
        order,
        weight,
    })
}

/// Both ends exchanged.
fn turned(upper: &UpperLayer) -> UpperLayer {
    match upper {
        UpperLayer::Ports {
            protocol,
            local,
            remote,
        } => UpperLayer::Ports {
            protocol: *protocol,
            local: remote.clone(),
            remote: local.clone(),
        },
        other => other.clone(),
    }
}

/// Quick mode names addresses: any becomes all of the families that the other end has.
fn one_family(
    local: Vec<AddressRange>,
    remote: Vec<AddressRange>,
) -> Option<(Vec<AddressRange>, Vec<AddressRange>)> {
    let all_of = |other: &[AddressRange]| -> Vec<AddressRange> {
        let has = |v4: &bool| other.iter().any(|range| range.start.is_ipv4() == *v4);
        [true, false].into_iter().filter(has).map(whole).collect()
    };
    let fits = |ranges: Vec<AddressRange>, other: &[AddressRange]| -> Vec<AddressRange> {
        let has = |range: &AddressRange| {
            other
                .iter()
                .any(|o| o.start.is_ipv4() == range.start.is_ipv4())
        };
        ranges.into_iter().filter(has).collect()
    };
    let (local, remote) = match (local.is_empty(), remote.is_empty()) {
        (true, true) => return None,
        (true, false) => (all_of(&remote), remote),
        (false, true) => (local.clone(), all_of(&local)),
        (false, false) => (fits(local.clone(), &remote), fits(remote, &local)),
    };
    (!local.is_empty()).then_some((local, remote))
}

/// Transport mode: the peer is the other end of the filter itself.
fn remote_of(ranges: &[AddressRange]) -> RemoteAddress {
    match ranges {
        [AddressRange { start, end }] if start == end => RemoteAddress::Host(*start),
        _ => RemoteAddress::Ranges(ranges.to_vec()),
    }
}

fn child_of(how: &Negotiation, mode: Mode, entry: &SpdEntry) -> ChildPolicy {
    ChildPolicy {
        name: entry.name.clone(),
        mode,
        selector: Selector::clone(&entry.selector),
        proposals: how.proposals.clone(),
        pfs: how.pfs,
        soft: how.soft,
        hard: how.hard,
        replay_window: how.replay_window,
        idle: how.idle,
    }
}
