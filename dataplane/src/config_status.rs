//! The settings in force, as an operator asks for them: what the policy says for all of it, and what it leaves to its
//! profile.

use portcullis_config::{Authentication, Connection, Policy, Profile, Revocation};
use serde::{Deserialize, Serialize};

use crate::agent::health::StoreStatus;

/// Settings of the policy in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConfigStatus {
    /// `modern` or `ws2003`.
    pub profile: String,
    /// The policy's version, as its author counts.
    pub version: Option<String>,
    /// `default-exemption`: from 0, the most, to 3, the fewest; nothing is exempt but our own IKE if there is none.
    pub default_exemption: Option<u8>,
    /// `inbound-overlap`: seconds for which the inbound SAs of what a reload removes stay.
    pub inbound_overlap: u64,
    /// Where policies come from, if not from the machine's own file.
    pub store: Option<StoreStatus>,
    /// Whether peers that no rule is about are answered.
    pub default_response: bool,
    /// How strictly each connection with certificates checks revocation.
    pub revocation: Vec<RevocationStatus>,
    /// Crypto engines, the preferred one first.
    pub engines: Vec<String>,
    /// Where figures are served over HTTP.
    pub metrics: Option<String>,
    /// File to which events are added.
    pub event_log: Option<String>,
    /// Folder in which IKE's keys are written down.
    pub key_log: Option<String>,
}

/// How strictly a connection checks revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RevocationStatus {
    /// Which connection.
    pub connection: String,
    /// `off`, `known` or `required`.
    pub check: String,
    /// Revocation lists that it has.
    pub crls: usize,
}

impl ConfigStatus {
    /// Of a policy; connections as `wanted` by name.
    pub fn of(policy: &Policy, store: Option<StoreStatus>, wanted: impl Fn(&str) -> bool) -> Self {
        let path = |path: &std::path::PathBuf| path.display().to_string();
        let response = policy.rules.default_response.as_ref();
        let connections = policy.connections.iter().filter(|c| wanted(&c.name));
        ConfigStatus {
            profile: match policy.profile {
                Profile::Modern => "modern",
                Profile::Ws2003 => "ws2003",
            }
            .into(),
            version: policy.about.version.clone(),
            default_exemption: policy
                .rules
                .exemptions
                .map(|exemptions| exemptions.number()),
            store,
            inbound_overlap: policy.inbound_overlap.0,
            default_response: response.is_some_and(|response| response.active),
            revocation: connections.flat_map(revocation).collect(),
            engines: policy
                .runtime
                .engines
                .iter()
                .map(ToString::to_string)
                .collect(),
            metrics: policy.metrics.listen.map(|listen| listen.to_string()),
            event_log: policy.runtime.event_log.as_ref().map(path),
            key_log: policy.runtime.key_log.as_ref().map(path),
        }
    }
}

/// Of each way in which a connection proves who both ends are by certificates.
fn revocation(connection: &Connection) -> impl Iterator<Item = RevocationStatus> {
    let further = connection.further.iter().map(|way| &way.authentication);
    let ways = std::iter::once(&connection.authentication).chain(further);
    ways.filter_map(|way| match way {
        Authentication::Certificates(credentials) => Some(RevocationStatus {
            connection: connection.name.clone(),
            check: match credentials.revocation {
                Revocation::Off => "off",
                Revocation::Known => "known",
                Revocation::Required => "required",
            }
            .into(),
            crls: credentials.crls.len(),
        }),
        _ => None,
    })
}
