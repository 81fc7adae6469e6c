//! The decision, step by step as the workers take it.

use portcullis_config::{
    Action, AddressRange, ChildPolicy, ClearText, Connection, Mode, RemoteAddress, SaConfig, Side,
    SpdEntry, Start,
};
use portcullis_ipsec::DropReason;
use portcullis_ipsec::children::RemotePrefix;
use portcullis_ipsec::ip::{Address, protocol};
use portcullis_ipsec::spd::{CompiledSelector, Flow, Match, SelectorKey};

use super::{EntryFound, From, Outcome, Question, SaFound, Scene, Way, side_name};
use crate::fib;
use crate::ike_status::{mode_text, selector_text, transform_text};
use crate::negotiated::Child;
use crate::punt::IKE_PORTS;
use crate::reasons::explain_reason;
use crate::rule_status::RuleStatus;

/// The way of one packet.
pub(super) fn way(scene: &Scene<'_>, question: &Question) -> Way {
    let (from, interface) = scene.origin(question.source.into());
    let from_side = match from {
        From::Local => "local",
        From::Side(side) => side_name(side),
        From::Unknown => "unknown",
    };
    let mut way = Way {
        from_interface: interface,
        ..undecided(scene, question, from_side)
    };
    let mut decision = Decision {
        scene,
        question,
        way: &mut way,
    };
    decision.take(from);
    way
}

fn undecided(scene: &Scene<'_>, question: &Question, from_side: &str) -> Way {
    Way {
        source: question.source.to_string(),
        destination: question.destination.to_string(),
        upper: question.upper_text(),
        from_side: from_side.into(),
        from_interface: None,
        entry: None,
        sas: Vec::new(),
        connection: None,
        route: scene.route(question.destination.into()),
        outer_route: None,
        outcome: Outcome::Dropped,
        drop_reason: None,
        words: Vec::new(),
        onward: None,
    }
}

struct Decision<'a, 'b> {
    scene: &'a Scene<'a>,
    question: &'a Question,
    way: &'b mut Way,
}

impl<'a> Decision<'a, '_> {
    fn say(&mut self, words: impl Into<String>) {
        self.way.words.push(words.into());
    }

    fn end(&mut self, outcome: Outcome, words: impl Into<String>) {
        self.way.outcome = outcome;
        self.say(words);
    }

    fn drop(&mut self, reason: DropReason, words: impl Into<String>) {
        self.way.drop_reason = Some(reason.text().into());
        self.end(Outcome::Dropped, words);
    }

    fn ends(&self) -> (Address, Address) {
        (
            self.question.source.into(),
            self.question.destination.into(),
        )
    }

    fn take(&mut self, from: From) {
        let (source, destination) = self.ends();
        let fib = self.scene.fib;
        if self.question.source.is_ipv4() != self.question.destination.is_ipv4() {
            let words = "source and destination are of different families: there is no such packet";
            return self.drop(DropReason::IpMalformed, words);
        }
        if destination.is_multicast() || fib.is_broadcast(destination) {
            let words = "multicast and broadcast are not forwarded";
            return self.drop(DropReason::Multicast, words);
        }
        let link_local = destination.is_v6_link_local() || source.is_v6_link_local();
        if link_local && !fib.is_local(source) && !fib.is_local(destination) {
            let words = "link-local addresses are not forwarded";
            return self.drop(DropReason::IpMartian, words);
        }
        let leaves = self.scene.side(fib.route(destination)) == Some(Side::Unprotected);
        match from {
            From::Local if fib.is_local(destination) => self.end(
                Outcome::Delivered,
                "both addresses are this gateway's own: it does not leave",
            ),
            From::Local => self.outbound("it comes from this gateway itself"),
            From::Side(Side::Protected) => self.outbound("it comes from the protected side"),
            From::Side(Side::Unprotected) => self.inbound("it comes from the unprotected side"),
            From::Unknown if leaves => self.outbound(
                "there is no route back to its source; supposed to come from the protected side",
            ),
            From::Unknown => self.inbound(
                "there is no route back to its source; supposed to come from the unprotected side",
            ),
        }
    }

    /// RFC 4301 5.1.
    fn outbound(&mut self, how: &str) {
        self.say(how);
        let (_, destination) = self.ends();
        if self.scene.fib.is_local(destination) {
            let words =
                "it is for this gateway, and does not cross the boundary: the SPD is not asked";
            return self.end(Outcome::Delivered, words);
        }
        if self.scene.side(self.scene.fib.route(destination)) == Some(Side::Protected) {
            let words = "its way leads to the protected side, too: the SPD is not asked";
            return self.end(Outcome::Forwarded, words);
        }
        let key = self.question.key(Flow::Outbound);
        let Some(entry) = self.look_up(&key, Flow::Outbound) else {
            return;
        };
        let name = &entry.name;
        match &entry.action {
            Action::Discard => {
                let words = format!("entry `{name}` says discard");
                self.drop(DropReason::PolicyDiscard, words);
            }
            Action::Bypass => self.cross(format!("entry `{name}` lets it go in clear")),
            Action::Protect { outbound, .. } => self.protect(entry, outbound),
            Action::Negotiate {
                connection,
                child,
                clear,
            } => self.negotiate(entry, (*connection, *child), *clear, &key),
        }
    }

    /// It crosses the boundary in clear, if there is a route.
    fn cross(&mut self, words: String) {
        match self.way.route.is_some() {
            true => self.end(Outcome::Bypassed, words),
            false => {
                self.say(words);
                self.drop(DropReason::NoRoute, "there is no route to its destination");
            }
        }
    }

    /// The entry that decides; says why if there is none.
    fn look_up(&mut self, key: &SelectorKey, flow: Flow) -> Option<&'a SpdEntry> {
        let scene = self.scene;
        let Match::Yes((order, _)) = scene.spd.lookup(key, flow) else {
            self.partial(key, scene.policy.spd.len());
            let words = "no SPD entry matches, and what matches none is discarded";
            self.drop(DropReason::PolicyNoMatch, words);
            return None;
        };
        let order = order as usize;
        let entry = scene.policy.spd.get(order)?;
        let (local, remote) = selector_text(&entry.selector);
        let action = match &entry.action {
            Action::Discard => "discard",
            Action::Bypass => "bypass",
            Action::Protect { .. } | Action::Negotiate { .. } => "protect",
        };
        let rule = RuleStatus::of(entry);
        if let Some(rule) = &rule {
            let (name, entry) = (&rule.rule, &entry.name);
            self.say(match rule.order {
                0 => format!("entry `{entry}` is of the policy's `{name}`"),
                n => format!("entry `{entry}` came of rule {n} `{name}`"),
            });
        }
        self.way.entry = Some(EntryFound {
            rule,
            order: order + 1,
            name: entry.name.clone(),
            action: action.into(),
            local,
            remote,
        });
        self.partial(key, order);
        Some(entry)
    }

    /// Tells of an earlier entry that has these addresses, but asks for more than the question says.
    fn partial(&mut self, key: &SelectorKey, before: usize) {
        if self.question.protocol.is_some() && self.question.destination_port.is_some() {
            return;
        }
        let (local, remote) = (key.local.to_ip(), key.remote.to_ip());
        let has = |ranges: &[AddressRange], address| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(address))
        };
        let mut entries = self.scene.policy.spd.iter().take(before).enumerate();
        let earlier =
            entries.find(|(_, e)| has(&e.selector.local, local) && has(&e.selector.remote, remote));
        if let Some((order, entry)) = earlier {
            let (order, name) = (order + 1, &entry.name);
            let (local, remote) = selector_text(&entry.selector);
            self.say(format!(
                "part of this traffic is for entry {order} `{name}` ({local} and {remote}): ask with protocol and port"
            ));
        }
    }

    fn found(config: &SaConfig) -> SaFound {
        SaFound {
            name: config.name.clone(),
            spi: format!("{:#010x}", config.spi),
            transform: transform_text(config.transform),
            mode: mode_text(config.mode).into(),
            source: config.source.to_string(),
            destination: config.destination.to_string(),
        }
    }

    fn manual(&self, numbers: &[usize]) -> Vec<&'a SaConfig> {
        let sas = &self.scene.policy.sas;
        let known = numbers.iter().filter_map(|number| sas.get(*number));
        known.collect()
    }

    /// These SAs carry it, innermost first.
    fn carry(&mut self, sas: &[&SaConfig], words: String) {
        self.way.sas = sas.iter().map(|sa| Self::found(sa)).collect();
        let Some(outer) = sas.last() else { return };
        self.way.outer_route = self.scene.route(outer.destination.into());
        match self.way.outer_route.is_some() {
            true => self.end(Outcome::Protected, words),
            false => {
                self.say(words);
                let words = format!("there is no route to {}", outer.destination);
                self.drop(DropReason::NoRoute, words);
            }
        }
    }

    fn protect(&mut self, entry: &SpdEntry, outbound: &[usize]) {
        let (sas, name) = (self.manual(outbound), &entry.name);
        if sas.is_empty() {
            let words = format!("entry `{name}` protects, and has no outbound SA");
            return self.drop(DropReason::NoSa, words);
        }
        let names = names(&sas).join(", then ");
        self.carry(&sas, format!("entry `{name}` protects it with {names}"));
    }

    fn connection(&self, (connection, child): (usize, usize)) -> Option<(&'a Connection, &'a str)> {
        let connection = self.scene.policy.connections.get(connection)?;
        Some((connection, &connection.children.get(child)?.name))
    }

    fn negotiate(
        &mut self,
        entry: &SpdEntry,
        which: (usize, usize),
        clear: ClearText,
        key: &SelectorKey,
    ) {
        let Some((connection, child)) = self.connection(which) else {
            return;
        };
        let (full, name) = (format!("{}/{child}", connection.name), &entry.name);
        self.way.connection = Some(full.clone());
        if let Some(sas) = self.negotiated(&connection.name, child, key, Flow::Outbound) {
            let words =
                format!("entry `{name}` protects it with the SA that `{full}` has negotiated");
            return self.carry(&sas, words);
        }
        if self.is_soft((&connection.name, child), key) {
            let words = "goes in clear for now, since the peer does not answer IKE: a soft SA";
            return self.cross(format!("by entry `{name}` it {words}"));
        }
        let none = match self.scene.control.is_some() {
            true => "and there is none now",
            false => "if there is none yet",
        };
        self.say(format!(
            "entry `{name}` protects it with an SA that `{full}` negotiates, {none}"
        ));
        let transport = |c: &ChildPolicy| c.name == child && c.mode == Mode::Transport;
        let peer = match connection.remote {
            RemoteAddress::Host(peer) => Some(peer),
            // In transport mode the peer is whom the packet is for.
            _ if connection.children.iter().any(transport) => Some(key.remote.to_ip()),
            _ => None,
        };
        match (peer, connection.start) {
            _ if clear == ClearText::Unasked => {
                return self
                    .cross("as long as the peer has not asked for one, it goes in clear".into());
            }
            (Some(peer), Start::Traffic | Start::Load) => {
                let words = format!(
                    "it is held while IKE negotiates with {peer}, and leaves when there is an SA"
                );
                self.end(Outcome::Held, words);
            }
            (Some(_), Start::Manual) => {
                let words = "only the peer or `portcullis initiate` begins this connection";
                self.drop(DropReason::NotNegotiated, words);
            }
            (None, _) => {
                let words = "the peer's address is not known, so that only the peer can begin";
                self.drop(DropReason::NotNegotiated, words);
            }
        }
        if clear == ClearText::FallBack {
            self.say("with a peer that does not answer IKE at all it goes in clear for a while");
        }
        if let Some(failure) = self.last_failure(&connection.name) {
            self.say(format!("the last negotiation failed: {failure}"));
        }
    }

    fn last_failure(&self, connection: &str) -> Option<String> {
        let mut failures = self.scene.control?.ike.endpoint.failures();
        let last = failures.find(|failure| failure.connection.as_deref() == Some(connection))?;
        Some(explain_reason(&last.reason))
    }

    /// True if there is a soft SA for it.
    fn is_soft(&self, (connection, child): (&str, &str), key: &SelectorKey) -> bool {
        let control = self.scene.control;
        let mut all = control.into_iter().flat_map(|control| control.soft.iter());
        all.any(|soft| {
            let same = soft.name.0 == connection && soft.name.1 == child;
            same && CompiledSelector::new(soft.selector()).matches(key) == Match::Yes(())
        })
    }

    /// SAs of a child that is in use and has this traffic: of several those that packets find first, with the longest
    /// prefix around the remote addresses, and the newest.
    fn negotiated(
        &self,
        connection: &str,
        child: &str,
        key: &SelectorKey,
        flow: Flow,
    ) -> Option<Vec<&'a SaConfig>> {
        let control = self.scene.control?;
        let children = control.negotiated.children();
        let having = children.filter(|(id, known)| {
            let same = known.name.0 == connection && known.name.1 == child;
            let used = flow == Flow::Inbound || control.negotiated.used(*id).in_use;
            let admits = || CompiledSelector::new(known.selector()).matches(key);
            same && used && admits() == Match::Yes(())
        });
        let first = |child: &Child| RemotePrefix::around(child.selector()).length();
        let (_, found) = having.max_by_key(|(id, known)| (first(known), id.number()))?;
        let sas = match flow {
            Flow::Outbound => &found.outbound,
            Flow::Inbound => &found.inbound,
        };
        Some(sas.iter().map(|sa| &sa.config).collect())
    }

    /// RFC 4301 5.2.
    fn inbound(&mut self, how: &str) {
        self.say(how);
        let (source, destination) = self.ends();
        let fib = self.scene.fib;
        if fib.is_local(source) {
            let words = "nobody else speaks in clear from this gateway's addresses";
            return self.drop(DropReason::IpMartian, words);
        }
        if fib.is_local(destination) && self.is_ipsec() {
            let words = "IKE is exempt from the SPD; ESP and AH are opened with the SA that their SPI names";
            return self.end(Outcome::Delivered, words);
        }
        let key = self.question.key(Flow::Inbound);
        let Some(entry) = self.look_up(&key, Flow::Inbound) else {
            return;
        };
        let name = &entry.name;
        match &entry.action {
            Action::Discard => {
                let words = format!("entry `{name}` says discard");
                self.drop(DropReason::PolicyDiscard, words);
            }
            Action::Bypass => self.let_in(format!("entry `{name}` lets it in in clear")),
            Action::Protect { inbound, .. } => {
                let sas = self.manual(inbound);
                self.admit(entry, &sas, ClearText::Never);
            }
            Action::Negotiate {
                connection,
                child,
                clear,
            } => {
                let Some((connection, child)) = self.connection((*connection, *child)) else {
                    return;
                };
                self.way.connection = Some(format!("{}/{child}", connection.name));
                let sas = self.negotiated(&connection.name, child, &key, Flow::Inbound);
                self.admit(entry, &sas.unwrap_or_default(), *clear);
            }
        }
    }

    /// ESP, AH, or IKE.
    fn is_ipsec(&self) -> bool {
        let port = self.question.destination_port;
        match self.question.protocol {
            Some(protocol::ESP | protocol::AH) => true,
            Some(protocol::UDP) => {
                let esp = fib::esp_udp_ports(self.scene.policy);
                port.is_some_and(|port| IKE_PORTS.contains(&port) || esp.contains(&port))
            }
            _ => false,
        }
    }

    /// Out of its SA it does not stay on this side: it leaves as any other packet does (RFC 4301 5.1).
    fn go_on(&mut self) {
        let (_, destination) = self.ends();
        let fib = self.scene.fib;
        let stays = self.scene.side(fib.route(destination)) == Some(Side::Protected);
        if stays || fib.is_local(destination) {
            return;
        }
        let mut onward = undecided(self.scene, self.question, "sa");
        let mut decision = Decision {
            scene: self.scene,
            question: self.question,
            way: &mut onward,
        };
        decision.outbound("it comes out of an SA, and its way leads out again");
        self.way.onward = Some(Box::new(onward));
    }

    fn let_in(&mut self, words: String) {
        match self.scene.fib.is_local(self.question.destination.into()) {
            true => self.end(Outcome::Delivered, words),
            false => self.cross(words),
        }
    }

    /// It must come in an SA.
    fn admit(&mut self, entry: &SpdEntry, sas: &[&SaConfig], clear: ClearText) {
        self.way.sas = sas.iter().map(|sa| Self::found(sa)).collect();
        let name = &entry.name;
        let with = match (sas.is_empty(), &self.way.connection) {
            (false, _) => format!("the SA {}", names(sas).join(" in ")),
            (true, Some(_)) if clear != ClearText::Never => {
                return self.let_in(format!(
                    "entry `{name}` lets it in in clear as long as there is no SA for it"
                ));
            }
            (true, Some(connection)) => format!("an SA that `{connection}` negotiates"),
            (true, None) => {
                let words = format!("entry `{name}` protects, and has no inbound SA");
                return self.drop(DropReason::ProtectedExpected, words);
            }
        };
        self.way.drop_reason = Some(DropReason::ProtectedExpected.text().into());
        let words = format!("entry `{name}` wants it in {with}; in clear it is dropped");
        self.end(Outcome::Admitted, words);
        self.go_on();
    }
}

fn names(sas: &[&SaConfig]) -> Vec<String> {
    sas.iter().map(|sa| format!("`{}`", sa.name)).collect()
}
