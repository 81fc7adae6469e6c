//! What operators are told of the policy agent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::state::State;

/// Where the policy in force came from, and when the next one is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Where it came from.
    pub state: State,
    /// Its version, as its author counts.
    pub version: Option<String>,
    /// How the store calls its version.
    pub etag: Option<String>,
    /// SHA-256 of what the store has brought.
    pub checksum: Option<String>,
    /// The machine's own file.
    pub file: PathBuf,
    /// The store: a URL, a directory or a file. Of several scopes the one that the policy is of.
    pub store: Option<String>,
    /// Where the last policy of the store is kept.
    pub cache: Option<PathBuf>,
    /// What the store has brought: files, or a URL.
    pub documents: Vec<PathBuf>,
    /// Milliseconds between two polls, when all goes well.
    pub poll_interval_ms: Option<u64>,
    /// Milliseconds to the next poll.
    pub next_poll_ms: Option<u64>,
    /// Milliseconds since the last poll.
    pub polled_ms_ago: Option<u64>,
    /// Milliseconds since the policy in force was last confirmed by reading it.
    pub loaded_ms_ago: u64,
    /// Why the last poll brought nothing.
    pub failure: Option<Failure>,
}

/// What went wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What.
    pub text: String,
    /// Milliseconds ago.
    pub ms_ago: u64,
}
