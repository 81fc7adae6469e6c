//! What a reload changes beside entries and SAs while the gateway runs: its own addresses, where figures are served,
//! what is exempt.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::{Cases, Gateway};
use serde_json::Value;

const RUNTIME: &str = "eal = [\"--no-huge\", \"-m\", \"128\", \"--no-pci\"]\nmbufs = 2047";
const MINE: &str = "
[[filter-list]]
name = \"mine\"
filter = [{ source = \"my-address\", destination = \"198.51.100.7\" }]

[[filter-action]]
name = \"permit\"
action = \"permit\"

[[rule]]
name = \"mine\"
filter-list = \"mine\"
filter-action = \"permit\"
";

/// A policy with this head, and this address of ours to the outside.
fn policy(head: &str, outside: &str) -> String {
    format!(
        "{head}
[[port]]
name = \"lan\"
device = \"net_ring0\"
side = \"protected\"
addresses = [\"10.1.0.1/24\"]

[[port]]
name = \"wan\"
device = \"net_ring1\"
side = \"unprotected\"
addresses = [\"{outside}/24\"]

[[route]]
destination = \"0.0.0.0/0\"
via = \"192.0.2.254\"
{MINE}"
    )
}

#[test]
fn a_running_gateway_is_changed() {
    let mut cases = Cases::new();
    cases.run("its own addresses", addresses);
    cases.run("where figures are served", metrics);
    cases.run("where figures are served, at one port", metrics_at_one_port);
    cases.run("what is exempt", exemptions);
    cases.finish();
}

fn expect(what: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if what { Ok(()) } else { Err(why()) }
}

/// Reloads, and expects this outcome.
fn reload(gateway: &Gateway, policy: &str, outcome: &str) -> Result<Value, String> {
    gateway.rewrite(RUNTIME, policy);
    let report = gateway.reload(&[])?;
    expect(report["outcome"] == outcome, || report.to_string())?;
    Ok(report)
}

/// Filters with `my-address` follow the addresses; so do the interface and its routes.
fn addresses() -> Result<(), String> {
    let gateway = Gateway::start(None, RUNTIME, &policy("", "192.0.2.1"));
    let own = |gateway: &Gateway, address: &str| -> Result<(), String> {
        let spd = gateway.show("spd")?;
        let local = spd["spd"][0]["local"].to_string();
        expect(local.contains(address), || spd.to_string())?;
        let ports = gateway.show("ports")?.to_string();
        expect(ports.contains(&format!("{address}/24")), || ports.clone())?;
        let asked = gateway.command(&["explain", "198.51.100.9", address, "--json"])?;
        let outcome = &asked["forward"]["outcome"];
        expect(outcome == "dropped", || asked.to_string())?;
        let asked = gateway.command(&["explain", "198.51.100.7", address, "--json"])?;
        let outcome = &asked["forward"]["outcome"];
        expect(outcome == "delivered", || asked.to_string())
    };
    own(&gateway, "192.0.2.1")?;
    let report = reload(&gateway, &policy("", "192.0.2.77"), "applied")?;
    let settings = report["settings"].to_string();
    expect(settings.contains("port `wan` addresses"), || settings)?;
    own(&gateway, "192.0.2.77")?;
    let spd = gateway.show("spd")?.to_string();
    expect(!spd.contains("192.0.2.1"), || spd.clone())?;
    // The device stays as it is.
    let other = policy("", "192.0.2.77").replace("net_ring1", "net_ring2");
    reload(&gateway, &other, "refused")?;
    own(&gateway, "192.0.2.77")?;
    gateway.stop().success().map(drop)
}

/// The status line of an answer, or why there is none.
fn ask(at: SocketAddr) -> Result<String, String> {
    let answer = || {
        let mut client = TcpStream::connect(at)?;
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: gateway\r\n\r\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer.lines().next().unwrap_or_default().to_owned())
    };
    answer().map_err(|error| error.to_string())
}

/// Waits until nobody answers there any more.
fn await_silence(at: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while ask(at).is_ok() {
        expect(Instant::now() < deadline, || format!("{at} still answers"))?;
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ports of this process that nobody listens at. No connection gets them meanwhile: they are below those that the
/// kernel gives away (ip_local_port_range).
fn free_ports() -> impl Iterator<Item = u16> {
    let first = 20_000 + (std::process::id() % 1000) as u16 * 10;
    (first..32_000).filter(|port| TcpListener::bind(("::", *port)).is_ok())
}

/// Figures begin, move and end; a place that is taken refuses the whole policy.
fn metrics() -> Result<(), String> {
    let mut places = free_ports().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let [first, second, taken] = [(); 3].map(|()| places.next().unwrap());
    let _holder = TcpListener::bind(taken).map_err(|error| error.to_string())?;
    let at = |place: SocketAddr| policy(&format!("[metrics]\nlisten = \"{place}\"\n"), "192.0.2.1");
    let gateway = Gateway::start(None, RUNTIME, &policy("", "192.0.2.1"));
    expect(ask(first).is_err(), || "figures without a place".into())?;
    for place in [first, second] {
        let report = reload(&gateway, &at(place), "applied")?;
        let settings = report["settings"].to_string();
        expect(settings.contains("[metrics] listen"), || settings)?;
        let answer = ask(place)?;
        expect(answer == "HTTP/1.1 200 OK", || answer)?;
    }
    await_silence(first)?;
    // Nothing of a policy whose figures have no place comes into force.
    let more = at(taken) + "[[spd]]\nname = \"more\"\naction = \"discard\"\n";
    let report = reload(&gateway, &more, "refused")?;
    let why = report["reasons"][0].to_string();
    expect(why.contains(&taken.to_string()), || why)?;
    let spd = gateway.show("spd")?.to_string();
    expect(!spd.contains("\"more\""), || spd.clone())?;
    expect(ask(second)? == "HTTP/1.1 200 OK", || "gone".into())?;
    let shown = gateway.show("config")?;
    expect(shown["config"]["metrics"] == second.to_string(), || {
        shown.to_string()
    })?;
    reload(&gateway, &policy("", "192.0.2.1"), "applied")?;
    await_silence(second)?;
    let known = fs::read_to_string(gateway.policy_file()).unwrap();
    expect(!known.contains("[metrics]"), || known)?;
    gateway.stop().success()?;
    // Who cannot have its address at the start does not say that it runs.
    let mut gateway = Gateway::spawn(None, RUNTIME, &at(taken), &[]);
    let status = gateway.wait(Duration::from_secs(30));
    let log = gateway.log();
    expect(
        !status.success() && log.contains(&taken.to_string()),
        || log.clone(),
    )?;
    expect(!log.contains("portcullis: running"), || log.clone())
}

/// From one address to all of them and back, at the same port: the one does not bind while the other listens.
fn metrics_at_one_port() -> Result<(), String> {
    let port = free_ports().next().unwrap();
    let own = SocketAddr::from(([127, 0, 0, 1], port));
    let at = |place: &str| {
        policy(
            &format!("[metrics]\nlisten = \"{place}:{port}\"\n"),
            "192.0.2.1",
        )
    };
    let gateway = Gateway::start(None, RUNTIME, &at("127.0.0.1"));
    for place in [
        "0.0.0.0",
        "127.0.0.1",
        "[::]",
        "0.0.0.0",
        "[::]",
        "127.0.0.1",
    ] {
        gateway.rewrite(RUNTIME, &at(place));
        let trial = gateway.reload(&["--dry-run"])?;
        expect(trial["outcome"] == "planned", || trial.to_string())?;
        let report = gateway.reload(&[])?;
        expect(report["outcome"] == "applied", || {
            format!("{place}: {report}")
        })?;
        let answer = ask(own)?;
        expect(answer == "HTTP/1.1 200 OK", || format!("{place}: {answer}"))?;
    }
    // Somebody else has the port at another address: not all of them are to be had, and what was is taken back.
    let _holder = TcpListener::bind(("127.0.0.2", port)).map_err(|error| error.to_string())?;
    for place in ["0.0.0.0", "[::]"] {
        reload(&gateway, &at(place), "refused")?;
        let answer = ask(own)?;
        expect(answer == "HTTP/1.1 200 OK", || format!("{place}: {answer}"))?;
    }
    gateway.stop().success().map(drop)
}

/// Exemptions 3 and 0 of the documents, and back: Kerberos is exempt at 0 and not at 3, ISAKMP always.
fn exemptions() -> Result<(), String> {
    let with = |number: u8| {
        let head = format!("[policy]\nprofile = \"ws2003\"\ndefault-exemption = {number}\n");
        policy(&head, "192.0.2.1")
    };
    let gateway = Gateway::start(None, RUNTIME, &with(3));
    for (turn, number) in [3, 0, 3, 1].into_iter().enumerate() {
        if turn != 0 {
            reload(&gateway, &with(number), "applied")?;
        }
        let spd = gateway.show("spd")?.to_string();
        expect(spd.contains("isakmp"), || spd.clone())?;
        expect(spd.contains("kerberos") == (number == 0), || spd.clone())?;
        let asked = ["explain", "198.51.100.9", "192.0.2.1", "tcp", "1000"];
        let args = [&asked[..], &["--source-port", "88", "--json"]].concat();
        let answer = gateway.command(&args)?;
        let entry = answer["forward"]["entry"]["name"].to_string();
        expect(entry.contains("kerberos") == (number == 0), || {
            answer.to_string()
        })?;
        let shown = gateway.show("config")?;
        let config = &shown["config"];
        expect(
            config["default_exemption"] == number && config["profile"] == "ws2003",
            || shown.to_string(),
        )?;
    }
    gateway.stop().success().map(drop)
}
