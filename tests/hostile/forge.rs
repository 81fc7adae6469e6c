//! Authentic packets with whatever inside: the attacker of these tests has the keys, so that nothing stops at the ICV.
//!
//! Encryption is NULL (RFC 2410) and integrity HMAC-SHA2-256-128 (RFC 4868): 16 bytes of the HMAC.

use hmac::{Hmac, Mac as _};
use kit::packet::{AH, ESP, Ipv4, Mac, ip_frame, ipv6};
use sha2::Sha256;

/// MAC address of the gateway's unprotected port.
pub const WAN: Mac = [2, 0, 0, 0, 0, 1];
/// MAC address of the peer.
pub const PEER: Mac = [2, 0, 0, 0, 0, 2];
/// MAC address of the gateway's protected port.
pub const LAN: Mac = [2, 0, 0, 0, 0, 3];
/// MAC address of the host behind it.
pub const HOST: Mac = [2, 0, 0, 0, 0, 4];

/// Gateway, peer, a host behind each; and the same in IPv6.
pub const GATEWAY: &str = "10.99.0.1";
pub const PEER_4: &str = "10.99.0.2";
pub const HERE: &str = "10.1.0.2";
pub const THERE: &str = "10.2.0.2";
pub const GATEWAY_6: &str = "fd99::1";
pub const PEER_6: &str = "fd99::2";
pub const HERE_6: &str = "fd01::2";
pub const THERE_6: &str = "fd02::2";

/// SPIs. No two differ in one bit only, so that no flipped bit leads from one SA to another.
pub const ESP_4: u32 = 0x1100_0011;
pub const ESP_6: u32 = 0x1200_0012;
pub const AH_4: u32 = 0x1400_0014;
pub const REPLAY_4: u32 = 0x1800_0018;
pub const UDP_4: u32 = 0x2100_0021;

/// Integrity key of every SA.
pub const KEY: [u8; 32] = [0x0b; 32];

/// ICV of HMAC-SHA2-256-128.
pub fn icv(bytes: &[u8]) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(bytes);
    let full = mac.finalize().into_bytes();
    full[..16].try_into().unwrap()
}

/// ESP (RFC 4303 2) around `payload`, which ends with padding, pad length and next header as the caller likes.
pub fn esp(spi: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(spi.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(payload);
    let icv = icv(&packet);
    packet.extend(icv);
    packet
}

/// What goes into ESP as it should be: padded to four bytes with 1, 2, 3, ...
pub fn padded(inner: &[u8], next_header: u8) -> Vec<u8> {
    let mut payload = inner.to_vec();
    let length = (4 - (inner.len() + 2) % 4) % 4;
    payload.extend(1..=length as u8);
    payload.extend([length as u8, next_header]);
    payload
}

/// An IPv4 frame from the peer to the gateway.
pub fn from_peer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip_frame(
        WAN,
        PEER,
        &Ipv4::new(PEER_4, GATEWAY, protocol).packet(payload),
    )
}

/// A tunnelled IPv4 packet from the peer, well formed but for `inner`.
pub fn tunnelled(sequence: u32, inner: &[u8]) -> Vec<u8> {
    from_peer(ESP, &esp(ESP_4, sequence, &padded(inner, 4)))
}

/// As [`tunnelled`], in IPv6.
pub fn tunnelled_6(sequence: u32, inner: &[u8]) -> Vec<u8> {
    let packet = esp(ESP_6, sequence, &padded(inner, 41));
    ip_frame(WAN, PEER, &ipv6(PEER_6, GATEWAY_6, ESP, &packet))
}

/// AH (RFC 4302 2.2) in tunnel mode around an IPv4 packet: next header 4, payload length in 32 bit words minus 2,
/// ICV over the packet with TOS, flags, TTL and checksum of the outer header zero (RFC 4302 3.3.3.1.1.1).
pub fn authenticated(sequence: u32, inner: &[u8]) -> Vec<u8> {
    let words = (12 + 16) / 4 - 2;
    let mut header = vec![4, words, 0, 0];
    header.extend(AH_4.to_be_bytes());
    header.extend(sequence.to_be_bytes());
    let payload = [&header[..], &[0; 16], inner].concat();
    let packet = Ipv4::new(PEER_4, GATEWAY, AH).packet(&payload);
    let mut covered = packet.clone();
    for mutable in [1, 6, 7, 8, 10, 11] {
        covered[mutable] = 0;
    }
    let mut packet = packet;
    packet[20 + 12..20 + 28].copy_from_slice(&icv(&covered));
    ip_frame(WAN, PEER, &packet)
}

/// Rewrites the IPv4 header checksum of a frame after a test has changed the header.
pub fn fix_checksum(frame: &mut [u8]) {
    let header = usize::from(frame[14] & 0x0f) * 4;
    let Some(bytes) = frame.get_mut(14..14 + header) else {
        return;
    };
    if bytes.len() < 20 {
        return;
    }
    bytes[10..12].fill(0);
    let sum = kit::packet::checksum(&[bytes]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Numbers that only look random, the same in every run.
pub struct Noise(pub u64);

impl Noise {
    /// The next number (xorshift64*).
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}
