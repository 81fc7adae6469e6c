//! Policy files and key files on disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_config::{Mistake, load};

use crate::{BASE, edited};

const KEY: &str = "000102030405060708090a0b0c0d0e0f10111213";

/// A folder of one test, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("mistakes")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What `load` says, without the name of the folder.
fn said(path: &Path) -> Vec<String> {
    let folder = format!("{}/", path.parent().unwrap().display());
    let say = |m: &Mistake| m.to_string().replace(&folder, "");
    load(path).map_or_else(|m| m.iter().map(say).collect(), |_| Vec::new())
}

/// The base policy with the first key in the file `out.key`.
fn with_key_file() -> String {
    edited(&[(&format!("key = \"{KEY}\""), "key-file = \"out.key\"")])
}

#[test]
fn file_that_is_not_there() {
    let path = folder("absent").join("p.toml");
    assert_eq!(
        said(&path),
        ["p.toml:1:1: error: cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn text_that_is_not_utf8() {
    let path = folder("latin1").join("p.toml");
    write(&path, b"[runtime]\n# caf\xe9\n", 0o600);
    assert_eq!(said(&path), ["p.toml:2:6: error: expected UTF-8 text"]);
}

#[test]
fn policy_file_with_keys_is_closed_to_others() {
    let path = folder("inline").join("p.toml");
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        write(&path, BASE, mode);
        let message = format!(
            "this file holds keys but has mode {mode:04o}; expected 0600 (run: chmod 600 p.toml)"
        );
        assert_eq!(said(&path), [format!("p.toml:38:7: error: {message}")]);
    }
    for mode in [0o600, 0o400, 0o700] {
        write(&path, BASE, mode);
        assert_eq!(said(&path), Vec::<String>::new());
    }
}

#[test]
fn policy_file_without_keys_may_be_open() {
    let path = folder("open").join("p.toml");
    write(
        &path,
        "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\nside = \"protected\"\n",
        0o644,
    );
    assert_eq!(said(&path), Vec::<String>::new());
}

#[test]
fn key_file_is_closed_to_others() {
    let folder = folder("key-mode");
    write(&folder.join("p.toml"), with_key_file(), 0o600);
    for mode in [0o644, 0o660, 0o601] {
        write(&folder.join("out.key"), KEY, mode);
        let message = format!(
            "key file out.key: holds keys but has mode {mode:04o}; expected 0600 (run: chmod 600 out.key)"
        );
        assert_eq!(
            said(&folder.join("p.toml")),
            [format!("p.toml:38:12: error: {message}")]
        );
    }
}

#[test]
fn key_file_holds_what_the_key_would() {
    let folder = folder("key-text");
    write(&folder.join("p.toml"), with_key_file(), 0o600);
    write(&folder.join("inline.toml"), BASE, 0o600);
    for text in [format!("{KEY}\n"), KEY.to_owned(), format!(" 0x{KEY} \r\n")] {
        write(&folder.join("out.key"), text, 0o600);
        let loaded = load(&folder.join("p.toml")).unwrap();
        assert_eq!(loaded, load(&folder.join("inline.toml")).unwrap());
    }
}

#[test]
fn key_file_with_something_else_in_it() {
    let folder = folder("key-wrong");
    let policy = folder.join("p.toml");
    write(&policy, with_key_file(), 0o600);
    let wrong = |text: &[u8], message: &str| {
        write(&folder.join("out.key"), text, 0o600);
        assert_eq!(
            said(&policy),
            [format!("p.toml:38:12: error: key file out.key: {message}")]
        );
    };
    let expected =
        "expected 20 bytes (40 hex digits) for aes128-gcm16: 16 byte key and 4 byte salt";
    wrong(b"", &format!("{expected}; got 0 bytes (0 hex digits)"));
    wrong(b"00\n", &format!("{expected}; got 1 byte (2 hex digits)"));
    wrong(
        b"00 11",
        "expected hex digits only; character 3 of the key is not one",
    );
    wrong(b"\xff\xfe", "expected hex digits");
    wrong(&[b'0'; 5000], "expected at most 4096 bytes");
}

#[test]
fn key_file_that_cannot_be_read() {
    let folder = folder("key-absent");
    let policy = folder.join("p.toml");
    write(&policy, with_key_file(), 0o600);
    let start = "p.toml:38:12: error: key file out.key:";
    assert_eq!(
        said(&policy),
        [format!(
            "{start} cannot be read: No such file or directory (os error 2)"
        )]
    );
    fs::create_dir(folder.join("out.key")).unwrap();
    assert_eq!(said(&policy), [format!("{start} expected a regular file")]);
}

#[test]
fn key_and_key_file() {
    let folder = folder("key-twice");
    let policy = folder.join("p.toml");
    let key = format!("key = \"{KEY}\"");
    write(
        &policy,
        edited(&[(&key, &format!("{key}\nkey-file = \"out.key\""))]),
        0o600,
    );
    assert_eq!(
        said(&policy),
        ["p.toml:39:12: error: expected `key` or `key-file`, not both"]
    );
}
