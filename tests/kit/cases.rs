//! Many named results inside one test, so that one expensive set-up serves them all.

use std::io::Write;
use std::time::Instant;

/// Writes a line past the test harness, which would swallow what a passing test prints.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Collects results; [`Cases::finish`] fails the test if any case failed.
pub struct Cases {
    only: Option<String>,
    passed: u32,
    failed: Vec<String>,
}

impl Cases {
    /// With `PORTCULLIS_CASE` set, only cases whose names contain it are run.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Cases {
        Cases {
            only: std::env::var("PORTCULLIS_CASE").ok(),
            passed: 0,
            failed: Vec::new(),
        }
    }

    /// Runs one case, prints `ok NAME` or `FAILED NAME` with what went wrong.
    pub fn run(&mut self, name: &str, case: impl FnOnce() -> Result<(), String>) {
        if self.only.as_ref().is_some_and(|only| !name.contains(only)) {
            return;
        }
        let started = Instant::now();
        match case() {
            Ok(()) => {
                self.passed += 1;
                say(&format!(
                    "ok {name} ({:.1} s)",
                    started.elapsed().as_secs_f32()
                ));
            }
            Err(why) => {
                say(&format!("FAILED {name}: {why}"));
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Panics if a case failed, or if none ran.
    pub fn finish(self) {
        say(&format!(
            "{} passed, {} failed",
            self.passed,
            self.failed.len()
        ));
        assert!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
        assert!(self.passed > 0, "no case ran");
    }
}
