//! Policies from a store: a real HTTPS server with an authority of its own, files, a cache; export and import.

mod changes;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::{Cases, Gateway, Need, Scratch, available};
use serde_json::Value;
use server::{Authority, Server};

const RUNTIME: &str = "eal = [\"--no-huge\", \"-m\", \"128\", \"--no-pci\"]\nmbufs = 2047";
const PORTS: &str = "
[[port]]
name = \"lan\"
device = \"net_ring0\"
side = \"protected\"
addresses = [\"10.1.0.1/24\"]

[[port]]
name = \"wan\"
device = \"net_ring1\"
side = \"unprotected\"
addresses = [\"192.0.2.1/24\"]
";

/// A policy that can be told from others.
fn policy(version: &str, rest: &str) -> String {
    format!(
        "[policy]\nversion = \"{version}\"\n{rest}\n[[spd]]\nname = \"entry-{version}\"\nlocal = \"10.1.0.0/24\"\n\
         remote = \"10.2.0.0/24\"\naction = \"discard\"\n"
    )
}

#[test]
fn policies_come_from_stores() {
    let needs = [
        Need::Program("openssl", "openssl"),
        Need::Program("python3", "python3"),
    ];
    if !available("policies_come_from_stores", &needs) {
        return;
    }
    let mut cases = Cases::new();
    cases.run("a server", a_server);
    cases.run("its cache", its_cache);
    cases.run("a server that is not ours", not_ours);
    cases.run("a server that asks who we are", who_we_are);
    cases.run("scopes", scopes);
    cases.run("another store", changes::another_store);
    cases.run("a store that goes and comes back", changes::away_and_back);
    cases.run("a policy that stays wrong", changes::wrong_for_long);
    cases.run("a directory", a_directory);
    cases.run("export and import", export_and_import);
    cases.finish();
}

/// A place for files, servers and a cache.
struct Lab {
    scratch: Scratch,
}

impl Lab {
    fn new() -> Lab {
        let scratch = Scratch::new("store");
        fs::create_dir(scratch.path("www")).unwrap();
        Lab { scratch }
    }

    fn publish(&self, text: &str) {
        fs::write(self.scratch.path("www/policy.toml"), text).unwrap();
    }

    fn gateway(
        &self,
        server: &Server,
        path: &str,
        authority: &Authority<'_>,
        more: &str,
    ) -> Gateway {
        Gateway::start(None, RUNTIME, &self.machine(server, path, authority, more))
    }

    /// The machine's own file for a gateway with this store.
    fn machine(
        &self,
        server: &Server,
        path: &str,
        authority: &Authority<'_>,
        more: &str,
    ) -> String {
        let (port, cache) = (server.port, self.scratch.path("cache/policy"));
        format!(
            "[store]\nurl = \"https://127.0.0.1:{port}/{path}\"\nca = {:?}\ncache = {cache:?}\n{more}\n{PORTS}",
            authority.path("ca.crt")
        )
    }
}

fn status(gateway: &Gateway) -> Result<Value, String> {
    gateway.command(&["policy", "status", "--json"])
}

/// Waits until the policy is in this state and has this version.
fn await_policy(gateway: &Gateway, state: &str, version: &str) -> Result<Value, String> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let now = status(gateway)?;
        let is_version = now["version"].as_str().unwrap_or("-") == version;
        if now["state"] == state && is_version {
            let spd = gateway.show("spd")?;
            let name = match version {
                "-" => "before-policy".to_owned(),
                version => format!("entry-{version}"),
            };
            let names = spd["spd"].as_array().into_iter().flatten();
            let found = names.filter(|entry| entry["name"] == name.as_str()).count() == 1;
            return match found {
                true => Ok(now),
                false => Err(format!("{name} is not in force: {spd}")),
            };
        }
        if Instant::now() > deadline {
            return Err(format!("not {state} {version}: {now}\n{}", gateway.log()));
        }
        sleep(Duration::from_millis(20));
    }
}

/// Waits until a poll has failed, and says why.
fn await_failure(gateway: &Gateway) -> Result<String, String> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(text) = status(gateway)?["failure"]["text"].as_str() {
            return Ok(text.to_owned());
        }
        if Instant::now() > deadline {
            return Err("no poll has failed".into());
        }
        sleep(Duration::from_millis(20));
    }
}

fn expect(what: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if what { Ok(()) } else { Err(why()) }
}

/// `portcullis policy poll --json`: its report.
fn poll(gateway: &Gateway, more: &[&str]) -> Result<Value, String> {
    gateway.command(&[&["policy", "poll", "--json"], more].concat())
}

fn expect_poll(gateway: &Gateway, outcome: &str, failure: &str) -> Result<(), String> {
    let report = poll(gateway, &[])?;
    let said = format!("{} {}", report["store_failure"], report["reasons"]);
    expect(
        report["outcome"] == outcome && said.contains(failure),
        || format!("expected {outcome}, {failure:?}: {report}"),
    )
}

/// Fetched at the start, not again while it is the same, again when it is not, refused when it is garbage.
fn a_server() -> Result<(), String> {
    let lab = Lab::new();
    let authority = Authority::new(&lab.scratch, "ours");
    lab.publish(&policy("1", "poll-interval = 1000"));
    let server = Server::start(&lab.scratch, &authority, None);
    let gateway = lab.gateway(&server, "policy.toml", &authority, "");
    let first = await_policy(&gateway, "central-downloaded", "1")?;
    expect(
        first["poll_interval_ms"] == 1_000_000 && first["etag"].is_string(),
        || first.to_string(),
    )?;
    expect_poll(&gateway, "unchanged", "null")?;
    expect(
        (server.answers("200"), server.answers("304")) == (1, 1),
        || "not one 200 and one 304".into(),
    )?;

    // A trial shows what would change, and changes nothing.
    lab.publish(&policy("2", "poll-interval = 1"));
    let trial = poll(&gateway, &["--dry-run"])?;
    let names = (
        &trial["outcome"],
        &trial["spd"]["added_names"][0],
        &trial["spd"]["removed_names"][0],
    );
    expect(
        names == (&"planned".into(), &"entry-2".into(), &"entry-1".into()),
        || trial.to_string(),
    )?;
    await_policy(&gateway, "central-downloaded", "1")?;
    expect_poll(&gateway, "applied", "null")?;
    await_policy(&gateway, "central-downloaded", "2")?;

    // The interval is the policy's now: the next one comes by itself.
    lab.publish(&policy("3", "poll-interval = 1000"));
    await_policy(&gateway, "central-downloaded", "3")?;

    // Other words for the same: a trial leaves what is in force under its old name, a poll does not.
    let before = await_policy(&gateway, "central-downloaded", "3")?;
    lab.publish(&(policy("3", "poll-interval = 1000") + "# the same\n"));
    let trial = poll(&gateway, &["--dry-run"])?;
    expect(trial["outcome"] == "unchanged", || trial.to_string())?;
    let tried = status(&gateway)?;
    for key in ["etag", "checksum"] {
        expect(tried[key] == before[key], || tried.to_string())?;
    }
    expect_poll(&gateway, "unchanged", "null")?;
    let polled = status(&gateway)?;
    expect(polled["etag"] != before["etag"], || polled.to_string())?;

    lab.publish("[[spd]]\nname = \"entry-4\"\naction = \"discrad\"\n");
    let url = format!(
        "https://127.0.0.1:{}/policy.toml:3:10: error: ",
        server.port
    );
    expect_poll(&gateway, "refused", &url)?;
    let after = await_policy(&gateway, "central-downloaded", "3")?;
    expect(
        after["failure"]["text"].to_string().contains("is refused"),
        || after.to_string(),
    )?;
    // What belongs to the machine does not come from elsewhere.
    lab.publish(&(policy("5", "") + "[runtime]\nworkers = 2\n"));
    expect_poll(&gateway, "refused", "belongs into the machine's own file")?;
    fs::remove_file(lab.scratch.path("www/policy.toml")).unwrap();
    expect_poll(&gateway, "unchanged", "404")?;
    drop(server);
    expect_poll(&gateway, "unchanged", "Connection refused")?;
    await_policy(&gateway, "central-downloaded", "3")?;
    gateway.stop().success().map(drop)
}

/// The last policy outlives the server and the gateway, and gives way to the server's next one.
fn its_cache() -> Result<(), String> {
    let lab = Lab::new();
    let authority = Authority::new(&lab.scratch, "ours");
    lab.publish(&policy("1", ""));
    let server = Server::start(&lab.scratch, &authority, None);
    let gateway = lab.gateway(&server, "policy.toml", &authority, "");
    await_policy(&gateway, "central-downloaded", "1")?;
    let cache = lab.scratch.path("cache/policy");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !cache.exists() && Instant::now() < deadline {
        sleep(Duration::from_millis(10));
    }
    let mode = fs::metadata(&cache)
        .map_err(|e| e.to_string())?
        .permissions()
        .mode();
    expect(mode & 0o7777 == 0o600, || format!("mode {mode:o}"))?;
    drop(gateway); // killed

    let port = server.port;
    drop(server);
    let away = Server::gone(port);
    let gateway = lab.gateway(&away, "policy.toml", &authority, "poll-interval = 1");
    let now = await_policy(&gateway, "cached", "1")?;
    expect(
        now["failure"]["text"].to_string().contains("refused"),
        || now.to_string(),
    )?;
    lab.publish(&policy("2", ""));
    let server = Server::start(&lab.scratch, &authority, None);
    expect(server.port == port, || "another port".into())?;
    await_policy(&gateway, "central-downloaded", "2")?;
    drop((gateway, server));

    // Whoever edits it finds it refused: then there is no policy, and everything is discarded.
    let whole = fs::read_to_string(&cache).map_err(|e| e.to_string())?;
    expect(whole.contains("entry-2"), || {
        format!("not replaced: {whole}")
    })?;
    fs::write(&cache, whole.replace("discard", "bypass")).unwrap();
    let gateway = lab.gateway(&away, "policy.toml", &authority, "");
    await_policy(&gateway, "initial", "-")?;
    expect(gateway.log().contains("is damaged or was edited"), || {
        gateway.log()
    })?;
    let own = lab.gateway(&away, "policy.toml", &authority, &policy("own", ""));
    await_policy(&own, "local-downloaded", "own")?;
    gateway.stop().success()?;
    own.stop().success().map(drop)
}

/// Another authority's server, or one that sends us elsewhere, is none.
fn not_ours() -> Result<(), String> {
    let lab = Lab::new();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(&lab.scratch, name));
    lab.publish(&policy("1", ""));
    let server = Server::start(&lab.scratch, &theirs, None);
    let gateway = lab.gateway(&server, "policy.toml", &ours, "");
    let failure = await_failure(&gateway)?;
    expect(failure.contains("UnknownIssuer"), || failure)?;
    await_policy(&gateway, "initial", "-")?;
    expect(server.answers("200") == 0, || {
        "it was asked all the same".into()
    })?;
    gateway.stop().success()?;
    let gateway = lab.gateway(&server, "moved", &theirs, "");
    let failure = await_failure(&gateway)?;
    expect(failure.contains("answers 302"), || failure)?;
    await_policy(&gateway, "initial", "-")?;
    expect(server.answers("200") == 0, || {
        "it went where it was sent".into()
    })?;
    gateway.stop().success().map(drop)
}

/// A server that tells policies to its own gateways only.
fn who_we_are() -> Result<(), String> {
    let lab = Lab::new();
    let authority = Authority::new(&lab.scratch, "ours");
    lab.publish(&policy("1", ""));
    let server = Server::start(&lab.scratch, &authority, Some(&authority));
    let stranger = lab.gateway(&server, "policy.toml", &authority, "");
    await_failure(&stranger)?;
    await_policy(&stranger, "initial", "-")?;
    expect(server.answers("200") == 0, || "a stranger has it".into())?;
    let proof = format!(
        "certificate = {:?}\nprivate-key-file = {:?}\n",
        authority.path("client.crt"),
        authority.path("client.key")
    );
    let known = lab.gateway(&server, "policy.toml", &authority, &proof);
    await_policy(&known, "central-downloaded", "1").map(drop)
}

/// A server with policies for single gateways and for all: the nearest counts, and only 404 leads to the next.
fn scopes() -> Result<(), String> {
    let lab = Lab::new();
    let authority = Authority::new(&lab.scratch, "ours");
    let www = lab.scratch.path("www");
    fs::create_dir(www.join("node")).unwrap();
    fs::write(www.join("global.toml"), policy("1", "")).unwrap();
    let server = Server::start(&lab.scratch, &authority, None);
    let names = "scopes = { node = \"gw1\", site = \"berlin\" }";
    let gateway = lab.gateway(&server, "{scope}.toml", &authority, names);
    let all = await_policy(&gateway, "central-downloaded", "1")?;
    expect(all["store"].to_string().ends_with("/global.toml\""), || {
        all.to_string()
    })?;
    expect_poll(&gateway, "unchanged", "null")?;
    expect(server.answers("304") == 1, || "fetched again".into())?;
    let own = www.join("node/gw1.toml");
    fs::write(&own, policy("2", "")).unwrap();
    expect_poll(&gateway, "applied", "null")?;
    let own_status = await_policy(&gateway, "central-downloaded", "2")?;
    expect(
        own_status["store"]
            .to_string()
            .ends_with("/node/gw1.toml\""),
        || own_status.to_string(),
    )?;
    let saved = lab.scratch.path("saved.toml");
    gateway.run(&["policy", "export", &saved.to_string_lossy()])?;
    expect(
        fs::read_to_string(saved).unwrap() == policy("2", ""),
        || "another policy".into(),
    )?;
    fs::remove_file(&own).unwrap();
    expect_poll(&gateway, "applied", "null")?;
    await_policy(&gateway, "central-downloaded", "1")?;
    gateway.stop().success().map(drop)
}

/// Files in the order of their names, polled.
fn a_directory() -> Result<(), String> {
    let lab = Lab::new();
    let dir = lab.scratch.path("www");
    let store = format!("[store]\npath = {dir:?}\npoll-interval = 1\n{PORTS}");
    let gateway = Gateway::start(None, RUNTIME, &store);
    await_policy(&gateway, "initial", "-")?;
    fs::write(dir.join("10-first.toml"), policy("1", "")).unwrap();
    let more = policy("1", "").replace("entry-1", "other");
    fs::write(
        dir.join("20-more.toml"),
        more.split_once("[[spd]]")
            .map(|(_, spd)| format!("[[spd]]{spd}"))
            .unwrap(),
    )
    .unwrap();
    await_policy(&gateway, "central-downloaded", "1")?;
    let spd = gateway.show("spd")?;
    expect(
        spd["spd"][0]["name"] == "entry-1" && spd["spd"][1]["name"] == "other",
        || spd.to_string(),
    )?;
    // Both in one file, although the first ends without a new line, mean the same.
    let first = policy("1", "");
    fs::write(dir.join("10-first.toml"), first.trim_end()).unwrap();
    gateway.run(&["policy", "poll"])?;
    let saved = lab
        .scratch
        .path("saved.toml")
        .to_string_lossy()
        .into_owned();
    gateway.run(&["policy", "export", &saved])?;
    for name in ["10-first.toml", "20-more.toml"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    fs::copy(&saved, dir.join("all.toml")).unwrap();
    expect_poll(&gateway, "unchanged", "null")?;
    // A mistake is where it is.
    fs::write(dir.join("20-more.toml"), "\n[[spd]]\nname = 1\n").unwrap();
    expect_poll(&gateway, "refused", "20-more.toml:3:8: error: ")?;
    await_policy(&gateway, "central-downloaded", "1")?;
    gateway.stop().success().map(drop)
}

/// What is exported can be imported, and what is refused on import leaves everything as it was.
fn export_and_import() -> Result<(), String> {
    let lab = Lab::new();
    let place = lab
        .scratch
        .write("policy.toml", 0o600, policy("1", "").as_bytes());
    let store = format!("[store]\npath = {place:?}\n{PORTS}");
    let gateway = Gateway::start(None, RUNTIME, &store);
    await_policy(&gateway, "central-downloaded", "1")?;
    let saved = lab
        .scratch
        .path("saved.toml")
        .to_string_lossy()
        .into_owned();
    gateway.run(&["policy", "export", &saved])?;
    expect(
        fs::read_to_string(&saved).unwrap() == policy("1", ""),
        || "another policy".into(),
    )?;
    expect(gateway.run(&["policy", "export", &saved]).is_err(), || {
        "it was overwritten".into()
    })?;
    let next = lab
        .scratch
        .write("next.toml", 0o600, policy("2", "").as_bytes());
    gateway.run(&["policy", "import", &next.to_string_lossy()])?;
    await_policy(&gateway, "central-downloaded", "2")?;
    let bad = lab
        .scratch
        .write("bad.toml", 0o600, b"[[spd]]\nname = \"x\"\n");
    let refused = gateway.run(&["policy", "import", &bad.to_string_lossy()]);
    let why = refused.err().ok_or("a bad policy was imported")?;
    expect(why.contains("bad.toml:1:"), || why)?;
    gateway.run(&["policy", "import", &saved])?;
    await_policy(&gateway, "central-downloaded", "1")?;
    gateway.stop().success().map(drop)
}
