//! Policies for the two gateways.

use std::sync::Arc;

use portcullis_config::{
    Action, AddressRange, AeadIcv, AesKey, Bundle, Cipher, Df, Direction, Dscp, Integrity,
    Lifetimes, Mode, PortRange, SaConfig, Secret, Selector, SharedSelector, SpdEntry, Transform,
    UpperLayer,
};

use super::packets::Dice;
use super::{Gateway, Site};

/// Every transform of the issue.
pub fn transforms() -> Vec<Transform> {
    use Integrity::*;
    let keys = [AesKey::Aes128, AesKey::Aes192, AesKey::Aes256];
    let icvs = [AeadIcv::Icv8, AeadIcv::Icv12, AeadIcv::Icv16];
    let macs = [
        HmacMd5_96,
        HmacSha1_96,
        HmacSha2_256_128,
        HmacSha2_384_192,
        HmacSha2_512_256,
        AesXcbc96,
        AesCmac96,
    ];
    let mut all = vec![Transform::Esp(Cipher::ChaCha20Poly1305, None)];
    for key in keys {
        for icv in icvs {
            all.push(Transform::Esp(Cipher::AesGcm(key, icv), None));
            all.push(Transform::Esp(Cipher::AesCcm(key, icv), None));
        }
        all.push(Transform::Esp(Cipher::AesGmac(key), None));
        all.push(Transform::Ah(AesGmac(key)));
    }
    let mut plain = vec![Cipher::TripleDesCbc, Cipher::DesCbc, Cipher::Null];
    plain.extend(
        keys.iter()
            .flat_map(|k| [Cipher::AesCbc(*k), Cipher::AesCtr(*k)]),
    );
    for (i, mac) in macs.iter().enumerate() {
        all.push(Transform::Ah(*mac));
        // Each cipher meets three MACs, each MAC four ciphers: the two are independent.
        let some = plain
            .iter()
            .enumerate()
            .filter(|(c, _)| (c + i) % 3 == 0 || *c == i);
        all.extend(some.map(|(_, c)| Transform::Esp(*c, Some(*mac))));
    }
    all
}

pub const GCM: Transform = Transform::Esp(Cipher::AesGcm(AesKey::Aes128, AeadIcv::Icv16), None);
pub const CBC: Transform =
    Transform::Esp(Cipher::AesCbc(AesKey::Aes128), Some(Integrity::HmacSha1_96));
pub const NULL: Transform = Transform::Esp(Cipher::Null, Some(Integrity::HmacSha2_256_128));
pub const AH_SHA2: Transform = Transform::Ah(Integrity::HmacSha2_256_128);

pub fn is_esp(transform: Transform) -> bool {
    matches!(transform, Transform::Esp(..))
}

/// An SA with keys that follow from its SPI.
pub fn sa(
    direction: Direction,
    spi: u32,
    transform: Transform,
    mode: Mode,
    source: &str,
    destination: &str,
) -> SaConfig {
    let (cipher, integrity) = match transform {
        Transform::Esp(c, i) => (c.key_length(), i.map_or(0, Integrity::key_length)),
        Transform::Ah(i) => (0, i.key_length()),
    };
    let mut dice = Dice(u64::from(spi) << 8 | 1);
    SaConfig {
        name: format!("{spi:x}"),
        direction,
        spi,
        transform,
        cipher_key: Secret::new(dice.bytes(cipher)),
        integrity_key: Secret::new(dice.bytes(integrity)),
        mode,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        udp: None,
        original: None,
        esn: false,
        replay_window: Some(1024),
        df: Df::Copy,
        dscp: Dscp::Copy,
        lifetimes: Lifetimes::default(),
        selectors: Arc::default(),
    }
}

/// Ranges from prefixes.
pub fn nets(prefixes: &[&str]) -> Vec<AddressRange> {
    let range = |p: &&str| {
        let net: ipnet::IpNet = p.parse().unwrap();
        AddressRange {
            start: net.network(),
            end: net.broadcast(),
        }
    };
    prefixes.iter().map(range).collect()
}

/// Everything between two lists of prefixes.
pub fn between(local: &[&str], remote: &[&str]) -> Selector {
    Selector {
        local: nets(local),
        remote: nets(remote),
        upper: UpperLayer::Any,
    }
}

/// The LANs of A and B, both families.
pub fn lans() -> Selector {
    between(&["10.1.0.0/16", "fd01::/64"], &["10.2.0.0/16", "fd02::/64"])
}

pub fn port(protocol: u8, local: &[u16], remote: &[u16]) -> UpperLayer {
    let ranges = |ports: &[u16]| {
        ports
            .iter()
            .map(|p| PortRange { start: *p, end: *p })
            .collect()
    };
    UpperLayer::Ports {
        protocol,
        local: ranges(local),
        remote: ranges(remote),
    }
}

/// The same selector seen from the other side.
pub fn mirrored(selector: &Selector) -> Selector {
    let upper = match selector.upper.clone() {
        UpperLayer::Ports {
            protocol,
            local,
            remote,
        } => UpperLayer::Ports {
            protocol,
            local: remote,
            remote: local,
        },
        upper => upper,
    };
    Selector {
        local: selector.remote.clone(),
        remote: selector.local.clone(),
        upper,
    }
}

pub fn entry(selector: impl Into<SharedSelector>, action: Action) -> SpdEntry {
    SpdEntry {
        name: String::new(),
        selector: selector.into(),
        direction: None,
        action,
        origin: None,
    }
}

/// Both gateways in the making.
#[derive(Clone)]
pub struct Sites {
    pub a: Site,
    pub b: Site,
    spi: u32,
}

impl Default for Sites {
    fn default() -> Self {
        Sites {
            a: Site::new(1),
            b: Site::new(2),
            spi: 0x1000,
        }
    }
}

pub const V4_ENDS: (&str, &str) = ("192.0.2.1", "192.0.2.2");
pub const V6_ENDS: (&str, &str) = ("2001:db8::1", "2001:db8::2");

impl Sites {
    /// Protects what A's selector says between `ends` with a bundle of SAs, innermost first, in both directions.
    pub fn protect(
        &mut self,
        selector: Selector,
        bundle: &[(Transform, Mode)],
        ends: (&str, &str),
        change: impl Fn(&mut SaConfig),
    ) {
        let mut numbers = [(); 4].map(|()| Bundle::new());
        for (i, (transform, mode)) in bundle.iter().enumerate() {
            for (from_a, (source, destination)) in [(true, ends), (false, (ends.1, ends.0))] {
                self.spi += 1;
                let mut add = |at_a: bool, direction| {
                    let site = if at_a { &mut self.a } else { &mut self.b };
                    let mut sa = sa(direction, self.spi, *transform, *mode, source, destination);
                    if i == 0 {
                        let seen = if at_a {
                            selector.clone()
                        } else {
                            mirrored(&selector)
                        };
                        sa.selectors = [seen].into();
                    }
                    if direction == Direction::Outbound {
                        sa.replay_window = None;
                    }
                    change(&mut sa);
                    site.sas.push(sa);
                    site.sas.len() - 1
                };
                let (out, inn) = (
                    add(from_a, Direction::Outbound),
                    add(!from_a, Direction::Inbound),
                );
                let (o, n) = if from_a { (0, 3) } else { (2, 1) };
                numbers[o].push(out);
                numbers[n].push(inn);
            }
        }
        let [a_out, a_in, b_out, b_in] = numbers;
        let mirror = mirrored(&selector);
        let protect = |outbound, inbound| Action::Protect { outbound, inbound };
        self.a.spd.push(entry(selector, protect(a_out, a_in)));
        self.b.spd.push(entry(mirror, protect(b_out, b_in)));
    }

    /// The same entry at both, mirrored at B.
    pub fn both(&mut self, selector: Selector, action: Action) {
        self.b.spd.push(entry(mirrored(&selector), action.clone()));
        self.a.spd.push(entry(selector, action));
    }

    pub fn mtu(&mut self, wire: u16, lan: u16) {
        for site in [&mut self.a, &mut self.b] {
            (site.wire_mtu, site.lan_mtu) = (wire, lan);
        }
    }

    pub fn build(&self) -> (Gateway, Gateway) {
        (self.a.build(), self.b.build())
    }
}

/// A and B with one tunnel between the LANs.
pub fn tunnel(transform: Transform) -> (Gateway, Gateway) {
    tunnel_with(transform, |_| {})
}

pub fn tunnel_with(transform: Transform, change: impl Fn(&mut SaConfig)) -> (Gateway, Gateway) {
    let mut sites = Sites::default();
    sites.protect(lans(), &[(transform, Mode::Tunnel)], V4_ENDS, change);
    sites.build()
}

/// Number of A's outbound SA and of B's inbound SA in [`tunnel`], the first to be added.
pub const FIRST: usize = 0;
