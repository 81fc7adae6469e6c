//! The operator's hands on two running gateways: what `show`, `explain`, `events`, `capture`, `top` and the figures for
//! Prometheus say is held against each other, and read by programs that nobody here wrote.
//!
//! ```text
//! 10.1.0.2 ---- 10.1.0.1 A 10.99.0.1 ==== 10.99.0.2 B 10.2.0.1 ---- 10.2.0.2
//!                          b/lans: IKE
//! ```

mod lab;

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::{Cases, Need, available, binary};
use lab::Lab;
use serde_json::Value;

/// What `show` shows.
const PARTS: [&str; 13] = [
    "all",
    "tunnels",
    "sa",
    "spd",
    "filters",
    "stats",
    "ports",
    "drops",
    "neighbors",
    "workers",
    "cycles",
    "ike",
    "child",
];
/// The end of what must come soon.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn the_operators_hands() {
    let needs = [
        Need::Root,
        Need::Scapy,
        Need::Program("tshark", "tshark"),
        Need::Program("ping", "iputils-ping"),
    ];
    if !available("the operator's hands", &needs) {
        return;
    }
    let mut cases = Cases::new();
    let lab = Lab::new().unwrap_or_else(|e| panic!("{e}"));
    cases.run("a tunnel that is down says what it waits for", || {
        down(&lab)
    });
    cases.run("explain before there is an SA", || held(&lab));
    cases.run("a capture shows both sides and decrypts", || capture(&lab));
    cases.run("explain with the SA in use", || protected(&lab));
    cases.run("filters, generic and specific", || filters(&lab));
    cases.run("figures for Prometheus are those of show", || metrics(&lab));
    cases.run("show is of the form of its schema", || schemas(&lab));
    cases.run("top shows the tunnels and ends", || top(&lab));
    cases.run("a capture that is refused says why", || refused(&lab));
    cases.run("events are told in order", || events(&lab));
    cases.finish();
}

/// Runs the checking script: what it printed, or what went wrong.
fn check(lab: &Lab, args: &[&str], input: &str) -> Result<String, String> {
    use std::io::Write;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator/check.py");
    let mut child = Command::new(&lab.python)
        .arg(script)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin
        .write_all(input.as_bytes())
        .map_err(|e| e.to_string())?;
    drop(stdin);
    let done = child.wait_with_output().map_err(|e| e.to_string())?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

fn expect(what: &str, got: &Value, wanted: impl Into<Value>) -> Result<(), String> {
    let wanted = wanted.into();
    match *got == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {got}, not {wanted}")),
    }
}

fn tunnel(lab: &Lab, name: &str) -> Result<Value, String> {
    let shown = lab.a.show("tunnels")?;
    let mut all = shown["tunnels"].as_array().into_iter().flatten();
    let found = all.find(|tunnel| tunnel["name"] == name).cloned();
    found.ok_or_else(|| format!("no {name} in {shown}"))
}

fn down(lab: &Lab) -> Result<(), String> {
    expect("up", &tunnel(lab, "b/lans")?["up"], false)?;
    let count = &lab.a.show("tunnels")?["tunnel_count"];
    expect("configured", &count["configured"], 3)?;
    expect("up", &count["up"], 1)?;
    // Refused by the peer: it fails, and says why from then on.
    if lab.text(&["initiate", "odd", "--wait", "30"]).is_ok() {
        return Err("established without a proposal in common".into());
    }
    let odd = tunnel(lab, "odd/lans")?;
    expect("up", &odd["up"], false)?;
    let explanation = odd["last_failure"]["explanation"]
        .as_str()
        .unwrap_or_default();
    let table = lab.text(&["show", "tunnels"])?;
    match explanation.contains("NO-PROPOSAL-CHOSEN") && table.contains(explanation) {
        true => Ok(()),
        false => Err(format!("{odd}\n{table}")),
    }
}

fn held(lab: &Lab) -> Result<(), String> {
    let answer = lab.json(&["explain", "10.1.0.2", "10.2.0.2", "udp", "53", "--json"])?;
    let forward = &answer["forward"];
    expect("outcome", &forward["outcome"], "held")?;
    expect("entry", &forward["entry"]["name"], "to-b")?;
    expect("connection", &forward["connection"], "b/lans")?;
    expect("reverse", &answer["reverse"]["outcome"], "admitted")?;
    // The file alone says the same of what does not depend on SAs.
    let offline = [
        "explain", "10.1.0.2", "10.2.0.2", "tcp", "80", "--json", "--config",
    ];
    let file = lab.policy_file.to_string_lossy();
    let answer = lab.json(&[&offline[..], &[&file]].concat())?;
    expect("running", &answer["running"], false)?;
    expect("outcome", &answer["forward"]["outcome"], "held")
}

/// Pings through the tunnel, which comes up by it.
fn ping(lab: &Lab, count: u64) -> Result<(), String> {
    let ping = format!("ping -n -c {count} -i 0.1 -w 20 10.2.0.2");
    let text = lab.host_a.sh(&ping)?;
    match kit::replies(&text) >= count - 1 {
        true => Ok(()),
        false => Err(text),
    }
}

fn capture(lab: &Lab) -> Result<(), String> {
    let file = lab.scratch.path("both.pcapng");
    let mut client = lab.command(&["capture", "--tunnel", "b/lans", "-w"]);
    let mut client = client
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    sleep(Duration::from_millis(500));
    let pinged = ping(lab, 10);
    sleep(Duration::from_millis(500));
    kit::output("kill", &["-INT", &client.id().to_string()])?;
    let begun = Instant::now();
    while client.try_wait().map_err(|e| e.to_string())?.is_none() {
        if begun.elapsed() > SOON {
            client.kill().map_err(|e| e.to_string())?;
            return Err("capture does not end when interrupted".into());
        }
        sleep(Duration::from_millis(50));
    }
    pinged?;
    let done = client.wait_with_output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() || !said.contains(" 0 lost") {
        return Err(format!("{}: {said}", done.status));
    }
    let keys = file.with_file_name("both.pcapng.keys");
    for (path, mode) in [
        (file.clone(), 0o600),
        (keys.join("esp_sa"), 0o600),
        (keys.clone(), 0o700),
    ] {
        use std::os::unix::fs::PermissionsExt;
        let found = fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        expect(
            "mode",
            &Value::from(found.permissions().mode() & 0o777),
            mode,
        )?;
    }
    let count = |filter: &str| -> Result<usize, String> {
        let run = Command::new("tshark")
            .env("WIRESHARK_CONFIG_DIR", &keys)
            .args(["-r", &file.to_string_lossy(), "-Y", filter])
            .output()
            .map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&run.stdout).lines().count())
    };
    for (filter, least) in [
        ("frame.interface_name == \"lan\" && icmp.type == 8", 9),
        ("frame.interface_name == \"lan\" && icmp.type == 0", 9),
        ("frame.interface_name == \"wan\" && esp", 18),
        // Decrypted with the keys beside it: requests went out, answers came in.
        (
            "esp && icmp.type == 8 && frame.packet_flags_direction == 2",
            9,
        ),
        (
            "esp && icmp.type == 0 && frame.packet_flags_direction == 1",
            9,
        ),
    ] {
        let found = count(filter)?;
        if found < least {
            return Err(format!("{filter}: {found} frames, not {least}"));
        }
    }
    // Filtered: neither IKE nor the other tunnel nor ARP is of it.
    match count("isakmp || arp")? {
        0 => Ok(()),
        other => Err(format!("{other} frames of others")),
    }
}

fn protected(lab: &Lab) -> Result<(), String> {
    let answer = lab.json(&["explain", "10.1.0.2", "10.2.0.2", "udp", "53", "--json"])?;
    expect("outcome", &answer["forward"]["outcome"], "protected")?;
    expect("reverse", &answer["reverse"]["outcome"], "admitted")?;
    let sas = lab.a.show("sa")?;
    let shown = |direction: &str| {
        let all = sas["sas"].as_array().into_iter().flatten();
        let mut ours = all.filter(|sa| sa["direction"] == direction && sa["spi"] != "0x00003001");
        ours.next().map(|sa| sa["spi"].clone()).unwrap_or_default()
    };
    expect(
        "SPI out",
        &answer["forward"]["sas"][0]["spi"],
        shown("outbound"),
    )?;
    expect(
        "SPI in",
        &answer["reverse"]["sas"][0]["spi"],
        shown("inbound"),
    )?;
    let text = lab.text(&["explain", "10.1.0.2", "10.2.0.2", "tcp", "22"])?;
    match text.contains("outcome    protected") && text.contains("entry      1 `to-b`") {
        true => Ok(()),
        false => Err(text),
    }
}

fn filters(lab: &Lab) -> Result<(), String> {
    let shown = lab.a.show("filters")?;
    let all = shown["filters"].as_array().cloned().unwrap_or_default();
    for (phase, kind, name, local) in [
        ("main-mode", "generic", "b", "any"),
        ("main-mode", "specific", "b", "10.99.0.1:500"),
        ("quick-mode", "generic", "to-b", "10.1.0.0/24"),
        ("quick-mode", "specific", "b/lans", "10.1.0.0/24"),
        // What lets IKE through is there to be seen.
        ("quick-mode", "specific", "b", "10.99.0.1/17:500"),
    ] {
        let wanted = |filter: &&Value| {
            filter["phase"] == phase
                && filter["kind"] == kind
                && filter["name"] == name
                && filter["local"] == local
        };
        if !all.iter().any(|filter| wanted(&filter)) {
            return Err(format!("no {phase} {kind} {name} {local} in {shown}"));
        }
    }
    Ok(())
}

/// What `show` says, and the figures of the same moment. A neighbour that is asked for again or a sum that comes late is
/// enough to part them: none of it falls, so that nothing has moved if `show` says the same before and after.
fn at_once(lab: &Lab) -> Result<(Value, String), String> {
    let url = format!("http://{}/metrics", lab.metrics);
    let moves = |shown: &Value| {
        let sas = shown["sas"].as_array().into_iter().flatten();
        let packets: Vec<_> = sas.map(|sa| sa["packets"].clone()).collect();
        let sums = ["sas", "esp_sent", "esp_received"].map(|sum| shown["statistics"][sum].clone());
        let sent = shown["workers"][0]["transmitted"].clone();
        (
            packets,
            sums,
            sent,
            shown["tunnel_count"].clone(),
            shown["ike"]["counters"].clone(),
        )
    };
    let deadline = Instant::now() + 2 * SOON;
    loop {
        let before = lab.a.show("all")?;
        let samples = lab.check_beside(&["metrics", &url])?;
        let after = lab.a.show("all")?;
        if moves(&before) == moves(&after) {
            return Ok((after, samples));
        }
        if Instant::now() > deadline {
            return Err(format!("it never rests: {before}\n{after}"));
        }
    }
}

fn metrics(lab: &Lab) -> Result<(), String> {
    let (shown, samples) = at_once(lab)?;
    let samples: Vec<Value> = serde_json::from_str(&samples).map_err(|e| e.to_string())?;
    let value = |name: &str, labels: &[(&str, &str)]| -> Result<f64, String> {
        let mut found = samples.iter().filter(|sample| {
            sample["name"] == name && labels.iter().all(|(l, text)| sample["labels"][*l] == *text)
        });
        match (found.next(), found.next()) {
            (Some(sample), None) => sample["value"].as_f64().ok_or("no number".into()),
            (first, second) => Err(format!("{name} {labels:?}: {first:?}, {second:?}")),
        }
    };
    let figures = &shown["statistics"];
    let sa = shown["sas"].as_array().and_then(|all| {
        all.iter()
            .find(|sa| sa["direction"] == "outbound" && sa["packets"] != 0)
    });
    let sa = sa.ok_or("no SA in use")?;
    let esp = |direction| [("protocol", "esp"), ("direction", direction)];
    for (name, labels, wanted) in [
        (
            "portcullis_tunnels_configured",
            &[][..],
            &shown["tunnel_count"]["configured"],
        ),
        ("portcullis_tunnels_up", &[], &shown["tunnel_count"]["up"]),
        ("portcullis_sas", &[], &figures["sas"]),
        (
            "portcullis_ipsec_packets_total",
            &esp("outbound"),
            &figures["esp_sent"]["packets"],
        ),
        (
            "portcullis_ipsec_packets_total",
            &esp("inbound"),
            &figures["esp_received"]["packets"],
        ),
        (
            "portcullis_ipsec_bytes_total",
            &esp("outbound"),
            &figures["esp_sent"]["bytes"],
        ),
        (
            "portcullis_sa_packets_total",
            &[("spi", sa["spi"].as_str().unwrap_or_default())],
            &sa["packets"],
        ),
        (
            "portcullis_ike_negotiations_total",
            &[("outcome", "established")],
            &shown["ike"]["counters"]["established"],
        ),
        (
            "portcullis_worker_transmitted_packets_total",
            &[("worker", "0")],
            &shown["workers"][0]["transmitted"],
        ),
    ] {
        let got = value(name, labels)?;
        if Some(got) != wanted.as_f64() {
            return Err(format!("{name} {labels:?}: {got}, and show says {wanted}"));
        }
    }
    let sent = figures["esp_sent"]["packets"].as_u64().unwrap_or_default();
    match sent >= 10 {
        true => value("portcullis_worker_load_ratio", &[("worker", "0")]).map(drop),
        false => Err(format!("only {sent} packets sent")),
    }
}

fn schemas(lab: &Lab) -> Result<(), String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dataplane/schema/");
    let validate = |schema: &str, documents: &str| {
        let file = format!("{folder}{schema}.schema.json");
        check(lab, &["schema", &file], documents).map_err(|e| format!("{schema}: {e}"))
    };
    let mut lines = String::new();
    for part in PARTS {
        lab.text(&["show", part])?;
        lines += &format!("{}\n", lab.json(&["show", part, "--json"])?);
    }
    validate("show", &lines)?;
    let answer = lab.json(&["explain", "10.1.0.2", "10.2.0.2", "--json"])?;
    validate("explain", &answer.to_string())?;
    let log = fs::read_to_string(lab.scratch.path("events.jsonl")).map_err(|e| e.to_string())?;
    validate("event", &(lab.text(&["events", "--json"])? + &log))?;
    // A schema that takes everything would prove nothing.
    match validate("show", "{\"schema\": 1, \"frobnicate\": 2}") {
        Err(_) => Ok(()),
        Ok(_) => Err("the schema takes what it does not list".into()),
    }
}

fn top(lab: &Lab) -> Result<(), String> {
    let binary = binary();
    let socket = lab.a.socket();
    let words = [
        "top",
        &binary.to_string_lossy(),
        "top",
        "--socket",
        &socket.to_string_lossy(),
    ];
    let screen = check(lab, &words, "")?;
    for wanted in [
        "portcullis",
        "b/lans",
        "spare",
        "Mbit/s",
        "worker",
        "tunnels 2 of 3 up",
    ] {
        if !screen.contains(wanted) {
            return Err(format!("no {wanted:?} on {screen:?}"));
        }
    }
    Ok(())
}

fn refused(lab: &Lab) -> Result<(), String> {
    let file = lab.scratch.path("no.pcapng");
    std::fs::write(&file, "of a capture before").map_err(|e| e.to_string())?;
    let mut command = lab.command(&["capture", "--tunnel", "nowhere", "-w"]);
    let done = command.arg(&file).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let kept = std::fs::read(&file).is_ok_and(|text| text == b"of a capture before");
    let no_keys = !lab.scratch.path("no.pcapng.keys").exists();
    let refused = !done.status.success() && said.contains("there is no tunnel `nowhere`");
    match refused && kept && no_keys {
        true => Ok(()),
        false => Err(format!("{said}, kept {kept}, no keys {no_keys}")),
    }
}

fn events(lab: &Lab) -> Result<(), String> {
    // ESP that nobody has an SA for.
    lab.stray_esp(0x0000_4242)?;
    lab.text(&["terminate", "b"])?;
    let wanted = [
        "started",
        "negotiation-failed",
        "capture-started",
        "ike-up",
        "sa-up",
        "capture-ended",
        "bad-spi",
        "sa-down",
    ];
    let begun = Instant::now();
    loop {
        let text = lab.text(&["events", "--json"])?;
        let all: Vec<Value> = text
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect();
        let mut rest = all.iter();
        let missing = wanted
            .iter()
            .find(|kind| !rest.any(|event| event["event"] == **kind));
        let Some(missing) = missing else {
            let of = |kind: &str| all.iter().find(|event| event["event"] == kind);
            let spi = of("bad-spi")
                .map(|event| event["spi"].clone())
                .unwrap_or_default();
            expect("SPI", &spi, "0x00004242")?;
            let reason = of("sa-down")
                .map(|event| event["reason"].clone())
                .unwrap_or_default();
            expect("reason", &reason, "terminated here")?;
            let log = fs::read_to_string(lab.scratch.path("events.jsonl"));
            return match log.map_err(|e| e.to_string())?.lines().count() >= all.len() {
                true => Ok(()),
                false => Err("the event log has less".into()),
            };
        };
        if begun.elapsed() > SOON {
            return Err(format!("no {missing} in its place in {text}"));
        }
        sleep(Duration::from_millis(100));
    }
}
