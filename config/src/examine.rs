//! Certificates and their keys are read by who uses them. Who loads a policy may bring a judge of them, so that what is
//! wrong with them is told with all other mistakes, before anything depends on it.

use crate::reader::Section;
use crate::{Authentication, Credentials, Identity, Severity};

/// What is wrong with credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The key of the policy that it is about.
    pub key: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, without keying material.
    pub message: String,
}

/// Judges credentials, and the identity that they have to prove.
pub type Examine = fn(&Credentials, Option<&Identity>) -> Vec<Finding>;

/// Has the credentials of a table judged.
pub(crate) fn examine(
    section: Section<'_>,
    authentication: Option<&Authentication>,
    local_id: Option<&Identity>,
) {
    let Some(Authentication::Certificates(credentials)) = authentication else {
        return;
    };
    let Some(examine) = section.examine() else {
        return;
    };
    for finding in examine(credentials, local_id) {
        match finding.severity {
            Severity::Error => section.error(finding.key, finding.message),
            Severity::Warning => section.warning(finding.key, finding.message),
        }
    }
}
