//! Child processes that cannot outlive a test.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A running child with its output captured; killed with its process group when dropped.
pub struct Process {
    name: String,
    child: Child,
    stdout: Arc<Captured>,
    stderr: Arc<Captured>,
    reaped: Option<ExitStatus>,
}

/// What a child has written so far to one of its streams.
#[derive(Default)]
struct Captured {
    state: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Captured {
    /// Reads `stream` to its end on a thread of its own.
    fn start(mut stream: impl Read + Send + 'static) -> Arc<Captured> {
        let captured = Arc::new(Captured::default());
        let writer = Arc::clone(&captured);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..n]);
                writer.state.lock().unwrap().0.push_str(&text);
                writer.changed.notify_all();
            }
            writer.state.lock().unwrap().1 = true;
            writer.changed.notify_all();
        });
        captured
    }

    fn text(&self) -> String {
        self.state.lock().unwrap().0.clone()
    }

    /// Waits until `needle` was written; false at the stream's end or after `timeout`.
    fn wait_for(&self, needle: &str, timeout: Duration) -> bool {
        let state = self.state.lock().unwrap();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |(text, ended)| {
                !*ended && !text.contains(needle)
            })
            .unwrap();
        state.0.contains(needle)
    }

    /// Waits for the end of the stream, so that nothing written is missed.
    fn wait_end(&self, timeout: Duration) {
        let state = self.state.lock().unwrap();
        let _ = self
            .changed
            .wait_timeout_while(state, timeout, |(_, ended)| !*ended);
    }
}

impl Process {
    /// Starts `command` in a process group of its own.
    pub fn start(name: &str, command: &mut Command) -> Process {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let stdout = Captured::start(child.stdout.take().unwrap());
        let stderr = Captured::start(child.stderr.take().unwrap());
        Process {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
            reaped: None,
        }
    }

    /// Standard input of the child; dropping it closes the pipe.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("taken once")
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What was written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What was written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until standard error holds `needle`.
    ///
    /// # Panics
    /// When the child ends or `timeout` passes before.
    pub fn wait_stderr(&mut self, needle: &str, timeout: Duration) {
        if !self.stderr.wait_for(needle, timeout) {
            let status = self.poll();
            panic!(
                "{}: no {needle:?} within {timeout:?}, {}\n{}{}",
                self.name,
                status.map_or("still running".to_owned(), |s| s.to_string()),
                self.stdout(),
                self.stderr()
            );
        }
    }

    /// Exit status, if the child has ended.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.reaped.is_none() {
            self.reaped = self.child.try_wait().unwrap();
        }
        self.reaped
    }

    /// Waits for the child to end by itself.
    ///
    /// # Panics
    /// After `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.poll() {
                self.stdout.wait_end(Duration::from_secs(1));
                self.stderr.wait_end(Duration::from_secs(1));
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} has not ended within {timeout:?}\n{}{}",
                self.name,
                self.stdout(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal by name (`TERM`, `INT`, ...) to the child alone.
    pub fn signal(&mut self, signal: &str) {
        if self.poll().is_none() {
            kill(signal, &self.id().to_string());
        }
    }

    /// Asks the child to end with SIGTERM and waits.
    pub fn stop(&mut self, timeout: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(timeout)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.poll().is_none() {
            kill("KILL", &format!("-{}", self.id()));
            let _ = self.child.wait();
        }
    }
}

/// The shell's own `kill`: the standard library can send nothing but SIGKILL.
fn kill(signal: &str, target: &str) {
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$1\" -- \"$2\"", "sh", signal, target])
        .stderr(Stdio::null())
        .status();
}

/// Runs a short command to its end; what it printed, or what went wrong.
pub fn output(program: impl AsRef<Path>, args: &[&str]) -> Result<String, String> {
    let program = program.as_ref();
    let result = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&result.stdout).into_owned();
    if result.status.success() {
        return Ok(text);
    }
    Err(format!(
        "{} {}: {}\n{text}{}",
        program.display(),
        args.join(" "),
        result.status,
        String::from_utf8_lossy(&result.stderr)
    ))
}

/// Like [`output`], for set-up that must succeed.
///
/// # Panics
/// When it does not.
pub fn run(program: impl AsRef<Path>, args: &[&str]) -> String {
    output(program, args).unwrap_or_else(|e| panic!("{e}"))
}

/// How many replies `ping` says it received.
pub fn replies(ping: &str) -> u64 {
    let words: Vec<&str> = ping.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair[1].starts_with("received"))
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}
