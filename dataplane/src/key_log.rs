//! Writes keys down in the form that Wireshark reads, for debugging: its files `ikev1_decryption_table` and `esp_sa`.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use portcullis_config::{AeadIcv, Cipher, Integrity, SaConfig, Secret, Transform};
use zeroize::Zeroizing;

use crate::Error;

/// Both files.
#[derive(Debug)]
pub struct KeyLog {
    ike: File,
    esp: File,
}

fn open(directory: &Path, name: &str) -> Result<File, Error> {
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(&path);
    file.map_err(|error| Error::Io {
        what: format!("key log {}", path.display()),
        error,
    })
}

impl KeyLog {
    /// Adds to the files in this directory, which only their owner may read.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Ok(KeyLog {
            ike: open(directory, "ikev1_decryption_table")?,
            esp: open(directory, "esp_sa")?,
        })
    }

    /// The key of an IKE SA.
    pub fn ike(&mut self, initiator_cookie: &[u8; 8], key: &Secret) {
        let line = format!("{},{}\n", *hex(initiator_cookie), *hex(key.expose()));
        write(&mut self.ike, &Zeroizing::new(line));
    }

    /// The keys of an ESP SA; AH has nothing to decrypt.
    pub fn esp(&mut self, sa: &SaConfig) {
        if let Some(line) = esp_line(sa) {
            write(&mut self.esp, &line);
        }
    }
}

/// The line of an ESP SA in Wireshark's file `esp_sa`; AH has nothing to decrypt.
pub fn esp_line(sa: &SaConfig) -> Option<Zeroizing<String>> {
    let Transform::Esp(cipher, integrity) = sa.transform else {
        return None;
    };
    Some(Zeroizing::new(format!(
        "\"{}\",\"{}\",\"{}\",\"0x{:08x}\",\"{}\",\"0x{}\",\"{}\",\"{}{}\"\n",
        if sa.source.is_ipv4() { "IPv4" } else { "IPv6" },
        sa.source,
        sa.destination,
        sa.spi,
        cipher_name(cipher),
        *hex(sa.cipher_key.expose()),
        integrity_name(integrity),
        if integrity.is_some() { "0x" } else { "" },
        *hex(sa.integrity_key.expose()),
    )))
}

fn write(file: &mut File, line: &str) {
    if let Err(error) = file.write_all(line.as_bytes()) {
        tracing::error!(%error, "key log cannot be written");
    }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// As Wireshark 4 calls it.
fn cipher_name(cipher: Cipher) -> &'static str {
    match cipher {
        Cipher::AesGcm(_, AeadIcv::Icv16) => "AES-GCM with 16 octet ICV [RFC4106]",
        Cipher::AesGcm(_, AeadIcv::Icv12) => "AES-GCM with 12 octet ICV [RFC4106]",
        Cipher::AesGcm(_, AeadIcv::Icv8) => "AES-GCM with 8 octet ICV [RFC4106]",
        Cipher::AesCcm(_, AeadIcv::Icv16) => "AES-CCM with 16 octet ICV [RFC4309]",
        Cipher::AesCcm(_, AeadIcv::Icv12) => "AES-CCM with 12 octet ICV [RFC4309]",
        Cipher::AesCcm(_, AeadIcv::Icv8) => "AES-CCM with 8 octet ICV [RFC4309]",
        Cipher::ChaCha20Poly1305 => "ChaCha20 with Poly1305 [RFC7634]",
        Cipher::AesCbc(_) => "AES-CBC [RFC3602]",
        Cipher::AesCtr(_) => "AES-CTR [RFC3686]",
        Cipher::TripleDesCbc => "TripleDES-CBC [RFC2451]",
        Cipher::DesCbc => "DES-CBC [RFC2405]",
        Cipher::Null | Cipher::AesGmac(_) => "NULL",
    }
}

fn integrity_name(integrity: Option<Integrity>) -> &'static str {
    match integrity {
        None => "NULL",
        Some(Integrity::HmacMd5_96) => "HMAC-MD5-96 [RFC2403]",
        Some(Integrity::HmacSha1_96) => "HMAC-SHA-1-96 [RFC2404]",
        Some(Integrity::HmacSha2_256_128) => "HMAC-SHA-256-128 [RFC4868]",
        Some(Integrity::HmacSha2_384_192) => "HMAC-SHA-384-192 [RFC4868]",
        Some(Integrity::HmacSha2_512_256) => "HMAC-SHA-512-256 [RFC4868]",
        Some(Integrity::AesXcbc96 | Integrity::AesCmac96) => {
            "ANY 96 bit authentication [no checking]"
        }
        Some(Integrity::AesGmac(_)) => "ANY 192 bit authentication [no checking]",
    }
}
