//! What happens to the gateway that an operator, an alarm or an auditor wants to know: one typed event each, written
//! as one line to standard error, as one JSON object to a file, and with its fields to journald when systemd started
//! the process. The latest are kept for `portcullis events`. No event holds a secret.

mod file;
mod journal;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use portcullis_ike::{CloseReason, Failure, PeerIncompatible, PeerMisbehaved};
use portcullis_ipsec::icmp::RateLimit;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::control::Control;
use crate::ike_status::reason_text;
use crate::status::SCHEMA;
use file::EventFile;
use journal::Journal;

/// Events kept for those who ask.
const KEPT: usize = 1000;
/// Events in one answer.
const PAGE: usize = 100;
/// Events that a stranger can cause, a second and in a burst: a flood of packets must not become one of lines.
const STRANGERS: (u32, u32) = (20, 100);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
#[allow(missing_docs)] // the fields say what they are: names of the policy, addresses, SPIs, reasons in words
pub enum Event {
    /// The gateway runs.
    Started {
        version: String,
        workers: usize,
        entries: usize,
    },
    /// The gateway ends.
    Stopping {},
    /// Phase 1 stands.
    IkeUp {
        ike: u64,
        connection: String,
        remote: String,
        identity: String,
        /// The IKE SA that it renews.
        renews: Option<u64>,
    },
    /// A phase 1 is gone.
    IkeDown {
        ike: u64,
        connection: String,
        reason: String,
    },
    /// SAs of a child are installed in both directions.
    SaUp {
        child: u64,
        connection: String,
        name: String,
        remote: String,
        transform: String,
        /// Innermost first.
        spi_in: Vec<String>,
        spi_out: Vec<String>,
    },
    /// The same, in place of others.
    SaRekeyed {
        child: u64,
        connection: String,
        name: String,
        remote: String,
        transform: String,
        spi_in: Vec<String>,
        spi_out: Vec<String>,
        /// The child before.
        replaces: u64,
    },
    /// The SAs of a child are gone.
    SaDown {
        child: u64,
        connection: String,
        name: String,
        reason: String,
    },
    /// A peer does not answer IKE, and the policy lets its traffic pass in clear for a while.
    SoftSaUp {
        connection: String,
        name: String,
        remote: String,
    },
    /// It no longer does.
    SoftSaDown {
        connection: String,
        name: String,
        reason: String,
    },
    /// A manually keyed SA reached its soft limit: nobody replaces it.
    SaAging { sa: String },
    /// A manually keyed SA reached its hard limit, or its last sequence number: it has stopped.
    SaExpired { sa: String },
    /// SAs that could not be installed.
    SaRefused {
        child: u64,
        connection: String,
        name: String,
        reason: String,
    },
    /// The peer's address changed, and its SAs follow.
    PeerMoved { children: usize, remote: String },
    /// A peer wants SAs to live for so little that we would renew without end: they live longer.
    ShortLife {
        connection: String,
        /// None: phase 1.
        child: Option<String>,
        seconds: Option<u64>,
        kilobytes: Option<u64>,
    },
    /// ESP or AH for which there is no SA (RFC 4301 5.2).
    BadSpi {
        spi: String,
        protocol: u8,
        source: String,
        destination: String,
    },
    /// A peer did not prove to be who it must be, or refused us as such.
    AuthenticationFailed {
        connection: Option<String>,
        child: Option<String>,
        remote: String,
        reason: String,
    },
    /// A negotiation ended without result for another reason.
    NegotiationFailed {
        connection: Option<String>,
        child: Option<String>,
        remote: String,
        reason: String,
        /// What the proposals differed in.
        mismatches: Vec<String>,
    },
    /// A packet needs an SA, and there is none that anybody would negotiate.
    NoSa {
        entry: String,
        source: String,
        destination: String,
        protocol: u8,
    },
    /// Packets of an SA that are not authentic, or that an engine could not process.
    CryptoFailure {
        sa: String,
        spi: String,
        source: Option<String>,
        reason: String,
    },
    /// A device did not take an SA, or lost it: software goes on with it.
    OffloadFailed { sa: String, reason: String },
    /// A router told of a smaller path MTU.
    PathMtu { sa: String, mtu: u32 },
    /// A new policy is in force.
    PolicyChanged {
        sas_added: usize,
        sas_removed: usize,
        sas_changed: usize,
        entries_added: usize,
        entries_removed: usize,
        entries_changed: usize,
        milliseconds: u64,
    },
    /// A policy was refused; the one before stays in force.
    PolicyRefused { reasons: Vec<String> },
    /// The store of the policy does not answer, or has none for us: the policy in force goes on without it.
    StoreAway {
        store: String,
        reason: String,
        policy: String,
        /// Since the store had that policy, or since the cache was written.
        policy_age_s: Option<u64>,
    },
    /// And does again.
    StoreBack { store: String, away_s: u64 },
    /// The address that figures are served at is another's: it is tried until it is ours.
    MetricsAway { address: String, reason: String },
    /// And is ours again.
    MetricsBack {
        address: String,
        away_s: u64,
        attempts: u64,
    },
    /// An operator copies packets to a file.
    CaptureStarted {
        side: String,
        tunnel: Option<String>,
        sas_with_keys: usize,
    },
    /// And no longer does.
    CaptureEnded {
        packets: u64,
        lost: u64,
        reason: String,
    },
    /// Events of one kind that came too fast to be written.
    Suppressed { kind: String, count: u64 },
}

/// How urgent an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Something does not work.
    Error,
}

/// An event with its place in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Record {
    /// Version of the form.
    pub schema: u32,
    /// Number, from 1 in each run of the gateway.
    pub number: u64,
    /// When, as RFC 3339 says.
    pub time: String,
    /// How urgent it is.
    pub severity: Severity,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Some of the events kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventPage {
    /// Version of the form.
    pub schema: u32,
    /// Oldest first.
    pub events: Vec<Record>,
    /// Number of the latest event there is.
    pub latest: u64,
}

impl Event {
    /// What a negotiation without result was: who cannot prove who it is, is told from who wants something else.
    pub fn of_failure(failure: &Failure) -> Event {
        let (connection, child) = (failure.connection.clone(), failure.child.clone());
        let (remote, reason) = (failure.remote.to_string(), reason_text(&failure.reason));
        match is_about_identity(&failure.reason) {
            true => Event::AuthenticationFailed {
                connection,
                child,
                remote,
                reason,
            },
            false => Event::NegotiationFailed {
                connection,
                child,
                remote,
                reason,
                mismatches: failure.mismatches.iter().map(ToString::to_string).collect(),
            },
        }
    }

    /// The event in words, and how urgent it is.
    fn words(&self) -> (Severity, &'static str) {
        use Severity::{Error, Info, Warning};
        match self {
            Event::Started { .. } => (Info, "gateway started"),
            Event::Stopping {} => (Info, "gateway stops"),
            Event::IkeUp { .. } => (Info, "IKE SA established"),
            Event::IkeDown { .. } => (Info, "IKE SA closed"),
            Event::SaUp { .. } => (Info, "SAs installed"),
            Event::SaRekeyed { .. } => (Info, "SAs rekeyed"),
            Event::SaDown { .. } => (Info, "SAs removed"),
            Event::SoftSaUp { .. } => (Warning, "the peer knows no IKE: traffic passes in clear"),
            Event::SoftSaDown { .. } => (Info, "traffic no longer passes in clear"),
            Event::SaAging { .. } => (Info, "soft lifetime reached; nobody replaces a manual SA"),
            Event::SaExpired { .. } => (
                Warning,
                "lifetime or sequence numbers used up; the SA has stopped",
            ),
            Event::SaRefused { .. } => (Error, "SAs not installed"),
            Event::PeerMoved { .. } => (Info, "the peer has another address"),
            Event::ShortLife { .. } => (
                Warning,
                "the peer wants too short a life: SAs get a longer one",
            ),
            Event::BadSpi { .. } => (Warning, "no SA with this SPI"),
            Event::AuthenticationFailed { .. } => (Warning, "authentication failed"),
            Event::NegotiationFailed { .. } => (Warning, "negotiation failed"),
            Event::NoSa { .. } => (Info, "a packet needs an SA, and there is none"),
            Event::CryptoFailure { .. } => (Warning, "packets are not authentic"),
            Event::OffloadFailed { .. } => (Warning, "a device does not take the SA"),
            Event::PathMtu { .. } => (Info, "path MTU learnt"),
            Event::PolicyChanged { .. } => (Info, "a new policy is in force"),
            Event::PolicyRefused { .. } => {
                (Error, "the new policy is refused; nothing has changed")
            }
            Event::StoreAway { .. } => (Warning, "the policy store is away"),
            Event::StoreBack { .. } => (Info, "the policy store is back"),
            Event::MetricsAway { .. } => (Warning, "figures are not served"),
            Event::MetricsBack { .. } => (Info, "figures are served again"),
            Event::CaptureStarted { .. } => (Warning, "an operator captures packets"),
            Event::CaptureEnded { .. } => (Info, "the capture has ended"),
            Event::Suppressed { .. } => (Warning, "more events than are written"),
        }
    }

    /// For events that a stranger can cause: which limit they share.
    fn strangers(&self) -> Option<usize> {
        match self {
            Event::BadSpi { .. } => Some(0),
            Event::AuthenticationFailed { .. } => Some(1),
            Event::NegotiationFailed { .. } => Some(2),
            Event::CryptoFailure { .. } => Some(3),
            _ => None,
        }
    }
}

/// Names of the kinds that [`Event::strangers`] numbers.
const LIMITED: [&str; 4] = [
    "bad-spi",
    "authentication-failed",
    "negotiation-failed",
    "crypto-failure",
];

/// RFC 2408 3.14.1: notifications of a peer that does not believe who we are.
const REFUSED_IDENTITY: [u16; 5] = [
    20, // INVALID-CERTIFICATE
    22, // INVALID-CERT-AUTHORITY
    23, // INVALID-HASH-INFORMATION
    24, // AUTHENTICATION-FAILED
    25, // INVALID-SIGNATURE
];

fn is_about_identity(reason: &CloseReason) -> bool {
    use portcullis_ike::Error;
    let CloseReason::Error(error) = reason else {
        return false;
    };
    match error {
        Error::PeerIncompatible(what) => matches!(
            what,
            PeerIncompatible::PreSharedKey
                | PeerIncompatible::Identity
                | PeerIncompatible::Certificate(_)
        ),
        Error::PeerMisbehaved(what) => {
            matches!(what, PeerMisbehaved::Hash | PeerMisbehaved::Signature)
        }
        Error::PeerRefused(kind) => REFUSED_IDENTITY.contains(kind),
        Error::InvalidMessage(_) | Error::Local(_) => false,
    }
}

impl Record {
    /// The fields beside number, time and severity: names and values, without those that are not there.
    fn fields(&self) -> Vec<(String, Value)> {
        let Ok(Value::Object(fields)) = serde_json::to_value(&self.event) else {
            return Vec::new();
        };
        let there =
            |value: &Value| !value.is_null() && value.as_array().is_none_or(|a| !a.is_empty());
        let wanted = fields
            .into_iter()
            .filter(|(name, value)| name != "event" && there(value));
        wanted.collect()
    }

    /// One line: the event in words, and its fields.
    pub fn line(&self) -> String {
        let mut line = self.event.words().1.to_owned();
        for (name, value) in self.fields() {
            // A string takes everything.
            let _ = write!(line, " {name}={}", value_text(&value));
        }
        line
    }
}

/// A value in a line: quoted only if it could be taken for something else.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"\"=\\".contains(c);
            match !text.is_empty() && text.chars().all(plain) {
                true => text.clone(),
                false => format!("{text:?}"),
            }
        }
        Value::Array(list) => list.iter().map(value_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// How fast one kind may come, and how many came faster.
#[derive(Debug)]
struct Limit {
    rate: RateLimit,
    suppressed: u64,
}

/// Where events go.
#[derive(Debug)]
pub struct Events {
    kept: VecDeque<Record>,
    latest: u64,
    limits: [Limit; LIMITED.len()],
    file: Option<EventFile>,
    journal: Option<Journal>,
}

impl Events {
    /// With JSON lines to `file`, if there is one.
    pub fn new(file: Option<&Path>) -> Result<Self, Error> {
        let limit = |_| Limit {
            rate: RateLimit::new(STRANGERS.0, STRANGERS.1),
            suppressed: 0,
        };
        Ok(Events {
            kept: VecDeque::new(),
            latest: 0,
            limits: [0, 1, 2, 3].map(limit),
            file: file.map(EventFile::open).transpose()?,
            journal: Journal::of_this_process(),
        })
    }

    /// Opens the file anew, as after its rotation, or another one; the old one stays if that cannot be.
    pub fn reopen(&mut self, file: Option<&Path>) {
        match file.map(EventFile::open).transpose() {
            Ok(file) => self.file = file,
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// Writes an event down, unless it is one of too many of a stranger's.
    pub fn raise(&mut self, now: u64, event: Event) {
        if let Some(number) = event.strangers() {
            let Some(limit) = self.limits.get_mut(number) else {
                return;
            };
            if !limit.rate.allow(now) {
                limit.suppressed += 1;
                return;
            }
            let count = std::mem::take(&mut limit.suppressed);
            if let (1.., Some(kind)) = (count, LIMITED.get(number)) {
                let kind = (*kind).to_owned();
                self.write(Event::Suppressed { kind, count });
            }
        }
        self.write(event);
    }

    fn write(&mut self, event: Event) {
        self.latest += 1;
        let (severity, words) = event.words();
        let record = Record {
            schema: SCHEMA,
            number: self.latest,
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            severity,
            event,
        };
        if let Some(file) = &mut self.file {
            file.write(&record);
        }
        let journal = self.journal.as_ref();
        if !journal.is_some_and(|journal| journal.write(words, &record)) {
            let line = record.line();
            match severity {
                Severity::Info => tracing::info!("{line}"),
                Severity::Warning => tracing::warn!("{line}"),
                Severity::Error => tracing::error!("{line}"),
            }
        }
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(record);
    }

    /// Events after the one with this number; the latest page of them if `last`.
    pub fn after(&self, number: u64, last: bool) -> EventPage {
        let newer = |record: &&Record| record.number > number;
        let skipped = match last {
            true => self.kept.iter().filter(newer).count().saturating_sub(PAGE),
            false => 0,
        };
        let events = self.kept.iter().filter(newer).skip(skipped).take(PAGE);
        EventPage {
            schema: SCHEMA,
            events: events.cloned().collect(),
            latest: self.latest,
        }
    }
}

impl Control {
    /// Writes an event down.
    pub fn raise(&mut self, now: u64, event: Event) {
        self.events.raise(now, event);
    }
}

#[cfg(test)]
mod tests;
