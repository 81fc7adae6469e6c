//! The cases: which algorithms, in which mode, over which IP versions; for both sides' configuration.
//!
//! Names on Linux's side are those of `ip xfrm`; key lengths and ICV lengths are restated from the RFCs
//! (4106, 4309, 4543, 3602, 3686, 2451, 2405, 7634; 2403, 2404, 4868, 3566, 4494).

use std::fmt::Write;

/// Portcullis' name, Linux' name, keying material in bytes, ICV in bits (0: not a combined mode).
type Algorithm = (&'static str, &'static str, usize, u32);

const CIPHERS: &[Algorithm] = &[
    ("aes128-gcm16", "rfc4106(gcm(aes))", 16 + 4, 128),
    ("aes128-gcm12", "rfc4106(gcm(aes))", 16 + 4, 96),
    ("aes128-gcm8", "rfc4106(gcm(aes))", 16 + 4, 64),
    ("aes192-gcm16", "rfc4106(gcm(aes))", 24 + 4, 128),
    ("aes256-gcm16", "rfc4106(gcm(aes))", 32 + 4, 128),
    ("aes128-gmac", "rfc4543(gcm(aes))", 16 + 4, 128),
    ("aes256-gmac", "rfc4543(gcm(aes))", 32 + 4, 128),
    ("aes128-ccm16", "rfc4309(ccm(aes))", 16 + 3, 128),
    ("aes192-ccm12", "rfc4309(ccm(aes))", 24 + 3, 96),
    ("aes256-ccm8", "rfc4309(ccm(aes))", 32 + 3, 64),
    (
        "chacha20-poly1305",
        "rfc7539esp(chacha20,poly1305)",
        32 + 4,
        128,
    ),
    ("aes128-cbc", "cbc(aes)", 16, 0),
    ("aes192-cbc", "cbc(aes)", 24, 0),
    ("aes256-cbc", "cbc(aes)", 32, 0),
    ("aes128-ctr", "rfc3686(ctr(aes))", 16 + 4, 0),
    ("aes192-ctr", "rfc3686(ctr(aes))", 24 + 4, 0),
    ("aes256-ctr", "rfc3686(ctr(aes))", 32 + 4, 0),
    ("3des-cbc", "cbc(des3_ede)", 24, 0),
    ("des-cbc", "cbc(des)", 8, 0),
    ("null", "ecb(cipher_null)", 0, 0),
];

const INTEGRITY: &[Algorithm] = &[
    ("hmac-md5-96", "hmac(md5)", 16, 96),
    ("hmac-sha1-96", "hmac(sha1)", 20, 96),
    ("hmac-sha2-256-128", "hmac(sha256)", 32, 128),
    ("hmac-sha2-384-192", "hmac(sha384)", 48, 192),
    ("hmac-sha2-512-256", "hmac(sha512)", 64, 256),
    ("aes-xcbc-96", "xcbc(aes)", 16, 96),
    ("aes-cmac-96", "cmac(aes)", 16, 96),
];

/// IP version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ip {
    V4,
    V6,
}
use Ip::{V4, V6};

/// Encapsulation: transport mode between two IPv4 or IPv6 addresses, or tunnel mode with outer and inner version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Transport(Ip),
    Tunnel { outer: Ip, inner: Ip },
}
use Mode::{Transport, Tunnel};

const TUNNEL: Mode = Tunnel {
    outer: V4,
    inner: V4,
};

/// One SA pair of a bundle.
#[derive(Clone, Copy)]
pub enum Layer {
    Esp(&'static str, &'static str),
    Ah(&'static str),
}
use Layer::{Ah, Esp};

/// What the ordinary pings of a case try.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    None,
    /// ESP in UDP on port 4500.
    Udp,
    /// ESN with this replay window.
    Esn(u32),
}

/// One case.
pub struct Case {
    pub name: &'static str,
    /// 1, 2, 3, ...: SPIs and addresses come from it.
    pub number: u16,
    pub mode: Mode,
    /// Innermost first.
    pub layers: &'static [Layer],
    pub extra: Extra,
}

/// SPI of packets from gateway to guest: 0x1000, case and layer.
pub const TO_GUEST: u32 = 0x1000_0000;
/// SPI of packets from guest to gateway.
pub const TO_GATEWAY: u32 = 0x2000_0000;

type Row = (&'static str, Mode, &'static [Layer], Extra);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // The combined modes.
    ("esp-gcm128-tunnel", TUNNEL, &[Esp("aes128-gcm16", "")], Extra::None),
    ("esp-gcm128-12-tunnel", TUNNEL, &[Esp("aes128-gcm12", "")], Extra::None),
    ("esp-gcm128-8-tunnel", TUNNEL, &[Esp("aes128-gcm8", "")], Extra::None),
    ("esp-gcm192-tunnel", TUNNEL, &[Esp("aes192-gcm16", "")], Extra::None),
    ("esp-gcm256-transport", Transport(V4), &[Esp("aes256-gcm16", "")], Extra::None),
    ("esp-gmac128-tunnel", TUNNEL, &[Esp("aes128-gmac", "")], Extra::None),
    ("esp-gmac256-transport", Transport(V4), &[Esp("aes256-gmac", "")], Extra::None),
    ("esp-ccm128-tunnel", TUNNEL, &[Esp("aes128-ccm16", "")], Extra::None),
    ("esp-ccm192-12-tunnel", TUNNEL, &[Esp("aes192-ccm12", "")], Extra::None),
    ("esp-ccm256-8-transport", Transport(V4), &[Esp("aes256-ccm8", "")], Extra::None),
    ("esp-chacha-tunnel", TUNNEL, &[Esp("chacha20-poly1305", "")], Extra::None),
    // Cipher and integrity.
    ("esp-cbc128-sha1-tunnel", TUNNEL, &[Esp("aes128-cbc", "hmac-sha1-96")], Extra::None),
    ("esp-cbc192-sha1-transport", Transport(V4), &[Esp("aes192-cbc", "hmac-sha1-96")], Extra::None),
    ("esp-cbc256-sha256-tunnel", TUNNEL, &[Esp("aes256-cbc", "hmac-sha2-256-128")], Extra::None),
    ("esp-cbc256-sha384-tunnel", TUNNEL, &[Esp("aes256-cbc", "hmac-sha2-384-192")], Extra::None),
    ("esp-cbc256-sha512-tunnel", TUNNEL, &[Esp("aes256-cbc", "hmac-sha2-512-256")], Extra::None),
    ("esp-cbc-xcbc-tunnel", TUNNEL, &[Esp("aes128-cbc", "aes-xcbc-96")], Extra::None),
    ("esp-cbc-cmac-tunnel", TUNNEL, &[Esp("aes128-cbc", "aes-cmac-96")], Extra::None),
    ("esp-3des-md5-tunnel", TUNNEL, &[Esp("3des-cbc", "hmac-md5-96")], Extra::None),
    ("esp-des-sha1-tunnel", TUNNEL, &[Esp("des-cbc", "hmac-sha1-96")], Extra::None),
    ("esp-ctr128-sha256-tunnel", TUNNEL, &[Esp("aes128-ctr", "hmac-sha2-256-128")], Extra::None),
    ("esp-ctr192-sha1-tunnel", TUNNEL, &[Esp("aes192-ctr", "hmac-sha1-96")], Extra::None),
    ("esp-ctr256-sha512-transport", Transport(V4), &[Esp("aes256-ctr", "hmac-sha2-512-256")], Extra::None),
    ("esp-null-sha256-tunnel", TUNNEL, &[Esp("null", "hmac-sha2-256-128")], Extra::None),
    // ESN and UDP.
    ("esp-esn-gcm-tunnel", TUNNEL, &[Esp("aes128-gcm16", "")], Extra::Esn(64)),
    ("esp-esn-cbc-tunnel", TUNNEL, &[Esp("aes128-cbc", "hmac-sha2-256-128")], Extra::Esn(64)),
    ("esp-esn-1024-gcm-tunnel", TUNNEL, &[Esp("aes256-gcm16", "")], Extra::Esn(1024)),
    ("esp-esn-1024-cbc-tunnel", TUNNEL, &[Esp("aes128-cbc", "hmac-sha1-96")], Extra::Esn(1024)),
    ("esp-natt-gcm-tunnel", TUNNEL, &[Esp("aes128-gcm16", "")], Extra::Udp),
    ("esp-natt-cbc-tunnel", TUNNEL, &[Esp("aes128-cbc", "hmac-sha1-96")], Extra::Udp),
    // AH.
    ("ah-md5-transport", Transport(V4), &[Ah("hmac-md5-96")], Extra::None),
    ("ah-sha1-transport", Transport(V4), &[Ah("hmac-sha1-96")], Extra::None),
    ("ah-sha256-tunnel", TUNNEL, &[Ah("hmac-sha2-256-128")], Extra::None),
    ("ah-sha384-tunnel", TUNNEL, &[Ah("hmac-sha2-384-192")], Extra::None),
    ("ah-sha512-tunnel", TUNNEL, &[Ah("hmac-sha2-512-256")], Extra::None),
    ("ah-xcbc-tunnel", TUNNEL, &[Ah("aes-xcbc-96")], Extra::None),
    ("ah-cmac-transport", Transport(V4), &[Ah("aes-cmac-96")], Extra::None),
    ("ah-esn-sha256-tunnel", TUNNEL, &[Ah("hmac-sha2-256-128")], Extra::Esn(64)),
    ("ah-esn-1024-sha1-tunnel", TUNNEL, &[Ah("hmac-sha1-96")], Extra::Esn(1024)),
    // AH over ESP.
    ("bundle-tunnel", TUNNEL, &[Esp("aes128-gcm16", ""), Ah("hmac-sha2-256-128")], Extra::None),
    ("bundle-cbc-tunnel", TUNNEL, &[Esp("aes128-cbc", "hmac-sha1-96"), Ah("hmac-sha1-96")], Extra::None),
    ("bundle-transport", Transport(V4), &[Esp("aes256-gcm16", ""), Ah("hmac-sha1-96")], Extra::None),
    // IPv6.
    ("esp-gcm-tunnel-6in6", Tunnel { outer: V6, inner: V6 }, &[Esp("aes128-gcm16", "")], Extra::None),
    ("esp-cbc-tunnel-6in6", Tunnel { outer: V6, inner: V6 }, &[Esp("aes256-cbc", "hmac-sha2-256-128")], Extra::None),
    ("esp-gcm-tunnel-4in6", Tunnel { outer: V6, inner: V4 }, &[Esp("aes128-gcm16", "")], Extra::None),
    ("esp-gcm-tunnel-6in4", Tunnel { outer: V4, inner: V6 }, &[Esp("aes128-gcm16", "")], Extra::None),
    ("esp-gcm-transport-6", Transport(V6), &[Esp("aes128-gcm16", "")], Extra::None),
    ("esp-cbc-transport-6", Transport(V6), &[Esp("aes128-cbc", "hmac-sha1-96")], Extra::None),
    ("ah-sha1-tunnel-6in6", Tunnel { outer: V6, inner: V6 }, &[Ah("hmac-sha1-96")], Extra::None),
    ("ah-sha256-tunnel-4in6", Tunnel { outer: V6, inner: V4 }, &[Ah("hmac-sha2-256-128")], Extra::None),
    ("ah-sha512-tunnel-6in4", Tunnel { outer: V4, inner: V6 }, &[Ah("hmac-sha2-512-256")], Extra::None),
    ("ah-sha256-transport-6", Transport(V6), &[Ah("hmac-sha2-256-128")], Extra::None),
    ("bundle-tunnel-6in6", Tunnel { outer: V6, inner: V6 }, &[Esp("aes128-gcm16", ""), Ah("hmac-sha2-256-128")], Extra::None),
    ("bundle-transport-6", Transport(V6), &[Esp("aes128-gcm16", ""), Ah("hmac-sha1-96")], Extra::None),
];

/// SA pairs of the trials that do more than ping.
#[rustfmt::skip]
const SPECIAL: &[Row] = &[
    ("fragments", TUNNEL, &[Esp("aes128-gcm16", "")], Extra::None),
    ("fragments-cbc", TUNNEL, &[Esp("aes256-cbc", "hmac-sha2-512-256")], Extra::None),
    ("fragments-6in6", Tunnel { outer: V6, inner: V6 }, &[Esp("aes128-gcm16", "")], Extra::None),
    ("path-mtu", TUNNEL, &[Esp("aes128-gcm16", "")], Extra::None),
    ("path-mtu-6in6", Tunnel { outer: V6, inner: V6 }, &[Esp("aes128-gcm16", "")], Extra::None),
    ("esn-crosses-2^32", TUNNEL, &[Esp("aes256-gcm16", "")], Extra::Esn(1024)),
    ("esn-crosses-2^32-hmac", TUNNEL, &[Esp("aes128-cbc", "hmac-sha2-256-128")], Extra::Esn(1024)),
    ("esn-crosses-2^32-ah", TUNNEL, &[Ah("hmac-sha1-96")], Extra::Esn(64)),
    ("clear-text-is-refused", TUNNEL, &[Esp("aes128-gcm16", "")], Extra::None),
    ("clear-text-to-gateway-is-refused", Transport(V4), &[Esp("aes128-gcm16", "")], Extra::None),
];

/// The cases that are pinged in both directions, then the special ones; numbered from 1.
pub fn cases() -> (Vec<Case>, Vec<Case>) {
    let mut all = number(ROWS.iter().chain(SPECIAL));
    let special = all.split_off(ROWS.len());
    (all, special)
}

fn number<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Case> {
    (1..)
        .zip(rows)
        .map(|(number, &(name, mode, layers, extra))| Case {
            name,
            number,
            mode,
            layers,
            extra,
        })
        .collect()
}

impl Case {
    /// The gateway's and the guest's outer addresses.
    pub fn ends(&self) -> (String, String) {
        let n = self.number;
        match self.mode {
            Tunnel { outer: V4, .. } => ("10.99.0.1".into(), "10.99.0.2".into()),
            Tunnel { outer: V6, .. } => ("fd99::1".into(), "fd99::2".into()),
            Transport(V4) => ("10.99.0.1".into(), format!("10.99.1.{n}")),
            Transport(V6) => ("fd99::1".into(), format!("fd99::1:{n}")),
        }
    }

    /// What is pinged from the LAN side, and the address on the guest's side.
    pub fn pinged(&self) -> (String, String) {
        let n = self.number;
        match self.mode {
            Tunnel { inner: V4, .. } => ("10.1.0.2".into(), format!("10.2.{n}.1")),
            Tunnel { inner: V6, .. } => ("fd01::2".into(), format!("fd02:{n}::1")),
            Transport(_) => self.ends(),
        }
    }

    /// Networks of the SPD entry: ours and the guest's.
    fn networks(&self) -> (String, String) {
        let n = self.number;
        match self.mode {
            Tunnel { inner: V4, .. } => ("10.1.0.0/24".into(), format!("10.2.{n}.0/24")),
            Tunnel { inner: V6, .. } => ("fd01::/64".into(), format!("fd02:{n}::/64")),
            Transport(V4) => ("10.99.0.1/32".into(), format!("10.99.1.{n}/32")),
            Transport(V6) => ("fd99::1/128".into(), format!("fd99::1:{n}/128")),
        }
    }

    /// SPI of layer `index` in one direction.
    pub fn spi(&self, direction: u32, index: usize) -> u32 {
        direction | u32::from(self.number) << 8 | index as u32
    }

    /// Mode of layer `index`: what is outside a tunnel is in transport mode.
    fn layer_mode(&self, index: usize) -> &'static str {
        match self.mode {
            Tunnel { .. } if index == 0 => "tunnel",
            _ => "transport",
        }
    }

    /// The gateway's SAs and SPD entry.
    pub fn policy(&self) -> String {
        let (here, there) = self.ends();
        let mut text = String::new();
        let mut names = [Vec::new(), Vec::new()];
        for (index, layer) in self.layers.iter().enumerate() {
            for (way, direction) in [TO_GUEST, TO_GATEWAY].into_iter().enumerate() {
                let spi = self.spi(direction, index);
                let name = format!("{}-{spi:x}", self.name);
                let (word, source, destination) = match direction {
                    TO_GUEST => ("outbound", &here, &there),
                    _ => ("inbound", &there, &here),
                };
                let _ = writeln!(
                    text,
                    "[[sa]]\nname = {name:?}\ndirection = {word:?}\nspi = {spi:#x}\nmode = {:?}\n\
                     source = {source:?}\ndestination = {destination:?}",
                    self.layer_mode(index),
                );
                text.push_str(&layer.policy(spi));
                match self.extra {
                    Extra::None => {}
                    Extra::Udp => text.push_str(
                        "udp-encapsulation = { source-port = 4500, destination-port = 4500 }\n",
                    ),
                    Extra::Esn(window) => {
                        text.push_str("esn = true\n");
                        if direction == TO_GATEWAY {
                            let _ = writeln!(text, "replay-window = {window}");
                        }
                    }
                }
                names[way].push(name);
            }
        }
        let (local, remote) = self.networks();
        let _ = writeln!(
            text,
            "[[spd]]\nname = {:?}\nlocal = [{local:?}]\nremote = [{remote:?}]\naction = \"protect\"\n\
             outbound = {:?}\ninbound = {:?}",
            self.name, names[0], names[1]
        );
        text
    }

    /// Lines for `ip -batch` that give the guest its addresses, states and policies.
    pub fn guest(&self) -> String {
        let (here, there) = self.ends();
        let (_, address) = self.pinged();
        let (device, nodad) = match self.mode {
            Tunnel { .. } => (
                "lan",
                if address.contains(':') {
                    "/64 nodad"
                } else {
                    "/24"
                },
            ),
            Transport(_) => (
                "vec0",
                if address.contains(':') {
                    "/64 nodad"
                } else {
                    "/16"
                },
            ),
        };
        let mut text = format!("addr replace {address}{nodad} dev {device}\n");
        text.push_str(&self.guest_states(0));
        let (local, remote) = self.networks();
        for (direction, selector, ends) in [
            (
                "out",
                format!("src {remote} dst {local}"),
                format!("src {there} dst {here}"),
            ),
            (
                "in",
                format!("src {local} dst {remote}"),
                format!("src {here} dst {there}"),
            ),
        ] {
            let _ = write!(
                text,
                "xfrm policy add {selector} dir {direction} priority 2"
            );
            for (index, layer) in self.layers.iter().enumerate() {
                let _ = write!(
                    text,
                    " tmpl {ends} proto {} reqid {} mode {}",
                    layer.protocol(),
                    self.reqid(index),
                    self.layer_mode(index)
                );
            }
            text.push('\n');
        }
        text
    }

    /// The states alone; `sent` is the low half of the last sequence number the guest pretends to have sent.
    pub fn guest_states(&self, sent: u32) -> String {
        let (here, there) = self.ends();
        let mut text = String::new();
        for (index, layer) in self.layers.iter().enumerate() {
            for (direction, source, destination) in
                [(TO_GUEST, &here, &there), (TO_GATEWAY, &there, &here)]
            {
                let spi = self.spi(direction, index);
                let _ = write!(
                    text,
                    "xfrm state add src {source} dst {destination} proto {} spi {spi:#x} reqid {} mode {}",
                    layer.protocol(),
                    self.reqid(index),
                    self.layer_mode(index)
                );
                if let Extra::Esn(window) = self.extra {
                    let _ = write!(text, " replay-window {window} flag esn");
                    if direction == TO_GATEWAY && sent != 0 {
                        let _ = write!(text, " replay-oseq {sent:#x}");
                    }
                }
                // Linux takes a state for one IP version, inside and outside, unless told.
                if let Tunnel { outer, inner } = self.mode {
                    if outer != inner {
                        text.push_str(" flag af-unspec");
                    }
                }
                // AH over IPv4 is padded to 32 bits (RFC 4302 2.6); Linux pads to 64 unless told.
                if matches!(layer, Ah(_)) && !source.contains(':') {
                    text.push_str(" flag align4");
                }
                if self.extra == Extra::Udp {
                    text.push_str(" encap espinudp 4500 4500 0.0.0.0");
                }
                let _ = writeln!(text, " {}", layer.guest(spi));
            }
        }
        text
    }

    /// Lines that remove what [`Case::guest_states`] added.
    pub fn guest_forget(&self) -> String {
        let (here, there) = self.ends();
        let mut text = String::new();
        for (index, layer) in self.layers.iter().enumerate() {
            for (direction, source, destination) in
                [(TO_GUEST, &here, &there), (TO_GATEWAY, &there, &here)]
            {
                let _ = writeln!(
                    text,
                    "xfrm state delete src {source} dst {destination} proto {} spi {:#x}",
                    layer.protocol(),
                    self.spi(direction, index)
                );
            }
        }
        text
    }

    fn reqid(&self, index: usize) -> usize {
        usize::from(self.number) * 2 + index
    }
}

impl Layer {
    fn protocol(self) -> &'static str {
        match self {
            Esp(..) => "esp",
            Ah(_) => "ah",
        }
    }

    /// Algorithm lines of a `[[sa]]` table.
    fn policy(self, spi: u32) -> String {
        let mut text = format!("protocol = {:?}\n", self.protocol());
        if let Esp(cipher, _) = self {
            let (name, _, length, _) = find(CIPHERS, cipher);
            let _ = writeln!(text, "encryption = {name:?}");
            if length > 0 {
                let _ = writeln!(text, "key = \"{}\"", key(spi, length));
            }
        }
        let (Esp(_, integrity) | Ah(integrity)) = self;
        if !integrity.is_empty() {
            let (name, _, length, _) = find(INTEGRITY, integrity);
            let key = key(!spi, length);
            let _ = writeln!(text, "integrity = {name:?}\nintegrity-key = \"{key}\"");
        }
        text
    }

    /// Algorithm arguments of `ip xfrm state add`.
    fn guest(self, spi: u32) -> String {
        let mut text = String::new();
        if let Esp(cipher, _) = self {
            let (_, name, length, icv) = find(CIPHERS, cipher);
            let key = key(spi, length);
            let _ = match (icv, length) {
                (0, 0) => write!(text, "enc '{name}' ''"),
                (0, _) => write!(text, "enc '{name}' 0x{key}"),
                _ => write!(text, "aead '{name}' 0x{key} {icv}"),
            };
        }
        let (Esp(_, integrity) | Ah(integrity)) = self;
        if !integrity.is_empty() {
            let (_, name, length, icv) = find(INTEGRITY, integrity);
            let _ = write!(text, " auth-trunc '{name}' 0x{} {icv}", key(!spi, length));
        }
        text
    }
}

fn find(table: &[Algorithm], name: &str) -> Algorithm {
    *table
        .iter()
        .find(|row| row.0 == name)
        .unwrap_or_else(|| panic!("{name} is not in the table"))
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
