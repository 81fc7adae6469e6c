//! Reads what a connection proves itself with: a pre-shared key, or certificates with a private key.

use std::path::Path;

use crate::examine::examine;
use crate::keys::{decode, read_closed};
use crate::pem::{self, Part};
use crate::ports::members;
use crate::reader::{Item, Section};
use crate::reference::AUTHENTICATION;
use crate::remote_access::Hybrid;
use crate::{
    Authentication, Credentials, Identity, Method, Phase1Exchange, Revocation, Secret, identity,
};

/// Where the pre-shared key stands: in place, or the name of a file.
pub(crate) const PSK: (&str, &str) = ("psk", "psk-file");
/// More than any certificate, list or key takes.
const FILE_LIMIT: u64 = 16 << 20;
/// A random key of so many characters cannot be guessed, if each is worth 6 bits.
const STRONG_PSK: usize = 20;
/// A random text of that length has at least so many different characters.
const VARIED_PSK: usize = 8;

const REVOCATIONS: &[(&str, Revocation)] = &[
    ("off", Revocation::Off),
    ("known", Revocation::Known),
    ("required", Revocation::Required),
];

/// Reads how both ends prove themselves, of which with hybrid authentication one does.
pub(crate) fn read(
    section: Section<'_>,
    exchange: Phase1Exchange,
    hybrid: Option<Hybrid>,
    base: &Path,
) -> Option<Authentication> {
    let (inline, file) = PSK;
    let has_psk = section.has(inline) || section.has(file);
    if hybrid.is_some() || section.has("certificate") {
        for key in [inline, file] {
            section.refuse(key, "expected a pre-shared key or a certificate, not both");
        }
        return read_credentials(section, hybrid, base).map(Authentication::Certificates);
    }
    for key in [
        "private-key-file",
        "roots",
        "crls",
        "revocation",
        "name-roots",
    ] {
        section.refuse(key, "expected only with `certificate`");
    }
    if !has_psk {
        let message =
            "missing `psk`, `psk-file` or `certificate`: how both ends prove who they are";
        section.error("psk", message);
        return None;
    }
    if exchange == Phase1Exchange::Aggressive {
        let message =
            "aggressive mode gives anybody who asks a hash of the pre-shared key to guess at";
        section.warning("exchange", message);
    }
    read_psk(section, base).map(Authentication::PreSharedKey)
}

fn read_psk(section: Section<'_>, base: &Path) -> Option<Secret> {
    let (inline, file) = PSK;
    if section.has(inline) && section.has(file) {
        section.error(file, format!("expected `{inline}` or `{file}`, not both"));
    }
    let (item, secret) = match section.get(inline) {
        Some(item) => (item, item.parse(psk)?),
        None => {
            let item = section.get(file)?;
            let secret = closed_file(item, base, |text| psk(text.trim()))?;
            (item, secret)
        }
    };
    if let Some(weakness) = weakness(secret.expose()) {
        let remedy = "better 24 random bytes: head -c 24 /dev/urandom | base64";
        item.warning(format!("weak pre-shared key: {weakness}; {remedy}"));
    }
    Some(secret)
}

fn psk(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("expected a pre-shared key that is not empty".to_owned());
    }
    match text.starts_with("0x") {
        true => decode(text, None),
        false => Ok(Secret::new(text.as_bytes().to_vec())),
    }
}

/// Why somebody who has a hash of it might find it.
fn weakness(psk: &[u8]) -> Option<String> {
    let binary = psk.iter().any(|b| !b.is_ascii_graphic() && *b != b' ');
    let enough = if binary {
        STRONG_PSK * 3 / 4
    } else {
        STRONG_PSK
    };
    if psk.len() < enough {
        return Some(format!(
            "it has {} characters, fewer than {enough}",
            psk.len()
        ));
    }
    let mut seen = [false; 256];
    for byte in psk {
        if let Some(mark) = seen.get_mut(usize::from(*byte)) {
            *mark = true;
        }
    }
    let different = seen.iter().filter(|mark| **mark).count();
    (different < VARIED_PSK).then(|| format!("it has only {different} different characters"))
}

/// With hybrid authentication the server has a certificate and believes nobody's, and the client the other way.
fn read_credentials(
    section: Section<'_>,
    hybrid: Option<Hybrid>,
    base: &Path,
) -> Option<Credentials> {
    let (proves, believes) = (
        hybrid != Some(Hybrid::Client),
        hybrid != Some(Hybrid::Server),
    );
    if !proves {
        for key in ["certificate", "private-key-file"] {
            section.refuse(key, "expected only at the server of hybrid authentication");
        }
    }
    if !believes {
        for key in ["roots", "crls", "revocation", "name-roots"] {
            section.refuse(key, "expected only at the client of hybrid authentication");
        }
    }
    if proves {
        section.require("certificate");
    }
    let chain = read_parts(section, "certificate", "CERTIFICATE", base);
    let private_key = match proves {
        true => {
            let item = section.require("private-key-file");
            item.and_then(|item| closed_file(item, base, private_key_part))
        }
        false => Some(Secret::new(Vec::new())),
    };
    let roots = read_parts(section, "roots", "CERTIFICATE", base);
    let crls = read_parts(section, "crls", "X509 CRL", base);
    let revocation = match section.get("revocation") {
        Some(item) => item.choice(REVOCATIONS),
        None => Some(Revocation::default()),
    };
    let name_roots = match section.get("name-roots") {
        Some(item) => item.boolean(),
        None => Some(true),
    };
    if believes && !section.has("roots") {
        section.error("roots", "missing `roots`: whom this gateway believes");
        return None;
    }
    if revocation == Some(Revocation::Required) && !section.has("crls") {
        let message = "expected `crls` with it: without a list every certificate is refused";
        section.error("revocation", message);
    }
    Some(Credentials {
        chain: chain?,
        private_key: private_key?,
        roots: roots?,
        crls: crls?,
        revocation: revocation?,
        name_roots: name_roots?,
    })
}

/// Further certificates of this gateway, each with its key and with whom it believes then.
pub(crate) fn read_further(
    section: Section<'_>,
    hybrid: Option<Hybrid>,
    base: &Path,
) -> Option<Vec<Method>> {
    let key = "further-certificates";
    if !section.has("certificate") || hybrid.is_some() {
        let message = "expected only with `certificate`, and without `hybrid`";
        section.refuse(key, message);
    }
    let mut all = Some(Vec::new());
    for item in members(section, key) {
        match item
            .section(&AUTHENTICATION)
            .and_then(|table| read_one_further(table, base))
        {
            Some(method) => all.iter_mut().for_each(|all| all.push(method.clone())),
            None => all = None,
        }
    }
    all
}

fn read_one_further(table: Section<'_>, base: &Path) -> Option<Method> {
    for key in [PSK.0, PSK.1] {
        table.refuse(key, "expected a certificate");
    }
    let credentials = read_credentials(table, None, base)?;
    let local_id = match table.get("local-id") {
        Some(item) => item.parse(identity::read),
        None => {
            let subject = credentials
                .chain
                .first()
                .and_then(|own| identity::subject(own));
            subject.map(Identity::DistinguishedName)
        }
    };
    let authentication = Authentication::Certificates(credentials);
    examine(table, Some(&authentication), local_id.as_ref());
    Some(Method {
        authentication,
        local_id: local_id?,
    })
}

/// All parts with this label in the files that a key names.
pub(crate) fn read_parts(
    section: Section<'_>,
    key: &'static str,
    label: &str,
    base: &Path,
) -> Option<Vec<Vec<u8>>> {
    let mut all = Some(Vec::new());
    for item in members(section, key) {
        match open_file(item, base, |text| parts(text, label)) {
            Some(found) => all.iter_mut().for_each(|all| all.extend_from_slice(&found)),
            None => all = None,
        }
    }
    all
}

fn parts(text: &str, label: &str) -> Result<Vec<Vec<u8>>, String> {
    let found = pem::parts(text)?;
    let ours = found.iter().filter(|part| part.label == label);
    let ours: Vec<_> = ours.map(|part| part.der.to_vec()).collect();
    if ours.is_empty() {
        return Err(format!("expected `BEGIN {label}`; {}", labels(&found)));
    }
    if label == "CERTIFICATE" && ours.iter().any(|der| identity::subject(der).is_none()) {
        return Err("expected an X.509 certificate; got something else encoded as one".to_owned());
    }
    Ok(ours)
}

fn labels(found: &[Part<'_>]) -> String {
    let labels: Vec<_> = found.iter().map(|part| part.label).collect();
    match labels.is_empty() {
        true => "got no PEM at all".to_owned(),
        false => format!("got {}", labels.join(", ")),
    }
}

pub(crate) fn private_key_part(text: &str) -> Result<Secret, String> {
    let found = pem::parts(text)?;
    let key = found.iter().find(|part| part.label == "PRIVATE KEY");
    let remedy = "convert it: openssl pkcs8 -topk8 -nocrypt";
    let missing = || {
        format!(
            "expected `BEGIN PRIVATE KEY` (PKCS#8); {}; {remedy}",
            labels(&found)
        )
    };
    key.map(|part| Secret::new(part.der.to_vec()))
        .ok_or_else(missing)
}

/// Reads a file that nobody but its owner may read, and says at the item what is wrong with it.
pub(crate) fn closed_file<T>(
    item: Item<'_>,
    base: &Path,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let path = base.join(item.string()?);
    let text = read_closed(&path, FILE_LIMIT);
    let text = text.and_then(|text| match std::str::from_utf8(&text) {
        Ok(text) => read(text),
        Err(_) => Err("expected text".to_owned()),
    });
    text.map_err(|reason| item.error(format!("key file {}: {reason}", path.display())))
        .ok()
}

fn open_file<T>(
    item: Item<'_>,
    base: &Path,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let path = base.join(item.string()?);
    let cannot = |error| format!("cannot be read: {error}");
    let size = std::fs::metadata(&path).map_err(cannot);
    let text = size.and_then(|file| match file.is_file() && file.len() <= FILE_LIMIT {
        true => std::fs::read_to_string(&path).map_err(cannot),
        false => Err("expected a PEM file".to_owned()),
    });
    text.and_then(|text| read(&text))
        .map_err(|reason| item.error(format!("file {}: {reason}", path.display())))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_strong_keys() {
        let strong = ["correct horse battery staple", "U0xk2Jq9vB7nW4tYpZ8s"];
        for psk in strong {
            assert_eq!(weakness(psk.as_bytes()), None, "{psk}");
        }
        assert!(weakness(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]).is_none());
        for psk in [
            "secret",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "1234567890123456789",
        ] {
            assert!(weakness(psk.as_bytes()).is_some(), "{psk}");
        }
    }
}
