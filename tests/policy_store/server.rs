//! A real HTTPS server, with an authority that the test makes.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::{Process, Scratch, run};

/// An authority with a certificate for 127.0.0.1, and one for a client.
pub struct Authority<'a> {
    scratch: &'a Scratch,
    name: &'a str,
}

impl<'a> Authority<'a> {
    pub fn new(scratch: &'a Scratch, name: &'a str) -> Self {
        let authority = Authority { scratch, name };
        let [key, certificate] = ["ca.key", "ca.crt"].map(|file| authority.path(file));
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &format!("/CN=Authority {name}"),
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-addext",
                "keyUsage=critical,keyCertSign",
            ],
        );
        authority.issue("server", "subjectAltName=IP:127.0.0.1");
        authority.issue("client", "subjectAltName=DNS:gateway");
        authority
    }

    fn issue(&self, who: &str, extension: &str) {
        let file = |suffix: &str| self.path(&format!("{who}.{suffix}"));
        run(
            "openssl",
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &format!("/CN={who}"),
                "-keyout",
                &file("key"),
                "-out",
                &file("csr"),
            ],
        );
        std::fs::write(file("ext"), extension).unwrap();
        run(
            "openssl",
            &[
                "x509",
                "-req",
                "-in",
                &file("csr"),
                "-CA",
                &self.path("ca.crt"),
                "-CAkey",
                &self.path("ca.key"),
                "-days",
                "2",
                "-extfile",
                &file("ext"),
                "-out",
                &file("crt"),
            ],
        );
        run("chmod", &["600", &file("key")]);
    }

    pub fn path(&self, file: &str) -> String {
        let path = self.scratch.path(&format!("{}-{file}", self.name));
        path.to_string_lossy().into_owned()
    }
}

/// A running server of the files in `www`; gone when dropped.
pub struct Server {
    process: Option<Process>,
    pub port: u16,
}

impl Server {
    /// On the port that the first one had.
    pub fn start(
        scratch: &Scratch,
        authority: &Authority<'_>,
        clients: Option<&Authority<'_>>,
    ) -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy_store/server.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(scratch.path("www"));
        command.args([authority.path("server.crt"), authority.path("server.key")]);
        command.args(clients.map(|clients| clients.path("ca.crt")));
        let mut process = Process::start("server.py", &mut command);
        let deadline = Instant::now() + Duration::from_secs(20);
        let port = loop {
            let out = process.stdout();
            if let Some(port) = out
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("port "))
            {
                break port.parse().unwrap();
            }
            let gone = process.poll().is_some() || Instant::now() > deadline;
            assert!(!gone, "the server does not start: {}", process.stderr());
            sleep(Duration::from_millis(10));
        };
        Server {
            process: Some(process),
            port,
        }
    }

    /// Where one was.
    pub fn gone(port: u16) -> Server {
        Server {
            process: None,
            port,
        }
    }

    /// How often it gave this answer.
    pub fn answers(&self, status: &str) -> usize {
        let out = self
            .process
            .as_ref()
            .map_or_else(String::new, Process::stdout);
        out.lines().filter(|line| line.starts_with(status)).count()
    }
}
