//! Fail closed, on a wire: when a worker dies, and before there is a policy.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::packet::{Carried, carried};

use kit::{Gateway, binary, output};

use crate::lab::{Lab, RUNTIME, connection, entry};
use crate::{FORGED, MARKER, NEGOTIATED, holding};

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

/// One child between both networks.
pub fn policy(gateway: usize) -> String {
    let negotiate = "action = \"protect\"\nconnection = \"peer\"\nchild = \"stays\"";
    connection(gateway, &["stays"]) + &entry(gateway, "negotiated", NEGOTIATED, negotiate)
}

/// Frames that hold clear text of ours, and protected ones.
fn shown(frames: &[Vec<u8>]) -> (usize, usize) {
    let protected = frames
        .iter()
        .filter(|frame| matches!(carried(frame), Carried::Protected(..)))
        .count();
    (holding(frames, MARKER), protected)
}

/// Waits until a gateway sends on its wire what it should.
pub fn await_sent(gateway: &Gateway, port: &str, frames: u64) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let sent = || Ok::<_, String>(gateway.port(port)?.transmitted);
    let start = sent()?;
    while sent()? < start + frames {
        if Instant::now() > deadline {
            return Err(format!(
                "nothing is sent: {:?}\n{}",
                gateway.drops()?,
                gateway.log()
            ));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The thread of worker 0.
fn worker(gateway: &Gateway) -> Result<u32, String> {
    let tasks = format!("/proc/{}/task", gateway.id());
    let entries = fs::read_dir(tasks).map_err(|e| e.to_string())?;
    let named = entries.flatten().find(|task| {
        let name = fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.trim() == "worker-0")
    });
    let tid = named.and_then(|task| task.file_name().to_str()?.parse().ok());
    tid.ok_or_else(|| "no worker".into())
}

/// A worker that dies takes the process along: nobody polls its ports, and what supervises starts it again.
pub fn worker_dies() -> Result<(), String> {
    let lab = Lab::new();
    let b = lab.start(1, &policy(1));
    let wan = lab.watch(&lab.gateways[1], "wan", "wan.pcap");
    let inside = lab.watch(&lab.hosts[0], "eth0", "inside.pcap");
    let counter = lab.traffic(&lab.hosts[1], &["count", "5002"]);
    let sender = lab.traffic(&lab.hosts[0], &["send", "10.2.0.2", "500", MARKER, "5002"]);
    let mac = lab.mac(0, "wan");
    let forged = ["forge", "wan", &mac, "10.2.0.2", "10.1.0.2", FORGED];
    let forger = lab.traffic(&lab.gateways[1], &forged);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/steady/fault.py");
    let commands = [vec!["kill", "-s", "ABRT"], vec!["python3", script]];
    let (abort, fault) = ((SIGABRT, &commands[0]), (SIGSEGV, &commands[1]));
    let deaths: &[_] = match cfg!(target_arch = "x86_64") {
        true => &[fault, abort],
        false => {
            eprintln!("no fault of its own: fault.py knows the registers of x86_64 only");
            &[abort]
        }
    };
    for &(wanted, kill) in deaths {
        let mut a = lab.start(0, &policy(0));
        await_sent(&a, "wan", 100)?;
        let tid = worker(&a)?.to_string();
        output(kill[0], &[&kill[1..], &[tid.as_str()]].concat())?;
        let status: ExitStatus = a.wait(Duration::from_secs(5));
        if status.signal() != Some(wanted) {
            return Err(format!("{status} instead of signal {wanted}\n{}", a.log()));
        }
        // Nobody is there for a while.
        sleep(Duration::from_millis(500));
    }
    let last = lab.start(0, &policy(0));
    await_sent(&last, "wan", 100)?;
    let (sent, forged) = (sender.end()[0], forger.end()[0]);
    let received = counter.end()[0];
    let (wan, inside) = (wan.end(), inside.end());
    let ((clear, protected), let_in) = (shown(&wan), holding(&inside, FORGED));
    let facts = format!(
        "{sent} sent, {protected} protected, {clear} clear, {received} received; {forged} forged, {let_in} let in"
    );
    // What is looked for can be found: the senders' own ends of the wires show it.
    let whole = (holding(&wan, FORGED), holding(&inside, MARKER));
    if clear + let_in != 0
        || protected < 300
        || received < 300
        || forged < 100
        || whole < (100, 300)
    {
        return Err(facts);
    }
    last.stop().success()?;
    b.stop().success().map(drop)
}

/// Before the first policy: `open` lets pass in clear, until the policy is there; `closed` never does.
pub fn before_policy() -> Result<(), String> {
    let lab = Lab::new();
    let b = lab.start(1, &policy(1));
    let store = lab.scratch.path("a.toml");
    let machine = |profile: &str, before: &str| {
        format!(
            "[policy]\nprofile = \"{profile}\"\n{}[store]\npath = {store:?}\npoll-interval = 1\nbefore-policy = \"{before}\"\n",
            lab.ports(0)
        )
    };
    for before in ["open", "closed"] {
        let _ = fs::remove_file(&store);
        let counter = lab.traffic(&lab.hosts[1], &["count", "5002"]);
        let send = ["send", "10.2.0.2", "500", MARKER, "5002"];
        let sender = lab.traffic(&lab.hosts[0], &send);
        let wan = lab.watch(&lab.gateways[1], "wan", &format!("{before}.pcap"));
        let a = Gateway::start(Some(&lab.gateways[0]), RUNTIME, &machine("ws2003", before));
        sleep(Duration::from_secs(1));
        let (clear, protected) = shown(&wan.end());
        if (clear > 100) != (before == "open")
            || (clear == 0) != (before == "closed")
            || protected != 0
        {
            return Err(format!(
                "{before}: {clear} clear, {protected} protected before the policy"
            ));
        }
        let ws2003 = format!("[policy]\nprofile = \"ws2003\"\n{}", policy(0));
        lab.scratch.write("a.toml", 0o600, ws2003.as_bytes());
        await_policy(&a)?;
        let wan = lab.watch(&lab.gateways[1], "wan", &format!("{before}-after.pcap"));
        await_sent(&a, "wan", 100)?;
        let (clear, protected) = shown(&wan.end());
        sender.end();
        let received = counter.end()[0];
        if clear != 0 || protected < 100 || received < 50 {
            return Err(format!(
                "{before}: {clear} clear, {protected} protected, {received} received after it\n{}",
                a.log()
            ));
        }
        a.stop().success()?;
    }
    // In the profile `modern` it is refused.
    let modern = lab
        .scratch
        .write("modern.toml", 0o600, machine("modern", "open").as_bytes());
    let check = output(binary(), &["check", &modern.display().to_string()]);
    match check {
        Err(text) if text.contains("expected `open` only with") => {}
        other => return Err(format!("modern may be open: {other:?}")),
    }
    b.stop().success().map(drop)
}

/// Waits until the policy of the store is in force.
fn await_policy(gateway: &Gateway) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let spd = gateway.show("spd")?;
        let names = spd["spd"].as_array().into_iter().flatten();
        if names.filter(|entry| entry["name"] == "negotiated").count() == 1 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("no policy: {spd}\n{}", gateway.log()));
        }
        sleep(Duration::from_millis(20));
    }
}
