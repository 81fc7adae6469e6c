//! A store that gives way to another, or is away for a while.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::Gateway;
use serde_json::Value;

use crate::server::{Authority, Server};
use crate::{Lab, PORTS, RUNTIME, await_policy, expect, expect_poll, policy, status};

/// Reloads with another file: its outcome, and a reason or setting that must be named.
fn reload(gateway: &Gateway, file: &str, outcome: &str, named: &str) -> Result<(), String> {
    gateway.rewrite(RUNTIME, file);
    let report = gateway.reload(&[])?;
    let said = format!("{} {}", report["reasons"], report["settings"]);
    expect(report["outcome"] == outcome && said.contains(named), || {
        format!("expected {outcome}, {named:?}: {report}")
    })
}

/// From one server to another, to none and back: with its policy, or not at all.
pub fn another_store() -> Result<(), String> {
    let lab = Lab::new();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(&lab.scratch, name));
    let publish = |text: &str| fs::write(lab.scratch.path("www/other.toml"), text).unwrap();
    lab.publish(&policy("1", ""));
    publish(&policy("2", ""));
    let server = Server::start(&lab.scratch, &ours, None);
    let first = lab.machine(&server, "policy.toml", &ours, "");
    let gateway = Gateway::start(None, RUNTIME, &first);
    await_policy(&gateway, "central-downloaded", "1")?;

    // Another authority alone: the server is not the one it should be any more, and nothing changes.
    let wrong = lab.machine(&server, "policy.toml", &theirs, "");
    reload(&gateway, &wrong, "refused", "[store] brings no policy")?;
    await_policy(&gateway, "central-downloaded", "1")?;

    let other = |more: &str| lab.machine(&server, "other.toml", &ours, more);
    gateway.rewrite(RUNTIME, &other(""));
    let trial = gateway.reload(&["--dry-run"])?;
    let named = trial["settings"].to_string().contains("[store]");
    expect(trial["outcome"] == "planned" && named, || trial.to_string())?;
    await_policy(&gateway, "central-downloaded", "1")?;
    reload(&gateway, &other(""), "applied", "[store]")?;
    let now = await_policy(&gateway, "central-downloaded", "2")?;
    expect(now["store"].to_string().ends_with("/other.toml\""), || {
        now.to_string()
    })?;
    let cache = lab.scratch.path("cache/policy");
    await_text(&cache, "entry-2")?;

    // A file with mistakes is refused with all of them, whether it names no store, the known one or another: each stays.
    let mistake = "[[route]]\ndestinaton = \"10.0.0.0/8\"\n[broken\n";
    for file in [
        format!("{PORTS}{mistake}"),
        other(mistake),
        format!("{first}{mistake}"),
    ] {
        reload(&gateway, &file, "refused", "error: ")?;
        await_policy(&gateway, "central-downloaded", "2")?;
    }

    // Only the interval: the next policy comes by itself.
    reload(&gateway, &other("poll-interval = 1"), "applied", "[store]")?;
    publish(&policy("3", ""));
    await_policy(&gateway, "central-downloaded", "3")?;

    // What the other store brings is not fit to be in force.
    lab.publish("[[spd]]\nname = \"entry-4\"\naction = \"discrad\"\n");
    reload(&gateway, &first, "refused", "policy.toml:3:10: error: ")?;
    await_policy(&gateway, "central-downloaded", "3")?;
    gateway.rewrite(RUNTIME, &other("poll-interval = 1"));
    expect_poll(&gateway, "unchanged", "null")?;

    let own = format!("{PORTS}{}", policy("own", ""));
    reload(&gateway, &own, "applied", "[store]")?;
    let now = await_policy(&gateway, "local-downloaded", "own")?;
    expect(
        now["store"].is_null() && now["next_poll_ms"].is_null(),
        || now.to_string(),
    )?;
    lab.publish(&policy("5", ""));
    reload(&gateway, &first, "applied", "[store]")?;
    await_policy(&gateway, "central-downloaded", "5")?;
    gateway.stop().success().map(drop)
}

fn await_text(file: &Path, text: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = fs::read_to_string(file).unwrap_or_default();
        match (found.contains(text), Instant::now() < deadline) {
            (true, _) => return Ok(()),
            (false, true) => sleep(Duration::from_millis(10)),
            (false, false) => return Err(format!("no {text} in {}", file.display())),
        }
    }
}

/// The lines of the event log about the store.
fn told(log: &Path) -> Vec<Value> {
    told_of(log, "store-")
}

/// The lines of the event log whose events begin with `kind`.
fn told_of(log: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let about = |event: &Value| event["event"].as_str().is_some_and(|e| e.starts_with(kind));
    lines.filter(about).collect()
}

fn await_told(log: &Path, count: usize) -> Result<Value, String> {
    let deadline = Instant::now() + Duration::from_secs(15);
    while told(log).len() < count {
        expect(Instant::now() < deadline, || {
            format!("{:?} is all", told(log))
        })?;
        sleep(Duration::from_millis(20));
    }
    Ok(told(log).swap_remove(count - 1))
}

/// One event when it goes, and one when it is back, however often it is asked meanwhile.
pub fn away_and_back() -> Result<(), String> {
    let lab = Lab::new();
    let authority = Authority::new(&lab.scratch, "ours");
    lab.publish(&policy("1", ""));
    let server = Server::start(&lab.scratch, &authority, None);
    let port = server.port;
    let log = lab.scratch.path("events.jsonl");
    let runtime = format!("{RUNTIME}\nevent-log = {log:?}");
    let machine = lab.machine(&server, "policy.toml", &authority, "poll-interval = 1");
    let gateway = Gateway::start(None, &runtime, &machine);
    await_policy(&gateway, "central-downloaded", "1")?;
    drop(server);
    let away = await_told(&log, 1)?;
    let why = away["reason"].to_string();
    let of_store = away["event"] == "store-away" && away["policy"] == "from the store";
    expect(
        of_store && why.contains("refused") && away["policy_age_s"].is_u64(),
        || away.to_string(),
    )?;
    let polled = || Ok::<_, String>(status(&gateway)?["failure"]["ms_ago"].as_u64());
    // It is asked again, and that is no news.
    sleep(Duration::from_millis(2500));
    expect(polled()?.is_some_and(|ago| ago < 2000), || {
        "it is not asked again".into()
    })?;
    let shown = gateway.show("config")?;
    let store = &shown["config"]["store"];
    expect(
        store["away"].is_string() && store["away_ms"].as_u64() >= Some(2000),
        || store.to_string(),
    )?;
    let text = gateway.run(&["show", "config"])?;
    expect(text.contains("store is away"), || text)?;
    let server = Server::start(&lab.scratch, &authority, None);
    expect(server.port == port, || "another port".into())?;
    let back = await_told(&log, 2)?;
    expect(
        back["event"] == "store-back" && back["away_s"].as_u64() >= Some(2),
        || back.to_string(),
    )?;
    let shown = gateway.show("config")?;
    expect(shown["config"]["store"]["away"].is_null(), || {
        shown.to_string()
    })?;
    gateway.stop().success()?;
    drop(server);

    // Away from the beginning: the cache is in use, and has an age.
    let gateway = Gateway::start(None, &runtime, &machine);
    await_policy(&gateway, "cached", "1")?;
    let away = await_told(&log, 3)?;
    expect(
        away["policy"] == "from the cache" && away["policy_age_s"].as_u64() >= Some(2),
        || away.to_string(),
    )?;
    gateway.stop().success().map(drop)
}

/// A policy that stays wrong is told of once, however often it is polled, and a dry run is no event at all.
pub fn wrong_for_long() -> Result<(), String> {
    let lab = Lab::new();
    let authority = Authority::new(&lab.scratch, "ours");
    lab.publish(&policy("1", ""));
    let server = Server::start(&lab.scratch, &authority, None);
    let log = lab.scratch.path("events.jsonl");
    let runtime = format!("{RUNTIME}\nevent-log = {log:?}");
    let machine = lab.machine(&server, "policy.toml", &authority, "poll-interval = 1");
    let gateway = Gateway::start(None, &runtime, &machine);
    await_policy(&gateway, "central-downloaded", "1")?;
    let refused = || told_of(&log, "policy-refused").len();

    gateway.rewrite(&format!("{runtime}\nwrong = 1"), &machine);
    let trial = gateway.reload(&["--dry-run"])?;
    expect(
        trial["outcome"] == "refused" && trial["dry_run"] == true,
        || trial.to_string(),
    )?;
    let counted = gateway.show("workers")?["reloads"]["refused"].clone();
    expect(refused() == 0 && counted == 0, || {
        format!("{} events of a dry run, {counted} counted", refused())
    })?;

    gateway.rewrite(&runtime, &machine);
    lab.publish("[[spd]]\nname = \"entry-2\"\naction = \"discrad\"\n");
    let deadline = Instant::now() + Duration::from_secs(10);
    while refused() == 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(2500));
    let counted = gateway.show("workers")?["reloads"]["refused"].as_u64();
    expect(refused() == 1 && counted >= Some(2), || {
        format!("{} events, {counted:?} counted", refused())
    })?;
    // Another mistake is news, and so is what somebody asks for.
    lab.publish("[[spd]]\nname = \"entry-2\"\naction = \"discra\"\n");
    sleep(Duration::from_millis(1500));
    expect(refused() == 2, || format!("{} events", refused()))?;
    // A poll of its own may be under way just then.
    while let Err(other) = expect_poll(&gateway, "refused", "discra") {
        expect(other.contains("under way"), || other)?;
        sleep(Duration::from_millis(50));
    }
    expect(refused() == 3, || format!("{} events", refused()))?;
    // Good meanwhile, to the byte or in other words: the same mistake once more is news.
    for (good, told) in [(policy("1", ""), 4), (policy("1", "") + "# as before\n", 5)] {
        lab.publish(&good);
        // Two polls at least.
        sleep(Duration::from_millis(2500));
        let deadline = Instant::now() + Duration::from_secs(10);
        lab.publish("[[spd]]\nname = \"entry-2\"\naction = \"discra\"\n");
        while refused() < told && Instant::now() < deadline {
            sleep(Duration::from_millis(20));
        }
        expect(refused() == told, || {
            format!("{} events, not {told}", refused())
        })?;
    }
    gateway.stop().success().map(drop)
}
