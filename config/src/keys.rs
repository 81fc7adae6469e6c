//! Reads keying material: hex digits in the policy file or in a file of their own. Buffers are wiped, and
//! no message shows more of a key than its length.

use std::fs::{self, File};
use std::io::Read;
use std::mem;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::reader::{Item, Section};
use crate::{Cipher, Integrity, Secret};

/// More than any key takes; a larger file is not a key file.
const KEY_FILE_LIMIT: u64 = 4096;

/// The two keys of a table that may hold keying material: in place, or the name of a file.
pub(crate) type KeyNames = (&'static str, &'static str);

/// Where the key of the cipher stands.
pub(crate) const CIPHER_KEY: KeyNames = ("key", "key-file");
/// Where the key of the integrity algorithm stands.
pub(crate) const INTEGRITY_KEY: KeyNames = ("integrity-key", "integrity-key-file");

/// What an algorithm takes.
#[derive(Clone, Copy)]
pub(crate) struct KeyShape {
    algorithm: &'static str,
    length: usize,
    salt: usize,
}

impl From<Cipher> for KeyShape {
    fn from(cipher: Cipher) -> Self {
        KeyShape {
            algorithm: cipher.name(),
            length: cipher.key_length(),
            salt: cipher.salt_length(),
        }
    }
}

impl From<Integrity> for KeyShape {
    fn from(integrity: Integrity) -> Self {
        KeyShape {
            algorithm: integrity.name(),
            length: integrity.key_length(),
            salt: integrity.salt_length(),
        }
    }
}

/// Reads a key from either place; without a shape, only what is wrong whatever the algorithm.
pub(crate) fn read_key(
    section: Section<'_>,
    (inline, file): KeyNames,
    shape: Option<KeyShape>,
    base: &Path,
) -> Option<Secret> {
    if section.has(inline) && section.has(file) {
        section.error(file, format!("expected `{inline}` or `{file}`, not both"));
    }
    if let Some(item) = section.get(inline) {
        return item.parse(|text| decode(text, shape));
    }
    if let Some(item) = section.get(file) {
        return read_key_file(item, shape, base);
    }
    if let Some(shape) = shape.filter(|_| !section.has(inline) && !section.has(file)) {
        let message = format!("missing `{inline}` or `{file}`: {}", shape.describe());
        section.error(inline, message);
    }
    None
}

fn read_key_file(item: Item<'_>, shape: Option<KeyShape>, base: &Path) -> Option<Secret> {
    let path = base.join(item.string()?);
    let text = match read_closed(&path, KEY_FILE_LIMIT) {
        Ok(text) => text,
        Err(reason) => {
            item.error(format!("key file {}: {reason}", path.display()));
            return None;
        }
    };
    let text = std::str::from_utf8(text.trim_ascii()).map_err(|_| "expected hex digits".to_owned());
    match text.and_then(|text| decode(text, shape)) {
        Ok(key) => Some(key),
        Err(reason) => {
            item.error(format!("key file {}: {reason}", path.display()));
            None
        }
    }
}

/// Reads a file that nobody but its owner may read or write.
pub(crate) fn read_closed(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Before it is opened: opening a FIFO would wait for a writer.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("expected a regular file".to_owned());
    }
    let mut file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if let Some(reason) = open_to_others(metadata.permissions().mode(), path) {
        return Err(reason);
    }
    if metadata.len() > limit {
        return Err(format!("expected at most {limit} bytes"));
    }
    let mut text = Zeroizing::new(vec![0; metadata.len() as usize]);
    file.read_exact(&mut text).map_err(cannot)?;
    Ok(text)
}

/// What is wrong with the mode of a file that holds keys, if anything.
pub(crate) fn open_to_others(mode: u32, path: &Path) -> Option<String> {
    let (mode, path) = (mode & 0o7777, path.display());
    (mode & 0o077 != 0).then(|| {
        format!("holds keys but has mode {mode:04o}; expected 0600 (run: chmod 600 {path})")
    })
}

/// Decodes hex digits. The buffer has its final size from the start, so that no copy is left behind.
pub(crate) fn decode(text: &str, shape: Option<KeyShape>) -> Result<Secret, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if let Some(at) = digits.bytes().position(|b| !b.is_ascii_hexdigit()) {
        let column = at + 1;
        return Err(format!(
            "expected hex digits only; character {column} of the key is not one"
        ));
    }
    if let Some(shape) = shape.filter(|s| s.length * 2 != digits.len()) {
        let got = digits.len();
        let half = if got % 2 == 1 { " and a half" } else { "" };
        let unit = if got == 2 { "byte" } else { "bytes" };
        let got = format!("{}{half} {unit} ({got} hex digits)", got / 2);
        return Err(format!("{}; got {got}", shape.describe()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len().div_ceil(2)));
    for pair in digits.as_bytes().chunks(2) {
        let value = |sum: u8, digit: &u8| {
            let digit = char::from(*digit).to_digit(16).unwrap_or_default();
            sum << 4 | digit as u8
        };
        bytes.push(pair.iter().fold(0, value));
    }
    Ok(Secret::new(mem::take(&mut *bytes)))
}

impl KeyShape {
    fn describe(&self) -> String {
        let (length, digits) = (self.length, self.length * 2);
        let whole = format!(
            "expected {length} bytes ({digits} hex digits) for {}",
            self.algorithm
        );
        match self.salt {
            0 => whole,
            salt => format!("{whole}: {} byte key and {salt} byte salt", length - salt),
        }
    }
}
