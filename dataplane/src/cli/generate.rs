//! `portcullis generate`: manual pages and shell completions, made from the command line's own description, for
//! packages.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

use super::{Arguments, fail};

/// What to make.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Manual pages: `portcullis.1`, and one for each command.
    Man {
        /// Folder to write them to.
        folder: std::path::PathBuf,
    },
    /// The completion of a shell, to standard output.
    Completion {
        /// Shell.
        shell: Shell,
    },
}

/// Makes it.
pub(super) fn generate(what: &What) -> ExitCode {
    let made = match what {
        What::Man { folder } => man(folder),
        What::Completion { shell } => {
            // Made as a whole first: the generator panics when its reader goes.
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "portcullis", &mut text);
            std::io::stdout().write_all(&text)
        }
    };
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn man(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Arguments::command(), folder)
}
