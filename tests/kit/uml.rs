//! A Linux kernel of its own as IPsec peer: user-mode Linux, one host process.
//!
//! The guest's root is the host's file system, read-only, so the host's programs run in it. Its network cards are
//! raw sockets on interfaces of a network namespace.

use std::io::Write;
use std::process::ChildStdin;
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::netns::Netns;
use crate::process::Process;
use crate::scratch::Scratch;

/// Environment of everything in the guest, handed on by its kernel: its registers are kept only as far as
/// without-xstate.pl allows.
const NO_AVX: &str = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-XSAVE,-XSAVEC";

/// How long a command in the guest may take.
const LONGEST_COMMAND: Duration = Duration::from_secs(120);

/// How often a guest that is waited for gets an empty line: on a busy host its timer is now and then lost while it
/// idles, and any interrupt wakes it up.
const POKE: Duration = Duration::from_secs(1);

/// An interface that becomes `vec0`, `vec1`, ... in the guest.
pub type GuestNic<'a> = &'a str;

/// A booted guest; powered off when dropped.
pub struct Guest {
    console: ChildStdin,
    commands: u32,
    process: Process,
    scratch: Scratch,
}

impl Guest {
    /// Boots a guest on interfaces of `netns` and waits until it takes commands.
    pub fn boot(netns: &Netns, nics: &[GuestNic]) -> Guest {
        let scratch = Scratch::new("guest");
        let exchange = scratch.path("exchange");
        fs::create_dir(&exchange).unwrap();
        let init = include_str!("guest-init.sh").replace("@EXCHANGE@", &exchange.to_string_lossy());
        let init = scratch.write("init", 0o700, init.as_bytes());

        let umid = format!("{}", scratch.dir().display()).replace('/', "_");
        let mut command = netns.command("perl");
        command
            .args(["-e", include_str!("without-xstate.pl"), "linux.uml"])
            .env("HOME", scratch.dir())
            .env("TMPDIR", "/dev/shm") // the guest's memory is a file there
            .args(["mem=256M", "root=/dev/root", "rootfstype=hostfs"])
            .args(["rootflags=/", "ro", "con0=fd:0,fd:1", "con=null", "quiet"])
            .arg(NO_AVX)
            .arg(format!("umid={umid}"))
            .arg(format!("uml_dir={}/", scratch.dir().display()))
            .arg(format!("init={}", init.display()));
        for (index, nic) in nics.iter().enumerate() {
            netns.ip(&format!("link set {nic} promisc on"));
            command.arg(format!(
                "vec{index}:transport=raw,ifname={nic},depth=128,gro=0"
            ));
        }
        let mut process = Process::start("linux.uml", &mut command);
        let console = process.take_stdin();

        let deadline = Instant::now() + Duration::from_secs(60);
        while !exchange.join("up").exists() {
            assert!(
                process.poll().is_none() && Instant::now() < deadline,
                "the guest does not boot\n{}{}",
                process.stdout(),
                process.stderr()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Guest {
            console,
            commands: 0,
            process,
            scratch,
        }
    }

    /// Runs shell lines in the guest: their output, or the output and what went wrong.
    pub fn sh(&mut self, lines: &str) -> Result<String, String> {
        self.commands += 1;
        let name = format!("exchange/{}", self.commands);
        self.scratch
            .write(&format!("{name}.command"), 0o600, lines.as_bytes());
        writeln!(self.console, "{}", self.commands).map_err(|e| format!("guest: {e}"))?;

        let status_file = self.scratch.path(&format!("{name}.status"));
        let deadline = Instant::now() + LONGEST_COMMAND;
        let mut poke = Instant::now() + POKE;
        while !status_file.exists() {
            if self.process.poll().is_some() || Instant::now() > deadline {
                return Err(format!(
                    "guest ended or hangs in: {lines}\n{}",
                    self.process.stdout()
                ));
            }
            if Instant::now() > poke {
                poke += POKE;
                writeln!(self.console).map_err(|e| format!("guest: {e}"))?;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let status = fs::read_to_string(&status_file).map_err(|e| e.to_string())?;
        let output =
            fs::read(self.scratch.path(&format!("{name}.output"))).map_err(|e| e.to_string())?;
        let output = String::from_utf8_lossy(&output).into_owned();
        if status.trim() == "0" {
            Ok(output)
        } else {
            Err(format!(
                "guest: status {} of: {lines}\n{output}",
                status.trim()
            ))
        }
    }
}
