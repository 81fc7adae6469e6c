//! Loads policies, with what IKE has to say of the certificates and keys in them.

use std::path::Path;

use portcullis_config::{
    Credentials, Document, Finding, Identity, Loaded, Mistake, Severity, load_examined,
};
use portcullis_ike::crypto::credentials::{
    CredentialsError, CredentialsWarning, LoadedCredentials,
};

use crate::ike_status::identity_text;
use crate::pool;

/// Loads the machine's own file with the documents of its store, if there are any.
pub fn load(path: &Path, documents: &[Document]) -> Result<Loaded, Vec<Mistake>> {
    load_examined(path, documents, Some(examine))
}

/// Loads the machine's own file for a start. Credentials that cannot be used are only warned of, since all other
/// connections can go on; theirs fail, as one whose certificate has expired meanwhile does.
pub fn load_to_run(path: &Path) -> Result<Loaded, Vec<Mistake>> {
    let warn = |credentials: &Credentials, local_id: Option<&Identity>| {
        let mut found = examine(credentials, local_id);
        for finding in &mut found {
            finding.severity = Severity::Warning;
        }
        found
    };
    load_examined(path, &[], Some(warn))
}

/// What cannot be used is an error here, not a connection that fails later; what peers may not believe is a warning.
fn examine(credentials: &Credentials, local_id: Option<&Identity>) -> Vec<Finding> {
    let loaded = match LoadedCredentials::new(credentials) {
        Ok(loaded) => loaded,
        Err(error) => {
            return vec![Finding {
                key: key_of_error(&error),
                severity: Severity::Error,
                message: error.to_string(),
            }];
        }
    };
    let warning = |key, message| Finding {
        key,
        severity: Severity::Warning,
        message,
    };
    let known = loaded.warnings(pool::calendar());
    let mut found: Vec<_> = known
        .iter()
        .map(|known| warning(key_of_warning(known), known.to_string()))
        .collect();
    let unproven = local_id.filter(|id| loaded.subject().is_some() && !loaded.vouch_for(id));
    found.extend(unproven.map(|id| {
        let id = identity_text(id);
        let message =
            format!("the own certificate is not for {id}: most peers will not believe it");
        warning("local-id", message)
    }));
    found
}

fn key_of_error(error: &CredentialsError) -> &'static str {
    match error {
        CredentialsError::NoCertificate
        | CredentialsError::Certificate(..)
        | CredentialsError::Authority => "certificate",
        CredentialsError::PrivateKey | CredentialsError::KeyMismatch => "private-key-file",
        CredentialsError::Root(_) => "roots",
        CredentialsError::Crl(_) => "crls",
    }
}

fn key_of_warning(warning: &CredentialsWarning) -> &'static str {
    match warning {
        CredentialsWarning::OwnCertificate(_) | CredentialsWarning::WeakOwnKey(_) => "certificate",
        CredentialsWarning::Root(..) | CredentialsWarning::WeakRoot(..) => "roots",
        CredentialsWarning::Crl(_) => "crls",
    }
}

#[cfg(test)]
mod tests;
