//! Rules, what they share, exemptions, and lints over all entries.

use std::path::Path;

use portcullis_config::{Direction, Policy, Selector, UpperLayer, parse};

use crate::unmark;

/// A policy of rules without a mistake. Each test puts some in, with `^` where they are to be found.
const RULES: &str = r#"
[policy]
profile = "modern"

[[port]]
name = "lan"
device = "a"
side = "protected"
addresses = ["10.1.0.1/24"]

[[port]]
name = "wan"
device = "b"
side = "unprotected"
addresses = ["192.0.2.1/24"]

[[route]]
destination = "0.0.0.0/0"
via = "192.0.2.254"

[[filter-list]]
name = "lans"
filter = [
  { source = "10.1.0.0/24", destination = "10.2.0.0/24" },
]

[[filter-list]]
name = "web"
filter = [
  { source = "my-address", destination = "any", protocol = "tcp", destination-port = 80 },
]

[[filter-action]]
name = "permit"
action = "permit"

[[filter-action]]
name = "secure"
action = "negotiate"

[[rule]]
name = "branch"
filter-list = "lans"
filter-action = "secure"
authentication = [{ psk = "correct horse battery staple" }]
tunnel-endpoint = "198.51.100.1"

[[rule]]
name = "web"
filter-list = "web"
filter-action = "permit"
"#;

const LANS: &str = r#"{ source = "10.1.0.0/24", destination = "10.2.0.0/24" }"#;
const WEB: &str =
    r#"{ source = "my-address", destination = "any", protocol = "tcp", destination-port = 80 }"#;
const ENDPOINT: &str = "tunnel-endpoint = \"198.51.100.1\"\n";
const MODERN: &str = "profile = \"modern\"";
const SECURE: &str = "name = \"secure\"\naction = \"negotiate\"\n";
const WEB_RULE: &str = "filter-list = \"web\"\nfilter-action = \"permit\"\n";

fn edited(edits: &[(&str, &str)]) -> String {
    let mut text = RULES.to_owned();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "{old:?} is not there once");
        text = text.replace(old, new);
    }
    text
}

/// Asserts that the edited policy has exactly these mistakes, errors and warnings, at the marks in their order.
#[track_caller]
fn expect(edits: &[(&str, &str)], messages: &[&str]) {
    let (text, places) = unmark(&edited(edits));
    let found = match parse(&text, Path::new("p"), Path::new("/nonexistent")) {
        Ok(loaded) => loaded.warnings,
        Err(mistakes) => mistakes,
    };
    let found: Vec<_> = found
        .iter()
        .map(|m| (m.line, m.column, m.message.as_str()))
        .collect();
    let expected: Vec<_> = places
        .iter()
        .zip(messages)
        .map(|(p, m)| (p.0, p.1, *m))
        .collect();
    assert_eq!(places.len(), messages.len(), "a mark for each message");
    assert_eq!(found, expected);
}

fn policy(edits: &[(&str, &str)]) -> Policy {
    let loaded = parse(&edited(edits), Path::new("p"), Path::new("/nonexistent"));
    loaded.unwrap().policy
}

#[test]
fn rules_without_a_mistake() {
    expect(&[], &[]);
}

#[test]
fn names_and_what_they_name() {
    expect(
        &[
            ("name = \"web\"\nfilter = [", "name = ^\"lans\"\nfilter = ["),
            ("filter-action = \"secure\"", "filter-action = ^\"secur\""),
            ("filter-list = \"web\"", "filter-list = ^\"weeb\""),
        ],
        &[
            "the name `lans` is taken in line 21",
            "there is no filter action `secur`; did you mean `secure`?",
            "there is no filter list `weeb`",
        ],
    );
}

#[test]
fn all_mistakes_of_rules_at_once() {
    expect(
        &[
            (
                LANS,
                "{ source = ^\"10.1.0.9/24\", destination = ^\"elsewhere\" }",
            ),
            (
                "protocol = \"tcp\", destination-port = 80",
                "destination-port = ^80",
            ),
            (
                "name = \"permit\"\naction = \"permit\"\n",
                "name = \"permit\"\naction = ^\"allow\"\n",
            ),
            (ENDPOINT, "interface-class = ^\"wifi\"\n"),
            ("psk = \"correct horse battery staple\"", "psk = ^\"\""),
        ],
        &[
            "expected 10.1.0.0/24 or 10.1.0.9/32; got 10.1.0.9/24",
            "expected a prefix, an address or a range of addresses such as 10.1.1.5-10.1.1.9; got `elsewhere`",
            "expected only with protocol tcp, udp, dccp or sctp",
            "expected one of permit, block, negotiate; got `allow`",
            "expected a string that is not empty",
            "expected one of lan, remote-access; got `wifi`",
        ],
    );
}

#[test]
fn what_goes_with_negotiation_only() {
    expect(
        &[
            (
                "name = \"permit\"\naction = \"permit\"\n",
                "name = \"permit\"\naction = \"permit\"\npfs = ^true\nidle = ^9\n",
            ),
            (
                WEB_RULE,
                "filter-list = \"web\"\nfilter-action = \"permit\"\ntunnel-endpoint = ^\"198.51.100.1\"\n",
            ),
        ],
        &[
            "expected only with action \"negotiate\"",
            "expected only with action \"negotiate\"",
            "expected only with an action that negotiates",
        ],
    );
    expect(
        &[
            (
                "[[rule]]\nname = \"branch\"",
                "^[[rule]]\nname = \"branch\"",
            ),
            (
                "authentication = [{ psk = \"correct horse battery staple\" }]\n",
                "",
            ),
        ],
        &["missing key `authentication` in [[rule]] `branch`"],
    );
    expect(
        &[(
            "[{ psk = \"correct horse battery staple\" }]",
            "[{ psk = \"correct horse battery staple\" }, ^{ psk = \"staple battery horse correct\" }]",
        )],
        &["expected one pre-shared key: the peer could not tell which is meant"],
    );
}

#[test]
fn kerberos_is_refused_in_words() {
    expect(
        &[(
            "[{ psk = \"correct horse battery staple\" }]",
            "[{ kerberos = ^true }]",
        )],
        &["this gateway has no Kerberos (GSS-API) authentication: give both ends a certificate"],
    );
}

#[test]
fn what_quick_mode_cannot_say() {
    let one = "expected one port: quick mode names one at each end (RFC 2407 4.6.2)";
    expect(
        &[(
            LANS,
            "{ source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\", protocol = \"tcp\", source-port = ^[1, 2], destination-port = ^\"5-6\" }",
        )],
        &[one, one],
    );
    expect(
        &[(
            LANS,
            "{ source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\", protocol = \"icmp\", icmp-type = ^8 }",
        )],
        &["quick mode has no words for ICMP types (RFC 2407 4.6.2)"],
    );
    expect(
        &[(LANS, "{ source = ^\"any\", destination = \"any\" }")],
        &["expected addresses at one end at least: quick mode names those of one family"],
    );
    expect(
        &[(
            LANS,
            "{ source = \"10.1.0.0/24\", destination = ^\"224.1.0.0/16\" }",
        )],
        &["expected no multicast: IKE negotiates with one peer; permit it or block it"],
    );
}

#[test]
fn ends_are_on_both_sides_of_the_boundary() {
    expect(
        &[(
            LANS,
            "{ source = ^\"198.51.100.0/24\", destination = \"10.2.0.0/24\" }",
        )],
        &["no packet that crosses the boundary matches: by the routes both ends are on one side"],
    );
    expect(
        &[
            (ENDPOINT, ""),
            (
                LANS,
                "{ source = ^\"10.1.0.0/24\", destination = \"10.2.0.0/24\" }",
            ),
        ],
        &[
            "expected `my-address` at one end: transport mode is for packets of this gateway itself; for others, name a `tunnel-endpoint` in the rule",
        ],
    );
}

#[test]
fn tunnel_of_two_rules_needs_both() {
    let half = |mark: &str| {
        format!(
            "{{ source = \"10.1.0.0/24\", destination = \"10.2.0.0/24\", mirrored = {mark}false }}"
        )
    };
    expect(
        &[(LANS, &half("^"))],
        &[
            "there is no rule for the way in: expected one with this filter turned round and an address of ours as tunnel endpoint, or a mirrored filter",
        ],
    );
    expect(
        &[
            (
                LANS,
                "{ source = ^\"10.2.0.0/24\", destination = \"10.1.0.0/24\", mirrored = false }",
            ),
            (ENDPOINT, "tunnel-endpoint = \"192.0.2.1\"\n"),
            (
                "authentication = [{ psk = \"correct horse battery staple\" }]\n",
                "",
            ),
        ],
        &[
            "there is no rule for the way out: expected one with this filter turned round and the peer as tunnel endpoint",
        ],
    );
    expect(
        &[
            (ENDPOINT, ""),
            (
                LANS,
                "{ source = \"my-address\", destination = \"10.2.0.0/24\", mirrored = ^false }",
            ),
        ],
        &["expected a mirrored filter: SAs go both ways"],
    );
}

#[test]
fn group_of_main_mode_if_there_is_one() {
    let pfs = "name = \"secure\"\naction = \"negotiate\"\npfs = ^true\n";
    expect(
        &[(SECURE, pfs)],
        &["expected the name of a group: [ike] proposes several"],
    );
    let ike = "profile = \"modern\"\n[ike]\nproposals = [{ encryption = \"aes256-cbc\", hash = \"sha2-256\", group = \"ecp384\" }]\n";
    let policy = policy(&[(SECURE, &pfs.replace('^', "")), (MODERN, ike)]);
    let child = &policy.connections[0].children[0];
    assert_eq!(child.pfs.unwrap().to_string(), "ecp384");
}

#[test]
fn lifetimes_that_do_not_go_together() {
    expect(
        &[(
            SECURE,
            "name = \"secure\"\naction = \"negotiate\"\nhard-lifetime = ^{ seconds = 7200 }\n",
        )],
        &[
            "SAs may live 7200 seconds on when their phase 1 of 28800 seconds has ended: expected less than a quarter of it",
        ],
    );
    expect(
        &[
            (MODERN, "profile = ^\"ws2003\""),
            (
                SECURE,
                "name = \"secure\"\naction = \"negotiate\"\nhard-lifetime = ^{ seconds = 299 }\n",
            ),
        ],
        &[
            "legacy defaults: 3des-cbc, sha1, md5 and modp1024, and what matches no entry passes in clear",
            "expected at least 300 seconds, the least in profile \"ws2003\"; got 299",
        ],
    );
}

#[test]
fn proposals_that_grow_weaker() {
    expect(
        &[(
            SECURE,
            "name = \"secure\"\naction = \"negotiate\"\nproposals = [{ encryption = \"aes128-gcm16\" }, ^{ ah = \"hmac-sha2-256-128\" }]\n",
        )],
        &["a peer without aes128-gcm16 falls back to this weaker one, and nobody notices"],
    );
}

#[test]
fn clear_text_is_for_the_old_profile() {
    let clear = "name = \"secure\"\naction = \"negotiate\"\nclear-text = ^\"accept\"\n";
    expect(
        &[(SECURE, clear)],
        &["expected \"never\": only profile ws2003 lets clear packets pass here"],
    );
}

#[test]
fn entries_of_rules_that_are_dead() {
    let second = "[[rule]]\nname = \"web\"\nfilter-list = \"web\"\nfilter-action = \"permit\"\n";
    let third =
        "\n[[rule]]\nname = \"again\"\nfilter-list = ^\"web\"\nfilter-action = \"permit\"\n";
    expect(
        &[(second, &format!("{second}{third}"))],
        &["`again/1` never matches: the entry in line 48 matches all its packets"],
    );
    // A filter that makes two entries is dead if both are.
    let any =
        "{ source = \"any\", destination = \"any\", protocol = \"tcp\", destination-port = 80 }";
    expect(
        &[(WEB, any), (second, &format!("{second}{third}"))],
        &["`again/1` never matches: the entry in line 48 matches all its packets"],
    );
}

#[test]
fn lists_and_actions_that_nothing_uses() {
    let list = "[[filter-list]]\nname = ^\"idle\"\nfilter = [{ source = \"any\", destination = \"any\" }]\n";
    let action = "[[filter-action]]\nname = ^\"idle\"\naction = \"block\"\n";
    let second = "[[rule]]\nname = \"web\"";
    expect(
        &[(second, &format!("{list}{action}{second}"))],
        &[
            "no rule names this filter list: nothing uses it",
            "no rule names this filter action: nothing uses it",
        ],
    );
}

#[test]
fn gateway_that_begins_knows_with_whom() {
    let load = "tunnel-endpoint = \"any\"\nstart = \"load\"\n";
    expect(
        &[(ENDPOINT, load), (LANS, &LANS.replace("\"10.1", "^\"10.1"))],
        &[
            "expected one address: with `start = \"load\"` this gateway begins, and must know with whom",
        ],
    );
}

#[test]
fn names_of_entries_that_rules_make() {
    let second = "[[rule]]\nname = \"branch\"";
    let written = "[[spd]]\nname = ^\"web/1\"\nremote = \"203.0.113.9\"\naction = \"discard\"\n";
    expect(
        &[(second, &format!("{written}\n{second}"))],
        &["the name `web/1` is that of an entry that line 53 makes"],
    );
}

#[test]
fn management_stays_open() {
    let ssh = "management = [^{ remote = \"192.0.2.0/24\", local-port = 22 }]";
    let with = |more: &str| format!("{MODERN}\n{}{more}", ssh);
    expect(
        &[(MODERN, &with(""))],
        &["this way in would be cut off: no entry lets all of it pass in clear"],
    );
    let open = "{ source = \"192.0.2.0/24\", destination = \"my-address\", protocol = \"tcp\", destination-port = 22 }";
    expect(&[(MODERN, &with("").replace('^', "")), (WEB, open)], &[]);
    // Half of it is not enough: answers must go out, too.
    let half = open.replace(" }", ", mirrored = false }");
    expect(
        &[(MODERN, &with("")), (WEB, &half)],
        &["this way in would be cut off: no entry lets all of it pass in clear"],
    );
    let secure = "{ source = \"192.0.2.0/24\", destination = \"my-address\" }";
    expect(
        &[
            (MODERN, &with("")),
            (LANS, secure),
            (ENDPOINT, ""),
            (WEB, open),
            (
                WEB_RULE,
                "filter-list = ^\"web\"\nfilter-action = \"permit\"\n",
            ),
        ],
        &[
            "this way in would be cut off: `branch/1` in line 42 protects some of it",
            "`web/1` never matches: the entry in line 42 matches all its packets",
        ],
    );
}

#[test]
fn whoever_sends_from_port_88() {
    let kerberos = "{ source = \"my-address\", destination = \"any\", protocol = \"tcp\", destination-port = 88 }";
    let rule = "filter-list = ^\"web\"\nfilter-action = \"permit\"\n";
    expect(
        &[(WEB, kerberos), (WEB_RULE, rule)],
        &[
            "`web/1` lets in whoever sends from port 88, to every port: expected ports at our end, too",
        ],
    );
    // What only goes out lets nobody in.
    let out = kerberos.replace(" }", ", mirrored = false }");
    expect(&[(WEB, &out)], &[]);
    let exempt = format!("{MODERN}\ndefault-exemption = ^2");
    expect(
        &[(MODERN, &exempt)],
        &[
            "Kerberos is exempt: whoever sends from port 88 reaches every port of this gateway in clear",
        ],
    );
}

#[test]
fn groups_of_multicast_are_no_filters_of_old() {
    expect(
        &[
            (MODERN, "profile = ^\"ws2003\""),
            (
                WEB,
                "{ source = \"my-address\", destination = ^\"224.0.0.5\" }",
            ),
        ],
        &[
            "legacy defaults: 3des-cbc, sha1, md5 and modp1024, and what matches no entry passes in clear",
            "expected no multicast group: in profile \"ws2003\" only `any` or 224.0.0.0/4 stand for multicast",
        ],
    );
}

/// A packet as the filters of the exemptions see it.
#[derive(Clone, Copy)]
struct Packet {
    source: &'static str,
    destination: &'static str,
    protocol: u8,
    ports: (u16, u16),
}

/// True if an exemption lets the packet pass, both when it goes out and when it comes in, if it can.
fn is_exempt(policy: &Policy, packet: Packet, direction: Direction) -> bool {
    let mut entries = policy.spd.iter();
    entries.any(|entry| {
        let ours = entry.name.starts_with("default-exemption/");
        ours && entry.direction.is_none_or(|only| only == direction)
            && matches(&entry.selector, packet, direction)
    })
}

fn matches(selector: &Selector, packet: Packet, direction: Direction) -> bool {
    let Packet {
        source,
        destination,
        protocol,
        ports,
    } = packet;
    let ((local, remote), (near, far)) = match direction {
        Direction::Outbound => ((source, destination), ports),
        Direction::Inbound => ((destination, source), (ports.1, ports.0)),
    };
    let inside = |ranges: &[portcullis_config::AddressRange], address: &str| {
        let address = address.parse().unwrap();
        ranges.is_empty() || ranges.iter().any(|r| r.contains(address))
    };
    let upper = match &selector.upper {
        UpperLayer::Any => true,
        UpperLayer::Protocol(p) => *p == protocol,
        UpperLayer::Ports {
            protocol: p,
            local,
            remote,
        } => {
            let has = |ranges: &[portcullis_config::PortRange], port| {
                ranges.is_empty() || ranges.iter().any(|r| r.start <= port && port <= r.end)
            };
            *p == protocol && has(local, near) && has(remote, far)
        }
        UpperLayer::Icmp { .. } => false,
    };
    inside(&selector.local, local) && inside(&selector.remote, remote) && upper
}

/// From, to, protocol, ports, direction, and whether it is exempt at each number.
type Row = (
    &'static str,
    &'static str,
    u8,
    (u16, u16),
    Direction,
    [bool; 4],
);

/// The equivalent filters, restated: who sends to whom, over which protocol and ports, and at which numbers it is
/// exempt. `192.0.2.1` is ours.
#[test]
fn exemptions_are_those_of_the_table() {
    const MY: &str = "192.0.2.1";
    const ANY: &str = "203.0.113.5";
    const ALWAYS: [bool; 4] = [true; 4];
    const KERBEROS: [bool; 4] = [true, false, true, false];
    const MULTICAST_OUT: [bool; 4] = [true, true, false, false];
    let (out, back) = (Direction::Outbound, Direction::Inbound);
    let table: &[Row] = &[
        // Kerberos, over UDP and TCP: to port 88 of others, their answers, to our port 88, our answers.
        (MY, ANY, 17, (1025, 88), out, KERBEROS),
        (ANY, MY, 17, (88, 1025), back, KERBEROS),
        (ANY, MY, 17, (1025, 88), back, KERBEROS),
        (MY, ANY, 17, (88, 1025), out, KERBEROS),
        (MY, ANY, 6, (1025, 88), out, KERBEROS),
        (ANY, MY, 6, (88, 1025), back, KERBEROS),
        (ANY, MY, 6, (1025, 88), back, KERBEROS),
        (MY, ANY, 6, (88, 1025), out, KERBEROS),
        // RSVP is protocol 46.
        (MY, ANY, 46, (0, 0), out, KERBEROS),
        (ANY, MY, 46, (0, 0), back, KERBEROS),
        // ISAKMP: UDP, port 500 at both ends.
        (MY, ANY, 17, (500, 500), out, ALWAYS),
        (ANY, MY, 17, (500, 500), back, ALWAYS),
        // Multicast and broadcast; with 2 and 3 only what comes in.
        (ANY, "224.0.0.1", 17, (9, 9), back, ALWAYS),
        (MY, "239.255.255.255", 17, (9, 9), out, MULTICAST_OUT),
        (ANY, "255.255.255.255", 17, (9, 9), back, ALWAYS),
        (MY, "255.255.255.255", 17, (9, 9), out, MULTICAST_OUT),
        (MY, "192.0.2.255", 17, (9, 9), out, MULTICAST_OUT),
        // All of IPv6.
        (
            "2001:db8::1",
            "2001:db8::2",
            6,
            (9, 9),
            out,
            [true, false, false, false],
        ),
        (
            "2001:db8::2",
            "2001:db8::1",
            6,
            (9, 9),
            back,
            [true, false, false, false],
        ),
        // And nothing else.
        (MY, ANY, 6, (1025, 80), out, [false; 4]),
        (ANY, MY, 17, (500, 1025), back, [false; 4]),
        (ANY, "203.0.113.9", 6, (1025, 88), back, [false; 4]),
        (MY, "223.255.255.255", 17, (9, 9), out, [false; 4]),
        (MY, "240.0.0.0", 17, (9, 9), out, [false; 4]),
    ];
    for number in 0..4 {
        let policy = policy(&[(MODERN, &format!("{MODERN}\ndefault-exemption = {number}"))]);
        for &(source, destination, protocol, ports, direction, expected) in table {
            let packet = Packet {
                source,
                destination,
                protocol,
                ports,
            };
            let found = is_exempt(&policy, packet, direction);
            let what = format!("{number}: {source} {destination} {protocol} {ports:?}");
            assert_eq!(found, expected[number], "{what}");
        }
    }
    let nothing_said = policy(&[]);
    assert!(
        nothing_said
            .spd
            .iter()
            .all(|e| !e.name.starts_with("default-exemption"))
    );
}
