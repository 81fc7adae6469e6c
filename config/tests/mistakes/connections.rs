//! Connections, their children, and what they prove themselves with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_config::{
    Action, Authentication, ClearText, Group, Identity, Mistake, Policy, RemoteAddress, Severity,
    Start, load,
};

use crate::{BASE, END, edited, error, errors, expect_fine, read, warning};

/// A connection with one child, and the entry that names it.
const PEER: &str = r#"
[[connection]]
name = "peer"
remote = "192.0.2.9"
local = "192.0.2.1"
psk = "correct horse battery staple"
proposals = [{ encryption = "aes256-cbc", hash = "sha2-256", group = "modp2048" }]

[[connection.child]]
name = "lans"
proposals = [{ encryption = "aes128-gcm16" }]

[[spd]]
name = "a-to-c"
local = "10.1.0.0/24"
remote = "10.3.0.0/24"
action = "protect"
connection = "peer"
child = "lans"
"#;

/// The base policy with the connection behind it, changed.
fn with(edits: &[(&str, &str)]) -> String {
    let mut text = PEER.to_owned();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "{old:?} is not there once");
        text = text.replace(old, new);
    }
    format!("{END}{text}")
}

#[track_caller]
fn wrong(edits: &[(&str, &str)], message: &str) {
    error(&[(END, &with(edits))], message);
}

#[track_caller]
fn wrongs(edits: &[(&str, &str)], messages: &[&str]) {
    errors(&[(END, &with(edits))], messages);
}

#[track_caller]
fn warned(edits: &[(&str, &str)], message: &str) {
    warning(&[(END, &with(edits))], message);
}

fn policy(edits: &[(&str, &str)]) -> Policy {
    let text = BASE.replace(END, &with(edits));
    let loaded = read(&text).unwrap();
    loaded.policy
}

#[test]
fn what_is_left_out_is_the_usual() {
    let policy = policy(&[
        (
            "proposals = [{ encryption = \"aes256-cbc\", hash = \"sha2-256\", group = \"modp2048\" }]\n",
            "",
        ),
        ("proposals = [{ encryption = \"aes128-gcm16\" }]\n", ""),
        ("child = \"lans\"\n", ""),
    ]);
    let connection = &policy.connections[0];
    assert_eq!(
        connection.remote,
        RemoteAddress::Host("192.0.2.9".parse().unwrap())
    );
    assert_eq!(
        connection.local_id,
        Identity::Address("192.0.2.1".parse().unwrap())
    );
    assert_eq!(
        connection.remote_id,
        Some(Identity::Address("192.0.2.9".parse().unwrap()))
    );
    assert_eq!(
        (connection.ike_lifetime, connection.start),
        (28_800, Start::Traffic)
    );
    let legacy = [Group::Modp768, Group::Modp1024, Group::Modp1536];
    assert!(
        connection
            .ike_proposals
            .iter()
            .all(|p| !legacy.contains(&p.group))
    );
    let child = &connection.children[0];
    assert_eq!(
        (child.hard.seconds, child.soft.seconds),
        (Some(3600), Some(3240))
    );
    assert_eq!(
        (child.pfs, child.idle, child.replay_window),
        (None, None, Some(1024))
    );
    let (connection, child) = (0, 0);
    let negotiate = Action::Negotiate {
        connection,
        child,
        clear: ClearText::Never,
    };
    assert_eq!(policy.spd[1].action, negotiate);
    assert_eq!(
        policy.connections[0].children[0].selector,
        *policy.spd[1].selector
    );
}

#[test]
fn names_and_numbers() {
    wrong(
        &[("name = \"peer\"", "name = \"peer\"\nexchange = ^\"man\"")],
        "expected one of main, aggressive; got `man`; did you mean `main`?",
    );
    wrong(
        &[(
            "\"sha2-256\", group = \"modp2048\"",
            "\"sha2-256\", group = ^\"modp2047\"",
        )],
        "expected one of x25519, ecp256, ecp384, ecp521, modp2048, modp3072, modp4096, modp6144, modp8192, \
         modp1536, modp1024, modp768; got `modp2047`; did you mean `modp2048`?",
    );
    wrong(
        &[("name = \"peer\"", "name = \"peer\"\nlifetime = ^59")],
        "expected an integer from 60 to 604800; got 59",
    );
    wrong(
        &[("name = \"peer\"", "name = \"peer\"\nfragment-size = ^500")],
        "expected 0, or 576 or more, which every IPv4 host takes; got 500",
    );
    wrong(
        &[("name = \"lans\"", "name = \"lans\"\npfs = ^14")],
        "expected a string; got an integer",
    );
    wrong(
        &[("name = \"lans\"", "name = \"lans\"\nreplay-window = ^100")],
        "expected 0, or a power of two from 64 to 65536; got 100",
    );
    wrong(
        &[("name = \"peer\"", "name = \"peer\"\ndpd = { delay = ^0 }")],
        "expected an integer from 1 to 86400; got 0",
    );
    wrong(
        &[(
            "name = \"peer\"",
            "name = \"peer\"\ndpd = ^{ action = \"clear\" }",
        )],
        "missing key `delay` in dpd",
    );
    wrong(
        &[("{ encryption = \"aes256-cbc\", ", "^{ ")],
        "missing key `encryption` in proposals of [[connection]]",
    );
    wrong(
        &[("[{ encryption = \"aes128-gcm16\" }]", "^[]")],
        "expected at least one proposal; leave the key out for the usual ones",
    );
}

#[test]
fn where_the_peer_is() {
    wrong(
        &[("remote = \"192.0.2.9\"", "remote = ^[]")],
        "expected at least one address; \"any\" for a peer anywhere",
    );
    wrong(
        &[("remote = \"192.0.2.9\"", "remote = ^\"somewhere\"")],
        "expected a prefix, an address or a range of addresses such as 10.1.1.5-10.1.1.9; got `somewhere`",
    );
    wrong(
        &[("remote = \"192.0.2.9\"", "remote = ^\"2001:db8::9\"")],
        "expected an IPv4 address, as `local`",
    );
    wrong(
        &[("local = \"192.0.2.1\"", "local = ^\"192.0.2.7\"")],
        "expected an address of this gateway; no port has 192.0.2.7",
    );
    wrong(
        &[(
            "remote = \"192.0.2.9\"",
            "remote = \"any\"\nstart = ^\"load\"",
        )],
        "expected one address as `remote`: with a peer anywhere, only it can begin",
    );
    let anywhere = policy(&[(
        "remote = \"192.0.2.9\"",
        "remote = [\"192.0.2.0/24\", \"10.0.0.1-10.0.0.9\"]",
    )]);
    assert!(matches!(&anywhere.connections[0].remote, RemoteAddress::Ranges(r) if r.len() == 2));
    assert_eq!(anywhere.connections[0].remote_id, None);
}

#[test]
fn identities() {
    wrong(
        &[("name = \"peer\"", "name = \"peer\"\nremote-id = ^\"a b\"")],
        "expected an address, a name, user@name, a distinguished name such as CN=a.example, or keyid: and text; got `a b`",
    );
    wrong(
        &[("name = \"peer\"", "name = \"peer\"\nlocal-id = ^\"XN=a\"")],
        "expected one of CN, SERIALNUMBER, C, L, ST, O, OU, UID, DC, E; got `XN`",
    );
    wrong(
        &[
            ("local = \"192.0.2.1\"\npsk", "psk"),
            ("remote = \"192.0.2.9\"", "remote = \"any\""),
            ("[[connection]]\n", "^[[connection]]\n"),
        ],
        "missing `local-id` or `local`: several addresses could be meant",
    );
    let any = policy(&[("name = \"peer\"", "name = \"peer\"\nremote-id = \"any\"")]);
    assert_eq!(any.connections[0].remote_id, None);
}

#[test]
fn legacy_algorithms_are_warned_of() {
    warned(
        &[(
            "{ encryption = \"aes256-cbc\"",
            "{ encryption = ^\"3des-cbc\"",
        )],
        "3des-cbc: legacy: slow, and its 8 byte block leaks",
    );
    warned(
        &[("hash = \"sha2-256\"", "hash = ^\"md5\"")],
        "md5: legacy: MD5 is broken",
    );
    warned(
        &[("group = \"modp2048\"", "group = ^\"modp1024\"")],
        "modp1024: legacy: 1024 bits are within reach (RFC 8247 2.4 says SHOULD NOT)",
    );
    warned(
        &[("name = \"lans\"", "name = \"lans\"\npfs = ^\"modp768\"")],
        "modp768: legacy: 768 bits have been broken",
    );
    warned(
        &[(
            "{ encryption = \"aes128-gcm16\"",
            "{ encryption = ^\"3des-cbc\", integrity = \"hmac-sha1-96\"",
        )],
        "3des-cbc: RFC 8221 5 says SHOULD NOT: slow, and its 8 byte block leaks",
    );
}

#[test]
fn aggressive_mode() {
    warned(
        &[(
            "name = \"peer\"",
            "name = \"peer\"\nexchange = ^\"aggressive\"",
        )],
        "aggressive mode gives anybody who asks a hash of the pre-shared key to guess at",
    );
    let two = "[{ encryption = \"aes256-cbc\", hash = \"sha1\", group = \"ecp256\" }, { encryption = \"aes256-cbc\"";
    wrong(
        &[
            (
                "name = \"peer\"",
                "name = \"peer\"\nexchange = \"aggressive\"",
            ),
            ("[{ encryption = \"aes256-cbc\"", &format!("^{two}")),
        ],
        "expected one group in all proposals: aggressive mode cannot negotiate it (RFC 2409 5)",
    );
}

#[test]
fn child_proposals() {
    wrong(
        &[("{ encryption = \"aes128-gcm16\" }", "^{ esn = true }")],
        "expected `encryption` for ESP, or `ah`",
    );
    wrong(
        &[(
            "{ encryption = \"aes128-gcm16\" }",
            "{ ah = \"hmac-sha1-96\", integrity = ^\"hmac-sha1-96\" }",
        )],
        "expected `encryption` with it; for AH it is `ah`",
    );
    wrong(
        &[("\"aes128-gcm16\"", "^\"chacha20-poly1305\"")],
        "IKEv1 has no name for chacha20-poly1305 (RFC 7634 5)",
    );
    wrong(
        &[("encryption = \"aes128-gcm16\"", "ah = ^\"aes-cmac-96\"")],
        "IKEv1 has no name for aes-cmac-96",
    );
    wrong(
        &[("\"aes128-gcm16\"", "^\"aes128-cbc\"")],
        "expected `integrity` with aes128-cbc: encryption without authentication is not effective (RFC 8221 4)",
    );
    wrong(
        &[(
            "\"aes128-gcm16\" }]",
            "\"aes128-gcm16\", esn = true }]\nreplay-window = ^0",
        )],
        "expected a replay window, since `esn` needs one (RFC 4303 3.3.3)",
    );
    expect_fine(&[(
        END,
        &with(&[(
            "{ encryption = \"aes128-gcm16\" }",
            "{ encryption = \"aes128-cbc\", integrity = \"hmac-sha1-96\", ah = \"hmac-sha1-96\", esn = true }",
        )]),
    )]);
}

#[test]
fn lifetimes_of_children() {
    wrong(
        &[(
            "name = \"lans\"",
            "name = \"lans\"\nsoft-lifetime = { seconds = 3000 }\nhard-lifetime = { seconds = ^2000 }",
        )],
        "expected at least the soft limit, 3000 seconds; got 2000",
    );
    warned(
        &[(
            "name = \"lans\"",
            "name = \"lans\"\nhard-lifetime = ^{ seconds = 299 }",
        )],
        "SAs that live less than 300 seconds cost many key exchanges",
    );
    let bytes = policy(&[(
        "name = \"lans\"",
        "name = \"lans\"\nhard-lifetime = { bytes = 1000 }",
    )]);
    let child = &bytes.connections[0].children[0];
    assert_eq!((child.hard.seconds, child.soft.bytes), (None, Some(900)));
}

#[test]
fn entries_and_children() {
    wrong(
        &[("connection = \"peer\"", "connection = ^\"pear\"")],
        "there is no connection `pear`; did you mean `peer`?",
    );
    wrong(
        &[("child = \"lans\"", "child = ^\"lan\"")],
        "there is no child of that connection `lan`; did you mean `lans`?",
    );
    wrong(
        &[(
            "connection = \"peer\"",
            "connection = \"peer\"\noutbound = ^\"out\"",
        )],
        "expected `connection` or SAs, not both",
    );
    wrongs(
        &[
            ("action = \"protect\"", "action = \"bypass\""),
            ("connection = \"peer\"", "connection = ^\"peer\""),
            ("child = \"lans\"", "child = ^\"lans\""),
            ("name = \"lans\"", "name = ^\"lans\""),
        ],
        &[
            "no SPD entry names this child: there is nothing to protect",
            "expected only with action \"protect\"",
            "expected only with action \"protect\"",
        ],
    );
    let again = "[[spd]]\nname = \"again\"\nlocal = \"10.1.0.0/24\"\nremote = \"10.4.0.0/24\"\naction = \"protect\"\n";
    wrong(
        &[(
            "child = \"lans\"\n",
            &format!("child = \"lans\"\n\n{again}connection = ^\"peer\"\n"),
        )],
        "the entry in line 72 has this child: each has one entry",
    );
    wrong(
        &[(
            "[[spd]]",
            "[[connection.child]]\nname = ^\"more\"\n\n[[spd]]",
        )],
        "no SPD entry names this child: there is nothing to protect",
    );
    wrong(
        &[
            (
                "[[spd]]",
                "[[connection.child]]\nname = \"more\"\n\n[[spd]]",
            ),
            (
                "connection = \"peer\"\nchild = \"lans\"",
                "connection = ^\"peer\"",
            ),
        ],
        "expected `child`: this connection has several",
    );
    wrongs(
        &[(
            "[[connection.child]]\nname = \"lans\"",
            "[[connection.child]]\nname = \"lans\"\n[[connection.child]]\nname = ^^\"lans\"",
        )],
        &[
            "the name `lans` is taken in line 68",
            "no SPD entry names this child: there is nothing to protect",
        ],
    );
}

/// RFC 2407 4.6.2: what quick mode can say.
#[test]
fn traffic_that_quick_mode_has_no_words_for() {
    let one =
        "quick mode names one for each side (RFC 2407 4.6.2); make an entry and a child for each";
    wrong(
        &[(
            "remote = \"10.3.0.0/24\"",
            "remote = ^[\"10.3.0.0/24\", \"10.4.0.0/24\"]",
        )],
        &format!("expected one prefix or range: {one}"),
    );
    wrong(
        &[(
            "action = \"protect\"",
            "protocol = \"tcp\"\nremote-port = ^\"80-90\"\naction = \"protect\"",
        )],
        &format!("expected one port: {one}"),
    );
    wrong(
        &[(
            "action = \"protect\"",
            "protocol = \"icmp\"\nicmp-type = ^8\naction = \"protect\"",
        )],
        "quick mode has no words for ICMP types (RFC 2407 4.6.2)",
    );
    wrong(
        &[
            ("local = \"10.1.0.0/24\"\n", ""),
            ("remote = \"10.3.0.0/24\"\n", ""),
            ("[[spd]]", "^[[spd]]"),
        ],
        "expected `local` or `remote`: quick mode names addresses of one family",
    );
    let half = policy(&[("local = \"10.1.0.0/24\"\n", "")]);
    let child = &half.connections[0].children[0];
    assert_eq!(
        child.selector.local[0].end,
        "255.255.255.255".parse::<std::net::IpAddr>().unwrap()
    );
}

#[test]
fn transport_mode_is_between_the_gateways() {
    wrongs(
        &[
            ("name = \"lans\"", "name = \"lans\"\nmode = \"transport\""),
            ("local = \"10.1.0.0/24\"", "local = ^\"10.1.0.0/24\""),
            ("remote = \"10.3.0.0/24\"", "remote = ^\"10.3.0.0/24\""),
        ],
        &[
            "expected 192.0.2.1 in it: `lans` is in transport mode between the gateways",
            "expected 192.0.2.9 in it: `lans` is in transport mode between the gateways",
        ],
    );
}

#[test]
fn pre_shared_keys() {
    const PSK: &str = "psk = \"correct horse battery staple\"";
    wrong(
        &[(PSK, ""), ("[[connection]]\n", "^[[connection]]\n")],
        "missing `psk`, `psk-file` or `certificate`: how both ends prove who they are",
    );
    wrong(
        &[(PSK, "psk = ^\"\"")],
        "expected a string that is not empty",
    );
    wrong(
        &[(PSK, "psk = ^\"0xabcg\"")],
        "expected hex digits only; character 4 of the key is not one",
    );
    wrong(
        &[(PSK, &format!("{PSK}\nroots = ^\"ca.crt\""))],
        "expected only with `certificate`",
    );
    let remedy = "better 24 random bytes: head -c 24 /dev/urandom | base64";
    warned(
        &[(PSK, "psk = ^\"secret\"")],
        &format!("weak pre-shared key: it has 6 characters, fewer than 20; {remedy}"),
    );
    warned(
        &[(PSK, "psk = ^\"abababababababababababab\"")],
        &format!("weak pre-shared key: it has only 2 different characters; {remedy}"),
    );
    let hex = policy(&[(PSK, "psk = \"0x000102030405060708090a0b0c0d0e0f10111213\"")]);
    let Authentication::PreSharedKey(secret) = &hex.connections[0].authentication else {
        panic!("no pre-shared key");
    };
    assert_eq!(secret.expose(), (0..20).collect::<Vec<u8>>());
    assert!(!format!("{:?}", hex.connections).contains("correct horse"));
}

/// A folder of one test, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("connections")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The errors of a policy with these lines for its proof.
fn said(folder: &Path, proof: &str) -> Vec<String> {
    let policy = folder.join("p.toml");
    let psk = "psk = \"correct horse battery staple\"";
    let connection = with(&[(psk, proof)]);
    write(&policy, BASE.replace(END, &connection), 0o600);
    let shown = format!("{}/", folder.display());
    let errors = |mistakes: Vec<Mistake>| {
        let errors = mistakes.iter().filter(|m| m.severity == Severity::Error);
        errors.map(|m| m.to_string().replace(&shown, "")).collect()
    };
    load(&policy).map_or_else(errors, |_| Vec::new())
}

#[test]
fn pre_shared_key_files() {
    let folder = folder("psk");
    let key = folder.join("b.psk");
    write(&key, "correct horse battery staple\n", 0o600);
    assert_eq!(said(&folder, "psk-file = \"b.psk\""), [""; 0]);
    let loaded = load(&folder.join("p.toml")).unwrap();
    let Authentication::PreSharedKey(secret) = &loaded.policy.connections[0].authentication else {
        panic!("no pre-shared key");
    };
    assert_eq!(secret.expose(), b"correct horse battery staple");
    write(&key, "correct horse battery staple\n", 0o644);
    let open = "holds keys but has mode 0644; expected 0600 (run: chmod 600 b.psk)";
    assert_eq!(
        said(&folder, "psk-file = \"b.psk\""),
        [format!("p.toml:65:12: error: key file b.psk: {open}")]
    );
    write(&key, "\n", 0o600);
    let empty = "expected a pre-shared key that is not empty";
    assert_eq!(
        said(&folder, "psk-file = \"b.psk\""),
        [format!("p.toml:65:12: error: key file b.psk: {empty}")]
    );
}

#[test]
fn certificates() {
    let folder = folder("certificates");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj",
            "/C=DE/CN=a.example",
            "-keyout",
            "a.pem",
            "-out",
            "a.crt",
        ])
        .current_dir(&folder)
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no openssl to make a certificate with");
        return;
    }
    let key = folder.join("a.pem");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let all = "certificate = \"a.crt\"\nprivate-key-file = \"a.pem\"\nroots = \"a.crt\"";
    assert_eq!(said(&folder, all), [""; 0]);
    let loaded = load(&folder.join("p.toml")).unwrap();
    let Identity::DistinguishedName(subject) = &loaded.policy.connections[0].local_id else {
        panic!("no subject");
    };
    assert_eq!(
        portcullis_config::distinguished_name_text(subject),
        "C=DE, CN=a.example"
    );
    // A further one, with an identity of its own.
    let more = format!(
        "{all}\nlocal-id = \"one.example\"\nfurther-certificates = [{{ {} }}]",
        all.replace('\n', ", ")
    );
    assert_eq!(said(&folder, &more), [""; 0]);
    let loaded = load(&folder.join("p.toml")).unwrap();
    let connection = &loaded.policy.connections[0];
    assert_eq!(
        connection.further[0].local_id,
        Identity::DistinguishedName(subject.clone())
    );
    assert_eq!(
        connection.further[0].authentication,
        connection.authentication
    );
    let secret = more.replace("[{ certificate", "[{ psk = \"a secret\", certificate");
    assert!(said(&folder, &secret)[0].contains("expected a certificate"));
    // What is missing, and what is something else.
    let gone = |line: &str| said(&folder, &all.replace(line, "")).join("; ");
    assert!(gone("\nroots = \"a.crt\"").ends_with("missing `roots`: whom this gateway believes"));
    assert!(
        gone("\nprivate-key-file = \"a.pem\"")
            .ends_with("missing key `private-key-file` in [[connection]] `peer`")
    );
    let swapped = said(
        &folder,
        &all.replace("certificate = \"a.crt\"", "certificate = \"a.pem\""),
    );
    let message = "file a.pem: expected `BEGIN CERTIFICATE`; got PRIVATE KEY";
    assert_eq!(swapped, [format!("p.toml:65:15: error: {message}")]);
    let swapped = said(&folder, &all.replace("\"a.pem\"", "\"key.pem\""));
    assert!(
        swapped[0].contains("cannot be read: No such file"),
        "{swapped:?}"
    );
    let traditional = fs::read_to_string(&key)
        .unwrap()
        .replace("PRIVATE KEY", "EC PRIVATE KEY");
    write(&folder.join("old.pem"), traditional, 0o600);
    let message = "expected `BEGIN PRIVATE KEY` (PKCS#8); got EC PRIVATE KEY; convert it: openssl pkcs8 -topk8 -nocrypt";
    let old = said(&folder, &all.replace("\"a.pem\"", "\"old.pem\""));
    assert_eq!(
        old,
        [format!("p.toml:66:20: error: key file old.pem: {message}")]
    );
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert!(said(&folder, all)[0].contains("holds keys but has mode 0640"));
    let both = format!("{all}\npsk = \"correct horse battery staple\"");
    assert!(
        said(&folder, &both)
            .join("; ")
            .contains("expected a pre-shared key or a certificate, not both")
    );
    let strict = format!("{all}\nrevocation = \"required\"");
    assert!(
        said(&folder, &strict)
            .join("; ")
            .contains("without a list every certificate is refused")
    );
}

#[test]
fn policy_file_with_a_pre_shared_key_is_closed_to_others() {
    let folder = folder("mode");
    let policy = folder.join("p.toml");
    let port = "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\nside = \"unprotected\"\naddresses = [\"192.0.2.1/24\"]\n";
    write(&policy, format!("{port}{PEER}"), 0o644);
    let mistakes = load(&policy).unwrap_err();
    let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert!(
        mistakes
            .iter()
            .any(|m| m.contains("p.toml:11:7: error: this file holds keys but has mode 0644")),
        "{mistakes:?}"
    );
}

/// RFC 4301 5.2 step 3b: only the old profile has entries that protect and let clear packets in.
#[test]
fn clear_text_passes_in_the_old_profile_only() {
    let clear = |mark: &str, how: &str| {
        let text = with(&[]);
        let at = text.rfind("child = \"lans\"\n").unwrap();
        format!(
            "{}clear-text = {mark}\"{how}\"\n{}",
            &text[..at],
            &text[at..]
        )
    };
    let message = "expected \"never\": only profile ws2003 lets clear packets pass here";
    for how in ["accept", "fall-back"] {
        error(&[(END, &clear("^", how))], message);
        let old = format!(
            "[policy]\nprofile = \"ws2003\"\n{}",
            edited(&[(END, &clear("", how))])
        );
        let policy = read(&old).unwrap().policy;
        let entry = policy.spd.iter().find(|entry| entry.name == "a-to-c");
        let Action::Negotiate { clear, .. } = entry.unwrap().action else {
            panic!("{entry:?}");
        };
        let expected = ClearText::NAMES.iter().find(|(name, _)| *name == how);
        assert_eq!(clear, expected.unwrap().1);
    }
    expect_fine(&[(END, &clear("", "never"))]);
    let refused = "clear-text = \"accept\"\naction = \"bypass\"";
    let text = with(&[]).replace(
        "action = \"protect\"\nconnection = \"peer\"\nchild = \"lans\"",
        refused,
    );
    assert!(read(&edited(&[(END, &text)])).is_err());
}

#[test]
fn a_peer_that_no_route_leads_to() {
    let far = [
        ("remote = \"192.0.2.9\"", "remote = ^\"203.0.113.9\""),
        ("local = \"192.0.2.1\"\n", ""),
    ];
    let message = "no port and no [[route]] leads to 203.0.113.9: IKE cannot reach this peer";
    warned(&far, message);
}
