use std::path::Path;

use super::*;
use crate::fib;

const POLICY: &str = r#"
[[port]]
name = "wan"
device = "net_null0"
side = "unprotected"
addresses = "192.0.2.1/24"

[[port]]
name = "lan"
device = "net_null1"
side = "protected"
addresses = "10.1.0.1/24"

[[route]]
destination = "10.2.0.0/16"
via = "192.0.2.2"
port = "wan"

[[connection]]
name = "b"
remote = "192.0.2.2"
psk = "correct horse battery staple"

[[connection.child]]
name = "lans"

[[sa]]
name = "to-c"
direction = "outbound"
protocol = "esp"
spi = 0x1002
mode = "tunnel"
source = "192.0.2.1"
destination = "192.0.2.3"
encryption = "aes128-gcm16"
key = "000102030405060708090a0b0c0d0e0f10111213"

[[sa]]
name = "from-c"
direction = "inbound"
protocol = "esp"
spi = 0x1001
mode = "tunnel"
source = "192.0.2.3"
destination = "192.0.2.1"
encryption = "aes128-gcm16"
key = "100102030405060708090a0b0c0d0e0f10111213"

[[spd]]
name = "web"
remote = "10.2.0.0/24"
protocol = "tcp"
remote-port = 443
action = "bypass"

[[spd]]
name = "to-b"
local = "10.1.0.0/24"
remote = "10.2.0.0/24"
action = "protect"
connection = "b"
child = "lans"

[[spd]]
name = "to-c"
local = "10.1.0.0/24"
remote = "10.2.1.0/24"
action = "protect"
outbound = "to-c"
inbound = "from-c"

[[spd]]
name = "never"
remote = "10.2.2.0/24"
action = "discard"
"#;

fn ask(source: &str, destination: &str, upper: Option<(u8, u16)>) -> Explanation {
    ask_of(POLICY, source, destination, upper)
}

fn ask_of(policy: &str, source: &str, destination: &str, upper: Option<(u8, u16)>) -> Explanation {
    let loaded = portcullis_config::parse(policy, Path::new("p.toml"), Path::new("/"));
    let policy = loaded.expect("a policy").policy;
    let interfaces = policy.interfaces.iter().map(|i| fib::interface(i, [0; 6]));
    let scene = Scene {
        policy: &policy,
        fib: &fib::build(&policy, &interfaces.collect::<Vec<_>>()),
        spd: &fib::spd(&policy),
        control: None,
    };
    let question = Question {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        protocol: upper.map(|(protocol, _)| protocol),
        source_port: upper.map(|_| 49152),
        destination_port: upper.map(|(_, port)| port),
    };
    explain(&scene, &question)
}

fn entry(way: &Way) -> Option<&str> {
    way.entry.as_ref().map(|entry| entry.name.as_str())
}

#[test]
fn a_manual_sa_protects_and_its_twin_admits() {
    let answer = ask("10.1.0.5", "10.2.1.9", Some((6, 80)));
    let (there, back) = (answer.forward, answer.reverse);
    assert_eq!(
        (there.outcome, entry(&there)),
        (Outcome::Protected, Some("to-c"))
    );
    assert_eq!(there.sas[0].spi, "0x00001002");
    let outer = there.outer_route.expect("a route to the other end");
    assert_eq!((outer.interface.as_str(), outer.via), ("wan", None));
    assert_eq!(
        (back.outcome, entry(&back)),
        (Outcome::Admitted, Some("to-c"))
    );
    assert_eq!(back.sas[0].name, "from-c");
    assert_eq!(
        back.drop_reason.as_deref(),
        Some("clear-but-must-be-protected")
    );
    assert_eq!(back.route.map(|r| r.interface).as_deref(), Some("lan"));
}

/// RFC 4301 5.2: what comes out of one tunnel for the network behind another one leaves by the SPD's word again.
#[test]
fn a_packet_is_followed_from_one_tunnel_into_the_next() {
    let policy = POLICY.replace("local = \"10.1.0.0/24\"", "local = \"10.0.0.0/8\"");
    let answer = ask_of(&policy, "10.2.0.9", "10.2.1.9", Some((6, 80)));
    let (there, back) = (answer.forward, answer.reverse);
    assert_eq!(
        (there.outcome, entry(&there)),
        (Outcome::Admitted, Some("to-b"))
    );
    let onward = there.onward.expect("a way on");
    assert_eq!(
        (onward.outcome, entry(&onward), onward.from_side.as_str()),
        (Outcome::Protected, Some("to-c"), "sa")
    );
    assert_eq!(onward.sas[0].name, "to-c");
    // And the answer the other way about.
    assert_eq!(
        (entry(&back), back.sas[0].name.as_str()),
        (Some("to-c"), "from-c")
    );
    let onward = back.onward.expect("a way on");
    assert_eq!(
        (onward.outcome, entry(&onward)),
        (Outcome::Held, Some("to-b"))
    );
    // What stays on our side does not go on.
    let home = ask_of(&policy, "10.2.1.9", "10.1.0.5", Some((6, 80))).forward;
    assert!(home.outcome == Outcome::Admitted && home.onward.is_none());
}

/// ESP comes in UDP where manual SAs have it, too.
#[test]
fn the_ports_of_esp_are_those_of_the_policy() {
    let udp = "udp-encapsulation = { source-port = 4501, destination-port = 4501 }\n";
    let policy = POLICY.replace("name = \"from-c\"\n", &format!("name = \"from-c\"\n{udp}"));
    for (policy, outcome) in [(POLICY, Outcome::Dropped), (&policy, Outcome::Delivered)] {
        let way = ask_of(policy, "192.0.2.3", "192.0.2.1", Some((17, 4501))).forward;
        assert_eq!(way.outcome, outcome, "{:?}", way.words);
    }
}

#[test]
fn what_ike_must_negotiate_first_is_held() {
    let answer = ask("10.1.0.5", "10.2.0.9", Some((17, 53)));
    assert_eq!(answer.forward.outcome, Outcome::Held);
    assert_eq!(answer.forward.connection.as_deref(), Some("b/lans"));
    assert_eq!(answer.reverse.outcome, Outcome::Admitted);
}

#[test]
fn an_earlier_entry_takes_its_port_both_ways() {
    let answer = ask("10.1.0.5", "10.2.0.9", Some((6, 443)));
    assert_eq!(entry(&answer.forward), Some("web"));
    assert_eq!(answer.forward.outcome, Outcome::Bypassed);
    assert_eq!(entry(&answer.reverse), Some("web"));
    let vague = ask("10.1.0.5", "10.2.0.9", None).forward;
    assert_eq!(entry(&vague), Some("to-b"));
    assert!(
        vague.words.iter().any(|words| words.contains("`web`")),
        "{:?}",
        vague.words
    );
}

#[test]
fn drops_name_the_counter_that_counts_them() {
    let reason = |source, destination, upper| {
        let way = ask(source, destination, upper).forward;
        assert_eq!(way.outcome, Outcome::Dropped, "{:?}", way.words);
        way.drop_reason
    };
    let tcp = Some((6, 80));
    assert_eq!(
        reason("10.1.0.5", "10.2.2.1", tcp).as_deref(),
        Some("policy-discard")
    );
    assert_eq!(
        reason("10.1.0.5", "10.2.9.1", tcp).as_deref(),
        Some("policy-no-match")
    );
    assert_eq!(
        reason("10.1.0.5", "224.0.0.5", tcp).as_deref(),
        Some("multicast")
    );
}

#[test]
fn what_does_not_cross_the_boundary_is_not_for_the_spd() {
    assert_eq!(
        ask("10.1.0.5", "10.1.0.9", None).forward.outcome,
        Outcome::Forwarded
    );
    assert_eq!(
        ask("10.1.0.5", "10.1.0.1", None).forward.outcome,
        Outcome::Delivered
    );
    let ike = ask("198.51.100.1", "192.0.2.1", Some((17, 500)));
    assert_eq!(ike.forward.outcome, Outcome::Delivered);
    let ping = ask("10.1.0.5", "10.2.1.9", Some((1, 8)));
    assert_eq!(ping.forward.upper, "icmp type 8");
    assert_eq!(ping.reverse.upper, "icmp type 0");
}
