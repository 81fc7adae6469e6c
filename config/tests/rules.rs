//! What comes of rules: entries, connections, and their order.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which may

use std::path::Path;

use portcullis_config::{
    Action, Authentication, ClearText, Direction, Group, IkeCipher, IkeHash, Mode, Policy,
    PolicyId, RemoteAddress, Selector, Start, UpperLayer, parse,
};

const PORTS: &str = r#"
[[port]]
name = "lan"
device = "a"
side = "protected"
addresses = ["10.1.0.1/24"]

[[port]]
name = "wan"
device = "b"
side = "unprotected"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]

[[port]]
name = "modem"
device = "c"
side = "unprotected"
class = "remote-access"
addresses = ["203.0.113.1/24"]

[[route]]
destination = "0.0.0.0/0"
via = "192.0.2.254"

[[route]]
destination = "10.7.0.0/16"
via = "203.0.113.254"
"#;

const ACTIONS: &str = r#"
[[filter-action]]
name = "permit"
action = "permit"

[[filter-action]]
name = "block"
action = "block"

[[filter-action]]
name = "secure"
action = "negotiate"
"#;

const PSK: &str =
    r#"authentication = [{ psk = "correct horse battery staple", local-id = "192.0.2.1" }]"#;

fn policy(head: &str, text: &str) -> Policy {
    let text = format!("{head}{PORTS}{ACTIONS}{text}");
    match parse(&text, Path::new("p"), Path::new("/nonexistent")) {
        Ok(loaded) => loaded.policy,
        Err(mistakes) => panic!(
            "{}",
            mistakes
                .iter()
                .map(|m| format!("{m}\n"))
                .collect::<String>()
        ),
    }
}

/// A rule with one filter.
fn rule(name: &str, filter: &str, action: &str, more: &str) -> String {
    let list = format!("[[filter-list]]\nname = \"{name}\"\nfilter = [{{ {filter} }}]\n");
    format!(
        "{list}[[rule]]\nname = \"{name}\"\nfilter-list = \"{name}\"\nfilter-action = \"{action}\"\n{more}\n"
    )
}

fn ranges(list: &[portcullis_config::AddressRange]) -> String {
    let text = |r: &portcullis_config::AddressRange| match r.start == r.end {
        true => r.start.to_string(),
        false => format!("{}-{}", r.start, r.end),
    };
    match list {
        [] => "any".into(),
        list => list.iter().map(text).collect::<Vec<_>>().join(","),
    }
}

fn show(selector: &Selector) -> String {
    let ports = |list: &[portcullis_config::PortRange]| match list {
        [] => String::new(),
        [one, ..] => format!(":{}", one.start),
    };
    let (local, remote) = (ranges(&selector.local), ranges(&selector.remote));
    match &selector.upper {
        UpperLayer::Any => format!("{local} {remote}"),
        UpperLayer::Protocol(p) => format!("{local} {remote} {p}"),
        UpperLayer::Ports {
            protocol,
            local: l,
            remote: r,
        } => {
            format!("{local}{} {remote}{} {protocol}", ports(l), ports(r))
        }
        UpperLayer::Icmp { protocol, .. } => format!("{local} {remote} {protocol}"),
    }
}

/// Every entry as one line.
fn lines(policy: &Policy) -> Vec<String> {
    let line = |entry: &portcullis_config::SpdEntry| {
        let direction = match entry.direction {
            None => "both",
            Some(Direction::Outbound) => "out",
            Some(Direction::Inbound) => "in",
        };
        let action = match entry.action {
            Action::Discard => "discard",
            Action::Bypass => "bypass",
            Action::Protect { .. } => "protect",
            Action::Negotiate { .. } => "negotiate",
        };
        format!(
            "{} {direction} {} {action}",
            entry.name,
            show(&entry.selector)
        )
    };
    policy.spd.iter().map(line).collect()
}

#[test]
fn filters_become_what_may_cross_the_boundary() {
    let filters = [
        // One end is on the protected side only, the other on the unprotected side only.
        (
            "a",
            "source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\"",
        ),
        (
            "b",
            "source = \"10.2.0.0/24\", destination = \"10.1.0.0/24\"",
        ),
        (
            "c",
            "source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\", mirrored = false",
        ),
        (
            "d",
            "source = \"10.2.0.0/24\", destination = \"10.1.0.0/24\", mirrored = false",
        ),
        // Addresses of ours, of both families.
        (
            "e",
            "source = \"my-address\", destination = \"198.51.100.7\"",
        ),
        (
            "f",
            "source = \"any\", destination = \"my-address\", protocol = \"tcp\", destination-port = 80",
        ),
        // Both ends may be anywhere.
        (
            "g",
            "source = \"any\", destination = \"any\", protocol = \"udp\", destination-port = 53",
        ),
        (
            "h",
            "source = \"any\", destination = \"any\", protocol = \"tcp\", destination-port = 135, mirrored = false",
        ),
        (
            "i",
            "source = \"any\", destination = \"any\", protocol = 47, mirrored = false",
        ),
        ("j", "source = \"any\", destination = \"any\""),
    ];
    let text: String = filters
        .iter()
        .map(|(name, filter)| rule(name, filter, "permit", ""))
        .collect();
    let own = "10.1.0.1,192.0.2.1,2001:db8::1,203.0.113.1";
    assert_eq!(
        lines(&policy("", &text)),
        [
            "a/1 both 10.1.0.0-10.1.0.255 10.2.0.0-10.2.0.255 bypass".to_owned(),
            "b/1 both 10.1.0.0-10.1.0.255 10.2.0.0-10.2.0.255 bypass".into(),
            "c/1 out 10.1.0.0-10.1.0.255 10.2.0.0-10.2.0.255 bypass".into(),
            "d/1 in 10.1.0.0-10.1.0.255 10.2.0.0-10.2.0.255 bypass".into(),
            format!("e/1 both {own} 198.51.100.7 bypass"),
            format!("f/1 both {own}:80 any 6 bypass"),
            "g/1 both any any:53 17 bypass".into(),
            "g/1-back both any:53 any 17 bypass".into(),
            "h/1 out any any:135 6 bypass".into(),
            "h/1-back in any:135 any 6 bypass".into(),
            "i/1 both any any 47 bypass".into(),
            "j/1 both any any bypass".into(),
        ]
    );
}

#[test]
fn block_rpc_from_the_internet() {
    let filter = "source = \"any\", destination = \"any\", protocol = \"tcp\", destination-port = 135, mirrored = false";
    let policy = policy("", &rule("rpc", filter, "block", ""));
    assert_eq!(
        lines(&policy),
        [
            "rpc/1 out any any:135 6 discard",
            "rpc/1-back in any:135 any 6 discard"
        ]
    );
}

#[test]
fn rule_for_some_interfaces_is_for_what_goes_over_them() {
    let any = "source = \"any\", destination = \"any\"";
    let lan = rule("lan", any, "permit", "interface-class = \"lan\"");
    let modem = rule("modem", any, "block", "interface-class = \"remote-access\"");
    let mine = "source = \"my-address\", destination = \"any\"";
    let mine = rule(
        "mine",
        mine,
        "permit",
        "interface-class = \"remote-access\"",
    );
    let lines = lines(&policy("", &(lan + &modem + &mine)));
    // The route to 10.7.0.0/16 and the link 203.0.113.0/24 are the modem's, the rest goes to the other port; where no
    // route leads it is neither.
    let rest = "0.0.0.0-10.0.255.255,10.1.1.0-10.6.255.255,10.8.0.0-203.0.112.255,203.0.114.0-255.255.255.255";
    assert_eq!(
        lines,
        [
            format!("lan/1 both any {rest},2001:db8::-2001:db8::ffff:ffff:ffff:ffff bypass"),
            "modem/1 both any 10.7.0.0-10.7.255.255,203.0.113.0-203.0.113.255 discard".to_owned(),
            "mine/1 both 203.0.113.1 10.7.0.0-10.7.255.255,203.0.113.0-203.0.113.255 bypass"
                .to_owned(),
        ]
    );
}

#[test]
fn tunnel_is_a_connection_with_a_child_for_each_filter() {
    let text = format!(
        "[[filter-list]]\nname = \"l\"\nfilter = [{}, {}]\n[[rule]]\nname = \"branch\"\nfilter-list = \"l\"\n\
         filter-action = \"secure\"\ntunnel-endpoint = \"198.51.100.1\"\n{PSK}\n",
        "{ source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\" }",
        "{ source = \"any\", destination = \"10.3.0.0/24\", protocol = \"tcp\", destination-port = 80 }",
    );
    // The same peer, with the same proof: one phase 1 is enough.
    let other = "source = \"10.1.0.0/24\", destination = \"10.4.0.0/24\"";
    let other = rule(
        "other",
        other,
        "secure",
        &format!("tunnel-endpoint = \"198.51.100.1\"\n{PSK}"),
    );
    let policy = policy("", &(text + &other));
    assert_eq!(
        lines(&policy),
        [
            "branch/1 both 10.1.0.0-10.1.0.255 10.2.0.0-10.2.0.255 negotiate",
            "branch/2 both 0.0.0.0-255.255.255.255 10.3.0.0-10.3.0.255:80 6 negotiate",
            "other/1 both 10.1.0.0-10.1.0.255 10.4.0.0-10.4.0.255 negotiate",
        ]
    );
    let [connection] = &policy.connections[..] else {
        panic!("{:?}", policy.connections)
    };
    assert_eq!(connection.name, "branch");
    assert_eq!(
        connection.remote,
        RemoteAddress::Host("198.51.100.1".parse().unwrap())
    );
    let children: Vec<_> = connection
        .children
        .iter()
        .map(|c| (c.name.as_str(), c.mode))
        .collect();
    let tunnel = |name| (name, Mode::Tunnel);
    assert_eq!(
        children,
        [tunnel("branch/1"), tunnel("branch/2"), tunnel("other/1")]
    );
    for (number, entry) in policy.spd.iter().enumerate() {
        let clear = ClearText::Never;
        assert_eq!(
            entry.action,
            Action::Negotiate {
                connection: 0,
                child: number,
                clear
            }
        );
        assert_eq!(*entry.selector, connection.children[number].selector);
    }
}

#[test]
fn transport_mode_is_with_the_other_end_of_the_filter() {
    let host = rule(
        "host",
        "source = \"my-address\", destination = \"198.51.100.7\"",
        "secure",
        PSK,
    );
    let hosts = rule(
        "hosts",
        "source = \"198.51.100.0/24\", destination = \"my-address\"",
        "secure",
        PSK,
    );
    let policy = policy("", &(host + &hosts));
    let own = "10.1.0.1,192.0.2.1,203.0.113.1";
    assert_eq!(
        lines(&policy),
        [
            format!("host/1 both {own} 198.51.100.7 negotiate"),
            format!("hosts/1 both {own} 198.51.100.0-198.51.100.255 negotiate"),
        ]
    );
    let [host, hosts] = &policy.connections[..] else {
        panic!("{:?}", policy.connections)
    };
    assert_eq!(
        host.remote,
        RemoteAddress::Host("198.51.100.7".parse().unwrap())
    );
    assert!(matches!(&hosts.remote, RemoteAddress::Ranges(r) if r.len() == 1));
    assert_eq!(host.children[0].mode, Mode::Transport);
}

#[test]
fn tunnel_of_two_rules_is_one_entry() {
    let out = "source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\", mirrored = false";
    let back = "source = \"10.2.0.0/24\", destination = \"10.1.0.0/24\", mirrored = false";
    let out = rule(
        "out",
        out,
        "secure",
        &format!("tunnel-endpoint = \"198.51.100.1\"\n{PSK}"),
    );
    let back = rule("back", back, "secure", "tunnel-endpoint = \"192.0.2.1\"");
    let policy = policy("", &(out + &back));
    assert_eq!(
        lines(&policy),
        ["out/1 both 10.1.0.0-10.1.0.255 10.2.0.0-10.2.0.255 negotiate"]
    );
}

#[test]
fn methods_are_in_order_of_preference() {
    let more =
        r#"authentication = [{ psk = "correct horse battery staple", local-id = "a.example" }]"#;
    let rule = rule(
        "r",
        "source = \"my-address\", destination = \"198.51.100.7\"",
        "secure",
        more,
    );
    let policy = policy("", &rule);
    let connection = &policy.connections[0];
    assert!(matches!(
        connection.authentication,
        Authentication::PreSharedKey(_)
    ));
    assert!(connection.further.is_empty());
}

#[test]
fn order_is_the_authors_or_that_of_specificity() {
    let filters = [
        ("any", "source = \"my-address\", destination = \"any\""),
        (
            "net",
            "source = \"my-address\", destination = \"198.51.100.0/24\"",
        ),
        (
            "host",
            "source = \"my-address\", destination = \"198.51.100.7\"",
        ),
        (
            "tcp",
            "source = \"my-address\", destination = \"198.51.100.7\", protocol = \"tcp\"",
        ),
        (
            "port",
            "source = \"my-address\", destination = \"198.51.100.7\", protocol = \"tcp\", destination-port = 80",
        ),
        (
            "ports",
            "source = \"my-address\", destination = \"198.51.100.7\", protocol = \"tcp\", source-port = 7, destination-port = 80",
        ),
        (
            "net-port",
            "source = \"my-address\", destination = \"198.51.100.0/24\", protocol = \"tcp\", source-port = 7, destination-port = 80",
        ),
    ];
    let text: String = filters
        .iter()
        .map(|(name, filter)| rule(name, filter, "permit", ""))
        .collect();
    let names = |policy: &Policy| -> Vec<String> {
        let made = policy.spd.iter().filter_map(|e| e.origin.as_ref());
        made.filter(|o| o.order != 0)
            .map(|o| o.rule.clone())
            .collect()
    };
    let modern = policy("", &text);
    assert_eq!(
        names(&modern),
        ["any", "net", "host", "tcp", "port", "ports", "net-port"]
    );
    let old = policy("[policy]\nprofile = \"ws2003\"\n", &text);
    assert_eq!(
        names(&old),
        ["ports", "port", "tcp", "host", "net-port", "net", "any"]
    );
    // The weight stands beside the author's order, and the identifier does not depend on either.
    let weights: Vec<_> = old
        .spd
        .iter()
        .map(|e| e.origin.as_ref().unwrap().weight)
        .collect();
    assert!(weights.is_sorted_by(|a, b| a >= b), "{weights:?}");
    let orders = old
        .spd
        .iter()
        .filter_map(|e| e.origin.as_ref())
        .map(|o| o.order);
    assert_eq!(
        orders.filter(|o| *o != 0).collect::<Vec<_>>(),
        [6, 5, 4, 3, 7, 2, 1]
    );
    let origin = old
        .spd
        .iter()
        .find(|e| e.name == "port/1")
        .unwrap()
        .origin
        .clone()
        .unwrap();
    assert_eq!(origin.id, PolicyId::of("port"));
}

#[test]
fn identifiers_are_uuids_of_names() {
    // FNV-1a of no bytes is its basis; version 8 and variant 10 in place of six of its bits (RFC 9562 4.1, 4.2, 5.8).
    assert_eq!(
        PolicyId::of("").to_string(),
        "6c62272e-07bb-8142-a2b8-21756295c58d"
    );
    assert_ne!(PolicyId::of("a"), PolicyId::of("b"));
}

#[test]
fn what_is_written_goes_before_rules() {
    let spd = "[[spd]]\nname = \"written\"\nremote = \"198.51.100.9\"\naction = \"discard\"\n";
    let rule = rule(
        "r",
        "source = \"my-address\", destination = \"any\"",
        "permit",
        "",
    );
    let policy = policy(
        "[policy]\nprofile = \"ws2003\"\n",
        &(spd.to_owned() + &rule),
    );
    let names: Vec<_> = policy.spd.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "default-exemption/isakmp",
            "default-exemption/multicast-in",
            "default-exemption/broadcast-in",
            "written",
            "r/1",
            "unmatched"
        ]
    );
}

/// The table of the defaults of Windows Server 2003, restated.
#[test]
fn ws2003_defaults() {
    let rule = rule(
        "r",
        "source = \"my-address\", destination = \"198.51.100.7\"",
        "secure",
        PSK,
    );
    let policy = policy("[policy]\nprofile = \"ws2003\"\n", &rule);
    let connection = &policy.connections[0];
    let first = connection.ike_proposals[0];
    assert_eq!(
        (first.cipher, first.hash, first.group),
        (IkeCipher::TripleDesCbc, IkeHash::Sha1, Group::Modp1024)
    );
    // Master key: eight hours, any number of quick modes, no perfect forward secrecy.
    assert_eq!(
        (connection.ike_lifetime, connection.quick_modes),
        (8 * 3600, None)
    );
    // Session keys: 100 000 kilobytes or one hour; idle for five minutes.
    let child = &connection.children[0];
    assert_eq!(child.hard.seconds, Some(3600));
    assert_eq!(child.hard.bytes, Some(100_000 * 1024));
    assert_eq!((child.idle, child.pfs), (Some(5 * 60), None));
    let esp = child.proposals[0].esp.unwrap();
    assert_eq!(format!("{esp:?}"), "Esp(TripleDesCbc, Some(HmacSha1_96))");
    // What matches nothing passes.
    let last = policy.spd.last().unwrap();
    assert_eq!(
        (last.action.clone(), &*last.selector),
        (Action::Bypass, &Selector::default())
    );
}

/// Filters with addresses of ours follow them, and nothing else does.
#[test]
fn filters_follow_our_addresses() {
    let host = "source = \"my-address\", destination = \"198.51.100.7\"";
    let lans = "source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\"";
    let text = rule("host", host, "secure", PSK) + &rule("lans", lans, "permit", "");
    let old = policy("", &text);
    let moved = format!("{PORTS}{ACTIONS}{text}").replace("192.0.2.1", "192.0.2.77");
    let moved = parse(&moved, Path::new("p"), Path::new("/nonexistent")).unwrap();
    let changed = lines(&old)
        .into_iter()
        .map(|line| line.replace("192.0.2.1", "192.0.2.77"));
    assert_eq!(lines(&moved.policy), changed.collect::<Vec<_>>());
    assert!(
        lines(&moved.policy)
            .iter()
            .any(|line| line.contains("192.0.2.77"))
    );
    // Without an address of ours there is nothing to speak from.
    let without = format!("{PORTS}{ACTIONS}{text}")
        .lines()
        .fold(String::new(), |text, line| {
            let keep = !line.starts_with("addresses") && !line.starts_with("via");
            text + if keep { line } else { "" } + "\n"
        });
    let without = without
        .replace("[[route]]", "")
        .replace("destination = \"0.0.0.0/0\"", "");
    let without = without.replace("destination = \"10.7.0.0/16\"", "");
    let mistakes = parse(&without, Path::new("p"), Path::new("/nonexistent")).unwrap_err();
    assert!(
        mistakes.iter().any(|m| m.to_string().contains("rule")),
        "{mistakes:?}"
    );
}

/// The security methods of the default response rule, restated; with them the rule answers whoever no other is about.
#[test]
fn default_response_of_old() {
    let response = format!("[default-response]\n{PSK}\n");
    let policy = policy("[policy]\nprofile = \"ws2003\"\n", &response);
    let [connection] = &policy.connections[..] else {
        panic!("{:?}", policy.connections)
    };
    let methods: Vec<_> = connection.children[0]
        .proposals
        .iter()
        .map(|p| (p.esp, p.ah))
        .collect();
    let text = format!("{methods:?}");
    assert_eq!(
        text,
        "[(Some(Esp(TripleDesCbc, Some(HmacSha1_96))), None), (Some(Esp(TripleDesCbc, Some(HmacMd5_96))), None), \
         (Some(Esp(DesCbc, Some(HmacSha1_96))), None), (Some(Esp(DesCbc, Some(HmacMd5_96))), None), \
         (None, Some(HmacSha1_96)), (None, Some(HmacMd5_96))]"
    );
    assert_eq!(
        (&connection.remote, connection.start),
        (&RemoteAddress::Any, Start::Manual)
    );
    assert_eq!(connection.children[0].mode, Mode::Transport);
    let [.., entry, unmatched] = &policy.spd[..] else {
        panic!("{:?}", policy.spd)
    };
    assert_eq!(
        (entry.name.as_str(), unmatched.name.as_str()),
        ("default-response", "unmatched")
    );
    // Nobody is asked: what no peer asks to protect passes as if there were no such rule.
    assert!(matches!(
        entry.action,
        Action::Negotiate {
            clear: ClearText::Unasked,
            ..
        }
    ));
}

#[test]
fn default_response_is_deactivated_and_discards_in_the_modern_profile() {
    let response = |active| format!("[default-response]\nactive = {active}\n{PSK}\n");
    let off = policy("", &response(false));
    assert!(off.connections.is_empty() && off.spd.is_empty());
    // It is still there.
    assert!(off.rules.default_response.is_some());
    let on = policy("", &response(true));
    assert!(matches!(
        on.spd[0].action,
        Action::Negotiate {
            clear: ClearText::Never,
            ..
        }
    ));
}
