//! What is exported means the same wherever it is imported: over all example policies, in every way of cutting them into
//! documents.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which may

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_config::{Document, Policy, export, load, load_with, parse};

/// Tables that stay with the machine.
const OF_MACHINE: [&str; 5] = ["runtime", "metrics", "port", "route", "neighbor"];

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

/// The outermost tables of a policy: name and text.
fn tables(text: &str) -> Vec<(String, String)> {
    let mut tables: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let name = line.trim_start_matches('[');
        let name = name.split(']').next().unwrap();
        let is_outermost = line.starts_with('[') && !name.contains('.');
        if is_outermost || tables.is_empty() {
            tables.push((name.to_owned(), String::new()));
        }
        let (_, table) = tables.last_mut().unwrap();
        table.push_str(line);
        table.push('\n');
    }
    tables
}

fn document(number: usize, text: &str) -> Document {
    Document {
        name: PathBuf::from(format!("{number}.toml")),
        // As editors may leave it: without the last line's end.
        text: text.trim_end().to_owned().into(),
        mode: None,
    }
}

/// Without what tells a machine with a store from one without.
fn content(policy: Policy) -> Policy {
    Policy {
        store: None,
        ..policy
    }
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export");
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"),
        &dir,
    );
    let examples = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
    let examples = examples.map(|entry| entry.path());
    let examples = examples.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".toml") && !name.starts_with("machine-")
    });
    let mut cuts = 0;
    for example in examples.collect::<Vec<_>>() {
        let wanted = content(load(&example).unwrap().policy);
        let text = fs::read_to_string(&example).unwrap();
        let is_machine = |(name, _): &(String, String)| OF_MACHINE.contains(&name.as_str());
        let (machine, policy): (Vec<_>, Vec<_>) = tables(&text).into_iter().partition(is_machine);
        let join = |tables: &[(String, String)]| -> String {
            tables.iter().map(|(_, text)| text.as_str()).collect()
        };
        let machine = join(&machine);
        let name = format!("machine-{}", example.file_name().unwrap().to_str().unwrap());
        let file = dir.join(name);
        fs::write(&file, format!("{machine}[store]\npath = \"policy.d\"\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        for cut in 0..policy.len() {
            let (first, second) = policy.split_at(cut);
            let documents = [document(1, &join(first)), document(2, &join(second))];
            let exported = export(&file, &documents).unwrap_or_else(|reasons| {
                panic!("{} cut at {cut}: {}", example.display(), reasons.join("\n"))
            });
            assert!(exported.warnings.is_empty(), "{:?}", exported.warnings);
            let exported = exported.text;
            // As the only document of a store, and as part of the machine's own file.
            let one = [document(1, &exported)];
            let imported = load_with(&file, &one).unwrap().policy;
            assert_eq!(content(imported), wanted, "{} at {cut}", example.display());
            let own = format!("{machine}{}", *exported);
            let imported = parse(&own, &example, &dir).unwrap().policy;
            assert_eq!(content(imported), wanted, "{} at {cut}", example.display());
            cuts += 1;
        }
    }
    assert!(cuts > 50, "{cuts}");
}

#[test]
fn what_cannot_stand_in_one_text_is_not_exported() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export-refused");
    fs::create_dir_all(&dir).unwrap();
    let machine = dir.join("machine.toml");
    let port = "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\nside = \"unprotected\"\n";
    fs::write(&machine, format!("[store]\npath = \"policy.d\"\n{port}")).unwrap();
    // A key before any table belongs to the table of the document before it as soon as they stand in one text.
    let first = "[[spd]]\nname = \"a\"\naction = \"discard\"\n";
    let second = "policy.version = \"1\"\n";
    let documents = [document(1, first), document(2, second)];
    assert!(load_with(&machine, &documents).is_ok());
    let reasons = export(&machine, &documents).unwrap_err();
    assert!(
        reasons[0].contains("all documents together:4:"),
        "{reasons:?}"
    );
}

/// The documents are in force; what is wrong is wrong with the machine's own file, and keeps nothing back.
#[test]
fn a_mistake_in_the_machines_file_keeps_no_policy_back() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export-warned");
    fs::create_dir_all(&dir).unwrap();
    let machine = dir.join("machine.toml");
    fs::write(
        &machine,
        "[store]\npath = \"policy.d\"\n[[port]]\nnme = 1\n",
    )
    .unwrap();
    let (first, second) = (
        "[[spd]]\nname = \"a\"\naction = \"discard\"\n",
        "[policy]\nversion = \"1\"\n",
    );
    let documents = [document(1, first), document(2, second)];
    let exported = export(&machine, &documents).unwrap();
    let texts: Vec<_> = documents.iter().map(|d| d.text.as_str()).collect();
    assert!(texts.iter().all(|text| exported.text.contains(text)));
    assert!(
        exported.warnings[0].contains("machine.toml"),
        "{:?}",
        exported.warnings
    );
    assert!(exported.warnings.len() > 1);
}
