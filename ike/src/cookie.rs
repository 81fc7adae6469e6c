//! Our own cookies (RFC 2408 2.5.3): six random bytes and a keyed hash of them. Whoever has the key tells at once, without
//! the IKE SAs, whether a message can be for one of them. That is no proof of anything: it keeps the messages of those who
//! have one of our cookies apart from those of others, who can make up one in 65536.

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

    /// A cookie of ours.
    pub fn cookie(&self, random: [u8; RANDOM]) -> Cookie {
        let [a, b, c, d, e, f] = random;
        let [g, h, ..] = SipHasher24::new_with_key(&self.0)
            .hash(&random)
            .to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// True if a message is for an IKE SA of ours, as far as its header says: our cookie is the responder's if we are
    /// that, or else the initiator's.
    pub fn is_for_us(&self, header: &[u8]) -> bool {
        let Some((initiator, rest)) = header.split_first_chunk() else {
            return false;
        };
        let Some((responder, _)) = rest.split_first_chunk() else {
            return false;
        };
        self.is_ours(responder) || self.is_ours(initiator)
    }

    fn is_ours(&self, cookie: &Cookie) -> bool {
        let [random @ .., _, _] = *cookie;
        self.cookie(random).ct_eq(cookie).into()
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

    /// SipHash's reference implementation (`vectors_sip64`): of the bytes 0 to 5 with the key 0 to 15 it makes
    /// ce e3 fe 58 6e 46 c9 cb.
    const OURS: [u8; 8] = [0, 1, 2, 3, 4, 5, 0xce, 0xe3];
    const THEIRS: [u8; 8] = [0x5e; 8];

    fn key() -> CookieKey {
        CookieKey::new(std::array::from_fn(|index| index as u8))
    }

    #[test]
    fn ends_with_siphash_2_4() {
        assert_eq!(key().cookie([0, 1, 2, 3, 4, 5]), OURS);
    }

    /// RFC 2408 3.1: initiator's cookie, responder's cookie, and what follows.
    #[test]
    fn knows_its_own_on_either_side() {
        let is_for_us = |initiator, responder| {
            let header = [initiator, responder, [0; 8]].concat();
            key().is_for_us(&header)
        };
        assert!(is_for_us(THEIRS, OURS) && is_for_us(OURS, THEIRS));
        // The peer may refuse our first message without a cookie of its own.
        assert!(is_for_us(OURS, [0; 8]));
        assert!(!is_for_us(THEIRS, [0; 8]) && !is_for_us(THEIRS, THEIRS));
        for bit in 0..64 {
            let made_up = (u64::from_be_bytes(OURS) ^ (1 << bit)).to_be_bytes();
            assert!(!is_for_us(THEIRS, made_up), "{bit}");
        }
        assert!(!CookieKey::new([0; 16]).is_for_us(&[THEIRS, OURS].concat()));
    }

    #[test]
    fn short_messages_are_for_nobody() {
        for length in 0..16 {
            assert!(
                !key().is_for_us(&[OURS, OURS].concat()[..length]),
                "{length}"
            );
        }
    }

    #[test]
    fn stays_unprinted() {
        assert_eq!(format!("{:?}", key()), "CookieKey(..)");
    }
}
