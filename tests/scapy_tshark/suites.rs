//! The algorithms that scapy 2.8 or tshark 4 know, by the names of all three.

use std::fmt::Write;

/// An algorithm: Portcullis' name, scapy's, tshark's, keying material in bytes.
#[derive(Clone, Copy)]
pub struct Algorithm {
    pub name: &'static str,
    pub scapy: Option<&'static str>,
    pub tshark: Option<&'static str>,
    pub key: usize,
    /// ICV in bytes where it is not scapy's only one.
    pub icv: usize,
}

const fn algorithm(
    name: &'static str,
    scapy: &'static str,
    tshark: &'static str,
    key: usize,
    icv: usize,
) -> Algorithm {
    Algorithm {
        name,
        scapy: if scapy.is_empty() { None } else { Some(scapy) },
        tshark: if tshark.is_empty() {
            None
        } else {
            Some(tshark)
        },
        key,
        icv,
    }
}

/// Ciphers. scapy has only the 16 byte ICV of GCM; tshark 4.0 does not decrypt ChaCha20, CCM and GMAC.
#[rustfmt::skip]
const CIPHERS: &[Algorithm] = &[
    algorithm("aes128-gcm16", "AES-GCM", "AES-GCM with 16 octet ICV [RFC4106]", 16 + 4, 0),
    algorithm("aes192-gcm16", "AES-GCM", "AES-GCM with 16 octet ICV [RFC4106]", 24 + 4, 0),
    algorithm("aes256-gcm16", "AES-GCM", "AES-GCM with 16 octet ICV [RFC4106]", 32 + 4, 0),
    algorithm("aes128-gcm12", "", "AES-GCM with 12 octet ICV [RFC4106]", 16 + 4, 0),
    algorithm("aes256-gcm8", "", "AES-GCM with 8 octet ICV [RFC4106]", 32 + 4, 0),
    algorithm("aes128-gmac", "AES-NULL-GMAC", "", 16 + 4, 0),
    algorithm("aes192-gmac", "AES-NULL-GMAC", "", 24 + 4, 0),
    algorithm("aes256-gmac", "AES-NULL-GMAC", "", 32 + 4, 0),
    algorithm("aes128-ccm16", "AES-CCM", "", 16 + 3, 16),
    algorithm("aes192-ccm12", "AES-CCM", "", 24 + 3, 12),
    algorithm("aes256-ccm8", "AES-CCM", "", 32 + 3, 8),
    algorithm("chacha20-poly1305", "CHACHA20-POLY1305", "", 32 + 4, 0),
    algorithm("aes128-cbc", "AES-CBC", "AES-CBC [RFC3602]", 16, 0),
    algorithm("aes192-cbc", "AES-CBC", "AES-CBC [RFC3602]", 24, 0),
    algorithm("aes256-cbc", "AES-CBC", "AES-CBC [RFC3602]", 32, 0),
    algorithm("aes128-ctr", "AES-CTR", "AES-CTR [RFC3686]", 16 + 4, 0),
    algorithm("aes192-ctr", "AES-CTR", "AES-CTR [RFC3686]", 24 + 4, 0),
    algorithm("aes256-ctr", "AES-CTR", "AES-CTR [RFC3686]", 32 + 4, 0),
    algorithm("3des-cbc", "3DES", "TripleDES-CBC [RFC2451]", 24, 0),
    algorithm("des-cbc", "DES", "DES-CBC [RFC2405]", 8, 0),
    algorithm("null", "NULL", "NULL", 0, 0),
];

/// Integrity algorithms; AES-XCBC is known to neither (the kernel peer proves it).
#[rustfmt::skip]
const INTEGRITY: &[Algorithm] = &[
    algorithm("hmac-md5-96", "HMAC-MD5-96", "HMAC-MD5-96 [RFC2403]", 16, 0),
    algorithm("hmac-sha1-96", "HMAC-SHA1-96", "HMAC-SHA-1-96 [RFC2404]", 20, 0),
    algorithm("hmac-sha2-256-128", "SHA2-256-128", "HMAC-SHA-256-128 [RFC4868]", 32, 0),
    algorithm("hmac-sha2-384-192", "SHA2-384-192", "HMAC-SHA-384-192 [RFC4868]", 48, 0),
    algorithm("hmac-sha2-512-256", "SHA2-512-256", "HMAC-SHA-512-256 [RFC4868]", 64, 0),
    algorithm("aes-cmac-96", "AES-CMAC-96", "", 16, 0),
];

/// IP version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ip {
    V4,
    V6,
}
use Ip::{V4, V6};

/// Encapsulation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Transport(Ip),
    Tunnel { outer: Ip, inner: Ip },
}

/// One SA pair.
#[derive(Clone)]
pub struct Suite {
    pub name: String,
    /// 1, 2, 3, ...: SPIs and addresses come from it.
    pub number: u16,
    pub mode: Mode,
    /// `None` is AH.
    pub cipher: Option<Algorithm>,
    pub integrity: Option<Algorithm>,
    pub esn: bool,
    pub udp: bool,
}

pub const MODES: [(&str, Mode); 6] = [
    (
        "tunnel",
        Mode::Tunnel {
            outer: V4,
            inner: V4,
        },
    ),
    ("transport", Mode::Transport(V4)),
    (
        "tunnel-6in6",
        Mode::Tunnel {
            outer: V6,
            inner: V6,
        },
    ),
    ("transport-6", Mode::Transport(V6)),
    (
        "tunnel-4in6",
        Mode::Tunnel {
            outer: V6,
            inner: V4,
        },
    ),
    (
        "tunnel-6in4",
        Mode::Tunnel {
            outer: V4,
            inner: V6,
        },
    ),
];

/// Every algorithm in every mode, some with ESN, some in UDP.
pub fn suites() -> Vec<Suite> {
    let mut all = Vec::new();
    for (mode_name, mode) in MODES {
        let mut add = |cipher: Option<&Algorithm>, integrity: Option<&Algorithm>, esn, udp| {
            let mut name = String::new();
            for part in [cipher, integrity].into_iter().flatten() {
                name.push_str(part.name);
                name.push('-');
            }
            name.push_str(match (esn, udp) {
                (true, _) => "esn-",
                (_, true) => "udp-",
                _ => "",
            });
            all.push(Suite {
                name: format!("{}-{name}{mode_name}", cipher.map_or("ah", |_| "esp")),
                number: all.len() as u16 + 1,
                mode,
                cipher: cipher.copied(),
                integrity: integrity.copied(),
                esn,
                udp,
            });
        };
        for (index, cipher) in CIPHERS.iter().enumerate() {
            let combined = ["gcm", "ccm", "gmac", "chacha"]
                .iter()
                .any(|part| cipher.name.contains(part));
            // The plain ciphers take turns with the integrity algorithms.
            let integrity = (!combined).then(|| &INTEGRITY[index % INTEGRITY.len()]);
            add(Some(cipher), integrity, false, false);
        }
        let cbc = &CIPHERS[12];
        for integrity in INTEGRITY {
            add(Some(cbc), Some(integrity), false, false);
            add(None, Some(integrity), false, false);
            add(None, Some(integrity), true, false);
        }
        add(Some(&CIPHERS[0]), None, true, false);
        add(Some(&CIPHERS[11]), None, true, false);
        add(Some(cbc), Some(&INTEGRITY[2]), true, false);
        // RFC 3948 is written for IPv4: scapy's checksum of zero is none in IPv6.
        if matches!(mode, Mode::Tunnel { outer: V4, .. } | Mode::Transport(V4)) {
            add(Some(&CIPHERS[0]), None, false, true);
            add(Some(cbc), Some(&INTEGRITY[1]), false, true);
        }
    }
    all
}

/// SPI of packets from the gateway to the peer; the case number is added.
pub const TO_PEER: u32 = 0x1000_0000;
/// SPI of packets from the peer to the gateway.
pub const TO_GATEWAY: u32 = 0x2000_0000;

impl Suite {
    /// Outer addresses, or in transport mode the only ones: the gateway's and the peer's.
    pub fn ends(&self) -> (String, String) {
        let [high, low] = self.number.to_be_bytes();
        match self.mode {
            Mode::Tunnel { outer: V4, .. } => ("10.99.0.1".into(), "10.99.0.2".into()),
            Mode::Tunnel { outer: V6, .. } => ("fd99::1".into(), "fd99::2".into()),
            Mode::Transport(V4) => ("10.99.0.1".into(), format!("10.99.{}.{low}", high + 1)),
            Mode::Transport(V6) => ("fd99::1".into(), format!("fd99::1:{:x}", self.number)),
        }
    }

    /// Addresses of a packet inside: on the gateway's and on the peer's side.
    pub fn inside(&self) -> (String, String) {
        let [high, low] = self.number.to_be_bytes();
        match self.mode {
            Mode::Tunnel { inner: V4, .. } => {
                ("10.1.0.2".into(), format!("10.{}.{low}.1", high + 2))
            }
            Mode::Tunnel { inner: V6, .. } => {
                ("fd01::2".into(), format!("fd02:{:x}::1", self.number))
            }
            Mode::Transport(_) => self.ends(),
        }
    }

    /// True if scapy knows the algorithms.
    pub fn scapy_knows(&self) -> bool {
        let mut parts = [self.cipher, self.integrity].into_iter().flatten();
        parts.all(|part| part.scapy.is_some())
    }

    /// True if tshark decrypts it, and checks the ICV where it can: 32 bit sequence numbers, no AH.
    pub fn tshark_knows(&self) -> bool {
        let mut parts = [self.cipher, self.integrity].into_iter().flatten();
        self.cipher.is_some() && !self.esn && parts.all(|part| part.tshark.is_some())
    }

    /// Keying material of the cipher for an SPI, in hex.
    pub fn cipher_key(&self, spi: u32) -> String {
        key(spi, self.cipher.map_or(0, |cipher| cipher.key))
    }

    /// Keying material of the integrity algorithm for an SPI, in hex.
    pub fn integrity_key(&self, spi: u32) -> String {
        key(!spi, self.integrity.map_or(0, |integrity| integrity.key))
    }

    /// The gateway's SA pair, SPD entry and static neighbour.
    pub fn policy(&self) -> String {
        let (here, there) = self.ends();
        let (local, remote) = self.inside();
        let name = format!("{}-{}", self.number, self.name);
        let mut text = String::new();
        for (direction, spi, source, destination) in [
            ("outbound", TO_PEER, &here, &there),
            ("inbound", TO_GATEWAY, &there, &here),
        ] {
            let spi = spi + u32::from(self.number);
            let mode = match self.mode {
                Mode::Transport(_) => "transport",
                Mode::Tunnel { .. } => "tunnel",
            };
            let protocol = if self.cipher.is_some() { "esp" } else { "ah" };
            let _ = write!(
                text,
                "[[sa]]\nname = \"{name}-{direction}\"\ndirection = {direction:?}\nspi = {spi:#x}\n\
                 mode = {mode:?}\nprotocol = {protocol:?}\nsource = {source:?}\n\
                 destination = {destination:?}\nesn = {}\n",
                self.esn
            );
            if let Some(cipher) = self.cipher {
                let _ = writeln!(text, "encryption = {:?}", cipher.name);
                if cipher.key > 0 {
                    let _ = writeln!(text, "key = {:?}", self.cipher_key(spi));
                }
            }
            if let Some(integrity) = self.integrity {
                let key = self.integrity_key(spi);
                let _ = writeln!(
                    text,
                    "integrity = {:?}\nintegrity-key = {key:?}",
                    integrity.name
                );
            }
            if self.udp {
                text.push_str(
                    "udp-encapsulation = { source-port = 4500, destination-port = 4500 }\n",
                );
            }
        }
        let _ = write!(
            text,
            "[[spd]]\nname = {name:?}\nlocal = [{local:?}]\nremote = [{remote:?}]\naction = \"protect\"\n\
             outbound = [\"{name}-outbound\"]\ninbound = [\"{name}-inbound\"]\n"
        );
        if let Mode::Transport(_) = self.mode {
            let _ = write!(
                text,
                "[[neighbor]]\naddress = {there:?}\nmac = \"02:00:00:00:00:02\"\nport = \"wan\"\n"
            );
        }
        text
    }
}

/// Keying material that differs from SA to SA, in hex.
fn key(seed: u32, length: usize) -> String {
    let mut state = seed | 1;
    (0..length).fold(String::new(), |mut hex, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = write!(hex, "{:02x}", state >> 24);
        hex
    })
}
