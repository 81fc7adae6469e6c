//! Policies whose certificates and keys do not fit. `expired.crt` and `expired.pem` were made with Python's
//! cryptography package: for expired.example, valid in January 2020; the other pair is that of the examples.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use portcullis_config::{Loaded, Mistake};

use super::{load, load_to_run};

const FILES: [(&str, &str); 4] = [
    ("expired.crt", include_str!("expired.crt")),
    ("expired.pem", include_str!("expired.pem")),
    (
        "good.crt",
        include_str!("../../../config/examples/keys/gateway.crt"),
    ),
    (
        "good.pem",
        include_str!("../../../config/examples/keys/gateway.pem"),
    ),
];

/// A policy, with the credentials from its line 14 on.
fn policy(credentials: &str) -> String {
    format!(
        r#"[[port]]
name = "wan"
device = "net_null0"
side = "unprotected"
addresses = ["192.0.2.1/24"]
[[spd]]
name = "x"
remote = "10.2.0.0/24"
action = "protect"
connection = "b"
[[connection]]
name = "b"
remote = "192.0.2.2"
{credentials}
[[connection.child]]
name = "c"
"#
    )
}

/// All that is wrong with a policy with these credentials, without the name of the file, and whether it is refused.
fn said(test: &str, credentials: &str) -> (bool, Vec<String>) {
    said_by(test, credentials, |file| load(file, &[]))
}

fn said_by(
    test: &str,
    credentials: &str,
    load: impl Fn(&Path) -> Result<Loaded, Vec<Mistake>>,
) -> (bool, Vec<String>) {
    let name = format!("portcullis-{test}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in FILES {
        write(&folder.join(name), text);
    }
    let file = folder.join("policy.toml");
    write(&file, &policy(credentials));
    let (refused, said) = match load(&file) {
        Ok(loaded) => (false, loaded.warnings),
        Err(mistakes) => (true, mistakes),
    };
    let place = format!("{}:", file.display());
    let said = said.iter().map(|m| m.to_string().replace(&place, ""));
    let said = said.collect();
    fs::remove_dir_all(&folder).unwrap();
    (refused, said)
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_fits_is_taken_in_silence() {
    let good = r#"certificate = "good.crt"
private-key-file = "good.pem"
roots = "good.crt"
local-id = "gateway.example""#;
    assert_eq!(said("fits", good), (false, Vec::new()));
}

#[test]
fn a_key_of_another_certificate_is_refused_with_all_other_mistakes() {
    let mixed = r#"certificate = "good.crt"
private-key-file = "expired.pem"
roots = "good.crt"
lifetime = 1"#;
    let (refused, said) = said("mixed", mixed);
    assert!(refused);
    let [key, other] = said.as_slice() else {
        panic!("{said:?}")
    };
    let wanted = "15:20: error: the private key does not belong to the own certificate";
    assert_eq!(key, wanted);
    assert!(other.starts_with("17:12: error: "), "{other}");
}

#[test]
fn a_gateway_starts_without_a_connection_whose_key_does_not_fit() {
    let mixed = r#"certificate = "good.crt"
private-key-file = "expired.pem"
roots = "good.crt""#;
    let wanted = "15:20: warning: the private key does not belong to the own certificate";
    let started = said_by("starts", mixed, load_to_run);
    assert_eq!(started, (false, vec![wanted.to_owned()]));
    let (refused, _) = said_by("starts-not", &format!("{mixed}\nlifetime = 1"), load_to_run);
    assert!(refused, "other mistakes are mistakes");
}

#[test]
fn what_peers_will_not_believe_is_warned_of() {
    let old = r#"certificate = "expired.crt"
private-key-file = "expired.pem"
roots = "good.crt"
local-id = "other.example""#;
    let (refused, said) = said("old", old);
    assert!(!refused, "{said:?}");
    let wanted = [
        "14:15: warning: the own certificate: the certificate, or one of its issuers, has expired",
        "17:12: warning: the own certificate is not for other.example: most peers will not believe it",
    ];
    assert_eq!(said, wanted);
}

#[test]
fn further_certificates_are_looked_at_too() {
    let further = r#"certificate = "good.crt"
private-key-file = "good.pem"
roots = "good.crt"
further-certificates = [{ certificate = "good.crt", private-key-file = "expired.pem", roots = "good.crt" }]"#;
    let (refused, said) = said("further", further);
    assert!(refused && said.len() == 1, "{said:?}");
    assert!(
        said[0].starts_with("17:") && said[0].contains("does not belong"),
        "{said:?}"
    );
}
