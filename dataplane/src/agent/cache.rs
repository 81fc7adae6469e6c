//! The last policy of a server, kept for when it is away.
//!
//! ```text
//! portcullis policy cache 1
//! url https://policy.example/site-a.toml
//! etag "7"
//! sha256 <of the other lines of this head, and of the policy>
//!
//! <the policy>
//! ```
//! It is written beside its place and moved there, so that there is always a whole one, and read by nobody else. The
//! checksum is no protection from who may write the file, only from mistakes: nobody edits it by hand.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use portcullis_config::Document;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::store::{Fetched, hex};

const MAGIC: &str = "portcullis policy cache 1";
/// A policy of a server, and the head.
const LIMIT: u64 = (64 << 20) + 4096;

/// Why the cache is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is none, or it cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Somebody else may have written it, or may read it.
    #[error(
        "has mode {mode:04o} and owner {owner}; expected 0600 or less, and this process's user"
    )]
    Open {
        /// Permissions.
        mode: u32,
        /// User.
        owner: u32,
    },
    /// It is not as it was written.
    #[error("is damaged or was edited: {0}")]
    Damaged(&'static str),
    /// It is of another store.
    #[error("holds the policy of {0}")]
    OtherStore(String),
}

/// Keeps a policy: as a whole, or not at all.
pub fn write(path: &Path, policy: &Fetched) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = directory.join(format!(
        ".{}.{}",
        name.to_string_lossy(),
        std::process::id()
    ));
    fs::create_dir_all(directory)?;
    let written = write_new(&beside, policy).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is half written is of no use; the error says enough.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // The name, too, is to outlive a power failure.
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, policy: &Fetched) -> io::Result<()> {
    // One that a process with this id left behind.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let tag = policy.tag.as_deref().unwrap_or_default();
    let head = format!("{MAGIC}\nurl {}\netag {tag}\n", policy.place);
    let texts = || {
        policy
            .documents
            .iter()
            .map(|document| document.text.as_bytes())
    };
    let mut hash = Sha256::new_with_prefix(&head);
    texts().for_each(|text| hash.update(text));
    write!(file, "{head}sha256 {}\n\n", hex(&hash.finalize()))?;
    texts().try_for_each(|text| file.write_all(text))?;
    file.sync_all()
}

/// The policy that was kept of the store with these URLs.
pub fn read(path: &Path, urls: &[String]) -> Result<Fetched, CacheError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & 0o177 != 0 || owner != effective_user()? {
        return Err(CacheError::Open { mode, owner });
    }
    let room = metadata.len().min(LIMIT) as usize + 32;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(LIMIT).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| CacheError::Damaged("it is not text"))?;
    let no_head = CacheError::Damaged("it has no head");
    let (head, policy) = text.split_once("\n\n").ok_or(no_head)?;
    let mut lines = head.lines();
    let mut line = |prefix| lines.next().and_then(|line| line.strip_prefix(prefix));
    let fields = (line(MAGIC), line("url "), line("etag "), line("sha256 "));
    let (Some(""), Some(kept_url), Some(tag), Some(checksum)) = fields else {
        return Err(CacheError::Damaged("its head is not as it was written"));
    };
    let mut hash = Sha256::new_with_prefix(format!("{MAGIC}\nurl {kept_url}\netag {tag}\n"));
    hash.update(policy);
    if hex(&hash.finalize()) != checksum {
        return Err(CacheError::Damaged("its checksum is another one"));
    }
    if urls.iter().all(|url| url != kept_url) {
        return Err(CacheError::OtherStore(kept_url.to_owned()));
    }
    let document = Document {
        name: kept_url.into(),
        text: Zeroizing::new(policy.to_owned()),
        mode: None,
    };
    let tag = Some(tag.to_owned()).filter(|tag| !tag.is_empty());
    Ok(Fetched::new(kept_url.to_owned(), vec![document], tag))
}

/// The user as whom this process runs.
fn effective_user() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const URL: &str = "https://policy.example/a";

    fn urls() -> Vec<String> {
        vec!["https://policy.example/nearer".into(), URL.into()]
    }

    fn policy(text: &str) -> Fetched {
        let document = Document {
            name: URL.into(),
            text: text.to_owned().into(),
            mode: None,
        };
        Fetched::new(URL.into(), vec![document], Some("\"7\"".into()))
    }

    fn place(name: &str) -> PathBuf {
        let name = format!("portcullis-cache-{}-{name}", std::process::id());
        std::env::temp_dir().join(name).join("policy-cache")
    }

    #[test]
    fn what_is_kept_is_read_and_replaced() {
        let path = place("kept");
        assert!(matches!(read(&path, &urls()), Err(CacheError::Io(_))));
        for text in ["a = 1\n", "", "a\n\nb\n\n"] {
            write(&path, &policy(text)).unwrap();
            assert_eq!(read(&path, &urls()).unwrap(), policy(text));
            let mode = fs::metadata(&path).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside it");
        let other = read(&path, &["https://policy.example/b".into()]);
        assert!(matches!(other, Err(CacheError::OtherStore(_))), "{other:?}");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn whoever_edits_it_finds_it_refused() {
        let path = place("edited");
        write(&path, &policy("action = \"discard\"\n")).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("discard", "bypass"),
            ("\"7\"", "\"8\""),
            ("policy.example", "policy.elsewhere"),
            ("cache 1", "cache 2"),
            ("discard\"\n", "discard\""),
            ("\n\n", "\n"),
        ] {
            fs::write(&path, whole.replace(from, to)).unwrap();
            let edited = read(&path, &urls());
            assert!(
                matches!(edited, Err(CacheError::Damaged(_))),
                "{from}: {edited:?}"
            );
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(
                matches!(read(&path, &urls()), Err(CacheError::Damaged(_))),
                "{length}"
            );
        }
        fs::write(&path, &whole).unwrap();
        assert!(read(&path, &urls()).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path, &urls()), Err(CacheError::Open { .. })));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
