//! Where policies come from: files of this machine, or a server. Everything here may take its time, so that it runs
//! on a thread of its own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Document, RemoteStore, StorePlace};
use sha2::{Digest, Sha256};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use zeroize::Zeroizing;

/// Longest policy of a server; a hundred thousand SAs fit.
const REMOTE_LIMIT: u64 = 64 << 20;
/// Longest local one.
const LOCAL_LIMIT: u64 = 512 << 20;
/// Documents of a directory.
const MOST_FILES: usize = 1000;
/// How long a server may be silent at first.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a poll may take in all.
const POLL: Duration = Duration::from_secs(60);
/// Longest entity tag that is sent back.
const TAG_LIMIT: usize = 256;

/// A policy of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The place that has it: a URL, a file or a directory.
    pub place: String,
    /// Its texts.
    pub documents: Vec<Document>,
    /// How the server calls this version (RFC 9110 8.8.3).
    pub tag: Option<String>,
    /// SHA-256 of the texts, in hex.
    pub checksum: String,
}

impl Fetched {
    /// With its checksum.
    pub fn new(place: String, documents: Vec<Document>, tag: Option<String>) -> Self {
        let mut hash = Sha256::new();
        for document in &documents {
            hash.update((document.text.len() as u64).to_be_bytes());
            hash.update(document.text.as_bytes());
        }
        Fetched {
            checksum: hex(&hash.finalize()),
            place,
            documents,
            tag,
        }
    }
}

/// Bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A directory with nothing in it.
    #[error("{}: no *.toml in this directory", .0.display())]
    Empty(PathBuf),
    /// Too much to be a policy.
    #[error("{what}: more than {limit} bytes")]
    TooLong {
        /// File or URL.
        what: String,
        /// How many are allowed.
        limit: u64,
    },
    /// A directory that is not one of policies.
    #[error("{}: more than {MOST_FILES} files", .0.display())]
    TooMany(PathBuf),
    /// Binary data.
    #[error("{0}: expected UTF-8 text")]
    NotText(String),
    /// The server cannot be reached, or is not the one it should be.
    #[error("{url}: {error}")]
    Http {
        /// Where.
        url: String,
        /// Why.
        error: Box<ureq::Error>,
    },
    /// The server has no policy for us.
    #[error("{url}: the server answers {status}")]
    Status {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
    },
}

impl StoreError {
    /// True if a server has nothing there, and says so.
    fn is_missing(&self) -> bool {
        matches!(self, StoreError::Status { status: 404, .. })
    }
}

/// Asks a store for its policy; `None` if it is the known one.
pub fn fetch(
    place: &StorePlace,
    known: Option<&Fetched>,
) -> Result<Option<Fetched>, Box<StoreError>> {
    let fetched = match place {
        StorePlace::Local(paths) => Some(read_local(nearest(paths))?),
        StorePlace::Remote(remote) => get_nearest(remote, known)?,
    };
    let same = |new: &Fetched| known.is_some_and(|known| known == new);
    Ok(fetched.filter(|new| !same(new)))
}

/// The first of these places that is there; the last if none is, for its error to be told.
fn nearest(paths: &[PathBuf]) -> &Path {
    // One that cannot be looked at may be there: nothing wider takes its place.
    let there = paths.iter().find(|path| path.try_exists().unwrap_or(true));
    there
        .or(paths.last())
        .map_or(Path::new(""), PathBuf::as_path)
}

/// The policy of the first place that the server has; `None` if it is the known one.
fn get_nearest(
    remote: &RemoteStore,
    known: Option<&Fetched>,
) -> Result<Option<Fetched>, Box<StoreError>> {
    let mut missing = None;
    for url in &remote.urls {
        // A tag says nothing of other places (RFC 9110 8.8.3).
        let known = known.filter(|known| known.place == *url);
        match get(remote, url, known.and_then(|known| known.tag.as_deref())) {
            Err(error) if error.is_missing() => missing = Some(error),
            answer => return answer,
        }
    }
    match missing {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// The files of a local store, in the order of their names.
pub fn local_files(path: &Path) -> Result<Vec<PathBuf>, Box<StoreError>> {
    let failed = |error| StoreError::File {
        path: path.to_owned(),
        error,
    };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let name = file.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.ends_with(".toml") && !name.starts_with('.')) {
            files.push(file);
        }
    }
    files.sort();
    match files.len() {
        0 => Err(StoreError::Empty(path.to_owned()).into()),
        many if many > MOST_FILES => Err(StoreError::TooMany(path.to_owned()).into()),
        _ => Ok(files),
    }
}

fn read_local(path: &Path) -> Result<Fetched, Box<StoreError>> {
    let files = local_files(path)?;
    let documents = files.iter().map(|file| read_document(file));
    let place = path.display().to_string();
    Ok(Fetched::new(
        place,
        documents.collect::<Result<_, _>>()?,
        None,
    ))
}

/// A file as part of a policy.
pub fn read_document(path: &Path) -> Result<Document, Box<StoreError>> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error| StoreError::File {
        path: path.to_owned(),
        error,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let what = path.display().to_string();
    Ok(Document {
        name: path.to_owned(),
        text: text(&what, file, Some(metadata.len()), LOCAL_LIMIT)?,
        mode: Some(metadata.permissions().mode()),
    })
}

/// All of a stream as text. It may hold keys: the memory does not grow, which would leave copies behind, if `length`
/// is true.
fn text(
    what: &str,
    stream: impl Read,
    length: Option<u64>,
    limit: u64,
) -> Result<Zeroizing<String>, Box<StoreError>> {
    let room = length.unwrap_or(1 << 20).min(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room as usize + 32));
    let read = stream.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| StoreError::File {
        path: what.into(),
        error,
    })?;
    if bytes.len() as u64 > limit {
        let what = what.to_owned();
        return Err(StoreError::TooLong { what, limit }.into());
    }
    let bytes = std::mem::take(&mut *bytes);
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(StoreError::NotText(what.to_owned()).into())
        }
    }
}

/// Gets the policy of a server, unless it is the one with this tag (RFC 9110 13.1.2).
fn get(
    remote: &RemoteStore,
    url: &str,
    tag: Option<&str>,
) -> Result<Option<Fetched>, Box<StoreError>> {
    let failed = |error| StoreError::Http {
        url: url.to_owned(),
        error: Box::new(error),
    };
    let mut request = agent(remote).map_err(failed)?.get(url);
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    let response = request.call().map_err(failed)?;
    let status = response.status().as_u16();
    match status {
        200 => {}
        304 if tag.is_some() => return Ok(None),
        status => {
            let url = url.to_owned();
            return Err(StoreError::Status { url, status }.into());
        }
    }
    let new_tag = response.headers().get("etag");
    let new_tag = new_tag.and_then(|tag| tag.to_str().ok());
    let new_tag = new_tag
        .filter(|tag| tag.len() <= TAG_LIMIT)
        .map(str::to_owned);
    let mut body = response.into_body();
    let length = body.content_length();
    let body = body.with_config().limit(REMOTE_LIMIT + 1).reader();
    let document = Document {
        name: url.into(),
        text: text(url, body, length, REMOTE_LIMIT)?,
        mode: None,
    };
    Ok(Some(Fetched::new(url.to_owned(), vec![document], new_tag)))
}

/// A client that believes this store's authority and no other, and goes nowhere else.
fn agent(remote: &RemoteStore) -> Result<ureq::Agent, ureq::Error> {
    let certificates = |list: &[Vec<u8>]| -> Vec<Certificate<'static>> {
        let list = list.iter().map(|der| Certificate::from_der(der).to_owned());
        list.collect()
    };
    let client = remote.client.as_ref().map(|(chain, key)| {
        let key = PrivateKey::from_pem(key.expose())?;
        Ok::<_, ureq::Error>(ClientCert::new_with_certs(&certificates(chain), key))
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates(&remote.ca)))
        .client_cert(client.transpose()?)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .max_redirects(0)
        .max_redirects_will_error(true)
        .http_status_as_error(false)
        .proxy(None)
        .max_idle_connections(0)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(POLL))
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.new_agent())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_its_files_in_order() {
        let dir = std::env::temp_dir().join(format!("portcullis-store-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let place = StorePlace::Local(vec![dir.join("node/none"), dir.clone()]);
        assert!(matches!(
            *fetch(&place, None).unwrap_err(),
            StoreError::Empty(_)
        ));
        for (name, text) in [
            ("20-b.toml", "b"),
            ("10-a.toml", "a"),
            (".c.toml", "c"),
            ("d.old", "d"),
        ] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let fetched = fetch(&place, None).unwrap().unwrap();
        let texts: Vec<_> = fetched.documents.iter().map(|d| d.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        // The same again is nothing new; what moves from one file to the next is.
        assert_eq!(fetch(&place, Some(&fetched)).unwrap(), None);
        std::fs::write(dir.join("10-a.toml"), "ab").unwrap();
        std::fs::write(dir.join("20-b.toml"), "").unwrap();
        let moved = fetch(&place, Some(&fetched)).unwrap().unwrap();
        assert_ne!(moved.checksum, fetched.checksum);
        std::fs::write(dir.join("20-b.toml"), [0xff]).unwrap();
        assert!(matches!(
            *fetch(&place, None).unwrap_err(),
            StoreError::NotText(_)
        ));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
