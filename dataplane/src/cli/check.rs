//! `portcullis check`.

use std::path::Path;
use std::process::ExitCode;

use portcullis_config::{Loaded, Mistake, Policy};

use crate::policy_file;

/// Loads a policy, printing every mistake and warning to standard error.
pub(super) fn load_and_tell(file: &Path) -> Option<Policy> {
    tell(policy_file::load(file, &[]))
}

/// The policy, if it was loaded; prints every mistake and warning to standard error.
pub(super) fn tell(loaded: Result<Loaded, Vec<Mistake>>) -> Option<Policy> {
    let tell = |mistakes: &[Mistake]| mistakes.iter().for_each(|mistake| eprintln!("{mistake}"));
    match loaded {
        Ok(loaded) => {
            tell(&loaded.warnings);
            Some(loaded.policy)
        }
        Err(mistakes) => {
            tell(&mistakes);
            None
        }
    }
}

/// Validates a policy file.
pub(super) fn check(file: &Path) -> ExitCode {
    match load_and_tell(file) {
        Some(policy) => {
            let (ports, spd, sas) = (policy.interfaces.len(), policy.spd.len(), policy.sas.len());
            println!(
                "{}: {ports} interfaces, {spd} SPD entries, {sas} SAs: valid",
                file.display()
            );
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}
