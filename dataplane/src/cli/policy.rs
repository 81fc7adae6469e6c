//! `portcullis policy`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use portcullis_config::{Document, Loaded, Mistake};

use super::{fail, reload, show};
use crate::agent::cache;
use crate::agent::state::State;
use crate::agent::status::PolicyStatus;
use crate::agent::store::{Fetched, read_document};
use crate::policy_file;
use crate::report::Outcome;
use crate::socket;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Ask the store for the newest policy now, and put it into force.
    Poll {
        /// Only print what would change.
        #[arg(long)]
        dry_run: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print where the policy in force came from, its version, and when the next one is looked for.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the policy in force to a new file, which may hold keys and is closed to others.
    Export {
        /// File to write.
        file: PathBuf,
    },
    /// Put a policy into the place of the local one, and into force; if it is refused, the old one is put back.
    Import {
        /// File to read.
        file: PathBuf,
    },
}

pub(super) fn policy(action: &Action, socket: &Path) -> ExitCode {
    let done = match action {
        Action::Poll { dry_run, json } => return poll(*dry_run, *json, socket),
        Action::Status { json } => status(*json, socket),
        Action::Export { file } => export(file, socket),
        Action::Import { file } => import(file, socket),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reasons) => {
            reasons
                .iter()
                .for_each(|reason| eprintln!("portcullis: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// As a reload, but a store that is away is a failure.
fn poll(trial: bool, json: bool, socket: &Path) -> ExitCode {
    let report = match socket::reload(socket, trial) {
        Ok(report) => report,
        Err(error) => return fail(&error),
    };
    let failed = report.store_failure.is_some();
    match (reload::tell(&report, json), failed) {
        (_, true) => ExitCode::FAILURE,
        (code, false) => code,
    }
}

/// What went wrong, line by line.
type Done = Result<(), Vec<String>>;

fn said(error: impl std::fmt::Display) -> Vec<String> {
    vec![error.to_string()]
}

fn about(path: &Path) -> impl Fn(io::Error) -> Vec<String> {
    move |error| vec![format!("{}: {error}", path.display())]
}

fn status(json: bool, socket: &Path) -> Done {
    let status = socket::policy(socket).map_err(said)?;
    match json {
        true => show::print_json(&status),
        false => print(&status),
    }
    Ok(())
}

fn print(status: &PolicyStatus) {
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    let line = |what: &str, text: &str| println!("{what:<10} {text}");
    line("policy", status.state.text());
    line("version", status.version.as_deref().unwrap_or("-"));
    line("file", &status.file.display().to_string());
    if let Some(store) = &status.store {
        line("store", store);
        line("etag", status.etag.as_deref().unwrap_or("-"));
        line("sha256", status.checksum.as_deref().unwrap_or("-"));
        let poll = status.poll_interval_ms.map_or("-".into(), seconds);
        let next = status
            .next_poll_ms
            .map_or("now".into(), |ms| format!("in {}", seconds(ms)));
        line("poll", &format!("every {poll}, next {next}"));
    }
    if status.state != State::Initial {
        line("loaded", &format!("{} ago", seconds(status.loaded_ms_ago)));
    }
    if let Some(failure) = &status.failure {
        line(
            "failure",
            &format!("{} ago: {}", seconds(failure.ms_ago), failure.text),
        );
    }
}

/// The documents of the policy in force, read where they come from: no key goes through the socket.
fn documents(status: &PolicyStatus) -> Result<Vec<Document>, Vec<String>> {
    let fetched = match (&status.store, &status.cache) {
        (None, _) => return Ok(vec![read_document(&status.file).map_err(said)?]),
        (Some(url), Some(cache)) => cache::read(cache, std::slice::from_ref(url)).map_err(said)?,
        (Some(place), None) => {
            let documents = status.documents.iter().map(|file| read_document(file));
            let documents = documents.collect::<Result<_, _>>().map_err(said)?;
            Fetched::new(place.clone(), documents, None)
        }
    };
    match status.checksum.as_ref() {
        Some(checksum) if *checksum == fetched.checksum => Ok(fetched.documents),
        Some(_) => Err(said(
            "the policy was changed since it came into force; `portcullis reload` first",
        )),
        None => Err(said("the policy in force is not that of the store")),
    }
}

fn export(file: &Path, socket: &Path) -> Done {
    let status = socket::policy(socket).map_err(said)?;
    let exported = portcullis_config::export(&status.file, &documents(&status)?)?;
    for warning in &exported.warnings {
        eprintln!("portcullis: warning: {warning}");
    }
    let mut new = fs::OpenOptions::new();
    let mut new = new
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(about(file))?;
    new.write_all(exported.text.as_bytes())
        .map_err(about(file))?;
    new.sync_all().map_err(about(file))
}

/// The one file of a local policy.
fn place(status: &PolicyStatus) -> Result<PathBuf, Vec<String>> {
    match (&status.store, &status.cache) {
        (None, _) => Ok(status.file.clone()),
        (Some(url), Some(_)) => Err(vec![format!(
            "the policy comes from {url}: import it there"
        )]),
        (Some(path), None) if Path::new(path).is_dir() => Err(vec![format!(
            "the policy is a directory: put the file into {path}"
        )]),
        (Some(path), None) => Ok(path.into()),
    }
}

fn import(file: &Path, socket: &Path) -> Done {
    let status = socket::policy(socket).map_err(said)?;
    let place = place(&status)?;
    let new = Document {
        name: file.to_owned(),
        mode: None,
        ..read_document(file).map_err(said)?
    };
    match status.store {
        Some(_) => policy_file::load(&status.file, std::slice::from_ref(&new)).map_err(words)?,
        None => check_as(&place, &new)?,
    };
    let old = read_document(&place).ok();
    replace(&place, &new)?;
    let report = socket::reload(socket, false).map_err(said)?;
    if report.outcome == Outcome::Refused {
        match old {
            Some(old) => replace(&place, &old)?,
            None => fs::remove_file(&place).map_err(about(&place))?,
        }
    }
    reload::tell(&report, false);
    match report.outcome {
        Outcome::Refused => Err(vec![format!("{} is as before", place.display())]),
        _ => Ok(()),
    }
}

/// Checks a document as what is to take the place of the machine's own file, beside which keys are looked for.
fn check_as(place: &Path, document: &Document) -> Result<Loaded, Vec<String>> {
    let beside = write_beside(place, document)?;
    let checked = policy_file::load(&beside, &[]);
    fs::remove_file(&beside).map_err(about(&beside))?;
    checked.map_err(|mut mistakes| {
        for mistake in &mut mistakes {
            mistake.file = document.name.clone();
        }
        words(mistakes)
    })
}

fn words(mistakes: Vec<Mistake>) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

/// Puts a document into the place of a file, as a whole or not at all.
fn replace(place: &Path, document: &Document) -> Done {
    let beside = write_beside(place, document)?;
    fs::rename(&beside, place).map_err(|error| {
        // What is half done is of no use; the error says enough.
        let _ = fs::remove_file(&beside);
        about(place)(error)
    })
}

/// Writes a document into a new file beside another one, as a whole or not at all.
fn write_beside(place: &Path, document: &Document) -> Result<PathBuf, Vec<String>> {
    let beside = place.with_extension(format!("new-{}", std::process::id()));
    let written = || {
        let mut new = fs::OpenOptions::new();
        let mut new = new.write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(document.text.as_bytes())?;
        if let Some(mode) = document.mode {
            new.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        new.sync_all()
    };
    match written() {
        Ok(()) => Ok(beside),
        Err(error) => {
            // What is half written is of no use; the error says enough.
            let _ = fs::remove_file(&beside);
            Err(about(place)(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The certificate is that of the examples, and the key another one's.
    const POLICY: &str = r#"[[port]]
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
certificate = "good.crt"
private-key-file = "other.pem"
roots = ["good.crt"]
[[connection.child]]
name = "c"
"#;

    #[test]
    fn a_key_that_does_not_fit_is_refused_before_anything_is_replaced() {
        let folder = std::env::temp_dir().join(format!("portcullis-import-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let certificate = include_str!("../../../config/examples/keys/gateway.crt");
        write("good.crt", certificate);
        write("other.pem", include_str!("../policy_file/expired.pem"));
        let document = Document {
            name: "elsewhere/new.toml".into(),
            mode: None,
            text: POLICY.to_owned().into(),
        };
        let said = check_as(&folder.join("policy.toml"), &document).unwrap_err();
        let wanted = "elsewhere/new.toml:15:20: error: the private key does not belong to the own certificate";
        assert!(said.contains(&wanted.to_owned()), "{said:?}");
        let mut left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["good.crt", "other.pem"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
