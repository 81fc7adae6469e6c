//! `portcullis manual`: what packages need beside the program, made from the command line's own description.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, fail};

/// Shells with the file names that they look for.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "portcullis.bash"),
    (Shell::Fish, "portcullis.fish"),
    (Shell::Zsh, "_portcullis"),
];

/// Writes pages `portcullis.1`, `portcullis-run.1` and so on, and a completion for each shell.
pub(super) fn write(directory: &Path) -> ExitCode {
    match write_all(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{}: {error}", directory.display());
            fail(&io::Error::new(error.kind(), text))
        }
    }
}

fn write_all(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = Arguments::command();
    for (shell, file) in COMPLETIONS {
        let mut file = fs::File::create(directory.join(file))?;
        clap_complete::generate(shell, &mut command, "portcullis", &mut file);
    }
    command.build();
    write_page(directory, "portcullis", &command)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_page(directory, &format!("portcullis-{}", sub.get_name()), sub)?;
    }
    Ok(())
}

fn write_page(directory: &Path, name: &str, command: &Command) -> io::Result<()> {
    let page = clap_mangen::Man::new(command.clone()).title(name);
    page.render(&mut fs::File::create(directory.join(format!("{name}.1")))?)
}
