//! What an operator changes costs no packet of what he does not change, and whatever ends a gateway shows none.

mod closed;
mod exhausted;
mod lab;
mod removed;

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::packet::{Carried, carried};
use kit::{Cases, Gateway, Need, available};
use lab::{Lab, RUNTIME, connection, entry, sas};

const NEEDS: [Need; 5] = [
    Need::Root,
    Need::Program("ip", "iproute2"),
    Need::Program("ethtool", "ethtool"),
    Need::Program("tcpdump", "tcpdump"),
    Need::Program("python3", "python3"),
];
/// In every packet of the protected networks, and in none that nobody has forged.
const MARKER: &str = "this-is-in-clear-for-nobody-else";
const FORGED: &str = "this-never-came-through-a-tunnel";

/// Ports of the datagrams: over manual SAs, and over those of IKE.
const MANUAL: u16 = 5001;
const NEGOTIATED: u16 = 5002;

#[test]
fn steady() {
    if !available("steady", &NEEDS) {
        return;
    }
    let mut cases = Cases::new();
    cases.run("100 reloads under traffic, and IKE anew", reloads);
    cases.run("killed at any moment", kills);
    cases.run("a worker dies", closed::worker_dies);
    cases.run("before the first policy", closed::before_policy);
    cases.run("what a reload removes", removed::entries);
    cases.run("no buffer left", exhausted::buffers);
    cases.finish();
}

/// The tunnels that stay, whatever else the policy says.
fn tunnels(gateway: usize) -> String {
    let (me, peer) = (gateway + 1, 2 - gateway);
    let protect =
        format!("action = \"protect\"\noutbound = \"from-{me}-0\"\ninbound = \"from-{peer}-0\"");
    let negotiate = "action = \"protect\"\nconnection = \"peer\"\nchild = \"stays\"";
    sas(gateway, 0)
        + &entry(gateway, "manual", MANUAL, &protect)
        + &entry(gateway, "negotiated", NEGOTIATED, negotiate)
}

/// Other entries, SAs and children: another set for each round.
fn others(round: u32) -> String {
    let mut text = String::new();
    let mut children = vec!["stays"];
    if round % 3 == 1 {
        children.push("other");
        let negotiate = "action = \"protect\"\nconnection = \"peer\"\nchild = \"other\"";
        text += &entry(0, "other-child", 6000 + round as u16, negotiate);
    }
    if round % 10 == 5 {
        let pair = round;
        text += &sas(0, pair);
        let protect = format!(
            "action = \"protect\"\noutbound = \"from-1-{pair}\"\ninbound = \"from-2-{pair}\""
        );
        text += &entry(0, "other-sas", 6500, &protect);
    }
    for number in 0..round % 7 {
        let name = format!("other-{number}-{}", round % 2);
        text += &entry(0, &name, 7000 + number as u16, "action = \"discard\"");
    }
    text += &format!(
        "[[route]]\ndestination = \"10.{}.0.0/24\"\nvia = \"10.99.0.2\"\n",
        100 + round % 5
    );
    connection(0, &children) + &text
}

/// Child number, SPIs and IKE SA of what stays.
fn identity(gateway: &Gateway) -> Result<Vec<String>, String> {
    let table = gateway.show("sa")?;
    let all = table["sas"].as_array().cloned().unwrap_or_default();
    let stays = all.iter().filter(|sa| {
        let name = sa["name"].as_str().unwrap_or_default();
        name == "peer/stays" || name.ends_with("-0")
    });
    Ok(stays
        .map(|sa| format!("{} {}", sa["name"], sa["spi"]))
        .collect())
}

fn reloads() -> Result<(), String> {
    const ROUNDS: u32 = 100;
    let lab = Lab::new();
    let a = lab.start(0, &(tunnels(0) + &others(0)));
    let b = lab.start(1, &(tunnels(1) + &connection(1, &["stays"])));
    a.run(&["initiate", "peer/stays", "--wait", "20"])?;
    let counter = lab.traffic(&lab.hosts[1], &["count", "5001", "5002"]);
    warm_up(&lab, &b)?;
    let before = identity(&a)?;
    let log = a.log();
    let began = Instant::now();
    let sender = lab.traffic(
        &lab.hosts[0],
        &["send", "10.2.0.2", "500", MARKER, "5001", "5002"],
    );
    for round in 1..=ROUNDS {
        a.rewrite(RUNTIME, &(lab.ports(0) + &tunnels(0) + &others(round)));
        let report = a.reload(&[])?;
        if report["outcome"] != "applied" {
            return Err(format!("round {round}: {report}"));
        }
    }
    let established = |log: &str| log.matches("IKE SA established").count();
    if established(&a.log()) != established(&log) {
        return Err(format!("phase 1 did not stay:\n{}", a.log()));
    }
    // IKE, too, may begin anew.
    a.run(&["restart", "ike"])?;
    sleep(Duration::from_millis(1500));
    if established(&a.log()) != established(&log) + 1 {
        return Err(format!("phase 1 is not there again:\n{}", a.log()));
    }
    let (sent, seconds) = (sender.end(), began.elapsed().as_secs_f64());
    sleep(Duration::from_millis(500));
    let received = counter.end();
    let after = identity(&a)?;
    if before.len() != 4 || before != after {
        return Err(format!("{before:?} before, {after:?} after"));
    }
    let carried = a.sa_packets(0x1001)?;
    if sent.iter().any(|sent| *sent < 500) || sent != received || carried < sent[0] {
        let drops = (a.drops()?, b.drops()?);
        return Err(format!(
            "in {seconds:.1} s {sent:?} sent, {received:?} received, {carried} sealed; {drops:?}\n{}",
            a.log()
        ));
    }
    a.stop().success()?;
    b.stop().success().map(drop)
}

/// Until both ways stand: the receiver's addresses are learnt, and nothing of it counts.
fn warm_up(lab: &Lab, b: &Gateway) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let sender = lab.traffic(
        &lab.hosts[0],
        &["send", "10.2.0.2", "20", MARKER, "5001", "5002"],
    );
    let lan = || Ok::<_, String>(b.port("lan")?.transmitted);
    let start = lan()?;
    while lan()? < start + 40 {
        if Instant::now() > deadline {
            return Err(format!("no packet arrives: {:?}\n{}", b.drops()?, b.log()));
        }
        sleep(Duration::from_millis(50));
    }
    sender.end();
    sleep(Duration::from_millis(300));
    Ok(())
}

/// A small generator of delays: the same ones each time.
struct Delays(u64);

impl Delays {
    fn next(&mut self, most: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % most)
    }
}

/// How many of the frames hold these bytes.
fn holding(frames: &[Vec<u8>], bytes: &str) -> usize {
    let holds = |frame: &&Vec<u8>| {
        frame
            .windows(bytes.len())
            .any(|part| part == bytes.as_bytes())
    };
    frames.iter().filter(holds).count()
}

fn kills() -> Result<(), String> {
    let lab = Lab::new();
    let policy = |gateway| {
        let negotiate = "action = \"protect\"\nconnection = \"peer\"\nchild = \"stays\"";
        connection(gateway, &["stays"]) + &entry(gateway, "negotiated", NEGOTIATED, negotiate)
    };
    let b = lab.start(1, &policy(1));
    // Gateway A has its policy from a store: it starts with none.
    let store = lab.scratch.write("a.toml", 0o600, policy(0).as_bytes());
    let machine = lab.ports(0) + &format!("[store]\npath = {store:?}\npoll-interval = 1\n");
    let wan = lab.watch(&lab.gateways[1], "wan", "wan.pcap");
    let inside = lab.watch(&lab.hosts[0], "eth0", "inside.pcap");
    let counter = lab.traffic(&lab.hosts[1], &["count", "5002"]);
    let sender = lab.traffic(&lab.hosts[0], &["send", "10.2.0.2", "500", MARKER, "5002"]);
    let forged = [
        "forge",
        "wan",
        &lab.mac(0, "wan"),
        "10.2.0.2",
        "10.1.0.2",
        FORGED,
    ];
    let forger = lab.traffic(&lab.gateways[1], &forged);
    let mut delays = Delays(0x5eed);
    let start = |wait| match wait {
        true => Gateway::start(Some(&lab.gateways[0]), RUNTIME, &machine),
        false => Gateway::spawn(Some(&lab.gateways[0]), RUNTIME, &machine, &[]),
    };
    let (mut killed, began) = (0, Instant::now());
    for round in 0..24 {
        // At a moment of the start; or, once it runs, in traffic; or in a reload.
        let gateway = start(round % 3 != 0);
        sleep(delays.next(700));
        let mut reload = None;
        if round % 3 == 2 {
            let more = entry(0, &format!("other-{round}"), 7000, "action = \"discard\"");
            fs::write(&store, policy(0) + &more).unwrap();
            reload = Some(gateway.spawn_command(&["reload"]));
            sleep(delays.next(30));
        }
        drop(gateway); // with SIGKILL
        drop(reload);
        killed += 1;
    }
    // It works in the end, and has worked: or nothing would be proven.
    let last = start(true);
    sleep(Duration::from_secs(2));
    let seconds = began.elapsed().as_secs_f64();
    let (sent, forged) = (sender.end()[0], forger.end()[0]);
    let received = counter.end()[0];
    let (wan, inside) = (wan.end(), inside.end());
    let protected = wan
        .iter()
        .filter(|frame| matches!(carried(frame), Carried::Protected(..)))
        .count();
    let facts = format!(
        "{killed} kills in {seconds:.1} s: {sent} sent, {protected} protected, {received} received, {forged} forged\n{}",
        last.log()
    );
    if received < 500 || protected < 500 || forged < 1000 {
        return Err(format!("too little to prove anything: {facts}"));
    }
    let (shown, let_in) = (holding(&wan, MARKER), holding(&inside, FORGED));
    // What is looked for can be found: the senders' own ends of the wires show it.
    if (holding(&wan, FORGED), holding(&inside, MARKER)) < (1000, 1000) {
        return Err(format!("the captures are not whole: {facts}"));
    }
    if shown + let_in != 0 {
        return Err(format!(
            "{shown} in clear on the wire, {let_in} let in from it: {facts}"
        ));
    }
    last.stop().success()?;
    b.stop().success().map(drop)
}
