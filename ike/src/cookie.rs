//! Our own cookies (RFC 2408 2.5.3): six random bytes, and two of a keyed hash of them and the peer's address.
//! Whoever has the key tells at once, without the IKE SAs, whether a message can be for one of them. That is no proof
//! of anything: it keeps the messages of those who have a cookie of ours apart from those of others, who guess one in
//! 65536.
//!
//! Requirement 1 there: a cookie depends on the parties, lest somebody gets one by a real address and swamps us with
//! it from others. The port is not in it, since NATs change ports as they like; nor is a peer lost whose address
//! changes: its messages only wait with those of strangers until it has another IKE SA.

use std::net::IpAddr;

use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A cookie, as it stands in the ISAKMP header (RFC 2408 3.1).
type Cookie = [u8; 8];
/// Bytes of it that are random.
const RANDOM: usize = 6;

/// What our cookies are recognised with. RFC 2408 2.5.3: "a local secret"; another one with each start.
#[derive(Clone)]
pub struct CookieKey(Zeroizing<[u8; 16]>);

impl CookieKey {
    /// The key of these bytes, which must be unpredictable.
    pub fn new(key: [u8; 16]) -> Self {
        CookieKey(Zeroizing::new(key))
    }

    /// A cookie of ours for an IKE SA with a peer at `address`.
    pub fn cookie(&self, random: [u8; RANDOM], address: IpAddr) -> Cookie {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let [a, b, c, d, e, f] = random;
        let mut parties = [0; RANDOM + 16];
        let (first, second) = parties.split_at_mut(RANDOM);
        first.copy_from_slice(&random);
        second.copy_from_slice(&address.octets());
        let hash = SipHasher24::new_with_key(&self.0).hash(&parties);
        let [g, h, ..] = hash.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// True if a message from `address` is for an IKE SA of ours, as far as its header says: our cookie is the
    /// responder's if we are that, or else the initiator's.
    pub fn is_for_us(&self, header: &[u8], address: IpAddr) -> bool {
        let Some((initiator, rest)) = header.split_first_chunk() else {
            return false;
        };
        let Some((responder, _)) = rest.split_first_chunk() else {
            return false;
        };
        self.is_ours(responder, address) || self.is_ours(initiator, address)
    }

    fn is_ours(&self, cookie: &Cookie, address: IpAddr) -> bool {
        let [random @ .., _, _] = *cookie;
        self.cookie(random, address).ct_eq(cookie).into()
    }
}

impl std::fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SipHash-2-4 with the key 0 to 15 makes 88 3e a3 e3 95 67 53 93 of the bytes 0 to 21, says OpenSSL:
    /// `openssl mac -macopt hexkey:000102030405060708090a0b0c0d0e0f -macopt size:8 -in FILE SIPHASH`.
    const OURS: [u8; 8] = [0, 1, 2, 3, 4, 5, 0x88, 0x3e];
    const THEIRS: [u8; 8] = [0x5e; 8];

    /// The bytes 6 to 21.
    fn peer() -> IpAddr {
        let bytes: [u8; 16] = std::array::from_fn(|index| index as u8 + 6);
        bytes.into()
    }

    fn key() -> CookieKey {
        CookieKey::new(std::array::from_fn(|index| index as u8))
    }

    #[test]
    fn ends_with_siphash_2_4() {
        assert_eq!(key().cookie([0, 1, 2, 3, 4, 5], peer()), OURS);
    }

    /// RFC 2408 3.1: initiator's cookie, responder's cookie, and what follows.
    #[test]
    fn knows_its_own_on_either_side() {
        let is_for_us = |initiator, responder| {
            let header = [initiator, responder, [0; 8]].concat();
            key().is_for_us(&header, peer())
        };
        assert!(is_for_us(THEIRS, OURS) && is_for_us(OURS, THEIRS));
        // The peer may refuse our first message without a cookie of its own.
        assert!(is_for_us(OURS, [0; 8]));
        assert!(!is_for_us(THEIRS, [0; 8]) && !is_for_us(THEIRS, THEIRS));
        for bit in 0..64 {
            let made_up = (u64::from_be_bytes(OURS) ^ (1 << bit)).to_be_bytes();
            assert!(!is_for_us(THEIRS, made_up), "{bit}");
        }
        let message = [THEIRS, OURS].concat();
        assert!(!CookieKey::new([0; 16]).is_for_us(&message, peer()));
        // RFC 2408 2.5.3: who has one cannot use it from elsewhere.
        assert!(!key().is_for_us(&message, [192, 0, 2, 2].into()));
    }

    #[test]
    fn short_messages_are_for_nobody() {
        for length in 0..16 {
            let message = &[OURS, OURS].concat()[..length];
            assert!(!key().is_for_us(message, peer()), "{length}");
        }
    }

    #[test]
    fn stays_unprinted() {
        assert_eq!(format!("{:?}", key()), "CookieKey(..)");
    }
}
