//! A running Portcullis.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::process::{Process, output};
use crate::scratch::Scratch;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(5);

/// Counters by name.
pub type Counters = BTreeMap<String, u64>;

/// The binary: `PORTCULLIS_BIN`, or the one beside the tests.
///
/// # Panics
/// When it is not built.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("PORTCULLIS_BIN") {
        return path.into();
    }
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("portcullis");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p portcullis` with the profile of the tests, or set PORTCULLIS_BIN",
        path.display()
    );
    path
}

/// Frames of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortCounters {
    /// Taken from the device.
    pub received: u64,
    /// Given to the device.
    pub transmitted: u64,
}

/// A gateway process with its policy file; killed when dropped.
pub struct Gateway {
    process: Process,
    scratch: Scratch,
}

impl Gateway {
    /// Starts a gateway, in `netns` if given, and waits until its workers poll.
    ///
    /// `runtime` is what follows in the `[runtime]` table, `policy` the rest of the file.
    pub fn start(netns: Option<&Netns>, runtime: &str, policy: &str) -> Gateway {
        let mut gateway = Gateway::spawn(netns, runtime, policy, &[]);
        gateway.process.wait_stderr("portcullis: running", START);
        gateway
    }

    /// The same in `netns` with further arguments of `portcullis run`.
    pub fn start_with_args(netns: &Netns, runtime: &str, policy: &str, args: &[&str]) -> Gateway {
        let mut gateway = Gateway::spawn(Some(netns), runtime, policy, args);
        gateway.process.wait_stderr("portcullis: running", START);
        gateway
    }

    /// The same with further arguments of `portcullis run`.
    pub fn start_with(runtime: &str, policy: &str, args: &[&str], patience: Duration) -> Gateway {
        let mut gateway = Gateway::spawn(None, runtime, policy, args);
        gateway.process.wait_stderr("portcullis: running", patience);
        gateway
    }

    /// Writes another policy into its file.
    pub fn rewrite(&self, runtime: &str, policy: &str) {
        write_policy(&self.scratch, runtime, policy);
    }

    /// `portcullis reload --json` with further arguments: its report.
    pub fn reload(&self, args: &[&str]) -> Result<Value, String> {
        let socket = self.scratch.path("control.sock");
        let run = Command::new(binary())
            .args(["reload", "--json", "--socket"])
            .arg(socket)
            .args(args)
            .output()
            .map_err(|e| e.to_string())?;
        serde_json::from_slice(&run.stdout)
            .map_err(|e| format!("reload: {e}\n{}", String::from_utf8_lossy(&run.stderr)))
    }

    /// `portcullis` with these arguments, for this gateway: what it prints, read as JSON whatever its exit code.
    pub fn command(&self, args: &[&str]) -> Result<Value, String> {
        let run = self.invoke(args)?;
        let said = String::from_utf8_lossy(&run.stderr);
        serde_json::from_slice(&run.stdout).map_err(|e| format!("{args:?}: {e}\n{said}"))
    }

    /// The same where it must succeed: what it prints.
    pub fn run(&self, args: &[&str]) -> Result<String, String> {
        let run = self.invoke(args)?;
        let [out, error] = [&run.stdout, &run.stderr].map(|text| String::from_utf8_lossy(text));
        match run.status.success() {
            true => Ok(out.into_owned()),
            false => Err(format!("{args:?}: {}\n{out}{error}", run.status)),
        }
    }

    /// The same without waiting for its end.
    pub fn spawn_command(&self, args: &[&str]) -> Process {
        Process::start("portcullis", &mut self.command_line(args))
    }

    fn invoke(&self, args: &[&str]) -> Result<Output, String> {
        self.command_line(args).output().map_err(|e| e.to_string())
    }

    fn command_line(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let socket = self.scratch.path("control.sock");
        command.args(args).arg("--socket").arg(socket);
        command
    }

    /// Sends it a signal, such as `HUP`.
    pub fn signal(&mut self, signal: &str) {
        self.process.signal(signal);
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        self.process.wait(timeout)
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.scratch.path("control.sock")
    }

    /// Its policy file.
    pub fn policy_file(&self) -> PathBuf {
        self.scratch.path("policy.toml")
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The same in `netns` with more in its environment.
    pub fn start_under(
        netns: &Netns,
        environment: &[(String, String)],
        runtime: &str,
        policy: &str,
    ) -> Gateway {
        let mut gateway = Gateway::spawn_under(Some(netns), environment, runtime, policy, &[]);
        gateway.process.wait_stderr("portcullis: running", START);
        gateway
    }

    /// Runs a gateway over capture files until all of them are read: its output and exit status.
    pub fn drain(runtime: &str, policy: &str) -> Drained {
        Gateway::drain_under(&[], runtime, policy)
    }

    /// The same with more in its environment.
    pub fn drain_under(environment: &[(String, String)], runtime: &str, policy: &str) -> Drained {
        let args = ["--drain", "--json"];
        let mut gateway = Gateway::spawn_under(None, environment, runtime, policy, &args);
        let status = gateway.process.wait(START);
        Drained {
            status,
            stdout: gateway.process.stdout(),
            stderr: gateway.process.stderr(),
        }
    }

    /// Starts one and waits for nothing.
    pub fn spawn(netns: Option<&Netns>, runtime: &str, policy: &str, args: &[&str]) -> Gateway {
        Gateway::spawn_under(netns, &[], runtime, policy, args)
    }

    fn spawn_under(
        netns: Option<&Netns>,
        environment: &[(String, String)],
        runtime: &str,
        policy: &str,
        args: &[&str],
    ) -> Gateway {
        let scratch = Scratch::new("gateway");
        let file = write_policy(&scratch, runtime, policy);
        let mut command = match netns {
            Some(netns) => {
                // Past `ip netns exec`, which is not to have it.
                let mut command = netns.command("env");
                command.args(
                    environment
                        .iter()
                        .map(|(key, value)| format!("{key}={value}")),
                );
                command.arg(binary());
                command
            }
            None => {
                let mut command = Command::new(binary());
                command.envs(environment.iter().map(|(key, value)| (key, value)));
                command
            }
        };
        command
            .current_dir(scratch.dir())
            .args(["run", "--config"])
            .arg(file)
            .args(args);
        Gateway {
            process: Process::start("portcullis", &mut command),
            scratch,
        }
    }

    /// `portcullis show TABLE --json`, parsed.
    pub fn show(&self, table: &str) -> Result<Value, String> {
        self.show_with(&[table])
    }

    /// `portcullis show --json` with these arguments, parsed.
    pub fn show_with(&self, args: &[&str]) -> Result<Value, String> {
        let socket = self.scratch.path("control.sock");
        let socket = socket.to_string_lossy();
        let text = output(
            binary(),
            &[&["show", "--json", "--socket", &socket], args].concat(),
        )?;
        serde_json::from_str(&text).map_err(|e| format!("show {args:?} --json: {e}\n{text}"))
    }

    /// Dropped packets by reason.
    pub fn drops(&self) -> Result<Counters, String> {
        drops(&self.show("drops")?)
    }

    /// Packets that an SA has sealed or opened.
    pub fn sa_packets(&self, spi: u32) -> Result<u64, String> {
        let table = self.show("sa")?;
        rows(&table, "sas")
            .find(|row| row["spi"] == format!("{spi:#010x}"))
            .and_then(|row| row["packets"].as_u64())
            .ok_or_else(|| format!("no packets of SPI {spi:#x} in {table}"))
    }

    /// Frames that a port has carried.
    pub fn port(&self, name: &str) -> Result<PortCounters, String> {
        let table = self.show("ports")?;
        let port = rows(&table, "ports").find(|row| row["port"] == name);
        let number = |field: &str| {
            port.and_then(|row| row[field].as_u64())
                .ok_or_else(|| format!("no {field} of port {name} in {table}"))
        };
        Ok(PortCounters {
            received: number("rx_packets")?,
            transmitted: number("tx_packets")?,
        })
    }

    /// What the process has written to standard error.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Ends it with SIGTERM: the final tables, and the exit status.
    pub fn stop(mut self) -> Drained {
        let status = self.process.stop(STOP);
        Drained {
            status,
            stdout: self.process.stdout(),
            stderr: self.process.stderr(),
        }
    }
}

fn write_policy(scratch: &Scratch, runtime: &str, policy: &str) -> PathBuf {
    let socket = scratch.path("control.sock");
    let text = format!("[runtime]\ncontrol-socket = {socket:?}\n{runtime}\n{policy}");
    scratch.write("policy.toml", 0o600, text.as_bytes())
}

fn drops(table: &Value) -> Result<Counters, String> {
    rows(table, "drops")
        .map(|row| Some((row["reason"].as_str()?.to_owned(), row["packets"].as_u64()?)))
        .collect::<Option<Counters>>()
        .ok_or_else(|| format!("unexpected form of drops: {table}"))
}

/// The objects of a table of `show --json`.
fn rows<'a>(table: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    table[name].as_array().into_iter().flatten()
}

/// An error unless all that worker 0 has taken or made has gone somewhere, and for a reason.
pub fn balance(report: &Value) -> Result<(), String> {
    let worker = &report["workers"][0];
    let count = |name: &str| {
        worker[name]
            .as_u64()
            .ok_or_else(|| format!("no {name}: {worker}"))
    };
    let sum = |names: &[&str]| {
        names
            .iter()
            .try_fold(0, |sum, name| Ok::<_, String>(sum + count(name)?))
    };
    let came = sum(&["received", "created", "injected", "taken_over"])?;
    let went = sum(&[
        "transmitted",
        "dropped",
        "punted",
        "handed_off",
        "consumed",
        "held",
    ])?;
    match came == went && came != 0 {
        true => Ok(()),
        false => Err(format!("{came} came and {went} went: {worker}")),
    }
}

/// How a gateway ended.
pub struct Drained {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output: the final tables.
    pub stdout: String,
    /// Standard error: the log.
    pub stderr: String,
}

impl Drained {
    /// An error holding both outputs unless the exit status is 0.
    pub fn success(self) -> Result<Drained, String> {
        if self.status.success() {
            return Ok(self);
        }
        Err(format!("{}\n{}{}", self.status, self.stdout, self.stderr))
    }

    /// The final status of a run that was drained.
    pub fn report(&self) -> Result<Value, String> {
        serde_json::from_str(&self.stdout).map_err(|e| format!("{e}: {}", self.stdout))
    }

    /// SAs that this engine served, in a run that was drained.
    pub fn sas_of_engine(&self, engine: &str) -> Result<usize, String> {
        let report = self.report()?;
        Ok(rows(&report, "sas")
            .filter(|row| row["engine"] == engine)
            .count())
    }

    /// Dropped packets by reason, of a run that was drained.
    pub fn drops(&self) -> Result<Counters, String> {
        drops(&self.report()?)
    }
}
