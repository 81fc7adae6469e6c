//! Users, hybrid authentication and address pools.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_config::{Connection, Mistake, ModeConfig, Xauth, load};

use crate::{BASE, END};

/// A gateway for road warriors. `^` is where the mistake of a test is to be found.
const WARRIORS: &str = r#"
[[pool]]
name = "warriors"
addresses = ["10.3.0.10-10.3.0.20", "10.3.1.0/24"]
dns = "10.1.0.53"
split-include = "10.1.0.0/16"

[[connection]]
name = "peer"
local = "192.0.2.1"
remote = "203.0.113.0/24"
psk = "correct horse battery staple"
xauth = { role = "server", users-file = "users" }
pool = "warriors"

[[connection.child]]
name = "lans"

[[spd]]
name = "to-warriors"
local = "10.1.0.0/16"
remote = "10.3.0.0/16"
action = "protect"
connection = "peer"
"#;

/// `openssl passwd -6 -salt abcdefgh wonderland`.
const HASH: &str = "$6$abcdefgh$e1o..VsKRS0O4M9J1Qb9u.strxNEAfDkCXcaYc5TsDrJFctQCTMkPeis45vy3ZQtqt4dqG4vXTonFJKbQgR2Q1";

/// A folder with the policy, changed, and a users' file with this text.
fn folder(name: &str, users: &str, edits: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("warriors-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let mut text = WARRIORS.to_owned();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "{old:?} is not there once");
        text = text.replace(old, new);
    }
    let policy = BASE.replace(END, &format!("{END}{text}"));
    for (file, text) in [
        ("policy.toml", policy.as_str()),
        ("users", users),
        ("password", "x\n"),
    ] {
        fs::write(folder.join(file), text).unwrap();
        fs::set_permissions(folder.join(file), Permissions::from_mode(0o600)).unwrap();
    }
    folder.join("policy.toml")
}

fn alice() -> String {
    format!("alice:{HASH}\n")
}

#[track_caller]
fn connection(name: &str, edits: &[(&str, &str)]) -> (Connection, Vec<Mistake>) {
    let loaded = load(&folder(name, &alice(), edits)).unwrap();
    (loaded.policy.connections[0].clone(), loaded.warnings)
}

/// The one mistake is found in the line that has `at`, and says `message`.
#[track_caller]
fn wrong(name: &str, edits: &[(&str, &str)], at: &str, message: &str) {
    let path = folder(name, &alice(), edits);
    let mistakes = load(&path).unwrap_err();
    let text: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    let found: Vec<_> = text.iter().filter(|t| t.contains("error: ")).collect();
    assert_eq!(found.len(), 1, "{text:#?}");
    assert!(found[0].contains(message), "{text:#?}");
    let policy = fs::read_to_string(&path).unwrap();
    let line = policy.lines().position(|line| line.contains(at)).unwrap() + 1;
    assert!(
        found[0].contains(&format!("policy.toml:{line}:")),
        "{text:#?}"
    );
}

#[test]
fn a_server_of_road_warriors() {
    let (connection, warnings) = connection("server", &[]);
    let access = &connection.remote_access;
    let Some(Xauth::Server { users, tries: 3 }) = &access.xauth else {
        panic!("{access:?}");
    };
    assert_eq!(users.hash("alice"), Some(HASH));
    let Some(ModeConfig::Give { pool, push: false }) = &access.mode_config else {
        panic!("{access:?}");
    };
    assert_eq!(pool.ranges.len(), 2);
    // A group's key does not tell the gateway from its clients.
    assert!(
        warnings
            .iter()
            .any(|w| w.to_string().contains("can pose as this gateway"))
    );
    // No hash gets into what is printed.
    assert!(!format!("{connection:?}").contains(HASH));
}

#[test]
fn a_client() {
    let client = (
        "xauth = { role = \"server\", users-file = \"users\" }\npool = \"warriors\"",
        "xauth = { role = \"client\", user = \"alice\", password-file = \"password\" }\nrequest-address = true",
    );
    let (connection, _) = connection("client", &[client, ("203.0.113.0/24", "192.0.2.9")]);
    let access = &connection.remote_access;
    assert_eq!(access.mode_config, Some(ModeConfig::Ask));
    let Some(Xauth::Client { user, password }) = &access.xauth else {
        panic!("{access:?}");
    };
    assert_eq!((user.as_str(), password.expose()), ("alice", &b"x"[..]));
}

#[test]
fn mistakes() {
    let xauth = "xauth = { role = \"server\", users-file = \"users\" }";
    wrong(
        "a",
        &[("pool = \"warriors\"", "pool = \"warrior\"")],
        "pool = \"warrior\"",
        "there is no pool `warrior`; did you mean",
    );
    wrong(
        "b",
        &[("remote = \"10.3.0.0/16\"", "remote = \"10.3.0.0/24\"")],
        "remote = \"10.3.0.0/24\"",
        "expected all addresses of the pool `warriors` in it",
    );
    wrong(
        "c",
        &[("10.3.1.0/24", "10.3.0.20-10.3.0.30")],
        "addresses = [\"10.3.0.10",
        "expected each address once",
    );
    wrong(
        "d",
        &[(xauth, "xauth = { role = \"server\" }")],
        "xauth = ",
        "missing key `users-file`",
    );
    wrong(
        "e",
        &[(
            xauth,
            "xauth = { role = \"server\", users-file = \"users\", user = \"a\" }",
        )],
        "xauth = ",
        "expected only users-file and tries",
    );
    wrong(
        "g",
        &[("pool = \"warriors\"\n", "mode-config = \"push\"\n")],
        "mode-config",
        "expected only with `pool`",
    );
    wrong(
        "h",
        &[(
            "pool = \"warriors\"\n",
            "pool = \"warriors\"\nrequest-address = true\n",
        )],
        "request-address",
        "one end gives addresses",
    );
    wrong(
        "i",
        &[("dns = ", "netmask = \"255.0.255.0\"\ndns = ")],
        "netmask",
        "expected a netmask",
    );
}

#[test]
fn wrong_users() {
    let path = folder("users", "alice:wonderland\n", &[]);
    let mistakes = load(&path).unwrap_err();
    let text = mistakes.iter().map(ToString::to_string).collect::<String>();
    assert!(
        text.contains("line 1: expected a hash that begins with $6$"),
        "{text}"
    );
    fs::set_permissions(path.with_file_name("users"), Permissions::from_mode(0o644)).unwrap();
    let mistakes = load(&path).unwrap_err();
    let text = mistakes.iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains("mode 0644"), "{text}");
}

#[test]
fn hybrid_needs_a_certificate_at_one_end_and_roots_at_the_other() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/keys");
    let files = format!(
        "hybrid = true\ncertificate = \"{0}/gateway.crt\"\nprivate-key-file = \"road.pem\"",
        examples.display()
    );
    let psk = "psk = \"correct horse battery staple\"";
    let path = folder("hybrid", &alice(), &[(psk, &files)]);
    let key = path.with_file_name("road.pem");
    fs::copy(examples.join("gateway.pem"), &key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let loaded = load(&path).unwrap();
    assert!(loaded.policy.connections[0].remote_access.hybrid);
    assert_eq!(loaded.warnings, []);
    let text = fs::read_to_string(&path).unwrap();
    let more = text.replace("hybrid = true", "hybrid = true\nname-roots = false");
    fs::write(&path, more).unwrap();
    let mistakes = load(&path).unwrap_err();
    let text: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert!(
        text.len() == 1 && text[0].contains("only at the client of hybrid authentication"),
        "{text:#?}"
    );
}
