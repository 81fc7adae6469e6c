//! The example policies load without a mistake or a warning.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which may

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_config::{Action, Policy, Selector, load};

/// Copies the examples to a folder of their own with mode 0600, which version control does not keep.
fn examples() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"),
        &target,
    );
    target
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::write(&to, fs::read(&from).unwrap()).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn every_example_loads_without_a_word() {
    let mut count = 0;
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let loaded = load(&path).unwrap_or_else(|mistakes| {
            let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"))
        });
        let warnings: Vec<_> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
        match path.ends_with("ws2003.toml") {
            true => assert!(matches!(warnings[..], [one] if one.starts_with("legacy defaults"))),
            false => assert_eq!(warnings, [""; 0], "{}", path.display()),
        }
        assert!(!loaded.policy.interfaces.is_empty());
        check_selectors(&loaded.policy);
        count += 1;
    }
    assert_eq!(count, 14);
}

/// Each SA carries exactly the selectors of the entries that name it.
fn check_selectors(policy: &Policy) {
    for (index, sa) in policy.sas.iter().enumerate() {
        let named = policy.spd.iter().filter(|entry| match &entry.action {
            Action::Protect { outbound, inbound } => {
                outbound.contains(&index) || inbound.contains(&index)
            }
            _ => false,
        });
        let selectors: Vec<_> = named
            .map(|entry| Selector::clone(&entry.selector))
            .collect();
        assert_eq!(*sa.selectors, selectors, "{}", sa.name);
        assert!(!selectors.is_empty());
    }
}
